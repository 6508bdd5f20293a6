//! A copy that ends at any of its writes goes on where it was.

use chatkeep::ErrorKind;
use chatkeep::storage::{SessionKey, Storage, copy_store};
use pollster::block_on;

use crate::common::*;
use crate::limited::{End, Limited};

/// Stops a copy at its nth write, for every n, and copies again.
fn interrupt(make_from: fn() -> Place, make_to: fn() -> Place, end: End) {
    let from = make_from();
    fill(&*from.storage);
    for writes in 0.. {
        let to = make_to();
        let limited = Limited::new(&to.storage, writes, end);
        let also = copy_store(&*from.storage, &limited).also_owner(owner("no sessions"));
        let first = block_on(also.into_future());
        if !limited.has_ended() {
            assert!(first.unwrap().is_complete());
            assert!(writes > 20, "{writes} writes");
            return;
        }
        let names = format!("{} to {}, {end:?} {writes}", from.name, to.name);
        if matches!(end, End::Before | End::After) {
            assert!(first.is_err(), "{names}: {first:?}");
        }
        let report = copy(&*from.storage, &*to.storage);
        assert!(report.is_complete(), "{names}: {:#?}", report.failed);
        assert_eq!(everything(&*to.storage), everything(&*from.storage), "{names}");
    }
}

#[test]
fn killed_before_any_write() {
    interrupt(memory, files, End::Before);
    interrupt(files, key_value, End::Before);
}

#[test]
fn killed_after_any_write() {
    interrupt(key_value, memory, End::After);
    interrupt(memory, files, End::After);
}

#[test]
fn any_answer_lost() {
    interrupt(memory, key_value, End::LostAnswer);
    interrupt(memory, key_value, End::LostRequest);
}

/// The source has grown, and was compacted, since it was copied.
#[test]
fn killed_while_it_catches_up() {
    for end in [End::Before, End::After, End::LostAnswer] {
        for writes in 0.. {
            let (from, to) = (memory(), files());
            let keys = [key("local", "a"), key("local", "b"), key("local", "c")];
            keys.iter().for_each(|key| drop(begin(&*from.storage, key, 8)));
            assert!(copy(&*from.storage, &*to.storage).is_complete());
            grow(&*from.storage, &keys);
            let limited = Limited::new(&to.storage, writes, end);
            let first = block_on(copy_store(&*from.storage, &limited).into_future());
            let report = copy(&*from.storage, &*to.storage);
            assert!(report.is_complete(), "{end:?} {writes}: {first:?} {:#?}", report.failed);
            assert_eq!(everything(&*to.storage), everything(&*from.storage), "{end:?} {writes}");
            if !limited.has_ended() {
                assert!(writes >= 4, "{writes} writes");
                break;
            }
        }
    }
}

/// One more than it was, one compacted, and one compacted beyond what was copied.
fn grow(from: &dyn Storage, keys: &[SessionKey; 3]) {
    add(from, &keys[0], 3);
    compact(from, &keys[1], 6, &[1, 3]);
    add(from, &keys[2], 12);
    compact(from, &keys[2], 17, &[2, 8, 9, 15]);
}

/// A target that says it has taken what it has not.
#[test]
fn whatever_the_target_did_not_keep_is_named() {
    let from = memory();
    fill(&*from.storage);
    let mut named = std::collections::BTreeSet::new();
    for writes in 0.. {
        let to = memory();
        let limited = Limited::new(&to.storage, writes, End::Garbled);
        let also = copy_store(&*from.storage, &limited).also_owner(owner("no sessions"));
        let report = block_on(also.into_future()).unwrap();
        if !limited.has_ended() {
            break;
        }
        let [failure] = &report.failed[..] else { panic!("{writes}: {:?}", report.failed) };
        assert_eq!(failure.error.kind(), ErrorKind::Corrupt, "{failure}");
        named.insert(failure.item.to_string());
    }
    assert_eq!(named.len(), 9 + 5, "every session and every document: {named:?}");
}
