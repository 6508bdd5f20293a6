//! The order of an append's checks, reads of all ranges, compaction, documents, blobs, watching.

use std::time::Duration;

use chatkeep::storage::{
    BlobId, DocumentScope, Expected, ExpectedDocument, HeadFields, Incarnation, ReadRange, Record,
    Revision, Storage, WatchFilter,
};
use chatkeep::{ErrorKind, ListQuery, OwnerId};
use futures_util::StreamExt;

use crate::common::*;

#[test]
fn a_session_is_written_and_read_back() {
    let (dir, storage) = store();
    let key = key("s1");
    assert_eq!(wait(storage.head(&key)).unwrap(), None);
    assert_eq!(read_all(&storage, &key).unwrap_err().kind(), ErrorKind::NotFound);
    let head = add(&storage, &key, 1, 0, 2).unwrap().head;
    assert_eq!(head.revision, Revision::new(2));
    add(&storage, &key, 2, 2, 3).unwrap();
    for storage in [storage, open(dir.path())] {
        let page = read_all(&storage, &key).unwrap();
        assert_eq!(revisions(&page), [1, 2, 3, 4, 5]);
        assert_eq!((page.earlier, page.later, page.restarted), (false, false, false));
        assert!(page.damage.is_empty());
        assert_eq!(wait(storage.head(&key)).unwrap().unwrap().revision, Revision::new(5));
    }
}

#[test]
fn appends_are_checked_in_the_order_of_the_trait() {
    let (_dir, storage) = store();
    let key = key("s1");
    let kind = |result: chatkeep::Result<_>| result.map(drop).unwrap_err().kind();
    assert_eq!(kind(add(&storage, &key, 1, 1, 1)), ErrorKind::NotFound);
    let mut first = batch(1, 0, 1);
    first.head = Some(HeadFields { epoch: 3, ..HeadFields::new(at()) });
    wait(storage.append(&key, Expected::New, first.clone())).unwrap();
    assert_eq!(kind(add(&storage, &key, 2, 0, 1)), ErrorKind::AlreadyExists);
    add(&storage, &key, 2, 1, 2).unwrap();
    assert_eq!(kind(add(&storage, &key, 3, 1, 1)), ErrorKind::Conflict);
    let mut old = batch(4, 1, 1);
    old.epoch = Some(2);
    assert_eq!(kind(wait(storage.append(&key, expected(1), old))), ErrorKind::Fenced);
    let other = Expected::At { incarnation: Incarnation::new(2), revision: Revision::new(3) };
    assert_eq!(kind(wait(storage.append(&key, other, batch(5, 3, 1)))), ErrorKind::NotFound);
    // Retries land once, however much came after them.
    for number in 10..40 {
        add(&storage, &key, number, number - 7, 1).unwrap();
    }
    let head = wait(storage.append(&key, Expected::New, first)).unwrap().head;
    assert_eq!(head.revision, Revision::new(33));
    assert_eq!(add(&storage, &key, 2, 1, 2).unwrap().head.revision, Revision::new(33));
    assert_eq!(add(&storage, &key, 20, 13, 1).unwrap().head.revision, Revision::new(33));
}

