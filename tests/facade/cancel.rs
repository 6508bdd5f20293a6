//! Futures that are dropped, and answers that nobody ends.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use chatkeep::part::{Code, Markdown};
use chatkeep::{NewSession, ResponseState};

use crate::common::*;

/// Polls a future once, and drops it.
fn begin<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

#[test]
fn calls_that_are_given_up_take_effect_in_their_order() {
    let (_, store) = block(async { Ok(memory().await) });
    let chat = block(store.local().create(NewSession::new()));
    let mut answer = block(chat.ask("why?"));
    block(answer.append_text("one"));
    begin(answer.push(Code::new("rust", "two")));
    begin(chat.rename("three"));
    // It waits for the part, so that it comes after it.
    block(answer.append_text("four"));
    begin(answer.push(Markdown::new("five")));
    // It comes while an earlier call is under way, and is given up before it has begun.
    begin(answer.complete());
    block(answer.append_text(" six"));
    begin(answer.complete());
    drop(answer);
    block(chat.flush());
    assert_eq!(last_text(&chat), "one\ntwo\nfour\nfive six");
    assert_eq!(chat.model().title(), "three");
    assert_eq!(last_state(&chat), ResponseState::Complete);
}

#[test]
fn an_ask_that_is_given_up_leaves_the_chat_usable() {
    let dir = tempfile::tempdir().unwrap();
    let store = block(chatkeep::ChatStore::open(dir.path()));
    let chat = block(store.local().create(NewSession::new().id(id("s1"))));
    for round in 1..=20 {
        drop(begin(chat.ask(format!("given up {round}"))));
        let mut answer = block(chat.ask("again"));
        block(answer.complete());
        let model = chat.model();
        assert_eq!(model.turn_count(), 2 * round);
        let given_up = model.turn(chatkeep::TurnId::new(2 * round - 1)).unwrap();
        assert_eq!(given_up.response().state, ResponseState::Interrupted);
    }
    // The last one, with nobody asking after it.
    drop(begin(chat.ask("given up")));
    wait_until(&chat, |model| model.turn_count() == 41 && model.running().is_none());
    let again = block(block(chatkeep::ChatStore::open(dir.path())).local().open(id("s1")));
    block(again.load_earlier(100));
    assert_eq!(again.model(), chat.model());
}

#[test]
fn an_answer_that_is_dropped_is_interrupted_with_all_its_text() {
    let (_, store) = block(async { Ok(memory().await) });
    let chat = block(store.local().create(NewSession::new()));
    let mut answer = block(chat.ask("why?"));
    block(answer.append_text("because"));
    drop(answer);
    wait_until(&chat, |model| model.last_state() == Some(ResponseState::Interrupted));
    assert_eq!(last_text(&chat), "because");
    block(block(chat.ask("again")).complete());
}

#[test]
fn an_end_that_is_given_up_is_an_end() {
    let (_, store) = block(async { Ok(memory().await) });
    let chat = block(store.local().create(NewSession::new()));
    let mut answer = block(chat.ask("why?"));
    begin(answer.complete());
    drop(answer);
    block(chat.flush());
    assert_eq!(last_state(&chat), ResponseState::Complete);
}
