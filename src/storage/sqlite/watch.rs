//! Hints that sessions changed: own changes at once, other processes' by looking at the database.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use futures_core::stream::BoxStream;
use rusqlite::Connection;

use super::catalogue::{self, owner_number};
use super::engine::{Engine, lock};
use super::error::SqliteError;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::hints::{Hints, Mailbox};
use crate::storage::{Hint, SessionKey, WatchFilter};

/// How long another process' change may go unnoticed, unless looking takes longer.
const INTERVAL: Duration = Duration::from_millis(100);

/// Everyone who watches.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// Tells of changes that this storage makes.
    pub(super) hints: Hints,
    looking: Mutex<Vec<Watcher>>,
    polling: AtomicBool,
}

/// Someone for whom the database is looked at, for as long as the mailbox is read.
#[derive(Debug)]
struct Watcher {
    filter: WatchFilter,
    /// What the watched sessions' versions were last.
    seen: BTreeMap<SessionKey, String>,
    mailbox: Weak<Mailbox>,
}

impl Watcher {
    /// Looks at the database and tells of what changed.
    fn look(&mut self, connection: &Connection) -> Result<(), SqliteError> {
        let Some(mailbox) = self.mailbox.upgrade() else { return Ok(()) };
        let now = versions(connection, &self.filter)?;
        let changed = now.iter().filter(|(key, version)| self.seen.get(*key) != Some(*version));
        let gone = self.seen.keys().filter(|key| !now.contains_key(*key));
        for key in changed.map(|(key, _)| key).chain(gone) {
            mailbox.put(key);
        }
        self.seen = now;
        Ok(())
    }
}

impl Engine {
    pub(super) fn watch(self: &Arc<Self>, filter: WatchFilter) -> Result<BoxStream<'static, Hint>> {
        let mailbox = self.watchers.hints.mailbox(filter.clone());
        let seen = self.database.read(|connection| versions(connection, &filter))?;
        let watcher = Watcher { filter, seen, mailbox: Arc::downgrade(&mailbox) };
        lock(&self.watchers.looking).push(watcher);
        if !self.watchers.polling.swap(true, Ordering::AcqRel) {
            let engine = Arc::downgrade(self);
            std::thread::Builder::new()
                .name("chatkeep-watch".to_owned())
                .spawn(move || poll(&engine))
                .map_err(|e| {
                    self.watchers.polling.store(false, Ordering::Release);
                    Error::unavailable("no thread could be started to watch").caused_by(e)
                })?;
        }
        Ok(mailbox.hints())
    }
}

/// The versions of the sessions of a filter.
fn versions(
    connection: &Connection,
    filter: &WatchFilter,
) -> Result<BTreeMap<SessionKey, String>, SqliteError> {
    let owner = match filter {
        WatchFilter::Session(key) => {
            let version = catalogue::version(connection, key)?;
            return Ok(version.map(|version| (key.clone(), version)).into_iter().collect());
        }
        WatchFilter::Owner(owner) => owner,
    };
    let Some(number) = owner_number(connection, owner)? else { return Ok(BTreeMap::new()) };
    let mut query = connection.prepare_cached(
        "SELECT session, incarnation || '.' || token FROM sessions WHERE owner = ?1",
    )?;
    let mut rows = query.query([number])?;
    let mut versions = BTreeMap::new();
    while let Some(row) = rows.next()? {
        // What is damaged of one session hides no change of another.
        let id = catalogue::session_id(row.get_ref(0)?).map_err(catalogue::left_out).ok();
        let version = row.get(1).map_err(|error| catalogue::left_out(error.into())).ok();
        versions.extend(id.map(|id| SessionKey::new(owner.clone(), id)).zip(version));
    }
    Ok(versions)
}

/// Runs until nobody watches any more or the storage is gone.
fn poll(engine: &Weak<Engine>) {
    let mut pause = Duration::ZERO;
    let mut seen = None;
    let mut connection = None;
    loop {
        std::thread::sleep(pause);
        let Some(engine) = engine.upgrade() else { return };
        let begun = Instant::now();
        if let Err(error) = look(&engine, &mut connection, &mut seen) {
            // Whoever missed something is told of it once this works again.
            (connection, seen) = (None, None);
            tracing::warn!(error = %Error::from(error), "the database could not be looked at");
        }
        // Watching takes no more than a tenth of one processor.
        pause = INTERVAL.max(begun.elapsed() * 9);
        let watchers = &engine.watchers;
        let mut all = lock(&watchers.looking);
        all.retain(|watcher| watcher.mailbox.strong_count() > 0);
        if all.is_empty() {
            // Under the lock, so that whoever begins to watch now starts another thread.
            watchers.polling.store(false, Ordering::Release);
            return;
        }
    }
}

/// Looks for each watcher if anything was committed since the last time.
fn look(
    engine: &Engine,
    connection: &mut Option<Connection>,
    seen: &mut Option<i64>,
) -> Result<(), SqliteError> {
    let connection = match connection {
        Some(connection) => connection,
        // The version is one connection's own: it must be the same one each time.
        none => none.insert(engine.database.reader()?),
    };
    let version = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
    if *seen == Some(version) {
        return Ok(());
    }
    // Taken out meanwhile: mailboxes wake foreign code.
    let mut looking = std::mem::take(&mut *lock(&engine.watchers.looking));
    let mut failed = None;
    for watcher in &mut looking {
        match watcher.look(connection) {
            Ok(()) => {}
            // Its own: the others are told, and it is looked again when something changes.
            Err(damage) if damage.kind() == ErrorKind::Corrupt => {
                let error = Error::from(damage);
                tracing::warn!(%error, filter = ?watcher.filter, "a watcher cannot be told");
            }
            Err(error) => failed = Some(error),
        }
    }
    lock(&engine.watchers.looking).extend(looking);
    if let Some(error) = failed {
        return Err(error);
    }
    *seen = Some(version);
    Ok(())
}
