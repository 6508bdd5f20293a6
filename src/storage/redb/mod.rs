//! [`RedbStorage`] (feature `redb`): sessions in one file of [redb](https://docs.rs/redb), an embedded engine in
//! Rust alone.
//!
//! The keys and values are those of [`key_value`](super::key_value), in a table whose name ends in
//! their version.
//!
//! # Promises
//!
//! - Every commit is synced, one that asks for [`Buffered`](Durability::Buffered) as well: the
//!   cheaper level that redb has would not even survive the process.
//! - One storage at a time has the file open, which a lock holds for as long as it lives. So every
//!   other writer that a head names is known to be gone.
//! - A purge removes the keys. Their bytes may stay in pages that are free, until redb uses those
//!   again.
//! - After a crash the next open walks through the whole file once.

mod error;

use std::any::Any;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ::redb::backends::FileBackend;
use ::redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _,
};
use async_trait::async_trait;
use bytes::Bytes;

use self::error::RedbError;
use super::key_value::{Committed, KeyValue, KeyValueStorage, Order, WriteBatch};
use super::{Capabilities, Durability};
use crate::error::Result;

/// All keys and values. The number is the version of what they mean.
const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("chatkeep.1");
const TABLES: &str = "chatkeep.";

/// Sessions in one file of the embedded engine redb, which one process at a time has open.
///
/// It keeps no index of sessions, as [`KeyValueStorage`] says.
///
/// # Examples
///
/// ```
/// use chatkeep::{ChatStore, ErrorKind, NewSession, RedbStorage};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("chats.redb");
/// # pollster::block_on(async {
/// let store = ChatStore::builder(RedbStorage::open(&path).await?).build().await?;
/// store.local().create(NewSession::titled("Parser")).await?;
///
/// let second = RedbStorage::open(&path).await.unwrap_err();
/// assert_eq!(second.kind(), ErrorKind::Busy);
/// # Ok::<(), chatkeep::Error>(())
/// # })?;
/// # Ok::<(), chatkeep::Error>(())
/// ```
pub type RedbStorage = KeyValueStorage<Redb>;

impl RedbStorage {
    /// Opens the database in this file, which is made if it is not there. Its folder must be.
    ///
    /// # Errors
    ///
    /// [`Busy`](crate::ErrorKind::Busy) while another storage, of this process or another, has it
    /// open; [`Corrupt`](crate::ErrorKind::Corrupt) if the file is not a database, or a damaged
    /// one; [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion) if a newer version wrote
    /// it; [`Unavailable`](crate::ErrorKind::Unavailable) if the disk fails.
    #[expect(clippy::unused_async, reason = "an engine that has to wait is opened alike")]
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let capabilities = Capabilities {
            durability: Durability::Synced,
            persistent: true,
            ..Capabilities::new("redb")
        };
        Ok(Self::exclusive(Redb::open(path)?).with_capabilities(capabilities))
    }
}

/// The engine below a [`RedbStorage`]: one table of a redb database. Clones share it.
#[derive(Clone)]
pub struct Redb {
    database: Arc<Database>,
}

