//! The catalogue and the database, against the model in memory.

use std::path::Path;

use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;

use super::database::{Database, Fault, Schema, Sync};
use super::engine::are_texts_due;
use super::{SqliteError, SqliteStorage, catalogue, full_text};
use crate::error::{Error, ErrorKind};
use crate::id::{OwnerId, SessionId, TurnId, WorkspaceId};
use crate::model::{ResponseState, SessionStatus};
use crate::storage::{
    Appended, Batch, BatchId, Body, Cursor, Durability, Expected, Head, HeadFields, Incarnation,
    ListOrder, ListQuery, Page, ReadRange, Record, Revision, SessionHead, SessionKey, Storage as _,
    VersionToken, listing,
};
use pollster::block_on as wait;

pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

pub(super) fn key(id: &str) -> SessionKey {
    SessionKey::new(OwnerId::local(), SessionId::new(id).unwrap())
}

pub(super) fn head(fields: HeadFields) -> Head {
    Head {
        incarnation: Incarnation::new(2),
        revision: Revision::new(7),
        base: Revision::new(3),
        token: VersionToken("7.t".to_owned()),
        fields,
    }
}

pub(super) fn catalogue() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    catalogue::create(&connection).unwrap();
    connection
}

/// Values that are often the same, so that ties and conditions meet.
fn fields() -> impl Strategy<Value = HeadFields> {
    let title = prop_oneof![Just("".to_owned()), Just("Ünder a\0 B".to_owned()), "[aAbÄß]{0,3}"];
    let state = proptest::option::of(prop_oneof![
        Just(ResponseState::Complete),
        Just(ResponseState::NeedsInput)
    ]);
    let tags =
        proptest::collection::btree_set(prop_oneof![Just("a"), Just("a\u{1f}b"), Just("\"")], 0..3);
    let workspace = proptest::option::of(prop_oneof![Just("w1"), Just("w2")]);
    let parent = proptest::option::of(Just("s1"));
    (title, 0..3_u8, any::<bool>(), tags, workspace, parent, -2..3_i64, 0..4_i64, state).prop_map(
        |(title, status, pinned, tags, workspace, parent, created, active, state)| HeadFields {
            title,
            status: [SessionStatus::Active, SessionStatus::Archived, SessionStatus::Trashed]
                [usize::from(status)],
            pinned,
            tags: tags.into_iter().map(str::to_owned).collect(),
            agent: (created == 1).then(|| "agent".to_owned()),
            workspace: workspace.map(|w| WorkspaceId::new(w).unwrap()),
            parent: parent.map(|p| SessionId::new(p).unwrap()),
            active: time(active),
            turns: 3,
            state,
            extra: [("later".to_owned(), serde_json::json!({"kept": [1, "x"]}))].into(),
            ..HeadFields::new(time(created))
        },
    )
}

fn query() -> impl Strategy<Value = ListQuery> {
    let order =
        prop_oneof![Just(ListOrder::LastActive), Just(ListOrder::Created), Just(ListOrder::Title)];
    let workspaces =
        proptest::collection::vec(proptest::option::of(prop_oneof![Just("w1"), Just("w2")]), 0..3);
    let some = || proptest::option::weighted(0.2, -2..4_i64);
    let maybe = || proptest::bool::weighted(0.2);
    let title = proptest::option::weighted(0.2, prop_oneof![Just("A"), Just("ä"), Just("\0 b")]);
    let times = (some(), some(), some(), some());
    (order, 1..4_usize, workspaces, times, (maybe(), maybe(), maybe(), maybe(), maybe()), title)
        .prop_map(
            |(order, limit, workspaces, times, (tag, pinned, agent, parent, state), title)| {
                let mut query = ListQuery::new().order(order).limit(limit);
                query.workspaces = workspaces
                    .into_iter()
                    .map(|workspace| workspace.map(|w| WorkspaceId::new(w).unwrap()))
                    .collect();
                query = query
                    .created(times.0.map(time), times.1.map(time))
                    .active(times.2.map(time), times.3.map(time));
                if tag {
                    query =
                        query.tag("a").status(SessionStatus::Active).status(SessionStatus::Trashed);
                }
                if pinned {
                    query = query.pinned(true);
                }
                if agent {
                    query = query.agent("agent");
                }
                if parent {
                    query = query.parent(SessionId::new("s1").unwrap());
                }
                if state {
                    query = query.state(ResponseState::NeedsInput);
                }
                query.title = title.map(str::to_owned);
                query
            },
        )
}

