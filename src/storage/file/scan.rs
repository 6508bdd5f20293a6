//! Lines of a log, read forwards or backwards in blocks, each judged by its checksum.
//!
//! A line's checksum covers the one before it. Where a line is damaged, the next is judged by the
//! checksum that the damaged one should have, or by its place among its neighbours, so that one
//! bad line costs one line.

use std::io;

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memrchr};

use super::disk::read_range;
use super::system::OpenFile;
use crate::storage::line::{self, Checksum, Line};

/// How much is read at first, for a log's newest lines.
const FIRST_BLOCK: u64 = 8 << 10;
const LARGEST_BLOCK: u64 = 1 << 20;
/// No line is this long; bytes without an end or sense over such a length are given up.
const LONGEST: usize = 64 << 20;

/// A stretch of a log.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Good(Box<Entry>),
    /// From `offset` to `end`; nothing lies between where lines are missing.
    Bad {
        offset: u64,
        end: u64,
        problem: String,
    },
}

/// A line that is as it was written.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) offset: u64,
    /// Just behind the line break.
    pub(super) end: u64,
    pub(super) line: Line,
    pub(super) sum: Checksum,
}

impl Item {
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Good(entry) => entry.offset,
            Self::Bad { offset, .. } => *offset,
        }
    }

    /// How many bytes it covers.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Good(entry) => entry.end - entry.offset,
            Self::Bad { offset, end, .. } => end - offset,
        }
    }

    pub(super) fn good(&self) -> Option<&Entry> {
        match self {
            Self::Good(entry) => Some(entry),
            Self::Bad { .. } => None,
        }
    }
}

/// What is known of the line before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    /// The checksum that it bears.
    pub(super) claimed: Option<Checksum>,
    /// The checksum that it should bear.
    pub(super) computed: Option<Checksum>,
    /// The last revision that could be read.
    pub(super) revision: Option<u64>,
    /// Whether the line before could be read.
    pub(super) good: bool,
}

impl Before {
    /// Before the first line.
    pub(super) const START: Self =
        Self { claimed: Some(Checksum::START), computed: None, revision: Some(0), good: true };

    /// After a line of which no more than its checksum is known.
    pub(super) fn claimed(sum: Option<Checksum>) -> Self {
        Self { claimed: sum, computed: None, revision: None, good: true }
    }
}

enum Judged {
    Good(Line, Checksum),
    /// It is a record, but not one that follows the line before.
    Unsure(Line, Checksum, String),
    Bad(String),
}

struct Judgement {
    offset: u64,
    end: u64,
    judged: Judged,
    before: Before,
}

/// Judges whole lines, of which the first begins at `offset`.
fn judge(data: &Bytes, offset: u64, mut before: Before) -> (Vec<Judgement>, Before) {
    let mut lines = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let end = memchr(b'\n', &data[start..]).map(|i| start + i);
        let line = data.slice(start..end.unwrap_or(data.len()));
        let next = end.map_or(data.len(), |end| end + 1);
        let judged = match end {
            Some(_) => judge_line(&line, before),
            None => Judged::Bad("the line is cut off".to_owned()),
        };
        let known = before;
        before = after(&line, &judged, before);
        let (offset, end) = (offset + start as u64, offset + next as u64);
        lines.push(Judgement { offset, end, judged, before: known });
        start = next;
    }
    (lines, before)
}

fn judge_line(line: &Bytes, before: Before) -> Judged {
    let mut problem = "the line before it has no checksum".to_owned();
    for sum in [before.claimed, before.computed].into_iter().flatten() {
        match line::decode(line, Some(sum)) {
            Ok((line, sum)) => return Judged::Good(line, sum),
            Err(error) => problem = error.message().to_owned(),
        }
    }
    match line::decode(line, None) {
        Ok((line, sum)) => Judged::Unsure(line, sum, problem),
        Err(_) => Judged::Bad(problem),
    }
}

