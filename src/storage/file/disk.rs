//! The disk with context: every failure says which file, and small files are written whole.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::error::FileError;
use super::system::{FileKind, FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow};

/// What is added to a file's name while it is being written.
pub(super) const UNFINISHED: &str = ".tmp";

/// The store's directory on a [`FileSystem`].
#[derive(Debug)]
pub(super) struct Disk {
    files: Arc<dyn FileSystem>,
    root: PathBuf,
    /// Directories whose own entry is known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Disk {
    pub(super) fn new(files: Arc<dyn FileSystem>, root: PathBuf) -> Self {
        Self { files, root, durable: Mutex::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A path as messages show it: relative to the store, with `/` between its parts.
    pub(super) fn show(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/")
    }

    /// Makes a failure of the disk one that says what was tried with which file.
    pub(super) fn failed(
        &self,
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError::Io { operation, file: self.show(path), source }
    }

    pub(super) fn metadata(&self, path: &Path) -> Result<Option<Metadata>, FileError> {
        self.files.metadata(path).map_err(self.failed("look at", path))
    }

    /// What is at a path if it is a regular file; an error if it is anything else.
    pub(super) fn regular(&self, path: &Path) -> Result<Option<Metadata>, FileError> {
        match self.metadata(path)? {
            Some(found) if found.kind != FileKind::File => {
                Err(FileError::NotAFile { file: self.show(path), found: found.kind.as_str() })
            }
            found => Ok(found),
        }
    }

    /// Opens a regular file; `None` if nothing is there.
    pub(super) fn open(
        &self,
        path: &Path,
        how: OpenHow,
    ) -> Result<Option<Arc<dyn OpenFile>>, FileError> {
        if self.regular(path)?.is_none() && how != OpenHow::Create {
            return Ok(None);
        }
        match self.files.open(path, how) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound && how != OpenHow::Create => Ok(None),
            Err(e) => Err(self.failed("open", path)(e)),
        }
    }

    /// Opens a file that was listed, to read it; `None` if it is gone, or no regular file by now.
    pub(super) fn open_listed(&self, path: &Path) -> Result<Option<Arc<dyn OpenFile>>, FileError> {
        use io::ErrorKind::{InvalidInput, NotADirectory, NotFound};
        match self.files.open(path, OpenHow::Read) {
            Ok(file) => Ok(Some(file)),
            Err(e) if matches!(e.kind(), InvalidInput | NotADirectory | NotFound) => Ok(None),
            Err(e) => Err(self.failed("open", path)(e)),
        }
    }

    /// Whether a database engine finds its files at the paths of this disk.
    pub(super) fn is_native(&self) -> bool {
        self.files.is_native()
    }

    /// Reads a regular file whole; `None` if nothing is there.
    pub(super) fn read(&self, path: &Path) -> Result<Option<Bytes>, FileError> {
        let Some(file) = self.open(path, OpenHow::Read)? else { return Ok(None) };
        let len = file.metadata().map_err(self.failed("look at", path))?.len;
        read_range(&*file, 0, len).map(Some).map_err(self.failed("read", path))
    }

    /// Puts a whole file in place, durably: readers and crashes see the old one or the new one.
    pub(super) fn write(&self, path: &Path, content: &[u8]) -> Result<(), FileError> {
        let parent = parent(path);
        self.ensure_dir(parent)?;
        let unfinished = with_suffix(path, UNFINISHED);
        let written = self
            .create(&unfinished)
            .and_then(|file| {
                self.append(&*file, &unfinished, content)?;
                file.sync_data().map_err(self.failed("sync", path))
            })
            .and_then(|()| self.rename(&unfinished, path));
        if written.is_err() {
            self.discard(&unfinished);
        }
        written?;
        self.sync_dir(parent)
    }

    /// An empty file to be renamed into place later; an older one of that name is emptied.
    pub(super) fn create(&self, path: &Path) -> Result<Arc<dyn OpenFile>, FileError> {
        self.regular(path)?;
        self.files.open(path, OpenHow::Create).map_err(self.failed("create", path))
    }

    /// Adds to a file that nobody else sees yet.
    pub(super) fn append(
        &self,
        file: &dyn OpenFile,
        path: &Path,
        bytes: &[u8],
    ) -> Result<(), FileError> {
        let written = file.append(bytes).map_err(self.failed("write", path))?;
        if written < bytes.len() {
            let bytes = bytes.len();
            return Err(FileError::Short { file: self.show(path), written, bytes });
        }
        Ok(())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), FileError> {
        self.files.rename(from, to).map_err(self.failed("rename", to))
    }

    /// Removes a file; whether there was one.
    pub(super) fn remove(&self, path: &Path) -> Result<bool, FileError> {
        match self.files.remove_file(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.failed("remove", path)(e)),
        }
    }

