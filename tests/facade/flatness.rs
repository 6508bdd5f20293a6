//! What a chunk and an opening cost does not grow with the session.

use std::sync::Arc;
use std::time::Duration;

use chatkeep::part::Markdown;
use chatkeep::storage::file::{CountingFileSystem, Counts, RealFileSystem};
use chatkeep::storage::{
    Batch, BatchId, Body, Durability, Expected, Head, HeadFields, ReadRange, Record, Revision,
    SessionKey,
};
use chatkeep::{
    ChatSession, ChatStore, FileStorage, MemoryStorage, NewSession, OwnerId, Storage, TurnId,
};

use crate::common::*;

const QUESTION: &str = "why does the parser loop at the end of the file? ";
const ANSWER: &str = "because the sentinel is never reached there, ";

/// The records of an imported session of twenty turns: those of each turn, and the rest.
fn template() -> (Vec<Record>, Vec<Record>, Vec<Record>) {
    let (storage, key) = (MemoryStorage::new(), SessionKey::new(OwnerId::local(), id("s1")));
    block(async {
        let store = ChatStore::builder(storage.clone()).build().await?;
        let chat = store.local().create(NewSession::titled("Parser").id(id("s1"))).await?;
        for _ in 0..20 {
            chat.record(QUESTION.repeat(3), [Markdown::new(ANSWER.repeat(9))]).await?;
        }
        let document = chat.to_document().await?;
        store.local().delete(id("s1")).await?;
        store.local().import_document(document.get().as_bytes()).await?;
        Ok(())
    });
    let page = block(storage.read(&key, ReadRange::After(Revision::ZERO)));
    let mut records = page.records;
    let rest = records.split_off(42);
    (records.drain(..2).collect(), records.split_off(38), rest)
}

/// A record like another, about another turn.
fn like(record: &Record, turn: u64, after: Revision, batch: BatchId) -> Record {
    let Body::Json(body) = &record.body else { panic!("it is JSON") };
    let body = std::str::from_utf8(body).unwrap();
    let parent = if turn == 1 { String::new() } else { format!("\"parent\":{},", turn - 1) };
    let body = body.replace("\"parent\":19,", &parent);
    let body = body.replace("\"active\":20", &format!("\"active\":{turn}"));
    let body = body.replace("\"turns\":20", &format!("\"turns\":{turn}"));
    // Each its own id, as long as a real one.
    let body = body.replace("-7", &format!("{turn:06}-7"));
    Record {
        revision: after.next(),
        turn: if record.turn == TurnId::SESSION { record.turn } else { TurnId::new(turn) },
        batch,
        body: Body::Json(body.into()),
        ..record.clone()
    }
}

/// Writes a session of so many turns of about 540 bytes of question and answer each, as an import
/// does.
async fn write(storage: &FileStorage, turns: u64) {
    let (first, turn, rest) = template();
    let key = SessionKey::new(OwnerId::local(), id("s1"));
    let (mut number, mut head, mut expected) = (0, None::<Head>, Expected::New);
    while number < turns || head.as_ref().is_none_or(|head| head.fields.turns == 0) {
        let id = BatchId::new(number + 1);
        let mut records = Vec::new();
        let mut last = head.as_ref().map_or(Revision::ZERO, |head| head.revision);
        let mut add = |record: &Record, number| {
            records.push(like(record, number, last, id));
            last = last.next();
        };
        if number == 0 {
            first.iter().for_each(|record| add(record, 1));
        }
        for _ in 0..4_000.min(turns - number) {
            number += 1;
            turn.iter().for_each(|record| add(record, number));
        }
        if number == turns {
            rest.iter().for_each(|record| add(record, number));
        }
        let mut fields = HeadFields::new(turn[0].at);
        fields.turns = number;
        let batch = Batch {
            id,
            records,
            head: Some(fields),
            epoch: None,
            base: Revision::ZERO,
            texts: Vec::new(),
            facts: Vec::new(),
            durability: Durability::Buffered,
        };
        let appended = storage.append(&key, expected, batch).await.unwrap().head;
        let (incarnation, revision) = (appended.incarnation, appended.revision);
        (expected, head) = (Expected::At { incarnation, revision }, Some(appended));
    }
}

struct Session {
    dir: tempfile::TempDir,
    files: CountingFileSystem,
}

impl Session {
    fn of(turns: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let storage = block(FileStorage::open(dir.path()));
        pollster::block_on(write(&storage, turns));
        Self { dir, files: CountingFileSystem::new(Arc::new(RealFileSystem)) }
    }

    fn open(&self) -> (ChatSession, Counts) {
        let storage = FileStorage::with_files(self.dir.path(), Arc::new(self.files.clone()));
        let builder = ChatStore::builder(storage.unwrap()).flush_delay(Duration::from_secs(60));
        let store = block(builder.build());
        let before = self.files.counts();
        let chat = block(store.local().open(id("s1")));
        (chat, self.files.counts() - before)
    }
}

/// What opening reads, and what a chunk writes; then the same after turns were added one by one,
/// each by another process.
fn costs(turns: u64) -> [(u64, u64); 2] {
    let session = Session::of(turns);
    let measure = || {
        let (chat, opened) = session.open();
        assert!(chat.model().turns().len() >= usize::try_from(turns.min(20)).unwrap());
        let mut answer = block(chat.ask("why?"));
        block(answer.append_text("because "));
        block(chat.flush());
        let before = session.files.counts();
        block(answer.append_text("of a chunk that is not that long"));
        block(chat.flush());
        let chunk = session.files.counts() - before;
        assert_eq!((chunk.writes, chunk.syncs), (1, 1));
        block(answer.complete());
        (opened.read, chunk.written)
    };
    let first = measure();
    for number in 0..40 {
        let (chat, _) = session.open();
        let answer = Markdown::new(ANSWER.repeat(9));
        block(chat.record(format!("{number}: {}", QUESTION.repeat(3)), [answer]));
    }
    [first, measure()]
}

#[test]
fn a_long_session_costs_what_a_short_one_does() {
    let began = std::time::Instant::now();
    let (short, long) = (costs(10), costs(100_000));
    println!("opening read, a chunk wrote: 10 turns {short:?}, 100000 turns {long:?}");
    println!("in {:?}", began.elapsed());
    for ((short_open, short_chunk), (long_open, long_chunk)) in short.into_iter().zip(long) {
        assert!(short_chunk.abs_diff(long_chunk) <= 16, "{short_chunk} and {long_chunk} bytes");
        // The short one has but ten turns to be read at first.
        assert!(long_open <= 2 * short_open, "{short_open} and {long_open} bytes");
        assert!(short_open <= 2 * long_open, "{short_open} and {long_open} bytes");
    }
}
