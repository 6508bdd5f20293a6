//! `RedbStorage`: the suite, one storage at a time, damaged and foreign files.

use std::path::{Path, PathBuf};

use chatkeep::storage::{BlobId, RedbStorage, Revision, Storage, StorageExt, WriterId};
use chatkeep::{ChatStore, ErrorKind, NewSession, part::Markdown};
use pollster::block_on;
use tempfile::TempDir;

use crate::common::{add, key};

#[cfg(feature = "conformance")]
mod suite {
    use super::*;

    fn fixture() -> impl chatkeep::storage::conformance::Fixture {
        let folder = tempfile::tempdir().unwrap();
        crate::common::Reopening::new(move || block_on(RedbStorage::open(path(&folder))))
    }

    chatkeep::storage::conformance::tests!(fixture: fixture);
}

#[cfg(feature = "conformance")]
#[test]
fn answers_that_are_lost_and_writes_that_fail() {
    use chatkeep::storage::conformance::of_key_value;
    use chatkeep::storage::redb::Redb;
    crate::common::check_faults(|| {
        let folder = tempfile::tempdir().unwrap();
        // The open file outlives its name.
        of_key_value(Redb::open(path(&folder)).unwrap(), None)
    });
}

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("chats.redb")
}

fn open(path: &Path) -> RedbStorage {
    block_on(RedbStorage::open(path)).unwrap()
}

#[test]
fn one_storage_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(&folder);
    let storage = open(&path);
    let error = block_on(RedbStorage::open(&path)).unwrap_err();
    insta::assert_snapshot!(error, @"busy: the database is open already: one storage at a time can have it (file chats.redb)");
    assert!(error.is_retryable());
    let clone = storage.clone();
    drop(storage);
    assert_eq!(block_on(RedbStorage::open(&path)).unwrap_err().kind(), ErrorKind::Busy);
    drop(clone);
    open(&path);
}

#[test]
fn other_writers_are_gone_and_own_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&path(&folder));
    let before = storage.writer();
    let also = storage.clone().with_capabilities(storage.capabilities());
    assert!(!block_on(storage.is_gone(&also.writer())).unwrap());
    assert!(!block_on(also.is_gone(&before)).unwrap());
    let second = also.writer();
    drop(also);
    assert!(block_on(storage.is_gone(&second)).unwrap());
    drop(storage);
    let storage = open(&path(&folder));
    assert!(storage.capabilities().knows_writers && !storage.capabilities().multi_process);
    assert!(block_on(storage.is_gone(&before)).unwrap());
    assert!(block_on(storage.is_gone(&WriterId("anybody".into()))).unwrap());
}

#[test]
fn a_file_that_is_no_database_is_corrupt_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(&folder);
    std::fs::write(&path, "not a database\n".repeat(1_000)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = block_on(RedbStorage::open(&path)).unwrap_err();
    insta::assert_snapshot!(error, @"corrupt: the database could not be opened (file chats.redb)");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let error = block_on(RedbStorage::open(folder.path().join("no/folder.redb"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let error = block_on(RedbStorage::open(folder.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[test]
fn a_newer_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(&folder);
    let database = ::redb::Database::create(&path).unwrap();
    let write = database.begin_write().unwrap();
    let newer: ::redb::TableDefinition<'_, &[u8], &[u8]> =
        ::redb::TableDefinition::new("chatkeep.2");
    write.open_table(newer).unwrap();
    write.commit().unwrap();
    drop(database);
    let error = block_on(RedbStorage::open(&path)).unwrap_err();
    insta::assert_snapshot!(error, @"unsupported version: the database holds tables of chatkeep.2, this version knows chatkeep.1 (file chats.redb)");
}

/// Opens and reads whatever can be read. No panic comes out of it, and no record is another than
/// the one that was written.
fn look(path: &Path) {
    let told = |error: chatkeep::Error| {
        use ErrorKind::{Corrupt, NotFound, Unavailable, UnsupportedVersion};
        let kinds = [Corrupt, NotFound, Unavailable, UnsupportedVersion];
        assert!(kinds.contains(&error.kind()), "{error}");
    };
    let storage = match block_on(RedbStorage::open(path)) {
        Ok(storage) => storage,
        Err(error) => return told(error),
    };
    for session in ["a", "b"] {
        match block_on(storage.read_after(&key(session), Revision::ZERO)) {
            Err(error) => told(error),
            Ok(page) => {
                for record in page.records {
                    let text = format!("{{\"n\":{},\"text\":\"x\"}}", record.revision);
                    assert_eq!(&record.body.bytes()[..], text.as_bytes());
                }
            }
        }
    }
    let blobs = block_on(storage.blobs(&key("a"))).unwrap_or_default();
    for blob in blobs {
        block_on(storage.get_blob(&key("a"), &blob)).map_or_else(told, drop);
    }
}

#[test]
fn damage_anywhere_is_an_error_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(&folder);
    let storage = open(&path);
    add(&storage, "a", 0, 40).unwrap();
    add(&storage, "b", 0, 40).unwrap();
    let blob = vec![7; 30_000];
    block_on(storage.put_blob(&key("a"), &BlobId::of(&blob), blob.into())).unwrap();
    drop(storage);
    let sound = std::fs::read(&path).unwrap();
    let damaged = folder.path().join("damaged.redb");
    let last = sound.iter().rposition(|byte| *byte != 0).unwrap();
    for place in (0..last).step_by(last / 150) {
        let mut bytes = sound.clone();
        bytes[place] ^= 0x55;
        std::fs::write(&damaged, &bytes).unwrap();
        look(&damaged);
    }
    for length in (1..sound.len()).step_by(sound.len() / 12) {
        std::fs::write(&damaged, &sound[..length]).unwrap();
        look(&damaged);
    }
}

#[test]
fn chats_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = path(&folder);
    block_on(async {
        let store = ChatStore::builder(RedbStorage::open(&path).await?).build().await?;
        let chat = store.local().create(NewSession::titled("Parser")).await?;
        chat.record("Why does it loop?", [Markdown::new("The sentinel.")]).await?;
        let id = chat.id().clone();
        drop((chat, store));
        let store = ChatStore::builder(reopen(&path).await).build().await?;
        let chat = store.local().open(&id).await?;
        assert_eq!(chat.model().turns().next().unwrap().response().text(), "The sentinel.");
        Ok::<(), chatkeep::Error>(())
    })
    .unwrap();
}

/// The writer's thread lets go of the store a moment after the last handle is dropped.
async fn reopen(path: &Path) -> RedbStorage {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match RedbStorage::open(path).await {
            Err(error) if error.kind() == ErrorKind::Busy => {
                assert!(std::time::Instant::now() < end, "{error}");
                std::thread::yield_now();
            }
            opened => return opened.unwrap(),
        }
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    drop(open(&path(&folder)));
    let mode = std::fs::metadata(path(&folder)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
