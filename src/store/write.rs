//! One session's turn at writing: plans what was asked for, appends it as one batch, and settles
//! what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use super::begun::Begun;
use super::catch_up::catch_up;
use super::compact;
use super::extract::Changed;
use super::held::{Held, is_held};
use super::live::{Live, Pending, Shared, Unresolved};
use super::load::{apply, gone, in_session, tell_of};
use super::plan::{Plan, Planned};
use super::upgrade::upgrade;
use super::writer::{Command, Done, Job, Outcome};
use crate::error::{Error, ErrorKind, Result};
use crate::model::ResponseState;
use crate::storage::{
    Appended, Batch, BatchId, Durability, Expected, Record, Revision, SessionKey, Storage,
    TurnFacts, TurnText, line,
};

/// Others may come first this often before a change is given up.
const MAX_ATTEMPTS: u32 = 1_000;
/// What could not be written is tried again by itself, at the latest after so long.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A change on its way: what to run, whom to tell, and what came of it.
struct Pursued {
    job: Job,
    result: Option<Result<Outcome>>,
    /// The claim that it makes, held before the append, so that nobody takes it for left behind.
    held: Option<Held>,
}

/// Writes the session's streamed text and makes the changes that were asked for.
pub(crate) async fn write(shared: &Arc<Shared>, jobs: Vec<Job>) -> Result<()> {
    let pursued = |job| Pursued { job, result: None, held: None };
    let mut jobs: Vec<_> = jobs.into_iter().map(pursued).collect();
    let mut ended = None;
    // Text that could not be written because its claim was taken over.
    let mut lost = Ok(());
    for _ in 0..MAX_ATTEMPTS {
        match attempt(shared, &mut jobs).await {
            Ok(Step::Again) => {}
            Ok(Step::Fenced(error)) => lost = Err(in_session(error, &shared.key)),
            Ok(Step::Done) => {
                ended = Some(Ok(()));
                break;
            }
            Err(error) => {
                ended = Some(Err(error));
                break;
            }
        }
    }
    let never = || Err(Error::conflict("others kept changing the session first"));
    let ended = ended.unwrap_or_else(never).map_err(|e| in_session(e, &shared.key));
    if ended.is_err() {
        retry_later(shared);
    }
    for Pursued { job, result, held } in jobs {
        let result = match (result, &ended) {
            (Some(Err(error)), _) => Err(in_session(error, &shared.key)),
            (_, Err(error)) => Err(error.clone()),
            (Some(Ok(outcome)), Ok(())) => Ok(done(shared, outcome, held)),
            (None, Ok(())) => Err(Error::unavailable("the change was not made")),
        };
        // If nobody waits any more, an answer that was begun ends here.
        drop(job.waits);
        let _ = job.reply.send(result);
    }
    ended.and(lost)
}

fn done(shared: &Arc<Shared>, outcome: Outcome, held: Option<Held>) -> Done {
    let begun = match (outcome.turn, outcome.epoch, held) {
        (Some(turn), Some(epoch), Some(held)) => {
            Some(Begun::new(Arc::clone(shared), turn, epoch, held))
        }
        _ => None,
    };
    Done { turn: outcome.turn, begun, part: outcome.part }
}

/// Has the writer look again after a while if something is left to be written.
pub(crate) fn retry_later(shared: &Arc<Shared>) {
    let mut live = shared.lock();
    let now = Instant::now();
    let waits = !live.pending.is_empty()
        || live.unresolved.is_some()
        || live.renew_at.is_some_and(|at| at <= now);
    if !waits || live.gone || !live.damage.is_empty() {
        return;
    }
    live.failures = (live.failures + 1).min(10);
    let pause = shared.core.options.flush_delay.max(Duration::from_millis(10));
    let at = now + pause.saturating_mul(1 << live.failures).min(MAX_PAUSE);
    live.flush_at = Some(at);
    if let Err(error) = shared.wake_at(&mut live, at) {
        live.failure = Some(error);
    }
}

enum Step {
    Done,
    Again,
    /// Again, without the streamed text: another writer has taken the response over.
    Fenced(Error),
}

