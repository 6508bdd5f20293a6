//! Reading a part of a log, from one state of the database.

use rusqlite::Connection;

use super::catalogue::{self, SessionRow};
use super::error::SqliteError;
use super::records;
use crate::error::Error;
use crate::storage::ext::session_not_found;
use crate::storage::{Head, LogPage, ReadRange, Record, Revision, SessionKey};

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// After so many bytes a page of [`ReadRange::After`] ends.
const PAGE_BYTES: usize = 4 << 20;

pub(super) fn existing(connection: &Connection, key: &SessionKey) -> Result<(SessionRow, Head)> {
    Ok(catalogue::get(connection, key)?.ok_or_else(|| session_not_found(key))?)
}

pub(super) fn page(connection: &Connection, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
    let (session, head) = existing(connection, key)?;
    let reader = Reader::new(connection, session, head);
    match range {
        ReadRange::After(revision) => reader.forwards(revision),
        ReadRange::Newest { turns } => {
            let end = reader.page.head.revision.next();
            reader.backwards(end, Goal { turns, checkpoint: true })
        }
        ReadRange::Before { turns: 0, .. } => {
            Err(Error::invalid("a page before a revision has at least one turn").into())
        }
        ReadRange::Before { revision, turns } => {
            let end = revision.min(reader.page.head.revision.next());
            reader.backwards(end, Goal { turns, checkpoint: false })
        }
    }
}

/// The whole of a log, with all that is wrong with it.
pub(super) fn whole(connection: &Connection, session: SessionRow, head: Head) -> Result<LogPage> {
    let mut reader = Reader::new(connection, session, head);
    reader.limit = usize::MAX;
    reader.forwards(Revision::ZERO)
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

struct Reader<'c> {
    connection: &'c Connection,
    session: SessionRow,
    limit: usize,
    page: LogPage,
}

impl<'c> Reader<'c> {
    fn new(connection: &'c Connection, session: SessionRow, head: Head) -> Self {
        let page = LogPage {
            head,
            records: Vec::new(),
            earlier: false,
            later: false,
            restarted: false,
            damage: Vec::new(),
        };
        Self { connection, session, limit: PAGE_BYTES, page }
    }

    fn forwards(mut self, after: Revision) -> Result<LogPage> {
        let (base, last) = (self.page.head.base, self.page.head.revision);
        self.page.restarted = after < base;
        let after = if after < base { Revision::ZERO } else { after.min(last) };
        self.page.earlier = self.any(Revision::ZERO, after)?;
        let sql = format!(
            "SELECT {} FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            records::COLUMNS
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let (first, end) = (self.id(after.next())?, self.id(last)?);
        let mut rows = statement.query([first, end])?;
        let (mut bytes, mut before) = (0, after);
        while let Some(row) = rows.next()? {
            let read = records::read(row)?;
            let revision = records::revision_of(row.get(0)?)?;
            // A page ends with a record that can be read, which the next one goes on from; one that
            // starts anew reaches the base, below which nobody can go on.
            let ends_well = self.page.records.last().map(|record| record.revision) == Some(before);
            if bytes >= self.limit && ends_well && (!self.page.restarted || revision > base) {
                self.page.later = true;
                return Ok(self.page);
            }
            self.check_gap(before, revision);
            before = revision;
            match read {
                Ok(record) => {
                    bytes += record.body.bytes().len();
                    self.page.records.push(record);
                }
                Err(damage) => self.page.damage.push(damage),
            }
        }
        self.check_gap(before, last.next());
        Ok(self.page)
    }

    fn backwards(mut self, end: Revision, mut goal: Goal) -> Result<LogPage> {
        let last = self.page.head.revision;
        self.page.later = end <= last && self.any(end, last)?;
        let sql = format!(
            "SELECT {} FROM records WHERE id >= ?1 AND id < ?2 ORDER BY id DESC",
            records::COLUMNS
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([self.id(Revision::ZERO)?, self.id(end)?])?;
        let (mut above, mut done) = (end, false);
        while let Some(row) = rows.next()? {
            let revision = records::revision_of(row.get(0)?)?;
            self.check_gap(revision, above);
            above = revision;
            match records::read(row)? {
                Ok(record) => {
                    done = goal.is_met_by(&record);
                    self.page.records.push(record);
                }
                Err(damage) => self.page.damage.push(damage),
            }
            if done {
                self.page.earlier = rows.next()?.is_some();
                break;
            }
        }
        if !done {
            self.check_gap(Revision::ZERO, above);
        }
        self.page.records.reverse();
        self.page.damage.reverse();
        Ok(self.page)
    }

    fn id(&self, revision: Revision) -> Result<i64> {
        records::id(self.session, revision)
    }

    fn any(&self, first: Revision, last: Revision) -> Result<bool> {
        records::any(self.connection, self.id(first)?, self.id(last)?)
    }

    /// Says which revisions are missing between two. Below the base gaps are as they should be.
    fn check_gap(&mut self, before: Revision, revision: Revision) {
        let missing = before.max(self.page.head.base).next();
        if missing < revision {
            let last = revision.get() - 1;
            let problem = format!("the records {missing} to {last} are missing");
            self.page.damage.push(records::damage(missing, problem));
        }
    }
}
