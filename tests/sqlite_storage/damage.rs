//! Damaged rows: what is said of them, and what stays readable.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use chatkeep::part::Markdown;
use chatkeep::storage::{
    Batch, CopyItem, Extract, Extracted, FullText, HeadFields, Hint, ListOrder, Maintenance,
    ReadRange, Revision, SessionKey, StatisticsQuery, Storage, StorageExt, Term, TextOrder,
    TextQuery, WatchFilter, copy_store,
};
use chatkeep::{
    ChatStore, ErrorKind, ListQuery, MemoryStorage, NewSession, OwnerId, Query, Result,
    SqliteStorage,
};
use futures_util::StreamExt as _;

use crate::common::*;

/// Five records, of which one change is made to the database itself.
fn damaged(sql: &str) -> (tempfile::TempDir, SqliteStorage) {
    let (dir, storage) = store();
    add(&storage, &key("other"), 1, 0, 3).unwrap();
    add(&storage, &key("s"), 2, 0, 2).unwrap();
    add(&storage, &key("s"), 3, 2, 3).unwrap();
    assert_eq!(raw(dir.path()).execute(sql, ()).unwrap(), 1);
    (dir, storage)
}

const THIRD: &str = "WHERE id = (2 << 32) + 3";

#[test]
fn a_damaged_record_is_reported_and_hides_no_other() {
    for (change, problem) in [
        ("UPDATE records SET body = '{\"text\":\"forged\"}'", "the checksum does not match"),
        ("UPDATE records SET body = CAST(body AS BLOB)", "the checksum does not match"),
        ("UPDATE records SET body = 5", "the body is Integer"),
        ("UPDATE records SET turn = 7", "the checksum does not match"),
        ("UPDATE records SET at = at + 1", "the checksum does not match"),
        ("UPDATE records SET kind = 'x' || kind", "the checksum does not match"),
        ("UPDATE records SET batch = 9", "the checksum does not match"),
        (
            "UPDATE records SET sum = 'none'",
            "the row is not a record: Invalid column type Text at index: 5, name: sum",
        ),
        ("DELETE FROM records", "the records 3 to 3 are missing"),
    ] {
        let (_dir, storage) = damaged(&format!("{change} {THIRD}"));
        for range in [ReadRange::After(Revision::ZERO), ReadRange::Newest { turns: 5 }] {
            let page = wait(storage.read(&key("s"), range)).unwrap();
            assert_eq!(revisions(&page), [1, 2, 4, 5], "{change}");
            assert_eq!(page.damage.len(), 1, "{change}");
            assert_eq!((page.damage[0].record, &*page.damage[0].problem), (Some(3), problem));
        }
        assert_eq!(read_all(&storage, &key("other")).unwrap().damage, []);
        let last = Revision::new(5);
        let head = wait(storage.head(&key("s"))).unwrap().unwrap();
        let error = wait(storage.compact(&key("s"), last, Vec::new(), &head)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{change}");
    }
}

#[test]
fn records_missing_at_the_end_are_reported() {
    let (_dir, storage) = damaged("DELETE FROM records WHERE id = (2 << 32) + 5");
    for range in [ReadRange::After(Revision::new(2)), ReadRange::Newest { turns: 1 }] {
        let page = wait(storage.read(&key("s"), range)).unwrap();
        assert_eq!(page.damage[0].problem, "the records 5 to 5 are missing");
    }
}

#[test]
fn a_repair_keeps_a_copy_and_every_readable_record() {
    let (dir, storage) = damaged(&format!("UPDATE records SET body = 'canary' {THIRD}"));
    let key = key("s");
    let found = wait(storage.verify(&key)).unwrap();
    assert_eq!((found.records, found.revision.get(), found.damage.len()), (4, 5, 1));
    let done = wait(storage.repair(&key)).unwrap();
    assert_eq!((done.damage, done.kept), (found.damage, vec!["row 1 of table dropped".to_owned()]));
    let kept: String =
        raw(dir.path()).query_row("SELECT body FROM dropped", (), |row| row.get(0)).unwrap();
    assert_eq!(kept, "canary");
    assert_eq!(wait(storage.repair(&key)).unwrap().damage, []);
    let page = wait(storage.read(&key, ReadRange::After(Revision::new(1)))).unwrap();
    assert_eq!((page.restarted, revisions(&page)), (true, vec![1, 2, 4, 5]));
    add(&storage, &key, 4, 5, 1).unwrap();
    wait(storage.purge(&key)).unwrap();
    assert!(!holds(dir.path(), "canary"));
}

#[test]
fn a_damaged_head_hides_no_other_session() {
    let (_dir, storage) = damaged("UPDATE sessions SET head = '[]' WHERE session = 's'");
    let error = wait(storage.head(&key("s"))).unwrap_err();
    assert_eq!((error.kind(), error.context("session")), (ErrorKind::Corrupt, Some("s")));
    assert_eq!(add(&storage, &key("s"), 4, 5, 1).unwrap_err().kind(), ErrorKind::Corrupt);
    // Nor does a batch with a head of its own pass: by the damaged one nobody is fenced off.
    let with_head = Batch { head: Some(HeadFields::new(at())), ..batch(4, 5, 1) };
    let error = wait(storage.append(&key("s"), expected(5), with_head)).unwrap_err();
    assert_eq!((error.kind(), error.context("session")), (ErrorKind::Corrupt, Some("s")));
    let page = wait(storage.list(&OwnerId::local(), &ListQuery::new(), None)).unwrap();
    assert_eq!(page.items.len(), 2);
    add(&storage, &key("other"), 4, 3, 1).unwrap();
}

/// By what was its id nobody finds it any more, but all that it holds is there.
#[test]
fn a_damaged_id_hides_no_other_session_and_is_made_anew_by_a_rebuild() {
    for damage in ["''", "'a/b'", "x'80'", "CAST(x'80' AS TEXT)"] {
        let (dir, storage) = store();
        for (number, id) in (1..).zip(["s", "t", "u"]) {
            let mut batch = batch(number, 0, 2);
            batch.texts = vec![text(1, "apple"), text(2, "pear")];
            wait(storage.append(&key(id), expected(0), batch)).unwrap();
        }
        let change = format!("UPDATE sessions SET session = {damage} WHERE session = 't'");
        assert_eq!(raw(dir.path()).execute(&change, ()).unwrap(), 1);
        let ids = |limit: usize| {
            let query = ListQuery::new().limit(limit);
            let listed = wait(storage.list_all(&OwnerId::local(), &query)).unwrap();
            listed.into_iter().map(|one| one.key.id.to_string()).collect::<Vec<_>>()
        };
        for limit in [1, 2, 3] {
            assert_eq!(ids(limit), ["s", "u"], "{damage}, {limit}");
        }
        for indexed in [false, true] {
            if indexed {
                wait(storage.scrub()).unwrap();
            }
            assert_eq!(searched(&storage, "apple"), (2, false), "{damage}");
            assert_eq!(relevant(&storage, "apple"), 2, "{damage}");
        }
        wait(storage.purge(&key("u"))).unwrap();
        // Whoever copies is told that something is missing; everyone else's is there.
        let other = SessionKey::new(OwnerId::new("other").unwrap(), key("s").id);
        let new = MemoryStorage::new();
        wait(storage.append(&other, expected(0), batch(9, 0, 2))).unwrap();
        let copied = wait(async { copy_store(&storage, &new).await }).unwrap();
        assert_eq!((copied.sessions, copied.failed.len()), (2, 1), "{damage}");
        assert_eq!(copied.failed[0].item, CopyItem::Owner(OwnerId::local()), "{damage}");
        assert_eq!(
            copied.failed[0].to_string(),
            "sessions of local: corrupt: 1 of 2 sessions can be listed (owner local)",
        );
        assert!(!copied.is_complete());
        for key in [&key("s"), &other] {
            assert_eq!(wait(new.existing_head(key)).unwrap().revision.get(), 2, "{damage}");
        }
        wait(storage.rebuild_index(&|_| {})).unwrap();
        assert_eq!(ids(3), ["recovered-2", "s"], "{damage}");
        let found = read_all(&storage, &key("recovered-2")).unwrap();
        assert_eq!((revisions(&found), &*found.damage), (vec![1, 2], &[][..]));
        assert_eq!(searched(&storage, "apple"), (2, false), "{damage}");
    }
}

/// What is derived of them hides nobody else either.
#[test]
fn a_damaged_owner_hides_no_other_and_is_named_anew_by_a_rebuild() {
    for damage in ["''", "x'80'", "CAST(x'80' AS TEXT)"] {
        let (dir, storage) = store();
        let key = |owner: &str| SessionKey::new(OwnerId::new(owner).unwrap(), key("s").id);
        for (number, owner) in (1..).zip(["a", "b", "c"]) {
            add(&storage, &key(owner), number, 0, 2).unwrap();
        }
        let change = format!("UPDATE owners SET owner = {damage} WHERE owner = 'b'");
        assert_eq!(raw(dir.path()).execute(&change, ()).unwrap(), 1);
        let owners = || {
            let owners = wait(storage.owners(None)).unwrap().items;
            owners.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(owners(), ["a", "c"], "{damage}");
        let seen = Arc::new(Seen { storage: storage.clone(), keys: Mutex::default() });
        wait(storage.rebuild(&*seen, &|_| {})).unwrap();
        assert_eq!(*seen.keys.lock().unwrap(), [key("a"), key("c")], "{damage}");
        wait(storage.rebuild_index(&|_| {})).unwrap();
        assert_eq!(owners(), ["a", "c", "recovered-2"], "{damage}");
        let found = read_all(&storage, &key("recovered-2")).unwrap();
        assert_eq!((revisions(&found), &*found.damage), (vec![1, 2], &[][..]));
    }
}

/// Notes whose text it is asked for, and has none.
#[derive(Debug)]
struct Seen {
    storage: SqliteStorage,
    keys: Mutex<Vec<SessionKey>>,
}

#[async_trait]
impl Extract for Seen {
    async fn extract(&self, key: &SessionKey) -> Result<Extracted> {
        self.keys.lock().unwrap().push(key.clone());
        let head = self.storage.existing_head(key).await?;
        Ok(Extracted { head, texts: Vec::new(), facts: Vec::new() })
    }
}

#[test]
fn a_damaged_session_silences_no_watcher_of_another() {
    for damage in ["session = CAST(x'80' AS TEXT)", "token = CAST(x'80' AS TEXT)"] {
        let (dir, storage) = store();
        for (number, id) in (1..).zip(["s", "t"]) {
            add(&storage, &key(id), number, 0, 1).unwrap();
        }
        let watch = |filter| wait(storage.watch(filter)).unwrap();
        let _damaged = watch(WatchFilter::Session(key("t")));
        let mut of_owner = watch(WatchFilter::Owner(OwnerId::local()));
        let mut of_session = watch(WatchFilter::Session(key("s")));
        let change = format!("UPDATE sessions SET {damage} WHERE session = 't'");
        assert_eq!(raw(dir.path()).execute(&change, ()).unwrap(), 1);
        // Nobody tells of it but the database.
        add(&open(dir.path()), &key("s"), 3, 1, 1).unwrap();
        let (done, finished) = mpsc::channel();
        std::thread::spawn(move || {
            let is_of_s = |hint: Hint| std::future::ready(hint.key == key("s"));
            wait(async { of_session.next().await.unwrap() });
            wait(of_owner.by_ref().any(is_of_s));
            done.send(()).unwrap();
        });
        finished.recv_timeout(Duration::from_secs(20)).expect(damage);
    }
}

#[test]
fn a_damaged_place_in_a_list_hides_no_other_session() {
    for (damage, order) in [
        ("active = 'then'", ListOrder::LastActive),
        ("active = 1.5", ListOrder::LastActive),
        ("created = 'then'", ListOrder::Created),
        ("title = CAST(x'80' AS TEXT)", ListOrder::Title),
        ("active = 'then', head = '{'", ListOrder::Title),
        ("incarnation = 'first'", ListOrder::Title),
    ] {
        let (dir, storage) = store();
        for (number, id) in (1..).zip(["s", "t", "u"]) {
            add(&storage, &key(id), number, 0, 2).unwrap();
        }
        let change = format!("UPDATE sessions SET {damage} WHERE session = 't'");
        assert_eq!(raw(dir.path()).execute(&change, ()).unwrap(), 1);
        for limit in [1, 2, 3] {
            let query = ListQuery::new().order(order).limit(limit);
            let listed = wait(storage.list_all(&OwnerId::local(), &query)).unwrap();
            let mut ids: Vec<_> = listed.iter().map(|one| one.key.id.as_str()).collect();
            ids.retain(|id| *id != "t");
            assert_eq!(ids, ["s", "u"], "{damage}, {limit}");
        }
    }
}

#[test]
fn what_lists_choose_by_is_made_anew_from_the_heads() {
    for damage in [
        "active = 'then'",
        "active = 5",
        "title = 'forged'",
        "title = x'80'",
        "status = 'trashed'",
        "pinned = 1",
        "workspace = 'w'",
        "tags = 5",
    ] {
        let (dir, storage) = store();
        for (number, id) in (1..).zip(["s", "t", "u"]) {
            let mut batch = batch(number, 0, 2);
            batch.head.as_mut().unwrap().title = format!("Title of {id}");
            wait(storage.append(&key(id), expected(0), batch)).unwrap();
        }
        let rows = || {
            let sql =
                "SELECT active, created, title, status, pinned, workspace, tags FROM sessions";
            let connection = raw(dir.path());
            let mut rows = connection.prepare(sql).unwrap();
            let values = |row: &rusqlite::Row<'_>| (0..7).map(|index| row.get(index)).collect();
            let rows: Vec<Vec<rusqlite::types::Value>> =
                rows.query_map((), values).unwrap().map(Result::unwrap).collect();
            rows
        };
        let before = rows();
        let change = format!("UPDATE sessions SET {damage} WHERE session = 't'");
        assert_eq!(raw(dir.path()).execute(&change, ()).unwrap(), 1);
        assert_ne!(rows(), before);
        wait(storage.rebuild_index(&|_| {})).unwrap();
        assert_eq!(rows(), before, "{damage}");
    }
}

#[test]
fn what_is_derived_is_made_anew_where_it_is_missing() {
    for missing in [
        "TABLE docs",
        "TABLE digests",
        "TABLE waiting",
        "TABLE full_text",
        "TABLE facts",
        "TABLE words",
        "TABLE texts",
        "TRIGGER docs_deleted",
        "TRIGGER waiting_deleted",
        "INDEX docs_turn",
        "INDEX sessions_active",
        "INDEX sessions_session",
    ] {
        let (dir, storage) = store();
        wait(async {
            let storage = Arc::new(storage);
            let store = ChatStore::builder_on(Arc::clone(&storage) as _).build().await?;
            let me = store.local();
            let chat = me.create(NewSession::new()).await?;
            for _ in 0..3 {
                chat.record("an apple", [Markdown::new("a pear")]).await?;
            }
            let (owner, query) = (&OwnerId::local(), StatisticsQuery::default());
            let apple = || me.search(Query::parse("apple").unwrap());
            let schema = || {
                let sql = "SELECT type || ' ' || name, sql FROM sqlite_schema ORDER BY 1";
                let connection = raw(dir.path());
                let mut rows = connection.prepare(sql).unwrap();
                let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                let rows = rows.query_map((), read).unwrap();
                rows.collect::<Result<Vec<(String, Option<String>)>, _>>().unwrap()
            };
            let statistics = Storage::statistics(&*storage).unwrap();
            let totals = || statistics.totals(owner, &query);
            let before = (schema(), totals().await?);
            storage.scrub().await?;
            raw(dir.path()).execute_batch(&format!("DROP {missing}")).unwrap();
            for failure in [
                apple().await.err(),
                me.list(ListQuery::new()).await.err(),
                totals().await.err(),
                chat.record("an apple", [Markdown::new("a pear")]).await.err(),
            ] {
                assert!(failure.is_none_or(|e| e.kind() == ErrorKind::Corrupt), "{missing}");
            }
            // Whoever opens it now can build it anew as well.
            drop(open(dir.path()));
            store.rebuild_index(&|_| {}).await?;
            let after = (schema(), totals().await?);
            assert_eq!(after.0, before.0, "{missing}");
            assert_eq!(apple().await?.hits.len() as u64, after.1.turns, "{missing}");
            me.delete(chat.id()).await?;
            assert_eq!(apple().await?.hits.len(), 0, "{missing}");
            Ok::<_, chatkeep::Error>(())
        })
        .unwrap_or_else(|error| panic!("{missing}: {error}"));
    }
}

#[test]
fn a_damaged_head_keeps_no_session_from_being_deleted() {
    for damage in ["'not JSON'", "7", "'{\"title\":5}'", "x'80'", "CAST(x'80' AS TEXT)"] {
        let (_dir, storage) =
            damaged(&format!("UPDATE sessions SET head = {damage} WHERE session = 's'"));
        let error = wait(storage.head(&key("s"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(wait(storage.purge(&key("s"))).unwrap().remains.is_empty());
        assert_eq!(wait(storage.head(&key("s"))).unwrap(), None);
        let error = add(&storage, &key("s"), 4, 0, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deleted);
    }
}

#[test]
fn a_damaged_text_is_read_anew_when_the_index_is_rebuilt() {
    for change in [
        "UPDATE docs SET text = x'ff' WHERE turn = 2",
        "UPDATE docs SET text = 5 WHERE turn = 2",
        "DELETE FROM docs WHERE turn = 2",
    ] {
        let (dir, storage) = store();
        wait(async {
            let storage = Arc::new(storage);
            let store = ChatStore::builder_on(Arc::clone(&storage) as _).build().await?;
            let me = store.local();
            let chat = me.create(NewSession::new()).await?;
            for _ in 0..3 {
                chat.record("an apple", [Markdown::new("a pear")]).await?;
            }
            let apple = || me.search(Query::parse("apple").unwrap());
            assert_eq!(apple().await?.hits.len(), 3);
            // Indexes the texts: nothing misses one that waits.
            storage.scrub().await?;
            assert_eq!(raw(dir.path()).execute(change, ()).unwrap(), 1);
            assert_eq!(apple().await.unwrap_err().kind(), ErrorKind::Corrupt, "{change}");
            store.rebuild_index(&|_| {}).await?;
            assert_eq!(apple().await?.hits.len(), 3, "{change}");
            // What could not be taken out of the index kept the session from being deleted.
            me.delete(chat.id()).await?;
            assert_eq!(apple().await?.hits.len(), 0, "{change}");
            Ok::<_, chatkeep::Error>(())
        })
        .unwrap();
    }
}

/// Such a text belongs to nobody who could search for it.
#[test]
fn a_waiting_text_whose_session_is_lost_holds_up_no_search() {
    let (dir, storage) = store();
    add(&storage, &key("s"), 1, 0, 1).unwrap();
    let lost = "INSERT INTO waiting (id, at, text) VALUES (999 << 32, 0, x'00')";
    raw(dir.path()).execute_batch(lost).unwrap();
    let query = TextQuery::new(vec![Term::new("apple").unwrap()]);
    let hits = wait(storage.search(&OwnerId::local(), &query, None)).unwrap();
    assert_eq!(hits.page.items.len(), 0);
}

#[test]
fn what_searches_look_at_is_mended_when_the_index_is_rebuilt() {
    for change in [
        "UPDATE full_text SET value = 'far' WHERE name = 'spill'",
        "UPDATE waiting SET text = x'ff'",
        "UPDATE waiting SET at = 'then'",
    ] {
        let (dir, storage) = store();
        let mut batch = batch(1, 0, 1);
        batch.texts = vec![text(1, "apple")];
        wait(storage.append(&key("s"), expected(0), batch)).unwrap();
        assert_eq!(raw(dir.path()).execute(change, ()).unwrap(), 1);
        let query = TextQuery::new(vec![Term::new("apple").unwrap()]);
        let search = || wait(storage.search(&OwnerId::local(), &query, None));
        assert_eq!(search().unwrap_err().kind(), ErrorKind::Corrupt, "{change}");
        wait(storage.rebuild_index(&|_| {})).unwrap();
        search().unwrap();
    }
}

#[test]
fn a_damaged_text_fails_no_append_that_replaces_it() {
    for settles in [false, true] {
        for change in ["SET text = x'ff'", "SET text = 5"] {
            let (dir, storage) = store();
            for (after, words) in [(0, "apple"), (1, "pear")] {
                let mut batch = batch(after + 1, after, 1);
                batch.texts = vec![text(1, words), text(after + 2, "quince")];
                wait(storage.append(&key("s"), expected(after), batch)).unwrap();
                if after == 0 {
                    if settles {
                        wait(storage.maintenance().scrub()).unwrap();
                    }
                    let change = match settles {
                        true => format!("UPDATE docs {change} WHERE turn = 1"),
                        false => format!("UPDATE waiting {change} WHERE id & 0xff = 1"),
                    };
                    assert_eq!(raw(dir.path()).execute(&change, ()).unwrap(), 1);
                }
            }
            for (word, times) in [("apple", 0), ("pear", 1), ("quince", 2)] {
                let query = TextQuery::new(vec![Term::new(word).unwrap()]);
                let hits = wait(storage.search(&OwnerId::local(), &query, None)).unwrap();
                assert_eq!(hits.page.items.len(), times, "{word}, {change}, {settles}");
            }
        }
    }
}

/// A session with turns 1 and 2, whose texts are indexed.
fn indexed() -> (tempfile::TempDir, SqliteStorage) {
    let (dir, storage) = store();
    let mut batch = batch(1, 0, 1);
    batch.texts = vec![text(1, "apple"), text(2, "pear")];
    wait(storage.append(&key("s"), expected(0), batch)).unwrap();
    wait(storage.maintenance().scrub()).unwrap();
    (dir, storage)
}

fn relevant(storage: &SqliteStorage, word: &str) -> usize {
    let mut query = TextQuery::new(vec![Term::new(word).unwrap()]);
    query.order = TextOrder::Relevance;
    wait(storage.search(&OwnerId::local(), &query, None)).unwrap().page.items.len()
}

fn searched(storage: &SqliteStorage, word: &str) -> (usize, bool) {
    let mut query = TextQuery::new(vec![Term::new(word).unwrap()]);
    query.limit = 1_000;
    let hits = wait(storage.search(&OwnerId::local(), &query, None)).unwrap();
    (hits.page.items.len(), hits.partial.is_some())
}

const DAMAGE: [&str; 3] = [
    "UPDATE docs SET text = x'ff' WHERE turn = 1",
    "UPDATE docs SET text = 5 WHERE turn = 1",
    // Tokens that were never put there.
    "UPDATE docs SET text = (SELECT text FROM docs WHERE turn = 2) WHERE turn = 1",
];

#[test]
fn a_damaged_text_keeps_no_session_from_being_deleted() {
    for damage in DAMAGE {
        let (dir, storage) = indexed();
        assert_eq!(raw(dir.path()).execute(damage, ()).unwrap(), 1);
        wait(storage.purge(&key("s"))).unwrap();
        assert!(!holds(dir.path(), "pear"), "{damage}");
        assert_eq!(searched(&storage, "pear"), (0, false), "{damage}");
    }
}

#[test]
fn a_damaged_text_keeps_no_store_from_being_opened_by_a_newer_program() {
    for damage in DAMAGE {
        let (dir, storage) = indexed();
        drop(storage);
        assert_eq!(raw(dir.path()).execute(damage, ()).unwrap(), 1);
        set_rules(dir.path(), "1, Unicode 3.0.0 and 3.0.0");
        let storage = open(dir.path());
        assert!(searched(&storage, "pear").0 > 0, "{damage}");
        assert_ne!(rules(dir.path()), "1, Unicode 3.0.0 and 3.0.0");
    }
}

fn set_rules(dir: &std::path::Path, rules: &str) {
    let sql = "UPDATE full_text SET value = ?1 WHERE name = 'tokens'";
    assert_eq!(raw(dir).execute(sql, [rules]).unwrap(), 1);
}

fn rules(dir: &std::path::Path) -> String {
    let sql = "SELECT value FROM full_text WHERE name = 'tokens'";
    raw(dir).query_row(sql, (), |row| row.get(0)).unwrap()
}

#[test]
fn text_that_a_newer_program_has_cut_is_left_to_it() {
    const NEWER: &str = "1, Unicode 99.0.0 and 99.0.0";
    let (dir, storage) = indexed();
    drop(storage);
    let own = rules(dir.path());
    set_rules(dir.path(), NEWER);
    let storage = open(dir.path());
    assert_eq!(searched(&storage, "apple"), (1, true));
    // As many as are indexed at once, one that is indexed already, and a few.
    for (after, turns, word) in [(1, 3..303, "quince"), (2, 1..2, "plum"), (3, 400..402, "grape")] {
        let mut batch = batch(after + 1, after, 1);
        batch.texts = turns.map(|turn| text(turn, word)).collect();
        wait(storage.append(&key("s"), expected(after), batch)).unwrap();
    }
    wait(storage.maintenance().scrub()).unwrap();
    let words = ["apple", "pear", "quince", "plum", "grape"];
    let counts = words.map(|word| searched(&storage, word));
    assert_eq!(counts, [(0, true), (1, true), (300, true), (1, true), (2, true)]);
    assert_eq!(rules(dir.path()), NEWER);
    // The newer program indexes what waits.
    set_rules(dir.path(), &own);
    wait(storage.maintenance().scrub()).unwrap();
    let counts = words.map(|word| searched(&storage, word));
    assert_eq!(counts, [(0, false), (1, false), (300, false), (1, false), (2, false)]);
    // A deletion is final all the same.
    set_rules(dir.path(), NEWER);
    wait(storage.purge(&key("s"))).unwrap();
    assert!(words.iter().all(|word| !holds(dir.path(), word)));
    assert_eq!(rules(dir.path()), own);
}
