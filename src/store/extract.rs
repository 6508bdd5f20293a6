//! What storage gets to search and to count by: plain text and facts of turns.

use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;

use super::core::Core;
use super::load;
use super::plan::Plan;
use crate::error::{Error, Result};
use crate::id::TurnId;
use crate::log::Event;
use crate::model::{ChatModel, Turn};
use crate::part::ToolCall;
use crate::storage::{Extract, Extracted, Passage, PassageRole, SessionKey, TurnFacts, TurnText};

/// Reads sessions for a storage's index, as long as the store lives.
struct StoreExtract(Weak<Core>);

impl fmt::Debug for StoreExtract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreExtract").finish_non_exhaustive()
    }
}

#[async_trait]
impl Extract for StoreExtract {
    async fn extract(&self, key: &SessionKey) -> Result<Extracted> {
        let core = self.0.upgrade();
        let core = core.ok_or_else(|| Error::unavailable("the store has been closed"))?;
        extract(&core, key).await
    }
}

/// Everything of one session, as far as it can be read.
pub(crate) async fn extract(core: &Core, key: &SessionKey) -> Result<Extracted> {
    let mut live = load::load(core, key, load::MAX_PAGE).await?;
    while live.model().has_earlier() {
        load::earlier(core, key, &mut live, load::MAX_PAGE).await?;
    }
    let model = live.model();
    Ok(Extracted { texts: texts_of(model), facts: facts_of_all(model), head: live.head.clone() })
}

/// Who reads a store's sessions for its storage.
pub(crate) fn of_store(core: &Weak<Core>) -> Arc<dyn Extract> {
    Arc::new(StoreExtract(Weak::clone(core)))
}

/// The texts and facts of the turns that a plan changes, for engines that use them.
pub(crate) fn of_plan(plan: &Plan<'_>) -> (Vec<TurnText>, Vec<TurnFacts>) {
    let storage = &plan.core.storage;
    let changes = |event: &Event| {
        matches!(event, Event::Request(_) | Event::Response(_) | Event::ResponseSet(_))
    };
    let entries = plan.entries.iter().map(|planned| &planned.entry);
    let mut turns: Vec<TurnId> =
        entries.clone().filter(|entry| changes(&entry.event)).map(|entry| entry.turn).collect();
    turns.dedup();
    let turns = || turns.iter().filter_map(|turn| plan.model().turn(*turn));
    let mut texts = Vec::new();
    if storage.full_text().is_some() {
        let titled = |event: &Event| matches!(event, Event::SessionSet(_) | Event::Session(_));
        if entries.clone().any(|entry| titled(&entry.event)) {
            texts.push(of_title(plan.model()));
        }
        texts.extend(turns().map(of_turn));
    }
    let facts = match storage.statistics() {
        Some(_) => turns().map(facts_of).collect(),
        None => Vec::new(),
    };
    (texts, facts)
}

/// The texts of the title and all loaded turns.
pub(crate) fn texts_of(model: &ChatModel) -> Vec<TurnText> {
    std::iter::once(of_title(model)).chain(model.all_turns().map(of_turn)).collect()
}

/// The facts of all loaded turns.
pub(crate) fn facts_of_all(model: &ChatModel) -> Vec<TurnFacts> {
    model.all_turns().map(facts_of).collect()
}

fn of_title(model: &ChatModel) -> TurnText {
    let text = model.title().to_owned();
    let passage = Passage { role: PassageRole::Title, kind: "title".to_owned(), text };
    TurnText { turn: TurnId::SESSION, at: model.session().created, passages: vec![passage] }
}

fn of_turn(turn: &Turn) -> TurnText {
    let request = Passage {
        role: PassageRole::User,
        kind: "request".to_owned(),
        text: turn.request().text().into_owned(),
    };
    let parts = turn.response().parts().iter().map(|part| Passage {
        role: if part.kind() == <ToolCall as crate::part::Part>::KIND {
            PassageRole::Tool
        } else {
            PassageRole::Assistant
        },
        kind: part.kind().to_owned(),
        text: part.fallback().into_owned(),
    });
    let passages = std::iter::once(request).chain(parts).collect();
    TurnText { turn: turn.id(), at: turn.request().at, passages }
}

fn facts_of(turn: &Turn) -> TurnFacts {
    let (request, response) = (turn.request(), turn.response());
    let usage = response.usage.clone().unwrap_or_default();
    let started = response.timings.started.unwrap_or(request.at);
    let duration = response.timings.completed.map(|end| end.duration_since(started).as_millis());
    TurnFacts {
        turn: turn.id(),
        at: request.at,
        state: response.state,
        model: response.model.clone(),
        // What a vendor did not report counts as nothing.
        input_tokens: usage.input.unwrap_or(0),
        output_tokens: usage.output.unwrap_or(0),
        duration_ms: duration.and_then(|ms| u64::try_from(ms).ok()),
    }
}
