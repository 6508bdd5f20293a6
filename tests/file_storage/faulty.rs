//! A disk of which one chosen operation fails, or on which everything fails from then on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chatkeep::storage::file::{
    FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow, RealFileSystem,
};

/// How the chosen operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It does nothing and says so.
    Error,
    /// It takes effect and reports a failure all the same.
    ErrorAfter,
    /// A write takes half of the bytes and says how many; everything else fails.
    Short,
    /// A write takes half of the bytes, and the disk is full; everything else fails.
    Full,
    /// The process dies within it: half a write, and nothing after it has any effect.
    Death,
}

pub(crate) const ALL: [Failure; 5] =
    [Failure::Error, Failure::ErrorAfter, Failure::Short, Failure::Full, Failure::Death];

/// Counts operations that change something, and fails one of them.
#[derive(Debug, Clone)]
pub(crate) struct Faulty(Arc<State>);

#[derive(Debug)]
struct State {
    operations: AtomicU64,
    fail_at: AtomicU64,
    failure: Failure,
    /// What can be neither opened nor listed.
    refused: Mutex<Option<PathBuf>>,
    /// Whether files can be told from each other, as not all systems can.
    identity: bool,
    /// Whether the store's index may be a database.
    native: bool,
}

const NEVER: u64 = u64::MAX;

impl Faulty {
    pub(crate) fn new(failure: Failure) -> Self {
        Self::with(failure, true, false)
    }

    /// On a system whose files have no identity.
    pub(crate) fn without_identity(failure: Failure) -> Self {
        Self::with(failure, false, false)
    }

    /// On which a database can be opened as well; its own files do not fail.
    #[cfg(feature = "sqlite")]
    pub(crate) fn native(failure: Failure) -> Self {
        Self::with(failure, true, true)
    }

    fn with(failure: Failure, identity: bool, native: bool) -> Self {
        Self(Arc::new(State {
            operations: AtomicU64::new(0),
            fail_at: AtomicU64::new(NEVER),
            failure,
            refused: Mutex::default(),
            identity,
            native,
        }))
    }

    /// Fails the operation that comes after so many others.
    pub(crate) fn fail_after(&self, operations: u64) {
        let now = self.0.operations.load(Ordering::SeqCst);
        self.0.fail_at.store(now + operations, Ordering::SeqCst);
    }

    /// Lets nobody open this file or list this directory, and everything else be used.
    #[cfg(feature = "sqlite")]
    pub(crate) fn refuse(&self, path: Option<PathBuf>) {
        *self.0.refused.lock().unwrap() = path;
    }

    /// Whether the failure has come.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.operations.load(Ordering::SeqCst) > self.0.fail_at.load(Ordering::SeqCst)
    }
}

impl State {
    fn seen(&self, metadata: Metadata) -> Metadata {
        let identity = metadata.identity.filter(|_| self.identity);
        Metadata { identity, ..metadata }
    }

    fn permit(&self, path: &Path) -> io::Result<()> {
        match self.refused.lock().unwrap().as_deref() {
            Some(refused) if refused == path => Err(io::ErrorKind::PermissionDenied.into()),
            _ => Ok(()),
        }
    }

    /// Whether the present operation is the one to fail, or comes after the process' death.
    fn fails(&self) -> Option<Failure> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let at = self.fail_at.load(Ordering::SeqCst);
        match self.failure {
            Failure::Death if number > at => Some(Failure::Error),
            failure => (number == at).then_some(failure),
        }
    }

    fn run<T>(&self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self.fails() {
            None => operation(),
            Some(Failure::ErrorAfter) => operation().and(Err(broken())),
            Some(_) => Err(broken()),
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("injected")
}

impl FileSystem for Faulty {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        Ok(RealFileSystem.metadata(path)?.map(|metadata| self.0.seen(metadata)))
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn OpenFile>> {
        self.0.permit(path)?;
        let open = || -> io::Result<Arc<dyn OpenFile>> {
            Ok(Arc::new(FaultyFile(RealFileSystem.open(path, how)?, Arc::clone(&self.0))))
        };
        if how == OpenHow::Create { self.0.run(open) } else { open() }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.run(|| RealFileSystem.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.run(|| RealFileSystem.remove_file(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.run(|| RealFileSystem.create_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.run(|| RealFileSystem.remove_dir(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        self.0.permit(dir)?;
        RealFileSystem.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.run(|| RealFileSystem.sync_dir(dir))
    }

    fn lock_file(&self, path: &Path) -> io::Result<Box<dyn LockFile>> {
        RealFileSystem.lock_file(path)
    }

    fn is_native(&self) -> bool {
        self.0.native
    }
}

#[derive(Debug)]
struct FaultyFile(Arc<dyn OpenFile>, Arc<State>);

impl OpenFile for FaultyFile {
    fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata().map(|metadata| self.1.seen(metadata))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let half = &bytes[..bytes.len() / 2];
        match self.1.fails() {
            None => self.0.append(bytes),
            Some(Failure::Error) => Err(broken()),
            Some(Failure::ErrorAfter) => self.0.append(bytes).and(Err(broken())),
            Some(Failure::Short) => self.0.append(half),
            Some(Failure::Full) => {
                self.0.append(half)?;
                Err(io::ErrorKind::StorageFull.into())
            }
            Some(Failure::Death) => self.0.append(half).and(Err(broken())),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.1.run(|| self.0.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.run(|| self.0.sync_data())
    }
}
