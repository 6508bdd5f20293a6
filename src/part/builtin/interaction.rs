//! Questions, plans, summaries, and parts side by side.

use super::prelude::*;
use crate::error::Result;
use crate::part::{PartRegistry, ResponsePart};

/// A question or confirmation, with its answer once it is given.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Question {
    /// The question.
    pub question: String,
    /// A heading.
    pub header: Option<String>,
    /// What can be chosen; none for a free answer.
    pub options: Vec<QuestionOption>,
    /// Whether several may be chosen.
    pub multiple: bool,
    /// The values that were chosen, or the free answer.
    pub answer: Option<Vec<String>>,
    /// Anything else, in the host's own shape.
    pub details: Option<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// Something that can be chosen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuestionOption {
    /// What is shown.
    pub text: String,
    /// What is answered, where it differs.
    pub value: Option<String>,
    /// More about it.
    pub description: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// What is to be done, step by step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// What it is for.
    pub title: Option<String>,
    /// The steps.
    pub items: Vec<PlanItem>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// One step of a plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PlanItem {
    /// What is to be done.
    pub text: String,
    /// How far it has come.
    pub state: PlanState,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// How far a step of a plan has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlanState {
    /// Not begun.
    #[default]
    Pending,
    /// Begun.
    InProgress,
    /// Done.
    Done,
    /// Given up.
    Dropped,
}

/// A summary that stands for the turns before it when the model is asked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compaction {
    /// The summary.
    pub summary: String,
    /// Who made it.
    pub provider: Option<String>,
    /// The vendor's own form of it, to be sent back.
    pub payload: Option<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// Parts side by side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Horizontal {
    /// The parts' envelopes.
    pub content: Vec<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Question {
    required question, optional header, default options, default multiple, optional answer,
    optional_json details,
});
json_object!(QuestionOption { required text, optional value, optional description });
json_object!(Plan { optional title, required items });
json_object!(PlanItem { required text, default state });
json_object!(Compaction { default summary, optional provider, optional_json payload });
json_object!(Horizontal { required content });

builtin_part!(Question, "question", |part| {
    match &part.answer {
        Some(answer) => format!("{} {}", part.question, answer.join(", ")).into(),
        None => part.question.as_str().into(),
    }
});
builtin_part!(Plan, "plan", |part| {
    let mut text = part.title.clone().unwrap_or_else(|| "Plan".to_owned());
    for item in &part.items {
        let mark = if item.state == PlanState::Done { 'x' } else { ' ' };
        text.push_str(&format!("\n[{mark}] {}", item.text));
    }
    text.into()
});
builtin_part!(Compaction, "compaction", |part| part.summary.as_str().into());
builtin_part!(Horizontal, "horizontal", |part| {
    let builtin = PartRegistry::builtin();
    let shown = part.content.iter().map(|envelope| {
        ResponsePart::from_envelope(envelope, &builtin)
            .map_or_else(|_| "[?]".to_owned(), |part| part.fallback().into_owned())
    });
    shown.collect::<Vec<_>>().join(" ").into()
});

impl Question {
    /// A question with a free answer.
    #[must_use]
    pub fn new(question: impl Into<String>) -> Self {
        Self { question: question.into(), ..Self::default() }
    }

    /// Adds something that can be chosen.
    #[must_use]
    pub fn option(mut self, text: impl Into<String>) -> Self {
        self.options.push(QuestionOption { text: text.into(), ..QuestionOption::default() });
        self
    }

    /// Adds the answer.
    #[must_use]
    pub fn answered(mut self, answer: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.answer = Some(answer.into_iter().map(Into::into).collect());
        self
    }
}

impl Plan {
    /// A plan of steps that have not been begun.
    #[must_use]
    pub fn new(items: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let item = |text: String| PlanItem { text, ..PlanItem::default() };
        Self { items: items.into_iter().map(|text| item(text.into())).collect(), ..Self::default() }
    }
}

impl Compaction {
    /// A summary.
    #[must_use]
    pub fn new(summary: impl Into<String>) -> Self {
        Self { summary: summary.into(), ..Self::default() }
    }
}

impl Horizontal {
    /// Parts side by side.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if one of them cannot be written.
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a ResponsePart>) -> Result<Self> {
        let content = parts.into_iter().map(ResponsePart::to_envelope).collect::<Result<_>>()?;
        Ok(Self { content, extra: Extra::new() })
    }

    /// The parts.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if one of them is not an envelope.
    pub fn parts(&self, registry: &PartRegistry) -> Result<Vec<ResponsePart>> {
        self.content.iter().map(|part| ResponsePart::from_envelope(part, registry)).collect()
    }
}
