//! What the parts of the adapter share: the disk, the locks, and the logs that are open.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::catalogue::Catalogue;
use super::disk::{Disk, parent};
use super::error::FileError;
#[cfg(feature = "sqlite")]
use super::index::Index;
use super::layout::{self, Layout};
use super::locks::{Held, Locks};
use super::system::{FileIdentity, FileSystem, OpenFile, OpenHow};
use super::tail::{Log, Tail};
use super::unindexed::Mark;
use super::watch::Watchers;
use super::writers::Writer;
use crate::error::Result;
use crate::storage::line::{self, Checksum};
use crate::storage::{Damage, Incarnation, SessionKey};

/// The most logs that are open at once.
const OPEN_LOGS: usize = 128;

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) disk: Arc<Disk>,
    pub(super) layout: Arc<Layout>,
    pub(super) locks: Locks,
    pub(super) writer: Writer,
    pub(super) watchers: Watchers,
    pub(super) catalogue: Catalogue,
    /// None where no index can be.
    mark: Option<Mark>,
    #[cfg(feature = "sqlite")]
    pub(super) index: Option<Arc<Index>>,
    logs: Mutex<OpenLogs>,
    /// Memory for the next batch's lines, used again and again.
    pub(super) lines: Mutex<Vec<u8>>,
    /// Sessions whose last write failed with an outcome that cannot be known.
    poisoned: Mutex<HashSet<SessionKey>>,
    /// Logs in which reading came across damage.
    damaged: Mutex<HashMap<SessionKey, Harm>>,
}

/// Damage that was found in a log.
#[derive(Debug)]
struct Harm {
    identity: Option<FileIdentity>,
    incarnation: Incarnation,
    damage: Damage,
}

#[derive(Debug, Default)]
struct OpenLogs {
    logs: HashMap<SessionKey, (Log, u64)>,
    clock: u64,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here is left half done by a panic: each value is replaced in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    pub(super) fn open(root: &Path, files: Arc<dyn FileSystem>) -> Result<Self> {
        let disk = Arc::new(Disk::new(files, root.to_path_buf()));
        disk.ensure_root()?;
        Layout::check(&disk)?;
        disk.ensure_dir(&layout::locks(root))?;
        if disk.is_native()
            && let Err(error) = disk.ensure_dir(&layout::unindexed(root))
        {
            // Whoever writes comes across it again.
            tracing::warn!(%error, "no marks can be left");
        }
        let path = layout::locks(root).join("store.lock");
        let guard = disk.lock_file(&path)?;
        guard.lock().map_err(disk.failed("lock", &path))?;
        let layout = Layout::open(&disk)?;
        let writer = Writer::take(&disk)?;
        drop(guard);
        let layout = Arc::new(layout);
        #[cfg(feature = "sqlite")]
        let index = open_index(&disk, &layout, &writer);
        #[cfg(feature = "sqlite")]
        let keeps_index = index.is_some();
        #[cfg(not(feature = "sqlite"))]
        let keeps_index = false;
        let engine = Self {
            mark: disk.is_native().then(|| Mark::new(&disk, writer.id(), keeps_index)),
            #[cfg(feature = "sqlite")]
            index,
            disk,
            layout,
            locks: Locks::new(),
            writer,
            watchers: Watchers::default(),
            catalogue: Catalogue::default(),
            logs: Mutex::default(),
            lines: Mutex::default(),
            poisoned: Mutex::default(),
            damaged: Mutex::default(),
        };
        if let Err(error) = engine.finish_purges() {
            // What was deleted is gone for every caller; `scrub` tries again and says so.
            tracing::error!(%error, "a deletion cannot be finished");
        }
        #[cfg(feature = "sqlite")]
        if let Some(index) = &engine.index {
            index.verify_later();
        }
        Ok(engine)
    }

