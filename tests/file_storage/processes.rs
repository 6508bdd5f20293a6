//! Several processes on one store, and processes that are killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use chatkeep::storage::{Expected, FileStorage, ReadRange, Revision, Storage, StorageExt};
use chatkeep::{ErrorKind, ListQuery, OwnerId};

use crate::common::*;
use crate::memory_disk::Chance;

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
    if role == "everything" {
        return do_everything(&storage, seed);
    }
    let rounds = if role == "append" { 300 } else { u64::MAX };
    for round in 0..rounds {
        let number = (seed << 32) + round;
        let first = append_at_end(&storage, number, 1 + round % 3);
        println!("\nack {number} {first} {}", 1 + round % 3);
    }
}

/// Some hundred calls of all sorts on two sessions. What they show never goes back, and is whole.
fn do_everything(storage: &FileStorage, seed: u64) {
    let mut chance = Chance::new(seed);
    let mut seen = [(0, 0); 2];
    for round in 0..250 {
        let index = chance.below(2) as usize;
        let key = key(["a", "b"][index]);
        let found = wait(storage.head(&key)).unwrap();
        let now = found.as_ref().map(|head| (head.incarnation.get(), head.revision.get()));
        assert!(now.is_none_or(|now| now >= seen[index]), "{now:?} after {:?}", seen[index]);
        seen[index] = seen[index].max(now.unwrap_or_default());
        let after = now.map_or(0, |(_, revision)| revision);
        let outcome = match chance.below(20) {
            0..=9 => {
                let expected = found.map_or(Expected::NewIncarnation, |head| Expected::At {
                    incarnation: head.incarnation,
                    revision: head.revision,
                });
                let batch = batch((seed << 32) + round, after, 1 + chance.below(9));
                wait(storage.append(&key, expected, batch)).map(|done| {
                    let head = done.head;
                    seen[index] = seen[index].max((head.incarnation.get(), head.revision.get()));
                })
            }
            10..=13 => wait(storage.read_after(&key, Revision::ZERO)).map(|page| {
                assert_eq!(page.damage, []);
                let (base, last) = (page.head.base.get(), page.head.revision.get());
                let above: Vec<u64> =
                    revisions(&page).into_iter().filter(|revision| *revision > base).collect();
                assert_eq!(above, (base + 1..=last).collect::<Vec<_>>());
            }),
            14..=16 => wait(storage.read_after(&key, Revision::ZERO)).and_then(|page| {
                let through = page.records[page.records.len() / 2].revision.max(page.head.base);
                let kept = page.records.iter().filter(|record| record.revision <= through);
                let kept = kept.step_by(2).cloned().collect();
                wait(storage.compact(&key, through, kept, &page.head)).map(drop)
            }),
            17 if chance.below(4) == 0 => wait(storage.purge(&key)).map(drop),
            18 => wait(storage.maintenance().repair(&key)).map(|report| {
                assert_eq!(report.damage, []);
            }),
            _ => wait(storage.list_all(&OwnerId::local(), &ListQuery::new())).map(|listed| {
                for session in listed {
                    assert!(!session.head.fields.extra.contains_key("unreadable"));
                }
            }),
        };
        if let Err(error) = outcome {
            use ErrorKind::{AlreadyExists, Conflict, NotFound};
            let lost = matches!(error.kind(), AlreadyExists | Conflict | NotFound);
            assert!(lost, "{error}");
        }
    }
}

#[test]
fn processes_do_everything_at_once_and_nobody_sees_it_go_back() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let children: Vec<Child> = (1..=3).map(|seed| child("everything", dir.path(), seed)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let storage = open(dir.path());
    for key in ["a", "b"].map(key) {
        if wait(storage.head(&key)).unwrap().is_some() {
            assert_eq!(wait(storage.maintenance().verify(&key)).unwrap().damage, []);
        }
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
    let mut after = Revision::ZERO;
    loop {
        let page = wait(storage.read(&key("shared"), ReadRange::After(after))).unwrap();
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
