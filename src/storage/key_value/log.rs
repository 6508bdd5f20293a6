//! Appending to a log and compacting it.

use bytes::Bytes;

use super::engine::{Committed, Order, WriteBatch};
use super::head::{Present, StoredHead};
use super::remove::Grave;
use super::{KeyValue, KeyValueStorage, keys};
use crate::error::{Error, Result};
use crate::storage::ext::session_not_found;
use crate::storage::line::{self, Checksum, LineHead};
use crate::storage::{
    Appended, Batch, Durability, Expected, Head, HeadFields, Incarnation, Record, Revision,
    SessionKey, rules,
};

/// How often a change is tried against a head that others keep changing.
pub(super) const ATTEMPTS: usize = 64;

impl<K: KeyValue> KeyValueStorage<K> {
    pub(super) async fn append_batch(
        &self,
        key: &SessionKey,
        expected: Expected,
        batch: &Batch,
    ) -> Result<Appended> {
        rules::check_batch(expected, batch, &self.shared.capabilities)?;
        for _ in 0..ATTEMPTS {
            let present = self.present(key).await?;
            if let Some(present) = &present
                && self.holds(key, present, expected, batch).await?
            {
                return Ok(self.appended(&present.stored, batch.durability));
            }
            let grave = match present {
                Some(_) => None,
                None => Some(self.grave(key).await?),
            };
            let head = present.as_ref().map(|present| present.stored.to_head());
            let buried = grave.as_ref().map(Grave::incarnation).transpose()?.flatten();
            let incarnation =
                rules::decide(key, expected, batch.epoch, head.as_ref().map(Into::into), buried)?;
            let (stored, mut write) = add(key, present.as_ref(), incarnation, batch)?;
            if let Some(grave) = &grave {
                // A whole life may have passed between the two reads.
                write = grave.require_unchanged(write);
            }
            if self.engine().commit(write).await? == Committed::Done {
                return Ok(self.appended(&stored, batch.durability));
            }
        }
        Err(too_many_changes(key))
    }

    fn appended(&self, stored: &StoredHead, asked: Durability) -> Appended {
        let durability = rules::achieved(asked, self.shared.capabilities.durability);
        Appended { head: stored.to_head(), durability }
    }

    /// Whether this batch landed at the place where it is expected.
    async fn holds(
        &self,
        key: &SessionKey,
        present: &Present,
        expected: Expected,
        batch: &Batch,
    ) -> Result<bool> {
        let stored = &present.stored;
        if matches!(expected, Expected::At { incarnation, .. } if incarnation != stored.head.incarnation)
        {
            return Ok(false);
        }
        let place = rules::place_of(expected);
        if stored.is_last_batch(place, batch.id) {
            return Ok(true);
        }
        let range = keys::lines(key, place.next()..stored.revision.next());
        let first = self.scan(range, 1, Order::Ascending).await?;
        let Some((_, line)) = first.first() else { return Ok(false) };
        // A damaged line is no proof that the batch is there.
        Ok(line::decode(line, None).is_ok_and(|(line, _)| line.record.batch == batch.id))
    }

    pub(super) async fn compact_log(
        &self,
        key: &SessionKey,
        through: Revision,
        records: &[Record],
        guard: &Head,
    ) -> Result<Head> {
        let present = self.existing(key).await?;
        let head = present.stored.to_head();
        let capabilities = &self.shared.capabilities;
        rules::check_compaction(key, &head, guard, through, records, capabilities)?;
        let old = self.lines(key, Revision::ZERO.next()..through.next()).await?;
        let stored = present.stored.clone();
        let base_sum = sum_of_last(key, &stored, through, &old)?;
        let (lines, _) = chain(records, |_| None)?;
        let mut write = WriteBatch::new(Durability::Synced);
        for (revision, _) in &old {
            if records.binary_search_by_key(revision, |record| record.revision).is_err() {
                write = write.delete(keys::line(key, *revision));
            }
        }
        let bytes = stored.bytes.saturating_sub(total(&old)) + total(&lines);
        let stored = StoredHead {
            version: stored.version + 1,
            rewrites: stored.rewrites + 1,
            base_sum,
            bytes,
            head: LineHead { base: through, ..stored.head },
            ..stored
        };
        write = put_lines(write, key, lines);
        self.replace_head(key, &present, &stored, write).await?;
        Ok(stored.to_head())
    }

    /// Commits a batch together with a new head in the place of the one that was read.
    pub(super) async fn replace_head(
        &self,
        key: &SessionKey,
        present: &Present,
        stored: &StoredHead,
        write: WriteBatch,
    ) -> Result<()> {
        let head = keys::head(key);
        let write =
            write.require(head.clone(), Some(present.bytes.clone())).put(head, stored.encode()?);
        match self.engine().commit(write).await? {
            Committed::Done => Ok(()),
            Committed::Failed(_) => {
                Err(Error::conflict("the session changed in the meantime").with("session", &key.id))
            }
        }
    }

