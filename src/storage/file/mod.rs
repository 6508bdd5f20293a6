//! Logs as files under one directory, readable with `jq`, shared by any number of processes.
//!
//! | path | is |
//! | --- | --- |
//! | `chatkeep.json` | the store's marker: format and salt |
//! | `sessions/<owner>/<id>.jsonl` | a session's log, one record to a line |
//! | `blobs/<owner>/<id>/<sha256>` | its blobs |
//! | `quarantine/<owner>/<id>/` | copies of what was damaged in it |
//! | `documents/<owner>/<name>.doc` | small documents; the store's own under `+store` |
//! | `tombstones/<hash>.json` | that a session of this salted hash was deleted |
//! | `purging/<hash>.json` | that a deletion has begun |
//! | `unindexed/` | marks of who has changed logs that the index may not know of |
//! | `locks/` | lock files, never removed |
//! | `index/` | with the feature `sqlite`: lists and full text, derived, deletable at any moment |
//!
//! The format is specified in `docs/format.md`.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use jiff::Timestamp;

use self::engine::Engine;
use super::{
    Appended, Batch, BlobId, Capabilities, Cursor, Document, DocumentScope, Durability, Expected,
    ExpectedDocument, FullText, Head, Hint, ListQuery, LogPage, Maintenance, OnProgress, Page,
    PurgeReceipt, ReadRange, Record, Report, Revision, SessionHead, SessionKey, Statistics,
    Storage, VersionToken, WatchFilter, WriterId,
};
use crate::error::Result;
use crate::id::OwnerId;

mod append;
mod blobs;
mod catalogue;
mod changes;
mod counting;
mod disk;
mod documents;
mod engine;
mod error;
mod heads;
#[cfg(feature = "sqlite")]
mod index;
mod layout;
mod locks;
mod names;
mod purge;
mod quarantine;
mod read;
mod real;
mod rewrite;
mod scan;
mod system;
mod tail;
mod unindexed;
mod watch;
mod writers;

pub use self::counting::{CountingFileSystem, Counts};
pub use self::real::RealFileSystem;
pub use self::system::{
    FileIdentity, FileKind, FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow,
};

fn capabilities() -> Capabilities {
    Capabilities {
        durability: Durability::Synced,
        persistent: true,
        multi_process: true,
        watches_processes: true,
        knows_writers: true,
        purges_bytes: true,
        ..Capabilities::new("file")
    }
}

/// Session logs as files under one directory.
///
/// Any number of storages, in one process or in several on one machine, may have the same
/// directory open. Clones share everything. Calls block the thread that polls them.
///
/// An append is one write of whole lines under a lock, then one `fdatasync` if it is
/// [`Synced`](Durability::Synced). Opening a session reads its newest turns, however long it is.
///
/// After a sync or a write failed with an outcome that cannot be known the session is read-only
/// here until [`repair`](Maintenance::repair) has written its log anew, or the store is opened
/// again. A damaged log can be read, without its damaged records, and is written to again once it
/// is repaired. A copy of what was damaged stays in the session's quarantine until it is purged.
#[derive(Debug, Clone)]
pub struct FileStorage {
    engine: Arc<Engine>,
}

impl FileStorage {
    /// Opens the store in this directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// `UnsupportedVersion` for a store of a newer major format, which is left as it is;
    /// `Corrupt` if the store's marker is damaged or missing beside sessions; `Invalid` if the
    /// path is not a directory; `Unavailable` if the disk fails.
    #[expect(clippy::unused_async, reason = "an engine that has to wait is opened alike")]
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::with_files(path, Arc::new(RealFileSystem))
    }

    /// Opens the store in this directory of another [`FileSystem`].
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn with_files(path: impl AsRef<Path>, files: Arc<dyn FileSystem>) -> Result<Self> {
        Ok(Self { engine: Arc::new(Engine::open(path.as_ref(), files)?) })
    }

    /// Compares the index with the logs now, instead of now and then while lists and searches are
    /// asked for. When it returns, what was changed by hand, by a backup or by another tool is in
    /// lists, and is found if somebody is [attached](FullText::attach) who can read it.
    ///
    /// Without an index that outlives the process there is nothing to compare.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the disk fails or the index cannot be written.
    ///
    /// # Cancel safety
    ///
    /// What has been compared stays so.
    #[expect(clippy::unused_async, reason = "an engine that has to wait is asked alike")]
    pub async fn verify_index(&self) -> Result<()> {
        self.engine.verify_index()
    }

    #[cfg(feature = "sqlite")]
    fn index(&self) -> Option<&index::Index> {
        self.engine.index.as_deref()
    }

    /// The store's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.engine.disk.root()
    }
}

#[async_trait]
impl Storage for FileStorage {
    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn writer(&self) -> WriterId {
        self.engine.writer.id().clone()
    }

    async fn is_gone(&self, writer: &WriterId) -> Result<bool> {
        Ok(self.engine.writer.is_gone(&self.engine.disk, writer)?)
    }

    async fn append(&self, key: &SessionKey, expected: Expected, batch: Batch) -> Result<Appended> {
        self.engine.append(key, expected, batch)
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
        self.engine.compact(key, through, records, guard)
    }

    async fn put_blob(&self, key: &SessionKey, id: &BlobId, content: Bytes) -> Result<()> {
        self.engine.put_blob(key, id, &content)
    }

    async fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        self.engine.get_blob(key, id)
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
        self.engine.list(owner, query, after.as_ref())
    }

    async fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        self.engine.count(owner, query)
    }

    async fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>> {
        self.engine.owners(after.as_ref())
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

    #[cfg(feature = "sqlite")]
    fn full_text(&self) -> Option<&dyn FullText> {
        self.engine.index.as_ref().map(|_| self as &dyn FullText)
    }

    #[cfg(not(feature = "sqlite"))]
    fn full_text(&self) -> Option<&dyn FullText> {
        None
    }

    fn statistics(&self) -> Option<&dyn Statistics> {
        None
    }

    fn maintenance(&self) -> &dyn Maintenance {
        self
    }
}

#[async_trait]
impl Maintenance for FileStorage {
    async fn verify(&self, key: &SessionKey) -> Result<Report> {
        self.engine.verify(key)
    }

    async fn repair(&self, key: &SessionKey) -> Result<Report> {
        self.engine.repair(key)
    }

    async fn rebuild_index(&self, on_progress: OnProgress<'_>) -> Result<()> {
        self.engine.rebuild_index(on_progress)
    }

    /// Goes on with interrupted deletions, and cuts off what deleted rows left in the index.
    async fn scrub(&self) -> Result<()> {
        self.engine.finish_purges()?;
        self.engine.scrub_index()
    }
}
