//! The index of the file store: what it shows, and what becomes of it when logs or the index
//! itself are changed behind its back.

mod broken;
mod changed;
mod doubted;
mod killed;
mod lists;
mod processes;
mod soak;
mod text;

use std::path::Path;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use chatkeep::storage::{
    Batch, Body, Expected, Extract, Extracted, FileStorage, HeadFields, ListQuery, Passage,
    PassageRole, ReadRange, Revision, SessionHead, SessionKey, Storage, StorageExt, Term, TextHits,
    TextQuery, TurnText,
};
use chatkeep::{Error, ErrorKind, OwnerId, Result, TurnId};

use crate::common::*;
use crate::faulty::{Failure, Faulty};

/// A storage that knows nothing of the index: a program without it, or a person with an editor.
fn plain(root: &Path) -> FileStorage {
    FileStorage::with_files(root, Arc::new(Faulty::new(Failure::Error))).unwrap()
}

/// Reads the texts of sessions that were written by [`say`].
#[derive(Debug)]
struct Reader(FileStorage);

#[async_trait]
impl Extract for Reader {
    async fn extract(&self, key: &SessionKey) -> Result<Extracted> {
        let mut texts = Vec::new();
        let mut after = Revision::ZERO;
        loop {
            let page = self.0.read(key, ReadRange::After(after)).await?;
            texts.extend(page.records.iter().map(|record| {
                let Body::Json(json) = &record.body else { panic!("{record:?}") };
                let body: std::collections::BTreeMap<String, String> =
                    serde_json::from_slice(json).unwrap();
                text(record.turn, &body["text"])
            }));
            after = page.records.last().map_or(after, |record| record.revision);
            if !page.later {
                return Ok(Extracted { head: page.head, texts, facts: Vec::new() });
            }
        }
    }
}

/// Opens a storage whose texts can be read anew.
fn open_reading(root: &Path) -> (FileStorage, Arc<Reader>) {
    let storage = open(root);
    let reader = Arc::new(Reader(plain(root)));
    let extract: Arc<dyn Extract> = Arc::clone(&reader) as _;
    let weak: Weak<dyn Extract> = Arc::downgrade(&extract);
    storage.full_text().unwrap().attach(weak);
    (storage, reader)
}

fn text(turn: TurnId, text: &str) -> TurnText {
    let passage =
        Passage { role: PassageRole::User, kind: "request".to_owned(), text: text.to_owned() };
    TurnText { turn, at: at(), passages: vec![passage] }
}

/// A batch of one record with a text, and a head if it is given or the session's first.
fn saying(number: u64, after: u64, said: &str, head: Option<HeadFields>) -> Batch {
    let mut batch = batch(number, after, 1);
    let json = format!("{{\"text\":\"{said}\"}}");
    batch.records[0].body = Body::Json(json.into());
    batch.texts = vec![text(batch.records[0].turn, said)];
    batch.head = head.or(batch.head);
    batch
}

/// Adds a record with a text at a session's end.
fn say(storage: &FileStorage, id: &str, said: &str) {
    say_with(storage, id, said, |_| {});
}

fn say_with(storage: &FileStorage, id: &str, said: &str, change: impl FnOnce(&mut HeadFields)) {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1 << 40);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let key = key(id);
    let head = wait(storage.head(&key)).unwrap();
    let after = head.as_ref().map_or(0, |head| head.revision.get());
    let expected = head.as_ref().map_or(Expected::New, |head| Expected::At {
        incarnation: head.incarnation,
        revision: head.revision,
    });
    let mut fields = head.map_or_else(|| HeadFields::new(at()), |head| head.fields);
    change(&mut fields);
    wait(storage.append(&key, expected, saying(number, after, said, Some(fields)))).unwrap();
}

fn all(storage: &FileStorage) -> Vec<SessionHead> {
    wait(storage.list_all(&OwnerId::local(), &ListQuery::new())).unwrap()
}

fn ids(storage: &FileStorage) -> Vec<String> {
    all(storage).iter().map(|session| session.id().to_string()).collect()
}

fn search(storage: &FileStorage, word: &str) -> TextHits {
    let mut query = TextQuery::new(vec![Term::new(word).unwrap()]);
    query.limit = 1_000;
    wait(storage.full_text().unwrap().search(&OwnerId::local(), &query, None)).unwrap()
}

/// Which sessions' turns have a word, when the index is whole.
fn found(storage: &FileStorage, word: &str) -> Vec<String> {
    let hits = search(storage, word);
    assert_eq!(hits.partial, None, "the index is not whole");
    places(&hits)
}

/// The same where the text of some sessions cannot be had, which is said.
fn found_in_part(storage: &FileStorage, word: &str) -> Vec<String> {
    let hits = search(storage, word);
    assert_ne!(hits.partial, None, "nothing is said of what cannot be read");
    places(&hits)
}

fn places(hits: &TextHits) -> Vec<String> {
    let mut found: Vec<String> =
        hits.page.items.iter().map(|hit| format!("{}:{}", hit.key.id, hit.turn)).collect();
    found.sort();
    found
}

/// The index's files and their contents.
fn index_files(root: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let dir = root.join("index");
    if dir.is_dir() { files(&dir) } else { Vec::new() }
}

/// The file that is the index.
fn database(root: &Path) -> std::path::PathBuf {
    let pointer = std::fs::read(root.join("index/current")).unwrap();
    let pointer: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(&pointer).unwrap();
    root.join("index").join(&pointer["file"])
}
