//! Random histories: what two handles did is what is read when the session is opened again.

use std::sync::Arc;

use chatkeep::model::{Draft, Feedback, Vote};
use chatkeep::part::{Code, Markdown};
use chatkeep::{
    Answer, ChatModel, ChatSession, ChatStore, ErrorKind, FileStorage, MemoryStorage, NewSession,
    Result, Storage, TurnId,
};
use proptest::prelude::*;

use crate::common::*;

#[derive(Debug, Clone)]
enum Step {
    Ask,
    Text(String),
    Push(String),
    Replace(usize),
    Wait,
    Complete,
    Fail,
    Drop,
    Record(String),
    Edit(u64),
    Regenerate(u64),
    Switch(u64),
    Rename(String),
    Tag(Vec<String>),
    Draft(Option<String>),
    Preference(u8, Option<i64>),
    Feedback(u64, bool),
    Transient(i64),
    Compact,
    Flush,
    Reopen,
}

fn step() -> impl Strategy<Value = (usize, Step)> {
    let turn = 1..12_u64;
    let text = "[a-zé \n\"]{0,20}";
    let step = prop_oneof![
        3 => Just(Step::Ask),
        4 => text.prop_map(Step::Text),
        2 => text.prop_map(Step::Push),
        1 => (0..4_usize).prop_map(Step::Replace),
        1 => Just(Step::Wait),
        2 => Just(Step::Complete),
        1 => Just(Step::Fail),
        1 => Just(Step::Drop),
        2 => text.prop_map(Step::Record),
        1 => turn.clone().prop_map(Step::Edit),
        1 => turn.clone().prop_map(Step::Regenerate),
        1 => turn.clone().prop_map(Step::Switch),
        1 => text.prop_map(Step::Rename),
        1 => prop::collection::vec("[a-c]", 0..3).prop_map(Step::Tag),
        1 => prop::option::of(text).prop_map(Step::Draft),
        1 => (0..3_u8, prop::option::of(any::<i64>())).prop_map(|(n, v)| Step::Preference(n, v)),
        1 => (turn, any::<bool>()).prop_map(|(t, up)| Step::Feedback(t, up)),
        1 => any::<i64>().prop_map(Step::Transient),
        1 => Just(Step::Compact),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ];
    (0..2_usize, step)
}

/// One window: its store, its handle, and the answer that comes in there.
struct Window {
    store: ChatStore,
    chat: ChatSession,
    answer: Option<Answer>,
}

impl Window {
    async fn open(storage: &Arc<dyn Storage>) -> Result<Self> {
        let builder = ChatStore::builder_on(Arc::clone(storage)).first_turns(2);
        // Nothing happens but by a step.
        let builder = builder.flush_delay(std::time::Duration::from_secs(3_600));
        let store = builder.blob_threshold(16).build().await?;
        let chat = store.local().open(id("s1")).await?;
        Ok(Self { store, chat, answer: None })
    }

    async fn take(&mut self, step: Step) -> Result<()> {
        let (chat, id) = (&self.chat, TurnId::new);
        match (step, &mut self.answer) {
            (Step::Ask, _) => self.answer = Some(chat.ask("question").await?),
            (Step::Text(text), Some(answer)) => answer.append_text(text).await?,
            (Step::Push(text), Some(answer)) => drop(answer.push(Code::new("x", text)).await?),
            (Step::Replace(at), Some(answer)) => answer.replace(at, Markdown::new("new")).await?,
            (Step::Wait, Some(answer)) => answer.needs_input().await?,
            (Step::Complete, Some(answer)) => answer.complete().await?,
            (Step::Fail, Some(answer)) => answer.fail("broken").await?,
            (Step::Drop, answer) => {
                drop(answer.take());
                // Its end is written by the time the next step comes.
                chat.flush().await?;
            }
            (Step::Record(text), _) => drop(chat.record(text, [Markdown::new("ok")]).await?),
            (Step::Edit(turn), _) => self.answer = Some(chat.edit(id(turn), "edited").await?),
            (Step::Regenerate(turn), _) => self.answer = Some(chat.regenerate(id(turn)).await?),
            (Step::Switch(turn), _) => chat.switch_to(id(turn)).await?,
            (Step::Rename(text), _) => chat.rename(text).await?,
            (Step::Tag(tags), _) => chat.tag(tags).await?,
            (Step::Draft(text), _) => {
                let draft = text.map(|text| Draft { text, ..Draft::default() });
                chat.set_draft(draft).await?;
            }
            (Step::Preference(name, value), _) => {
                chat.set_preference(&name.to_string(), value.as_ref()).await?;
            }
            (Step::Feedback(turn, up), _) => {
                let vote = if up { Vote::Up } else { Vote::Down };
                chat.feedback(id(turn), Some(Feedback::vote(vote))).await?;
            }
            (Step::Transient(value), _) => chat.set_transient("t", Some(&value))?,
            (Step::Compact, _) => chat.compact().await?,
            (Step::Flush, _) => chat.flush().await?,
            _ => {}
        }
        Ok(())
    }
}

