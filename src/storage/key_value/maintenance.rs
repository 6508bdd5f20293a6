//! Verifying and repairing a session's lines.

use async_trait::async_trait;
use bytes::Bytes;

use super::engine::{Order, WriteBatch};
use super::head::StoredHead;
use super::read::Reader;
use super::{KeyValue, KeyValueStorage, keys, log};
use crate::error::{Error, Result};
use crate::storage::line::Checksum;
use crate::storage::{Durability, Maintenance, OnProgress, Report, Revision, SessionKey};

#[async_trait]
impl<K: KeyValue> Maintenance for KeyValueStorage<K> {
    async fn verify(&self, key: &SessionKey) -> Result<Report> {
        let present = self.existing(key).await?;
        Ok(report(&self.whole(key, &present.stored).await?.0))
    }

    /// A head that cannot be read is not repaired: nothing else says where the log ends.
    async fn repair(&self, key: &SessionKey) -> Result<Report> {
        let present = self.existing(key).await?;
        let stored = &present.stored;
        let (page, lines) = self.whole(key, stored).await?;
        let mut done = report(&page);
        if done.damage.is_empty() {
            return Ok(done);
        }
        let (chained, sum) = log::chain(&page.page.records, |_| None)?;
        let readable = |revision| {
            page.page.records.binary_search_by_key(&revision, |record| record.revision).is_ok()
        };
        let mut write = WriteBatch::new(Durability::Synced);
        for (revision, line) in lines.into_iter().filter(|(revision, _)| !readable(*revision)) {
            let kept = keys::damaged(key, revision);
            done.kept.push(format!("q key of record {revision}"));
            write = write.put(kept, line).delete(keys::line(key, revision));
        }
        let bytes = chained.iter().map(|(_, line)| line.len() as u64).sum();
        for (revision, line) in chained {
            write = write.put(keys::line(key, revision), line);
        }
        self.replace_head(key, &present, &repaired(stored, sum, bytes), write).await?;
        Ok(done)
    }

    async fn rebuild_index(&self, _on_progress: OnProgress<'_>) -> Result<()> {
        Ok(())
    }

    async fn scrub(&self) -> Result<()> {
        Ok(())
    }
}

impl<K: KeyValue> KeyValueStorage<K> {
    async fn whole<'a>(
        &self,
        key: &SessionKey,
        stored: &'a StoredHead,
    ) -> Result<(Reader<'a>, Vec<(Revision, Bytes)>)> {
        let mut page = Reader::new(stored, false);
        let all = Revision::ZERO.next()..stored.revision.next();
        let mut lines = self.lines_within(key, all, Order::Ascending);
        let mut read: Vec<(Revision, Bytes)> = Vec::new();
        while let Some(line) = lines.next().await? {
            page.add(&line, read.last());
            read.push(line);
        }
        page.check_end(read.last().map(|(revision, _)| *revision));
        if self.existing(key).await?.stored.rewrites != stored.rewrites {
            return Err(
                Error::conflict("the session changed in the meantime").with("session", &key.id)
            );
        }
        Ok((page, read))
    }
}

/// The lines now begin a chain of their own, with gaps: as after a compaction of them all.
fn repaired(stored: &StoredHead, sum: Checksum, bytes: u64) -> StoredHead {
    let mut repaired = StoredHead {
        version: stored.version + 1,
        rewrites: stored.rewrites + 1,
        sum,
        base_sum: sum,
        bytes,
        ..stored.clone()
    };
    repaired.head.base = stored.revision;
    repaired
}

fn report(page: &Reader<'_>) -> Report {
    let page = &page.page;
    Report {
        records: page.records.len() as u64,
        revision: page.records.last().map_or(Revision::ZERO, |record| record.revision),
        damage: page.damage.clone(),
        ..Report::default()
    }
}
