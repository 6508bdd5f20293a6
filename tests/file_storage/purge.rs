//! Deletion: what is left, who notices, and what a crash in the middle of it leaves.

use std::sync::Arc;

use chatkeep::storage::{BlobId, Expected, FileStorage, Incarnation, Revision, Storage};
use chatkeep::{ErrorKind, ListQuery, OwnerId};

use crate::common::*;
use crate::faulty::{ALL, Failure, Faulty};

const CANARY: &str = "canary-5d1c";

/// A session with a text, a blob and a quarantined copy that all hold the canary.
fn prepare(storage: &FileStorage) {
    let key = key("s1");
    let mut first = batch(1, 0, 1);
    first.records[0].body = chatkeep::storage::Body::Json(format!("\"{CANARY}\"").into());
    wait(storage.append(&key, Expected::New, first)).unwrap();
    wait(storage.put_blob(&key, &BlobId::of(CANARY.as_bytes()), CANARY.into())).unwrap();
    let path = log_path(storage.path(), "s1");
    let log = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&log[..], CANARY.as_bytes()].concat()).unwrap();
    add(storage, &key, 2, 1, 1).unwrap();
}

fn holds_canary(root: &std::path::Path) -> bool {
    files(root)
        .iter()
        .any(|(_, content)| content.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()))
}

#[test]
fn nothing_is_left_and_nothing_but_an_import_brings_the_id_back() {
    let (dir, storage) = store();
    let other = open(dir.path());
    let key = key("s1");
    prepare(&storage);
    assert_eq!(revisions(&read_all(&other, &key).unwrap()), [1, 2]);
    assert!(holds_canary(dir.path()));
    let receipt = wait(storage.purge(&key)).unwrap();
    assert_eq!((receipt.incarnation, receipt.blobs), (Incarnation::FIRST, 1));
    assert!(receipt.bytes > 0 && receipt.remains.is_empty());
    assert!(!holds_canary(dir.path()));
    for storage in [&storage, &other, &open(dir.path())] {
        assert_eq!(wait(storage.head(&key)).unwrap(), None);
        assert_eq!(add(storage, &key, 3, 2, 1).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(add(storage, &key, 4, 0, 1).unwrap_err().kind(), ErrorKind::Deleted);
        assert_eq!(wait(storage.purge(&key)).unwrap_err().kind(), ErrorKind::NotFound);
        let blob = wait(storage.put_blob(&key, &BlobId::of(b"x"), "x".into()));
        assert_eq!(blob.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let again = wait(other.append(&key, Expected::NewIncarnation, batch(5, 0, 1))).unwrap().head;
    assert_eq!(again.incarnation, Incarnation::new(2));
    let retried = wait(other.append(&key, Expected::NewIncarnation, batch(5, 0, 1))).unwrap().head;
    assert_eq!(retried, again);
    let stale = add(&storage, &key, 6, 1, 1).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::NotFound);
    let current = Expected::At { incarnation: Incarnation::new(2), revision: Revision::new(1) };
    wait(storage.append(&key, current, batch(7, 1, 1))).unwrap();
    assert_eq!(wait(storage.purge(&key)).unwrap().incarnation, Incarnation::new(2));
}

#[test]
fn a_deleted_log_that_is_put_back_is_not_a_session() {
    let (dir, storage) = store();
    let (key, path) = (key("s1"), log_path(dir.path(), "s1"));
    add(&storage, &key, 1, 0, 2).unwrap();
    let log = std::fs::read(&path).unwrap();
    wait(storage.purge(&key)).unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, log).unwrap();
    for storage in [storage, open(dir.path())] {
        assert_eq!(wait(storage.head(&key)).unwrap(), None);
        assert_eq!(wait(storage.count(&OwnerId::local(), &ListQuery::new())).unwrap(), 0);
        assert!(wait(storage.owners(None)).unwrap().items.is_empty());
        assert_eq!(add(&storage, &key, 2, 2, 1).unwrap_err().kind(), ErrorKind::NotFound);
        let again = add(&storage, &key, 3, 0, 1).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Deleted);
    }
}

#[test]
fn a_crash_at_any_step_leaves_the_session_whole_or_gone_for_good() {
    let key = key("s1");
    for failure in ALL {
        for operation in 0.. {
            assert!(operation < 100);
            let dir = tempdir();
            let files = Faulty::new(failure);
            let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
            prepare(&storage);
            let stale = open(dir.path());
            assert_eq!(wait(stale.head(&key)).unwrap().unwrap().revision, Revision::new(2));
            files.fail_after(operation);
            let done = wait(storage.purge(&key));
            let failed = files.has_failed();
            let there = wait(stale.head(&key)).unwrap().is_some();
            let listed = wait(stale.count(&OwnerId::local(), &ListQuery::new())).unwrap();
            assert_eq!(listed, u64::from(there), "{failure:?} {operation}");
            assert!(done.is_err() || !there);
            if there {
                add(&stale, &key, 3, 2, 1).unwrap();
                let next = open(dir.path());
                assert_eq!(revisions(&read_all(&next, &key).unwrap()), [1, 2, 3]);
                wait(next.purge(&key)).unwrap();
            } else {
                assert_eq!(add(&stale, &key, 3, 2, 1).unwrap_err().kind(), ErrorKind::NotFound);
                let retried = match failure {
                    // A dead process does not try again: opening goes on for it.
                    Failure::Death => wait(open(dir.path()).maintenance().scrub()).map(drop),
                    _ => wait(storage.purge(&key)).map(drop),
                };
                assert!(retried.is_ok() || retried.unwrap_err().kind() == ErrorKind::NotFound);
            }
            drop(open(dir.path()));
            assert!(!holds_canary(dir.path()), "{failure:?} {operation}");
            if !failed {
                break;
            }
        }
    }
}
