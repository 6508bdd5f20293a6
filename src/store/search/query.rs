//! What to find: words and filters, as a person types them or as a host puts them together.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use super::{mistake, parse};
use crate::error::{Error, Result};
use crate::model::{ResponseState, SessionStatus};
use crate::storage::text::tokens;
use crate::storage::{ListQuery, PassageRole, Term, TextOrder, TextQuery};

/// What to find in an owner's chats.
///
/// [`parse`](Self::parse) reads it as a person types it, [`text`](Self::text) takes words in which
/// nothing is syntax, and the other calls narrow either one.
///
/// # The language
///
/// What stands between spaces are words and filters; all of them must fit the same turn.
///
/// | typed | finds |
/// | --- | --- |
/// | `parser` | the word, whatever its case and its accents |
/// | `parse_config` `std::vec` | the words in it, one after the other |
/// | `"the parser loops"` | the phrase; in quotes `\"` is a quote and `\\` a backslash |
/// | `pars*` `"parser lo"*` | words that begin so; the star follows a letter, a digit or a quote |
/// | `-lexer` `-"the lexer"` | turns without it; more than one minus is text (`--release`) |
/// | `role:assistant` | passages of the `user`, the `assistant`, a `tool`, or the `title` |
/// | `in:title` | the same as `role:title` |
/// | `kind:code` | passages of parts of that kind |
/// | `after:2026-07` | turns made at or after the beginning of that year, month, day, or moment |
/// | `before:2026-07-15` | turns made before it |
/// | `workspace:x` | sessions of this workspace, or of another one that is named as well |
/// | `is:global` | sessions of no workspace; beside `workspace:` these as well |
/// | `status:archived` | sessions that are `active`, `archived` or `trashed`; several are alternatives |
/// | `state:failed` | sessions whose newest response is `pending`, `streaming`, `needs_input`, `complete`, `cancelled`, `failed` or `interrupted`; several are alternatives |
/// | `is:pinned` `is:unpinned` | sessions that are pinned, or not |
/// | `tag:bug` | sessions with this tag; of several, with all of them |
/// | `agent:coder` | sessions that are bound to this agent |
///
/// A month is `2026-07`, a moment `2026-07-15T12:00:00+02:00` (RFC 3339); what has no offset is in
/// UTC. A title's time is that of its session's creation. Values with spaces are quoted:
/// `tag:"needs review"`. Names of filters have no case, nor do the values listed here; tags,
/// kinds, agents and workspaces are compared as they are.
///
/// **What is a filter?** Letters, `_` or `-`, a colon, and directly after it a letter, a digit or a
/// quote; after the name of a filter, anything but a second colon. So `std::vec`, `http://x`,
/// `12:30` and `Error:` are text, and `rol:user` is an error and never a word that finds nothing.
/// What is quoted is always text: `"localhost:8080"`.
///
/// # Examples
///
/// ```
/// use chatkeep::Query;
///
/// let query = Query::parse("sentinel \"never reached\" role:assistant before:2026-07")?;
/// assert_eq!(
///     query.to_string(),
///     "sentinel \"never reached\" role:assistant before:2026-07-01"
/// );
///
/// let error = Query::parse("sentinel rol:assistant").unwrap_err();
/// assert_eq!(error.context("byte"), Some("9"));
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    pub(super) all: Vec<Words>,
    pub(super) none: Vec<Words>,
    pub(super) role: Option<PassageRole>,
    pub(super) kind: Option<String>,
    pub(super) from: Option<Timestamp>,
    pub(super) before: Option<Timestamp>,
    /// What the query's text says of the sessions.
    pub(super) filters: ListQuery,
    sessions: ListQuery,
    order: TextOrder,
    limit: usize,
}

/// Words as they were typed, and what they are compared by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Words {
    text: String,
    pub(super) term: Term,
}

impl Words {
    pub(super) fn new(text: &str, prefix: bool) -> Result<Self> {
        let term = if prefix { Term::prefix(text)? } else { Term::new(text)? };
        Ok(Self { text: text.to_owned(), term })
    }
}

