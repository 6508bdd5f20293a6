//! The catalogue: an owner's sessions by last activity, creation and title.
//!
//! What a list sorts and chooses by is in columns; the head's fields are there whole as JSON.
//!
//! | module | is |
//! | --- | --- |
//! | `session` | one session's row |
//! | `list` | pages of them, and of owners |
//! | `filter` | what a list chooses by, as SQL |
//! | `columns` | heads and ids as values, and back |

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::error::SqliteError;
use crate::error::ErrorKind;

mod columns;
mod filter;
mod list;
mod session;

pub(crate) use self::columns::StoredHead;
use self::columns::{head_of, owner_id};
pub(super) use self::columns::{left_out, session_id, state_name};
#[cfg(test)]
pub(super) use self::list::plan;
pub(crate) use self::list::{count, id_if_fits, keys, matching, owners, sound_page};
pub(super) use self::list::{page, sound_owners};
pub(crate) use self::session::{
    Stored, advance, find, get, insert, life, owner_number, remove, row_of, update, upsert, version,
};

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// The tables `owners` and `sessions`.
///
/// Ids are never used again. Times are negative milliseconds: the newest is the first.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "CREATE TABLE owners (
           number INTEGER PRIMARY KEY AUTOINCREMENT,
           owner TEXT NOT NULL UNIQUE
         );
         CREATE TABLE sessions (
           id INTEGER PRIMARY KEY AUTOINCREMENT,
           owner INTEGER NOT NULL REFERENCES owners (number),
           session TEXT NOT NULL,
           incarnation INTEGER NOT NULL,
           revision INTEGER NOT NULL,
           base INTEGER NOT NULL,
           token TEXT NOT NULL,
           title TEXT NOT NULL,
           status TEXT NOT NULL,
           pinned INTEGER NOT NULL,
           tags TEXT,
           agent TEXT,
           workspace TEXT,
           parent TEXT,
           created INTEGER NOT NULL,
           active INTEGER NOT NULL,
           turns INTEGER NOT NULL,
           state TEXT,
           head TEXT NOT NULL
         );",
    )?;
    create_indexes(connection)
}

/// The indexes of `sessions` that are not there.
pub(super) fn create_indexes(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "CREATE UNIQUE INDEX IF NOT EXISTS sessions_session ON sessions (owner, session);
         CREATE INDEX IF NOT EXISTS sessions_active ON sessions (owner, active, session);
         CREATE INDEX IF NOT EXISTS sessions_created ON sessions (owner, created, session);
         CREATE INDEX IF NOT EXISTS sessions_title ON sessions (owner, title, session);
         CREATE INDEX IF NOT EXISTS sessions_workspace
           ON sessions (owner, workspace, active, session) WHERE workspace IS NOT NULL;
         CREATE INDEX IF NOT EXISTS sessions_parent
           ON sessions (owner, parent) WHERE parent IS NOT NULL;",
    )?)
}

/// Sets what lists choose by from the heads, as far as these are sound. An owner or a session whose id
/// is damaged gets a new one, by which it is found again.
pub(super) fn restore(connection: &Connection) -> Result<()> {
    restore_owners(connection)?;
    let mut ids = connection.prepare("SELECT id FROM sessions")?;
    let ids = ids.query_map((), |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for id in ids {
        let mut query = connection.prepare_cached(
            "SELECT incarnation, revision, base, token, head, session, owner FROM sessions
             WHERE id = ?1",
        )?;
        let (name, row, head) = query.query_one([id], |row| {
            let place = SessionRow { id, owner: row.get(6)? };
            Ok((session_id(row.get_ref(5)?), place, head_of(row)))
        })?;
        if let Err(damage) = name {
            let name = format!("recovered-{id}");
            tracing::warn!(error = %crate::Error::from(damage), name, "a session has a new id");
            let sql = "UPDATE sessions SET session = ?2 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![id, name])?;
        }
        match head {
            Ok(head) => update(connection, row, None, &head)?,
            // Lists say so.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn restore_owners(connection: &Connection) -> Result<()> {
    let mut query = connection.prepare("SELECT number, owner FROM owners")?;
    let mut rows = query.query(())?;
    let mut damaged = Vec::new();
    while let Some(row) = rows.next()? {
        if let Err(damage) = owner_id(row.get_ref(1)?) {
            damaged.push((row.get::<_, i64>(0)?, damage));
        }
    }
    drop(rows);
    for (number, damage) in damaged {
        let name = format!("recovered-{number}");
        tracing::warn!(error = %crate::Error::from(damage), name, "an owner has a new id");
        connection
            .prepare_cached("UPDATE owners SET owner = ?2 WHERE number = ?1")?
            .execute(params![number, name])?;
    }
    Ok(())
}

/// A session's place in the tables: what full text and facts know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionRow {
    /// Never used again after the session was removed.
    pub(crate) id: i64,
    /// Its owner's number.
    pub(crate) owner: i64,
}

/// The first whole millisecond at or after a time.
pub(super) fn up(time: Timestamp) -> i64 {
    let millis = time.as_nanosecond().div_euclid(1_000_000);
    let part = i128::from(time.as_nanosecond().rem_euclid(1_000_000) > 0);
    // The range of times in milliseconds is far smaller.
    i64::try_from(millis + part).unwrap_or(i64::MAX)
}

/// A number as the engine keeps it.
pub(crate) fn integer(number: u64) -> Result<i64> {
    let too_large = |_| crate::Error::limit_exceeded(format!("{number} is too large a number"));
    Ok(i64::try_from(number).map_err(too_large)?)
}

/// A number as the engine kept it.
pub(crate) fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| SqliteError::damaged("a number is negative"))
}
