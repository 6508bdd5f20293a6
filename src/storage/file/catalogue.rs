//! The heads of all sessions, read from the logs' tails and remembered until a log changes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;

use super::engine::{Engine, lock};
use super::error::FileError;
use super::layout::{self, LOG};
use super::system::{FileKind, Metadata, OpenHow};
use super::tail::Tail;
use crate::environment::to_millis;
use crate::error::Result;
use crate::id::{OwnerId, SessionId};
use crate::storage::{Head, Incarnation, OnProgress, Progress, SessionHead, SessionKey, listing};

/// Heads by log, each with what its file looked like; none where it belongs to a deleted life.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    heads: Mutex<HashMap<PathBuf, (Metadata, Option<Head>)>>,
}

impl Engine {
    /// The heads of an owner's sessions.
    pub(super) fn heads(&self, owner: &OwnerId) -> Result<Vec<SessionHead>> {
        let half_deleted: HashSet<SessionKey> = self.half_deleted()?.into_iter().collect();
        let mut heads = Vec::new();
        let dir = self.layout.sessions_of(owner);
        for (id, path) in layout::ids(&self.disk, &dir, LOG)? {
            let Ok(id) = SessionId::new(id) else { continue };
            let key = SessionKey::new(owner.clone(), id);
            let Some(head) = self.head_at(&key, &path)? else { continue };
            let gone = half_deleted.contains(&key)
                && self.tombstone(&key)?.is_some_and(|deleted| head.incarnation <= deleted);
            if !gone {
                heads.push(SessionHead { key, head });
            }
        }
        Ok(heads)
    }

    pub(super) fn owners(&self) -> Result<Vec<OwnerId>> {
        let mut owners = Vec::new();
        for (owner, _) in layout::ids(&self.disk, &self.layout.sessions(), "")? {
            let Ok(owner) = OwnerId::new(owner) else { continue };
            if !self.heads(&owner)?.is_empty() {
                owners.push(owner);
            }
        }
        owners.sort_unstable();
        Ok(owners)
    }

    pub(super) fn warm(&self, on_progress: OnProgress<'_>) -> Result<()> {
        lock(&self.catalogue.heads).clear();
        let owners = layout::ids(&self.disk, &self.layout.sessions(), "")?;
        let total = Some(owners.len() as u64);
        for (done, (owner, _)) in owners.into_iter().enumerate() {
            if let Ok(owner) = OwnerId::new(owner) {
                self.heads(&owner)?;
            }
            on_progress(Progress { done: done as u64 + 1, total });
        }
        Ok(())
    }

    pub(super) fn forget_head(&self, log: &Path) {
        lock(&self.catalogue.heads).remove(log);
    }

    fn head_at(&self, key: &SessionKey, path: &Path) -> Result<Option<Head>> {
        let Some(found) = self.disk.metadata(path)? else { return Ok(None) };
        if let Some((seen, head)) = lock(&self.catalogue.heads).get(path)
            && *seen == found
        {
            return Ok(head.clone());
        }
        if found.kind != FileKind::File {
            return Ok(Some(unreadable(&found, found.kind.as_str())));
        }
        let (found, head) = match self.read_head(key, path) {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(None),
            Err(error) => {
                // One log that the disk refuses must not hide the others. It may be over by the
                // next time, so that this is not remembered.
                tracing::warn!(%error, file = self.disk.show(path), "a log cannot be read");
                return Ok(Some(unreadable(&found, &error.to_string())));
            }
        };
        lock(&self.catalogue.heads).insert(path.to_path_buf(), (found, head.clone()));
        Ok(head)
    }

    /// The head in a log's tail, with what the file looked like; `None` if it is gone by now.
    fn read_head(
        &self,
        key: &SessionKey,
        path: &Path,
    ) -> Result<Option<(Metadata, Option<Head>)>, FileError> {
        let Some(file) = self.disk.open(path, OpenHow::Read)? else { return Ok(None) };
        // Of the open file: another one may have taken its place since it was looked at.
        let found = file.metadata().map_err(self.disk.failed("look at", path))?;
        let deleted = self.tombstone(key)?;
        let life = deleted.map_or(Incarnation::FIRST, Incarnation::next);
        let tail = Tail::find(&*file, found.len, life).map_err(self.disk.failed("read", path))?;
        let head = match tail {
            // A deleted log that somebody put back is nobody's.
            Some(tail) if tail.head.incarnation < life => None,
            Some(tail) => Some(tail.head()),
            None => Some(unreadable(&found, "no record of the log can be read")),
        };
        Ok(Some((found, head)))
    }
}

/// A log that cannot be read, as old as its file.
fn unreadable(found: &Metadata, problem: &str) -> Head {
    let modified = Timestamp::try_from(found.modified).unwrap_or(Timestamp::UNIX_EPOCH);
    listing::unreadable(to_millis(modified), problem)
}
