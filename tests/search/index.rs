//! What is searched: all that is said in a session, as it stands now.

use std::borrow::Cow;
use std::sync::Arc;

use chatkeep::model::{Attachment, Feedback, MessagePart, SessionChange, Variable, Vote};
use chatkeep::part::{Code, Horizontal, Markdown, Text, Thinking, ToolCall};
use chatkeep::{
    ChatStore, NewRequest, NewSession, OwnerId, Part, PartRegistry, RawJson, ResponsePart,
    ResponseState, TurnId,
};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::common::*;

#[derive(Debug, Serialize, Deserialize)]
struct Chart {
    title: String,
    series: Vec<u32>,
}

impl Part for Chart {
    const KIND: &'static str = "acme.chart";
    const VERSION: Version = Version::new(1, 0, 0);

    fn fallback(&self) -> Cow<'_, str> {
        format!("Chart: {}", self.title).into()
    }
}

fn json(json: &str) -> RawJson {
    RawJson::parse(json).unwrap()
}

fn call() -> ToolCall {
    ToolCall {
        title: Some("Running the tests".to_owned()),
        error: Some("exit status 101".to_owned()),
        ..ToolCall::new("c1", "shell")
            .arguments(json(r#"{"command":"cargo test\ncargo doc","dir":"caf\u00e9"}"#))
            .result(json(r#"["panicked at \"src\/lexer.rs\"",{"code":101.50}]"#))
    }
}

#[test]
fn all_that_a_turn_says_is_found() {
    each(|engine, one, _| {
        let me = one.local();
        let chat = create(&me, "s");
        let request = NewRequest::from("Why does it loop?")
            .part(MessagePart::Attachment(Attachment { name: "lexer.rs".into(), ..<_>::default() }))
            .part(MessagePart::Variable(Variable { name: "selection".into(), ..<_>::default() }));
        let mut answer = block(chat.ask(request));
        block(answer.append_thinking("perhaps the sentinel"));
        block(answer.append_text("Because of **EOF**."));
        block(answer.push(Code::new("rust", "while !eof() {}")));
        block(answer.push(call()));
        block(answer.push(Chart { title: "Umsätze".to_owned(), series: vec![1] }));
        let inner = ResponsePart::new(Text::new("side by side")).unwrap();
        block(answer.push(Horizontal::new([&inner]).unwrap()));
        block(answer.fail("the model is overloaded"));
        for (query, kind) in [
            ("\"does it loop\" role:user", "request"),
            ("lexer.rs kind:attachment", "attachment"),
            ("selection role:user", "variable"),
            ("sentinel role:assistant", "thinking"),
            ("eof kind:markdown", "markdown"),
            ("\"while eof\"", "code"),
            ("shell role:tool", "tool_call"),
            ("\"running the tests\"", "tool_call"),
            ("\"cargo test cargo doc\"", "tool_call"),
            ("cafe", "tool_call"),
            ("\"panicked at src/lexer.rs\"", "tool_call"),
            ("101.50", "tool_call"),
            ("\"exit status\"", "tool_call"),
            ("umsatze kind:acme.chart", "acme.chart"),
            ("\"side by side\"", "horizontal"),
            ("overloaded role:assistant", "error"),
        ] {
            let hits = search(&me, query).hits;
            let kinds: Vec<_> = hits.iter().map(|hit| (hit.turn.get(), &*hit.kind)).collect();
            assert_eq!(kinds, [(1, kind)], "{query} in {}", engine.name);
            assert!(!hits[0].snippet.highlights.is_empty(), "{query} in {}", engine.name);
        }
        // What is written in JSON is no word of it.
        assert_eq!(found(&me, "ncargo"), NONE);
        assert_eq!(found(&me, "s in:title"), ["s0"]);
        assert_eq!(found(&store_of(engine).owner(OwnerId::new("eve").unwrap()), "loop"), NONE);
    });
}

fn store_of(engine: &Engine) -> ChatStore {
    block(ChatStore::builder_on(Arc::clone(&engine.two)).build())
}

#[test]
fn a_part_that_this_process_does_not_know_is_found_by_its_fallback() {
    each(|engine, _, _| {
        let parts = PartRegistry::builtin().with::<Chart>().unwrap();
        let builder = ChatStore::builder_on(Arc::clone(&engine.one)).parts(parts);
        let builder = builder.clock(engine.clock.clone());
        let chat = create(&block(builder.build()).local(), "s");
        let mut answer = block(chat.ask("Draw it."));
        block(answer.push(Chart { title: "Sales".to_owned(), series: vec![1] }));
        block(answer.append_text("There."));
        block(chat.flush());
        // Whoever takes the answer over knows no charts.
        std::mem::forget(answer);
        drop(chat);
        engine.clock.advance(1_000);
        let other = engine.other().local();
        block(other.open(id("s")));
        assert_eq!(shown(&other, "sales"), ["s1 Chart: [Sales]"], "{}", engine.name);
    });
}

#[test]
fn a_title_is_found_as_it_is_now() {
    each(|_, one, _| {
        let me = one.local();
        let chat = create(&me, "old");
        assert_eq!(shown(&me, "old"), ["old0 [old]"]);
        block(chat.rename("new words"));
        assert_eq!(found(&me, "old"), NONE);
        assert_eq!(shown(&me, "words in:title"), ["old0 new [words]"]);
        // What else of the session changes takes nothing away.
        block(chat.pin(true));
        block(chat.tag(["t"]));
        block(chat.set_draft(None));
        assert_eq!(shown(&me, "words is:pinned tag:t"), ["old0 new [words]"]);
        block(chat.change([SessionChange::Title(None)]));
        assert_eq!(found(&me, "words"), NONE);
    });
}

#[test]
fn a_part_that_was_replaced_is_found_no_more() {
    each(|_, one, _| {
        let me = one.local();
        let chat = create(&me, "s");
        let mut answer = block(chat.ask("Run it."));
        let place = block(answer.push(Text::new("it is underway")));
        block(answer.needs_input());
        assert_eq!(found(&me, "underway"), ["s1"]);
        block(answer.replace(place, Text::new("it ended")));
        block(answer.complete());
        assert_eq!(found(&me, "underway"), NONE);
        assert_eq!(found(&me, "ended"), ["s1"]);
    });
}

#[test]
fn every_branch_is_found_and_can_be_opened() {
    each(|engine, one, two| {
        let me = one.local();
        let chat = create(&me, "s");
        let first = block(chat.record("Why does the parser loop?", [Markdown::new("Hm.")]));
        let mut edited = block(chat.edit(first, "Why does the lexer loop?"));
        block(edited.append_text("Sentinel."));
        block(edited.complete());
        let mut again = block(chat.regenerate(edited.turn()));
        block(again.append_text("End of file."));
        block(again.complete());
        assert_eq!(found(&me, "parser"), ["s1"], "{}", engine.name);
        assert_eq!(found(&me, "lexer"), ["s3", "s2"], "{}", engine.name);
        assert_eq!(found(&me, "sentinel"), ["s2"], "{}", engine.name);
        for n in 4..=123 {
            block(chat.record(format!("and {n}?"), [Markdown::new("no.")]));
        }

        let other = two.local();
        let chat = block(other.open(id("s")));
        let is_shown = |turn| chat.model().turns().any(|shown| shown.id() == turn);
        assert!(chat.model().turn(first).is_none());
        assert!(block(chat.load_to(TurnId::new(100))) && is_shown(TurnId::new(100)));
        assert!(chat.model().turn(first).is_none());
        assert!(!block(chat.load_to(first)));
        assert!(chat.model().turn(first).is_some() && !is_shown(first));
        block(chat.switch_to(first));
        assert!(block(chat.load_to(first)) && is_shown(first));
        assert!(!block(chat.load_to(TurnId::new(100))));
        assert!(block(chat.load_to(TurnId::SESSION)));
        for turn in [124, 1_000] {
            let error = pollster::block_on(chat.load_to(TurnId::new(turn))).unwrap_err();
            assert!(error.is_not_found());
        }
    });
}

#[test]
fn an_answer_is_found_when_it_ends_however_it_does() {
    each(|engine, one, _| {
        let me = one.local();
        let chat = create(&me, "s");
        for end in ["complete", "cancelled", "failed", "dropped"] {
            let mut answer = block(chat.ask(format!("ask {end}")));
            let turn = format!("s{}", answer.turn());
            assert_eq!(found(&me, &format!("ask {end}")), [&*turn]);
            block(answer.append_text(format!("word{end} ")));
            for n in 0..10 {
                block(answer.push(Text::new(format!("part{n}{end}"))));
            }
            block(answer.append_text(format!("last{end}")));
            match end {
                "complete" => block(answer.complete()),
                "cancelled" => block(answer.cancel()),
                "failed" => block(answer.fail("no")),
                _ => drop(answer),
            }
            // The writer has seen to what was dropped before this returns.
            block(chat.flush());
            for word in ["word", "part9", "last"] {
                let query = format!("{word}{end}");
                assert_eq!(found(&me, &query), [&*turn], "{query} in {}", engine.name);
            }
        }
    });
}

#[test]
fn an_answer_that_was_taken_over_is_found() {
    each(|engine, one, two| {
        let (me, they) = (one.local(), two.local());
        let chat = create(&me, "s");
        let mut answer = block(chat.ask("Why?"));
        let long = format!("[\"{} farend\"]", "x ".repeat(2_000));
        block(answer.push(ToolCall::new("c", "read").result(json(&long))));
        block(answer.append_text("the sentinel"));
        block(chat.flush());
        engine.clock.advance(1_000);
        let seen = block(they.open(id("s")));
        assert_eq!(seen.model().last_state(), Some(ResponseState::Interrupted));
        assert_eq!(found(&they, "sentinel"), ["s1"], "{}", engine.name);
        // It lies in a blob that they never looked at.
        assert_eq!(found(&they, "farend role:tool"), ["s1"], "{}", engine.name);
        drop(answer);
    });
}

#[test]
fn what_lies_in_a_blob_is_found_to_its_end() {
    each(|engine, one, two| {
        let me = one.local();
        let chat = create(&me, "s");
        let long = format!("{{\"lines\":\"{}\\nfarend\"}}", "line\\n".repeat(1_000));
        let call = ToolCall::new("c", "read").result(json(&long));
        block(chat.record("Read it.", [call]));
        assert_eq!(found(&me, "farend"), ["s1"], "{}", engine.name);
        // Opened again, changed, and moved to another store.
        let they = two.local();
        let seen = block(they.open(id("s")));
        block(seen.rename("t"));
        block(seen.record("And now?", [Markdown::new("Nothing.")]));
        assert_eq!(found(&they, "farend"), ["s1"], "{}", engine.name);
        let document = block(seen.to_document());
        block(they.delete(id("s")));
        assert_eq!(found(&they, "farend"), NONE, "{}", engine.name);
        block(they.import_document(document.get().as_bytes()));
        assert_eq!(found(&they, "farend"), ["s1"], "{}", engine.name);
        assert_eq!(found(&they, "nothing"), ["s2"], "{}", engine.name);
    });
}

#[test]
fn what_two_windows_write_is_found() {
    each(|engine, one, two| {
        let (me, they) = (one.local(), two.local());
        let mine = create(&me, "s");
        let theirs = block(they.open(id("s")));
        block(mine.record("first", [Markdown::new("parser")]));
        // Neither has read what the other one wrote.
        block(theirs.record("second", [Markdown::new("parser")]));
        block(mine.rename("parser"));
        block(theirs.record("third", [Markdown::new("parser")]));
        block(mine.record("fourth", [Markdown::new("parser")]));
        assert_eq!(found(&me, "parser"), ["s4", "s3", "s2", "s1", "s0"], "{}", engine.name);
        for (word, turn) in [("first", "s1"), ("second", "s2"), ("third", "s3")] {
            assert_eq!(found(&me, word), [turn], "{}", engine.name);
        }
    });
}

#[test]
fn an_import_is_found_whole_and_so_are_turns_that_are_not_loaded() {
    each(|engine, one, two| {
        let me = one.local();
        // More than one append.
        block(me.import(&long(250, 40_000)));
        let they = two.local();
        let chat = block(they.open(id("s")));
        let vote = Feedback { vote: Some(Vote::Up), ..Feedback::default() };
        block(chat.feedback(TurnId::new(3), Some(vote)));
        block(chat.record("more", [Markdown::new("and more")]));
        block(chat.compact());
        assert!(chat.model().turn(TurnId::new(3)).is_none());
        for turn in [1, 3, 100, 249, 250] {
            let query = format!("request{turn} answer{turn}");
            assert_eq!(found(&they, &query), [format!("s{turn}")], "{}", engine.name);
        }
        assert_eq!(found(&they, "more"), ["s251"], "{}", engine.name);
        let hits = search(&they, "request*");
        assert_eq!((hits.hits.len(), hits.next.is_some()), (50, true));
    });
}

#[test]
fn a_deleted_id_that_lives_again_is_found_as_it_is_now() {
    each(|engine, one, _| {
        let me = one.local();
        let chat = create(&me, "s");
        block(chat.record("the life before", [Markdown::new("gone")]));
        assert_eq!(found(&me, "gone"), ["s1"]);
        block(me.delete(id("s")));
        assert_eq!(found(&me, "gone"), NONE, "{}", engine.name);
        block(me.import(&long(1, 0)));
        assert_eq!(found(&me, "gone"), NONE, "{}", engine.name);
        assert_eq!(found(&me, "answer1"), ["s1"], "{}", engine.name);
    });
}

#[test]
fn a_long_request_is_found_to_its_end() {
    each(|engine, one, _| {
        let me = one.local();
        let chat = block(me.create(NewSession::new().id(id("s"))));
        let text = format!("{} farend", "word ".repeat(40_000));
        block(chat.record(text, [Thinking::new("ok")]));
        let shown = shown(&me, "farend");
        assert!(shown[0].starts_with("s1 …word word") && shown[0].ends_with("word [farend]"));
        assert_eq!(shown.len(), 1, "{}", engine.name);
    });
}
