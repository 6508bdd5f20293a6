//! What a session reads on demand: earlier turns, large parts, what others changed, all of it.

use std::sync::Arc;

use futures_channel::oneshot;

use super::session::{ChatSession, no_such_turn};
use super::writer::Command;
use super::{load, writer_ended};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::part::ResponsePart;

impl ChatSession {
    /// Loads turns before those that are loaded: `turns` more of the branch that is shown. Returns
    /// how many more of it are there now.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](crate::ErrorKind::Unavailable) if the storage fails. Turns that are damaged
    /// are no error: the others are loaded, and [`damage`](Self::damage) names them.
    pub async fn load_earlier(&self, turns: u64) -> Result<u64> {
        self.shared.check_present()?;
        let before = self.shared.lock().shown().0;
        let wanted = before.saturating_add(turns);
        loop {
            let (shown, has_earlier) = {
                let mut live = self.shared.lock();
                (live.shown().0, live.model().has_earlier())
            };
            if shown >= wanted || !has_earlier {
                return Ok(shown.saturating_sub(before));
            }
            self.read_earlier(wanted - shown).await?;
        }
    }

    /// Loads a turn that a search found, or that is known from elsewhere, and all after it. Says
    /// whether it is on the branch that is shown; if not [`switch_to`](Self::switch_to) shows it.
    ///
    /// [`TurnId::SESSION`], which stands for the title, is always there.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such turn, and those of
    /// [`load_earlier`](Self::load_earlier).
    ///
    /// # Examples
    ///
    /// ```
    /// use chatkeep::{ChatStore, MemoryStorage, NewSession, Query, part::Markdown};
    ///
    /// # pollster::block_on(async {
    /// # let me = ChatStore::builder(MemoryStorage::new()).build().await?.local();
    /// # let chat = me.create(NewSession::new()).await?;
    /// # chat.record("Why?", [Markdown::new("The sentinel.")]).await?;
    /// for hit in me.search(Query::parse("sentinel")?).await? {
    ///     let chat = me.open(hit.session.id()).await?;
    ///     if !chat.load_to(hit.turn).await? {
    ///         chat.switch_to(hit.turn).await?;
    ///     }
    ///     assert!(chat.model().turns().any(|turn| turn.id() == hit.turn));
    /// }
    /// # Ok::<(), chatkeep::Error>(())
    /// # })?;
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    pub async fn load_to(&self, turn: TurnId) -> Result<bool> {
        if turn == TurnId::SESSION {
            self.shared.check_present()?;
            return Ok(true);
        }
        self.load(turn).await?;
        let model = self.model();
        if model.turn(turn).is_none() {
            return Err(load::in_session(no_such_turn(turn), &self.shared.key));
        }
        Ok(model.ancestors(model.active()).any(|shown| shown.id() == turn))
    }

    /// Loads a turn, and all after it.
    pub(super) async fn load(&self, turn: TurnId) -> Result<()> {
        self.shared.check_present()?;
        while self.model().has_earlier() && self.model().turn(turn).is_none() {
            if turn.get() > self.model().turn_count() || turn == TurnId::SESSION {
                return Err(load::in_session(no_such_turn(turn), &self.shared.key));
            }
            let model = self.model();
            // Whoever goes back turn by turn reads ever longer pages.
            let loaded = (model.all_turns().len() as u64).clamp(64, load::MAX_PAGE);
            self.read_earlier(load::way_to(&model, turn).max(loaded)).await?;
        }
        Ok(())
    }

    /// Loads all turns.
    pub(super) async fn load_all(&self) -> Result<()> {
        self.shared.check_present()?;
        while self.model().has_earlier() {
            self.read_earlier(load::MAX_PAGE).await?;
        }
        Ok(())
    }

    async fn read_earlier(&self, turns: u64) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let read = async move {
            let (start, log) = {
                let live = shared.lock();
                (live.start, live.fold().log().clone())
            };
            let (core, key) = (&shared.core, &shared.key);
            let (entries, first) = load::read_before(core, key, start, &log, turns).await?;
            let mut live = shared.lock();
            // Another call may have read the same, or the session may have been read anew.
            if live.start == start {
                live.fold_mut().earlier(entries).map_err(|e| load::in_session(e, key))?;
                live.start = first;
            }
            Ok::<(), Error>(())
        };
        match self.shared.core.run(read).await {
            Err(error) if error.kind() == ErrorKind::Corrupt && self.damage().is_empty() => {
                // What can be read of the whole log is shown, and that the rest cannot.
                self.shared.lock().suspect = true;
                self.refresh().await
            }
            Err(error) if error.is_not_found() => Err(load::gone(&self.shared)),
            read => read,
        }
    }

    /// A session is readable where the storage cannot be written to: what could not be noted is
    /// shown by [`failure`](Self::failure).
    pub(super) fn tolerate(&self, written: Result<()>) -> Result<()> {
        match written {
            Err(error) if error.is_not_found() => Err(error),
            Err(error) => {
                self.shared.lock().failure = Some(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Reads what others have changed since this process last looked.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if the session was deleted.
    pub async fn refresh(&self) -> Result<()> {
        let (reply, receiver) = oneshot::channel();
        self.shared.core.send(Command::CatchUp(Arc::clone(&self.shared), Some(reply)))?;
        receiver.await.unwrap_or_else(|_| Err(writer_ended()))
    }

    /// Loads the data of a part that lies in a blob; other parts are returned as they are.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such part,
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if its blob is missing or damaged.
    pub async fn load_part(&self, turn: TurnId, index: usize) -> Result<ResponsePart> {
        self.load(turn).await?;
        let shared = Arc::clone(&self.shared);
        let load = async move {
            let part = {
                let live = shared.lock();
                let turn = live.model().turn(turn).ok_or_else(|| no_such_turn(turn))?;
                turn.response().parts().get(index).cloned()
            };
            let part = part.ok_or_else(|| {
                Error::not_found("the response has no such part")
                    .with("turn", turn)
                    .with("part", index)
            })?;
            let Some(blob) = part.blob() else { return Ok(part) };
            let loaded = load::blob(&shared.core, &shared.key, &part, blob).await?;
            let mut live = shared.lock();
            live.fold_mut().replace_part(turn, index, &part, &loaded);
            Ok(loaded)
        };
        self.shared.core.run(load).await.map_err(|e| load::in_session(e, &self.shared.key))
    }

    /// The whole session as one JSON document that stands alone, blobs included. The first
    /// [`import_document`](super::OwnedStore::import_document) of any store takes it.
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if something cannot be read.
    pub async fn to_document(&self) -> Result<crate::json::RawJson> {
        self.load_all().await?;
        let model = self.model();
        for turn in model.all_turns() {
            for (index, part) in turn.response().parts().iter().enumerate() {
                if part.blob().is_some() {
                    self.load_part(turn.id(), index).await?;
                }
            }
        }
        let (model, core) = (self.model(), Arc::clone(&self.shared.core));
        self.shared.core.run(async move { core.serializer.write_document(&model) }).await
    }
}