    /// The session's lock, for whoever changes its log.
    pub(super) fn lock_session(&self, key: &SessionKey) -> Result<Held<'_>, FileError> {
        if let Some(mark) = &self.mark {
            mark.set(&self.disk);
        }
        self.locks.lock(&self.disk, &["session", key.owner.as_str(), key.id.as_str()])
    }

    /// The session's log as it is now; `None` if there is none, or if it was deleted.
    pub(super) fn current(&self, key: &SessionKey) -> Result<Option<Log>> {
        let deleted = self.tombstone(key)?;
        let log = self.log(key, deleted)?;
        Ok(log.filter(|log| deleted.is_none_or(|deleted| log.tail.head.incarnation > deleted)))
    }

    /// The session's log whether deleted or not.
    pub(super) fn log(
        &self,
        key: &SessionKey,
        deleted: Option<Incarnation>,
    ) -> Result<Option<Log>> {
        let place = self.layout.place(key);
        let path = &place.log;
        let Some(found) = self.disk.regular(path)? else {
            self.forget(key);
            return Ok(None);
        };
        let known = self.known(key).filter(|log| log.identity == found.identity);
        if let Some(log) = known
            && found.len >= log.tail.end
            && let Some(log) = self.same(log, path)?
        {
            // Where something torn was seen another may have cut it off and written as much.
            let log = Log { look: Some(found), ..log };
            if found.len == log.len && log.len == log.tail.end {
                return Ok(Some(log));
            }
            let tail = log.tail.extended(&*log.file, found.len);
            if let Some(tail) = tail.map_err(self.disk.failed("read", path))? {
                let tail = Arc::new(tail);
                let log = Log { len: found.len, tail, trusted: false, ..log };
                self.remember(key, &log);
                return Ok(Some(log));
            }
        }
        let log = self.load(key, path, deleted)?;
        if let Some(log) = &log {
            self.remember(key, log);
        }
        Ok(log)
    }

    /// The known log, if it is the one that is there. Where files have no identity, the last
    /// line's checksum is compared instead; the file may then be a copy, and is the one to use.
    fn same(&self, log: Log, path: &Path) -> Result<Option<Log>> {
        if log.identity.is_some() {
            return Ok(Some(log));
        }
        let Some(file) = self.disk.open(path, OpenHow::Append)? else { return Ok(None) };
        let end = super::disk::read_range(&*file, log.tail.end.saturating_sub(16), log.tail.end)
            .map_err(self.disk.failed("read", path))?;
        let sum = end.strip_suffix(b"\n").and_then(Checksum::at_end_of);
        Ok((sum == Some(log.tail.sum)).then_some(Log { file, named: false, ..log }))
    }

    /// Opens a log and finds its tail.
    fn load(
        &self,
        key: &SessionKey,
        path: &Path,
        deleted: Option<Incarnation>,
    ) -> Result<Option<Log>> {
        let Some(file) = self.disk.open(path, OpenHow::Append)? else { return Ok(None) };
        let found = file.metadata().map_err(self.disk.failed("look at", path))?;
        let life = deleted.map_or(Incarnation::FIRST, Incarnation::next);
        let tail = Tail::find(&*file, found.len, life).map_err(self.disk.failed("read", path))?;
        let Some(tail) = tail else {
            let problem = match found.len {
                0 => "the log is empty".to_owned(),
                len => {
                    let why = first_line_problem(&*file, len);
                    let why = why.map_err(self.disk.failed("read", path))?;
                    format!("no record of the log can be read; of the first line, {why}")
                }
            };
            let file = self.disk.show(path);
            return Err(FileError::Damaged { file, record: Some(1), problem }.into());
        };
        if found.identity.is_none() {
            // It may be another file than the one that was damaged.
            lock(&self.damaged).remove(key);
        }
        let positions = Arc::default();
        let log = Log {
            file,
            identity: found.identity,
            len: found.len,
            look: Some(found),
            tail: Arc::new(tail),
            positions,
            named: false,
            trusted: false,
        };
        self.look_at_first_line(key, &log)?;
        Ok(Some(log))
    }

    fn known(&self, key: &SessionKey) -> Option<Log> {
        let mut logs = lock(&self.logs);
        logs.clock += 1;
        let now = logs.clock;
        let (log, used) = logs.logs.get_mut(key)?;
        *used = now;
        Some(log.clone())
    }

    pub(super) fn remember(&self, key: &SessionKey, log: &Log) {
        let mut logs = lock(&self.logs);
        logs.clock += 1;
        let now = logs.clock;
        if logs.logs.len() >= OPEN_LOGS && !logs.logs.contains_key(key) {
            let oldest = logs.logs.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                logs.logs.remove(&oldest);
            }
        }
        match logs.logs.get_mut(key) {
            Some(known) => *known = (log.clone(), now),
            None => {
                logs.logs.insert(key.clone(), (log.clone(), now));
            }
        }
    }

    pub(super) fn forget(&self, key: &SessionKey) {
        lock(&self.logs).logs.remove(key);
    }

    /// Remembers the first damage that was found in a log.
    pub(super) fn note_damage(&self, key: &SessionKey, log: &Log, damage: &Damage) {
        let (identity, incarnation) = (log.identity, log.tail.head.incarnation);
        let mut damaged = lock(&self.damaged);
        match damaged.get(key) {
            Some(known) if known.identity == identity && known.incarnation == incarnation => {}
            _ => {
                let harm = Harm { identity, incarnation, damage: damage.clone() };
                damaged.insert(key.clone(), harm);
            }
        }
    }

    /// The damage that is known of a log.
    pub(super) fn known_damage(&self, key: &SessionKey, log: &Log) -> Option<Damage> {
        lock(&self.damaged)
            .get(key)
            .filter(|harm| harm.identity == log.identity)
            .filter(|harm| harm.incarnation == log.tail.head.incarnation)
            .map(|harm| harm.damage.clone())
    }

    pub(super) fn is_poisoned(&self, key: &SessionKey) -> bool {
        lock(&self.poisoned).contains(key)
    }

    /// Stops writing to a session, here and for whoever opens its log anew: the system may show
    /// bytes that are not on the disk, and would not write them again.
    pub(super) fn poison(&self, key: &SessionKey) {
        lock(&self.poisoned).insert(key.clone());
        self.forget(key);
        let mark = self.suspect(key);
        if let Err(error) = self.disk.create(&mark).map(drop) {
            tracing::error!(%error, "other processes cannot be told that a write failed");
        }
    }

    pub(super) fn heal(&self, key: &SessionKey) -> Result<(), FileError> {
        let mark = self.suspect(key);
        if self.disk.remove(&mark)? {
            self.disk.sync_dir(parent(&mark))?;
        }
        lock(&self.poisoned).remove(key);
        lock(&self.damaged).remove(key);
        Ok(())
    }

    /// The file that says that a log's last bytes may not be on the disk.
    pub(super) fn suspect(&self, key: &SessionKey) -> PathBuf {
        super::disk::with_suffix(&self.layout.log(key), ".suspect")
    }

    pub(super) fn tombstone(&self, key: &SessionKey) -> Result<Option<Incarnation>, FileError> {
        super::purge::read_tombstone(&self.disk, &self.layout.place(key).tombstone)
    }
}

