//! A disk that counts what is asked of it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::system::{FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow};

/// Wraps another [`FileSystem`] and counts bytes, syncs and look-ups. Clones share their counts.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use chatkeep::storage::FileStorage;
/// use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dir = tempfile::tempdir()?;
/// let files = CountingFileSystem::new(Arc::new(RealFileSystem));
/// let storage = FileStorage::with_files(dir.path().join("store"), Arc::new(files.clone()))?;
/// assert!(files.counts().written > 0);
/// # drop(storage);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct CountingFileSystem {
    inner: Arc<dyn FileSystem>,
    counters: Arc<Counters>,
}

/// What was asked of a [`CountingFileSystem`] so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Bytes read from files.
    pub read: u64,
    /// Bytes written to files.
    pub written: u64,
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// Files opened.
    pub opens: u64,
    /// Paths looked at.
    pub looks: u64,
    /// Directories listed.
    pub lists: u64,
}

#[derive(Debug, Default)]
struct Counters {
    read: AtomicU64,
    written: AtomicU64,
    writes: AtomicU64,
    syncs: AtomicU64,
    dir_syncs: AtomicU64,
    opens: AtomicU64,
    looks: AtomicU64,
    lists: AtomicU64,
}

impl CountingFileSystem {
    /// Counts what is asked of `inner` from now on.
    #[must_use]
    pub fn new(inner: Arc<dyn FileSystem>) -> Self {
        Self { inner, counters: Arc::default() }
    }

    /// The counts since this disk was made.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            read: of(&self.counters.read),
            written: of(&self.counters.written),
            writes: of(&self.counters.writes),
            syncs: of(&self.counters.syncs),
            dir_syncs: of(&self.counters.dir_syncs),
            opens: of(&self.counters.opens),
            looks: of(&self.counters.looks),
            lists: of(&self.counters.lists),
        }
    }
}

impl std::ops::Sub for Counts {
    type Output = Self;

    /// What was asked between two countings.
    fn sub(self, earlier: Self) -> Self {
        Self {
            read: self.read - earlier.read,
            written: self.written - earlier.written,
            writes: self.writes - earlier.writes,
            syncs: self.syncs - earlier.syncs,
            dir_syncs: self.dir_syncs - earlier.dir_syncs,
            opens: self.opens - earlier.opens,
            looks: self.looks - earlier.looks,
            lists: self.lists - earlier.lists,
        }
    }
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

impl FileSystem for CountingFileSystem {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        count(&self.counters.looks, 1);
        self.inner.metadata(path)
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn OpenFile>> {
        count(&self.counters.opens, 1);
        let inner = self.inner.open(path, how)?;
        Ok(Arc::new(CountingFile { inner, counters: Arc::clone(&self.counters) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        count(&self.counters.lists, 1);
        self.inner.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        count(&self.counters.dir_syncs, 1);
        self.inner.sync_dir(dir)
    }

    fn lock_file(&self, path: &Path) -> io::Result<Box<dyn LockFile>> {
        self.inner.lock_file(path)
    }

    fn is_native(&self) -> bool {
        self.inner.is_native()
    }
}

#[derive(Debug)]
struct CountingFile {
    inner: Arc<dyn OpenFile>,
    counters: Arc<Counters>,
}

impl OpenFile for CountingFile {
    fn metadata(&self) -> io::Result<Metadata> {
        self.inner.metadata()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.inner.read_at(buffer, offset)?;
        count(&self.counters.read, read);
        Ok(read)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.append(bytes)?;
        count(&self.counters.writes, 1);
        count(&self.counters.written, written);
        Ok(written)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        count(&self.counters.syncs, 1);
        self.inner.sync_data()
    }
}
