//! Each thing that a session can do, and that it is there when it is opened again.

use chatkeep::model::{Draft, Feedback, ParentSession, SessionChange, Vote, Workspace};
use chatkeep::part::{Code, Compaction, Markdown, Progress, Thinking, ToolCall};
use chatkeep::storage::{Revision, SessionKey, StorageExt as _};
use chatkeep::{
    Budget, ChatSession, ChatStore, DataRegistry, ErrorKind, ListQuery, MemoryStorage, NewRequest,
    NewSession, OwnerId, ResponseState, Role, SessionStatus, Storage as _, TurnId, WorkspaceId,
};
use std::time::Duration;

use crate::common::*;

fn open(dir: &tempfile::TempDir) -> ChatStore {
    block(async {
        let data = DataRegistry::new().with::<Vec<String>>("acme.todos")?;
        let storage = chatkeep::FileStorage::open(dir.path()).await?;
        ChatStore::builder(storage).data(data).build().await
    })
}

/// A session, and the same read by another store.
fn reopened(dir: &tempfile::TempDir, chat: &ChatSession) -> ChatSession {
    let again = block(open(dir).local().open(chat.id()));
    block(again.load_earlier(100_000));
    again
}

fn session() -> (tempfile::TempDir, ChatStore, ChatSession) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    let chat = block(store.local().create(NewSession::new().id(id("s1"))));
    (dir, store, chat)
}

fn turn(number: u64) -> TurnId {
    TurnId::new(number)
}

#[test]
fn branches_are_made_shown_and_restored() {
    let (dir, _store, chat) = session();
    block(async {
        let one = chat.record("one", [Markdown::new("1")]).await?;
        let two = chat.record("two", [Markdown::new("2")]).await?;
        let mut answer = chat.edit(two, "two, better").await?;
        answer.append_text("2b").await?;
        answer.complete().await?;
        let mut answer = chat.regenerate(one).await?;
        answer.append_text("1b").await?;
        answer.complete().await?;
        assert_eq!(chat.model().siblings(two), [turn(2), turn(3)]);
        assert_eq!(chat.model().siblings(one), [turn(1), turn(4)]);
        assert_eq!(texts(&chat.model()), [("one".to_owned(), "1b".to_owned())]);
        chat.switch_to(one).await?;
        assert_eq!(texts(&chat.model())[1].0, "two, better");
        chat.switch_to(two).await?;
        assert_eq!(texts(&chat.model())[1].1, "2");
        assert!(chat.switch_to(turn(9)).await.unwrap_err().is_not_found());
        assert!(chat.edit(turn(0), "x").await.unwrap_err().is_not_found());
        Ok(())
    });
    assert_eq!(reopened(&dir, &chat).model(), chat.model());
}

#[test]
fn properties_feedback_drafts_and_preferences_are_kept() {
    let (dir, store, chat) = session();
    block(async {
        let first = chat.record("one", [Markdown::new("1")]).await?;
        chat.rename("A title").await?;
        chat.pin(true).await?;
        chat.tag(["b", "a", "b"]).await?;
        chat.archive().await?;
        chat.set_draft(Some(Draft { text: "half a".to_owned(), ..Draft::default() })).await?;
        chat.set_preference("style", Some(&"concise")).await?;
        chat.set_preference("gone", Some(&1)).await?;
        chat.set_preference::<u8>("gone", None).await?;
        chat.feedback(first, Some(Feedback::vote(Vote::Down).score(0.25).reason("no"))).await?;
        assert!(chat.feedback(turn(7), None).await.unwrap_err().is_not_found());
        let parent = ParentSession {
            session: id("p"),
            turn: None,
            relation: Default::default(),
            extra: Default::default(),
        };
        chat.change([SessionChange::Parent(Some(parent)), SessionChange::Agent(Some("x".into()))])
            .await?;
        Ok(())
    });
    let again = reopened(&dir, &chat);
    assert_eq!(again.model(), chat.model());
    assert_eq!(again.preference::<String>("style").unwrap().as_deref(), Some("concise"));
    assert_eq!(again.preference::<u8>("gone").unwrap(), None);
    let model = again.model();
    let meta = model.session();
    assert_eq!((meta.tags.join(" "), meta.status), ("a b".to_owned(), SessionStatus::Archived));
    assert_eq!(meta.draft.as_ref().unwrap().text, "half a");
    let list = |query| block(store.local().list(query)).items.len();
    assert_eq!(list(ListQuery::new().status(SessionStatus::Archived)), 1);
    assert_eq!(list(ListQuery::new().status(SessionStatus::Active)), 0);
    block(chat.restore());
    assert_eq!(block(store.local().count(ListQuery::new().status(SessionStatus::Active))), 1);
}

