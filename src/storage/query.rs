//! Questions to the catalogue: which sessions, in what order.

use jiff::Timestamp;

use crate::id::{OwnerId, SessionId, WorkspaceId};
use crate::model::{ResponseState, SessionStatus};

/// Which of an owner's sessions to list, and in what order.
///
/// Without a condition it lists all of them, the last active first. Each method narrows it; several
/// values given to one method are alternatives, except for tags, which must all be there. Workspaces,
/// statuses, tags and states are 500 together at most.
///
/// # Examples
///
/// ```
/// use chatkeep::{ListQuery, SessionStatus};
///
/// let query = ListQuery::new().status(SessionStatus::Active).tag("parser").limit(20);
/// assert_eq!(query.limit, 20);
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ListQuery {
    /// Any of these workspaces; `None` in the list is "global"; an empty list is no condition.
    pub workspaces: Vec<Option<WorkspaceId>>,
    /// Any of these; empty is no condition.
    pub statuses: Vec<SessionStatus>,
    /// Pinned or not.
    pub pinned: Option<bool>,
    /// All of these tags.
    pub tags: Vec<String>,
    /// Bound to this agent.
    pub agent: Option<String>,
    /// Delegated or forked from this session.
    pub parent: Option<SessionId>,
    /// Created at or after.
    pub created_from: Option<Timestamp>,
    /// Created before.
    pub created_before: Option<Timestamp>,
    /// Last active at or after.
    pub active_from: Option<Timestamp>,
    /// Last active before.
    pub active_before: Option<Timestamp>,
    /// The newest response is in any of these states; empty is no condition.
    pub states: Vec<ResponseState>,
    /// The title contains this text, without regard to case.
    pub title: Option<String>,
    /// The order.
    pub order: ListOrder,
    /// At most so many to a page; 1 to 1,000.
    pub limit: usize,
}

impl Default for ListQuery {
    fn default() -> Self {
        Self {
            workspaces: Vec::new(),
            statuses: Vec::new(),
            pinned: None,
            tags: Vec::new(),
            agent: None,
            parent: None,
            created_from: None,
            created_before: None,
            active_from: None,
            active_before: None,
            states: Vec::new(),
            title: None,
            order: ListOrder::LastActive,
            limit: 50,
        }
    }
}

/// What a list is sorted by. Ties are broken by the session's id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ListOrder {
    /// The last active first.
    #[default]
    LastActive,
    /// The last created first.
    Created,
    /// By title, in the order of its lower-case characters.
    Title,
}

impl ListQuery {
    /// All sessions, the last active first, 50 to a page.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Of this workspace; called again: or of that one.
    #[must_use]
    pub fn workspace(mut self, workspace: impl Into<WorkspaceId>) -> Self {
        self.workspaces.push(Some(workspace.into()));
        self
    }

    /// Of no workspace; together with [`workspace`](Self::workspace): or of none.
    #[must_use]
    pub fn global(mut self) -> Self {
        self.workspaces.push(None);
        self
    }

    /// In this status; called again: or in that one.
    #[must_use]
    pub fn status(mut self, status: SessionStatus) -> Self {
        self.statuses.push(status);
        self
    }

    /// Pinned, or not pinned.
    #[must_use]
    pub fn pinned(mut self, pinned: bool) -> Self {
        self.pinned = Some(pinned);
        self
    }

    /// With this tag; called again: and that one.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Bound to this agent.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Delegated or forked from this session.
    #[must_use]
    pub fn parent(mut self, parent: impl Into<SessionId>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Created at or after `from` and before `before`.
    #[must_use]
    pub fn created(mut self, from: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        (self.created_from, self.created_before) = (from, before);
        self
    }

    /// Last active at or after `from` and before `before`.
    #[must_use]
    pub fn active(mut self, from: Option<Timestamp>, before: Option<Timestamp>) -> Self {
        (self.active_from, self.active_before) = (from, before);
        self
    }

    /// The newest response is in this state; called again: or in that one.
    #[must_use]
    pub fn state(mut self, state: ResponseState) -> Self {
        self.states.push(state);
        self
    }

    /// The title contains this text, without regard to case.
    #[must_use]
    pub fn title(mut self, text: impl Into<String>) -> Self {
        self.title = Some(text.into());
        self
    }

    /// In this order.
    #[must_use]
    pub fn order(mut self, order: ListOrder) -> Self {
        self.order = order;
        self
    }

    /// At most so many to a page; 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// A place in a list, opaque, valid for the question that gave it. It neither skips nor repeats
/// what keeps its place while others are inserted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor(pub String);

/// A page of a list.
///
/// # Examples
///
/// ```
/// use chatkeep::{Cursor, Page};
///
/// let page = Page { items: vec!["a", "b"], next: Some(Cursor("c".into())) };
/// let mut names = Vec::new();
/// for name in &page {
///     names.push(*name);
/// }
/// assert_eq!(names, ["a", "b"]);
/// assert_eq!(page.into_iter().collect::<String>(), "ab");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next page begins; none after the last one.
    pub next: Option<Cursor>,
}

impl<T> IntoIterator for Page<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Page<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.items.iter()
    }
}

/// Which changes to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchFilter {
    /// Of one session.
    Session(super::SessionKey),
    /// Of all sessions of one owner.
    Owner(OwnerId),
}

/// A hint that a session changed, was created or was deleted. Whoever gets it reads from the
/// revision it has; hints may be merged and may come without need, they do not fail to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// Which session.
    pub key: super::SessionKey,
}
