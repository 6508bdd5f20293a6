//! The map for tests.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::StringMap;
use crate::error::Result;

/// A [`StringMap`] in memory. Clones share the data.
#[derive(Clone, Default)]
pub struct MemoryStringMap {
    map: Arc<Mutex<HashMap<String, String>>>,
}

impl MemoryStringMap {
    /// A map without any keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing under the lock panics halfway through a change.
    fn map(&self) -> MutexGuard<'_, HashMap<String, String>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStringMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStringMap").field("keys", &self.map().len()).finish()
    }
}

#[async_trait]
impl StringMap for MemoryStringMap {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        Ok(self.map().get(key).cloned())
    }

    async fn set(&self, key: &str, value: &str) -> Result<()> {
        self.map().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.map().remove(key);
        Ok(())
    }

    async fn keys(&self) -> Result<Vec<String>> {
        Ok(self.map().keys().cloned().collect())
    }
}
