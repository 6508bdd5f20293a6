//! Documents that have changed since they were copied, in the source or in the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chatkeep::ErrorKind;
use chatkeep::storage::{CopyItem, DocumentScope, ExpectedDocument, Storage, copy_store};
use pollster::block_on;

use crate::common::*;
use crate::limited::{Call, End, Limited};

const STORE: DocumentScope = DocumentScope::Store;

fn put(storage: &dyn Storage, name: &str, content: &str, expires: Option<i64>) {
    let (any, expires) = (ExpectedDocument::Any, expires.map(time));
    let content = content.to_owned().into();
    block_on(storage.put_document(&STORE, name, any, content, expires, time(0))).unwrap();
}

fn content(storage: &dyn Storage, name: &str) -> String {
    let document = block_on(storage.get_document(&STORE, name, time(0))).unwrap().unwrap();
    String::from_utf8(document.content.to_vec()).unwrap()
}

/// A copy that was the last one: all is there.
fn complete(from: &Place, to: &Place, hint: &str) -> (u64, u64) {
    let report = copy(&*from.storage, &*to.storage);
    assert!(report.is_complete(), "{} {hint}: {:#?}", to.name, report.failed);
    assert_eq!(everything(&*to.storage), everything(&*from.storage), "{} {hint}", to.name);
    (report.documents, report.replaced)
}

const YEARS: i64 = 100 * 365 * 86_400;

#[test]
fn what_has_changed_in_the_source_replaces_what_a_copy_put_there() {
    for to in all() {
        let (from, to) = (memory(), to());
        put(&*from.storage, "a", "1", None);
        put(&*from.storage, "b", "1", None);
        assert_eq!(complete(&from, &to, "first"), (2, 0), "{}", to.name);
        // Also to what it was before.
        for (text, expires) in [("2", None), ("2", Some(YEARS)), ("3", Some(YEARS)), ("1", None)] {
            put(&*from.storage, "a", text, expires);
            assert_eq!(complete(&from, &to, text), (1, 1), "{}", to.name);
        }
        assert_eq!(complete(&from, &to, "again"), (0, 0), "{}", to.name);
    }
}

#[test]
fn what_has_changed_in_the_target_is_not_overwritten() {
    for to in all() {
        let (from, to) = (memory(), to());
        put(&*from.storage, "a", "1", None);
        complete(&from, &to, "first");
        put(&*from.storage, "a", "2", None);
        complete(&from, &to, "second");
        // That it was once copied says nothing: whoever has changed it wants it so.
        for (changed, expires) in [("other", None), ("1", None), ("2", Some(YEARS))] {
            put(&*to.storage, "a", changed, expires);
            put(&*from.storage, "a", "3", None);
            let report = copy(&*from.storage, &*to.storage);
            assert_eq!((report.documents, report.failed.len()), (0, 1), "{}: {changed}", to.name);
            assert_eq!(report.failed[0].error.kind(), ErrorKind::Conflict);
            assert_eq!(
                report.failed[0].item,
                CopyItem::Document { scope: STORE, name: "a".into() }
            );
            assert_eq!(content(&*to.storage, "a"), changed);
        }
    }
}

