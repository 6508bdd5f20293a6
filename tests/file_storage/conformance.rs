//! The suite that every storage passes, on files.
#![cfg(feature = "conformance")]

use std::sync::Arc;

use async_trait::async_trait;
use chatkeep::Result;
use chatkeep::storage::conformance::{self, Fixture};
use chatkeep::storage::{FileStorage, Storage};

use crate::common::files;
use crate::faulty::{Failure, Faulty};

struct OnFiles {
    dir: tempfile::TempDir,
    disk: Faulty,
}

#[async_trait]
impl Fixture for OnFiles {
    async fn open(&self) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(FileStorage::with_files(self.dir.path(), Arc::new(self.disk.clone()))?))
    }

    // No lost answers: a handle whose disk failed to answer refuses the retry, on purpose.

    fn fail_next_write(&self) -> bool {
        self.disk.fail_after(0);
        true
    }

    async fn stored_bytes(&self) -> Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        for (path, content) in files(self.dir.path()) {
            bytes.extend_from_slice(path.to_string_lossy().as_bytes());
            bytes.extend_from_slice(&content);
        }
        Ok(Some(bytes))
    }
}

conformance::tests!(fixture: || OnFiles {
    dir: tempfile::tempdir().unwrap(),
    disk: Faulty::new(Failure::Error),
});

/// With an index that outlives the process.
#[cfg(feature = "sqlite")]
mod indexed {
    use super::*;

    conformance::tests!(fixture: || OnFiles {
        dir: tempfile::tempdir().unwrap(),
        disk: Faulty::native(Failure::Error),
    });
}