/// The whole session as a handle has it, without what is never written.
async fn whole(chat: &ChatSession) -> Result<ChatModel> {
    chat.set_transient::<i64>("t", None)?;
    chat.flush().await?;
    chat.refresh().await?;
    chat.load_earlier(1_000).await?;
    // Turns of other branches as well.
    chat.to_document().await?;
    Ok(chat.model())
}

async fn run(storages: [Arc<dyn Storage>; 2], steps: Vec<(usize, Step)>) -> Result<()> {
    let store = ChatStore::builder_on(Arc::clone(&storages[0])).build().await?;
    store.local().create(NewSession::new().id(id("s1"))).await?;
    drop(store);
    let mut windows = [Window::open(&storages[0]).await?, Window::open(&storages[1]).await?];
    for (at, step) in steps {
        let window = &mut windows[at];
        if matches!(step, Step::Reopen) {
            drop(window.answer.take());
            window.store.flush().await?;
            let before = whole(&window.chat).await?;
            *window = Window::open(&storages[at]).await?;
            assert!(whole(&window.chat).await? == before, "reading again differs");
            continue;
        }
        match window.take(step.clone()).await {
            Ok(()) => {}
            // What a host may be told here: another's answer comes in, no such turn or part, ended.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Busy | ErrorKind::NotFound | ErrorKind::Invalid
                ) => {}
            Err(error) => panic!("{step:?}: {error}"),
        }
    }
    for window in &mut windows {
        drop(window.answer.take());
        window.store.flush().await?;
    }
    let [one, two] = [whole(&windows[0].chat).await?, whole(&windows[1].chat).await?];
    let one = if one == two { one } else { whole(&windows[0].chat).await? };
    assert!(one == two, "two windows differ");
    drop(windows);
    let again = Window::open(&storages[0]).await?;
    assert!(whole(&again.chat).await? == one, "reading again differs");
    assert_eq!(again.chat.failure(), None);
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn in_memory(steps in prop::collection::vec(step(), 1..60)) {
        let memory = MemoryStorage::new();
        let other = memory.another_writer();
        block(run([Arc::new(memory), Arc::new(other)], steps));
    }
}

proptest! {
    #![proptest_config(config(40))]

    #[test]
    fn in_files(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let open = || Arc::new(block(FileStorage::open(dir.path())));
        block(run([open(), open()], steps));
    }
}

/// What a reader of a branch that grows, and gives way to others, does to it.
#[derive(Debug, Clone)]
enum Move {
    Record,
    Edit(u64),
    Switch(u64),
    Earlier(u64),
    Reopen,
}

fn movement() -> impl Strategy<Value = Move> {
    prop_oneof![
        2 => Just(Move::Record),
        2 => (1..60_u64).prop_map(Move::Edit),
        3 => (1..60_u64).prop_map(Move::Switch),
        6 => prop_oneof![1..8_u64, Just(u64::MAX)].prop_map(Move::Earlier),
        3 => Just(Move::Reopen),
    ]
}

async fn walk(moves: Vec<Move>) -> Result<()> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let store = ChatStore::builder_on(Arc::clone(&storage)).build().await?;
    store.local().create(NewSession::new().id(id("s1"))).await?;
    drop(store);
    let mut window = Window::open(&storage).await?;
    for number in 0..40 {
        window.chat.record(format!("{number}"), [Markdown::new("ok")]).await?;
    }
    for step in moves {
        let chat = &window.chat;
        let turn = |number: u64| TurnId::new(1 + number % chat.model().turn_count());
        match step {
            Move::Record => drop(chat.record("more", [Markdown::new("ok")]).await?),
            Move::Edit(number) => chat.edit(turn(number), "edited").await?.complete().await?,
            Move::Switch(number) => chat.switch_to(turn(number)).await?,
            Move::Earlier(turns) => {
                let before = chat.model().turns().len() as u64;
                let loaded = chat.load_earlier(turns).await?;
                let model = chat.model();
                assert_eq!(model.turns().len() as u64 - before, loaded);
                assert!(loaded >= turns || !model.has_earlier());
            }
            Move::Reopen => window = Window::open(&storage).await?,
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn as_many_turns_are_loaded_as_is_said(moves in prop::collection::vec(movement(), 1..40)) {
        block(walk(moves));
    }
}
