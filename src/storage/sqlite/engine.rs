//! What all handles on one opened database share.

use std::cmp::Ordering;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::database::{Database, Sync};
use super::error::SqliteError;
use super::group::Group;
use super::pending::Pending;
use super::schema::{SCHEMA, salt};
use super::watch::Watchers;
use super::{catalogue, full_text, read};
use crate::error::Result;
use crate::storage::rules::Salt;
use crate::storage::{Capabilities, Durability, Head, Incarnation, LogPage, ReadRange, SessionKey};

pub(super) fn capabilities() -> Capabilities {
    Capabilities {
        durability: Durability::Synced,
        persistent: true,
        multi_process: true,
        watches_processes: true,
        knows_writers: true,
        purges_bytes: true,
        ..Capabilities::new("sqlite")
    }
}

pub(super) struct Engine {
    pub(super) database: Database,
    pub(super) salt: Salt,
    pub(super) group: Group,
    pub(super) pending: Pending,
    pub(super) watchers: Watchers,
}

impl Engine {
    pub(super) fn open(path: &Path) -> Result<Arc<Self>> {
        let database = Database::open(path, SCHEMA)?;
        let salt = database.read(salt)?;
        let is_due = are_texts_due(&database);
        let engine = Arc::new(Self {
            database,
            salt,
            group: Group::default(),
            pending: Pending::default(),
            watchers: Watchers::default(),
        });
        if is_due {
            engine.settle_texts_later();
        }
        Ok(engine)
    }

    pub(super) fn head(&self, key: &SessionKey) -> Result<Option<Head>> {
        let found = self.database.read(|connection| catalogue::get(connection, key))?;
        Ok(found.map(|(_, head)| head))
    }

    pub(super) fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        self.database
            .read(|connection| read::page(connection, key, range))
            .map_err(|error| crate::Error::from(error).with("session", &key.id))
    }

    /// Changes one session, durably, and tells those who watch it.
    pub(super) fn change<T>(
        &self,
        key: &SessionKey,
        change: impl FnOnce(&Connection) -> Result<T, SqliteError>,
    ) -> Result<T> {
        let changed = self.database.write(Sync::Full, change);
        let changed =
            changed.map_err(|error| crate::Error::from(error).with("session", &key.id))?;
        self.watchers.hints.send(key);
        Ok(changed)
    }
}

/// Whether texts are to be indexed. What keeps the full text from being brought up, as damage, a full
/// disk or somebody who writes for long, keeps nobody from opening the rest of the database: searches
/// say so, and whoever changes its texts tries again.
pub(super) fn are_texts_due(database: &Database) -> bool {
    look_at_texts(database).unwrap_or_else(|error| {
        tracing::warn!(error = %crate::Error::from(error), "the full text is not brought up");
        false
    })
}

/// Brings the full text under the present rules; whether texts are to be indexed.
fn look_at_texts(database: &Database) -> Result<bool, SqliteError> {
    if database.read(full_text::rules_of)? == Ordering::Less {
        database.write(Sync::Normal, full_text::can_index)?;
    }
    database.read(full_text::is_due)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the salt.
        f.debug_struct("Engine").field("database", &self.database).finish_non_exhaustive()
    }
}

/// The last life that a session's tombstone names.
pub(super) fn buried(
    connection: &Connection,
    salt: Salt,
    key: &SessionKey,
) -> Result<Option<Incarnation>, SqliteError> {
    let mut query =
        connection.prepare_cached("SELECT incarnation FROM tombstones WHERE grave = ?1")?;
    let found: Option<i64> =
        query.query_row(params![salt.grave(key)], |row| row.get(0)).optional()?;
    found.map(|life| catalogue::unsigned(life).map(Incarnation::new)).transpose()
}

/// Every change under these locks leaves what they guard whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
