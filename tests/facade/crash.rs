//! Processes that are killed in mid-stream.

use chatkeep::part::Code;
use chatkeep::{ChatStore, NewSession, ResponseState};

use crate::common::*;

/// Not a test by itself: streams one answer until it is killed.
#[test]
fn in_a_child() {
    if ROLE.as_deref() != Some("stream") {
        return;
    }
    let store = block(ChatStore::open(root()));
    let chat = block(store.local().open(id("s1")));
    let mut turn = chat.model().turn_count();
    loop {
        turn += 1;
        let mut answer = block(chat.ask(format!("question {turn}")));
        println!("\nasked {turn} {}", chat.revision());
        let mut length = 0;
        for piece in 0..200_u32 {
            let text = format!("piece {piece} of {turn}; ");
            block(answer.append_text(&text));
            length += text.len();
            if piece % 7 == 3 {
                block(chat.flush());
                println!("\nflushed {turn} {length}");
            }
            if piece % 50 == 49 {
                block(answer.push(Code::new("rust", text)));
                println!("\npushed {turn} {}", piece / 50 + 1);
            }
        }
        block(answer.complete());
        println!("\ncompleted {turn} {}", chat.revision());
    }
}

fn numbers<'a>(lines: &'a [String], word: &str) -> Vec<(u64, u64)> {
    let parse = |line: &'a String| {
        let mut numbers = line.strip_prefix(word)?.trim().split(' ').map(|n| n.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    lines.iter().filter_map(parse).collect()
}

fn markdown(response: &chatkeep::model::ChatResponse) -> usize {
    let text = |part: &chatkeep::ResponsePart| match part.kind() {
        "markdown" => part.fallback().len(),
        _ => 0,
    };
    response.parts().iter().map(text).sum()
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_and_the_chat_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    block(async {
        let store = ChatStore::open(dir.path()).await?;
        store.local().create(NewSession::new().id(id("s1"))).await
    });
    for round in 0..20_u64 {
        let mut child = Other::start("crash::in_a_child", "stream", dir.path());
        let mut lines = vec![format!("asked {}", child.line("asked"))];
        for _ in 0..(round * 13) % 61 {
            lines.push(child.lines.next().unwrap().unwrap());
        }
        lines.extend(child.kill());

        let store = block(ChatStore::open(dir.path()));
        let chat = block(store.local().open(id("s1")));
        assert_eq!(chat.failure(), None);
        assert!(chat.damage().is_empty());
        let model = chat.model();
        let turn = |number: u64| model.turn(chatkeep::TurnId::new(number)).unwrap().response();
        for (number, revision) in numbers(&lines, "asked") {
            assert!(chat.revision().get() >= revision);
            assert!(turn(number).state.is_final());
        }
        for (number, length) in numbers(&lines, "flushed") {
            assert!(markdown(turn(number)) as u64 >= length, "round {round}, turn {number}");
        }
        for (number, count) in numbers(&lines, "pushed") {
            let codes = turn(number).parts().iter().filter(|part| part.kind() == "code");
            assert!(codes.count() as u64 >= count, "round {round}, turn {number}");
        }
        let completed = numbers(&lines, "completed");
        for (number, revision) in &completed {
            assert!(chat.revision().get() >= *revision);
            assert_eq!(turn(*number).state, ResponseState::Complete);
        }
        let last = numbers(&lines, "asked").last().unwrap().0;
        if model.turn_count() == last && completed.last().is_none_or(|(number, _)| *number < last) {
            let ends = [ResponseState::Interrupted, ResponseState::Complete];
            assert!(ends.contains(&turn(last).state));
        }
        block(async {
            let mut answer = chat.ask("and now?").await?;
            answer.append_text("on").await?;
            answer.complete().await
        });
        let again = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
        block(again.load_earlier(1_000));
        block(chat.load_earlier(1_000));
        assert!(again.model() == chat.model(), "round {round}: reading again differs");
    }
}
