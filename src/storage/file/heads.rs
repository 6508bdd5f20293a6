//! Heads read from the ends of logs, many at once.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::disk::Disk;
use super::error::FileError;
use super::layout::{self, Layout};
use super::purge::read_tombstone;
use super::system::{FileKind, Metadata};
use super::tail::Tail;
use crate::environment::to_millis;
use crate::storage::{Head, Incarnation, SessionKey, listing};
use crate::task::Task;

/// So many logs to a thread at least: fewer are read faster than a thread is started.
const PER_THREAD: usize = 128;
const MOST_THREADS: usize = 8;

/// Reads heads. What has been deleted is looked up once, when this is made: before any log is
/// opened, so that a log which is deleted meanwhile is not there, or was there when it was read.
#[derive(Debug)]
pub(super) struct Heads<'a> {
    disk: &'a Disk,
    layout: &'a Layout,
    tombstones: HashSet<String>,
}

/// What was found of a log.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What the file looked like when it was read; `None` if the disk refused it, so that it must
    /// be looked at again.
    pub(super) look: Option<Metadata>,
    /// None where it belongs to a deleted life.
    pub(super) head: Option<Head>,
}

impl<'a> Heads<'a> {
    pub(super) fn new(disk: &'a Disk, layout: &'a Layout) -> Result<Self, FileError> {
        let tombstones = disk.list(&layout.tombstones())?.into_iter().collect();
        Ok(Self { disk, layout, tombstones })
    }

    /// The heads of all these logs, in their order; `None` for those that are gone.
    pub(super) fn read_all(&self, logs: &[(SessionKey, PathBuf)]) -> Vec<Option<Found>> {
        let available = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = available.min(MOST_THREADS).min(logs.len() / PER_THREAD).max(1);
        let read = |logs: &[(SessionKey, PathBuf)]| -> Vec<Option<Found>> {
            logs.iter().map(|(key, path)| self.read(key, path)).collect()
        };
        if threads == 1 {
            return read(logs);
        }
        std::thread::scope(|scope| {
            let parts = logs.chunks(logs.len().div_ceil(threads));
            let begin = |part| Task::begin("chatkeep-heads", scope, move || read(part));
            let begun: Vec<_> = parts.map(begin).collect();
            begun.into_iter().flat_map(Task::join).collect()
        })
    }

    /// The head of one log; `None` if it is gone.
    ///
    /// One that the disk refuses does not hide the others: it is listed as what it is.
    pub(super) fn read(&self, key: &SessionKey, path: &Path) -> Option<Found> {
        match self.try_read(key, path) {
            Ok(found) => found,
            Err(error) => {
                let file = self.disk.show(path);
                tracing::warn!(%error, file, "a log cannot be read");
                let modified = self.disk.metadata(path).ok().flatten();
                let head = Some(unreadable(modified.as_ref(), &error.to_string()));
                Some(Found { look: None, head })
            }
        }
    }

    fn try_read(&self, key: &SessionKey, path: &Path) -> Result<Option<Found>, FileError> {
        let Some(file) = self.disk.open_listed(path)? else {
            let Some(found) = self.disk.metadata(path)? else { return Ok(None) };
            if found.kind == FileKind::File {
                // It was something else just now.
                let (file, found) = (self.disk.show(path), "something that comes and goes");
                return Err(FileError::NotAFile { file, found });
            }
            let head = Some(unreadable(Some(&found), found.kind.as_str()));
            return Ok(Some(Found { look: Some(found), head }));
        };
        // Of the open file: another one may have taken its place since it was listed.
        let found = file.metadata().map_err(self.disk.failed("look at", path))?;
        let deleted = self.deleted(key)?;
        let life = deleted.map_or(Incarnation::FIRST, Incarnation::next);
        let tail = Tail::find(&*file, found.len, life).map_err(self.disk.failed("read", path))?;
        let head = match tail {
            // A deleted log that somebody put back is nobody's.
            Some(tail) if tail.head.incarnation < life => None,
            Some(tail) => Some(tail.head()),
            None => Some(unreadable(Some(&found), "no record of the log can be read")),
        };
        Ok(Some(Found { look: Some(found), head }))
    }

    /// Whether some life of a session was deleted.
    pub(super) fn has_tombstone(&self, key: &SessionKey) -> bool {
        !self.tombstones.is_empty() && self.tombstones.contains(&self.layout.hashed(key))
    }

    fn deleted(&self, key: &SessionKey) -> Result<Option<Incarnation>, FileError> {
        if !self.has_tombstone(key) {
            return Ok(None);
        }
        read_tombstone(self.disk, &self.layout.tombstone(key))
    }
}

/// A log that cannot be read, as old as its file.
fn unreadable(found: Option<&Metadata>, problem: &str) -> Head {
    let modified = found.and_then(|found| Timestamp::try_from(found.modified).ok());
    listing::unreadable(to_millis(modified.unwrap_or(Timestamp::UNIX_EPOCH)), problem)
}

/// The logs in an owner's directory, in the order of their ids.
pub(super) fn logs_of(
    disk: &Disk,
    layout: &Layout,
    owner: &crate::id::OwnerId,
) -> Result<Vec<(SessionKey, PathBuf)>, FileError> {
    let found = layout::ids(disk, &layout.sessions_of(owner), layout::LOG)?;
    let key = |id: String| Some(SessionKey::new(owner.clone(), layout::session_id(&id)?));
    Ok(found.into_iter().filter_map(|(id, path)| Some((key(id)?, path))).collect())
}

/// Whoever may have sessions, in order.
pub(super) fn owners(disk: &Disk, layout: &Layout) -> Result<Vec<crate::id::OwnerId>, FileError> {
    let found = layout::ids(disk, &layout.sessions(), "")?;
    // What has a name that no owner has is nobody's.
    Ok(found.into_iter().filter_map(|(owner, _)| crate::id::OwnerId::new(owner).ok()).collect())
}
