//! Hints that sessions changed: own changes at once, other processes' by looking at the files.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_core::stream::BoxStream;

use super::engine::{Engine, lock};
use super::error::FileError;
use super::layout::{self, LOG};
use super::system::Metadata;
use crate::error::{Error, Result};
use crate::storage::{Hint, SessionKey, WatchFilter};

/// How long another process' change may go unnoticed, unless looking takes longer.
const INTERVAL: Duration = Duration::from_millis(100);

/// Everyone who watches.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    all: Mutex<Vec<Weak<Watcher>>>,
    polling: AtomicBool,
}

#[derive(Debug)]
struct Watcher {
    filter: WatchFilter,
    /// What the watched logs looked like last.
    seen: Mutex<BTreeMap<SessionKey, Metadata>>,
    waiting: Mutex<Waiting>,
}

/// Hints that were not taken yet, merged.
#[derive(Debug, Default)]
struct Waiting {
    keys: BTreeSet<SessionKey>,
    waker: Option<Waker>,
}

/// The hints of one watcher. It watches for as long as it lives.
#[derive(Debug)]
struct Hints(Arc<Watcher>);

impl Watcher {
    fn tell(&self, key: &SessionKey) {
        let mut waiting = lock(&self.waiting);
        waiting.keys.insert(key.clone());
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }

    fn covers(&self, key: &SessionKey) -> bool {
        match &self.filter {
            WatchFilter::Session(watched) => watched == key,
            WatchFilter::Owner(owner) => *owner == key.owner,
        }
    }

    /// Looks at the files and tells of those that changed.
    fn look(&self, engine: &Engine) -> Result<(), FileError> {
        let now = engine.looks(&self.filter)?;
        let mut seen = lock(&self.seen);
        for (key, metadata) in &now {
            if seen.get(key) != Some(metadata) {
                self.tell(key);
            }
        }
        for key in seen.keys().filter(|key| !now.contains_key(*key)) {
            self.tell(key);
        }
        *seen = now;
        Ok(())
    }
}

impl Stream for Hints {
    type Item = Hint;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Hint>> {
        let mut waiting = lock(&self.0.waiting);
        match waiting.keys.pop_first() {
            Some(key) => Poll::Ready(Some(Hint { key })),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Watchers {
    fn living(&self) -> Vec<Arc<Watcher>> {
        let mut all = lock(&self.all);
        let living: Vec<_> = all.iter().filter_map(Weak::upgrade).collect();
        all.retain(|watcher| watcher.strong_count() > 0);
        living
    }

    /// Tells of a change that this storage made.
    pub(super) fn notify(&self, key: &SessionKey) {
        for watcher in self.living().iter().filter(|watcher| watcher.covers(key)) {
            watcher.tell(key);
        }
    }
}

impl Engine {
    pub(super) fn watch(self: &Arc<Self>, filter: WatchFilter) -> Result<BoxStream<'static, Hint>> {
        let seen = Mutex::new(self.looks(&filter)?);
        let watcher = Arc::new(Watcher { filter, seen, waiting: Mutex::default() });
        lock(&self.watchers.all).push(Arc::downgrade(&watcher));
        if !self.watchers.polling.swap(true, Ordering::AcqRel) {
            let engine = Arc::downgrade(self);
            std::thread::Builder::new()
                .name("chatkeep-watch".to_owned())
                .spawn(move || poll(&engine))
                .map_err(|e| {
                    self.watchers.polling.store(false, Ordering::Release);
                    Error::unavailable("no thread could be started to watch").caused_by(e)
                })?;
        }
        Ok(Box::pin(Hints(watcher)))
    }

    /// What the logs of a filter look like.
    fn looks(&self, filter: &WatchFilter) -> Result<BTreeMap<SessionKey, Metadata>, FileError> {
        let keys = match filter {
            WatchFilter::Session(key) => vec![key.clone()],
            WatchFilter::Owner(owner) => {
                let dir = self.layout.sessions_of(owner);
                layout::ids(&self.disk, &dir, LOG)?
                    .into_iter()
                    .filter_map(|(id, _)| layout::session_id(&id))
                    .map(|id| SessionKey::new(owner.clone(), id))
                    .collect()
            }
        };
        let mut looks = BTreeMap::new();
        for key in keys {
            if let Some(metadata) = self.disk.metadata(&self.layout.log(&key))? {
                looks.insert(key, metadata);
            }
        }
        Ok(looks)
    }
}

/// Runs until nobody watches any more or the storage is gone.
fn poll(engine: &Weak<Engine>) {
    let mut pause = INTERVAL;
    loop {
        std::thread::sleep(pause);
        let Some(engine) = engine.upgrade() else { return };
        let watchers = engine.watchers.living();
        if watchers.is_empty() {
            engine.watchers.polling.store(false, Ordering::Release);
            // Somebody may have come between the look and the store, and relied on this thread.
            if engine.watchers.living().is_empty()
                || engine.watchers.polling.swap(true, Ordering::AcqRel)
            {
                return;
            }
            continue;
        }
        let begun = Instant::now();
        for watcher in watchers {
            if let Err(error) = watcher.look(&engine) {
                tracing::warn!(%error, "watched files could not be looked at");
            }
        }
        // Watching takes no more than a tenth of one processor.
        pause = INTERVAL.max(begun.elapsed() * 9);
    }
}
