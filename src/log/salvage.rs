//! The fold of a damaged log: what is lost is filled up, so that it hides nothing else.

use jiff::Timestamp;

use super::fold::{Base, Fold, without_superseded};
use super::{Entry, Event, LogInfo, SessionState};
use crate::error::{Error, Result};
use crate::id::{RequestId, ResponseId, TurnId};
use crate::json::Extra;
use crate::model::{ChatModel, ChatRequest, ChatResponse, ResponseState, SessionMeta, Turn};
use crate::part::{Markdown, ResponsePart, Status, StatusLevel};

/// What can be said of a session whose log has lost its beginning.
pub(super) fn base(entries: &[Entry], log: LogInfo) -> Result<Base> {
    let first = entries.first().ok_or_else(|| Error::corrupt("nothing of the log is left"))?;
    let meta = SessionMeta::new(log.owner.clone(), log.session.clone(), first.at);
    let state = SessionState { meta, extra: Extra::new() };
    Ok(Base { log, state, active: None, turns: 0 })
}

pub(super) fn fold(entries: Vec<Entry>, base: Base) -> Result<Fold> {
    // A damaged log is folded whole.
    let mut fold = Fold::starting_at(1, base);
    for entry in without_superseded(entries) {
        fill_up_to(fold.model_mut(), &entry)?;
        // What contradicts the rest cannot be made sense of; the log keeps it.
        let _ = fold.apply(entry);
    }
    Ok(fold)
}

/// Puts something in the place of what the entry needs and is lost.
fn fill_up_to(model: &mut ChatModel, entry: &Entry) -> Result<()> {
    /// More turns than this are not believed to be lost at once: their number is the damage.
    const MOST_LOST: u64 = 100_000;
    let turns = match &entry.event {
        Event::Request(_) => entry.turn.get().saturating_sub(1),
        Event::Checkpoint(checkpoint) => checkpoint.turns,
        _ => entry.turn.get(),
    };
    if turns > model.turn_count().saturating_add(MOST_LOST) {
        return Ok(());
    }
    while model.turn_count() < turns {
        let lost = lost_turn(model.turn_count() + 1, entry.at)?;
        model.push(lost);
    }
    match &entry.event {
        Event::Part(part) => fill_parts(model, entry.turn, part.index),
        Event::Text(text) => {
            fill_parts(model, entry.turn, text.index)?;
            begin_part(model, entry.turn, text.index)
        }
        _ => Ok(()),
    }
}

fn lost_turn(number: u64, at: Timestamp) -> Result<Turn> {
    let request = ChatRequest::new(RequestId::new(format!("lost-{number}"))?, at);
    let mut response = ChatResponse::new(ResponseId::new(format!("lost-response-{number}"))?);
    response.state = ResponseState::Interrupted;
    let parent = (number > 1).then(|| TurnId::new(number - 1));
    Ok(Turn::new(TurnId::new(number), parent, request, response))
}

/// Adds parts until there are as many as come before one.
fn fill_parts(model: &mut ChatModel, turn: TurnId, before: usize) -> Result<()> {
    /// As for turns.
    const MOST_LOST: usize = 1_000;
    let Some(turn) = model.turn_mut(turn) else { return Ok(()) };
    if before <= turn.response.parts.len() || before > turn.response.parts.len() + MOST_LOST {
        return Ok(());
    }
    let lost = ResponsePart::new(Status::new(StatusLevel::Warning, "This part was lost."))?;
    std::sync::Arc::make_mut(&mut turn.response).parts.resize(before, lost);
    Ok(())
}

/// Adds an empty part for text that is to be added to one that is lost.
fn begin_part(model: &mut ChatModel, turn: TurnId, index: usize) -> Result<()> {
    let Some(turn) = model.turn_mut(turn) else { return Ok(()) };
    if turn.response.parts.len() == index {
        let part = ResponsePart::new(Markdown::new(""))?;
        std::sync::Arc::make_mut(&mut turn.response).parts.push(part);
    }
    Ok(())
}