/// All pages of a list, with their cursors.
fn pages(
    query: &ListQuery,
    mut page: impl FnMut(Option<&Cursor>) -> Page<SessionHead>,
) -> Vec<Page<SessionHead>> {
    let mut pages = vec![page(None)];
    while let Some(next) = pages.last().and_then(|page| page.next.clone()) {
        pages.push(page(Some(&next)));
        assert!(pages.len() < 100, "{query:?} does not end");
    }
    pages
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_catalogue_lists_as_the_model_does(
        changes in proptest::collection::vec((0..9_usize, proptest::option::weighted(0.9, fields())), 0..24),
        queries in proptest::collection::vec(query(), 6),
    ) {
        let connection = catalogue();
        let mut model = std::collections::BTreeMap::new();
        for (id, fields) in changes {
            let key = key(&format!("s{id}"));
            match fields {
                Some(fields) => {
                    let head = head(fields);
                    let row = catalogue::upsert(&connection, &key, &head).unwrap();
                    assert_eq!(catalogue::get(&connection, &key).unwrap(), Some((row, head.clone())));
                    model.insert(key, head);
                }
                None => {
                    let removed = catalogue::remove(&connection, &key).unwrap();
                    assert_eq!(removed.is_some(), model.remove(&key).is_some());
                }
            }
        }
        let owner = OwnerId::local();
        for query in queries {
            let heads = || model.clone().into_iter().map(|(key, head)| SessionHead { key, head });
            let expected = pages(&query, |after| listing::page(heads(), &query, after).unwrap());
            let found = pages(&query, |after| catalogue::page(&connection, &owner, &query, after).unwrap());
            assert_eq!(found, expected, "{query:?}");
            let count = heads().filter(|session| listing::fits(session, &query)).count() as u64;
            assert_eq!(catalogue::count(&connection, &owner, &query).unwrap(), count);
        }
        let owners = catalogue::owners(&connection, None).unwrap().items;
        assert_eq!(owners.is_empty(), model.is_empty());
    }
}

#[test]
fn where_a_session_stands_is_known_without_its_head() {
    let connection = catalogue();
    for epoch in [0, u64::MAX] {
        let head = head(HeadFields { epoch, ..HeadFields::new(time(5)) });
        let row = catalogue::upsert(&connection, &key("a"), &head).unwrap();
        let stored = catalogue::find(&connection, &key("a")).unwrap().unwrap();
        let stands = stored.standing().unwrap();
        let known = (stored.row, stands.incarnation, stands.revision, stands.epoch);
        assert_eq!(known, (row, head.incarnation, head.revision, epoch));
        assert_eq!(stored.head().unwrap(), head);
    }
}

#[test]
fn a_damaged_column_hides_no_sound_head_and_is_mended() {
    let connection = catalogue();
    let head = head(HeadFields { title: "title".to_owned(), ..HeadFields::new(time(5)) });
    let row = catalogue::upsert(&connection, &key("a"), &head).unwrap();
    let damage = "UPDATE sessions SET title = CAST(x'80' AS TEXT)";
    connection.execute(damage, ()).unwrap();
    assert_eq!(catalogue::get(&connection, &key("a")).unwrap(), Some((row, head.clone())));
    let stored = catalogue::find(&connection, &key("a")).unwrap().unwrap();
    catalogue::update(&connection, row, Some(&stored), &head).unwrap();
    let title = connection.query_row("SELECT title FROM sessions", (), |row| row.get(0));
    assert_eq!(title, Ok("title".to_owned()));
}

#[test]
fn an_id_is_never_used_again_and_only_positions_advance() {
    let connection = catalogue();
    let mut head = head(HeadFields::new(time(5)));
    let first = catalogue::upsert(&connection, &key("a"), &head).unwrap();
    head.revision = Revision::new(8);
    catalogue::advance(&connection, first, &head).unwrap();
    let before = catalogue::find(&connection, &key("a")).unwrap().unwrap();
    head.fields.title = "other".to_owned();
    catalogue::update(&connection, first, Some(&before), &head).unwrap();
    assert_eq!(catalogue::get(&connection, &key("a")).unwrap(), Some((first, head.clone())));
    assert_eq!(catalogue::remove(&connection, &key("a")).unwrap(), Some(first));
    assert_eq!(catalogue::remove(&connection, &key("a")).unwrap(), None);
    let second = catalogue::upsert(&connection, &key("a"), &head).unwrap();
    assert!(second.id > first.id && second.owner > first.owner);
}