    /// All lines of a range, page by page.
    pub(super) async fn lines(
        &self,
        key: &SessionKey,
        range: std::ops::Range<Revision>,
    ) -> Result<Vec<(Revision, Bytes)>> {
        let mut all: Vec<(Revision, Bytes)> = Vec::new();
        let mut from = range.start;
        loop {
            let limit = 256;
            let range = keys::lines(key, from..range.end);
            let page = self.scan(range, limit, Order::Ascending).await?;
            let is_last = page.len() < limit;
            for (key, line) in page {
                all.push((keys::revision_of_line(&key)?, line));
            }
            match all.last() {
                Some((last, _)) if !is_last => from = last.next(),
                _ => return Ok(all),
            }
        }
    }
}

/// The new head, and the batch that adds a session's records under it.
fn add(
    key: &SessionKey,
    present: Option<&Present>,
    incarnation: Incarnation,
    batch: &Batch,
) -> Result<(StoredHead, WriteBatch)> {
    let mut stored = present.map_or_else(
        || {
            StoredHead::begin(LineHead {
                incarnation,
                base: batch.base,
                through: Revision::ZERO,
                fields: fields(batch),
            })
        },
        |present| present.stored.clone(),
    );
    if let Some(fields) = &batch.head {
        stored.head.fields = fields.clone();
    }
    let (mut lines, mut sum) = (Vec::with_capacity(batch.records.len()), stored.sum);
    for (more, record) in (0..batch.records.len() as u64).rev().zip(&batch.records) {
        let head = (more == 0 && batch.head.is_some()).then_some(&stored.head);
        let line;
        (line, sum) = encode(record, more, head, sum)?;
        lines.push((record.revision, line));
        if record.revision <= batch.base {
            stored.base_sum = sum;
        }
    }
    stored.version += 1;
    stored.batch = batch.id.to_string();
    stored.batch_after = stored.revision;
    stored.revision = batch.records.last().map_or(stored.revision, |record| record.revision);
    stored.revision = stored.revision.max(stored.base());
    stored.sum = sum;
    stored.bytes += total(&lines);
    let head = keys::head(key);
    let mut write = WriteBatch::new(batch.durability)
        .require(head.clone(), present.map(|present| present.bytes.clone()))
        .put(head, stored.encode()?);
    if present.is_none() {
        write = write.put(keys::blobs(key), super::blob::counter(incarnation, 0));
    }
    Ok((stored, put_lines(write, key, lines)))
}

fn fields(batch: &Batch) -> HeadFields {
    batch.head.clone().unwrap_or_else(|| HeadFields::new(batch.records[0].at))
}

fn put_lines(write: WriteBatch, key: &SessionKey, lines: Lines) -> WriteBatch {
    lines
        .into_iter()
        .fold(write, |write, (revision, line)| write.put(keys::line(key, revision), line))
}

type Lines = Vec<(Revision, Bytes)>;

/// A chain of lines from the start on.
pub(super) fn chain<'a>(
    records: &'a [Record],
    head: impl Fn(&Record) -> Option<&'a LineHead>,
) -> Result<(Lines, Checksum)> {
    let (mut lines, mut sum) = (Vec::with_capacity(records.len()), Checksum::START);
    for record in records {
        let line;
        (line, sum) = encode(record, 0, head(record), sum)?;
        lines.push((record.revision, line));
    }
    Ok((lines, sum))
}

fn encode(
    record: &Record,
    more: u64,
    head: Option<&LineHead>,
    before: Checksum,
) -> Result<(Bytes, Checksum)> {
    let mut line = Vec::with_capacity(record.body.bytes().len() + 160);
    let sum = line::encode(record, more, head, before, &mut line)?;
    line.pop();
    Ok((line.into(), sum))
}

/// The checksum of the line at `through`, which the first line after it continues.
fn sum_of_last(
    key: &SessionKey,
    stored: &StoredHead,
    through: Revision,
    old: &[(Revision, Bytes)],
) -> Result<Checksum> {
    if through == stored.revision {
        return Ok(stored.sum);
    }
    if through == stored.base() {
        return Ok(stored.base_sum);
    }
    old.last()
        .filter(|(revision, _)| *revision == through)
        .and_then(|(_, line)| Checksum::at_end_of(line))
        .ok_or_else(|| {
            Error::corrupt("the last record to compact is not there")
                .with("session", &key.id)
                .with("record", through)
        })
}

fn total(lines: &[(Revision, Bytes)]) -> u64 {
    lines.iter().map(|(_, line)| line.len() as u64).sum()
}

pub(super) fn too_many_changes(key: &SessionKey) -> Error {
    Error::busy("others keep changing the session").with("session", &key.id)
}

/// The same error whether it is gone or never was.
pub(super) fn gone(key: &SessionKey) -> Error {
    session_not_found(key)
}
