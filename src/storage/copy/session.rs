//! Copying one session.

use std::borrow::Cow;

use super::compare::{Missing, Original};
use crate::environment::{IdSource, RandomIds};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{
    Batch, BatchId, BlobId, Body, Durability, Expected, Extract, Head, HeadFields, Record,
    Revision, SessionKey, Storage, StorageExt as _, TurnFacts, TurnText,
};

/// A batch ends after so many bytes of bodies, or records.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_RECORDS: usize = 1_024;
/// How often an append is tried whose outcome the target does not tell.
const ATTEMPTS: usize = 3;
/// How often a session is read that goes on before its text is read.
const READINGS: usize = 8;
/// A record in the place of one that was compacted, until the target is compacted as well.
/// Readers skip kinds that they do not know.
const FILLER: &str = "filler";

/// Why a session was not copied.
#[derive(Debug)]
pub(super) enum Stop {
    /// This one cannot be; the others can.
    Failed(Error),
    /// The target fails: so would the others.
    Broken(Error),
    /// It was deleted from the source.
    Gone,
}

pub(super) type Outcome<T> = std::result::Result<T, Stop>;

/// Judges a failure of the target.
pub(super) fn of_target(error: Error) -> Stop {
    use ErrorKind::{Busy, Indeterminate, Unavailable};
    match error.kind() {
        Busy | Indeterminate | Unavailable => Stop::Broken(error),
        _ => Stop::Failed(error),
    }
}

/// Judges a failure of the source.
fn of_source(error: Error) -> Stop {
    if error.is_not_found() { Stop::Gone } else { Stop::Failed(error) }
}

/// What was done for one session.
#[derive(Debug, Default)]
pub(super) struct Copied {
    /// Whether it was begun, or only completed.
    pub(super) begun: bool,
    pub(super) changed: bool,
    pub(super) blobs: u64,
    pub(super) bytes: u64,
    /// Blobs that cannot be read in the source.
    pub(super) damaged: Vec<Error>,
    /// Why its text could not be had.
    pub(super) without_text: Option<Error>,
}

