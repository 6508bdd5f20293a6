//! Deletion: what is left in the files, and who may be in the way.

use chatkeep::ErrorKind;
use chatkeep::storage::{BlobId, Body, Durability, Expected, Incarnation, Storage};

use crate::common::*;

const CANARY: &str = "canary5d1c";

/// A session in every table, some of it written again and again.
fn prepare(storage: &chatkeep::SqliteStorage, id: &str) {
    let key = key(id);
    for round in 0..60 {
        let mut batch = batch(round, round, 1);
        batch.records[0].body = Body::Json(format!("\"{CANARY} {}\"", "x".repeat(900)).into());
        let mut head = chatkeep::storage::HeadFields::new(at());
        head.title = format!("{CANARY} {round}");
        head.tags = vec![CANARY.to_owned()];
        batch.head = Some(head);
        batch.texts = vec![text(round % 7, &format!("{CANARY} {CANARY}x{round}"))];
        batch.durability = Durability::Buffered;
        wait(storage.append(&key, expected(round), batch)).unwrap();
        if round % 20 == 0 {
            // Some of it is in the index, and some waits.
            wait(storage.maintenance().scrub()).unwrap();
        }
    }
    let blob = CANARY.repeat(1_000);
    wait(storage.put_blob(&key, &BlobId::of(blob.as_bytes()), blob.into())).unwrap();
}

fn words(text: &str) -> chatkeep::storage::TextQuery {
    chatkeep::storage::TextQuery::new(vec![chatkeep::storage::Term::new(text).unwrap()])
}

#[test]
fn nothing_is_left_and_nothing_but_an_import_brings_the_id_back() {
    let (dir, storage) = store();
    let key = key("s");
    add(&storage, &crate::common::key("other"), 1, 0, 3).unwrap();
    prepare(&storage, "s");
    assert!(holds(dir.path(), CANARY));
    let receipt = wait(storage.purge(&key)).unwrap();
    assert_eq!((receipt.incarnation, receipt.blobs), (Incarnation::FIRST, 1));
    assert!(receipt.bytes > 60 * 900);
    assert_eq!(receipt.remains, Vec::<String>::new());
    assert!(!holds(dir.path(), CANARY));
    let found = wait(storage.full_text().unwrap().search(&key.owner, &words(CANARY), None));
    assert_eq!(found.unwrap().page.items, []);
    let other = open(dir.path());
    assert_eq!(add(&other, &key, 90, 60, 1).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(add(&other, &key, 91, 0, 1).unwrap_err().kind(), ErrorKind::Deleted);
    let again = wait(other.append(&key, Expected::NewIncarnation, batch(92, 0, 1))).unwrap().head;
    assert_eq!(again.incarnation, Incarnation::new(2));
    let retried = wait(other.append(&key, Expected::NewIncarnation, batch(92, 0, 1))).unwrap().head;
    assert_eq!(retried, again);
    assert_eq!(revisions(&read_all(&other, &crate::common::key("other")).unwrap()), [1, 2, 3]);
}

#[test]
fn a_reader_in_the_way_is_told_of_and_a_scrub_ends_what_it_kept() {
    let (dir, storage) = store();
    prepare(&storage, "s");
    let reader = raw(dir.path());
    reader.execute_batch("BEGIN; SELECT count(*) FROM records").unwrap();
    let receipt = wait(storage.purge(&key("s"))).unwrap();
    assert_eq!(receipt.remains.len(), 1);
    assert_eq!(wait(storage.head(&key("s"))).unwrap(), None);
    let error = wait(storage.maintenance().scrub()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    drop(reader);
    wait(storage.maintenance().scrub()).unwrap();
    assert!(!holds(dir.path(), CANARY));
}
