//! Things that somebody put where the store expects its own files.
#![cfg(unix)]

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use chatkeep::ErrorKind;
use chatkeep::storage::{BlobId, DocumentScope, Storage};

use crate::common::*;

#[test]
fn nothing_but_a_regular_file_is_taken_for_a_log() {
    let (dir, storage) = store();
    add(&storage, &key("other"), 1, 0, 1).unwrap();
    let path = log_path(dir.path(), "s1");
    let plants: [(&str, &dyn Fn()); 3] = [
        ("link", &|| symlink(log_path(dir.path(), "other"), &path).unwrap()),
        ("pipe", &|| {
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        }),
        ("directory", &|| std::fs::create_dir(&path).unwrap()),
    ];
    let begun = Instant::now();
    let mut shown = Vec::new();
    for (what, plant) in plants {
        plant();
        let key = key("s1");
        let error = wait(storage.head(&key)).unwrap_err();
        shown.push(format!("{what}: {error}"));
        assert_eq!(read_all(&storage, &key).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(add(&storage, &key, 1, 0, 1).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(add(&storage, &key, 1, 1, 1).unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(wait(storage.maintenance().repair(&key)).is_err());
        if what == "directory" {
            assert!(wait(storage.purge(&key)).is_err());
            std::fs::remove_dir(&path).unwrap();
        } else {
            wait(storage.purge(&key)).unwrap();
            assert!(!path.exists());
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "a pipe was waited for");
    insta::assert_snapshot!(shown.join("\n"), @r#"
    link: corrupt: a symbolic link is where a regular file should be (file sessions/local/s1.jsonl)
    pipe: corrupt: a pipe, socket or device is where a regular file should be (file sessions/local/s1.jsonl)
    directory: corrupt: a directory is where a regular file should be (file sessions/local/s1.jsonl)
    "#);
    assert_eq!(revisions(&read_all(&storage, &key("other")).unwrap()), [1]);
}

#[test]
fn links_are_not_followed_by_documents_blobs_and_unfinished_files() {
    let (dir, storage) = store();
    let victim = dir.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    let key = key("s1");
    std::fs::create_dir_all(dir.path().join("sessions/local")).unwrap();
    symlink(&victim, dir.path().join("sessions/local/s1.jsonl.tmp")).unwrap();
    assert_eq!(add(&storage, &key, 1, 0, 1).unwrap_err().kind(), ErrorKind::Corrupt);
    // The link was in the way and is gone; what it led to is not.
    assert!(std::fs::symlink_metadata(dir.path().join("sessions/local/s1.jsonl.tmp")).is_err());
    add(&storage, &key, 1, 0, 1).unwrap();
    let id = BlobId::of(b"x");
    std::fs::create_dir_all(dir.path().join("blobs/local/s1")).unwrap();
    symlink(&victim, dir.path().join("blobs/local/s1").join(id.to_string())).unwrap();
    assert_eq!(wait(storage.get_blob(&key, &id)).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(
        wait(storage.put_blob(&key, &id, "x".into())).unwrap_err().kind(),
        ErrorKind::Corrupt
    );
    std::fs::create_dir_all(dir.path().join("documents/+store")).unwrap();
    symlink(&victim, dir.path().join("documents/+store/a.doc")).unwrap();
    let found = wait(storage.get_document(&DocumentScope::Store, "a", at()));
    assert_eq!(found.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
}
