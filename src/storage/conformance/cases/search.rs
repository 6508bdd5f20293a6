//! Full text and statistics, where an engine has them.

use crate::id::TurnId;
use crate::model::ResponseState;
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, ensure_eq, key, key_of, time, title,
};
use crate::storage::{
    Expected, FullText, Passage, PassageRole, SessionKey, StatisticsQuery, Term, TextQuery,
    TurnFacts, TurnText,
};

fn text_of(bench: &Bench) -> Result<&dyn FullText, Stop> {
    bench.storage.full_text().ok_or(Stop::Skipped("it has no full text"))
}

fn turn(number: u64, at: i64, passages: &[(PassageRole, &str, &str)]) -> TurnText {
    let passage = |(role, kind, text): &(PassageRole, &str, &str)| Passage {
        role: *role,
        kind: (*kind).to_owned(),
        text: (*text).to_owned(),
    };
    TurnText {
        turn: TurnId::new(number),
        at: time(at),
        passages: passages.iter().map(passage).collect(),
    }
}

async fn begin(bench: &Bench, key: &SessionKey, texts: Vec<TurnText>) -> Verdict {
    let mut batch = Draft::new(0).texts(1).head(title("t")).batch();
    batch.texts = texts;
    bench.storage.append(key, Expected::New, batch).await?;
    Ok(())
}

async fn two(bench: &Bench) -> Verdict {
    use PassageRole::{Assistant, Title, Tool, User};
    let first = vec![
        turn(0, 1, &[(Title, "title", "The Parser")]),
        turn(
            1,
            10,
            &[
                (User, "request", "Why does the parser fail?"),
                (Assistant, "markdown", "The *lexer* drops a token."),
                (Tool, "tool", "cargo test parser"),
            ],
        ),
        turn(2, 20, &[(User, "request", "thanks"), (Assistant, "code", "fn parse() {}")]),
    ];
    let second = vec![turn(1, 15, &[(User, "request", "ÜBER den Parser, bitte")])];
    begin(bench, &key("a")?, first).await?;
    begin(bench, &key("b")?, second).await?;
    begin(bench, &key_of("other", "a")?, vec![turn(1, 99, &[(User, "request", "parser")])]).await
}

fn word(text: &str) -> Term {
    Term::Word(text.to_owned())
}

fn all(terms: Vec<Term>) -> TextQuery {
    TextQuery { all: terms, ..TextQuery::default() }
}

async fn found(bench: &Bench, query: &TextQuery) -> Result<Vec<String>, Stop> {
    let hits = text_of(bench)?.search(&key("a")?.owner, query, None).await?;
    Ok(hits.page.items.iter().map(|hit| format!("{}{}", hit.key.id, hit.turn)).collect())
}

pub(in super::super) async fn finds_words(bench: &Bench) -> Verdict {
    text_of(bench)?;
    two(bench).await?;
    let phrase = |words: &[&str]| Term::Phrase(words.iter().map(|w| (*w).to_owned()).collect());
    let role = |role, term| TextQuery { role: Some(role), ..all(vec![term]) };
    let kind = |kind: &str, term| TextQuery { kind: Some(kind.to_owned()), ..all(vec![term]) };
    let parser = || all(vec![word("parser")]);
    let cases = [
        ("a word", parser(), vec!["b1", "a1", "a0"]),
        ("a word in capitals", all(vec![word("PARSER")]), vec!["b1", "a1", "a0"]),
        ("a word beyond ASCII", all(vec![word("über")]), vec!["b1"]),
        ("half a word", all(vec![word("pars")]), vec![]),
        ("a prefix", all(vec![Term::Prefix("pars".to_owned())]), vec!["a2", "b1", "a1", "a0"]),
        ("two words", all(vec![word("parser"), word("lexer")]), vec!["a1"]),
        ("a phrase", all(vec![phrase(&["parser", "fail"])]), vec!["a1"]),
        ("a phrase turned round", all(vec![phrase(&["fail", "parser"])]), vec![]),
        (
            "a word but not another",
            TextQuery { none: vec![word("lexer")], ..parser() },
            vec!["b1", "a0"],
        ),
        ("a role", role(PassageRole::Title, word("parser")), vec!["a0"]),
        ("a role without it", role(PassageRole::Assistant, word("parser")), vec![]),
        ("a kind", kind("tool", word("parser")), vec!["a1"]),
        ("from a time", TextQuery { from: Some(time(15)), ..parser() }, vec!["b1"]),
        ("before a time", TextQuery { before: Some(time(15)), ..parser() }, vec!["a1", "a0"]),
        ("what is not there", all(vec![word("absent")]), vec![]),
    ];
    for (what, query, expected) in cases {
        ensure_eq!(found(bench, &query).await?, expected, "the turns by {what}");
    }
    Ok(())
}