#[test]
fn a_batch_that_breaks_a_rule_changes_nothing() {
    let (_dir, storage) = store();
    let key = key("s1");
    let append = |batch| wait(storage.append(&key, Expected::New, batch)).unwrap_err().to_string();
    let mut empty = batch(1, 0, 1);
    empty.records.clear();
    let mut gap = batch(1, 0, 2);
    gap.records.remove(0);
    let mut headless = batch(1, 0, 1);
    headless.head = None;
    let errors = [append(empty), append(gap), append(headless)];
    insta::assert_snapshot!(errors.join("\n"), @r#"
    invalid: a batch has at least one record
    invalid: a batch's revisions are not dense (record 2, expected 1)
    invalid: a session's first batch carries its head
    "#);
    assert_eq!(wait(storage.head(&key)).unwrap(), None);
}

#[test]
fn pages_go_backwards_by_turns_and_forwards_by_size() {
    let (dir, storage) = store();
    let key = key("s1");
    add(&storage, &key, 1, 0, 1).unwrap();
    for turn in 1..=200 {
        let mut two = batch(turn + 1, turn * 2 - 1, 2);
        two.records[1].kind = "text".into();
        if turn == 150 {
            two.records[1].kind = Record::CHECKPOINT.into();
        }
        two.records[1].body = chatkeep::storage::Body::Json("x".repeat(300).into());
        two.records[1].body =
            chatkeep::storage::Body::Json(format!("\"{}\"", "x".repeat(300)).into());
        wait(storage.append(&key, expected(turn * 2 - 1), two)).unwrap();
    }
    for storage in [storage, open(dir.path())] {
        let read = |range| wait(storage.read(&key, range)).unwrap();
        let span = |page: &chatkeep::storage::LogPage| {
            let all = revisions(page);
            assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            (all[0], all[all.len() - 1], page.earlier, page.later)
        };
        assert_eq!(span(&read(ReadRange::Newest { turns: 60 })), (282, 401, true, false));
        assert_eq!(span(&read(ReadRange::Newest { turns: 3 })), (301, 401, true, false));
        assert_eq!(span(&read(ReadRange::Newest { turns: 0 })), (301, 401, true, false));
        let before = |revision, turns| {
            span(&read(ReadRange::Before { revision: Revision::new(revision), turns }))
        };
        assert_eq!(before(282, 10), (262, 281, true, true));
        assert_eq!(before(262, 10), (242, 261, true, true));
        assert_eq!(before(5, 10), (1, 4, false, true));
        assert_eq!(read(ReadRange::Before { revision: Revision::new(1), turns: 1 }).records, []);
        for after in [0, 1, 17, 399, 400] {
            let page = read(ReadRange::After(Revision::new(after)));
            assert_eq!(span(&page), (after + 1, 401, after > 0, false));
        }
        assert!(read(ReadRange::After(Revision::new(401))).records.is_empty());
    }
}

#[test]
fn a_long_log_is_read_forwards_in_pages_of_whole_batches() {
    let (_dir, storage) = store();
    let key = key("s1");
    add(&storage, &key, 1, 0, 1).unwrap();
    for number in 0..20 {
        let mut large = batch(number + 2, number * 2 + 1, 2);
        for record in &mut large.records {
            record.body =
                chatkeep::storage::Body::Json(format!("\"{}\"", "y".repeat(300_000)).into());
        }
        wait(storage.append(&key, expected(number * 2 + 1), large)).unwrap();
    }
    let (mut last, mut pages) = (0, 0);
    loop {
        let page = wait(storage.read(&key, ReadRange::After(Revision::new(last)))).unwrap();
        let all = revisions(&page);
        assert_eq!(all[0], last + 1);
        last = all[all.len() - 1];
        pages += 1;
        if !page.later {
            break;
        }
        assert_eq!(last % 2, 1, "a page ends with a batch");
    }
    assert_eq!((last, pages), (41, 3));
}

#[test]
fn compaction_is_seen_by_another_storage_and_keeps_later_records() {
    let (dir, storage) = store();
    let other = open(dir.path());
    let key = key("s1");
    for number in 0..10 {
        add(&storage, &key, number + 1, number * 2, 2).unwrap();
    }
    let before = read_all(&other, &key).unwrap();
    let kept = vec![before.records[0].clone(), before.records[4].clone()];
    let guard = before.head.clone();
    let head = wait(storage.compact(&key, Revision::new(10), kept.clone(), &guard)).unwrap();
    assert_eq!((head.revision, head.base), (Revision::new(20), Revision::new(10)));
    let again = wait(storage.compact(&key, Revision::new(10), kept, &guard)).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Conflict);
    for storage in [&other, &storage, &open(dir.path())] {
        let page = read_all(storage, &key).unwrap();
        assert_eq!(page.head, head);
        assert!(page.restarted && page.damage.is_empty());
        assert_eq!(revisions(&page), [1, 5, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
        let page = wait(storage.read(&key, ReadRange::After(Revision::new(3)))).unwrap();
        assert!(page.restarted);
        let page = wait(storage.read(&key, ReadRange::After(Revision::new(12)))).unwrap();
        assert_eq!((page.restarted, page.records.len()), (false, 8));
    }
    add(&other, &key, 50, 20, 1).unwrap();
    assert_eq!(add(&storage, &key, 51, 21, 1).unwrap().head.base, Revision::new(10));
    // A retry of what was compacted away in part is still known.
    assert_eq!(add(&storage, &key, 7, 12, 2).unwrap().head.revision, Revision::new(22));
}

#[test]
fn the_revision_stays_when_the_last_records_are_compacted_away() {
    let (dir, storage) = store();
    let key = key("s1");
    let head = add(&storage, &key, 1, 0, 5).unwrap().head;
    let kept = vec![batch(1, 0, 5).records[2].clone()];
    wait(storage.compact(&key, Revision::new(5), kept, &head)).unwrap();
    let other = open(dir.path());
    assert_eq!(wait(other.head(&key)).unwrap().unwrap().revision, Revision::new(5));
    add(&other, &key, 2, 5, 1).unwrap();
    assert_eq!(revisions(&read_all(&storage, &key).unwrap()), [3, 6]);
}

#[test]
fn documents_are_compared_and_swapped_and_expire() {
    let (dir, storage) = store();
    let scope = DocumentScope::Owner(OwnerId::local());
    let put = |storage: &chatkeep::storage::FileStorage, name: &str, expected, expires| {
        wait(storage.put_document(&scope, name, expected, "one".into(), expires, at()))
    };
    let first = put(&storage, "open/Tabs", ExpectedDocument::Absent, None).unwrap();
    let taken = put(&storage, "open/Tabs", ExpectedDocument::Absent, None).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    let second =
        put(&open(dir.path()), "open/Tabs", ExpectedDocument::Version(first.clone()), None)
            .unwrap();
    let stale = put(&storage, "open/Tabs", ExpectedDocument::Version(first), None).unwrap_err();
    assert_eq!(stale.kind(), ErrorKind::Conflict);
    put(&storage, "open/old", ExpectedDocument::Any, Some(at())).unwrap();
    let names = wait(storage.list_documents(&scope, "open/", None, at())).unwrap().items;
    assert_eq!(names, ["open/Tabs"]);
    assert_eq!(wait(storage.get_document(&scope, "open/old", at())).unwrap(), None);
    put(&storage, "open/old", ExpectedDocument::Absent, None).unwrap();
    let found = wait(storage.get_document(&scope, "open/Tabs", at())).unwrap().unwrap();
    assert_eq!((found.content, found.version.clone()), ("one".into(), second));
    let store = DocumentScope::Store;
    assert_eq!(wait(storage.get_document(&store, "open/Tabs", at())).unwrap(), None);
    let version = ExpectedDocument::Version(found.version);
    wait(storage.delete_document(&scope, "open/Tabs", version.clone(), at())).unwrap();
    let gone = wait(storage.delete_document(&scope, "open/Tabs", version, at())).unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Conflict);
    wait(storage.delete_document(&scope, "open/Tabs", ExpectedDocument::Any, at())).unwrap();
}

#[test]
fn blobs_are_kept_under_their_hash_and_checked() {
    let (dir, storage) = store();
    let key = key("s1");
    let id = BlobId::of(b"picture");
    let put = |content: &'static str| wait(storage.put_blob(&key, &id, content.into()));
    assert_eq!(put("picture").unwrap_err().kind(), ErrorKind::NotFound);
    add(&storage, &key, 1, 0, 1).unwrap();
    assert_eq!(put("other").unwrap_err().kind(), ErrorKind::Invalid);
    put("picture").unwrap();
    put("picture").unwrap();
    assert_eq!(wait(storage.get_blob(&key, &id)).unwrap(), Some("picture".into()));
    let path = dir.path().join("blobs/local/s1").join(id.to_string());
    std::fs::write(path, "pictura").unwrap();
    assert_eq!(wait(storage.get_blob(&key, &id)).unwrap_err().kind(), ErrorKind::Corrupt);
    put("picture").unwrap();
    assert_eq!(wait(storage.get_blob(&key, &id)).unwrap(), Some("picture".into()));
}

#[test]
fn lists_and_owners_show_what_another_storage_wrote() {
    let (dir, storage) = store();
    let other = open(dir.path());
    let owner = OwnerId::local();
    for id in ["a", "B", "ü"] {
        add(&other, &key(id), 1, 0, 1).unwrap();
        let page = wait(storage.list(&owner, &ListQuery::new(), None)).unwrap();
        assert!(page.items.iter().any(|session| *session.id() == *id));
    }
    assert_eq!(wait(storage.count(&owner, &ListQuery::new())).unwrap(), 3);
    assert_eq!(wait(storage.owners(None)).unwrap().items, [owner]);
}

#[test]
fn both_own_and_foreign_changes_are_hinted_at() {
    let (dir, storage) = store();
    let other = open(dir.path());
    let key = key("s1");
    let mut hints = wait(storage.watch(WatchFilter::Owner(OwnerId::local()))).unwrap();
    let mut next = || {
        let hint = async { hints.next().await.unwrap().key };
        let late = async {
            smol::Timer::after(Duration::from_secs(10)).await;
            panic!("no hint came")
        };
        smol::block_on(smol::future::or(hint, late))
    };
    add(&storage, &key, 1, 0, 1).unwrap();
    assert_eq!(next(), key);
    add(&other, &key, 2, 1, 1).unwrap();
    assert_eq!(next(), key);
    wait(other.purge(&key)).unwrap();
    assert_eq!(next(), key);
}

#[test]
fn a_writer_is_gone_when_its_storage_is() {
    let (dir, storage) = store();
    let other = open(dir.path());
    let (own, foreign) = (storage.writer(), other.writer());
    assert_ne!(own, foreign);
    assert!(!wait(storage.is_gone(&own)).unwrap());
    assert!(!wait(storage.is_gone(&foreign)).unwrap());
    drop(other);
    assert!(wait(storage.is_gone(&foreign)).unwrap());
    let next = open(dir.path());
    assert!(wait(storage.is_gone(&foreign)).unwrap());
    assert!(!wait(storage.is_gone(&next.writer())).unwrap());
}
