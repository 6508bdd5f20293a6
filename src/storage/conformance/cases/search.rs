//! Full text and statistics, where an engine has them.

use crate::error::ErrorKind;
use crate::id::{TurnId, WorkspaceId};
use crate::model::{ResponseState, SessionStatus};
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, ensure_eq, key, key_of, time, title,
};
use crate::storage::{
    Cursor, Expected, FullText, ListQuery, Page, Passage, PassageRole, SessionKey, StatisticsQuery,
    Term, TextHit, TextOrder, TextQuery, TurnFacts, TurnText,
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

fn word(text: &str) -> Result<Term, Stop> {
    Ok(Term::new(text)?)
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
    let role = |role, term| TextQuery { role: Some(role), ..all(vec![term]) };
    let kind = |kind: &str, term| TextQuery { kind: Some(kind.to_owned()), ..all(vec![term]) };
    let parser = all(vec![word("parser")?]);
    let cases = [
        ("a word", parser.clone(), vec!["b1", "a1", "a0"]),
        ("a word in capitals", all(vec![word("PARSER")?]), vec!["b1", "a1", "a0"]),
        ("a word with an accent", all(vec![word("über")?]), vec!["b1"]),
        ("a word without its accent", all(vec![word("uber")?]), vec!["b1"]),
        ("half a word", all(vec![word("pars")?]), vec![]),
        ("a prefix", all(vec![Term::prefix("pars")?]), vec!["a2", "b1", "a1", "a0"]),
        ("two words", all(vec![word("parser")?, word("lexer")?]), vec!["a1"]),
        ("a phrase", all(vec![word("parser fail")?]), vec!["a1"]),
        ("a phrase turned round", all(vec![word("fail parser")?]), vec![]),
        (
            "a word but not another",
            TextQuery { none: vec![word("lexer")?], ..parser.clone() },
            vec!["b1", "a0"],
        ),
        ("a role", role(PassageRole::Title, word("parser")?), vec!["a0"]),
        ("a role without it", role(PassageRole::Assistant, word("parser")?), vec![]),
        ("a kind", kind("tool", word("parser")?), vec!["a1"]),
        ("a kind without it", kind("markdown", word("parser")?), vec![]),
        ("a kind that is nowhere", kind("table", word("parser")?), vec![]),
        ("a phrase across passages", all(vec![word("fail the lexer")?]), vec![]),
        ("from a time", TextQuery { from: Some(time(15)), ..parser.clone() }, vec!["b1"]),
        ("before a time", TextQuery { before: Some(time(15)), ..parser.clone() }, vec!["a1", "a0"]),
        ("what is not there", all(vec![word("absent")?]), vec![]),
    ];
    for (what, query, expected) in cases {
        ensure_eq!(found(bench, &query).await?, expected, "the turns by {what}");
    }
    Ok(())
}

pub(in super::super) async fn finds_every_script(bench: &Bench) -> Verdict {
    text_of(bench)?;
    let texts = [
        "fn parse_config(map: HashMap<String, Vec<u8>>)",
        "你好，世界。再见",
        "naïve Straße, déjà vu",
        "日本語のテキスト",
        "ภาษาไทย",
        "ΟΔΥΣΣΕΎΣ и Ёлка",
    ];
    let turns = (1..)
        .zip(texts)
        .map(|(number, text)| turn(number, number as i64, &[(PassageRole::User, "request", text)]));
    begin(bench, &key("a")?, turns.collect()).await?;
    let cases = [
        ("parse_config", "a1"),
        ("hashmap<string", "a1"),
        ("config", "a1"),
        ("世界", "a2"),
        ("界", "a2"),
        ("NAIVE", "a3"),
        ("strasse", "a3"),
        ("deja\u{301} vu", "a3"),
        ("テキスト", "a4"),
        ("本語", "a4"),
        ("ไทย", "a5"),
        ("οδυσσευς", "a6"),
        ("елка", "a6"),
    ];
    for (text, expected) in cases {
        ensure_eq!(found(bench, &all(vec![word(text)?])).await?, [expected], "the turns by {text}");
    }
    for text in ["界世", "parseconfig", "onfig"] {
        let none: [&str; 0] = [];
        ensure_eq!(found(bench, &all(vec![word(text)?])).await?, none, "the turns by {text}");
    }
    Ok(())
}

pub(in super::super) async fn is_restricted_by_list_filters(bench: &Bench) -> Verdict {
    text_of(bench)?;
    for (number, workspace, pinned) in [(1, "x", false), (2, "y", true), (3, "x", true)] {
        let mut head = title(&format!("t{number}"));
        (head.workspace, head.pinned) = (Some(WorkspaceId::new(workspace)?), pinned);
        let mut batch = Draft::new(0).texts(1).head(head).batch();
        batch.texts = vec![turn(1, number, &[(PassageRole::User, "request", "parser")])];
        bench.storage.append(&key(&format!("s{number}"))?, Expected::New, batch).await?;
    }
    let parser = all(vec![word("parser")?]);
    let of = |sessions| TextQuery { sessions, ..parser.clone() };
    let workspace = WorkspaceId::new("x")?;
    let x = || ListQuery::new().workspace(&workspace);
    let cases = [
        (ListQuery::new(), vec!["s31", "s21", "s11"]),
        (x(), vec!["s31", "s11"]),
        (x().pinned(true), vec!["s31"]),
        (ListQuery::new().title("t2"), vec!["s21"]),
        (ListQuery::new().status(SessionStatus::Trashed), vec![]),
    ];
    for (query, expected) in cases {
        ensure_eq!(found(bench, &of(query.clone())).await?, expected, "of {query:?}");
    }
    Ok(())
}

pub(in super::super) async fn ranks_by_relevance(bench: &Bench) -> Verdict {
    let text = text_of(bench)?;
    let user = PassageRole::User;
    let padding = "and so on ".repeat(30);
    let texts = vec![
        turn(1, 1, &[(user, "request", "the parser, a parser, one parser")]),
        turn(2, 2, &[(user, "request", &format!("a parser {padding}"))]),
        turn(3, 3, &[(user, "request", &format!("parser, parser {padding}"))]),
        turn(4, 4, &[(user, "request", &padding)]),
    ];
    begin(bench, &key("a")?, texts).await?;
    let ranked = TextQuery { order: TextOrder::Relevance, limit: 2, ..all(vec![word("parser")?]) };
    let owner = key("a")?.owner;
    let first = text.search(&owner, &ranked, None).await?.page;
    let turns = |page: &Page<TextHit>| page.items.iter().map(|h| h.turn.get()).collect::<Vec<_>>();
    ensure_eq!(turns(&first), [1, 3], "the two best");
    let rest = text.search(&owner, &ranked, first.next).await?.page;
    ensure_eq!((turns(&rest), rest.next), (vec![2], None), "the rest");
    Ok(())
}

pub(in super::super) async fn gives_the_text_back(bench: &Bench) -> Verdict {
    let text = text_of(bench)?;
    let given = turn(
        1,
        7,
        &[
            (PassageRole::User, "request", "Why \u{0} does it\n\nFAIL?"),
            (PassageRole::Assistant, "acme.chart", ""),
            (PassageRole::Tool, "tool", "{\"é\": \"世界\"}"),
        ],
    );
    begin(bench, &key("a")?, vec![given.clone()]).await?;
    let hits = text.search(&key("a")?.owner, &all(vec![word("fail")?]), None).await?;
    ensure_eq!(hits.partial, None, "what is missing from the index");
    let hit =
        hits.page.items.into_iter().next().ok_or(Stop::Failed("nothing is found".to_owned()))?;
    ensure_eq!((hit.at, hit.passages), (given.at, given.passages), "the turn's text");
    Ok(())
}

pub(in super::super) async fn bad_questions_are_refused(bench: &Bench) -> Verdict {
    let text = text_of(bench)?;
    two(bench).await?;
    let owner = key("a")?.owner;
    let many = (0..65).map(|n| word(&format!("w{n}"))).collect::<Result<_, _>>()?;
    let too_large = TextQuery { limit: 1_001, ..all(vec![word("parser")?]) };
    for query in [all(Vec::new()), all(many), too_large] {
        let refused = text.search(&owner, &query, None).await.map_err(|error| error.kind());
        ensure_eq!(refused, Err(ErrorKind::Invalid), "of {query:?}");
    }
    let paged = |word| TextQuery { limit: 1, ..all(vec![word]) };
    let next = text.search(&owner, &paged(word("parser")?), None).await?.page.next;
    for cursor in [next, Some(Cursor("nonsense".to_owned()))] {
        let refused = text.search(&owner, &paged(word("the")?), cursor).await.map_err(|e| e.kind());
        ensure_eq!(refused, Err(ErrorKind::Invalid), "a cursor of another search");
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
    let query = TextQuery { limit: 4, ..all(vec![word("x")?]) };
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
    let parser = all(vec![word("parser")?]);
    ensure_eq!(found(bench, &parser).await?, ["a1", "a0"], "the turns after a change");
    bench.storage.purge(&key("a")?).await?;
    ensure_eq!(found(bench, &parser).await?, Vec::<String>::new(), "the turns after deletion");
    ensure_eq!(found(bench, &all(vec![word("changed")?])).await?, ["b1"], "the changed turn");
    Ok(())
}

pub(in super::super) async fn looks_only_where_asked(bench: &Bench) -> Verdict {
    text_of(bench)?;
    two(bench).await?;
    let with_parser = all(vec![word("parser")?]);
    let parser = |none| TextQuery { none: vec![none], ..with_parser.clone() };
    let user = |query| TextQuery { role: Some(PassageRole::User), ..query };
    let request = |query| TextQuery { kind: Some("request".to_owned()), ..query };
    let cases = [
        ("a word that another role says", user(parser(word("lexer")?)), vec!["b1", "a1"]),
        ("a word that another kind says", request(parser(word("cargo")?)), vec!["b1", "a1"]),
        ("a word that the role says", user(parser(word("fail")?)), vec!["b1"]),
        ("without a phrase", parser(word("drops a token")?), vec!["b1", "a0"]),
        (
            "without a phrase that is not there",
            parser(word("a token drops")?),
            vec!["b1", "a1", "a0"],
        ),
        ("without a prefix", parser(Term::prefix("lex")?), vec!["b1", "a0"]),
        ("the beginning of a phrase", all(vec![Term::prefix("the pars fa")?]), vec![]),
        ("a phrase with a beginning", all(vec![Term::prefix("the parser fa")?]), vec!["a1"]),
    ];
    for (what, query, expected) in cases {
        ensure_eq!(found(bench, &query).await?, expected, "the turns by {what}");
    }
    Ok(())
}

pub(in super::super) async fn forgets_what_was_replaced(bench: &Bench) -> Verdict {
    text_of(bench)?;
    let user = PassageRole::User;
    let texts = vec![
        turn(0, 1, &[(PassageRole::Title, "title", "old title")]),
        turn(1, 2, &[(user, "request", "old words")]),
        turn(2, 3, &[(user, "request", "old words")]),
    ];
    begin(bench, &key("a")?, texts).await?;
    ensure_eq!(found(bench, &all(vec![word("old")?])).await?, ["a2", "a1", "a0"], "the turns");
    let mut batch = Draft::new(1).texts(1).batch();
    // The title changes, one turn is said otherwise, and another one says nothing any more.
    batch.texts = vec![
        turn(0, 1, &[(PassageRole::Title, "title", "new title")]),
        turn(1, 2, &[(user, "request", "new words"), (PassageRole::Tool, "tool", "new words")]),
        turn(2, 3, &[]),
    ];
    bench.storage.append(&key("a")?, super::super::bench::at_revision(1), batch).await?;
    let none: [&str; 0] = [];
    ensure_eq!(found(bench, &all(vec![word("old")?])).await?, none, "what was replaced");
    ensure_eq!(found(bench, &all(vec![word("new")?])).await?, ["a1", "a0"], "what replaced it");

    bench.storage.purge(&key("a")?).await?;
    let mut batch = Draft::new(0).texts(1).head(title("t")).batch();
    batch.texts = vec![turn(1, 9, &[(user, "request", "another life")])];
    bench.storage.append(&key("a")?, Expected::NewIncarnation, batch).await?;
    ensure_eq!(found(bench, &all(vec![word("new")?])).await?, none, "the life before");
    ensure_eq!(found(bench, &all(vec![word("life")?])).await?, ["a1"], "the new life");
    Ok(())
}

pub(in super::super) async fn outlives_compaction(bench: &Bench) -> Verdict {
    text_of(bench)?;
    two(bench).await?;
    let head = bench.add(&key("a")?, &["text", "text"]).await?;
    let kept = bench.log(&key("a")?).await?.into_iter().take(1).collect();
    bench.storage.compact(&key("a")?, head.revision, kept, &head).await?;
    let found = found(bench, &all(vec![word("parser")?])).await?;
    ensure_eq!(found, ["b1", "a1", "a0"], "the turns after compaction");
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
