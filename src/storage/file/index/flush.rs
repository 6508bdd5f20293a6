//! Writing to the index what the logs have already.

use std::sync::PoisonError;
use std::time::Instant;

use super::dirty::Entries;
use super::{Shared, rows};
use crate::error::{Error, Result};
use crate::storage::SessionKey;
use crate::storage::file::engine::lock;
use crate::storage::file::error::FileError;
use crate::storage::file::purge::read_tombstone;
use crate::storage::file::system::Metadata;
use crate::storage::sqlite::SqliteError;
use crate::storage::sqlite::database::Sync;
use crate::storage::sqlite::full_text;

impl Shared {
    /// Runs until the storage is dropped, and writes whenever something is due.
    pub(super) fn write_when_due(&self) {
        loop {
            let mut dirty = lock(&self.dirty);
            let stopping = loop {
                let now = Instant::now();
                match dirty.due {
                    _ if dirty.stopping => break true,
                    Some(due) if due <= now => break false,
                    Some(due) => {
                        let wait = self.wake.wait_timeout(dirty, due - now);
                        dirty = wait.unwrap_or_else(PoisonError::into_inner).0;
                    }
                    None => {
                        let wait = self.wake.wait(dirty);
                        dirty = wait.unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(dirty);
            self.flush(None);
            if stopping {
                return;
            }
        }
    }

    /// Writes one session's changes, or all that wait. If that fails they are given up here: the
    /// logs have them, and whoever verifies the index finds them there.
    pub(super) fn flush(&self, only: Option<&SessionKey>) {
        let _writing = lock(&self.writing);
        let entries = lock(&self.dirty).take(only);
        if entries.is_empty() {
            return;
        }
        if let Err(error) = self.write(&entries) {
            self.distrust(&error);
        }
        lock(&self.dirty).finish();
    }

    fn write(&self, entries: &Entries) -> Result<()> {
        let generation = self.present()?;
        let written = generation.database.write(Sync::Normal, |connection| {
            let mut texts = Vec::new();
            for (key, entry) in entries {
                let Some(found) = self.still_there(key, entry.head.incarnation)? else { continue };
                rows::put_written(connection, key, entry, &found, &mut texts)?;
            }
            full_text::put_all(connection, texts)?;
            while full_text::settle(connection)? {}
            Ok(())
        });
        self.checked(&generation, written)
    }

    /// What a session's log looks like, unless it is gone. Asked within a transaction: whoever
    /// deletes it after that waits to delete its row.
    fn still_there(
        &self,
        key: &SessionKey,
        incarnation: crate::storage::Incarnation,
    ) -> Result<Option<Metadata>, SqliteError> {
        let look = || -> Result<Option<Metadata>, FileError> {
            let Some(found) = self.disk.metadata(&self.layout.log(key))? else { return Ok(None) };
            let deleted = read_tombstone(&self.disk, &self.layout.tombstone(key))?;
            Ok(deleted.is_none_or(|deleted| incarnation > deleted).then_some(found))
        };
        look().map_err(|error| Error::from(error).into())
    }

    /// Removes a session after its log.
    pub(super) fn purge(&self, key: &SessionKey) -> Result<Vec<String>> {
        let _writing = lock(&self.writing);
        lock(&self.dirty).forget(key);
        let generation = self.present()?;
        let removed =
            generation.database.write(Sync::Normal, |connection| rows::remove(connection, key));
        self.checked(&generation, removed)?;
        let mut remains = Vec::new();
        if !generation.database.truncate_wal().map_err(Error::from)? {
            remains.push("the index's journal, which another process is reading".to_owned());
        }
        let left = self.generations.left(&self.disk, &generation)?;
        remains.extend(left.into_iter().map(|file| format!("an earlier index in {file}")));
        Ok(remains)
    }
}
