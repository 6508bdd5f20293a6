//! Text out of the index, and how it leaves it.

use std::sync::Mutex;

use chatkeep::storage::Progress;

use super::*;

fn holds(root: &Path, canary: &str) -> Vec<String> {
    let within = |content: &[u8]| content.windows(canary.len()).any(|w| w == canary.as_bytes());
    let files = files(root).into_iter().filter(|(_, content)| within(content));
    files.map(|(path, _)| path.display().to_string()).collect()
}

#[test]
fn a_new_life_is_found_beside_the_note_of_the_deletion_of_an_earlier_one() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    say(&storage, "a", "apple");
    wait(storage.purge(&key("a"))).unwrap();
    let again = saying(1, 0, "apple again", Some(HeadFields::new(at())));
    wait(storage.append(&key("a"), Expected::NewIncarnation, again)).unwrap();
    // As it is left where it cannot be removed. It is named as the tombstone is.
    let tombstone = std::fs::read_dir(dir.path().join("tombstones")).unwrap().next().unwrap();
    let note = dir.path().join("purging").join(tombstone.unwrap().file_name());
    std::fs::write(&note, r#"{"owner":"local","id":"a","incarnation":1}"#).unwrap();
    assert_eq!(found(&storage, "again"), ["a:0"]);
    assert_eq!(ids(&storage), ["a"]);
}

#[test]
fn what_was_written_is_found_at_once_and_what_was_replaced_is_not() {
    let (_dir, storage) = store();
    say(&storage, "a", "apple");
    assert_eq!(found(&storage, "apple"), ["a:0"]);
    let mut batch = saying(9, 1, "pear", None);
    batch.texts = vec![text(TurnId::new(0), "quince"), text(TurnId::new(1), "pear")];
    wait(storage.append(&key("a"), expected(1), batch)).unwrap();
    assert_eq!(found(&storage, "pear"), ["a:1"]);
    assert_eq!(found(&storage, "quince"), ["a:0"]);
    assert_eq!(found(&storage, "apple"), [""; 0]);
}

#[test]
fn what_waits_is_written_when_the_last_storage_goes() {
    let dir = tempdir();
    let storage = open(dir.path());
    say(&storage, "a", "apple");
    say(&storage, "a", "pear");
    drop(storage);
    // Nobody could read the text out of the log.
    assert_eq!(found(&open(dir.path()), "pear"), ["a:1"]);
}

#[test]
fn a_deleted_session_leaves_no_byte_in_the_index() {
    let dir = tempdir();
    let storage = open(dir.path());
    for id in ["a", "b", "c"] {
        say_with(&storage, id, "canary-a1b2 in a text", |fields| {
            "Canary-c3d4 in a title".clone_into(&mut fields.title);
            fields.tags = vec!["canary-e5f6".to_owned()];
        });
        say(&storage, id, "canary-a1b2 again");
        // One of them is in the index's file already, another in its journal.
        if id == "a" {
            wait(storage.maintenance().scrub()).unwrap();
        }
        assert_eq!(found(&storage, "a1b2").len(), 2);
        let receipt = wait(storage.purge(&key(id))).unwrap();
        assert_eq!(receipt.remains, [""; 0]);
        for canary in ["canary-a1b2", "a1b2", "c3d4", "canary-e5f6"] {
            assert_eq!(holds(dir.path(), canary), [""; 0], "{canary} of {id}");
        }
        assert_eq!(found(&storage, "a1b2"), [""; 0]);
    }
}

#[test]
fn a_reader_in_the_way_of_a_deletion_is_told_of() {
    let dir = tempdir();
    let storage = open(dir.path());
    say(&storage, "a", "canary");
    let other = rusqlite::Connection::open(database(dir.path())).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM sessions").unwrap();
    let receipt = wait(storage.purge(&key("a"))).unwrap();
    insta::assert_snapshot!(
        receipt.remains.join("\n"),
        @"the index's journal, which another process is reading"
    );
    other.execute_batch("COMMIT").unwrap();
    wait(storage.maintenance().scrub()).unwrap();
    assert_eq!(holds(dir.path(), "canary"), [""; 0]);
}

