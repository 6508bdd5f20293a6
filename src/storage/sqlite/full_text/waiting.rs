//! Texts whose tokens are not in the index yet.
//!
//! FTS5 writes a segment for each transaction and merges them later, and it is dear to take tokens
//! out again: what comes in small pieces, and what an answer that runs replaces again and again,
//! costs hundreds of times its size. It waits in the table `waiting`, in one row for each turn, which
//! stands for what `docs` may have of the turn. Searches look at what waits by themselves, so that it
//! is never too much.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Result, can_index, index_texts, other, passages};
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

/// How many bits of a row's number are the turn's.
const TURN_BITS: u32 = 32;
const TURNS: i64 = 1 << TURN_BITS;

/// The table `waiting` if it is not there: a row's number is the session's times 2^32 plus the turn's, so that an append
/// touches one page.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS waiting
           (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, text BLOB NOT NULL)",
    )?)
}

/// The row of a turn; none if its number is too high for one: its text cannot wait.
pub(super) fn id_of(session: i64, turn: u64) -> Option<i64> {
    let turn = i64::try_from(turn).ok().filter(|turn| *turn < TURNS)?;
    (0..i64::MAX >> TURN_BITS).contains(&session).then(|| (session << TURN_BITS) + turn)
}

/// The session and the turn of a row.
pub(super) fn parts(id: i64) -> (i64, u64) {
    (id >> TURN_BITS, (id & (TURNS - 1)).unsigned_abs())
}

pub(super) fn put(connection: &Connection, id: i64, text: &TurnText) -> Result<()> {
    let (at, bytes) = (text.at.as_millisecond(), passages::encode(&text.passages));
    // An engine that keeps more in the row keeps it.
    let sql = "INSERT INTO waiting (id, at, text) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET at = excluded.at, text = excluded.text";
    connection.prepare_cached(sql)?.execute(params![id, at, bytes])?;
    Ok(())
}

/// The time and the passages that wait in a row.
pub(super) fn stored(connection: &Connection, id: i64) -> Result<Option<(i64, Vec<u8>)>> {
    let mut query = connection.prepare_cached("SELECT at, text FROM waiting WHERE id = ?1")?;
    Ok(query.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

pub(super) fn remove(connection: &Connection, id: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM waiting WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// The rows that a session can have.
pub(crate) fn of_session(session: SessionRow) -> Option<[i64; 2]> {
    let first = id_of(session.id, 0)?;
    Some([first, first + TURNS - 1])
}

pub(super) fn remove_session(connection: &Connection, session: SessionRow) -> Result<()> {
    let Some(range) = of_session(session) else { return Ok(()) };
    let sql = "DELETE FROM waiting WHERE id BETWEEN ?1 AND ?2";
    connection.prepare_cached(sql)?.execute(range)?;
    Ok(())
}

pub(super) fn turns(connection: &Connection, session: SessionRow) -> Result<BTreeSet<u64>> {
    let Some(range) = of_session(session) else { return Ok(BTreeSet::new()) };
    let sql = "SELECT id FROM waiting WHERE id BETWEEN ?1 AND ?2";
    let mut query = connection.prepare_cached(sql)?;
    let turns = query.query_map(range, |row| Ok(parts(row.get(0)?).1))?;
    Ok(turns.collect::<rusqlite::Result<_>>()?)
}

/// Removes what is damaged: it can be neither found nor indexed.
pub(super) fn remove_damaged(connection: &Connection) -> Result<()> {
    let mut query = connection.prepare("SELECT id, at, text FROM waiting")?;
    let mut rows = query.query(())?;
    let mut damaged = Vec::new();
    while let Some(row) = rows.next()? {
        if let Err(damage) = read(row) {
            let id: i64 = row.get(0)?;
            tracing::warn!(error = %Error::from(damage), id, "a damaged text is left out");
            damaged.push(id);
        }
    }
    drop(rows);
    damaged.into_iter().try_for_each(|id| remove(connection, id))
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
    let mut query = connection
        .prepare_cached("SELECT count(*), coalesce(sum(octet_length(text)), 0) FROM waiting")?;
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
        "SELECT count(*), coalesce(sum(octet_length(text)), 0) FROM waiting
         LEFT JOIN sessions ON sessions.id = waiting.id >> {TURN_BITS} WHERE NOT {}",
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
    let sql = "SELECT count(*) FROM waiting";
    unsigned(connection.prepare_cached(sql)?.query_row((), |row| row.get(0))?)
}

/// Indexes all texts that wait.
pub(crate) fn settle_all(connection: &Connection) -> Result<()> {
    while settle_some(connection, true)? {}
    Ok(())
}

/// Indexes some of the texts that wait; whether there may be more.
pub(crate) fn settle_some(connection: &Connection, running: bool) -> Result<bool> {
    if !can_index(connection)? {
        return Ok(false);
    }
    let mut query = connection.prepare_cached(&format!(
        "SELECT waiting.id, at, text, sessions.owner FROM waiting
         LEFT JOIN sessions ON sessions.id = waiting.id >> {TURN_BITS}
         WHERE ?1 OR NOT {} ORDER BY at, waiting.id LIMIT ?2",
        runs()
    ))?;
    let mut rows = query.query(params![running, integer(BATCH as u64)?])?;
    let (mut seen, mut done, mut texts) = (0, Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        seen += 1;
        let id: i64 = row.get(0)?;
        let text = match read(row) {
            Ok(text) => text,
            Err(damage) => {
                // Searches say so, until the index is built anew.
                tracing::warn!(error = %Error::from(damage), id, "a damaged text is not indexed");
                continue;
            }
        };
        done.push(id);
        // What belongs to no session is found by nobody.
        if let Some(owner) = row.get(3)? {
            texts.push((SessionRow { id: parts(id).0, owner }, text));
        }
    }
    drop(rows);
    // First, so that what is written takes the pages that become free.
    done.iter().try_for_each(|id| remove(connection, *id))?;
    index_texts(connection, texts.iter().map(|(session, text)| (*session, text)))?;
    Ok(seen == BATCH && !done.is_empty())
}

/// The text in a row that begins with its number, time and passages.
pub(super) fn read(row: &Row<'_>) -> Result<TurnText> {
    let (_, turn) = parts(row.get(0)?);
    text_of(Ok(turn.cast_signed()), row.get(1), row.get_ref(2)?)
}

/// A text as it is stored.
pub(super) fn text_of(
    turn: rusqlite::Result<i64>,
    at: rusqlite::Result<i64>,
    text: ValueRef<'_>,
) -> Result<TurnText> {
    let damaged = |what, error: &dyn std::fmt::Display| {
        SqliteError::damaged(format!("a text's {what}: {error}"))
    };
    let turn = unsigned(turn.map_err(|error| damaged("turn", &error))?)?;
    let at = at.map_err(|error| damaged("time", &error))?;
    let at = Timestamp::from_millisecond(at).map_err(|error| damaged("time", &error))?;
    let passages = passages::decode(text.as_blob().map_err(other)?)?;
    Ok(TurnText { turn: TurnId::new(turn), at, passages })
}
