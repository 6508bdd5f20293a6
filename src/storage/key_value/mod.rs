//! [`KeyValueStorage`]: sessions in any ordered key-value engine.
//!
//! A host implements the three methods of [`KeyValue`] for its engine. Everything that a
//! [`Storage`](crate::storage::Storage) does stands on them.
//!
//! # Keys
//!
//! | key | value |
//! | --- | --- |
//! | `h` owner id | the session's head: CRC-32 in 8 hexadecimal digits, then JSON |
//! | `m` owner id | that the session lives: a number that changes with each blob |
//! | `r` owner id revision | a record, as a line of `docs/format.md` without the line break |
//! | `b` owner id hash | how many chunks the blob has |
//! | `c` owner id hash chunk | a chunk of the blob, up to 512 KiB |
//! | `q` owner id revision | a line that could not be read, kept by a repair |
//! | `t` salted hash of owner and id | the last life of a deleted session |
//! | `ds` name, `do` owner name | a document: JSON, a line break, the content |
//! | `salt` | the store's random bytes for the hashes above |
//!
//! Owners, ids and names are escaped and ended: a zero byte is followed by FF, and 00 01 ends them,
//! so that names keep their order and none is the beginning of another. Revisions and chunks are
//! big-endian numbers.
//!
//! # How it stays whole
//!
//! Every change to a session is one commit whose condition is the head's exact value, so that one
//! of two writers wins. A deletion also requires the `m` key's value, as a blob does: neither can
//! slip past the other. Compaction and deletion are one commit however long the session is; an
//! engine must take batches as large as the sessions that it is to hold.

mod blob;
mod catalogue;
mod document;
mod engine;
mod head;
mod keys;
mod log;
mod maintenance;
mod memory;
mod read;
mod remove;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use self::engine::{Committed, Condition, KeyValue, Order, WriteBatch};
pub use self::memory::MemoryKeyValue;
use super::hints::Hints;
use super::{Capabilities, WriterId};
use crate::environment::{IdSource, RandomIds};
use crate::error::Result;

/// Sessions in an ordered key-value engine.
///
/// A clone is the same user of the same engine. It lacks full text and statistics, and hears only
/// of changes that were made through itself and its clones.
///
/// There is no index: each page of a list, and each count, reads the heads of all of the owner's sessions,
/// some hundred bytes each. For many thousand sessions take an engine that has one.
///
/// # Examples
///
/// ```
/// use chatkeep::storage::key_value::MemoryKeyValue;
/// use chatkeep::storage::{Capabilities, Durability, KeyValueStorage, Storage};
///
/// let mut promises = Capabilities::new("my engine");
/// promises.durability = Durability::Synced;
/// promises.persistent = true;
/// let storage = KeyValueStorage::new(MemoryKeyValue::new()).with_capabilities(promises);
/// assert_eq!(storage.capabilities().name, "my engine");
/// ```
pub struct KeyValueStorage<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    engine: Arc<Opened<K>>,
    capabilities: Capabilities,
    writer: WriterId,
    hints: Hints,
}

/// An engine, and who writes to it.
struct Opened<K> {
    engine: K,
    /// The storages that live, if nobody else can have the engine open.
    writers: Option<Mutex<HashSet<WriterId>>>,
}

impl<K> Opened<K> {
    fn writers(&self) -> Option<MutexGuard<'_, HashSet<WriterId>>> {
        // The set is whole between any two statements.
        self.writers.as_ref().map(|set| set.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<K> Drop for Shared<K> {
    fn drop(&mut self) {
        if let Some(mut writers) = self.engine.writers() {
            writers.remove(&self.writer);
        }
    }
}

impl<K: KeyValue> KeyValueStorage<K> {
    /// Sessions in this engine, of which nothing is promised but that commits are atomic.
    #[must_use]
    pub fn new(engine: K) -> Self {
        let opened = Opened { engine, writers: None };
        Self::with(Arc::new(opened), Capabilities::new("key-value"))
    }

    /// Sessions in an engine that nobody else has open, nor can open, as long as this storage and
    /// those made from it live. Whoever else is named as a writer there is known to be gone, so
    /// that an answer it left behind is ended at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use chatkeep::storage::key_value::MemoryKeyValue;
    /// use chatkeep::storage::{KeyValueStorage, Storage, WriterId};
    ///
    /// let storage = KeyValueStorage::exclusive(MemoryKeyValue::new());
    /// assert!(storage.capabilities().knows_writers);
    /// let earlier = WriterId("of an earlier process".into());
    /// assert!(pollster::block_on(storage.is_gone(&earlier))?);
    /// assert!(!pollster::block_on(storage.is_gone(&storage.writer()))?);
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    #[must_use]
    pub fn exclusive(engine: K) -> Self {
        let opened = Opened { engine, writers: Some(Mutex::default()) };
        Self::with(Arc::new(opened), Capabilities::new("key-value"))
    }

    /// With what the engine can promise beyond that. Full text and watching other processes stay
    /// absent, and only an [`exclusive`](Self::exclusive) engine knows which writers are gone,
    /// whatever is given here.
    ///
    /// The result is another writer than the storage that it was made from.
    #[must_use]
    pub fn with_capabilities(self, capabilities: Capabilities) -> Self {
        Self::with(Arc::clone(&self.shared.engine), capabilities)
    }

    fn with(engine: Arc<Opened<K>>, capabilities: Capabilities) -> Self {
        let capabilities = Capabilities {
            atomic: true,
            watches_processes: false,
            knows_writers: engine.writers.is_some(),
            ..capabilities
        };
        let writer = WriterId(RandomIds.next_id().into());
        if let Some(mut writers) = engine.writers() {
            writers.insert(writer.clone());
        }
        Self { shared: Arc::new(Shared { engine, capabilities, writer, hints: Hints::default() }) }
    }

    fn engine(&self) -> &K {
        &self.shared.engine.engine
    }

    /// Scans a range, which engines do not see if it holds nothing.
    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.engine().scan(range, limit, order).await
    }
}

impl<K> Clone for KeyValueStorage<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyValueStorage<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyValueStorage")
            .field("engine", &self.shared.capabilities.name)
            .field("writer", &self.shared.writer)
            .finish_non_exhaustive()
    }
}