#[test]
fn a_damaged_head_is_listed_with_the_reason() {
    let connection = catalogue();
    for id in ["a", "b", "c"] {
        catalogue::upsert(&connection, &key(id), &head(HeadFields::new(time(5)))).unwrap();
    }
    connection.execute("UPDATE sessions SET head = '{' WHERE session = 'b'", ()).unwrap();
    let error = Error::from(catalogue::get(&connection, &key("b")).unwrap_err());
    assert_eq!((error.kind(), error.context("session")), (ErrorKind::Corrupt, Some("b")));
    let query = ListQuery::new().limit(1).order(ListOrder::Title);
    let owner = OwnerId::local();
    let all = pages(&query, |after| catalogue::page(&connection, &owner, &query, after).unwrap());
    let items: Vec<SessionHead> = all.into_iter().flat_map(|page| page.items).collect();
    assert_eq!(items.iter().map(|s| s.key.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(items[1].head.fields.extra.contains_key("unreadable"));
}

#[test]
fn cursors_of_other_queries_are_refused() {
    let connection = catalogue();
    for id in ["a", "b"] {
        catalogue::upsert(&connection, &key(id), &head(HeadFields::new(time(5)))).unwrap();
    }
    let owner = OwnerId::local();
    let query = ListQuery::new().limit(1);
    let next = catalogue::page(&connection, &owner, &query, None).unwrap().next.unwrap();
    for query in [ListQuery::new().order(ListOrder::Title), ListQuery::new().pinned(false)] {
        let error =
            Error::from(catalogue::page(&connection, &owner, &query, Some(&next)).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let nonsense = Cursor("nonsense".to_owned());
    assert!(catalogue::page(&connection, &owner, &query, Some(&nonsense)).is_err());
    assert!(catalogue::page(&connection, &owner, &ListQuery::new().limit(0), None).is_err());
}

#[test]
fn no_list_sorts_all_sessions() {
    let connection = catalogue();
    for order in [ListOrder::LastActive, ListOrder::Created, ListOrder::Title] {
        let query = ListQuery::new().order(order);
        for query in [query.clone(), query.clone().workspace(WorkspaceId::new("w").unwrap())] {
            for after in [false, true] {
                let plan = catalogue::plan(&connection, &query, after).unwrap();
                assert!(!plan.contains("TEMP B-TREE"), "{order:?}: {plan}");
                assert!(plan.contains("SEARCH sessions USING INDEX"), "{order:?}: {plan}");
                assert_eq!(after, plan.contains(",session)>(?,?)"), "{order:?}: {plan}");
            }
        }
    }
}

fn create(connection: &Connection) -> Result<(), SqliteError> {
    Ok(connection.execute_batch("CREATE TABLE t (x INTEGER)")?)
}

fn widen(connection: &Connection) -> Result<(), SqliteError> {
    Ok(connection.execute_batch("ALTER TABLE t ADD COLUMN y INTEGER DEFAULT 5")?)
}

const ONE: Schema = Schema { application_id: 0x1234, steps: &[create], checkpoint_pages: 1_000 };
const TWO: Schema = Schema { steps: &[create, widen], ..ONE };

fn refusal(path: &Path, schema: Schema) -> (ErrorKind, String) {
    let before = std::fs::read(path).unwrap();
    let error = Error::from(Database::open(path, schema).unwrap_err());
    assert_eq!(std::fs::read(path).unwrap(), before, "the file was changed");
    (error.kind(), error.message().to_owned())
}

#[test]
fn an_older_schema_is_brought_up_and_a_newer_one_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let database = Database::open(&path, ONE).unwrap();
    database.write(Sync::Full, |tx| Ok(tx.execute("INSERT INTO t VALUES (1)", ())?)).unwrap();
    drop(database);
    let sum = |database: &Database| {
        database
            .read(|c| Ok(c.query_row("SELECT sum(x + y) FROM t", (), |row| row.get::<_, i64>(0))?))
            .unwrap()
    };
    // Opened by several at once, the steps run once.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || Database::open(&path, TWO).unwrap())
        })
        .collect();
    for thread in threads {
        assert_eq!(sum(&thread.join().unwrap()), 6);
    }
    let (kind, message) = refusal(&path, ONE);
    assert_eq!(kind, ErrorKind::UnsupportedVersion);
    insta::assert_snapshot!(message, @"the database has schema 2, this version reads up to 1");
}

#[test]
fn what_is_not_ours_is_refused_untouched() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (x)").unwrap();
    let (kind, message) = refusal(&path, ONE);
    assert_eq!(kind, ErrorKind::Invalid);
    insta::assert_snapshot!(message, @"the file is a database of something else (application id 0x00000000)");
    std::fs::write(&path, "not a database, but long enough to be taken for the head of one")
        .unwrap();
    assert_eq!(refusal(&path, ONE).0, ErrorKind::Corrupt);
}

