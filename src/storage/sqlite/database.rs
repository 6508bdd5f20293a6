//! One database file: a writer, some readers, and the versions of its schema.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use super::error::SqliteError;
use super::place::Place;

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// The oldest SQLite whose WAL is safe with several connections.
const OLDEST: i32 = 3_051_003;
/// How long to wait for another process' transaction.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait for a reader before the WAL is cut.
const LONGEST_READ: Duration = Duration::from_secs(2);
/// How many readers are kept for later.
const READERS: usize = 4;
/// How many KiB of pages the writer keeps in memory.
const CACHE: i32 = 8_000;
/// How many a reader does. What it does not keep is still in the system's memory, and is read faster
/// into memory that is near than into much of it.
const READER_CACHE: i32 = 2_000;
const STATEMENTS: usize = 128;

/// A file of up to so many pages, of 4 KiB each, is written anew in less than a tenth of a second.
const SMALL: i64 = 1_024;

/// What a database holds, and how it is tuned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema {
    /// By which its files are known.
    pub(crate) application_id: i32,
    /// The steps from an empty file to the present schema; a step is never changed once released.
    pub(crate) steps: &'static [Step],
    /// After so many pages the WAL is copied into the file.
    pub(crate) checkpoint_pages: u32,
}

/// Brings a schema from one version to the next. Runs in one transaction with the others.
pub(crate) type Step = fn(&Connection) -> Result<()>;

/// How safe a transaction is when it has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Survives the process.
    Normal,
    /// Survives a power cut, as all transactions before it do.
    Full,
}

/// A database file that any number of processes may have open.
pub(crate) struct Database {
    path: PathBuf,
    place: Place,
    schema: Schema,
    writer: Mutex<Writer>,
    readers: Mutex<Vec<Connection>>,
    /// What the next commit or checkpoint comes to.
    #[cfg(test)]
    pub(super) fault: Mutex<Option<Fault>>,
}

/// A commit that fails without saying whether it took effect, or a checkpoint that fails.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    TookEffect,
    TookNone,
    Panics,
    Checkpoint,
}

struct Writer {
    connection: Connection,
    sync: Sync,
    /// How many pages the WAL had after the last commit.
    pages: Arc<AtomicU32>,
    /// A commit or a checkpoint failed, and with it perhaps a sync: what was written before may not
    /// be on the disk, though a later sync would say so.
    suspect: bool,
}

