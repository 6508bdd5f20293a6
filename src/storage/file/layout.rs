//! Where things are in the store's directory, and the file that marks it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use semver::Version;
use serde::Deserialize;
#[cfg(feature = "sqlite")]
use sha2::{Digest as _, Sha256};

use super::disk::Disk;
use super::error::FileError;
use super::names;
use super::system::FileKind;
use crate::environment::{IdSource, RandomIds};
use crate::id::{OwnerId, SessionId};
use crate::storage::{BlobId, DocumentScope, SessionKey, rules};

/// The version of the directory's layout.
pub(super) const FORMAT: &str = "1.0.0";
/// The ending of a log's name.
pub(super) const LOG: &str = ".jsonl";
/// The ending of a document's name.
pub(super) const DOCUMENT: &str = ".doc";
/// The file that names the database which is the index.
pub(super) const INDEX_POINTER: &str = "current";
const MARKER: &str = "chatkeep.json";

/// How many sessions' paths are kept in mind.
const PLACES: usize = 256;

/// The paths of a store.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    salt: String,
    /// Where sessions are that were asked for of late: their names take longer to make up than to
    /// find.
    places: Mutex<HashMap<SessionKey, Arc<Place>>>,
}

/// Where a session is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) log: PathBuf,
    pub(super) tombstone: PathBuf,
}

/// What the marker of every version has.
#[derive(Debug, Deserialize)]
struct Format {
    format: Version,
}

#[derive(Debug, Deserialize)]
struct Marker {
    /// Keeps the names of tombstones from being guessed.
    salt: String,
}

impl Layout {
    /// Reads the store's marker, or makes one where no store is. Called under the store's lock.
    pub(super) fn open(disk: &Disk) -> Result<Self, FileError> {
        let path = disk.root().join(MARKER);
        if let Some(marker) = Self::marker(disk)? {
            return Ok(Self::new(disk, marker.salt));
        }
        if !disk.list(&disk.root().join("sessions"))?.is_empty() {
            return Err(FileError::NoMarker { file: MARKER.to_owned() });
        }
        let salt = format!("{:016x}{:016x}", RandomIds.next_u64(), RandomIds.next_u64());
        let json = format!("{{\"format\":\"{FORMAT}\",\"salt\":\"{salt}\"}}\n");
        disk.write(&path, json.as_bytes())?;
        Ok(Self::new(disk, salt))
    }

    fn new(disk: &Disk, salt: String) -> Self {
        Self { root: disk.root().to_path_buf(), salt, places: Mutex::default() }
    }

    /// Looks whether the directory is a store that this version can read; changes nothing.
    pub(super) fn check(disk: &Disk) -> Result<(), FileError> {
        Self::marker(disk).map(drop)
    }

    fn marker(disk: &Disk) -> Result<Option<Marker>, FileError> {
        let Some(json) = disk.read(&disk.root().join(MARKER))? else { return Ok(None) };
        let damaged = |problem: String| FileError::Damaged {
            file: MARKER.to_owned(),
            record: None,
            problem: format!("the store's marker is damaged: {problem}"),
        };
        let format: Format = serde_json::from_slice(&json).map_err(|e| damaged(e.to_string()))?;
        if format.format.major > 1 {
            let (file, found) = (MARKER.to_owned(), format.format.to_string());
            return Err(FileError::NewerFormat { file, found, known: FORMAT });
        }
        let marker: Marker = serde_json::from_slice(&json).map_err(|e| damaged(e.to_string()))?;
        if marker.salt.is_empty() {
            return Err(damaged("it has no salt".to_owned()));
        }
        Ok(Some(marker))
    }

    /// By which what is derived from this store is told from what was derived from another, or from
    /// a copy, whose logs are other files.
    #[cfg(feature = "sqlite")]
    pub(super) fn seal(&self, disk: &Disk) -> Result<String, FileError> {
        let marker = disk.metadata(&self.root.join(MARKER))?;
        let hash = Sha256::digest(format!("index {}", self.salt));
        let mut seal: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        if let Some(identity) = marker.and_then(|marker| marker.identity) {
            seal = format!("{seal} {}", identity.file);
        }
        Ok(seal)
    }

    pub(super) fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    pub(super) fn sessions_of(&self, owner: &OwnerId) -> PathBuf {
        names::path(&self.sessions(), owner.as_str(), "")
    }

