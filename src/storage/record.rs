//! The record: the unit that a log is made of.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::TurnId;

/// The place of a record in its session's log: dense, counted from 1.
///
/// `Revision::ZERO` is the place before the first record.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The revision with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The revision's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The revision `count` records after this one.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one append, so that a retry of it can be told from another's.
///
/// Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BatchId(u64);

impl BatchId {
    /// The batch with this (random) number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The batch's number.
    #[cfg(feature = "sqlite")]
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({self})")
    }
}

impl FromStr for BatchId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::invalid(format!("{text:?} is not a batch id of 16 hexadecimal digits"));
        if text.len() != 16 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| wrong())
    }
}

/// What a record says. Storage moves it and never looks inside.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// One JSON value in UTF-8 without line breaks and without white space around it; appends
    /// refuse anything else.
    Json(Bytes),
    /// Anything else, an encrypted body for instance. Text formats write it as base64.
    Binary(Bytes),
}

impl Body {
    /// The bytes, whichever they are.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        match self {
            Self::Json(bytes) | Self::Binary(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Body {
    /// The size alone: bodies hold what people wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(bytes) => write!(f, "Json({} bytes)", bytes.len()),
            Self::Binary(bytes) => write!(f, "Binary({} bytes)", bytes.len()),
        }
    }
}

/// One record of a session's log: a small header that storage reads, and an opaque body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record's place in its log.
    pub revision: Revision,
    /// The turn it belongs to; [`TurnId::SESSION`] for the session itself.
    pub turn: TurnId,
    /// What it is, in the log's vocabulary: `a-z`, `.` and `_`, at most 32 bytes.
    ///
    /// Two kinds mean something to storage: a turn's first record is a [`Record::REQUEST`], and a
    /// [`Record::CHECKPOINT`] makes the session's own earlier records superfluous for opening it.
    pub kind: Cow<'static, str>,
    /// When it was made, in whole milliseconds.
    pub at: Timestamp,
    /// The append that it was part of.
    pub batch: BatchId,
    /// What it says.
    pub body: Body,
}

impl Record {
    /// The kind of the record that begins a turn.
    pub const REQUEST: &'static str = "request";
    /// The kind of the record that holds the session's own state as of its revision.
    pub const CHECKPOINT: &'static str = "checkpoint";
}
