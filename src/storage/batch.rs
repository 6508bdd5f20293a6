//! What goes into a log and what comes out of it.

use jiff::Timestamp;

use super::head::{Head, HeadFields, Incarnation};
use super::record::{BatchId, Record, Revision};
use crate::id::TurnId;
use crate::model::ResponseState;

/// How safe bytes are to be, or are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// Handed to the engine: survives the process, not a power cut.
    Buffered,
    /// On the disk: survives a power cut. Covers every earlier revision of the session as well.
    #[default]
    Synced,
    /// On more than one machine.
    Replicated,
}

/// What must be so for an append to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The id has never been used. The session begins with this append.
    New,
    /// The id is not in use, though it may have been deleted: an explicit import begins its next
    /// incarnation.
    NewIncarnation,
    /// The session is in this life and at this revision.
    At {
        /// Which life of the id the writer means.
        incarnation: Incarnation,
        /// The last revision that the writer knows.
        revision: Revision,
    },
}

/// One append: all of it takes effect, or nothing.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Names this append. A retry carries the same id and lands once.
    pub id: BatchId,
    /// The records, their revisions dense from the expected one on, each with this batch's id. At
    /// least one.
    pub records: Vec<Record>,
    /// For a session that is moved here after it was compacted: its base. The records up to it are
    /// ascending, but not dense, and those after it follow it; the session begins with this base.
    /// Only a session's first batch may have one; zero is none.
    pub base: Revision,
    /// The head's fields after this batch; none if it does not change them. A session's first
    /// batch has them.
    pub head: Option<HeadFields>,
    /// The epoch under which response records are written. The append is
    /// [`Fenced`](crate::ErrorKind::Fenced) if the head's epoch is higher.
    pub epoch: Option<u64>,
    /// The searchable text of the turns that this batch changed, whole per turn.
    pub texts: Vec<TurnText>,
    /// The facts of the turns that this batch changed, whole per turn.
    pub facts: Vec<TurnFacts>,
    /// How safe it must be when the call returns.
    pub durability: Durability,
}

/// What an append achieved.
#[derive(Debug, Clone, PartialEq)]
pub struct Appended {
    /// Where the session stands now.
    pub head: Head,
    /// How safe the batch, and all before it, is. At least what was asked for, or the best that
    /// the engine can do.
    pub durability: Durability,
}

/// Which records to read. Every page is in ascending order of revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadRange {
    /// Everything after a revision, to catch up; a page ends after some megabytes.
    ///
    /// If records after that revision have been compacted away the page starts from the
    /// beginning of what is left and says so ([`LogPage::restarted`]). Such a page reaches at
    /// least to the base, however large it is: below it nobody can read on.
    After(Revision),
    /// From the start of the `turns`th newest turn to the end, and further back to the newest
    /// checkpoint or the log's beginning if none lies within.
    Newest {
        /// How many turns; 0 reads back to the newest checkpoint alone.
        turns: u64,
    },
    /// The records before a revision, back to the start of the `turns`th turn from there.
    Before {
        /// The first revision of the page read before.
        revision: Revision,
        /// How many turns; at least 1.
        turns: u64,
    },
}

/// A part of a session's log.
#[derive(Debug, Clone)]
pub struct LogPage {
    /// Where the session stood when the page was read.
    pub head: Head,
    /// The records, ascending. Dense except where compaction dropped some or some are damaged.
    pub records: Vec<Record>,
    /// Whether there are records before the first of these.
    pub earlier: bool,
    /// Whether there are records after the last of these. A page after a revision that has later
    /// ones holds at least one record.
    pub later: bool,
    /// The reader's revision lies below the base: `records` start anew, they do not follow it.
    pub restarted: bool,
    /// What could not be read. The other records are there.
    pub damage: Vec<Damage>,
}

/// A place in a log that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file or other place, in the engine's terms.
    pub place: String,
    /// The number of the record in its log counted from 1 (for a file, its line), where known.
    pub record: Option<u64>,
    /// What is wrong with it.
    pub problem: String,
}

/// The text by which one turn is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnText {
    /// Which turn; [`TurnId::SESSION`] for the title.
    pub turn: TurnId,
    /// When the turn was made.
    pub at: Timestamp,
    /// Its passages.
    pub passages: Vec<Passage>,
}

/// A searchable piece of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Whose text it is.
    pub role: PassageRole,
    /// The kind of the part it comes from; `title`, `request`, `attachment` and `variable` for
    /// those, and `error` for why a response failed.
    pub kind: String,
    /// The plain text.
    pub text: String,
}

/// Whose text a passage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PassageRole {
    /// The session's title.
    Title,
    /// A request.
    User,
    /// A response.
    Assistant,
    /// A tool call and its result.
    Tool,
}

/// What statistics count of one turn. They refuse no turn: an engine counts a number that is larger
/// than any that it can keep, at least 2^63 - 1, as the largest one.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnFacts {
    /// Which turn.
    pub turn: TurnId,
    /// When the request was made.
    pub at: Timestamp,
    /// The state of its response.
    pub state: ResponseState,
    /// The model that answered.
    pub model: Option<String>,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Milliseconds from the request to the end of the response, once it ended.
    pub duration_ms: Option<u64>,
}
