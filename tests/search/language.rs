//! The language of queries: what is text, what is a filter, and what is said of a mistake.

use chatkeep::storage::{TextOrder, TextQuery};
use chatkeep::{
    ErrorKind, ListQuery, PassageRole, Query, ResponseState, SessionStatus, WorkspaceId,
};
use jiff::Timestamp;
use proptest::prelude::*;

fn parsed(text: &str) -> TextQuery {
    Query::parse(text).unwrap_or_else(|error| panic!("{error}")).into()
}

/// The words that must and that must not be there: tokens, and a star after a beginning.
fn words(query: &TextQuery) -> (Vec<String>, Vec<String>) {
    let shown = |term: &chatkeep::storage::Term| {
        term.tokens().join(" ") + if term.is_prefix() { "*" } else { "" }
    };
    (query.all.iter().map(shown).collect(), query.none.iter().map(shown).collect())
}

#[test]
fn an_unknown_filter_of_any_length_is_named_in_a_short_message() {
    let text = format!("{}:x", "long".repeat(1_000));
    let error = Query::parse(&text).unwrap_err().to_string();
    assert!(error.contains("there is no filter `longlong"), "{error}");
    assert!(error.chars().count() < 500, "{error}");
}

#[test]
fn words_phrases_prefixes_and_exclusions() {
    for (text, all, none) in [
        ("Parser lexer", &["parser", "lexer"][..], &[][..]),
        ("\"the Parser\"  x", &["the parser", "x"], &[]),
        ("pars* \"the pars\"*", &["pars*", "the pars*"], &[]),
        ("a -b -\"c d\" -e*", &["a"], &["b", "c d", "e*"]),
        ("\u{3000}世界\u{a0}naïve", &["世 界", "naive"], &[]),
        // Code is text.
        ("parse_config HashMap<String>", &["parse config", "hashmap string"], &[]),
        (
            "std::vec::Vec http://x.org/a?b=c 12:30",
            &["std vec vec", "http x org a b c", "12 30"],
            &[],
        ),
        ("Error: C:\\dir a_b: x2:y (k:v)", &["error", "c dir", "a b", "x2 y", "k v"], &[]),
        ("cargo --release ---x a-b", &["cargo", "release", "x", "a b"], &[]),
        ("state::Open tag::x in::y", &["state open", "tag x", "in y"], &[]),
        ("printf(\"hi\") **bold** a.b.* *x", &["printf hi", "bold", "a b", "x"], &[]),
        // What is quoted is text.
        (
            "\"role:user\" \"localhost:8080\" \"-x\" \"a*\"",
            &["role user", "localhost 8080", "x", "a"],
            &[],
        ),
        (r#""say \"hi\" C:\new \\""#, &["say hi c new"], &[]),
    ] {
        let query = parsed(text);
        assert_eq!(words(&query), (owned(all), owned(none)), "{text}");
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

#[test]
fn filters() {
    let query = parsed("x ROLE:Tool kind:acme.chart after:2026-07 before:2026-07-15");
    assert_eq!((query.role, query.kind.as_deref()), (Some(PassageRole::Tool), Some("acme.chart")));
    assert_eq!(query.from, at("2026-07-01T00:00:00Z"));
    assert_eq!(query.before, at("2026-07-15T00:00:00Z"));
    let query = parsed("x in:title after:2026 before:2026-07-15T12:00:00+02:00");
    assert_eq!(query.role, Some(PassageRole::Title));
    assert_eq!(query.from, at("2026-01-01T00:00:00Z"));
    assert_eq!(query.before, at("2026-07-15T10:00:00Z"));

    let query = parsed(
        "x workspace:a is:global status:archived status:Trashed is:pinned tag:\"needs review\" \
         tag:#1 agent:coder state:needs_input",
    );
    let sessions = ListQuery::new()
        .workspace(WorkspaceId::new("a").unwrap())
        .global()
        .status(SessionStatus::Archived)
        .status(SessionStatus::Trashed)
        .pinned(true)
        .tag("needs review")
        .tag("#1")
        .agent("coder")
        .state(ResponseState::NeedsInput);
    assert_eq!(query.sessions, sessions);
    assert_eq!(parsed("x is:unpinned").sessions.pinned, Some(false));
}

#[test]
fn both_the_text_and_the_host_restrict_the_sessions() {
    let id = |id| WorkspaceId::new(id).unwrap();
    let with = |text: &str, host: ListQuery| {
        TextQuery::from(Query::parse(text).unwrap().sessions(host)).sessions
    };
    let a_or_b = || ListQuery::new().workspace(id("a")).workspace(id("b"));
    assert_eq!(with("x", a_or_b()), a_or_b());
    assert_eq!(with("x workspace:b", a_or_b()), ListQuery::new().workspace(id("b")));
    let both = with("x tag:t", ListQuery::new().tag("u").title("y").agent("z"));
    assert_eq!(both, ListQuery::new().tag("t").tag("u").title("y").agent("z"));
    // What contradicts itself is never no condition.
    for (text, host) in [
        ("x workspace:c", a_or_b()),
        ("x is:global", a_or_b()),
        ("x status:trashed", ListQuery::new().status(SessionStatus::Active)),
        ("x state:failed", ListQuery::new().state(ResponseState::Complete)),
        ("x is:pinned", ListQuery::new().pinned(false)),
        ("x agent:a", ListQuery::new().agent("b")),
    ] {
        assert_eq!(with(text, host).created_before, Some(Timestamp::MIN), "{text}");
    }
}

#[test]
fn a_host_puts_a_query_together() -> chatkeep::Result<()> {
    let moment: Timestamp = "2026-07-15T12:00:00Z".parse().unwrap();
    let query = Query::text("the -parser")?
        .phrase("a: \"b\"")?
        .prefix("std::ve")?
        .without("c")?
        .role(PassageRole::Assistant)
        .kind("code")
        .after(moment)
        .before(Timestamp::from_second(0).unwrap())
        .order(TextOrder::Relevance)
        .limit(7);
    let text = TextQuery::from(query.clone());
    assert_eq!((text.order, text.limit), (TextOrder::Relevance, 7));
    insta::assert_snapshot!(query, @r#"the "-parser" "a: \"b\"" "std::ve"* -c role:assistant kind:code after:2026-07-15T12:00:00Z before:1970-01-01"#);
    assert_eq!(Query::text("-> &&").unwrap_err().kind(), ErrorKind::Invalid);
    let refused = [Query::text("x")?.phrase("?"), Query::text("x")?.without("")];
    assert!(refused.iter().all(Result::is_err));
    Ok(())
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    let far = format!("{} \"never closed {}", "word ".repeat(20), "and on ".repeat(20));
    let many = "w ".repeat(65);
    let mistakes = [
        "",
        " \t",
        "-lexer role:user",
        "sentinel \"the end",
        "sentinel -\"",
        "\"a\"b",
        "tag:\"a\"b x",
        "a && b",
        "a \"?!\" b",
        "a -> b",
        "a * b",
        "a -* b",
        "a - b",
        "sentinel rol:user",
        "sentinel -foo:\"x y\"",
        "localhost:8080",
        "a role:",
        "a tag:\"\"",
        "a role:model",
        "a in:body",
        "a is:open",
        "a status:done",
        "a state:done",
        "a before:2026-13",
        "a after:yesterday",
        "a after:26",
        "a before:2026-07-15T12:00:00",
        "a workspace:x/y",
        "a role:user role:tool",
        "a in:title Role:user",
        "a before:2026 before:2027",
        "a kind:code kind:text",
        "a agent:b agent:c",
        "a is:pinned is:unpinned",
        "a -tag:x",
        "世界 rol:x",
        "a\nb\u{1b}[2J \u{202e} rol:x",
        &far,
        &many,
    ];
    let mut said = String::new();
    for text in mistakes {
        let error = Query::parse(text).map(|query| query.to_string()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        said += &format!("{error}\n\n");
    }
    insta::assert_snapshot!(said, @r#"
invalid: there is nothing to find (byte 0, character 0)

invalid: there is nothing to find (byte 0, character 0)

invalid: a search needs a word that must be there
  -lexer role:user
  ^^^^^^^^^^^^^^^^ (byte 0, character 0)

invalid: the quote is not closed
  sentinel "the end
           ^^^^^^^^ (byte 9, character 9)

invalid: the quote is not closed
  sentinel -"
            ^ (byte 10, character 10)

invalid: a space must follow what is quoted
  "a"b
     ^ (byte 3, character 3)

invalid: a space must follow what is quoted
  tag:"a"b x
         ^ (byte 7, character 7)

invalid: there is no letter and no digit in it
  a && b
    ^^ (byte 2, character 2)

invalid: there is no letter and no digit in it
  a "?!" b
    ^^^^ (byte 2, character 2)

invalid: there is no letter and no digit in it
  a -> b
    ^^ (byte 2, character 2)

invalid: a star follows the beginning of a word, as in `pars*`
  a * b
    ^ (byte 2, character 2)

invalid: a star follows the beginning of a word, as in `pars*`
  a -* b
    ^^ (byte 2, character 2)

invalid: a minus stands directly before what must not be there, as in `-lexer`
  a - b
    ^ (byte 2, character 2)

invalid: there is no filter `rol`; there are after, agent, before, in, is, kind, role, state, status, tag, workspace. As text it must be quoted
  sentinel rol:user
           ^^^^ (byte 9, character 9)

invalid: there is no filter `foo`; there are after, agent, before, in, is, kind, role, state, status, tag, workspace. As text it must be quoted
  sentinel -foo:"x y"
           ^^^^^ (byte 9, character 9)

invalid: there is no filter `localhost`; there are after, agent, before, in, is, kind, role, state, status, tag, workspace. As text it must be quoted
  localhost:8080
  ^^^^^^^^^^ (byte 0, character 0)

invalid: `role:` needs a value directly after the colon. As text it must be quoted
  a role:
    ^^^^^ (byte 2, character 2)

invalid: `tag:` needs a value directly after the colon. As text it must be quoted
  a tag:""
    ^^^^ (byte 2, character 2)

invalid: `role:` can be user, assistant, tool, title
  a role:model
         ^^^^^ (byte 7, character 7)

invalid: `in:` can be title
  a in:body
       ^^^^ (byte 5, character 5)

invalid: `is:` can be pinned, unpinned, global
  a is:open
       ^^^^ (byte 5, character 5)

invalid: `status:` can be active, archived, trashed
  a status:done
           ^^^^ (byte 9, character 9)

invalid: `state:` can be pending, streaming, needs_input, complete, cancelled, failed, interrupted
  a state:done
          ^^^^ (byte 8, character 8)

invalid: `before:` takes a year, a month, a day or a moment, as in 2026, 2026-07, 2026-07-15 or 2026-07-15T12:00:00Z
  a before:2026-13
           ^^^^^^^ (byte 9, character 9)

invalid: `after:` takes a year, a month, a day or a moment, as in 2026, 2026-07, 2026-07-15 or 2026-07-15T12:00:00Z
  a after:yesterday
          ^^^^^^^^^ (byte 8, character 8)

invalid: `after:` takes a year, a month, a day or a moment, as in 2026, 2026-07, 2026-07-15 or 2026-07-15T12:00:00Z
  a after:26
          ^^ (byte 8, character 8)

invalid: `before:` takes a year, a month, a day or a moment, as in 2026, 2026-07, 2026-07-15 or 2026-07-15T12:00:00Z
  a before:2026-07-15T12:00:00
           ^^^^^^^^^^^^^^^^^^^ (byte 9, character 9)

invalid: the workspace id "x/y" contains '/'
  a workspace:x/y
              ^^^ (byte 12, character 12)

invalid: there is one `role:` or `in:` at most
  a role:user role:tool
              ^^^^^^^^^ (byte 12, character 12)

invalid: there is one `role:` or `in:` at most
  a in:title Role:user
             ^^^^^^^^^ (byte 11, character 11)

invalid: there is one `before:` at most
  a before:2026 before:2027
                ^^^^^^^^^^^ (byte 14, character 14)

invalid: there is one `kind:` at most
  a kind:code kind:text
              ^^^^^^^^^ (byte 12, character 12)

invalid: there is one `agent:` at most
  a agent:b agent:c
            ^^^^^^^ (byte 10, character 10)

invalid: there is one `is:pinned` or `is:unpinned` at most
  a is:pinned is:unpinned
              ^^^^^^^^^^^ (byte 12, character 12)

invalid: words can be excluded, filters cannot
  a -tag:x
    ^^^^^ (byte 2, character 2)

invalid: there is no filter `rol`; there are after, agent, before, in, is, kind, role, state, status, tag, workspace. As text it must be quoted
  世界 rol:x
  　　 ^^^^ (byte 7, character 3)

invalid: there is no letter and no digit in it
  a b�[2J � rol:x
          ^ (byte 8, character 8)

invalid: the quote is not closed
  …ord word word word word word word word  "never closed and on and on and on and on and on and on and on and on and on and…
                                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ (byte 101, character 101)

invalid: a search may have 64 words, these are more
  …w w w w w w w w w w w w w w w w w w w w w
                                           ^ (byte 128, character 128)
"#);
}

/// Texts of the pieces that the language is made of.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => prop::sample::select(vec![
            " ", " ", " ", "\"", "\\", "-", "*", ":", "a", "parser", "世", "é", "\t", "->", "",
            "role:", "user", "tag:", "before:", "2026", "-07", "T12:00:00Z", "is:pinned", "in:title",
            "workspace:", "status:", "active", "state:failed", "kind:code", "after:2026-07-15",
        ])
        .prop_map(str::to_owned),
        1 => "\\PC{0,3}",
        1 => any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_a_query_or_a_mistake_in_it(text in texts()) {
        match Query::parse(&text) {
            Ok(query) => {
                let again = Query::parse(query.to_string()).map_err(|e| e.to_string());
                prop_assert_eq!(again, Ok(query));
            }
            Err(error) => {
                let byte = error.context("byte").and_then(|byte| byte.parse::<usize>().ok());
                prop_assert!(byte.is_some_and(|byte| text.is_char_boundary(byte)), "{error}");
                prop_assert!(!error.to_string().chars().any(|c| c != '\n' && c.is_control()));
            }
        }
    }

    #[test]
    fn a_query_of_a_host_is_read_back(
        words in prop::collection::vec((any::<String>(), 0..3), 1..6),
        (kind, tag, agent) in (".{1,6}", "\\PC{1,6}", "[a-z:]{1,4}"),
        (from, before) in (-10_000_000_000..250_000_000_000_i64, 0..10_000_000_000_i64),
    ) {
        let mut query = Query::text("first").unwrap().kind(kind).role(PassageRole::User);
        for (text, how) in words {
            let next = match how {
                0 => query.clone().phrase(text),
                1 => query.clone().prefix(text),
                _ => query.clone().without(text),
            };
            query = next.unwrap_or(query);
        }
        query = query
            .after(Timestamp::from_second(from).unwrap())
            .before(Timestamp::from_second(before).unwrap());
        let text = format!("{query} tag:\"{}\" agent:\"{agent}\"", tag.replace(['"', '\\'], ""));
        if let Ok(parsed) = Query::parse(&text) {
            prop_assert_eq!(Query::parse(parsed.to_string()).unwrap(), parsed);
        }
        if TextQuery::from(query.clone()).check().is_ok() {
            prop_assert_eq!(Query::parse(query.to_string()).map_err(|e| e.to_string()), Ok(query));
        }
    }
}
