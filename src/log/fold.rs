//! From entries to a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DataLevel, Entry, Event, LogInfo, RequestEvent, SessionState};
use crate::error::{Error, Result};
use crate::id::{RequestId, ResponseId, TurnId};
use crate::json::RawJson;
use crate::model::{ChatModel, ChatRequest, ChatResponse, ResponseState, Turn};
use crate::part::ResponsePart;

/// Makes a model out of a log's entries: of its newest turns first, of earlier ones on demand, and
/// of new ones as they come.
#[derive(Debug, Clone)]
pub struct Fold {
    model: ChatModel,
    log: LogInfo,
    /// What belongs to turns that are not loaded, to be applied when they are.
    deferred: Arc<BTreeMap<TurnId, Vec<Entry>>>,
}

impl Fold {
    /// Folds the end of a log: everything from some turn's request on, and a checkpoint or the
    /// log's beginning. `damaged` says that these are all that could be read of a damaged log; a
    /// turn whose request is lost gets an empty one.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if neither is there, or entries contradict each
    /// other.
    pub fn newest(entries: Vec<Entry>, damaged: bool) -> Result<Self> {
        let (log, state, active, turns) = base(&entries)?;
        let request = entries.iter().find(|entry| matches!(entry.event, Event::Request(_)));
        let first = match request {
            // A damaged log is folded whole.
            _ if damaged => 1,
            Some(entry) => entry.turn.get(),
            None => turns + 1,
        };
        let mut model = ChatModel::unloaded(state.meta, first - 1, active);
        model.extra = state.extra;
        let mut fold = Self { model, log, deferred: Arc::default() };
        let checkpoint =
            entries.iter().rposition(|entry| matches!(entry.event, Event::Checkpoint(_)));
        for (place, entry) in entries.into_iter().enumerate() {
            // What the newest checkpoint says of the session stands for all before it.
            let superseded = checkpoint.is_some_and(|checkpoint| place < checkpoint);
            if superseded && entry.turn == TurnId::SESSION {
                continue;
            }
            if damaged {
                fold.fill_up_to(&entry)?;
            }
            fold.apply(entry)?;
        }
        Ok(fold)
    }

    /// The model as it stands.
    #[must_use]
    pub fn model(&self) -> &ChatModel {
        &self.model
    }

    /// What the log is.
    #[must_use]
    pub fn log(&self) -> &LogInfo {
        &self.log
    }

    /// Sets data that is never written.
    pub(crate) fn set_transient(&mut self, id: &str, value: Option<RawJson>) {
        Arc::make_mut(&mut self.model.meta).data.set_transient(id, value);
    }

    /// Takes over the session's data that is never written from another state of it.
    pub(crate) fn keep_transient_of(&mut self, other: &Self) {
        let meta = Arc::make_mut(&mut self.model.meta);
        meta.data.keep_transient_of(&other.model.meta.data);
    }

    /// Puts a part whose data was loaded in the place of the same one without, if it is there yet.
    pub(crate) fn replace_part(
        &mut self,
        turn: TurnId,
        index: usize,
        part: &ResponsePart,
        loaded: &ResponsePart,
    ) {
        let Some(turn) = self.model.turn_mut(turn) else { return };
        let response = Arc::make_mut(&mut turn.response);
        if let Some(place) = response.parts.get_mut(index).filter(|place| *place == part) {
            *place = loaded.clone();
        }
    }

    /// Applies the next entry.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if it contradicts what came before.
    pub fn apply(&mut self, entry: Entry) -> Result<()> {
        let Entry { turn, at, event } = entry;
        match event {
            Event::Log(log) => self.log = log,
            Event::Session(state) => {
                self.model.meta = Arc::new(state.meta);
                self.model.extra = state.extra;
            }
            Event::Checkpoint(checkpoint) => {
                let mut meta = checkpoint.state.meta;
                meta.data.keep_transient_of(&self.model.meta.data);
                self.model.meta = Arc::new(meta);
                self.model.extra = checkpoint.state.extra;
                self.model.active = checkpoint.active;
                self.log = checkpoint.log;
            }
            Event::SessionSet(changes) => {
                let meta = Arc::make_mut(&mut self.model.meta);
                changes.into_iter().for_each(|change| meta.apply(change));
            }
            Event::Data(data) if data.on == DataLevel::Session => {
                Arc::make_mut(&mut self.model.meta).data.set(data.id, data.entry);
            }
            Event::Active(active) => self.model.active = active,
            Event::Request(request) => self.begin(turn, *request)?,
            Event::Other { .. } | Event::Claim(_) => {}
            event => self.apply_to_turn(Entry { turn, at, event })?,
        }
        Ok(())
    }

    fn begin(&mut self, id: TurnId, event: RequestEvent) -> Result<()> {
        let expected = self.model.turn_count() + 1;
        if id.get() != expected {
            return Err(Error::corrupt(format!("turn {id} begins where turn {expected} should")));
        }
        self.model.push(turn_of(id, event)?);
        self.model.active = Some(id);
        Ok(())
    }

    fn apply_to_turn(&mut self, entry: Entry) -> Result<()> {
        if entry.turn.get() > self.model.turn_count() {
            return Err(no_such_turn(entry.turn));
        }
        match self.model.turn_mut(entry.turn) {
            Some(turn) => apply_to(turn, entry),
            None => {
                Arc::make_mut(&mut self.deferred).entry(entry.turn).or_default().push(entry);
                Ok(())
            }
        }
    }

