//! The heads of all sessions, read from the logs' tails and remembered until a log changes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::changes::Change;
use super::engine::{Engine, lock};
use super::error::FileError;
use super::heads::{self, Found, Heads};
use super::layout;
use super::system::{FileKind, Metadata};
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::{
    Cursor, Head, ListQuery, OnProgress, Page, Progress, SessionHead, SessionKey, listing,
};

/// Heads by log, each with what its file looked like; none where it belongs to a deleted life.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    heads: Mutex<HashMap<PathBuf, (Metadata, Option<Head>)>>,
}

impl Engine {
    pub(super) fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<&Cursor>,
    ) -> Result<Page<SessionHead>> {
        listing::check(query)?;
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index
            && let Some(page) = index.list(owner, query, after, &self.hidden()?)?
        {
            return Ok(page);
        }
        listing::page(self.heads(owner)?, query, after)
    }

    pub(super) fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        listing::check_conditions(query)?;
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index
            && let Some(count) = index.count(owner, query, &self.hidden()?)?
        {
            return Ok(count);
        }
        let heads = self.heads(owner)?;
        Ok(heads.iter().filter(|head| listing::fits(head, query)).count() as u64)
    }

    pub(super) fn owners(&self, after: Option<&Cursor>) -> Result<Page<OwnerId>> {
        // Whether an owner has more than half-deleted sessions only the logs can tell.
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index
            && self.hidden()?.is_empty()
            && let Some(page) = index.owners(after)?
        {
            return Ok(page);
        }
        listing::page_of_names(self.all_owners()?, after)
    }

    pub(super) fn rebuild_index(&self, on_progress: OnProgress<'_>) -> Result<()> {
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index {
            return index.rebuild(on_progress);
        }
        self.warm(on_progress)
    }

    pub(super) fn verify_index(&self) -> Result<()> {
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index {
            return index.verify();
        }
        Ok(())
    }

    pub(super) fn scrub_index(&self) -> Result<()> {
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index {
            return index.scrub();
        }
        Ok(())
    }

    /// Tells the index of a change.
    pub(super) fn note(&self, key: &SessionKey, change: Change) {
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index {
            index.note(key, change);
        }
        #[cfg(not(feature = "sqlite"))]
        drop((key, change));
    }

    /// Removes a deleted session from the index; what remains, in words.
    pub(super) fn purge_index(&self, key: &SessionKey) -> Result<Vec<String>, FileError> {
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index {
            match index.purge(key) {
                Ok(remains) => return Ok(remains),
                Err(error) => tracing::warn!(%error, "the index is removed with what is deleted"),
            }
        }
        #[cfg(not(feature = "sqlite"))]
        let _ = key;
        self.remove_index()?;
        Ok(Vec::new())
    }

    /// Removes the index of others where this storage has none: what is deleted must not stay
    /// there. They build it anew.
    fn remove_index(&self) -> Result<(), FileError> {
        let dir = layout::index(self.disk.root());
        if self.disk.metadata(&dir)?.is_some_and(|found| found.kind == FileKind::Directory) {
            for name in self.disk.list(&dir)? {
                self.disk.remove(&dir.join(name))?;
            }
        }
        Ok(())
    }

    /// Sessions whose deletion was interrupted, each with the life that was deleted.
    #[cfg(feature = "sqlite")]
    pub(super) fn hidden(&self) -> Result<super::index::Hidden> {
        let mut hidden = super::index::Hidden::new();
        for key in self.half_deleted()? {
            if let Some(deleted) = self.tombstone(&key)? {
                hidden.insert(key, deleted);
            }
        }
        Ok(hidden)
    }

    /// The heads of an owner's sessions, out of their logs.
    fn heads(&self, owner: &OwnerId) -> Result<Vec<SessionHead>> {
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index {
            return index.scan(|| self.scan_heads(owner));
        }
        self.scan_heads(owner)
    }

    fn scan_heads(&self, owner: &OwnerId) -> Result<Vec<SessionHead>> {
        let half_deleted: HashSet<SessionKey> = self.half_deleted()?.into_iter().collect();
        let heads = Heads::new(&self.disk, &self.layout)?;
        self.heads_of(owner, &heads, &half_deleted)
    }

    fn heads_of(
        &self,
        owner: &OwnerId,
        heads: &Heads<'_>,
        half_deleted: &HashSet<SessionKey>,
    ) -> Result<Vec<SessionHead>> {
        let logs = heads::logs_of(&self.disk, &self.layout, owner)?;
        let mut found = Vec::with_capacity(logs.len());
        for (key, head) in self.heads_at(heads, logs)? {
            let gone = half_deleted.contains(&key)
                && self.tombstone(&key)?.is_some_and(|deleted| head.incarnation <= deleted);
            if !gone {
                found.push(SessionHead { key, head });
            }
        }
        Ok(found)
    }

    fn all_owners(&self) -> Result<Vec<OwnerId>> {
        let half_deleted: HashSet<SessionKey> = self.half_deleted()?.into_iter().collect();
        let heads = Heads::new(&self.disk, &self.layout)?;
        let mut owners = Vec::new();
        for owner in heads::owners(&self.disk, &self.layout)? {
            if !self.heads_of(&owner, &heads, &half_deleted)?.is_empty() {
                owners.push(owner);
            }
        }
        owners.sort_unstable();
        Ok(owners)
    }

    fn warm(&self, on_progress: OnProgress<'_>) -> Result<()> {
        lock(&self.catalogue.heads).clear();
        let owners = heads::owners(&self.disk, &self.layout)?;
        let total = Some(owners.len() as u64);
        for (done, owner) in (1..).zip(owners) {
            self.heads(&owner)?;
            on_progress(Progress { done, total });
        }
        Ok(())
    }

    pub(super) fn forget_head(&self, log: &Path) {
        lock(&self.catalogue.heads).remove(log);
    }

    /// The heads of these logs: those that look as they did before are not read again.
    fn heads_at(
        &self,
        heads: &Heads<'_>,
        logs: Vec<(SessionKey, PathBuf)>,
    ) -> Result<Vec<(SessionKey, Head)>, FileError> {
        let (mut known, mut unknown) = (Vec::with_capacity(logs.len()), Vec::new());
        for (key, path) in logs {
            match self.known_head(&path)? {
                Known::Same(head) => known.extend(head.map(|head| (key, *head))),
                Known::Gone => {}
                Known::Changed => unknown.push((key, path)),
            }
        }
        let read = heads.read_all(&unknown);
        let mut catalogue = lock(&self.catalogue.heads);
        for ((key, path), found) in unknown.into_iter().zip(read) {
            let Some(Found { look, head }) = found else { continue };
            if let Some(look) = look {
                catalogue.insert(path, (look, head.clone()));
            }
            known.extend(head.map(|head| (key, head)));
        }
        Ok(known)
    }

    fn known_head(&self, path: &Path) -> Result<Known, FileError> {
        if !lock(&self.catalogue.heads).contains_key(path) {
            return Ok(Known::Changed);
        }
        let Some(found) = self.disk.metadata(path)? else { return Ok(Known::Gone) };
        Ok(match lock(&self.catalogue.heads).get(path) {
            Some((seen, head)) if *seen == found => Known::Same(head.clone().map(Box::new)),
            _ => Known::Changed,
        })
    }
}

/// What is known of a log without opening it.
enum Known {
    Same(Option<Box<Head>>),
    Changed,
    Gone,
}
