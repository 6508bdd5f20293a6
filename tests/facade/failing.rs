//! Storages that fail: nothing twice, nothing lost, and the failure shown until it is mended.

use std::time::{Duration, Instant};

use chatkeep::part::{Code, Markdown};
use chatkeep::{
    ChatSession, ChatStore, ErrorKind, ListQuery, NewRequest, NewSession, RequestId, ResponseState,
};

use crate::common::*;
use crate::flaky::{ALL, Fault, Flaky};

fn store(storage: &Flaky) -> ChatStore {
    block(ChatStore::builder(storage.clone()).flush_delay(Duration::from_millis(5)).build())
}

fn session(storage: &Flaky) -> ChatSession {
    block(store(storage).local().create(NewSession::new().id(id("s1"))))
}

/// What the storage holds, read by someone else.
fn stored(storage: &Flaky) -> ChatSession {
    block(store(storage).local().open(id("s1")))
}

/// Makes a call until it succeeds.
fn until_done<T>(mut call: impl FnMut() -> chatkeep::Result<T>) -> (T, usize) {
    for failed in 0..20 {
        if let Ok(done) = call() {
            return (done, failed);
        }
    }
    panic!("it never succeeds");
}

#[test]
fn a_retry_lands_once_however_often_and_however_it_failed() {
    for fault in ALL {
        for times in [1, 2, 3, 7] {
            let storage = Flaky::new();
            let chat = session(&storage);
            let mut answer = block(chat.ask("why?"));
            let context = format!("{fault:?} × {times}");

            block(answer.append_text("one "));
            storage.fail(fault, times);
            until_done(|| pollster::block_on(chat.flush()));
            assert_eq!(last_text(&stored(&storage)), "one ", "{context}");

            block(answer.append_text("two"));
            storage.fail(fault, times);
            until_done(|| pollster::block_on(answer.push(Code::new("rust", "loop {}"))));
            block(answer.append_text("three"));
            storage.fail(fault, times);
            until_done(|| pollster::block_on(answer.complete()));
            storage.mend();
            block(chat.flush());
            let seen = stored(&storage);
            assert_eq!(last_text(&seen), "one two\nloop {}\nthree", "{context}");
            assert_eq!(last_state(&seen), ResponseState::Complete, "{context}");
            assert_eq!(seen.model(), chat.model(), "{context}");
            assert_eq!(chat.failure(), None, "{context}");
        }
    }
}

