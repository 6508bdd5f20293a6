//! Two windows on one session: two stores in one process, and two processes.

use std::sync::Arc;
use std::time::Duration;

use chatkeep::model::{Feedback, Vote};
use chatkeep::part::Markdown;
use chatkeep::storage::key_value::MemoryKeyValue;
use chatkeep::{
    Change, ChatStore, ErrorKind, KeyValueStorage, ListQuery, MemoryStorage, NewSession,
    ResponseState, Storage, TurnId,
};

use crate::common::*;

/// Two stores: on one storage, or on two handles.
fn pairs() -> Vec<(&'static str, ChatStore, ChatStore, Option<tempfile::TempDir>)> {
    let build = |storage: Arc<dyn Storage>| block(ChatStore::builder_on(storage).build());
    let memory = MemoryStorage::new();
    let other = memory.another_writer();
    let shared: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let dir = tempfile::tempdir().unwrap();
    let engine = KeyValueStorage::new(MemoryKeyValue::new());
    vec![
        ("one memory", build(Arc::clone(&shared)), build(shared), None),
        ("two writers", build(Arc::new(memory)), build(Arc::new(other)), None),
        ("key value", build(Arc::new(engine.clone())), build(Arc::new(engine)), None),
        (
            "files",
            block(ChatStore::open(dir.path())),
            block(ChatStore::open(dir.path())),
            Some(dir),
        ),
    ]
}

#[test]
fn a_second_store_does_not_disturb_a_live_answer() {
    for (name, one, two, _dir) in pairs() {
        let chat = block(one.local().create(NewSession::new().id(id("s1"))));
        let mut answer = block(chat.ask("why?"));
        block(answer.append_text("because "));
        block(chat.flush());
        let seen = block(two.local().open(id("s1")));
        assert_eq!(last_state(&seen), ResponseState::Streaming, "{name}");
        assert_eq!(last_text(&seen), "because ", "{name}");
        let refused = pollster::block_on(seen.ask("me?")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Busy, "{name}");
        block(answer.append_text("of the sentinel"));
        block(chat.flush());
        block(seen.refresh());
        assert_eq!(last_text(&seen), "because of the sentinel", "{name}");
        block(answer.complete());
        block(seen.refresh());
        assert_eq!(last_state(&seen), ResponseState::Complete, "{name}");
        assert_eq!(last_state(&chat), ResponseState::Complete, "{name}");
        drop(block(seen.ask("and me?")));
    }
}

fn on_a_clock(storage: &KeyValueStorage<MemoryKeyValue>, clock: &Hands) -> ChatStore {
    let builder = ChatStore::builder(storage.clone()).clock(clock.clone());
    block(builder.lease(Duration::from_secs(30)).build())
}

#[test]
fn an_answer_whose_lease_has_expired_is_taken_over_and_its_writer_fenced() {
    let engine = MemoryKeyValue::new();
    let clock = Hands::default();
    let mine = KeyValueStorage::new(engine.clone());
    let theirs = KeyValueStorage::new(engine);
    let (one, two) = (on_a_clock(&mine, &clock), on_a_clock(&theirs, &clock));
    let chat = block(one.local().create(NewSession::new().id(id("s1"))));
    let mut answer = block(chat.ask("why?"));
    block(answer.append_text("because"));
    block(chat.flush());

    let seen = block(two.local().open(id("s1")));
    clock.advance(29);
    assert_eq!(
        pollster::block_on(seen.ask("me?")).unwrap_err().kind(),
        ErrorKind::Busy,
        "its lease has not expired"
    );
    clock.advance(2);
    let mut next = block(seen.ask("me?"));
    block(next.append_text("you"));
    block(next.complete());
    assert_eq!(
        seen.model().turn(TurnId::new(1)).unwrap().response().state,
        ResponseState::Interrupted
    );

    // The first does not know yet.
    block(answer.append_text(" of what is lost"));
    let fenced = pollster::block_on(chat.flush()).unwrap_err();
    assert_eq!(fenced.kind(), ErrorKind::Fenced);
    let push = pollster::block_on(answer.push(Markdown::new("more"))).unwrap_err();
    assert_eq!(push.kind(), ErrorKind::Fenced);
    let text = pollster::block_on(answer.append_text("more")).unwrap_err();
    assert_eq!(text.kind(), ErrorKind::Fenced);
    assert_eq!(pollster::block_on(answer.complete()).unwrap_err().kind(), ErrorKind::Fenced);
    drop(answer);
    block(chat.refresh());
    assert_eq!(chat.model(), seen.model());
    assert_eq!(texts(&chat.model())[0].1, "because");
}

#[test]
fn what_both_change_is_merged() {
    for (name, one, two, _dir) in pairs() {
        let a = block(one.local().create(NewSession::titled("first").id(id("s1"))));
        let turn = block(a.record("why?", [Markdown::new("because")]));
        let b = block(two.local().open(id("s1")));
        block(a.rename("from a"));
        block(b.pin(true));
        block(b.tag(["x"]));
        block(a.feedback(turn, Some(Feedback::vote(Vote::Up))));
        block(b.rename("from b"));
        let one_more = block(a.record("a asks", [Markdown::new("a")]));
        let other = block(b.record("b asks", [Markdown::new("b")]));
        assert_ne!(one_more, other, "{name}");
        block(a.refresh());
        assert_eq!(a.model(), b.model(), "{name}");
        let model = a.model();
        assert_eq!((model.title(), model.session().pinned), ("from b", true));
        assert_eq!(model.session().tags, ["x"]);
        assert_eq!(model.turn(turn).unwrap().response().feedback, Some(Feedback::vote(Vote::Up)));
        assert_eq!(texts(&model).len(), 3);
    }
}

