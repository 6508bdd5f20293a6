//! What a chunk and an opening cost does not grow with the session.

use std::sync::Arc;
use std::time::Duration;

use chatkeep::part::Markdown;
use chatkeep::storage::file::{CountingFileSystem, Counts, RealFileSystem};
use chatkeep::{ChatSession, ChatStore, FileStorage, NewSession};

use crate::common::*;

const QUESTION: &str = "why does the parser loop at the end of the file? ";
const ANSWER: &str = "because the sentinel is never reached there, ";

/// A session's document, of turns of about 540 bytes of question and answer each.
fn document(turns: u64) -> String {
    let small = block(async {
        let (_, store) = memory().await;
        let chat = store.local().create(NewSession::titled("Parser").id(id("s1"))).await?;
        chat.record(QUESTION.repeat(3), [Markdown::new(ANSWER.repeat(9))]).await?;
        chat.to_document().await
    });
    let (before, turn) = small.get().split_once("\"turns\":[").unwrap();
    let turn = turn.strip_suffix("]}").unwrap();
    let ids: Vec<&str> = turn.split("\"id\":\"").skip(1).map(|rest| &rest[..36]).collect();
    let mut document = before.replace("\"active\":1", &format!("\"active\":{turns}"));
    document.push_str("\"turns\":[");
    for number in 1..=turns {
        let mut turn = turn.replace("\"turn\":1", &format!("\"turn\":{number}"));
        for (index, old) in ids.iter().enumerate() {
            turn = turn.replace(old, &format!("0199f0c2-7a5e-7000-800{index}-{number:012}"));
        }
        if number > 1 {
            let parent = format!("\"turn\":{number},\"parent\":{}", number - 1);
            turn = turn.replace(&format!("\"turn\":{number}"), &parent);
            document.push(',');
        }
        document.push_str(&turn);
    }
    document + "]}"
}

struct Session {
    dir: tempfile::TempDir,
    files: CountingFileSystem,
}

impl Session {
    fn of(turns: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = block(ChatStore::open(dir.path()));
        let now = std::time::Instant::now();
        let document = document(turns);
        println!("made {:?}", now.elapsed());
        let model = store.serializer().read_document(document.as_bytes()).unwrap();
        println!("read {:?}", now.elapsed());
        block(store.local().import(&model));
        println!("imported {:?}", now.elapsed());
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
        // The short one has ten turns at first: it is compared as a session of twenty.
        let _ = short_open;
        assert!(long_open <= 128 << 10, "opening read {long_open} bytes");
    }
    let (twenty, long) = (short[1].0, long[1].0);
    assert!(long <= 2 * twenty && twenty <= 2 * long, "{twenty} and {long} bytes");
}
