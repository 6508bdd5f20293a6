//! Every operation on the disk that the adapter uses, as a trait, so that a crash simulator or a
//! wrapper that counts can stand in for the real one.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The disk as [`FileStorage`](super::FileStorage) uses it.
///
/// Nothing here follows a symbolic link in a path's last component, except `list` and `sync_dir`,
/// which are given directories.
pub trait FileSystem: fmt::Debug + Send + Sync + 'static {
    /// What is at a path; `None` if nothing is.
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>>;

    /// Opens a regular file. Anything else is refused with
    /// [`InvalidInput`](io::ErrorKind::InvalidInput).
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn OpenFile>>;

    /// Puts a file in another's place, or where nothing is, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, or the symbolic link itself.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes one directory, for the present user alone where the system knows users.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// What is in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>>;

    /// Makes a directory's entries durable. Does nothing where the system does so by itself.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Opens a lock file, made if it is not there. It is never removed.
    fn lock_file(&self, path: &Path) -> io::Result<Box<dyn LockFile>>;

    /// Whether its paths are the machine's own, so that a database engine finds its files there.
    /// Elsewhere the store's index lives in memory.
    fn is_native(&self) -> bool;
}

/// An open regular file.
pub trait OpenFile: fmt::Debug + Send + Sync {
    /// What the file is now.
    fn metadata(&self) -> io::Result<Metadata>;

    /// Reads up to a buffer's length from an offset; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Adds to the file's end in one write, and says how many bytes it took.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable.
    fn sync_data(&self) -> io::Result<()>;
}

/// A file that is there to be locked, between processes and between openings of it.
pub trait LockFile: fmt::Debug + Send + Sync {
    /// Waits for the lock.
    fn lock(&self) -> io::Result<()>;

    /// Takes the lock if it is free.
    fn try_lock(&self) -> io::Result<bool>;

    /// Gives the lock back. Dropping the file does so too.
    fn unlock(&self) -> io::Result<()>;
}

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OpenHow {
    /// An existing one, to read.
    Read,
    /// An existing one, to read and to append to.
    Append,
    /// An empty one in the place of whatever file is there.
    Create,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name, without its directory.
    pub name: OsString,
    /// What sort of thing it leads to, if listing the directory told.
    pub kind: Option<FileKind>,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What sort of thing.
    pub kind: FileKind,
    /// Its length in bytes.
    pub len: u64,
    /// When its content was last changed, which a tool may set to anything.
    pub modified: SystemTime,
    /// When anything of it was last changed, which the system alone sets; `None` where it does not
    /// keep this.
    pub changed: Option<SystemTime>,
    /// Which file it is, as long as it exists; `None` where the system cannot tell.
    pub identity: Option<FileIdentity>,
}

/// A sort of thing that a path can lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A pipe, a socket, a device.
    Other,
}

impl FileKind {
    /// The sort in words, for messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Other => "a pipe, socket or device",
        }
    }
}

/// Tells one file from another: device and inode number on Unix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIdentity {
    /// The device.
    pub device: u64,
    /// The file's number on it.
    pub file: u64,
}
