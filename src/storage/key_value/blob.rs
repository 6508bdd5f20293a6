//! Blobs in chunks.

use bytes::{Bytes, BytesMut};

use super::engine::{Committed, WriteBatch};
use super::{KeyValue, KeyValueStorage, keys, log};
use crate::error::{Error, Result};
use crate::storage::{BlobId, Durability, Incarnation, SessionKey, rules};

/// Many engines read a large value whole and slowly.
pub(super) const CHUNK_BYTES: usize = 512 << 10;

/// The `m` key's value: which life, and how many blobs were put.
pub(super) fn counter(incarnation: Incarnation, puts: u64) -> Bytes {
    format!("{incarnation} {puts}").into()
}

fn counted(value: &[u8]) -> Option<Bytes> {
    let (_, puts) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let puts: u64 = puts.parse().ok()?;
    Some(counter(incarnation(value)?, puts + 1))
}

/// The life that an `m` key's value names.
pub(super) fn incarnation(value: &[u8]) -> Option<Incarnation> {
    let (incarnation, _) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    incarnation.parse().ok().map(Incarnation::new)
}

/// How many chunks a blob has, by its key's value.
pub(super) fn chunk_count(value: &[u8]) -> Option<u32> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

impl<K: KeyValue> KeyValueStorage<K> {
    pub(super) async fn keep_blob(
        &self,
        key: &SessionKey,
        id: &BlobId,
        content: &Bytes,
    ) -> Result<()> {
        rules::check_blob(id, content, &self.shared.capabilities)?;
        let blob = keys::blob(key, id);
        let count = content.len().div_ceil(CHUNK_BYTES);
        for _ in 0..log::ATTEMPTS {
            let lives = self.engine().get(&keys::blobs(key)).await?;
            let lives = lives.ok_or_else(|| log::gone(key))?;
            let counted = counted(&lives)
                .ok_or_else(|| Error::corrupt("the blobs' counter cannot be read"))?;
            let mut write = WriteBatch::new(Durability::Synced)
                .require(keys::blobs(key), Some(lives))
                .put(keys::blobs(key), counted)
                .put(blob.clone(), count.to_string());
            for (number, start) in (0..).zip((0..content.len()).step_by(CHUNK_BYTES)) {
                let end = content.len().min(start + CHUNK_BYTES);
                write = write.put(keys::chunk_of(&blob, number), content.slice(start..end));
            }
            if self.engine().commit(write).await? == Committed::Done {
                return Ok(());
            }
        }
        Err(log::too_many_changes(key))
    }

    pub(super) async fn blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        let blob = keys::blob(key, id);
        let Some(count) = self.engine().get(&blob).await? else { return Ok(None) };
        let count = chunk_count(&count)
            .ok_or_else(|| Error::corrupt("a blob's number of chunks cannot be read"))?;
        let mut content = BytesMut::new();
        for number in 0..count {
            let chunk = self.engine().get(&keys::chunk_of(&blob, number)).await?;
            let Some(chunk) = chunk else { break };
            content.extend_from_slice(&chunk);
        }
        if BlobId::of(&content) == *id {
            return Ok(Some(content.freeze()));
        }
        // Deleted between two chunks, or damaged.
        if self.engine().get(&blob).await?.is_none() {
            return Ok(None);
        }
        Err(Error::corrupt("the blob has another hash").with("session", &key.id).with("blob", id))
    }

    pub(super) async fn blob_ids(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        let prefix = keys::all_blobs(key).start.len();
        let blobs = self.all(keys::all_blobs(key)).await?;
        let id = |key: &Bytes| std::str::from_utf8(key.get(prefix..)?).ok()?.parse().ok();
        blobs
            .iter()
            .map(|(key, _)| id(key).ok_or_else(|| Error::corrupt("a blob's key cannot be read")))
            .collect()
    }
}
