//! One session in memory: its head, its log, and what was given with it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::id::TurnId;
use crate::storage::{
    Appended, Batch, BatchId, BlobId, Durability, Expected, Head, LogPage, ReadRange, Record,
    Report, Revision, TurnFacts, TurnText, rules,
};

/// After so many bytes a page of [`ReadRange::After`] ends.
const PAGE_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Session {
    pub(super) head: Head,
    /// Ascending by revision.
    records: Vec<Record>,
    /// The last batch, which is known even when compaction dropped its records.
    last: (Revision, BatchId),
    pub(super) blobs: BTreeMap<BlobId, Bytes>,
    pub(super) texts: BTreeMap<TurnId, TurnText>,
    pub(super) facts: BTreeMap<TurnId, TurnFacts>,
}

impl Session {
    pub(super) fn new(head: Head) -> Self {
        Self {
            head,
            records: Vec::new(),
            last: (Revision::ZERO, BatchId::new(0)),
            blobs: BTreeMap::new(),
            texts: BTreeMap::new(),
            facts: BTreeMap::new(),
        }
    }

    /// Whether this batch landed at the place where it is expected.
    pub(super) fn holds(&self, expected: Expected, batch: BatchId) -> bool {
        if matches!(expected, Expected::At { incarnation, .. } if incarnation != self.head.incarnation)
        {
            return false;
        }
        let place = rules::place_of(expected);
        let first = self.records.get(self.position(place.next()));
        first.is_some_and(|record| record.batch == batch) || self.last == (place, batch)
    }

    /// Adds a batch that was checked. The caller has set the head's token.
    pub(super) fn add(&mut self, batch: Batch) {
        self.last = (self.head.revision, batch.id);
        if let Some(fields) = batch.head {
            self.head.fields = fields;
        }
        if self.head.revision == Revision::ZERO {
            self.head.base = batch.base;
        }
        if let Some(last) = batch.records.last() {
            self.head.revision = last.revision.max(self.head.base);
        }
        self.records.extend(batch.records);
        for text in batch.texts {
            self.texts.insert(text.turn, text);
        }
        for facts in batch.facts {
            self.facts.insert(facts.turn, facts);
        }
    }

    pub(super) fn appended(&self) -> Appended {
        Appended { head: self.head.clone(), durability: Durability::Buffered }
    }

    /// Replaces the records up to a revision. The caller has checked them.
    pub(super) fn replace(&mut self, through: Revision, records: Vec<Record>) {
        let kept = self.position(through.next());
        self.records.splice(..kept, records);
        self.head.base = through;
    }

    pub(super) fn page(&self, range: ReadRange) -> Result<LogPage> {
        let (from, to, restarted) = match range {
            ReadRange::After(revision) => self.after(revision),
            ReadRange::Newest { turns } => (self.newest(turns), self.records.len(), false),
            ReadRange::Before { turns: 0, .. } => {
                return Err(Error::invalid("a page before a revision has at least one turn"));
            }
            ReadRange::Before { revision, turns } => {
                let to = self.position(revision);
                (self.start_of_turn(to, turns), to, false)
            }
        };
        Ok(LogPage {
            head: self.head.clone(),
            records: self.records[from..to].to_vec(),
            earlier: from > 0,
            later: to < self.records.len(),
            restarted,
            damage: Vec::new(),
        })
    }

    /// The place of the first record at or after a revision.
    fn position(&self, revision: Revision) -> usize {
        self.records.partition_point(|record| record.revision < revision)
    }

    fn after(&self, revision: Revision) -> (usize, usize, bool) {
        let restarted = revision < self.head.base;
        let from = if restarted { 0 } else { self.position(revision.next()) };
        // A page that starts anew reaches the base: the next one could not follow it otherwise.
        let mut to = if restarted { self.position(self.head.base.next()) } else { from };
        let mut bytes = 0;
        while to < self.records.len() && bytes < PAGE_BYTES {
            bytes += self.records[to].body.bytes().len();
            to += 1;
        }
        (from, to, restarted)
    }

    fn newest(&self, turns: u64) -> usize {
        let checkpoint = self.records.iter().rposition(|record| record.kind == Record::CHECKPOINT);
        match turns {
            0 => checkpoint.unwrap_or(0),
            _ => checkpoint.unwrap_or(0).min(self.start_of_turn(self.records.len(), turns)),
        }
    }

    /// The place of the first record of the `turns`th turn before a place.
    fn start_of_turn(&self, before: usize, turns: u64) -> usize {
        let skip = usize::try_from(turns - 1).unwrap_or(usize::MAX);
        self.records[..before]
            .iter()
            .enumerate()
            .rev()
            .filter(|(_, record)| record.kind == Record::REQUEST)
            .nth(skip)
            .map_or(0, |(place, _)| place)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.records.iter().map(|record| record.body.bytes().len() as u64).sum()
    }

    pub(super) fn report(&self) -> Report {
        Report {
            records: self.records.len() as u64,
            revision: self.head.revision,
            ..Report::default()
        }
    }
}
