//! Texts on their way to the full text.

use std::time::{Duration, Instant};

use chatkeep::storage::{FullText, Storage, Term, TextQuery};
use chatkeep::{OwnerId, SqliteStorage};

use crate::common::*;

fn found(storage: &SqliteStorage, word: &str) -> Vec<u64> {
    let query = TextQuery::new(vec![Term::new(word).unwrap()]);
    let hits = wait(storage.search(&OwnerId::local(), &query, None)).unwrap().page.items;
    hits.iter().map(|hit| hit.turn.get()).collect()
}

fn say(storage: &SqliteStorage, after: u64, turn: u64, words: &str) {
    let mut batch = batch(after + 1, after, 1);
    batch.texts = vec![text(turn, words)];
    wait(storage.append(&key("s"), expected(after), batch)).unwrap();
}

#[test]
fn a_text_is_found_at_once_by_every_handle_and_a_replaced_one_is_not() {
    let (dir, storage) = store();
    let other = open(dir.path());
    say(&storage, 0, 1, "before");
    assert_eq!(found(&other, "before"), [1]);
    say(&storage, 1, 1, "between");
    say(&storage, 2, 1, "after");
    assert_eq!(found(&storage, "after"), [1]);
    for gone in ["before", "between"] {
        assert_eq!(found(&storage, gone), [0_u64; 0], "{gone}");
    }
}

#[test]
fn many_texts_are_indexed_without_a_search() {
    let (dir, storage) = store();
    let connection = raw(dir.path());
    let sql = "SELECT count(*) FROM waiting";
    let waiting = || connection.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    say(&storage, 0, 1, "word");
    assert_eq!((waiting(), found(&storage, "word")), (1, vec![1]));
    for turn in 2..=600 {
        say(&storage, turn - 1, turn, "other");
    }
    let begun = Instant::now();
    while waiting() >= 256 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody indexes them");
        std::thread::yield_now();
    }
    drop(storage);
    assert_eq!(found(&open(dir.path()), "word"), [1]);
}

#[test]
fn as_many_as_an_import_has_are_indexed_at_once() {
    let (dir, storage) = store();
    let mut batch = batch(1, 0, 1);
    batch.texts = (1..=400).map(|turn| text(turn, "word")).collect();
    wait(storage.append(&key("s"), expected(0), batch)).unwrap();
    let sql = "SELECT count(*) FROM waiting";
    let waiting: i64 = raw(dir.path()).query_row(sql, (), |row| row.get(0)).unwrap();
    assert_eq!((waiting, found(&storage, "word")[0]), (0, 400));
}

#[test]
fn whoever_writes_faster_than_texts_are_indexed_helps_with_it() {
    let (dir, storage) = store();
    for round in 0..30 {
        let mut batch = batch(round + 1, round, 1);
        batch.texts = (1..=200).map(|turn| text(round * 200 + turn, "word")).collect();
        wait(storage.append(&key("s"), expected(round), batch)).unwrap();
    }
    let sql = "SELECT count(*) FROM waiting";
    let waiting: i64 = raw(dir.path()).query_row(sql, (), |row| row.get(0)).unwrap();
    assert!(waiting <= 2_048 + 256, "{waiting} texts wait");
}
