//! Hints within one process: whoever changes a session tells everyone who watches it.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use futures_core::stream::BoxStream;

use super::head::SessionKey;
use super::query::{Hint, WatchFilter};

/// Everyone who watches one store in this process.
#[derive(Default)]
pub(crate) struct Hints {
    watchers: Mutex<Vec<(WatchFilter, Weak<Mailbox>)>>,
}

impl Hints {
    /// Watches from now on. The stream never ends; dropping it ends the watch.
    pub(crate) fn watch(&self, filter: WatchFilter) -> BoxStream<'static, Hint> {
        self.mailbox(filter).hints()
    }

    /// A watcher's mailbox, for engines that find out about other processes' changes by themselves.
    pub(crate) fn mailbox(&self, filter: WatchFilter) -> Arc<Mailbox> {
        let mailbox = Arc::new(Mailbox::default());
        let mut watchers = lock(&self.watchers);
        watchers.retain(|(_, mailbox)| mailbox.strong_count() > 0);
        watchers.push((filter, Arc::downgrade(&mailbox)));
        mailbox
    }

    /// Tells everyone who watches that a session changed.
    pub(crate) fn send(&self, key: &SessionKey) {
        // Wakers run foreign code: call them after the lock is released.
        let interested: Vec<Arc<Mailbox>> = lock(&self.watchers)
            .iter()
            .filter(|(filter, _)| match filter {
                WatchFilter::Session(session) => session == key,
                WatchFilter::Owner(owner) => *owner == key.owner,
            })
            .filter_map(|(_, mailbox)| mailbox.upgrade())
            .collect();
        for mailbox in interested {
            mailbox.put(key);
        }
    }
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hints").field("watchers", &lock(&self.watchers).len()).finish()
    }
}

/// A watcher's changed sessions. A set, so that a slow watcher costs no more than the sessions
/// that there are.
#[derive(Debug, Default)]
pub(crate) struct Mailbox(Mutex<(BTreeSet<SessionKey>, Option<Waker>)>);

impl Mailbox {
    /// What comes into it. The watch ends when this is dropped.
    pub(crate) fn hints(self: Arc<Self>) -> BoxStream<'static, Hint> {
        Box::pin(Watch(self))
    }

    pub(crate) fn put(&self, key: &SessionKey) {
        let waker = {
            let (changed, waker) = &mut *lock(&self.0);
            changed.insert(key.clone());
            waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

struct Watch(Arc<Mailbox>);

impl Stream for Watch {
    type Item = Hint;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Hint>> {
        // Wakers are foreign code, also where they are dropped: the one before goes after the lock.
        let mut waker = Some(context.waker().clone());
        let mut mailbox = lock(&self.0.0);
        match mailbox.0.pop_first() {
            Some(key) => Poll::Ready(Some(Hint { key })),
            None => {
                std::mem::swap(&mut mailbox.1, &mut waker);
                Poll::Pending
            }
        }
    }
}

/// Every change under these locks is a single insertion or removal: a panic leaves them whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