#[test]
fn many_threads_open_an_empty_file_and_write_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let database = Database::open(&path, TWO).unwrap();
                for x in 0..10 {
                    database
                        .write(Sync::Full, |tx| {
                            Ok(tx.execute("INSERT INTO t (x) VALUES (?1)", [x])?)
                        })
                        .unwrap();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let database = Database::open(&path, TWO).unwrap();
    let count =
        |c: &Connection| Ok(c.query_row("SELECT count(*) FROM t", (), |r| r.get::<_, i64>(0))?);
    assert_eq!(database.read(count).unwrap(), 40);
    let failed: Result<(), _> = database.write(Sync::Normal, |tx| {
        tx.execute("INSERT INTO t (x) VALUES (1)", ())?;
        Err(SqliteError::damaged("as planned"))
    });
    assert!(failed.is_err());
    assert_eq!(database.read(count).unwrap(), 40);
    assert!(database.truncate_wal().unwrap());
    assert_eq!(std::fs::metadata(dir.path().join("db-wal")).unwrap().len(), 0);
}

/// A database whose log is copied into the file after each commit, and was long once.
fn long_logged() -> (tempfile::TempDir, Database, impl Fn() -> u64) {
    let dir = tempfile::tempdir().unwrap();
    let schema = Schema { checkpoint_pages: 1, ..ONE };
    let database = Database::open(&dir.path().join("db"), schema).unwrap();
    let wal = dir.path().join("db-wal");
    insert(&database, 100).unwrap();
    (dir, database, move || std::fs::metadata(&wal).unwrap().len())
}

/// A transaction that takes so many pages.
fn insert(database: &Database, pages: i64) -> Result<(), SqliteError> {
    database.write(Sync::Full, |tx| {
        let sql = "INSERT INTO t (x) VALUES (zeroblob(?1))";
        Ok(tx.execute(sql, [pages * 4_096]).map(drop)?)
    })
}

/// Its syncs may have failed, and say nothing of that any more.
#[test]
fn a_log_that_could_not_be_copied_is_cut_before_anything_else_is_written() {
    let (_dir, database, wal) = long_logged();
    let long = wal();
    insert(&database, 1).unwrap();
    assert_eq!(wal(), long);
    *database.fault.lock().unwrap() = Some(Fault::Checkpoint);
    insert(&database, 1).unwrap();
    assert_eq!(wal(), long);
    insert(&database, 1).unwrap();
    assert!(wal() < long / 10, "the log was trusted");
}

#[test]
fn a_log_that_could_not_be_cut_is_cut_before_anything_else_is_written() {
    let (_dir, database, wal) = long_logged();
    let long = wal();
    *database.fault.lock().unwrap() = Some(Fault::Checkpoint);
    assert!(database.truncate_wal().is_err());
    insert(&database, 1).unwrap();
    assert!(wal() < long / 10, "the log was trusted");
}

#[test]
fn a_log_is_copied_into_the_file_before_it_is_long() {
    let (dir, database, wal) = long_logged();
    let one = std::fs::metadata(dir.path().join("db")).unwrap().len();
    assert!(one > 100 * 4_096);
    let long = wal();
    for _ in 0..300 {
        insert(&database, 1).unwrap();
    }
    assert_eq!(wal(), long);
}

#[test]
fn every_connection_has_syncs_reach_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&dir.path().join("db"), ONE).unwrap();
    let full = |connection: &Connection| {
        let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, bool>(0));
        Ok([pragma("fullfsync")?, pragma("checkpoint_fullfsync")?])
    };
    assert_eq!(database.write(Sync::Normal, full).unwrap(), [true, true]);
    assert_eq!(database.read(full).unwrap(), [true, true]);
}

