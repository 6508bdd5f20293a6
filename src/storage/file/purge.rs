//! Deletion that lasts.
//!
//! A note of what is to be removed comes first, then the tombstone, durably: from then on the
//! session is gone, whatever its files say. Then they are removed, and the note last. A store that
//! is opened goes on with what the notes say; a note without its tombstone is dropped.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Disk, UNFINISHED, parent, with_suffix};
use super::engine::Engine;
use super::error::FileError;
use super::system::FileKind;
use super::tail::Tail;
use crate::error::Result;
use crate::storage::ext::session_not_found;
use crate::storage::{Incarnation, PurgeReceipt, SessionKey};

#[derive(Debug, Serialize, Deserialize)]
struct Tombstone {
    incarnation: Incarnation,
}

/// What is being removed.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    #[serde(flatten)]
    key: SessionKey,
    incarnation: Incarnation,
}

/// The last life of an id that was deleted.
pub(super) fn read_tombstone(disk: &Disk, path: &Path) -> Result<Option<Incarnation>, FileError> {
    Ok(read_json::<Tombstone>(disk, path)?.map(|tombstone| tombstone.incarnation))
}

fn read_json<T: for<'de> Deserialize<'de>>(
    disk: &Disk,
    path: &Path,
) -> Result<Option<T>, FileError> {
    let Some(json) = disk.read(path)? else { return Ok(None) };
    serde_json::from_slice(&json).map(Some).map_err(|error| FileError::Damaged {
        file: disk.show(path),
        record: None,
        problem: format!("the file is damaged: {error}"),
    })
}

fn write_json(disk: &Disk, path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let json = serde_json::to_vec(value).map_err(|error| FileError::Damaged {
        file: disk.show(path),
        record: None,
        problem: format!("it cannot be written as JSON: {error}"),
    })?;
    disk.write(path, &json)
}

impl Engine {
    pub(super) fn purge(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        let held = self.lock_session(key)?;
        let receipt = self.purge_locked(key);
        drop(held);
        self.watchers.hints.send(key);
        receipt.map_err(|error| error.with("session", &key.id))
    }

    fn purge_locked(&self, key: &SessionKey) -> Result<PurgeReceipt> {
        let note = self.layout.purge_of(key);
        let deleted = self.tombstone(key)?;
        let started: Option<Note> = read_json(&self.disk, &note)?;
        if let Some(started) = started
            && deleted.is_some_and(|deleted| deleted >= started.incarnation)
            && self.life(key, deleted)?.is_none_or(|life| life <= started.incarnation)
        {
            return Ok(self.remove_all(key, started.incarnation)?);
        }
        let incarnation = match self.life(key, deleted)? {
            None => return Err(session_not_found(key)),
            Some(life) if deleted.is_some_and(|deleted| life <= deleted) => life,
            Some(life) => {
                write_json(&self.disk, &note, &Note { key: key.clone(), incarnation: life })?;
                let tombstone = Tombstone { incarnation: life };
                write_json(&self.disk, &self.layout.tombstone(key), &tombstone)?;
                life
            }
        };
        Ok(self.remove_all(key, incarnation)?)
    }

    /// Which life of the id the log is; for a log that cannot be read, the next one that it may be.
    fn life(
        &self,
        key: &SessionKey,
        deleted: Option<Incarnation>,
    ) -> Result<Option<Incarnation>, FileError> {
        let path = self.layout.log(key);
        let next = deleted.map_or(Incarnation::FIRST, Incarnation::next);
        match self.disk.metadata(&path)? {
            None => return Ok(None),
            Some(found) if found.kind == FileKind::Directory => {
                self.disk.regular(&path)?;
            }
            Some(found) if found.kind == FileKind::File => {
                let Some(file) = self.disk.open(&path, super::system::OpenHow::Read)? else {
                    return Ok(None);
                };
                let tail =
                    Tail::find(&*file, found.len, next).map_err(self.disk.failed("read", &path))?;
                if let Some(tail) = tail {
                    return Ok(Some(tail.head.incarnation));
                }
            }
            Some(_) => {}
        }
        Ok(Some(next))
    }

    /// Removes all that is left of a deleted session, under its lock.
    pub(super) fn finish_purge(&self, key: &SessionKey) -> Result<(), FileError> {
        let incarnation = self.tombstone(key)?.unwrap_or(Incarnation::FIRST);
        self.remove_all(key, incarnation).map(drop)
    }

