//! Which database file is the index.
//!
//! `index/current` names it, and is replaced in one step. A file that is damaged, of a newer
//! version or missing is never mended: another one takes its place under a new name, so that a
//! process which has the old one open is not disturbed, and notices by the name.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use serde::{Deserialize, Serialize};

use super::rows;
use crate::environment::{IdSource, RandomIds};
use crate::error::{Error, Result};
use crate::storage::file::disk::Disk;
use crate::storage::file::engine::lock;
use crate::storage::file::error::FileError;
use crate::storage::file::layout::{self, INDEX_POINTER as POINTER, Layout};
use crate::storage::file::system::{FileIdentity, FileKind, LockFile, Metadata};
use crate::storage::sqlite::database::{Database, Sync};
use crate::storage::sqlite::full_text;

const DATABASE: &str = ".sqlite";

#[derive(Debug, Serialize, Deserialize)]
struct Pointer {
    file: String,
}

/// A database, and what its file and the pointer looked like when it was opened.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) database: Database,
    /// Whether its text was cut into tokens by the present rules. Newer ones than a program's own
    /// are left alone by it: it makes lists, and what it adds waits for a newer program to read it.
    pub(super) cuts: bool,
    name: String,
    pointer: Option<Metadata>,
    file: Option<FileIdentity>,
}

/// The present database.
#[derive(Debug)]
pub(super) struct Generations {
    dir: PathBuf,
    layout: Arc<Layout>,
    gate: Gate,
    present: Mutex<Option<Arc<Generation>>>,
}

impl Generations {
    pub(super) fn new(disk: &Disk, layout: &Arc<Layout>) -> Self {
        let gate = Gate::new(layout::locks(disk.root()).join("index.lock"));
        let (dir, layout) = (layout::index(disk.root()), Arc::clone(layout));
        Self { dir, layout, gate, present: Mutex::default() }
    }

    /// The database as it is now. Looked up after a log is durable, and before it is indexed: what
    /// is written to one that is being replaced is found by whoever fills the next one, since that
    /// begins after it was named.
    pub(super) fn present(&self, disk: &Disk) -> Result<Arc<Generation>> {
        let mut present = lock(&self.present);
        if let Some(known) = &*present
            && known.is_present(disk, &self.dir)?
        {
            return Ok(Arc::clone(known));
        }
        *present = None;
        let entered = Arc::new(self.enter(disk, None)?);
        *present = Some(Arc::clone(&entered));
        Ok(entered)
    }

    /// Puts an empty database in the place of one that cannot be used, unless somebody has done so.
    pub(super) fn replace(&self, disk: &Disk, broken: &Generation) -> Result<Arc<Generation>> {
        let mut present = lock(&self.present);
        *present = None;
        let entered = Arc::new(self.enter(disk, Some(&broken.name))?);
        *present = Some(Arc::clone(&entered));
        Ok(entered)
    }

    fn enter(&self, disk: &Disk, broken: Option<&str>) -> Result<Generation> {
        disk.ensure_dir(&self.dir)?;
        let _held = self.gate.hold(disk)?;
        // By which the store's own databases are known. Another process may know it by another one,
        // if the marker was put back meanwhile.
        let seal = self.layout.seal(disk)?;
        let named = self.named(disk)?.filter(|name| broken != Some(name.as_str()));
        if let Some(name) = named {
            match self.open(disk, &name, &seal) {
                Ok(generation) => return Ok(generation),
                Err(error) => tracing::warn!(%error, name, "the index cannot be used as it is"),
            }
        }
        let name = format!("{:016x}{DATABASE}", RandomIds.next_u64());
        let empty = Database::open(&self.dir.join(&name), rows::SCHEMA).map_err(Error::from)?;
        empty.write(Sync::Normal, |c| rows::set_seal(c, &seal)).map_err(Error::from)?;
        drop(empty);
        let pointer = serde_json::to_vec(&Pointer { file: name.clone() })
            .map_err(|e| Error::invalid("the index cannot be named").caused_by(e))?;
        disk.write(&self.dir.join(POINTER), &pointer)?;
        let generation = self.open(disk, &name, &seal)?;
        self.remove_others(disk, Some(&name))?;
        Ok(generation)
    }

