//! Batches, keys, stores, and a disk that fails on demand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chatkeep::storage::file::RealFileSystem;
use chatkeep::storage::{
    Appended, Batch, BatchId, Body, Durability, Expected, FileStorage, HeadFields, Incarnation,
    LogPage, ReadRange, Record, Revision, SessionKey, Storage,
};
use chatkeep::{OwnerId, Result, SessionId, TurnId};
use jiff::Timestamp;

pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}

pub(crate) fn at() -> Timestamp {
    Timestamp::from_millisecond(1_767_225_600_000).unwrap()
}

pub(crate) fn key(id: &str) -> SessionKey {
    SessionKey::new(OwnerId::local(), SessionId::new(id).unwrap())
}

/// A directory in memory where there is one: thousands of syncs take long on a busy disk, and what
/// a missing one loses is seen on the simulated disk alone. `CHATKEEP_ON_DISK=1` uses the disk.
pub(crate) fn tempdir() -> tempfile::TempDir {
    if std::env::var_os("CHATKEEP_ON_DISK").is_none()
        && let Ok(dir) = tempfile::tempdir_in("/dev/shm")
    {
        return dir;
    }
    tempfile::tempdir().unwrap()
}

pub(crate) fn store() -> (tempfile::TempDir, FileStorage) {
    let dir = tempdir();
    let storage = open(dir.path());
    (dir, storage)
}

pub(crate) fn open(path: &Path) -> FileStorage {
    FileStorage::with_files(path, Arc::new(RealFileSystem)).unwrap()
}

pub(crate) fn log_path(root: &Path, id: &str) -> PathBuf {
    root.join("sessions/local").join(format!("{id}.jsonl"))
}

/// A batch of `count` records after a revision, each of a turn of its own.
pub(crate) fn batch(number: u64, after: u64, count: u64) -> Batch {
    let records = (1..=count).map(|index| {
        let revision = after + index;
        let kind = if revision == 1 { "log" } else { Record::REQUEST };
        record(revision, kind, number, &format!("{{\"text\":\"record {revision} of {number}\"}}"))
    });
    Batch {
        id: BatchId::new(number),
        records: records.collect(),
        head: (after == 0).then(|| HeadFields::new(at())),
        epoch: None,
        base: Revision::ZERO,
        texts: Vec::new(),
        facts: Vec::new(),
        durability: Durability::Synced,
    }
}

pub(crate) fn record(revision: u64, kind: &'static str, batch: u64, body: &str) -> Record {
    Record {
        revision: Revision::new(revision),
        turn: TurnId::new(revision.saturating_sub(1)),
        kind: kind.into(),
        at: at(),
        batch: BatchId::new(batch),
        body: Body::Json(Bytes::copy_from_slice(body.as_bytes())),
    }
}

pub(crate) fn expected(revision: u64) -> Expected {
    match revision {
        0 => Expected::New,
        _ => Expected::At { incarnation: Incarnation::FIRST, revision: Revision::new(revision) },
    }
}

/// Appends a batch of `count` records after a revision.
pub(crate) fn add(
    storage: &FileStorage,
    key: &SessionKey,
    number: u64,
    after: u64,
    count: u64,
) -> Result<Appended> {
    wait(storage.append(key, expected(after), batch(number, after, count)))
}

pub(crate) fn read_all(storage: &FileStorage, key: &SessionKey) -> Result<LogPage> {
    wait(storage.read(key, ReadRange::After(Revision::ZERO)))
}

pub(crate) fn revisions(page: &LogPage) -> Vec<u64> {
    page.records.iter().map(|record| record.revision.get()).collect()
}

/// Whether a byte of a log is tried: those around line breaks, and some of the others.
///
/// All are tried with `CHATKEEP_EVERY_BYTE=1`.
pub(crate) fn is_tried(log: &[u8], byte: usize) -> bool {
    let around = &log[byte.saturating_sub(12)..log.len().min(byte + 3)];
    byte.is_multiple_of(5)
        || around.contains(&b'\n')
        || std::env::var_os("CHATKEEP_EVERY_BYTE").is_some()
}

/// Puts a file in another's place: storages that have the other one open take notice.
pub(crate) fn replace(path: &Path, content: &[u8]) {
    let next = path.with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(&next, path).unwrap();
}

/// The files of a session's quarantine.
pub(crate) fn quarantine(root: &Path, id: &str) -> Vec<Vec<u8>> {
    let dir = root.join("quarantine/local").join(id);
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

/// Every file under a directory with its content.
pub(crate) fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = std::fs::read(&path).unwrap();
            found.push((path, content));
        }
    }
    found.sort();
    found
}
