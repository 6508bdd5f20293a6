//! The end of a log: where the last whole batch ends, and the head there.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::disk::read_range;
use super::scan::{Backward, Before, Entry, Forward, Item};
use super::system::{FileIdentity, Metadata, OpenFile};
use crate::storage::line::{self, Checksum, LineHead};
use crate::storage::rules::Standing;
use crate::storage::{Head, HeadFields, Incarnation, Revision, VersionToken};

/// How many places a log's readers keep in mind.
const POSITIONS: usize = 1_024;
/// Where the newest head is looked for at first.
const LAST_BLOCK: u64 = 8 << 10;

/// A session's log as it was when it was last looked at. Never changed, only replaced.
#[derive(Debug, Clone)]
pub(super) struct Log {
    pub(super) file: Arc<dyn OpenFile>,
    pub(super) identity: Option<FileIdentity>,
    /// The file's length; more than the tail's end if something unfinished follows.
    pub(super) len: u64,
    /// What the file looked like then, if it was not written at that moment.
    pub(super) look: Option<Metadata>,
    pub(super) tail: Arc<Tail>,
    pub(super) positions: Arc<Positions>,
    /// Whether the file's name is known to be durable.
    pub(super) named: bool,
    /// Whether this storage wrote the log's end, or looked whether another failed to.
    pub(super) trusted: bool,
}

/// The end of the last whole batch.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tail {
    pub(super) end: u64,
    pub(super) sum: Checksum,
    pub(super) revision: Revision,
    pub(super) head: LineHead,
    /// Where the last line with a head ends.
    pub(super) head_end: u64,
    /// Whether a line after that one is damaged.
    pub(super) damaged: Option<u64>,
}

impl Tail {
    pub(super) fn head(&self) -> Head {
        // Room for four numbers: a text that grows is moved again and again.
        let mut token = String::with_capacity(71);
        // The checksum is that of all lines, so that no other log has the same. Writing to a `String`
        // cannot fail.
        let _ = write!(token, "{}.{}.{}.{}", self.revision, self.head.base, self.end, self.sum);
        self.head.clone().into_head(self.revision, VersionToken(token))
    }

    pub(super) fn standing(&self) -> Standing {
        let (incarnation, epoch) = (self.head.incarnation, self.head.fields.epoch);
        Standing { incarnation, revision: self.revision, epoch }
    }

    /// Finds the tail of a log of this length, reading no more than it takes to find a head.
    /// `None` if the log has no whole batch.
    ///
    /// If no line with a head can be read, the session is this life of its id, as old as its first
    /// record, and damaged.
    pub(super) fn find(
        file: &dyn OpenFile,
        len: u64,
        life: Incarnation,
    ) -> io::Result<Option<Self>> {
        if let Some(tail) = Self::at_once(file, len, life)? {
            return Ok(Some(tail));
        }
        let mut found: Option<Self> = None;
        let mut lines = Backward::new(file, len);
        while let Some(items) = lines.next_items()? {
            for item in items.into_iter().rev() {
                match (item, &mut found) {
                    (Item::Good(entry), None) if entry.line.more == 0 => {
                        let tail = Self::at(&entry, life);
                        if entry.line.head.is_some() {
                            return Ok(Some(tail));
                        }
                        found = Some(tail);
                    }
                    // An append that was torn.
                    (_, None) => {}
                    (Item::Bad { offset, .. }, Some(tail)) => tail.damaged = Some(offset),
                    (Item::Good(entry), Some(tail)) => match entry.line.head {
                        Some(head) => {
                            (tail.head, tail.head_end) = (head, entry.end);
                            return Ok(found);
                        }
                        None => tail.head.fields = HeadFields::new(entry.line.record.at),
                    },
                }
            }
        }
        if let Some(tail) = &mut found {
            tail.damaged = tail.damaged.or(Some(0));
        }
        Ok(found)
    }

