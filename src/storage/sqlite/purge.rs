//! Removing a session with all that belongs to it, and what is left of deleted bytes.

use rusqlite::{Connection, Row, params};

use super::catalogue::{self, integer, unsigned};
use super::database::Sync;
use super::engine::Engine;
use super::error::SqliteError;
use super::{facts, full_text, records, schema};
use crate::error::Result;
use crate::storage::ext::session_not_found;
use crate::storage::{OnProgress, Progress, PurgeReceipt, SessionKey};

/// What may stay behind where the WAL cannot be cut.
const WAL: &str = "older versions of pages in the write-ahead log, which somebody is reading: the next \
                   deletion or a scrub removes them";

/// What stays behind in a full text that is not written anew at once.
const WORDS: &str = "beginnings of deleted words in the full text, which is damaged or too large to be \
                     written anew meanwhile: a scrub removes them";

/// What stays behind in a file that is not written anew at once.
const MOVED: &str = "copies of rows in pages from which the engine moved them, since the file is too large to \
                     be written anew meanwhile: a scrub removes them";

impl Engine {
    pub(super) fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        let mut receipt = self.change(key, |transaction| self.remove(transaction, key))?;
        match self.database.rewrite_if_small() {
            Ok(true) => {}
            Ok(false) => receipt.remains.push(MOVED.to_owned()),
            Err(error) => receipt.remains.push(format!("{MOVED} ({error})")),
        }
        // The session is gone, whatever comes of this.
        match self.database.truncate_wal() {
            Ok(true) => {}
            Ok(false) => receipt.remains.push(WAL.to_owned()),
            Err(error) => receipt.remains.push(format!("{WAL} ({error})")),
        }
        Ok(receipt)
    }

    fn remove(
        &self,
        transaction: &Connection,
        key: &SessionKey,
    ) -> Result<PurgeReceipt, SqliteError> {
        // What the head says is not looked at: a damaged session can be removed.
        let life = catalogue::life(transaction, key)?;
        let (session, incarnation) = life.ok_or_else(|| session_not_found(key))?;
        let all = records::all(session)?;
        let range = [*all.start(), *all.end()];
        let bytes = transaction.query_row(
            "SELECT coalesce(sum(octet_length(body)), 0) FROM records WHERE id BETWEEN ?1 AND ?2",
            range,
            |row| row.get(0),
        )?;
        transaction.execute("DELETE FROM records WHERE id BETWEEN ?1 AND ?2", range)?;
        let of_session = [session.id];
        let blobs = transaction.execute("DELETE FROM blobs WHERE session = ?1", of_session)?;
        transaction.execute("DELETE FROM dropped WHERE session = ?1", of_session)?;
        facts::remove_session(transaction, session)?;
        let words_are_left = full_text::remove_session(transaction, session)?;
        catalogue::remove(transaction, key)?;
        transaction.execute(
            "INSERT OR REPLACE INTO tombstones VALUES (?1, ?2)",
            params![self.salt.grave(key), integer(incarnation.get())?],
        )?;
        let mut receipt = PurgeReceipt::new(incarnation, unsigned(bytes)?, blobs as u64);
        receipt.remains.extend(words_are_left.then(|| WORDS.to_owned()));
        Ok(receipt)
    }

    /// Puts the full text in order, and cuts what is left of deleted bytes out of the files.
    pub(super) fn scrub(&self) -> Result<()> {
        self.database.write(Sync::Full, |transaction| {
            full_text::settle_all(transaction)?;
            full_text::optimize(transaction)
        })?;
        self.database.rewrite()?;
        match self.database.truncate_wal()? {
            true => Ok(()),
            false => Err(SqliteError::Suspect.into()),
        }
    }

    /// Checks the tables, builds what is derived from them anew, and checks the whole file then:
    /// damage of the full text is mended, and keeps nothing from being so.
    pub(super) fn rebuild_index(&self, on_progress: OnProgress<'_>) -> Result<()> {
        let total = Some(4);
        let connection = self.database.reader()?;
        tables(&connection)?.iter().try_for_each(|table| check(&connection, Some(table)))?;
        drop(connection);
        on_progress(Progress { done: 1, total });
        self.database.write(Sync::Full, |transaction| {
            schema::create_derived(transaction)?;
            transaction.execute_batch("REINDEX")?;
            catalogue::restore(transaction)
        })?;
        on_progress(Progress { done: 2, total });
        self.database.write(Sync::Full, full_text::rebuild)?;
        on_progress(Progress { done: 3, total });
        // A connection that has searched before takes what it remembers for what is there.
        check(&self.database.reader()?, None)?;
        on_progress(Progress { done: 4, total });
        Ok(())
    }
}

/// The tables that are no module's.
fn tables(connection: &Connection) -> Result<Vec<String>, SqliteError> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0";
    let mut query = connection.prepare(sql)?;
    let names = query.query_map((), |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

/// Checks a table, or the whole file.
fn check(connection: &Connection, table: Option<&str>) -> Result<(), SqliteError> {
    let mut found = Vec::new();
    let each = |row: &Row<'_>| {
        found.push(row.get::<_, String>(0)?);
        Ok(())
    };
    match table {
        Some(table) => connection.pragma(None, "quick_check", table, each)?,
        None => connection.pragma_query(None, "quick_check", each)?,
    }
    match found.first() {
        Some(problem) if problem != "ok" => {
            Err(SqliteError::damaged(format!("the file is damaged: {problem}")))
        }
        _ => Ok(()),
    }
}
