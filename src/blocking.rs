//! The same façade for synchronous hosts.
//!
//! Each call parks the calling thread until the work is done, by the store's own threads or, where
//! nothing else is being written, by the calling one. It may be made from anywhere, from inside an
//! async worker too: it builds no runtime and needs none.
//!
//! # Examples
//!
//! ```
//! use chatkeep::{MemoryStorage, NewSession, blocking};
//!
//! let store = blocking::ChatStore::new(chatkeep::ChatStore::builder(MemoryStorage::new()))?;
//! let chat = store.local().create(NewSession::titled("Parser"))?;
//! let mut answer = chat.ask("Why does it loop?")?;
//! answer.append_text("The sentinel is never reached.")?;
//! answer.complete()?;
//! assert_eq!(chat.model().turns().len(), 1);
//! # Ok::<(), chatkeep::Error>(())
//! ```

mod copy;

use std::path::Path;
use std::time::Duration;

use futures_util::future::{Either, select};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::id::{OwnerId, SessionId, TurnId, WorkspaceId};
use crate::json::RawJson;
use crate::model::{ChatModel, ChatResponse, Draft, Feedback, ResponseError, SessionChange, Usage};
use crate::part::ResponsePart;
use crate::storage::{
    Cursor, Damage, ListQuery, OnProgress, Page, PurgeReceipt, Revision, SessionHead,
    StatisticsQuery, Storage, Totals,
};
use crate::store::{
    self, Budget, Change, ChatStoreBuilder, Context, Hits, IntoPart, ListChange, NewRequest,
    NewSession, Query, Resumed, block_on,
};

pub use self::copy::{CopyStore, copy_store};