async fn attempt(shared: &Arc<Shared>, jobs: &mut [Pursued]) -> Result<Step> {
    let core = &shared.core;
    if shared.lock().unresolved.is_some() {
        catch_up(shared).await?;
    }
    if let Err(error) = upgrade(shared).await {
        return settle_failure(shared, true, error).await;
    }
    let abandoned = is_abandoned(shared).await?;
    let (now, id) = (core.clock.now(), core.batch_id());
    let (mut plan, pending, incarnation, revision) = {
        let mut live = shared.lock();
        live.check(&shared.key)?;
        live.flush_at = None;
        let pending = Arc::new(std::mem::take(&mut live.pending));
        // Unknown until it is known to be done or not, also if an adopter's code panics.
        live.unresolved = Some(Unresolved { batch: id, pending: Arc::clone(&pending) });
        let plan = Plan::new(core, &live, now, abandoned);
        let (incarnation, revision) = (live.head.incarnation, live.head.revision);
        (plan, pending, incarnation, revision)
    };
    if let Err(error) = plan_all(shared, &mut plan, &pending, jobs) {
        give_back(shared, Some(error.clone()));
        return Err(error);
    }
    if plan.entries.is_empty() {
        shared.lock().unresolved = None;
        return Ok(Step::Done);
    }
    for (id, content) in std::mem::take(&mut plan.blobs) {
        if let Err(error) = core.storage.put_blob(&shared.key, &id, content).await {
            return settle_failure(shared, true, error).await;
        }
    }
    let changed = Changed::by(plan.entries.iter().map(|planned| &planned.entry));
    let said = match changed.of(core, &shared.key, plan.model()).await {
        Ok(said) => said,
        Err(error) => return settle_failure(shared, true, error).await,
    };
    let (key, expected) = (&shared.key, Expected::At { incarnation, revision });
    let batch = batch_of(&plan, id, revision, shared, said);
    let mut appended = core.storage.append(key, expected, batch).await;
    // The same batch is made once more, which costs less than to keep a copy of each.
    if is_unknown(&appended)
        && let Ok(said) = changed.of(core, key, plan.model()).await
    {
        let batch = batch_of(&plan, id, revision, shared, said);
        appended = append_again(&*core.storage, key, expected, &batch, appended).await;
    }
    match appended {
        Ok(appended) => {
            applied(shared, plan, appended, jobs);
            Ok(Step::Done)
        }
        Err(error) => settle_failure(shared, false, error).await,
    }
}

