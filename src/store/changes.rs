//! Live updates of one session, and of an owner's list.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::task::AtomicWaker;

use super::live::Shared;
use super::writer::Command;
use crate::error::{Error, Result};
use crate::id::{OwnerId, SessionId, TurnId};
use crate::model::ResponseState;
use crate::storage::{Hint, SessionHead, Storage, WatchFilter};

/// A change of a session. The model of the handle has it already.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The session's own properties or data changed.
    Session,
    /// A turn was added, or its request's data changed.
    Turn(TurnId),
    /// Another branch is shown.
    Active(Option<TurnId>),
    /// A part was added or replaced.
    Part {
        /// The turn of the response.
        turn: TurnId,
        /// The part's place, counted from 0.
        part: usize,
    },
    /// Text was added to the end of a part.
    Text {
        /// The turn of the response.
        turn: TurnId,
        /// The part's place, counted from 0.
        part: usize,
        /// The text. A slow reader gets several pieces as one.
        text: String,
    },
    /// Something else of a response changed: its state, usage, feedback, data.
    Response {
        /// The turn of the response.
        turn: TurnId,
        /// The state that it is in.
        state: ResponseState,
    },
    /// So much changed that it is not told one by one: take a new snapshot.
    Reloaded,
    /// Changes of other processes cannot be told any more, for this reason.
    Unwatched(Error),
    /// The session was deleted. Nothing comes after it.
    Deleted,
}

/// More changes than this that nobody took become one [`Change::Reloaded`].
const MAX_QUEUED: usize = 1024;

#[derive(Default)]
pub(crate) struct Subscriber {
    queue: Mutex<VecDeque<Change>>,
    waker: AtomicWaker,
}

impl Subscriber {
    pub(crate) fn push(&self, change: Change) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match (queue.back_mut(), change) {
            (
                Some(Change::Text { turn, part, text }),
                Change::Text { turn: to, part: index, text: more },
            ) if (*turn, *part) == (to, index) => text.push_str(&more),
            (_, change) => queue.push_back(change),
        }
        if queue.len() > MAX_QUEUED {
            queue.retain(|change| matches!(change, Change::Unwatched(_) | Change::Deleted));
            queue.push_front(Change::Reloaded);
        }
        drop(queue);
        self.waker.wake();
    }

    fn pop(&self) -> Option<Change> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// The hints of a storage.
enum Hints {
    Opening(BoxFuture<'static, Result<BoxStream<'static, Hint>>>),
    Open(BoxStream<'static, Hint>),
    Closed,
}

impl Hints {
    /// Begins to watch on a thread that may be blocked.
    fn open(storage: Arc<dyn Storage>, filter: WatchFilter) -> Self {
        let watch = move || pollster::block_on(async { storage.watch(filter).await });
        Self::Opening(Box::pin(::blocking::unblock(watch)))
    }

    /// The next hint; `Some(Ok(None))` once the storage has begun to watch.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Option<Hint>>>> {
        match self {
            Self::Opening(opening) => match opening.as_mut().poll(context) {
                Poll::Ready(Ok(stream)) => {
                    *self = Self::Open(stream);
                    Poll::Ready(Some(Ok(None)))
                }
                Poll::Ready(Err(error)) => {
                    *self = Self::Closed;
                    Poll::Ready(Some(Err(error)))
                }
                Poll::Pending => Poll::Pending,
            },
            Self::Open(stream) => {
                stream.as_mut().poll_next(context).map(|hint| hint.map(|hint| Ok(Some(hint))))
            }
            Self::Closed => Poll::Ready(None),
        }
    }
}

/// A session's changes as they happen, made by this process or another: a [`Stream`] of
/// [`Change`]s from the moment it was made. It ends after [`Change::Deleted`].
///
/// It holds the session open. A reader that falls far behind gets [`Change::Reloaded`].
pub struct Changes {
    shared: Arc<Shared>,
    subscriber: Arc<Subscriber>,
    hints: Hints,
    ended: bool,
}