/// The copy of one session.
pub(super) struct Session<'a> {
    from: &'a dyn Storage,
    to: &'a dyn Storage,
    extract: Option<&'a dyn Extract>,
    key: &'a SessionKey,
    /// How often it was read.
    readings: usize,
    /// What its last batch brings.
    texts: Vec<TurnText>,
    facts: Vec<TurnFacts>,
    pub(super) done: Copied,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        from: &'a dyn Storage,
        to: &'a dyn Storage,
        extract: Option<&'a dyn Extract>,
        key: &'a SessionKey,
    ) -> Self {
        let (texts, facts, done) = (Vec::new(), Vec::new(), Copied::default());
        Self { from, to, extract, key, readings: 0, texts, facts, done }
    }

    /// Copies the session and compares what is in the target then.
    pub(super) async fn copy(&mut self) -> Outcome<()> {
        let mut expected = Expected::New;
        loop {
            let original = self.original().await?;
            let copied = match self.copy_once(&original, expected).await {
                Err(Stop::Broken(error)) => return Err(Stop::Broken(error)),
                Ok(false) => continue,
                copied => copied.map(drop),
            };
            let now = self.from.head(self.key).await.map_err(Stop::Failed)?;
            if now.as_ref().is_some_and(|now| now.incarnation == original.incarnation) {
                return copied;
            }
            // Deleted meanwhile: what this copy has begun goes as well.
            if self.done.begun {
                self.to.purge(self.key).await.map_err(of_target)?;
            }
            match now {
                Some(_) if self.done.begun => expected = Expected::NewIncarnation,
                Some(_) => return copied,
                None => return Err(Stop::Gone),
            }
            self.done = Copied::default();
        }
    }

    async fn original(&mut self) -> Outcome<Original> {
        self.readings += 1;
        let log = self.from.read_after(self.key, Revision::ZERO).await.map_err(of_source)?;
        Original::new(self.key, log).map_err(Stop::Failed)
    }

    /// False if nothing was done, since the session has gone on.
    async fn copy_once(&mut self, original: &Original, expected: Expected) -> Outcome<bool> {
        let there = match self.to.read_after(self.key, Revision::ZERO).await {
            Ok(page) => Some(page),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(of_target(error)),
        };
        let missing = there.as_ref().map(|page| original.missing(self.key, page)).transpose();
        let missing = missing.map_err(Stop::Failed)?;
        if missing.is_none_or(|missing| missing.records) && !self.read_text(original).await {
            return Ok(false);
        }
        match (missing, there) {
            (Some(missing), Some(page)) => {
                self.copy_blobs().await?;
                self.complete(original, missing, page.head).await?;
                if missing == Missing::NOTHING {
                    return Ok(true);
                }
            }
            _ => self.begin(original, expected).await?,
        }
        self.check(original).await.map(|()| true)
    }

    /// Reads what is searched and counted; false if that is of another state than the records are.
    async fn read_text(&mut self, original: &Original) -> bool {
        (self.texts, self.facts) = (Vec::new(), Vec::new());
        let wanted = self.to.full_text().is_some() || self.to.statistics().is_some();
        let Some(extract) = self.extract.filter(|_| wanted) else { return true };
        match extract.extract(self.key).await {
            Ok(found) if original.is_at(&found.head) => {
                (self.texts, self.facts) = (found.texts, found.facts);
            }
            Ok(_) if self.readings < READINGS => return false,
            Ok(_) => {
                let error = Error::busy("the session goes on all the time while it is copied");
                self.done.without_text = Some(error.with("session", &self.key.id));
            }
            Err(error) => self.done.without_text = Some(error),
        }
        true
    }

    /// What a compacted log begins with has to come in one batch; of any other the first record
    /// comes alone, so that its blobs are there before the records that name them.
    async fn begin(&mut self, original: &Original, expected: Expected) -> Outcome<()> {
        let first = original.records.first().map_or(Revision::ZERO, |record| record.revision);
        let through = original.base.max(first);
        let records = original.between(Revision::ZERO, through).to_vec();
        let is_all = through >= original.revision;
        let mut batch = batch(records, Some(original.fields.clone()));
        batch.base = original.base;
        if is_all {
            self.add_text(&mut batch);
        }
        let head = self.append(expected, batch).await?;
        self.done.begun = true;
        self.copy_blobs().await?;
        self.add_records(original, head).await.map(drop)
    }

    async fn complete(&mut self, original: &Original, missing: Missing, head: Head) -> Outcome<()> {
        let head = match missing.records {
            true => self.add_records(original, head).await?,
            false => head,
        };
        if missing.compaction {
            let kept = original.between(Revision::ZERO, original.base).to_vec();
            let compacted = self.to.compact(self.key, original.base, kept, &head).await;
            compacted.map_err(of_target)?;
            self.done.changed = true;
        }
        Ok(())
    }

    /// Adds the records that come after where the target stands.
    async fn add_records(&mut self, original: &Original, mut head: Head) -> Outcome<Head> {
        while head.revision < original.revision {
            let records = next_records(original, head.revision);
            let last = records.last().map_or(head.revision, |record| record.revision);
            let is_last = last >= original.revision;
            let mut batch = batch(records, is_last.then(|| original.fields.clone()));
            if is_last {
                self.add_text(&mut batch);
            }
            let expected = Expected::At { incarnation: head.incarnation, revision: head.revision };
            head = self.append(expected, batch).await?;
        }
        Ok(head)
    }

    async fn append(&mut self, expected: Expected, mut batch: Batch) -> Outcome<Head> {
        batch.id = BatchId::new(RandomIds.next_u64());
        batch.records.iter_mut().for_each(|record| record.batch = batch.id);
        let bytes: usize = batch.records.iter().map(|record| record.body.bytes().len()).sum();
        let mut attempt = 1;
        loop {
            match self.to.append(self.key, expected, batch.clone()).await {
                Ok(appended) => {
                    self.done.changed = true;
                    self.done.bytes += bytes as u64;
                    return Ok(appended.head);
                }
                Err(e) if e.kind() == ErrorKind::Indeterminate && attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(of_target(error)),
            }
        }
    }

    /// Adds what is searched and counted to a session's last batch.
    fn add_text(&mut self, batch: &mut Batch) {
        batch.texts = std::mem::take(&mut self.texts);
        batch.facts = std::mem::take(&mut self.facts);
    }

    async fn copy_blobs(&mut self) -> Outcome<()> {
        let there = self.to.blobs(self.key).await.map_err(of_target)?;
        for id in self.from.blobs(self.key).await.map_err(of_source)? {
            if let Err(error) = self.copy_blob(&id, there.binary_search(&id).is_ok()).await? {
                self.done.damaged.push(error);
            }
        }
        Ok(())
    }

    /// Copies a blob, or checks that it is there. A blob that the source cannot give keeps no other
    /// from being copied.
    async fn copy_blob(&mut self, id: &BlobId, is_there: bool) -> Outcome<Result<()>> {
        if !is_there {
            let content = match self.from.get_blob(self.key, id).await {
                Ok(Some(content)) => content,
                // Deleted with its session, which is looked at in the end.
                Ok(None) => return Ok(Err(no_blob(self.key, id))),
                Err(error) => return Ok(Err(error)),
            };
            let bytes = content.len() as u64;
            self.to.put_blob(self.key, id, content).await.map_err(of_target)?;
            self.done.changed = true;
            (self.done.blobs, self.done.bytes) = (self.done.blobs + 1, self.done.bytes + bytes);
        }
        let kept = self.to.get_blob(self.key, id).await.map_err(of_target)?;
        match kept.is_some_and(|kept| BlobId::of(&kept) == *id) {
            true => Ok(Ok(())),
            false => Err(Stop::Failed(not_as_written(self.key).with("blob", id))),
        }
    }

    /// Reads the target's session back.
    async fn check(&self, original: &Original) -> Outcome<()> {
        let page = self.to.read_after(self.key, Revision::ZERO).await.map_err(of_target)?;
        match original.missing(self.key, &page) {
            Ok(Missing::NOTHING) => Ok(()),
            Ok(_) => Err(Stop::Failed(not_as_written(self.key))),
            Err(error) => Err(Stop::Failed(not_as_written(self.key).caused_by(error))),
        }
    }
}

