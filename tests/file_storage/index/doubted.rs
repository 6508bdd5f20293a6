//! Lists that are asked for before anybody has compared the index with the logs.

use std::fs::File;

use super::processes::Other;
use super::*;

/// Keeps everybody from verifying the index of a store that is open for the first time.
pub(super) fn unverified(root: &Path) -> File {
    let path = root.join("locks/index-verify.lock");
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.unwrap();
    file.lock().unwrap();
    file
}

fn marks(root: &Path) -> Vec<String> {
    let marks = std::fs::read_dir(root.join("unindexed")).unwrap();
    let mut marks: Vec<String> =
        marks.map(|mark| mark.unwrap().file_name().into_string().unwrap()).collect();
    marks.sort();
    marks
}

/// Every list says what the logs say.
fn check(what: &str, storage: &FileStorage) {
    let logs = plain(storage.path());
    assert_eq!(all(storage), all(&logs), "{what}: the list");
    let count = |storage: &FileStorage| wait(storage.count(&OwnerId::local(), &ListQuery::new()));
    assert_eq!(count(storage).unwrap(), count(&logs).unwrap(), "{what}: how many");
    let owners = |storage: &FileStorage| wait(storage.owners(None)).unwrap().items;
    assert_eq!(owners(storage), owners(&logs), "{what}: the owners");
}

#[test]
fn a_storage_is_marked_from_its_first_change_until_it_is_closed() {
    let dir = tempdir();
    let storage = open(dir.path());
    assert_eq!(marks(dir.path()), [""; 0]);
    say(&storage, "a", "apple");
    say(&storage, "a", "pear");
    let own = storage.writer().0.replace(':', "-");
    assert_eq!(marks(dir.path()), std::slice::from_ref(&own));
    let reads = open(dir.path());
    assert_eq!(ids(&reads), ["a"]);
    assert_eq!(marks(dir.path()), [own]);
    drop(storage);
    assert_eq!(marks(dir.path()), [""; 0]);
}

#[test]
fn what_a_killed_process_had_not_indexed_is_listed_before_anybody_has_verified_it() {
    let dir = tempdir();
    let mut other = Other::start(dir.path());
    for number in 0..40 {
        other.tell(&format!("say s{number:02} first"));
    }
    other.tell("say s07 later");
    drop(other);
    let held = unverified(dir.path());
    let (storage, _reader) = open_reading(dir.path());
    assert_eq!(marks(dir.path()).len(), 1);
    check("killed", &storage);
    assert!(search(&storage, "first").partial.is_some());
    drop(held);
    wait(storage.verify_index()).unwrap();
    assert_eq!(marks(dir.path()), [""; 0]);
    check("killed, verified", &storage);
    assert_eq!(found(&storage, "later"), ["s07:1"]);
}

#[test]
fn a_process_that_is_killed_beside_this_one_is_noticed_by_the_next_list() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    let mut other = Other::start(dir.path());
    other.tell("say s first");
    wait(storage.verify_index()).unwrap();
    let held = unverified(dir.path());
    for round in 0..10 {
        other.tell(&format!("say s later{round}"));
    }
    drop(other);
    check("killed beside", &storage);
    drop(held);
}

/// What the index loses when the power is cut: everything since it was closed.
#[test]
fn what_the_index_lost_in_a_power_cut_is_listed_before_anybody_has_verified_it() {
    let dir = tempdir();
    let storage = open(dir.path());
    for id in ["kept", "goes-on", "purged", "titled"] {
        say(&storage, id, "apple");
    }
    drop(storage);
    let synced = index_files(dir.path());
    let mut other = Other::start(dir.path());
    other.tell("say new pear");
    other.tell("say goes-on pear");
    other.tell("title titled Pear");
    other.tell("purge purged");
    drop(other);
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    std::fs::create_dir(dir.path().join("index")).unwrap();
    for (path, content) in synced {
        std::fs::write(path, content).unwrap();
    }
    let held = unverified(dir.path());
    let (storage, _reader) = open_reading(dir.path());
    check("a power cut", &storage);
    assert!(search(&storage, "pear").partial.is_some());
    drop(held);
    wait(storage.verify_index()).unwrap();
    check("a power cut, verified", &storage);
    assert_eq!(found(&storage, "pear"), ["goes-on:1", "new:0"]);
}

