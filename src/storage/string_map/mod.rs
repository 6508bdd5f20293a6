//! [`StringMapStorage`]: sessions in an engine that has no more than get, set, remove and keys: an
//! editor's memento, a browser's local storage.
//!
//! # What such an engine cannot do, and what is done about it
//!
//! - **It has no order.** The keys are read once, when it is opened, and kept in memory, sorted.
//! - **It has no batches.** A commit of several changes first sets one key to all of them: its
//!   *intent*. From then on it counts. Then each change is made, and the intent is removed. An
//!   intent that is found, when the engine is opened or after a call failed, is carried out before
//!   anything is read. So a commit is all or nothing after a crash at any moment, as long as
//!   setting *one* key is.
//! - **It does not say when bytes are on the disk.** The durability is
//!   [`Buffered`](Durability::Buffered), unless a host that knows better says so with
//!   [`with_capabilities`](KeyValueStorage::with_capabilities).
//! - **It does not tell one process from another.** Only one may have it open; nothing here can
//!   find out if there are two, and they would undo each other's changes.
//!
//! # Keys
//!
//! All keys begin with `chatkeep.1/`; others are left alone, but with keys of another version
//! (`chatkeep.`, a number, `/`) it does not open. `chatkeep.1/+intent` is the intent.
//! The rest is a key of [`key_value`](super::key_value): letters, digits, `-`, `_` and `.` as they
//! are, every other byte as `%` and two lower-case hex digits. A value is `t` and text, or `b` and
//! base64 (RFC 4648 §4) where it is not text or has control characters in it.

mod encoding;
mod memory;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::lock::Mutex;

use self::encoding::{INTENT, Intent};
pub use self::memory::MemoryStringMap;
use super::key_value::{Committed, KeyValue, KeyValueStorage, Order, WriteBatch};
use super::{Capabilities, Durability};
use crate::error::{Error, Result};

/// An engine with these four methods and nothing else.
///
/// Keys are compared character by character, and values are kept as they are: all of them are
/// printable text and line breaks.
///
/// # Errors
///
/// A `set` or `remove` of which it is not known whether it took effect fails with
/// [`Indeterminate`](crate::ErrorKind::Indeterminate); any other error says that nothing was
/// changed.
///
/// # Cancel safety
///
/// A `set` or `remove` whose future is dropped may or may not have taken effect, whole or not at
/// all.
///
/// # Examples
///
/// [`MemoryStringMap`], the one for tests, is a complete example.
#[async_trait]
pub trait StringMap: Send + Sync + 'static {
    /// The value of a key; `None` if it has none.
    async fn get(&self, key: &str) -> Result<Option<String>>;

    /// Gives a key a value, all of it or nothing.
    async fn set(&self, key: &str, value: &str) -> Result<()>;

    /// Removes a key; one that is not there is no error.
    async fn remove(&self, key: &str) -> Result<()>;

    /// All keys, in any order.
    async fn keys(&self) -> Result<Vec<String>>;
}

/// Sessions in an engine that has no more than get, set, remove and keys.
///
/// # Examples
///
/// ```
/// use chatkeep::storage::string_map::MemoryStringMap;
/// use chatkeep::{ChatStore, NewSession, StringMapStorage};
///
/// # pollster::block_on(async {
/// let memento = MemoryStringMap::new();
/// let storage = StringMapStorage::open(memento.clone()).await?;
/// let store = ChatStore::builder(storage).build().await?;
/// let chat = store.local().create(NewSession::titled("Parser")).await?;
/// drop(store);
///
/// let storage = StringMapStorage::open(memento).await?; // the editor was started again
/// let store = ChatStore::builder(storage).build().await?;
/// assert_eq!(store.local().open(chat.id()).await?.model().title(), "Parser");
/// # Ok::<(), chatkeep::Error>(())
/// # })?;
/// # Ok::<(), chatkeep::Error>(())
/// ```
pub type StringMapStorage<M> = KeyValueStorage<StringMapEngine<M>>;

impl<M: StringMap> StringMapStorage<M> {
    /// Opens the sessions in an engine. An engine without any is an empty store.
    ///
    /// Records may have 4 MiB and blobs 16 MiB: such engines are made for small values.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) for keys or an intent that cannot be read,
    /// [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion) for those of another version,
    /// and the engine's own.
    pub async fn open(map: M) -> Result<Self> {
        let capabilities = Capabilities {
            durability: Durability::Buffered,
            persistent: true,
            max_record: 4 << 20,
            max_blob: 16 << 20,
            ..Capabilities::new("string map")
        };
        Ok(Self::new(StringMapEngine::open(map).await?).with_capabilities(capabilities))
    }
}

/// An ordered engine with atomic commits on a [`StringMap`]. Clones share it.
///
/// Calls wait for each other.
pub struct StringMapEngine<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    map: M,
    /// All keys, in order; none while it is not known what the map holds: before the first call,
    /// and after one that failed or was dropped within a change.
    keys: Mutex<Option<BTreeSet<Bytes>>>,
}

