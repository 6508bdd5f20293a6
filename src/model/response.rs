//! What was answered.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::data::DataMap;
use super::state::ResponseState;
use crate::id::ResponseId;
use crate::json::{Extra, Number, RawJson, json_object};
use crate::part::ResponsePart;

/// A response: what a model or agent answered to one request.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatResponse {
    /// The response's id, unique within its session.
    pub id: ResponseId,
    /// How far it has come.
    pub state: ResponseState,
    /// What it says, in order.
    pub parts: Vec<ResponsePart>,
    /// The model that answered.
    pub model: Option<String>,
    /// What it used.
    pub usage: Option<Usage>,
    /// When what happened.
    pub timings: Timings,
    /// Why it failed.
    pub error: Option<ResponseError>,
    /// What might be asked next.
    pub followups: Vec<Followup>,
    /// What a person thinks of it.
    pub feedback: Option<Feedback>,
    /// What it was made from.
    pub references: Vec<Reference>,
    /// Whose work it repeats.
    pub citations: Vec<Reference>,
    /// Adopters' data, by id.
    pub data: DataMap,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

impl ChatResponse {
    /// A response of which nothing has come yet.
    #[must_use]
    pub fn new(id: ResponseId) -> Self {
        Self {
            id,
            state: ResponseState::Pending,
            parts: Vec::new(),
            model: None,
            usage: None,
            timings: Timings::default(),
            error: None,
            followups: Vec::new(),
            feedback: None,
            references: Vec::new(),
            citations: Vec::new(),
            data: DataMap::new(),
            extra: Extra::new(),
        }
    }

    /// The response's id.
    #[must_use]
    pub fn id(&self) -> &ResponseId {
        &self.id
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> ResponseState {
        self.state
    }

    /// What it says, in order.
    #[must_use]
    pub fn parts(&self) -> &[ResponsePart] {
        &self.parts
    }

    /// The response as plain text: its parts' fallbacks, a line break between two.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            let shown = part.fallback();
            if !text.is_empty() && !shown.is_empty() {
                text.push('\n');
            }
            text.push_str(&shown);
        }
        text
    }

    /// Everything but the parts, which are taken over from another state of the same response.
    pub(crate) fn with_parts_of(mut self, other: &Self) -> Self {
        self.parts.clone_from(&other.parts);
        self.data.keep_transient_of(&other.data);
        self
    }
}

/// What a response used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub input: Option<u64>,
    /// Tokens written.
    pub output: Option<u64>,
    /// Of the tokens read, those that came from a cache.
    pub cached: Option<u64>,
    /// Of the tokens read, those that were put into a cache.
    pub cache_written: Option<u64>,
    /// Of the tokens written, those spent on reasoning.
    pub reasoning: Option<u64>,
    /// What it cost.
    pub cost: Option<Number>,
    /// The currency of the cost.
    pub currency: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Usage {
    optional input, optional output, optional cached, optional cache_written, optional reasoning,
    optional cost, optional currency,
});

impl Usage {
    /// Tokens read and written.
    #[must_use]
    pub fn tokens(input: u64, output: u64) -> Self {
        Self { input: Some(input), output: Some(output), ..Self::default() }
    }
}

/// When what happened to a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    /// The request was handed over.
    pub started: Option<Timestamp>,
    /// The first part came.
    pub first_part: Option<Timestamp>,
    /// It ended.
    pub completed: Option<Timestamp>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Timings { optional started, optional first_part, optional completed });

/// Why a response failed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResponseError {
    /// The message for people.
    pub message: String,
    /// The host's or the vendor's code.
    pub code: Option<String>,
    /// Anything else, in the host's own shape.
    pub details: Option<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(ResponseError { required message, optional code, optional_json details });

impl ResponseError {
    /// An error with a message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}

impl From<&str> for ResponseError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for ResponseError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// Something that might be asked next.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Followup {
    /// What is sent when it is chosen.
    pub message: String,
    /// What is shown, where it differs.
    pub title: Option<String>,
    /// The agent it is for.
    pub agent: Option<String>,
    /// The command it calls.
    pub command: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Followup { required message, optional title, optional agent, optional command });

/// What a person thinks of a response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Feedback {
    /// Up or down.
    pub vote: Option<Vote>,
    /// A score, in the host's scale.
    pub score: Option<Number>,
    /// Why.
    pub reason: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Feedback { optional vote, optional score, optional reason });

impl Feedback {
    /// A vote.
    #[must_use]
    pub fn vote(vote: Vote) -> Self {
        Self { vote: Some(vote), ..Self::default() }
    }

    /// Adds a score.
    #[must_use]
    pub fn score(mut self, score: impl Into<Number>) -> Self {
        self.score = Some(score.into());
        self
    }

    /// Adds a reason.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// Up or down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Vote {
    /// Good.
    Up,
    /// Bad.
    Down,
}

/// A thing that a response was made from, or whose words it repeats.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reference {
    /// Its name for people.
    pub title: Option<String>,
    /// Where it is.
    pub uri: Option<String>,
    /// Its licence, for a citation.
    pub license: Option<String>,
    /// The words in question.
    pub snippet: Option<String>,
    /// Anything else, in the host's own shape.
    pub value: Option<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Reference {
    optional title, optional uri, optional license, optional snippet, optional_json value,
});
