//! One owner's sessions.

use std::sync::Arc;

use futures_channel::oneshot;
use futures_util::FutureExt as _;

use super::changes::{ListChange, ListChanges};
use super::core::Core;
use super::import;
use super::live::{Live, Shared};
use super::load;
use super::new_session::NewSession;
use super::session::ChatSession;
use super::writer::Command;
use super::{resume, writer_ended};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{OwnerId, SessionId, WorkspaceId};
use crate::json::Extra;
use crate::log::{Entry, Event, Fold, SessionState};
use crate::model::{ChatModel, SessionChange, SessionMeta};
use crate::storage::{
    Cursor, ListQuery, Page, PurgeReceipt, Revision, SessionHead, SessionKey, StatisticsQuery,
    Storage, Totals,
};

/// What was open in a workspace, opened again.
#[derive(Debug)]
pub struct Resumed<C = ChatSession> {
    /// The sessions, the last opened last.
    pub chats: Vec<C>,
    /// Those that cannot be opened, and why: a newer version wrote them, say.
    pub failed: Vec<(SessionId, Error)>,
}

/// The chats of one owner. What belongs to others cannot be told from what is not there.
///
/// Cloning is cheap.
#[derive(Debug, Clone)]
pub struct OwnedStore {
    core: Arc<Core>,
    owner: OwnerId,
}

impl OwnedStore {
    pub(super) fn new(core: Arc<Core>, owner: OwnerId) -> Self {
        Self { core, owner }
    }

