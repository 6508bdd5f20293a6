//! Whether the files that a database has open are still those that others find at its path.
//!
//! SQLite goes on with files that were moved, deleted or replaced: what it commits to them is safe
//! from nobody, and two processes that have different ones open do not see each other's locks.

use std::io;
use std::path::{Path, PathBuf};

use super::error::SqliteError;

/// The database's file and those that SQLite keeps beside it while it is open.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// A database's file is not where it was when it was opened.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("another file is at its path, or none")]
pub(crate) struct Moved;

type Identity = (u64, u64);

/// The files as they were when the database was opened.
#[derive(Debug)]
pub(super) struct Place {
    database: PathBuf,
    parts: Vec<(PathBuf, Identity)>,
}

impl Place {
    /// The files of a database in which something was read: all of them are there.
    pub(super) fn of(path: &Path) -> Result<Self, SqliteError> {
        // As the engine does: what is beside the database is beside the file that a link leads to.
        let database = std::fs::canonicalize(path).map_err(failed)?;
        let mut parts = Vec::new();
        for part in PARTS {
            let mut path = database.as_os_str().to_owned();
            path.push(part);
            let path = PathBuf::from(path);
            match identity(&path).map_err(failed)? {
                Some(Some(identity)) => parts.push((path, identity)),
                // This system does not tell, nor does it let anybody remove what is open.
                Some(None) => {}
                None => return Err(SqliteError::Moved { source: Moved }),
            }
        }
        Ok(Self { database, parts })
    }

    /// The database's file itself, wherever the process goes and whatever links lead to it.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    /// Fails if one of them is not there any more, or is another one.
    pub(super) fn check(&self) -> Result<(), SqliteError> {
        let is_there = |(path, known): &(PathBuf, Identity)| {
            Ok(identity(path)?.is_some_and(|found| found == Some(*known)))
        };
        let found: io::Result<Vec<bool>> = self.parts.iter().map(is_there).collect();
        if found.map_err(failed)?.iter().all(|is_there| *is_there) {
            Ok(())
        } else {
            Err(SqliteError::Moved { source: Moved })
        }
    }
}

/// Which file a path leads to, if there is one and the system tells.
fn identity(path: &Path) -> io::Result<Option<Option<Identity>>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(of(&found))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn of(found: &std::fs::Metadata) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt as _;
    Some((found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn of(_: &std::fs::Metadata) -> Option<Identity> {
    None
}

fn failed(source: io::Error) -> SqliteError {
    SqliteError::Beside { operation: "look at a file", source }
}
