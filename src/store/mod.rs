//! The façade: a store, its owners, their sessions, and answers that come in.
//!
//! Every change is persisted by itself; there is no save button. Handles on one session in one
//! process share one state. What a call promises to have written is on the disk when it returns;
//! streamed text follows within a bounded delay.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_channel::oneshot;

use crate::environment::{Clock, IdSource, RandomIds, SystemClock};
use crate::error::{Error, Result};
use crate::id::OwnerId;
use crate::part::{DataRegistry, PartRegistry};
use crate::serializer::{ChatModelSerializer, JsonChatModelSerializer};
use crate::storage::{CopyStore, Cursor, FileStorage, OnProgress, Page, Storage, copy_store};

mod answer;
mod begun;
mod catch_up;
mod changes;
mod compact;
mod context;
mod core;
mod extract;
mod held;
mod import;
mod live;
mod load;
mod new_session;
mod owned;
mod plan;
mod reading;
mod resume;
mod search;
mod session;
mod session_data;
mod upgrade;
mod write;
mod writer;

pub use self::answer::{Answer, IntoPart};
pub use self::changes::{Change, Changes, ListChange, ListChanges};
pub use self::context::{Budget, Context, ContextMessage, Role};
pub use self::new_session::{NewRequest, NewSession};
pub use self::owned::{OwnedStore, Resumed};
pub use self::search::{Hit, Hits, Query, Snippet};
pub use self::session::ChatSession;
pub(crate) use self::writer::block_on;

use self::core::{Core, Options};
use self::writer::Command;

/// A store of chats.
///
/// Cloning is cheap; all clones are the same store.
///
/// # Examples
///
/// ```
/// use chatkeep::{ChatStore, MemoryStorage, NewSession};
///
/// # pollster::block_on(async {
/// let store = ChatStore::builder(MemoryStorage::new()).build().await?;
/// let chat = store.local().create(NewSession::titled("Parser")).await?;
/// let mut answer = chat.ask("Why does the parser loop?").await?;
/// answer.append_text("The sentinel is never reached.").await?;
/// answer.complete().await?;
/// assert_eq!(chat.model().turns().len(), 1);
/// # Ok::<(), chatkeep::Error>(())
/// # })?;
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ChatStore {
    core: Arc<Core>,
}

impl ChatStore {
    /// Opens, or makes, a store of files in a folder.
    ///
    /// # Errors
    ///
    /// Those of [`FileStorage::open`].
    pub async fn open(folder: impl AsRef<Path>) -> Result<Self> {
        Self::builder(FileStorage::open(folder).await?).build().await
    }

    /// A store on some storage.
    pub fn builder(storage: impl Storage) -> ChatStoreBuilder {
        Self::builder_on(Arc::new(storage))
    }

    /// A store on a storage that others hold as well.
    pub fn builder_on(storage: Arc<dyn Storage>) -> ChatStoreBuilder {
        ChatStoreBuilder {
            storage,
            parts: None,
            data: None,
            serializer: None,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            options: Options {
                flush_delay: Duration::from_millis(100),
                lease: Duration::from_secs(30),
                first_turns: 20,
                blob_threshold: 64 << 10,
            },
        }
    }

    /// The chats of one owner. Nothing is reachable without one.
    #[must_use]
    pub fn owner(&self, owner: impl Into<OwnerId>) -> OwnedStore {
        OwnedStore::new(Arc::clone(&self.core), owner.into())
    }

    /// The chats of the only user, where there is one.
    #[must_use]
    pub fn local(&self) -> OwnedStore {
        self.owner(OwnerId::local())
    }

    /// Everyone who has a chat, in the order of their ids.
    ///
    /// # Errors
    ///
    /// Those of [`Storage::owners`].
    pub async fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>> {
        let core = Arc::clone(&self.core);
        self.core.run(async move { core.storage.owners(after).await }).await
    }

