//! What others do to the database: take its file away, lock it, fill the disk, damage it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chatkeep::storage::{BatchId, FullText, Maintenance, Storage, StorageExt, Term, TextQuery};
use chatkeep::{ErrorKind, ListQuery, OwnerId, Result, SqliteStorage};
use futures_util::future::join_all;

use crate::common::*;

const ROLE: &str = "CHATKEEP_TEST_ATTACK_ROLE";
const ROOT: &str = "CHATKEEP_TEST_ATTACK_ROOT";

/// How many turns have a word.
fn found(storage: &SqliteStorage, word: &str) -> Result<usize> {
    let mut query = TextQuery::new(vec![Term::new(word).unwrap()]);
    query.limit = 500;
    Ok(wait(storage.search(&OwnerId::local(), &query, None))?.page.items.len())
}

fn listed(storage: &SqliteStorage) -> Result<usize> {
    Ok(wait(storage.list_all(&OwnerId::local(), &ListQuery::new()))?.len())
}

/// Sessions of five turns with a text each, all of them indexed.
fn fill(storage: &SqliteStorage, sessions: u64) {
    for number in 0..sessions {
        let mut batch = batch(1, 0, 5);
        batch.texts = (1..=5).map(|turn| text(turn, &format!("n{number} t{turn}"))).collect();
        wait(storage.append(&key(&format!("s{number}")), expected(0), batch)).unwrap();
    }
    assert_eq!(found(storage, "t2").unwrap() as u64, sessions);
}

fn remove(dir: &Path, name: &str) {
    std::fs::remove_file(dir.join(name)).unwrap();
}