#[test]
fn data_is_kept_at_three_levels_and_transient_data_is_not() {
    let (dir, _store, chat) = session();
    let todos = |text: &str| vec![text.to_owned()];
    block(async {
        let first = chat.record("one", [Markdown::new("1")]).await?;
        chat.set_data("acme.todos", &todos("session")).await?;
        chat.set_request_data(first, "acme.todos", &todos("request")).await?;
        chat.set_response_data(first, "acme.todos", &todos("response")).await?;
        assert_eq!(
            chat.set_data("acme.other", &1).await.unwrap_err().kind(),
            ErrorKind::Unsupported
        );
        chat.set_transient("scroll", Some(&7))?;
        chat.pin(true).await?;
        assert_eq!(chat.transient::<u32>("scroll")?, Some(7));
        Ok(())
    });
    let again = reopened(&dir, &chat);
    let read = |result: chatkeep::Result<Option<Vec<String>>>| result.unwrap().unwrap().concat();
    assert_eq!(read(again.data("acme.todos")), "session");
    assert_eq!(read(again.request_data(turn(1), "acme.todos")), "request");
    assert_eq!(read(again.response_data(turn(1), "acme.todos")), "response");
    assert_eq!(again.transient::<u32>("scroll").unwrap(), None);
    block(again.remove_data("acme.todos"));
    block(chat.refresh());
    assert_eq!(chat.data::<Vec<String>>("acme.todos").unwrap(), None);
    assert_eq!(chat.transient::<u32>("scroll").unwrap(), Some(7));
}

#[test]
fn an_answer_passes_through_its_states() {
    let (dir, _store, chat) = session();
    block(async {
        let mut answer = chat.ask(NewRequest::from("go").by_system()).await?;
        assert_eq!(last_state(&chat), ResponseState::Pending);
        answer.append_thinking("hm").await?;
        assert_eq!(last_state(&chat), ResponseState::Streaming);
        let call = answer.push(ToolCall::new("c1", "grep")).await?;
        answer.needs_input().await?;
        assert_eq!(last_state(&chat), ResponseState::NeedsInput);
        let mut done = ToolCall::new("c1", "grep");
        done = done.result(chatkeep::RawJson::of(&"found")?);
        answer.replace(call, done).await?;
        assert_eq!(last_state(&chat), ResponseState::Streaming);
        assert!(answer.replace(9, Markdown::new("x")).await.unwrap_err().is_not_found());
        answer.set_model("m").await?;
        answer.append_text("so").await?;
        answer.fail("it broke").await?;
        assert_eq!(answer.complete().await.unwrap_err().kind(), ErrorKind::Invalid);
        let mut answer = chat.ask("again").await?;
        answer.cancel().await?;
        Ok(())
    });
    let model = reopened(&dir, &chat).model();
    assert_eq!(model, chat.model());
    let response = model.turn(turn(1)).unwrap().response();
    assert_eq!(response.state, ResponseState::Failed);
    assert_eq!(response.model.as_deref(), Some("m"));
    assert_eq!(response.error.as_ref().unwrap().message, "it broke");
    let kinds: Vec<_> = response.parts().iter().map(chatkeep::ResponsePart::kind).collect();
    assert_eq!(kinds.len(), 3);
    assert_eq!(model.last_state(), Some(ResponseState::Cancelled));
}

#[test]
fn a_context_is_whole_or_says_that_it_is_not() {
    let (dir, _store, chat) = session();
    block(async {
        for number in 1..=50 {
            chat.record(format!("question {number:03}"), [Markdown::new("x".repeat(28))]).await?;
        }
        let again = open(&dir).local().open(chat.id()).await?;
        assert!(again.model().has_earlier());
        let whole = again.context(Budget::unlimited()).await?;
        assert!(whole.is_complete());
        assert_eq!(whole.messages().len(), 100);
        assert_eq!(whole.messages()[0].content, "question 001");
        let some = again.context(Budget::tokens(100)).await?;
        assert!(!some.is_complete() && some.tokens() <= 100);
        assert_eq!(some.messages().len(), 20);
        assert_eq!(some.messages()[0].content, "question 041");
        let none = again.context(Budget::tokens(9)).await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::LimitExceeded);

        let mut answer = chat.ask("summarise").await?;
        answer.push(Compaction::new("They talked.")).await?;
        answer.complete().await?;
        let mut answer = chat.ask("and now?").await?;
        answer.append_thinking("secret").await?;
        answer.push(Progress::new("reading")).await?;
        answer.append_text("now").await?;
        answer.complete().await?;
        let short = chat.context(Budget::tokens(1_000)).await?;
        assert!(short.is_complete());
        let said: Vec<_> = short.messages().iter().map(|m| (m.role, &*m.content)).collect();
        assert_eq!(said[0].0, Role::System);
        assert!(said[0].1.contains("They talked."));
        assert_eq!(said[1..], [(Role::User, "and now?"), (Role::Assistant, "now")]);
        Ok(())
    });
}

