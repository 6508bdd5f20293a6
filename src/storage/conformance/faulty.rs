//! An engine whose next write fails, or whose answer is lost.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};
use crate::storage::key_value::{Committed, KeyValue, Order, WriteBatch};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    LoseAnswer,
    Fail,
}

#[derive(Clone)]
pub(super) struct Faulty<K> {
    engine: K,
    next: Arc<Mutex<Option<Fault>>>,
}

impl<K> Faulty<K> {
    pub(super) fn new(engine: K) -> Self {
        Self { engine, next: Arc::default() }
    }

    pub(super) fn arm(&self, fault: Fault) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    fn take(&self) -> Option<Fault> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl<K: KeyValue> KeyValue for Faulty<K> {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.engine.get(key).await
    }

    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        self.engine.scan(range, limit, order).await
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        match self.take() {
            None => self.engine.commit(batch).await,
            Some(Fault::Fail) => Err(Error::unavailable("the write was made to fail")),
            Some(Fault::LoseAnswer) => {
                self.engine.commit(batch).await?;
                Err(Error::new(ErrorKind::Indeterminate, "the answer was made to be lost"))
            }
        }
    }
}