    /// Whose chats these are.
    #[must_use]
    pub fn owner(&self) -> &OwnerId {
        &self.owner
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn key(&self, id: &SessionId) -> SessionKey {
        SessionKey::new(self.owner.clone(), id.clone())
    }

    /// Creates a session. It is on the disk when the call returns.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if the id is in use,
    /// [`Deleted`](ErrorKind::Deleted) if it was.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the session may have been created.
    pub async fn create(&self, new: NewSession) -> Result<ChatSession> {
        let NewSession { id, changes, tags } = new;
        let id = match id {
            Some(id) => id,
            None => SessionId::new(self.core.ids.next_id())?,
        };
        let (key, now) = (self.key(&id), self.core.clock.now());
        let mut meta = SessionMeta::new(self.owner.clone(), id, now);
        changes.into_iter().for_each(|change| meta.apply(change));
        if !tags.is_empty() {
            meta.apply(SessionChange::Tags(tags));
        }
        let workspace = meta.workspace.as_ref().map(|workspace| workspace.id.clone());
        let core = Arc::clone(&self.core);
        let shared = self.core.run(async move { created(&core, key, meta).await }).await?;
        let chat = ChatSession::new(shared);
        if let Some(workspace) = workspace {
            chat.tolerate(self.note_open(&workspace, chat.id()).await)?;
        }
        Ok(chat)
    }

    /// Opens a session: reads its newest turns.
    ///
    /// A response whose writer is gone is ended as
    /// [`Interrupted`](crate::ResponseState::Interrupted); one that is still being written is left
    /// alone. A damaged session opens as far as it can be read, and says so
    /// ([`ChatSession::damage`]). Where the storage cannot be written to, a session opens all the
    /// same and says so ([`ChatSession::failure`]).
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is none,
    /// [`UnsupportedVersion`](ErrorKind::UnsupportedVersion) if a newer major version wrote it,
    /// [`Unsupported`](ErrorKind::Unsupported) if another serializer did.
    pub async fn open(&self, id: impl Into<SessionId>) -> Result<ChatSession> {
        let key = self.key(&id.into());
        let core = Arc::clone(&self.core);
        let shared = self.core.run(async move { opened(&core, key).await }).await?;
        let chat = ChatSession::new(shared);
        chat.tolerate(chat.take_over_if_abandoned().await)?;
        let workspace = chat.model().session().workspace.as_ref().map(|w| w.id.clone());
        if let Some(workspace) = workspace {
            chat.tolerate(self.note_open(&workspace, chat.id()).await)?;
        }
        Ok(chat)
    }

    /// Opens the sessions that were open in a workspace when the host stopped, the last opened
    /// last. Those that were deleted since are left out; one that cannot be opened keeps no other
    /// from being there.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) or [`Corrupt`](ErrorKind::Corrupt) if it cannot be
    /// read which sessions were open.
    pub async fn resume(&self, workspace: impl Into<WorkspaceId>) -> Result<Resumed> {
        let workspace = workspace.into();
        let (core, owner) = (Arc::clone(&self.core), self.owner.clone());
        let open = self.core.run(async move { resume::open_in(&core, &owner, &workspace).await });
        let mut resumed = Resumed { chats: Vec::new(), failed: Vec::new() };
        for id in open.await? {
            match self.open(&id).await {
                Ok(chat) => resumed.chats.push(chat),
                Err(error) if error.is_not_found() => {}
                Err(error) => resumed.failed.push((id, error)),
            }
        }
        Ok(resumed)
    }

    async fn note_open(&self, workspace: &WorkspaceId, id: &SessionId) -> Result<()> {
        let (core, owner) = (Arc::clone(&self.core), self.owner.clone());
        let (workspace, id) = (workspace.clone(), id.clone());
        self.core.run(async move { resume::note(&core, &owner, &workspace, &id, true).await }).await
    }

    /// The sessions that fit a query: the first page of them.
    ///
    /// A change is seen once its call has returned, by other processes within 200 ms.
    ///
    /// # Errors
    ///
    /// Those of [`Storage::list`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, whenever the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use chatkeep::{ChatStore, ListQuery, MemoryStorage, NewSession, SessionStatus};
    ///
    /// # pollster::block_on(async {
    /// let me = ChatStore::builder(MemoryStorage::new()).build().await?.local();
    /// me.create(NewSession::titled("Parser")).await?;
    /// me.create(NewSession::titled("Lexer")).await?.archive().await?;
    ///
    /// let page = me.list(ListQuery::new().status(SessionStatus::Active).limit(20)).await?;
    /// assert_eq!(page.next, None); // no further page
    /// assert_eq!(page.items.len(), 1);
    /// for session in page {
    ///     assert_eq!(session.title(), "Parser");
    /// }
    /// # Ok::<(), chatkeep::Error>(())
    /// # })?;
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    pub async fn list(&self, query: ListQuery) -> Result<Page<SessionHead>> {
        self.list_after(query, None).await
    }

    /// The next page of a list: `after` is the last page's [`next`](Page::next), or none for the
    /// first one.
    ///
    /// A change is seen once its call has returned, by other processes within 200 ms. A session
    /// that keeps its place is neither left out nor repeated, whatever is created or deleted
    /// between two pages.
    ///
    /// # Errors
    ///
    /// Those of [`Storage::list`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, whenever the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use chatkeep::{ChatStore, ListOrder, ListQuery, MemoryStorage, NewSession};
    ///
    /// # pollster::block_on(async {
    /// let me = ChatStore::builder(MemoryStorage::new()).build().await?.local();
    /// for title in ["C", "A", "B"] {
    ///     me.create(NewSession::titled(title)).await?;
    /// }
    ///
    /// let query = ListQuery::new().order(ListOrder::Title).limit(2);
    /// let (mut titles, mut after) = (Vec::new(), None);
    /// loop {
    ///     let page = me.list_after(query.clone(), after).await?;
    ///     titles.extend(page.items.iter().map(|session| session.title().to_owned()));
    ///     after = page.next;
    ///     if after.is_none() {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(titles, ["A", "B", "C"]);
    /// # Ok::<(), chatkeep::Error>(())
    /// # })?;
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    pub async fn list_after(
        &self,
        query: ListQuery,
        after: Option<Cursor>,
    ) -> Result<Page<SessionHead>> {
        let (core, owner) = (Arc::clone(&self.core), self.owner.clone());
        self.core.run(async move { core.storage.list(&owner, &query, after).await }).await
    }

    /// How many sessions fit a query, on all pages together.
    ///
    /// A change is seen once its call has returned, by other processes within 200 ms.
    ///
    /// # Errors
    ///
    /// Those of [`Storage::count`].
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, whenever the future is dropped.
    ///
    /// # Examples
    ///
    /// ```
    /// use chatkeep::{ChatStore, ListQuery, MemoryStorage, NewSession};
    ///
    /// # pollster::block_on(async {
    /// let me = ChatStore::builder(MemoryStorage::new()).build().await?.local();
    /// let chat = me.create(NewSession::titled("Parser")).await?;
    /// me.create(NewSession::titled("Lexer")).await?;
    /// assert_eq!(me.count(ListQuery::new()).await?, 2);
    /// assert_eq!(me.count(ListQuery::new().title("lex")).await?, 1);
    ///
    /// me.delete(chat.id()).await?;
    /// assert_eq!(me.count(ListQuery::new()).await?, 1);
    /// # Ok::<(), chatkeep::Error>(())
    /// # })?;
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    pub async fn count(&self, query: ListQuery) -> Result<u64> {
        let (core, owner) = (Arc::clone(&self.core), self.owner.clone());
        self.core.run(async move { core.storage.count(&owner, &query).await }).await
    }

    /// The changes of the list of a query as they happen, made by this process or another. The
    /// first one, [`ListChange::Reloaded`], says that the storage watches: a list taken then, and
    /// what follows, miss nothing.
    #[must_use]
    pub fn subscribe(&self, query: ListQuery) -> ListChanges {
        let storage = Arc::clone(&self.core.storage);
        let core = Arc::clone(&self.core);
        let look_up = move |hint: crate::storage::Hint| {
            let (core, query) = (Arc::clone(&core), query.clone());
            async move {
                let runner = Arc::clone(&core);
                runner.run(async move { listed(&core, hint.key, &query).await }).await
            }
            .boxed()
        };
        ListChanges::new(self.owner.clone(), storage, Box::new(look_up))
    }

    /// Sums over turns.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) if the storage has no statistics.
    pub async fn totals(&self, query: StatisticsQuery) -> Result<Totals> {
        let (core, owner) = (Arc::clone(&self.core), self.owner.clone());
        let sum = async move {
            let statistics = core.storage.statistics();
            let statistics = statistics.ok_or_else(|| lacks_statistics(&*core.storage))?;
            statistics.totals(&owner, &query).await
        };
        self.core.run(sum).await
    }

    /// Takes in a session that comes as a whole: from a reader in [`interop`](crate::interop), or
    /// out of a document. It keeps its id and becomes this owner's. A deleted id begins a new life.
    ///
    /// If it fails what was written of it is taken back. If the process dies in the midst of a long
    /// one the session is there in part: delete it, and import it again.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) if the id is in use,
    /// [`Invalid`](ErrorKind::Invalid) if not all of its turns and parts are loaded.
    pub async fn import(&self, model: &ChatModel) -> Result<ChatSession> {
        let (core, owner, model) = (Arc::clone(&self.core), self.owner.clone(), model.clone());
        let key = self.core.run(async move { import::import(&core, owner, model).await }).await?;
        self.open(key.id).await
    }

    /// Takes in a session's document, as [`ChatSession::to_document`] makes it.
    ///
    /// # Errors
    ///
    /// Those of [`import`](Self::import) and of
    /// [`read_document`](crate::ChatModelSerializer::read_document).
    pub async fn import_document(&self, document: &[u8]) -> Result<ChatSession> {
        self.import(&self.core.serializer.read_document(document)?).await
    }

    /// Deletes a session for good. When the call returns nothing of it is left but a mark that it
    /// was, and every handle on it answers `NotFound`. Where bytes of it may stay in the engine's files
    /// until [`scrub`](crate::storage::Maintenance::scrub) is called, the receipt's `remains` says so.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) if there is none.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the session is deleted all the same.
    pub async fn delete(&self, id: impl Into<SessionId>) -> Result<PurgeReceipt> {
        let key = self.key(&id.into());
        let (reply, receiver) = oneshot::channel();
        self.core.send(Command::Delete(Arc::clone(&self.core), key, reply))?;
        receiver.await.unwrap_or_else(|_| Err(writer_ended()))
    }
}

fn lacks_statistics(storage: &dyn Storage) -> Error {
    Error::unsupported("the storage has no statistics").with("backend", storage.capabilities().name)
}

async fn created(core: &Arc<Core>, key: SessionKey, meta: SessionMeta) -> Result<Arc<Shared>> {
    let log = core.log_info(&key);
    let now = meta.created;
    let entry = |event| Entry { turn: crate::id::TurnId::SESSION, at: now, event };
    let state = SessionState { meta, extra: Extra::new() };
    let entries = vec![entry(Event::Log(log)), entry(Event::Session(Box::new(state)))];
    let head = import::begin(core, &key, &entries, crate::storage::Expected::New)
        .await
        .map_err(|e| load::in_session(e, &key))?;
    let fold = Fold::newest(entries, false)?;
    let live = Live::new(fold, head, Revision::new(1), Vec::new());
    Ok(core.share(Arc::new(Shared::new(Arc::clone(core), key, live))))
}

async fn opened(core: &Arc<Core>, key: SessionKey) -> Result<Arc<Shared>> {
    if let Some(shared) = core.live(&key)
        && !shared.is_gone()
    {
        // Others may have changed it since this process last looked.
        let (reply, receiver) = oneshot::channel();
        core.send(Command::CatchUp(Arc::clone(&shared), Some(reply)))?;
        let caught_up = receiver.await.unwrap_or_else(|_| Err(writer_ended()));
        match caught_up.map_err(|error| (error.kind(), error)) {
            Ok(()) => return Ok(shared),
            // The id may live again, and what cannot be caught up with may be readable from anew.
            Err((ErrorKind::NotFound | ErrorKind::Corrupt, _)) => core.part_with(&shared),
            Err((_, error)) => return Err(error),
        }
    }
    let live = load::load(core, &key, core.options.first_turns).await;
    let live = live.map_err(|e| load::in_session(e, &key))?;
    Ok(core.share(Arc::new(Shared::new(Arc::clone(core), key, live))))
}

async fn listed(core: &Core, key: SessionKey, query: &ListQuery) -> ListChange {
    match core.storage.head(&key).await {
        Ok(Some(head)) => {
            let session = SessionHead { key, head };
            if crate::storage::fits(&session, query) {
                ListChange::Updated(Box::new(session))
            } else {
                ListChange::Removed(session.key.id)
            }
        }
        Ok(None) => ListChange::Removed(key.id),
        Err(error) => ListChange::Failed(load::in_session(error, &key)),
    }
}
