//! A storage in memory with one thing wrong.

use async_trait::async_trait;
use bytes::Bytes;
use chatkeep::storage::*;
use chatkeep::{OwnerId, Result, SessionId};
use futures_core::stream::BoxStream;
use jiff::Timestamp;

/// What is wrong with a storage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mutation {
    SkipsTheOwner,
    ForgetsTombstones,
    ForgetsRetries,
    IgnoresEpochs,
    RestartsCursors,
    KeepsQuiet,
    IgnoresFilters,
    IgnoresExpiry,
    FollowsTheBase,
    ReadsEverything,
    IgnoresGuards,
    TrustsHashes,
    ForgetsBases,
}

use Mutation::*;

#[derive(Debug, Clone)]
pub(crate) struct Mutant {
    storage: MemoryStorage,
    mutation: Mutation,
}

impl Mutant {
    pub(crate) fn new(mutation: Mutation) -> Self {
        Self { storage: MemoryStorage::new(), mutation }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == mutation
    }

    fn key(&self, key: &SessionKey) -> SessionKey {
        if self.is(SkipsTheOwner) {
            return SessionKey::new(OwnerId::local(), SessionId::from(&key.id));
        }
        key.clone()
    }

    fn now(&self, now: Timestamp) -> Timestamp {
        if self.is(IgnoresExpiry) { Timestamp::MIN } else { now }
    }

    fn query(&self, query: &ListQuery) -> ListQuery {
        if self.is(IgnoresFilters) {
            return ListQuery::new().order(query.order).limit(query.limit);
        }
        query.clone()
    }
}

#[async_trait]
impl Storage for Mutant {
    fn capabilities(&self) -> Capabilities {
        self.storage.capabilities()
    }
    fn writer(&self) -> WriterId {
        self.storage.writer()
    }
    async fn is_gone(&self, writer: &WriterId) -> Result<bool> {
        self.storage.is_gone(writer).await
    }
    async fn append(&self, key: &SessionKey, expected: Expected, batch: Batch) -> Result<Appended> {
        let (mut expected, mut batch) = (expected, batch);
        match self.mutation {
            ForgetsTombstones if expected == Expected::New => expected = Expected::NewIncarnation,
            IgnoresEpochs => batch.epoch = None,
            ForgetsBases if batch.base > Revision::ZERO => {
                // As a storage that is older than this field would take it.
                let missing = batch.base;
                batch.base = Revision::ZERO;
                batch.records.retain(|record| record.revision > missing);
                (1..).zip(&mut batch.records).for_each(|(n, r)| r.revision = Revision::new(n));
            }
            ForgetsRetries => {
                batch.id = BatchId::new(chatkeep::IdSource::next_u64(&chatkeep::RandomIds));
                batch.records.iter_mut().for_each(|record| record.batch = batch.id);
            }
            _ => {}
        }
        self.storage.append(&self.key(key), expected, batch).await
    }
    async fn head(&self, key: &SessionKey) -> Result<Option<Head>> {
        self.storage.head(&self.key(key)).await
    }
    async fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        let range = match range {
            ReadRange::Newest { .. } if self.is(ReadsEverything) => {
                ReadRange::After(Revision::ZERO)
            }
            range => range,
        };
        let mut page = self.storage.read(&self.key(key), range).await?;
        if let (FollowsTheBase, ReadRange::After(revision)) = (self.mutation, range) {
            page.records.retain(|record| record.revision > revision);
            page.restarted = false;
        }
        Ok(page)
    }
    async fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head> {
        let key = self.key(key);
        let guard = match self.storage.head(&key).await? {
            Some(head) if self.is(IgnoresGuards) => head,
            _ => guard.clone(),
        };
        self.storage.compact(&key, through, records, &guard).await
    }
    async fn put_blob(&self, key: &SessionKey, id: &BlobId, content: Bytes) -> Result<()> {
        let id = if self.is(TrustsHashes) { &BlobId::of(&content) } else { id };
        self.storage.put_blob(&self.key(key), id, content).await
    }
    async fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        self.storage.get_blob(&self.key(key), id).await
    }
    async fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        self.storage.blobs(&self.key(key)).await
    }
    async fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        self.storage.purge(&self.key(key)).await
    }
    async fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<Cursor>,
    ) -> Result<Page<SessionHead>> {
        let after = after.filter(|_| !self.is(RestartsCursors));
        self.storage.list(owner, &self.query(query), after).await
    }
    async fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        self.storage.count(owner, &self.query(query)).await
    }
    async fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>> {
        self.storage.owners(after).await
    }
    async fn get_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        self.storage.get_document(scope, name, self.now(now)).await
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
        self.storage.put_document(scope, name, expected, content, expires, self.now(now)).await
    }
    async fn list_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        self.storage.list_documents(scope, prefix, after, self.now(now)).await
    }
    async fn delete_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        self.storage.delete_document(scope, name, expected, self.now(now)).await
    }
    async fn watch(&self, filter: WatchFilter) -> Result<BoxStream<'static, Hint>> {
        if self.is(KeepsQuiet) {
            return MemoryStorage::new().watch(filter).await;
        }
        self.storage.watch(filter).await
    }
    fn full_text(&self) -> Option<&dyn FullText> {
        self.storage.full_text()
    }
    fn statistics(&self) -> Option<&dyn Statistics> {
        self.storage.statistics()
    }
    fn maintenance(&self) -> &dyn Maintenance {
        self.storage.maintenance()
    }
}
