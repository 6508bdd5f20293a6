//! [`SqliteStorage`]: one database file is the truth (feature `sqlite`).
//!
//! Logs, heads, documents, blobs, facts and the full text are tables of one file, which any number
//! of processes may have open. Appends that arrive together share a transaction, and a sync.
//!
//! | file | is |
//! | --- | --- |
//! | `<path>` | the database |
//! | `<path>-wal`, `<path>-shm` | SQLite's own, while it is open |
//! | `<path>-writers/` | lock files, by which it is known who writes; never removed |
//!
//! The catalogue, the full text and the facts are functions over a connection, which other engines
//! use as well. Each brings a part of a schema, and knows of the others' tables only what its own
//! documentation says.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use jiff::Timestamp;

use self::append::Request;
use self::engine::{Engine, capabilities};
pub(crate) use self::error::SqliteError;
use self::writers::Writer;
use super::{
    Appended, Batch, BlobId, Capabilities, Cursor, Document, DocumentScope, Expected,
    ExpectedDocument, FullText, Head, Hint, ListQuery, LogPage, Maintenance, OnProgress, Page,
    PurgeReceipt, ReadRange, Record, Report, Revision, SessionHead, SessionKey, Statistics,
    Storage, VersionToken, WatchFilter, WriterId, rules,
};
use crate::error::Result;
use crate::id::OwnerId;

mod append;
mod blobs;
pub(crate) mod catalogue;
pub(crate) mod database;
mod documents;
mod engine;
mod error;
pub(crate) mod facts;
pub(crate) mod full_text;
mod group;
mod pending;
pub(crate) mod place;
mod purge;
mod read;
mod records;
mod rewrite;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod watch;
mod writers;

/// Session logs in one SQLite database.
///
/// Any number of storages, in one process or in several on one machine, may have the same file
/// open. Clones share everything. Calls block the thread that polls them.
///
/// An append that is [`Synced`](super::Durability::Synced) commits with `synchronous=FULL`, and
/// makes all that was appended before it as safe; one that is buffered survives the process, not a
/// power cut. Appends of several sessions that are polled together are one transaction.
///
/// After a commit whose outcome cannot be known the file is brought in order before anything else
/// is written; a retry with the same batch lands once.
///
/// Damage hides nothing that is sound: a session whose head is damaged is listed with the reason, one
/// whose id, owner or place in a list is damaged is left out until
/// [`rebuild_index`](Maintenance::rebuild_index), and a full text that is damaged is built anew by
/// whoever changes it next.
///
/// What is deleted is overwritten. A deletion cuts the write-ahead log too; where somebody reads
/// the database for seconds meanwhile, the receipt says that something may remain. So it does of copies of
/// rows that SQLite leaves where it moves them, in a file of more than 4 MiB; a smaller one is written
/// anew. [`scrub`](Maintenance::scrub) writes any file anew: call it after many deletions.
///
/// # Examples
///
/// ```
/// use chatkeep::{ChatStore, NewSession, SqliteStorage};
///
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("chats.db");
/// # pollster::block_on(async {
/// let store = ChatStore::builder(SqliteStorage::open(&path).await?).build().await?;
/// let chat = store.local().create(NewSession::titled("Parser")).await?;
/// chat.ask("Why does the parser loop?").await?.complete().await?;
///
/// let other = ChatStore::builder(SqliteStorage::open(&path).await?).build().await?;
/// let chat = other.local().open(chat.id()).await?;
/// assert_eq!(chat.model().turns().count(), 1);
/// # Ok::<(), chatkeep::Error>(())
/// # })?;
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SqliteStorage {
    engine: Arc<Engine>,
    /// Apart from the engine, which a thread may hold a moment longer.
    writer: Arc<Writer>,
}

