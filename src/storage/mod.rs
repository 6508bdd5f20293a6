//! Where logs are kept: the [`Storage`] trait, its small types, and the adapters.
//!
//! Storage moves bytes, revisions, heads and search text that it is given. It knows the
//! [header](Record) of a record, never its body. These adapters come with the crate:
//!
//! | adapter | keeps sessions in |
//! | --- | --- |
//! | [`FileStorage`] | a folder, one file per session |
//! | [`MemoryStorage`] | memory |
//! | [`KeyValueStorage`] | a host's ordered key-value engine |
//! | [`StringMapStorage`] | what has only get, set, remove and keys: an editor's memento |
//! | `SqliteStorage` (feature `sqlite`) | one SQLite database |
//! | `RedbStorage` (feature `redb`) | one file of an embedded engine |
//!
//! All of them pass the suite in `storage::conformance` (feature `conformance`), which is public
//! for adapters of your own. [`copy_store`] moves everything from any of them to any other.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use jiff::Timestamp;

use crate::error::Result;
use crate::id::OwnerId;

mod batch;
#[cfg(feature = "conformance")]
pub mod conformance;
mod copy;
mod document;
mod ext;
mod extras;
pub mod file;
mod head;
mod hints;
pub mod key_value;
pub(crate) mod line;
mod listing;
pub mod memory;
mod query;
mod record;
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub mod redb;
mod rules;
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub mod sqlite;
pub mod string_map;
pub mod text;

pub use self::batch::{
    Appended, Batch, Damage, Durability, Expected, LogPage, Passage, PassageRole, ReadRange,
    TurnFacts, TurnText,
};
pub use self::copy::{CopyFailure, CopyItem, CopyProgress, CopyReport, CopyStore, copy_store};
pub use self::document::{BlobId, Document, DocumentScope, ExpectedDocument, PurgeReceipt};
pub use self::ext::StorageExt;
pub(crate) use self::ext::session_not_found;
pub use self::extras::{
    Maintenance, OnProgress, Progress, Report, Statistics, StatisticsQuery, Totals,
};
pub use self::file::FileStorage;
pub use self::head::{
    Head, HeadFields, Incarnation, Running, SessionHead, SessionKey, VersionToken, WriterId,
};
pub use self::key_value::{KeyValue, KeyValueStorage};
pub(crate) use self::listing::{fits, unreadable};
pub use self::memory::MemoryStorage;
pub use self::query::{Cursor, Hint, ListOrder, ListQuery, Page, WatchFilter};
pub use self::record::{BatchId, Body, Record, Revision};
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub use self::redb::RedbStorage;
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use self::sqlite::SqliteStorage;
pub use self::string_map::{StringMap, StringMapStorage};
pub use self::text::{Extract, Extracted, FullText, Term, TextHit, TextHits, TextOrder, TextQuery};

/// What an engine can promise. Groups of the conformance suite are chosen by it, never by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The engine's name, for messages.
    pub name: &'static str,
    /// The highest durability it can achieve.
    pub durability: Durability,
    /// Whether what was written outlives the process.
    pub persistent: bool,
    /// Whether several processes may have it open at once.
    pub multi_process: bool,
    /// Whether an append is all or nothing even if the process dies within it.
    pub atomic: bool,
    /// Whether [`Storage::watch`] tells of other processes' changes too.
    pub watches_processes: bool,
    /// Whether it can tell that a writing process is gone.
    pub knows_writers: bool,
    /// Whether a purged session's bytes are gone from its own files when the call returns, unless the receipt
    /// says what may remain.
    pub purges_bytes: bool,
    /// The largest record body, in bytes.
    pub max_record: usize,
    /// The largest blob, in bytes.
    pub max_blob: usize,
}

impl Capabilities {
    /// An engine that promises nothing but to hold records of 16 MiB and blobs of 256 MiB while
    /// its process lives. Set the fields that are better.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            durability: Durability::Buffered,
            persistent: false,
            multi_process: false,
            atomic: true,
            watches_processes: false,
            knows_writers: false,
            purges_bytes: false,
            max_record: 16 << 20,
            max_blob: 256 << 20,
        }
    }
}

