//! A response that was begun: the right to write it, and what is written.

use std::sync::Arc;

use super::held::Held;
use super::live::Shared;
use super::plan::Plan;
use super::writer::{Outcome, Run};
use crate::error::Result;
use crate::id::TurnId;
use crate::log::{Event, PartEvent};
use crate::model::{ResponseError, ResponseState};
use crate::part::ResponsePart;

/// The right to write a response. Given up without an end the response is
/// [`Interrupted`](ResponseState::Interrupted).
#[derive(Debug)]
pub(crate) struct Begun {
    shared: Arc<Shared>,
    pub(super) turn: TurnId,
    pub(super) epoch: u64,
    held: Option<Held>,
    pub(super) ended: bool,
}

impl Begun {
    pub(crate) fn new(shared: Arc<Shared>, turn: TurnId, epoch: u64, held: Held) -> Self {
        Self { shared, turn, epoch, held: Some(held), ended: false }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (turn, epoch) = (self.turn, self.epoch);
        // If the end cannot be written now, whoever asks next finds the answer without a holder.
        self.held = None;
        let mut live = self.shared.lock();
        if live.own_epoch == Some(epoch) {
            live.own_epoch = None;
        }
        drop(live);
        let run: Run =
            Box::new(move |plan| end(plan, turn, epoch, ResponseState::Interrupted, None));
        // A failure is shown by the session's handles; there is nobody here to tell.
        drop(self.shared.core.start(&self.shared, run));
    }
}

/// Puts a part at its place.
pub(super) fn put(
    plan: &mut Plan<'_>,
    turn: TurnId,
    epoch: u64,
    index: usize,
    part: ResponsePart,
) -> Result<Outcome> {
    plan.epoch = Some(epoch);
    plan.emit(turn, Event::Part(PartEvent { epoch: Some(epoch), index, part }))?;
    Ok(Outcome { part: Some(index), ..Outcome::default() })
}

/// Ends a response.
pub(super) fn end(
    plan: &mut Plan<'_>,
    turn: TurnId,
    epoch: u64,
    state: ResponseState,
    error: Option<&ResponseError>,
) -> Result<Outcome> {
    let ended = plan.model().turn(turn).map(|turn| turn.response().state) == Some(state);
    if ended && plan.head.running.is_none() && plan.head.epoch == epoch {
        // A call before whose answer was lost has done it.
        return Ok(Outcome::default());
    }
    plan.check_epoch(turn, epoch)?;
    plan.end_response(turn, |response| {
        response.state = state;
        if error.is_some() {
            response.error = error.cloned();
        }
    })?;
    Ok(Outcome::default())
}
