//! Which kinds of parts there are.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use semver::Version;

use super::Part;
use super::any::AnyPart;
use super::builtin;
use super::unknown::UnknownReason;
use crate::error::{Error, Result};
use crate::json::RawJson;
use crate::migration::{Migrations, is_newer};

/// Reads parts of one kind.
pub(crate) trait Codec: fmt::Debug + Send + Sync {
    /// The newest version that it reads.
    fn version(&self) -> Option<&Version>;
    /// Reads the data of a version.
    fn decode(&self, version: &Version, data: &RawJson) -> Result<Box<dyn AnyPart>>;
}

#[derive(Debug)]
struct PartCodec<P> {
    version: Version,
    migrations: Migrations,
    part: PhantomData<fn() -> P>,
}

impl<P: Part> Codec for PartCodec<P> {
    fn version(&self) -> Option<&Version> {
        Some(&self.version)
    }

    fn decode(&self, version: &Version, data: &RawJson) -> Result<Box<dyn AnyPart>> {
        if self.migrations.is_current(version, &self.version) {
            return Ok(Box::new(data.read::<P>()?));
        }
        let data = self.migrations.migrate(data, version, &self.version)?;
        Ok(Box::new(data.read::<P>()?))
    }
}

/// The kinds of parts that can be read into their types, by name.
///
/// It is made once and handed to the store; there is no global one. Cloning is cheap.
///
/// # Examples
///
/// ```
/// use chatkeep::PartRegistry;
///
/// let parts = PartRegistry::builtin();
/// assert!(parts.kinds().any(|kind| kind == "markdown"));
/// ```
#[derive(Clone)]
pub struct PartRegistry {
    codecs: Arc<BTreeMap<String, Arc<dyn Codec>>>,
}

impl PartRegistry {
    /// The built-in kinds.
    #[must_use]
    pub fn builtin() -> Self {
        Self { codecs: Arc::new(builtin::codecs()) }
    }

    /// Adds a kind.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if the kind is there,
    /// [`Invalid`](crate::ErrorKind::Invalid) if its name is empty or its migrations have a gap.
    pub fn with<P: Part>(self) -> Result<Self> {
        let codec = codec::<P>().map_err(|e| e.with("kind", P::KIND))?;
        self.with_codec(P::KIND, codec)
    }

    /// Adds the kinds that were declared with `#[typetag::serde]`.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if one of the kinds is there.
    #[cfg(feature = "typetag")]
    #[cfg_attr(docsrs, doc(cfg(feature = "typetag")))]
    pub fn with_typetag(mut self) -> Result<Self> {
        for (kind, codec) in super::typetag::codecs() {
            self = self.with_codec(kind, codec)?;
        }
        Ok(self)
    }

    fn with_codec(mut self, kind: &str, codec: Arc<dyn Codec>) -> Result<Self> {
        if kind.is_empty() {
            return Err(Error::invalid("a part's kind has no name"));
        }
        if self.codecs.contains_key(kind) {
            return Err(
                Error::already_exists("this kind of part is registered twice").with("kind", kind)
            );
        }
        Arc::make_mut(&mut self.codecs).insert(kind.to_owned(), codec);
        Ok(self)
    }

    /// The names of the kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.codecs.keys().map(String::as_str)
    }

    /// The code that reads a version of a kind, or why there is none.
    pub(crate) fn codec(
        &self,
        kind: &str,
        version: &Version,
    ) -> Result<Arc<dyn Codec>, UnknownReason> {
        let codec = self.codecs.get(kind).ok_or(UnknownReason::UnknownKind)?;
        match codec.version() {
            Some(known) if is_newer(version, known) => {
                Err(UnknownReason::NewerVersion { known: known.clone() })
            }
            _ => Ok(Arc::clone(codec)),
        }
    }
}

pub(super) fn codec<P: Part>() -> Result<Arc<dyn Codec>> {
    let (version, migrations) = (P::VERSION, P::migrations());
    migrations.check(&version)?;
    Ok(Arc::new(PartCodec::<P> { version, migrations, part: PhantomData }))
}

impl Default for PartRegistry {
    fn default() -> Self {
        Self::builtin()
    }
}

impl fmt::Debug for PartRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds()).finish()
    }
}
