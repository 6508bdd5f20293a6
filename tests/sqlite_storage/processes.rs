//! Several processes on one database, and processes that are killed.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use chatkeep::storage::{FullText, Storage, StorageExt, Term, TextQuery, WatchFilter};
use chatkeep::{ErrorKind, OwnerId, SqliteStorage};
use futures_util::StreamExt as _;

use crate::common::*;

const ROLE: &str = "CHATKEEP_TEST_ROLE";
const ROOT: &str = "CHATKEEP_TEST_ROOT";
const SEED: &str = "CHATKEEP_TEST_SEED";

fn child(role: &str, root: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["processes::in_a_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(ROOT, root)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Appends at the end, wherever that is by now, with a text; the revision that it got.
fn append_at_end(storage: &SqliteStorage, number: u64) -> u64 {
    let key = key("shared");
    loop {
        let after = wait(storage.head(&key)).unwrap().map_or(0, |head| head.revision.get());
        let mut batch = batch(number, after, 1);
        batch.texts = vec![text(after + 1, &format!("word n{number}"))];
        match wait(storage.append(&key, expected(after), batch)) {
            Ok(_) => return after + 1,
            Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists) => {}
            Err(e) => panic!("{e}"),
        }
    }
}

/// Not a test by itself: what the other tests' child processes run.
#[test]
fn in_a_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let storage = open(Path::new(&std::env::var(ROOT).unwrap()));
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let rounds = if role == "append" { 150 } else { u64::MAX };
    for round in 0..rounds {
        let number = (seed << 32) + round;
        println!("\nack {number} {}", append_at_end(&storage, number));
    }
}

fn acknowledged(line: &str) -> Option<(u64, u64)> {
    let mut words = line.strip_prefix("ack ")?.split(' ').map(|word| word.parse().ok());
    Some((words.next()??, words.next()??))
}

/// Every acknowledged batch is where it was said to be, once, and is found.
fn check(root: &Path, acknowledged: &[(u64, u64)]) {
    let storage = open(root);
    let page = read_all(&storage, &key("shared")).unwrap();
    assert_eq!(page.damage, []);
    assert!(page.records.iter().enumerate().all(|(i, r)| r.revision.get() == i as u64 + 1));
    for (number, place) in acknowledged {
        let id = chatkeep::storage::BatchId::new(*number);
        let places = page.records.iter().filter(|r| r.batch == id);
        assert_eq!(places.map(|r| r.revision.get()).collect::<Vec<_>>(), [*place]);
        let query = TextQuery::new(vec![Term::new(&format!("n{number}")).unwrap()]);
        let hits = wait(storage.search(&OwnerId::local(), &query, None)).unwrap().page.items;
        assert_eq!(hits.iter().map(|hit| hit.turn.get()).collect::<Vec<_>>(), [*place]);
    }
    wait(storage.maintenance().rebuild_index(&|_| {})).unwrap();
}

#[test]
fn processes_and_threads_append_together_and_nothing_is_lost() {
    let dir = tempdir();
    let children: Vec<Child> = (1..=2).map(|seed| child("append", dir.path(), seed)).collect();
    let threads: Vec<_> = (4..=5_u64)
        .map(|seed| {
            let storage = open(dir.path());
            std::thread::spawn(move || {
                let all = (0..100).map(|round| {
                    let number = (seed << 32) + round;
                    (number, append_at_end(&storage, number))
                });
                all.collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all: Vec<_> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        all.extend(text.lines().filter_map(acknowledged));
    }
    assert_eq!(all.len(), 2 * 150 + 2 * 100);
    check(dir.path(), &all);
}

#[test]
fn what_a_killed_process_acknowledged_is_there_and_is_found() {
    let dir = tempdir();
    let mut all = Vec::new();
    for round in 1..=15 {
        let mut child = child("forever", dir.path(), round);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 1 + (round * 7) % 23;
        let mut seen = 0;
        while seen < wanted {
            let line = lines.next().expect("the child ended by itself").unwrap();
            if let Some(ack) = acknowledged(&line) {
                all.push(ack);
                seen += 1;
            }
        }
        child.kill().unwrap();
        // What it said before it died counts as well; a last line may be cut off.
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        all.extend(rest.iter().rev().skip(1).filter_map(|line| acknowledged(line)));
        child.wait().unwrap();
    }
    check(dir.path(), &all);
}

#[test]
fn another_process_is_heard_of_and_known_to_be_gone() {
    let (dir, storage) = store();
    add(&storage, &key("shared"), 1, 0, 1).unwrap();
    let mut hints = wait(storage.watch(WatchFilter::Session(key("shared")))).unwrap();
    let mut child = child("forever", dir.path(), 1);
    assert_eq!(wait(hints.next()).unwrap().key, key("shared"));
    child.kill().unwrap();
    child.wait().unwrap();
    // The first place is this storage's own; the child had the second.
    let number = std::fs::read_to_string(dir.path().join("chats.db-writers/001.id")).unwrap();
    let writer = chatkeep::storage::WriterId(format!("001:{number}").into());
    assert!(wait(storage.is_gone(&writer)).unwrap());
    assert!(wait(storage.existing_head(&key("shared"))).is_ok());
}