/// Writes the calls that only wait for the async one of the same name.
macro_rules! waits {
    ($($(#[$doc:meta])* fn $name:ident(&$this:ident $(, $arg:ident: $type:ty)*) -> $result:ty;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Those of the async call of the same name.
            pub fn $name(&$this $(, $arg: $type)*) -> $result {
                block_on($this.0.$name($($arg),*))
            }
        )*
    };
    (mut $($(#[$doc:meta])* fn $name:ident(&$this:ident $(, $arg:ident: $type:ty)*) -> $result:ty;)*) => {
        $(
            $(#[$doc])*
            ///
            /// # Errors
            ///
            /// Those of the async call of the same name.
            pub fn $name(&mut $this $(, $arg: $type)*) -> $result {
                block_on($this.0.$name($($arg),*))
            }
        )*
    };
}

/// A store of chats: [`chatkeep::ChatStore`](crate::ChatStore) for synchronous hosts.
#[derive(Debug, Clone)]
pub struct ChatStore(store::ChatStore);

impl ChatStore {
    /// Opens, or makes, a store of files in a folder.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        block_on(store::ChatStore::open(folder)).map(Self)
    }

    /// Starts a store that was put together with a builder.
    ///
    /// # Errors
    ///
    /// Those of [`ChatStoreBuilder::build`].
    pub fn new(builder: ChatStoreBuilder) -> Result<Self> {
        block_on(builder.build()).map(Self)
    }

    /// The same store for async callers.
    #[must_use]
    pub fn as_async(&self) -> &store::ChatStore {
        &self.0
    }

    /// The chats of one owner.
    #[must_use]
    pub fn owner(&self, owner: impl Into<OwnerId>) -> OwnedStore {
        OwnedStore(self.0.owner(owner))
    }

    /// The chats of the only user, where there is one.
    #[must_use]
    pub fn local(&self) -> OwnedStore {
        OwnedStore(self.0.local())
    }

    /// Copies everything to another storage, once it is [run](CopyStore::run).
    ///
    /// **A copy deletes nothing.** A chat that is deleted here after it was copied stays in the target;
    /// the report of the next copy names it in
    /// [`only_in_target`](crate::storage::CopyReport::only_in_target). Delete it there as well.
    pub fn copy_to<'a>(&'a self, to: &'a dyn Storage) -> CopyStore<'a> {
        CopyStore(self.0.copy_to(to))
    }

    waits! {
        /// Everyone who has a chat.
        fn owners(&self, after: Option<Cursor>) -> Result<Page<OwnerId>>;
        /// Waits until all streamed text is on the disk.
        fn flush(&self) -> Result<()>;
        /// Builds what is derived from the logs anew.
        fn rebuild_index(&self, on_progress: OnProgress<'_>) -> Result<()>;
    }
}

/// The chats of one owner: [`chatkeep::OwnedStore`](crate::OwnedStore) for synchronous hosts.
#[derive(Debug, Clone)]
pub struct OwnedStore(store::OwnedStore);

impl OwnedStore {
    /// Whose chats these are.
    #[must_use]
    pub fn owner(&self) -> &OwnerId {
        self.0.owner()
    }

    /// Creates a session.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn create(&self, new: NewSession) -> Result<ChatSession> {
        block_on(self.0.create(new)).map(ChatSession)
    }

    /// Opens a session.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn open(&self, id: impl Into<SessionId>) -> Result<ChatSession> {
        block_on(self.0.open(id)).map(ChatSession)
    }

    /// Opens the sessions that were open in a workspace.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn resume(&self, workspace: impl Into<WorkspaceId>) -> Result<Resumed<ChatSession>> {
        let Resumed { chats, failed } = block_on(self.0.resume(workspace))?;
        Ok(Resumed { chats: chats.into_iter().map(ChatSession).collect(), failed })
    }

    /// Takes in a session that comes as a whole.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn import(&self, model: &ChatModel) -> Result<ChatSession> {
        block_on(self.0.import(model)).map(ChatSession)
    }

    /// Takes in a session's document.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn import_document(&self, document: &[u8]) -> Result<ChatSession> {
        block_on(self.0.import_document(document)).map(ChatSession)
    }

    /// The changes of the list of a query as they happen.
    #[must_use]
    pub fn subscribe(&self, query: ListQuery) -> ListChanges {
        ListChanges(self.0.subscribe(query))
    }

    waits! {
        /// The sessions that fit a query, a page at a time.
        fn list(&self, query: ListQuery) -> Result<Page<SessionHead>>;
        /// The next page of a list.
        fn list_after(&self, query: ListQuery, after: Option<Cursor>) -> Result<Page<SessionHead>>;
        /// How many sessions fit a query.
        fn count(&self, query: ListQuery) -> Result<u64>;
        /// Finds turns by their text, and sessions by their titles; the newest first.
        fn search(&self, query: Query) -> Result<Hits>;
        /// The next page of a search.
        fn search_after(&self, query: Query, after: Option<Cursor>) -> Result<Hits>;
        /// Sums over turns.
        fn totals(&self, query: StatisticsQuery) -> Result<Totals>;
        /// Deletes a session for good.
        fn delete(&self, id: impl Into<SessionId>) -> Result<PurgeReceipt>;
    }
}

/// A chat session: [`chatkeep::ChatSession`](crate::ChatSession) for synchronous hosts.
#[derive(Debug, Clone)]
pub struct ChatSession(store::ChatSession);

impl ChatSession {
    /// The same session for async callers.
    #[must_use]
    pub fn as_async(&self) -> &store::ChatSession {
        &self.0
    }

