//! A storage whose appends fail as they are told to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use async_trait::async_trait;
use bytes::Bytes;
use chatkeep::storage::*;
use chatkeep::{Error, ErrorKind, ListQuery, MemoryStorage, OwnerId, Result};
use futures_core::stream::BoxStream;
use jiff::Timestamp;

/// What becomes of one append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes effect, and the engine does not say so.
    LostReply,
    /// It takes no effect, and the engine does not say so.
    LostRequest,
    /// It takes no effect, and the engine says so.
    Down,
    /// It takes no effect: the disk is full.
    Full,
    /// The adapter panics before it does anything.
    PanicBefore,
    /// The adapter panics when it is done.
    PanicAfter,
}

pub(crate) const ALL: [Fault; 6] = [
    Fault::LostReply,
    Fault::LostRequest,
    Fault::Down,
    Fault::Full,
    Fault::PanicBefore,
    Fault::PanicAfter,
];

#[derive(Debug, Clone)]
pub(crate) struct Flaky {
    inner: MemoryStorage,
    next: Arc<Mutex<VecDeque<Fault>>>,
    reads_fail: Arc<Mutex<bool>>,
    purges_panic: Arc<Mutex<bool>>,
    /// The thread of the last append.
    writes_on: Arc<Mutex<Option<ThreadId>>>,
    limit: usize,
}

impl Flaky {
    pub(crate) fn new() -> Self {
        let limit = Capabilities::new("flaky").max_record;
        Self {
            inner: MemoryStorage::new(),
            next: Arc::default(),
            reads_fail: Arc::default(),
            purges_panic: Arc::default(),
            writes_on: Arc::default(),
            limit,
        }
    }

    pub(crate) fn writes_on(&self) -> Option<ThreadId> {
        *self.writes_on.lock().unwrap()
    }

    /// Takes records of at most so many bytes.
    pub(crate) fn with_limit(limit: usize) -> Self {
        Self { limit, ..Self::new() }
    }

    /// Has the next so many appends fail.
    pub(crate) fn fail(&self, fault: Fault, times: usize) {
        self.next.lock().unwrap().extend(std::iter::repeat_n(fault, times));
    }

    pub(crate) fn fail_reads(&self, fail: bool) {
        *self.reads_fail.lock().unwrap() = fail;
    }

    pub(crate) fn panic_in_purges(&self, panic: bool) {
        *self.purges_panic.lock().unwrap() = panic;
    }

    pub(crate) fn mend(&self) {
        self.next.lock().unwrap().clear();
        self.fail_reads(false);
    }

    fn check_read(&self) -> Result<()> {
        match *self.reads_fail.lock().unwrap() {
            true => Err(down()),
            false => Ok(()),
        }
    }
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the engine is down")
}

fn unknown() -> Error {
    Error::new(ErrorKind::Indeterminate, "the engine does not answer")
}

#[async_trait]
impl Storage for Flaky {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.max_record = self.limit;
        capabilities
    }

    fn writer(&self) -> WriterId {
        self.inner.writer()
    }

    async fn is_gone(&self, writer: &WriterId) -> Result<bool> {
        self.inner.is_gone(writer).await
    }

    async fn append(&self, key: &SessionKey, expected: Expected, batch: Batch) -> Result<Appended> {
        let fault = self.next.lock().unwrap().pop_front();
        *self.writes_on.lock().unwrap() = Some(std::thread::current().id());
        match fault {
            None => self.inner.append(key, expected, batch).await,
            Some(Fault::Down) => Err(down()),
            Some(Fault::Full) => {
                Err(Error::new(ErrorKind::Unavailable, "no space is left on the device"))
            }
            Some(Fault::LostRequest) => Err(unknown()),
            Some(Fault::LostReply) => {
                self.inner.append(key, expected, batch).await?;
                Err(unknown())
            }
            Some(Fault::PanicBefore) => panic!("before"),
            Some(Fault::PanicAfter) => {
                self.inner.append(key, expected, batch).await?;
                panic!("after")
            }
        }
    }

    async fn head(&self, key: &SessionKey) -> Result<Option<Head>> {
        self.inner.head(key).await
    }

    async fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        self.check_read()?;
        self.inner.read(key, range).await
    }

    async fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head> {
        self.inner.compact(key, through, records, guard).await
    }

    async fn put_blob(&self, key: &SessionKey, id: &BlobId, content: Bytes) -> Result<()> {
        self.inner.put_blob(key, id, content).await
    }

    async fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        self.inner.get_blob(key, id).await
    }

    async fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        self.inner.blobs(key).await
    }

    async fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        assert!(!*self.purges_panic.lock().unwrap(), "the adapter panics");
        self.inner.purge(key).await
    }

    async fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<Cursor>,
    ) -> Result<Page<SessionHead>> {
        self.inner.list(owner, query, after).await
    }

    async fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
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
        self.inner.put_document(scope, name, expected, content, expires, now).await
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
        self.inner.delete_document(scope, name, expected, now).await
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