impl<M: StringMap> StringMapEngine<M> {
    /// Opens a map: carries out what a crash may have left undone, and reads the keys.
    ///
    /// # Errors
    ///
    /// Those of [`StringMapStorage::open`](KeyValueStorage::open).
    pub async fn open(map: M) -> Result<Self> {
        let keys = Mutex::new(Some(map.look_anew().await?));
        Ok(Self { shared: Arc::new(Shared { map, keys }) })
    }

    /// The values of these keys, which must all be there.
    async fn values(&self, keys: Vec<Bytes>) -> Result<Vec<(Bytes, Bytes)>> {
        let mut pairs = Vec::with_capacity(keys.len());
        for key in keys {
            let value = self.shared.map.value(&key).await?.ok_or_else(changed_by_another)?;
            pairs.push((key, value));
        }
        Ok(pairs)
    }
}

/// What is done with the map while nobody else uses it.
#[async_trait]
trait StringMapExt: StringMap {
    async fn value(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.get(&encoding::key(key)).await?;
        value.map(encoding::read_value).transpose()
    }

    /// The keys, once an intent that is there has been carried out.
    async fn look_anew(&self) -> Result<BTreeSet<Bytes>> {
        if let Some(intent) = self.get(INTENT).await? {
            self.carry_out(&Intent::read(&intent)?).await?;
            self.remove(INTENT).await?;
        }
        let keys = self.keys().await?;
        keys.iter().filter_map(|key| encoding::read_key(key).transpose()).collect()
    }

    /// Makes changes that count once this returns. Whether they are all made by then, too; if not,
    /// who looks anew makes them.
    async fn change(&self, changes: &Intent) -> Result<bool> {
        if changes.changes() <= 1 {
            return self.carry_out(changes).await.map(|()| true);
        }
        self.set(INTENT, &changes.write()?).await?;
        let made = match self.carry_out(changes).await {
            Ok(()) => self.remove(INTENT).await,
            failed => failed,
        };
        if let Err(error) = &made {
            tracing::warn!(%error, "a commit that counts is to be carried out by the next call");
        }
        Ok(made.is_ok())
    }

    async fn carry_out(&self, intent: &Intent) -> Result<()> {
        for key in &intent.deletes {
            self.remove(key).await?;
        }
        for (key, value) in &intent.puts {
            self.set(key, value).await?;
        }
        Ok(())
    }
}

impl<M: StringMap + ?Sized> StringMapExt for M {}

fn changed_by_another() -> Error {
    Error::unavailable("a key is gone that nobody here removed: another process has it open")
}

impl<M> Clone for StringMapEngine<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<M> fmt::Debug for StringMapEngine<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StringMapEngine").finish_non_exhaustive()
    }
}

#[async_trait]
impl<M: StringMap> KeyValue for StringMapEngine<M> {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let mut state = self.shared.keys.lock().await;
        let keys = known(&self.shared.map, &mut state).await?;
        if !keys.contains(key) {
            return Ok(None);
        }
        let found = self.shared.map.value(key).await?;
        if found.is_none() {
            *state = None;
            return Err(changed_by_another());
        }
        Ok(found)
    }

    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let mut state = self.shared.keys.lock().await;
        let found = known(&self.shared.map, &mut state).await?.range(range).cloned();
        let keys = match order {
            Order::Ascending => found.take(limit).collect(),
            Order::Descending => found.rev().take(limit).collect(),
        };
        let pairs = self.values(keys).await;
        if pairs.is_err() {
            *state = None;
        }
        pairs
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        let map = &self.shared.map;
        let mut state = self.shared.keys.lock().await;
        // Taken out: until this is over, a call that comes after a failure looks anew.
        let mut keys = match state.take() {
            Some(keys) => keys,
            None => map.look_anew().await?,
        };
        for (place, condition) in batch.conditions.iter().enumerate() {
            let found = match keys.contains(&condition.key) {
                true => map.value(&condition.key).await?,
                false => None,
            };
            if found != condition.value {
                *state = Some(keys);
                return Ok(Committed::Failed(place));
            }
        }
        let deletes = batch.deletes.iter().filter(|key| keys.contains(*key));
        if map.change(&Intent::new(deletes, &batch.puts)).await? {
            for key in &batch.deletes {
                keys.remove(key);
            }
            keys.extend(batch.puts.into_iter().map(|(key, _)| key));
            *state = Some(keys);
        }
        Ok(Committed::Done)
    }
}

/// The keys, looked up anew if it is not known what the map holds.
async fn known<'a>(
    map: &impl StringMap,
    state: &'a mut Option<BTreeSet<Bytes>>,
) -> Result<&'a BTreeSet<Bytes>> {
    match state {
        Some(keys) => Ok(keys),
        None => Ok(state.insert(map.look_anew().await?)),
    }
}