    fn remove_all(
        &self,
        key: &SessionKey,
        incarnation: Incarnation,
    ) -> Result<PurgeReceipt, FileError> {
        // Whoever began may not have come to make the tombstone's name durable.
        self.disk.sync_dir(parent(&self.layout.tombstone(key)))?;
        self.forget(key);
        let log = self.layout.log(key);
        self.forget_head(key);
        let bytes = self.disk.metadata(&log)?.map_or(0, |found| found.len);
        self.disk.remove(&log)?;
        self.disk.remove(&with_suffix(&log, UNFINISHED))?;
        self.sync_if_there(parent(&log))?;
        let blobs = self.remove_dir(&self.layout.blobs(key))?;
        self.remove_dir(&self.layout.quarantine(key))?;
        self.heal(key)?;
        let remains = self.purge_index(key)?;
        let note = self.layout.purge_of(key);
        self.disk.remove(&note)?;
        self.disk.remove(&with_suffix(&note, UNFINISHED))?;
        Ok(PurgeReceipt { remains, ..PurgeReceipt::new(incarnation, bytes, blobs) })
    }

    /// Removes a directory of files, durably; how many finished ones there were.
    fn remove_dir(&self, dir: &Path) -> Result<u64, FileError> {
        let mut removed = 0;
        for name in self.disk.list(dir)? {
            let finished = !name.ends_with(UNFINISHED);
            removed += u64::from(self.disk.remove(&dir.join(&name))? && finished);
        }
        // Also where others removed everything: they may not have come to make it durable.
        self.sync_if_there(dir)?;
        self.disk.remove_dir(dir)?;
        self.sync_if_there(parent(dir))?;
        Ok(removed)
    }

    fn sync_if_there(&self, dir: &Path) -> Result<(), FileError> {
        match self.disk.metadata(dir)? {
            Some(found) if found.kind == FileKind::Directory => self.disk.sync_dir(dir),
            _ => Ok(()),
        }
    }

    /// Goes on with deletions that were interrupted: with all that can be, whatever fails first.
    pub(super) fn finish_purges(&self) -> Result<()> {
        let mut done = Ok(());
        for (path, note) in self.notes()? {
            done = done.and(self.finish_noted(&path, &note));
        }
        Ok(done?)
    }

    fn finish_noted(&self, path: &Path, Note { key, incarnation }: &Note) -> Result<(), FileError> {
        let _held = self.lock_session(key)?;
        // Looked at again under the lock: another process may have finished it.
        if self.disk.metadata(path)?.is_none() || self.layout.purge_of(key) != path {
            return Ok(());
        }
        let deleted = self.tombstone(key)?.is_some_and(|deleted| deleted >= *incarnation);
        if deleted && self.life(key, None)?.is_none_or(|life| life <= *incarnation) {
            self.remove_all(key, *incarnation)?;
        } else {
            self.disk.remove(path)?;
        }
        Ok(())
    }

    /// Sessions whose deletion was interrupted, each with the life that was deleted: their logs may
    /// still be there.
    pub(super) fn half_deleted(&self) -> Result<HashMap<SessionKey, Incarnation>, FileError> {
        let mut found = HashMap::new();
        for (_, Note { key, incarnation }) in self.notes()? {
            let deleted = self.tombstone(&key).unwrap_or_else(|error| {
                // There is one. What it says of one session must not keep the others away.
                tracing::error!(%error, %key, "a tombstone is unreadable");
                Some(incarnation)
            });
            found.extend(deleted.map(|deleted| (key, deleted)));
        }
        Ok(found)
    }

    fn notes(&self) -> Result<Vec<(PathBuf, Note)>, FileError> {
        let mut notes = Vec::new();
        for name in self.disk.list(&self.layout.purging())? {
            let path = self.layout.purging().join(&name);
            if name.ends_with(UNFINISHED) {
                // It never took effect, or is being written just now.
                continue;
            }
            match read_json::<Note>(&self.disk, &path) {
                Ok(note) => notes.extend(note.map(|note| (path, note))),
                // A deletion that cannot be gone on with must not keep the store from opening.
                Err(error) => tracing::error!(%error, name, "a note of a deletion is unreadable"),
            }
        }
        Ok(notes)
    }
}
