//! Group commit: appends that arrive together share a transaction, and a sync.
//!
//! Whoever appends puts its request into a queue and steps back once, so that others of the same
//! thread put theirs there too. Whoever then comes to be the leader takes all that is there and
//! runs it in one transaction; the others find their answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use rusqlite::Connection;

use super::append::{self, Done, Request};
use super::database::Sync;
use super::engine::{Engine, lock};
use super::error::SqliteError;
use super::pending::Left;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Appended, Durability, SessionKey};

/// After so many requests a transaction ends.
const MOST: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Group {
    queue: Mutex<VecDeque<Waiting>>,
    /// Held by whoever runs requests.
    leader: Mutex<()>,
}

/// A request that waits, and where its answer will be.
#[derive(Debug)]
struct Waiting {
    request: Request,
    answer: Arc<Answer>,
}

type Answer = Mutex<Option<Result<Appended>>>;

/// Takes the request out again if nobody waits for its answer any more.
struct Place<'g> {
    group: &'g Group,
    answer: Arc<Answer>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.group.queue).retain(|waiting| !Arc::ptr_eq(&waiting.answer, &self.answer));
    }
}

impl Engine {
    /// Appends together with all who append now.
    pub(super) async fn append(self: &Arc<Self>, request: Request) -> Result<Appended> {
        let answer = Arc::<Answer>::default();
        lock(&self.group.queue).push_back(Waiting { request, answer: Arc::clone(&answer) });
        let place = Place { group: &self.group, answer };
        step_back().await;
        self.run_until_answered(&place.answer)
    }

    fn run_until_answered(self: &Arc<Self>, answer: &Answer) -> Result<Appended> {
        loop {
            if let Some(answer) = lock(answer).take() {
                return answer;
            }
            let leading = lock(&self.group.leader);
            // While this one waited another may have led.
            if lock(answer).is_some() {
                continue;
            }
            let mut queue = lock(&self.group.queue);
            let most = MOST.min(queue.len());
            let together: Vec<Waiting> = queue.drain(..most).collect();
            drop(queue);
            if together.is_empty() {
                // Whoever took this one has panicked.
                let message = "the storage panicked; it is not known whether the batch is there";
                return Err(Error::new(ErrorKind::Indeterminate, message));
            }
            let (changed, left) = self.run(together);
            drop(leading);
            // Mailboxes wake foreign code, which may append: it and others lead meanwhile.
            changed.iter().for_each(|key| self.watchers.hints.send(key));
            self.texts_came(left);
        }
    }

    /// Runs requests in one transaction, and answers all of them. Returns which sessions have changed,
    /// and what waits to be indexed.
    fn run(&self, together: Vec<Waiting>) -> (Vec<SessionKey>, Left) {
        let synced = together.iter().any(|w| w.request.batch.durability > Durability::Buffered);
        let sync = if synced { Sync::Full } else { Sync::Normal };
        let alone = together.len() == 1;
        let asked = together.iter().map(|w| (w.request.key.clone(), Arc::clone(&w.answer)));
        let asked: Vec<_> = asked.collect();
        let outcome = self.database.write(sync, |transaction| {
            let run = |waiting: Waiting| one(transaction, self, waiting.request, alone);
            together.into_iter().map(run).collect::<Result<Vec<_>, SqliteError>>()
        });
        let answers = match outcome {
            Ok(answers) => answers,
            // All of them failed alike.
            Err(error) => {
                let error = Error::from(error);
                asked.iter().map(|_| Err(error.clone())).collect()
            }
        };
        let (mut changed, mut left) = (Vec::new(), Left::default());
        for ((key, place), answer) in asked.into_iter().zip(answers) {
            let answer = match answer {
                Ok(done) => {
                    left.add(done.left);
                    changed.push(key);
                    Ok(done.appended)
                }
                Err(error) => Err(error.with("session", &key.id)),
            };
            *lock(&place) = Some(answer);
        }
        (changed, left)
    }
}

/// Runs one request. What it is refused for concerns no other, unless the engine gave up the whole
/// transaction.
fn one(
    transaction: &Connection,
    engine: &Engine,
    request: Request,
    alone: bool,
) -> Result<Result<Done>, SqliteError> {
    if !alone {
        transaction.prepare_cached("SAVEPOINT request")?.execute(())?;
    }
    let done = match append::append(transaction, engine.salt, request) {
        Err(error) if alone || transaction.is_autocommit() => return Err(error),
        Err(error) => {
            transaction.prepare_cached("ROLLBACK TO request")?.execute(())?;
            Err(error.into())
        }
        Ok(done) => Ok(done),
    };
    if !alone {
        transaction.prepare_cached("RELEASE request")?.execute(())?;
    }
    Ok(done)
}

/// Lets others of the same task come first, once.
async fn step_back() {
    let mut stepped = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