fn after(line: &Bytes, judged: &Judged, before: Before) -> Before {
    let computed = before.claimed.or(before.computed).map(|sum| Checksum::of_line(sum, line));
    match judged {
        Judged::Good(line, sum) => Before {
            claimed: Some(*sum),
            computed: None,
            revision: Some(line.record.revision.get()),
            good: true,
        },
        Judged::Unsure(_, sum, _) => {
            Before { claimed: Some(*sum), computed, good: false, ..before }
        }
        Judged::Bad(_) => {
            Before { claimed: Checksum::at_end_of(line), computed, good: false, ..before }
        }
    }
}

/// Decides about the unsure ones: such a line is whole, and others are missing before it, if its
/// number leaves room for them and the line after it (`beyond` for the last) follows it.
fn decide(lines: Vec<Judgement>, beyond: Option<u64>) -> Vec<Item> {
    let follows: Vec<Option<u64>> = lines
        .iter()
        .map(|next| match &next.judged {
            Judged::Good(line, _) => Some(line.record.revision.get()),
            _ => None,
        })
        .skip(1)
        .chain([beyond])
        .collect();
    let mut items = Vec::with_capacity(lines.len());
    for (Judgement { offset, end, judged, before }, follows) in lines.into_iter().zip(follows) {
        match judged {
            Judged::Good(line, sum) => {
                items.push(Item::Good(Box::new(Entry { offset, end, line, sum })))
            }
            Judged::Bad(problem) => items.push(Item::Bad { offset, end, problem }),
            Judged::Unsure(line, sum, problem) => {
                let own = line.record.revision.get();
                let room = before
                    .revision
                    .is_some_and(|last| own > last.saturating_add(u64::from(before.good)));
                if room && follows.is_some_and(|next| next > own) {
                    if before.good {
                        let problem = "records are missing before this one".to_owned();
                        items.push(Item::Bad { offset, end: offset, problem });
                    }
                    items.push(Item::Good(Box::new(Entry { offset, end, line, sum })));
                } else {
                    items.push(Item::Bad { offset, end, problem });
                }
            }
        }
    }
    items
}

/// Reads a log from a line's beginning to an offset.
#[derive(Debug)]
pub(super) struct Forward<'a> {
    file: &'a dyn OpenFile,
    /// Where `rest` begins.
    offset: u64,
    to: u64,
    rest: Bytes,
    before: Before,
}

impl<'a> Forward<'a> {
    pub(super) fn new(file: &'a dyn OpenFile, from: u64, to: u64, before: Before) -> Self {
        Self { file, offset: from, to, rest: Bytes::new(), before }
    }

    /// From a line whose predecessor is looked up in the file.
    pub(super) fn from_line(file: &'a dyn OpenFile, from: u64, to: u64) -> io::Result<Self> {
        Ok(Self::new(file, from, to, before_line(file, from)?))
    }

    /// The next lines, ascending; `None` at the end. Bytes after the last line break are bad.
    pub(super) fn next_items(&mut self) -> io::Result<Option<Vec<Item>>> {
        loop {
            let read_to = self.offset + self.rest.len() as u64;
            let block = LARGEST_BLOCK.max(self.rest.len() as u64);
            let until = self.to.min(read_to + block);
            let block = read_range(self.file, read_to, until)?;
            // A file that was cut meanwhile ends early.
            let at_end = until == self.to || block.is_empty();
            let data = join(&self.rest, &block);
            if data.is_empty() {
                return Ok(None);
            }
            let whole = match memrchr(b'\n', &data) {
                _ if at_end || data.len() > LONGEST => data.len(),
                Some(last) => last + 1,
                None => 0,
            };
            let (mut lines, mut before) = judge(&data.slice(..whole), self.offset, self.before);
            let mut used = whole;
            if !at_end && data.len() <= LONGEST {
                // What comes next tells whether the last ones are to be trusted.
                while lines.last().is_some_and(|l| !matches!(l.judged, Judged::Good(..))) {
                    let Some(last) = lines.pop() else { break };
                    before = last.before;
                    used = usize::try_from(last.offset - self.offset).unwrap_or(used);
                }
            }
            (self.rest, self.before) = (data.slice(used..), before);
            self.offset += used as u64;
            if at_end {
                self.to = self.offset;
            }
            if !lines.is_empty() {
                return Ok(Some(decide(lines, None)));
            }
        }
    }
}

