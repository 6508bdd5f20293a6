//! Moving everything to another storage.

use std::future::IntoFuture as _;

use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::{self, CopyProgress, CopyReport, Extract, Storage};
use crate::store::block_on;

/// Copies everything from one storage to another:
/// [`storage::copy_store`](crate::storage::copy_store) for synchronous hosts.
///
/// # Examples
///
/// ```
/// use chatkeep::MemoryStorage;
/// use chatkeep::blocking::copy_store;
///
/// let (old, new) = (MemoryStorage::new(), MemoryStorage::new());
/// let report = copy_store(&old, &new).on_progress(|p| println!("{} of {}", p.done, p.total)).run()?;
/// assert!(report.is_complete());
/// # Ok::<(), chatkeep::Error>(())
/// ```
pub fn copy_store<'a>(from: &'a dyn Storage, to: &'a dyn Storage) -> CopyStore<'a> {
    CopyStore(storage::copy_store(from, to))
}

/// A copy that is about to be made; see [`copy_store`].
#[derive(Debug)]
#[must_use = "nothing is copied until it is run"]
pub struct CopyStore<'a>(pub(super) storage::CopyStore<'a>);

impl<'a> CopyStore<'a> {
    /// Is told how far the copy has come, at its beginning and after each session.
    pub fn on_progress(self, told: impl Fn(CopyProgress) + Send + Sync + 'a) -> Self {
        Self(self.0.on_progress(told))
    }

    /// Reads the text and the facts of the *source's* sessions.
    pub fn extract(self, extract: &'a dyn Extract) -> Self {
        Self(self.0.extract(extract))
    }

    /// Copies this owner's documents even if the owner has no session.
    pub fn also_owner(self, owner: impl Into<OwnerId>) -> Self {
        Self(self.0.also_owner(owner))
    }

    /// Copies, on the calling thread.
    ///
    /// # Errors
    ///
    /// Those of [`storage::copy_store`](crate::storage::copy_store).
    pub fn run(self) -> Result<CopyReport> {
        block_on(self.0.into_future())
    }
}
