//! From entries to a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Checkpoint, DataLevel, Entry, Event, LogInfo, RequestEvent, SessionState, salvage};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::json::RawJson;
use crate::model::{ChatModel, ChatResponse, ResponseState, Turn};
use crate::part::ResponsePart;

/// Makes a model out of a log's entries: of its newest turns first, of earlier ones on demand, and
/// of new ones as they come.
#[derive(Debug, Clone)]
pub struct Fold {
    model: ChatModel,
    log: Arc<LogInfo>,
    /// What belongs to turns that are not loaded, to be applied when they are.
    deferred: Arc<BTreeMap<TurnId, Vec<Entry>>>,
}

impl Fold {
    /// Folds the end of a log: everything from some turn's request on, and a checkpoint or the
    /// log's beginning.
    ///
    /// `damaged` says that these are all entries that could be read of a damaged log: see
    /// [`salvaged`](Self::salvaged).
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if neither is there, or entries contradict each
    /// other.
    pub fn newest(entries: Vec<Entry>, damaged: bool) -> Result<Self> {
        let base = base(&entries)?;
        if damaged {
            return salvage::fold(entries, base);
        }
        let request = entries.iter().find(|entry| matches!(entry.event, Event::Request(_)));
        let first = request.map_or(base.turns + 1, |entry| entry.turn.get());
        let mut fold = Self::starting_at(first, base);
        for entry in without_superseded(entries) {
            fold.apply(entry)?;
        }
        Ok(fold)
    }

    /// Folds all entries that could be read of a damaged log, so that one that is lost hides no
    /// other: a turn whose request is lost gets an empty one, a part that is lost a
    /// [`Status`](crate::part::Status) in its place, and what contradicts the rest is left out.
    ///
    /// Where the log's first records are lost as well the session has the log's owner and id, and
    /// the time of the first entry that is there.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if there is no entry at all.
    pub fn salvaged(entries: Vec<Entry>, log: LogInfo) -> Result<Self> {
        let base = match base(&entries) {
            Ok(base) => base,
            Err(_) => salvage::base(&entries, log)?,
        };
        salvage::fold(entries, base)
    }

    pub(super) fn starting_at(first: u64, base: Base) -> Self {
        let first = first.max(1);
        let mut model = ChatModel::unloaded(base.state.meta, first - 1, base.active);
        model.extra = base.state.extra;
        Self { model, log: Arc::new(base.log), deferred: Arc::default() }
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

    pub(super) fn model_mut(&mut self) -> &mut ChatModel {
        &mut self.model
    }

    /// Notes that the log was rewritten by another version.
    pub(crate) fn set_log(&mut self, log: LogInfo) {
        self.log = Arc::new(log);
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
            Event::Log(log) => self.set_log(log),
            Event::Session(state) => {
                self.model.meta = Arc::new(state.meta);
                self.model.extra = state.extra;
            }
            Event::Checkpoint(checkpoint) => {
                let (counted, turns) = (checkpoint.turns, self.model.turn_count());
                if counted != turns {
                    return Err(Error::corrupt(format!(
                        "a checkpoint counts {counted} turns where there are {turns}"
                    )));
                }
                let mut meta = checkpoint.state.meta;
                meta.data.keep_transient_of(&self.model.meta.data);
                self.model.meta = Arc::new(meta);
                self.model.extra = checkpoint.state.extra;
                self.model.active = checkpoint.active;
                self.set_log(checkpoint.log);
            }
            Event::SessionSet(changes) => {
                let meta = Arc::make_mut(&mut self.model.meta);
                changes.into_iter().for_each(|change| meta.apply(change));
            }
            Event::Data(data) if data.on == DataLevel::Session => {
                Arc::make_mut(&mut self.model.meta).data.set(data.id, data.entry);
            }
            Event::Active(active) => {
                if let Some(id) = active.filter(|id| !self.has(*id)) {
                    return Err(no_such_turn(id));
                }
                self.model.active = active;
            }
            Event::Request(request) => self.begin(turn, *request)?,
            Event::Other { .. } | Event::Claim(_) => {}
            event => self.apply_to_turn(Entry { turn, at, event })?,
        }
        Ok(())
    }

    /// Whether there is such a turn, loaded or not.
    fn has(&self, id: TurnId) -> bool {
        id != TurnId::SESSION && id.get() <= self.model.turn_count()
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
        if !self.has(entry.turn) {
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
                Event::Other { .. } | Event::Claim(_) => {}
                _ if id.get() >= self.model.first => return Err(no_such_turn(id)),
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
        // A copy, so that an error leaves everything as it was.
        let mut deferred = (*self.deferred).clone();
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
        self.deferred = Arc::new(deferred);
        self.model.prepend(turns);
        Ok(())
    }
}

fn find(turns: &mut [Turn], id: TurnId) -> Option<&mut Turn> {
    let first = turns.first()?.id.get();
    turns.get_mut(usize::try_from(id.get().checked_sub(first)?).ok()?)
}

/// What a page says of the session itself.
pub(super) struct Base {
    pub(super) log: LogInfo,
    pub(super) state: SessionState,
    pub(super) active: Option<TurnId>,
    pub(super) turns: u64,
}

/// By its newest checkpoint, or by the log's beginning.
fn base(entries: &[Entry]) -> Result<Base> {
    let checkpoint = entries.iter().rev().find_map(|entry| match &entry.event {
        Event::Checkpoint(checkpoint) => Some((**checkpoint).clone()),
        _ => None,
    });
    if let Some(Checkpoint { log, state, active, turns }) = checkpoint {
        return Ok(Base { log, state, active, turns });
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
        (Some(log), Some(state)) => Ok(Base { log, state, active: None, turns: 0 }),
        (None, _) => Err(Error::corrupt("the log's first record is missing")),
        (_, None) => Err(Error::corrupt("the log does not say which session it is")),
    }
}

/// What the newest checkpoint says of the session stands for all before it.
pub(super) fn without_superseded(entries: Vec<Entry>) -> impl Iterator<Item = Entry> {
    let checkpoint = entries.iter().rposition(|entry| matches!(entry.event, Event::Checkpoint(_)));
    entries
        .into_iter()
        .enumerate()
        .filter(move |(place, entry)| {
            checkpoint.is_none_or(|checkpoint| *place >= checkpoint)
                || entry.turn != TurnId::SESSION
        })
        .map(|(_, entry)| entry)
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
                Some(part) => part
                    .append_text(&event.text)
                    .map_err(|e| e.into_kind(ErrorKind::Corrupt).with("turn", turn.id))?,
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
