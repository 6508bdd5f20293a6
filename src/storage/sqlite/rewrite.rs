//! Logs written anew: compacted or repaired; and what is checked before.

use rusqlite::{Connection, params};

use super::append::Token;
use super::catalogue::{self, SessionRow};
use super::engine::{Engine, capabilities};
use super::error::SqliteError;
use super::{read, records};
use crate::error::{Error, Result};
use crate::storage::{Damage, Head, LogPage, Record, Report, Revision, SessionKey, rules};

impl Engine {
    pub(super) fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: &[Record],
        guard: &Head,
    ) -> Result<Head> {
        self.change(key, |transaction| {
            let (session, head) = read::existing(transaction, key)?;
            rules::check_compaction(key, &head, guard, through, records, &capabilities())?;
            // Whoever compacts may not have come across damage. It must not vanish without a copy.
            let page = read::whole(transaction, session, head.clone())?;
            if let Some(damage) = page.damage.iter().find(|d| is_within(d, through)) {
                return Err(damaged(damage).into());
            }
            delete(transaction, session, Revision::ZERO, through)?;
            records.iter().try_for_each(|record| records::insert(transaction, session, record))?;
            rebase(transaction, session, &head, through)
        })
    }

    pub(super) fn verify(&self, key: &SessionKey) -> Result<Report> {
        let found = self.database.read(|connection| {
            let (session, head) = read::existing(connection, key)?;
            read::whole(connection, session, head)
        });
        Ok(report(&found.map_err(|error| Error::from(error).with("session", &key.id))?))
    }

    /// Takes damaged records out of the log, and keeps copies of them in the table `dropped`.
    pub(super) fn repair(&self, key: &SessionKey) -> Result<Report> {
        self.change(key, |transaction| {
            let (session, head) = read::existing(transaction, key)?;
            let page = read::whole(transaction, session, head)?;
            let mut report = report(&page);
            if report.damage.is_empty() {
                return Ok(report);
            }
            for damage in &page.damage {
                let revision = damage.record.map_or(Revision::ZERO, Revision::new);
                if let Some(kept) = drop_record(transaction, session, revision)? {
                    report.kept.push(kept);
                }
            }
            // What is left has gaps, as after a compaction of all of it.
            rebase(transaction, session, &page.head, page.head.revision)?;
            Ok(report)
        })
    }
}

fn is_within(damage: &Damage, through: Revision) -> bool {
    damage.record.is_some_and(|record| record <= through.get())
}

fn damaged(damage: &Damage) -> Error {
    let problem = format!("the log is damaged ({}) and must be repaired first", damage.problem);
    let error = Error::corrupt(problem).with("place", &damage.place);
    match damage.record {
        Some(record) => error.with("record", record),
        None => error,
    }
}

fn delete(
    transaction: &Connection,
    session: SessionRow,
    first: Revision,
    last: Revision,
) -> Result<(), SqliteError> {
    transaction
        .prepare_cached("DELETE FROM records WHERE id BETWEEN ?1 AND ?2")?
        .execute([records::id(session, first)?, records::id(session, last)?])?;
    Ok(())
}

fn rebase(
    transaction: &Connection,
    session: SessionRow,
    head: &Head,
    base: Revision,
) -> Result<Head, SqliteError> {
    let token = Token::of(&head.token)?.next().write();
    let head = Head { base, token, ..head.clone() };
    catalogue::advance(transaction, session, &head)?;
    Ok(head)
}

/// Moves a record out of its log; where it is now, if there was one.
fn drop_record(
    transaction: &Connection,
    session: SessionRow,
    revision: Revision,
) -> Result<Option<String>, SqliteError> {
    let id = records::id(session, revision)?;
    let copied = transaction.execute(
        "INSERT INTO dropped (session, revision, turn, kind, at, batch, sum, body)
         SELECT ?1, ?2, turn, kind, at, batch, sum, body FROM records WHERE id = ?3",
        params![session.id, catalogue::integer(revision.get())?, id],
    )?;
    if copied == 0 {
        return Ok(None);
    }
    let kept = format!("row {} of table dropped", transaction.last_insert_rowid());
    transaction.execute("DELETE FROM records WHERE id = ?1", [id])?;
    Ok(Some(kept))
}

fn report(page: &LogPage) -> Report {
    Report {
        records: page.records.len() as u64,
        revision: page.records.last().map_or(Revision::ZERO, |record| record.revision),
        damage: page.damage.clone(),
        ..Report::default()
    }
}
