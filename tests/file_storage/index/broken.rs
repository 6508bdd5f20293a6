//! An index that is missing, damaged, of another version, or cannot be written.

use super::*;

/// What is done to the index while two storages have it open.
type Harm = (&'static str, fn(&Path));

const HARMS: [Harm; 11] = [
    ("the directory deleted", |root| std::fs::remove_dir_all(root.join("index")).unwrap()),
    ("the database deleted", |root| std::fs::remove_file(database(root)).unwrap()),
    ("the pointer deleted", |root| std::fs::remove_file(root.join("index/current")).unwrap()),
    ("another pointer", |root| {
        replace(&root.join("index/current"), br#"{"file":"../sessions/local/a.jsonl"}"#);
    }),
    ("the database cut", |root| {
        let file = std::fs::OpenOptions::new().write(true).open(database(root)).unwrap();
        file.set_len(8_192).unwrap();
    }),
    ("an empty database", |root| replace(&database(root), b"")),
    ("garbage", |root| replace(&database(root), &b"garbage ".repeat(9_000))),
    ("a newer version", |root| {
        let other = rusqlite::Connection::open(database(root)).unwrap();
        other.pragma_update(None, "user_version", 99).unwrap();
        drop(other);
        // As a newer program leaves it: under a name of its own.
        let pointer = root.join("index/current");
        let content = std::fs::read(&pointer).unwrap();
        replace(&pointer, &content);
    }),
    ("the journal deleted", |root| remove_beside(root, "-wal")),
    ("the shared memory deleted", |root| remove_beside(root, "-shm")),
    ("the journal and the shared memory deleted", |root| {
        remove_beside(root, "-wal");
        remove_beside(root, "-shm");
    }),
];

/// Damage of the text that nothing but a search comes upon.
const DAMAGED_TEXTS: [&str; 6] = [
    "UPDATE texts_data SET block = x'ffffffffff' WHERE id = 10",
    "DELETE FROM texts_data WHERE id = 10",
    "UPDATE texts_data SET block = zeroblob(length(block)) WHERE id > 10",
    "DELETE FROM texts_config",
    "DELETE FROM full_text WHERE name = 'spill'",
    "UPDATE docs SET text = x'ff'",
];

/// Removes what SQLite keeps beside the database while it is open, if it is.
fn remove_beside(root: &Path, suffix: &str) {
    let mut file = database(root).into_os_string();
    file.push(suffix);
    let removed = std::fs::remove_file(&file);
    let is_closed = |e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound;
    assert!(removed.as_ref().is_ok() || removed.as_ref().is_err_and(is_closed), "{removed:?}");
}

fn prepare(root: &Path) -> (FileStorage, Arc<Reader>) {
    let (storage, reader) = open_reading(root);
    say(&storage, "a", "apple");
    say(&storage, "b", "pear");
    wait(storage.verify_index()).unwrap();
    (storage, reader)
}

/// Reads texts once whoever can read them has come.
#[derive(Debug)]
struct Cannot(fn() -> Result<Extracted>);

#[async_trait]
impl Extract for Cannot {
    async fn extract(&self, _: &SessionKey) -> Result<Extracted> {
        (self.0)()
    }
}

/// A store with a session whose text nobody has read yet.
fn unread(root: &Path) -> FileStorage {
    let storage = open(root);
    say(&plain(root), "a", "apple");
    storage
}

fn attach(storage: &FileStorage, extract: &Arc<dyn Extract>) {
    storage.full_text().unwrap().attach(Arc::downgrade(extract));
}

#[test]
fn a_text_that_one_reader_cannot_read_is_read_by_the_next_one() {
    let dir = tempdir();
    let storage = unread(dir.path());
    let newer = || Err(Error::new(ErrorKind::UnsupportedVersion, "of a newer version"));
    let cannot: Arc<dyn Extract> = Arc::new(Cannot(newer));
    attach(&storage, &cannot);
    wait(storage.verify_index()).unwrap();
    assert_eq!(found_in_part(&storage, "apple"), [""; 0]);
    drop((storage, cannot));
    let (storage, _reader) = open_reading(dir.path());
    wait(storage.verify_index()).unwrap();
    assert_eq!(found(&storage, "apple"), ["a:0"]);
}

#[test]
fn a_text_that_could_not_be_read_is_read_again_once_its_session_goes_on() {
    let dir = tempdir();
    let storage = unread(dir.path());
    let cannot: Arc<dyn Extract> =
        Arc::new(Cannot(|| Err(Error::new(ErrorKind::Corrupt, "unreadable"))));
    let reader: Arc<dyn Extract> = Arc::new(Reader(plain(dir.path())));
    attach(&storage, &reader);
    attach(&storage, &cannot);
    wait(storage.verify_index()).unwrap();
    assert_eq!(found_in_part(&storage, "apple"), [""; 0]);
    // It can be read by now: the one before is asked again.
    drop(cannot);
    say(&storage, "a", "pear");
    wait(storage.verify_index()).unwrap();
    assert_eq!(found(&storage, "apple"), ["a:0"]);
}

/// Fails where the index could never be verified again.
fn verified_in_time(storage: FileStorage) -> FileStorage {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(wait(storage.verify_index()).map(|()| storage)));
    let verified = finished.recv_timeout(std::time::Duration::from_secs(20));
    verified.expect("the index can be verified").unwrap()
}

#[test]
fn a_thread_that_panics_keeps_nothing_from_being_verified() {
    /// Lets go of whoever attached it, so that it is dropped where it reads; and panics there.
    #[derive(Debug)]
    struct Last(std::sync::Mutex<Option<Arc<dyn Extract>>>, std::sync::mpsc::Sender<()>);

    #[async_trait]
    impl Extract for Last {
        async fn extract(&self, _: &SessionKey) -> Result<Extracted> {
            drop(self.0.lock().unwrap().take());
            Err(Error::new(ErrorKind::Corrupt, "unreadable"))
        }
    }

    impl Drop for Last {
        fn drop(&mut self) {
            self.1.send(()).unwrap();
            panic!("an adopter's code");
        }
    }

    let dir = tempdir();
    let storage = unread(dir.path());
    wait(storage.verify_index()).unwrap();
    let (dropped, was_dropped) = std::sync::mpsc::channel();
    let last = Arc::new(Last(std::sync::Mutex::default(), dropped));
    let extract: Arc<dyn Extract> = Arc::clone(&last) as _;
    let weak = Arc::downgrade(&extract);
    *last.0.lock().unwrap() = Some(extract);
    drop(last);
    // A thread of the index reads, since somebody has come who can.
    storage.full_text().unwrap().attach(weak);
    was_dropped.recv_timeout(std::time::Duration::from_secs(20)).expect("the text is read");
    let storage = verified_in_time(storage);
    assert_eq!(ids(&storage), ["a"]);
}

#[test]
fn a_damaged_row_is_not_listed_in_the_place_of_its_session() {
    let dir = tempdir();
    let (storage, _reader) = prepare(dir.path());
    let before = all(&storage);
    let other = rusqlite::Connection::open(database(dir.path())).unwrap();
    let changed = other.execute("UPDATE sessions SET head = '{' WHERE session = 'a'", ()).unwrap();
    assert_eq!(changed, 1);
    drop(other);
    assert_eq!(all(&storage), before);
    wait(storage.verify_index()).unwrap();
    assert_eq!(all(&storage), before);
    assert_eq!(found(&storage, "apple"), ["a:0"]);
}

/// Says that the index's text was cut by other rules; the ones before.
fn set_rules(root: &Path, rules: &str) -> String {
    let other = rusqlite::Connection::open(database(root)).unwrap();
    let sql = "SELECT value FROM full_text WHERE name = 'tokens'";
    let before = other.query_row(sql, (), |row| row.get(0)).unwrap();
    let sql = "UPDATE full_text SET value = ?1 WHERE name = 'tokens'";
    assert_eq!(other.execute(sql, [rules]).unwrap(), 1);
    before
}

const NEWER: &str = "1, Unicode 99.0.0 and 99.0.0";

#[test]
fn an_index_whose_text_was_cut_by_a_newer_program_is_used_and_kept() {
    let dir = tempdir();
    drop(prepare(dir.path()));
    let own = set_rules(dir.path(), NEWER);
    let before = database(dir.path());
    for round in 0..2 {
        let (storage, _reader) = open_reading(dir.path());
        say(&storage, &format!("c{round}"), "quince");
        say(&storage, "a", "apple");
        assert_eq!(all(&storage), all(&plain(dir.path())));
        wait(storage.verify_index()).unwrap();
        assert_eq!(all(&storage), all(&plain(dir.path())));
        let hits = search(&storage, "apple");
        assert_eq!(hits.page.items.len(), 1, "what is there is found");
        assert!(hits.partial.is_some(), "it may not be all");
        wait(storage.maintenance().scrub()).unwrap();
        assert!(search(&storage, "apple").partial.is_some(), "it is left to the newer program");
        assert_eq!(database(dir.path()), before);
        let reader = Reader(plain(dir.path()));
        let rebuilt = wait(storage.full_text().unwrap().rebuild(&reader, &|_| {}));
        assert_eq!(rebuilt.unwrap_err().kind(), ErrorKind::UnsupportedVersion);
    }
    // The newer program reads what waits.
    set_rules(dir.path(), &own);
    let (storage, _reader) = open_reading(dir.path());
    wait(storage.verify_index()).unwrap();
    assert_eq!(found(&storage, "quince"), ["c0:0", "c1:0"]);
    assert_eq!(found(&storage, "apple"), ["a:0", "a:1", "a:2"]);
    assert_eq!(database(dir.path()), before);
}

#[test]
fn what_a_newer_program_has_cut_and_this_one_deletes_leaves_the_index() {
    let dir = tempdir();
    let (storage, reader) = prepare(dir.path());
    wait(storage.maintenance().scrub()).unwrap();
    drop((storage, reader));
    set_rules(dir.path(), NEWER);
    let (storage, _reader) = open_reading(dir.path());
    wait(storage.purge(&key("a"))).unwrap();
    let holds = |content: &Vec<u8>| content.windows(5).any(|window| window == b"apple");
    assert!(!index_files(dir.path()).iter().any(|(_, content)| holds(content)));
    assert_eq!(ids(&storage), ["b"]);
    wait(storage.verify_index()).unwrap();
    assert_eq!(found(&storage, "pear"), ["b:0"]);
    assert_eq!(found(&storage, "apple"), [""; 0]);
}

#[test]
fn an_index_whose_text_was_cut_by_older_rules_is_built_anew() {
    for rules in ["1, Unicode 3.0.0 and 3.0.0", "", "0"] {
        let dir = tempdir();
        drop(prepare(dir.path()));
        set_rules(dir.path(), rules);
        let before = database(dir.path());
        let (storage, _reader) = open_reading(dir.path());
        check(rules, &storage, &["a", "b"]);
        assert_ne!(database(dir.path()), before);
    }
}

#[test]
fn an_index_of_another_store_is_not_believed() {
    let dir = tempdir();
    drop(prepare(dir.path()));
    let other = tempdir();
    let storage = open(other.path());
    say(&storage, "z", "plum");
    drop(storage);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    std::fs::create_dir(dir.path().join("index")).unwrap();
    for (path, content) in index_files(other.path()) {
        std::fs::write(dir.path().join("index").join(path.file_name().unwrap()), content).unwrap();
    }
    check_before_it_is_verified(dir.path(), &["a", "b"]);
}

/// As a backup puts it back, or a tool that synchronizes folders.
#[test]
fn an_index_that_is_built_after_the_marker_was_put_back_is_kept() {
    let dir = tempdir();
    let (storage, reader) = prepare(dir.path());
    let marker = dir.path().join("chatkeep.json");
    replace(&marker, &std::fs::read(&marker).unwrap());
    std::fs::remove_file(dir.path().join("index/current")).unwrap();
    check("built", &storage, &["a", "b"]);
    let built = database(dir.path());
    drop((storage, reader));
    let (storage, _reader) = open_reading(dir.path());
    check("opened", &storage, &["a", "b"]);
    assert_eq!(database(dir.path()), built);
}

/// A copy's index says what the original's logs were.
#[cfg(unix)]
#[test]
fn an_index_that_was_copied_with_its_store_is_not_believed() {
    let dir = tempdir();
    drop(prepare(dir.path()));
    let copied = tempdir();
    for (path, content) in files(dir.path()) {
        let to = copied.path().join(path.strip_prefix(dir.path()).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::write(to, content).unwrap();
    }
    // What the copy missed.
    std::fs::remove_file(log_path(copied.path(), "b")).unwrap();
    check_before_it_is_verified(copied.path(), &["a"]);
}

fn check_before_it_is_verified(root: &Path, expected: &[&str]) {
    let held = doubted::unverified(root);
    let storage = open(root);
    let mut listed = ids(&storage);
    listed.sort();
    assert_eq!(listed, expected);
    drop(held);
    wait(storage.verify_index()).unwrap();
    let mut listed = ids(&storage);
    listed.sort();
    assert_eq!(listed, expected);
}

#[test]
fn an_index_without_one_of_its_tables_is_built_anew() {
    for table in ["ahead", "sessions", "docs", "waiting", "state"] {
        let dir = tempdir();
        let (storage, _reader) = prepare(dir.path());
        let other = rusqlite::Connection::open(database(dir.path())).unwrap();
        other.execute_batch(&format!("DROP TABLE {table}")).unwrap();
        drop(other);
        say(&storage, "c", "quince");
        // One is missed by whoever searches.
        drop(search(&storage, "quince"));
        check(table, &storage, &["a", "b", "c"]);
    }
}

#[test]
fn whoever_panics_while_a_text_is_read_keeps_nothing_from_being_verified() {
    let dir = tempdir();
    let storage = unread(dir.path());
    let panics: Arc<dyn Extract> = Arc::new(Cannot(|| panic!("an adopter's code")));
    attach(&storage, &panics);
    // The one that was attached is asked on a thread of the index.
    let storage = verified_in_time(storage);
    assert_eq!(ids(&storage), ["a"]);
    assert_eq!(found_in_part(&storage, "apple"), [""; 0]);
}

#[test]
fn whoever_panics_while_told_of_progress_keeps_nothing_from_being_verified() {
    let dir = tempdir();
    let (storage, _reader) = prepare(dir.path());
    let told = |_| panic!("an adopter's code");
    let rebuilt = || wait(storage.maintenance().rebuild_index(&told));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(rebuilt));
    assert!(panicked.is_err());
    assert!(search(&storage, "pear").partial.is_some());
    let storage = verified_in_time(storage);
    assert_eq!(found(&storage, "pear"), ["b:0"]);
    assert_eq!(ids(&storage).len(), 2);
}

fn check(what: &str, storage: &FileStorage, expected: &[&str]) {
    let mut listed = ids(storage);
    listed.sort();
    assert_eq!(listed, expected, "{what}: a list");
    wait(storage.verify_index()).unwrap();
    let mut listed = ids(storage);
    listed.sort();
    assert_eq!(listed, expected, "{what}: a list of what is verified");
    assert_eq!(found(storage, "apple"), ["a:0"], "{what}");
    assert_eq!(found(storage, "pear"), ["b:0"], "{what}");
    // It is an index again, and the only one.
    let left = index_files(storage.path());
    let name = database(storage.path());
    for (path, _) in &left {
        let path = path.display().to_string();
        let of_present = path.starts_with(&*name.display().to_string());
        assert!(of_present || path.ends_with("current"), "{what}: {path}");
    }
}

#[test]
fn an_index_that_is_harmed_while_it_is_open_hides_nothing_and_is_built_anew() {
    for (what, harm) in HARMS {
        let dir = tempdir();
        let (storage, _reader) = prepare(dir.path());
        harm(dir.path());
        say(&storage, "c", "quince");
        check(what, &storage, &["a", "b", "c"]);
        assert_eq!(found(&storage, "quince"), ["c:0"], "{what}");
    }
}

#[test]
fn an_index_that_is_harmed_while_it_is_closed_hides_nothing_and_is_built_anew() {
    for (what, harm) in HARMS {
        let dir = tempdir();
        drop(prepare(dir.path()));
        harm(dir.path());
        let (storage, _reader) = open_reading(dir.path());
        check(what, &storage, &["a", "b"]);
    }
}

#[test]
fn a_damaged_text_is_built_anew_once_a_search_has_come_upon_it() {
    for change in DAMAGED_TEXTS {
        let dir = tempdir();
        let (storage, reader) = prepare(dir.path());
        // Texts wait beside the full text: this indexes them.
        wait(storage.maintenance().scrub()).unwrap();
        drop((storage, reader));
        let other = rusqlite::Connection::open(database(dir.path())).unwrap();
        assert!(other.execute(change, ()).unwrap() > 0, "{change}");
        drop(other);
        let (storage, _reader) = open_reading(dir.path());
        let hits = search(&storage, "apple");
        assert!(hits.partial.is_some(), "{change}: {hits:?}");
        check(change, &storage, &["a", "b"]);
    }
}

#[test]
fn a_damaged_page_is_found_out_by_whoever_reads_it() {
    let dir = tempdir();
    let (storage, reader) = prepare(dir.path());
    for number in 0..200 {
        say(&storage, &format!("s{number:03}"), "more");
    }
    drop((storage, reader));
    let path = database(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything but the schema.
    for page in bytes.chunks_mut(4_096).skip(24) {
        page[..64].fill(0xff);
    }
    std::fs::write(&path, bytes).unwrap();
    let (storage, _reader) = open_reading(dir.path());
    assert_eq!(all(&storage).len(), 202);
    wait(storage.verify_index()).unwrap();
    assert_eq!(all(&storage).len(), 202);
    assert_eq!(found(&storage, "more").len(), 200);
}

#[test]
fn while_the_index_is_missing_lists_are_complete_and_searches_say_that_they_are_not() {
    let dir = tempdir();
    let (storage, reader) = prepare(dir.path());
    drop((storage, reader));
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let storage = open(dir.path());
    assert_eq!(all(&storage).len(), 2);
    // Nobody can read the texts yet.
    assert!(search(&storage, "apple").partial.is_some());
    let reader: Arc<dyn Extract> = Arc::new(Reader(plain(dir.path())));
    storage.full_text().unwrap().attach(Arc::downgrade(&reader));
    wait(storage.verify_index()).unwrap();
    assert_eq!(found(&storage, "apple"), ["a:0"]);
}

#[test]
fn a_store_whose_index_cannot_be_made_works_without() {
    let dir = tempdir();
    drop(plain(dir.path()));
    std::fs::write(dir.path().join("index"), "in the way").unwrap();
    let storage = open(dir.path());
    assert!(storage.full_text().is_none());
    say(&storage, "a", "apple");
    assert_eq!(ids(&storage), ["a"]);
    wait(storage.verify_index()).unwrap();
    wait(storage.maintenance().rebuild_index(&|_| {})).unwrap();
    let receipt = wait(storage.purge(&key("a"))).unwrap();
    assert_eq!(ids(&storage), [""; 0]);
    assert_eq!(receipt.remains, [""; 0]);
}

#[test]
fn an_index_that_can_no_longer_be_written_fails_no_append_and_hides_nothing() {
    let dir = tempdir();
    let (storage, _reader) = prepare(dir.path());
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    std::fs::write(dir.path().join("index"), "in the way").unwrap();
    say(&storage, "c", "quince");
    say_with(&storage, "a", "x", |fields| "Title".clone_into(&mut fields.title));
    let mut listed = ids(&storage);
    listed.sort();
    assert_eq!(listed, ["a", "b", "c"]);
    assert_eq!(all(&storage), all(&plain(dir.path())));
    assert!(search(&storage, "quince").partial.is_some());
    assert!(wait(storage.verify_index()).is_err());
    std::fs::remove_file(dir.path().join("index")).unwrap();
    check("an index again", &storage, &["a", "b", "c"]);
    assert_eq!(found(&storage, "quince"), ["c:0"]);
}
