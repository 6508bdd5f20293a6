//! A session as one document, as those keep it who write it whole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::data::{Question, Session};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    User,
    Assistant,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) role: Role,
    pub(crate) at: Timestamp,
    pub(crate) content: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) updated: Timestamp,
    pub(crate) messages: Vec<Message>,
}

impl Message {
    pub(crate) fn now(role: Role, content: &str) -> Self {
        use chatkeep::Clock as _;
        Self { role, at: chatkeep::SystemClock.now(), content: content.to_owned() }
    }
}

impl Thread {
    pub(crate) fn push(&mut self, role: Role, content: &str) {
        let message = Message::now(role, content);
        self.updated = message.at;
        self.messages.push(message);
    }

    /// The bytes of the newest turns' text; a turn is two messages.
    pub(crate) fn newest(&self, turns: usize) -> usize {
        let newest = self.messages.iter().rev().take(turns.saturating_mul(2));
        newest.map(|message| message.content.len()).sum()
    }

    /// When each message with what is asked for was written.
    pub(crate) fn hits<'a>(
        &'a self,
        question: &'a Question,
    ) -> impl Iterator<Item = Timestamp> + 'a {
        let hits = self.messages.iter().filter(|message| question.fits(&message.content));
        hits.map(|message| message.at)
    }
}

impl From<Session> for Thread {
    fn from(session: Session) -> Self {
        let updated = session.turns.last().map(|turn| turn.at).unwrap_or_default();
        Self {
            id: session.id.clone(),
            title: session.title.clone(),
            updated,
            messages: messages(session),
        }
    }
}

/// A session's messages one after the other.
pub(crate) fn messages(session: Session) -> Vec<Message> {
    let both = session.turns.into_iter().flat_map(|turn| {
        let message = |role, content| Message { role, at: turn.at, content };
        [message(Role::User, turn.request), message(Role::Assistant, turn.response)]
    });
    both.collect()
}

/// How many of the newest hits are shown.
pub(crate) fn page(mut hits: Vec<Timestamp>, limit: usize) -> usize {
    hits.sort_unstable_by(|a, b| b.cmp(a));
    hits.truncate(limit);
    hits.len()
}
