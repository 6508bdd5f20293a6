//! The one thread that writes: it takes what has come in for each session, appends it as one
//! batch, and settles conflicts by catching up and planning anew.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Instant;

use futures_channel::oneshot;
use futures_util::FutureExt as _;
use futures_util::future::join_all;

use super::compact;
use super::core::Core;
use super::live::{Live, Pending, Shared, Unresolved};
use super::load::{apply, catch_up, gone, in_session};
use super::plan::{Plan, Planned};
use super::upgrade::upgrade;
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::storage::{
    Appended, Batch, BatchId, Durability, Expected, PurgeReceipt, Record, SessionKey,
};

/// A change of a session. It is run again when others have changed the session meanwhile.
pub(crate) type Run = Box<dyn FnMut(&mut Plan<'_>) -> Result<Outcome> + Send>;

/// What a change made.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outcome {
    /// The turn that it began.
    pub(crate) turn: Option<TurnId>,
    /// The epoch under which the turn's response is to be written.
    pub(crate) epoch: Option<u64>,
}

pub(crate) struct Job {
    pub(crate) run: Run,
    pub(crate) reply: oneshot::Sender<Result<Outcome>>,
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

/// Starts the thread. It ends when the last sender is gone.
pub(crate) fn start() -> Result<Sender<Command>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name("chatkeep-writer".to_owned())
        .spawn(move || run(&receiver))
        .map_err(|e| Error::unavailable("the store's writer cannot be started").caused_by(e))?;
    Ok(sender)
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

fn run(commands: &Receiver<Command>) {
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
        pollster::block_on(round.run());
    }
}

