//! The suite that every storage passes, on a database.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use async_trait::async_trait;
use chatkeep::storage::Storage;
use chatkeep::storage::conformance::{self, Fixture};
use chatkeep::{Result, SqliteStorage};

use crate::common::{files, path, tempdir};

struct OnADatabase(tempfile::TempDir);

#[async_trait]
impl Fixture for OnADatabase {
    async fn open(&self) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(SqliteStorage::open(path(self.0.path())).await?))
    }

    async fn stored_bytes(&self) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        for (path, content) in files(self.0.path()) {
            bytes.extend_from_slice(path.to_string_lossy().as_bytes());
            bytes.extend_from_slice(&content);
        }
        Ok(Some(bytes))
    }
}

conformance::tests!(fixture: || OnADatabase(tempdir()));
