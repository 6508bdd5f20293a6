//! One session: a cheap handle on what all handles of this process share.

use std::fmt;
use std::sync::Arc;

use futures_channel::oneshot;

use super::answer::{Answer, IntoPart, parts_of};
use super::changes::Changes;
use super::live::Shared;
use super::new_session::NewRequest;
use super::plan::Plan;
use super::writer::{Command, Done, Outcome, Run};
use super::{resume, writer_ended};
use crate::error::{Error, Result};
use crate::id::{OwnerId, RequestId, ResponseId, SessionId, TurnId};
use crate::json::Extra;
use crate::log::{Event, RequestEvent, ResponseEvent};
use crate::model::{
    ChatModel, ChatRequest, ChatResponse, Draft, Feedback, ResponseState, SessionChange,
    SessionStatus, Title,
};
use crate::storage::{Damage, Revision};

/// A chat session.
///
/// Cloning is cheap; all handles of one process on one session share one state. Every change is
/// on the disk when its call returns.
///
/// # Errors
///
/// Every change may fail with [`NotFound`](crate::ErrorKind::NotFound) once the session was
/// deleted, with [`Corrupt`](crate::ErrorKind::Corrupt) if its log is damaged, and with
/// [`Unavailable`](crate::ErrorKind::Unavailable) or
/// [`Indeterminate`](crate::ErrorKind::Indeterminate) if the storage fails.
///
/// # Cancel safety
///
/// A change whose future is dropped after its first poll is made all the same.
#[derive(Clone)]
pub struct ChatSession {
    pub(super) shared: Arc<Shared>,
}

/// The ids of a new turn that are the host's own.
type GivenIds = (Option<RequestId>, Option<ResponseId>);

/// Where a new turn goes.
#[derive(Clone, Copy)]
enum Place {
    /// After the last turn of the branch that is shown.
    AtEnd,
    /// Beside a turn.
    Beside(TurnId),
}

