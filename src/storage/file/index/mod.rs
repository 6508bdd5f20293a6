//! The index: a database beside the logs, made of nothing but them.
//!
//! Whoever opens the store may write to it, and anybody may delete it. What a list sorts by and
//! shows is in it when a call returns, except for activity, which follows within [`DELAY`] in one
//! transaction for all sessions, as text does; until then this process adds what it knows. Nothing
//! is indexed before it is in the log. A failure here fails no append: it is told, lists go back
//! to the logs themselves, and the index is verified.
//!
//! | module | is |
//! | --- | --- |
//! | `generation` | which file is the index |
//! | `rows` | what is in it beside lists and text |
//! | `dirty` | what waits to be written |
//! | `flush` | writing it |
//! | `list` | lists |
//! | `search` | full text |
//! | `verify` | comparing it with the logs, behind |

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::dirty::Dirty;
use self::generation::{Gate, Generation, Generations};
pub(super) use self::list::Hidden;
pub(super) use self::rows::Row;
use self::verify::Wanted;
use super::changes::Change;
use super::disk::Disk;
use super::engine::lock;
use super::heads;
use super::layout::{self, Layout};
use super::system::FileIdentity;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::file::unindexed::Doubts;
use crate::storage::sqlite::SqliteError;
use crate::storage::sqlite::database::Sync;
use crate::storage::sqlite::full_text;
use crate::storage::sqlite::place::Moved;
use crate::storage::{Extract, SessionKey, WriterId};

mod dirty;
mod flush;
mod generation;
mod list;
mod rows;
mod search;
mod verify;

/// How long activity and text may wait. The rest of 200 ms is for writing them.
const DELAY: Duration = Duration::from_millis(120);

/// The indexes that this process has open, by the store's directory.
static OPEN: Mutex<BTreeMap<Place, Weak<Index>>> = Mutex::new(BTreeMap::new());

type Place = (PathBuf, Option<FileIdentity>);

/// The index of the storages that this process has open on a store. Its threads end, after what waits is written, when it is dropped.
#[derive(Debug)]
pub(super) struct Index {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    disk: Arc<Disk>,
    layout: Arc<Layout>,
    generations: Generations,
    dirty: Mutex<Dirty>,
    wake: Condvar,
    /// Held while changes are written, so that an older one never overtakes a newer one.
    writing: Mutex<()>,
    writer_runs: AtomicBool,
    extracts: Mutex<Vec<Weak<dyn Extract>>>,
    /// Whether somebody has come who may be able to read what was refused.
    retries: AtomicBool,
    /// How often the index was found not to be trusted, and up to which time that is mended.
    distrusted: AtomicU64,
    trusted: AtomicU64,
    /// The storages that share this index.
    writers: Mutex<Vec<WriterId>>,
    /// Held by one process while it compares the index with the logs, and while it reads texts.
    verifying: Gate,
    extracting: Gate,
    wanted: Mutex<Wanted>,
    /// Told when nothing is being verified any more.
    idle: Condvar,
    stop: AtomicBool,
    /// Held to read by lists that go through the logs: others give way.
    scans: RwLock<()>,
}

impl Index {
    /// Opens the store's index, or shares the one that this process has open: what waits to be
    /// written must be seen by all its storages.
    pub(super) fn open(disk: &Arc<Disk>, layout: &Arc<Layout>) -> Result<Arc<Self>> {
        let root = std::fs::canonicalize(disk.root())
            .map_err(|e| Error::unavailable("the store's directory has no path").caused_by(e))?;
        let place = (root, disk.metadata(disk.root())?.and_then(|found| found.identity));
        let mut open = lock(&OPEN);
        open.retain(|_, index| index.strong_count() > 0);
        if let Some(index) = open.get(&place).and_then(Weak::upgrade) {
            return Ok(index);
        }
        let index = Arc::new(Self::new(disk, layout)?);
        open.insert(place, Arc::downgrade(&index));
        Ok(index)
    }