/// What has come in since the last round.
#[derive(Default)]
struct Round {
    sessions: HashMap<*const Shared, Work>,
    order: Vec<*const Shared>,
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
    fn work_of(&mut self, shared: Arc<Shared>) -> &mut Work {
        let address = Arc::as_ptr(&shared);
        self.sessions.entry(address).or_insert_with(|| {
            self.order.push(address);
            Work {
                shared,
                jobs: Vec::new(),
                catch_up: false,
                caught_up: Vec::new(),
                flushed: Vec::new(),
                compacted: Vec::new(),
                wake: false,
            }
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
        // One session's failure, or a panic in an adopter's code, stays its own.
        join_all(works.map(|work| {
            let shared = Arc::clone(&work.shared);
            AssertUnwindSafe(work.run()).catch_unwind().map(move |ended| {
                if ended.is_err() {
                    let error = Error::invalid("an adopter's code panicked in the store's writer");
                    shared.lock().failure = Some(in_session(error, &shared.key));
                }
            })
        }))
        .await;
        for (core, key, reply) in self.deletions {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(delete(&core, &key).await);
        }
    }
}

async fn delete(core: &Arc<Core>, key: &SessionKey) -> Result<PurgeReceipt> {
    let receipt = core.storage.purge(key).await;
    if receipt.as_ref().map_or_else(Error::is_not_found, |_| true)
        && let Some(shared) = core.live(key)
    {
        let _ = gone(&shared);
    }
    receipt.map_err(|e| in_session(e, key))
}

impl Work {
    async fn run(self) {
        let shared = &self.shared;
        if self.catch_up && !shared.is_gone() {
            let caught_up = catch_up(shared).await;
            for reply in self.caught_up {
                let _ = reply.send(caught_up.clone());
            }
        }
        let is_due = !self.jobs.is_empty() || !self.flushed.is_empty() || {
            let (live, now) = (shared.lock(), Instant::now());
            let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
            self.wake && (due(live.flush_at) || due(live.renew_at))
        };
        if is_due {
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

/// Others may come first this often before a change is given up.
const MAX_ATTEMPTS: u32 = 1_000;

/// A change on its way: what to run, whom to tell, and what came of it.
struct Pursued {
    job: Job,
    result: Option<Result<Outcome>>,
}

/// Writes the session's streamed text and makes the changes that were asked for.
async fn write(shared: &Arc<Shared>, jobs: Vec<Job>) -> Result<()> {
    let mut jobs: Vec<_> = jobs.into_iter().map(|job| Pursued { job, result: None }).collect();
    let mut ended = Err(Error::conflict("others kept changing the session first"));
    for _ in 0..MAX_ATTEMPTS {
        match attempt(shared, &mut jobs).await {
            Ok(Step::Again) => {}
            Ok(Step::Done) => {
                ended = Ok(());
                break;
            }
            Err(error) => {
                ended = Err(error);
                break;
            }
        }
    }
    let ended = ended.map_err(|e| in_session(e, &shared.key));
    for Pursued { job, result } in jobs {
        let result = match (result, &ended) {
            (Some(Err(error)), _) => Err(in_session(error, &shared.key)),
            (_, Err(error)) => Err(error.clone()),
            (Some(Ok(outcome)), Ok(())) => Ok(outcome),
            (None, Ok(())) => Err(Error::unavailable("the change was not made")),
        };
        let _ = job.reply.send(result);
    }
    ended
}

enum Step {
    Done,
    Again,
}

async fn attempt(shared: &Arc<Shared>, jobs: &mut [Pursued]) -> Result<Step> {
    let core = &shared.core;
    if shared.lock().unresolved.is_some() {
        catch_up(shared).await?;
    }
    if let Err(error) = upgrade(shared).await {
        return settle_failure(shared, Vec::new(), None, error).await;
    }
    let abandoned = is_abandoned(shared).await?;
    let now = core.clock.now();
    let (mut plan, pending, expected) = {
        let mut live = shared.lock();
        live.check(&shared.key)?;
        live.flush_at = None;
        let pending = std::mem::take(&mut live.pending);
        let plan = Plan::new(core, &live, now, abandoned);
        let (incarnation, revision) = (live.head.incarnation, live.head.revision);
        (plan, pending, Expected::At { incarnation, revision })
    };
    if let Err(error) = plan_all(shared, &mut plan, &pending, jobs) {
        give_back(shared, pending, Some(error.clone()));
        return Err(error);
    }
    if plan.entries.is_empty() {
        return Ok(Step::Done);
    }
    for (id, content) in std::mem::take(&mut plan.blobs) {
        if let Err(error) = core.storage.put_blob(&shared.key, &id, content).await {
            return settle_failure(shared, pending, None, error).await;
        }
    }
    let batch = batch_of(&plan, core.batch_id(), expected, shared);
    match append(shared, expected, &batch).await {
        Ok(appended) => {
            applied(shared, plan, appended, jobs);
            Ok(Step::Done)
        }
        Err(error) => settle_failure(shared, pending, Some(batch.id), error).await,
    }
}

/// Whether whoever writes the running response is gone: its process is, its claim has expired, or
/// it is this process and nobody holds the answer any more.
async fn is_abandoned(shared: &Shared) -> Result<bool> {
    let core = &shared.core;
    let (running, epoch, own) = {
        let live = shared.lock();
        (live.head.fields.running.clone(), live.head.fields.epoch, live.own_epoch)
    };
    let Some(running) = running else { return Ok(false) };
    if running.writer == core.storage.writer() {
        return Ok(own != Some(epoch));
    }
    Ok(running.until < core.clock.now() || core.storage.is_gone(&running.writer).await?)
}

fn plan_all(
    shared: &Shared,
    plan: &mut Plan<'_>,
    pending: &[Pending],
    jobs: &mut [Pursued],
) -> Result<()> {
    for pending in pending {
        plan.emit_pending(pending)?;
    }
    for pursued in jobs {
        // One that was refused stays refused; the others are planned anew.
        if matches!(pursued.result, Some(Err(_))) {
            continue;
        }
        let savepoint = plan.savepoint();
        let result = (pursued.job.run)(plan);
        if result.is_err() {
            plan.roll_back(savepoint);
        }
        pursued.result = Some(result);
    }
    let (renew_at, own) = {
        let live = shared.lock();
        (live.renew_at, live.own_epoch)
    };
    let running = plan.head.running.clone();
    if let (Some(running), Some(own)) = (running, own)
        && own == plan.head.epoch
        && renew_at.is_some_and(|at| at <= Instant::now())
    {
        plan.emit_renewal(running.turn, own)?;
    }
    if plan.entries.is_empty() { Ok(()) } else { plan.finish() }
}

fn batch_of(plan: &Plan<'_>, id: BatchId, expected: Expected, shared: &Shared) -> Batch {
    let Expected::At { mut revision, .. } = expected else {
        unreachable!("a session that is open is there")
    };
    let record = |planned: &Planned| {
        revision = revision.next();
        Record {
            revision,
            turn: planned.entry.turn,
            kind: planned.entry.event.kind().to_owned().into(),
            at: planned.entry.at,
            batch: id,
            body: planned.body.clone(),
        }
    };
    let records = plan.entries.iter().map(record).collect();
    let changed = shared.lock().head.fields != plan.head;
    let (texts, facts) = super::extract::of_plan(plan);
    Batch {
        id,
        records,
        head: changed.then(|| plan.head.clone()),
        epoch: plan.epoch,
        texts,
        facts,
        durability: Durability::Synced,
    }
}

/// An append whose outcome is not known is tried again: it lands once.
async fn append(shared: &Shared, expected: Expected, batch: &Batch) -> Result<Appended> {
    const TRIES: u32 = 3;
    let storage = &shared.core.storage;
    let mut result = storage.append(&shared.key, expected, batch.clone()).await;
    for _ in 1..TRIES {
        match &result {
            Err(error) if error.kind() == ErrorKind::Indeterminate => {
                result = match storage.append(&shared.key, expected, batch.clone()).await {
                    // The engine has become unable to say: what was written may be there.
                    Err(later) if later.kind() == ErrorKind::Unavailable => result,
                    later => later,
                };
            }
            _ => break,
        }
    }
    result
}

async fn settle_failure(
    shared: &Arc<Shared>,
    pending: Vec<Pending>,
    batch: Option<BatchId>,
    error: Error,
) -> Result<Step> {
    match (error.kind(), batch) {
        (ErrorKind::Conflict | ErrorKind::Fenced, _) => {
            give_back(shared, pending, None);
            catch_up(shared).await?;
            Ok(Step::Again)
        }
        (ErrorKind::NotFound | ErrorKind::Deleted, _) => Err(gone(shared)),
        (ErrorKind::Indeterminate, Some(batch)) => {
            let mut live = shared.lock();
            live.failure = Some(error.clone());
            live.unresolved = Some(Unresolved { batch, pending });
            Err(error)
        }
        _ => {
            give_back(shared, pending, Some(error.clone()));
            Err(error)
        }
    }
}

/// Puts streamed text that was not written back in front of what has come since.
fn give_back(shared: &Shared, mut pending: Vec<Pending>, failure: Option<Error>) {
    let mut live = shared.lock();
    pending.append(&mut live.pending);
    live.pending = pending;
    if failure.is_some() {
        live.failure = failure;
    }
}

fn applied(shared: &Arc<Shared>, plan: Plan<'_>, appended: Appended, jobs: &[Pursued]) {
    let mut live = shared.lock();
    live.since_checkpoint = plan.since_checkpoint;
    live.running = plan.running;
    (live.superseded, live.useful) = (plan.superseded, plan.useful);
    for planned in plan.entries {
        if planned.applied {
            continue;
        }
        if let Err(error) = apply(&mut live, planned.entry) {
            // The same entry was applied to the plan's copy of this very state.
            live.failure = Some(in_session(error, &shared.key));
        }
    }
    live.head = appended.head;
    live.failure = None;
    let begun = jobs.iter().rev().find_map(|job| match &job.result {
        Some(Ok(outcome)) => outcome.epoch,
        _ => None,
    });
    if begun.is_some() {
        live.own_epoch = begun;
    }
    schedule_renewal(shared, &mut live);
    if compact::is_due(&live) {
        let (reply, _) = oneshot::channel();
        let compact = Command::Compact(Arc::clone(shared), reply);
        if let Err(error) = shared.core.send(compact) {
            live.failure = Some(error);
        }
    }
}

/// The claim on a response is renewed when a third of its time is over.
fn schedule_renewal(shared: &Arc<Shared>, live: &mut Live) {
    let own = live.own_epoch == Some(live.head.fields.epoch);
    if !own || live.head.fields.running.is_none() {
        live.renew_at = None;
        return;
    }
    let now = Instant::now();
    if live.renew_at.is_none_or(|at| at <= now) {
        let at = now + shared.core.options.lease / 3;
        live.renew_at = Some(at);
        if let Err(error) = shared.wake_at(at) {
            live.failure = Some(error);
        }
    }
}
