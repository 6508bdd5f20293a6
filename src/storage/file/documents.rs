//! Small documents: one file each, a line of JSON and then the content.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk::parent;
use super::engine::Engine;
use super::error::FileError;
use super::layout::{self, DOCUMENT};
use super::locks::Held;
use crate::environment::{IdSource, RandomIds};
use crate::error::{Error, Result};
use crate::storage::{
    BlobId, Cursor, Document, DocumentScope, ExpectedDocument, Page, VersionToken, listing, rules,
};

/// A document's first line.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope {
    /// New with every write, so that a document made again is not taken for the one before.
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    /// The SHA-256 of the content, which follows the line break.
    sha256: String,
}

impl Engine {
    pub(super) fn get_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        rules::check_document_name(name)?;
        self.read_document(scope, name, now)
    }

    fn read_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        let path = self.layout.document(scope, name);
        let Some(bytes) = self.disk.read(&path)? else { return Ok(None) };
        let damaged = |problem: String| FileError::Damaged {
            file: self.disk.show(&path),
            record: None,
            problem: format!("the document is damaged: {problem}"),
        };
        let end = bytes.iter().position(|&b| b == b'\n');
        let end = end.ok_or_else(|| damaged("it has no first line".to_owned()))?;
        let envelope: Envelope =
            serde_json::from_slice(&bytes[..end]).map_err(|e| damaged(e.to_string()))?;
        let content = bytes.slice(end + 1..);
        if BlobId::of(&content).to_string() != envelope.sha256 {
            return Err(damaged("its content has another hash".to_owned()).into());
        }
        let (version, expires) = (VersionToken(envelope.version), envelope.expires);
        let alive = expires.is_none_or(|expires| expires > now);
        Ok(alive.then_some(Document { content, version, expires }))
    }

    pub(super) fn put_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: &ExpectedDocument,
        content: &Bytes,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<VersionToken> {
        rules::check_document_name(name)?;
        let _held = self.lock_document(scope, name)?;
        self.check_version(scope, name, expected, now)?;
        let version = format!("{:016x}", RandomIds.next_u64());
        let sha256 = BlobId::of(content).to_string();
        let envelope = Envelope { version: version.clone(), expires, sha256 };
        let mut bytes = serde_json::to_vec(&envelope)
            .map_err(|e| Error::invalid("the document cannot be written").caused_by(e))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(content);
        self.disk.write(&self.layout.document(scope, name), &bytes)?;
        Ok(VersionToken(version))
    }

    pub(super) fn delete_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: &ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        rules::check_document_name(name)?;
        let _held = self.lock_document(scope, name)?;
        self.check_version(scope, name, expected, now)?;
        let path = self.layout.document(scope, name);
        self.disk.remove(&path)?;
        // Also where nothing was there: whoever removed it may not have made that durable.
        if self.disk.metadata(parent(&path))?.is_some() {
            self.disk.sync_dir(parent(&path))?;
        }
        Ok(())
    }

    pub(super) fn list_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<&Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        let mut names = Vec::new();
        for (name, _) in layout::ids(&self.disk, &self.layout.documents(scope), DOCUMENT)? {
            // A damaged one is there: reading it says what is wrong.
            let alive = || self.read_document(scope, &name, now).map_or(true, |doc| doc.is_some());
            if name.starts_with(prefix) && alive() {
                names.push(name);
            }
        }
        listing::page_of_names(names, after)
    }

    /// Whoever may change a document whatever its content is, may replace a damaged one.
    fn check_version(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: &ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        let found = match expected {
            ExpectedDocument::Any => return Ok(()),
            _ => self.read_document(scope, name, now)?.map(|document| document.version),
        };
        rules::check_version(name, expected, found.as_ref())
    }

    fn lock_document(&self, scope: &DocumentScope, name: &str) -> Result<Held<'_>, FileError> {
        let owner = match scope {
            DocumentScope::Owner(owner) => owner.as_str(),
            DocumentScope::Store => "",
        };
        self.locks.lock(&self.disk, &["document", owner, name])
    }
}