    /// The storage below.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.core.storage
    }

    /// Copies everything to another storage, with the text and the facts by which it is searched
    /// and counted there: [`copy_store`] from the storage below, once streamed text is on the disk.
    ///
    /// Chats that are written to meanwhile are copied as they were when they were read. Whoever
    /// moves for good stops using this store, and copies once more.
    ///
    /// **A copy deletes nothing.** A chat that is deleted here after it was copied stays in the target,
    /// where it can be opened and found; the report of the next copy names it in
    /// [`only_in_target`](crate::storage::CopyReport::only_in_target). Delete it there as well.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](Self::flush) and of [`copy_store`].
    ///
    /// # Examples
    ///
    /// ```
    /// use chatkeep::{ChatStore, MemoryStorage, NewSession};
    ///
    /// # pollster::block_on(async {
    /// let store = ChatStore::builder(MemoryStorage::new()).build().await?;
    /// store.local().create(NewSession::titled("Parser")).await?;
    ///
    /// let new = MemoryStorage::new();
    /// let report = store.copy_to(&new).await?;
    /// assert!(report.is_complete());
    /// assert_eq!((report.sessions, report.only_in_target.len()), (1, 0));
    /// # Ok::<(), chatkeep::Error>(())
    /// # })?;
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    pub fn copy_to<'a>(&'a self, to: &'a dyn Storage) -> CopyStore<'a> {
        copy_store(&*self.core.storage, to)
            .extract(&*self.core.extract)
            .clock(&*self.core.clock)
            .after(Box::pin(self.flush()))
    }

    /// Builds what is derived from the logs anew: the index of lists, then that of full text.
    ///
    /// An index keeps itself up to date without it. Call it to have a complete one now, after
    /// damage that the engine does not mend by itself, and after sessions were copied in without
    /// their text. `on_progress` is told of each stage on its own: `done` begins anew with the next.
    ///
    /// # Errors
    ///
    /// Those of [`Maintenance::rebuild_index`](crate::storage::Maintenance::rebuild_index) and
    /// [`FullText::rebuild`](crate::storage::FullText::rebuild).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the index is as complete as it was, or more so.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use chatkeep::{ChatStore, MemoryStorage, NewSession, Query, copy_store};
    ///
    /// # pollster::block_on(async {
    /// let (old, new) = (MemoryStorage::new(), MemoryStorage::new());
    /// let store = ChatStore::builder(old.clone()).build().await?;
    /// store.local().create(NewSession::titled("Parser")).await?;
    /// copy_store(&old, &new).await?; // without the text, which storages alone cannot read
    ///
    /// let store = ChatStore::builder(new).build().await?;
    /// let query = Query::parse("parser")?;
    /// assert_eq!(store.local().search(query.clone()).await?.hits.len(), 0);
    /// let done = AtomicU64::new(0);
    /// store.rebuild_index(&|progress| done.store(progress.done, Ordering::Relaxed)).await?;
    /// assert_eq!(done.into_inner(), 1); // one session
    /// assert_eq!(store.local().search(query).await?.hits.len(), 1);
    /// # Ok::<(), chatkeep::Error>(())
    /// # })?;
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    pub async fn rebuild_index(&self, on_progress: OnProgress<'_>) -> Result<()> {
        let storage = &self.core.storage;
        storage.maintenance().rebuild_index(on_progress).await?;
        match storage.full_text() {
            Some(full_text) => full_text.rebuild(&*self.core.extract, on_progress).await,
            None => Ok(()),
        }
    }

    /// The serializer in use.
    #[must_use]
    pub fn serializer(&self) -> &Arc<dyn ChatModelSerializer> {
        &self.core.serializer
    }

    /// Waits until all streamed text is on the disk. Handles stay usable.
    ///
    /// A host calls it before it stops. Without it the text of the last 100 milliseconds may be
    /// lost; nothing else can be.
    ///
    /// # Errors
    ///
    /// The first failure to write; the others' sessions are written all the same.
    pub async fn flush(&self) -> Result<()> {
        let waiting: Vec<_> = self
            .core
            .all_live()
            .into_iter()
            .map(|shared| {
                let (reply, receiver) = oneshot::channel();
                self.core.send(Command::Flush(shared, reply)).map(|()| receiver)
            })
            .collect();
        let mut result = Ok(());
        for receiver in waiting {
            let flushed = match receiver {
                Ok(receiver) => receiver.await.unwrap_or_else(|_| Err(writer_ended())),
                Err(error) => Err(error),
            };
            // A session that was deleted has nothing to write.
            match flushed {
                Err(error) if !error.is_not_found() => result = result.and(Err(error)),
                _ => {}
            }
        }
        result
    }
}

