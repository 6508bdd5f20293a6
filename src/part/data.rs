//! Which kinds of adopters' data there are.

use std::any::{TypeId, type_name};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result, guarded};
use crate::json::RawJson;
use crate::migration::Migrations;
use crate::model::DataEntry;

/// The kinds of data that sessions, requests and responses may carry, by id.
///
/// # Examples
///
/// ```
/// use chatkeep::DataRegistry;
///
/// let data = DataRegistry::new().with::<Vec<String>>("acme.todos")?;
/// let entry = data.encode("acme.todos", &vec!["test".to_owned()])?;
/// assert_eq!(data.decode::<Vec<String>>("acme.todos", &entry)?, ["test"]);
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct DataRegistry {
    kinds: Arc<BTreeMap<String, Kind>>,
}

#[derive(Clone)]
struct Kind {
    type_id: TypeId,
    type_name: &'static str,
    version: Version,
    migrations: Migrations,
}

impl DataRegistry {
    /// No kinds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind at version 1.0.0.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if the id is there.
    pub fn with<T: Serialize + DeserializeOwned + 'static>(self, id: &str) -> Result<Self> {
        self.with_version::<T>(id, Version::new(1, 0, 0), Migrations::new())
    }

    /// Adds a kind at a version, with the steps from older ones.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if the id is there,
    /// [`Invalid`](crate::ErrorKind::Invalid) if the migrations have a gap.
    pub fn with_version<T: Serialize + DeserializeOwned + 'static>(
        mut self,
        id: &str,
        version: Version,
        migrations: Migrations,
    ) -> Result<Self> {
        migrations.check(&version).map_err(|e| e.with("data", id))?;
        let kind =
            Kind { type_id: TypeId::of::<T>(), type_name: type_name::<T>(), version, migrations };
        if Arc::make_mut(&mut self.kinds).insert(id.to_owned(), kind).is_some() {
            return Err(
                Error::already_exists("this kind of data is registered twice").with("data", id)
            );
        }
        Ok(self)
    }

    /// Checks that an id is registered as a type.
    pub(crate) fn check<T: 'static>(&self, id: &str) -> Result<()> {
        self.kind::<T>(id).map(|_| ())
    }

    fn kind<T: 'static>(&self, id: &str) -> Result<&Kind> {
        let kind = self.kinds.get(id).ok_or_else(|| {
            Error::unsupported("no data of this id is registered").with("data", id)
        })?;
        if kind.type_id != TypeId::of::<T>() {
            return Err(Error::invalid(format!(
                "data of this id is registered as {}, not as {}",
                kind.type_name,
                type_name::<T>()
            ))
            .with("data", id));
        }
        Ok(kind)
    }

    /// Writes data of a registered kind.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) if the id is not registered,
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is registered as another type or cannot be
    /// written.
    pub fn encode<T: Serialize + 'static>(&self, id: &str, value: &T) -> Result<DataEntry> {
        let kind = self.kind::<T>(id)?;
        let json = guarded("the code that writes it", || RawJson::of(value))
            .map_err(|e| e.with("data", id))?;
        Ok(DataEntry::new(kind.version.clone(), json))
    }

    /// Reads data of a registered kind, whatever version wrote it.
    ///
    /// # Errors
    ///
    /// Those of [`encode`](Self::encode), and
    /// [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion) if a newer version wrote it.
    /// What cannot be read stays as it is.
    pub fn decode<T: DeserializeOwned + 'static>(&self, id: &str, entry: &DataEntry) -> Result<T> {
        let kind = self.kind::<T>(id)?;
        let read = || {
            let json = kind.migrations.migrate(&entry.value, &entry.version, &kind.version)?;
            json.read()
        };
        guarded("the code that reads it", read).map_err(|e| e.with("data", id))
    }
}

impl fmt::Debug for DataRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.kinds.iter().map(|(id, kind)| (id, kind.version.to_string()));
        f.debug_map().entries(kinds).finish()
    }
}
