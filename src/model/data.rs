//! Adopters' data: plain JSON under a registered id.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::json::{Extra, Object, RawJson, json_object};

/// Adopters' data of a session, a request or a response, by id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DataMap {
    entries: BTreeMap<String, DataEntry>,
    /// Never written.
    transient: BTreeMap<String, RawJson>,
}

/// Data of one kind: its version and its JSON, which is kept as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct DataEntry {
    /// The version of the data's shape.
    pub version: Version,
    /// The data.
    pub value: RawJson,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(DataEntry { required version, json value });

impl DataEntry {
    /// Data of a version.
    #[must_use]
    pub fn new(version: Version, value: RawJson) -> Self {
        Self { version, value, extra: Extra::new() }
    }
}

impl DataMap {
    /// No data.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: BTreeMap::new(), transient: BTreeMap::new() }
    }

    /// Data by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&DataEntry> {
        self.entries.get(id)
    }

    /// All data that is written, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &DataEntry)> {
        self.entries.iter().map(|(id, entry)| (id.as_str(), entry))
    }

    /// Whether there is none that is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sets or removes data.
    pub fn set(&mut self, id: impl Into<String>, entry: Option<DataEntry>) {
        match entry {
            Some(entry) => self.entries.insert(id.into(), entry),
            None => self.entries.remove(&id.into()),
        };
    }

    /// Transient data by its id. It is never written.
    #[must_use]
    pub fn transient(&self, id: &str) -> Option<&RawJson> {
        self.transient.get(id)
    }

    /// Sets or removes transient data.
    pub fn set_transient(&mut self, id: impl Into<String>, value: Option<RawJson>) {
        match value {
            Some(value) => self.transient.insert(id.into(), value),
            None => self.transient.remove(&id.into()),
        };
    }

    /// Takes over another map's transient data, as reading from the log knows none.
    pub(crate) fn keep_transient_of(&mut self, other: &Self) {
        self.transient.clone_from(&other.transient);
    }
}

impl Serialize for DataMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.entries.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for DataMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Object::deserialize(deserializer)?.into_fields();
        let entry = |(id, raw): (std::borrow::Cow<'_, str>, &serde_json::value::RawValue)| {
            let entry = serde_json::from_str(raw.get())
                .map_err(|e| serde::de::Error::custom(format_args!("data `{id}`: {e}")))?;
            Ok((id.into_owned(), entry))
        };
        let entries = fields.into_iter().map(entry).collect::<Result<_, D::Error>>()?;
        Ok(Self { entries, transient: BTreeMap::new() })
    }
}
