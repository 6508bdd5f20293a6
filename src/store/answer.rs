//! An answer that is coming in.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use super::core::Reply;
use super::live::MAX_PENDING;
use super::plan::Plan;
use super::session::ChatSession;
use super::writer::{Outcome, Run};
use crate::error::{Error, Result};
use crate::id::TurnId;
use crate::log::{Event, PartEvent, ResponseEvent};
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
/// one does.
pub struct Answer {
    chat: ChatSession,
    turn: TurnId,
    epoch: u64,
    ended: bool,
    /// A change whose caller did not wait for its end.
    in_flight: Option<Reply>,
}

impl Answer {
    pub(super) fn new(chat: ChatSession, turn: TurnId, epoch: u64) -> Self {
        Self { chat, turn, epoch, ended: false, in_flight: None }
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
    /// # Errors
    ///
    /// If the storage has failed, and fails again, the text is not taken.
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
        while !text.is_empty() {
            let (piece, rest) = text.split_at(text.floor_char_boundary(MAX_TEXT));
            text = rest;
            let full = self.take_in(piece, kind, begin)?;
            if full {
                self.chat.flush().await?;
            }
        }
        Ok(())
    }

    /// Adds text to the model and to what is to be written. Says whether that is much by now.
    fn take_in(
        &self,
        text: &str,
        kind: &'static str,
        begin: fn(&str) -> Result<ResponsePart>,
    ) -> Result<bool> {
        let shared = &self.chat.shared;
        let at = shared.core.clock.now();
        let mut live = shared.lock();
        live.check(&shared.key)?;
        if live.head.fields.epoch != self.epoch || live.head.fields.running.is_none() {
            return Err(self.fenced());
        }
        let continues = |part: &ResponsePart| part.kind() == kind && part.takes_text();
        live.stream(self.turn, self.epoch, text, || begin(text), continues, at)?;
        if live.flush_at.is_none() {
            let due = Instant::now() + shared.core.options.flush_delay;
            live.flush_at = Some(due);
            shared.wake_at(due)?;
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
        // Nobody else adds parts, so that the place is known before it is written.
        let index = self.response()?.parts.len();
        self.put(index, part).await?;
        Ok(index)
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
        self.put(index, part).await
    }

    async fn put(&mut self, index: usize, part: ResponsePart) -> Result<()> {
        let (turn, epoch) = (self.turn, self.epoch);
        self.run(move |plan| {
            plan.check_epoch(turn, epoch)?;
            plan.epoch = Some(epoch);
            let event = PartEvent { epoch: Some(epoch), index, part: part.clone() };
            plan.emit(turn, Event::Part(event))?;
            Ok(Outcome::default())
        })
        .await
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
        .await
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
        self.run(move |plan| end(plan, turn, epoch, state, error.as_ref())).await?;
        self.ended = true;
        Ok(())
    }

    /// Waits for what was begun before, and checks that more can come.
    async fn check_open(&mut self) -> Result<()> {
        if let Some(in_flight) = &mut self.in_flight {
            let result = in_flight.await;
            self.in_flight = None;
            result?;
        }
        if self.ended {
            return Err(Error::invalid("the answer has ended").with("turn", self.turn));
        }
        Ok(())
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
    ) -> Result<()> {
        let run: Run = Box::new(run);
        let reply = self.in_flight.insert(self.chat.shared.core.start(&self.chat.shared, run));
        let result = reply.await;
        self.in_flight = None;
        result.map(|_| ())
    }
}

fn end(
    plan: &mut Plan<'_>,
    turn: TurnId,
    epoch: u64,
    state: ResponseState,
    error: Option<&ResponseError>,
) -> Result<Outcome> {
    plan.check_epoch(turn, epoch)?;
    plan.end_response(turn, |response| {
        response.state = state;
        if error.is_some() {
            response.error = error.cloned();
        }
    })?;
    Ok(Outcome::default())
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (turn, epoch) = (self.turn, self.epoch);
        let shared = &self.chat.shared;
        // If the end cannot be written now, whoever asks next finds the answer without a holder.
        let mut live = shared.lock();
        if live.own_epoch == Some(epoch) {
            live.own_epoch = None;
        }
        drop(live);
        let run: Run =
            Box::new(move |plan| end(plan, turn, epoch, ResponseState::Interrupted, None));
        // A failure is shown by the session's handles; there is nobody here to tell.
        drop(shared.core.start(shared, run));
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("session", self.chat.id())
            .field("turn", &self.turn)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}
