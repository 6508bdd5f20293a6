//! Reading a part of a log.

use super::engine::Engine;
use super::error::FileError;
use super::scan::{Backward, Entry, Forward, Item};
use super::tail::Log;
use crate::error::{Error, Result};
use crate::storage::ext::session_not_found;
use crate::storage::{LogPage, ReadRange, Record, Revision, SessionKey};

/// A page of a forward read ends after so many bytes, at the end of a batch.
const PAGE: u64 = 4 << 20;
/// How far apart the places are that a long read backwards leaves behind.
const SPACING: u64 = 256 << 10;

/// What was read, ascending.
struct Stretch {
    items: Vec<Item>,
    earlier: bool,
    later: bool,
    restarted: bool,
}

impl Engine {
    pub(super) fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        let log = self.current(key)?.ok_or_else(|| session_not_found(key))?;
        let path = self.layout.log(key);
        let stretch = match range {
            ReadRange::After(revision) => after(&log, revision),
            ReadRange::Newest { turns } => {
                Ok(newest(&log, turns).map_err(self.disk.failed("read", &path))?)
            }
            ReadRange::Before { turns: 0, .. } => Err(Error::invalid("a page of no turns")),
            ReadRange::Before { revision, turns } => {
                Ok(before(&log, revision, turns).map_err(self.disk.failed("read", &path))?)
            }
        };
        let stretch = stretch.map_err(|error| error.with("file", self.disk.show(&path)))?;
        self.page(key, &log, stretch)
    }

    fn page(&self, key: &SessionKey, log: &Log, stretch: Stretch) -> Result<LogPage> {
        let mut records = Vec::with_capacity(stretch.items.len());
        let (mut damage, mut lines) = (Vec::new(), self.line_numbers(key, log));
        for item in stretch.items {
            match item {
                Item::Good(entry) => records.push(entry.line.record),
                Item::Bad { offset, problem, .. } => {
                    damage.push(lines.damage_at(offset, problem)?);
                }
            }
        }
        if let Some(first) = damage.first() {
            self.keep_damaged(key, log, first);
        }
        Ok(LogPage {
            head: log.tail.head(),
            records,
            earlier: stretch.earlier,
            later: stretch.later,
            restarted: stretch.restarted,
            damage,
        })
    }
}

fn newest(log: &Log, turns: u64) -> std::io::Result<Stretch> {
    let mut missing = turns;
    let mut checkpoint = false;
    let items = back(log, log.tail.end, |entry| {
        let kind = &entry.line.record.kind;
        missing = missing.saturating_sub(u64::from(*kind == Record::REQUEST));
        checkpoint |= *kind == Record::CHECKPOINT;
        missing == 0 && checkpoint
    })?;
    Ok(stretch_back(log, items, false))
}

fn before(log: &Log, revision: Revision, turns: u64) -> std::io::Result<Stretch> {
    let from = log.positions.at_or_after(revision).map_or(log.tail.end, |(_, offset)| offset);
    let mut missing = turns;
    let mut items = back(log, from, |entry| {
        let record = &entry.line.record;
        let counts = record.revision < revision && *record.kind == *Record::REQUEST;
        missing = missing.saturating_sub(u64::from(counts));
        missing == 0
    })?;
    let is_later = |item: &Item| item.good().is_some_and(|e| e.line.record.revision >= revision);
    if let Some(end) = items.iter().position(is_later) {
        items.truncate(end);
    }
    Ok(stretch_back(log, items, log.tail.revision >= revision))
}

fn stretch_back(log: &Log, items: Vec<Item>, later: bool) -> Stretch {
    let earlier = items.first().is_some_and(|item| item.offset() > 0);
    if let Some(first) = items.first().and_then(Item::good) {
        log.positions.note(first.line.record.revision, first.offset);
    }
    Stretch { items, earlier, later, restarted: false }
}

/// Reads back from a line's end until `enough`, inclusive. The items are ascending.
fn back(
    log: &Log,
    from: u64,
    mut enough: impl FnMut(&Entry) -> bool,
) -> std::io::Result<Vec<Item>> {
    let mut found = Vec::new();
    let mut lines = Backward::new(&*log.file, from);
    'all: while let Some(items) = lines.next_items()? {
        for item in items.into_iter().rev() {
            let done = item.good().is_some_and(&mut enough);
            found.push(item);
            if done {
                break 'all;
            }
        }
    }
    found.reverse();
    Ok(found)
}

fn after(log: &Log, revision: Revision) -> Result<Stretch> {
    let failed = |e| Error::unavailable("the log could not be read").caused_by(e);
    let restarted = revision < log.tail.head.base;
    let nothing = Stretch { items: Vec::new(), earlier: true, later: false, restarted: false };
    if revision >= log.tail.revision {
        return Ok(nothing);
    }
    let from = if restarted || revision == Revision::ZERO {
        0
    } else {
        place_after(log, revision).map_err(failed)?
    };
    let mut lines = Forward::from_line(&*log.file, from, log.tail.end).map_err(failed)?;
    let (mut items, mut end) = (Vec::new(), from);
    'page: while let Some(more) = lines.next_items().map_err(failed)? {
        for item in more {
            let ends = item.good().map(|entry| (entry.end, entry.line.more == 0));
            items.push(item);
            if let Some((at, true)) = ends
                && at - from >= PAGE
                // Nobody can read on from below the base.
                && items.last().and_then(Item::good).is_some_and(|entry| {
                    entry.line.record.revision >= log.tail.head.base
                })
            {
                end = at;
                break 'page;
            }
            end = ends.map_or(end, |(at, _)| at);
        }
    }
    let last = items.iter().rev().find_map(Item::good).map(|entry| entry.line.record.revision);
    let later = end < log.tail.end && last.is_some();
    if let Some(last) = last.filter(|_| later) {
        log.positions.note(last.next(), end);
    }
    Ok(Stretch { items, earlier: from > 0, later, restarted })
}

/// Where the first record after a revision begins.
fn place_after(log: &Log, revision: Revision) -> std::io::Result<u64> {
    let known = log.positions.at_or_after(revision.next());
    if let Some((known, offset)) = known
        && known == revision.next()
    {
        return Ok(offset);
    }
    let mut place = known.map_or(log.tail.end, |(_, offset)| offset);
    let mut noted = place;
    let mut lines = Backward::new(&*log.file, place);
    while let Some(items) = lines.next_items()? {
        for item in items.iter().rev() {
            if item.good().is_some_and(|entry| entry.line.record.revision <= revision) {
                return Ok(place);
            }
            place = item.offset();
            if let Some(entry) = item.good()
                && noted - place >= SPACING
            {
                log.positions.note(entry.line.record.revision, place);
                noted = place;
            }
        }
    }
    Ok(place)
}

/// The whole of a log's items, a block at a time.
pub(super) fn whole(
    engine: &Engine,
    key: &SessionKey,
    log: &Log,
    mut each: impl FnMut(Vec<Item>) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let path = engine.layout.log(key);
    let mut lines = Forward::new(&*log.file, 0, log.tail.end, super::scan::Before::START);
    while let Some(items) = lines.next_items().map_err(engine.disk.failed("read", &path))? {
        each(items)?;
    }
    Ok(())
}
