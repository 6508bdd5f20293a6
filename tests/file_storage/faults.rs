//! Every operation on the disk fails in turn, in every way.

use std::path::Path;
use std::sync::Arc;

use chatkeep::ErrorKind;
use chatkeep::storage::{BlobId, DocumentScope, ExpectedDocument, FileStorage, Revision, Storage};

use crate::common::*;
use crate::faulty::{ALL, Failure, Faulty};

/// Runs `work` with each operation failing in turn, on a store that `prepare` made, and has
/// `check` look at the reopened store with what `work` said.
fn with_each_failure<T>(
    prepare: impl Fn(&FileStorage),
    work: impl Fn(&FileStorage) -> chatkeep::Result<T>,
    check: impl Fn(&FileStorage, &Path, chatkeep::Result<T>, Failure),
) {
    for failure in ALL {
        for operation in 0.. {
            assert!(operation < 200);
            let dir = tempdir();
            let files = Faulty::new(failure);
            let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
            prepare(&storage);
            files.fail_after(operation);
            let done = work(&storage);
            let failed = files.has_failed();
            if failure == Failure::Death {
                drop(storage);
            }
            check(&open(dir.path()), dir.path(), done, failure);
            if !failed {
                break;
            }
        }
    }
}

#[test]
fn a_first_append_is_there_whole_or_not_at_all() {
    let key = key("s1");
    with_each_failure(
        |_| {},
        |storage| add(storage, &key, 1, 0, 3),
        |storage, root, done, failure| {
            let page = read_all(storage, &key);
            match (&done, &page) {
                (_, Ok(page)) => assert_eq!(revisions(page), [1, 2, 3]),
                (Err(_), Err(error)) => assert_eq!(error.kind(), ErrorKind::NotFound),
                (Ok(_), Err(error)) => panic!("acknowledged and lost: {error}"),
            }
            let unchanged = done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Unavailable);
            let said = "nothing was changed, it said";
            // A process that died has said nothing.
            assert!(!(unchanged && page.is_ok()) || failure == Failure::Death, "{said}: {done:?}");
            add(storage, &key, 1, 0, 3).unwrap();
            add(storage, &key, 2, 3, 1).unwrap();
            assert_eq!(revisions(&read_all(&open(root), &key).unwrap()), [1, 2, 3, 4]);
        },
    );
}

#[test]
fn an_append_is_done_undone_or_unknown_and_a_retry_lands_once() {
    let key = key("s1");
    with_each_failure(
        |storage| {
            add(storage, &key, 1, 0, 2).unwrap();
        },
        |storage| {
            let done = add(storage, &key, 2, 2, 3);
            if let Err(error) = &done {
                let again = add(storage, &key, 2, 2, 3);
                match error.kind() {
                    // The handle is of no use any more, and says so.
                    ErrorKind::Indeterminate => {
                        assert_eq!(again.unwrap_err().kind(), ErrorKind::Unavailable);
                    }
                    _ => assert_eq!(error.kind(), ErrorKind::Unavailable),
                }
            }
            done
        },
        |storage, root, done, _| {
            let before = revisions(&read_all(storage, &key).unwrap());
            assert!(before == [1, 2] || before == [1, 2, 3, 4, 5], "{before:?}");
            assert!(done.is_err() || before.len() == 5);
            let head = add(storage, &key, 2, 2, 3).unwrap().head;
            assert_eq!(head.revision, Revision::new(5));
            add(storage, &key, 3, 5, 1).unwrap();
            let page = read_all(&open(root), &key).unwrap();
            assert_eq!((revisions(&page), page.damage.len()), (vec![1, 2, 3, 4, 5, 6], 0));
        },
    );
}