#[test]
fn earlier_turns_are_loaded_over_branches() {
    let (dir, _store, chat) = session();
    block(async {
        for number in 1..=40 {
            chat.record(format!("{number}"), [Markdown::new("a")]).await?;
        }
        // A branch of its own from the beginning, longer than what is loaded at first.
        let mut answer = chat.edit(turn(2), "2b").await?;
        answer.complete().await?;
        for number in 3..=30 {
            chat.record(format!("{number}b"), [Markdown::new("b")]).await?;
        }
        let again = open(&dir).local().open(chat.id()).await?;
        assert_eq!(again.model().turns().len(), 20);
        assert_eq!(again.load_earlier(5).await?, 5);
        assert_eq!(again.load_earlier(50).await?, 5);
        assert_eq!(
            texts(&again.model())[..2],
            [("1".to_owned(), "a".to_owned()), ("2b".to_owned(), String::new())]
        );
        again.switch_to(turn(2)).await?;
        assert_eq!(again.model().turns().len(), 40);
        // The branch that is shown lies wholly before what is read first.
        let third = open(&dir).local().open(chat.id()).await?;
        assert!(third.model().turns().len() >= 20);
        third.load_earlier(100).await?;
        assert_eq!(third.model(), again.model());
        Ok(())
    });
}

#[test]
fn large_parts_lie_in_blobs_and_documents_carry_them() {
    let (dir, store, chat) = session();
    let long = "let x = 1;\n".repeat(20_000);
    let big = || {
        let mut call = ToolCall::new("c1", "read");
        call = call.result(chatkeep::RawJson::of(&long).unwrap());
        call
    };
    block(async {
        let mut answer = chat.ask("read it").await?;
        answer.append_text("here:").await?;
        answer.push(big()).await?;
        for number in 0..6 {
            answer.push(Code::new("rust", format!("{number}"))).await?;
        }
        answer.complete().await?;
        chat.record("and again", [big()]).await?;
        assert!(chat.model().turn(turn(1)).unwrap().response().parts()[1].blob().is_none());
        Ok(())
    });
    let log = std::fs::metadata(dir.path().join("sessions/local/s1.jsonl")).unwrap().len();
    assert!(log < 20_000, "the log has {log} bytes");
    let again = reopened(&dir, &chat);
    let part = again.model().turn(turn(1)).unwrap().response().parts()[1].clone();
    assert!(part.blob().is_some() && part.downcast_ref::<ToolCall>().is_none());
    assert!(part.fallback().len() < 2_000);
    let loaded = block(again.load_part(turn(1), 1));
    assert!(loaded.downcast_ref::<ToolCall>().is_some());
    assert!(again.model().turn(turn(1)).unwrap().response().parts()[1].blob().is_none());
    assert_eq!(again.model(), chat.model());

    let fresh = reopened(&dir, &chat);
    let context = block(fresh.context(Budget::unlimited()));
    let said: usize = context.messages().iter().map(|message| message.content.len()).sum();
    let shown = chat.model().turn(turn(2)).unwrap().response().text().len();
    assert!(said >= shown, "{said} < {shown}");

    let document = block(reopened(&dir, &chat).to_document());
    assert!(document.get().len() > 2 * long.len());
    let other = block(async { Ok(memory().await.1) });
    let taken = block(other.local().import_document(document.get().as_bytes()));
    assert_eq!(block(taken.to_document()).get(), document.get());
    block(store.local().delete(id("s1")));
    assert!(!dir.path().join("blobs/local/s1").exists());
}

#[test]
fn workspaces_resume_what_was_open() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = |name: &str| Workspace::new(WorkspaceId::new(name).unwrap());
    let ids = |chats: &[ChatSession]| -> Vec<String> {
        chats.iter().map(|chat| chat.id().to_string()).collect()
    };
    block(async {
        let store = open(&dir);
        let me = store.local();
        let new =
            |name: &str, place: &str| NewSession::new().id(id(name)).workspace(workspace(place));
        let a = me.create(new("a", "one")).await?;
        me.create(new("b", "one")).await?;
        me.create(new("c", "two")).await?;
        me.create(new("d", "one")).await?;
        me.open(id("a")).await?;
        me.delete(id("d")).await?;
        drop(a);
        let again = open(&dir);
        let chats = again.local().resume(WorkspaceId::new("one")?).await?.chats;
        assert_eq!(ids(&chats), ["b", "a"]);
        chats[1].close().await?;
        assert_eq!(ids(&again.local().resume(WorkspaceId::new("one")?).await?.chats), ["b"]);
        assert_eq!(ids(&again.local().resume(WorkspaceId::new("two")?).await?.chats), ["c"]);
        assert!(again.local().resume(WorkspaceId::new("three")?).await?.chats.is_empty());
        assert!(store.owner(OwnerId::new("eve")?).open(id("a")).await.unwrap_err().is_not_found());
        Ok(())
    });
}