    /// Tries to remove an unfinished file after a failure that is being reported already. What is
    /// left is overwritten by the next attempt.
    pub(super) fn discard(&self, path: &Path) {
        if let Err(error) = self.remove(path) {
            tracing::warn!(%error, file = self.show(path), "an unfinished file is left");
        }
    }

    /// Removes a directory if it is there and empty; whether it did.
    pub(super) fn remove_dir(&self, path: &Path) -> Result<bool, FileError> {
        use io::ErrorKind::{DirectoryNotEmpty, NotADirectory, NotFound};
        match self.files.remove_dir(path) {
            Ok(()) => {
                self.durable.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
                Ok(true)
            }
            Err(e) if matches!(e.kind(), DirectoryNotEmpty | NotADirectory | NotFound) => Ok(false),
            Err(e) => Err(self.failed("remove", path)(e)),
        }
    }

    /// The names in a directory, sorted; none if it is not there. A name that is not Unicode is
    /// not ours.
    pub(super) fn list(&self, dir: &Path) -> Result<Vec<String>, FileError> {
        Ok(self.entries(dir)?.into_iter().map(|(name, _)| name).collect())
    }

    /// The same, each with what it leads to, if listing the directory told.
    pub(super) fn entries(&self, dir: &Path) -> Result<Vec<(String, Option<FileKind>)>, FileError> {
        match self.metadata(dir)? {
            None => return Ok(Vec::new()),
            Some(found) if found.kind != FileKind::Directory => {
                let (path, found) = (dir.to_path_buf(), found.kind.as_str());
                return Err(FileError::NotADirectory { path, found });
            }
            Some(_) => {}
        }
        let listed = match self.files.list(dir) {
            Ok(listed) => listed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(self.failed("list", dir)(e)),
        };
        let known = |Listed { name, kind }: Listed| Some((name.into_string().ok()?, kind));
        let mut names: Vec<(String, Option<FileKind>)> =
            listed.into_iter().filter_map(known).collect();
        names.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(names)
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> Result<(), FileError> {
        self.files.sync_dir(dir).map_err(self.failed("sync", dir))
    }

    /// Makes a directory within the store with all above it, each durable in the one above.
    ///
    /// A directory that is there already is synced as well, once: another process may have made
    /// it and not have come to sync it.
    pub(super) fn ensure_dir(&self, dir: &Path) -> Result<(), FileError> {
        if dir == self.root || !dir.starts_with(&self.root) {
            return Ok(());
        }
        let found = self.metadata(dir)?;
        match found {
            Some(found) if found.kind == FileKind::Directory => {
                if self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(dir) {
                    return Ok(());
                }
                self.ensure_dir(parent(dir))?;
            }
            Some(found) => {
                let (path, found) = (dir.to_path_buf(), found.kind.as_str());
                return Err(FileError::NotADirectory { path, found });
            }
            None => {
                self.ensure_dir(parent(dir))?;
                match self.files.create_dir(dir) {
                    Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(self.failed("create", dir)(e));
                    }
                    _ => {}
                }
            }
        }
        self.sync_dir(parent(dir))?;
        self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_path_buf());
        Ok(())
    }

    /// Makes the store's own directory, with those above it.
    pub(super) fn ensure_root(&self) -> Result<(), FileError> {
        self.ensure_above(&self.root)
    }

    fn ensure_above(&self, dir: &Path) -> Result<(), FileError> {
        if dir.as_os_str().is_empty() || self.files.list(dir).is_ok() {
            return Ok(());
        }
        if let Some(found) = self.metadata(dir)? {
            // A link to a directory could be listed; this is something else.
            let (path, found) = (dir.to_path_buf(), found.kind.as_str());
            return Err(FileError::NotADirectory { path, found });
        }
        let above = parent(dir);
        self.ensure_above(above)?;
        match self.files.create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(self.failed("create", dir)(e));
            }
            _ => {}
        }
        if above.as_os_str().is_empty() { Ok(()) } else { self.sync_dir(above) }
    }

    pub(super) fn lock_file(&self, path: &Path) -> Result<Box<dyn LockFile>, FileError> {
        self.files.lock_file(path).map_err(self.failed("open", path))
    }
}

/// The directory that holds a path of the store.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// A path with something added to its last name.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Reads exactly these bytes of a file, or fewer if it ends before.
pub(super) fn read_range(file: &dyn OpenFile, from: u64, to: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(to.saturating_sub(from))
        .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut buffer = vec![0; wanted];
    let mut read = 0;
    while read < wanted {
        match file.read_at(&mut buffer[read..], from + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(read);
    Ok(buffer.into())
}