    /// The session's id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        self.0.id()
    }

    /// Whose session it is.
    #[must_use]
    pub fn owner(&self) -> &OwnerId {
        self.0.owner()
    }

    /// The session as it stands.
    #[must_use]
    pub fn model(&self) -> ChatModel {
        self.0.model()
    }

    /// The revision of the last record that is known to be on the disk.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.revision()
    }

    /// Why the last attempt to write failed.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.0.failure()
    }

    /// What of the session's log cannot be read.
    #[must_use]
    pub fn damage(&self) -> Vec<Damage> {
        self.0.damage()
    }

    /// The session's changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> Changes {
        Changes(self.0.subscribe())
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn ask(&self, request: impl Into<NewRequest>) -> Result<Answer> {
        block_on(self.0.ask(request)).map(Answer)
    }

    /// Asks anew in place of an earlier request.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn edit(&self, turn: TurnId, request: impl Into<NewRequest>) -> Result<Answer> {
        block_on(self.0.edit(turn, request)).map(Answer)
    }

    /// Asks the same again.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn regenerate(&self, turn: TurnId) -> Result<Answer> {
        block_on(self.0.regenerate(turn)).map(Answer)
    }

    /// Records a finished exchange in one append.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn record<P: IntoPart>(
        &self,
        request: impl Into<NewRequest>,
        parts: impl IntoIterator<Item = P>,
    ) -> Result<TurnId> {
        block_on(self.0.record(request, parts))
    }

    /// Keeps adopters' data under its registered id.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn set_data<T: Serialize + 'static>(&self, id: &str, value: &T) -> Result<()> {
        block_on(self.0.set_data(id, value))
    }

    /// The adopters' data of an id.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn data<T: DeserializeOwned + 'static>(&self, id: &str) -> Result<Option<T>> {
        self.0.data(id)
    }

    /// Keeps adopters' data with a turn's request.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn set_request_data<T: Serialize + 'static>(
        &self,
        turn: TurnId,
        id: &str,
        value: &T,
    ) -> Result<()> {
        block_on(self.0.set_request_data(turn, id, value))
    }

    /// The adopters' data of a turn's request.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn request_data<T: DeserializeOwned + 'static>(
        &self,
        turn: TurnId,
        id: &str,
    ) -> Result<Option<T>> {
        self.0.request_data(turn, id)
    }

    /// Keeps adopters' data with a turn's response.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn set_response_data<T: Serialize + 'static>(
        &self,
        turn: TurnId,
        id: &str,
        value: &T,
    ) -> Result<()> {
        block_on(self.0.set_response_data(turn, id, value))
    }

    /// The adopters' data of a turn's response.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn response_data<T: DeserializeOwned + 'static>(
        &self,
        turn: TurnId,
        id: &str,
    ) -> Result<Option<T>> {
        self.0.response_data(turn, id)
    }

    /// Keeps data that is never written.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn set_transient<T: Serialize>(&self, id: &str, value: Option<&T>) -> Result<()> {
        self.0.set_transient(id, value)
    }

    /// Data that is never written.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn transient<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>> {
        self.0.transient(id)
    }

    /// Sets or removes one of the session's preferences.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn set_preference<T: Serialize>(&self, name: &str, value: Option<&T>) -> Result<()> {
        block_on(self.0.set_preference(name, value))
    }

    /// One of the session's preferences.
    ///
    /// # Errors
    ///
    /// Those of the async call of the same name.
    pub fn preference<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.0.preference(name)
    }

    waits! {
        /// Shows the branch of a turn.
        fn switch_to(&self, turn: TurnId) -> Result<()>;
        /// Changes some of the session's properties in one append.
        fn change(&self, changes: impl IntoIterator<Item = SessionChange>) -> Result<()>;
        /// Gives the session a title.
        fn rename(&self, title: impl Into<String>) -> Result<()>;
        /// Pins or unpins the session.
        fn pin(&self, pinned: bool) -> Result<()>;
        /// Sets the session's tags.
        fn tag(&self, tags: impl IntoIterator<Item = impl Into<String>>) -> Result<()>;
        /// Puts the session away.
        fn archive(&self) -> Result<()>;
        /// Puts the session in the trash.
        fn trash(&self) -> Result<()>;
        /// Takes the session back out of the archive or the trash.
        fn restore(&self) -> Result<()>;
        /// Keeps, or removes, what is being typed.
        fn set_draft(&self, draft: Option<Draft>) -> Result<()>;
        /// Sets what a person thinks of a response.
        fn feedback(&self, turn: TurnId, feedback: Option<Feedback>) -> Result<()>;
        /// Removes adopters' data.
        fn remove_data(&self, id: &str) -> Result<()>;
        /// Loads turns before those that are loaded.
        fn load_earlier(&self, turns: u64) -> Result<u64>;
        /// Loads a turn and all after it; says whether it is on the branch that is shown.
        fn load_to(&self, turn: TurnId) -> Result<bool>;
        /// Loads the data of a part that lies in a blob.
        fn load_part(&self, turn: TurnId, index: usize) -> Result<ResponsePart>;
        /// The branch that is shown as messages for a model.
        fn context(&self, budget: Budget) -> Result<Context>;
        /// The whole session as one JSON document.
        fn to_document(&self) -> Result<RawJson>;
        /// Reads what others have changed.
        fn refresh(&self) -> Result<()>;
        /// Waits until all streamed text is on the disk.
        fn flush(&self) -> Result<()>;
        /// Drops from the log what is superfluous.
        fn compact(&self) -> Result<()>;
        /// Notes that a person closed the session.
        fn close(&self) -> Result<()>;
    }
}