#[test]
fn compaction_drops_what_is_superfluous_and_nothing_else() {
    let (dir, _store, chat) = session();
    let stale = block(open(&dir).local().open(id("s1")));
    block(async {
        for number in 0..30 {
            let mut answer = chat.ask(format!("question {number}")).await?;
            for _ in 0..20 {
                answer.append_thinking("hm ").await?;
                chat.flush().await?;
            }
            answer.complete().await?;
            chat.rename(format!("title {number}")).await?;
        }
        chat.feedback(turn(3), Some(Feedback::vote(Vote::Up))).await?;
        chat.set_request_data(turn(2), "acme.todos", &vec!["x".to_owned()]).await?;
        // Reads what was there before the compaction, then goes on behind it.
        let behind = open(&dir).local().open(id("s1")).await?;
        stale.refresh().await?;
        chat.record("one more", [Markdown::new("ok")]).await?;
        let size = || std::fs::metadata(dir.path().join("sessions/local/s1.jsonl")).unwrap().len();
        let before = size();
        chat.compact().await?;
        assert!(size() * 2 < before, "{} of {before}", size());
        stale.set_transient("kept", Some(&1))?;
        stale.rename("after").await?;
        assert_eq!(stale.transient::<u8>("kept")?, Some(1));
        behind.refresh().await?;
        behind.load_earlier(100).await?;
        chat.refresh().await?;
        stale.load_earlier(100).await?;
        assert!(behind.model().turn(turn(3)).unwrap().response().feedback.is_some());
        assert!(behind.model() == chat.model());
        assert!(texts(&stale.model()) == texts(&chat.model()));
        Ok(())
    });
    let again = reopened(&dir, &chat);
    assert!(again.model() == chat.model());
    let thought = again.model().turn(turn(1)).unwrap().response().parts()[0].clone();
    assert_eq!(thought.downcast_ref::<Thinking>().unwrap().text.len(), 60);
    block(again.compact());
    block(block(again.ask("on")).complete());
}

#[test]
fn a_document_and_an_import_are_the_same_session() {
    let (dir, store, chat) = session();
    block(async {
        chat.rename("x").await?;
        for number in 0..40 {
            chat.record(format!("{number}"), [Markdown::new("ok")]).await?;
        }
        chat.switch_to(turn(20)).await?;
        let mut answer = chat.regenerate(turn(1)).await?;
        answer.append_text("1b").await?;
        answer.complete().await?;
        chat.switch_to(turn(30)).await?;
        let document = chat.to_document().await?;
        store.local().delete(id("s1")).await?;
        let taken = open(&dir).local().import_document(document.get().as_bytes()).await?;
        assert_eq!(taken.to_document().await?.get(), document.get());
        assert!(taken.model() == chat.model());
        Ok(())
    });
}

#[test]
fn a_log_is_compacted_though_each_of_its_windows_writes_little() {
    let storage = MemoryStorage::new();
    let mut payload = 0;
    for round in 0..40 {
        let another = storage.another_writer();
        let store = block(ChatStore::builder(another).flush_delay(Duration::ZERO).build());
        let me = store.local();
        let chat = match round {
            0 => block(me.create(NewSession::titled("x").id(id("s1")))),
            _ => block(me.open(id("s1"))),
        };
        let mut answer = block(chat.ask("Go on"));
        for _ in 0..200 {
            block(answer.append_text("a few words more "));
            block(store.flush());
        }
        block(answer.complete());
        payload += 200 * "a few words more ".len();
    }
    let key = SessionKey::new(OwnerId::local(), id("s1"));
    let head = block(storage.head(&key)).unwrap();
    assert!(head.base.get() > 0, "nothing was dropped of {} records", head.revision);
    let log = block(storage.read_after(&key, Revision::ZERO));
    let bytes: usize = log.records.iter().map(|record| record.body.bytes().len() + 150).sum();
    assert!(bytes < 2 * payload + (1 << 20), "{bytes} bytes for {payload} of text");
}
