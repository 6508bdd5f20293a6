//! Facts of turns, and sums over them.

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::catalogue::{SessionRow, integer, owner_number, state_name, unsigned, up};
use super::error::SqliteError;
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
        integer(facts.input_tokens)?,
        integer(facts.output_tokens)?,
        facts.duration_ms.map(integer).transpose()?,
    ])?;
    Ok(())
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
           coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)
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
        input_tokens: unsigned(row.get(3)?)?,
        output_tokens: unsigned(row.get(4)?)?,
    })
}
