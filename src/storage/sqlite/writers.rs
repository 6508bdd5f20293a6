//! Who writes: each open storage holds a lock file beside the database for as long as it lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::error::SqliteError;
use crate::environment::{IdSource, RandomIds};
use crate::storage::WriterId;

const SLOTS: usize = 1_000;

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// The place that a storage holds.
#[derive(Debug)]
pub(super) struct Writer {
    id: WriterId,
    directory: PathBuf,
    /// Held until dropped, or until the process ends in whatever way.
    _lock: File,
}

impl Writer {
    /// Takes the first free place and leaves a new number there, by which its present holder is
    /// told from earlier ones.
    pub(super) fn take(database: &Path) -> Result<Self> {
        let mut name = database.as_os_str().to_owned();
        name.push("-writers");
        let directory = PathBuf::from(name);
        std::fs::create_dir_all(&directory).map_err(failed("make a directory"))?;
        for slot in 0..SLOTS {
            let lock = open(&lock_path(&directory, &format!("{slot:03}")))?;
            if !try_lock(&lock)? {
                continue;
            }
            let number = format!("{:016x}", RandomIds.next_u64());
            // Beside the lock file, which some systems let nobody read while it is locked.
            std::fs::write(id_path(&directory, &format!("{slot:03}")), &number)
                .map_err(failed("write a number"))?;
            return Ok(Self {
                id: WriterId(format!("{slot:03}:{number}").into()),
                directory,
                _lock: lock,
            });
        }
        Err(SqliteError::TooManyWriters { slots: SLOTS })
    }

    pub(super) fn id(&self) -> &WriterId {
        &self.id
    }

    /// Whether a writer is known to be gone: nobody holds its place, or somebody else does.
    pub(super) fn is_gone(&self, writer: &WriterId) -> Result<bool> {
        let Some((slot, number)) = writer.0.split_once(':') else { return Ok(false) };
        let is_slot = slot.len() == 3 && slot.bytes().all(|b| b.is_ascii_digit());
        if *writer == self.id || !is_slot {
            return Ok(false);
        }
        let lock = open(&lock_path(&self.directory, slot))?;
        if try_lock(&lock)? {
            return Ok(true);
        }
        match std::fs::read(id_path(&self.directory, slot)) {
            Ok(holder) => Ok(holder != number.as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed("read a number")(error)),
        }
    }
}

fn lock_path(directory: &Path, slot: &str) -> PathBuf {
    directory.join(format!("{slot}.lock"))
}

fn id_path(directory: &Path, slot: &str) -> PathBuf {
    directory.join(format!("{slot}.id"))
}

fn open(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).map_err(failed("open a lock file"))
}

fn try_lock(file: &File) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(failed("lock a file")(error)),
    }
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> SqliteError {
    move |source| SqliteError::Beside { operation, source }
}
