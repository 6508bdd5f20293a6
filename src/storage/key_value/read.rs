//! Reading a log: forwards by pages, backwards until what was asked for is there.

use std::ops::Range;

use bytes::Bytes;

use super::engine::Order;
use super::head::StoredHead;
use super::{KeyValue, KeyValueStorage, keys, log};
use crate::error::{Error, Result};
use crate::storage::line::{self, Checksum, Line};
use crate::storage::{Damage, LogPage, ReadRange, Record, Revision, SessionKey};

/// After so many bytes a page of [`ReadRange::After`] ends.
const PAGE_BYTES: usize = 4 << 20;
/// How many lines the first scan asks for; later ones adapt to the lines' size.
const FIRST_SCAN: usize = 16;
const MOST_LINES: usize = 1024;
/// What a scan should bring.
const SCAN_BYTES: usize = 1 << 20;

impl<K: KeyValue> KeyValueStorage<K> {
    pub(super) async fn page(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        for _ in 0..log::ATTEMPTS {
            let stored = self.existing(key).await?.stored;
            let page = self.page_of(key, &stored, range).await?;
            // Several scans are no snapshot: begin again if the lines were replaced meanwhile.
            let now = self.existing(key).await?.stored;
            if (now.head.incarnation, now.rewrites) == (stored.head.incarnation, stored.rewrites) {
                return Ok(page);
            }
        }
        Err(log::too_many_changes(key))
    }

    async fn page_of(
        &self,
        key: &SessionKey,
        stored: &StoredHead,
        range: ReadRange,
    ) -> Result<LogPage> {
        let end = stored.revision.next();
        match range {
            ReadRange::After(revision) => self.forwards(key, stored, revision).await,
            ReadRange::Newest { turns } => {
                let goal = Goal { turns, checkpoint: true };
                self.backwards(key, stored, end, goal).await
            }
            ReadRange::Before { turns: 0, .. } => {
                Err(Error::invalid("a page before a revision has at least one turn"))
            }
            ReadRange::Before { revision, turns } => {
                let goal = Goal { turns, checkpoint: false };
                self.backwards(key, stored, revision.min(end), goal).await
            }
        }
    }

    async fn forwards(
        &self,
        key: &SessionKey,
        stored: &StoredHead,
        after: Revision,
    ) -> Result<LogPage> {
        let restarted = after < stored.base();
        let after = if restarted { Revision::ZERO } else { after.min(stored.revision) };
        let mut before = self.one_of(key, first()..after.next(), Order::Descending).await?;
        let mut page = Reader::new(stored, restarted);
        page.page.earlier = before.is_some();
        let mut bytes = 0;
        let all = after.next()..stored.revision.next();
        let mut lines = self.lines_within(key, all, Order::Ascending);
        while let Some(line) = lines.next().await? {
            if bytes >= PAGE_BYTES && page.may_end(restarted, line.0, before.as_ref()) {
                page.page.later = true;
                return Ok(page.page);
            }
            bytes += line.1.len();
            page.add(&line, before.as_ref());
            before = Some(line);
        }
        page.check_end(before.map(|(revision, _)| revision));
        Ok(page.page)
    }

    async fn backwards(
        &self,
        key: &SessionKey,
        stored: &StoredHead,
        end: Revision,
        mut goal: Goal,
    ) -> Result<LogPage> {
        let mut page = Reader::new(stored, false);
        let later = end..stored.revision.next();
        page.page.later = self.one_of(key, later, Order::Ascending).await?.is_some();
        let mut lines = self.lines_within(key, first()..end, Order::Descending);
        let mut current = lines.next().await?;
        if end > stored.revision {
            page.check_end(current.as_ref().map(|(revision, _)| *revision));
        }
        while let Some(line) = current {
            // One more than is asked for: its checksum proves the line after it.
            let earlier = lines.next().await?;
            page.page.earlier = earlier.is_some();
            if page.add(&line, earlier.as_ref()).is_some_and(|record| goal.is_met_by(record)) {
                break;
            }
            current = earlier;
        }
        page.page.records.reverse();
        page.page.damage.reverse();
        Ok(page.page)
    }

    /// The first or the last line of a range.
    async fn one_of(
        &self,
        key: &SessionKey,
        range: Range<Revision>,
        order: Order,
    ) -> Result<Option<(Revision, Bytes)>> {
        let found = self.scan(keys::lines(key, range), 1, order).await?.pop();
        found.map(|(key, line)| Ok((keys::revision_of_line(&key)?, line))).transpose()
    }

    pub(super) fn lines_within<'a>(
        &'a self,
        key: &'a SessionKey,
        range: Range<Revision>,
        order: Order,
    ) -> LinesWithin<'a, K> {
        let (read, limit) = (Vec::new().into_iter(), FIRST_SCAN);
        LinesWithin { storage: self, key, range, order, read, limit, ended: false }
    }
}

fn first() -> Revision {
    Revision::ZERO.next()
}

