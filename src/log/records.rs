//! From a model to the shortest log that makes it.

use std::sync::Arc;

use super::{Entry, Event, LogInfo, RequestEvent, ResponseEvent, SessionState};
use crate::id::TurnId;
use crate::model::{ChatModel, ResponseState};

/// The entries of a session that comes as a whole: an import, a copy, a document. The turns must
/// all be loaded.
///
/// Folding them gives the same model, without its transient data.
#[must_use]
pub fn events_of(model: &ChatModel, log: LogInfo) -> Vec<Entry> {
    let meta = model.session();
    let created = meta.created;
    let own = |event| Entry { turn: TurnId::SESSION, at: created, event };
    let state = SessionState { meta: meta.clone(), extra: model.extra.clone() };
    let mut entries = vec![own(Event::Log(log)), own(Event::Session(Box::new(state)))];
    let mut last = None;
    for turn in model.all_turns() {
        let at = turn.request.at;
        last = Some(turn.id);
        entries.push(Entry {
            turn: turn.id,
            at,
            event: Event::Request(Box::new(RequestEvent {
                parent: turn.parent,
                request: Arc::clone(&turn.request),
                response: turn.response.id.clone(),
                epoch: None,
                extra: turn.extra.clone(),
            })),
        });
        let mut untouched = crate::model::ChatResponse::new(turn.response.id.clone());
        untouched.timings.started = Some(at);
        if *turn.response == untouched && untouched.state == ResponseState::Pending {
            continue;
        }
        let response = (*turn.response).clone();
        let at = response.timings.completed.unwrap_or(at);
        let event = Event::Response(Box::new(ResponseEvent { epoch: None, response }));
        entries.push(Entry { turn: turn.id, at, event });
    }
    if model.active() != last {
        entries.push(own(Event::Active(model.active())));
    }
    entries
}