/// An answer that is coming in: [`chatkeep::Answer`](crate::Answer) for synchronous hosts.
#[derive(Debug)]
pub struct Answer(store::Answer);

impl Answer {
    /// The turn whose response this is.
    #[must_use]
    pub fn turn(&self) -> TurnId {
        self.0.turn()
    }

    waits! { mut
        /// Adds text to the Markdown at the answer's end.
        fn append_text(&self, text: impl AsRef<str> + Send) -> Result<()>;
        /// Adds text to the thought at the answer's end.
        fn append_thinking(&self, text: impl AsRef<str> + Send) -> Result<()>;
        /// Adds a part; returns its place.
        fn push(&self, part: impl IntoPart + Send) -> Result<usize>;
        /// Puts a part in another's place.
        fn replace(&self, index: usize, part: impl IntoPart + Send) -> Result<()>;
        /// Changes anything of the response but its parts and state.
        fn update(&self, change: impl Fn(&mut ChatResponse) + Send + 'static) -> Result<()>;
        /// Sets which model answers.
        fn set_model(&self, model: impl Into<String>) -> Result<()>;
        /// Sets what the answer has used.
        fn set_usage(&self, usage: Usage) -> Result<()>;
        /// Notes that the answer waits for a person.
        fn needs_input(&self) -> Result<()>;
        /// Ends the answer as it should.
        fn complete(&self) -> Result<()>;
        /// Ends the answer because a person said so.
        fn cancel(&self) -> Result<()>;
        /// Ends the answer with an error.
        fn fail(&self, error: impl Into<ResponseError> + Send) -> Result<()>;
    }
}

/// A session's changes: [`chatkeep::Changes`](crate::Changes) for synchronous hosts. As an iterator
/// it waits for each, and ends after the session was deleted.
#[derive(Debug)]
pub struct Changes(store::Changes);

impl Changes {
    /// The next change if it comes within a time.
    pub fn next_within(&mut self, time: Duration) -> Option<Change> {
        within(time, self.0.next()).flatten()
    }

    /// The next change if there is one already.
    pub fn try_next(&mut self) -> Option<Change> {
        self.0.try_next()
    }
}

impl Iterator for Changes {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        block_on(self.0.next())
    }
}

/// The changes of a list: [`chatkeep::ListChanges`](crate::ListChanges) for synchronous hosts. As an
/// iterator it waits for each.
#[derive(Debug)]
pub struct ListChanges(store::ListChanges);

impl ListChanges {
    /// The next change if it comes within a time.
    pub fn next_within(&mut self, time: Duration) -> Option<ListChange> {
        within(time, self.0.next()).flatten()
    }
}

impl Iterator for ListChanges {
    type Item = ListChange;

    fn next(&mut self) -> Option<ListChange> {
        block_on(self.0.next())
    }
}

/// What a future that loses nothing when it is dropped gives within a time.
fn within<T>(time: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (done, timeout) = futures_channel::oneshot::channel::<()>();
    // Parked, not asleep: it ends with the call.
    let (parked, unpark) = std::sync::mpsc::channel::<()>();
    let timer = std::thread::spawn(move || {
        let _ = unpark.recv_timeout(time);
        drop(done);
    });
    let result = match block_on(select(std::pin::pin!(future), timeout)) {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    };
    drop(parked);
    // The thread runs no code that could panic.
    let _ = timer.join();
    result
}

macro_rules! from_async {
    ($($name:ident),*) => {$(
        impl From<store::$name> for $name {
            fn from(same: store::$name) -> Self {
                Self(same)
            }
        }
    )*};
}

from_async!(ChatStore, OwnedStore, ChatSession, Answer, Changes, ListChanges);
