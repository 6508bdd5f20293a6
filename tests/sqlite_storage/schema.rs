//! Databases of other schemas.

use chatkeep::storage::{FullText, Storage, Term, TextOrder, TextQuery};
use chatkeep::{ErrorKind, OwnerId, SqliteStorage};

use crate::common::*;

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let (dir, storage) = store();
    add(&storage, &key("s"), 1, 0, 1).unwrap();
    drop(storage);
    raw(dir.path()).pragma_update(None, "user_version", 99).unwrap();
    let before = std::fs::read(path(dir.path())).unwrap();
    let error = wait(SqliteStorage::open(path(dir.path()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
    insta::assert_snapshot!(error, @"unsupported version: the database has schema 99, this version reads up to 4");
    assert_eq!(std::fs::read(path(dir.path())).unwrap(), before);
}

#[test]
fn a_schema_that_is_not_of_its_version_is_damage_and_left_as_it_is() {
    for version in [-1, 0, 1, 3] {
        let (dir, storage) = store();
        add(&storage, &key("s"), 1, 0, 1).unwrap();
        drop(storage);
        raw(dir.path()).pragma_update(None, "user_version", version).unwrap();
        let opened = wait(SqliteStorage::open(path(dir.path())));
        if version == 3 {
            // All that the last step brings is there already.
            assert_eq!(read_all(&opened.unwrap(), &key("s")).unwrap().records.len(), 1);
            continue;
        }
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt, "{version}");
        raw(dir.path()).pragma_update(None, "user_version", 4).unwrap();
        assert_eq!(read_all(&open(dir.path()), &key("s")).unwrap().records.len(), 1);
    }
}

#[test]
fn other_files_are_refused_and_left_as_they_are() {
    let dir = tempdir();
    raw(dir.path()).execute_batch("CREATE TABLE notes (text)").unwrap();
    let before = std::fs::read(path(dir.path())).unwrap();
    let error = wait(SqliteStorage::open(path(dir.path()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(std::fs::read(path(dir.path())).unwrap(), before);
    std::fs::write(path(dir.path()), "a diary, and long enough to be looked at as a database file")
        .unwrap();
    let error = wait(SqliteStorage::open(path(dir.path()))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let error = wait(SqliteStorage::open(dir.path().join("missing/chats.db"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// The tables are part of what later versions must be able to read.
#[test]
fn the_schema_is_what_it_was() {
    let (dir, _storage) = store();
    let connection = raw(dir.path());
    let sql = "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema
               WHERE name NOT LIKE 'texts_%' AND name NOT LIKE 'sqlite_%' ORDER BY name)";
    let names: String = connection.query_row(sql, (), |row| row.get(0)).unwrap();
    insta::assert_snapshot!(names, @"blobs blobs_blob digests docs docs_deleted docs_turn docs_updated documents dropped dropped_session facts full_text owners records sessions sessions_active sessions_created sessions_parent sessions_session sessions_title sessions_workspace store texts tombstones waiting waiting_deleted words");
    let version = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    assert_eq!(version("user_version").unwrap(), 4);
    assert_eq!(version("application_id").unwrap(), 0x636b_7053);
}

/// Brings a database back to version 2.
const WITHOUT_LATER: &str = "
    DROP TRIGGER docs_deleted; DROP TRIGGER docs_updated; DROP TABLE digests;
    DROP TRIGGER waiting_deleted; ALTER TABLE waiting DROP COLUMN facts_at;
    ALTER TABLE waiting DROP COLUMN state; ALTER TABLE waiting DROP COLUMN model;
    ALTER TABLE waiting DROP COLUMN input_tokens; ALTER TABLE waiting DROP COLUMN output_tokens;
    ALTER TABLE waiting DROP COLUMN duration_ms; PRAGMA user_version = 2;";

/// Texts used to be indexed without a digest.
#[test]
fn what_is_indexed_in_an_older_database_is_ranked() {
    let (dir, storage) = store();
    let texts = ["one apple in a text", "an apple and an apple", "apple", "apple pie"];
    for (turn, said) in (1..).zip(texts) {
        let mut batch = batch(turn, turn - 1, 1);
        batch.texts = vec![text(turn, said)];
        wait(storage.append(&key("s"), expected(turn - 1), batch)).unwrap();
    }
    let ranked = |storage: &SqliteStorage| {
        let mut query = TextQuery::new(vec![Term::new("apple").unwrap()]);
        query.order = TextOrder::Relevance;
        let hits = wait(storage.search(&OwnerId::local(), &query, None)).unwrap().page.items;
        hits.into_iter().map(|hit| hit.turn.get()).collect::<Vec<_>>()
    };
    wait(storage.maintenance().scrub()).unwrap();
    assert_eq!(ranked(&storage), [3, 2, 4, 1]);
    drop(storage);
    raw(dir.path()).execute_batch(WITHOUT_LATER).unwrap();
    assert_eq!(ranked(&open(dir.path())), [3, 2, 4, 1]);
}

/// Of one turn several texts used to wait.
#[test]
fn what_waits_in_an_older_database_is_found() {
    let (dir, storage) = store();
    let mut batch = batch(1, 0, 1);
    batch.texts = vec![text(1, "apple")];
    wait(storage.append(&key("s"), expected(0), batch)).unwrap();
    drop(storage);
    let older = raw(dir.path());
    older.execute_batch(WITHOUT_LATER).unwrap();
    older.execute_batch(
            "CREATE TABLE pending_texts (
               id INTEGER PRIMARY KEY,
               session INTEGER NOT NULL,
               turn INTEGER NOT NULL,
               at INTEGER NOT NULL,
               text BLOB NOT NULL
             );
             INSERT INTO pending_texts SELECT 1, id >> 32, 1, at, x'ff' FROM waiting;
             INSERT INTO pending_texts SELECT 2, id >> 32, 1, at, x'0101' || x'00' || x'00' FROM waiting;
             INSERT INTO pending_texts SELECT 3, id >> 32, 1, at, text FROM waiting;
             INSERT INTO pending_texts SELECT 4, (id >> 32) + 9, 1, at, text FROM waiting;
             DROP TABLE waiting;
             PRAGMA user_version = 1",
        )
        .unwrap();
    let storage = open(dir.path());
    let query = TextQuery::new(vec![Term::new("apple").unwrap()]);
    let hits = wait(storage.search(&OwnerId::local(), &query, None)).unwrap().page.items;
    assert_eq!(hits.len(), 1);
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'pending_texts'";
    let left: i64 = raw(dir.path()).query_row(sql, (), |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}
