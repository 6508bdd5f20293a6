//! The `Storage` of it all.

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use jiff::Timestamp;

use super::document::Change;
use super::{KeyValue, KeyValueStorage};
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::{
    Appended, Batch, BlobId, Capabilities, Cursor, Document, DocumentScope, Expected,
    ExpectedDocument, FullText, Head, Hint, ListQuery, LogPage, Maintenance, Page, PurgeReceipt,
    ReadRange, Record, Revision, SessionHead, SessionKey, Statistics, Storage, VersionToken,
    WatchFilter, WriterId,
};

#[async_trait]
impl<K: KeyValue> Storage for KeyValueStorage<K> {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities
    }

    fn writer(&self) -> WriterId {
        self.shared.writer.clone()
    }

    async fn is_gone(&self, writer: &WriterId) -> Result<bool> {
        let living = self.shared.engine.writers();
        Ok(living.is_some_and(|living| !living.contains(writer)))
    }

    async fn append(&self, key: &SessionKey, expected: Expected, batch: Batch) -> Result<Appended> {
        let appended = self.append_batch(key, expected, &batch).await;
        self.hint(key, appended)
    }

    async fn head(&self, key: &SessionKey) -> Result<Option<Head>> {
        Ok(self.present(key).await?.map(|present| present.stored.to_head()))
    }

    async fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage> {
        self.page(key, range).await
    }

    async fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head> {
        let head = self.compact_log(key, through, &records, guard).await;
        self.hint(key, head)
    }

    async fn put_blob(&self, key: &SessionKey, id: &BlobId, content: Bytes) -> Result<()> {
        self.keep_blob(key, id, &content).await
    }

    async fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>> {
        self.blob(key, id).await
    }

    async fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        self.blob_ids(key).await
    }

    async fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        let receipt = self.remove(key).await;
        self.hint(key, receipt)
    }

    async fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<Cursor>,
    ) -> Result<Page<SessionHead>> {
        self.page_of_sessions(owner, query, after.as_ref()).await
    }

    async fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        self.count_sessions(owner, query).await
    }

    async fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>> {
        self.page_of_owners(after.as_ref()).await
    }

    async fn get_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        self.document(scope, name, now).await
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
        let change = Change { scope, name, expected, now };
        self.write_document(change, &content, expires).await
    }

    async fn list_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        self.page_of_documents(scope, prefix, after.as_ref(), now).await
    }

    async fn delete_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        self.remove_document(Change { scope, name, expected, now }).await
    }

    async fn watch(&self, filter: WatchFilter) -> Result<BoxStream<'static, Hint>> {
        Ok(self.shared.hints.watch(filter))
    }

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

impl<K: KeyValue> KeyValueStorage<K> {
    /// Tells those who watch, also where the outcome is not known: a needless hint does no harm.
    /// Errors of the engine learn which session they are about.
    fn hint<T>(&self, key: &SessionKey, outcome: Result<T>) -> Result<T> {
        use crate::error::ErrorKind::Indeterminate;
        if outcome.as_ref().map_or_else(|error| error.kind() == Indeterminate, |_| true) {
            self.shared.hints.send(key);
        }
        outcome.map_err(|error| error.with("session", &key.id))
    }
}