#[test]
fn what_another_process_could_not_write_to_the_index_is_listed_at_once() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    say(&storage, "a", "apple");
    wait(storage.verify_index()).unwrap();
    let held = unverified(dir.path());
    let mut other = Other::start(dir.path());
    other.tell("say b pear");
    // No row of the index holds so large a number.
    other.tell("unwritable c");
    check("unwritable", &storage);
    other.tell("say b later");
    drop(held);
    // Nobody can write it.
    for storage in [&storage, &open(dir.path())] {
        let refused = wait(storage.verify_index()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
        check("still unwritable", storage);
    }
    // It keeps nothing else out.
    let later: Vec<_> =
        search(&storage, "later").page.items.into_iter().map(|hit| hit.key).collect();
    assert_eq!(later, [key("b")]);
    wait(storage.purge(&key("c"))).unwrap();
    drop(other);
    wait(storage.verify_index()).unwrap();
    assert_eq!(marks(dir.path()), [storage.writer().0.replace(':', "-")]);
    check("without it", &storage);
    assert_eq!(found(&storage, "later"), ["b:1"]);
}

#[test]
fn a_row_that_cannot_be_written_keeps_no_other_out() {
    let dir = tempdir();
    let storage = open(dir.path());
    for id in ["a", "b", "c", "d"] {
        say(&storage, id, "apple");
    }
    search(&storage, "apple");
    // All in one transaction.
    for id in ["a", "b", "c", "d"] {
        let active = at() + jiff::SignedDuration::from_secs(1);
        say_with(&storage, id, "pear", |fields| {
            fields.active = active;
            fields.turns = if id == "c" { u64::MAX } else { 2 };
        });
    }
    let hits = search(&storage, "pear");
    let mut ids: Vec<String> = hits.page.items.iter().map(|hit| hit.key.id.to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["a", "b", "d"]);
    assert!(hits.partial.is_some());
    check("unwritable", &storage);
}

#[test]
fn what_a_program_without_an_index_writes_is_listed_at_once() {
    let dir = tempdir();
    drop(plain(dir.path()));
    std::fs::write(dir.path().join("index"), "in the way").unwrap();
    let without = open(dir.path());
    assert!(without.full_text().is_none());
    say(&without, "a", "apple");
    std::fs::remove_file(dir.path().join("index")).unwrap();
    let (storage, _reader) = open_reading(dir.path());
    wait(storage.verify_index()).unwrap();
    let held = unverified(dir.path());
    say(&without, "a", "pear");
    say(&without, "b", "pear");
    check("without an index", &storage);
    assert!(search(&storage, "pear").partial.is_some());
    drop(held);
    drop(without);
    wait(storage.verify_index()).unwrap();
    assert_eq!(marks(dir.path()), [""; 0]);
    assert_eq!(found(&storage, "pear"), ["a:1", "b:0"]);
}

