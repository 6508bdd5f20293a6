//! A change of a session while it is being made: entries, and the state that they lead to.

use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::core::Core;
use super::import::moved_to_blob;
use super::live::{LINE_BYTES, Live, Pending, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::json::{Extra, RawJson};
use crate::log::{
    Checkpoint, Claim, Entry, Event, Fold, LogInfo, PartEvent, ResponseEvent, SessionState,
};
use crate::model::{ChatModel, ChatResponse, ResponseState};
use crate::part::ResponsePart;
use crate::storage::{BlobId, Body, HeadFields, Running};

/// After so many turns a checkpoint is due, so that the newest 20 turns hold one.
const CHECKPOINT_TURNS: u64 = 16;
/// After so many bytes a checkpoint is due.
const CHECKPOINT_BYTES: u64 = 64 << 10;
/// A checkpoint is not written before so many times its own size has been.
const CHECKPOINT_SHARE: u64 = 4;
/// A response of more records than this is sealed into one when it ends.
const SEAL_RECORDS: u64 = 4;

/// What the writer puts together before it appends.
pub(crate) struct Plan<'a> {
    pub(crate) core: &'a Core,
    pub(crate) now: Timestamp,
    fold: Fold,
    /// The version of the live state that it began with.
    from: u64,
    pub(crate) head: HeadFields,
    /// Whether whoever writes the running response is known to be gone, or its claim has expired.
    pub(crate) abandoned: bool,
    pub(crate) entries: Vec<Planned>,
    pub(crate) blobs: Vec<(BlobId, Bytes)>,
    /// The epoch that the batch's response records name.
    pub(crate) epoch: Option<u64>,
    pub(crate) since_checkpoint: Volume,
    pub(crate) running: Volume,
    pub(crate) superseded: u64,
    pub(crate) useful: u64,
}

/// An entry with its body.
#[derive(Clone)]
pub(crate) struct Planned {
    pub(crate) entry: Entry,
    pub(crate) body: Body,
    /// It is in the live model already.
    pub(crate) applied: bool,
}

/// The text of a body, shared.
struct Text(RawJson);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.get().as_bytes()
    }
}

/// Where a plan stood, to go back to.
pub(crate) struct Savepoint {
    fold: Fold,
    head: HeadFields,
    entries: usize,
    blobs: usize,
    epoch: Option<u64>,
    volumes: (Volume, Volume, u64, u64),
}

