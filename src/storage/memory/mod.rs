//! [`MemoryStorage`]: everything in the memory of one process.
//!
//! The reference of what a storage does: the conformance suite compares others with it. It has
//! full text and statistics as well, both by looking at every turn, so that a host's tests meet
//! the same behaviour as its users do.

mod search;
mod session;
mod state;
mod statistics;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use jiff::Timestamp;

use self::state::State;
use super::hints::Hints;
use super::{
    Appended, Batch, BlobId, Capabilities, Cursor, Document, DocumentScope, Expected,
    ExpectedDocument, FullText, Head, Hint, ListQuery, LogPage, Maintenance, OnProgress, Page,
    PurgeReceipt, ReadRange, Record, Report, Revision, SessionHead, SessionKey, Statistics,
    Storage, VersionToken, WatchFilter, WriterId, rules,
};
use crate::environment::{IdSource, RandomIds};
use crate::error::Result;
use crate::id::OwnerId;

/// A storage in memory: for tests, and for chats that nobody wants kept.
///
/// A clone is the same user of the same data. [`another_writer`](Self::another_writer) gives
/// another user of it, as a second window would be. The data is gone with the last of them.
///
/// # Examples
///
/// ```
/// use chatkeep::OwnerId;
/// use chatkeep::storage::{MemoryStorage, Storage};
///
/// let storage = MemoryStorage::new();
/// let other = storage.another_writer();
/// assert_ne!(storage.writer(), other.writer());
/// assert_eq!(storage.clone().writer(), storage.writer());
///
/// let gone = other.writer();
/// drop(other);
/// assert!(pollster::block_on(storage.is_gone(&gone))?);
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Clone)]
pub struct MemoryStorage {
    shared: Arc<Shared>,
    /// Lives as long as any clone of this writer's handle.
    writer: Arc<WriterId>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    hints: Hints,
}

impl MemoryStorage {
    /// An empty storage that shares its data with nobody.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Arc::default())
    }

    /// A handle on the same data that counts as another writer.
    #[must_use]
    pub fn another_writer(&self) -> Self {
        Self::on(Arc::clone(&self.shared))
    }

    fn on(shared: Arc<Shared>) -> Self {
        let writer = Arc::new(WriterId(RandomIds.next_id().into()));
        lock(&shared).register(&writer);
        Self { shared, writer }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared)
    }

    const CAPABILITIES: Capabilities = Capabilities {
        // There are no other processes; every handle hears every change.
        watches_processes: true,
        knows_writers: true,
        purges_bytes: true,
        ..Capabilities::new("memory")
    };
}

/// Nothing under the lock panics halfway through a change, so that a poisoned state is whole.
fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").field("writer", &self.writer).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn capabilities(&self) -> Capabilities {
        Self::CAPABILITIES
    }

    fn writer(&self) -> WriterId {
        WriterId::clone(&self.writer)
    }

    async fn is_gone(&self, writer: &WriterId) -> Result<bool> {
        Ok(self.state().is_gone(writer))
    }

    async fn append(&self, key: &SessionKey, expected: Expected, batch: Batch) -> Result<Appended> {
        rules::check_batch(expected, &batch, &Self::CAPABILITIES)?;
        let appended = self.state().append(key, expected, batch)?;
        self.shared.hints.send(key);
        Ok(appended)
    }

    async fn head(&self, key: &SessionKey) -> Result<Option<Head>> {
        Ok(self.state().head(key).cloned())
    }

    async fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        self.state().session(key)?.page(range)
    }

    async fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head> {
        let head = self.state().compact(key, through, records, guard)?;
        self.shared.hints.send(key);
        Ok(head)
    }

    async fn put_blob(&self, key: &SessionKey, id: &BlobId, content: Bytes) -> Result<()> {
        rules::check_blob(id, &content, &Self::CAPABILITIES)?;
        self.state().put_blob(key, *id, content)
    }

    async fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        Ok(self.state().blob(key, id))
    }

    async fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        Ok(self.state().blobs(key))
    }

    async fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        let receipt = self.state().purge(key)?;
        self.shared.hints.send(key);
        Ok(receipt)
    }

    async fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<Cursor>,
    ) -> Result<Page<SessionHead>> {
        self.state().list(owner, query, after.as_ref())
    }

    async fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        super::listing::check_conditions(query)?;
        Ok(self.state().count(owner, query))
    }

    async fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>> {
        self.state().owners(after.as_ref())
    }

    async fn get_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        rules::check_document_name(name)?;
        Ok(self.state().document(scope, name, now).cloned())
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
        rules::check_document_name(name)?;
        self.state().put_document(scope, name, &expected, content, expires, now)
    }

    async fn list_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        self.state().document_names(scope, prefix, after.as_ref(), now)
    }

    async fn delete_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        rules::check_document_name(name)?;
        self.state().delete_document(scope, name, &expected, now)
    }

    async fn watch(&self, filter: WatchFilter) -> Result<BoxStream<'static, Hint>> {
        Ok(self.shared.hints.watch(filter))
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

/// Memory has nothing to mend.
#[async_trait]
impl Maintenance for MemoryStorage {
    async fn verify(&self, key: &SessionKey) -> Result<Report> {
        Ok(self.state().session(key)?.report())
    }

    async fn repair(&self, key: &SessionKey) -> Result<Report> {
        self.verify(key).await
    }

    async fn rebuild_index(&self, _on_progress: OnProgress<'_>) -> Result<()> {
        Ok(())
    }

    async fn scrub(&self) -> Result<()> {
        Ok(())
    }
}
