//! Writing to the index what the logs have already.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::dirty::{Entries, Entry};
use super::{Shared, is_of_one, rows};
use crate::error::{Error, Result};
use crate::storage::SessionKey;
use crate::storage::file::engine::lock;
use crate::storage::file::error::FileError;
use crate::storage::file::purge::read_tombstone;
use crate::storage::file::system::Metadata;
use crate::storage::file::unindexed;
use crate::storage::sqlite::SqliteError;
use crate::storage::sqlite::database::Sync;
use crate::storage::sqlite::full_text;

/// Lets another thread begin where this one panics.
struct WriterRuns<'a>(&'a Shared);

impl Drop for WriterRuns<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lose(&Error::unavailable("the thread that writes the index panicked"));
            let mut dirty = lock(&self.0.dirty);
            dirty.finish();
            // Whatever comes next is the first that waits.
            dirty.due = None;
            self.0.writer_runs.store(false, Ordering::Release);
        }
    }
}

impl Shared {
    /// Runs until the storage is dropped, and writes whenever something is due.
    pub(super) fn write_when_due(&self) {
        let _runs = WriterRuns(self);
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
            self.lose(&error);
        }
        lock(&self.dirty).finish();
    }

    /// Says to all processes that the index misses something, before it is given up here.
    pub(super) fn lose(&self, error: &Error) {
        let failure = self.distrust(error);
        // Without a storage that is open, nothing takes its mark away.
        if let Some(writer) = lock(&self.writers).first() {
            unindexed::lose(&self.disk, writer, failure);
        }
    }

    /// What cannot be written keeps nothing else out.
    fn write(&self, entries: &Entries) -> Result<()> {
        let all: Vec<_> = entries.iter().collect();
        match self.write_these(&all) {
            Err(error) if is_of_one(&error) && all.len() > 1 => {
                all.chunks(1).map(|one| self.write_these(one)).fold(Ok(()), Result::and)
            }
            written => written,
        }
    }

    fn write_these(&self, entries: &[(&SessionKey, &Entry)]) -> Result<()> {
        let generation = self.present()?;
        let written = generation.database.write(Sync::Normal, |connection| {
            let mut texts = Vec::new();
            for (key, entry) in entries {
                let Some(found) = self.still_there(key, entry.head.incarnation)? else { continue };
                let texts = generation.cuts.then_some(&mut texts);
                rows::put_written(connection, key, entry, &found, texts)?;
            }
            full_text::put_all(connection, texts)?;
            while generation.cuts && full_text::settle(connection)? {}
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
        let mut remains = Vec::new();
        if self.checked(&generation, removed)? {
            let words = "beginnings of deleted words in the index, which is too large to be written anew \
                         meanwhile: a scrub removes them";
            remains.push(words.to_owned());
        }
        if !generation.database.rewrite_if_small().map_err(Error::from)? {
            let copies = "copies of rows in the index, which is too large to be written anew meanwhile: a \
                          scrub removes them";
            remains.push(copies.to_owned());
        }
        if !generation.database.truncate_wal().map_err(Error::from)? {
            remains.push("the index's journal, which another process is reading".to_owned());
        }
        let left = self.generations.left(&self.disk, &generation)?;
        remains.extend(left.into_iter().map(|file| format!("an earlier index in {file}")));
        Ok(remains)
    }
}
