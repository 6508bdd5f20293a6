//! States of sessions and responses.

use serde::{Deserialize, Serialize};

/// Where a session stands in its owner's eyes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SessionStatus {
    /// In use.
    #[default]
    Active,
    /// Put away, complete and findable.
    Archived,
    /// To be deleted after a while; can be restored until then.
    Trashed,
}

/// How far a response has come.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResponseState {
    /// Asked for; nothing has come yet.
    #[default]
    Pending,
    /// Coming in.
    Streaming,
    /// Waits for a person: a confirmation, an answer to a question.
    NeedsInput,
    /// Ended as it should.
    Complete,
    /// Ended by a person.
    Cancelled,
    /// Ended by an error, which the response holds.
    Failed,
    /// Ended because whoever wrote it was gone.
    Interrupted,
}

impl ResponseState {
    /// Whether nothing more is to come.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Complete | Self::Cancelled | Self::Failed | Self::Interrupted)
    }
}