impl Database {
    /// Opens the file, which is made if it is not there.
    ///
    /// A file of a newer schema or of something else is left as it is.
    pub(crate) fn open(path: &Path, schema: Schema) -> Result<Self> {
        if rusqlite::version_number() < OLDEST {
            return Err(SqliteError::OldLibrary { found: rusqlite::version() });
        }
        let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        let known = schema.version();
        patiently(|| schema.check(&connection))?;
        // Takes a lock for which the engine itself does not wait.
        patiently(|| prepare(&connection))?;
        if version(&connection)? < known {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Another process may have come first.
            schema.check(&transaction)?;
            schema.migrate(&transaction)?;
            transaction.commit().map_err(SqliteError::of_commit)?;
        }
        let writer = Writer::new(connection)?;
        Ok(Self {
            place: Place::of(path)?,
            path: path.to_owned(),
            schema,
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            #[cfg(test)]
            fault: Mutex::default(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file that the path led to when it was opened.
    pub(super) fn file(&self) -> &Path {
        self.place.database()
    }

    /// Changes something: all of it, or nothing if `change` fails.
    pub(crate) fn write<T>(
        &self,
        sync: Sync,
        change: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let mut writer = lock(&self.writer);
        writer.trust()?;
        writer.set_sync(sync)?;
        let open = Open::begin(&writer.connection)?;
        self.place.check()?;
        let changed = change(&writer.connection)?;
        let committed = self.commit(open);
        if let Err(source) = committed {
            let error = SqliteError::of_commit(source);
            writer.suspect |= matches!(error, SqliteError::Unknown { .. });
            return Err(error);
        }
        self.checkpoint(&mut writer);
        Ok(changed)
    }

    /// Copies the WAL into the file once it is long. What was committed is as safe as it was said to
    /// be, whatever comes of it.
    fn checkpoint(&self, writer: &mut Writer) {
        if writer.pages.load(Ordering::Relaxed) < self.schema.checkpoint_pages {
            return;
        }
        let passive = |connection: &Connection| {
            connection.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::PASSIVE)
        };
        match writer.checked(|connection| self.faulty(|| passive(connection))) {
            // Somebody else does it, or reads: it is tried again after the next commit.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
            Err(error) => tracing::warn!(%error, "the write-ahead log could not be copied"),
            Ok(_) => {}
        }
    }

    #[cfg(not(test))]
    fn faulty<T>(&self, copy: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        copy()
    }

    #[cfg(test)]
    fn faulty<T>(&self, copy: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        match lock(&self.fault).take_if(|fault| *fault == Fault::Checkpoint) {
            Some(_) => Err(failed_sync()),
            None => copy(),
        }
    }

    #[cfg(not(test))]
    fn commit(&self, open: Open<'_>) -> rusqlite::Result<()> {
        open.commit()
    }

    #[cfg(test)]
    fn commit(&self, open: Open<'_>) -> rusqlite::Result<()> {
        match lock(&self.fault).take_if(|fault| *fault != Fault::Checkpoint) {
            None | Some(Fault::Checkpoint) => return open.commit(),
            Some(Fault::TookEffect) => open.commit()?,
            Some(Fault::TookNone) => drop(open),
            Some(Fault::Panics) => panic!("a commit that panics"),
        }
        Err(failed_sync())
    }

    /// Reads from one state of the database.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let reader = lock(&self.readers).pop();
        let reader = match reader {
            Some(reader) => reader,
            None => self.reader()?,
        };
        let transaction = reader.unchecked_transaction()?;
        let result = read(&transaction);
        let ended = transaction.finish();
        let mut readers = lock(&self.readers);
        // One that cannot end its transaction would hold its state for ever.
        if ended.is_ok() && readers.len() < READERS {
            readers.push(reader);
        }
        drop(readers);
        let found = result?;
        ended?;
        Ok(found)
    }

    /// Writes the whole file anew. What is deleted is overwritten where it stands, but not the copies that
    /// the engine leaves behind in pages from which it moves rows to others.
    pub(crate) fn rewrite(&self) -> Result<()> {
        let mut writer = lock(&self.writer);
        writer.trust()?;
        writer.set_sync(Sync::Full)?;
        self.place.check()?;
        // What is written meanwhile may be larger than the memory.
        writer.connection.pragma_update(None, "temp_store", "FILE")?;
        let written = writer.checked(|connection| connection.execute_batch("VACUUM"));
        writer.connection.pragma_update(None, "temp_store", "MEMORY")?;
        Ok(written?)
    }

    /// Does so if the file is small; whether it was.
    pub(crate) fn rewrite_if_small(&self) -> Result<bool> {
        let pages = |connection: &Connection| {
            Ok(connection.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))?)
        };
        let is_small = self.read(pages)? <= SMALL;
        if is_small {
            self.rewrite()?;
        }
        Ok(is_small)
    }

    /// Copies all that the WAL holds into the file and cuts the WAL to nothing; whether nobody
    /// was in the way.
    pub(crate) fn truncate_wal(&self) -> Result<bool> {
        // Readers that nobody uses hold nothing, but closing them costs nothing either.
        lock(&self.readers).clear();
        let mut writer = lock(&self.writer);
        Ok(writer.checked(|connection| self.faulty(|| truncate_wal(connection)))?)
    }

    /// A connection of its own that cannot write.
    pub(crate) fn reader(&self) -> Result<Connection> {
        self.place.check()?;
        let connection = connect(self.place.database(), OpenFlags::empty())?;
        patiently(|| prepare(&connection))?;
        connection.pragma_update(None, "cache_size", -READER_CACHE)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }
}

/// A transaction that is rolled back unless it is committed. What begins and ends it is prepared
/// once, unlike [`Transaction`]'s.
struct Open<'c>(&'c Connection);

impl<'c> Open<'c> {
    fn begin(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
        Ok(Self(connection))
    }

    fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute(()).map(drop)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // After some failures the engine has rolled back by itself.
        if !self.0.is_autocommit()
            && let Err(error) = self.0.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }
}

