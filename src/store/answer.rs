//! An answer that is coming in.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::begun::{Begun, end, put};
use super::core::Reply;
use super::live::MAX_PENDING;
use super::plan::Plan;
use super::session::ChatSession;
use super::writer::{Done, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::log::{Event, ResponseEvent};
use crate::model::{ChatResponse, ResponseError, ResponseState, Usage};
use crate::part::{Markdown, Part, ResponsePart, Thinking};

/// Streamed text is written in records of at most so many bytes.
const MAX_TEXT: usize = 1 << 20;

/// What can be pushed into an answer: any [`Part`], or a [`ResponsePart`].
pub trait IntoPart {
    /// The part.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it cannot be written.
    fn into_part(self) -> Result<ResponsePart>;
}

impl<P: Part> IntoPart for P {
    fn into_part(self) -> Result<ResponsePart> {
        ResponsePart::new(self)
    }
}

impl IntoPart for ResponsePart {
    fn into_part(self) -> Result<ResponsePart> {
        Ok(self)
    }
}

pub(super) fn parts_of<P: IntoPart>(
    parts: impl IntoIterator<Item = P>,
) -> Result<Vec<ResponsePart>> {
    parts.into_iter().map(IntoPart::into_part).collect()
}

/// An answer that is coming in. The right to write it is this value's alone.
///
/// Streamed text is in [`ChatSession::model`] at once and on the disk within the store's flush
/// delay; parts, and the end, are on the disk when their call returns. Dropped without an end it
/// becomes [`Interrupted`](ResponseState::Interrupted), and the chat goes on from there.
///
/// # Errors
///
/// Every call may fail with [`Fenced`](crate::ErrorKind::Fenced) if another writer has taken the
/// response over, with [`Invalid`](crate::ErrorKind::Invalid) after its end, and like every change
/// of a [`ChatSession`]. After a failure of the storage the same call can be made again.
///
/// # Cancel safety
///
/// A call whose future is dropped after its first poll takes effect all the same, before any later
/// one does; if it failed, the next call says so in its place. Two do not: one that comes while such
/// an earlier call is still under way, and text that comes while the storage fails.
pub struct Answer {
    chat: ChatSession,
    turn: TurnId,
    epoch: u64,
    begun: Begun,
    in_flight: Option<InFlight>,
    /// Where a part may be of which it is not known whether it was added.
    unknown: Option<usize>,
}

/// A change whose caller did not wait for its end.
struct InFlight {
    reply: Reply,
    /// It ends the answer.
    ends: bool,
}

impl Answer {
    pub(super) fn new(chat: ChatSession, begun: Begun) -> Self {
        Self { chat, turn: begun.turn, epoch: begun.epoch, begun, in_flight: None, unknown: None }
    }

    /// The turn whose response this is.
    #[must_use]
    pub fn turn(&self) -> TurnId {
        self.turn
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &ChatSession {
        &self.chat
    }

    /// Adds text to the Markdown at the answer's end, or begins one.
    ///
    /// Text is taken at once, and written within the flush delay; if that fails it is tried again
    /// by itself, and [`ChatSession::failure`] says so. Much text that is not written yet makes the
    /// call wait.
    ///
    /// # Errors
    ///
    /// If the storage has failed before, and fails again, the text is not taken.
    pub async fn append_text(&mut self, text: impl AsRef<str> + Send) -> Result<()> {
        let begin = |text: &str| ResponsePart::new(Markdown::new(text));
        self.stream(text.as_ref(), Markdown::KIND, begin).await
    }

    /// Adds text to the thought at the answer's end, or begins one.
    ///
    /// # Errors
    ///
    /// Those of [`append_text`](Self::append_text).
    pub async fn append_thinking(&mut self, text: impl AsRef<str> + Send) -> Result<()> {
        let begin = |text: &str| ResponsePart::new(Thinking::new(text));
        self.stream(text.as_ref(), Thinking::KIND, begin).await
    }

    async fn stream(
        &mut self,
        mut text: &str,
        kind: &'static str,
        begin: fn(&str) -> Result<ResponsePart>,
    ) -> Result<()> {
        self.check_open().await?;
        if self.chat.shared.lock().failure.is_some() {
            self.chat.flush().await?;
        }
        let mut full = false;
        // JSON may need six bytes for one.
        let limit = self.chat.shared.core.storage.capabilities().max_record / 8;
        let limit = limit.clamp(4, MAX_TEXT);
        while !text.is_empty() {
            let (piece, rest) = text.split_at(boundary(text, limit));
            text = rest;
            full = self.take_in(piece, kind, begin, limit)?;
        }
        if !full {
            return Ok(());
        }
        match self.chat.flush().await {
            // The text has been taken: the session shows the failure, and the next call meets it.
            Err(error) if error.is_retryable() => Ok(()),
            flushed => flushed,
        }
    }

    /// Adds text to the model and to what is to be written. Says whether that is much by now.
    fn take_in(
        &self,
        text: &str,
        kind: &'static str,
        begin: fn(&str) -> Result<ResponsePart>,
        limit: usize,
    ) -> Result<bool> {
        let shared = &self.chat.shared;
        let at = shared.core.clock.now();
        let mut live = shared.lock();
        live.check(&shared.key)?;
        if live.head.fields.epoch != self.epoch || live.head.fields.running.is_none() {
            return Err(self.fenced());
        }
        let continues = |part: &ResponsePart| part.kind() == kind && part.takes_text();
        live.stream(self.turn, self.epoch, text, || begin(text), continues, at, limit)?;
        if live.flush_at.is_none() {
            let due = Instant::now() + shared.core.options.flush_delay;
            live.flush_at = Some(due);
            shared.wake_at(&mut live, due)?;
        }
        Ok(live.pending_bytes() > MAX_PENDING)
    }

    fn fenced(&self) -> Error {
        let error = Error::fenced("the response was ended or taken over by another writer");
        super::load::in_session(error, &self.chat.shared.key).with("turn", self.turn)
    }

    /// Adds a part. Returns its place, by which it can be [replaced](Self::replace).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if the part cannot be written,
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if it is too large.
    pub async fn push(&mut self, part: impl IntoPart + Send) -> Result<usize> {
        let part = part.into_part()?;
        self.check_open().await?;
        let (turn, epoch, unknown) = (self.turn, self.epoch, self.unknown);
        let place = self.response()?.parts.len();
        let added = self
            .run(move |plan| {
                let parts = &plan.check_epoch(turn, epoch)?.parts;
                let (index, there) = (parts.len(), unknown.and_then(|at| parts.get(at).cloned()));
                let part = plan.move_part(part.clone())?;
                if let (Some(at), true) = (unknown, there.as_ref() == Some(&part)) {
                    // A call before whose answer was lost has added it.
                    return Ok(Outcome { part: Some(at), ..Outcome::default() });
                }
                put(plan, turn, epoch, index, part)
            })
            .await;
        match &added {
            Err(error) if error.kind() == ErrorKind::Indeterminate => {
                self.unknown = self.unknown.or(Some(place));
            }
            _ => self.unknown = None,
        }
        added?.part.ok_or_else(|| Error::unavailable("the part was not added"))
    }

    /// Puts a part in another's place: a tool call that has come further, say.
    ///
    /// # Errors
    ///
    /// Those of [`push`](Self::push), and [`NotFound`](crate::ErrorKind::NotFound) if there is no
    /// part at that place.
    pub async fn replace(&mut self, index: usize, part: impl IntoPart + Send) -> Result<()> {
        let part = part.into_part()?;
        self.check_open().await?;
        if index >= self.response()?.parts.len() {
            return Err(Error::not_found("the response has no such part").with("part", index));
        }
        let (turn, epoch) = (self.turn, self.epoch);
        self.run(move |plan| {
            plan.check_epoch(turn, epoch)?;
            put(plan, turn, epoch, index, part.clone())
        })
        .await?;
        Ok(())
    }

    /// Changes anything of the response but its parts and state: model, usage, references, …
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn update(
        &mut self,
        change: impl Fn(&mut ChatResponse) + Send + 'static,
    ) -> Result<()> {
        self.set(move |response| {
            let (id, state) = (response.id.clone(), response.state);
            change(response);
            (response.id, response.state) = (id, state);
        })
        .await
    }

    /// Sets which model answers.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn set_model(&mut self, model: impl Into<String>) -> Result<()> {
        let model = model.into();
        self.update(move |response| response.model = Some(model.clone())).await
    }

    /// Sets what the answer has used.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn set_usage(&mut self, usage: Usage) -> Result<()> {
        self.update(move |response| response.usage = Some(usage.clone())).await
    }

    /// Notes that the answer waits for a person. Whatever is added next ends the wait.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn needs_input(&mut self) -> Result<()> {
        self.set(|response| response.state = ResponseState::NeedsInput).await
    }

    async fn set(&mut self, change: impl Fn(&mut ChatResponse) + Send + 'static) -> Result<()> {
        self.check_open().await?;
        let (turn, epoch) = (self.turn, self.epoch);
        self.run(move |plan| {
            let mut response = plan.check_epoch(turn, epoch)?.clone();
            plan.epoch = Some(epoch);
            change(&mut response);
            response.parts.clear();
            let event = ResponseEvent { epoch: Some(epoch), response };
            plan.emit(turn, Event::ResponseSet(Box::new(event)))?;
            Ok(Outcome::default())
        })
        .await?;
        Ok(())
    }

    /// Ends the answer as it should. All of it is on the disk when the call returns.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn complete(&mut self) -> Result<()> {
        self.end(ResponseState::Complete, None).await
    }

    /// Ends the answer because a person said so.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn cancel(&mut self) -> Result<()> {
        self.end(ResponseState::Cancelled, None).await
    }

    /// Ends the answer with an error, which the response keeps.
    ///
    /// # Errors
    ///
    /// Those of every call.
    pub async fn fail(&mut self, error: impl Into<ResponseError> + Send) -> Result<()> {
        self.end(ResponseState::Failed, Some(error.into())).await
    }

    async fn end(&mut self, state: ResponseState, error: Option<ResponseError>) -> Result<()> {
        self.check_open().await?;
        let (turn, epoch) = (self.turn, self.epoch);
        self.run_to(true, move |plan| end(plan, turn, epoch, state, error.as_ref())).await?;
        Ok(())
    }

    /// Waits for what was begun before, and checks that more can come.
    async fn check_open(&mut self) -> Result<()> {
        self.land().await?;
        if self.begun.ended {
            return Err(Error::invalid("the answer has ended").with("turn", self.turn));
        }
        Ok(())
    }

    /// Waits for the change that is under way, if one is.
    async fn land(&mut self) -> Result<Done> {
        let Some(in_flight) = &mut self.in_flight else { return Ok(Done::default()) };
        let (result, ends) = ((&mut in_flight.reply).await, in_flight.ends);
        self.in_flight = None;
        let done = result?;
        self.begun.ended |= ends;
        Ok(done)
    }

    fn response(&self) -> Result<Arc<ChatResponse>> {
        let live = self.chat.shared.lock();
        live.check(&self.chat.shared.key)?;
        let turn = live.model().turn(self.turn);
        turn.map(|turn| Arc::clone(&turn.response)).ok_or_else(|| self.fenced())
    }

    async fn run(
        &mut self,
        run: impl FnMut(&mut Plan<'_>) -> Result<Outcome> + Send + 'static,
    ) -> Result<Done> {
        self.run_to(false, run).await
    }

    async fn run_to(
        &mut self,
        ends: bool,
        run: impl FnMut(&mut Plan<'_>) -> Result<Outcome> + Send + 'static,
    ) -> Result<Done> {
        let reply = self.chat.shared.core.start(&self.chat.shared, Box::new(run));
        self.in_flight = Some(InFlight { reply, ends });
        self.land().await
    }
}

/// The last place at or before `limit` where the text may be cut.
fn boundary(text: &str, limit: usize) -> usize {
    let fits = |at: &usize| text.is_char_boundary(*at);
    (0..=limit.min(text.len())).rev().find(fits).unwrap_or(0)
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("session", self.chat.id())
            .field("turn", &self.turn)
            .field("ended", &self.begun.ended)
            .finish_non_exhaustive()
    }
}