impl Query {
    /// Reads a query in [the language](Self#the-language).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is not one, or if there is no word that must
    /// be there. The message shows the query and marks the place; the context has it as `byte` and
    /// as `character`, both counted from 0.
    pub fn parse(text: impl AsRef<str>) -> Result<Self> {
        parse::parse(text.as_ref())
    }

    /// Everything in a text that is a word: each must be there. Nothing in it is syntax.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no letter and no digit in it.
    ///
    /// # Examples
    ///
    /// ```
    /// use chatkeep::Query;
    ///
    /// assert_eq!(Query::text("role:user -> \"x")?, Query::parse("\"role:user\" \"\\\"x\"")?);
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    pub fn text(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let has_token = |word: &&str| tokens(word).next().is_some();
        let words = text.split_whitespace().filter(has_token).map(|word| Words::new(word, false));
        let all: Vec<Words> = words.collect::<Result<_>>()?;
        if all.is_empty() {
            let shown = mistake::beginning(text);
            return Err(Error::invalid(format!("there is no letter and no digit in {shown:?}")));
        }
        Ok(Self { all, ..Self::default() })
    }

    /// Only turns with this word or phrase as well.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no letter and no digit in it.
    pub fn phrase(mut self, text: impl AsRef<str>) -> Result<Self> {
        self.all.push(Words::new(text.as_ref(), false)?);
        Ok(self)
    }

    /// Only turns with a word that begins so as well, or a phrase whose last word does.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no letter and no digit in it.
    pub fn prefix(mut self, text: impl AsRef<str>) -> Result<Self> {
        self.all.push(Words::new(text.as_ref(), true)?);
        Ok(self)
    }

    /// Only turns without this word or phrase.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there is no letter and no digit in it.
    pub fn without(mut self, text: impl AsRef<str>) -> Result<Self> {
        self.none.push(Words::new(text.as_ref(), false)?);
        Ok(self)
    }

    /// Only passages of this role, for what must and for what must not be there.
    #[must_use]
    pub fn role(mut self, role: PassageRole) -> Self {
        self.role = Some(role);
        self
    }

    /// Only passages of parts of this kind, for what must and for what must not be there.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = Some(kind.into());
        self
    }

    /// Only turns made at or after a moment.
    #[must_use]
    pub fn after(mut self, moment: Timestamp) -> Self {
        self.from = Some(moment);
        self
    }

    /// Only turns made before a moment.
    #[must_use]
    pub fn before(mut self, moment: Timestamp) -> Self {
        self.before = Some(moment);
        self
    }

    /// Only turns of sessions that fit, beside what the query's text says of them: both must fit.
    /// The list's order and limit mean nothing here.
    #[must_use]
    pub fn sessions(mut self, sessions: ListQuery) -> Self {
        self.sessions = sessions;
        self
    }

    /// In this order; the newest first by default.
    #[must_use]
    pub fn order(mut self, order: TextOrder) -> Self {
        self.order = order;
        self
    }

    /// At most so many to a page, up to 1,000; 50 by default.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl FromStr for Query {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl From<Query> for TextQuery {
    fn from(query: Query) -> Self {
        let terms = |words: Vec<Words>| words.into_iter().map(|words| words.term).collect();
        Self {
            all: terms(query.all),
            none: terms(query.none),
            role: query.role,
            kind: query.kind,
            from: query.from,
            before: query.before,
            sessions: both(query.filters, query.sessions),
            order: query.order,
            limit: query.limit,
        }
    }
}

/// The sessions that fit what the text says and what the host says.
fn both(said: ListQuery, given: ListQuery) -> ListQuery {
    let workspaces = either_and(&said.workspaces, &given.workspaces);
    let statuses = either_and(&said.statuses, &given.statuses);
    let states = either_and(&said.states, &given.states);
    let pinned = same(said.pinned, given.pinned);
    let agent = same(said.agent, given.agent);
    let contradict = workspaces.is_none()
        || statuses.is_none()
        || states.is_none()
        || pinned.is_none()
        || agent.is_none();
    let mut tags = said.tags;
    tags.extend(given.tags);
    ListQuery {
        workspaces: workspaces.unwrap_or_default(),
        statuses: statuses.unwrap_or_default(),
        states: states.unwrap_or_default(),
        pinned: pinned.flatten(),
        agent: agent.flatten(),
        tags,
        // No session was created before time began: what contradicts itself finds none.
        created_before: if contradict { Some(Timestamp::MIN) } else { given.created_before },
        ..given
    }
}