/// Somewhere to keep session logs.
///
/// Implementations are shared between threads and may block the thread that polls them; the
/// façade polls them on threads of its own, or on that of a caller of
/// [`blocking`](crate::blocking), which may be a runtime's worker. They run under any executor: one
/// that needs a runtime brings its own thread.
///
/// # Errors
///
/// Every method may fail with [`Unavailable`](crate::ErrorKind::Unavailable) (the engine failed,
/// nothing was changed), [`Indeterminate`](crate::ErrorKind::Indeterminate) (a write's outcome is
/// not known) and [`Corrupt`](crate::ErrorKind::Corrupt). A session that is not there is
/// [`NotFound`](crate::ErrorKind::NotFound) or `None`, never `Corrupt`, and the other way round.
///
/// # Cancel safety
///
/// A write whose future is dropped may or may not have taken effect; a retry with the same batch
/// id lands exactly once.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// What it can promise.
    fn capabilities(&self) -> Capabilities;

    /// The mark by which other users of this storage know the present one.
    fn writer(&self) -> WriterId;

    /// Whether a writer is known to be gone. `false` where it lives or where that is not known.
    async fn is_gone(&self, writer: &WriterId) -> Result<bool>;

    /// Adds a batch to a session's log: all of it or nothing.
    ///
    /// Checks in this order, under one lock or transaction: the batch is already there at the
    /// expected place (done, as if it landed now) · the session is gone or in another life
    /// (`NotFound`) · `epoch` is older than the head's (`Fenced`) · the revision is another
    /// (`Conflict`). For [`Expected::New`]: the id is in use (`AlreadyExists`) · was deleted
    /// (`Deleted`).
    ///
    /// # Errors
    ///
    /// As above; `Invalid` for a batch that is empty, whose revisions are not dense or which begins
    /// a session without a head, `LimitExceeded` for a body over the capabilities' limit; these
    /// come before all others.
    async fn append(&self, key: &SessionKey, expected: Expected, batch: Batch) -> Result<Appended>;

    /// Where a session stands; `None` if there is none.
    async fn head(&self, key: &SessionKey) -> Result<Option<Head>>;

    /// Reads a part of a session's log.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such session.
    async fn read(&self, key: &SessionKey, range: ReadRange) -> Result<LogPage>;

    /// Replaces all records up to `through` by fewer (some of the same, each with its revision),
    /// atomically. The revision stays; the base becomes `through`.
    ///
    /// # Errors
    ///
    /// `Conflict` if the session is not in `guard`'s incarnation, base and revision any more,
    /// `Invalid` if `through` is not between base and revision or the records are not in order up
    /// to it.
    async fn compact(
        &self,
        key: &SessionKey,
        through: Revision,
        records: Vec<Record>,
        guard: &Head,
    ) -> Result<Head>;

    /// Keeps a session's blob under the hash of its content; durable when the call returns.
    ///
    /// # Errors
    ///
    /// `Invalid` if the content has another hash, `NotFound` if there is no such session.
    async fn put_blob(&self, key: &SessionKey, id: &BlobId, content: Bytes) -> Result<()>;

    /// A session's blob; `None` if there is none, or no such session.
    ///
    /// # Errors
    ///
    /// `Corrupt` if what is there has another hash.
    async fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Bytes>>;

    /// Which blobs a session has, in the order of their ids; none if there is no such session.
    async fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>>;

    /// Removes a session with all that belongs to it and leaves a tombstone without content.
    /// Nothing but [`Expected::NewIncarnation`] brings the id back.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such session.
    async fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt>;

    /// An owner's sessions that fit a query, page by page.
    ///
    /// # Errors
    ///
    /// `Invalid` for a limit out of bounds, more than 500 conditions, or a cursor that is not of
    /// this query.
    async fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<Cursor>,
    ) -> Result<Page<SessionHead>>;

    /// How many sessions fit a query.
    ///
    /// # Errors
    ///
    /// `Invalid` for more than 500 conditions.
    async fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64>;

    /// Everyone who has a session, in the order of their ids.
    async fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>>;

    /// A small document; `None` if there is none or it has expired by `now`.
    async fn get_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>>;

    /// Writes a small document if it is in the expected version; durable when the call returns.
    /// An expired document counts as absent.
    ///
    /// # Errors
    ///
    /// `Conflict` if it is in another version, `Invalid` for a name that is empty or longer than
    /// 200 bytes, as in all calls that take a document's name.
    async fn put_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: ExpectedDocument,
        content: Bytes,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<VersionToken>;

    /// The names of documents that begin with a prefix, in order; expired ones are left out.
    async fn list_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>>;

    /// Removes a document if it is in the expected version.
    ///
    /// # Errors
    ///
    /// `Conflict` if it is in another version; removing what is not there is no error unless a
    /// version was expected.
    async fn delete_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: ExpectedDocument,
        now: Timestamp,
    ) -> Result<()>;

    /// Hints that a session changed, from now on.
    async fn watch(&self, filter: WatchFilter) -> Result<BoxStream<'static, Hint>>;

    /// Full-text search, if the engine has it.
    fn full_text(&self) -> Option<&dyn FullText>;

    /// Statistics, if the engine has them.
    fn statistics(&self) -> Option<&dyn Statistics>;

    /// The engine's upkeep.
    fn maintenance(&self) -> &dyn Maintenance;
}
