//! Deleting a session, and the tombstone that it leaves.

use std::ops::Range;

use bytes::Bytes;

use super::blob::{CHUNK_BYTES, chunk_count};
use super::engine::{Committed, Order, WriteBatch};
use super::head::StoredHead;
use super::{KeyValue, KeyValueStorage, keys, log};
use crate::error::{Error, Result};
use crate::storage::rules::Salt;
use crate::storage::{Durability, Incarnation, PurgeReceipt, Revision, SessionKey};

/// The place of a session's tombstone and what stands there.
pub(super) struct Grave {
    key: Bytes,
    value: Option<Bytes>,
}

impl Grave {
    /// The last life of the id, if it was deleted.
    pub(super) fn incarnation(&self) -> Result<Option<Incarnation>> {
        let Some(value) = &self.value else { return Ok(None) };
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| Error::corrupt("a tombstone names no incarnation"))?;
        Ok(Some(Incarnation::new(number)))
    }

    pub(super) fn require_unchanged(&self, write: WriteBatch) -> WriteBatch {
        write.require(self.key.clone(), self.value.clone())
    }
}

impl<K: KeyValue> KeyValueStorage<K> {
    pub(super) async fn grave(&self, key: &SessionKey) -> Result<Grave> {
        let salt = self.salt().await?;
        let key = keys::tombstone(&salt.grave(key));
        let value = self.engine().get(&key).await?;
        Ok(Grave { key, value })
    }

    /// The store's salt; whoever needs it first makes it.
    async fn salt(&self) -> Result<Salt> {
        if let Some(salt) = self.stored_salt().await? {
            return Ok(salt);
        }
        let salt = Bytes::copy_from_slice(Salt::random().bytes());
        let write =
            WriteBatch::new(Durability::Synced).require(keys::salt(), None).put(keys::salt(), salt);
        self.engine().commit(write).await?;
        // Somebody else may have been first.
        self.stored_salt().await?.ok_or_else(|| Error::unavailable("the salt was not kept"))
    }

    async fn stored_salt(&self) -> Result<Option<Salt>> {
        let Some(bytes) = self.engine().get(&keys::salt()).await? else { return Ok(None) };
        let salt = Salt::from_bytes(&bytes);
        salt.map(Some).ok_or_else(|| Error::corrupt("the store's salt is not 16 bytes"))
    }

    pub(super) async fn remove(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        for _ in 0..log::ATTEMPTS {
            let head = self.engine().get(&keys::head(key)).await?.ok_or_else(|| log::gone(key))?;
            let counter = self.engine().get(&keys::blobs(key)).await?;
            // What cannot be read can be deleted all the same.
            let stored = StoredHead::decode(key, &head).ok();
            let incarnation = stored.as_ref().map(|stored| stored.head.incarnation);
            let incarnation = incarnation
                .or_else(|| super::blob::incarnation(counter.as_ref()?))
                .ok_or_else(|| Error::corrupt("the session's head cannot be read"))?;
            let grave = self.grave(key).await?;
            let (blobs, write) = self.removal(key, stored.as_ref()).await?;
            let write = grave
                .require_unchanged(write)
                .put(grave.key.clone(), incarnation.to_string())
                .require(keys::head(key), Some(head))
                .delete(keys::head(key))
                .require(keys::blobs(key), counter)
                .delete(keys::blobs(key));
            if self.engine().commit(write).await? == Committed::Done {
                let bytes = stored.map_or(0, |stored| stored.bytes);
                return Ok(self.receipt(incarnation, bytes, blobs));
            }
        }
        Err(log::too_many_changes(key))
    }

    fn receipt(&self, incarnation: Incarnation, bytes: u64, blobs: u64) -> PurgeReceipt {
        let mut receipt = PurgeReceipt::new(incarnation, bytes, blobs);
        if !self.shared.capabilities.purges_bytes {
            let name = self.shared.capabilities.name;
            receipt.remains.push(format!("copies in the files of {name}, until it drops them"));
        }
        receipt
    }

    /// Everything that belongs to a session beside its head.
    async fn removal(
        &self,
        key: &SessionKey,
        stored: Option<&StoredHead>,
    ) -> Result<(u64, WriteBatch)> {
        let mut write = WriteBatch::new(Durability::Synced);
        // Below the base there are gaps and few lines: look. Above it every revision is there.
        let end = Revision::new(u64::MAX);
        let (looked_for, last) =
            stored.map_or((end, Revision::ZERO), |stored| (stored.base().next(), stored.revision));
        for (revision, _) in self.lines(key, Revision::ZERO.next()..looked_for).await? {
            write = write.delete(keys::line(key, revision));
        }
        for revision in looked_for.get()..=last.get() {
            write = write.delete(keys::line(key, Revision::new(revision)));
        }
        for (damaged, _) in self.all(keys::all_damaged(key)).await? {
            write = write.delete(damaged);
        }
        let blobs = self.all(keys::all_blobs(key)).await?;
        for chunk in self.chunks_of(key, &blobs).await? {
            write = write.delete(chunk);
        }
        for (blob, _) in &blobs {
            write = write.delete(blob.clone());
        }
        Ok((blobs.len() as u64, write))
    }

    /// The keys of all chunks of a session. Those that its blobs count are not read, since they are
    /// large; any others, where a count is damaged, are looked for in the gaps between them.
    async fn chunks_of(&self, key: &SessionKey, blobs: &[(Bytes, Bytes)]) -> Result<Vec<Bytes>> {
        let most = self.shared.capabilities.max_blob.div_ceil(CHUNK_BYTES);
        let all = keys::all_chunks(key);
        let (mut chunks, mut start) = (Vec::new(), all.start);
        for (blob, count) in blobs {
            let is_likely = |count: &u32| usize::try_from(*count).is_ok_and(|count| count <= most);
            let count = chunk_count(count).filter(is_likely).unwrap_or(0);
            chunks.extend(self.chunks_within(start..keys::chunk_of(blob, 0)).await?);
            chunks.extend((0..count).map(|number| keys::chunk_of(blob, number)));
            start = keys::chunk_of(blob, count);
        }
        chunks.extend(self.chunks_within(start..all.end).await?);
        Ok(chunks)
    }

    async fn chunks_within(&self, mut rest: Range<Bytes>) -> Result<Vec<Bytes>> {
        let mut chunks = Vec::new();
        while !rest.is_empty() {
            let page = self.next_of(&mut rest, 8).await?;
            chunks.extend(page.into_iter().map(|(chunk, _)| chunk));
        }
        Ok(chunks)
    }

    /// All keys of a range with their values, page by page.
    pub(super) async fn all(&self, mut rest: Range<Bytes>) -> Result<Vec<(Bytes, Bytes)>> {
        let mut all = Vec::new();
        while !rest.is_empty() {
            all.extend(self.next_of(&mut rest, 256).await?);
        }
        Ok(all)
    }

    /// The first keys of a range, which then begins after them.
    async fn next_of(&self, rest: &mut Range<Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        let page = self.scan(rest.clone(), limit, Order::Ascending).await?;
        rest.start = match page.last() {
            // The smallest key that follows this one.
            Some((last, _)) if page.len() >= limit => [&last[..], &[0]].concat().into(),
            _ => rest.end.clone(),
        };
        Ok(page)
    }
}
