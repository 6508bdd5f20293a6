//! Facts of turns, and sums over them.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::catalogue::{SessionRow, integer, owner_number, state_name, unsigned, up};
use super::error::SqliteError;
use crate::error::Error;
use crate::id::OwnerId;
use crate::storage::{StatisticsQuery, Totals, TurnFacts};

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// The table `facts`.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "CREATE TABLE facts (
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

/// Sets a turn's facts.
pub(crate) fn put(connection: &Connection, session: SessionRow, facts: &TurnFacts) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO facts (session, turn, at, state, model, input_tokens,
           output_tokens, duration_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    statement.execute(params![
        session.id,
        integer(facts.turn.get())?,
        facts.at.as_millisecond(),
        state_name(facts.state),
        facts.model,
        number("input_tokens", facts.input_tokens)?,
        number("output_tokens", facts.output_tokens)?,
        facts.duration_ms.map(|ms| number("duration_ms", ms)).transpose()?,
    ])?;
    Ok(())
}

/// A fact as the engine keeps it, which has a bit less.
fn number(what: &str, number: u64) -> Result<i64> {
    let too_large =
        |_| Error::limit_exceeded(format!("a turn's {what} is {number}, at most {}", i64::MAX));
    Ok(i64::try_from(number).map_err(too_large)?)
}

/// Removes the facts of a session's turns.
pub(crate) fn remove_session(connection: &Connection, session: SessionRow) -> Result<()> {
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
        "SELECT count(DISTINCT facts.session), count(*), coalesce(sum(facts.state = 'failed'), 0),
           coalesce(sum(input_tokens >> 32), 0), coalesce(sum(input_tokens & 0xffffffff), 0),
           coalesce(sum(output_tokens >> 32), 0), coalesce(sum(output_tokens & 0xffffffff), 0)
         FROM sessions CROSS JOIN facts ON facts.session = sessions.id
         WHERE owner = ?1 AND at >= coalesce(?2, at) AND at < coalesce(?3, at + 1)",
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