#[test]
fn a_full_disk_changes_nothing_and_the_same_handle_goes_on() {
    let dir = tempdir();
    let key = key("s1");
    for failure in [Failure::Short, Failure::Full] {
        let files = Faulty::new(failure);
        let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
        let after = match wait(storage.head(&key)).unwrap() {
            Some(head) => head.revision.get(),
            None => add(&storage, &key, 1, 0, 1).unwrap().head.revision.get(),
        };
        let number = after + 10;
        files.fail_after(0);
        let error = add(&storage, &key, number, after, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(read_all(&storage, &key).unwrap().records.len() as u64, after);
        add(&storage, &key, number, after, 2).unwrap();
        assert!(quarantine(dir.path(), "s1").is_empty());
    }
}

#[test]
fn a_failed_sync_poisons_until_repaired_or_reopened() {
    let dir = tempdir();
    let key = key("s1");
    let files = Faulty::new(Failure::Error);
    let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
    let neighbour = open(dir.path());
    add(&storage, &key, 1, 0, 1).unwrap();
    add(&neighbour, &key, 2, 1, 1).unwrap();
    add(&storage, &key, 3, 2, 1).unwrap();
    // The write passes, the sync fails.
    files.fail_after(1);
    let unknown = add(&storage, &key, 4, 3, 1).unwrap_err();
    let refused = add(&storage, &key, 4, 3, 1).unwrap_err();
    insta::assert_snapshot!(format!("{unknown}\n{refused}"), @r#"
    outcome unknown: the disk failed to sync a file: the append may or may not be there (file sessions/local/s1.jsonl, session s1)
    unavailable: writing was stopped after the disk failed within an earlier append; repair the session or open the store again (file sessions/local/s1.jsonl, session s1)
    "#);
    let inode = |root: &Path| {
        let log = std::fs::metadata(log_path(root, "s1")).unwrap();
        #[cfg(unix)]
        return std::os::unix::fs::MetadataExt::ino(&log);
        #[cfg(not(unix))]
        return log.len();
    };
    let before = inode(dir.path());
    let mark = dir.path().join("sessions/local/s1.jsonl.suspect");
    assert!(mark.exists());
    // Another process does not build on bytes that may not be on the disk: it writes them anew.
    add(&neighbour, &key, 4, 3, 1).unwrap();
    assert!(!mark.exists());
    #[cfg(unix)]
    assert_ne!(inode(dir.path()), before);
    let _ = before;
    assert_eq!(add(&storage, &key, 5, 4, 1).unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(revisions(&read_all(&storage, &key).unwrap()), [1, 2, 3, 4]);
    wait(storage.maintenance().repair(&key)).unwrap();
    add(&storage, &key, 5, 4, 1).unwrap();
    assert_eq!(revisions(&read_all(&neighbour, &key).unwrap()), [1, 2, 3, 4, 5]);
}

#[test]
fn a_copy_of_the_log_is_not_taken_for_the_one_that_is_open() {
    let (dir, _) = store();
    let key = key("s1");
    let open = || {
        let files = Faulty::without_identity(Failure::Error);
        let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
        (storage, files)
    };
    let ((failing, files), (waiting, _), (copying, _)) = (open(), open(), open());
    add(&failing, &key, 1, 0, 1).unwrap();
    // The directory is synced, the write passes, the sync fails.
    files.fail_after(2);
    add(&failing, &key, 2, 1, 1).unwrap_err();
    // It has the log open in which the sync failed; another one writes the log anew, just as it is.
    assert_eq!(revisions(&read_all(&waiting, &key).unwrap()), [1, 2]);
    add(&copying, &key, 3, 2, 1).unwrap();
    assert_eq!(revisions(&read_all(&waiting, &key).unwrap()), [1, 2, 3]);
    add(&waiting, &key, 4, 3, 1).unwrap();
    for storage in [&waiting, &copying, &open().0] {
        assert_eq!(revisions(&read_all(storage, &key).unwrap()), [1, 2, 3, 4]);
    }
}

#[test]
fn a_compaction_takes_place_or_does_not() {
    let key = key("s1");
    with_each_failure(
        |storage| {
            add(storage, &key, 1, 0, 3).unwrap();
            add(storage, &key, 2, 3, 3).unwrap();
        },
        |storage| {
            let head = wait(storage.head(&key))?.unwrap();
            let kept = vec![batch(1, 0, 3).records[1].clone()];
            wait(storage.compact(&key, Revision::new(4), kept, &head))
        },
        |storage, root, done, _| {
            let page = read_all(storage, &key).unwrap();
            let all = revisions(&page);
            assert!(page.damage.is_empty());
            assert!(all == [2, 5, 6] || (all == [1, 2, 3, 4, 5, 6] && done.is_err()), "{all:?}");
            add(storage, &key, 3, 6, 1).unwrap();
            assert_eq!(revisions(&read_all(&open(root), &key).unwrap()).last(), Some(&7));
        },
    );
}

#[test]
fn a_torn_append_is_kept_aside_before_it_is_cut() {
    let key = key("s1");
    let torn = b"{\"rev\":3,\"turn\":1";
    with_each_failure(
        |storage| {
            add(storage, &key, 1, 0, 2).unwrap();
            let path = log_path(storage.path(), "s1");
            let log = std::fs::read(&path).unwrap();
            std::fs::write(&path, [&log[..], torn].concat()).unwrap();
        },
        |storage| add(storage, &key, 2, 2, 1),
        |storage, root, done, _| {
            let all = revisions(&read_all(storage, &key).unwrap());
            assert!(all == [1, 2, 3] || (all == [1, 2] && done.is_err()));
            add(storage, &key, 2, 2, 1).unwrap();
            assert!(quarantine(root, "s1").contains(&torn.to_vec()));
        },
    );
}

#[test]
fn a_repair_takes_place_or_does_not_and_the_original_is_kept() {
    let key = key("s1");
    let damaged = std::cell::RefCell::new(Vec::new());
    with_each_failure(
        |storage| {
            add(storage, &key, 1, 0, 4).unwrap();
            let path = log_path(storage.path(), "s1");
            let mut log = std::fs::read(&path).unwrap();
            let second = log.iter().position(|&b| b == b'\n').unwrap() + 20;
            log[second] ^= 1;
            std::fs::write(&path, &log).unwrap();
            *damaged.borrow_mut() = log;
        },
        |storage| wait(storage.maintenance().repair(&key)),
        |storage, root, done, _| {
            let page = read_all(storage, &key).unwrap();
            assert_eq!(revisions(&page), [1, 3, 4]);
            assert!(page.damage.is_empty() || done.is_err());
            wait(storage.maintenance().repair(&key)).unwrap();
            add(storage, &key, 2, 4, 1).unwrap();
            assert!(quarantine(root, "s1").contains(&damaged.borrow()));
        },
    );
}

#[test]
fn a_document_is_the_old_one_or_the_new_one() {
    let scope = DocumentScope::Store;
    let put = |storage: &FileStorage, content: &'static str| {
        let any = ExpectedDocument::Any;
        wait(storage.put_document(&scope, "a", any, content.into(), None, at()))
    };
    with_each_failure(
        |storage| {
            put(storage, "old").unwrap();
        },
        |storage| put(storage, "new"),
        |storage, _, done, _| {
            let found = wait(storage.get_document(&scope, "a", at())).unwrap().unwrap().content;
            assert!(found == "new" || (found == "old" && done.is_err()));
            put(storage, "next").unwrap();
        },
    );
}

#[test]
fn a_blob_is_whole_or_absent() {
    let (key, id) = (key("s1"), BlobId::of(b"picture"));
    with_each_failure(
        |storage| {
            add(storage, &key, 1, 0, 1).unwrap();
        },
        |storage| wait(storage.put_blob(&key, &id, "picture".into())),
        |storage, _, done, _| {
            let found = wait(storage.get_blob(&key, &id)).unwrap();
            assert!(found.is_some() || done.is_err());
            wait(storage.put_blob(&key, &id, "picture".into())).unwrap();
        },
    );
}

#[test]
fn a_store_is_opened_whole_or_can_be_opened_again() {
    for failure in ALL {
        for operation in 0..40 {
            let dir = tempdir();
            let files = Faulty::new(failure);
            files.fail_after(operation);
            let opened = FileStorage::with_files(dir.path().join("a/b"), Arc::new(files));
            drop(opened);
            let storage = open(&dir.path().join("a/b"));
            add(&storage, &key("s1"), 1, 0, 1).unwrap();
        }
    }
}