/// Lines one by one, fetched by scans of about a megabyte.
pub(super) struct LinesWithin<'a, K> {
    storage: &'a KeyValueStorage<K>,
    key: &'a SessionKey,
    /// What was not fetched yet.
    range: Range<Revision>,
    order: Order,
    read: std::vec::IntoIter<(Bytes, Bytes)>,
    limit: usize,
    ended: bool,
}

impl<K: KeyValue> LinesWithin<'_, K> {
    pub(super) async fn next(&mut self) -> Result<Option<(Revision, Bytes)>> {
        if self.read.as_slice().is_empty() && !self.ended {
            self.fetch().await?;
        }
        self.read.next().map(|(key, line)| Ok((keys::revision_of_line(&key)?, line))).transpose()
    }

    async fn fetch(&mut self) -> Result<()> {
        let range = keys::lines(self.key, self.range.clone());
        let lines = self.storage.scan(range, self.limit, self.order).await?;
        self.ended = lines.len() < self.limit;
        if let Some((last, _)) = lines.last() {
            let last = keys::revision_of_line(last)?;
            match self.order {
                Order::Ascending => self.range.start = last.next(),
                Order::Descending => self.range.end = last,
            }
        }
        let bytes: usize = lines.iter().map(|(_, line)| line.len()).sum();
        if bytes * 2 <= SCAN_BYTES {
            self.limit = MOST_LINES.min(self.limit * 2);
        } else if bytes > SCAN_BYTES {
            self.limit = 1.max(self.limit / 2);
        }
        self.read = lines.into_iter();
        Ok(())
    }
}

/// When a page that is read backwards is complete.
struct Goal {
    turns: u64,
    checkpoint: bool,
}

impl Goal {
    fn is_met_by(&mut self, record: &Record) -> bool {
        match &*record.kind {
            Record::REQUEST => self.turns = self.turns.saturating_sub(1),
            Record::CHECKPOINT => self.checkpoint = false,
            _ => {}
        }
        self.turns == 0 && !self.checkpoint
    }
}

/// Puts a page together and checks its lines.
pub(super) struct Reader<'a> {
    stored: &'a StoredHead,
    pub(super) page: LogPage,
}

impl<'a> Reader<'a> {
    pub(super) fn new(stored: &'a StoredHead, restarted: bool) -> Self {
        let page = LogPage {
            head: stored.to_head(),
            records: Vec::new(),
            earlier: false,
            later: false,
            restarted,
            damage: Vec::new(),
        };
        Self { stored, page }
    }

    /// Whether a page may end before this line.
    ///
    /// Whoever reads on names the page's last record: a page ends with one that can be read, and
    /// one that starts anew reaches the base, below which nobody can read on.
    fn may_end(&self, restarted: bool, next: Revision, before: Option<&(Revision, Bytes)>) -> bool {
        let last = self.page.records.last().map(|record| record.revision);
        let is_readable = last.is_some() && last == before.map(|(revision, _)| *revision);
        is_readable && (!restarted || next > self.stored.base())
    }

    /// Adds a line's record, or its damage. `earlier` is the line before it in the log.
    pub(super) fn add(
        &mut self,
        line: &(Revision, Bytes),
        earlier: Option<&(Revision, Bytes)>,
    ) -> Option<&Record> {
        let (revision, bytes) = line;
        let gap = earlier.map_or(Revision::ZERO, |(revision, _)| *revision);
        self.check_gap(gap, *revision);
        let read = line::decode(bytes, self.sum_before(*revision, earlier));
        match read {
            Ok((Line { record, .. }, _)) if record.revision == *revision => {
                self.page.records.push(record);
                self.page.records.last()
            }
            Ok(_) => self.damaged(*revision, "the line holds another record".to_owned()),
            Err(error) => self.damaged(*revision, error.message().to_owned()),
        }
    }

    fn damaged(&mut self, revision: Revision, problem: String) -> Option<&Record> {
        let place = "r key".to_owned();
        self.page.damage.push(Damage { place, record: Some(revision.get()), problem });
        None
    }

    /// The checksum that a line continues; none if the line before it is missing.
    fn sum_before(
        &self,
        revision: Revision,
        earlier: Option<&(Revision, Bytes)>,
    ) -> Option<Checksum> {
        let base = self.stored.base();
        if revision == base.next() {
            return Some(self.stored.base_sum);
        }
        match earlier {
            Some((before, line)) if revision <= base || before.next() == revision => {
                Checksum::at_end_of(line)
            }
            None if revision <= base => Some(Checksum::START),
            _ => None,
        }
    }

    /// Says which revisions are missing between two lines. Below the base gaps are as they should
    /// be.
    fn check_gap(&mut self, before: Revision, revision: Revision) {
        let missing = before.max(self.stored.base()).next();
        if missing < revision {
            let last = revision.get() - 1;
            let problem = format!("the records {missing} to {last} are missing");
            self.damaged(missing, problem);
        }
    }

    /// Says which revisions are missing at the log's end.
    pub(super) fn check_end(&mut self, last: Option<Revision>) {
        self.check_gap(last.unwrap_or(Revision::ZERO), self.stored.revision.next());
    }
}
