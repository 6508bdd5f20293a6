//! The heads of all sessions, read from the logs' tails and remembered until a log changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::changes::Change;
use super::engine::{Engine, lock};
use super::error::FileError;
use super::heads::{self, Found, Heads};
#[cfg(feature = "sqlite")]
use super::index::Row;
use super::layout;
use super::system::{FileKind, Metadata};
use crate::error::{Error, ErrorKind, Result};
use crate::id::OwnerId;
use crate::storage::{
    Cursor, Head, Incarnation, ListQuery, OnProgress, Page, Progress, SessionHead, SessionKey,
    listing,
};

/// The heads of an owner's logs, each with what its file looked like; none where it belongs to a
/// deleted life.
type Seen = HashMap<PathBuf, (Metadata, Option<Head>)>;

/// With fewer logs to be read than this the index's rows are not looked at.
#[cfg(feature = "sqlite")]
const FEW: usize = 32;

/// The index's rows of an owner's sessions, by id.
type Indexed = HashMap<String, Row>;

/// There are none.
#[cfg(not(feature = "sqlite"))]
#[derive(Debug)]
enum Row {}

#[cfg(not(feature = "sqlite"))]
impl Row {
    fn is_of(&self, _: &Metadata) -> bool {
        match *self {}
    }

    fn head(&self) -> Option<Head> {
        match *self {}
    }
}

