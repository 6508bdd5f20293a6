//! Long sessions that come as a whole, and what walking through them costs.

use std::path::Path;
use std::sync::Arc;

use chatkeep::model::{ChatRequest, ChatResponse, SessionMeta};
use chatkeep::part::Markdown;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{
    Budget, ChatModel, ChatStore, FileStorage, OwnerId, RequestId, ResponseId, ResponsePart,
    ResponseState, Turn, TurnId,
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

/// The session, of which the newest turns are loaded, in a store of its own.
fn opened(dir: &Path) -> (chatkeep::ChatSession, CountingFileSystem) {
    let files = CountingFileSystem::new(Arc::new(RealFileSystem));
    let storage = FileStorage::with_files(dir, Arc::new(files.clone())).unwrap();
    let store = block(ChatStore::builder(storage).build());
    (block(store.local().open(id("s1"))), files)
}

#[test]
fn walking_to_the_beginning_reads_each_turn_once() {
    let dir = tempfile::tempdir().unwrap();
    block(block(ChatStore::open(dir.path())).local().import(&long(5_000)));
    let size = std::fs::metadata(dir.path().join("sessions/local/s1.jsonl")).unwrap().len();
    let most = size + size / 2;

    let (chat, files) = opened(dir.path());
    assert_eq!(block(chat.context(Budget::unlimited())).messages().len(), 10_000);
    let read = files.counts().read;
    assert!(read <= most, "{read} bytes of {size}");

    let (chat, _) = opened(dir.path());
    drop(block(chat.edit(TurnId::new(2), "why?")));
    assert_eq!(chat.model().active(), Some(TurnId::new(5_001)));
    drop(chat);
    // The branch that is shown lies at the other end of the log.
    let (chat, files) = opened(dir.path());
    assert_eq!(chat.model().turns().len(), 2);
    assert_eq!(chat.model().siblings(TurnId::new(2)), [2, 5_001].map(TurnId::new));
    let read = files.counts().read;
    assert!(read <= most, "{read} bytes of {size}");
}
