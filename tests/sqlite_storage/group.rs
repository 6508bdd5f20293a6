//! Appends that arrive together.

use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use chatkeep::storage::{Durability, Storage, WatchFilter};
use chatkeep::{ErrorKind, SqliteStorage};
use futures_util::StreamExt as _;
use futures_util::future::join_all;

use crate::common::*;

/// How many transactions the write-ahead log holds.
fn commits(dir: &Path) -> usize {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4096;
    let wal = std::fs::read(dir.join("chats.db-wal")).unwrap();
    let salt = &wal[16..24];
    let frames = wal[HEADER..].chunks_exact(FRAME).take_while(|frame| &frame[8..16] == salt);
    frames.filter(|frame| frame[4..8] != [0; 4]).count()
}

#[test]
fn appends_of_many_sessions_are_one_transaction() {
    let (dir, storage) = store();
    let keys: Vec<_> = (0..64).map(|number| key(&format!("s{number}"))).collect();
    let before = commits(dir.path());
    let all = keys.iter().map(|key| storage.append(key, expected(0), batch(1, 0, 2)));
    assert!(wait(join_all(all)).iter().all(Result::is_ok));
    assert_eq!(commits(dir.path()), before + 1);
    for key in &keys {
        assert_eq!(revisions(&read_all(&storage, key).unwrap()), [1, 2]);
    }
}

#[test]
fn what_one_is_refused_for_concerns_no_other() {
    let (_dir, storage) = store();
    let (a, b, c) = (key("a"), key("b"), key("c"));
    add(&storage, &b, 1, 0, 1).unwrap();
    let mut too_long = batch(2, 1, 1);
    too_long.texts = vec![text(u64::MAX, "a turn that no engine can number")];
    let answers = wait(join_all([
        storage.append(&a, expected(0), batch(3, 0, 1)),
        storage.append(&b, expected(7), batch(4, 7, 1)),
        storage.append(&b, expected(1), too_long),
        storage.append(&c, expected(0), batch(5, 0, 1)),
        // Two of one session: the second finds that the first has landed.
        storage.append(&c, expected(1), batch(6, 1, 1)),
        storage.append(&c, expected(1), batch(7, 1, 1)),
    ]));
    let kinds: Vec<_> = answers.into_iter().map(|answer| answer.err().map(|e| e.kind())).collect();
    let (conflict, limit) = (Some(ErrorKind::Conflict), Some(ErrorKind::LimitExceeded));
    assert_eq!(kinds, [None, conflict, limit, None, None, conflict]);
    assert_eq!(revisions(&read_all(&storage, &a).unwrap()), [1]);
    assert_eq!(revisions(&read_all(&storage, &b).unwrap()), [1]);
    assert_eq!(revisions(&read_all(&storage, &c).unwrap()), [1, 2]);
}

#[test]
fn an_append_that_nobody_waits_for_holds_up_no_other() {
    let (_dir, storage) = store();
    let (a, b) = (key("a"), key("b"));
    let mut dropped = Box::pin(storage.append(&a, expected(0), batch(1, 0, 1)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(dropped.as_mut().poll(&mut context).is_pending());
    drop(dropped);
    add(&storage, &b, 2, 0, 1).unwrap();
    // It was not begun, and is not done later.
    assert_eq!(wait(storage.head(&a)).unwrap(), None);
    add(&storage, &a, 1, 0, 1).unwrap();
}

#[test]
fn many_threads_append_together_and_each_gets_its_own_answer() {
    let (_dir, storage) = store();
    let storage = Arc::new(storage);
    let threads: Vec<_> = (0..8_u64)
        .map(|thread| {
            let storage = Arc::clone(&storage);
            std::thread::spawn(move || {
                let own = key(&format!("own{thread}"));
                let mut won = 0;
                for round in 0..25 {
                    let number = thread * 1_000 + round;
                    let done = add(&storage, &own, number, round, 1).unwrap();
                    assert_eq!(done.head.revision.get(), round + 1);
                    won += append_to_shared(&storage, 100_000 + number);
                }
                won
            })
        })
        .collect();
    let won: u64 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    let shared = read_all(&storage, &key("shared")).unwrap();
    assert_eq!(shared.records.len() as u64, won);
    assert_eq!(shared.damage, []);
}

/// One try where the session stands; how many landed.
fn append_to_shared(storage: &SqliteStorage, number: u64) -> u64 {
    let key = key("shared");
    let after = wait(storage.head(&key)).unwrap().map_or(0, |head| head.revision.get());
    match add(storage, &key, number, after, 1) {
        Ok(done) => {
            assert_eq!(done.head.revision.get(), after + 1);
            1
        }
        Err(error) => {
            let lost = matches!(error.kind(), ErrorKind::Conflict | ErrorKind::AlreadyExists);
            assert!(lost, "{error}");
            0
        }
    }
}

#[test]
fn a_retry_that_asks_for_more_is_synced() {
    let (dir, storage) = store();
    let key = key("s");
    let mut first = batch(1, 0, 1);
    first.durability = Durability::Buffered;
    let done = wait(storage.append(&key, expected(0), first.clone())).unwrap();
    assert_eq!(done.durability, Durability::Buffered);
    let before = commits(dir.path());
    first.durability = Durability::Synced;
    let again = wait(storage.append(&key, expected(0), first)).unwrap();
    assert_eq!((again.head, again.durability), (done.head, Durability::Synced));
    // A commit is what syncs the log.
    assert_eq!(commits(dir.path()), before + 1);
}

/// Appends once, within the call that wakes it.
struct Appends(Mutex<Option<SqliteStorage>>);

impl Wake for Appends {
    fn wake(self: Arc<Self>) {
        let storage = self.0.lock().unwrap().take();
        if let Some(storage) = storage {
            add(&storage, &key("woken"), 2, 0, 1).unwrap();
        }
    }
}

#[test]
fn whoever_is_woken_by_an_append_can_append_at_once() {
    let (_dir, storage) = store();
    let (done, finished) = mpsc::channel();
    let own = storage.clone();
    std::thread::spawn(move || {
        let mut hints = wait(storage.watch(WatchFilter::Session(key("s")))).unwrap();
        let waker = Waker::from(Arc::new(Appends(Mutex::new(Some(storage.clone())))));
        assert!(hints.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
        add(&storage, &key("s"), 1, 0, 1).unwrap();
        done.send(()).unwrap();
    });
    finished.recv_timeout(Duration::from_secs(20)).expect("it waits for itself");
    assert_eq!(read_all(&own, &key("woken")).unwrap().records.len(), 1);
}
