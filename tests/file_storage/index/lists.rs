//! Lists out of the index, with what has not come into it yet.

use std::sync::Arc;

use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::storage::{FileStorage, ListOrder, ListQuery, Storage, StorageExt};
use chatkeep::{OwnerId, SessionStatus};
use proptest::prelude::*;

use super::*;

#[test]
fn a_list_opens_no_log_and_looks_at_no_tree() {
    let dir = tempdir();
    let storage = open(dir.path());
    for number in 0..50 {
        say(&storage, &format!("s{number}"), "hello");
    }
    drop(storage);
    let counting = CountingFileSystem::new(Arc::new(RealFileSystem));
    let storage = FileStorage::with_files(dir.path(), Arc::new(counting.clone())).unwrap();
    wait(storage.verify_index()).unwrap();
    let before = counting.counts();
    let owner = OwnerId::local();
    let page = wait(storage.list(&owner, &ListQuery::new().limit(20), None)).unwrap();
    let rest = wait(storage.list(&owner, &ListQuery::new().limit(20), page.next)).unwrap();
    assert_eq!(rest.items.len(), 20);
    assert_eq!(wait(storage.count(&owner, &ListQuery::new())).unwrap(), 50);
    assert_eq!(wait(storage.owners(None)).unwrap().items, [owner]);
    assert_eq!(found(&storage, "hello").len(), 50);
    let cost = counting.counts() - before;
    assert_eq!((cost.opens, cost.read), (0, 0));
    // Of each: which file is the index, and whether a deletion was interrupted.
    assert!(cost.looks <= 5 * 5, "{cost:?}");
    assert!(cost.lists <= 5, "{cost:?}");
}

#[test]
fn an_append_that_changes_activity_alone_asks_no_more_of_the_disk_than_without_an_index() {
    let dir = tempdir();
    let counting = CountingFileSystem::new(Arc::new(RealFileSystem));
    let storage = FileStorage::with_files(dir.path(), Arc::new(counting.clone())).unwrap();
    wait(storage.verify_index()).unwrap();
    say(&storage, "s1", "one");
    say(&storage, "s1", "two");
    let head = wait(storage.head(&key("s1"))).unwrap().unwrap();
    let before = counting.counts();
    let mut fields = head.fields;
    fields.turns += 1;
    wait(storage.append(&key("s1"), expected(2), saying(9, 2, "three", Some(fields)))).unwrap();
    let cost = counting.counts() - before;
    assert_eq!((cost.opens, cost.read, cost.writes, cost.syncs), (0, 0, 1, 1), "{cost:?}");
    // The tombstone, the log.
    assert!(cost.looks <= 2, "{cost:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Say(usize, i64),
    Title(usize, u8),
    Status(usize, bool),
    Purge(usize),
    Compact(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = 0..6_usize;
    let step = prop_oneof![
        6 => (id.clone(), 0..50_i64).prop_map(|(id, active)| Step::Say(id, active)),
        2 => (id.clone(), 0..4_u8).prop_map(|(id, title)| Step::Title(id, title)),
        1 => (id.clone(), any::<bool>()).prop_map(|(id, archived)| Step::Status(id, archived)),
        1 => id.clone().prop_map(Step::Purge),
        1 => id.prop_map(Step::Compact),
    ];
    prop::collection::vec(step, 1..25)
}

fn run(storage: &FileStorage, step: &Step) {
    let name = |id: &usize| format!("s{id}");
    let exists = |id: &usize| wait(storage.head(&key(&name(id)))).unwrap();
    match step {
        Step::Say(id, _) | Step::Title(id, _) | Step::Status(id, _) if was_purged(storage, id) => {}
        Step::Say(id, active) => say_with(storage, &name(id), "x", |fields| {
            fields.active = at() + std::time::Duration::from_secs(active.unsigned_abs());
            fields.turns += 1;
        }),
        Step::Title(id, title) => say_with(storage, &name(id), "x", |fields| {
            fields.title = format!("Title {title}");
        }),
        Step::Status(id, archived) => say_with(storage, &name(id), "x", |fields| {
            fields.status = if *archived { SessionStatus::Archived } else { SessionStatus::Active };
        }),
        Step::Purge(id) => {
            if exists(id).is_some() {
                wait(storage.purge(&key(&name(id)))).unwrap();
            }
        }
        Step::Compact(id) => {
            if let Some(head) = exists(id) {
                let key = key(&name(id));
                let page = read_all(storage, &key).unwrap();
                let last = page.records.last().unwrap().clone();
                let _ = wait(storage.compact(&key, head.revision, vec![last], &head)).unwrap();
            }
        }
    }
}

fn was_purged(storage: &FileStorage, id: &usize) -> bool {
    let dir = storage.path().join("tombstones");
    dir.is_dir() && wait(storage.head(&key(&format!("s{id}")))).unwrap().is_none()
}

fn queries() -> Vec<ListQuery> {
    let q = ListQuery::new;
    let second = |n| at() + std::time::Duration::from_secs(n);
    vec![
        q(),
        q().order(ListOrder::Created),
        q().order(ListOrder::Title),
        q().status(SessionStatus::Active),
        q().title("title 1"),
        q().active(Some(second(10)), Some(second(30))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_list_is_the_same_as_that_of_the_logs(steps in steps()) {
        let dir = tempdir();
        let (storage, scanning) = (open(dir.path()), plain(dir.path()));
        wait(storage.verify_index()).unwrap();
        let owner = OwnerId::local();
        for step in &steps {
            run(&storage, step);
            for query in queries() {
                let expected = wait(scanning.list_all(&owner, &query)).unwrap();
                for limit in [1, 3, 50] {
                    let got = wait(storage.list_all(&owner, &query.clone().limit(limit))).unwrap();
                    prop_assert_eq!(&got, &expected, "{:?} after {:?}", query, step);
                }
                let count = wait(storage.count(&owner, &query)).unwrap();
                prop_assert_eq!(count, expected.len() as u64);
            }
        }
        // What was overlaid is what was written.
        drop(storage);
        let again = open(dir.path());
        let expected = wait(scanning.list_all(&owner, &ListQuery::new())).unwrap();
        prop_assert_eq!(all(&again), expected);
    }
}
