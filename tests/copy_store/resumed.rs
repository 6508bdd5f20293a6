//! A copy into a target that has something already.

use chatkeep::storage::{CopyItem, Expected, Incarnation, Revision, Storage, StorageExt};
use chatkeep::{Error, ErrorKind};
use pollster::block_on;

use crate::common::*;

#[test]
fn what_has_grown_in_the_source_is_completed() {
    for to in all() {
        let (from, to) = (memory(), to());
        let keys = [key("local", "a"), key("local", "b"), key("local", "c"), key("local", "d")];
        keys.iter().for_each(|key| drop(begin(&*from.storage, key, 8)));
        assert!(copy(&*from.storage, &*to.storage).is_complete());
        add(&*from.storage, &keys[0], 3);
        blob(&*from.storage, &keys[1], b"new");
        compact(&*from.storage, &keys[2], 6, &[1, 3]);
        let report = copy(&*from.storage, &*to.storage);
        assert!(report.is_complete(), "{}: {:#?}", to.name, report.failed);
        assert_eq!((report.completed, report.already_there, report.blobs), (3, 1, 1));
        assert_eq!(everything(&*to.storage), everything(&*from.storage), "{}", to.name);
    }
}

#[test]
fn what_was_compacted_beyond_what_was_copied_is_completed() {
    for to in all() {
        let (from, to) = (files(), to());
        let key = key("local", "s");
        begin(&*from.storage, &key, 8);
        assert!(copy(&*from.storage, &*to.storage).is_complete());
        for (grown, through, kept) in
            [(12, 17, &[2, 8, 9, 15][..]), (1, 17, &[8, 15]), (1, 22, &[8])]
        {
            add(&*from.storage, &key, grown);
            compact(&*from.storage, &key, through, kept);
            let report = copy(&*from.storage, &*to.storage);
            assert!(report.is_complete(), "{}: {:#?}", to.name, report.failed);
            assert_eq!(report.completed, 1);
            assert_eq!(session(&*to.storage, &key), session(&*from.storage, &key), "{}", to.name);
        }
        // Writers of both go on in the same way.
        let (a, b) = (add(&*from.storage, &key, 2), add(&*to.storage, &key, 2));
        assert_eq!((a.revision, a.base), (b.revision, b.base));
    }
}

/// What a copy says of a session, of which nothing is changed.
fn refused(from: &dyn Storage, to: &dyn Storage) -> Error {
    let key = key("local", "s");
    begin(from, &self::key("local", "other"), 2);
    let before = session(to, &key);
    let mut report = copy(from, to);
    assert_eq!(session(to, &key), before, "nothing is overwritten");
    assert_eq!((report.sessions, report.failed.len()), (1, 1), "the other one is copied");
    let failed = report.failed.remove(0);
    assert_eq!(failed.item, CopyItem::Session(key));
    failed.error
}

#[test]
fn another_session_of_the_same_id_is_not_overwritten() {
    let key = key("local", "s");
    let (from, to) = (memory(), files());
    begin(&*from.storage, &key, 3);
    let mut other = batch(0, 3, Some(head("s")));
    other.records[2].body = chatkeep::storage::Body::Json("1".into());
    block_on(to.storage.append(&key, Expected::New, other)).unwrap();
    let error = refused(&*from.storage, &*to.storage);
    insta::assert_snapshot!(error, @"conflict: the target has the session with other content (session s)");
}

#[test]
fn a_session_that_differs_in_anything_is_named() {
    let key = key("local", "s");
    let differences: [fn(&mut chatkeep::storage::Batch); 5] = [
        |batch| batch.records[1].at = time(99),
        |batch| batch.records[1].kind = "other".into(),
        |batch| batch.records[1].turn = chatkeep::TurnId::new(9),
        |batch| batch.records[1].body = chatkeep::storage::Body::Json("{}".into()),
        |batch| batch.head = Some(head("other")),
    ];
    for differs in differences {
        let (from, to) = (memory(), memory());
        begin(&*from.storage, &key, 3);
        let mut other = batch(0, 3, Some(head("s")));
        differs(&mut other);
        block_on(to.storage.append(&key, Expected::New, other)).unwrap();
        assert_eq!(refused(&*from.storage, &*to.storage).kind(), ErrorKind::Conflict);
    }
}

#[test]
fn a_session_that_has_gone_on_in_the_target_is_named() {
    let key = key("local", "s");
    let (from, to) = (memory(), files());
    begin(&*from.storage, &key, 3);
    assert!(copy(&*from.storage, &*to.storage).is_complete());
    add(&*to.storage, &key, 1);
    let error = refused(&*from.storage, &*to.storage);
    insta::assert_snapshot!(error, @"conflict: the session has gone on in the target (session s)");
    let (from, to) = (memory(), files());
    begin(&*from.storage, &key, 3);
    assert!(copy(&*from.storage, &*to.storage).is_complete());
    compact(&*to.storage, &key, 2, &[1]);
    let error = refused(&*from.storage, &*to.storage);
    insta::assert_snapshot!(error, @"conflict: the session was compacted in the target (session s)");
}

#[test]
fn of_two_sessions_without_a_record_in_common_nothing_is_guessed() {
    let key = key("local", "s");
    let (from, to) = (memory(), files());
    begin(&*to.storage, &key, 3);
    begin(&*from.storage, &key, 9);
    compact(&*from.storage, &key, 7, &[5]);
    assert_eq!(refused(&*from.storage, &*to.storage).kind(), ErrorKind::Conflict);
}

#[test]
fn a_session_that_was_deleted_in_the_target_is_not_brought_back() {
    let key = key("local", "s");
    let (from, to) = (memory(), files());
    begin(&*from.storage, &key, 3);
    assert!(copy(&*from.storage, &*to.storage).is_complete());
    block_on(to.storage.purge(&key)).unwrap();
    let report = copy(&*from.storage, &*to.storage);
    assert_eq!(report.failed[0].error.kind(), ErrorKind::Deleted);
    assert_eq!(block_on(to.storage.head(&key)).unwrap(), None);
}

#[test]
fn a_later_life_in_the_source_is_a_first_one_in_the_target() {
    let key = key("local", "s");
    let (from, to) = (memory(), files());
    begin(&*from.storage, &key, 3);
    block_on(from.storage.purge(&key)).unwrap();
    let next = batch(0, 2, Some(head("again")));
    block_on(from.storage.append(&key, Expected::NewIncarnation, next)).unwrap();
    assert!(copy(&*from.storage, &*to.storage).is_complete());
    let copied = block_on(to.storage.existing_head(&key)).unwrap();
    assert_eq!((copied.incarnation, copied.revision), (Incarnation::FIRST, Revision::new(2)));
}
