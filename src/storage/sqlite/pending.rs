//! Indexing the texts that wait, beside the appends that left them.
//!
//! An append leaves the text of its turns where searches look at it, which costs little, and is as
//! durable as the append. Once there are many a thread brings them into the index, of whichever
//! process comes first. Whoever writes faster than that does some of it itself: what searches have
//! to look at stays small.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use super::database::Sync;
use super::engine::{Engine, lock};
use super::error::SqliteError;
use super::full_text;
use crate::error::Error;
use crate::storage::TurnText;

/// It is looked whether there are many after so many texts and bytes.
const TEXTS: usize = 64;
const BYTES: usize = 64 << 10;
/// After so many texts it is looked whether the thread keeps up.
const LOOKED: usize = 256;
/// If more than these wait, it does not.
const TOO_MANY: u64 = 2_048;

/// How many texts an append left to wait, and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Left {
    pub(super) texts: usize,
    pub(super) bytes: usize,
}

impl Left {
    pub(super) fn of<'t>(texts: impl IntoIterator<Item = &'t TurnText>) -> Self {
        let mut left = Self::default();
        for text in texts {
            let bytes = text.passages.iter().map(|passage| passage.text.len()).sum();
            left.add(Self { texts: 1, bytes });
        }
        left
    }

    pub(super) fn add(&mut self, other: Self) {
        self.texts = self.texts.saturating_add(other.texts);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// The thread that indexes texts, and what wakes it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    started: AtomicBool,
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What came since it was looked.
    left: Left,
    /// How many texts came since it was looked whether the thread keeps up.
    since: usize,
    /// It is to be looked.
    wanted: bool,
    /// The engine is gone.
    ended: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        lock(&self.signal.state).ended = true;
        self.signal.changed.notify_all();
    }
}

impl Engine {
    /// Texts were left to wait: sees to it that there are never too many.
    pub(super) fn texts_came(self: &Arc<Self>, left: Left) {
        let mut state = lock(&self.pending.signal.state);
        state.since = state.since.saturating_add(left.texts);
        if state.since >= LOOKED {
            state.since = 0;
            drop(state);
            if let Err(error) = self.keep_up() {
                // What waits is found all the same.
                tracing::warn!(error = %Error::from(error), "texts could not be indexed");
            }
            state = lock(&self.pending.signal.state);
        }
        state.left.add(left);
        if state.wanted || (state.left.texts < TEXTS && state.left.bytes < BYTES) {
            return;
        }
        drop(state);
        self.settle_texts_later();
    }

    /// Indexes what there is too much of here and now.
    fn keep_up(&self) -> Result<(), SqliteError> {
        while self.database.read(full_text::count)? > TOO_MANY {
            let settle = |connection: &_| full_text::settle_some(connection, true);
            if !self.database.write(Sync::Normal, settle)? {
                break;
            }
        }
        Ok(())
    }

    /// Has a thread index what waits.
    pub(super) fn settle_texts_later(self: &Arc<Self>) {
        lock(&self.pending.signal.state).wanted = true;
        self.pending.signal.changed.notify_all();
        if self.pending.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let (engine, signal) = (Arc::downgrade(self), Arc::clone(&self.pending.signal));
        let started = std::thread::Builder::new()
            .name("chatkeep-texts".to_owned())
            .spawn(move || settle_when_they_come(&engine, &signal));
        if let Err(error) = started {
            self.pending.started.store(false, Ordering::Release);
            // Searches find what waits, if slowly. The next texts try again.
            tracing::warn!(%error, "no thread could be started to index texts");
            let mut state = lock(&self.pending.signal.state);
            (state.wanted, state.left) = (false, Left::default());
        }
    }
}

/// Runs until the engine is gone.
fn settle_when_they_come(engine: &Weak<Engine>, signal: &Signal) {
    loop {
        let state = lock(&signal.state);
        let idle = |state: &mut State| !state.wanted && !state.ended;
        let waited = signal.changed.wait_while(state, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        (state.wanted, state.left) = (false, Left::default());
        drop(state);
        let Some(engine) = engine.upgrade() else { return };
        if let Err(error) = settle_gently(&engine) {
            // What waits is found all the same, and the next texts try again.
            tracing::warn!(error = %Error::from(error), "texts could not be indexed");
        }
    }
}

/// Indexes what there is too much of, and lets others write for as long as it wrote itself. Ends when
/// nobody else has the engine; what is left is durable.
fn settle_gently(engine: &Arc<Engine>) -> Result<(), SqliteError> {
    // Looked at by a reader first, which waits for nobody.
    while Arc::strong_count(engine) > 1 && engine.database.read(full_text::is_due)? {
        let begun = Instant::now();
        if !engine.database.write(Sync::Normal, full_text::settle)? {
            break;
        }
        std::thread::sleep(begun.elapsed());
    }
    Ok(())
}