/// Whether whoever writes the running response is gone: its process is, its claim has expired, or
/// it is this process and nobody holds the answer any more.
async fn is_abandoned(shared: &Shared) -> Result<bool> {
    let core = &shared.core;
    let (running, epoch) = {
        let live = shared.lock();
        (live.head.fields.running.clone(), live.head.fields.epoch)
    };
    let Some(running) = running else { return Ok(false) };
    if running.writer == core.storage.writer() {
        return Ok(!is_held(&running.writer, &shared.key, epoch));
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
        let result = catch_unwind(AssertUnwindSafe(|| run(plan, &mut pursued.job)));
        let result = result.unwrap_or_else(|_| Err(Error::invalid("an adopter's code panicked")));
        if result.is_err() {
            plan.roll_back(savepoint);
        }
        let epoch = result.as_ref().ok().and_then(|outcome| outcome.epoch);
        let (writer, key) = (plan.core.storage.writer(), &shared.key);
        pursued.held = epoch.map(|epoch| Held::new(writer, key.clone(), epoch));
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

/// Runs a change. An answer that nobody waits for any more ends as soon as it has begun.
fn run(plan: &mut Plan<'_>, job: &mut Job) -> Result<Outcome> {
    let outcome = (job.run)(plan)?;
    match (outcome.turn, outcome.epoch) {
        (Some(turn), Some(_)) if job.reply.is_canceled() => {
            plan.end_response(turn, |response| response.state = ResponseState::Interrupted)?;
            Ok(Outcome { epoch: None, ..outcome })
        }
        _ => Ok(outcome),
    }
}

fn batch_of(
    plan: &Plan<'_>,
    id: BatchId,
    mut revision: Revision,
    shared: &Shared,
    (texts, facts): (Vec<TurnText>, Vec<TurnFacts>),
) -> Batch {
    let record = |planned: &Planned| {
        revision = revision.next();
        Record {
            revision,
            turn: planned.entry.turn,
            kind: line::intern(planned.entry.event.kind().into()),
            at: planned.entry.at,
            batch: id,
            body: planned.body.clone(),
        }
    };
    let records = plan.entries.iter().map(record).collect();
    let changed = shared.lock().head.fields != plan.head;
    Batch {
        id,
        records,
        base: Revision::ZERO,
        head: changed.then(|| plan.head.clone()),
        epoch: plan.epoch,
        texts,
        facts,
        durability: Durability::Synced,
    }
}

pub(crate) async fn append(
    storage: &dyn Storage,
    key: &SessionKey,
    expected: Expected,
    batch: &Batch,
) -> Result<Appended> {
    let result = storage.append(key, expected, batch.clone()).await;
    append_again(storage, key, expected, batch, result).await
}

fn is_unknown(result: &Result<Appended>) -> bool {
    matches!(result, Err(error) if error.kind() == ErrorKind::Indeterminate)
}

/// An append whose outcome is not known is tried again: it lands once.
async fn append_again(
    storage: &dyn Storage,
    key: &SessionKey,
    expected: Expected,
    batch: &Batch,
    mut result: Result<Appended>,
) -> Result<Appended> {
    const MORE_TRIES: u32 = 2;
    for _ in 0..MORE_TRIES {
        if !is_unknown(&result) {
            break;
        }
        result = match storage.append(key, expected, batch.clone()).await {
            // The engine has become unable to say: what was written may be there.
            Err(later) if later.kind() == ErrorKind::Unavailable => result,
            later => later,
        };
    }
    result
}

/// `before` says that the append itself had not begun.
async fn settle_failure(shared: &Arc<Shared>, before: bool, error: Error) -> Result<Step> {
    match error.kind() {
        ErrorKind::Conflict => {
            give_back(shared, None);
            catch_up(shared).await?;
            Ok(Step::Again)
        }
        ErrorKind::Fenced => {
            let had_text = give_back(shared, None);
            catch_up(shared).await?;
            Ok(if had_text { Step::Fenced(error) } else { Step::Again })
        }
        ErrorKind::NotFound | ErrorKind::Deleted => Err(gone(shared)),
        ErrorKind::Indeterminate if !before => {
            shared.lock().failure = Some(error.clone());
            Err(error)
        }
        _ => {
            give_back(shared, Some(error.clone()));
            Err(error)
        }
    }
}

/// Puts streamed text that was not written back in front of what has come since. Says whether
/// there was any.
fn give_back(shared: &Shared, failure: Option<Error>) -> bool {
    let mut live = shared.lock();
    let had_text = live.take_back();
    if failure.is_some() {
        live.failure = failure;
    }
    had_text
}

fn applied(shared: &Arc<Shared>, plan: Plan<'_>, appended: Appended, jobs: &[Pursued]) {
    let mut live = shared.lock();
    live.unresolved = None;
    live.since_checkpoint = plan.since_checkpoint;
    live.running = plan.running;
    (live.superseded, live.useful) = (plan.superseded, plan.useful);
    (live.failure, live.failures) = (None, 0);
    let (from, fold, entries) = plan.into_state();
    let new = entries.into_iter().filter(|planned| !planned.applied);
    if live.advance(from, fold) {
        for planned in new {
            tell_of(&mut live, &planned.entry);
        }
    } else {
        for planned in new {
            if let Err(error) = apply(&mut live, planned.entry) {
                // The same entry was applied to the plan's copy of an earlier state.
                live.failure = Some(in_session(error, &shared.key));
            }
        }
    }
    live.head = appended.head;
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
        if let Err(error) = shared.wake_at(live, at) {
            live.failure = Some(error);
        }
    }
}
