//! A session with its turns: a cheap immutable snapshot.

use std::sync::Arc;

use imbl::{OrdMap, Vector};

use super::request::ChatRequest;
use super::response::ChatResponse;
use super::session::SessionMeta;
use super::state::ResponseState;
use crate::error::{Error, Result};
use crate::id::{SessionId, TurnId};
use crate::json::Extra;

/// A request and its response.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub(crate) id: TurnId,
    pub(crate) parent: Option<TurnId>,
    pub(crate) request: Arc<ChatRequest>,
    pub(crate) response: Arc<ChatResponse>,
    pub(crate) extra: Extra,
}

impl Turn {
    /// A turn that follows another one, or none.
    #[must_use]
    pub fn new(
        id: TurnId,
        parent: Option<TurnId>,
        request: impl Into<Arc<ChatRequest>>,
        response: ChatResponse,
    ) -> Self {
        Self { id, parent, request: request.into(), response: response.into(), extra: Extra::new() }
    }

    /// The turn's number.
    #[must_use]
    pub fn id(&self) -> TurnId {
        self.id
    }

    /// The turn that it follows; none for the first of a conversation.
    #[must_use]
    pub fn parent(&self) -> Option<TurnId> {
        self.parent
    }

    /// What was asked.
    #[must_use]
    pub fn request(&self) -> &ChatRequest {
        &self.request
    }

    /// What was answered. A response of which nothing has come is there too, without parts.
    #[must_use]
    pub fn response(&self) -> &ChatResponse {
        &self.response
    }
}

/// A chat session as it stood at one moment: its properties and the turns that are loaded.
///
/// Cloning is cheap: snapshots share what they have in common. Loaded are always the newest turns
/// by number, all of them from some number on.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatModel {
    pub(crate) meta: Arc<SessionMeta>,
    /// The turns from number `first` on, in the order of their numbers.
    pub(crate) turns: Vector<Arc<Turn>>,
    /// The number of the first loaded turn; one more than there are turns if none is.
    pub(crate) first: u64,
    /// The last turn of the branch that is shown.
    pub(crate) active: Option<TurnId>,
    /// The children of those loaded turns that have not exactly the next one; 0 for "no parent".
    pub(crate) branches: OrdMap<u64, Vector<u64>>,
    /// Fields beside the session's of a newer version, kept.
    pub(crate) extra: Extra,
}

impl ChatModel {
    /// A session without turns.
    #[must_use]
    pub fn new(meta: SessionMeta) -> Self {
        Self {
            meta: Arc::new(meta),
            turns: Vector::new(),
            first: 1,
            active: None,
            branches: OrdMap::new(),
            extra: Extra::new(),
        }
    }

    /// A session of which turns up to `count` exist and none is loaded.
    pub(crate) fn unloaded(meta: SessionMeta, count: u64, active: Option<TurnId>) -> Self {
        Self { first: count + 1, active, ..Self::new(meta) }
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.meta.id
    }

    /// The session's own properties.
    #[must_use]
    pub fn session(&self) -> &SessionMeta {
        &self.meta
    }

    /// The title's text; empty where none is set.
    #[must_use]
    pub fn title(&self) -> &str {
        self.meta.title_text()
    }

    /// The last turn of the branch that is shown; none in an empty session.
    #[must_use]
    pub fn active(&self) -> Option<TurnId> {
        self.active
    }

    /// The loaded turns of the branch that is shown, in the order of the conversation.
    pub fn turns(&self) -> impl DoubleEndedIterator<Item = &Turn> + ExactSizeIterator {
        let mut path: Vec<&Turn> = self.ancestors(self.active).collect();
        path.reverse();
        path.into_iter()
    }

    /// A turn and those it follows, the newest first, as far as they are loaded.
    pub(crate) fn ancestors(&self, from: Option<TurnId>) -> impl Iterator<Item = &Turn> {
        std::iter::successors(from.and_then(|id| self.turn(id)), |turn| {
            turn.parent.and_then(|id| self.turn(id))
        })
    }

    /// All loaded turns of all branches, in the order in which they were made.
    pub fn all_turns(&self) -> impl DoubleEndedIterator<Item = &Turn> + ExactSizeIterator {
        self.turns.iter().map(|turn| &**turn)
    }

    /// A turn, if it is there and loaded.
    #[must_use]
    pub fn turn(&self, id: TurnId) -> Option<&Turn> {
        self.turns.get(self.index(id)?).map(|turn| &**turn)
    }

    pub(crate) fn turn_mut(&mut self, id: TurnId) -> Option<&mut Turn> {
        let index = self.index(id)?;
        self.turns.get_mut(index).map(Arc::make_mut)
    }

    fn index(&self, id: TurnId) -> Option<usize> {
        usize::try_from(id.get().checked_sub(self.first)?).ok()
    }