    /// Where a session that is being used is.
    pub(super) fn place(&self, key: &SessionKey) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = places.get(key) {
            return Arc::clone(place);
        }
        if places.len() >= PLACES {
            places.clear();
        }
        let place = Arc::new(Place { log: self.log(key), tombstone: self.tombstone(key) });
        places.insert(key.clone(), Arc::clone(&place));
        place
    }

    pub(super) fn log(&self, key: &SessionKey) -> PathBuf {
        names::path(&self.sessions_of(&key.owner), key.id.as_str(), LOG)
    }

    pub(super) fn blobs(&self, key: &SessionKey) -> PathBuf {
        self.of_session("blobs", key)
    }

    pub(super) fn blob(&self, key: &SessionKey, id: &BlobId) -> PathBuf {
        self.blobs(key).join(id.to_string())
    }

    pub(super) fn quarantine(&self, key: &SessionKey) -> PathBuf {
        self.of_session("quarantine", key)
    }

    fn of_session(&self, what: &str, key: &SessionKey) -> PathBuf {
        let owner = names::path(&self.root.join(what), key.owner.as_str(), "");
        names::path(&owner, key.id.as_str(), "")
    }

    pub(super) fn documents(&self, scope: &DocumentScope) -> PathBuf {
        let documents = self.root.join("documents");
        match scope {
            DocumentScope::Owner(owner) => names::path(&documents, owner.as_str(), ""),
            // No owner's name begins so.
            DocumentScope::Store => documents.join("+store"),
        }
    }

    pub(super) fn document(&self, scope: &DocumentScope, name: &str) -> PathBuf {
        names::path(&self.documents(scope), name, DOCUMENT)
    }

    pub(super) fn tombstones(&self) -> PathBuf {
        self.root.join("tombstones")
    }

    pub(super) fn tombstone(&self, key: &SessionKey) -> PathBuf {
        self.tombstones().join(self.hashed(key))
    }

    pub(super) fn purging(&self) -> PathBuf {
        self.root.join("purging")
    }

    pub(super) fn purge_of(&self, key: &SessionKey) -> PathBuf {
        self.purging().join(self.hashed(key))
    }

    /// The name of a session's tombstone, and of the note of its deletion.
    pub(super) fn hashed(&self, key: &SessionKey) -> String {
        let grave = rules::grave(self.salt.as_bytes(), key);
        let digits: String = grave.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digits}.json")
    }
}

pub(super) fn locks(root: &Path) -> PathBuf {
    root.join("locks")
}

pub(super) fn unindexed(root: &Path) -> PathBuf {
    root.join("unindexed")
}

pub(super) fn index(root: &Path) -> PathBuf {
    root.join("index")
}

/// The ids whose files (of this suffix) or directories (without one) are in a directory, in order.
///
/// What has a name that no id has is not the store's, and is left alone.
pub(super) fn ids(
    disk: &Disk,
    dir: &Path,
    suffix: &str,
) -> Result<Vec<(String, PathBuf)>, FileError> {
    let mut found = Vec::new();
    walk(disk, dir, suffix, &mut Vec::new(), &mut found)?;
    found.sort_unstable();
    Ok(found)
}

fn walk(
    disk: &Disk,
    dir: &Path,
    suffix: &str,
    pieces: &mut Vec<String>,
    found: &mut Vec<(String, PathBuf)>,
) -> Result<(), FileError> {
    for (name, kind) in disk.entries(dir)? {
        let path = dir.join(&name);
        let is_dir = || match kind {
            Some(kind) => Ok(kind == FileKind::Directory),
            None => Ok(disk.metadata(&path)?.is_some_and(|m| m.kind == FileKind::Directory)),
        };
        if name.ends_with(names::CONTINUED) && pieces.len() < names::MAX_PIECES {
            if is_dir()? {
                pieces.push(name);
                walk(disk, &path, suffix, pieces, found)?;
                pieces.pop();
            }
            continue;
        }
        let Some(piece) = name.strip_suffix(suffix) else { continue };
        let all: Vec<&str> = pieces.iter().map(String::as_str).chain([piece]).collect();
        match names::decode(&all) {
            Some(id) if !suffix.is_empty() || is_dir()? => found.push((id, path)),
            _ => {}
        }
    }
    Ok(())
}

/// Parses an id that was read from the disk; one that is not valid is nobody's.
pub(super) fn session_id(text: &str) -> Option<SessionId> {
    SessionId::new(text).ok()
}
