//! A conversation as messages for a model.

use std::fmt;
use std::sync::Arc;

use super::session::ChatSession;
use crate::error::{Error, Result};
use crate::id::TurnId;
use crate::model::{Author, Turn};
use crate::part::{Compaction, Part, Progress, Separator, Status, Thinking};

/// How much of a conversation a model may be sent.
///
/// # Examples
///
/// ```
/// use chatkeep::Budget;
///
/// let budget = Budget::tokens(100_000).counted_by(|text| text.split_whitespace().count() as u64);
/// # let _ = budget;
/// ```
#[derive(Clone)]
pub struct Budget {
    tokens: u64,
    count: Arc<dyn Fn(&str) -> u64 + Send + Sync>,
}

impl Budget {
    /// So many tokens, a token counted as four characters.
    #[must_use]
    pub fn tokens(tokens: u64) -> Self {
        Self { tokens, count: Arc::new(|text| (text.chars().count() as u64).div_ceil(4)) }
    }

    /// All of it.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::tokens(u64::MAX)
    }

    /// Counts tokens as the model does.
    #[must_use]
    pub fn counted_by(mut self, count: impl Fn(&str) -> u64 + Send + Sync + 'static) -> Self {
        self.count = Arc::new(count);
        self
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The host, or a summary of what went before.
    System,
    /// A person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The role's name as vendors spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A message for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextMessage {
    /// Who says it.
    pub role: Role,
    /// What is said, as plain text or Markdown.
    pub content: String,
    /// The turn that it comes from.
    pub turn: TurnId,
}

/// A conversation's newest messages that fit a budget, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    messages: Vec<ContextMessage>,
    tokens: u64,
    complete: bool,
}

impl Context {
    /// The messages, the oldest first.
    #[must_use]
    pub fn messages(&self) -> &[ContextMessage] {
        &self.messages
    }

    /// How many tokens they are.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Whether nothing was left out: they reach back to the conversation's beginning, or to a
    /// summary that stands for it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }
}

impl IntoIterator for Context {
    type Item = ContextMessage;
    type IntoIter = std::vec::IntoIter<ContextMessage>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter()
    }
}

impl<'a> IntoIterator for &'a Context {
    type Item = &'a ContextMessage;
    type IntoIter = std::slice::Iter<'a, ContextMessage>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.iter()
    }
}

impl ChatSession {
    /// The branch that is shown as messages for a model: the newest turns that fit the budget,
    /// whole, read from the disk as far as they are needed. A [`Compaction`] stands for everything
    /// before it. Thoughts, progress and notices are left out.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if not even the newest turn fits.
    pub async fn context(&self, budget: Budget) -> Result<Context> {
        self.shared.check_present()?;
        let mut context = Context { messages: Vec::new(), tokens: 0, complete: true };
        let mut next = self.model().active();
        let mut turns: Vec<Vec<ContextMessage>> = Vec::new();
        while let Some(id) = next {
            self.load(id).await?;
            self.load_parts(id).await?;
            let model = self.model();
            let turn = model.turn(id).ok_or_else(|| super::session::no_such_turn(id))?;
            let (messages, is_summary) = messages_of(turn);
            let tokens: u64 = messages.iter().map(|m| (budget.count)(&m.content)).sum();
            if context.tokens.saturating_add(tokens) > budget.tokens {
                if turns.is_empty() {
                    return Err(Error::limit_exceeded(format!(
                        "the newest turn is {tokens} tokens long, the budget is {}",
                        budget.tokens
                    ))
                    .with("session", self.id())
                    .with("turn", id));
                }
                context.complete = false;
                break;
            }
            context.tokens += tokens;
            turns.push(messages);
            if is_summary {
                break;
            }
            next = turn.parent();
        }
        context.messages = turns.into_iter().rev().flatten().collect();
        Ok(context)
    }

    async fn load_parts(&self, turn: TurnId) -> Result<()> {
        let model = self.model();
        let Some(turn) = model.turn(turn) else { return Ok(()) };
        for (index, part) in turn.response().parts().iter().enumerate() {
            if part.blob().is_some() {
                self.load_part(turn.id(), index).await?;
            }
        }
        Ok(())
    }
}

/// A turn's messages, and whether they begin with a summary of what went before.
fn messages_of(turn: &Turn) -> (Vec<ContextMessage>, bool) {
    let message = |role, content: String| ContextMessage { role, content, turn: turn.id() };
    let request = turn.request();
    let role = if request.author == Author::System { Role::System } else { Role::User };
    let asked = message(role, request.text().into_owned());
    let left_out = [Thinking::KIND, Progress::KIND, Status::KIND, Separator::KIND];
    let parts = turn.response().parts();
    let summary = parts.iter().rposition(|part| part.kind() == Compaction::KIND);
    let after = summary.map_or(0, |summary| summary + 1);
    let said: Vec<_> = parts[after..]
        .iter()
        .filter(|part| !left_out.contains(&part.kind()))
        .map(|part| part.fallback())
        .filter(|text| !text.is_empty())
        .collect();
    let mut messages = Vec::new();
    match summary.and_then(|summary| parts.get(summary)) {
        Some(summary) => messages.push(message(Role::System, summary.fallback().into_owned())),
        None if asked.content.is_empty() => {}
        None => messages.push(asked),
    }
    if !said.is_empty() {
        messages.push(message(Role::Assistant, said.join("\n")));
    }
    (messages, summary.is_some())
}
