//! `StringMapStorage`: the suite, and a crash or a failure at every single call of the map.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use chatkeep::storage::string_map::MemoryStringMap;
use chatkeep::storage::{
    BlobId, DocumentScope, ExpectedDocument, Revision, Storage, StorageExt, StringMap,
    StringMapStorage,
};
use chatkeep::{Error, ErrorKind, Result};
use jiff::Timestamp;
use pollster::block_on;

use crate::common::{add, key, sessions};

#[cfg(feature = "conformance")]
mod suite {
    use super::*;

    fn fixture() -> impl chatkeep::storage::conformance::Fixture {
        let map = MemoryStringMap::new();
        let open = move || block_on(StringMapStorage::open(map.clone()));
        crate::common::Reopening::new(open)
    }

    chatkeep::storage::conformance::tests!(fixture: fixture);
}

#[cfg(feature = "conformance")]
#[test]
fn answers_that_are_lost_and_writes_that_fail() {
    use chatkeep::storage::conformance::of_key_value;
    use chatkeep::storage::string_map::StringMapEngine;
    crate::common::check_faults(|| {
        let engine = block_on(StringMapEngine::open(MemoryStringMap::new())).unwrap();
        of_key_value(engine, None)
    });
}

/// What becomes of a change that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The process dies before it, so that nothing works any more.
    Crash,
    /// It fails and the map says so.
    Refused,
    /// It takes effect and the map does not say so.
    LostAnswer,
    /// It takes no effect and the map does not say so.
    LostRequest,
}

/// A map whose nth change goes wrong.
#[derive(Clone)]
struct Faulty {
    map: MemoryStringMap,
    left: Arc<AtomicI64>,
    fault: Fault,
}

impl Faulty {
    fn new(fault: Fault, after: i64) -> Self {
        Self { map: MemoryStringMap::new(), left: Arc::new(AtomicI64::new(after)), fault }
    }

    fn check_alive(&self) -> Result<()> {
        match self.fault == Fault::Crash && self.left.load(Ordering::SeqCst) < 0 {
            true => Err(Error::new(ErrorKind::Unavailable, "the process is dead")),
            false => Ok(()),
        }
    }

    /// Whether a change is to be made, and what is said of it.
    fn change(&self) -> (bool, Result<()>) {
        let left = self.left.fetch_sub(1, Ordering::SeqCst);
        let unknown = || Err(Error::new(ErrorKind::Indeterminate, "no answer"));
        match self.fault {
            Fault::Crash if left <= 0 => (false, self.check_alive()),
            _ if left != 0 => (true, Ok(())),
            Fault::LostAnswer => (true, unknown()),
            Fault::LostRequest => (false, unknown()),
            _ => (false, Err(Error::new(ErrorKind::Unavailable, "the map is busy"))),
        }
    }
}

#[async_trait]
impl StringMap for Faulty {
    async fn get(&self, key: &str) -> Result<Option<String>> {
        self.check_alive()?;
        self.map.get(key).await
    }

    async fn set(&self, key: &str, value: &str) -> Result<()> {
        let (made, said) = self.change();
        if made {
            self.map.set(key, value).await?;
        }
        said
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let (made, said) = self.change();
        if made {
            self.map.remove(key).await?;
        }
        said
    }

    async fn keys(&self) -> Result<Vec<String>> {
        self.check_alive()?;
        self.map.keys().await
    }
}

const STEPS: usize = 8;

/// One of some calls that change several keys each.
fn step(storage: &dyn Storage, number: usize) -> Result<()> {
    let (scope, now) = (DocumentScope::Store, Timestamp::UNIX_EPOCH);
    match number {
        0 => add(storage, "a", 0, 3).map(drop),
        1 => add(storage, "b", 0, 2).map(drop),
        2 => block_on(storage.put_blob(&key("a"), &BlobId::of(b"\0blob"), b"\0blob"[..].into())),
        3 => add(storage, "a", 3, 2).map(drop),
        4 => {
            let page = block_on(storage.read_after(&key("a"), Revision::ZERO))?;
            if page.head.base == Revision::new(4) {
                return Ok(());
            }
            let kept = vec![page.records[1].clone()];
            block_on(storage.compact(&key("a"), Revision::new(4), kept, &page.head)).map(drop)
        }
        5 => {
            let any = ExpectedDocument::Any;
            block_on(storage.put_document(&scope, "d", any, "x".into(), None, now)).map(drop)
        }
        6 => match block_on(storage.purge(&key("b"))) {
            // A retry of one whose answer was lost.
            Err(error) if error.is_not_found() => Ok(()),
            purged => purged.map(drop),
        },
        _ => add(storage, "a", 5, 4).map(drop),
    }
}

fn view(storage: &dyn Storage) -> Vec<String> {
    let mut view = sessions(storage);
    let (scope, now) = (DocumentScope::Store, Timestamp::UNIX_EPOCH);
    let document = block_on(storage.get_document(&scope, "d", now)).unwrap();
    view.extend(document.map(|document| format!("{:?}", document.content)));
    view
}

/// What is to be seen after no step, after one, after two, …
fn views() -> Vec<Vec<String>> {
    let storage = block_on(StringMapStorage::open(MemoryStringMap::new())).unwrap();
    let mut views = vec![view(&storage)];
    for number in 0..STEPS {
        step(&storage, number).unwrap();
        views.push(view(&storage));
    }
    views
}

