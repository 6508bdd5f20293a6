//! Comparing the index with the logs: what was changed by hand, by a backup or a sync tool, or by
//! a process that died before it indexed what it wrote.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::{DELAY, Generation, Index, Shared, is_damage, is_of_one, rows};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{OwnerId, SessionId};
use crate::storage::file::disk::Disk;
use crate::storage::file::engine::lock;
use crate::storage::file::heads::{self, Found, Heads};
use crate::storage::sqlite::database::Sync;
use crate::storage::{Extract, OnProgress, Progress, SessionKey, TurnText};

/// The logs are looked at again after so many times as long as that takes, but not before this.
const PAUSE: u32 = 20;
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
/// So many logs are read, and so many sessions removed, in one transaction: whoever else writes waits for
/// it.
const LOGS: usize = 2_048;
const GONE: usize = 16;
/// So many turns are written in one transaction, and so many bytes of text, if it is more than one.
const TURNS: usize = 512;
const BYTES: usize = 256 << 10;

/// What is asked of the thread that verifies.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    runs: bool,
    logs: bool,
    texts: bool,
    /// Not before this.
    next: Option<Instant>,
}

type Log = (SessionKey, PathBuf);

/// Looking at all logs once.
struct Pass {
    progress: Progress,
    /// Why a session cannot be in the index.
    refused: Option<Error>,
    /// Why sessions could not be looked at.
    failed: Option<Error>,
    /// Whether a log could not be opened, of which there is a row.
    unread: bool,
}

impl Index {
    /// Has the logs looked at if that has not been done for a while.
    pub(in crate::storage::file) fn verify_later(&self) {
        let mut wanted = lock(&self.shared.wanted);
        let due = wanted.next.is_none_or(|next| next <= Instant::now());
        if due && !wanted.runs {
            (wanted.logs, wanted.texts) = (true, true);
            drop(wanted);
            self.start_verifying();
        }
    }

    pub(super) fn verify_texts_later(&self) {
        lock(&self.shared.wanted).texts = true;
        self.start_verifying();
    }

    fn start_verifying(&self) {
        {
            let mut wanted = lock(&self.shared.wanted);
            if wanted.runs {
                return;
            }
            wanted.runs = true;
        }
        let shared = Arc::clone(&self.shared);
        if !self.spawn("chatkeep-verify", move || shared.verify_while_wanted()) {
            lock(&self.shared.wanted).runs = false;
            self.shared.idle.notify_all();
        }
    }

    /// Compares the index with the logs now.
    pub(in crate::storage::file) fn verify(&self) -> Result<()> {
        let shared = &self.shared;
        let mut wanted = lock(&shared.wanted);
        while wanted.runs {
            wanted = shared.idle.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
        wanted.next = Some(Instant::now() + SHORTEST_PAUSE);
        drop(wanted);
        shared.flush(None);
        match shared.verify_all(&|_| {}) {
            // Another has taken its place by now.
            Err(error) if is_damage(&error) => shared.verify_all(&|_| {}),
            done => done,
        }
    }

    /// Builds the index anew.
    pub(in crate::storage::file) fn rebuild(&self, on_progress: OnProgress<'_>) -> Result<()> {
        let shared = &self.shared;
        shared.flush(None);
        let old = shared.present()?;
        shared.generations.replace(&shared.disk, &old)?;
        drop(old);
        shared.verify_all(on_progress)
    }
}

/// Lets whoever waits go on, and another thread begin, where this one panics.
struct VerifierRuns<'a>(&'a Shared);

impl Drop for VerifierRuns<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.wanted).runs = false;
            self.0.idle.notify_all();
        }
    }
}

impl Shared {
    fn verify_while_wanted(&self) {
        let _runs = VerifierRuns(self);
        let mut damaged = false;
        loop {
            let (logs, texts) = {
                let mut wanted = lock(&self.wanted);
                if self.is_stopping() || !(wanted.logs || wanted.texts) {
                    wanted.runs = false;
                    self.idle.notify_all();
                    return;
                }
                (std::mem::take(&mut wanted.logs), std::mem::take(&mut wanted.texts))
            };
            let begun = Instant::now();
            let done = if logs { self.verify_logs_if_nobody_does() } else { Ok(()) };
            let pause = SHORTEST_PAUSE.max(begun.elapsed() * PAUSE);
            let done = done.and(if texts { self.index_texts_if_nobody_does() } else { Ok(()) });
            let mut wanted = lock(&self.wanted);
            if let Err(error) = done
                && !self.is_stopping()
            {
                tracing::warn!(%error, "the index could not be verified");
                // Another has taken its place by now. If that is damaged too it can wait.
                let again = is_damage(&error) && !damaged;
                (wanted.logs, wanted.texts, damaged) = (again, again, true);
            }
            if logs {
                wanted.next = Some(Instant::now() + pause);
            }
        }
    }