#[test]
fn many_changes_from_two_stores_are_all_there() {
    for (name, one, two, _dir) in pairs() {
        let chat = block(one.local().create(NewSession::new().id(id("s1"))));
        let writers = [one, two].into_iter().enumerate().map(|(window, store)| {
            std::thread::spawn(move || {
                let chat = block(store.local().open(id("s1")));
                for number in 0..40 {
                    block(chat.record(format!("{window}/{number}"), [Markdown::new("ok")]));
                    let (name, value) = (format!("{window}/{number}"), 1);
                    block(chat.set_preference(&name, Some(&value)));
                }
            })
        });
        writers.collect::<Vec<_>>().into_iter().for_each(|writer| writer.join().unwrap());
        block(chat.refresh());
        let model = chat.model();
        assert_eq!(model.turn_count(), 80, "{name}");
        assert_eq!(model.session().preferences.len(), 80, "{name}");
        let mut asked: Vec<_> = texts(&model).into_iter().map(|(asked, _)| asked).collect();
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), 80, "{name}");
    }
}

#[test]
fn subscriptions_tell_of_the_other_window() {
    for (name, one, two, _dir) in pairs() {
        let a = block(one.local().create(NewSession::new().id(id("s1"))));
        let b = block(two.local().open(id("s1")));
        let mut changes = a.subscribe();
        let mut list =
            chatkeep::blocking::ListChanges::from(one.local().subscribe(ListQuery::new()));
        let watched = list.next_within(LONG);
        assert_eq!(watched, Some(chatkeep::ListChange::Reloaded), "{name}");
        block(b.rename("changed"));
        loop {
            match next(&mut changes, LONG).unwrap_or_else(|| panic!("{name}: nothing came")) {
                Change::Session => break,
                Change::Unwatched(error) => panic!("{name}: {error}"),
                _ => {}
            }
        }
        assert_eq!(a.model().title(), "changed", "{name}");
        while list.next_within(Duration::from_millis(50)).is_some() {}
        block(two.local().delete(id("s1")));
        while next(&mut changes, LONG).unwrap_or_else(|| panic!("{name}")) != Change::Deleted {}
        assert_eq!(next(&mut changes, LONG), None);
        loop {
            match list.next_within(LONG).unwrap_or_else(|| panic!("{name}: nothing came")) {
                chatkeep::ListChange::Removed(removed) if removed == id("s1") => break,
                _ => {}
            }
        }
        assert!(pollster::block_on(a.rename("x")).unwrap_err().is_not_found(), "{name}");
    }
}

/// Not a test by itself: a window in another process.
#[test]
fn in_a_child() {
    let Some(role) = ROLE.as_deref().filter(|role| ["holds", "adds"].contains(role)) else {
        return;
    };
    let store = block(ChatStore::open(root()));
    let chat = block(store.local().open(id("s1")));
    if role == "adds" {
        for number in 0..60 {
            block(chat.record(format!("child {number}"), [Markdown::new("ok")]));
            block(chat.set_preference(&format!("child {number}"), Some(&true)));
        }
        println!("\nadded");
        return;
    }
    let mut answer = block(chat.ask("from the child"));
    block(answer.append_text("one "));
    block(chat.flush());
    println!("\nstreaming");
    assert_eq!(heard(), "more");
    block(answer.append_text("two "));
    block(chat.flush());
    println!("\nmore");
    match &*heard() {
        "complete" => block(answer.complete()),
        _ => loop {
            std::thread::park();
        },
    }
    println!("\ncompleted");
}

#[test]
fn a_second_process_sees_a_live_answer_and_takes_over_a_dead_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = block(ChatStore::open(dir.path()));
    let chat = block(store.local().create(NewSession::new().id(id("s1"))));
    for end in ["complete", "die"] {
        let mut child = Other::start("windows::in_a_child", "holds", dir.path());
        child.line("streaming");
        let chat = block(store.local().open(id("s1")));
        assert_eq!(last_state(&chat), ResponseState::Streaming);
        assert_eq!(last_text(&chat), "one ");
        let busy = pollster::block_on(chat.ask("me?")).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        child.tell("more");
        // Told by the storage, not asked for.
        wait_until(&chat, |model| {
            model.all_turns().last().is_some_and(|turn| turn.response().text() == "one two ")
        });
        child.line("more");
        if end == "complete" {
            child.tell(end);
            child.line("completed");
            child.finish();
            block(chat.refresh());
            assert_eq!(last_state(&chat), ResponseState::Complete);
        } else {
            child.kill();
            let mut answer = block(chat.ask("and me?"));
            let states: Vec<_> = chat.model().turns().map(|turn| turn.response().state).collect();
            assert!(states.contains(&ResponseState::Interrupted));
            block(answer.complete());
        }
    }
    drop(chat);
}

#[test]
fn two_processes_add_to_one_session() {
    let dir = tempfile::tempdir().unwrap();
    let store = block(ChatStore::open(dir.path()));
    let chat = block(store.local().create(NewSession::new().id(id("s1"))));
    let mut child = Other::start("windows::in_a_child", "adds", dir.path());
    for number in 0..60 {
        block(chat.record(format!("parent {number}"), [Markdown::new("ok")]));
    }
    child.line("added");
    child.finish();
    block(chat.refresh());
    let model = chat.model();
    assert_eq!((model.turn_count(), model.session().preferences.len()), (120, 60));
    let again = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
    block(again.load_earlier(1_000));
    assert_eq!(again.model(), model);
}
