//! What the conformance suite cannot see: how much is read, and what happens to damaged keys.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use pollster::block_on;

use super::*;
use crate::ErrorKind;
use crate::id::{OwnerId, SessionId, TurnId};
use crate::storage::{
    Batch, BatchId, BlobId, Body, DocumentScope, Durability, Expected, ExpectedDocument, Head,
    HeadFields, Incarnation, ListQuery, Maintenance, ReadRange, Record, Revision, SessionKey,
    Storage, StorageExt,
};

/// Counts what is read.
#[derive(Clone, Default)]
struct Counting {
    engine: MemoryKeyValue,
    read: Arc<AtomicUsize>,
}

#[async_trait]
impl KeyValue for Counting {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.read.fetch_add(1, Ordering::Relaxed);
        self.engine.get(key).await
    }

    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let found = self.engine.scan(range, limit, order).await?;
        self.read.fetch_add(found.len(), Ordering::Relaxed);
        Ok(found)
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        self.engine.commit(batch).await
    }
}

fn key() -> SessionKey {
    SessionKey::new(OwnerId::local(), SessionId::new("s").unwrap())
}

fn batch(after: u64, kinds: &[&'static str]) -> Batch {
    let id = BatchId::new(after + 1);
    let record = |(revision, kind): (u64, &&'static str)| Record {
        revision: Revision::new(revision),
        turn: TurnId::new(1),
        kind: (*kind).into(),
        at: Timestamp::UNIX_EPOCH,
        batch: id,
        body: Body::Json(format!(r#"{{"n":{revision}}}"#).into()),
    };
    Batch {
        id,
        records: (after + 1..).zip(kinds).map(record).collect(),
        head: (after == 0).then(|| HeadFields::new(Timestamp::UNIX_EPOCH)),
        epoch: None,
        base: Revision::ZERO,
        texts: Vec::new(),
        facts: Vec::new(),
        durability: Durability::Buffered,
    }
}

fn at(revision: u64) -> Expected {
    Expected::At { incarnation: Incarnation::FIRST, revision: Revision::new(revision) }
}

fn begin<K: KeyValue>(storage: &KeyValueStorage<K>, kinds: &[&'static str]) -> Head {
    block_on(storage.append(&key(), Expected::New, batch(0, kinds))).unwrap().head
}

fn revisions<K: KeyValue>(storage: &KeyValueStorage<K>) -> Vec<u64> {
    let page = block_on(storage.read(&key(), ReadRange::After(Revision::ZERO))).unwrap();
    page.records.iter().map(|record| record.revision.get()).collect()
}

/// Changes one byte in the middle of a key's value.
fn damage(engine: &MemoryKeyValue, key: Bytes) {
    let mut value = block_on(engine.get(&key)).unwrap().unwrap().to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 1;
    block_on(engine.commit(WriteBatch::default().put(key, value))).unwrap();
}

fn remove(engine: &MemoryKeyValue, key: Bytes) {
    block_on(engine.commit(WriteBatch::default().delete(key))).unwrap();
}

fn sound() -> (MemoryKeyValue, KeyValueStorage<MemoryKeyValue>) {
    let engine = MemoryKeyValue::new();
    let storage = KeyValueStorage::new(engine.clone());
    begin(&storage, &["session", "request", "text", "text", "request", "text"]);
    (engine, storage)
}

#[test]
fn the_newest_turns_of_a_long_log_are_read_without_the_rest() {
    let engine = Counting::default();
    let storage = KeyValueStorage::new(engine.clone());
    let mut kinds = vec!["text"; 5_000];
    kinds.extend(["checkpoint", "request", "text", "request", "text"]);
    begin(&storage, &kinds);
    let read = |range| {
        engine.read.store(0, Ordering::Relaxed);
        let page = block_on(storage.read(&key(), range)).unwrap();
        (page.records.len(), engine.read.load(Ordering::Relaxed))
    };
    let newest = ReadRange::Newest { turns: 1 };
    assert_eq!(read(newest), (5, 18), "two heads and one scan of sixteen");
    let before = ReadRange::Before { revision: Revision::new(5_004), turns: 1 };
    assert_eq!(read(before), (2, 19), "and one to know that there is more after it");
    let after = ReadRange::After(Revision::new(5_004));
    assert_eq!(read(after), (1, 4), "the line before it proves the first");
}

#[test]
fn a_damaged_line_hides_no_other_and_a_repair_keeps_it() {
    let (engine, storage) = sound();
    damage(&engine, keys::line(&key(), Revision::new(3)));
    for range in [ReadRange::After(Revision::ZERO), ReadRange::Newest { turns: 9 }] {
        let page = block_on(storage.read(&key(), range)).unwrap();
        assert_eq!(page.records.len(), 5);
        assert_eq!(page.damage[0].record, Some(3));
        assert_eq!(page.damage.len(), 1);
    }
    let verified = block_on(storage.verify(&key())).unwrap();
    assert_eq!(verified.damage.len(), 1);
    let repaired = block_on(storage.repair(&key())).unwrap();
    assert_eq!(repaired.kept.len(), 1);
    assert_eq!(revisions(&storage), [1, 2, 4, 5, 6]);
    assert!(block_on(storage.verify(&key())).unwrap().damage.is_empty());
    block_on(storage.append(&key(), at(6), batch(6, &["text"]))).unwrap();
    assert_eq!(revisions(&storage), [1, 2, 4, 5, 6, 7]);
    let kept = keys::damaged(&key(), Revision::new(3));
    assert!(block_on(engine.get(&kept)).unwrap().is_some());
    block_on(storage.purge(&key())).unwrap();
    assert!(block_on(engine.get(&kept)).unwrap().is_none());
}

#[test]
fn missing_lines_are_named() {
    for (missing, words) in [(4, "4 to 4"), (6, "6 to 6"), (1, "1 to 1")] {
        let (engine, storage) = sound();
        remove(&engine, keys::line(&key(), Revision::new(missing)));
        for range in [ReadRange::After(Revision::ZERO), ReadRange::Newest { turns: 9 }] {
            let page = block_on(storage.read(&key(), range)).unwrap();
            assert_eq!(page.records.len(), 5, "without {missing}");
            let problem = format!("the records {words} are missing");
            let problems: Vec<_> = page.damage.iter().map(|damage| &damage.problem).collect();
            assert_eq!(problems, [&problem], "without {missing}");
        }
    }
}

#[test]
fn a_line_that_was_moved_or_put_in_is_noticed() {
    let (engine, storage) = sound();
    let line = |revision| keys::line(&key(), Revision::new(revision));
    let three = block_on(engine.get(&line(3))).unwrap().unwrap();
    block_on(engine.commit(WriteBatch::default().put(line(4), three))).unwrap();
    let page = block_on(storage.read(&key(), ReadRange::After(Revision::ZERO))).unwrap();
    assert!(page.damage.iter().any(|damage| damage.record == Some(4)));
    assert!(page.records.iter().all(|record| record.revision != Revision::new(4)));
}

#[test]
fn a_damaged_head_is_corrupt_never_absent_and_can_be_deleted() {
    let (engine, storage) = sound();
    damage(&engine, keys::head(&key()));
    assert_eq!(block_on(storage.head(&key())).unwrap_err().kind(), ErrorKind::Corrupt);
    let append = block_on(storage.append(&key(), at(6), batch(6, &["text"])));
    assert_eq!(append.unwrap_err().kind(), ErrorKind::Corrupt);
    let other = SessionKey::new(OwnerId::local(), SessionId::new("other").unwrap());
    block_on(storage.append(&other, Expected::New, batch(0, &["session"]))).unwrap();
    let listed = block_on(storage.list_all(&key().owner, &ListQuery::new())).unwrap();
    let is_readable = |key: &SessionKey| {
        let session = listed.iter().find(|session| session.key == *key).unwrap();
        !session.head.fields.extra.contains_key("unreadable")
    };
    assert!(is_readable(&other) && !is_readable(&key()), "it does not hide the others");
    assert_eq!(block_on(storage.purge(&key())).unwrap().incarnation, Incarnation::FIRST);
    assert_eq!(block_on(storage.head(&key())).unwrap(), None);
    let line = keys::line(&key(), Revision::new(1));
    assert!(block_on(engine.get(&line)).unwrap().is_none());
}

/// Of what kinds the keys are that the engine holds.
fn kinds(engine: &MemoryKeyValue) -> Vec<u8> {
    let all = Bytes::new()..Bytes::from_static(&[0xff]);
    let left = block_on(engine.scan(all, usize::MAX, Order::Ascending)).unwrap();
    left.iter().map(|(key, _)| key[0]).collect()
}

#[test]
fn a_blob_whose_count_is_damaged_is_deleted_whole() {
    // Of three chunks. None is a count that is gone.
    for count in [Some("x"), Some("1"), Some("0"), Some("4"), Some("4294967295"), Some(""), None] {
        let (engine, storage) = sound();
        let (content, other) = (Bytes::from(vec![1; 1_100_000]), Bytes::from(vec![2; 600_000]));
        let blob = BlobId::of(&content);
        block_on(storage.put_blob(&key(), &blob, content)).unwrap();
        block_on(storage.put_blob(&key(), &BlobId::of(&other), other)).unwrap();
        assert_eq!(kinds(&engine).iter().filter(|kind| **kind == b'c').count(), 5);
        let place = keys::blob(&key(), &blob);
        let broken = match count {
            Some(count) => WriteBatch::default().put(place, count),
            None => WriteBatch::default().delete(place),
        };
        block_on(engine.commit(broken)).unwrap();
        block_on(storage.purge(&key())).unwrap();
        assert_eq!(kinds(&engine), [b's', b't'], "{count:?}");
    }
}

#[test]
fn a_purge_does_not_read_what_blobs_hold() {
    let engine = Counting::default();
    let storage = KeyValueStorage::new(engine.clone());
    begin(&storage, &["session"]);
    let content = Bytes::from(vec![1; 20 << 20]);
    block_on(storage.put_blob(&key(), &BlobId::of(&content), content)).unwrap();
    engine.read.store(0, Ordering::Relaxed);
    block_on(storage.purge(&key())).unwrap();
    assert_eq!(kinds(&engine.engine), [b's', b't']);
    assert!(engine.read.load(Ordering::Relaxed) < 10, "forty chunks are deleted unread");
}

#[test]
fn a_purge_leaves_nothing_but_the_tombstone_and_the_salt() {
    let (engine, storage) = sound();
    let head = block_on(storage.existing_head(&key())).unwrap();
    let blob = BlobId::of(b"blob");
    block_on(storage.put_blob(&key(), &blob, "blob".into())).unwrap();
    block_on(storage.compact(&key(), Revision::new(4), Vec::new(), &head)).unwrap();
    block_on(storage.purge(&key())).unwrap();
    assert_eq!(kinds(&engine), [b's', b't']);
}

#[test]
fn a_damaged_document_hides_no_other_and_can_be_replaced() {
    let (engine, storage) = sound();
    let (scope, any, now) = (DocumentScope::Store, ExpectedDocument::Any, Timestamp::UNIX_EPOCH);
    let put = |name, expected: &ExpectedDocument| {
        block_on(storage.put_document(&scope, name, expected.clone(), "x".into(), None, now))
    };
    put("a", &any).unwrap();
    put("b", &any).unwrap();
    let broken = WriteBatch::default().put(keys::document(&scope, "a"), "no first line");
    block_on(engine.commit(broken)).unwrap();
    let read = block_on(storage.get_document(&scope, "a", now));
    assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(put("a", &ExpectedDocument::Absent).unwrap_err().kind(), ErrorKind::Corrupt);
    let names = block_on(storage.list_documents(&scope, "", None, now)).unwrap().items;
    assert_eq!(names, ["a", "b"]);
    put("a", &any).unwrap();
    assert!(block_on(storage.get_document(&scope, "a", now)).unwrap().is_some());
}
