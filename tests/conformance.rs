//! The conformance suite on every storage of this crate. One module each.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use async_trait::async_trait;
use chatkeep::Result;
use chatkeep::storage::conformance::{Fixture, of_key_value, tests};
use chatkeep::storage::key_value::MemoryKeyValue;
use chatkeep::storage::{Capabilities, Durability, MemoryStorage, Storage};

/// Handles that are writers of their own.
struct InMemory(MemoryStorage);

#[async_trait]
impl Fixture for InMemory {
    async fn open(&self) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.0.another_writer()))
    }
}

fn memory_fixture() -> InMemory {
    InMemory(MemoryStorage::new())
}

mod memory {
    super::tests!(fixture: super::memory_fixture);
}

mod memory_clones {
    super::tests!(storage: chatkeep::storage::MemoryStorage::new);
}

mod key_value {
    super::tests!(super::MemoryKeyValue::new);
}

/// An engine that outlives its storages, as a database outlives a process.
fn persistent_fixture() -> impl Fixture {
    let mut capabilities = Capabilities::new("persistent");
    capabilities.persistent = true;
    capabilities.durability = Durability::Synced;
    of_key_value(MemoryKeyValue::new(), Some(capabilities))
}

mod persistent_key_value {
    super::tests!(fixture: super::persistent_fixture);
}

// The file storage's module is in `tests/file_storage/conformance.rs`, with what it needs.