fn writer_ended() -> Error {
    Error::unavailable("the store's writer has ended")
}

/// Puts a [`ChatStore`] together.
#[derive(Debug)]
#[must_use]
pub struct ChatStoreBuilder {
    storage: Arc<dyn Storage>,
    parts: Option<PartRegistry>,
    data: Option<DataRegistry>,
    serializer: Option<Arc<dyn ChatModelSerializer>>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    options: Options,
}

impl ChatStoreBuilder {
    /// The kinds of parts; the built-in ones by default.
    pub fn parts(mut self, parts: PartRegistry) -> Self {
        self.parts = Some(parts);
        self
    }

    /// The kinds of adopters' data; none by default.
    pub fn data(mut self, data: DataRegistry) -> Self {
        self.data = Some(data);
        self
    }

    /// The serializer. It brings its own registries.
    pub fn serializer(mut self, serializer: impl ChatModelSerializer) -> Self {
        self.serializer = Some(Arc::new(serializer));
        self
    }

    /// Where the time comes from.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Where new ids come from.
    pub fn ids(mut self, ids: impl IdSource) -> Self {
        self.ids = Arc::new(ids);
        self
    }

    /// How long streamed text may wait before it is on the disk; 100 ms by default.
    pub fn flush_delay(mut self, delay: Duration) -> Self {
        self.options.flush_delay = delay;
        self
    }

    /// How long nobody else may take over a response whose writer has fallen silent; 30 s by
    /// default. A writer whose process is known to be gone is not waited for.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// Parts whose data is longer than this many bytes lie in blobs of their own; 64 KiB by
    /// default.
    pub fn blob_threshold(mut self, bytes: usize) -> Self {
        self.options.blob_threshold = bytes;
        self
    }

    /// How many turns are read when a session is opened; 20 by default.
    pub fn first_turns(mut self, turns: u64) -> Self {
        self.options.first_turns = turns.max(1);
        self
    }

    /// Starts the store.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if both a serializer and registries were given: the
    /// serializer has its own. [`Unavailable`](crate::ErrorKind::Unavailable) if the writer's
    /// thread cannot be started.
    #[expect(clippy::unused_async, reason = "storages over a network are probed here")]
    pub async fn build(self) -> Result<ChatStore> {
        let serializer = match (self.serializer, self.parts, self.data) {
            (Some(serializer), None, None) => serializer,
            (Some(_), _, _) => {
                return Err(Error::invalid(
                    "a serializer brings its own registries: give it the parts and the data",
                ));
            }
            (None, parts, data) => Arc::new(JsonChatModelSerializer::new(
                parts.unwrap_or_default(),
                data.unwrap_or_default(),
            )),
        };
        let writer = writer::Writer::start()?;
        let core = Arc::new_cyclic(|core| {
            let extract = extract::of_store(core);
            let (clock, ids) = (self.clock, self.ids);
            Core::new(self.storage, serializer, clock, ids, self.options, extract, writer)
        });
        if let Some(full_text) = core.storage.full_text() {
            full_text.attach(Arc::downgrade(&core.extract));
        }
        Ok(ChatStore { core })
    }
}