#[test]
fn a_deletion_that_was_interrupted_is_not_shown_by_the_index() {
    let dir = tempdir();
    let storage = open(dir.path());
    say(&storage, "a", "apple");
    say(&storage, "b", "apple");
    wait(storage.verify_index()).unwrap();
    // The note and the tombstone are there; the process died before it removed anything.
    let (name, tombstone) = tombstone_of(dir.path(), "a");
    let note = br#"{"owner":"local","id":"a","incarnation":1}"#;
    put_beside(dir.path(), "purging", &name, note);
    put_beside(dir.path(), "tombstones", &name, &tombstone);
    assert!(log_path(dir.path(), "a").exists());
    assert_eq!(ids(&storage), ["b"]);
    assert_eq!(wait(storage.count(&OwnerId::local(), &ListQuery::new())).unwrap(), 1);
    assert_eq!(found(&storage, "apple"), ["b:0"]);
    wait(storage.maintenance().scrub()).unwrap();
    assert!(!log_path(dir.path(), "a").exists());
    assert_eq!(ids(&storage), ["b"]);
}

/// Deletes a session in a copy of the store; the tombstone's name and content.
fn tombstone_of(root: &Path, id: &str) -> (std::ffi::OsString, Vec<u8>) {
    let scratch = tempdir();
    copy(root, scratch.path());
    wait(plain(scratch.path()).purge(&key(id))).unwrap();
    let (path, content) = files(&scratch.path().join("tombstones")).remove(0);
    (path.file_name().unwrap().to_owned(), content)
}

fn put_beside(root: &Path, place: &str, name: &std::ffi::OsStr, content: &[u8]) {
    std::fs::create_dir_all(root.join(place)).unwrap();
    std::fs::write(root.join(place).join(name), content).unwrap();
}

#[test]
fn a_tombstone_that_comes_from_elsewhere_is_seen_once_it_is_verified() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    say(&storage, "a", "apple");
    say(&storage, "b", "apple");
    wait(storage.verify_index()).unwrap();
    let (name, content) = tombstone_of(dir.path(), "a");
    put_beside(dir.path(), "tombstones", &name, &content);
    wait(storage.verify_index()).unwrap();
    assert_eq!(wait(storage.head(&key("a"))).unwrap(), None);
    assert_eq!(ids(&storage), ["b"]);
    assert_eq!(found(&storage, "apple"), ["b:0"]);
}

#[test]
fn an_unreadable_tombstone_of_an_interrupted_deletion_hides_its_session_alone() {
    let dir = tempdir();
    let storage = open(dir.path());
    say(&storage, "a", "apple");
    say(&storage, "b", "apple");
    wait(storage.verify_index()).unwrap();
    let (name, _) = tombstone_of(dir.path(), "a");
    let note = br#"{"owner":"local","id":"a","incarnation":1}"#;
    put_beside(dir.path(), "purging", &name, note);
    put_beside(dir.path(), "tombstones", &name, b"{");
    assert_eq!(ids(&storage), ["b"]);
    assert_eq!(wait(storage.count(&OwnerId::local(), &ListQuery::new())).unwrap(), 1);
    assert_eq!(wait(storage.owners(None)).unwrap().items, [OwnerId::local()]);
    assert_eq!(found(&storage, "apple"), ["b:0"]);
    assert_eq!(ids(&plain(dir.path())), ["b"]);
}

fn copy(from: &Path, to: &Path) {
    for (path, content) in files(from) {
        let path = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

#[test]
fn both_rebuilds_tell_how_far_they_are_and_lose_nothing() {
    let dir = tempdir();
    let (storage, reader) = open_reading(dir.path());
    for id in ["a", "b", "c"] {
        say(&storage, id, "apple");
    }
    let seen: Mutex<Vec<Progress>> = Mutex::default();
    let note = |progress| seen.lock().unwrap().push(progress);
    let name = database(dir.path());
    wait(storage.maintenance().rebuild_index(&note)).unwrap();
    assert_ne!(database(dir.path()), name);
    let last = seen.lock().unwrap().drain(..).next_back().unwrap();
    assert_eq!((last.done, last.total), (3, Some(3)));
    assert_eq!(found(&storage, "apple").len(), 3);
    wait(storage.full_text().unwrap().rebuild(&*reader, &note)).unwrap();
    assert_eq!(seen.lock().unwrap().iter().map(|p| p.done).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(found(&storage, "apple").len(), 3);
}