impl Writer {
    fn new(mut connection: Connection) -> Result<Self> {
        let pages = Arc::<AtomicU32>::default();
        let known = Arc::clone(&pages);
        // The engine's own checkpoints tell nobody that they failed.
        connection.wal_hook(Some(move |_: &mut _, pages| {
            known.store(u32::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { connection, sync: Sync::Normal, pages, suspect: false })
    }

    /// Does something that syncs. Where that failed the system may take what was not written for
    /// written: nothing else is done before the writer can be [trusted](Self::trust) again.
    fn checked<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let done = work(&self.connection);
        let code = done.as_ref().err().and_then(rusqlite::Error::sqlite_error_code);
        self.suspect |= code == Some(ErrorCode::SystemIoFailure);
        done
    }

    fn set_sync(&mut self, sync: Sync) -> Result<()> {
        if self.sync != sync {
            let value = match sync {
                Sync::Normal => "NORMAL",
                Sync::Full => "FULL",
            };
            self.connection.pragma_update(None, "synchronous", value)?;
            self.sync = sync;
        }
        Ok(())
    }

    /// After a failed sync everything that is known to be there is copied into the file, whose
    /// sync is a new one, and what is not known is cut off, before anything else is written.
    fn trust(&mut self) -> Result<()> {
        if self.suspect && !truncate_wal(&self.connection)? {
            return Err(SqliteError::Suspect);
        }
        self.suspect = false;
        Ok(())
    }
}

impl Schema {
    /// The version that all steps lead to.
    fn version(&self) -> i64 {
        self.steps.len().try_into().unwrap_or(i64::MAX)
    }

    /// Checks that a file is of this schema, of an older version of it, or empty.
    fn check(&self, connection: &Connection) -> Result<()> {
        // All at one moment: another process may be about to make the tables.
        connection.execute_batch("SAVEPOINT look")?;
        let checked = self.look_at(connection);
        let released = connection.execute_batch("RELEASE look");
        // After some failures the engine has released it: what failed first is what is wrong.
        checked.and_then(|()| Ok(released?))
    }

    fn look_at(&self, connection: &Connection) -> Result<()> {
        let found: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version = version(connection)?;
        if found == i64::from(self.application_id) {
            let known = self.version();
            return match version > known {
                true => Err(SqliteError::NewerSchema { found: version, known }),
                false => Ok(()),
            };
        }
        let sql = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = connection.query_row(sql, (), |row| row.get(0))?;
        match (found, version, tables) {
            (0, 0, 0) => Ok(()),
            _ => Err(SqliteError::Foreign { found }),
        }
    }

    fn migrate(&self, transaction: &Transaction<'_>) -> Result<()> {
        let done = usize::try_from(version(transaction)?)
            .map_err(|_| SqliteError::damaged("the schema's version is negative"))?;
        for step in self.steps.iter().skip(done) {
            step(transaction)?;
        }
        transaction.pragma_update(None, "application_id", self.application_id)?;
        transaction.pragma_update(None, "user_version", self.version())?;
        Ok(())
    }
}

fn version(connection: &Connection) -> Result<i64> {
    Ok(connection.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

fn connect(path: &Path, create: OpenFlags) -> Result<Connection> {
    // Without the flag for URIs: a path is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags | create)?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Statements are planned once, not again for each value that they are given.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// No memory map: a file that somebody cuts short would end the process.
fn prepare(connection: &Connection) -> Result<()> {
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqliteError::damaged(format!("the database's journal is {mode}, not a WAL")));
    }
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // Where a sync leaves what was written in the drive's own memory, as Apple's does.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -CACHE)?;
    // Whoever writes does it, and looks whether it failed.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(())
}

fn truncate_wal(connection: &Connection) -> rusqlite::Result<bool> {
    // Somebody who reads for long holds up no more than this.
    connection.busy_timeout(LONGEST_READ)?;
    let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy = connection.query_row(sql, (), |row| row.get::<_, i64>(0));
    connection.busy_timeout(PATIENCE)?;
    Ok(busy? == 0)
}

#[cfg(test)]
fn failed_sync() -> rusqlite::Error {
    let failed = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    rusqlite::Error::SqliteFailure(failed, None)
}

/// Tries again while another process is in the way, for as long as a transaction may take.
fn patiently<T>(mut work: impl FnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match work() {
            Err(error) if error.is_busy() && begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}

/// A transaction that a panic left is rolled back when it is dropped: the connection is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("path", &self.path).finish_non_exhaustive()
    }
}
