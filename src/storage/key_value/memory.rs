//! The engine for tests: a map in memory.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::engine::{Committed, KeyValue, Order, WriteBatch};
use crate::error::Result;

/// A [`KeyValue`] engine in memory. Clones share the data.
///
/// # Examples
///
/// ```
/// use chatkeep::storage::key_value::{Committed, KeyValue, MemoryKeyValue, WriteBatch};
/// use chatkeep::storage::Durability;
///
/// # pollster::block_on(async {
/// let engine = MemoryKeyValue::new();
/// let create = WriteBatch::new(Durability::Buffered)
///     .require("key".into(), None)
///     .put("key".into(), "value");
/// assert_eq!(engine.commit(create.clone()).await?, Committed::Done);
/// assert_eq!(engine.commit(create).await?, Committed::Failed(0));
/// assert_eq!(engine.clone().get(b"key").await?.as_deref(), Some(&b"value"[..]));
/// # Ok::<(), chatkeep::Error>(()) })?;
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryKeyValue {
    map: Arc<Mutex<BTreeMap<Bytes, Bytes>>>,
}

impl MemoryKeyValue {
    /// An engine without any keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing under the lock panics halfway through a change.
    fn map(&self) -> MutexGuard<'_, BTreeMap<Bytes, Bytes>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryKeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryKeyValue").field("keys", &self.map().len()).finish()
    }
}

#[async_trait]
impl KeyValue for MemoryKeyValue {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.map().get(key).cloned())
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
        let map = self.map();
        let found = map.range(range).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match order {
            Order::Ascending => found.take(limit).collect(),
            Order::Descending => found.rev().take(limit).collect(),
        })
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        let mut map = self.map();
        let broken = batch
            .conditions
            .iter()
            .position(|condition| map.get(&condition.key) != condition.value.as_ref());
        if let Some(broken) = broken {
            return Ok(Committed::Failed(broken));
        }
        for key in &batch.deletes {
            map.remove(key);
        }
        map.extend(batch.puts);
        Ok(Committed::Done)
    }
}
