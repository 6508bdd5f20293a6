//! Long sessions that come as a whole, and what walking through them costs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatkeep::model::{ChatRequest, ChatResponse, SessionMeta};
use chatkeep::part::Markdown;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{
    Budget, ChatModel, ChatStore, FileStorage, MemoryStorage, OwnerId, RequestId, ResponseId,
    ResponsePart, ResponseState, Turn, TurnId,
};

use crate::common::*;

/// A session of so many turns, each after the one before.
fn long(turns: u64) -> ChatModel {
    let at = jiff::Timestamp::from_second(1_767_225_600).unwrap();
    let mut model = ChatModel::new(SessionMeta::new(OwnerId::local(), id("s1"), at));
    for number in 1..=turns {
        let mut request = ChatRequest::new(RequestId::new(format!("q{number}")).unwrap(), at);
        request.message.push("why does the parser loop at the end of the file?".into());
        let mut response = ChatResponse::new(ResponseId::new(format!("a{number}")).unwrap());
        response.state = ResponseState::Complete;
        response.parts.push(ResponsePart::new(Markdown::new("because. ".repeat(20))).unwrap());
        let parent = (number > 1).then(|| TurnId::new(number - 1));
        model.add_turn(Turn::new(TurnId::new(number), parent, request, response)).unwrap();
    }
    model
}

/// How many bytes opening an import of so many turns reads, in a process that knows nothing of it.
fn opening_reads(turns: u64) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let store = block(ChatStore::open(dir.path()));
    block(store.local().import(&long(turns)));
    drop(store);

    let files = CountingFileSystem::new(Arc::new(RealFileSystem));
    let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
    let store = block(ChatStore::builder(storage).build());
    let before = files.counts().read;
    let chat = block(store.local().open(id("s1")));
    let read = files.counts().read - before;
    assert_eq!(chat.model().turns().len(), 20);
    assert_eq!(chat.model().turn_count(), turns);
    read
}

#[test]
fn an_imported_session_opens_by_its_newest_turns_alone() {
    // More than one append: the checkpoint is in the last.
    let (short, long) = (opening_reads(50), opening_reads(20_000));
    assert!(long <= 2 * short, "{short} and {long} bytes");
}

/// 20,000 turns, of which the newest are loaded.
fn opened(storage: &MemoryStorage) -> chatkeep::ChatSession {
    block(block(ChatStore::builder(storage.clone()).build()).local().open(id("s1")))
}

#[test]
fn walking_to_the_beginning_costs_each_turn_once() {
    let storage = MemoryStorage::new();
    let model = long(20_000);
    block(block(ChatStore::builder(storage.clone()).build()).local().import(&model));

    let began = Instant::now();
    let chat = opened(&storage);
    assert_eq!(block(chat.context(Budget::unlimited())).messages().len(), 40_000);
    println!("the whole context: {:?}", began.elapsed());

    let chat = opened(&storage);
    drop(block(chat.edit(TurnId::new(2), "why?")));
    assert_eq!(chat.model().active(), Some(TurnId::new(20_001)));
    drop(chat);
    // The branch that is shown lies at the other end of the log.
    let chat = opened(&storage);
    assert_eq!(chat.model().turns().len(), 2);
    println!("all: {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(chat.model().siblings(TurnId::new(2)), [2, 20_001].map(TurnId::new));
}
