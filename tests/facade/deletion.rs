//! What was deleted stays deleted.

use chatkeep::part::Markdown;
use chatkeep::{
    Answer, Budget, Change, ChatSession, ChatStore, ErrorKind, MemoryStorage, NewSession,
};

use crate::common::*;

fn is_gone<T>(call: &str, result: chatkeep::Result<T>) {
    match result {
        Ok(_) => panic!("{call} goes on"),
        Err(error) => assert!(error.is_not_found(), "{call}: {error}"),
    }
}

fn is_gone_for(chat: &ChatSession, answer: &mut Answer) {
    let turn = chatkeep::TurnId::new(1);
    pollster::block_on(async {
        is_gone("complete", answer.complete().await);
        is_gone("push", answer.push(Markdown::new("x")).await);
        is_gone("append", answer.append_text("x").await);
        is_gone("ask", chat.ask("x").await);
        is_gone("record", chat.record("x", [Markdown::new("x")]).await);
        is_gone("edit", chat.edit(turn, "x").await);
        is_gone("regenerate", chat.regenerate(turn).await);
        is_gone("switch", chat.switch_to(turn).await);
        is_gone("rename", chat.rename("x").await);
        is_gone("feedback", chat.feedback(turn, None).await);
        is_gone("flush", chat.flush().await);
        is_gone("refresh", chat.refresh().await);
        is_gone("compact", chat.compact().await);
        is_gone("context", chat.context(Budget::unlimited()).await);
        is_gone("document", chat.to_document().await);
        is_gone("earlier", chat.load_earlier(1).await);
        is_gone("part", chat.load_part(turn, 0).await);
        is_gone("transient", chat.set_transient("x", Some(&1)));
        is_gone("close", chat.close().await);
    });
}

fn streaming(store: &ChatStore) -> (ChatSession, Answer) {
    let chat = block(store.local().create(NewSession::new().id(id("s1"))));
    let mut answer = block(chat.ask("why?"));
    block(answer.append_text("because"));
    (chat, answer)
}

#[test]
fn every_handle_of_the_store_is_told() {
    let (_, store) = block(async { Ok(memory().await) });
    let (chat, mut answer) = streaming(&store);
    let mut changes = chat.subscribe();
    block(store.local().delete(id("s1")));
    is_gone_for(&chat, &mut answer);
    while next(&mut changes, LONG) != Some(Change::Deleted) {}
    drop(answer);
    is_gone("open", pollster::block_on(store.local().open(id("s1"))));
    is_gone("delete", pollster::block_on(store.local().delete(id("s1"))));
    let again = pollster::block_on(store.local().create(NewSession::new().id(id("s1"))));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Deleted);
    block(store.flush());
}

#[test]
fn a_handle_of_another_store_cannot_bring_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let memory = MemoryStorage::new();
    let on = |storage: &MemoryStorage| block(ChatStore::builder(storage.clone()).build());
    for (one, two) in [
        (on(&memory), on(&memory)),
        (block(ChatStore::open(dir.path())), block(ChatStore::open(dir.path()))),
    ] {
        let (chat, mut answer) = streaming(&one);
        let mut changes = chat.subscribe();
        block(two.local().delete(id("s1")));
        // The text that was under way, too.
        let _ = pollster::block_on(answer.append_text("more"));
        is_gone("flush", pollster::block_on(chat.flush()));
        is_gone_for(&chat, &mut answer);
        while next(&mut changes, LONG) != Some(Change::Deleted) {}
        drop((answer, chat));
        is_gone("open", pollster::block_on(two.local().open(id("s1"))));
        is_gone("open", pollster::block_on(one.local().open(id("s1"))));
    }
}

#[test]
fn an_import_begins_a_new_life_and_old_handles_stay_dead() {
    let dir = tempfile::tempdir().unwrap();
    let memory = MemoryStorage::new();
    let on = |storage: &MemoryStorage| block(ChatStore::builder(storage.clone()).build());
    for (one, two) in [
        (on(&memory), on(&memory)),
        (block(ChatStore::open(dir.path())), block(ChatStore::open(dir.path()))),
    ] {
        let (chat, mut answer) = streaming(&one);
        block(chat.flush());
        let document = block(chat.to_document());
        block(two.local().delete(id("s1")));
        // `one` was not told: it takes the session in all the same.
        let reborn = block(one.local().import_document(document.get().as_bytes()));
        is_gone_for(&chat, &mut answer);
        drop(answer);
        block(reborn.rename("alive"));
        assert_eq!(last_text(&reborn), "because");
        assert_eq!(block(two.local().open(id("s1"))).model(), reborn.model());
        let taken = pollster::block_on(two.local().import_document(document.get().as_bytes()));
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}

/// Not a test by itself: streams while its parent deletes.
#[test]
fn in_a_child() {
    if ROLE.as_deref() != Some("deleted") {
        return;
    }
    let store = block(ChatStore::open(root()));
    let chat = block(store.local().open(id("s1")));
    let mut answer = block(chat.ask("why?"));
    println!("\nasked");
    let ended = loop {
        if let Err(error) = pollster::block_on(answer.append_text("because ")) {
            break error;
        }
        if let Err(error) = pollster::block_on(chat.flush()) {
            break error;
        }
    };
    assert!(ended.is_not_found(), "{ended}");
    is_gone_for(&chat, &mut answer);
    drop((answer, chat));
    println!("\ngone");
}

#[test]
fn another_process_cannot_bring_it_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = block(ChatStore::open(dir.path()));
    block(store.local().create(NewSession::new().id(id("s1"))));
    let mut child = Other::start("deletion::in_a_child", "deleted", dir.path());
    child.line("asked");
    block(store.local().delete(id("s1")));
    child.line("gone");
    child.finish();
    is_gone("open", pollster::block_on(store.local().open(id("s1"))));
    assert!(block(store.local().list(Default::default())).items.is_empty());
}