/// Reads a log from a line's end (or its own) back to its beginning.
#[derive(Debug)]
pub(super) struct Backward<'a> {
    file: &'a dyn OpenFile,
    /// Where `rest`, the undecided part, begins.
    offset: u64,
    rest: Bytes,
    /// How much has been read.
    read: u64,
    /// The revision of the line given last.
    beyond: Option<u64>,
}

impl<'a> Backward<'a> {
    pub(super) fn new(file: &'a dyn OpenFile, from: u64) -> Self {
        Self { file, offset: from, rest: Bytes::new(), read: 0, beyond: None }
    }

    /// How much to read next: never as much again as has been read, so that little is read in vain.
    fn block(&self) -> u64 {
        let half = self.read.checked_ilog2().map_or(0, |power| 1 << power >> 1);
        half.clamp(FIRST_BLOCK, LARGEST_BLOCK)
    }

    /// The lines before those given last, ascending; `None` at the beginning.
    pub(super) fn next_items(&mut self) -> io::Result<Option<Vec<Item>>> {
        loop {
            if self.offset == 0 && self.rest.is_empty() {
                return Ok(None);
            }
            let from = self.offset.saturating_sub(self.block().max(self.rest.len() as u64));
            self.read += self.offset - from;
            let data = join(&read_range(self.file, from, self.offset)?, &self.rest);
            self.offset = from;
            let give_up = data.len() > LONGEST;
            let Some((cut, before)) =
                first_line(&data, from).or(give_up.then_some((0, Before::claimed(None))))
            else {
                self.rest = data;
                continue;
            };
            let (lines, _) = judge(&data.slice(cut..), from + cut as u64, before);
            let good = lines.iter().position(|l| matches!(l.judged, Judged::Good(..)));
            let keep = match good {
                _ if from == 0 || give_up => 0,
                Some(first) => first,
                None => lines.len(),
            };
            // Whether the leading bad lines are to be trusted is seen once the ones before them
            // are there.
            let kept = lines.get(keep).map_or(from + data.len() as u64, |line| line.offset);
            let kept = usize::try_from(kept - from).unwrap_or(cut);
            self.rest = if from == 0 || give_up { data.slice(..cut) } else { data.slice(..kept) };
            let decided: Vec<Judgement> = lines.into_iter().skip(keep).collect();
            if !decided.is_empty() {
                let items = decide(decided, self.beyond);
                let first = items.iter().find_map(Item::good);
                self.beyond = first.map(|entry| entry.line.record.revision.get());
                return Ok(Some(items));
            }
        }
    }
}

/// Where the first line begins whose predecessor's checksum is in the data as well.
fn first_line(data: &Bytes, offset: u64) -> Option<(usize, Before)> {
    if offset == 0 {
        return Some((0, Before::START));
    }
    let mut start = 0;
    loop {
        let line_break = start + memchr(b'\n', &data[start..])?;
        let sum = Checksum::at_end_of(&data[..line_break]);
        let cut = line_break + 1;
        if sum.is_some() || start > 0 {
            return (cut < data.len()).then(|| (cut, Before::claimed(sum)));
        }
        start = cut;
    }
}

fn before_line(file: &dyn OpenFile, offset: u64) -> io::Result<Before> {
    if offset == 0 {
        return Ok(Before::START);
    }
    let end = read_range(file, offset.saturating_sub(16), offset)?;
    Ok(Before::claimed(end.strip_suffix(b"\n").and_then(Checksum::at_end_of)))
}

fn join(a: &Bytes, b: &Bytes) -> Bytes {
    match (a.is_empty(), b.is_empty()) {
        (true, _) => b.clone(),
        (_, true) => a.clone(),
        _ => [&a[..], &b[..]].concat().into(),
    }
}

/// How many lines end between two offsets.
pub(super) fn count_lines(file: &dyn OpenFile, from: u64, to: u64) -> io::Result<u64> {
    let (mut lines, mut offset) = (0, from);
    while offset < to {
        let block = read_range(file, offset, to.min(offset + LARGEST_BLOCK))?;
        if block.is_empty() {
            break;
        }
        lines += memchr_iter(b'\n', &block).count() as u64;
        offset += block.len() as u64;
    }
    Ok(lines)
}
