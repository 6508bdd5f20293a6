//! Who writes: each open storage holds one of a fixed number of places for as long as it lives.

use super::disk::Disk;
use super::error::FileError;
use super::layout;
use super::system::LockFile;
use crate::environment::{IdSource, RandomIds};
use crate::storage::WriterId;

const SLOTS: usize = 1_000;

/// The place that this storage holds.
#[derive(Debug)]
pub(super) struct Writer {
    id: WriterId,
    /// Held until dropped, or until the process ends in whatever way.
    _lock: Box<dyn LockFile>,
}

impl Writer {
    /// Takes the first free place and leaves a new number there, by which its present holder is
    /// told from earlier ones.
    pub(super) fn take(disk: &Disk) -> Result<Self, FileError> {
        let locks = layout::locks(disk.root());
        let _alone = look_alone(disk)?;
        for slot in 0..SLOTS {
            let path = locks.join(format!("writer-{slot:03}.lock"));
            let lock = disk.lock_file(&path)?;
            if !lock.try_lock().map_err(disk.failed("lock", &path))? {
                continue;
            }
            let number = format!("{:016x}", RandomIds.next_u64());
            // Beside the lock file, which some systems let nobody read while it is locked.
            disk.write(&locks.join(format!("writer-{slot:03}.id")), number.as_bytes())?;
            return Ok(Self { id: WriterId(format!("{slot:03}:{number}").into()), _lock: lock });
        }
        Err(FileError::TooManyWriters { slots: SLOTS })
    }

    pub(super) fn id(&self) -> &WriterId {
        &self.id
    }

    /// Whether a writer is known to be gone: nobody holds its place, or somebody else does.
    pub(super) fn is_gone(&self, disk: &Disk, writer: &WriterId) -> Result<bool, FileError> {
        Ok(*writer != self.id && is_gone(disk, writer)?)
    }
}

/// Whether another storage's writer is known to be gone.
pub(super) fn is_gone(disk: &Disk, writer: &WriterId) -> Result<bool, FileError> {
    let Some((slot, number)) = writer.0.split_once(':') else { return Ok(false) };
    if slot.len() != 3 || !slot.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(false);
    }
    let _alone = look_alone(disk)?;
    let locks = layout::locks(disk.root());
    let path = locks.join(format!("writer-{slot}.lock"));
    if disk.lock_file(&path)?.try_lock().map_err(disk.failed("lock", &path))? {
        return Ok(true);
    }
    let holder = disk.read(&locks.join(format!("writer-{slot}.id")))?;
    Ok(holder.is_some_and(|holder| holder != number.as_bytes()))
}

/// Until this is dropped nobody else takes a place, or looks who holds one: whoever looks holds it
/// for a moment, and whoever takes it has no number there yet.
pub(super) fn look_alone(disk: &Disk) -> Result<Box<dyn LockFile>, FileError> {
    let path = layout::locks(disk.root()).join("writers.lock");
    let alone = disk.lock_file(&path)?;
    alone.lock().map_err(disk.failed("lock", &path))?;
    Ok(alone)
}
