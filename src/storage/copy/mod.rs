//! Moving everything from one storage to another.

mod compare;
mod document;
mod report;
mod run;
mod session;

use std::collections::BTreeSet;
use std::fmt;
use std::future::IntoFuture;

use futures_core::future::BoxFuture;

pub use self::report::{CopyFailure, CopyItem, CopyProgress, CopyReport};
use self::run::Copying;
use super::{Extract, Storage};
use crate::environment::{Clock, SystemClock};
use crate::error::Result;
use crate::id::OwnerId;

/// Copies everything from one storage to another, whatever the two are: every owner's sessions
/// with their records, revisions, heads and blobs, and the documents with their expiry.
///
/// The future that this gives is to be awaited. Storages may block the thread that polls it.
///
/// # How it goes about it
///
/// - **It can be interrupted at any point and started again.** Sessions that are there and equal
///   are only compared. One that is there in part, or has grown in the source since, gets what is
///   missing, and one that was compacted in the source since is compacted. Running it once while
///   the source is in use, and again when nobody uses it any more, copies most of it in advance.
/// - **Nothing is overwritten** but by what became of it. A session or a document that the target
///   has with other content stays as it is there; the report names it. A document that is in the
///   target as a copy put it there, and has changed in the source since, is replaced. By what a copy
///   notes beside each document (`copied/…`, which is never copied itself) it knows its own again.
///   It does not know sources apart: of a document that several of them have the target keeps the
///   one that was copied last, and [`replaced`](CopyReport::replaced) counts it.
/// - **Everything is read back** and compared: each record's revision, turn, kind, time and body,
///   the head, each blob's hash.
/// - **Damage does not stop it.** A session that cannot be read whole is not copied, and the report
///   names it: [repair](super::Maintenance::repair) it, and copy again. Of a session with a damaged
///   blob all else is copied; of an owner with sessions that cannot even be listed all others are.
/// - **A response that is being written** in the source has nobody who writes it in the target.
///   Whoever opens the session there ends it as `Interrupted`, without waiting.
///
/// # What it does not do
///
/// - What is written to the source after it was read is not in the target, sessions that were
///   created after the copy began among it. Copy again once nobody writes.
/// - **Nothing is deleted from the target.** A session that is deleted from the source before it is
///   copied is left out. One that was copied before, by this copy or an earlier one, stays in the
///   target; the report names it in [`only_in_target`](CopyReport::only_in_target), and who moves
///   for good deletes it there. A document that was deleted since it was copied stays as well.
/// - The marks of deleted ids do not go along. They hold no ids, only hashes that mean something in
///   one store alone. An id that was deleted from the source is as good as new in the target; one
///   that was deleted from the *target* is not brought back, and the report names it.
/// - An owner who has documents but no session is not known to a storage. Name such owners with
///   [`also_owner`](CopyStore::also_owner).
/// - Searchable text is not read out of records here: only a store's serializer can. With
///   [`extract`](CopyStore::extract), or through
///   [`ChatStore::copy_to`](crate::ChatStore::copy_to), text and facts come along. Sessions that
///   were copied without are found after the target's index was
///   [rebuilt](super::FullText::rebuild).
///
/// It holds two copies of one session's log in memory at a time.
///
/// # Errors
///
/// Those of listing either storage, and the target's if it is
/// [`Unavailable`](crate::ErrorKind::Unavailable) or does not answer. What concerns one session or
/// document alone is in the report.
///
/// # Cancel safety
///
/// Dropping the future leaves a part of the sessions in the target, one of them maybe in part. The
/// same call goes on from there.
///
/// # Examples
///
/// ```
/// use chatkeep::storage::{MemoryStorage, copy_store};
/// use chatkeep::{ChatStore, NewSession};
///
/// # pollster::block_on(async {
/// let (old, new) = (MemoryStorage::new(), MemoryStorage::new());
/// let store = ChatStore::builder(old.clone()).build().await?;
/// let id = store.local().create(NewSession::titled("Parser")).await?.id().clone();
///
/// let report = copy_store(&old, &new).on_progress(|p| println!("{} of {}", p.done, p.total)).await?;
/// assert!(report.is_complete());
/// assert_eq!(report.sessions, 1);
///
/// let report = copy_store(&old, &new).await?; // all of it is there
/// assert_eq!((report.sessions, report.already_there), (0, 1));
///
/// let store = ChatStore::builder(new).build().await?;
/// assert_eq!(store.local().open(id).await?.model().title(), "Parser");
/// # Ok::<(), chatkeep::Error>(())
/// # })?;
/// # Ok::<(), chatkeep::Error>(())
/// ```
pub fn copy_store<'a>(from: &'a dyn Storage, to: &'a dyn Storage) -> CopyStore<'a> {
    let (clock, owners, on_progress) = (&SystemClock, BTreeSet::new(), Box::new(|_| {}));
    let copying = Copying { from, to, extract: None, clock, owners, on_progress };
    CopyStore { copying, before: None }
}

/// A copy that is about to be made; see [`copy_store`].
#[must_use = "nothing is copied until it is awaited"]
pub struct CopyStore<'a> {
    copying: Copying<'a>,
    /// What has to be done first.
    before: Option<BoxFuture<'a, Result<()>>>,
}

impl<'a> CopyStore<'a> {
    /// Is told how far the copy has come, at its beginning and after each session.
    pub fn on_progress(mut self, told: impl Fn(CopyProgress) + Send + Sync + 'a) -> Self {
        self.copying.on_progress = Box::new(told);
        self
    }

    /// Reads the text and the facts of the *source's* sessions, so that they can be searched and
    /// counted in the target at once.
    pub fn extract(mut self, extract: &'a dyn Extract) -> Self {
        self.copying.extract = Some(extract);
        self
    }

    /// Copies this owner's documents even if the owner has no session.
    pub fn also_owner(mut self, owner: impl Into<OwnerId>) -> Self {
        self.copying.owners.insert(owner.into());
        self
    }

    /// Where the time comes from, by which documents have expired or not.
    pub fn clock(mut self, clock: &'a dyn Clock) -> Self {
        self.copying.clock = clock;
        self
    }

    pub(crate) fn after(mut self, before: BoxFuture<'a, Result<()>>) -> Self {
        self.before = Some(before);
        self
    }
}

impl<'a> IntoFuture for CopyStore<'a> {
    type Output = Result<CopyReport>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { copying, before } = self;
        Box::pin(async move {
            if let Some(before) = before {
                before.await?;
            }
            copying.run().await
        })
    }
}

impl fmt::Debug for CopyStore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyStore")
            .field("from", &self.copying.from)
            .field("to", &self.copying.to)
            .finish_non_exhaustive()
    }
}