#[test]
fn a_crash_at_any_change_leaves_each_commit_whole_or_not_at_all() {
    let views = views();
    let (mut crashes, mut inside) = (0, 0);
    for after in 0.. {
        let map = Faulty::new(Fault::Crash, after);
        let storage = block_on(StringMapStorage::open(map.clone())).unwrap();
        let done = (0..STEPS).take_while(|number| step(&storage, *number).is_ok()).count();
        drop(storage);
        inside += usize::from(block_on(map.map.get("chatkeep.1/+intent")).unwrap().is_some());
        let reopened = block_on(StringMapStorage::open(map.map.clone())).unwrap();
        let seen = view(&reopened);
        assert!(
            seen == views[done] || views.get(done + 1).is_some_and(|next| seen == *next),
            "after {after} changes and {done} steps: {seen:#?}"
        );
        assert_eq!(block_on(map.map.get("chatkeep.1/+intent")).unwrap(), None);
        if done == STEPS {
            break;
        }
        crashes += 1;
        // And on from there.
        (done..STEPS).for_each(|number| step(&reopened, number).unwrap());
        assert_eq!(view(&reopened), views[STEPS], "after {after} changes");
    }
    assert!(crashes >= 40 && inside > 25, "{crashes} crashes, {inside} within a commit");
}

#[test]
fn a_crash_while_an_interrupted_commit_is_carried_out_is_one_more() {
    let views = views();
    for first in 0..30 {
        for second in 0..4 {
            let map = Faulty::new(Fault::Crash, first);
            let storage = block_on(StringMapStorage::open(map.clone())).unwrap();
            let done = (0..STEPS).take_while(|number| step(&storage, *number).is_ok()).count();
            map.left.store(second, Ordering::SeqCst);
            drop(block_on(StringMapStorage::open(map.clone())));
            let seen = view(&block_on(StringMapStorage::open(map.map)).unwrap());
            assert!(seen == views[done] || seen == views[done + 1], "{first} then {second}");
        }
    }
}

#[test]
fn a_change_that_fails_is_told_truly_and_a_retry_goes_through() {
    let views = views();
    for fault in [Fault::Refused, Fault::LostAnswer, Fault::LostRequest] {
        for after in 0..60 {
            let map = Faulty::new(fault, after);
            let storage = block_on(StringMapStorage::open(map)).unwrap();
            for number in 0..STEPS {
                if let Err(error) = step(&storage, number) {
                    let seen = view(&storage);
                    let known = error.kind() == ErrorKind::Unavailable;
                    assert!(known || error.kind() == ErrorKind::Indeterminate, "{error}");
                    assert!(
                        seen == views[number] || (!known && seen == views[number + 1]),
                        "{fault:?} after {after}: {error}, {seen:#?}"
                    );
                    step(&storage, number).unwrap();
                }
                assert_eq!(view(&storage), views[number + 1], "{fault:?} after {after}");
            }
        }
    }
}

#[test]
fn others_keys_are_left_alone_and_those_of_another_version_refused() {
    let map = MemoryStringMap::new();
    let others =
        ["theme", "chatkeep.theme", "chatkeep.1", "chatkeep./1", "chatkeep.2x/y", "chatkeep"];
    for key in others {
        block_on(map.set(key, "dark")).unwrap();
    }
    let storage = block_on(StringMapStorage::open(map.clone())).unwrap();
    add(&storage, "a", 0, 1).unwrap();
    block_on(storage.purge(&key("a"))).unwrap();
    for key in others {
        assert_eq!(block_on(map.get(key)).unwrap().as_deref(), Some("dark"), "{key}");
    }
    for key in ["chatkeep.2/x", "chatkeep.10/", "chatkeep.01/x"] {
        block_on(map.set(key, "t")).unwrap();
        let error = block_on(StringMapStorage::open(map.clone())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion, "{key}");
        block_on(map.remove(key)).unwrap();
    }
    block_on(map.set("chatkeep.1/+intent", "00000000{}")).unwrap();
    let error = block_on(StringMapStorage::open(map)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_key_that_another_process_took_away_is_no_silent_absence() {
    let map = MemoryStringMap::new();
    let storage = block_on(StringMapStorage::open(map.clone())).unwrap();
    add(&storage, "a", 0, 1).unwrap();
    for key in block_on(map.keys()).unwrap() {
        block_on(map.remove(&key)).unwrap();
    }
    let error = block_on(storage.existing_head(&key("a"))).unwrap_err();
    insta::assert_snapshot!(error, @"unavailable: a key is gone that nobody here removed: another process has it open");
    // From then on it looks anew.
    assert_eq!(block_on(storage.head(&key("a"))).unwrap(), None);
}

#[test]
fn what_is_in_the_map_can_be_read() {
    let map = MemoryStringMap::new();
    let storage = block_on(StringMapStorage::open(map.clone())).unwrap();
    add(&storage, "a b", 0, 1).unwrap();
    let mut keys = block_on(map.keys()).unwrap();
    keys.retain(|key| !key.starts_with("chatkeep.1/salt"));
    keys.sort();
    let line = block_on(map.get(&keys[2])).unwrap().unwrap();
    insta::assert_snapshot!(format!("{}\n{line}", keys.join("\n")), @r#"
    chatkeep.1/hlocal%00%01a%20b%00%01
    chatkeep.1/mlocal%00%01a%20b%00%01
    chatkeep.1/rlocal%00%01a%20b%00%01%00%00%00%00%00%00%00%01
    t{"rev":1,"turn":1,"kind":"text","at":"1970-01-01T00:00:00.000Z","batch":"0000000000000001","head":{"created":"1970-01-01T00:00:00Z","active":"1970-01-01T00:00:00Z"},"body":{"n":1,"text":"x"},"sum":"2ec6f325"}
    "#);
}
