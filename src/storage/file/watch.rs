//! Hints that sessions changed: own changes at once, other processes' by looking at the files.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use futures_core::stream::BoxStream;

use super::engine::{Engine, lock};
use super::error::FileError;
use super::layout::{self, LOG};
use super::system::Metadata;
use crate::error::{Error, Result};
use crate::storage::hints::{Hints, Mailbox};
use crate::storage::{Hint, SessionKey, WatchFilter};

/// How long another process' change may go unnoticed, unless looking takes longer.
const INTERVAL: Duration = Duration::from_millis(100);

/// Everyone who watches.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// Tells of changes that this storage makes.
    pub(super) hints: Hints,
    looking: Mutex<Vec<Watcher>>,
    polling: AtomicBool,
}

/// Someone for whom the files are looked at, for as long as the mailbox is read.
#[derive(Debug)]
struct Watcher {
    filter: WatchFilter,
    /// What the watched logs looked like last.
    seen: BTreeMap<SessionKey, Metadata>,
    mailbox: Weak<Mailbox>,
}

impl Watcher {
    /// Looks at the files and tells of those that changed.
    fn look(&mut self, engine: &Engine) -> Result<(), FileError> {
        let Some(mailbox) = self.mailbox.upgrade() else { return Ok(()) };
        let now = engine.looks(&self.filter)?;
        let changed = now.iter().filter(|(key, metadata)| self.seen.get(*key) != Some(*metadata));
        let gone = self.seen.keys().filter(|key| !now.contains_key(*key));
        for key in changed.map(|(key, _)| key).chain(gone) {
            mailbox.put(key);
        }
        self.seen = now;
        Ok(())
    }
}

impl Engine {
    pub(super) fn watch(self: &Arc<Self>, filter: WatchFilter) -> Result<BoxStream<'static, Hint>> {
        let mailbox = self.watchers.hints.mailbox(filter.clone());
        let seen = self.looks(&filter)?;
        let watcher = Watcher { filter, seen, mailbox: Arc::downgrade(&mailbox) };
        lock(&self.watchers.looking).push(watcher);
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
        Ok(mailbox.hints())
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
        let watchers = &engine.watchers;
        // Taken out while the files are looked at, which may take long and wakes foreign code.
        let mut looking = std::mem::take(&mut *lock(&watchers.looking));
        let begun = Instant::now();
        for watcher in &mut looking {
            if let Err(error) = watcher.look(&engine) {
                tracing::warn!(%error, "watched files could not be looked at");
            }
        }
        // Watching takes no more than a tenth of one processor.
        pause = INTERVAL.max(begun.elapsed() * 9);
        let mut all = lock(&watchers.looking);
        all.extend(looking.into_iter().filter(|watcher| watcher.mailbox.strong_count() > 0));
        if all.is_empty() {
            // Under the lock, so that whoever begins to watch now starts another thread.
            watchers.polling.store(false, Ordering::Release);
            return;
        }
    }
}
