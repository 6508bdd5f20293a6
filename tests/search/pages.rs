//! In what order turns are found, page by page, and of which sessions.

use chatkeep::model::Workspace;
use chatkeep::part::{Code, Markdown};
use chatkeep::{
    ErrorKind, Hits, ListQuery, NewSession, OwnedStore, Query, SessionStatus, TextOrder, TurnId,
    WorkspaceId,
};

use crate::common::*;

/// A few sessions whose turns were made in turn.
fn write(me: &OwnedStore, clock: &Hands) {
    let names = ["parser", "lexer", "empty", "other"];
    let chats: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let workspace = Workspace::new(WorkspaceId::new(["x", "y"][n % 2]).unwrap());
            let new = NewSession::titled(format!("The {name}")).workspace(workspace).tag(*name);
            block(me.create(new.id(id(name))))
        })
        .collect();
    for round in 0..7 {
        for chat in [&chats[0], &chats[1], &chats[3]] {
            let answer = match round % 3 {
                0 => "the parser, the parser and the lexer",
                1 => "the lexer drops a token, 世界",
                _ => "nothing of either",
            };
            clock.advance(1);
            let turn = block(chat.record(format!("round {round}?"), [Markdown::new(answer)]));
            if round == 4 {
                drop(block(chat.edit(turn, "the token once more")));
            }
        }
    }
    block(chats[3].record("code", [Code::new("rust", "fn parse_token() {}")]));
    block(chats[1].archive());
}

const QUERIES: [&str; 14] = [
    "parser",
    "lexer -parser",
    "\"the parser\" pars*",
    "token role:user",
    "token kind:code",
    "世界 round",
    "the in:title",
    "parser workspace:x",
    "lexer status:archived",
    "round tag:other -nothing",
    "round after:2026-01-01T00:00:05Z before:2026-01-01T00:00:15Z",
    "round before:2026-01",
    "parser is:pinned",
    "p* -\"a token\" role:assistant",
];

fn pages(me: &OwnedStore, query: &Query) -> Vec<Hits> {
    let mut pages = vec![block(me.search(query.clone()))];
    while let Some(next) = pages.last().unwrap().next.clone() {
        pages.push(block(me.search_after(query.clone(), Some(next))));
    }
    pages
}

#[test]
fn every_storage_finds_the_same_in_the_same_order() {
    let mut seen: Vec<(String, Vec<String>)> = Vec::new();
    each(|engine, one, _| {
        let me = one.local();
        write(&me, &engine.clock);
        let mut here = Vec::new();
        for query in QUERIES {
            for order in [TextOrder::Newest, TextOrder::Relevance] {
                for limit in [3, 50] {
                    let asked = Query::parse(query).unwrap().order(order).limit(limit);
                    let pages = pages(&me, &asked);
                    assert!(pages.iter().all(|page| page.hits.len() <= limit));
                    let hit = |hit: chatkeep::Hit| {
                        let (id, shown) = (hit.session.id().clone(), hit.snippet.marked("[", "]"));
                        format!("{id}{} {} {:?} {} {shown}", hit.turn, hit.at, hit.role, hit.kind)
                    };
                    let hits: Vec<_> = pages.into_iter().flatten().map(hit).collect();
                    let mut apart = hits.clone();
                    apart.sort();
                    apart.dedup();
                    assert_eq!(apart.len(), hits.len(), "{query}");
                    here.push((format!("{query} {order:?}"), hits));
                }
            }
        }
        assert!(here.iter().filter(|(_, hits)| !hits.is_empty()).count() >= 4 * 12);
        // A page's size does not change what is found.
        assert!(here.chunks(2).all(|pair| pair[0] == pair[1]));
        if seen.is_empty() {
            seen = here;
        } else {
            for (expected, found) in seen.iter().zip(here) {
                assert_eq!(*expected, found, "{}", engine.name);
            }
        }
    });
}

#[test]
fn the_newest_come_first_and_the_best_on_demand() {
    each(|engine, one, _| {
        let me = one.local();
        let chat = create(&me, "s");
        let padding = "and so on ".repeat(30);
        for text in [
            "the parser, a parser, one parser".to_owned(),
            format!("a parser {padding}"),
            format!("parser, parser {padding}"),
        ] {
            block(chat.record(text, [Markdown::new("ok")]));
        }
        assert_eq!(found(&me, "parser"), ["s3", "s2", "s1"], "{}", engine.name);
        let best = Query::parse("parser").unwrap().order(TextOrder::Relevance);
        let turns: Vec<_> = block(me.search(best)).into_iter().map(|hit| hit.turn.get()).collect();
        assert_eq!(turns, [1, 3, 2], "{}", engine.name);
    });
}

#[test]
fn a_page_goes_on_where_the_last_one_ended_while_more_is_written() {
    each(|engine, one, _| {
        let me = one.local();
        let chat = create(&me, "s");
        let ask = |n: u64| {
            block(chat.record(format!("parser {n}"), [Markdown::new("ok")]));
        };
        (1..=10).for_each(ask);
        let query = Query::parse("parser").unwrap().limit(4);
        let first = block(me.search(query.clone()));
        (11..=15).for_each(ask);
        let second = block(me.search_after(query.clone(), first.next.clone()));
        let turns = |hits: &Hits| hits.into_iter().map(|hit| hit.turn).collect::<Vec<_>>();
        assert_eq!(turns(&first), [10, 9, 8, 7].map(TurnId::new), "{}", engine.name);
        assert_eq!(turns(&second), [6, 5, 4, 3].map(TurnId::new), "{}", engine.name);
        let foreign = Query::parse("ok").unwrap();
        let refused = pollster::block_on(me.search_after(foreign, first.next)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{}", engine.name);
    });
}

#[test]
fn sessions_are_restricted_by_the_text_and_by_the_host() {
    each(|engine, one, _| {
        let me = one.local();
        write(&me, &engine.clock);
        let count = |text: &str, host: ListQuery| {
            let query = Query::parse(text).unwrap().sessions(host).limit(1_000);
            block(me.search(query)).hits.len()
        };
        let all = count("round", ListQuery::new());
        assert_eq!(all, 21, "{}", engine.name);
        // The list's own order and limit mean nothing.
        assert_eq!(count("round", ListQuery::new().limit(1)), all);
        assert_eq!(count("round", ListQuery::new().status(SessionStatus::Active)), 14);
        assert_eq!(count("round tag:other", ListQuery::new().status(SessionStatus::Active)), 7);
        assert_eq!(count("round status:archived", ListQuery::new()), 7);
        let contradiction = ListQuery::new().status(SessionStatus::Active);
        assert_eq!(count("round status:archived", contradiction), 0, "{}", engine.name);
        assert_eq!(count("round", ListQuery::new().title("PARSER")), 7);
        assert_eq!(count("round is:global", ListQuery::new()), 0);
    });
}

#[test]
fn a_cursor_that_was_made_up_is_refused_or_ends_the_search() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    each(|engine, store, _| {
        let me = store.local();
        write(&me, &engine.clock);
        let query = Query::parse("parser").unwrap().limit(1).order(TextOrder::Relevance);
        let cursor = block(me.search(query.clone())).next.unwrap();
        let place = String::from_utf8(BASE64.decode(&cursor.0).unwrap()).unwrap();
        assert!(place.contains("\"skip\":1"), "{place}");
        let skip = format!("\"skip\":{}", usize::MAX);
        let far = BASE64.encode(place.replace("\"skip\":1", &skip));
        let hits = block(me.search_after(query, Some(chatkeep::storage::Cursor(far))));
        assert_eq!((hits.hits.len(), hits.next), (0, None));
    });
}
