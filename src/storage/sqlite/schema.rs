//! The schema of a storage whose truth is one file.
//!
//! | table | holds |
//! | --- | --- |
//! | `store` | the salt of tombstones, counters |
//! | `sessions`, `owners` | the [catalogue](super::catalogue): heads |
//! | `records` | all logs: the session's row times 2^32 plus the revision, and the record |
//! | `dropped` | copies of damaged records that a repair took out of a log |
//! | `blobs` | blobs of sessions |
//! | `facts` | [facts](super::facts) of turns |
//! | `docs`, `texts`, `words`, `digests`, `waiting`, `full_text` | the [full text](super::full_text) |
//! | `documents` | small documents |
//! | `tombstones` | salted hashes of deleted sessions, with their last life |

use rusqlite::{Connection, params};

use super::database::{Schema, Step};
use super::error::SqliteError;
use super::{catalogue, facts, full_text};
use crate::storage::rules::Salt;

/// "ckpS" in ASCII.
const APPLICATION_ID: i32 = 0x636b_7053;

/// A step is never changed once it was released.
const STEPS: &[Step] = &[first, second, full_text::create_digests, facts::create_waiting];

pub(super) const SCHEMA: Schema =
    Schema { application_id: APPLICATION_ID, steps: STEPS, checkpoint_pages: 1_000 };

fn first(connection: &Connection) -> Result<(), SqliteError> {
    catalogue::create(connection)?;
    facts::create(connection)?;
    full_text::create(connection)?;
    connection.execute_batch(
        "CREATE TABLE store (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
         CREATE TABLE records (
           id INTEGER PRIMARY KEY,
           turn INTEGER NOT NULL,
           kind TEXT NOT NULL,
           at INTEGER NOT NULL,
           batch INTEGER NOT NULL,
           sum INTEGER NOT NULL,
           body NOT NULL
         );
         CREATE TABLE dropped (
           id INTEGER PRIMARY KEY AUTOINCREMENT,
           session INTEGER NOT NULL,
           revision INTEGER NOT NULL,
           turn, kind, at, batch, sum, body
         );
         CREATE INDEX dropped_session ON dropped (session);
         CREATE TABLE blobs (
           session INTEGER NOT NULL,
           blob BLOB NOT NULL,
           content BLOB NOT NULL
         );
         CREATE UNIQUE INDEX blobs_blob ON blobs (session, blob);
         CREATE TABLE pending_texts (
           id INTEGER PRIMARY KEY,
           session INTEGER NOT NULL,
           turn INTEGER NOT NULL,
           at INTEGER NOT NULL,
           text BLOB NOT NULL
         );
         CREATE TABLE documents (
           scope TEXT NOT NULL,
           name TEXT NOT NULL,
           version INTEGER NOT NULL,
           expires TEXT,
           content BLOB NOT NULL,
           PRIMARY KEY (scope, name)
         ) WITHOUT ROWID;
         CREATE TABLE tombstones (
           grave BLOB PRIMARY KEY,
           incarnation INTEGER NOT NULL
         ) WITHOUT ROWID;
         INSERT INTO store VALUES ('versions', 0), ('syncs', 0);",
    )?;
    let sql = "INSERT INTO store VALUES ('salt', ?1)";
    connection.execute(sql, params![Salt::random().bytes()])?;
    Ok(())
}

/// Of each turn one text waits. No session has as many turns as a row's number has room for.
fn second(connection: &Connection) -> Result<(), SqliteError> {
    full_text::create_waiting(connection)?;
    Ok(connection.execute_batch(
        "INSERT OR REPLACE INTO waiting
           SELECT (session << 32) + turn, at, text FROM pending_texts
           WHERE session IN (SELECT id FROM sessions) AND turn < 1 << 32 ORDER BY pending_texts.id;
         DROP TABLE pending_texts;",
    )?)
}

/// Makes what is derived and missing, empty.
pub(super) fn create_derived(connection: &Connection) -> Result<(), SqliteError> {
    catalogue::create_indexes(connection)?;
    facts::create(connection)?;
    full_text::create_tables(connection)?;
    full_text::create_waiting(connection)?;
    full_text::create_digests(connection)?;
    facts::create_waiting(connection)
}

/// The salt of the store's tombstones.
pub(super) fn salt(connection: &Connection) -> Result<Salt, SqliteError> {
    let sql = "SELECT value FROM store WHERE name = 'salt'";
    let salt: Vec<u8> = connection.query_row(sql, (), |row| row.get(0))?;
    Salt::from_bytes(&salt).ok_or_else(|| SqliteError::damaged("the store's salt is damaged"))
}
