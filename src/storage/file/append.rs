//! Adding a batch to a log.

use std::sync::Arc;

use super::capabilities;
use super::changes::{Change, alike};
use super::disk::{UNFINISHED, parent, with_suffix};
use super::engine::{Engine, lock};
use super::error::FileError;
use super::scan::{Backward, Item};
use super::system::OpenHow;
use super::tail::{Log, Positions, Tail};
use crate::error::{Error, Result};
use crate::storage::ext::session_not_found;
use crate::storage::line::{self, Checksum, LineHead};
use crate::storage::rules;
use crate::storage::{
    Appended, Batch, Durability, Expected, Head, Incarnation, Revision, SessionKey,
};

/// A head is written again after so many bytes, so that opening need not look far back for one.
const HEAD_DISTANCE: u64 = 16 << 10;

/// Memory of more bytes is not kept for the next batch's lines.
const MOST_KEPT: usize = 64 << 10;

/// Adds bytes to a log that is being written.
pub(super) type Add<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), FileError>;

/// A batch as bytes, and the tail once they are in the log.
struct Encoded {
    bytes: Vec<u8>,
    tail: Tail,
}

impl Engine {
    pub(super) fn append(
        &self,
        key: &SessionKey,
        expected: Expected,
        mut batch: Batch,
    ) -> Result<Appended> {
        rules::check_batch(expected, &batch, &capabilities())?;
        let texts = std::mem::take(&mut batch.texts);
        let held = self.lock_session(key)?;
        let landed = self.append_locked(key, expected, batch);
        drop(held);
        let (appended, mut change) = landed
            .inspect_err(|error| self.note_failure(error))
            .map_err(|error| error.with("session", &key.id))?;
        change.texts = texts;
        self.note(key, change);
        self.watchers.hints.send(key);
        Ok(appended)
    }

    fn append_locked(
        &self,
        key: &SessionKey,
        expected: Expected,
        batch: Batch,
    ) -> Result<(Appended, Change)> {
        if self.is_poisoned(key) {
            let file = self.disk.show(&self.layout.log(key));
            return Err(FileError::Poisoned { file }.into());
        }
        let deleted = self.tombstone(key)?;
        let log = match self.writable(key, deleted)? {
            Some(log) if deleted.is_some_and(|deleted| log.tail.head.incarnation <= deleted) => {
                self.finish_purge(key)?;
                None
            }
            log => log,
        };
        if let Some(log) = &log
            && self.has_landed(key, log, expected, &batch)?
        {
            let appended = self.settle(key, log, &batch)?;
            let start = rules::place_of(expected);
            let through = batch.records.last().map_or(start, |record| record.revision);
            let change = Change { before: None, start, through, ..Change::of(log) };
            return Ok((appended, change));
        }
        let stands = log.as_ref().map(|log| log.tail.standing());
        let life = rules::decide(key, expected, batch.epoch, stands, deleted)?;
        let Some(log) = log else {
            let (appended, log) = self.create(key, life, batch)?;
            return Ok((appended, Change { start: Revision::ZERO, ..Change::of(&log) }));
        };
        self.check_intact(key, &log)?;
        let (before, start) = (log.look, log.tail.revision);
        let listed = batch.head.as_ref().is_some_and(|now| !alike(now, &log.tail.head.fields));
        let (appended, log) = self.add(key, log, batch)?;
        let change = Change::to(appended.head.clone(), log.len);
        let change = Change { before, start, at_once: listed, ..change };
        Ok((appended, change))
    }

    /// A damaged log is not written to: what is added could not be told from what is damaged.
    pub(super) fn check_intact(&self, key: &SessionKey, log: &Log) -> Result<()> {
        if let Some(offset) = log.tail.damaged {
            self.report_damage(key, log, offset, "the record is damaged")?;
        }
        match self.known_damage(key, log) {
            None => Ok(()),
            Some(damage) => Err(FileError::Damaged {
                file: damage.place,
                record: damage.record,
                problem: format!(
                    "the log is damaged ({}) and can only be read until it is repaired",
                    damage.problem
                ),
            }
            .into()),
        }
    }

    /// The log, without anything unfinished at its end, if the file is there.
    pub(super) fn writable(
        &self,
        key: &SessionKey,
        deleted: Option<Incarnation>,
    ) -> Result<Option<Log>> {
        let Some(log) = self.log(key, deleted)? else { return Ok(None) };
        if deleted.is_some_and(|deleted| log.tail.head.incarnation <= deleted) {
            return Ok(Some(log));
        }
        if log.named && log.trusted && log.len == log.tail.end {
            return Ok(Some(log));
        }
        let path = self.layout.log(key);
        if !log.named {
            // Whoever put the file there may not have come to make its name durable.
            self.disk.ensure_dir(parent(&path))?;
            self.disk.sync_dir(parent(&path))?;
        }
        // Whoever did not write the log's end looks whether it is on the disk.
        if !log.trusted && self.disk.metadata(&self.suspect(key))?.is_some() {
            return self.rewrite_suspect(key, &log).map(Some);
        }
        let log = Log { named: true, trusted: true, ..log };
        self.remember(key, &log);
        if log.len == log.tail.end {
            return Ok(Some(log));
        }
        self.keep(key, &*log.file, log.tail.end, log.len, "torn")?;
        log.file.set_len(log.tail.end).map_err(self.disk.failed("cut", &path))?;
        let log = Log { len: log.tail.end, ..log };
        self.remember(key, &log);
        Ok(Some(log))
    }

