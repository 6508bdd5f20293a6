//! Documents with compare-and-swap.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::engine::{Committed, Order, WriteBatch};
use super::{KeyValue, KeyValueStorage, keys, log};
use crate::environment::{IdSource, RandomIds};
use crate::error::{Error, Result};
use crate::storage::listing::{MAX_LIMIT, decode_cursor, encode_cursor};
use crate::storage::{
    Cursor, Document, DocumentScope, Durability, ExpectedDocument, Page, VersionToken, rules,
};

/// The first line of a document's value.
#[derive(Serialize, Deserialize)]
struct Label {
    version: VersionToken,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

fn encode(label: &Label, content: &[u8]) -> Result<Bytes> {
    let mut bytes = serde_json::to_vec(label)
        .map_err(|e| Error::invalid("the document cannot be written").caused_by(e))?;
    bytes.push(b'\n');
    bytes.extend_from_slice(content);
    Ok(bytes.into())
}

fn decode(name: &str, bytes: &Bytes) -> Result<Document> {
    let corrupt = || Error::corrupt("the document cannot be read").with("document", name);
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(corrupt)?;
    let label: Label = serde_json::from_slice(&bytes[..end]).map_err(|e| corrupt().caused_by(e))?;
    let content = bytes.slice(end + 1..);
    Ok(Document { content, version: label.version, expires: label.expires })
}

fn lives(document: &Document, now: Timestamp) -> bool {
    document.expires.is_none_or(|expires| now < expires)
}

/// A change to one document.
pub(super) struct Change<'a> {
    pub(super) scope: &'a DocumentScope,
    pub(super) name: &'a str,
    pub(super) expected: ExpectedDocument,
    pub(super) now: Timestamp,
}

impl<K: KeyValue> KeyValueStorage<K> {
    pub(super) async fn document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        rules::check_document_name(name)?;
        let Some(bytes) = self.engine().get(&keys::document(scope, name)).await? else {
            return Ok(None);
        };
        let document = decode(name, &bytes)?;
        Ok(lives(&document, now).then_some(document))
    }

    pub(super) async fn write_document(
        &self,
        change: Change<'_>,
        content: &[u8],
        expires: Option<Timestamp>,
    ) -> Result<VersionToken> {
        // Random, so that a version never comes again after a deletion.
        let version = VersionToken(format!("{:016x}", RandomIds.next_u64()));
        let value = encode(&Label { version: version.clone(), expires }, content)?;
        self.change_document(&change, Some(value)).await?;
        Ok(version)
    }

    pub(super) async fn remove_document(&self, change: Change<'_>) -> Result<()> {
        self.change_document(&change, None).await
    }

    async fn change_document(&self, change: &Change<'_>, value: Option<Bytes>) -> Result<()> {
        rules::check_document_name(change.name)?;
        let key = keys::document(change.scope, change.name);
        for _ in 0..log::ATTEMPTS {
            let current = self.engine().get(&key).await?;
            // Whoever may change it whatever its content is, may replace a damaged one.
            if change.expected != ExpectedDocument::Any {
                let document =
                    current.as_ref().map(|bytes| decode(change.name, bytes)).transpose()?;
                let actual = document.filter(|document| lives(document, change.now));
                let actual = actual.as_ref().map(|document| &document.version);
                rules::check_version(change.name, &change.expected, actual)?;
            }
            let write = WriteBatch::new(Durability::Synced).require(key.clone(), current);
            let write = match &value {
                Some(value) => write.put(key.clone(), value.clone()),
                None => write.delete(key.clone()),
            };
            if self.engine().commit(write).await? == Committed::Done {
                return Ok(());
            }
        }
        Err(Error::busy("others keep changing the document").with("document", change.name))
    }

    pub(super) async fn page_of_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<&Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        const LIMIT: usize = 256;
        let mut range = keys::documents(scope, prefix);
        if let Some(after) = after {
            let after = keys::after_document(scope, &decode_cursor::<String>(after)?);
            range.start = range.start.max(after);
        }
        let mut items: Vec<String> = Vec::new();
        loop {
            let page = self.scan(range.clone(), LIMIT, Order::Ascending).await?;
            let is_last = page.len() < LIMIT;
            for (key, value) in page {
                let name = keys::name_of_document(scope, &key)?;
                range.start = keys::after_document(scope, &name);
                // A damaged one is there: reading it says what is wrong.
                if decode(&name, &value).is_ok_and(|document| !lives(&document, now)) {
                    continue;
                }
                if let (MAX_LIMIT, Some(last)) = (items.len(), items.last()) {
                    let next = Some(encode_cursor(last)?);
                    return Ok(Page { items, next });
                }
                items.push(name);
            }
            if is_last {
                return Ok(Page { items, next: None });
            }
        }
    }
}
