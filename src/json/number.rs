//! A number that keeps its spelling.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::RawJson;
use crate::error::{Error, Result};

/// A JSON number that is kept as it was written, so that saving it again never rounds it.
///
/// # Examples
///
/// ```
/// use chatkeep::Number;
///
/// assert_eq!(Number::from(0.5).as_f64(), 0.5);
/// assert_eq!(Number::parse("0.10")?.to_string(), "0.10");
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Number(RawJson);

impl Number {
    /// Keeps a number as it is spelled.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is not a JSON number.
    pub fn parse(number: &str) -> Result<Self> {
        Self::of(RawJson::parse(number)?)
    }

    fn of(json: RawJson) -> Result<Self> {
        if json.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
            return Ok(Self(json));
        }
        Err(Error::invalid("it is not a number"))
    }

    /// The nearest floating-point number.
    #[must_use]
    pub fn as_f64(&self) -> f64 {
        self.0.get().parse().unwrap_or(f64::NAN)
    }
}

impl From<f64> for Number {
    /// A number that is not finite becomes 0, since JSON has none.
    fn from(number: f64) -> Self {
        let finite = if number.is_finite() { number } else { 0.0 };
        Self::from_text(&format!("{finite:?}"))
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self::from_text(&number.to_string())
    }
}

impl Number {
    #[expect(clippy::expect_used, reason = "Rust prints finite numbers as JSON does")]
    fn from_text(text: &str) -> Self {
        Self::parse(text).expect("a finite number is a JSON number")
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get())
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(RawJson::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
