//! Storages of every kind, filled with all that there is to copy, and what they show.

use std::sync::Arc;

use chatkeep::storage::key_value::MemoryKeyValue;
use chatkeep::storage::string_map::MemoryStringMap;
use chatkeep::storage::*;
use chatkeep::{ListQuery, OwnerId, ResponseState, SessionId, SessionStatus, TurnId};
use jiff::Timestamp;
use pollster::block_on;

/// A storage, and the folder that it lies in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) folder: Option<Arc<tempfile::TempDir>>,
}

pub(crate) fn memory() -> Place {
    place("memory", MemoryStorage::new())
}

/// A folder in memory where there is one: what is tested here is not the disk.
/// `CHATKEEP_ON_DISK=1` uses the disk.
fn folder() -> tempfile::TempDir {
    if std::env::var_os("CHATKEEP_ON_DISK").is_none()
        && let Ok(folder) = tempfile::tempdir_in("/dev/shm")
    {
        return folder;
    }
    tempfile::tempdir().unwrap()
}

pub(crate) fn files() -> Place {
    let folder = folder();
    let storage = block_on(FileStorage::open(folder.path())).unwrap();
    Place { folder: Some(Arc::new(folder)), ..place("file", storage) }
}

pub(crate) fn key_value() -> Place {
    place("key-value", KeyValueStorage::new(MemoryKeyValue::new()))
}

fn string_map() -> Place {
    place("string map", block_on(StringMapStorage::open(MemoryStringMap::new())).unwrap())
}

#[cfg(feature = "redb")]
fn redb() -> Place {
    let folder = folder();
    let storage = block_on(RedbStorage::open(folder.path().join("chats.redb"))).unwrap();
    Place { folder: Some(Arc::new(folder)), ..place("redb", storage) }
}

#[cfg(feature = "sqlite")]
fn sqlite() -> Place {
    let folder = folder();
    let storage = block_on(SqliteStorage::open(folder.path().join("chats.db"))).unwrap();
    Place { folder: Some(Arc::new(folder)), ..place("SQLite", storage) }
}

/// Those that have an index of texts. Files without one are read whenever something is searched.
pub(crate) fn searched() -> Vec<fn() -> Place> {
    vec![
        memory,
        #[cfg(feature = "sqlite")]
        files,
        #[cfg(feature = "sqlite")]
        sqlite,
    ]
}

pub(crate) fn all() -> Vec<fn() -> Place> {
    vec![
        memory,
        files,
        key_value,
        string_map,
        #[cfg(feature = "sqlite")]
        sqlite,
        #[cfg(feature = "redb")]
        redb,
    ]
}

fn place(name: &'static str, storage: impl Storage) -> Place {
    Place { name, storage: Arc::new(storage), folder: None }
}

pub(crate) fn copy(from: &dyn Storage, to: &dyn Storage) -> CopyReport {
    let copy = copy_store(from, to).also_owner(owner("no sessions"));
    block_on(copy.into_future()).unwrap()
}

pub(crate) fn owner(id: &str) -> OwnerId {
    OwnerId::new(id).unwrap()
}

pub(crate) fn key(owner: &str, id: &str) -> SessionKey {
    SessionKey::new(self::owner(owner), SessionId::new(id).unwrap())
}

pub(crate) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_225_600_123 + seconds * 1_000).unwrap()
}

pub(crate) fn head(title: &str) -> HeadFields {
    HeadFields { title: title.to_owned(), ..HeadFields::new(time(0)) }
}

/// A batch of records after a revision.
pub(crate) fn batch(after: u64, count: u64, fields: Option<HeadFields>) -> Batch {
    let id = BatchId::new(after + 1);
    let record = |revision: u64| Record {
        revision: Revision::new(revision),
        turn: TurnId::new(revision / 3),
        kind: ["session", "request", "text", "part"][(revision % 4) as usize].into(),
        at: time(revision as i64),
        batch: id,
        body: match revision % 5 {
            0 => Body::Binary(vec![0, 255, 10, revision as u8].into()),
            _ => Body::Json(format!("{{\"n\":{revision},\"é\":1.50}}").into()),
        },
    };
    Batch {
        id,
        records: (after + 1..=after + count).map(record).collect(),
        base: Revision::ZERO,
        head: fields,
        epoch: None,
        texts: Vec::new(),
        facts: Vec::new(),
        durability: Durability::Buffered,
    }
}

pub(crate) fn begin(storage: &dyn Storage, key: &SessionKey, count: u64) -> Head {
    let batch = batch(0, count, Some(head(key.id.as_str())));
    block_on(storage.append(key, Expected::New, batch)).unwrap().head
}

pub(crate) fn add(storage: &dyn Storage, key: &SessionKey, count: u64) -> Head {
    let head = block_on(storage.existing_head(key)).unwrap();
    let batch = batch(head.revision.get(), count, None);
    let expected = Expected::At { incarnation: head.incarnation, revision: head.revision };
    block_on(storage.append(key, expected, batch)).unwrap().head
}