#[derive(Debug, Default)]
pub(super) struct Catalogue {
    owners: Mutex<HashMap<OwnerId, Seen>>,
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
            && let Some(page) = index.list(owner, query, after, &self.half_deleted()?)?
        {
            return Ok(page);
        }
        listing::page(self.heads(owner)?, query, after)
    }

    pub(super) fn count(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        listing::check_conditions(query)?;
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index
            && let Some(count) = index.count(owner, query, &self.half_deleted()?)?
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
            && self.half_deleted()?.is_empty()
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

    /// Tells the index of a change that failed. Where nobody can know whether it is in the log, all
    /// processes look for themselves.
    pub(super) fn note_failure(&self, error: &Error) {
        if error.kind() == ErrorKind::Indeterminate {
            #[cfg(feature = "sqlite")]
            if let Some(index) = &self.index {
                index.doubt(error);
            }
        }
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

    /// The heads of an owner's sessions, out of their logs.
    fn heads(&self, owner: &OwnerId) -> Result<Vec<SessionHead>> {
        #[cfg(feature = "sqlite")]
        if let Some(index) = &self.index {
            return index.scan(|| self.scan_heads(owner));
        }
        self.scan_heads(owner)
    }

    fn scan_heads(&self, owner: &OwnerId) -> Result<Vec<SessionHead>> {
        let half_deleted = self.half_deleted()?;
        let heads = Heads::new(&self.disk, &self.layout)?;
        self.heads_of(owner, &heads, &half_deleted)
    }

    fn heads_of(
        &self,
        owner: &OwnerId,
        heads: &Heads<'_>,
        half_deleted: &HashMap<SessionKey, Incarnation>,
    ) -> Result<Vec<SessionHead>> {
        let logs = heads::logs_of(&self.disk, &self.layout, owner)?;
        let mut found = Vec::with_capacity(logs.len());
        for (key, head) in self.heads_at(owner, heads, logs)? {
            let gone = half_deleted.get(&key).is_some_and(|deleted| head.incarnation <= *deleted);
            if !gone {
                found.push(SessionHead { key, head });
            }
        }
        Ok(found)
    }

    fn all_owners(&self) -> Result<Vec<OwnerId>> {
        let half_deleted = self.half_deleted()?;
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
        lock(&self.catalogue.owners).clear();
        let owners = heads::owners(&self.disk, &self.layout)?;
        let total = Some(owners.len() as u64);
        for (done, owner) in (1..).zip(owners) {
            self.heads(&owner)?;
            on_progress(Progress { done, total });
        }
        Ok(())
    }

    pub(super) fn forget_head(&self, key: &SessionKey) {
        if let Some(seen) = lock(&self.catalogue.owners).get_mut(&key.owner) {
            seen.remove(&self.layout.log(key));
        }
    }

    /// The heads of these logs: those that look as they did before are not read again.
    fn heads_at(
        &self,
        owner: &OwnerId,
        heads: &Heads<'_>,
        logs: Vec<(SessionKey, PathBuf)>,
    ) -> Result<Vec<(SessionKey, Head)>, FileError> {
        // What is not among the logs any more is forgotten.
        let mut before = lock(&self.catalogue.owners).remove(owner).unwrap_or_default();
        #[cfg(feature = "sqlite")]
        let indexed = self.indexed_heads(owner, &logs, &before);
        #[cfg(not(feature = "sqlite"))]
        let indexed = Indexed::new();
        let (mut seen, mut unknown) = (Seen::with_capacity(logs.len()), Vec::new());
        let mut known = Vec::with_capacity(logs.len());
        for (key, path) in logs {
            let head = match before.remove(&path) {
                Some((look, head)) => {
                    self.unchanged(&path, |found| *found == look)?.zip(Some(head))
                }
                None => indexed.get(key.id.as_str()).map_or(Ok(None), |row| {
                    let unchanged = self.unchanged(&path, |found| row.is_of(found))?;
                    Ok::<_, FileError>(unchanged.zip(row.head().map(Some)))
                })?,
            };
            match head {
                Some((look, head)) => {
                    known.extend(head.clone().map(|head| (key, head)));
                    seen.insert(path, (look, head));
                }
                None => unknown.push((key, path)),
            }
        }
        let read = heads.read_all(&unknown);
        for ((key, path), found) in unknown.into_iter().zip(read) {
            let Some(Found { look, head }) = found else { continue };
            if let Some(look) = look {
                seen.insert(path, (look, head.clone()));
            }
            known.extend(head.map(|head| (key, head)));
        }
        if !seen.is_empty() {
            lock(&self.catalogue.owners).insert(owner.clone(), seen);
        }
        Ok(known)
    }

    /// What a log looks like if it looks as it is known.
    fn unchanged(
        &self,
        path: &Path,
        is_known: impl FnOnce(&Metadata) -> bool,
    ) -> Result<Option<Metadata>, FileError> {
        Ok(self.disk.metadata(path)?.filter(is_known))
    }

    /// The index's rows of an owner's sessions, where more than a few are not known here. Each must
    /// be compared with its log. Rows that cannot be had are read from the logs.
    #[cfg(feature = "sqlite")]
    fn indexed_heads(
        &self,
        owner: &OwnerId,
        logs: &[(SessionKey, PathBuf)],
        seen: &Seen,
    ) -> Indexed {
        let unknown = logs.iter().filter(|(_, path)| !seen.contains_key(path)).count();
        match &self.index {
            Some(index) if unknown > FEW => index.rows(owner).unwrap_or_else(|error| {
                tracing::warn!(%error, "the index cannot be read");
                Indexed::new()
            }),
            _ => Indexed::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::real::RealFileSystem;
    use super::*;
    use crate::id::SessionId;
    use crate::storage::file::FileStorage;

    #[test]
    fn what_is_remembered_of_a_log_is_forgotten_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let storage = FileStorage::with_files(dir.path(), Arc::new(RealFileSystem)).unwrap();
        let engine = &*storage.engine;
        let [local, other] = ["local", "other"].map(|owner| OwnerId::new(owner).unwrap());
        let add = |owner: &OwnerId, id: &str| {
            let key = SessionKey::new(owner.clone(), SessionId::new(id).unwrap());
            let path = engine.layout.log(&key);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "no log").unwrap();
            path
        };
        let logs = [add(&local, "a"), add(&local, "b"), add(&other, "a")];
        let remembered = || {
            assert!(engine.scan_heads(&local).unwrap().len() <= 2);
            assert!(engine.scan_heads(&other).unwrap().len() <= 1);
            lock(&engine.catalogue.owners).values().map(HashMap::len).sum::<usize>()
        };
        assert_eq!(remembered(), 3);
        for (left, log) in [2, 1, 0].into_iter().zip(logs) {
            std::fs::remove_file(log).unwrap();
            assert_eq!(remembered(), left);
        }
        assert!(lock(&engine.catalogue.owners).is_empty());
    }
}
