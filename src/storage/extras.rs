//! What an engine may lack: full text and statistics; and what it does for its own upkeep.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::batch::{Damage, PassageRole, TurnFacts, TurnText};
use super::head::SessionKey;
use super::query::{Cursor, Page};
use super::record::Revision;
use crate::error::Result;
use crate::id::{OwnerId, TurnId};

/// Words to find in an owner's turns, as the façade parsed them.
///
/// With a role or a kind only such passages are looked at, for what must and for what must not be
/// there; a turn without any is not found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TextQuery {
    /// Every one of these must be in the turn.
    pub all: Vec<Term>,
    /// None of these may be in it.
    pub none: Vec<Term>,
    /// Only passages of this role.
    pub role: Option<PassageRole>,
    /// Only passages of this kind.
    pub kind: Option<String>,
    /// Turns made at or after.
    pub from: Option<Timestamp>,
    /// Turns made before.
    pub before: Option<Timestamp>,
    /// At most so many to a page; 0 is the default of 50.
    pub limit: usize,
}

/// What a passage must contain, without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Term {
    /// A word.
    Word(String),
    /// A word that begins so.
    Prefix(String),
    /// Words one after the other.
    Phrase(Vec<String>),
}

/// A turn that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextHit {
    /// In which session.
    pub key: SessionKey,
    /// Which turn; [`TurnId::SESSION`] for the title.
    pub turn: TurnId,
    /// When the turn was made.
    pub at: Timestamp,
}

/// What a search returns.
#[derive(Debug, Clone, PartialEq)]
pub struct TextHits {
    /// The hits, newest first.
    pub page: Page<TextHit>,
    /// The index was not complete: there may be more.
    pub partial: bool,
}

/// Reads what can be searched and counted out of a session; given by the façade, which alone can
/// read records.
#[async_trait]
pub trait Extract: fmt::Debug + Send + Sync {
    /// Everything of one session.
    async fn extract(&self, key: &SessionKey) -> Result<(Vec<TurnText>, Vec<TurnFacts>)>;
}

/// Full-text search.
#[async_trait]
pub trait FullText: fmt::Debug + Send + Sync {
    /// Finds turns of one owner, the newest first.
    async fn search(
        &self,
        owner: &OwnerId,
        query: &TextQuery,
        after: Option<Cursor>,
    ) -> Result<TextHits>;

    /// Builds the index anew.
    async fn rebuild(&self, extract: &dyn Extract) -> Result<()>;
}

/// Which turns to count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatisticsQuery {
    /// Made at or after.
    pub from: Option<Timestamp>,
    /// Made before.
    pub before: Option<Timestamp>,
}

/// Sums over turns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Sessions with at least one of the turns.
    pub sessions: u64,
    /// Turns.
    pub turns: u64,
    /// Of these, the ones whose response failed.
    pub failed: u64,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// Counting over the facts of turns.
#[async_trait]
pub trait Statistics: fmt::Debug + Send + Sync {
    /// Sums over one owner's turns.
    async fn totals(&self, owner: &OwnerId, query: &StatisticsQuery) -> Result<Totals>;
}

/// What an upkeep call found or did for one session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// How many records were read.
    pub records: u64,
    /// The last readable revision.
    pub revision: Revision,
    /// What could not be read.
    pub damage: Vec<Damage>,
    /// Where the original was kept before anything was changed, in the engine's terms.
    pub kept: Vec<String>,
}

/// How far a long call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Done so far.
    pub done: u64,
    /// Of so many, where known.
    pub total: Option<u64>,
}

/// Told how far a long call has come.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// An engine's upkeep.
#[async_trait]
pub trait Maintenance: fmt::Debug + Send + Sync {
    /// Reads a session's whole log and says what is wrong with it; changes nothing.
    async fn verify(&self, key: &SessionKey) -> Result<Report>;

    /// Makes a damaged session writable again: keeps a copy of the original, then keeps every
    /// record that can be read. Also lifts the ban on writing after a failed sync.
    async fn repair(&self, key: &SessionKey) -> Result<Report>;

    /// Builds the catalogue's index anew from the logs. Engines without one do nothing.
    async fn rebuild_index(&self, on_progress: OnProgress<'_>) -> Result<()>;

    /// Removes what is left of deleted bytes in the engine's own files, as far as it can.
    async fn scrub(&self) -> Result<()>;
}
