//! Locks between threads and processes.
//!
//! A fixed set of lock files is shared out among sessions and documents by their names' checksum.
//! The files are never removed: a lock on a removed file locks nothing.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::disk::Disk;
use super::error::FileError;
use super::layout;
use super::system::LockFile;

const STRIPES: usize = 64;

/// The store's lock files, opened when they are first needed.
#[derive(Debug)]
pub(super) struct Locks {
    stripes: Vec<Stripe>,
}

#[derive(Debug, Default)]
struct Stripe {
    file: OnceLock<Box<dyn LockFile>>,
    /// Threads wait here: a lock file excludes other openings of it, not other threads.
    thread: Mutex<()>,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    file: &'a dyn LockFile,
    _thread: MutexGuard<'a, ()>,
}

impl Locks {
    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Stripe::default()).collect() }
    }

    /// Waits for the lock that these names share with some others. Whoever holds one may not ask
    /// for another.
    pub(super) fn lock(&self, disk: &Disk, names: &[&str]) -> Result<Held<'_>, FileError> {
        let mut hasher = crc32fast::Hasher::new();
        for name in names {
            hasher.update(name.as_bytes());
            hasher.update(b"\0");
        }
        // 64 divides the range evenly, and the remainder fits any usize.
        let index = hasher.finalize() as usize % STRIPES;
        let stripe = &self.stripes[index];
        let path = || layout::locks(disk.root()).join(format!("{index:02}.lock"));
        let thread = stripe.thread.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match stripe.file.get() {
            Some(file) => file,
            None => {
                let opened = disk.lock_file(&path())?;
                stripe.file.get_or_init(|| opened)
            }
        };
        file.lock().map_err(|error| disk.failed("lock", &path())(error))?;
        Ok(Held { file: &**file, _thread: thread })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.file.unlock() {
            tracing::error!(%error, "a lock could not be given back");
        }
    }
}
