//! Several processes on one store, and processes that are killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use chatkeep::ErrorKind;
use chatkeep::storage::{FileStorage, Storage};

use crate::common::*;

const ROLE: &str = "CHATKEEP_TEST_ROLE";
const ROOT: &str = "CHATKEEP_TEST_ROOT";
const SEED: &str = "CHATKEEP_TEST_SEED";

fn child(role: &str, root: &std::path::Path, seed: u64) -> Child {
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

/// Appends at the end, wherever that is by now; the revision and batch that it got.
fn append_at_end(storage: &FileStorage, number: u64, count: u64) -> u64 {
    let key = key("shared");
    loop {
        let after = wait(storage.head(&key)).unwrap().map_or(0, |head| head.revision.get());
        match add(storage, &key, number, after, count) {
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
    let storage = open(std::path::Path::new(&std::env::var(ROOT).unwrap()));
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let rounds = if role == "append" { 300 } else { u64::MAX };
    for round in 0..rounds {
        let number = (seed << 32) + round;
        let first = append_at_end(&storage, number, 1 + round % 3);
        println!("\nack {number} {first} {}", 1 + round % 3);
    }
}

fn acknowledged(line: &str) -> Option<(u64, u64, u64)> {
    let mut words = line.strip_prefix("ack ")?.split(' ').map(|word| word.parse().ok());
    Some((words.next()??, words.next()??, words.next()??))
}

/// Every acknowledged batch is where it was said to be, whole and once.
fn check(root: &std::path::Path, acknowledged: &[(u64, u64, u64)]) {
    let storage = open(root);
    let mut records = Vec::new();
    let mut after = chatkeep::storage::Revision::ZERO;
    loop {
        let page =
            wait(storage.read(&key("shared"), chatkeep::storage::ReadRange::After(after))).unwrap();
        assert!(page.damage.is_empty(), "{:?}", page.damage);
        records.extend(page.records);
        after = records.last().unwrap().revision;
        if !page.later {
            break;
        }
    }
    assert!(records.iter().enumerate().all(|(i, r)| r.revision.get() == i as u64 + 1));
    for (number, first, count) in acknowledged {
        let id = chatkeep::storage::BatchId::new(*number);
        let places: Vec<u64> =
            records.iter().filter(|r| r.batch == id).map(|r| r.revision.get()).collect();
        assert_eq!(places, (*first..first + count).collect::<Vec<_>>(), "batch {number}");
    }
}

#[test]
fn processes_and_threads_append_together_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let children: Vec<Child> = (1..=3).map(|seed| child("append", dir.path(), seed)).collect();
    let threads: Vec<_> = (4..=5)
        .map(|seed| {
            let storage = open(dir.path());
            std::thread::spawn(move || {
                let all = (0..200).map(|round| {
                    let number = (seed << 32) + round;
                    (number, append_at_end(&storage, number, 2), 2)
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
    assert_eq!(all.len(), 3 * 300 + 2 * 200);
    check(dir.path(), &all);
}

#[test]
fn what_a_killed_process_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 1..=60 {
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
