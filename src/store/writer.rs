//! The one thread that writes: it takes what has come in for each session, appends it as one
//! batch, and settles conflicts by catching up and planning anew.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use futures_channel::oneshot;
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::begun::Begun;
use super::catch_up::catch_up;
use super::changes::Change;
use super::compact;
use super::core::Core;
use super::live::Shared;
use super::load::{gone, in_session};
use super::plan::Plan;
use super::write::{retry_later, write};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::storage::{PurgeReceipt, SessionKey};

/// A change of a session. It is run again when others have changed the session meanwhile.
pub(crate) type Run = Box<dyn FnMut(&mut Plan<'_>) -> Result<Outcome> + Send>;

/// What a change made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// The turn that it began.
    pub(crate) turn: Option<TurnId>,
    /// The epoch under which the turn's response is to be written.
    pub(crate) epoch: Option<u64>,
    /// The place of the part that it added.
    pub(crate) part: Option<usize>,
}

/// What became of a change.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// The turn that it began.
    pub(crate) turn: Option<TurnId>,
    /// The right to write that turn's response.
    pub(crate) begun: Option<Begun>,
    /// The place of the part that it added.
    pub(crate) part: Option<usize>,
}

pub(crate) struct Job {
    pub(crate) run: Run,
    pub(crate) reply: oneshot::Sender<Result<Done>>,
    /// Dropped before the reply.
    pub(crate) waits: Waits,
}

/// One change that is not made yet.
#[derive(Debug)]
pub(crate) struct Waits(Arc<Shift>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What the store's writing thread shares with callers that write on their own.
#[derive(Debug, Default)]
struct Shift {
    /// How many changes have been asked for and are not made yet.
    waiting: AtomicUsize,
    /// Held by whoever writes.
    writes: Mutex<()>,
}

/// How a store's changes get to whoever makes them.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    commands: Sender<Command>,
    shift: Arc<Shift>,
}

pub(crate) enum Command {
    /// Change a session.
    Run(Arc<Shared>, Job),
    /// Look after a session at a moment: flush its text, renew its claim.
    WakeAt(Instant, Weak<Shared>),
    /// Read what others have added.
    CatchUp(Arc<Shared>, Option<oneshot::Sender<Result<()>>>),
    /// Write a session's streamed text now.
    Flush(Arc<Shared>, oneshot::Sender<Result<()>>),
    /// Compact a session's log.
    Compact(Arc<Shared>, oneshot::Sender<Result<()>>),
    /// Remove a session for good.
    Delete(Arc<Core>, SessionKey, oneshot::Sender<Result<PurgeReceipt>>),
}

impl Writer {
    /// Starts the thread. It ends when the last sender is gone.
    pub(crate) fn start() -> Result<Self> {
        let (commands, receiver) = channel();
        let shift = Arc::new(Shift::default());
        let own = Arc::clone(&shift);
        std::thread::Builder::new()
            .name("chatkeep-writer".to_owned())
            .spawn(move || run(&receiver, &own.writes))
            .map_err(|e| Error::unavailable("the store's writer cannot be started").caused_by(e))?;
        Ok(Self { commands, shift })
    }

    pub(crate) fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).map_err(|_| Error::unavailable("the store's writer has ended"))
    }

    /// Has a change of a session made.
    ///
    /// A caller that may block makes it on its own thread if no other change waits: two switches
    /// between threads take longer than the write itself.
    pub(crate) fn change(
        &self,
        shared: Arc<Shared>,
        run: Run,
        reply: oneshot::Sender<Result<Done>>,
    ) -> Result<()> {
        let is_first = self.shift.waiting.fetch_add(1, Ordering::SeqCst) == 0;
        let job = Job { run, reply, waits: Waits(Arc::clone(&self.shift)) };
        if is_first && MAY_BLOCK.get() {
            // Whoever holds it is about to end, or what it does would have to end first anyway.
            let _writes = self.shift.writes.lock().unwrap_or_else(PoisonError::into_inner);
            let mut work = Work::of(shared);
            work.jobs.push(job);
            pollster::block_on(work.run_apart());
            return Ok(());
        }
        self.send(Command::Run(shared, job))
    }
}

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Waits for a future on a thread that may block: the future may write on it.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Before(bool);

    impl Drop for Before {
        fn drop(&mut self) {
            MAY_BLOCK.set(self.0);
        }
    }

    let _before = Before(MAY_BLOCK.replace(true));
    pollster::block_on(future)
}

