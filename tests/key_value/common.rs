//! Batches, and what a storage shows of itself.

use chatkeep::storage::{
    Batch, BatchId, Body, Durability, Expected, Head, HeadFields, Incarnation, Record, Revision,
    SessionKey, Storage, StorageExt,
};
use chatkeep::{ListQuery, OwnerId, Result, SessionId};
use jiff::Timestamp;
use pollster::block_on;

pub(crate) fn key(id: &str) -> SessionKey {
    SessionKey::new(OwnerId::local(), SessionId::new(id).unwrap())
}

/// A batch of text records after a revision, the same for the same arguments.
pub(crate) fn batch(after: u64, count: u64, text: &str) -> Batch {
    let id = BatchId::new((after << 8) + count);
    let record = |revision| Record {
        revision: Revision::new(revision),
        turn: chatkeep::TurnId::new(1),
        kind: "text".into(),
        at: Timestamp::UNIX_EPOCH,
        batch: id,
        body: Body::Json(format!("{{\"n\":{revision},\"text\":\"{text}\"}}").into()),
    };
    Batch {
        id,
        records: (after + 1..=after + count).map(record).collect(),
        base: Revision::ZERO,
        head: (after == 0).then(|| HeadFields::new(Timestamp::UNIX_EPOCH)),
        epoch: None,
        texts: Vec::new(),
        facts: Vec::new(),
        durability: Durability::Buffered,
    }
}

pub(crate) fn expected(after: u64) -> Expected {
    match after {
        0 => Expected::New,
        _ => Expected::At { incarnation: Incarnation::FIRST, revision: Revision::new(after) },
    }
}

pub(crate) fn add(storage: &dyn Storage, id: &str, after: u64, count: u64) -> Result<Head> {
    let (key, batch) = (key(id), batch(after, count, "x"));
    block_on(storage.append(&key, expected(after), batch)).map(|appended| appended.head)
}

/// Everything of every session of the local owner, without what differs from store to store.
pub(crate) fn sessions(storage: &dyn Storage) -> Vec<String> {
    let heads = block_on(storage.list_all(&OwnerId::local(), &ListQuery::new())).unwrap();
    let view = |key: &SessionKey| {
        let page = block_on(storage.read_after(key, Revision::ZERO)).unwrap();
        assert_eq!(page.damage, [], "{key}");
        let (revision, base) = (page.head.revision, page.head.base);
        let records: Vec<u64> = page.records.iter().map(|r| r.revision.get()).collect();
        let blobs = block_on(storage.blobs(key)).unwrap();
        for blob in &blobs {
            assert!(block_on(storage.get_blob(key, blob)).unwrap().is_some(), "{blob}");
        }
        format!("{key}: {revision} from {base}, {records:?}, {} blobs", blobs.len())
    };
    heads.iter().map(|session| view(&session.key)).collect()
}

/// A store that is opened anew when nobody has it open any more; until then all share it.
#[cfg(feature = "conformance")]
pub(crate) struct Reopening<S, F> {
    open: F,
    living: std::sync::Mutex<std::sync::Weak<S>>,
}

#[cfg(feature = "conformance")]
impl<S, F> Reopening<S, F> {
    pub(crate) fn new(open: F) -> Self {
        Self { open, living: std::sync::Mutex::default() }
    }
}

#[cfg(feature = "conformance")]
#[async_trait::async_trait]
impl<S, F> chatkeep::storage::conformance::Fixture for Reopening<S, F>
where
    S: Storage,
    F: Fn() -> Result<S> + Send + Sync + 'static,
{
    async fn open(&self) -> Result<std::sync::Arc<dyn Storage>> {
        let mut living = self.living.lock().unwrap();
        if let Some(storage) = living.upgrade() {
            return Ok(storage);
        }
        let storage = std::sync::Arc::new((self.open)()?);
        *living = std::sync::Arc::downgrade(&storage);
        Ok(storage)
    }
}

/// The cases of the suite that need an engine whose writes fail and whose answers are lost.
#[cfg(feature = "conformance")]
pub(crate) fn check_faults<F: chatkeep::storage::conformance::Fixture>(fixture: impl Fn() -> F) {
    for case in [
        "retry::of_a_lost_answer_lands_once",
        "retry::of_a_failed_write_lands",
        "retry::of_a_lost_first_answer_lands_once",
        "purge::a_lost_answer_is_no_resurrection",
    ] {
        chatkeep::storage::conformance::check(case, fixture());
    }
}