/// What is done to the database while it is open.
type Harm = (&'static str, fn(&Path));

#[cfg(unix)]
const TAKEN: [Harm; 5] = [
    ("deleted", |dir| remove(dir, "chats.db")),
    ("moved", |dir| std::fs::rename(path(dir), dir.join("old.db")).unwrap()),
    ("replaced", |dir| {
        std::fs::copy(path(dir), dir.join("copy")).unwrap();
        std::fs::rename(dir.join("copy"), path(dir)).unwrap();
    }),
    ("its journal deleted", |dir| remove(dir, "chats.db-wal")),
    ("its shared memory deleted", |dir| remove(dir, "chats.db-shm")),
];

/// Nobody would ever find it there.
#[cfg(unix)]
#[test]
fn nothing_is_written_to_a_file_that_was_taken_away() {
    for (what, take) in TAKEN {
        let (dir, storage) = store();
        add(&storage, &key("s"), 1, 0, 1).unwrap();
        take(dir.path());
        let error = add(&storage, &key("s"), 2, 1, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
        assert_eq!(
            error.message(),
            "the database's file was moved, deleted or replaced while it was open",
            "{what}"
        );
        assert!(wait(storage.purge(&key("s"))).is_err(), "{what}");
        assert_eq!(read_all(&storage, &key("s")).unwrap().records.len(), 1, "{what}");
    }
}

#[cfg(unix)]
#[test]
fn whoever_cannot_open_the_database_is_told_what_failed_first() {
    let (dir, _storage) = store();
    remove(dir.path(), "chats.db-wal");
    // Its header is in the file, and its tables were in the journal.
    let error = wait(SqliteStorage::open(path(dir.path()))).unwrap_err();
    assert_eq!(error.context("reason"), Some("disk I/O error"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_database_that_is_opened_by_a_link_is_the_same_one() {
    let (dir, storage) = store();
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(path(dir.path()), &link).unwrap();
    let other = wait(SqliteStorage::open(&link)).unwrap();
    add(&storage, &key("s"), 1, 0, 1).unwrap();
    add(&other, &key("s"), 2, 1, 1).unwrap();
    assert_eq!(revisions(&read_all(&storage, &key("s")).unwrap()), [1, 2]);
    // What one of them is writing is not ended by the other one.
    assert!(!wait(storage.is_gone(&other.writer())).unwrap());
    assert!(!wait(other.is_gone(&storage.writer())).unwrap());
    let gone = other.writer();
    drop(other);
    assert!(wait(storage.is_gone(&gone)).unwrap());
}

#[test]
fn somebody_who_writes_for_long_is_waited_for_and_holds_up_no_reader() {
    let (dir, storage) = store();
    fill(&storage, 2);
    let holder = raw(dir.path());
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let held = Duration::from_millis(400);
    let begun = Instant::now();
    let writes = std::thread::spawn(move || {
        std::thread::sleep(held);
        holder.execute_batch("COMMIT").unwrap();
    });
    assert_eq!(read_all(&storage, &key("s0")).unwrap().records.len(), 5);
    assert_eq!((listed(&storage).unwrap(), found(&storage, "t2").unwrap()), (2, 2));
    assert!(begun.elapsed() < held, "a reader waited");
    let keys: Vec<_> = (0..8).map(|number| key(&format!("new{number}"))).collect();
    let all = keys.iter().map(|key| storage.append(key, expected(0), batch(1, 0, 1)));
    assert!(wait(join_all(all)).iter().all(Result::is_ok));
    assert!(begun.elapsed() >= held, "nobody was waited for");
    writes.join().unwrap();
}

/// Damage of what is derived, and what is searched for then.
const DAMAGED_TEXTS: [&str; 6] = [
    "UPDATE texts_data SET block = zeroblob(length(block)) WHERE id = 10",
    "UPDATE texts_data SET block = x'ffffffffff' WHERE id = 10",
    "DELETE FROM texts_data WHERE id = 10",
    "UPDATE texts_data SET block = zeroblob(length(block)) WHERE id > 10",
    "DELETE FROM texts_data WHERE id > 10",
    "DELETE FROM texts_idx",
];

#[test]
fn a_damaged_full_text_is_built_anew_and_keeps_no_session_from_being_deleted_then() {
    for change in DAMAGED_TEXTS {
        let (dir, storage) = store();
        fill(&storage, 20);
        // Texts wait beside the index: this indexes them.
        wait(storage.scrub()).unwrap();
        assert!(raw(dir.path()).execute(change, ()).unwrap() > 0, "{change}");
        if let Err(error) = found(&storage, "t2") {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{change}: {error}");
        }
        wait(storage.rebuild_index(&|_| {})).unwrap();
        assert_eq!(found(&storage, "t2").unwrap(), 20, "{change}");
        wait(storage.purge(&key("s3"))).unwrap();
        assert_eq!((found(&storage, "t2").unwrap(), found(&storage, "n3").unwrap()), (19, 0));
    }
}

/// The engine comes across most of this damage only when it commits.
#[test]
fn a_damaged_full_text_fails_nothing_that_is_written() {
    type Write = (&'static str, fn(&SqliteStorage) -> Result<()>);
    let many = |storage: &SqliteStorage| {
        let mut many = batch(2, 5, 1);
        many.texts = (1..=300).map(|turn| text(turn, "quince")).collect();
        wait(storage.append(&key("s3"), expected(5), many)).map(drop)
    };
    let together = |storage: &SqliteStorage| {
        let both = ["s3", "s4"].map(|id| {
            let mut many = batch(2, 5, 1);
            many.texts = (1..=300).map(|turn| text(turn, "quince")).collect();
            (key(id), many)
        });
        let appends = both.map(|(key, many)| async move {
            storage.append(&key, expected(5), many).await.map(drop)
        });
        wait(join_all(appends)).into_iter().collect()
    };
    let scrub = |storage: &SqliteStorage| {
        let mut one = batch(2, 5, 1);
        one.texts = vec![text(1, "quince")];
        wait(storage.append(&key("s3"), expected(5), one))?;
        wait(storage.scrub())
    };
    let writes: [Write; 4] = [
        ("a deletion", |storage| wait(storage.purge(&key("s3"))).map(drop)),
        ("a scrub", scrub),
        ("many texts", many),
        ("many texts of two sessions", together),
    ];
    for change in DAMAGED_TEXTS {
        for (what, write) in writes {
            let (dir, storage) = store();
            fill(&storage, 20);
            wait(storage.scrub()).unwrap();
            assert!(raw(dir.path()).execute(change, ()).unwrap() > 0, "{change}");
            write(&storage).unwrap_or_else(|error| panic!("{what} after {change}: {error}"));
            let there = wait(storage.head(&key("s3"))).unwrap().is_some();
            assert_eq!(there, what != "a deletion");
            // Nothing of the damage is left to whoever comes next.
            wait(storage.purge(&key("s4"))).unwrap();
            wait(storage.rebuild_index(&|_| {})).unwrap();
            wait(storage.purge(&key("s5"))).unwrap();
            assert_eq!(found(&storage, "n5").unwrap(), 0, "{what} after {change}");
            assert_eq!(found(&storage, "n6").unwrap(), 5, "{what} after {change}");
        }
    }
}

#[test]
fn what_the_engine_says_of_a_damaged_full_text_is_damage() {
    for change in [
        "UPDATE texts_config SET v = 0 WHERE k = 'version'",
        "DELETE FROM full_text WHERE name = 'spill'",
    ] {
        let (dir, storage) = store();
        fill(&storage, 2);
        drop(storage);
        assert_eq!(raw(dir.path()).execute(change, ()).unwrap(), 1);
        let error = found(&open(dir.path()), "t2").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{change}: {error}");
    }
}

#[test]
fn a_damaged_table_is_told_of_by_a_rebuild() {
    let (dir, storage) = store();
    fill(&storage, 20);
    wait(storage.scrub()).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'records'";
    let page: i64 = raw(dir.path()).query_row(sql, (), |row| row.get(0)).unwrap();
    drop(storage);
    let mut bytes = std::fs::read(path(dir.path())).unwrap();
    let at = (usize::try_from(page).unwrap() - 1) * 4_096;
    bytes[at..at + 64].fill(0xff);
    std::fs::write(path(dir.path()), bytes).unwrap();
    let error = wait(open(dir.path()).rebuild_index(&|_| {})).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_rebuild_takes_nothing_for_damage_that_another_has_merged() {
    let (dir, storage) = store();
    fill(&storage, 20);
    let other = open(dir.path());
    wait(other.scrub()).unwrap();
    wait(storage.rebuild_index(&|_| {})).unwrap();
    assert_eq!(found(&other, "t2").unwrap(), 20);
    wait(other.rebuild_index(&|_| {})).unwrap();
}

fn child(role: &str, root: &Path, command: &mut Command) -> Child {
    command
        .args(["attacked::in_a_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ROOT, root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test by itself: what the other tests' child processes run.
#[test]
fn in_a_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let root = std::env::var(ROOT).unwrap();
    match &*role {
        "open" => {
            println!("\nready");
            std::io::stdin().lines().next();
            let own = key(&format!("p{}", std::process::id()));
            add(&open(Path::new(&root)), &own, 1, 0, 1).unwrap();
        }
        "fill" => fill_the_disk(&open(Path::new(&root))),
        _ => panic!("{role}"),
    }
}

#[test]
fn processes_that_make_one_database_at_once_all_have_it() {
    for _ in 0..3 {
        let dir = tempdir();
        let start = || Command::new(std::env::current_exe().unwrap());
        let mut children: Vec<Child> =
            (0..4).map(|_| child("open", dir.path(), &mut start())).collect();
        for child in &mut children {
            let output = std::io::BufReader::new(child.stdout.as_mut().unwrap());
            let ready = |line: std::io::Result<String>| line.unwrap() == "ready";
            assert!(std::io::BufRead::lines(output).any(ready));
        }
        // Now they begin.
        children.iter_mut().for_each(|child| drop(child.stdin.take()));
        for child in children {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        assert_eq!(listed(&open(dir.path())).unwrap(), 4);
    }
}

/// Appends until that has failed some times. What was said to have failed, or not to be known, is
/// left alone.
fn fill_the_disk(storage: &SqliteStorage) {
    let mut failed = 0;
    for number in 1.. {
        let id = number % 5;
        let key = key(&format!("s{id}"));
        let after = wait(storage.head(&key)).unwrap().map_or(0, |head| head.revision.get());
        let mut batch = batch(number, after, 40);
        batch.texts = vec![text(after + 1, &format!("some words n{number}"))];
        match wait(storage.append(&key, expected(after), batch)) {
            Ok(_) => println!("\nack {number} {id} {after}"),
            Err(error) => {
                use ErrorKind::{Indeterminate, Unavailable};
                assert!(matches!(error.kind(), Indeterminate | Unavailable), "{error}");
                println!("\nnot {number} {id} {after}");
                failed += 1;
            }
        }
        if failed == 12 {
            // What is there can be read.
            assert_eq!(listed(storage).unwrap(), 5);
            return;
        }
    }
}

/// A limit of the size of files stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged_and_leaves_nothing_in_part() {
    let dir = tempdir();
    drop(open(dir.path()));
    let mut limited = Command::new("sh");
    let exe = std::env::current_exe().unwrap();
    limited.args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\""]).arg(exe);
    let output = child("fill", dir.path(), &mut limited).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let storage = open(dir.path());
    let mut acknowledged = 0;
    for line in text.lines() {
        let mut words = line.split(' ');
        let word = words.next();
        let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
        let (Some("ack" | "not"), [number, id, after]) = (word, &numbers[..]) else { continue };
        let page = read_all(&storage, &key(&format!("s{id}"))).unwrap();
        assert_eq!(page.damage, []);
        let of_batch = page.records.iter().filter(|r| r.batch == BatchId::new(*number));
        let revisions: Vec<u64> = of_batch.map(|record| record.revision.get()).collect();
        let whole: Vec<u64> = (after + 1..=after + 40).collect();
        assert!(revisions == whole || word == Some("not") && revisions.is_empty(), "{line}");
        if word == Some("ack") {
            acknowledged += 1;
            assert_eq!(found(&storage, &format!("n{number}")).unwrap(), 1, "{line}");
        }
    }
    assert!(acknowledged > 5, "{acknowledged}");
    wait(storage.rebuild_index(&|_| {})).unwrap();
}

/// One garbled file after another: what comes out of it was written, or something is told.
#[test]
fn a_garbled_file_gives_no_record_that_nobody_wrote() {
    let (dir, storage) = store();
    fill(&storage, 12);
    let keys: Vec<_> = (0..12).map(|number| key(&format!("s{number}"))).collect();
    let originals: Vec<_> =
        keys.iter().map(|key| read_all(&storage, key).unwrap().records).collect();
    wait(storage.scrub()).unwrap();
    drop(storage);
    let whole = std::fs::read(path(dir.path())).unwrap();
    let rounds = std::env::var("CHATKEEP_GARBLED_FILES").map_or(30, |n| n.parse().unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % limit
    };
    for round in 0..rounds {
        let mut bytes = whole.clone();
        for _ in 0..=below(8) {
            let at = below(bytes.len());
            let page = at / 4_096 * 4_096;
            match round % 3 {
                0 => bytes[at] ^= 1 << below(8),
                1 => bytes[page + below(16)] = below(256) as u8,
                _ => bytes[page..page + 4_096].iter_mut().for_each(|byte| *byte = below(256) as u8),
            }
        }
        let dir = tempdir();
        std::fs::write(path(dir.path()), bytes).unwrap();
        let Ok(storage) = wait(SqliteStorage::open(path(dir.path()))) else { continue };
        for (key, original) in keys.iter().zip(&originals) {
            let Ok(page) = read_all(&storage, key) else { continue };
            assert!(page.records.iter().all(|record| original.contains(record)), "{round}: {key}");
            let all_told = page.records.len() == original.len() || !page.damage.is_empty();
            assert!(all_told, "{round}: records of {key} are missing, and nothing is told");
        }
        // Whatever comes of these: nobody panics, and nothing is waited for.
        let _ = (listed(&storage), found(&storage, "t2"), wait(storage.purge(&keys[3])));
        let _ = (add(&storage, &key("new"), 7, 0, 1), wait(storage.repair(&keys[4])));
        let _ = wait(storage.rebuild_index(&|_| {}));
    }
}

/// What is derived can be built anew, whatever of it is damaged.
#[test]
fn every_damage_of_the_full_text_alone_is_mended_by_a_rebuild() {
    for change in [
        "UPDATE texts_config SET v = 0 WHERE k = 'version'",
        "DELETE FROM texts_config",
        "DELETE FROM full_text WHERE name = 'spill'",
        "DELETE FROM full_text WHERE name = 'tokens'",
    ] {
        let (dir, storage) = store();
        fill(&storage, 20);
        drop(storage);
        assert!(raw(dir.path()).execute(change, ()).unwrap() > 0);
        let storage = wait(SqliteStorage::open(path(dir.path())))
            .unwrap_or_else(|error| panic!("{change}: it cannot even be opened: {error}"));
        let rebuilt = wait(storage.rebuild_index(&|_| {}));
        assert!(rebuilt.is_ok(), "{change}: {rebuilt:?}");
        assert_eq!(found(&storage, "t2").unwrap(), 20, "{change}");
        wait(storage.purge(&key("s3"))).unwrap();
    }
}

/// Texts that wait to be indexed are found where they are: nothing has to be written for a search.
#[test]
fn a_search_waits_for_nobody_who_writes() {
    let (dir, storage) = store();
    fill(&storage, 2);
    let mut last = batch(9, 0, 1);
    last.texts = vec![text(1, "waiting")];
    wait(storage.append(&key("last"), expected(0), last)).unwrap();
    let holder = raw(dir.path());
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(found(&storage, "waiting").unwrap(), 1);
    assert_eq!(found(&storage, "t2").unwrap(), 2);
    holder.execute_batch("COMMIT").unwrap();
}