impl ChatSession {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.shared.key.id
    }

    /// Whose session it is.
    #[must_use]
    pub fn owner(&self) -> &OwnerId {
        &self.shared.key.owner
    }

    /// The session as it stands, streamed text included. The snapshot does not change under its
    /// reader and costs next to nothing.
    #[must_use]
    pub fn model(&self) -> ChatModel {
        self.shared.lock().model().clone()
    }

    /// The revision of the last record that is known to be on the disk.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.shared.lock().head.revision
    }

    /// Why the last attempt to write failed; `None` once one has succeeded again.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.lock().failure.clone()
    }

    /// What of the session's log cannot be read. Such a session is not written to until its
    /// storage has repaired it.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.shared.lock().damage.clone()
    }

    /// The session's changes from now on, made by this process or another.
    #[must_use]
    pub fn subscribe(&self) -> Changes {
        Changes::new(Arc::clone(&self.shared))
    }

    pub(super) async fn run(
        &self,
        run: impl FnMut(&mut Plan<'_>) -> Result<Outcome> + Send + 'static,
    ) -> Result<Done> {
        let run: Run = Box::new(run);
        self.shared.core.start(&self.shared, run).await
    }

    /// Asks: the request is on the disk when the call returns, and the answer can come in.
    ///
    /// # Errors
    ///
    /// [`Busy`](crate::ErrorKind::Busy) while another response is being written, here or by
    /// another process; [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if a loaded
    /// turn has the id that the host gives the request or its response.
    pub async fn ask(&self, request: impl Into<NewRequest>) -> Result<Answer> {
        self.begin(Place::AtEnd, request.into()).await
    }

    /// Asks anew in place of an earlier request: makes a sibling of its turn; the old branch stays.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask), and [`NotFound`](crate::ErrorKind::NotFound) if there is no
    /// such turn.
    pub async fn edit(&self, turn: TurnId, request: impl Into<NewRequest>) -> Result<Answer> {
        self.load(turn).await?;
        self.begin(Place::Beside(turn), request.into()).await
    }

    /// Asks the same again: makes a sibling of the turn with the same request; the old branch
    /// stays.
    ///
    /// # Errors
    ///
    /// Those of [`edit`](Self::edit).
    pub async fn regenerate(&self, turn: TurnId) -> Result<Answer> {
        self.load(turn).await?;
        let model = self.model();
        let same = model.turn(turn).ok_or_else(|| no_such_turn(turn))?.request();
        let mut request = NewRequest::new();
        request.author = same.author;
        request.message.clone_from(&same.message);
        request.agent.clone_from(&same.agent);
        request.command.clone_from(&same.command);
        request.model.clone_from(&same.model);
        self.begin(Place::Beside(turn), request).await
    }

    async fn begin(&self, place: Place, request: NewRequest) -> Result<Answer> {
        let (mut request, response, given) = self.named(request)?;
        let done = self
            .run(move |plan| {
                plan.make_way()?;
                check_new(plan, &given)?;
                let (turn, parent) = placed(plan, place)?;
                let epoch = plan.claim(turn);
                Arc::make_mut(&mut request).at = plan.now;
                let event = RequestEvent {
                    parent,
                    request: Arc::clone(&request),
                    response: response.clone(),
                    epoch: Some(epoch),
                    extra: Extra::new(),
                };
                plan.emit(turn, Event::Request(Box::new(event)))?;
                plan.head.active = plan.now;
                Ok(Outcome { turn: Some(turn), epoch: Some(epoch), part: None })
            })
            .await?;
        let begun = done.begun.ok_or_else(|| Error::unavailable("the turn was not begun"))?;
        Ok(Answer::new(self.clone(), begun))
    }

    /// Records a finished exchange in one append: the request and its whole response.
    ///
    /// # Errors
    ///
    /// Those of [`ask`](Self::ask), and [`Invalid`](crate::ErrorKind::Invalid) if a part cannot be
    /// written.
    pub async fn record<P: IntoPart>(
        &self,
        request: impl Into<NewRequest>,
        parts: impl IntoIterator<Item = P>,
    ) -> Result<TurnId> {
        let (mut request, response, given) = self.named(request.into())?;
        let parts = parts_of(parts)?;
        let done = self
            .run(move |plan| {
                plan.make_way()?;
                check_new(plan, &given)?;
                let (turn, parent) = placed(plan, Place::AtEnd)?;
                Arc::make_mut(&mut request).at = plan.now;
                let mut answered = ChatResponse::new(response.clone());
                answered.state = ResponseState::Complete;
                answered.parts.clone_from(&parts);
                answered.timings.completed = Some(plan.now);
                let event = RequestEvent {
                    parent,
                    request: Arc::clone(&request),
                    response: response.clone(),
                    epoch: None,
                    extra: Extra::new(),
                };
                plan.emit(turn, Event::Request(Box::new(event)))?;
                let event = ResponseEvent { epoch: None, response: answered };
                plan.emit(turn, Event::Response(Box::new(event)))?;
                plan.head.active = plan.now;
                Ok(Outcome { turn: Some(turn), ..Outcome::default() })
            })
            .await?;
        done.turn.ok_or_else(|| Error::unavailable("the turn was not begun"))
    }

    fn named(&self, new: NewRequest) -> Result<(Arc<ChatRequest>, ResponseId, GivenIds)> {
        let core = &self.shared.core;
        let given = (new.id.clone(), new.response_id.clone());
        let id = new.id.map_or_else(|| RequestId::new(core.ids.next_id()), Ok)?;
        let response = new.response_id.map_or_else(|| ResponseId::new(core.ids.next_id()), Ok)?;
        let mut request = ChatRequest::new(id, core.clock.now());
        request.author = new.author;
        request.message = new.message;
        request.agent = new.agent;
        request.command = new.command;
        request.model = new.model;
        Ok((Arc::new(request), response, given))
    }

    /// Shows the branch of a turn: its newest continuation becomes the active one.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such turn.
    pub async fn switch_to(&self, turn: TurnId) -> Result<()> {
        self.load(turn).await?;
        self.run(move |plan| {
            plan.model().turn(turn).ok_or_else(|| no_such_turn(turn))?;
            let leaf = plan.model().leaf_of(turn);
            if plan.model().active() != Some(leaf) {
                plan.emit(TurnId::SESSION, Event::Active(Some(leaf)))?;
            }
            Ok(Outcome::default())
        })
        .await?;
        Ok(())
    }

    /// Changes some of the session's properties in one append.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn change(&self, changes: impl IntoIterator<Item = SessionChange>) -> Result<()> {
        let changes: Vec<_> = changes.into_iter().collect();
        if changes.is_empty() {
            return Ok(());
        }
        self.run(move |plan| {
            plan.emit(TurnId::SESSION, Event::SessionSet(changes.clone()))?;
            Ok(Outcome::default())
        })
        .await?;
        Ok(())
    }

    /// Gives the session a title, in a person's name.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn rename(&self, title: impl Into<String>) -> Result<()> {
        self.change([SessionChange::Title(Some(Title::by_person(title)))]).await
    }

    /// Pins or unpins the session.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn pin(&self, pinned: bool) -> Result<()> {
        self.change([SessionChange::Pinned(pinned)]).await
    }

    /// Sets the session's tags.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn tag(&self, tags: impl IntoIterator<Item = impl Into<String>>) -> Result<()> {
        let tags = tags.into_iter().map(Into::into).collect();
        self.change([SessionChange::Tags(tags)]).await
    }

    /// Puts the session away, complete and findable.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn archive(&self) -> Result<()> {
        self.change([SessionChange::Status(SessionStatus::Archived)]).await
    }

    /// Puts the session in the trash.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn trash(&self) -> Result<()> {
        self.change([SessionChange::Status(SessionStatus::Trashed)]).await
    }

    /// Takes the session back out of the archive or the trash.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn restore(&self) -> Result<()> {
        self.change([SessionChange::Status(SessionStatus::Active)]).await
    }

    /// Keeps, or removes, what is being typed.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn set_draft(&self, draft: Option<Draft>) -> Result<()> {
        self.change([SessionChange::Draft(draft)]).await
    }

    /// Sets what a person thinks of a response, or takes it back.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such turn.
    pub async fn feedback(&self, turn: TurnId, feedback: Option<Feedback>) -> Result<()> {
        self.run(move |plan| {
            check_turn(plan, turn)?;
            plan.emit(turn, Event::Feedback(feedback.clone()))?;
            Ok(Outcome::default())
        })
        .await?;
        Ok(())
    }

    /// Waits until all streamed text is on the disk.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn flush(&self) -> Result<()> {
        let (reply, receiver) = oneshot::channel();
        self.shared.core.send(Command::Flush(Arc::clone(&self.shared), reply))?;
        receiver.await.unwrap_or_else(|_| Err(writer_ended()))
    }

    /// Drops from the log what later records have made superfluous. It happens by itself when it
    /// is worth it; this does it now, unless a response is being written.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn compact(&self) -> Result<()> {
        let (reply, receiver) = oneshot::channel();
        self.shared.core.send(Command::Compact(Arc::clone(&self.shared), reply))?;
        receiver.await.unwrap_or_else(|_| Err(writer_ended()))
    }

    /// Notes that a person closed the session, so that its workspace does not resume it.
    ///
    /// # Errors
    ///
    /// Those of every change.
    pub async fn close(&self) -> Result<()> {
        if self.damage().is_empty() {
            self.flush().await?;
        }
        let Some(workspace) = self.model().session().workspace.as_ref().map(|w| w.id.clone())
        else {
            return Ok(());
        };
        let shared = Arc::clone(&self.shared);
        let note = async move {
            let key = &shared.key;
            resume::note(&shared.core, &key.owner, &workspace, &key.id, false).await
        };
        self.shared.core.run(note).await
    }

    /// Ends a response whose writer is gone. One that is being written is left alone.
    pub(super) async fn take_over_if_abandoned(&self) -> Result<()> {
        let is_open = {
            let live = self.shared.lock();
            live.head.fields.running.is_some() && live.damage.is_empty()
        };
        if !is_open {
            return Ok(());
        }
        self.run(|plan| {
            if let (Some(running), true) = (plan.head.running.clone(), plan.abandoned) {
                plan.take_over(running.turn)?;
            }
            Ok(Outcome::default())
        })
        .await?;
        Ok(())
    }
}