    fn new(disk: &Arc<Disk>, layout: &Arc<Layout>) -> Result<Self> {
        let shared = Arc::new(Shared {
            disk: Arc::clone(disk),
            layout: Arc::clone(layout),
            generations: Generations::new(disk, layout),
            dirty: Mutex::default(),
            wake: Condvar::new(),
            writing: Mutex::default(),
            writer_runs: AtomicBool::new(false),
            extracts: Mutex::default(),
            retries: AtomicBool::new(false),
            distrusted: AtomicU64::new(0),
            trusted: AtomicU64::new(0),
            writers: Mutex::default(),
            verifying: Gate::new(layout::locks(disk.root()).join("index-verify.lock")),
            extracting: Gate::new(layout::locks(disk.root()).join("index-text.lock")),
            wanted: Mutex::default(),
            idle: Condvar::new(),
            stop: AtomicBool::new(false),
            scans: RwLock::default(),
        });
        shared.begin()?;
        Ok(Self { shared, threads: Mutex::default() })
    }

    /// Counts a storage in, whose changes are noted here.
    pub(super) fn join(&self, writer: &WriterId) {
        lock(&self.shared.writers).push(writer.clone());
    }

    pub(super) fn part(&self, writer: &WriterId) {
        lock(&self.shared.writers).retain(|known| known != writer);
    }

    /// Writes what waits, durably; whether all that was ever noted here is in the index now.
    pub(super) fn settle(&self) -> bool {
        let shared = &self.shared;
        shared.flush(None);
        let settled = shared.present().and_then(|generation| shared.sync(&generation));
        if let Err(error) = &settled {
            tracing::warn!(%error, "the index may lose what was written to it");
        }
        settled.is_ok() && shared.is_trusted()
    }

    /// Notes a change. One that lists must show elsewhere is written before this returns.
    pub(super) fn note(&self, key: &SessionKey, change: Change) {
        if change.at_once {
            lock(&self.shared.dirty).add(key, change, None);
            self.shared.flush(Some(key));
            return;
        }
        let due = Some(Instant::now() + DELAY);
        let first = lock(&self.shared.dirty).add(key, change, due);
        if first {
            self.write_later();
        }
    }

    /// Notes that nobody knows what a change came to.
    pub(super) fn doubt(&self, error: &Error) {
        self.shared.lose(error);
    }

    fn write_later(&self) {
        if self.shared.writer_runs.swap(true, Ordering::AcqRel) {
            // Not one: it may be whoever waits for others' changes.
            self.shared.wake.notify_all();
            return;
        }
        let shared = Arc::clone(&self.shared);
        if !self.spawn("chatkeep-index", move || shared.write_when_due()) {
            self.shared.writer_runs.store(false, Ordering::Release);
            self.shared.flush(None);
        }
    }

    /// Starts a thread that is waited for when the storage is dropped; whether it could.
    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> bool {
        match std::thread::Builder::new().name(name.to_owned()).spawn(work) {
            Ok(thread) => {
                let mut threads = lock(&self.threads);
                threads.retain(|thread| !thread.is_finished());
                threads.push(thread);
                true
            }
            Err(error) => {
                tracing::error!(%error, name, "a thread could not be started");
                false
            }
        }
    }

    /// Removes all that the index knows of a session, from its bytes too; what remains, in words.
    pub(super) fn purge(&self, key: &SessionKey) -> Result<Vec<String>> {
        self.shared.purge(key)
    }

    /// Lets nothing pass that goes through the logs while somebody waits for a list.
    pub(super) fn scan<T>(&self, work: impl FnOnce() -> T) -> T {
        let _scan = self.shared.scans.read();
        work()
    }

    /// Who can read sessions.
    pub(super) fn attach(&self, extract: Weak<dyn Extract>) {
        let mut extracts = lock(&self.shared.extracts);
        extracts.retain(|known| known.strong_count() > 0);
        extracts.push(extract);
        drop(extracts);
        self.shared.retries.store(true, Ordering::Release);
        self.verify_texts_later();
    }

