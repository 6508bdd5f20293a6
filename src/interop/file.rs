//! Files that may be anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind as IoKind, Read as _};
use std::path::Path;

use super::path::shown;
use super::{Imported, ReadOptions, check_size, read};
use crate::error::{Error, Result};

/// Reads a session of another system from a file.
///
/// A symbolic link is followed. It never waits: what is behind the path is looked at before it is
/// opened and again afterwards, and it is opened without blocking.
///
/// # Errors
///
/// Those of [`read`], each naming the `file`; [`NotFound`](crate::ErrorKind::NotFound) if it is
/// absent; [`Invalid`](crate::ErrorKind::Invalid) if it is a folder, a pipe, a socket or a device, is
/// empty or not text; [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if it is too large;
/// [`Unavailable`](crate::ErrorKind::Unavailable) if it cannot be read.
pub fn read_file(path: impl AsRef<Path>, options: &ReadOptions<'_>) -> Result<Imported> {
    let path = path.as_ref();
    load(path, options)
        .and_then(|bytes| read(&bytes, options))
        .map_err(|error| error.with("file", shown_path(path)))
}

fn load(path: &Path, options: &ReadOptions<'_>) -> Result<Vec<u8>> {
    check_kind(&std::fs::metadata(path).map_err(|error| unreadable(error, path))?, options)?;
    let file = open(path).map_err(|error| unreadable(error, path))?;
    // What was looked at may have been exchanged since.
    check_kind(&file.metadata().map_err(|error| unreadable(error, path))?, options)?;
    let mut bytes = Vec::new();
    let limit = options.max_bytes.saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|error| unreadable(error, path))?;
    check_size(bytes.len() as u64, options)?;
    if bytes.is_empty() {
        return Err(Error::invalid("the file is empty"));
    }
    if bytes.contains(&0) {
        return Err(Error::invalid("the file is binary, not text"));
    }
    Ok(bytes)
}

fn check_kind(metadata: &Metadata, options: &ReadOptions<'_>) -> Result<()> {
    if metadata.is_dir() {
        return Err(Error::invalid("it is a folder, not a file"));
    }
    if !metadata.is_file() {
        return Err(Error::invalid("it is a pipe, a socket or a device, not a file"));
    }
    check_size(metadata.len(), options)
}

fn unreadable(error: std::io::Error, path: &Path) -> Error {
    let error = match error.kind() {
        IoKind::NotFound if path.is_symlink() => {
            Error::not_found("the link leads nowhere").caused_by(error)
        }
        IoKind::NotFound => Error::not_found("there is no such file").caused_by(error),
        _ => Error::unavailable("the file cannot be read").caused_by(error),
    };
    error.with("file", shown_path(path))
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    without_waiting(&mut options);
    options.open(path)
}

/// A pipe that was put in the file's place would let `open` wait for a writer.
#[cfg(unix)]
fn without_waiting(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;

    // O_NONBLOCK, which the standard library does not name. Elsewhere the check before has to do.
    const COMMON: bool =
        !cfg!(any(target_arch = "mips", target_arch = "mips64", target_arch = "sparc64"));
    if cfg!(any(target_os = "linux", target_os = "android")) && COMMON {
        options.custom_flags(0o4000);
    } else if cfg!(any(target_vendor = "apple", target_os = "freebsd", target_os = "openbsd")) {
        options.custom_flags(0x4);
    }
}

#[cfg(not(unix))]
fn without_waiting(_: &mut OpenOptions) {}

fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    // The end of a long path tells more than its beginning.
    let skipped = text.chars().count().saturating_sub(200);
    let end: String = text.chars().skip(skipped).collect();
    end.split('/').map(shown).collect::<Vec<_>>().join("/")
}
