//! Facts of turns, and sums over them.
//!
//! Facts of a turn whose text [waits](super::full_text) stand beside it, for what the table `facts` may
//! have of the turn: an append writes a page less. They get into `facts` when the text waits no more.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::catalogue::{SessionRow, integer, owner_number, state_name, unsigned, up};
use super::error::SqliteError;
use super::full_text;
use crate::error::Error;
use crate::id::OwnerId;
use crate::storage::{StatisticsQuery, Totals, TurnFacts};

#[cfg(test)]
mod tests;

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// The table `facts` if it is not there.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS facts (
           session INTEGER NOT NULL,
           turn INTEGER NOT NULL,
           at INTEGER NOT NULL,
           state TEXT NOT NULL,
           model TEXT,
           input_tokens INTEGER NOT NULL,
           output_tokens INTEGER NOT NULL,
           duration_ms INTEGER,
           PRIMARY KEY (session, turn)
         ) WITHOUT ROWID;",
    )?)
}

/// The columns of facts in the table `waiting`: none where there is no state. Damaged ones, and those of
/// no session, hold up nothing.
pub(crate) fn create_waiting(connection: &Connection) -> Result<()> {
    let there = "SELECT 1 FROM pragma_table_info('waiting') WHERE name = 'facts_at'";
    if !connection.prepare(there)?.exists(())? {
        connection.execute_batch(
            "ALTER TABLE waiting ADD COLUMN facts_at INTEGER;
             ALTER TABLE waiting ADD COLUMN state TEXT;
             ALTER TABLE waiting ADD COLUMN model TEXT;
             ALTER TABLE waiting ADD COLUMN input_tokens INTEGER;
             ALTER TABLE waiting ADD COLUMN output_tokens INTEGER;
             ALTER TABLE waiting ADD COLUMN duration_ms INTEGER;",
        )?;
    }
    Ok(connection.execute_batch(
        "CREATE TRIGGER IF NOT EXISTS waiting_deleted AFTER DELETE ON waiting
         WHEN old.state IS NOT NULL AND old.facts_at IS NOT NULL
           AND old.input_tokens IS NOT NULL AND old.output_tokens IS NOT NULL
           AND EXISTS (SELECT 1 FROM sessions WHERE id = old.id >> 32)
         BEGIN
           INSERT OR REPLACE INTO facts (session, turn, at, state, model, input_tokens,
             output_tokens, duration_ms)
           VALUES (old.id >> 32, old.id & 0xffffffff, old.facts_at, old.state, old.model,
             old.input_tokens, old.output_tokens, old.duration_ms);
         END;",
    )?)
}

/// Sets a turn's facts, once its text is [set](super::full_text::put_all).
pub(crate) fn put(connection: &Connection, session: SessionRow, facts: &TurnFacts) -> Result<()> {
    let (at, state) = (facts.at.as_millisecond(), state_name(facts.state));
    let (input_tokens, output_tokens) = (number(facts.input_tokens), number(facts.output_tokens));
    let duration_ms = facts.duration_ms.map(number);
    let (model, turn) = (&facts.model, facts.turn.get());
    if let Some(id) = full_text::waiting_row(session, turn) {
        let mut statement = connection.prepare_cached(
            "UPDATE waiting SET facts_at = ?2, state = ?3, model = ?4, input_tokens = ?5,
               output_tokens = ?6, duration_ms = ?7
             WHERE id = ?1",
        )?;
        let waiting = params![id, at, state, model, input_tokens, output_tokens, duration_ms];
        if statement.execute(waiting)? > 0 {
            return Ok(());
        }
    }
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO facts (session, turn, at, state, model, input_tokens,
           output_tokens, duration_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let turn = integer(turn)?;
    statement.execute(params![
        session.id,
        turn,
        at,
        state,
        model,
        input_tokens,
        output_tokens,
        duration_ms
    ])?;
    Ok(())
}

/// A fact as the engine keeps it, which has a bit less: what is counted of a turn keeps none from being
/// written.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Removes the facts of a session's turns.
pub(crate) fn remove_session(connection: &Connection, session: SessionRow) -> Result<()> {
    if let Some(rows) = full_text::waiting_rows(session) {
        let sql = "UPDATE waiting SET state = NULL, model = NULL WHERE id BETWEEN ?1 AND ?2";
        connection.prepare_cached(sql)?.execute(rows)?;
    }
    connection.prepare_cached("DELETE FROM facts WHERE session = ?1")?.execute([session.id])?;
    Ok(())
}

/// Sums over an owner's turns.
pub(crate) fn totals(
    connection: &Connection,
    owner: &OwnerId,
    query: &StatisticsQuery,
) -> Result<Totals> {
    let Some(owner) = owner_number(connection, owner)? else { return Ok(Totals::default()) };
    let mut statement = connection.prepare_cached(
        "SELECT count(DISTINCT session), count(*), coalesce(sum(state = 'failed'), 0),
           coalesce(sum(input_tokens >> 32), 0), coalesce(sum(input_tokens & 0xffffffff), 0),
           coalesce(sum(output_tokens >> 32), 0), coalesce(sum(output_tokens & 0xffffffff), 0)
         FROM (
           SELECT facts.session, at, facts.state, input_tokens, output_tokens
           FROM sessions CROSS JOIN facts ON facts.session = sessions.id
           WHERE owner = ?1 AND NOT (turn < 1 << 32 AND EXISTS (
             SELECT 1 FROM waiting
             WHERE id = (facts.session << 32) + turn AND waiting.state IS NOT NULL))
           UNION ALL
           SELECT sessions.id, facts_at, waiting.state, input_tokens, output_tokens
           FROM waiting CROSS JOIN sessions ON sessions.id = waiting.id >> 32
           WHERE owner = ?1 AND waiting.state IS NOT NULL)
         WHERE at >= coalesce(?2, at) AND at < coalesce(?3, at + 1)",
    )?;
    let time = |time: Option<Timestamp>| time.map(up);
    let mut rows = statement.query(params![owner, time(query.from), time(query.before)])?;
    let Some(row) = rows.next()? else { return Ok(Totals::default()) };
    Ok(Totals {
        sessions: unsigned(row.get(0)?)?,
        turns: unsigned(row.get(1)?)?,
        failed: unsigned(row.get(2)?)?,
        input_tokens: sum("input_tokens", row.get(3)?, row.get(4)?)?,
        output_tokens: sum("output_tokens", row.get(5)?, row.get(6)?)?,
    })
}

/// The sum of numbers of which the upper and the lower halves were added apart: the engine's own
/// numbers end sooner than those of a total.
fn sum(what: &str, upper: i64, lower: i64) -> Result<u64> {
    let sum = (u128::from(unsigned(upper)?) << 32) + u128::from(unsigned(lower)?);
    let too_large = |_| Error::limit_exceeded(format!("the sum of {what} is {sum}, too large"));
    Ok(u64::try_from(sum).map_err(too_large)?)
}
