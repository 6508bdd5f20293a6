//! The machine's own disk.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
#[cfg(unix)]
use std::time::Duration;
use std::time::SystemTime;

use super::system::{
    FileIdentity, FileKind, FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow,
};

/// The machine's own disk, through `std::fs`.
///
/// On systems other than Unix a directory is not synced apart: there the file system's journal
/// orders its entries, and files have no [identity](Metadata::identity).
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFileSystem;

impl FileSystem for RealFileSystem {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        match fs::symlink_metadata(path) {
            Ok(metadata) => describe(&metadata).map(Some),
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn OpenFile>> {
        // Looked at before it is opened, because opening a pipe may wait for ever, and again
        // afterwards, because somebody may have put another thing there in between.
        let before = self.metadata(path)?;
        match before {
            Some(found) if found.kind != FileKind::File => return Err(not_a_file(found.kind)),
            None if how != OpenHow::Create => return Err(io::ErrorKind::NotFound.into()),
            _ => {}
        }
        let file = options(how).open(path)?;
        let after = describe(&file.metadata()?)?;
        if after.kind != FileKind::File {
            return Err(not_a_file(after.kind));
        }
        // The very file that was looked at: no link was followed to it.
        if after.identity.is_some() && before.and_then(|found| found.identity) == after.identity {
            return Ok(Arc::new(RealFile(file)));
        }
        match self.metadata(path)? {
            Some(now) if now.kind == FileKind::Symlink => Err(not_a_file(now.kind)),
            _ => Ok(Arc::new(RealFile(file))),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        let listed = |entry: fs::DirEntry| {
            // Where it is not known without asking again, whoever needs it asks.
            let kind = entry.file_type().ok().map(kind_of);
            Listed { name: entry.file_name(), kind }
        };
        fs::read_dir(dir)?.map(|entry| entry.map(listed)).collect()
    }

    #[cfg(unix)]
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock_file(&self, path: &Path) -> io::Result<Box<dyn LockFile>> {
        if let Some(found) = self.metadata(path)?
            && found.kind != FileKind::File
        {
            return Err(not_a_file(found.kind));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        Ok(Box::new(RealLock(private(&mut options).open(path)?)))
    }

    fn is_native(&self) -> bool {
        true
    }
}

fn options(how: OpenHow) -> OpenOptions {
    let mut options = OpenOptions::new();
    match how {
        OpenHow::Read => options.read(true),
        OpenHow::Append if cfg!(windows) => options.read(true).write(true),
        OpenHow::Append => options.read(true).append(true),
        OpenHow::Create => options.read(true).write(true).create(true).truncate(true),
    };
    private(&mut options).clone()
}

/// What people wrote is for their own eyes.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn not_a_file(found: FileKind) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {}, not a regular file", found.as_str()),
    )
}

fn kind_of(kind: fs::FileType) -> FileKind {
    match kind {
        kind if kind.is_file() => FileKind::File,
        kind if kind.is_dir() => FileKind::Directory,
        kind if kind.is_symlink() => FileKind::Symlink,
        _ => FileKind::Other,
    }
}

fn describe(metadata: &fs::Metadata) -> io::Result<Metadata> {
    Ok(Metadata {
        kind: kind_of(metadata.file_type()),
        len: metadata.len(),
        modified: metadata.modified()?,
        changed: changed(metadata),
        identity: identity(metadata),
    })
}

#[cfg(unix)]
fn changed(metadata: &fs::Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;
    let part = Duration::from_nanos(u64::try_from(metadata.ctime_nsec()).ok()?);
    let seconds = Duration::from_secs(metadata.ctime().unsigned_abs());
    let second = match metadata.ctime() {
        0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
        _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
    };
    second?.checked_add(part)
}

#[cfg(not(unix))]
fn changed(_metadata: &fs::Metadata) -> Option<SystemTime> {
    None
}

#[cfg(unix)]
fn identity(metadata: &fs::Metadata) -> Option<FileIdentity> {
    use std::os::unix::fs::MetadataExt;
    Some(FileIdentity { device: metadata.dev(), file: metadata.ino() })
}

#[cfg(not(unix))]
fn identity(_metadata: &fs::Metadata) -> Option<FileIdentity> {
    None
}

#[derive(Debug)]
struct RealFile(File);

impl OpenFile for RealFile {
    fn metadata(&self) -> io::Result<Metadata> {
        describe(&self.0.metadata()?)
    }

    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset)
    }

    #[cfg(not(windows))]
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut &self.0, bytes)
    }

    /// A file opened to be appended to could not be cut there; its writers hold a lock.
    #[cfg(windows)]
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_write(&self.0, bytes, self.0.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[derive(Debug)]
struct RealLock(File);

impl LockFile for RealLock {
    fn lock(&self) -> io::Result<()> {
        loop {
            match self.0.lock() {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.unlock()
    }
}
