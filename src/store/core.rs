//! What all handles of one store share.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_channel::oneshot;

use super::live::Shared;
use super::search::TextCache;
use super::writer::{Command, Done, Run, Writer};
use crate::environment::{Clock, IdSource};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Extra;
use crate::log::LogInfo;
use crate::serializer::{ChatModelSerializer, info};
use crate::storage::{BatchId, Extract, SessionKey, Storage};

/// How a store writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How long streamed text may wait before it is on the disk.
    pub(crate) flush_delay: Duration,
    /// How long a writer's claim on a response holds unless it is renewed.
    pub(crate) lease: Duration,
    /// How many turns `open` loads.
    pub(crate) first_turns: u64,
    /// Parts whose data is longer than this many bytes go into blobs.
    pub(crate) blob_threshold: usize,
}

pub(crate) struct Core {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) serializer: Arc<dyn ChatModelSerializer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) options: Options,
    /// Reads sessions for the storage's index.
    pub(crate) extract: Arc<dyn Extract>,
    /// What was read for searches where the storage has no full text.
    pub(crate) texts: TextCache,
    /// The sessions that someone in this process holds.
    live: Mutex<HashMap<SessionKey, Weak<Shared>>>,
    writer: Writer,
}

impl Core {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        serializer: Arc<dyn ChatModelSerializer>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        options: Options,
        extract: Arc<dyn Extract>,
        writer: Writer,
    ) -> Self {
        let (texts, live) = (TextCache::default(), Mutex::default());
        Self { storage, serializer, clock, ids, options, extract, texts, live, writer }
    }

    /// Runs a future that may block on a thread that may be blocked.
    pub(crate) async fn run<T, F>(&self, future: F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        ::blocking::unblock(move || pollster::block_on(future)).await
    }

    pub(crate) fn send(&self, command: Command) -> Result<()> {
        self.writer.send(command)
    }

    /// Has the writer run a change of a session. It runs to its end even if nobody waits for it.
    pub(crate) fn start(&self, shared: &Arc<Shared>, run: Run) -> Reply {
        let (reply, receiver) = oneshot::channel();
        match self.writer.change(Arc::clone(shared), run, reply) {
            Ok(()) => Reply(receiver),
            Err(error) => {
                let (reply, receiver) = oneshot::channel();
                // The receiver is in hand: the send cannot fail.
                let _ = reply.send(Err(error));
                Reply(receiver)
            }
        }
    }

    pub(crate) fn batch_id(&self) -> BatchId {
        BatchId::new(self.ids.next_u64())
    }

    pub(crate) fn log_info(&self, key: &SessionKey) -> LogInfo {
        LogInfo {
            format: self.serializer.format().clone(),
            serializer: info(&*self.serializer),
            owner: key.owner.clone(),
            session: key.id.clone(),
            extra: Extra::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionKey, Weak<Shared>>> {
        // The map is whole between any two statements.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session's shared state, if someone holds it.
    pub(crate) fn live(&self, key: &SessionKey) -> Option<Arc<Shared>> {
        self.lock().get(key).and_then(Weak::upgrade)
    }

    /// All sessions that someone holds.
    pub(crate) fn all_live(&self) -> Vec<Arc<Shared>> {
        self.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Makes a session's state the shared one, unless another call was faster: then that one is.
    pub(crate) fn share(&self, shared: Arc<Shared>) -> Arc<Shared> {
        let mut live = self.lock();
        let other = live.get(&shared.key).and_then(Weak::upgrade);
        // A deleted session's handles stay deleted; a new life has new ones.
        if other.as_ref().is_none_or(|other| other.is_gone()) {
            live.insert(shared.key.clone(), Arc::downgrade(&shared));
            // The last handle of the other one takes the map's lock when it goes.
            drop(live);
            return shared;
        }
        drop(live);
        other.unwrap_or(shared)
    }

    pub(crate) fn forget(&self, key: &SessionKey) {
        let mut live = self.lock();
        if live.get(key).is_some_and(|weak| weak.strong_count() == 0) {
            live.remove(key);
        }
    }

    /// Takes a session's state out, so that the next `open` reads it anew.
    pub(crate) fn part_with(&self, shared: &Arc<Shared>) {
        let mut live = self.lock();
        let same = |weak: &Weak<Shared>| std::ptr::eq(weak.as_ptr(), Arc::as_ptr(shared));
        if live.get(&shared.key).is_some_and(same) {
            live.remove(&shared.key);
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("storage", &self.storage)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What the writer will answer.
#[derive(Debug)]
pub(crate) struct Reply(oneshot::Receiver<Result<Done>>);

impl Future for Reply {
    type Output = Result<Done>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context).map(|answer| {
            answer.unwrap_or_else(|_| {
                // A panic in an adopter's code: the append may have been made or not.
                let message = "the store's writer gave the change up; nothing was said of it";
                Err(Error::new(ErrorKind::Indeterminate, message))
            })
        })
    }
}
