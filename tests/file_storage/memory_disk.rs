//! A disk in memory whose power can be cut.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use chatkeep::storage::file::{
    FileIdentity, FileKind, FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow,
};

/// Seeded chance (xorshift64*).
#[derive(Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }
}

#[derive(Debug, Clone)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    chance: Chance,
    files: BTreeMap<u64, File>,
    next: u64,
    /// What names lead to, as processes see it and as it is on the disk; `None` is a directory.
    names: BTreeMap<PathBuf, Option<u64>>,
    durable: BTreeMap<PathBuf, Option<u64>>,
    locked: BTreeSet<PathBuf>,
    /// How many operations are left until nothing works any more, and until one sync fails.
    left: u64,
    until_failure: u64,
    clock: u64,
}

#[derive(Debug, Default)]
struct File {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// What a failed sync left looking clean.
    lost: Vec<Range<usize>>,
    modified: u64,
}

impl MemoryDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            chance: Chance::new(seed ^ 0xd15c),
            files: BTreeMap::new(),
            next: 1,
            names: BTreeMap::from([("/".into(), None)]),
            durable: BTreeMap::from([("/".into(), None)]),
            locked: BTreeSet::new(),
            left: u64::MAX,
            until_failure: u64::MAX,
            clock: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn die_after(&self, operations: u64, syncs: u64) {
        let mut state = self.state();
        (state.left, state.until_failure) = (operations, syncs);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().left == 0
    }

    pub(crate) fn revive(&self) {
        self.die_after(u64::MAX, u64::MAX);
    }

    /// Loses what was not synced, or some of it.
    pub(crate) fn cut(&self) {
        self.state().cut();
    }
}

impl State {
    fn alive(&mut self) -> io::Result<()> {
        self.clock += 1;
        if self.left == 0 {
            return Err(io::Error::other("the process has died"));
        }
        if self.left != u64::MAX {
            self.left -= 1;
        }
        Ok(())
    }

    fn cut(&mut self) {
        self.locked.clear();
        let all: BTreeSet<PathBuf> =
            self.names.keys().chain(self.durable.keys()).cloned().collect();
        let mut after = BTreeMap::new();
        for path in all {
            let (seen, durable) = (self.names.get(&path), self.durable.get(&path));
            let kept = if self.chance.below(2) == 0 { seen } else { durable };
            let above = path.parent().is_none_or(|parent| after.contains_key(parent));
            if let (Some(kept), true) = (kept, above) {
                after.insert(path, *kept);
            }
        }
        for file in self.files.values_mut() {
            file.cut(&mut self.chance);
        }
        self.names.clone_from(&after);
        self.durable = after;
    }

