//! Who has changed logs that the index may not know of.
//!
//! Before a storage changes its first log it leaves a mark here, durably. It takes the mark away when
//! it is closed and all that it wrote is in the index, durably. So an append costs nothing more, and
//! whatever ends a process otherwise leaves the mark.
//!
//! | file | says | the index is doubted |
//! | --- | --- | --- |
//! | `NNN-<16 hex digits>` | this writer has changed logs | once the writer is gone |
//! | `….lost` | it could not write to the index, or does not know what it wrote to a log | at once |
//! | `….blind` | it has changed logs, and keeps no index | at once |
//!
//! While the index is doubted a row of it is believed only if its log still looks as it did when the
//! row was made; of all other logs the heads are read. That is over once the index has been compared
//! with all logs, durably: then the marks are removed, except those of a blind writer that lives.
//!
//! | after | the index may miss |
//! | --- | --- |
//! | the end of a process in any way | what it had not written to the index yet |
//! | a power cut | all since the last sync of the index, of all processes |
//! | a write to the index that failed | that write |

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::disk::{Disk, parent};
use super::error::FileError;
use super::layout;
use crate::storage::WriterId;

#[cfg(feature = "sqlite")]
pub(super) use self::doubts::{Doubts, lose};

const BLIND: &str = ".blind";

/// A storage's own mark.
#[derive(Debug)]
pub(super) struct Mark {
    path: PathBuf,
    is_set: AtomicBool,
}

impl Mark {
    /// The mark of a writer that keeps the index, or of one that has none.
    pub(super) fn new(disk: &Disk, writer: &WriterId, keeps_index: bool) -> Self {
        let blind = if keeps_index { "" } else { BLIND };
        let path = layout::unindexed(disk.root()).join(name_of(writer) + blind);
        Self { path, is_set: AtomicBool::new(false) }
    }

    /// Leaves the mark, if it has not been left. Where that cannot be done there must be no index
    /// that others believe.
    pub(super) fn set(&self, disk: &Disk) {
        if self.is_set.load(Ordering::Acquire) {
            return;
        }
        match self.leave(disk) {
            Ok(()) => self.is_set.store(true, Ordering::Release),
            Err(error) => {
                tracing::error!(%error, "what is written cannot be noted; the index is given up");
                give_up_index(disk);
            }
        }
    }

    fn leave(&self, disk: &Disk) -> Result<(), FileError> {
        disk.ensure_dir(parent(&self.path))?;
        disk.create(&self.path)?;
        disk.sync_dir(parent(&self.path))
    }

    #[cfg(feature = "sqlite")]
    pub(super) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Takes the mark away. One that comes back after a power cut is doubted in vain.
    #[cfg(feature = "sqlite")]
    pub(super) fn clear(&self, disk: &Disk) {
        disk.discard(&self.path);
    }
}

/// Removes what names the index: another one is made of the logs. Takes no room on the disk.
fn give_up_index(disk: &Disk) {
    let dir = layout::index(disk.root());
    let removed = disk.remove(&dir.join(layout::INDEX_POINTER));
    if let Err(error) = removed.and_then(|found| if found { disk.sync_dir(&dir) } else { Ok(()) }) {
        tracing::error!(%error, "lists of other processes may miss what is written here");
    }
}

/// No `:`, which some systems do not allow in a name.
fn name_of(writer: &WriterId) -> String {
    writer.0.replace(':', "-")
}

#[cfg(feature = "sqlite")]
mod doubts {
    use std::path::Path;

    use bytes::Bytes;

    use super::{BLIND, Disk, FileError, PathBuf, WriterId};
    use super::{give_up_index, layout, name_of, parent};
    use crate::storage::file::writers;

    const LOST: &str = ".lost";

    /// Why the index is doubted.
    #[derive(Debug, Default)]
    pub(in crate::storage::file) struct Doubts {
        gone: Vec<PathBuf>,
        /// Each with the number of the failure.
        lost: Vec<(PathBuf, Bytes)>,
        /// Whether a writer that keeps no index lives.
        blind: bool,
    }

    impl Doubts {
        /// What the marks say now; those of `own` writers are in order as long as these live.
        pub(in crate::storage::file) fn find(
            disk: &Disk,
            own: &[WriterId],
        ) -> Result<Self, FileError> {
            let dir = layout::unindexed(disk.root());
            let mut found = Self::default();
            for name in disk.list(&dir)? {
                let path = dir.join(&name);
                match writer_of(&name) {
                    Some((_, LOST)) => {
                        found.lost.extend(disk.read(&path)?.map(|number| (path, number)));
                    }
                    Some((writer, "")) if own.contains(&writer) => {}
                    Some((writer, "" | BLIND)) if writers::is_gone(disk, &writer)? => {
                        found.gone.push(path);
                    }
                    Some((_, BLIND)) => found.blind = true,
                    // Of somebody who lives, or nobody's.
                    _ => {}
                }
            }
            Ok(found)
        }

        pub(in crate::storage::file) fn is_empty(&self) -> bool {
            self.gone.is_empty() && self.lost.is_empty() && !self.blind
        }

        /// Removes the marks, after the index was compared with all logs.
        pub(in crate::storage::file) fn dispel(&self, disk: &Disk) -> Result<(), FileError> {
            for path in &self.gone {
                disk.remove(path)?;
            }
            if self.lost.is_empty() {
                return Ok(());
            }
            let _alone = writers::look_alone(disk)?;
            for (path, number) in &self.lost {
                // Another failure may have come since.
                if disk.read(path)?.as_ref() == Some(number) {
                    disk.remove(path)?;
                }
            }
            Ok(())
        }
    }

    /// Leaves a mark that something could not be written to the index.
    pub(in crate::storage::file) fn lose(disk: &Disk, writer: &WriterId, failure: u64) {
        let path = layout::unindexed(disk.root()).join(name_of(writer) + LOST);
        if let Err(error) = write(disk, &path, failure) {
            tracing::error!(%error, "what the index misses cannot be noted; it is given up");
            give_up_index(disk);
        }
    }

    fn write(disk: &Disk, path: &Path, failure: u64) -> Result<(), FileError> {
        disk.ensure_dir(parent(path))?;
        let _alone = writers::look_alone(disk)?;
        disk.write(path, failure.to_string().as_bytes())
    }

    /// The writer of a mark, and what the mark's name ends with.
    fn writer_of(name: &str) -> Option<(WriterId, &str)> {
        let (writer, kind) = name.split_at(name.find('.').unwrap_or(name.len()));
        let (slot, number) = writer.split_once('-')?;
        Some((WriterId(format!("{slot}:{number}").into()), kind))
    }
}
