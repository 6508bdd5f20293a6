//! Texts on their way to the full text.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use chatkeep::storage::{
    Extract, Extracted, FullText, SessionKey, Storage, StorageExt, Term, TextQuery,
};
use chatkeep::{OwnerId, Result, SqliteStorage};

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

/// Reads the same of every session.
#[derive(Debug)]
struct Says(SqliteStorage, Vec<(u64, &'static str)>);

#[async_trait]
impl Extract for Says {
    async fn extract(&self, key: &SessionKey) -> Result<Extracted> {
        let head = self.0.existing_head(key).await?;
        let texts = self.1.iter().map(|(turn, words)| text(*turn, words)).collect();
        Ok(Extracted { head, texts, facts: Vec::new() })
    }
}

/// Many sessions of a few indexed turns each.
fn indexed(sessions: u64) -> (tempfile::TempDir, SqliteStorage) {
    let (dir, storage) = store();
    for number in 0..sessions {
        let mut batch = batch(1, 0, 1);
        batch.texts = (1..=3).map(|turn| text(turn, "before")).collect();
        wait(storage.append(&key(&format!("s{number}")), expected(0), batch)).unwrap();
    }
    wait(storage.maintenance().scrub()).unwrap();
    (dir, storage)
}

#[test]
fn a_rebuild_leaves_what_is_indexed_as_it_is() {
    let (dir, storage) = indexed(100);
    let connection = raw(dir.path());
    let state = || {
        let mut query = connection.prepare("SELECT id, block FROM texts_data").unwrap();
        let rows = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let blocks: Vec<(i64, Vec<u8>)> = rows.map(Result::unwrap).collect();
        let sql = "SELECT count(*) FROM waiting";
        (blocks, connection.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap())
    };
    let before = state();
    let same = vec![(1, "before"), (2, "before"), (3, "before")];
    wait(storage.rebuild(&Says(storage.clone(), same), &|_| {})).unwrap();
    assert!(state() == before);
    // What differs is set, and what is gone is taken out.
    let other = vec![(1, "before"), (2, "after"), (4, "before")];
    wait(storage.rebuild(&Says(storage.clone(), other), &|_| {})).unwrap();
    for (word, turns) in [("before", [1, 4]), ("after", [2, 2])] {
        let mut found = found(&storage, word);
        found.sort_unstable();
        found.dedup();
        let mut turns = turns.to_vec();
        turns.dedup();
        assert_eq!(found, turns, "{word}");
    }
}

#[test]
fn a_rebuild_indexes_texts_as_it_reads_them() {
    let (dir, storage) = indexed(1_000);
    let changed = vec![(1, "after"), (2, "after"), (3, "after")];
    wait(storage.rebuild(&Says(storage.clone(), changed), &|_| {})).unwrap();
    let sql = "SELECT count(*) FROM waiting";
    let waiting: i64 = raw(dir.path()).query_row(sql, (), |row| row.get(0)).unwrap();
    assert!(waiting <= 2_048 + 256, "{waiting} texts wait");
}