/// Refuses ids that loaded turns have. Only a host's own are looked for: new ones are unique.
fn check_new(plan: &Plan<'_>, (request, response): &GivenIds) -> Result<()> {
    let model = plan.model();
    if let Some(id) = request
        && model.all_turns().any(|turn| turn.request().id == *id)
    {
        return Err(
            Error::already_exists("a request of this id is there already").with("request", id)
        );
    }
    if let Some(id) = response
        && model.all_turns().any(|turn| turn.response().id == *id)
    {
        return Err(
            Error::already_exists("a response of this id is there already").with("response", id)
        );
    }
    Ok(())
}

/// The number and parent of a new turn.
fn placed(plan: &Plan<'_>, place: Place) -> Result<(TurnId, Option<TurnId>)> {
    let model = plan.model();
    let parent = match place {
        Place::AtEnd => model.active(),
        Place::Beside(turn) => model.turn(turn).ok_or_else(|| no_such_turn(turn))?.parent(),
    };
    Ok((TurnId::new(model.turn_count() + 1), parent))
}

pub(super) fn check_turn(plan: &Plan<'_>, turn: TurnId) -> Result<()> {
    if turn == TurnId::SESSION || turn.get() > plan.model().turn_count() {
        return Err(no_such_turn(turn));
    }
    Ok(())
}

pub(super) fn no_such_turn(turn: TurnId) -> Error {
    Error::not_found("there is no such turn").with("turn", turn)
}

impl fmt::Debug for ChatSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChatSession")
            .field("owner", self.owner())
            .field("id", self.id())
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}
