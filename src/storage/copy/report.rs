//! What a copy has done, and how far it has come.

use std::fmt;

use crate::error::Error;
use crate::id::OwnerId;
use crate::storage::{DocumentScope, SessionKey};

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// Sessions that are done with, the ones that failed included. Never goes back.
    pub done: u64,
    /// Of so many: those that were there when the copy began.
    pub total: u64,
    /// The bytes of records and blobs that were written.
    pub bytes: u64,
}

/// What a copy has done.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use = "it names what could not be copied"]
pub struct CopyReport {
    /// Sessions that were copied.
    pub sessions: u64,
    /// Sessions of which a part was there, and now all is.
    pub completed: u64,
    /// Sessions that were there already, equal to the last byte.
    pub already_there: u64,
    /// Sessions that were deleted from the source while this copy was made, and are in neither. One
    /// that the target has from before is in [`only_in_target`](Self::only_in_target).
    pub left_out: u64,
    /// Blobs that were copied.
    pub blobs: u64,
    /// Documents that were copied. Equal ones that were there already do not count.
    pub documents: u64,
    /// Of these, the ones that replaced what an earlier copy had put in their place.
    pub replaced: u64,
    /// The bytes of all records, blobs and documents that were written.
    pub bytes: u64,
    /// What is not, or not wholly, in the target: damaged in the source, or with other content in
    /// the target.
    pub failed: Vec<CopyFailure>,
    /// Sessions that were copied without their searchable text, since it could not be read, or was
    /// that of a later state each time.
    pub without_text: Vec<CopyFailure>,
    /// Sessions that the target has and the source has not, in the order of their keys, whosever
    /// they are: deleted from the source since they were copied, say. A copy deletes nothing, and
    /// cannot tell them from what the target had before, or has got since. Whoever moves for good
    /// deletes them there: a person has deleted them, and would find them again.
    ///
    /// A session of the source that cannot be listed may be among them; then `failed` has its
    /// [owner](CopyItem::Owner).
    pub only_in_target: Vec<SessionKey>,
}

impl CopyReport {
    /// Whether everything is in the target. There may be [more](Self::only_in_target) than that:
    /// nothing of the source is missing for it, and a target may have chats of its own.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

impl fmt::Display for CopyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sessions copied, {} completed, {} already there; {} blobs, {} documents, {} bytes; \
             {} failed, {} only in the target",
            self.sessions,
            self.completed,
            self.already_there,
            self.blobs,
            self.documents,
            self.bytes,
            self.failed.len(),
            self.only_in_target.len()
        )
    }
}

/// Something that could not be copied, and why.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CopyFailure {
    /// What it is.
    pub item: CopyItem,
    /// Why.
    pub error: Error,
}

/// Something that is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyItem {
    /// Some of an owner's sessions: the source counts more than it can list, their ids are damaged.
    /// [Rebuild](crate::storage::Maintenance::rebuild_index) its index, and copy again.
    Owner(OwnerId),
    /// A session.
    Session(SessionKey),
    /// A document.
    Document {
        /// Whose it is.
        scope: DocumentScope,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for CopyItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner(owner) => write!(f, "sessions of {owner}"),
            Self::Session(key) => write!(f, "session {key}"),
            Self::Document { scope: DocumentScope::Owner(owner), name } => {
                write!(f, "document {name} of {owner}")
            }
            Self::Document { scope: DocumentScope::Store, name } => write!(f, "document {name}"),
        }
    }
}

impl fmt::Display for CopyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.item, self.error)
    }
}
