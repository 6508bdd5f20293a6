//! What the suite is run on.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::faulty::{Fault, Faulty};
use crate::error::Result;
use crate::storage::key_value::{KeyValue, KeyValueStorage, Order};
use crate::storage::{Capabilities, Storage};

/// An isolated, empty store for one case.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use async_trait::async_trait;
/// use chatkeep::Result;
/// use chatkeep::storage::conformance::{self, Fixture};
/// use chatkeep::storage::{MemoryStorage, Storage};
///
/// struct InMemory(MemoryStorage);
///
/// #[async_trait]
/// impl Fixture for InMemory {
///     async fn open(&self) -> Result<Arc<dyn Storage>> {
///         Ok(Arc::new(self.0.another_writer()))
///     }
/// }
///
/// let fixture = || InMemory(MemoryStorage::new());
/// conformance::check("append::a_session_begins", fixture());
/// ```
#[async_trait]
pub trait Fixture: Send + Sync + 'static {
    /// Opens a handle on the store. Called again it gives a further one on the same data, as
    /// different from the first as the engine permits: another process's, at best. For a
    /// persistent store it is also called after all handles were dropped.
    async fn open(&self) -> Result<Arc<dyn Storage>>;

    /// Lets the next write, through whichever handle, take effect and its answer be lost, so that
    /// it ends in [`Indeterminate`](crate::ErrorKind::Indeterminate). Returns whether it can.
    fn lose_next_answer(&self) -> bool {
        false
    }

    /// Lets the next write, through whichever handle, fail before anything is changed. Returns
    /// whether it can.
    fn fail_next_write(&self) -> bool {
        false
    }

    /// Every byte that the store holds, deleted or not, to look for what should be gone after a
    /// purge; `None` if they cannot be had, or if the store does not promise to remove them.
    async fn stored_bytes(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

/// The fixture of a storage whose clones share its data.
pub fn of_storage<S: Storage + Clone>(storage: S) -> impl Fixture {
    Cloned(storage)
}

struct Cloned<S>(S);

#[async_trait]
impl<S: Storage + Clone> Fixture for Cloned<S> {
    async fn open(&self) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.0.clone()))
    }
}

/// The fixture of a key-value engine whose clones share its data, under a
/// [`KeyValueStorage`] that promises what is given.
///
/// Answers are lost and writes fail between the storage and the engine.
pub fn of_key_value<K: KeyValue + Clone>(
    engine: K,
    capabilities: Option<Capabilities>,
) -> impl Fixture {
    OfKeyValue { engine: Faulty::new(engine), capabilities }
}

struct OfKeyValue<K> {
    engine: Faulty<K>,
    capabilities: Option<Capabilities>,
}

#[async_trait]
impl<K: KeyValue + Clone> Fixture for OfKeyValue<K> {
    async fn open(&self) -> Result<Arc<dyn Storage>> {
        let storage = KeyValueStorage::new(self.engine.clone());
        Ok(match self.capabilities {
            Some(capabilities) => Arc::new(storage.with_capabilities(capabilities)),
            None => Arc::new(storage),
        })
    }

    fn lose_next_answer(&self) -> bool {
        self.engine.arm(Fault::LoseAnswer);
        true
    }

    fn fail_next_write(&self) -> bool {
        self.engine.arm(Fault::Fail);
        true
    }

    /// What the engine shows: all keys and values.
    async fn stored_bytes(&self) -> Result<Option<Vec<u8>>> {
        const PAGE: usize = 256;
        let (mut range, mut bytes) = (everything(), Vec::new());
        loop {
            let page = self.engine.scan(range.clone(), PAGE, Order::Ascending).await?;
            let is_last = page.len() < PAGE;
            for (key, value) in page {
                bytes.extend_from_slice(&key);
                bytes.extend_from_slice(&value);
                range.start = [&key[..], &[0]].concat().into();
            }
            if is_last {
                return Ok(Some(bytes));
            }
        }
    }
}

fn everything() -> Range<Bytes> {
    Bytes::new()..Bytes::from_static(&[0xff])
}
