//! Batches, keys and databases.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chatkeep::storage::{
    Appended, Batch, BatchId, Body, Durability, Expected, HeadFields, Incarnation, LogPage,
    Passage, PassageRole, ReadRange, Record, Revision, SessionKey, Storage, TurnText,
};
use chatkeep::{OwnerId, Result, SessionId, SqliteStorage, TurnId};
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

/// A directory in memory where there is one: thousands of syncs take long on a busy disk.
pub(crate) fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn store() -> (tempfile::TempDir, SqliteStorage) {
    let dir = tempdir();
    let storage = open(dir.path());
    (dir, storage)
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("chats.db")
}

pub(crate) fn open(dir: &Path) -> SqliteStorage {
    wait(SqliteStorage::open(path(dir))).unwrap()
}

/// The database as anyone may open it.
pub(crate) fn raw(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path(dir)).unwrap()
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

pub(crate) fn text(turn: u64, text: &str) -> TurnText {
    let (role, kind) = (PassageRole::User, "request".to_owned());
    let passages = vec![Passage { role, kind, text: text.to_owned() }];
    TurnText { turn: TurnId::new(turn), at: at(), passages }
}

pub(crate) fn expected(revision: u64) -> Expected {
    match revision {
        0 => Expected::New,
        _ => Expected::At { incarnation: Incarnation::FIRST, revision: Revision::new(revision) },
    }
}

/// Appends a batch of `count` records after a revision.
pub(crate) fn add(
    storage: &SqliteStorage,
    key: &SessionKey,
    number: u64,
    after: u64,
    count: u64,
) -> Result<Appended> {
    wait(storage.append(key, expected(after), batch(number, after, count)))
}

pub(crate) fn read_all(storage: &SqliteStorage, key: &SessionKey) -> Result<LogPage> {
    wait(storage.read(key, ReadRange::After(Revision::ZERO)))
}

pub(crate) fn revisions(page: &LogPage) -> Vec<u64> {
    page.records.iter().map(|record| record.revision.get()).collect()
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

pub(crate) fn holds(root: &Path, text: &str) -> bool {
    let is_there = |content: &[u8]| content.windows(text.len()).any(|w| w == text.as_bytes());
    files(root).iter().any(|(_, content)| is_there(content))
}