/// A commit of unknown outcome is told to all who were in it, and a retry lands once.
#[test]
fn a_retry_after_a_failed_commit_lands_once() {
    for fault in [Fault::TookEffect, Fault::TookNone] {
        let dir = tempfile::tempdir().unwrap();

        let storage = wait(SqliteStorage::open(dir.path().join("db"))).unwrap();
        let keys = ["a", "b"].map(key);
        let append = |number: usize, revision| append(&storage, &keys[number], revision);
        for number in [0, 1] {
            wait(append(number, 0)).unwrap();
        }
        *storage.engine.database.fault.lock().unwrap() = Some(fault);
        let together = futures_util::future::join(append(0, 1), append(1, 1));
        let (a, b) = wait(together);
        for answer in [a, b] {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Indeterminate);
        }
        // Somebody reads for longer than the log can wait to be cut: nothing is promised.
        let reader = Connection::open(dir.path().join("db")).unwrap();
        reader.execute_batch("BEGIN; SELECT * FROM store").unwrap();
        assert_eq!(wait(append(0, 1)).unwrap_err().kind(), ErrorKind::Unavailable);
        drop(reader);
        for number in [0, 1] {
            assert_eq!(wait(append(number, 1)).unwrap().head.revision, Revision::new(2));
            assert_eq!(wait(append(number, 1)).unwrap().head.revision, Revision::new(2));
            let page = wait(storage.read(&keys[number], ReadRange::After(Revision::ZERO))).unwrap();
            assert_eq!(page.records.len(), 2, "{fault:?}");
            assert_eq!(page.damage, []);
        }
    }
}

/// Somebody else may bring it up just then, or the disk be full.
#[test]
fn a_full_text_that_cannot_be_brought_up_keeps_nobody_from_opening_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let storage = wait(SqliteStorage::open(dir.path().join("db"))).unwrap();
    wait(append(&storage, &key("a"), 0)).unwrap();
    let database = &storage.engine.database;
    let older = "UPDATE full_text SET value = '1' WHERE name = 'tokens'";
    database.write(Sync::Full, |tx| Ok(tx.execute(older, ())?)).unwrap();
    *database.fault.lock().unwrap() = Some(Fault::TookNone);
    assert!(!are_texts_due(database));
    assert_eq!(*database.fault.lock().unwrap(), None);
    // Whoever opens it next tries again.
    drop(storage);
    let storage = wait(SqliteStorage::open(dir.path().join("db"))).unwrap();
    let database = &storage.engine.database;
    assert!(database.read(full_text::is_current).unwrap());
}

async fn append(storage: &SqliteStorage, key: &SessionKey, after: u64) -> Result<Appended, Error> {
    let (incarnation, revision) = (Incarnation::FIRST, Revision::new(after));
    let expected = match after {
        0 => Expected::New,
        _ => Expected::At { incarnation, revision },
    };
    storage.append(key, expected, batch(after)).await
}

fn batch(after: u64) -> Batch {
    let id = BatchId::new(7 + after);
    let record = Record {
        revision: Revision::new(after + 1),
        turn: TurnId::SESSION,
        kind: "text".into(),
        at: time(1),
        batch: id,
        body: Body::Json("1".into()),
    };
    Batch {
        id,
        records: vec![record],
        base: Revision::ZERO,
        head: Some(HeadFields::new(time(1))),
        epoch: None,
        texts: Vec::new(),
        facts: Vec::new(),
        durability: Durability::Synced,
    }
}

/// Whether something ends in time.
fn ends(work: impl FnOnce() + Send + 'static) -> bool {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    finished.recv_timeout(std::time::Duration::from_secs(20)).is_ok()
}

#[test]
fn whoever_panics_while_it_appends_for_others_leaves_none_of_them_waiting() {
    use std::future::Future as _;
    use std::task::{Context, Waker};

    let directory = tempfile::tempdir().unwrap();
    let storage = wait(SqliteStorage::open(directory.path().join("chats.db"))).unwrap();
    let own = storage.clone();
    let (a, b) = (key("a"), key("b"));
    assert!(ends(move || {
        let mut waiting = Box::pin(storage.append(&a, Expected::New, batch(0)));
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        *storage.engine.database.fault.lock().unwrap() = Some(Fault::Panics);
        let append = || wait(storage.append(&b, Expected::New, batch(0)));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(append));
        assert!(panicked.is_err());
        assert_eq!(wait(waiting).unwrap_err().kind(), ErrorKind::Indeterminate);
    }));
    // A retry lands.
    wait(own.append(&key("a"), Expected::New, batch(0))).unwrap();
}

#[test]
fn whoever_reads_makes_no_file_in_the_place_of_one_that_was_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("chats.db");
    let storage = wait(SqliteStorage::open(&path)).unwrap();
    // The readers that are kept go with the journal.
    assert!(storage.engine.database.truncate_wal().unwrap());
    std::fs::remove_file(&path).unwrap();
    let error = wait(storage.head(&key("a"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!path.exists());
}