    /// How many turns the session has, on all branches, loaded or not.
    #[must_use]
    pub fn turn_count(&self) -> u64 {
        self.first - 1 + self.turns.len() as u64
    }

    /// Whether there are turns that are not loaded.
    #[must_use]
    pub fn has_earlier(&self) -> bool {
        self.first > 1
    }

    /// The loaded turns that follow the same one as this turn, itself among them, in the order in
    /// which they were made: the versions of an edited or regenerated turn.
    #[must_use]
    pub fn siblings(&self, id: TurnId) -> Vec<TurnId> {
        match self.turn(id) {
            Some(turn) => self.children(turn.parent),
            None => Vec::new(),
        }
    }

    /// The loaded turns that follow a turn; those that follow none for `None`.
    #[must_use]
    pub fn children(&self, parent: Option<TurnId>) -> Vec<TurnId> {
        let parent = parent.map_or(0, TurnId::get);
        if let Some(children) = self.branches.get(&parent) {
            return children.iter().map(|number| TurnId::new(*number)).collect();
        }
        let next = TurnId::new(parent.saturating_add(1));
        match self.turn(next) {
            Some(turn) if turn.parent.map_or(0, TurnId::get) == parent => vec![next],
            _ => Vec::new(),
        }
    }

    /// The newest turn that can be reached from a turn by always following the newest child.
    #[must_use]
    pub fn leaf_of(&self, id: TurnId) -> TurnId {
        let mut leaf = id;
        while let Some(child) = self.children(Some(leaf)).last() {
            leaf = *child;
        }
        leaf
    }

    /// The loaded turn whose response has not ended, if there is one.
    #[must_use]
    pub fn running(&self) -> Option<&Turn> {
        self.turns.iter().rev().map(|turn| &**turn).find(|turn| !turn.response.state.is_final())
    }

    /// The state of the newest response.
    #[must_use]
    pub fn last_state(&self) -> Option<ResponseState> {
        self.turns.last().map(|turn| turn.response.state)
    }

    /// Adds the next turn and makes it the last one of the branch that is shown.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if its number is not the next one, or it follows a
    /// turn that is not before it.
    pub fn add_turn(&mut self, turn: Turn) -> Result<()> {
        let next = self.turn_count() + 1;
        if turn.id.get() != next {
            return Err(Error::invalid(format!("turn {} is not turn {next}", turn.id)));
        }
        if turn.parent.is_some_and(|parent| parent >= turn.id || parent == TurnId::SESSION) {
            return Err(Error::invalid(format!("turn {} follows one not before it", turn.id)));
        }
        self.active = Some(turn.id);
        self.push(turn);
        Ok(())
    }

    /// Shows the branch that ends in a turn; no turns for `None`.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the turn is not there or not loaded.
    pub fn set_active(&mut self, active: Option<TurnId>) -> Result<()> {
        if let Some(id) = active.filter(|id| self.turn(*id).is_none()) {
            return Err(Error::not_found("there is no such turn").with("turn", id));
        }
        self.active = active;
        Ok(())
    }

    /// Adds the next turn. Its number must be the next one.
    pub(crate) fn push(&mut self, turn: Turn) {
        debug_assert_eq!(turn.id.get(), self.turn_count() + 1);
        self.turns.push_back(Arc::new(turn));
        self.note_branch(self.turns.len() - 1);
    }

    /// Adds turns before those that are loaded.
    pub(crate) fn prepend(&mut self, earlier: Vec<Turn>) {
        let (count, before) = (earlier.len(), self.first);
        self.first -= count as u64;
        let mut turns: Vector<Arc<Turn>> = earlier.into_iter().map(Arc::new).collect();
        turns.append(std::mem::take(&mut self.turns));
        self.turns = turns;
        // Children come in the order of their numbers. Only parents whose next turn was not loaded
        // can have got children before those that are noted.
        let (known, _) = self.branches.split(&before.saturating_sub(1));
        for parent in known.keys() {
            self.branches.remove(parent);
        }
        for index in 0..count {
            self.note_branch(index);
        }
        for child in known.values().flatten() {
            if let Some(index) = self.index(TurnId::new(*child)) {
                self.note_branch(index);
            }
        }
    }

    /// Notes the turn at an index among its parent's children unless it is simply the next one.
    fn note_branch(&mut self, index: usize) {
        let Some(turn) = self.turns.get(index) else { return };
        let (number, parent) = (turn.id.get(), turn.parent.map_or(0, TurnId::get));
        if parent + 1 == number {
            return;
        }
        let next = self.turn(TurnId::new(parent + 1));
        let next = next.filter(|next| next.parent.map_or(0, TurnId::get) == parent);
        let first_child = next.map(|next| next.id.get());
        let children = self
            .branches
            .entry(parent)
            .or_insert_with(|| first_child.into_iter().collect::<Vector<u64>>());
        children.push_back(number);
    }
}
