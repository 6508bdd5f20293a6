//! What storage gets to search and to count by: plain text and facts of turns.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;

use super::core::Core;
use super::live::Live;
use super::{import, load};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::json::RawJson;
use crate::log::{Entry, Event};
use crate::model::{ChatModel, MessagePart, SessionChange, Turn};
use crate::part::{ErrorPart, Part as _, ResponsePart, ToolCall};
use crate::storage::{
    Extract, Extracted, Head, Passage, PassageRole, SessionKey, TurnFacts, TurnText,
};

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
    let live = whole(core, key).await?;
    let texts = texts_of(core, key, live.model()).await?;
    let facts = live.model().all_turns().map(facts_of).collect();
    Ok(Extracted { texts, facts, head: live.head })
}

/// The texts of one session, and where it stood.
pub(crate) async fn texts(core: &Core, key: &SessionKey) -> Result<(Head, Vec<TurnText>)> {
    let live = whole(core, key).await?;
    let texts = texts_of(core, key, live.model()).await?;
    Ok((live.head, texts))
}

/// All turns of a session; of a damaged one those that can be read.
async fn whole(core: &Core, key: &SessionKey) -> Result<Live> {
    let mut live = load::load(core, key, load::MAX_PAGE).await?;
    while live.model().has_earlier() {
        load::earlier(core, key, &mut live, load::MAX_PAGE).await?;
    }
    Ok(live)
}

/// Who reads a store's sessions for its storage.
pub(crate) fn of_store(core: &Weak<Core>) -> Arc<dyn Extract> {
    Arc::new(StoreExtract(Weak::clone(core)))
}

/// What entries change of what can be searched and counted.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    title: bool,
    turns: BTreeSet<TurnId>,
}

impl Changed {
    pub(crate) fn by<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut changed = Self::default();
        entries.into_iter().for_each(|entry| changed.note(entry));
        changed
    }

    pub(crate) fn note(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Session(_) => self.title = true,
            Event::SessionSet(changes) => {
                self.title |= changes.iter().any(|c| matches!(c, SessionChange::Title(_)));
            }
            // What streams in is searched once its response ends or waits.
            Event::Request(_) | Event::Response(_) | Event::ResponseSet(_) => {
                self.turns.insert(entry.turn);
            }
            _ => {}
        }
    }

    /// The texts and facts of what has changed, for engines that use them.
    pub(crate) async fn of(
        &self,
        core: &Core,
        key: &SessionKey,
        model: &ChatModel,
    ) -> Result<(Vec<TurnText>, Vec<TurnFacts>)> {
        let turns = || self.turns.iter().filter_map(|turn| model.turn(*turn));
        let mut texts = Vec::new();
        if core.storage.full_text().is_some() {
            texts.extend(self.title.then(|| of_title(model)));
            for turn in turns() {
                texts.push(of_turn(core, key, turn).await?);
            }
        }
        let facts = match core.storage.statistics() {
            Some(_) => turns().map(facts_of).collect(),
            None => Vec::new(),
        };
        Ok((texts, facts))
    }
}

/// The texts of the title and all loaded turns.
async fn texts_of(core: &Core, key: &SessionKey, model: &ChatModel) -> Result<Vec<TurnText>> {
    let mut texts = vec![of_title(model)];
    for turn in model.all_turns() {
        texts.push(of_turn(core, key, turn).await?);
    }
    Ok(texts)
}

fn of_title(model: &ChatModel) -> TurnText {
    let mut passages = Vec::new();
    add(&mut passages, PassageRole::Title, "title", model.title());
    TurnText { turn: TurnId::SESSION, at: model.session().created, passages }
}

async fn of_turn(core: &Core, key: &SessionKey, turn: &Turn) -> Result<TurnText> {
    let mut passages = Vec::new();
    let (request, response) = (turn.request(), turn.response());
    add(&mut passages, PassageRole::User, "request", request.text());
    for part in &request.message {
        match part {
            MessagePart::Attachment(part) => {
                add(&mut passages, PassageRole::User, "attachment", &*part.name);
            }
            // One that the text shows is in the text.
            MessagePart::Variable(part) if part.text.is_none() => {
                add(&mut passages, PassageRole::User, "variable", &*part.name);
            }
            _ => {}
        }
    }
    for part in response.parts() {
        let role = match part.kind() {
            ToolCall::KIND => PassageRole::Tool,
            _ => PassageRole::Assistant,
        };
        add(&mut passages, role, part.kind(), text_of(core, key, part).await?);
    }
    if let Some(error) = &response.error {
        add(&mut passages, PassageRole::Assistant, ErrorPart::KIND, &*error.message);
    }
    Ok(TurnText { turn: turn.id(), at: request.at, passages })
}

fn add(passages: &mut Vec<Passage>, role: PassageRole, kind: &str, text: impl Into<String>) {
    let (kind, text) = (kind.to_owned(), text.into());
    if !text.is_empty() {
        passages.push(Passage { role, kind, text });
    }
}

/// The text by which a part is found.
async fn text_of(core: &Core, key: &SessionKey, part: &ResponsePart) -> Result<String> {
    let loaded = match part.blob().filter(|_| is_shortened(part)) {
        Some(blob) => match load::blob(core, key, part, blob).await {
            // A blob that is lost must not keep the rest from being written and found.
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            loaded => Some(loaded?),
        },
        None => None,
    };
    let part = loaded.as_ref().unwrap_or(part);
    Ok(match part.downcast_ref::<ToolCall>() {
        Some(call) => of_tool_call(call),
        None => part.fallback().into_owned(),
    })
}

/// Whether a part whose data lies in a blob says less than its data.
fn is_shortened(part: &ResponsePart) -> bool {
    let is_own = part.kind() == ToolCall::KIND;
    is_own || (part.has_stand_in() && part.fallback().ends_with(import::SHORTENED))
}

/// Everything that is said of a call, in words: a fallback has JSON as it was written.
fn of_tool_call(call: &ToolCall) -> String {
    let title = call.title.as_deref().filter(|title| *title != call.name);
    let arguments = call.arguments.as_ref().map(words_of);
    let result = call.result.as_ref().map(words_of);
    let said = [
        Some(call.name.as_str().into()),
        title.map(Cow::Borrowed),
        arguments,
        result,
        call.error.as_deref().map(Cow::Borrowed),
    ];
    let said: Vec<_> = said.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    said.join("\n")
}

/// A JSON text with the characters that its strings stand for: `"a\nb"` holds two words.
fn words_of(json: &RawJson) -> Cow<'_, str> {
    let text = json.get();
    if let Ok(text) = json.read::<String>() {
        return text.into();
    }
    if !text.contains('\\') {
        return text.into();
    }
    let (mut words, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, string)) = rest.find('"').and_then(|at| rest.split_at_checked(at)) {
        words.push_str(before);
        let mut strings = serde_json::Deserializer::from_str(string).into_iter::<String>();
        let (read, end) = (strings.next(), strings.byte_offset());
        let (Some(Ok(read)), Some(after)) = (read, string.get(end..)) else { break };
        words.push('"');
        words.push_str(&read);
        words.push('"');
        rest = after;
    }
    words.push_str(rest);
    words.into()
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
