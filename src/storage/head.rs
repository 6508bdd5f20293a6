//! Heads: the little about a session that lists show and writers check.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Revision;
use crate::id::{OwnerId, SessionId, TurnId, WorkspaceId};
use crate::model::{ResponseState, SessionStatus};

/// A session's address: its owner and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// Who it belongs to.
    pub owner: OwnerId,
    /// Which of the owner's sessions it is.
    pub id: SessionId,
}

impl SessionKey {
    /// The address of an owner's session.
    #[must_use]
    pub fn new(owner: OwnerId, id: SessionId) -> Self {
        Self { owner, id }
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.id)
    }
}

/// How many lives a session id has had: 1, and one more for each import after a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(u64);

impl Incarnation {
    /// A session that was never deleted.
    pub const FIRST: Self = Self(1);

    /// The incarnation with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The incarnation's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next life of the same id.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The engine's own mark of a version (an `ETag`, a row version, a sequence number), opaque.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct VersionToken(pub String);

/// A process that writes, as its storage tells it from others. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WriterId(pub Arc<str>);

/// The response that is being written, by whom, and until when nobody else may take it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The turn whose response it is.
    pub turn: TurnId,
    /// Who writes it.
    pub writer: WriterId,
    /// When its claim ends unless it is renewed.
    pub until: Timestamp,
}

/// What a writer sets of a head; the rest of it is the storage's.
///
/// Serialized with short names, in the order of the fields, leaving out what is at its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadFields {
    /// The session's title; empty where none is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Whether it is active, archived or in the trash.
    #[serde(default, skip_serializing_if = "is_default")]
    pub status: SessionStatus,
    /// Whether a person pinned it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pinned: bool,
    /// Its tags, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The agent it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The workspace it belongs to; none is global.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceId>,
    /// The session it was delegated or forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// When it was created.
    pub created: Timestamp,
    /// When a request or a response last changed it.
    pub active: Timestamp,
    /// How many turns it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub turns: u64,
    /// The state of the newest response that was written; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ResponseState>,
    /// How often the right to write a response has been given out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub epoch: u64,
    /// The response that is being written, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// Fields of a newer version, kept.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl HeadFields {
    /// The head of a session that was created at this moment and has nothing else yet.
    #[must_use]
    pub fn new(created: Timestamp) -> Self {
        Self {
            title: String::new(),
            status: SessionStatus::Active,
            pinned: false,
            tags: Vec::new(),
            agent: None,
            workspace: None,
            parent: None,
            created,
            active: created,
            turns: 0,
            state: None,
            epoch: 0,
            running: None,
            extra: BTreeMap::new(),
        }
    }
}

/// Where a session stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Which life of its id this is.
    pub incarnation: Incarnation,
    /// The revision of its last record.
    pub revision: Revision,
    /// Records at or below this revision have been compacted: some of them are gone.
    pub base: Revision,
    /// The engine's mark of this version.
    pub token: VersionToken,
    /// What writers set.
    pub fields: HeadFields,
}

/// A session in a list: its address and its head.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionHead {
    /// The session's address.
    pub key: SessionKey,
    /// Where it stands.
    pub head: Head,
}

impl SessionHead {
    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.key.id
    }

    /// The session's title; empty where none is known.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.head.fields.title
    }

    /// Whether it is active, archived or in the trash.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        self.head.fields.status
    }

    /// When a request or a response last changed it.
    #[must_use]
    pub fn last_active(&self) -> Timestamp {
        self.head.fields.active
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.head.fields.created
    }
}
