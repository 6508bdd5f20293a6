//! A JSON value kept token for token.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::scan;
use crate::error::{Error, Result};

/// A JSON value that is kept as it was written: key order, number spelling, numbers of any length.
///
/// Only white space between tokens is dropped. It is nested at most 128 deep and holds no half of
/// a surrogate pair. Cloning is cheap; two are equal if their tokens are.
///
/// # Examples
///
/// ```
/// use chatkeep::RawJson;
///
/// let json = RawJson::parse(r#"{ "n": 123456789012345678901234567890, "b": 1e3 }"#)?;
/// assert_eq!(json.get(), r#"{"n":123456789012345678901234567890,"b":1e3}"#);
/// assert_eq!(RawJson::of(&[1, 2])?.read::<Vec<u8>>()?, [1, 2]);
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Clone)]
pub struct RawJson(Arc<RawValue>);

impl RawJson {
    /// Checks a JSON text and keeps it.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is not JSON or holds half of a surrogate pair,
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if it is nested too deep.
    pub fn parse(json: &str) -> Result<Self> {
        let raw: &RawValue = serde_json::from_str(json).map_err(not_json)?;
        Self::from_raw(raw)
    }

    /// Keeps a raw value of serde_json.
    ///
    /// # Errors
    ///
    /// Those of [`parse`](Self::parse).
    pub fn from_raw(raw: &RawValue) -> Result<Self> {
        if scan::check(raw.get())? {
            let text = scan::minify(raw.get());
            return Ok(Self(RawValue::from_string(text).map_err(not_json)?.into()));
        }
        Ok(Self(raw.to_owned().into()))
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the value cannot be written, and those of
    /// [`parse`](Self::parse).
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let raw = serde_json::value::to_raw_value(value)
            .map_err(|e| Error::invalid("the value cannot be written as JSON").caused_by(e))?;
        Self::from_raw(&raw)
    }

    /// The JSON text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The value as serde_json's raw value.
    #[must_use]
    pub fn as_raw(&self) -> &RawValue {
        &self.0
    }

    /// Reads a value out of the JSON.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the JSON is not of that shape.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_str(self.get())
            .map_err(|e| Error::invalid("the JSON has another shape").caused_by(e))
    }
}

fn not_json(error: serde_json::Error) -> Error {
    Error::invalid("it is not JSON").caused_by(error)
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for RawJson {}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_raw(&raw).map_err(serde::de::Error::custom)
    }
}