    fn verify_all(&self, on_progress: OnProgress<'_>) -> Result<()> {
        let held = self.verifying.hold(&self.disk)?;
        let verified = self.verify_logs(on_progress);
        drop(held);
        let _held = self.extracting.hold(&self.disk)?;
        verified.and(self.index_texts(on_progress))
    }

    fn verify_logs_if_nobody_does(&self) -> Result<()> {
        match self.verifying.try_hold(&self.disk)? {
            Some(_held) => self.verify_logs(&|_| {}),
            None => Ok(()),
        }
    }

    fn index_texts_if_nobody_does(&self) -> Result<()> {
        self.await_others()?;
        match self.extracting.try_hold(&self.disk)? {
            Some(_held) => self.index_texts(&|_| {}),
            None => Ok(()),
        }
    }

    /// Gives other processes the time to write what they have: it costs less than reading it.
    fn await_others(&self) -> Result<()> {
        let behind = self.present()?.database.read(rows::progress).map_err(Error::from)?.behind;
        let until = Instant::now() + DELAY * 2;
        let mut dirty = lock(&self.dirty);
        while behind > 0 && !dirty.stopping {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.wake.wait_timeout(dirty, left);
            dirty = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Looks at every log, and reads those that do not look as the index has them.
    fn verify_logs(&self, on_progress: OnProgress<'_>) -> Result<()> {
        let distrusted = self.distrusted.load(Ordering::Acquire);
        let doubts = self.doubts()?;
        let generation = self.present()?;
        let mut owners: HashSet<OwnerId> =
            heads::owners(&self.disk, &self.layout)?.into_iter().collect();
        let indexed = generation.database.read(rows::owners);
        let indexed = self.checked(&generation, indexed)?;
        owners.extend(indexed.into_iter().filter_map(|owner| OwnerId::new(owner).ok()));
        // Made before the logs are listed. What is deleted later is not there when it is written.
        let heads = Heads::new(&self.disk, &self.layout)?;
        let progress = Progress { done: 0, total: None };
        let mut pass = Pass { progress, refused: None, failed: None, unread: false };
        for owner in owners {
            self.verify_owner(&generation, &heads, &owner, &mut pass, on_progress)?;
        }
        if let Some(error) = pass.refused {
            // Nobody is to believe it, now or later.
            let incomplete = generation.database.write(Sync::Full, rows::set_incomplete);
            return self.checked(&generation, incomplete).and(Err(error));
        }
        if let Some(error) = pass.failed {
            return Err(error);
        }
        self.complete(&generation)?;
        if pass.unread {
            // The row of a log that nobody could read is in doubt for as long.
            return Ok(());
        }
        if !doubts.is_empty() {
            self.sync(&generation)?;
            doubts.dispel(&self.disk)?;
        }
        self.trusted.store(distrusted, Ordering::Release);
        Ok(())
    }

    fn verify_owner(
        &self,
        generation: &Generation,
        heads: &Heads<'_>,
        owner: &OwnerId,
        Pass { progress, refused, failed, unread }: &mut Pass,
        on_progress: OnProgress<'_>,
    ) -> Result<()> {
        let looks = generation.database.read(|c| rows::looks(c, owner.as_str()));
        let mut looks = self.checked(generation, looks)?;
        let logs = match heads::logs_of(&self.disk, &self.layout, owner) {
            Ok(logs) => logs,
            // An owner whose logs cannot be listed keeps no other out.
            Err(error) => {
                failed.get_or_insert(error.into());
                return Ok(());
            }
        };
        progress.total = Some(progress.total.unwrap_or(0) + logs.len() as u64);
        for part in logs.chunks(LOGS) {
            self.give_way()?;
            let changed = self.changed(heads, part, &mut looks);
            if !changed.is_empty() {
                match self.index_logs(generation, heads, &changed) {
                    Err(error) if is_of_one(&error) => drop(refused.get_or_insert(error)),
                    done => *unread |= done?,
                }
            }
            progress.done += part.len() as u64;
            on_progress(*progress);
        }
        let gone: Vec<SessionKey> = looks
            .into_keys()
            .filter_map(|id| Some(SessionKey::new(owner.clone(), SessionId::new(id).ok()?)))
            .collect();
        for part in gone.chunks(GONE) {
            self.give_way()?;
            let removed = generation.database.write(Sync::Normal, |connection| {
                part.iter()
                    .filter(|key| is_gone(&self.disk, &self.layout.log(key)))
                    .try_for_each(|key| rows::forget(connection, key))
            });
            self.checked(generation, removed)?;
        }
        Ok(())
    }

    /// The logs that do not look as the index has them, and those that may have been deleted
    /// elsewhere. All are taken out of `looks`.
    fn changed(
        &self,
        heads: &Heads<'_>,
        logs: &[Log],
        looks: &mut HashMap<String, Option<String>>,
    ) -> Vec<Log> {
        let mut changed = Vec::new();
        for (key, path) in logs {
            let known = looks.remove(key.id.as_str()).flatten();
            let same = match known.filter(|_| !heads.has_tombstone(key)) {
                // Whoever reads one that cannot be looked at says so.
                Some(known) => matches!(
                    self.disk.metadata(path), Ok(Some(found)) if rows::look_of(&found) == known
                ),
                None => false,
            };
            if !same {
                changed.push((key.clone(), path.clone()));
            }
        }
        changed
    }

    /// What cannot be written keeps nothing else out. Whether a log that has a row could not be read.
    fn index_logs(&self, generation: &Generation, heads: &Heads<'_>, logs: &[Log]) -> Result<bool> {
        match self.index_these(generation, heads, logs) {
            Err(error) if is_of_one(&error) && logs.len() > 1 => {
                let each = logs.chunks(1).map(|one| self.index_these(generation, heads, one));
                each.reduce(|all, one| Ok(all? | one?)).unwrap_or(Ok(false))
            }
            done => done,
        }
    }

    fn index_these(
        &self,
        generation: &Generation,
        heads: &Heads<'_>,
        logs: &[Log],
    ) -> Result<bool> {
        let found = heads.read_all(logs);
        let written = generation.database.write(Sync::Normal, |connection| {
            let mut unread = false;
            for ((key, path), found) in logs.iter().zip(&found) {
                let Some(Found { look, head }) = found else { continue };
                let now = self.disk.metadata(path);
                // Whoever changed it since then indexes it, or it is found the next time.
                if matches!(now, Ok(None)) {
                    continue;
                }
                if look.is_some() && !matches!(&now, Ok(now) if now == look) {
                    unread |= now.is_err();
                    continue;
                }
                match (head, look) {
                    // What is known of it is better than that it cannot be read just now.
                    (Some(_), None) if rows::look_again(connection, key)? => unread = true,
                    (Some(head), _) => rows::put_read(connection, key, head, look.as_ref())?,
                    (None, _) => rows::forget(connection, key)?,
                }
            }
            Ok(unread)
        });
        self.checked(generation, written)
    }

    /// Lets lists go first; fails when the storage is dropped.
    fn give_way(&self) -> Result<()> {
        drop(self.scans.write());
        match self.is_stopping() {
            true => Err(Error::unavailable("the storage is being closed")),
            false => Ok(()),
        }
    }
}

impl Shared {
    /// Reads the text of all sessions whose text is behind, if somebody can.
    fn index_texts(&self, on_progress: OnProgress<'_>) -> Result<()> {
        let Some(extract) = self.extract() else { return Ok(()) };
        let generation = self.present()?;
        if !generation.cuts {
            return Ok(());
        }
        if self.retries.swap(false, Ordering::AcqRel) {
            let wanted = generation.database.write(Sync::Normal, rows::retry_refused);
            self.checked(&generation, wanted)?;
        }
        self.read_texts(&generation, &*extract, true, on_progress)
    }

    /// Reads the text of sessions, of all or of those whose text is behind.
    pub(super) fn read_texts(
        &self,
        generation: &Generation,
        extract: &dyn Extract,
        behind: bool,
        on_progress: OnProgress<'_>,
    ) -> Result<()> {
        let sessions = generation.database.read(|connection| rows::sessions(connection, behind));
        let sessions = self.checked(generation, sessions)?;
        let total = Some(sessions.len() as u64);
        for (done, (owner, id)) in (1..).zip(sessions) {
            self.give_way()?;
            let damaged = |e: Error| Error::corrupt("the index names no session").caused_by(e);
            let owner = OwnerId::new(owner).map_err(damaged)?;
            let key = SessionKey::new(owner, SessionId::new(id).map_err(damaged)?);
            self.read_text(generation, extract, &key)?;
            on_progress(Progress { done, total });
        }
        Ok(())
    }

    fn read_text(
        &self,
        generation: &Generation,
        extract: &dyn Extract,
        key: &SessionKey,
    ) -> Result<()> {
        let look = generation.database.read(|connection| rows::look_at(connection, key));
        let look = self.checked(generation, look)?;
        // A panic in an adopter's code must not end the thread that reads all the others.
        let read = || pollster::block_on(extract.extract(key));
        let read = catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
            Err(Error::corrupt("an adopter's code panicked while the session's text was read"))
        });
        let extracted = match read {
            Ok(extracted) => extracted,
            // Deleted meanwhile.
            Err(error) if error.is_not_found() => return Ok(()),
            // The one who reads has gone, or the disk fails: it is tried again.
            Err(error) if is_of_disk(&error) => {
                tracing::warn!(%error, session = %key.id, "a session's text cannot be read now");
                return Ok(());
            }
            Err(error) => {
                tracing::warn!(%error, session = %key.id, "a session's text cannot be indexed");
                let refuse = |connection: &_| rows::refuse(connection, key, look.as_deref());
                let refused = generation.database.write(Sync::Normal, refuse);
                return self.checked(generation, refused);
            }
        };
        let mut rest = &*extracted.texts;
        loop {
            let (part, others) = rest.split_at(first_part(rest));
            rest = others;
            let more = !rest.is_empty();
            let written = generation.database.write(Sync::Normal, |connection| {
                if is_gone(&self.disk, &self.layout.log(key)) {
                    return Ok(false);
                }
                rows::put_extracted(connection, key, &extracted, part, more)
            });
            if !self.checked(generation, written)? || !more {
                return Ok(());
            }
        }
    }