    /// In a damaged log a turn may be spoken of whose request is lost.
    fn fill_up_to(&mut self, entry: &Entry) -> Result<()> {
        let begins = matches!(entry.event, Event::Request(_));
        let needed = entry.turn.get().saturating_sub(u64::from(begins));
        while self.model.turn_count() < needed {
            let number = self.model.turn_count() + 1;
            let request = ChatRequest::new(RequestId::new(format!("lost-{number}"))?, entry.at);
            let mut response =
                ChatResponse::new(ResponseId::new(format!("lost-response-{number}"))?);
            response.state = ResponseState::Interrupted;
            let parent = (number > 1).then(|| TurnId::new(number - 1));
            self.model.push(Turn::new(TurnId::new(number), parent, request, response));
        }
        Ok(())
    }

    /// Adds turns before those that are loaded, out of the entries before theirs.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the turns do not end where the loaded ones begin.
    pub fn earlier(&mut self, entries: Vec<Entry>) -> Result<()> {
        let mut turns: Vec<Turn> = Vec::new();
        let mut older: BTreeMap<TurnId, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            let Entry { turn: id, at, event } = entry;
            match event {
                Event::Request(request) => {
                    if turns.last().is_some_and(|last| last.id.get() + 1 != id.get()) {
                        return Err(Error::corrupt(format!("turn {id} begins out of its place")));
                    }
                    turns.push(turn_of(id, *request)?);
                }
                _ if id == TurnId::SESSION => {}
                event => {
                    let entry = Entry { turn: id, at, event };
                    match find(&mut turns, id) {
                        Some(turn) => apply_to(turn, entry)?,
                        None => older.entry(id).or_default().push(entry),
                    }
                }
            }
        }
        if turns.last().is_some_and(|last| last.id.get() + 1 != self.model.first) {
            return Err(Error::corrupt("earlier turns do not end where the loaded ones begin"));
        }
        let deferred = Arc::make_mut(&mut self.deferred);
        for turn in &mut turns {
            for entry in deferred.remove(&turn.id).unwrap_or_default() {
                apply_to(turn, entry)?;
            }
        }
        // What came with these turns happened before what was deferred already.
        for (id, mut entries) in older {
            entries.extend(deferred.remove(&id).unwrap_or_default());
            deferred.insert(id, entries);
        }
        self.model.prepend(turns);
        Ok(())
    }
}

fn find(turns: &mut [Turn], id: TurnId) -> Option<&mut Turn> {
    let first = turns.first()?.id.get();
    turns.get_mut(usize::try_from(id.get().checked_sub(first)?).ok()?)
}

/// What a page says of the session itself: by its newest checkpoint, or by the log's beginning.
fn base(entries: &[Entry]) -> Result<(LogInfo, SessionState, Option<TurnId>, u64)> {
    let checkpoint = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Checkpoint(checkpoint) => Some((**checkpoint).clone()),
        _ => None,
    });
    if let Some(checkpoint) = checkpoint {
        let (active, turns) = (checkpoint.active, checkpoint.turns);
        return Ok((checkpoint.log, checkpoint.state, active, turns));
    }
    let log = entries.iter().find_map(|entry| match &entry.event {
        Event::Log(log) => Some(log.clone()),
        _ => None,
    });
    let state = entries.iter().find_map(|entry| match &entry.event {
        Event::Session(state) => Some((**state).clone()),
        _ => None,
    });
    match (log, state) {
        (Some(log), Some(state)) => Ok((log, state, None, 0)),
        (None, _) => Err(Error::corrupt("the log's first record is missing")),
        (_, None) => Err(Error::corrupt("the log does not say which session it is")),
    }
}

fn turn_of(id: TurnId, event: RequestEvent) -> Result<Turn> {
    if event.parent.is_some_and(|parent| parent >= id || parent == TurnId::SESSION) {
        return Err(Error::corrupt(format!("turn {id} follows one that is not before it")));
    }
    let mut response = ChatResponse::new(event.response);
    response.timings.started = Some(event.request.at);
    let mut turn = Turn::new(id, event.parent, event.request, response);
    turn.extra = event.extra;
    Ok(turn)
}

fn no_such_turn(id: TurnId) -> Error {
    Error::corrupt(format!("there is no turn {id}"))
}

fn apply_to(turn: &mut Turn, entry: Entry) -> Result<()> {
    let Entry { at, event, .. } = entry;
    let response = match &event {
        Event::Data(data) if data.on == DataLevel::Request => {
            Arc::make_mut(&mut turn.request).data.set(data.id.clone(), data.entry.clone());
            return Ok(());
        }
        _ => Arc::make_mut(&mut turn.response),
    };
    match event {
        Event::Data(data) => response.data.set(data.id, data.entry),
        Event::Response(event) => {
            let transient = std::mem::take(&mut response.data);
            *response = event.response;
            response.data.keep_transient_of(&transient);
        }
        Event::ResponseSet(event) => *response = event.response.with_parts_of(response),
        Event::Feedback(feedback) => response.feedback = feedback,
        Event::Part(event) => {
            begin_streaming(response, at);
            let count = response.parts.len();
            match response.parts.get_mut(event.index) {
                Some(part) => *part = event.part,
                None if event.index == count => response.parts.push(event.part),
                None => return Err(no_such_part(turn.id, event.index)),
            }
        }
        Event::Text(event) => {
            begin_streaming(response, at);
            match response.parts.get_mut(event.index) {
                Some(part) => part.append_text(&event.text)?,
                None => return Err(no_such_part(turn.id, event.index)),
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whatever comes in begins the response, or ends its wait for a person.
fn begin_streaming(response: &mut ChatResponse, at: jiff::Timestamp) {
    if matches!(response.state, ResponseState::Pending | ResponseState::NeedsInput) {
        response.state = ResponseState::Streaming;
        response.timings.first_part.get_or_insert(at);
    }
}

fn no_such_part(turn: TurnId, index: usize) -> Error {
    Error::corrupt(format!("the response of turn {turn} has no part {index}"))
}