    /// The file that the pointer names. Anything else than a pointer is as good as none.
    fn named(&self, disk: &Disk) -> Result<Option<String>, FileError> {
        let path = self.dir.join(POINTER);
        if disk.metadata(&path)?.is_none_or(|found| found.kind != FileKind::File) {
            return Ok(None);
        }
        let pointer = disk.read(&path)?.map(|json| serde_json::from_slice::<Pointer>(&json));
        Ok(match pointer {
            Some(Ok(pointer)) if is_database(&pointer.file) => Some(pointer.file),
            Some(_) => {
                tracing::warn!("the file that names the index is damaged");
                None
            }
            None => None,
        })
    }

    fn open(&self, disk: &Disk, name: &str, own: &str) -> Result<Generation> {
        let path = self.dir.join(name);
        let pointer = disk.metadata(&self.dir.join(POINTER))?;
        let found = disk.regular(&path)?;
        let found = found.ok_or_else(|| Error::not_found("the index is missing"))?;
        let database = Database::open(&path, rows::SCHEMA).map_err(Error::from)?;
        let (seal, rules) = database
            .read(|connection| Ok((rows::seal(connection)?, full_text::rules_of(connection)?)))
            .map_err(Error::from)?;
        if seal.as_deref() != Some(own) {
            return Err(Error::corrupt("the index is that of another store"));
        }
        if rules == Ordering::Less {
            return Err(Error::corrupt("the index was cut into tokens by older rules"));
        }
        let cuts = rules == Ordering::Equal;
        Ok(Generation { database, cuts, name: name.to_owned(), pointer, file: found.identity })
    }

    /// Removes what was the index before. On systems that keep files which are open it is tried
    /// again with the next one.
    fn remove_others(&self, disk: &Disk, name: Option<&str>) -> Result<(), FileError> {
        for other in disk.list(&self.dir)? {
            let of_present = name.is_some_and(|name| other.starts_with(name));
            if other.contains(DATABASE) && !of_present {
                disk.discard(&self.dir.join(&other));
            }
        }
        Ok(())
    }

    /// The files of other databases than the present one.
    pub(super) fn left(&self, disk: &Disk, present: &Generation) -> Result<Vec<String>, FileError> {
        let _held = self.gate.hold(disk)?;
        self.remove_others(disk, Some(&present.name))?;
        let left = disk.list(&self.dir)?.into_iter();
        let is_other = |name: &String| name.contains(DATABASE) && !name.starts_with(&present.name);
        Ok(left.filter(is_other).map(|name| disk.show(&self.dir.join(name))).collect())
    }
}

impl Generation {
    fn is_present(&self, disk: &Disk, dir: &Path) -> Result<bool, FileError> {
        let pointer = disk.metadata(&dir.join(POINTER))?;
        let file = disk.metadata(&dir.join(&self.name))?;
        Ok(pointer == self.pointer && file.is_some_and(|file| file.identity == self.file))
    }
}

/// Whether a pointer may name this file: nothing but a name that is made here.
fn is_database(name: &str) -> bool {
    let digits = name.strip_suffix(DATABASE).unwrap_or_default();
    digits.len() == 16 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A lock between threads and processes.
#[derive(Debug)]
pub(super) struct Gate {
    path: PathBuf,
    file: Mutex<Option<Box<dyn LockFile>>>,
}

/// A gate that is held until it is dropped.
#[derive(Debug)]
pub(super) struct Held<'a>(MutexGuard<'a, Option<Box<dyn LockFile>>>);

impl Gate {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: Mutex::default() }
    }

    /// Waits for the lock.
    pub(super) fn hold(&self, disk: &Disk) -> Result<Held<'_>, FileError> {
        let mut file = lock(&self.file);
        let opened = match file.take() {
            Some(opened) => opened,
            None => disk.lock_file(&self.path)?,
        };
        opened.lock().map_err(disk.failed("lock", &self.path))?;
        *file = Some(opened);
        Ok(Held(file))
    }

    /// Takes the lock if it is free.
    pub(super) fn try_hold(&self, disk: &Disk) -> Result<Option<Held<'_>>, FileError> {
        let mut file = match self.file.try_lock() {
            Ok(file) => file,
            // Whoever panicked holds it no longer.
            Err(TryLockError::Poisoned(file)) => file.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let opened = match file.take() {
            Some(opened) => opened,
            None => disk.lock_file(&self.path)?,
        };
        let taken = opened.try_lock().map_err(disk.failed("lock", &self.path))?;
        *file = Some(opened);
        Ok(taken.then(|| Held(file)))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(|file| file.unlock()) {
            tracing::error!(%error, "a lock could not be given back");
        }
    }
}