    /// The tail of a log whose last lines are whole and whose head is near, as nearly always:
    /// nothing before the head is parsed. `None` if there is more to it.
    fn at_once(file: &dyn OpenFile, len: u64, life: Incarnation) -> io::Result<Option<Self>> {
        let from = len.saturating_sub(LAST_BLOCK);
        let data = read_range(file, from, len)?;
        let mut found: Option<Self> = None;
        let mut end = data.len();
        while let Some((line_start, sum)) = line_before(&data, end, from == 0) {
            let text = data.slice(line_start..end - 1);
            let Ok((line, sum)) = line::decode(&text, Some(sum)) else { return Ok(None) };
            let (offset, line_end) = (from + line_start as u64, from + end as u64);
            let entry = Entry { offset, end: line_end, line, sum };
            match (&mut found, entry.line.head.is_some()) {
                (None, _) if entry.line.more > 0 => return Ok(None),
                (None, true) => return Ok(Some(Self::at(&entry, life))),
                (None, false) => found = Some(Self::at(&entry, life)),
                (Some(tail), true) => {
                    let above = Self::at(&entry, life);
                    (tail.head, tail.head_end) = (above.head, above.head_end);
                    return Ok(found);
                }
                (Some(_), false) => {}
            }
            end = line_start;
        }
        Ok(None)
    }

    fn at(entry: &Entry, life: Incarnation) -> Self {
        let record = &entry.line.record;
        let head = entry.line.head.clone().unwrap_or_else(|| LineHead {
            incarnation: life,
            base: Revision::ZERO,
            through: Revision::ZERO,
            fields: HeadFields::new(record.at),
        });
        Self {
            end: entry.end,
            sum: entry.sum,
            revision: record.revision.max(head.through),
            head,
            head_end: entry.end,
            damaged: None,
        }
    }

    /// The tail after what was added up to `len`. `None` if that does not follow, or is damaged:
    /// then it must be found anew.
    pub(super) fn extended(&self, file: &dyn OpenFile, len: u64) -> io::Result<Option<Self>> {
        let mut tail = self.clone();
        let before =
            Before { revision: Some(self.revision.get()), ..Before::claimed(Some(self.sum)) };
        let mut lines = Forward::new(file, self.end, len, before);
        let mut heads = None;
        let mut bad = false;
        while let Some(items) = lines.next_items()? {
            for item in items {
                let Item::Good(entry) = item else {
                    bad = true;
                    continue;
                };
                if bad {
                    return Ok(None);
                }
                if let Some(head) = entry.line.head {
                    heads = Some((head, entry.end));
                }
                if entry.line.more == 0 {
                    (tail.end, tail.sum) = (entry.end, entry.sum);
                    tail.revision = entry.line.record.revision;
                    if let Some((head, end)) = heads.take() {
                        (tail.head, tail.head_end) = (head, end);
                    }
                }
            }
        }
        Ok(Some(tail))
    }
}

/// Where the line that ends before `end` begins, and the checksum of the one before it; `None` if
/// the data do not hold both.
fn line_before(data: &[u8], end: usize, from_start: bool) -> Option<(usize, Checksum)> {
    let (b'\n', before) = data.get(..end)?.split_last()? else { return None };
    match before.iter().rposition(|&byte| byte == b'\n') {
        Some(line_break) => Some((line_break + 1, Checksum::at_end_of(&before[..line_break])?)),
        None => from_start.then_some((0, Checksum::START)),
    }
}

/// Where some records begin: what reading came across, so that the next page is found at once.
#[derive(Debug, Default)]
pub(super) struct Positions(Mutex<BTreeMap<u64, u64>>);

impl Positions {
    /// Notes where a record begins that was added, unless one near it is known.
    pub(super) fn note_new(&self, revision: Revision, offset: u64) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let near = known.last_key_value().is_some_and(|(_, last)| offset < last + LAST_BLOCK);
        drop(known);
        if !near {
            self.note(revision, offset);
        }
    }

    pub(super) fn note(&self, revision: Revision, offset: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= POSITIONS {
            // Every other one: what is left is spread over the log as before.
            let mut keep = false;
            known.retain(|_, _| {
                keep = !keep;
                keep
            });
        }
        known.insert(revision.get(), offset);
    }

    /// The nearest known record at or after a revision.
    pub(super) fn at_or_after(&self, revision: Revision) -> Option<(Revision, u64)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (&revision, &offset) = known.range(revision.get()..).next()?;
        Some((Revision::new(revision), offset))
    }
}
