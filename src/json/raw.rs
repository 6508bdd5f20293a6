//! A JSON value kept token for token.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::scan::{self, MAX_DEPTH, MAX_WHOLE_DEPTH};
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
pub struct RawJson(Arc<Box<RawValue>>);

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
        Self::kept(Cow::Borrowed(raw), MAX_DEPTH)
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the value cannot be written, and those of
    /// [`parse`](Self::parse).
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Self::kept(Cow::Owned(to_raw(value)?), MAX_DEPTH)
    }

    /// Checks the text of a whole that adopters' values stand in: a record's body, a document. It
    /// may be a little deeper than they, so that a value that fits into a small whole fits into
    /// any.
    pub(crate) fn parse_whole(json: &str) -> Result<Self> {
        Self::from_raw_whole(serde_json::from_str(json).map_err(not_json)?)
    }

    pub(crate) fn from_raw_whole(raw: &RawValue) -> Result<Self> {
        Self::kept(Cow::Borrowed(raw), MAX_WHOLE_DEPTH)
    }

    /// Writes such a whole.
    pub(crate) fn of_whole<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        Self::kept(Cow::Owned(to_raw(value)?), MAX_WHOLE_DEPTH)
    }

    /// Checks such a whole that was written.
    pub(crate) fn of_whole_text(json: Vec<u8>) -> Result<Self> {
        let text = String::from_utf8(json)
            .map_err(|e| Error::invalid("the JSON is not UTF-8").caused_by(e))?;
        let raw = RawValue::from_string(text).map_err(not_json)?;
        Self::kept(Cow::Owned(raw), MAX_WHOLE_DEPTH)
    }

    /// Why a value could not be written.
    pub(crate) fn not_written(error: serde_json::Error) -> Error {
        Error::invalid(format!("the value cannot be written as JSON: {}", brief(&error)))
    }

    /// Checks depth and surrogates of such a whole, whose grammar is checked where it is read.
    pub(crate) fn check_whole(json: &str) -> Result<()> {
        scan::check(json, MAX_WHOLE_DEPTH).map(drop)
    }

    fn kept(raw: Cow<'_, RawValue>, depth: usize) -> Result<Self> {
        Ok(Self(Arc::new(checked(raw, depth)?.into_owned())))
    }

    /// Whether it is `null`.
    #[must_use]
    pub(crate) fn is_null(&self) -> bool {
        self.get() == "null"
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
    /// [`Invalid`](crate::ErrorKind::Invalid) if the JSON is not of that shape, saying where.
    pub fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_str(self.get()).map_err(shape)
    }
}

fn checked(raw: Cow<'_, RawValue>, depth: usize) -> Result<Cow<'_, RawValue>> {
    if !scan::check(raw.get(), depth)? {
        return Ok(raw);
    }
    let text = scan::minify(raw.get());
    RawValue::from_string(text).map(Cow::Owned).map_err(not_json)
}

fn to_raw<T: Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value).map_err(RawJson::not_written)
}

fn not_json(error: serde_json::Error) -> Error {
    Error::invalid(format!("it is not JSON: {}", brief(&error)))
}

/// The JSON has another shape than the format, or a type, says.
pub(crate) fn shape(error: serde_json::Error) -> Error {
    let brief = brief(&error);
    // A limit that was found inside of serde comes out as its text alone.
    if brief.contains("limit exceeded: ") {
        return Error::limit_exceeded(format!("the JSON is too large: {brief}"));
    }
    Error::invalid(format!("the JSON has another shape: {brief}"))
}

/// What serde says, without what people wrote: it cites the strings that it did not expect, whole.
fn brief(error: &serde_json::Error) -> String {
    /// Longer messages are cut.
    const LONGEST: usize = 300;
    let mut text = error.to_string();
    if let (Some(start), Some(end)) = (text.find("string \""), text.rfind("\", expected"))
        && start + 7 <= end
    {
        text.replace_range(start + 6..=end, "");
    }
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
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
        Self::kept(Cow::Owned(raw), MAX_DEPTH).map_err(serde::de::Error::custom)
    }
}