#[cfg(feature = "sqlite")]
impl Drop for Engine {
    /// A mark stays where something is not in the index, or not durably.
    fn drop(&mut self) {
        let Some(index) = &self.index else { return };
        if let Some(mark) = self.mark.as_ref().filter(|mark| mark.is_set())
            && index.settle()
        {
            mark.clear(&self.disk);
        }
        index.part(self.writer.id());
    }
}

/// The store's index. Without one, lists go through the logs and nothing is searched.
#[cfg(feature = "sqlite")]
fn open_index(disk: &Arc<Disk>, layout: &Arc<Layout>, writer: &Writer) -> Option<Arc<Index>> {
    if !disk.is_native() {
        return None;
    }
    match Index::open(disk, layout) {
        Ok(index) => {
            index.join(writer.id());
            Some(index)
        }
        Err(error) => {
            tracing::warn!(%error, "the store's index cannot be used, nor another one made");
            None
        }
    }
}

/// What is wrong with the first line of a file that is no log.
fn first_line_problem(file: &dyn OpenFile, len: u64) -> io::Result<String> {
    /// No record of any use is longer; what is, need not be read to be refused.
    const LOOKED_AT: u64 = 64 << 10;
    let start = super::disk::read_range(file, 0, len.min(LOOKED_AT))?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(match std::str::from_utf8(line) {
        Err(error) if error.error_len().is_some() => "the bytes are not text".to_owned(),
        _ if line.len() < start.len() => match line::decode(&Bytes::copy_from_slice(line), None) {
            Err(error) => error.message().to_owned(),
            Ok(_) => "the record belongs to no batch that is whole".to_owned(),
        },
        _ if len > LOOKED_AT => "the end is further away than that of a record".to_owned(),
        _ => "the end is missing".to_owned(),
    })
}
