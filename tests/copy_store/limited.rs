//! A storage that ends after so many writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use chatkeep::storage::*;
use chatkeep::{Error, ErrorKind, ListQuery, OwnerId, Result};
use futures_core::stream::BoxStream;
use jiff::Timestamp;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process dies before a write.
    Before,
    /// The process dies after a write, before it hears of it.
    After,
    /// One write takes effect, of which nothing is heard; the next ones go well.
    LostAnswer,
    /// One write takes no effect, of which nothing is heard; the next ones go well.
    LostRequest,
    /// One write says that it went well and puts something else.
    Garbled,
}

/// What is about to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Append,
    Read,
    PutBlob,
    PutDocument,
    List,
    Count,
}

pub(crate) struct Limited {
    inner: Arc<dyn Storage>,
    left: AtomicI64,
    end: End,
    /// Told of some calls before they are made.
    before: Option<Box<dyn Fn(Call) + Send + Sync>>,
}

impl std::fmt::Debug for Limited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limited").field("left", &self.left).finish_non_exhaustive()
    }
}

impl Limited {
    pub(crate) fn new(inner: &Arc<dyn Storage>, writes: i64, end: End) -> Self {
        Self { inner: Arc::clone(inner), left: AtomicI64::new(writes), end, before: None }
    }

    pub(crate) fn before(mut self, told: impl Fn(Call) + Send + Sync + 'static) -> Self {
        self.before = Some(Box::new(told));
        self
    }

    fn tell(&self, call: Call) {
        self.before.iter().for_each(|told| told(call));
    }

    /// Whether it came to its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.left.load(Ordering::SeqCst) < 0
    }

    fn check(&self) -> Result<()> {
        let dead = matches!(self.end, End::Before | End::After);
        match dead && self.left.load(Ordering::SeqCst) < 0 {
            true => Err(Error::new(ErrorKind::Unavailable, "the process is dead")),
            false => Ok(()),
        }
    }

    fn garbles(&self) -> bool {
        self.end == End::Garbled && self.left.load(Ordering::SeqCst) == 0
    }

    async fn write<T>(&self, write: impl Future<Output = Result<T>>) -> Result<T> {
        self.check()?;
        let last = self.left.fetch_sub(1, Ordering::SeqCst) == 0;
        let silence = || Err(Error::new(ErrorKind::Indeterminate, "no answer"));
        match self.end {
            _ if !last => write.await,
            End::Before => Err(Error::new(ErrorKind::Unavailable, "the process dies")),
            End::After => {
                write.await?;
                Err(Error::new(ErrorKind::Unavailable, "the process dies"))
            }
            End::LostAnswer => {
                write.await?;
                silence()
            }
            End::LostRequest => silence(),
            // Its caller has garbled what is written.
            End::Garbled => write.await,
        }
    }
}

#[async_trait]
impl Storage for Limited {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn writer(&self) -> WriterId {
        self.inner.writer()
    }
    async fn is_gone(&self, writer: &WriterId) -> Result<bool> {
        self.inner.is_gone(writer).await
    }
    async fn append(&self, key: &SessionKey, expected: Expected, batch: Batch) -> Result<Appended> {
        self.tell(Call::Append);
        let mut batch = batch;
        if self.garbles() {
            batch.records.iter_mut().for_each(|record| record.body = Body::Json("0".into()));
        }
        self.write(self.inner.append(key, expected, batch)).await
    }
    async fn head(&self, key: &SessionKey) -> Result<Option<Head>> {
        self.inner.head(key).await
    }
    async fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        self.tell(Call::Read);
        self.check()?;
        self.inner.read(key, range).await
    }
    async fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head> {
        self.write(self.inner.compact(key, through, records, guard)).await
    }
    async fn put_blob(&self, key: &SessionKey, id: &BlobId, content: Bytes) -> Result<()> {
        self.tell(Call::PutBlob);
        if self.garbles() {
            return self.write(async { Ok(()) }).await;
        }
        self.write(self.inner.put_blob(key, id, content)).await
    }
    async fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        self.check()?;
        self.inner.get_blob(key, id).await
    }
    async fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        self.check()?;
        self.inner.blobs(key).await
    }
    async fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        self.write(self.inner.purge(key)).await
    }
    async fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<Cursor>,
    ) -> Result<Page<SessionHead>> {
        self.tell(Call::List);
        self.inner.list(owner, query, after).await
    }
    async fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        self.tell(Call::Count);
        self.inner.count(owner, query).await
    }
    async fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>> {
        self.inner.owners(after).await
    }
    async fn get_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        self.check()?;
        self.inner.get_document(scope, name, now).await
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
        self.tell(Call::PutDocument);
        let content = if self.garbles() { Bytes::from_static(b"0") } else { content };
        self.write(self.inner.put_document(scope, name, expected, content, expires, now)).await
    }
    async fn list_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        self.inner.list_documents(scope, prefix, after, now).await
    }
    async fn delete_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        self.write(self.inner.delete_document(scope, name, expected, now)).await
    }
    async fn watch(&self, filter: WatchFilter) -> Result<BoxStream<'static, Hint>> {
        self.inner.watch(filter).await
    }
    fn full_text(&self) -> Option<&dyn FullText> {
        self.inner.full_text()
    }
    fn statistics(&self) -> Option<&dyn Statistics> {
        self.inner.statistics()
    }
    fn maintenance(&self) -> &dyn Maintenance {
        self.inner.maintenance()
    }
}