pub(in super::super) async fn pages_newest_first(bench: &Bench) -> Verdict {
    let text = text_of(bench)?;
    let turns = |offset: u64| {
        let one = move |n| turn(n, (n * 2 + offset) as i64, &[(PassageRole::User, "request", "x")]);
        (1..=11).map(one).collect()
    };
    begin(bench, &key("a")?, turns(0)).await?;
    begin(bench, &key("b")?, turns(1)).await?;
    let query = TextQuery { limit: 4, ..all(vec![word("x")]) };
    let (mut times, mut after) = (Vec::new(), None);
    loop {
        let page = text.search(&key("a")?.owner, &query, after).await?.page;
        times.extend(page.items.iter().map(|hit| hit.at));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let expected: Vec<_> = (2..=23).rev().map(time).collect();
    ensure_eq!(times, expected, "the times of all pages");
    Ok(())
}

pub(in super::super) async fn forgets_deleted_sessions(bench: &Bench) -> Verdict {
    text_of(bench)?;
    two(bench).await?;
    let mut batch = Draft::new(1).texts(1).batch();
    batch.texts = vec![turn(1, 15, &[(PassageRole::User, "request", "changed")])];
    let at = super::super::bench::at_revision(1);
    bench.storage.append(&key("b")?, at, batch).await?;
    let parser = all(vec![word("parser")]);
    ensure_eq!(found(bench, &parser).await?, ["a1", "a0"], "the turns after a change");
    bench.storage.purge(&key("a")?).await?;
    ensure_eq!(found(bench, &parser).await?, Vec::<String>::new(), "the turns after deletion");
    ensure_eq!(found(bench, &all(vec![word("changed")])).await?, ["b1"], "the changed turn");
    Ok(())
}

pub(in super::super) async fn counts_turns(bench: &Bench) -> Verdict {
    let Some(statistics) = bench.storage.statistics() else {
        return Err(Stop::Skipped("it has no statistics"));
    };
    let facts = |turn, state| TurnFacts {
        turn: TurnId::new(turn),
        at: time(turn as i64),
        state,
        model: None,
        input_tokens: 10,
        output_tokens: turn,
        duration_ms: None,
    };
    for id in ["a", "b"] {
        let mut batch = Draft::new(0).texts(1).head(title("t")).batch();
        batch.facts = vec![facts(1, ResponseState::Complete), facts(2, ResponseState::Failed)];
        bench.storage.append(&key(id)?, Expected::New, batch).await?;
    }
    let owner = key("a")?.owner;
    let all = statistics.totals(&owner, &StatisticsQuery::default()).await?;
    let sums = (all.sessions, all.turns, all.failed, all.input_tokens, all.output_tokens);
    ensure_eq!(sums, (2, 4, 2, 40, 6), "the sums");
    bench.storage.purge(&key("b")?).await?;
    let query = StatisticsQuery { from: Some(time(2)), ..StatisticsQuery::default() };
    let some = statistics.totals(&owner, &query).await?;
    ensure_eq!((some.sessions, some.turns, some.failed), (1, 1, 1), "the sums from a time");
    Ok(())
}