#[test]
fn where_no_mark_can_be_left_there_is_no_index_that_others_believe() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    say(&storage, "a", "apple");
    drop(storage);
    std::fs::remove_dir(dir.path().join("unindexed")).unwrap();
    std::fs::write(dir.path().join("unindexed"), "in the way").unwrap();
    let (storage, _other_reader) = open_reading(dir.path());
    assert_eq!(ids(&storage), ["a"]);
    let before = database(dir.path());
    say(&storage, "b", "pear");
    check("no marks", &storage);
    assert_ne!(database(dir.path()), before);
    std::fs::remove_file(dir.path().join("unindexed")).unwrap();
    say(&storage, "c", "plum");
    wait(storage.verify_index()).unwrap();
    assert_eq!(marks(dir.path()).len(), 1);
    assert_eq!(found(&storage, "pear"), ["b:0"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test may panic where no thread can be started")]
fn a_writer_that_is_gone_is_known_to_be_by_all_who_ask_at_once() {
    let dir = tempdir();
    let storage = open(dir.path());
    let gone = {
        let other = open(dir.path());
        other.writer()
    };
    let ask = || (0..300).all(|_| wait(storage.is_gone(&gone)).unwrap());
    let all = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(all, [true; 4]);
}

#[test]
fn what_nobody_knows_the_outcome_of_is_listed_as_it_is() {
    let change = |storage: &FileStorage, id: &str, number: u64| {
        let head = wait(storage.head(&key(id))).unwrap();
        let after = head.as_ref().map_or(0, |head| head.revision.get());
        let expected = head.map_or(Expected::New, |head| Expected::At {
            incarnation: head.incarnation,
            revision: head.revision,
        });
        let fields = HeadFields { title: format!("title {number}"), ..HeadFields::new(at()) };
        wait(storage.append(&key(id), expected, saying(number, after, "pear", Some(fields))))
    };
    for id in ["a", "new"] {
        let mut unknown = 0;
        for operation in 0.. {
            let dir = tempdir();
            let watching = open(dir.path());
            say(&watching, "a", "apple");
            wait(watching.verify_index()).unwrap();
            let _held = unverified(dir.path());
            let disk = Faulty::native(Failure::ErrorAfter);
            let storage = FileStorage::with_files(dir.path(), Arc::new(disk.clone())).unwrap();
            disk.fail_after(operation);
            let changed = change(&storage, id, 1 << 50);
            if !disk.has_failed() {
                assert!(unknown > 0, "{id}");
                break;
            }
            unknown += u32::from(changed.is_err_and(|e| e.kind() == ErrorKind::Indeterminate));
            for (who, other) in [("itself", &storage), ("another", &watching)] {
                check(&format!("{id}, operation {operation}, {who}"), other);
            }
            drop(storage);
            check(&format!("{id}, operation {operation}, closed"), &watching);
        }
    }
}

#[test]
fn an_owner_whose_logs_cannot_be_listed_keeps_no_other_out() {
    let dir = tempdir();
    let other = SessionKey::new(OwnerId::new("other").unwrap(), key("b").id);
    say(&plain(dir.path()), "a", "apple");
    wait(plain(dir.path()).append(&other, Expected::New, saying(1, 0, "pear", None))).unwrap();
    let disk = Faulty::native(Failure::Error);
    disk.refuse(Some(dir.path().join("sessions/other")));
    let storage = FileStorage::with_files(dir.path(), Arc::new(disk.clone())).unwrap();
    assert!(wait(storage.verify_index()).is_err());
    let index = rusqlite::Connection::open(database(dir.path())).unwrap();
    let sessions = |sql: &str| index.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(sessions("SELECT count(*) FROM sessions"), 1);
    assert_eq!(sessions("SELECT count(*) FROM state WHERE name = 'complete'"), 0);
    disk.refuse(None);
    wait(storage.verify_index()).unwrap();
    assert_eq!(sessions("SELECT count(*) FROM sessions"), 2);
    check("verified", &storage);
}

#[test]
fn a_log_that_nobody_can_ever_open_leaves_the_others_in_no_doubt() {
    let dir = tempdir();
    let mut other = Other::start(dir.path());
    other.tell("say a apple");
    other.tell("say b pear");
    drop(other);
    let disk = Faulty::native(Failure::Error);
    disk.refuse(Some(log_path(dir.path(), "a")));
    std::fs::remove_dir_all(dir.path().join("index")).unwrap();
    let storage = FileStorage::with_files(dir.path(), Arc::new(disk)).unwrap();
    wait(storage.verify_index()).unwrap();
    let mut other = Other::start(dir.path());
    other.tell("say c plum");
    drop(other);
    assert_eq!(marks(dir.path()).len(), 1);
    wait(storage.verify_index()).unwrap();
    assert_eq!(marks(dir.path()), [""; 0]);
    assert_eq!(ids(&storage).len(), 3);
}

#[test]
fn a_log_that_cannot_be_opened_for_a_moment_keeps_its_row() {
    let dir = tempdir();
    let disk = Faulty::native(Failure::Error);
    let storage = FileStorage::with_files(dir.path(), Arc::new(disk.clone())).unwrap();
    let reader: Arc<dyn Extract> = Arc::new(Reader(plain(dir.path())));
    storage.full_text().unwrap().attach(Arc::downgrade(&reader));
    say_with(&storage, "a", "apple", |fields| fields.title = "kept".to_owned());
    wait(storage.verify_index()).unwrap();
    // It looks as nobody has seen it.
    say(&plain(dir.path()), "a", "pear");
    disk.refuse(Some(log_path(dir.path(), "a")));
    wait(storage.verify_index()).unwrap();
    assert_eq!(all(&storage)[0].title(), "kept");
    assert_eq!(found(&storage, "apple"), ["a:0"]);
    disk.refuse(None);
    wait(storage.verify_index()).unwrap();
    check("verified", &storage);
    assert_eq!(found(&storage, "pear"), ["a:1"]);
}
