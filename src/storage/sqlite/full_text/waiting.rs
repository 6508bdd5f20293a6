//! Texts whose tokens are not in the index yet.
//!
//! FTS5 writes a segment for each transaction and merges them later, and it is dear to take tokens
//! out again: what comes in small pieces, and what an answer that runs replaces again and again,
//! costs hundreds of times its size. Searches look at what waits by themselves, so that it is never
//! too much.

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{Change, Result, ensure_current, index, other, passages, put_all};
use crate::error::Error;
use crate::id::TurnId;
use crate::model::ResponseState;
use crate::storage::TurnText;
use crate::storage::sqlite::SqliteError;
use crate::storage::sqlite::catalogue::{SessionRow, integer, state_name, unsigned};

/// So many texts are indexed in one transaction. As many at once need not wait.
pub(super) const BATCH: usize = 256;
/// More texts and bytes than this do not wait once their answers have ended.
const MOST: Size = Size { texts: BATCH as u64, bytes: 256 << 10 };
/// More than this do not wait even if their answers run.
const MOST_RUNNING: Size = Size { texts: 4 * BATCH as u64, bytes: 1 << 20 };

/// The column `waits` of `docs`. It leads the index, so that those that wait stand together.
pub(crate) fn add_waits(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "ALTER TABLE docs ADD COLUMN waits INTEGER NOT NULL DEFAULT 0;
         DROP INDEX docs_turn;
         CREATE UNIQUE INDEX docs_turn ON docs (waits, session, turn);",
    )?)
}

#[derive(Debug, Clone, Copy)]
struct Size {
    texts: u64,
    bytes: u64,
}

impl Size {
    fn reaches(self, most: Self) -> bool {
        self.texts >= most.texts || self.bytes >= most.bytes
    }
}

/// Which of those that wait are to be indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    None,
    Ended,
    All,
}

/// Whether a session's answer runs.
fn runs() -> String {
    use ResponseState::{NeedsInput, Pending, Streaming};
    let states = [Pending, Streaming, NeedsInput].map(|state| format!("'{}'", state_name(state)));
    format!("coalesce(sessions.state IN ({}), 0)", states.join(", "))
}

/// Whether there is so much that some of it is to be [settled](settle).
pub(crate) fn is_due(connection: &Connection) -> Result<bool> {
    Ok(due(connection)? != Due::None)
}

fn due(connection: &Connection) -> Result<Due> {
    // Asked with each transaction, and mostly there is not so much of it.
    let mut query = connection.prepare_cached(
        "SELECT count(*), coalesce(sum(octet_length(text)), 0) FROM docs INDEXED BY docs_turn
         WHERE waits = 1",
    )?;
    let (texts, bytes) = query.query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let all = Size { texts: unsigned(texts)?, bytes: unsigned(bytes)? };
    match all {
        _ if all.reaches(MOST_RUNNING) => Ok(Due::All),
        _ if all.reaches(MOST) && ended(connection)?.reaches(MOST) => Ok(Due::Ended),
        _ => Ok(Due::None),
    }
}

/// How much waits whose answers have ended.
fn ended(connection: &Connection) -> Result<Size> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT count(*), coalesce(sum(octet_length(text)), 0) FROM docs INDEXED BY docs_turn
         LEFT JOIN sessions ON sessions.id = docs.session WHERE waits = 1 AND NOT {}",
        runs()
    ))?;
    let (texts, bytes) = query.query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Size { texts: unsigned(texts)?, bytes: unsigned(bytes)? })
}

/// Indexes some of the texts that wait, if there is too much of them; whether there may be more.
pub(crate) fn settle(connection: &Connection) -> Result<bool> {
    match due(connection)? {
        Due::None => Ok(false),
        due => settle_some(connection, due == Due::All),
    }
}

/// How many texts wait.
pub(crate) fn count(connection: &Connection) -> Result<u64> {
    let sql = "SELECT count(*) FROM docs INDEXED BY docs_turn WHERE waits = 1";
    unsigned(connection.prepare_cached(sql)?.query_row((), |row| row.get(0))?)
}

/// Indexes all texts that wait.
pub(crate) fn settle_all(connection: &Connection) -> Result<()> {
    while settle_some(connection, true)? {}
    Ok(())
}

/// Indexes some of the texts that wait; whether there may be more.
pub(crate) fn settle_some(connection: &Connection, running: bool) -> Result<bool> {
    ensure_current(connection)?;
    let mut query = connection.prepare_cached(&format!(
        "SELECT doc, docs.session, sessions.owner, text FROM docs INDEXED BY docs_turn
         LEFT JOIN sessions ON sessions.id = docs.session
         WHERE waits = 1 AND (?1 OR NOT {}) ORDER BY doc LIMIT ?2",
        runs()
    ))?;
    let mut rows = query.query(params![running, integer(BATCH as u64)?])?;
    let mut done = Vec::new();
    while let Some(row) = rows.next()? {
        let doc = row.get(0)?;
        // What belongs to no session is found by nobody.
        let Some(owner) = row.get(2)? else {
            done.push(doc);
            continue;
        };
        let session = SessionRow { id: row.get(1)?, owner };
        match row.get_ref(3)?.as_blob().map_err(other).and_then(passages::decode) {
            Ok(passages) => index(connection, Change::Add, doc, session, &passages)?,
            Err(damage) => {
                // Searches say so, until the index is built anew.
                tracing::warn!(error = %Error::from(damage), doc, "a damaged text is not indexed");
                continue;
            }
        }
        done.push(doc);
    }
    drop(rows);
    let mut indexed = connection.prepare_cached("UPDATE docs SET waits = 0 WHERE doc = ?1")?;
    for doc in &done {
        indexed.execute([doc])?;
    }
    Ok(done.len() == BATCH)
}

/// Has the texts wait that waited in the table `pending_texts`, in which several could be of one turn.
pub(crate) fn take_over(connection: &Connection) -> Result<()> {
    let mut query = connection.prepare(
        "SELECT sessions.id, sessions.owner, turn, at, text
         FROM pending_texts CROSS JOIN sessions ON sessions.id = pending_texts.session
         ORDER BY pending_texts.id",
    )?;
    let mut rows = query.query(())?;
    while let Some(row) = rows.next()? {
        let session = SessionRow { id: row.get(0)?, owner: row.get(1)? };
        match read(row) {
            Ok(text) => put_all(connection, [(session, &text)])?,
            Err(damage) => {
                let error = Error::from(damage);
                tracing::warn!(%error, "a damaged text is left out until the index is built anew");
            }
        }
    }
    Ok(())
}

fn read(row: &Row<'_>) -> Result<TurnText> {
    let at = Timestamp::from_millisecond(row.get(3)?)
        .map_err(|e| SqliteError::damaged(format!("a text's time: {e}")))?;
    let passages = passages::decode(row.get_ref(4)?.as_blob().map_err(other)?)?;
    Ok(TurnText { turn: TurnId::new(unsigned(row.get(2)?)?), at, passages })
}
