//! How many bytes an append writes and an opening reads: the same for short and long sessions.

use std::sync::Arc;

use chatkeep::storage::file::{CountingFileSystem, Counts, RealFileSystem};
use chatkeep::storage::{Durability, FileStorage, ReadRange, Record, Storage};

use crate::common::*;

/// A session of so many turns, written without syncs.
fn session(turns: u64) -> (tempfile::TempDir, CountingFileSystem) {
    let dir = tempfile::tempdir().unwrap();
    let files = CountingFileSystem::new(Arc::new(RealFileSystem));
    let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
    let key = key("s1");
    add(&storage, &key, 1, 0, 1).unwrap();
    for turn in 1..=turns {
        let mut batch = batch(turn + 1, turn, 1);
        batch.durability = Durability::Buffered;
        // A checkpoint every ten turns, as the façade writes them.
        if turn % 10 == 3 {
            batch.records[0].kind = Record::CHECKPOINT.into();
        }
        wait(storage.append(&key, expected(turn), batch)).unwrap();
    }
    (dir, files)
}

fn costs(turns: u64) -> (Counts, Counts, Counts, Counts) {
    let (dir, files) = session(turns);
    let key = key("s1");
    let measure = |work: &dyn Fn()| {
        let before = files.counts();
        work();
        files.counts() - before
    };
    let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
    // What an index reads behind is not the cost of a call.
    wait(storage.verify_index()).unwrap();
    let opening =
        measure(&|| drop(wait(storage.read(&key, ReadRange::Newest { turns: 5 })).unwrap()));
    let first = measure(&|| drop(add(&storage, &key, 1 << 40, turns + 1, 1).unwrap()));
    let second = measure(&|| drop(add(&storage, &key, 2 << 40, turns + 2, 1).unwrap()));
    let listing = measure(&|| {
        let all = wait(storage.list(&key.owner, &chatkeep::ListQuery::new(), None)).unwrap();
        assert_eq!(all.items.len(), 1);
    });
    (opening, first, second, listing)
}

#[test]
fn a_long_session_costs_what_a_short_one_costs() {
    let (short, long) = (costs(100), costs(20_000));
    println!("short {short:#?}\nlong {long:#?}");
    assert!(long.0.read <= 128 << 10, "opening read {} bytes", long.0.read);
    for counts in [short.1, short.2, long.1, long.2] {
        assert_eq!((counts.read, counts.writes, counts.syncs), (0, 1, 1));
        assert!(counts.written < 700, "an append wrote {} bytes", counts.written);
    }
    // The first append to a log makes sure of its name, and of those above it; the first of a
    // storage leaves its mark.
    assert_eq!([short.1.dir_syncs, long.1.dir_syncs], [4, 4]);
    assert_eq!([short.2.dir_syncs, long.2.dir_syncs], [0, 0]);
    assert!(long.3.read <= 64 << 10, "listing read {} bytes", long.3.read);
}

#[test]
fn going_back_page_by_page_reads_each_page_once() {
    let (dir, files) = session(2_000);
    let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
    let key = key("s1");
    let length = std::fs::metadata(log_path(dir.path(), "s1")).unwrap().len();
    let mut page = wait(storage.read(&key, ReadRange::Newest { turns: 50 })).unwrap();
    let before = files.counts();
    let mut pages = 0;
    while page.earlier {
        let revision = page.records[0].revision;
        page = wait(storage.read(&key, ReadRange::Before { revision, turns: 50 })).unwrap();
        pages += 1;
    }
    let read = (files.counts() - before).read;
    assert!(pages > 30 && read < length * 4, "{read} bytes for {pages} pages of {length}");
}

#[test]
fn many_sessions_do_not_keep_as_many_files_open() {
    let (dir, storage) = store();
    for number in 0..200 {
        add(&storage, &key(&format!("s{number}")), 1, 0, 1).unwrap();
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // Other tests run beside this one.
        let logs = dir.path().join("sessions");
        let paths = open.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        let open = paths.filter(|path| path.starts_with(&logs)).count();
        assert!((1..=128).contains(&open), "{open} logs are open");
    }
    add(&storage, &key("s0"), 2, 1, 1).unwrap();
}
