//! A session as it is to be in the target, and what is missing there.

use jiff::Timestamp;

use crate::environment::to_millis;
use crate::error::{Error, Result};
use crate::storage::{
    Head, HeadFields, Incarnation, LogPage, Record, Revision, Running, SessionKey,
};

/// A whole session of the source.
#[derive(Debug)]
pub(super) struct Original {
    pub(super) incarnation: Incarnation,
    pub(super) base: Revision,
    pub(super) revision: Revision,
    pub(super) fields: HeadFields,
    pub(super) records: Vec<Record>,
}

impl Original {
    /// The session of which this is the whole log.
    pub(super) fn new(key: &SessionKey, page: LogPage) -> Result<Self> {
        check_damage(key, &page)?;
        let head = page.head;
        let base = base_of(&head, &page.records);
        let original = Self {
            incarnation: head.incarnation,
            base,
            revision: head.revision,
            fields: ended(head.fields),
            records: page.records,
        };
        match original.records.is_empty() {
            true => Err(Error::unsupported("no record of the session is left to begin it with")
                .with("session", &key.id)),
            false => Ok(original),
        }
    }

    /// Whether this is the session as a head says.
    pub(super) fn is_at(&self, head: &Head) -> bool {
        (self.incarnation, self.revision) == (head.incarnation, head.revision)
    }

    /// The records after a revision, up to another.
    pub(super) fn between(&self, after: Revision, through: Revision) -> &[Record] {
        let place = |revision| self.records.partition_point(|record| record.revision <= revision);
        self.records.get(place(after)..place(through)).unwrap_or_default()
    }

    /// What is to be done so that a session of the target becomes this one.
    pub(super) fn missing(&self, key: &SessionKey, page: &LogPage) -> Result<Missing> {
        check_damage(key, page).map_err(|e| e.with("store", "target"))?;
        let there = &page.head;
        let other = |problem: &'static str| Err(Error::conflict(problem).with("session", &key.id));
        if there.revision > self.revision {
            return other("the session has gone on in the target");
        }
        if there.base > self.base {
            return other("the session was compacted in the target");
        }
        if !self.is_extended_by(page) {
            return other("the target has the session with other content");
        }
        if there.revision == self.revision && ended(there.fields.clone()) != self.fields {
            return other("the target has the session with another head");
        }
        let common = self.between(Revision::ZERO, there.revision);
        Ok(Missing {
            records: there.revision < self.revision,
            compaction: there.base < self.base || page.records.len() > common.len(),
        })
    }

    /// Whether this is what became of the session in the target: the same records, but for those
    /// that a compaction has dropped since.
    fn is_extended_by(&self, page: &LogPage) -> bool {
        let common = self.between(Revision::ZERO, page.head.revision);
        let mut left = common.iter().peekable();
        let explained = page.records.iter().all(|there| {
            let here = left.next_if(|here| here.revision == there.revision);
            here.map_or(there.revision <= self.base, |here| same(here, there))
        });
        explained && left.next().is_none() && !common.is_empty()
    }
}

/// What a session in the target lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    /// Later records.
    pub(super) records: bool,
    /// The compaction that the source has seen.
    pub(super) compaction: bool,
}

impl Missing {
    pub(super) const NOTHING: Self = Self { records: false, compaction: false };
}

fn check_damage(key: &SessionKey, page: &LogPage) -> Result<()> {
    let Some(damage) = page.damage.first() else { return Ok(()) };
    let mut error = Error::corrupt(damage.problem.clone())
        .with("session", &key.id)
        .with("place", &damage.place);
    if let Some(record) = damage.record {
        error = error.with("record", record);
    }
    Err(error)
}

/// The head's base; or a later one, where a repair has left gaps after it.
fn base_of(head: &Head, records: &[Record]) -> Revision {
    let (mut base, mut last) = (head.base, Revision::ZERO);
    for record in records {
        if record.revision > last.next() {
            let gap = Revision::new(record.revision.get() - 1);
            base = base.max(gap);
        }
        last = record.revision;
    }
    if last < head.revision { head.revision } else { base }
}

/// Nobody in the target writes the response that somebody writes in the source: whoever opens the
/// session there ends it.
fn ended(mut fields: HeadFields) -> HeadFields {
    let ended = |running: Running| Running { until: Timestamp::UNIX_EPOCH, ..running };
    fields.running = fields.running.map(ended);
    fields
}

fn same(a: &Record, b: &Record) -> bool {
    let said = |r: &Record| (r.revision, r.turn, to_millis(r.at));
    said(a) == said(b) && a.kind == b.kind && a.body == b.body
}