#[test]
fn what_a_copy_notes_of_documents_is_not_copied_and_looks_like_this() {
    let (from, to, third) = (memory(), memory(), memory());
    put(&*from.storage, "a", "1", Some(YEARS));
    put(&*from.storage, "copied/by hand", "1", None);
    complete(&from, &to, "first");
    assert_eq!(copy(&*to.storage, &*third.storage).documents, 2, "without the notes");
    let notes = |storage: &dyn Storage| {
        block_on(storage.list_documents(&STORE, "copied/", None, time(0))).unwrap().items
    };
    assert_eq!(notes(&*from.storage), ["copied/by hand"]);
    assert_eq!(notes(&*third.storage), notes(&*to.storage), "a copy is noted where it goes");
    let name = "copied/ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    assert!(notes(&*to.storage).contains(&name.to_owned()));
    insta::assert_snapshot!(content(&*to.storage, name), @r#"{"copied":[{"sha256":"6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b","expires":"2125-12-08T00:00:00.123Z"}]}"#);
    let note = block_on(to.storage.get_document(&STORE, name, time(0))).unwrap().unwrap();
    assert_eq!(note.expires, Some(time(YEARS)), "it goes with the document");
    // One that nobody understands is no reason to overwrite anything.
    put(&*to.storage, name, "{}", None);
    put(&*from.storage, "a", "2", None);
    let report = copy(&*from.storage, &*to.storage);
    insta::assert_snapshot!(report.failed[0], @"document a: corrupt: what copies have put in its place cannot be read (document a, note copied/ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb)");
    assert_eq!(content(&*to.storage, "a"), "1");
}

/// Whatever a copy came to, the next one replaces what it left there, though the source has
/// changed once more.
#[test]
fn a_copy_that_ends_at_any_write_leaves_nothing_that_the_next_one_does_not_replace() {
    for end in [End::Before, End::After, End::LostAnswer, End::LostRequest] {
        for writes in 0.. {
            let (from, to) = (memory(), files());
            let is_new = |name: &str| put(&*from.storage, name, "new", None);
            put(&*from.storage, "a", "1", None);
            complete(&from, &to, "first");
            put(&*from.storage, "a", "2", None);
            is_new("b");
            let limited = Limited::new(&to.storage, writes, end);
            let _ = block_on(copy_store(&*from.storage, &limited).into_future());
            put(&*from.storage, "a", "3", None);
            put(&*from.storage, "b", "3", None);
            complete(&from, &to, &format!("{end:?} {writes}"));
            if !limited.has_ended() {
                assert_eq!(writes, 5);
                break;
            }
        }
    }
}

/// Another copy of the same source, which has changed meanwhile, is made before any write of one.
#[test]
fn two_copies_at_once_do_not_take_each_other_for_strangers() {
    for place in all() {
        for write in 0..6 {
            let (from, to) = (memory(), place());
            put(&*from.storage, "a", "1", None);
            complete(&from, &to, "first");
            put(&*from.storage, "a", "2", None);
            put(&*from.storage, "b", "2", None);
            let (source, target) = (Arc::clone(&from.storage), Arc::clone(&to.storage));
            let left = AtomicI64::new(write);
            let slow = Limited::new(&to.storage, i64::MAX, End::Before).before(move |call| {
                if call == Call::PutDocument && left.fetch_sub(1, Ordering::SeqCst) == 0 {
                    put(&*source, "a", "3", None);
                    put(&*source, "b", "3", None);
                    assert!(copy(&*source, &*target).is_complete());
                }
            });
            let report = block_on(copy_store(&*from.storage, &slow).into_future()).unwrap();
            assert!(report.is_complete(), "{} {write}: {:#?}", to.name, report.failed);
            complete(&from, &to, "second");
            put(&*from.storage, "a", "4", None);
            put(&*from.storage, "b", "4", None);
            complete(&from, &to, "third");
        }
    }
}

#[test]
fn another_document_of_the_same_name_is_not_overwritten() {
    let (from, to) = (memory(), files());
    fill(&*from.storage);
    let (scope, any) = (DocumentScope::Store, ExpectedDocument::Any);
    let put = to.storage.put_document(&scope, "forever", any, "other".into(), None, time(0));
    block_on(put).unwrap();
    let report = copy(&*from.storage, &*to.storage);
    assert_eq!((report.documents, report.failed.len()), (4, 1));
    insta::assert_snapshot!(report.failed[0], @"document forever: conflict: the target has the document with other content (document forever)");
    let kept = block_on(to.storage.get_document(&scope, "forever", time(0))).unwrap();
    assert_eq!(kept.unwrap().content, "other");
}