    fn number(&self, path: &Path) -> io::Result<u64> {
        match self.names.get(path) {
            Some(Some(number)) => Ok(*number),
            Some(None) => Err(io::ErrorKind::InvalidInput.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&mut self, number: u64) -> &mut File {
        self.files.entry(number).or_default()
    }

    fn parent(&self, path: &Path) -> io::Result<()> {
        match path.parent().and_then(|parent| self.names.get(parent)) {
            Some(None) => Ok(()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn metadata(&self, number: Option<u64>) -> Metadata {
        let file = number.and_then(|number| self.files.get(&number));
        let modified = file.map_or(0, |file| file.modified);
        Metadata {
            kind: if number.is_some() { FileKind::File } else { FileKind::Directory },
            len: file.map_or(0, |file| file.seen.len() as u64),
            modified: SystemTime::UNIX_EPOCH + Duration::from_millis(modified),
            changed: None,
            identity: Some(FileIdentity { device: 1, file: number.unwrap_or(0) }),
        }
    }
}

impl File {
    /// Bytes as they get to the disk: what was lost is not written again.
    fn written(&self) -> Vec<u8> {
        let mut bytes = self.seen.clone();
        for lost in &self.lost {
            let end = lost.end.min(bytes.len());
            bytes[lost.start.min(end)..end].fill(0);
        }
        bytes
    }

    fn cut(&mut self, chance: &mut Chance) {
        let written = self.written();
        let common = self.durable.len().min(written.len());
        let mut after = match chance.below(3) {
            0 => self.durable.clone(),
            1 => written,
            // The length is there, and some sectors of what was added.
            _ => {
                let mut bytes = written;
                for sector in (common..bytes.len()).step_by(512) {
                    let end = bytes.len().min(sector + 512);
                    if chance.below(2) == 0 {
                        bytes[sector..end].fill(0);
                    }
                }
                bytes
            }
        };
        if after.len() > common && chance.below(3) == 0 {
            let more = after.len() - common;
            after.truncate(common + chance.below(more as u64 + 1) as usize);
        }
        self.seen.clone_from(&after);
        self.durable = after;
        self.lost.clear();
    }
}

impl FileSystem for MemoryDisk {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let state = self.state();
        Ok(state.names.get(path).map(|number| state.metadata(*number)))
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn OpenFile>> {
        let mut state = self.state();
        if how == OpenHow::Create && !state.names.contains_key(path) {
            state.alive()?;
            state.parent(path)?;
            let number = state.next;
            state.next += 1;
            state.files.insert(number, File::default());
            state.names.insert(path.to_owned(), Some(number));
        }
        let number = state.number(path)?;
        if how == OpenHow::Create {
            state.file(number).seen.clear();
        }
        Ok(Arc::new(MemoryFile(self.clone(), number)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let number = state.number(from)?;
        state.names.remove(from);
        state.names.insert(to.to_owned(), Some(number));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.number(path)?;
        state.names.remove(path);
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        state.parent(path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.names.insert(path.to_owned(), None);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if state.names.keys().any(|name| name.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.names.remove(path);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let state = self.state();
        if state.names.get(dir) != Some(&None) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let within = state.names.iter().filter(|(name, _)| name.parent() == Some(dir));
        let listed = |(path, file): (&PathBuf, &Option<u64>)| {
            let kind = if file.is_some() { FileKind::File } else { FileKind::Directory };
            let name = path.file_name()?.to_owned();
            Some(Listed { name, kind: Some(kind) })
        };
        Ok(within.filter_map(listed).collect())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        if state.names.get(dir) != Some(&None) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let within = |name: &PathBuf| name.parent() == Some(dir);
        state.durable.retain(|name, _| !within(name));
        let now: Vec<_> =
            state.names.iter().filter(|(n, _)| within(n)).map(|(n, f)| (n.clone(), *f)).collect();
        state.durable.extend(now);
        Ok(())
    }

    fn lock_file(&self, path: &Path) -> io::Result<Box<dyn LockFile>> {
        drop(self.open(path, OpenHow::Create)?);
        Ok(Box::new(MemoryLock(self.clone(), path.to_owned(), Mutex::new(false))))
    }

    fn is_native(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct MemoryFile(MemoryDisk, u64);

impl OpenFile for MemoryFile {
    fn metadata(&self) -> io::Result<Metadata> {
        Ok(self.0.state().metadata(Some(self.1)))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.0.state();
        let seen = &state.file(self.1).seen;
        let rest = seen.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        Ok(read)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        let taken = match state.alive() {
            Ok(()) => bytes.len(),
            // It dies within the write.
            Err(error) if state.chance.below(2) == 0 => return Err(error),
            Err(_) => usize::try_from(state.chance.below(bytes.len() as u64 + 1)).unwrap(),
        };
        let clock = state.clock;
        let file = state.file(self.1);
        file.seen.extend_from_slice(&bytes[..taken]);
        file.modified = clock;
        Ok(taken)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.alive()?;
        state.file(self.1).seen.truncate(usize::try_from(len).unwrap());
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.state();
        state.alive()?;
        state.until_failure = state.until_failure.saturating_sub(1);
        let fails = state.until_failure == 0;
        if fails {
            state.until_failure = u64::MAX;
        }
        let file = state.file(self.1);
        if fails {
            let dirty = file.durable.len().min(file.seen.len())..file.seen.len();
            file.lost.push(dirty);
            return Err(io::Error::other("the disk failed to sync"));
        }
        file.durable = file.written();
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryLock(MemoryDisk, PathBuf, Mutex<bool>);

impl LockFile for MemoryLock {
    fn lock(&self) -> io::Result<()> {
        assert!(self.try_lock()?, "nobody else is there who could give the lock back");
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let free = self.0.state().locked.insert(self.1.clone());
        *self.2.lock().unwrap() |= free;
        Ok(free)
    }

    fn unlock(&self) -> io::Result<()> {
        if std::mem::take(&mut *self.2.lock().unwrap()) {
            self.0.state().locked.remove(&self.1);
        }
        Ok(())
    }
}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.unlock().unwrap();
    }
}