impl Changes {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let subscriber = shared.lock().subscribe();
        let storage = Arc::clone(&shared.core.storage);
        let hints = Hints::open(storage, WatchFilter::Session(shared.key.clone()));
        Self { shared, subscriber, hints, ended: false }
    }

    /// Waits for the next change; `None` after the session was deleted.
    ///
    /// # Cancel safety
    ///
    /// A change that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Option<Change> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The next change if there is one already.
    pub fn try_next(&mut self) -> Option<Change> {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(self).poll_next(&mut context) {
            Poll::Ready(change) => change,
            Poll::Pending => None,
        }
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Change>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.subscriber.waker.register(context.waker());
        while let Poll::Ready(hint) = self.hints.poll(context) {
            let read = match hint {
                // What came before the storage began to watch is read as well.
                Some(hint) => hint.and_then(|_| {
                    let shared = Arc::clone(&self.shared);
                    self.shared.core.send(Command::CatchUp(shared, None))
                }),
                None => {
                    let ended = matches!(self.hints, Hints::Open(_));
                    self.hints = Hints::Closed;
                    if ended {
                        let error = Error::unavailable("the storage tells of no more changes");
                        self.subscriber.push(Change::Unwatched(error));
                    }
                    break;
                }
            };
            if let Err(error) = read {
                self.subscriber.push(Change::Unwatched(error));
            }
        }
        match self.subscriber.pop() {
            Some(change) => {
                self.ended = change == Change::Deleted;
                Poll::Ready(Some(change))
            }
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("session", &self.shared.key.id).finish_non_exhaustive()
    }
}

/// A change of an owner's list of sessions.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ListChange {
    /// The storage is being watched from now on: take the list, and then what follows. It comes
    /// first, and once.
    Reloaded,
    /// A session that fits the query was created or changed.
    Updated(Box<SessionHead>),
    /// A session was deleted or does not fit the query any more.
    Removed(SessionId),
    /// A change could not be read, or none can be told any more, for this reason.
    Failed(Error),
}

/// The changes of an owner's list as they happen: a [`Stream`] of [`ListChange`]s.
pub struct ListChanges {
    state: ListState,
    owner: OwnerId,
    look_up: Box<dyn Fn(Hint) -> BoxFuture<'static, ListChange> + Send + Sync>,
}

struct ListState {
    hints: Hints,
    looking: Option<BoxFuture<'static, ListChange>>,
}

impl ListChanges {
    pub(crate) fn new(
        owner: OwnerId,
        storage: Arc<dyn Storage>,
        look_up: Box<dyn Fn(Hint) -> BoxFuture<'static, ListChange> + Send + Sync>,
    ) -> Self {
        let hints = Hints::open(storage, WatchFilter::Owner(owner.clone()));
        let state = ListState { hints, looking: None };
        Self { state, owner, look_up }
    }

    /// Waits for the next change; `None` if the storage tells of none any more.
    ///
    /// # Cancel safety
    ///
    /// A change that was not returned is returned by the next call.
    pub async fn next(&mut self) -> Option<ListChange> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for ListChanges {
    type Item = ListChange;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ListChange>> {
        loop {
            if let Some(looking) = &mut self.state.looking {
                let Poll::Ready(change) = looking.as_mut().poll(context) else {
                    return Poll::Pending;
                };
                self.state.looking = None;
                return Poll::Ready(Some(change));
            }
            match self.state.hints.poll(context) {
                Poll::Ready(Some(Ok(None))) => return Poll::Ready(Some(ListChange::Reloaded)),
                Poll::Ready(Some(Ok(Some(hint)))) => {
                    self.state.looking = Some((self.look_up)(hint));
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(ListChange::Failed(error)));
                }
                Poll::Ready(None) => {
                    self.state.hints = Hints::Closed;
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl fmt::Debug for ListChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListChanges").field("owner", &self.owner).finish_non_exhaustive()
    }
}