impl Redb {
    /// Opens the database in this file, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// Those of [`RedbStorage::open`](KeyValueStorage::open).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let opened = whole(|| {
            let made = make(path).map_err(|source| RedbError::File { source })?;
            let file = FileBackend::new(made).map_err(RedbError::in_call("be opened"))?;
            let database = ::redb::Builder::new().create_with_backend(file);
            let database = database.map_err(RedbError::in_call("be opened"))?;
            let engine = Self { database: Arc::new(database) };
            engine.check_tables()?;
            Ok(engine)
        });
        opened.map_err(|error| crate::Error::from(error).with("file", file))
    }

    /// Makes the table where there is none, and refuses what another version made.
    fn check_tables(&self) -> Result<(), RedbError> {
        let write = self.database.begin_write().map_err(RedbError::in_call("begin"))?;
        let tables = write.list_tables().map_err(RedbError::in_call("list its tables"))?;
        let tables: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
        let ours = |name: &&String| name.starts_with(TABLES);
        match tables.iter().find(ours) {
            Some(found) if found != TABLE.name() => {
                let (found, known) = (found.clone(), "chatkeep.1");
                return Err(RedbError::OtherLayout { found, known });
            }
            Some(_) => return write.abort().map_err(RedbError::in_call("end")),
            None => {}
        }
        write.open_table(TABLE).map(drop).map_err(RedbError::in_call("make its table"))?;
        write.commit().map_err(RedbError::in_call("make its table"))
    }

    fn value(&self, key: &[u8]) -> Result<Option<Bytes>, RedbError> {
        let read = self.database.begin_read().map_err(RedbError::in_call("begin"))?;
        let table = read.open_table(TABLE).map_err(RedbError::in_call("open its table"))?;
        let found = table.get(key).map_err(RedbError::in_call("read"))?;
        Ok(found.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn pairs(
        &self,
        range: &Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>, RedbError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let read = self.database.begin_read().map_err(RedbError::in_call("begin"))?;
        let table = read.open_table(TABLE).map_err(RedbError::in_call("open its table"))?;
        let found = table.range(&range.start[..]..&range.end[..]);
        let mut found = found.map_err(RedbError::in_call("read"))?;
        let mut pairs = Vec::new();
        while pairs.len() < limit {
            let next = match order {
                Order::Ascending => found.next(),
                Order::Descending => found.next_back(),
            };
            let Some(next) = next else { break };
            let (key, value) = next.map_err(RedbError::in_call("read"))?;
            let copy = Bytes::copy_from_slice;
            pairs.push((copy(key.value()), copy(value.value())));
        }
        Ok(pairs)
    }

    fn change(&self, batch: &WriteBatch) -> Result<Committed, RedbError> {
        let failed = || RedbError::in_call("write");
        let write = self.database.begin_write().map_err(RedbError::in_call("begin"))?;
        {
            let mut table = write.open_table(TABLE).map_err(RedbError::in_call("open"))?;
            for (place, condition) in batch.conditions.iter().enumerate() {
                let found = table.get(&condition.key[..]).map_err(RedbError::in_call("read"))?;
                let found = found.as_ref().map(|value| value.value());
                if found != condition.value.as_deref() {
                    // What is not committed is rolled back when it is dropped.
                    return Ok(Committed::Failed(place));
                }
            }
            for key in &batch.deletes {
                table.remove(&key[..]).map_err(failed())?;
            }
            for (key, value) in &batch.puts {
                table.insert(&key[..], &value[..]).map_err(failed())?;
            }
        }
        settled(|| write.commit())?;
        Ok(Committed::Done)
    }
}

/// Opens or makes the file, for its owner's eyes alone, and makes its name durable.
fn make(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    if file.metadata()?.len() == 0 {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}

/// Commits. Whatever goes wrong, a panic as well, may come after the change has taken effect.
fn settled(commit: impl FnOnce() -> Result<(), ::redb::CommitError>) -> Result<(), RedbError> {
    let done = catch_unwind(AssertUnwindSafe(commit))
        .map_err(|panic| RedbError::Panicked { problem: said(&*panic) })?;
    done.map_err(|source| RedbError::Unknown { source: source.into() })
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it panicked".to_owned())
}

/// Runs a call of the engine, which panics where damaged pages contradict each other.
fn whole<T>(call: impl FnOnce() -> Result<T, RedbError>) -> Result<T, RedbError> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(RedbError::Broken { problem: said(&*panic) }))
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb").finish_non_exhaustive()
    }
}

#[async_trait]
impl KeyValue for Redb {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(whole(|| self.value(key))?)
    }

    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        Ok(whole(|| self.pairs(&range, limit, order))?)
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        Ok(whole(|| self.change(&batch))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn a_commit_that_panics_may_have_taken_effect() {
        let panicked = settled(|| panic!("two pages of one number")).unwrap_err();
        insta::assert_snapshot!(Error::from(panicked), @"outcome unknown: the database panicked while it committed: the change may or may not be there: two pages of one number");
        let failed = ::redb::CommitError::Storage(::redb::StorageError::PreviousIo);
        let failed = Error::from(settled(|| Err(failed)).unwrap_err());
        assert_eq!(failed.kind(), crate::error::ErrorKind::Indeterminate);
        assert!(settled(|| Ok(())).is_ok());
        // Before the commit nothing has changed.
        let broken = whole(|| -> Result<(), RedbError> { panic!("a page that is none") });
        assert_eq!(Error::from(broken.unwrap_err()).kind(), crate::error::ErrorKind::Corrupt);
    }
}
