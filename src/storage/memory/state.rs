//! All that a storage in memory holds, changed under one lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use jiff::Timestamp;

use super::MemoryStorage;
use super::session::Session;
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::ext::session_not_found;
use crate::storage::{
    Appended, Batch, BlobId, Cursor, Document, DocumentScope, Expected, ExpectedDocument, Head,
    HeadFields, Incarnation, ListQuery, Page, PurgeReceipt, Record, Revision, SessionHead,
    SessionKey, VersionToken, WriterId, listing, rules,
};

pub(super) struct State {
    salt: rules::Salt,
    pub(super) sessions: BTreeMap<SessionKey, Session>,
    /// The last life of every deleted session.
    tombstones: HashMap<[u8; 32], Incarnation>,
    documents: BTreeMap<(Option<OwnerId>, String), Document>,
    writers: HashMap<WriterId, Weak<WriterId>>,
    versions: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            salt: rules::Salt::random(),
            sessions: BTreeMap::new(),
            tombstones: HashMap::new(),
            documents: BTreeMap::new(),
            writers: HashMap::new(),
            versions: 0,
        }
    }
}

impl State {
    pub(super) fn register(&mut self, writer: &Arc<WriterId>) {
        self.writers.insert(WriterId::clone(writer), Arc::downgrade(writer));
    }

    pub(super) fn is_gone(&self, writer: &WriterId) -> bool {
        self.writers.get(writer).is_some_and(|handle| handle.strong_count() == 0)
    }

    fn next_version(&mut self) -> VersionToken {
        self.versions += 1;
        VersionToken(self.versions.to_string())
    }
}

/// Sessions.
impl State {
    pub(super) fn session(&self, key: &SessionKey) -> Result<&Session> {
        self.sessions.get(key).ok_or_else(|| session_not_found(key))
    }

    fn session_mut(&mut self, key: &SessionKey) -> Result<&mut Session> {
        self.sessions.get_mut(key).ok_or_else(|| session_not_found(key))
    }

    pub(super) fn head(&self, key: &SessionKey) -> Option<&Head> {
        self.sessions.get(key).map(|session| &session.head)
    }

    pub(super) fn append(
        &mut self,
        key: &SessionKey,
        expected: Expected,
        batch: Batch,
    ) -> Result<Appended> {
        if let Some(session) = self.sessions.get(key)
            && session.holds(expected, batch.id)
        {
            return Ok(session.appended());
        }
        let buried = self.tombstones.get(&self.salt.grave(key)).copied();
        let incarnation =
            rules::decide(key, expected, batch.epoch, self.head(key).map(Into::into), buried)?;
        let token = self.next_version();
        let session = self.sessions.entry(key.clone()).or_insert_with(|| {
            Session::new(Head {
                incarnation,
                revision: Revision::ZERO,
                base: Revision::ZERO,
                token: token.clone(),
                fields: HeadFields::new(batch.records[0].at),
            })
        });
        session.add(batch);
        session.head.token = token;
        Ok(session.appended())
    }

    pub(super) fn compact(
        &mut self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head> {
        let head = &self.session(key)?.head;
        let capabilities = &MemoryStorage::CAPABILITIES;
        rules::check_compaction(key, head, guard, through, &records, capabilities)?;
        let token = self.next_version();
        let session = self.session_mut(key)?;
        session.replace(through, records);
        session.head.token = token;
        Ok(session.head.clone())
    }

    pub(super) fn put_blob(&mut self, key: &SessionKey, id: BlobId, content: Bytes) -> Result<()> {
        self.session_mut(key)?.blobs.insert(id, content);
        Ok(())
    }

    pub(super) fn blob(&self, key: &SessionKey, id: &BlobId) -> Option<Bytes> {
        self.sessions.get(key)?.blobs.get(id).cloned()
    }

    pub(super) fn blobs(&self, key: &SessionKey) -> Vec<BlobId> {
        self.sessions
            .get(key)
            .map_or_else(Vec::new, |session| session.blobs.keys().cloned().collect())
    }

    pub(super) fn purge(&mut self, key: &SessionKey) -> Result<PurgeReceipt> {
        let session = self.sessions.remove(key).ok_or_else(|| session_not_found(key))?;
        let incarnation = session.head.incarnation;
        self.tombstones.insert(self.salt.grave(key), incarnation);
        Ok(PurgeReceipt::new(incarnation, session.bytes(), session.blobs.len() as u64))
    }
}

/// The catalogue.
impl State {
    pub(super) fn sessions_of<'a>(
        &'a self,
        owner: &'a OwnerId,
    ) -> impl Iterator<Item = (&'a SessionKey, &'a Session)> {
        self.sessions.iter().filter(move |(key, _)| key.owner == *owner)
    }

    fn heads_of<'a>(&'a self, owner: &'a OwnerId) -> impl Iterator<Item = SessionHead> + 'a {
        self.sessions_of(owner)
            .map(|(key, session)| SessionHead { key: key.clone(), head: session.head.clone() })
    }

    pub(super) fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<&Cursor>,
    ) -> Result<Page<SessionHead>> {
        listing::page(self.heads_of(owner), query, after)
    }

    pub(super) fn count(&self, owner: &OwnerId, query: &ListQuery) -> u64 {
        self.heads_of(owner).filter(|session| listing::fits(session, query)).count() as u64
    }

    pub(super) fn owners(&self, after: Option<&Cursor>) -> Result<Page<OwnerId>> {
        let mut owners: Vec<OwnerId> = self.sessions.keys().map(|key| key.owner.clone()).collect();
        owners.dedup();
        listing::page_of_names(owners, after)
    }
}

/// Documents.
impl State {
    pub(super) fn document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Option<&Document> {
        self.documents.get(&place(scope, name)).filter(|document| lives(document, now))
    }

    pub(super) fn put_document(
        &mut self,
        scope: &DocumentScope,
        name: &str,
        expected: &ExpectedDocument,
        content: Bytes,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<VersionToken> {
        let actual = self.document(scope, name, now).map(|document| &document.version);
        rules::check_version(name, expected, actual)?;
        let version = self.next_version();
        let document = Document { content, version: version.clone(), expires };
        self.documents.insert(place(scope, name), document);
        Ok(version)
    }

    pub(super) fn delete_document(
        &mut self,
        scope: &DocumentScope,
        name: &str,
        expected: &ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        let actual = self.document(scope, name, now).map(|document| &document.version);
        rules::check_version(name, expected, actual)?;
        self.documents.remove(&place(scope, name));
        Ok(())
    }

    pub(super) fn document_names(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<&Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        let (owner, _) = place(scope, "");
        let names = self
            .documents
            .iter()
            .filter(|((of, name), document)| {
                *of == owner && name.starts_with(prefix) && lives(document, now)
            })
            .map(|((_, name), _)| name.clone());
        listing::page_of_names(names, after)
    }
}

fn place(scope: &DocumentScope, name: &str) -> (Option<OwnerId>, String) {
    let owner = match scope {
        DocumentScope::Owner(owner) => Some(owner.clone()),
        DocumentScope::Store => None,
    };
    (owner, name.to_owned())
}

fn lives(document: &Document, now: Timestamp) -> bool {
    document.expires.is_none_or(|expires| now < expires)
}