/// Compacts a session to some of its records.
pub(crate) fn compact(storage: &dyn Storage, key: &SessionKey, through: u64, kept: &[u64]) {
    let log = block_on(storage.read_after(key, Revision::ZERO)).unwrap();
    let records = log.records.iter().filter(|record| kept.contains(&record.revision.get()));
    let records = records.cloned().collect();
    block_on(storage.compact(key, Revision::new(through), records, &log.head)).unwrap();
}

pub(crate) fn blob(storage: &dyn Storage, key: &SessionKey, content: &[u8]) {
    block_on(storage.put_blob(key, &BlobId::of(content), content.to_vec().into())).unwrap();
}

pub(crate) fn document(
    storage: &dyn Storage,
    scope: &DocumentScope,
    name: &str,
    expires: Option<i64>,
) {
    let content = format!("{name}\0\u{1}\n content").into();
    let (any, expires) = (ExpectedDocument::Any, expires.map(time));
    block_on(storage.put_document(scope, name, any, content, expires, time(0))).unwrap();
}

/// What is far from now.
const YEARS: i64 = 100 * 365 * 86_400;

/// A little of everything.
pub(crate) fn fill(storage: &dyn Storage) {
    for (owner, id) in [
        ("local", "plain"),
        ("local", "Plain"),
        ("local", "CON"),
        ("local", "é😀 %2f"),
        ("o%&+", ".hidden."),
        ("o%&+", &"x".repeat(200)),
    ] {
        begin(storage, &key(owner, id), 3);
    }
    let rich = key("local", "rich");
    let mut fields = head("a \"title\"\n😀");
    (fields.status, fields.pinned, fields.epoch) = (SessionStatus::Archived, true, 7);
    (fields.turns, fields.state) = (3, Some(ResponseState::Streaming));
    fields.tags = vec!["a".to_owned(), "b".to_owned()];
    fields.extra.insert("later".to_owned(), serde_json::json!([1, null]));
    let writer = WriterId("000:0123456789abcdef".into());
    fields.running = Some(Running { turn: TurnId::new(2), writer, until: time(YEARS) });
    block_on(storage.append(&rich, Expected::New, batch(0, 9, Some(fields)))).unwrap();
    blob(storage, &rich, b"");
    blob(storage, &rich, &[0, 1, 255].repeat(50_000));

    let compacted = key("local", "compacted");
    begin(storage, &compacted, 10);
    compact(storage, &compacted, 6, &[1, 2, 5]);
    blob(storage, &compacted, b"of compacted");
    let wholly = key("local", "wholly compacted");
    begin(storage, &wholly, 6);
    compact(storage, &wholly, 6, &[1, 4]);

    for scope in [DocumentScope::Store, DocumentScope::Owner(owner("no sessions"))] {
        document(storage, &scope, "forever", None);
        document(storage, &scope, "for long/é", Some(YEARS));
        document(storage, &scope, "expired", Some(1));
    }
    document(storage, &DocumentScope::Owner(owner("local")), "open/x", None);
}

/// A session without what differs from storage to storage.
pub(crate) fn session(storage: &dyn Storage, key: &SessionKey) -> String {
    let page = block_on(storage.read_after(key, Revision::ZERO)).unwrap();
    assert_eq!(page.damage, [], "{key}");
    let mut fields = page.head.fields;
    if let Some(running) = &mut fields.running {
        running.until = Timestamp::UNIX_EPOCH;
    }
    let record = |r: &Record| {
        let body = (matches!(r.body, Body::Json(_)), r.body.bytes());
        format!("\n  {} {} {} {} {body:?}", r.revision, r.turn, r.kind, r.at)
    };
    let records: String = page.records.iter().map(record).collect();
    let blobs = block_on(storage.blobs(key)).unwrap();
    let blobs = blobs.iter().map(|id| {
        let content = block_on(storage.get_blob(key, id)).unwrap().unwrap();
        (id.to_string(), content.len())
    });
    let blobs: Vec<_> = blobs.collect();
    let (revision, base) = (page.head.revision, page.head.base);
    format!("{key} {revision} {base} {fields:?} {blobs:?}{records}")
}

/// Everything in a storage, but what copies note for themselves.
pub(crate) fn everything(storage: &dyn Storage) -> Vec<String> {
    let mut all = Vec::new();
    let owners = block_on(storage.owners(None)).unwrap().items;
    for owner in &owners {
        let listed = block_on(storage.list_all(owner, &ListQuery::new().limit(3))).unwrap();
        let mut keys: Vec<_> = listed.into_iter().map(|session| session.key).collect();
        keys.sort();
        all.extend(keys.iter().map(|key| session(storage, key)));
    }
    let others = [owner("no sessions")];
    let scopes = owners.into_iter().chain(others).map(DocumentScope::Owner);
    for scope in scopes.chain([DocumentScope::Store]) {
        let names = block_on(storage.list_documents(&scope, "", None, time(60))).unwrap().items;
        for name in names.into_iter().filter(|name| !name.starts_with("copied/")) {
            let document = block_on(storage.get_document(&scope, &name, time(60))).unwrap();
            let document = document.unwrap();
            let (content, expires) = (document.content, document.expires);
            all.push(format!("{scope:?} {name} {content:?} {expires:?}"));
        }
    }
    all
}
