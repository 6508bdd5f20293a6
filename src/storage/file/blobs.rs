//! Blobs: one file each, named by the hash of its content.

use bytes::Bytes;

use super::capabilities;
use super::disk::parent;
use super::engine::Engine;
use super::error::FileError;
use crate::error::Result;
use crate::storage::ext::session_not_found;
use crate::storage::{BlobId, SessionKey, rules};

impl Engine {
    pub(super) fn put_blob(&self, key: &SessionKey, id: &BlobId, content: &Bytes) -> Result<()> {
        rules::check_blob(id, content, &capabilities())?;
        // Under the lock, so that a blob cannot outlive its session.
        let _held = self.lock_session(key)?;
        if self.current(key)?.is_none() {
            return Err(session_not_found(key));
        }
        let path = self.layout.blob(key, id);
        if self.disk.read(&path)?.is_some_and(|there| there == *content) {
            // Whoever put it there may not have come to make its name durable.
            self.disk.ensure_dir(parent(&path))?;
            return Ok(self.disk.sync_dir(parent(&path))?);
        }
        Ok(self.disk.write(&path, content)?)
    }

    pub(super) fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        if self.current(key)?.is_none() {
            return Ok(None);
        }
        let path = self.layout.blob(key, id);
        let content = self.disk.read(&path)?;
        if content.as_ref().is_some_and(|content| BlobId::of(content) != *id) {
            let (file, problem) = (self.disk.show(&path), "the blob has another hash".to_owned());
            return Err(FileError::Damaged { file, record: None, problem }.into());
        }
        Ok(content)
    }

    pub(super) fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        if self.current(key)?.is_none() {
            return Ok(Vec::new());
        }
        let names = self.disk.list(&self.layout.blobs(key))?;
        // What has a name that no blob has is not the store's.
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }
}
