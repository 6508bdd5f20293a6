//! The engine that a host provides: an ordered map from bytes to bytes.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::storage::Durability;

/// An ordered key-value engine: these three methods are all that a
/// [`KeyValueStorage`](super::KeyValueStorage) needs.
///
/// Keys are ordered by their bytes. Many calls run at once, from several threads.
///
/// # Errors
///
/// An error of kind [`Unavailable`](crate::ErrorKind::Unavailable) says that nothing was changed.
/// If a commit was sent and its answer is missing, the kind is
/// [`Indeterminate`](crate::ErrorKind::Indeterminate).
///
/// # Cancel safety
///
/// A commit whose future is dropped may or may not have taken effect, whole or not at all.
///
/// # Examples
///
/// The engine that tests use, [`MemoryKeyValue`](super::MemoryKeyValue), is a complete example in
/// about fifty lines.
#[async_trait]
pub trait KeyValue: Send + Sync + 'static {
    /// The value of a key; `None` if it has none.
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The first `limit` keys of a range with their values, or the last ones in descending order.
    /// Fewer than `limit` are the end of the range.
    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>>;

    /// Makes all of a batch's changes if all of its conditions hold, as one step that no other
    /// call can come between; changes nothing otherwise.
    async fn commit(&self, batch: WriteBatch) -> Result<Committed>;
}

/// In what order a scan returns keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The smallest key first.
    Ascending,
    /// The greatest key first.
    Descending,
}

/// Changes that are made together or not at all.
///
/// No key is both put and deleted. A key may have a condition without being changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WriteBatch {
    /// What must hold for any change to be made.
    pub conditions: Vec<Condition>,
    /// Keys and their new values.
    pub puts: Vec<(Bytes, Bytes)>,
    /// Keys to remove; one that is not there is no error.
    pub deletes: Vec<Bytes>,
    /// How safe the changes must be when the call returns, as far as the engine can.
    pub durability: Durability,
}

/// That a key has exactly this value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Which key.
    pub key: Bytes,
    /// Its value; `None` requires that there is none.
    pub value: Option<Bytes>,
}

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// All changes were made.
    Done,
    /// Nothing was changed: this condition, by its place in the batch, does not hold.
    Failed(usize),
}

impl WriteBatch {
    /// A batch that changes nothing yet.
    #[must_use]
    pub fn new(durability: Durability) -> Self {
        Self { durability, ..Self::default() }
    }

    /// Requires that a key has exactly this value, or none.
    #[must_use]
    pub fn require(mut self, key: Bytes, value: Option<Bytes>) -> Self {
        self.conditions.push(Condition { key, value });
        self
    }

    /// Sets a key.
    #[must_use]
    pub fn put(mut self, key: Bytes, value: impl Into<Bytes>) -> Self {
        self.puts.push((key, value.into()));
        self
    }

    /// Removes a key.
    #[must_use]
    pub fn delete(mut self, key: Bytes) -> Self {
        self.deletes.push(key);
        self
    }
}