    /// Cuts off what deleted rows left in the index's file.
    pub(super) fn scrub(&self) -> Result<()> {
        self.shared.flush(None);
        let generation = self.shared.present()?;
        let optimized = generation.database.write(Sync::Normal, |connection| {
            if generation.cuts {
                full_text::settle_all(connection)?;
            }
            full_text::optimize(connection)
        });
        self.shared.checked(&generation, optimized)?;
        self.shared.checked(&generation, generation.database.rewrite())?;
        let cut = generation.database.truncate_wal().map_err(Error::from)?;
        match cut && self.shared.generations.left(&self.shared.disk, &generation)?.is_empty() {
            true => Ok(()),
            false => Err(Error::unavailable("the index is being read; deleted bytes are left")),
        }
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        lock(&self.shared.dirty).stopping = true;
        self.shared.wake.notify_all();
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // Whoever reads a session for the index may be the last to let go of the storage.
            let own = thread.thread().id() == std::thread::current().id();
            if !own && thread.join().is_err() {
                tracing::error!("a thread of the index has panicked");
            }
        }
        // Nothing waits any more, unless there was no thread.
        self.shared.flush(None);
    }
}

impl Shared {
    /// The index of a store without sessions is complete from the beginning. Asked once the index
    /// has its name: whoever begins a session later indexes it.
    fn begin(&self) -> Result<()> {
        let generation = self.present()?;
        let complete = generation.database.read(rows::is_complete);
        if !self.checked(&generation, complete)?
            && heads::owners(&self.disk, &self.layout)?.is_empty()
        {
            self.complete(&generation)?;
        }
        Ok(())
    }

    fn complete(&self, generation: &Generation) -> Result<()> {
        let complete = generation.database.write(Sync::Normal, rows::set_complete);
        self.checked(generation, complete)
    }

    fn present(&self) -> Result<Arc<Generation>> {
        let unusable = |e| Error::unavailable("the index cannot be opened").caused_by(e);
        self.generations.present(&self.disk).map_err(unusable)
    }

    /// Lists go through the logs from now on, until the index has been verified.
    fn distrust(&self, error: &Error) -> u64 {
        tracing::warn!(%error, "the index is not used until it is verified");
        self.distrusted.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire) == self.distrusted.load(Ordering::Acquire)
    }

    /// Whether neither this process nor a mark says anything against the index.
    fn is_believed(&self) -> bool {
        let doubts = || match self.doubts() {
            Ok(doubts) => !doubts.is_empty(),
            Err(error) => {
                tracing::warn!(%error, "nobody can tell whether the index has all logs");
                true
            }
        };
        self.is_trusted() && !doubts()
    }

    /// What the marks of all storages say against the index.
    fn doubts(&self) -> Result<Doubts> {
        // They cannot part while they are looked at.
        let own = lock(&self.writers);
        Ok(Doubts::find(&self.disk, &own)?)
    }

    /// Makes all that was written to a database durable.
    fn sync(&self, generation: &Generation) -> Result<()> {
        let synced = generation.database.write(Sync::Full, rows::set_synced);
        self.checked(generation, synced)
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The outcome of work on a database. One that turns out to be damaged is replaced.
    fn checked<T>(&self, generation: &Generation, done: Result<T, SqliteError>) -> Result<T> {
        let error = match done {
            Ok(done) => return Ok(done),
            Err(error) => Error::from(error),
        };
        if is_damage(&error) {
            tracing::warn!(%error, "the index is damaged and is built anew");
            if let Err(error) = self.generations.replace(&self.disk, generation) {
                tracing::error!(%error, "the index cannot be built anew");
            }
        }
        Err(error)
    }
}

/// Whether an error says that the database is not what was written.
fn is_damage(error: &Error) -> bool {
    // All statements are ours: one that fails by itself misses a table or a column.
    use rusqlite::Error::{SqlInputError, SqliteFailure};
    let source = std::error::Error::source(error);
    // What was moved would be seen by no other process.
    let is_moved = source.is_some_and(|source| source.is::<Moved>());
    let failed = source.and_then(|source| source.downcast_ref());
    let by_itself = match failed {
        Some(SqliteFailure(failure, _) | SqlInputError { error: failure, .. }) => {
            failure.extended_code == rusqlite::ffi::SQLITE_ERROR
        }
        _ => false,
    };
    error.kind() == ErrorKind::Corrupt || by_itself || is_moved
}

/// Whether an error says that one session cannot be in the index, while others can.
fn is_of_one(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::Invalid)
}
