//! The heads of all sessions, read from the logs' tails and remembered until a log changes.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::engine::{Engine, lock};
use super::error::FileError;
use super::heads::{self, Found, Heads};
use super::system::Metadata;
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::{Head, OnProgress, Progress, SessionHead, SessionKey};

/// Heads by log, each with what its file looked like; none where it belongs to a deleted life.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    heads: Mutex<HashMap<PathBuf, (Metadata, Option<Head>)>>,
}

impl Engine {
    /// The heads of an owner's sessions.
    pub(super) fn heads(&self, owner: &OwnerId) -> Result<Vec<SessionHead>> {
        let half_deleted: HashSet<SessionKey> = self.half_deleted()?.into_iter().collect();
        let heads = Heads::new(&self.disk, &self.layout)?;
        let logs = heads::logs_of(&self.disk, &self.layout, owner)?;
        let mut found = Vec::with_capacity(logs.len());
        for (key, head) in self.heads_at(&heads, logs)? {
            let gone = half_deleted.contains(&key)
                && self.tombstone(&key)?.is_some_and(|deleted| head.incarnation <= deleted);
            if !gone {
                found.push(SessionHead { key, head });
            }
        }
        Ok(found)
    }

    pub(super) fn owners(&self) -> Result<Vec<OwnerId>> {
        let mut owners = Vec::new();
        for owner in heads::owners(&self.disk, &self.layout)? {
            if !self.heads(&owner)?.is_empty() {
                owners.push(owner);
            }
        }
        owners.sort_unstable();
        Ok(owners)
    }

    pub(super) fn warm(&self, on_progress: OnProgress<'_>) -> Result<()> {
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
                Known::Same(head) => known.extend(head.map(|head| (key, head))),
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
            Some((seen, head)) if *seen == found => Known::Same(head.clone()),
            _ => Known::Changed,
        })
    }
}

/// What is known of a log without opening it.
enum Known {
    Same(Option<Head>),
    Changed,
    Gone,
}
