//! Which piece of a turn is shown and what in it is marked, and what is kept between searches.

use std::sync::Arc;

use proptest::prelude::*;

use super::snippet::{Snippet, best};
use super::{Query, TextCache};
use crate::storage::text::tokens;
use crate::storage::{
    Head, HeadFields, Incarnation, Page, Passage, PassageRole, Revision, SessionKey, TextHit,
    TextHits, TextQuery, TurnText, VersionToken,
};
use crate::{ChatStore, MemoryStorage, NewSession, OwnerId, SessionId, TurnId};

fn passage(role: PassageRole, kind: &str, text: &str) -> Passage {
    Passage { role, kind: kind.to_owned(), text: text.to_owned() }
}

fn query(text: &str) -> TextQuery {
    Query::parse(text).unwrap().into()
}

fn snippet(query: &str, text: &str) -> Snippet {
    best(&[passage(PassageRole::User, "request", text)], &self::query(query)).unwrap().2
}

fn marked(query: &str, text: &str) -> String {
    snippet(query, text).marked("[", "]")
}

#[test]
fn what_was_searched_for_is_marked() {
    for (query, text, expected) in [
        ("sentinel", "The sentinel, the Sentinel.", "The [sentinel], the [Sentinel]."),
        ("pars*", "a parser parses", "a [parser] [parses]"),
        (
            "\"the lexer\"",
            "the end of the  lexer: the\nlexer",
            "the end of [the lexer]: [the lexer]",
        ),
        ("\"the lex\"*", "The   lexer", "[The lexer]"),
        ("parse_config", "fn parse_config(x)", "fn [parse_config](x)"),
        ("hashmap<string>", "let m: HashMap<String, u8>;", "let m: [HashMap<String], u8>;"),
        ("世界", "你好，世界。", "你好，[世界]。"),
        ("好 世", "你好世界", "你[好世]界"),
        ("ngrossen", "größe, \u{dc}bergr\u{f6}\u{df}en", "größe, \u{dc}bergr\u{f6}\u{df}en"),
        ("naive", "so nai\u{308}ve!", "so [nai\u{308}ve]!"),
        ("strasse", "Straße", "[Straße]"),
        ("a b", "b a c", "[b] [a] c"),
        ("ab -c", "ab", "[ab]"),
    ] {
        assert_eq!(marked(query, text), expected, "{query} in {text}");
    }
}

#[test]
fn the_piece_around_the_words_is_shown() {
    let far =
        |words: &str| format!("{}{words}{}", "before it. ".repeat(40), " after it.".repeat(40));
    insta::assert_snapshot!(marked("sentinel", &far("The sentinel is reached.")), @"…it. before it. before it. before it. before it. before it. before it. The [sentinel] is reached. after it. after it. after it. after it. after it. after it.…");
    insta::assert_snapshot!(marked("sentinel", &format!("The sentinel{}", " is here".repeat(40))), @"The [sentinel] is here is here is here is here is here is here is here is here is here is here is here is here is here is here is here is here is here is here is…");
    insta::assert_snapshot!(marked("sentinel", &format!("{}the sentinel", "it is ".repeat(40))), @"…is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is it is the [sentinel]");
    // One word here, both there: both are shown.
    let text = format!("parser {} a lexer, a parser {}", "x ".repeat(200), "y ".repeat(200));
    insta::assert_snapshot!(marked("parser lexer", &text), @"…x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x x a [lexer], a [parser] y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y y…");
    // No spaces to cut at.
    let text = format!("{}世界{}", "汉字".repeat(100), "文本".repeat(100));
    insta::assert_snapshot!(marked("世界", &text), @"…字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字汉字[世界]文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文本文…");
    let text = format!("http://example.org/{}/sentinel/{}", "path/".repeat(60), "a-b".repeat(60));
    insta::assert_snapshot!(marked("sentinel", &text), @"…path/path/path/path/path/path/path/path/path/path/path/path/path/path/path//[sentinel]/a-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-ba-…");
    insta::assert_snapshot!(marked("aaaa*", &format!("so: {}", "a".repeat(500))), @"…[aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]…");
}

#[test]
fn a_phrase_that_is_cut_at_a_space_is_marked() {
    // The 160th character is a space.
    let phrase = format!("{}then", "xyz ".repeat(40));
    let expected = format!("[{}xyz]…", "xyz ".repeat(39));
    assert_eq!(marked(&format!("\"{phrase}\""), &phrase), expected);
    // What is shown before the words begins at a space.
    let phrase = format!("{}xy", "xy ".repeat(51));
    let text = format!("{phrase} sentinel sentinel");
    let expected = format!("…[{}xy] [sentinel] [sentinel]", "xy ".repeat(46));
    assert_eq!(marked(&format!("\"{phrase}\" sentinel"), &text), expected);
}

