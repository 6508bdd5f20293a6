//! Full-text search: what is asked, what is found, and how text is cut into tokens.
//!
//! Nothing is left to an engine's own idea of a word: text and questions are both cut by
//! [`tokens`], and an engine compares tokens.

use std::fmt;
use std::sync::Weak;

use async_trait::async_trait;
use jiff::Timestamp;

use super::batch::{Passage, PassageRole, TurnFacts, TurnText};
use super::extras::{OnProgress, Progress};
use super::head::{Head, SessionKey};
use super::query::{Cursor, ListQuery, Page};
use crate::error::{Error, Result};
use crate::id::{OwnerId, TurnId};

mod ascii;
pub(crate) mod scan;
mod tokens;

pub use self::tokens::{Token, tokens};
pub(crate) use self::tokens::{continues, stands_alone};

/// The most tokens that a question may have.
pub(crate) const MAX_TOKENS: usize = 64;
/// How many to a page unless it is said.
pub(crate) const DEFAULT_LIMIT: usize = 50;

/// How many of the newest turns that fit are ranked when the most relevant are asked for.
pub const RANKED: usize = 20_000;

/// What to find in an owner's turns.
///
/// With a role or a kind only such passages are looked at, for what must and for what must not be
/// there; a turn without any is not found.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TextQuery {
    /// Every one of these must be in the turn. At least one.
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
    /// Only turns of sessions that fit; its order and limit mean nothing here.
    pub sessions: ListQuery,
    /// In what order.
    pub order: TextOrder,
    /// At most so many to a page, up to 1,000; 0 is the default of 50.
    pub limit: usize,
}

/// In what order turns are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextOrder {
    /// The newest first.
    #[default]
    Newest,
    /// The best match first, of the newest [`RANKED`] turns that fit.
    Relevance,
}

/// Tokens that stand one after the other in a passage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    tokens: Vec<String>,
    prefix: bool,
}

impl Term {
    /// A word or several; what is more than one token is a phrase of them.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no letter and no digit in it.
    pub fn new(text: &str) -> Result<Self> {
        let tokens: Vec<String> = tokens(text).map(|token| token.term.into_owned()).collect();
        if tokens.is_empty() {
            return Err(Error::invalid(format!("there is no letter and no digit in {text:?}")));
        }
        Ok(Self { tokens, prefix: false })
    }

    /// The same, the last token being the beginning of one.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn prefix(text: &str) -> Result<Self> {
        Ok(Self { prefix: true, ..Self::new(text)? })
    }

    /// Its tokens; at least one.
    #[must_use]
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Whether the last token is the beginning of one.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.prefix
    }
}

impl TextQuery {
    /// What to find, in any passage of any session, the newest first.
    #[must_use]
    pub fn new(all: Vec<Term>) -> Self {
        Self { all, ..Self::default() }
    }

    /// Checks what is asked for; says how many are to be on a page.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is nothing to find, or more than 64 tokens,
    /// or a limit over 1,000, or more than 500 conditions of sessions.
    pub fn check(&self) -> Result<usize> {
        if self.all.is_empty() {
            return Err(Error::invalid("a search has at least one word that must be there"));
        }
        let tokens: usize = self.all.iter().chain(&self.none).map(|term| term.tokens.len()).sum();
        if tokens > MAX_TOKENS {
            return Err(Error::invalid(format!(
                "a search has {tokens} words, it may have {MAX_TOKENS}"
            )));
        }
        super::listing::check_conditions(&self.sessions)?;
        match self.limit {
            0 => Ok(DEFAULT_LIMIT),
            limit if limit <= super::listing::MAX_LIMIT => Ok(limit),
            limit => Err(Error::invalid(format!(
                "a search's limit is {limit}, it must be at most {}",
                super::listing::MAX_LIMIT
            ))),
        }
    }
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
    /// The turn's text as it was given.
    pub passages: Vec<Passage>,
}

/// What a search returns.
#[derive(Debug, Clone, PartialEq)]
pub struct TextHits {
    /// The hits, in the order that was asked for.
    pub page: Page<TextHit>,
    /// How far the index has come, if it is not complete: there may be more.
    pub partial: Option<Progress>,
}

/// What can be searched and counted in a session.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// Where the session stood.
    pub head: Head,
    /// The text of its title and of every turn.
    pub texts: Vec<TurnText>,
    /// The facts of every turn.
    pub facts: Vec<TurnFacts>,
}

/// Reads what can be searched and counted out of a session; given by the façade, which alone can
/// read records.
#[async_trait]
pub trait Extract: fmt::Debug + Send + Sync + 'static {
    /// Everything of one session.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such session, and those of reading
    /// it.
    async fn extract(&self, key: &SessionKey) -> Result<Extracted>;
}

/// Full-text search.
///
/// What an [append](super::Storage::append) brought is found as soon as it returned, by the
/// process that made it; by others within 200 ms. Text that a later append replaced, and that of
/// deleted sessions, is not found.
#[async_trait]
pub trait FullText: fmt::Debug + Send + Sync {
    /// Who can read sessions, for an index that finds itself out of date. Of several that were
    /// given the last one that still lives is asked.
    fn attach(&self, extract: Weak<dyn Extract>);

    /// Finds turns of one owner.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) for a query that [`TextQuery::check`] refuses or a
    /// cursor that is not of this query.
    async fn search(
        &self,
        owner: &OwnerId,
        query: &TextQuery,
        after: Option<Cursor>,
    ) -> Result<TextHits>;

    /// Builds the index anew from the logs.
    ///
    /// # Errors
    ///
    /// Those of reading the sessions. One that cannot be read is left out, and the rest is done.
    async fn rebuild(&self, extract: &dyn Extract, on_progress: OnProgress<'_>) -> Result<()>;
}