impl SqliteStorage {
    /// Opens the database in this file, which is made if it is not there; its directory must be.
    ///
    /// # Errors
    ///
    /// `UnsupportedVersion` for a database of a newer schema, `Invalid` for one of something else,
    /// which both are left as they are; `Corrupt` for a file that is no database; `Unavailable` if
    /// the disk fails.
    #[expect(clippy::unused_async, reason = "an engine that has to wait is opened alike")]
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        let engine = Engine::open(path.as_ref())?;
        let writer = Arc::new(Writer::take(engine.database.file())?);
        Ok(Self { engine, writer })
    }

    /// The database's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.engine.database.path()
    }
}

#[async_trait]
impl Storage for SqliteStorage {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn writer(&self) -> WriterId {
        self.writer.id().clone()
    }

    async fn is_gone(&self, writer: &WriterId) -> Result<bool> {
        Ok(self.writer.is_gone(writer)?)
    }

    async fn append(&self, key: &SessionKey, expected: Expected, batch: Batch) -> Result<Appended> {
        rules::check_batch(expected, &batch, &capabilities())?;
        self.engine.append(Request { key: key.clone(), expected, batch }).await
    }

    async fn head(&self, key: &SessionKey) -> Result<Option<Head>> {
        self.engine.head(key)
    }

    async fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        self.engine.read(key, range)
    }

    async fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head> {
        self.engine.compact(key, through, &records, guard)
    }

    async fn put_blob(&self, key: &SessionKey, id: &BlobId, content: Bytes) -> Result<()> {
        self.engine.put_blob(key, id, &content)
    }

    async fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        Ok(self.engine.get_blob(key, id)?.map(Bytes::from))
    }

    async fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        self.engine.blobs(key)
    }

    async fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        self.engine.purge(key)
    }

    async fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<Cursor>,
    ) -> Result<Page<SessionHead>> {
        let page = |connection: &_| catalogue::page(connection, owner, query, after.as_ref());
        Ok(self.engine.database.read(page)?)
    }

    async fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        let count = |connection: &_| catalogue::count(connection, owner, query);
        Ok(self.engine.database.read(count)?)
    }

    async fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>> {
        let owners = |connection: &_| catalogue::sound_owners(connection, after.as_ref());
        Ok(self.engine.database.read(owners)?)
    }

    async fn get_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        self.engine.get_document(scope, name, now)
    }

    async fn put_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: ExpectedDocument,
        content: Bytes,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<VersionToken> {
        self.engine.put_document(scope, name, &expected, &content, expires, now)
    }

    async fn list_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        self.engine.list_documents(scope, prefix, after.as_ref(), now)
    }

    async fn delete_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        self.engine.delete_document(scope, name, &expected, now)
    }

    async fn watch(&self, filter: WatchFilter) -> Result<BoxStream<'static, Hint>> {
        self.engine.watch(filter)
    }

    fn full_text(&self) -> Option<&dyn FullText> {
        Some(self)
    }

    fn statistics(&self) -> Option<&dyn Statistics> {
        Some(self)
    }

    fn maintenance(&self) -> &dyn Maintenance {
        self
    }
}

#[async_trait]
impl Maintenance for SqliteStorage {
    async fn verify(&self, key: &SessionKey) -> Result<Report> {
        self.engine.verify(key)
    }

    async fn repair(&self, key: &SessionKey) -> Result<Report> {
        self.engine.repair(key)
    }

    /// Checks the whole file, and builds what is derived anew: its indexes, what lists choose by,
    /// and the full text. What of it is missing is made; [`FullText::rebuild`] reads the texts then.
    /// A session or an owner whose id is damaged is found again by a new one, `recovered-` with a
    /// number.
    async fn rebuild_index(&self, on_progress: OnProgress<'_>) -> Result<()> {
        self.engine.rebuild_index(on_progress)
    }

    /// Writes the whole file anew, without anything that was deleted; it needs as much room once more.
    async fn scrub(&self) -> Result<()> {
        self.engine.scrub()
    }
}