#[test]
fn an_ask_that_is_made_again_under_its_id_is_there_once() {
    for fault in ALL {
        let storage = Flaky::new();
        let chat = session(&storage);
        let request = || NewRequest::from("why?").id(RequestId::new("r1").unwrap());
        storage.fail(fault, 3);
        let asked = pollster::block_on(chat.ask(request()));
        storage.mend();
        if asked.is_err() {
            match pollster::block_on(chat.ask(request())) {
                Ok(mut answer) => block(answer.complete()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{fault:?}"),
            }
        }
        drop(asked);
        let mut answer = block(chat.ask("and now?"));
        block(answer.complete());
        let seen = stored(&storage);
        assert_eq!(seen.model(), chat.model(), "{fault:?}");
        assert_eq!(seen.model().turn_count(), 2, "{fault:?}");
        assert!(seen.model().all_turns().all(|turn| turn.response().state.is_final()));
    }
}

#[test]
fn text_that_came_while_the_storage_failed_is_written_once_it_works_again() {
    for fault in [Fault::LostRequest, Fault::Down, Fault::Full, Fault::PanicBefore] {
        let storage = Flaky::new();
        let chat = session(&storage);
        let mut answer = block(chat.ask("why?"));
        storage.fail(fault, 1_000);
        block(answer.append_text("because"));
        let end = Instant::now() + LONG;
        while chat.failure().is_none() {
            assert!(Instant::now() < end, "{fault:?}: no failure is shown");
            std::thread::yield_now();
        }
        assert!(pollster::block_on(answer.append_text("not taken")).is_err(), "{fault:?}");
        assert_eq!(last_text(&chat), "because", "{fault:?}");
        storage.mend();
        // Nobody does anything more: it is tried again by itself.
        while chat.failure().is_some() {
            assert!(Instant::now() < end, "{fault:?}: it is not mended");
            std::thread::yield_now();
        }
        assert_eq!(last_text(&stored(&storage)), "because", "{fault:?}");
        block(answer.append_text(" of it"));
        block(answer.complete());
        assert_eq!(last_text(&stored(&storage)), "because of it", "{fault:?}");
    }
}

#[test]
fn an_unknown_outcome_is_settled_when_reading_works_again() {
    let storage = Flaky::new();
    let chat = session(&storage);
    let mut answer = block(chat.ask("why?"));
    block(answer.append_text("because"));
    storage.fail(Fault::LostReply, 1);
    storage.fail(Fault::LostRequest, 1_000);
    storage.fail_reads(true);
    assert!(pollster::block_on(chat.flush()).is_err());
    assert!(pollster::block_on(answer.push(Markdown::new("x"))).is_err());
    storage.mend();
    block(answer.push(Code::new("rust", "x")));
    block(answer.complete());
    assert_eq!(last_text(&stored(&storage)), "because\nx");
    assert_eq!(stored(&storage).model(), chat.model());
}

#[test]
fn another_change_meets_an_unknown_outcome_and_settles_it() {
    for fault in [Fault::LostReply, Fault::LostRequest, Fault::PanicAfter] {
        let storage = Flaky::new();
        let chat = session(&storage);
        let mut answer = block(chat.ask("why?"));
        block(answer.append_text("because"));
        storage.fail(fault, 3);
        assert!(pollster::block_on(chat.rename("title")).is_err() || fault == Fault::LostReply);
        storage.mend();
        block(chat.pin(true));
        block(answer.complete());
        let seen = stored(&storage);
        assert_eq!(last_text(&seen), "because", "{fault:?}");
        assert_eq!(seen.model(), chat.model());
    }
}

#[test]
fn records_stay_below_a_small_limit() {
    let storage = Flaky::with_limit(4_096);
    let chat = session(&storage);
    let mut answer = block(chat.ask("why?"));
    let long = "\u{1}é".repeat(20_000);
    block(answer.append_text(&long));
    block(chat.flush());
    block(answer.append_text(&long));
    block(answer.complete());
    let seen = stored(&storage);
    assert_eq!(last_text(&seen), long.repeat(2));
    assert_eq!(last_state(&seen), ResponseState::Complete);
    let refused = pollster::block_on(chat.ask("x".repeat(5_000))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LimitExceeded);
    assert_eq!(chat.failure(), None);
    block(block(chat.ask("short")).complete());
}

#[test]
fn a_session_opens_where_nothing_can_be_written() {
    let storage = Flaky::new();
    let chat = session(&storage);
    let answer = block(chat.ask("why?"));
    storage.fail(Fault::Full, 1_000);
    drop(answer);
    let seen = stored(&storage);
    assert_eq!(seen.failure().unwrap().kind(), ErrorKind::Unavailable);
    assert_eq!(texts(&seen.model()).len(), 1);
    storage.mend();
    block(seen.rename("works"));
    assert_eq!(seen.failure(), None);
}

#[test]
fn a_session_whose_creation_was_not_confirmed_is_there_once() {
    let storage = Flaky::new();
    let store = store(&storage);
    storage.fail(Fault::LostReply, 1);
    block(store.local().create(NewSession::titled("created")));
    let document = block(block(store.local().create(NewSession::titled("taken in"))).to_document());
    let sessions = block(store.local().list(ListQuery::new())).items;
    assert_eq!(sessions.len(), 2);

    let taken = sessions.into_iter().find(|s| s.head.fields.title == "taken in").unwrap();
    block(store.local().delete(taken.key.id));
    storage.fail(Fault::LostReply, 1);
    block(store.local().import_document(document.get().as_bytes()));
    assert_eq!(block(store.local().count(ListQuery::new())), 2);
}

#[test]
fn an_adapter_that_panics_in_a_deletion_does_not_end_the_store() {
    let storage = Flaky::new();
    let store = store(&storage);
    let chat = block(store.local().create(NewSession::new()));
    storage.panic_in_purges(true);
    let error = pollster::block_on(store.local().delete(chat.id())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Indeterminate);
    storage.panic_in_purges(false);
    block(chat.rename("still here"));
    block(store.local().delete(chat.id()));
}
