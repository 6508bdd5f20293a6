//! Logs written anew: compacted, repaired, or after a failed sync.

use std::sync::Arc;

use super::append::Add;
use super::capabilities;
use super::changes::Change;
use super::engine::Engine;
use super::error::FileError;
use super::read::whole;
use super::scan::{Before, Forward, Item};
use super::system::{OpenFile, OpenHow};
use super::tail::{Log, Tail};
use crate::error::{Error, Result};
use crate::storage::ext::session_not_found;
use crate::storage::line::{self, Checksum, Line, LineHead};
use crate::storage::rules;
use crate::storage::{
    BatchId, Damage, Head, HeadFields, Incarnation, Record, Report, Revision, SessionKey,
};

const BLOCK: usize = 1 << 20;

/// Writes lines with a new chain of checksums.
struct Chain<'a> {
    add: Add<'a>,
    buffer: Vec<u8>,
    written: u64,
    sum: Checksum,
}

impl Chain<'_> {
    fn push(&mut self, record: &Record, more: u64, head: Option<&LineHead>) -> Result<()> {
        self.sum = line::encode(record, more, head, self.sum, &mut self.buffer)?;
        if self.buffer.len() >= BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        (self.add)(&self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Engine {
    pub(super) fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head> {
        let held = self.lock_session(key)?;
        let compacted = self.compact_locked(key, through, records, guard);
        drop(held);
        let (head, change) = compacted
            .inspect_err(|error| self.note_failure(error))
            .map_err(|error| error.with("session", &key.id))?;
        self.note(key, change);
        self.watchers.hints.send(key);
        Ok(head)
    }

    fn compact_locked(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<(Head, Change)> {
        let log = self.to_rewrite(key)?;
        let head = log.tail.head();
        rules::check_compaction(key, &head, guard, through, &records, &capabilities())?;
        if records.is_empty() && through == head.revision {
            return Err(Error::invalid("a log must keep at least one record"));
        }
        self.check_intact(key, &log)?;
        let mut lines: Vec<Line> =
            records.into_iter().map(|record| Line { record, more: 0, head: None }).collect();
        let mut damaged = None;
        whole(self, key, &log, |items| {
            for item in items {
                match item {
                    Item::Good(entry) if entry.line.record.revision > through => {
                        lines.push(entry.line);
                    }
                    Item::Good(_) => {}
                    Item::Bad { offset, problem, .. } => {
                        damaged = damaged.take().or(Some((offset, problem)))
                    }
                }
            }
            Ok(())
        })?;
        if let Some((offset, problem)) = damaged {
            // Whoever compacts may not have come across it. It must not vanish without a copy.
            self.report_damage(key, &log, offset, &problem)?;
            self.check_intact(key, &log)?;
        }
        let head = LineHead { base: through, through: Revision::ZERO, ..log.tail.head.clone() };
        let compacted = self.write_lines(key, lines, head, log.tail.revision)?;
        let change = Change { before: log.look, at_once: false, ..Change::of(&compacted) };
        Ok((compacted.tail.head(), change))
    }

    /// The log under the session's lock, if it may be written.
    fn to_rewrite(&self, key: &SessionKey) -> Result<Log> {
        if self.is_poisoned(key) {
            let file = self.disk.show(&self.layout.log(key));
            return Err(FileError::Poisoned { file }.into());
        }
        let deleted = self.tombstone(key)?;
        self.writable(key, deleted)?
            .filter(|log| deleted.is_none_or(|deleted| log.tail.head.incarnation > deleted))
            .ok_or_else(|| session_not_found(key))
    }

    /// Puts a log of these lines in place. The last one carries the head.
    fn write_lines(
        &self,
        key: &SessionKey,
        mut lines: Vec<Line>,
        mut head: LineHead,
        revision: Revision,
    ) -> Result<Log> {
        let Some(last) = lines.last_mut() else {
            return Err(Error::invalid("a log must keep at least one record"));
        };
        last.more = 0;
        if last.record.revision < revision {
            head.through = revision;
        }
        last.head = Some(head.clone());
        self.replace_log(key, |add| {
            let mut chain = Chain { add, buffer: Vec::new(), written: 0, sum: Checksum::START };
            for mut line in lines {
                if let Some(own) = &mut line.head {
                    own.base = head.base;
                }
                chain.push(&line.record, line.more, line.head.as_ref())?;
            }
            chain.flush()?;
            let (end, sum) = (chain.written, chain.sum);
            Ok(Tail { end, sum, revision, head, head_end: end, damaged: None })
        })
    }

    /// Copies a log whose last bytes may not be on the disk into a file that is.
    pub(super) fn rewrite_suspect(&self, key: &SessionKey, log: &Log) -> Result<Log> {
        if log.len > log.tail.end {
            self.keep(key, &*log.file, log.tail.end, log.len, "torn")?;
        }
        let path = self.layout.log(key);
        let copy = self.replace_log(key, |add| {
            self.each_block(&path, &*log.file, 0, log.tail.end, add)?;
            Ok(Tail::clone(&log.tail))
        })?;
        self.heal(key)?;
        Ok(copy)
    }

    pub(super) fn verify(&self, key: &SessionKey) -> Result<Report> {
        let Some(found) = self.survey(key)? else { return Err(session_not_found(key)) };
        Ok(found.report)
    }

    pub(super) fn repair(&self, key: &SessionKey) -> Result<Report> {
        let held = self.lock_session(key)?;
        let report = self.repair_locked(key);
        drop(held);
        self.watchers.hints.send(key);
        let (report, change) = report
            .inspect_err(|error| self.note_failure(error))
            .map_err(|error| error.with("session", &key.id))?;
        if let Some(change) = change {
            self.note(key, change);
        }
        Ok(report)
    }

    fn repair_locked(&self, key: &SessionKey) -> Result<(Report, Option<Change>)> {
        let Some(mut found) = self.survey(key)? else { return Err(session_not_found(key)) };
        let suspect = self.disk.metadata(&self.suspect(key))?.is_some();
        let whole = found.report.damage.is_empty() && found.end == found.len;
        if whole && !suspect && !self.is_poisoned(key) {
            self.heal(key)?;
            return Ok((found.report, None));
        }
        let kept = self.keep(key, &*found.file, 0, found.len, "original")?;
        found.report.kept.push(self.disk.show(&kept));
        let Some(first) = found.lines.first() else {
            return Err(FileError::Damaged {
                file: self.disk.show(&self.layout.log(key)),
                record: Some(1),
                problem: "no record of the log can be read".to_owned(),
            }
            .into());
        };
        let head = found.head.take().unwrap_or_else(|| LineHead {
            incarnation: found.deleted.map_or(Incarnation::FIRST, Incarnation::next),
            base: Revision::ZERO,
            through: Revision::ZERO,
            fields: HeadFields::new(first.record.at),
        });
        regroup(&mut found.lines);
        let repaired = self.write_lines(
            key,
            found.lines,
            LineHead { through: Revision::ZERO, ..head },
            found.report.revision,
        )?;
        self.heal(key)?;
        let change = Change { stale: true, ..Change::of(&repaired) };
        Ok((found.report, Some(change)))
    }

    /// Reads a whole log and says what is in it; changes nothing.
    fn survey(&self, key: &SessionKey) -> Result<Option<Survey>> {
        let path = self.layout.log(key);
        let deleted = self.tombstone(key)?;
        let Some(file) = self.disk.open(&path, OpenHow::Append)? else { return Ok(None) };
        let len = file.metadata().map_err(self.disk.failed("look at", &path))?.len;
        let mut found = Survey {
            lines: Vec::new(),
            head: None,
            end: 0,
            len,
            deleted,
            report: Report::default(),
            file: Arc::clone(&file),
        };
        let mut lines = Forward::new(&*file, 0, len, Before::START);
        let (mut number, mut pending) = (0, Vec::new());
        while let Some(items) = lines.next_items().map_err(self.disk.failed("read", &path))? {
            for item in items {
                number += u64::from(item.len() > 0);
                found.take(item, number, &mut pending, &self.disk.show(&path));
            }
        }
        if found.lines.is_empty() {
            let (place, problem) = (self.disk.show(&path), "no record can be read".to_owned());
            found.report.damage.push(Damage { place, record: Some(1), problem });
        }
        let gone = |head: &LineHead| deleted.is_some_and(|deleted| head.incarnation <= deleted);
        Ok(Some(found).filter(|found| !found.head.as_ref().is_some_and(gone)))
    }
}

/// What a whole log holds.
struct Survey {
    /// The lines of whole batches, and what is left of damaged ones.
    lines: Vec<Line>,
    head: Option<LineHead>,
    /// Where the last whole batch ends.
    end: u64,
    len: u64,
    deleted: Option<Incarnation>,
    report: Report,
    file: Arc<dyn OpenFile>,
}

impl Survey {
    /// Adds an item. What comes after the last whole batch is an append that was torn, so that
    /// items wait in `pending` until a batch ends behind them.
    fn take(&mut self, item: Item, number: u64, pending: &mut Vec<(u64, Item)>, place: &str) {
        let ends = item.good().is_some_and(|entry| entry.line.more == 0);
        pending.push((number, item));
        if !ends {
            return;
        }
        for (number, item) in pending.drain(..) {
            match item {
                Item::Good(entry) => {
                    self.end = entry.end;
                    self.report.records += 1;
                    self.report.revision = entry.line.record.revision;
                    if let Some(head) = &entry.line.head {
                        self.report.revision = self.report.revision.max(head.through);
                        self.head = Some(head.clone());
                    }
                    self.lines.push(entry.line);
                }
                Item::Bad { problem, .. } => {
                    let place = place.to_owned();
                    self.report.damage.push(Damage { place, record: Some(number), problem });
                }
            }
        }
    }
}

/// Counts anew how many records of its batch follow each line.
fn regroup(lines: &mut [Line]) {
    let mut after: Option<(BatchId, u64)> = None;
    for line in lines.iter_mut().rev() {
        let batch = line.record.batch;
        line.more = match after {
            Some((same, more)) if same == batch => more + 1,
            _ => 0,
        };
        after = Some((batch, line.more));
    }
}