struct Timer {
    due: Instant,
    shared: Weak<Shared>,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

fn run(commands: &Receiver<Command>, writes: &Mutex<()>) {
    let mut timers: BinaryHeap<Reverse<Timer>> = BinaryHeap::new();
    loop {
        let first = match timers.peek() {
            Some(Reverse(timer)) => {
                match commands.recv_timeout(timer.due.saturating_duration_since(Instant::now())) {
                    Ok(command) => Some(command),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            None => match commands.recv() {
                Ok(command) => Some(command),
                Err(_) => return,
            },
        };
        let mut round = Round::default();
        for command in first.into_iter().chain(commands.try_iter()) {
            match command {
                Command::WakeAt(due, shared) => timers.push(Reverse(Timer { due, shared })),
                command => round.add(command),
            }
        }
        let now = Instant::now();
        while timers.peek().is_some_and(|Reverse(timer)| timer.due <= now) {
            if let Some(shared) = timers.pop().and_then(|Reverse(timer)| timer.shared.upgrade()) {
                round.work_of(shared).wake = true;
            }
        }
        if !round.is_empty() {
            // Nothing is kept under the lock that a panic could leave half done.
            let _writes = writes.lock().unwrap_or_else(PoisonError::into_inner);
            pollster::block_on(round.run());
        }
    }
}

/// What has come in since the last round.
#[derive(Default)]
struct Round {
    /// By the address of their shared state.
    sessions: HashMap<usize, Work>,
    order: Vec<usize>,
    deletions: Vec<(Arc<Core>, SessionKey, oneshot::Sender<Result<PurgeReceipt>>)>,
}

struct Work {
    shared: Arc<Shared>,
    jobs: Vec<Job>,
    catch_up: bool,
    caught_up: Vec<oneshot::Sender<Result<()>>>,
    flushed: Vec<oneshot::Sender<Result<()>>>,
    compacted: Vec<oneshot::Sender<Result<()>>>,
    wake: bool,
}

impl Round {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.deletions.is_empty()
    }

    fn work_of(&mut self, shared: Arc<Shared>) -> &mut Work {
        let address = Arc::as_ptr(&shared).addr();
        self.sessions.entry(address).or_insert_with(|| {
            self.order.push(address);
            Work::of(shared)
        })
    }

    fn add(&mut self, command: Command) {
        match command {
            Command::Run(shared, job) => self.work_of(shared).jobs.push(job),
            Command::CatchUp(shared, reply) => {
                let work = self.work_of(shared);
                work.catch_up = true;
                work.caught_up.extend(reply);
            }
            Command::Flush(shared, reply) => self.work_of(shared).flushed.push(reply),
            Command::Compact(shared, reply) => self.work_of(shared).compacted.push(reply),
            Command::Delete(core, key, reply) => self.deletions.push((core, key, reply)),
            Command::WakeAt(..) => {}
        }
    }

    async fn run(mut self) {
        let works = self.order.iter().filter_map(|address| self.sessions.remove(address));
        join_all(works.map(Work::run_apart)).await;
        for (core, key, reply) in self.deletions {
            let deleted = AssertUnwindSafe(delete(&core, &key)).catch_unwind().await;
            let deleted = deleted.unwrap_or_else(|_| {
                let message = "the storage panicked; it is not known whether it is deleted";
                Err(in_session(Error::new(ErrorKind::Indeterminate, message), &key))
            });
            // Whoever asked may have stopped waiting.
            let _ = reply.send(deleted);
        }
    }
}

async fn delete(core: &Arc<Core>, key: &SessionKey) -> Result<PurgeReceipt> {
    let receipt = core.storage.purge(key).await;
    core.texts.forget(key);
    if receipt.as_ref().map_or_else(Error::is_not_found, |_| true)
        && let Some(shared) = core.live(key)
    {
        let _ = gone(&shared);
    }
    receipt.map_err(|e| in_session(e, key))
}

impl Work {
    fn of(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            jobs: Vec::new(),
            catch_up: false,
            caught_up: Vec::new(),
            flushed: Vec::new(),
            compacted: Vec::new(),
            wake: false,
        }
    }

    /// One session's failure, or a panic in an adopter's code, stays its own.
    async fn run_apart(self) {
        let shared = Arc::clone(&self.shared);
        if AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
            let error = Error::invalid("an adopter's code panicked in the store's writer");
            shared.lock().failure = Some(in_session(error, &shared.key));
            retry_later(&shared);
        }
    }

    async fn run(self) {
        let shared = &self.shared;
        // First, so that whatever comes of the rest another timer can be asked for.
        let woken = self.wake
            && shared.woken().unwrap_or_else(|error| {
                shared.lock().failure = Some(error);
                true
            });
        if self.catch_up {
            let caught_up = match shared.is_gone() {
                true => Err(gone(shared)),
                false => catch_up(shared).await,
            };
            if let (Err(error), true, false) =
                (&caught_up, self.caught_up.is_empty(), shared.is_gone())
            {
                // A storage's hint asked for it: there is nobody to tell but those who listen.
                shared.lock().tell(&Change::Unwatched(error.clone()));
            }
            for reply in self.caught_up {
                let _ = reply.send(caught_up.clone());
            }
        }
        if woken || !self.jobs.is_empty() || !self.flushed.is_empty() {
            let flushed = write(shared, self.jobs).await;
            for reply in self.flushed {
                let _ = reply.send(flushed.clone());
            }
        }
        if !self.compacted.is_empty() {
            let compacted = compact::compact(shared).await;
            for reply in self.compacted {
                let _ = reply.send(compacted.clone());
            }
        }
    }
}
