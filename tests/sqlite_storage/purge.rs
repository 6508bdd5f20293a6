//! Deletion: what is left in the files, and who may be in the way.

use std::collections::HashSet;

use chatkeep::ErrorKind;
use chatkeep::storage::{BlobId, Body, Durability, Expected, Incarnation, Storage, TurnText};

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

/// Digits that are no byte of a number that may stand behind a word.
const DIGITS: [char; 10] = ['α', 'β', 'γ', 'δ', 'ε', 'ζ', 'η', 'θ', 'ι', 'κ'];

fn word(number: u64) -> String {
    let digits = format!("{number:05}");
    let digits = digits.bytes().map(|digit| DIGITS[usize::from(digit - b'0')]);
    CANARY.chars().chain(digits).collect()
}

/// The words of a turn, between each two of which the other session has one.
fn of_turn(turn: u64, rest: u64) -> TurnText {
    let words = (0..8).map(|index| word((turn * 8 + index) * 2 + rest));
    text(turn, &words.collect::<Vec<_>>().join(" "))
}

fn set(storage: &chatkeep::SqliteStorage, id: &str, round: u64, rest: u64) {
    let mut batch = batch(round + 1, round, 1);
    batch.texts = (round * 256..(round + 1) * 256).map(|turn| of_turn(turn, rest)).collect();
    wait(storage.append(&key(id), expected(round), batch)).unwrap();
}

/// Sessions of turns that follow each other in the index, which has many leaves.
fn interleaved() -> (tempfile::TempDir, chatkeep::SqliteStorage) {
    let (dir, storage) = store();
    for round in 0..4 {
        set(&storage, "gone", round, 0);
        set(&storage, "stays", round, 1);
    }
    (dir, storage)
}

/// How many words of a session are anywhere in the files.
fn words_left(dir: &std::path::Path, rest: u64) -> usize {
    let words: HashSet<String> = (0..4 * 256 * 8).map(|number| word(number * 2 + rest)).collect();
    let whole: Vec<u8> = files(dir).into_iter().flat_map(|(_, content)| content).collect();
    let windows = whole.windows(word(0).len()).filter(|w| w.starts_with(CANARY.as_bytes()));
    windows.filter_map(|w| std::str::from_utf8(w).ok()).filter(|w| words.contains(*w)).count()
}

#[test]
fn no_word_of_a_deleted_session_is_left_among_those_of_others() {
    for merged in [false, true] {
        let (dir, storage) = interleaved();
        if merged {
            wait(storage.maintenance().scrub()).unwrap();
        }
        assert!(words_left(dir.path(), 0) > 0);
        let receipt = wait(storage.purge(&key("gone"))).unwrap();
        assert_eq!(receipt.remains, Vec::<String>::new());
        assert_eq!((words_left(dir.path(), 0), words_left(dir.path(), 1) > 0), (0, true));
        let integrity = "INSERT INTO texts (texts) VALUES ('integrity-check')";
        raw(dir.path()).execute(integrity, ()).unwrap();
    }
}

#[test]
fn no_replaced_word_is_left_by_a_scrub() {
    let (dir, storage) = interleaved();
    wait(storage.maintenance().scrub()).unwrap();
    let mut replaced = batch(9, 4, 1);
    replaced.texts = (0..4 * 256).map(|turn| of_turn(turn, 1)).collect();
    wait(storage.append(&key("gone"), expected(4), replaced)).unwrap();
    assert!(words_left(dir.path(), 0) > 0);
    wait(storage.maintenance().scrub()).unwrap();
    assert_eq!(words_left(dir.path(), 0), 0);
    let integrity = "INSERT INTO texts (texts) VALUES ('integrity-check')";
    raw(dir.path()).execute(integrity, ()).unwrap();
}

#[test]
fn a_session_of_which_nothing_is_indexed_is_deleted_whatever_became_of_the_index() {
    for (missing, remains) in [("texts", 0), ("texts_idx", 0), ("words", 0), ("full_text", 1)] {
        let (dir, storage) = store();
        let mut batch = batch(1, 0, 1);
        batch.texts = vec![text(1, CANARY)];
        wait(storage.append(&key("s"), expected(0), batch)).unwrap();
        raw(dir.path()).execute_batch(&format!("DROP TABLE {missing}")).unwrap();
        let receipt = wait(storage.purge(&key("s"))).unwrap();
        assert_eq!(receipt.remains.len(), remains, "{missing}: {:?}", receipt.remains);
        assert!(!holds(dir.path(), CANARY), "{missing}");
    }
}

#[test]
fn no_copy_of_a_row_stays_in_a_page_from_which_it_was_moved() {
    const SESSIONS: u64 = 6;
    let (dir, storage) = store();
    let canary = |session: u64| format!("canary-of-{session}");
    let mut chance = 88_172_645_462_276_676_u64;
    let mut below = |most: u64| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance % most
    };
    // Sessions that grow by turns, and lose records, have rows moved from page to page.
    for round in 0..120_u64 {
        for session in 0..SESSIONS {
            let key = key(&format!("s{session}"));
            let mut batch = batch(round * SESSIONS + session + 1, round, 1);
            let said = format!("{} {}", canary(session), "x".repeat(below(600) as usize));
            batch.records[0].body = Body::Json(format!("{{\"text\":\"{said}\"}}").into());
            wait(storage.append(&key, expected(round), batch)).unwrap();
            if below(20) == 0 {
                let head = wait(storage.head(&key)).unwrap().unwrap();
                let mut kept = read_all(&storage, &key).unwrap().records;
                kept.retain(|record| record.revision.get() == 1 || below(4) == 0);
                wait(storage.compact(&key, head.revision, kept, &head)).unwrap();
            }
        }
    }
    for session in 0..SESSIONS {
        let receipt = wait(storage.purge(&key(&format!("s{session}")))).unwrap();
        assert_eq!(receipt.remains, Vec::<String>::new());
        assert!(!holds(dir.path(), &canary(session)), "of {session}");
    }
}
