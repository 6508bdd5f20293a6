//! The vocabulary of a session's log, and the fold that makes a model of it.
//!
//! Every change of a session is an [`Event`]; a serializer turns it into a record's kind and body.
//! `docs/format.md` specifies each of them.

use std::sync::Arc;

use jiff::Timestamp;
use semver::Version;

use crate::id::{OwnerId, ResponseId, SessionId, TurnId};
use crate::json::{Extra, RawJson, json_object};
use crate::model::{ChatRequest, ChatResponse, DataEntry, Feedback, SessionChange, SessionMeta};
use crate::part::ResponsePart;

mod fold;
mod records;
mod salvage;
#[cfg(test)]
mod tests;

pub use self::fold::Fold;
pub use self::records::events_of;

/// The version of the log's and the document's format that this crate writes.
pub const FORMAT: Version = Version::new(1, 0, 0);

/// One change of a session. Which turn it belongs to stands in the record's header.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The first record: what the log is. Kind `log`.
    Log(LogInfo),
    /// The session begins with these properties. Kind `session`.
    Session(Box<SessionState>),
    /// Some of the session's properties change. Kind `session.set`.
    SessionSet(Vec<SessionChange>),
    /// Adopters' data of the session, or of the turn's request or response. Kind `data`.
    Data(DataEvent),
    /// Another turn becomes the last one of the branch that is shown. Kind `active`.
    Active(Option<TurnId>),
    /// The session's own state as of this revision. Kind `checkpoint`.
    Checkpoint(Box<Checkpoint>),
    /// A turn begins, and becomes the last one of the branch that is shown. Kind `request`.
    Request(Box<RequestEvent>),
    /// A whole response, in place of all that was known of it. Kind `response`.
    Response(Box<ResponseEvent>),
    /// Everything of a response but its parts. Kind `response.set`.
    ResponseSet(Box<ResponseEvent>),
    /// A part is added (at the index after the last) or replaced. Kind `part`.
    Part(PartEvent),
    /// Text is added to the end of a part. Kind `text`.
    Text(TextEvent),
    /// What a person thinks of the response. Kind `feedback`.
    Feedback(Option<Feedback>),
    /// A writer takes over the right to write the response, or renews it. Kind `claim`.
    Claim(Claim),
    /// A kind of a newer version, kept.
    Other {
        /// The record's kind.
        kind: String,
        /// The record's body.
        body: RawJson,
    },
}

/// What a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogInfo {
    /// The version of the format.
    pub format: Version,
    /// The serializer that wrote the bodies.
    pub serializer: SerializerInfo,
    /// Whose session it is.
    pub owner: OwnerId,
    /// Which session it is.
    pub session: SessionId,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(LogInfo { required format, required serializer, required owner, required session });

/// A serializer's name and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerializerInfo {
    /// Its name.
    pub id: String,
    /// The version of what it writes.
    pub version: Version,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(SerializerInfo { required id, required version });

/// The session's own state.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionState {
    /// Its properties.
    pub meta: SessionMeta,
    /// Fields beside them of a newer version, kept.
    pub extra: Extra,
}

/// The session's own state as of a revision, so that opening need not read further back.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// What the log is.
    pub log: LogInfo,
    /// The session's state.
    pub state: SessionState,
    /// The last turn of the branch that is shown.
    pub active: Option<TurnId>,
    /// How many turns there are.
    pub turns: u64,
}

/// The beginning of a turn.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestEvent {
    /// The turn that it follows.
    pub parent: Option<TurnId>,
    /// What is asked.
    pub request: Arc<ChatRequest>,
    /// The id of the response.
    pub response: ResponseId,
    /// The epoch of whoever writes the response.
    pub epoch: Option<u64>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// A response as a whole, with or without its parts.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseEvent {
    /// The epoch of whoever wrote it.
    pub epoch: Option<u64>,
    /// The response.
    pub response: ChatResponse,
}

/// A part that is added or replaced.
#[derive(Debug, Clone, PartialEq)]
pub struct PartEvent {
    /// The epoch of whoever wrote it.
    pub epoch: Option<u64>,
    /// The part's place, counted from 0.
    pub index: usize,
    /// The part.
    pub part: ResponsePart,
}

/// Text that is added to a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextEvent {
    /// The epoch of whoever wrote it.
    pub epoch: Option<u64>,
    /// The part's place, counted from 0.
    pub index: usize,
    /// The text.
    pub text: String,
}

/// Adopters' data that is set or removed.
#[derive(Debug, Clone, PartialEq)]
pub struct DataEvent {
    /// What carries it.
    pub on: DataLevel,
    /// The id of the data.
    pub id: String,
    /// The data; none removes it.
    pub entry: Option<DataEntry>,
}

/// What carries adopters' data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataLevel {
    /// The session.
    Session,
    /// A turn's request.
    Request,
    /// A turn's response.
    Response,
}

/// A claim to write a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The epoch of the claim.
    pub epoch: u64,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Claim { required epoch });

/// An event with what the record's header says of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The turn it belongs to; [`TurnId::SESSION`] for the session itself.
    pub turn: TurnId,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

impl Event {
    /// The kind of the event's record.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Log(_) => "log",
            Self::Session(_) => "session",
            Self::SessionSet(_) => "session.set",
            Self::Data(_) => "data",
            Self::Active(_) => "active",
            Self::Checkpoint(_) => crate::storage::Record::CHECKPOINT,
            Self::Request(_) => crate::storage::Record::REQUEST,
            Self::Response(_) => "response",
            Self::ResponseSet(_) => "response.set",
            Self::Part(_) => "part",
            Self::Text(_) => "text",
            Self::Feedback(_) => "feedback",
            Self::Claim(_) => "claim",
            Self::Other { kind, .. } => kind,
        }
    }
}