impl<'a> Plan<'a> {
    pub(crate) fn new(core: &'a Core, live: &Live, now: Timestamp, abandoned: bool) -> Self {
        let (fold, from) = live.state();
        Self {
            core,
            now,
            fold,
            from,
            head: live.head.fields.clone(),
            abandoned,
            // Most changes are one entry, or two.
            entries: Vec::with_capacity(2),
            blobs: Vec::new(),
            epoch: None,
            since_checkpoint: live.since_checkpoint,
            running: live.running,
            superseded: live.superseded,
            useful: live.useful,
        }
    }

    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint {
            fold: self.fold.clone(),
            head: self.head.clone(),
            entries: self.entries.len(),
            blobs: self.blobs.len(),
            epoch: self.epoch,
            volumes: (self.since_checkpoint, self.running, self.superseded, self.useful),
        }
    }

    pub(crate) fn roll_back(&mut self, to: Savepoint) {
        (self.fold, self.head, self.epoch) = (to.fold, to.head, to.epoch);
        self.entries.truncate(to.entries);
        self.blobs.truncate(to.blobs);
        (self.since_checkpoint, self.running, self.superseded, self.useful) = to.volumes;
    }

    /// What the plan made of the live state of that version; the entries stay with it.
    pub(crate) fn into_state(self) -> (u64, Fold, Vec<Planned>) {
        (self.from, self.fold, self.entries)
    }

    /// The session with everything that has been planned so far.
    pub(crate) fn model(&self) -> &ChatModel {
        self.fold.model()
    }

    /// Adds an entry.
    pub(crate) fn emit(&mut self, turn: TurnId, event: Event) -> Result<()> {
        let event = self.move_to_blobs(event)?;
        self.add(Entry { turn, at: self.now, event }, false)
    }

    /// Adds streamed text, which is in the model already.
    pub(crate) fn emit_pending(&mut self, pending: &Pending) -> Result<()> {
        self.epoch = self.epoch.max(Some(pending.epoch));
        self.add(pending.entry(self.now), true)
    }

    fn add(&mut self, entry: Entry, applied: bool) -> Result<()> {
        let json = self.core.serializer.write_event(&entry.event)?;
        let limit = self.core.storage.capabilities().max_record;
        let bytes = json.get().len();
        if bytes > limit {
            return Err(Error::limit_exceeded(format!(
                "a record of {bytes} bytes is larger than the limit of {limit}"
            ))
            .with("kind", entry.event.kind()));
        }
        self.count(&entry, bytes as u64);
        if !applied {
            self.fold.apply(entry.clone())?;
        }
        let body = Body::Json(Bytes::from_owner(Text(json)));
        self.entries.push(Planned { entry, body, applied });
        Ok(())
    }

    fn count(&mut self, entry: &Entry, bytes: u64) {
        self.since_checkpoint.bytes += bytes;
        self.since_checkpoint.records += 1;
        // What a record takes in its log, where this counts.
        let line = bytes + LINE_BYTES;
        self.useful += line;
        if entry.turn == TurnId::SESSION && !matches!(entry.event, Event::Checkpoint(_)) {
            self.since_checkpoint.own += bytes;
        }
        match &entry.event {
            Event::Request(_) => {
                self.since_checkpoint.turns += 1;
                self.running = Volume::default();
            }
            Event::Part(_) | Event::Text(_) | Event::ResponseSet(_) | Event::Claim(_) => {
                self.running.records += 1;
                self.running.bytes += line;
            }
            Event::Response(_) => {
                self.superseded += self.running.bytes;
                self.useful = self.useful.saturating_sub(self.running.bytes);
                self.running = Volume::default();
            }
            Event::Checkpoint(_) => {
                self.superseded += self.since_checkpoint.own;
                self.useful = self.useful.saturating_sub(self.since_checkpoint.own);
                self.since_checkpoint = Volume { own: bytes, ..Volume::default() };
            }
            _ => {}
        }
    }

    /// The turn whose response this process may write, or why it may not.
    pub(crate) fn check_epoch(&self, turn: TurnId, epoch: u64) -> Result<&ChatResponse> {
        let running = self.head.running.as_ref();
        if self.head.epoch != epoch || running.is_none_or(|running| running.turn != turn) {
            return Err(Error::fenced("the response was ended or taken over by another writer")
                .with("turn", turn));
        }
        match self.model().turn(turn) {
            Some(turn) => Ok(turn.response()),
            None => Err(Error::not_found("there is no such turn").with("turn", turn)),
        }
    }

    /// Takes the right to write a turn's response.
    pub(crate) fn claim(&mut self, turn: TurnId) -> u64 {
        self.head.epoch += 1;
        self.epoch = Some(self.head.epoch);
        self.renew(turn);
        self.head.epoch
    }

    /// Prolongs the claim on a turn's response.
    pub(crate) fn renew(&mut self, turn: TurnId) {
        let lease = self.core.options.lease;
        self.head.running = Some(Running {
            turn,
            writer: self.core.storage.writer(),
            until: self.now.saturating_add(signed(lease)).unwrap_or(Timestamp::MAX),
        });
    }

    /// Notes in the log that the claim goes on; the head says until when.
    pub(crate) fn emit_renewal(&mut self, turn: TurnId, epoch: u64) -> Result<()> {
        self.renew(turn);
        self.epoch = self.epoch.max(Some(epoch));
        if self.entries.is_empty() {
            self.emit(turn, Event::Claim(Claim { epoch, extra: Extra::new() }))?;
        }
        Ok(())
    }

    /// Ends the running response: sealed into one record if it came in more than a few.
    pub(crate) fn end_response(
        &mut self,
        turn: TurnId,
        change: impl FnOnce(&mut ChatResponse),
    ) -> Result<()> {
        let response = self.model().turn(turn).map(|turn| turn.response().clone());
        let mut response =
            response.ok_or_else(|| Error::not_found("there is no such turn").with("turn", turn))?;
        response.timings.completed = Some(self.now);
        change(&mut response);
        let epoch = Some(self.head.epoch);
        self.epoch = epoch;
        let mut sealed = false;
        if self.running.records > SEAL_RECORDS {
            let whole = Box::new(ResponseEvent { epoch, response: response.clone() });
            sealed = match self.emit(turn, Event::Response(whole)) {
                // Too large for one record: its many stay.
                Err(error) if error.kind() == ErrorKind::LimitExceeded => false,
                emitted => emitted.map(|()| true)?,
            };
        }
        if !sealed {
            response.parts.clear();
            self.emit(turn, Event::ResponseSet(Box::new(ResponseEvent { epoch, response })))?;
        }
        self.head.running = None;
        self.head.active = self.now;
        Ok(())
    }

    /// Before a response is begun: ends one that its writer left behind; refuses if one is written.
    pub(crate) fn make_way(&mut self) -> Result<()> {
        let Some(running) = self.head.running.clone() else { return Ok(()) };
        if !self.abandoned {
            return Err(Error::busy("a response is being written").with("turn", running.turn));
        }
        self.take_over(running.turn)
    }

    /// Ends a response that its writer left behind, under a new epoch.
    pub(crate) fn take_over(&mut self, turn: TurnId) -> Result<()> {
        let epoch = self.claim(turn);
        self.emit(turn, Event::Claim(Claim { epoch, extra: Extra::new() }))?;
        // Sealing is for whoever saw the whole response come in.
        self.running = Volume::default();
        self.end_response(turn, |response| response.state = ResponseState::Interrupted)
    }

    /// Brings the head up to date with the model; adds a checkpoint if one is due.
    pub(crate) fn finish(&mut self) -> Result<()> {
        // What streams in waits for nothing else.
        let streams = |planned: &Planned| {
            matches!(planned.entry.event, Event::Part(_) | Event::Text(_) | Event::Claim(_))
        };
        if !self.entries.iter().all(streams) && self.checkpoint_is_due() {
            let event =
                Event::Checkpoint(Box::new(checkpoint_of(self.model(), self.fold.log().clone())));
            let size = self.core.serializer.write_event(&event)?.get().len();
            let worthwhile = self.since_checkpoint.bytes >= size as u64 * CHECKPOINT_SHARE;
            if worthwhile && size <= self.core.storage.capabilities().max_record {
                self.emit(TurnId::SESSION, event)?;
            }
        }
        let meta = self.fold.model().session();
        self.head.title = meta.title_text().to_owned();
        self.head.status = meta.status;
        self.head.pinned = meta.pinned;
        self.head.tags.clone_from(&meta.tags);
        self.head.agent.clone_from(&meta.agent);
        self.head.workspace = meta.workspace.as_ref().map(|workspace| workspace.id.clone());
        self.head.parent = meta.parent.as_ref().map(|parent| parent.session.clone());
        self.head.turns = self.fold.model().turn_count();
        let model = self.fold.model();
        let running = self.head.running.as_ref().and_then(|running| model.turn(running.turn));
        self.head.state = running.map(|turn| turn.response().state).or_else(|| model.last_state());
        Ok(())
    }

    fn checkpoint_is_due(&self) -> bool {
        self.since_checkpoint.turns >= CHECKPOINT_TURNS
            || self.since_checkpoint.bytes >= CHECKPOINT_BYTES
    }

    /// Puts the data of large parts into blobs.
    fn move_to_blobs(&mut self, event: Event) -> Result<Event> {
        Ok(match event {
            Event::Part(PartEvent { epoch, index, part }) => {
                Event::Part(PartEvent { epoch, index, part: self.move_part(part)? })
            }
            Event::Response(mut event) => {
                for part in &mut event.response.parts {
                    *part = self.move_part(part.clone())?;
                }
                Event::Response(event)
            }
            event => event,
        })
    }

    pub(crate) fn move_part(&mut self, part: ResponsePart) -> Result<ResponsePart> {
        let Some((moved, id, content)) = moved_to_blob(&part, self.core.options.blob_threshold)?
        else {
            return Ok(part);
        };
        let limit = self.core.storage.capabilities().max_blob;
        if content.len() > limit {
            return Err(Error::limit_exceeded(format!(
                "a part of {} bytes is larger than the limit of {limit}",
                content.len()
            ))
            .with("part", part.kind()));
        }
        self.blobs.push((id, content));
        // Whoever pushed it goes on seeing it whole.
        match part.data()? {
            Some(data) => moved.loaded(data, self.core.serializer.parts()),
            None => Ok(moved),
        }
    }
}

/// The session's own state as a model has it.
pub(crate) fn checkpoint_of(model: &ChatModel, log: LogInfo) -> Checkpoint {
    Checkpoint {
        log,
        state: SessionState { meta: model.session().clone(), extra: model.extra.clone() },
        active: model.active(),
        turns: model.turn_count(),
    }
}

pub(crate) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
