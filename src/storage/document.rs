//! Small documents, blobs and the receipt of a deletion.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::head::{Incarnation, VersionToken};
use crate::error::{Error, Result};
use crate::id::OwnerId;

/// Whose a document is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum DocumentScope {
    /// One owner's.
    Owner(OwnerId),
    /// The whole store's.
    Store,
}

/// A small document: preferences, which sessions were open, who is running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its bytes.
    pub content: Bytes,
    /// The engine's mark of this version.
    pub version: VersionToken,
    /// When it ceases to exist by itself.
    pub expires: Option<Timestamp>,
}

/// In what version a document must be for a write to take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExpectedDocument {
    /// Whatever is there.
    Any,
    /// Nothing is there.
    Absent,
    /// This version is there.
    Version(VersionToken),
}

/// The SHA-256 of a blob's content, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; 32]);

impl BlobId {
    /// The id of this content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobId({self})")
    }
}

impl FromStr for BlobId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::invalid(format!("{text:?} is not a SHA-256 of 64 hexadecimal digits"));
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut id = [0; 32];
        for (byte, digits) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(id))
    }
}

/// What a deletion removed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PurgeReceipt {
    /// The life of the id that ended.
    pub incarnation: Incarnation,
    /// How many bytes of records were removed.
    pub bytes: u64,
    /// How many blobs were removed.
    pub blobs: u64,
    /// What is not certainly gone yet, in words: a copy in the engine's own files, say. Empty where
    /// all is.
    pub remains: Vec<String>,
}

impl PurgeReceipt {
    /// The receipt of a deletion that left nothing behind.
    #[must_use]
    pub const fn new(incarnation: Incarnation, bytes: u64, blobs: u64) -> Self {
        Self { incarnation, bytes, blobs, remains: Vec::new() }
    }
}
