//! What an engine may lack: statistics; and what it does for its own upkeep.

use std::fmt;

use async_trait::async_trait;
use jiff::Timestamp;

use super::batch::Damage;
use super::head::SessionKey;
use super::record::Revision;
use crate::error::Result;
use crate::id::OwnerId;

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