/// The alternatives that both lists allow, an empty list being no condition; none if there is none.
fn either_and<T: PartialEq + Clone>(said: &[T], given: &[T]) -> Option<Vec<T>> {
    match (said, given) {
        (only, []) | ([], only) => Some(only.to_vec()),
        _ => {
            let shared: Vec<T> = said.iter().filter(|one| given.contains(one)).cloned().collect();
            (!shared.is_empty()).then_some(shared)
        }
    }
}

/// What both allow; none if they differ.
fn same<T: PartialEq>(said: Option<T>, given: Option<T>) -> Option<Option<T>> {
    match (said, given) {
        (Some(said), Some(given)) if said != given => None,
        (said, given) => Some(said.or(given)),
    }
}

pub(super) const ROLES: [(&str, PassageRole); 4] = [
    ("user", PassageRole::User),
    ("assistant", PassageRole::Assistant),
    ("tool", PassageRole::Tool),
    ("title", PassageRole::Title),
];

pub(super) const STATUSES: [(&str, SessionStatus); 3] = [
    ("active", SessionStatus::Active),
    ("archived", SessionStatus::Archived),
    ("trashed", SessionStatus::Trashed),
];

pub(super) const STATES: [(&str, ResponseState); 7] = [
    ("pending", ResponseState::Pending),
    ("streaming", ResponseState::Streaming),
    ("needs_input", ResponseState::NeedsInput),
    ("complete", ResponseState::Complete),
    ("cancelled", ResponseState::Cancelled),
    ("failed", ResponseState::Failed),
    ("interrupted", ResponseState::Interrupted),
];

/// The query in [the language](Query#the-language), in one form for all ways to say the same:
/// parsed again it gives the same query. What [`sessions`](Query::sessions),
/// [`order`](Query::order) and [`limit`](Query::limit) added has no text.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces: Vec<String> = self.all.iter().map(shown).collect();
        pieces.extend(self.none.iter().map(|words| format!("-{}", shown(words))));
        let mut filter = |key: &str, value: &str| pieces.push(format!("{key}:{}", quoted(value)));
        if let Some(name) = self.role.and_then(|role| named(&ROLES, role)) {
            filter("role", name);
        }
        self.kind.iter().for_each(|kind| filter("kind", kind));
        self.from.iter().for_each(|from| filter("after", &moment(*from)));
        self.before.iter().for_each(|before| filter("before", &moment(*before)));
        let sessions = &self.filters;
        for workspace in &sessions.workspaces {
            match workspace {
                Some(workspace) => filter("workspace", workspace.as_str()),
                None => filter("is", "global"),
            }
        }
        let statuses = sessions.statuses.iter().filter_map(|status| named(&STATUSES, *status));
        statuses.for_each(|name| filter("status", name));
        let states = sessions.states.iter().filter_map(|state| named(&STATES, *state));
        states.for_each(|name| filter("state", name));
        if let Some(pinned) = sessions.pinned {
            filter("is", if pinned { "pinned" } else { "unpinned" });
        }
        sessions.tags.iter().for_each(|tag| filter("tag", tag));
        sessions.agent.iter().for_each(|agent| filter("agent", agent));
        f.write_str(&pieces.join(" "))
    }
}

fn named<T: PartialEq>(names: &[(&'static str, T)], value: T) -> Option<&'static str> {
    names.iter().find(|(_, named)| *named == value).map(|(name, _)| *name)
}

fn shown(words: &Words) -> String {
    let text = match words.text.chars().all(char::is_alphanumeric) {
        true => words.text.clone(),
        false => in_quotes(&words.text),
    };
    if words.term.is_prefix() { text + "*" } else { text }
}

fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '+');
    match value.chars().all(is_plain) && !value.is_empty() && !value.starts_with(':') {
        true => value.to_owned(),
        false => in_quotes(value),
    }
}

fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A day where the moment is the beginning of one.
fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    match text.strip_suffix("T00:00:00Z") {
        Some(day) if day.len() == "2026-07-15".len() => day.to_owned(),
        _ => text,
    }
}