fn no_blob(key: &SessionKey, id: &BlobId) -> Error {
    Error::corrupt("a blob is gone").with("session", &key.id).with("blob", id)
}

fn not_as_written(key: &SessionKey) -> Error {
    Error::corrupt("what is in the target is not what was written").with("session", &key.id)
}

/// The records after a revision, dense, as many as go into one batch.
fn next_records(original: &Original, after: Revision) -> Vec<Record> {
    let left = original.between(after, original.revision);
    let mut left = left.iter().peekable();
    let (mut records, mut bytes, mut revision) = (Vec::new(), 0, after);
    while revision < original.revision && bytes < BATCH_BYTES && records.len() < BATCH_RECORDS {
        revision = revision.next();
        let record = match left.next_if(|record| record.revision == revision) {
            Some(record) => record.clone(),
            None => filler(original, revision),
        };
        bytes += record.body.bytes().len();
        records.push(record);
    }
    records
}

fn filler(original: &Original, revision: Revision) -> Record {
    Record {
        revision,
        turn: crate::id::TurnId::SESSION,
        kind: Cow::Borrowed(FILLER),
        at: original.fields.created,
        batch: BatchId::new(0),
        body: Body::Json(bytes::Bytes::from_static(b"null")),
    }
}

fn batch(records: Vec<Record>, head: Option<HeadFields>) -> Batch {
    Batch {
        id: BatchId::new(0),
        records,
        base: Revision::ZERO,
        head,
        epoch: None,
        texts: Vec::new(),
        facts: Vec::new(),
        durability: Durability::Synced,
    }
}
