//! Damage in the source, and a source that changes while it is copied.

use std::sync::{Arc, Mutex};

use chatkeep::ErrorKind;
use chatkeep::storage::{BlobId, CopyItem, Expected, FileStorage, Maintenance as _, copy_store};
use pollster::block_on;

use crate::common::*;
use crate::limited::{Call, End, Limited};

/// The files below a folder whose names end like this.
fn find(folder: &std::path::Path, end: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(find(&path, end));
        } else if path.to_str().unwrap().ends_with(end) {
            found.push(path);
        }
    }
    found
}

fn damage(path: &std::path::Path, place: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[place] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

fn reopened(place: &Place) -> FileStorage {
    block_on(FileStorage::open(place.folder.as_ref().unwrap().path())).unwrap()
}

#[test]
fn a_damaged_session_is_named_and_copied_once_it_is_repaired() {
    for to in all() {
        let (from, to) = (files(), to());
        fill(&*from.storage);
        let folder = from.folder.clone().unwrap();
        let log = find(folder.path(), "/plain.jsonl").remove(0);
        let middle = std::fs::read(&log).unwrap().len() / 2;
        damage(&log, middle);
        let from = reopened(&from);
        let report = copy(&from, &*to.storage);
        let key = key("local", "plain");
        assert_eq!((report.sessions, report.failed.len()), (8, 1));
        assert_eq!(report.failed[0].item, CopyItem::Session(key.clone()));
        let error = report.failed[0].to_string();
        insta::allow_duplicates! { insta::assert_snapshot!(error, @"session local/plain: corrupt: the checksum does not match (session plain, place sessions/local/plain.jsonl, record 2)"); }
        assert_eq!(block_on(to.storage.head(&key)).unwrap(), None);

        block_on(from.repair(&key)).unwrap();
        let report = copy(&from, &*to.storage);
        assert!(report.is_complete(), "{}: {:#?}", to.name, report.failed);
        assert_eq!((report.sessions, report.already_there), (1, 8));
        // The gap is below the base now: nobody can read on from within it.
        let copied = block_on(to.storage.head(&key)).unwrap().unwrap();
        assert_eq!((copied.revision.get(), copied.base.get()), (3, 2));
        assert_eq!(copy(&from, &*to.storage).already_there, 9);
        add(&from, &key, 2);
        add(&*to.storage, &key, 2);
        assert_eq!(copy(&from, &*to.storage).already_there, 9);
    }
}

#[test]
fn a_session_whose_log_is_nothing_is_named() {
    let (from, to) = (files(), memory());
    fill(&*from.storage);
    let log = find(from.folder.clone().unwrap().path(), "/plain.jsonl").remove(0);
    std::fs::write(log, "nothing\n").unwrap();
    let report = copy(&reopened(&from), &*to.storage);
    assert_eq!((report.sessions, report.failed.len()), (8, 1));
    assert_eq!(report.failed[0].error.kind(), ErrorKind::Corrupt);
}

#[test]
fn of_a_session_with_a_damaged_blob_all_else_is_copied() {
    let (from, to) = (files(), key_value());
    fill(&*from.storage);
    let long = BlobId::of(&[0, 1, 255].repeat(50_000));
    damage(&find(from.folder.clone().unwrap().path(), &long.to_string()).remove(0), 9);
    for sessions in [9, 0] {
        let report = copy(&*from.storage, &*to.storage);
        assert_eq!((report.sessions, report.failed.len()), (sessions, 1));
        assert_eq!(report.failed[0].item, CopyItem::Session(key("local", "rich")));
        assert_eq!(report.failed[0].error.kind(), ErrorKind::Corrupt);
    }
    assert_eq!(block_on(to.storage.blobs(&key("local", "rich"))).unwrap(), [BlobId::of(b"")]);
}

#[test]
fn a_session_that_is_deleted_while_others_are_copied_is_left_out() {
    let (from, to) = (memory(), memory());
    for id in ["a", "b", "c"] {
        begin(&*from.storage, &key("local", id), 3);
    }
    // All have the same age: they come in the order of their ids.
    let progress = |p: chatkeep::storage::CopyProgress| {
        if p.done == 1 {
            block_on(from.storage.purge(&key("local", "b"))).unwrap();
        }
    };
    let copy = copy_store(&*from.storage, &*to.storage).on_progress(progress);
    let report = block_on(copy.into_future()).unwrap();
    assert_eq!((report.sessions, report.left_out), (2, 1));
    assert!(report.is_complete());
    assert_eq!(everything(&*to.storage), everything(&*from.storage));
}

#[test]
fn what_was_deleted_since_it_was_copied_is_named_until_it_is_deleted_in_the_target() {
    for to in all() {
        let (from, to) = (memory(), to());
        let [kept, deleted, last] = [key("local", "a"), key("local", "b"), key("other", "c")];
        for key in [&kept, &deleted, &last] {
            begin(&*from.storage, key, 3);
        }
        assert_eq!(copy(&*from.storage, &*to.storage).only_in_target, [], "{}", to.name);
        // Of the one owner nothing is left.
        for key in [&deleted, &last] {
            block_on(from.storage.purge(key)).unwrap();
        }
        for _ in 0..2 {
            let report = copy(&*from.storage, &*to.storage);
            assert_eq!(report.only_in_target, [deleted.clone(), last.clone()], "{}", to.name);
            assert!(report.is_complete() && report.to_string().ends_with("2 only in the target"));
            assert_eq!((report.already_there, report.left_out), (1, 0), "{}", to.name);
        }
        let report = copy(&*from.storage, &*to.storage);
        for key in &report.only_in_target {
            block_on(to.storage.purge(key)).unwrap();
        }
        assert_eq!(copy(&*from.storage, &*to.storage).only_in_target, [], "{}", to.name);
        assert_eq!(everything(&*to.storage), everything(&*from.storage), "{}", to.name);
    }
}

/// One that is not copied yet, and one that is, in this copy or an earlier one.
#[test]
fn what_is_deleted_while_it_is_copied_is_in_neither_or_named() {
    for copied_before in [false, true] {
        let (from, to) = (memory(), memory());
        let keys = ["a", "b", "c"].map(|id| key("local", id));
        keys.iter().for_each(|key| drop(begin(&*from.storage, key, 3)));
        if copied_before {
            let _ = copy(&*from.storage, &*to.storage);
        }
        let progress = |p: chatkeep::storage::CopyProgress| {
            if p.done == 1 {
                keys[..2].iter().for_each(|key| drop(block_on(from.storage.purge(key)).unwrap()));
            }
        };
        let copy = copy_store(&*from.storage, &*to.storage).on_progress(progress);
        let report = block_on(copy.into_future()).unwrap();
        let (left_out, named) = if copied_before { (0, &keys[..2]) } else { (1, &keys[..1]) };
        assert_eq!((report.left_out, &report.only_in_target[..]), (left_out, named));
        assert!(report.is_complete());
    }
}

#[test]
fn a_session_that_is_deleted_or_begun_anew_while_it_is_copied_leaves_nothing_of_its_old_life() {
    for anew in [false, true] {
        let (from, to) = (memory(), memory());
        let key = key("local", "s");
        begin(&*from.storage, &key, 3);
        blob(&*from.storage, &key, b"blob");
        let source = Arc::clone(&from.storage);
        let (again, place) = (Mutex::new(true), key.clone());
        let meddling = Limited::new(&to.storage, i64::MAX, End::Before).before(move |call| {
            if call == Call::PutBlob && std::mem::take(&mut *again.lock().unwrap()) {
                block_on(source.purge(&place)).unwrap();
                if anew {
                    let next = batch(0, 2, Some(head("again")));
                    block_on(source.append(&place, Expected::NewIncarnation, next)).unwrap();
                }
            }
        });
        let report = block_on(copy_store(&*from.storage, &meddling).into_future()).unwrap();
        assert!(report.is_complete(), "{:#?}", report.failed);
        let (sessions, left_out) = if anew { (1, 0) } else { (0, 1) };
        assert_eq!((report.sessions, report.left_out), (sessions, left_out));
        assert_eq!(everything(&*to.storage), everything(&*from.storage));
    }
}

/// Three are counted, one is deleted, two are listed, one is created, and three are counted again.
#[test]
fn sessions_that_come_and_go_while_they_are_listed_are_no_damage() {
    let (from, to) = (memory(), memory());
    for id in ["a", "b", "c"] {
        begin(&*from.storage, &key("local", id), 3);
    }
    let (source, calls) = (Arc::clone(&from.storage), Mutex::new(Vec::new()));
    let busy = Limited::new(&from.storage, i64::MAX, End::Before).before(move |call| {
        let mut calls = calls.lock().unwrap();
        calls.push(call);
        match calls[..] {
            [Call::Count, Call::List] => drop(block_on(source.purge(&key("local", "a"))).unwrap()),
            [Call::Count, Call::List, Call::Count] => drop(begin(&*source, &key("local", "d"), 3)),
            _ => {}
        }
    });
    let report = block_on(copy_store(&busy, &*to.storage).into_future()).unwrap();
    assert!(report.is_complete(), "{:#?}", report.failed);
    assert_eq!((report.sessions, report.left_out), (3, 0));
    assert_eq!(everything(&*to.storage), everything(&*from.storage));
}

#[test]
fn a_record_that_is_too_large_for_the_target_is_no_end() {
    let from = memory();
    fill(&*from.storage);
    let key = key("local", "large");
    let mut large = batch(0, 1, Some(head("large")));
    large.records[0].body = chatkeep::storage::Body::Binary(vec![1; 5 << 20].into());
    block_on(from.storage.append(&key, Expected::New, large)).unwrap();
    let map = chatkeep::storage::string_map::MemoryStringMap::new();
    let to = block_on(chatkeep::StringMapStorage::open(map)).unwrap();
    let report = copy(&*from.storage, &to);
    assert_eq!((report.sessions, report.failed.len()), (9, 1));
    assert_eq!(report.failed[0].item, CopyItem::Session(key));
    assert_eq!(report.failed[0].error.kind(), ErrorKind::LimitExceeded);
}
