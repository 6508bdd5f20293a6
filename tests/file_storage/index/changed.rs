//! Logs that were changed by somebody who did not tell the index.

use super::*;

/// What is done to a store behind its index's back, and which words are found then.
type Change = (&'static str, fn(&Path), &'static [(&'static str, &'static [&'static str])]);

fn log(root: &Path, id: &str) -> std::path::PathBuf {
    log_path(root, id)
}

const CHANGES: [Change; 9] = [
    ("nothing", |_| {}, &[("apple", &["a:0"]), ("pear", &["b:0", "b:1"])]),
    ("an append", |root| say(&plain(root), "a", "plum"), &[("plum", &["a:1"])]),
    ("a new session", |root| say(&plain(root), "c", "plum"), &[("plum", &["c:0"])]),
    (
        "a title",
        |root| say_with(&plain(root), "a", "x", |fields| "Quince".clone_into(&mut fields.title)),
        &[("apple", &["a:0"])],
    ),
    (
        "a log removed",
        |root| std::fs::remove_file(log(root, "a")).unwrap(),
        &[("apple", &[]), ("pear", &["b:0", "b:1"])],
    ),
    (
        "a log renamed",
        |root| std::fs::rename(log(root, "a"), log(root, "z")).unwrap(),
        &[("apple", &["z:0"])],
    ),
    (
        "a log put in another's place",
        |root| replace(&log(root, "b"), &std::fs::read(log(root, "a")).unwrap()),
        &[("apple", &["a:0", "b:0"]), ("pear", &[])],
    ),
    (
        "an older state restored",
        |root| {
            let whole = std::fs::read(log(root, "b")).unwrap();
            let first = whole.iter().position(|&byte| byte == b'\n').unwrap();
            replace(&log(root, "b"), &whole[..=first]);
        },
        &[("pear", &["b:0"])],
    ),
    (
        "another text of the same length in the same file",
        |root| {
            // A log of one record written elsewhere, so that its checksum is right.
            let other = tempdir();
            say(&open(other.path()), "a", "grape");
            std::fs::copy(log(other.path(), "a"), log(root, "a")).unwrap();
        },
        &[("apple", &[]), ("grape", &["a:0"])],
    ),
];

fn check(what: &str, storage: &FileStorage, words: &[(&str, &[&str])]) {
    wait(storage.verify_index()).unwrap();
    assert_eq!(all(storage), all(&plain(storage.path())), "{what}: the list");
    for (word, expected) in words {
        assert_eq!(found(storage, word), *expected, "{what}: {word}");
    }
}

fn prepare(root: &Path) {
    let storage = open(root);
    say(&storage, "a", "apple");
    say(&storage, "b", "pear");
    say(&storage, "b", "pear again");
}

#[test]
fn what_was_changed_while_the_store_was_closed_is_seen_once_it_is_verified() {
    for (what, change, words) in CHANGES {
        let dir = tempdir();
        prepare(dir.path());
        change(dir.path());
        let (storage, _reader) = open_reading(dir.path());
        check(what, &storage, words);
    }
}

#[test]
fn what_is_changed_while_the_store_is_open_is_seen_once_it_is_verified() {
    for (what, change, words) in CHANGES {
        let dir = tempdir();
        prepare(dir.path());
        let (storage, _reader) = open_reading(dir.path());
        wait(storage.verify_index()).unwrap();
        change(dir.path());
        check(what, &storage, words);
    }
}

/// Only the system's own time tells.
#[cfg(unix)]
#[test]
fn another_text_of_the_same_length_and_time_in_the_same_file_is_seen_once_it_is_verified() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    say(&storage, "a", "apple");
    wait(storage.verify_index()).unwrap();
    let other = tempdir();
    say(&open(other.path()), "a", "grape");
    let path = log(dir.path(), "a");
    let before = std::fs::metadata(&path).unwrap();
    std::fs::copy(log(other.path(), "a"), &path).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    drop(file);
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (after.len(), after.modified().unwrap()),
        (before.len(), before.modified().unwrap())
    );
    check("set back", &storage, &[("apple", &[]), ("grape", &["a:0"])]);
}

#[test]
fn what_is_changed_between_two_appends_is_not_taken_for_the_second() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    say(&storage, "a", "apple");
    assert_eq!(found(&storage, "apple"), ["a:0"]);
    let other = tempdir();
    say(&open(other.path()), "a", "grape");
    replace(&log(dir.path(), "a"), &std::fs::read(log(other.path(), "a")).unwrap());
    say(&storage, "a", "fig");
    let hits = search(&storage, "fig");
    assert!(hits.partial.is_some(), "nobody has indexed the first record as it is now");
    check("both", &storage, &[("apple", &[]), ("grape", &["a:0"]), ("fig", &["a:1"])]);
}

#[test]
fn without_anybody_who_can_read_it_a_changed_text_makes_searches_partial() {
    let dir = tempdir();
    let storage = open(dir.path());
    say(&storage, "a", "apple");
    say(&plain(dir.path()), "a", "plum");
    wait(storage.verify_index()).unwrap();
    let hits = search(&storage, "apple");
    assert_eq!(hits.page.items.len(), 1);
    let partial = hits.partial.unwrap();
    assert_eq!((partial.done, partial.total), (0, Some(1)));
    let (again, _reader) = open_reading(dir.path());
    wait(again.verify_index()).unwrap();
    assert_eq!(found(&storage, "plum"), ["a:1"]);
}

#[test]
fn a_text_that_cannot_be_read_does_not_keep_the_others_out_and_is_tried_again_when_it_changes() {
    #[derive(Debug)]
    struct Refusing(Reader);

    #[async_trait]
    impl Extract for Refusing {
        async fn extract(&self, key: &SessionKey) -> Result<Extracted> {
            let extracted = self.0.extract(key).await?;
            match extracted.head.revision.get() {
                1 => {
                    Err(Error::new(ErrorKind::Corrupt, "the first record alone is not understood"))
                }
                _ => Ok(extracted),
            }
        }
    }

    let dir = tempdir();
    let outside = plain(dir.path());
    say(&outside, "a", "apple");
    say(&outside, "b", "pear");
    say(&outside, "b", "pear");
    let storage = open(dir.path());
    let extract: Arc<dyn Extract> = Arc::new(Refusing(Reader(plain(dir.path()))));
    storage.full_text().unwrap().attach(Arc::downgrade(&extract));
    wait(storage.verify_index()).unwrap();
    assert_eq!(found_in_part(&storage, "pear"), ["b:0", "b:1"]);
    assert_eq!(found_in_part(&storage, "apple"), [""; 0]);
    say(&outside, "a", "apple");
    wait(storage.verify_index()).unwrap();
    assert_eq!(found(&storage, "apple"), ["a:0", "a:1"]);
}

#[test]
fn a_program_without_an_index_that_deletes_removes_the_index_too() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    say(&storage, "a", "canary-77aa");
    say(&storage, "b", "pear");
    wait(storage.verify_index()).unwrap();
    wait(plain(dir.path()).purge(&key("a"))).unwrap();
    let holds = |content: &Vec<u8>| content.windows(11).any(|window| window == b"canary-77aa");
    assert!(!index_files(dir.path()).iter().any(|(_, content)| holds(content)));
    assert_eq!(ids(&storage), ["b"]);
    check("a deletion", &storage, &[("canary", &[]), ("pear", &["b:0"])]);
}