#[test]
fn the_passage_that_says_most_is_shown() {
    use PassageRole::{Assistant, Tool, User};
    let passages = [
        passage(User, "request", "the parser"),
        passage(Assistant, "markdown", "the parser and the lexer"),
        passage(Tool, "tool_call", "lexer lexer lexer"),
    ];
    let shown = |text: &str| {
        let (role, kind, snippet) = best(&passages, &query(text)).unwrap();
        (role, kind, snippet.marked("[", "]"))
    };
    let markdown = || "markdown".to_owned();
    let both = "the [parser] and the [lexer]".to_owned();
    assert_eq!(shown("parser lexer"), (Assistant, markdown(), both));
    assert_eq!(shown("parser").2, "the [parser]");
    assert_eq!(shown("parser role:user").0, User);
    assert_eq!(shown("lexer").0, Tool);
    assert_eq!(shown("lexer kind:markdown").0, Assistant);
    // What must not be there may be where nobody looks; it is never marked.
    assert_eq!(shown("parser -lexer role:user").2, "the [parser]");
    assert!(best(&passages, &query("lexer kind:code")).is_none());
    // An engine that is behind may find what is there no more.
    assert_eq!(shown("absent").2, "the parser");
    assert!(best(&[], &query("absent")).is_none());
}

#[test]
fn what_would_act_on_a_terminal_is_shown_as_a_sign() {
    let text = "\u{1b}[31mred\u{7}\u{202e}\u{9b}sentinel\u{2066}\u{0} the\u{2028}end\u{85}";
    let shown = snippet("sentinel \"the end\"", text);
    assert_eq!(
        shown.marked("<", ">"),
        "\u{fffd}[31mred\u{fffd}\u{fffd}\u{fffd}<sentinel>\u{fffd}\u{fffd} <the end>"
    );
    // Within a phrase as well.
    assert_eq!(marked("\"a b\"", "a\u{1b}\u{202d}b"), "[a\u{fffd}\u{fffd}b]");
    assert_eq!(shown.to_string(), shown.text);
}

#[test]
fn emoji_are_not_cut_apart() {
    let family = "👨‍👩‍👧";
    let text = format!("sentinel {}", family.repeat(100));
    let shown = snippet("sentinel", &text);
    assert!(shown.text.ends_with("👧…") || shown.text == "sentinel…", "{}", shown.text);
    assert!(!shown.text.contains("\u{200d}…"), "{}", shown.text);
}

#[test]
fn a_word_is_not_cut_apart_behind_its_marks() {
    let word = "lexe\u{301}r".repeat(40);
    let text = format!("{word}/sentinel/sentinel/{word}");
    assert_eq!(marked("sentinel", &text), "…/[sentinel]/[sentinel]/…");
    // Nothing of the word is shown, so that nothing of it is marked.
    assert_eq!(marked("lexer* sentinel", &format!("{text} sentinel")), "…/[sentinel]/[sentinel]/…");
}

#[test]
fn a_long_text_is_passed_over_once() {
    // Anything that is worse than linear takes hours.
    let same = "parser ".repeat(100_000);
    assert_eq!(snippet("parser pars* \"parser parser\"", &same).highlights.len(), 1);
    let spaces = format!("parser{}lexer", " ".repeat(1 << 20));
    assert_eq!(marked("parser lexer", &spaces), "[parser] [lexer]");
    let long = format!("{} parser", "x".repeat(1 << 20));
    assert_eq!(marked("parser", &long), "…[parser]");
    assert!(snippet("xxx*", &long).text.chars().count() < 200);
}

/// Texts in which much of what snippets are careful of comes up.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("parser ".to_owned()),
        Just("lexer".to_owned()),
        Just("世界".to_owned()),
        Just("e\u{301}a\u{200d}".to_owned()),
        Just(" \n\t ".to_owned()),
        Just("\u{1b}\u{202e}".to_owned()),
        "[a-z]{1,30}",
        "\\PC{0,5}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// A phrase of up to some 500 characters, and a text that it stands in, twice or among other words.
fn phrases() -> impl Strategy<Value = (String, String)> {
    let words = prop::collection::vec(("[a-z]{1,12}", "[ \n.]{1,3}"), 2..40);
    let others = prop::collection::vec(prop_oneof![Just("sentinel".to_owned()), texts()], 0..4);
    (words, others.clone(), others, any::<bool>()).prop_map(|(words, before, after, is_twice)| {
        let phrase = words.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>().join(" ");
        let stands = words.iter().map(|(word, gap)| format!("{word}{gap}")).collect::<String>();
        let stands = stands.repeat(1 + usize::from(is_twice));
        let text = format!("{} {stands} {}", before.join(" "), after.join(" "));
        // So that an ellipsis is one of the snippet's own.
        (format!("\"{phrase}\" sentinel"), text.replace('…', ""))
    })
}