    /// Whether the batch is in the log already, where it was expected to be.
    fn has_landed(
        &self,
        key: &SessionKey,
        log: &Log,
        expected: Expected,
        batch: &Batch,
    ) -> Result<bool> {
        let (life, place) = match expected {
            Expected::New => (Some(Incarnation::FIRST), Revision::ZERO),
            Expected::NewIncarnation => (None, Revision::ZERO),
            Expected::At { incarnation, revision } => (Some(incarnation), revision),
        };
        if life.is_some_and(|life| life != log.tail.head.incarnation) || log.tail.revision <= place
        {
            return Ok(false);
        }
        // Where compaction dropped the first of its records, the batch is known by any other.
        let compacted = place < log.tail.head.base;
        let near = log.positions.at_or_after(place.plus(2)).filter(|_| !compacted);
        let from = near.map_or(log.tail.end, |(_, offset)| offset);
        let path = self.layout.log(key);
        let mut lines = Backward::new(&*log.file, from);
        while let Some(items) = lines.next_items().map_err(self.disk.failed("read", &path))? {
            for entry in items.iter().rev().filter_map(Item::good) {
                let record = &entry.line.record;
                if record.revision <= place {
                    return Ok(false);
                }
                if record.batch == batch.id && (compacted || record.revision == place.next()) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Makes a batch that is there already as safe as it was asked to be.
    fn settle(&self, key: &SessionKey, log: &Log, batch: &Batch) -> Result<Appended> {
        let durability = self.sync_log(key, log, batch.durability)?;
        Ok(Appended { head: log.tail.head(), durability })
    }

    fn sync_log(&self, key: &SessionKey, log: &Log, asked: Durability) -> Result<Durability> {
        let durability = rules::achieved(asked, capabilities().durability);
        if durability == Durability::Synced {
            log.file.sync_data().map_err(|source| {
                self.poison(key);
                let file = self.disk.show(&self.layout.log(key));
                FileError::Unknown { operation: "sync", file, source }
            })?;
        }
        Ok(durability)
    }

    /// The first batch: the file appears with all of it, whatever durability is asked for, since
    /// an empty log could not be told from a damaged one.
    fn create(&self, key: &SessionKey, life: Incarnation, batch: Batch) -> Result<(Appended, Log)> {
        let Some(fields) = batch.head.clone() else {
            return Err(Error::invalid("a session's first batch has no head"));
        };
        let head =
            LineHead { incarnation: life, base: batch.base, through: Revision::ZERO, fields };
        let start = Tail {
            end: 0,
            sum: Checksum::START,
            revision: Revision::ZERO,
            head,
            head_end: 0,
            damaged: None,
        };
        let encoded = encode(&start, batch, Vec::new())?;
        let log = self.replace_log(key, |add| {
            add(&encoded.bytes)?;
            Ok(encoded.tail)
        })?;
        Ok((Appended { head: log.tail.head(), durability: Durability::Synced }, log))
    }

    fn add(&self, key: &SessionKey, log: Log, batch: Batch) -> Result<(Appended, Log)> {
        let lines = std::mem::take(&mut *lock(&self.lines));
        let durability = batch.durability;
        let mut encoded = encode(&log.tail, batch, lines)?;
        self.write_tail(key, &log, &encoded.bytes)?;
        if encoded.bytes.capacity() <= MOST_KEPT {
            encoded.bytes.clear();
            *lock(&self.lines) = encoded.bytes;
        }
        let durability = self.sync_log(key, &log, durability)?;
        log.positions.note_new(log.tail.revision.next(), log.tail.end);
        let log = Log { len: encoded.tail.end, tail: Arc::new(encoded.tail), ..log };
        self.remember(key, &log);
        Ok((Appended { head: log.tail.head(), durability }, log))
    }

    /// One write. If the disk does not take all of it, what it took is cut off again; if it is not
    /// certain that this is so, nobody writes here any more.
    fn write_tail(&self, key: &SessionKey, log: &Log, bytes: &[u8]) -> Result<(), FileError> {
        let written = log.file.append(bytes);
        if written.as_ref().is_ok_and(|written| *written == bytes.len()) {
            return Ok(());
        }
        let file = self.disk.show(&self.layout.log(key));
        let failed = match written {
            Ok(written) => FileError::Short { file: file.clone(), written, bytes: bytes.len() },
            Err(source) => FileError::Io { operation: "write", file: file.clone(), source },
        };
        self.forget(key);
        // A whole batch is never cut off: a reader may have seen it.
        let landed = log.file.metadata().map(|now| now.len >= log.len + bytes.len() as u64);
        let cut = match landed {
            Ok(false) => log.file.set_len(log.len).and_then(|()| log.file.sync_data()),
            Ok(true) => Err(std::io::Error::other("the batch is there though the write failed")),
            Err(error) => Err(error),
        };
        cut.map_or_else(
            |source| {
                self.poison(key);
                Err(FileError::Unknown { operation: "write", file, source })
            },
            |()| Err(failed),
        )
    }

    /// Puts a new log in place, whole and durable. `write` adds to it through the function that it
    /// is given, and says what its tail is.
    pub(super) fn replace_log(
        &self,
        key: &SessionKey,
        write: impl FnOnce(Add<'_>) -> Result<Tail>,
    ) -> Result<Log> {
        let path = self.layout.log(key);
        let dir = parent(&path);
        self.disk.ensure_dir(dir)?;
        let unfinished = with_suffix(&path, UNFINISHED);
        let written = self.disk.create(&unfinished).map_err(Error::from).and_then(|file| {
            let tail = write(&mut |bytes| self.disk.append(&*file, &unfinished, bytes))?;
            file.sync_data().map_err(self.disk.failed("sync", &path))?;
            Ok(tail)
        });
        let tail = match written {
            Ok(tail) => tail,
            Err(error) => {
                self.disk.discard(&unfinished);
                return Err(error);
            }
        };
        self.forget(key);
        if let Err(error) = self.disk.rename(&unfinished, &path) {
            if self.disk.metadata(&unfinished)?.is_some() {
                self.disk.discard(&unfinished);
                return Err(error.into());
            }
            return Err(self.unsettled(key, "rename", error));
        }
        self.disk.sync_dir(dir).map_err(|error| self.unsettled(key, "sync", error))?;
        let opened = self.disk.open(&path, OpenHow::Append);
        let opened = opened.map_err(|error| self.unknown(key, "open", error))?;
        let file = opened.ok_or_else(|| session_not_found(key))?;
        let found = file.metadata().map_err(self.disk.failed("look at", &path));
        let found = found.map_err(|error| self.unknown(key, "look at", error))?;
        let positions: Arc<Positions> = Arc::default();
        let log = Log {
            file,
            identity: found.identity,
            len: found.len,
            look: None,
            tail: Arc::new(tail),
            positions,
            named: true,
            trusted: true,
        };
        self.remember(key, &log);
        Ok(log)
    }
}

impl Engine {
    /// A new file may lose its name again; nothing must be added to it until that is settled.
    fn unsettled(&self, key: &SessionKey, operation: &'static str, error: FileError) -> Error {
        self.poison(key);
        self.unknown(key, operation, error)
    }

    /// What was written is there, durably, though it cannot be looked at: whoever tries again finds it.
    fn unknown(&self, key: &SessionKey, operation: &'static str, error: FileError) -> Error {
        let file = self.disk.show(&self.layout.log(key));
        let source = std::io::Error::other(Error::from(error));
        FileError::Unknown { operation, file, source }.into()
    }

    pub(super) fn head(&self, key: &SessionKey) -> Result<Option<Head>> {
        Ok(self.current(key)?.map(|log| log.tail.head()))
    }
}

/// Puts the batch's lines into `bytes`, which is empty.
fn encode(tail: &Tail, batch: Batch, mut bytes: Vec<u8>) -> Result<Encoded> {
    let sets_head = batch.head.is_some();
    let fields = batch.head.unwrap_or_else(|| tail.head.fields.clone());
    let mut tail =
        Tail { head: LineHead { fields, through: Revision::ZERO, ..tail.head }, ..*tail };
    let start = tail.end;
    let last = batch.records.len() - 1;
    for (index, record) in batch.records.iter().enumerate() {
        if index == last && record.revision < tail.head.base {
            tail.head.through = tail.head.base;
        }
        // A head is never further from the end than the first block of a reader.
        let far = start + bytes.len() as u64 - tail.head_end > HEAD_DISTANCE;
        let head = (index == last && (sets_head || far)).then_some(&tail.head);
        let more = (last - index) as u64;
        tail.sum = line::encode(record, more, head, tail.sum, &mut bytes)?;
        tail.revision = record.revision.max(tail.head.through);
        if head.is_some() {
            tail.head_end = start + bytes.len() as u64;
        }
    }
    tail.end = start + bytes.len() as u64;
    Ok(Encoded { bytes, tail })
}
