//! The disk as it is, but not told to be: a file storage keeps no index on it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use chatkeep::storage::file::{
    FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow, RealFileSystem,
};

#[derive(Debug)]
pub(crate) struct Unindexed;

const REAL: RealFileSystem = RealFileSystem;

impl FileSystem for Unindexed {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        REAL.metadata(path)
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn OpenFile>> {
        REAL.open(path, how)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        REAL.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        REAL.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        REAL.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        REAL.remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        REAL.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        REAL.sync_dir(dir)
    }

    fn lock_file(&self, path: &Path) -> io::Result<Box<dyn LockFile>> {
        REAL.lock_file(path)
    }

    fn is_native(&self) -> bool {
        false
    }
}