    pub(super) fn extract(&self) -> Option<Arc<dyn Extract>> {
        lock(&self.extracts).iter().rev().find_map(Weak::upgrade)
    }
}

/// Whether a log is certainly not there.
fn is_gone(disk: &Disk, path: &std::path::Path) -> bool {
    matches!(disk.metadata(path), Ok(None))
}

fn is_of_disk(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}

/// How many of these texts are written in one transaction.
fn first_part(texts: &[TurnText]) -> usize {
    let sizes =
        texts.iter().map(|text| text.passages.iter().map(|passage| passage.text.len()).sum());
    let ends = sizes.scan(0_usize, |all, size: usize| {
        *all = all.saturating_add(size);
        Some(*all)
    });
    let fit = ends.take(TURNS).take_while(|end| *end <= BYTES).count();
    fit.max(1).min(texts.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TurnId;
    use crate::storage::{Passage, PassageRole};

    #[test]
    fn a_part_has_so_many_turns_or_bytes_and_one_at_least() {
        let texts = |sizes: &[usize]| -> Vec<TurnText> {
            let text = |size: &usize| {
                let (role, kind) = (PassageRole::User, "request".to_owned());
                let passages = vec![Passage { role, kind, text: "x".repeat(*size) }];
                TurnText { turn: TurnId::new(1), at: jiff::Timestamp::UNIX_EPOCH, passages }
            };
            sizes.iter().map(text).collect()
        };
        assert_eq!(first_part(&[]), 0);
        assert_eq!(first_part(&texts(&[1; TURNS + 1])), TURNS);
        assert_eq!(first_part(&texts(&[BYTES + 1, 1])), 1);
        assert_eq!(first_part(&texts(&[BYTES / 2, BYTES / 2, 1])), 2);
    }
}