proptest! {
    #[test]
    fn a_long_phrase_is_marked_as_far_as_it_is_shown((words, text) in phrases()) {
        let shown = snippet(&words, &text);
        prop_assert!(!shown.highlights.is_empty(), "{shown:?}");
        for (piece, is_highlight) in shown.pieces() {
            prop_assert!(!(is_highlight && piece.contains('…')), "{shown:?}");
            prop_assert!(!is_highlight || piece.trim() == piece, "{shown:?}");
        }
        prop_assert!(shown.text.chars().count() <= 162, "{} {shown:?}", shown.text.chars().count());
    }

    #[test]
    fn every_snippet_is_whole(text in texts(), words in "(parser|lex\\*|世|\"parser lexer\"){1}") {
        let asked = query(&words);
        let shown = snippet(&words, &text);
        let mut end = 0;
        for range in &shown.highlights {
            prop_assert!(range.start >= end && range.start < range.end, "{shown:?}");
            let piece = shown.text.get(range.clone());
            let first = piece.and_then(|piece| tokens(piece).next());
            let wanted = &asked.all[0].tokens()[0];
            prop_assert!(first.is_some_and(|token| token.term.starts_with(wanted)), "{shown:?}");
            end = range.end;
        }
        prop_assert!(end <= shown.text.len());
        prop_assert!(!shown.text.contains(char::is_control), "{shown:?}");
        prop_assert!(!shown.text.contains("  ") && !shown.text.contains('\u{202e}'), "{shown:?}");
        prop_assert!(shown.text.chars().count() <= 162, "{} {shown:?}", shown.text.chars().count());
        prop_assert_eq!(shown.pieces().map(|(piece, _)| piece).collect::<String>(), shown.text.clone());
        // What is found is shown.
        let found = tokens(&text).any(|token| token.term == "parser");
        prop_assert!(words != "parser" || found != shown.highlights.is_empty(), "{shown:?}");
    }
}

#[test]
fn a_session_that_was_deleted_meanwhile_is_left_out() {
    pollster::block_on(async {
        let store = ChatStore::builder(MemoryStorage::new()).build().await.unwrap();
        let me = store.local();
        let chat = me.create(NewSession::titled("there")).await.unwrap();
        let hit = |id: &SessionId| TextHit {
            key: SessionKey::new(OwnerId::local(), id.clone()),
            turn: TurnId::SESSION,
            at: jiff::Timestamp::UNIX_EPOCH,
            passages: vec![passage(PassageRole::Title, "title", "a title")],
        };
        let gone = SessionId::new("gone").unwrap();
        let items = vec![hit(&gone), hit(chat.id()), hit(&gone)];
        let found = TextHits { page: Page { items, next: None }, partial: None };
        let hits = super::hits(me.core(), &query("title"), found).await.unwrap();
        let titles: Vec<_> = hits.hits.iter().map(|hit| hit.session.title()).collect();
        assert_eq!(titles, ["there"]);
    });
}

#[test]
fn what_is_kept_of_texts_is_bounded() {
    let cache = TextCache::default();
    let text =
        |n: usize| SessionKey::new(OwnerId::local(), SessionId::new(format!("{n}")).unwrap());
    let head = |revision| Head {
        incarnation: Incarnation::FIRST,
        revision: Revision::new(revision),
        base: Revision::ZERO,
        token: VersionToken(String::new()),
        fields: HeadFields::new(jiff::Timestamp::UNIX_EPOCH),
    };
    let turn = |bytes: usize| TurnText {
        turn: TurnId::new(1),
        at: jiff::Timestamp::UNIX_EPOCH,
        passages: vec![passage(PassageRole::User, "request", &"x".repeat(bytes))],
    };
    let texts = Arc::new(vec![turn(10 << 20)]);
    let kept = |revision| {
        let is_kept = |n: &usize| cache.of(&text(*n), &head(revision)).is_some();
        (0..20).filter(is_kept).collect::<Vec<_>>()
    };
    cache.begin();
    (0..10).for_each(|n| cache.keep(&text(n), &head(1), &texts));
    assert_eq!(kept(1), [0, 1, 2, 3, 4, 5]);
    assert_eq!(kept(2), [0; 0]);
    // A search over more than fits leaves what is there, which the next one uses.
    cache.begin();
    (6..10).for_each(|n| cache.keep(&text(n), &head(1), &texts));
    assert_eq!(kept(1), [0, 1, 2, 3, 4, 5]);
    // What nobody has used for two searches makes way.
    cache.begin();
    assert!(cache.of(&text(3), &head(1)).is_some());
    cache.begin();
    cache.begin();
    cache.keep(&text(3), &head(1), &texts);
    (10..14).for_each(|n| cache.keep(&text(n), &head(1), &texts));
    assert_eq!(kept(1), [3, 10, 11, 12, 13]);
    cache.forget(&text(11));
    assert_eq!(kept(1), [3, 10, 12, 13]);
    // One that is larger than everything there may be is not kept.
    cache.keep(&text(12), &head(1), &Arc::new(vec![turn(65 << 20)]));
    assert_eq!(kept(1), [3, 10, 13]);
}
