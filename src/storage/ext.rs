//! Conveniences over every storage. Adapters and wrappers do not implement them.

use async_trait::async_trait;

use super::batch::{LogPage, ReadRange};
use super::head::{Head, SessionHead, SessionKey};
use super::query::ListQuery;
use super::record::Revision;
use super::{Storage, batch::Damage, record::Record};
use crate::error::{Error, Result};
use crate::id::OwnerId;

/// Conveniences over every [`Storage`].
#[async_trait]
pub trait StorageExt: Storage {
    /// Where a session stands.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such session.
    async fn existing_head(&self, key: &SessionKey) -> Result<Head> {
        self.head(key).await?.ok_or_else(|| session_not_found(key))
    }

    /// A session's whole log after a revision, however many pages it has.
    ///
    /// # Errors
    ///
    /// [`NotFound`](crate::ErrorKind::NotFound) if there is no such session.
    async fn read_after(&self, key: &SessionKey, revision: Revision) -> Result<LogPage> {
        let mut whole = self.read(key, ReadRange::After(revision)).await?;
        while whole.later {
            let last = whole.records.last().map_or(revision, |record| record.revision);
            let next = self.read(key, ReadRange::After(last)).await?;
            if next.head.incarnation != whole.head.incarnation {
                // Deleted and begun anew between two pages: two lives do not mix.
                whole = self.read(key, ReadRange::After(revision)).await?;
                continue;
            }
            let (records, damage): (&mut Vec<Record>, &mut Vec<Damage>) =
                (&mut whole.records, &mut whole.damage);
            if next.restarted {
                // Compacted between two pages: what is left starts anew.
                records.clear();
                damage.clear();
                whole.restarted = true;
            }
            records.extend(next.records);
            damage.extend(next.damage);
            (whole.head, whole.later) = (next.head, next.later);
        }
        Ok(whole)
    }

    /// All of an owner's sessions that fit a query, however many pages there are.
    ///
    /// # Errors
    ///
    /// Those of [`Storage::list`].
    async fn list_all(&self, owner: &OwnerId, query: &ListQuery) -> Result<Vec<SessionHead>> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let page = self.list(owner, query, after).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }
}

impl<S: Storage + ?Sized> StorageExt for S {}

/// The same words whether it never was, is gone, or belongs to someone else.
pub(crate) fn session_not_found(key: &SessionKey) -> Error {
    Error::not_found("there is no such session").with("session", &key.id)
}
