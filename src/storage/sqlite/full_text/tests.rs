//! Full text against the model that looks at every turn.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::id::OwnerId;
use crate::model::ResponseState;
use crate::storage::sqlite::catalogue;
use crate::storage::sqlite::tests::{head, key, time};
use crate::storage::text::scan::Scan;
use crate::storage::{
    Cursor, HeadFields, ListQuery, Page, SessionHead, SessionKey, Term, TextHit, TextOrder,
    TextQuery, listing,
};

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    catalogue::create(&connection).unwrap();
    create(&connection).unwrap();
    create_waiting(&connection).unwrap();
    create_digests(&connection).unwrap();
    connection
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, TurnText),
    RemoveTurn(usize, u64),
    RemoveSession(usize),
    /// Indexes what waits, as if there were too much of it.
    Settle(bool),
    Rebuild,
    /// As if these turns had been indexed before there were digests.
    LoseDigests(u64),
}

const WORDS: [&str; 9] =
    ["alpha", "ALP", "beta", "gamma", "Ünder", "世界", "b\0c", "x_y", "\u{E000}"];

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..WORDS.len(), 0..6)
        .prop_map(|words| words.into_iter().map(|w| WORDS[w]).collect::<Vec<_>>().join(" "))
}

fn passage() -> impl Strategy<Value = Passage> {
    (0..4_usize, prop_oneof![Just("k1"), Just("k2")], text())
        .prop_map(|(role, kind, text)| Passage { role: ROLES[role], kind: kind.to_owned(), text })
}

fn turn() -> impl Strategy<Value = TurnText> {
    // Times before 1970, and many of one second.
    let at = prop_oneof![Just(-1_500_i64), 0..3_000_i64, 5_000..5_003_i64];
    (0..4_u64, at, proptest::collection::vec(passage(), 0..4)).prop_map(|(turn, at, passages)| {
        TurnText { turn: TurnId::new(turn), at: time(at), passages }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0..6_usize, turn()).prop_map(|(session, text)| Step::Put(session, text)),
        2 => (0..6_usize, 0..4_u64).prop_map(|(session, turn)| Step::RemoveTurn(session, turn)),
        2 => (0..6_usize).prop_map(Step::RemoveSession),
        6 => any::<bool>().prop_map(Step::Settle),
        1 => Just(Step::Rebuild),
        2 => (0..4_u64).prop_map(Step::LoseDigests),
    ]
}

fn term() -> impl Strategy<Value = Term> {
    let word = prop_oneof![
        Just("alpha"),
        Just("alp"),
        Just("a"),
        Just("beta gamma"),
        Just("under"),
        Just("世界"),
        Just("界"),
        Just("gamma al"),
        Just("b c"),
        Just("x"),
        Just("absent")
    ];
    (word, any::<bool>()).prop_map(|(word, prefix)| {
        if prefix { Term::prefix(word).unwrap() } else { Term::new(word).unwrap() }
    })
}

fn query() -> impl Strategy<Value = TextQuery> {
    let terms = |range| proptest::collection::vec(term(), range);
    let some = |range| proptest::option::weighted(0.2, range);
    let kind = proptest::option::weighted(0.3, prop_oneof![Just("k1"), Just("k2"), Just("k3")]);
    let role = proptest::option::weighted(0.3, 0..4_usize);
    let pinned = proptest::option::weighted(0.3, any::<bool>());
    let times = (some(-2_000..6_000_i64), some(-2_000..6_000_i64));
    (terms(1..3), terms(0..2), role, kind, times, pinned, any::<bool>(), 1..4_usize).prop_map(
        |(all, none, role, kind, (from, before), pinned, newest, limit)| TextQuery {
            all,
            none,
            role: role.map(|role| ROLES[role]),
            kind: kind.map(str::to_owned),
            from: from.map(time),
            before: before.map(time),
            sessions: ListQuery { pinned, ..ListQuery::new() },
            order: if newest { TextOrder::Newest } else { TextOrder::Relevance },
            limit,
        },
    )
}

/// Sessions 0 to 2 are one owner's, the others another's; every second one is pinned, and an answer
/// runs in every third.
fn session(number: usize) -> (SessionKey, HeadFields) {
    let mut key = key(&format!("s{number}"));
    if number > 2 {
        key.owner = OwnerId::new("other").unwrap();
    }
    let state = number.is_multiple_of(3).then_some(ResponseState::Streaming);
    let pinned = number.is_multiple_of(2);
    (key, HeadFields { pinned, state, ..HeadFields::new(time(0)) })
}

type Model = BTreeMap<(usize, u64), TurnText>;

fn expected(
    owner: &OwnerId,
    query: &TextQuery,
    model: &Model,
    after: Option<&Cursor>,
) -> Page<TextHit> {
    let mut scan = Scan::new(owner, query, after).unwrap();
    for ((number, _), text) in model {
        let (key, fields) = session(*number);
        let session = SessionHead { key: key.clone(), head: head(fields) };
        if key.owner == *owner && listing::fits(&session, &query.sessions) {
            scan.look_at(&key, text);
        }
    }
    scan.finish().unwrap()
}

fn apply(connection: &Connection, model: &mut Model, step: Step) {
    let row = |number| {
        let (key, fields) = session(number);
        catalogue::upsert(connection, &key, &head(fields)).unwrap()
    };
    match step {
        Step::Put(number, text) => {
            put_all(connection, [(row(number), &text)]).unwrap();
            model.insert((number, text.turn.get()), text);
        }
        Step::RemoveTurn(number, turn) => {
            remove_turn(connection, row(number), TurnId::new(turn)).unwrap();
            model.remove(&(number, turn));
        }
        Step::RemoveSession(number) => {
            remove_session(connection, row(number)).unwrap();
            catalogue::remove(connection, &session(number).0).unwrap();
            model.retain(|(session, _), _| *session != number);
        }
        Step::Settle(running) => settle_some(connection, running).map(drop).unwrap(),
        Step::Rebuild => rebuild(connection).unwrap(),
        Step::LoseDigests(turn) => {
            connection
                .execute("DELETE FROM digests WHERE turn = ?1", [turn as i64])
                .map(drop)
                .unwrap();
        }
    }
}

fn check_integrity(connection: &Connection) {
    connection.execute("INSERT INTO texts (texts) VALUES ('integrity-check')", ()).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn turns_are_found_as_the_model_finds_them(
        steps in proptest::collection::vec(step(), 0..40),
        queries in proptest::collection::vec(query(), 12),
    ) {
        let connection = database();
        let mut model = Model::new();
        for step in steps {
            apply(&connection, &mut model, step);
        }
        check_integrity(&connection);
        for query in queries {
            for owner in ["local", "other"] {
                let owner = OwnerId::new(owner).unwrap();
                let mut after = None;
                loop {
                    let found = search(&connection, &owner, &query, after.as_ref()).unwrap();
                    assert_eq!(found, expected(&owner, &query, &model, after.as_ref()), "{query:?}");
                    after = found.next;
                    if after.is_none() {
                        break;
                    }
                }
            }
        }
    }
}

fn set(connection: &Connection, session: SessionRow, text: &TurnText) {
    put_all(connection, [(session, text)]).unwrap();
}

fn turn_text(turn: u64, at: i64, text: &str) -> TurnText {
    let passage =
        Passage { role: PassageRole::User, kind: "request".to_owned(), text: text.to_owned() };
    TurnText { turn: TurnId::new(turn), at: time(at), passages: vec![passage] }
}

#[test]
fn thousands_of_turns_of_one_second_are_found_in_order() {
    let connection = database();
    let (key, fields) = session(0);
    let row = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
    let texts: Vec<TurnText> = (1..=3_000).map(|turn| turn_text(turn, 1_000, "same")).collect();
    put_all(&connection, texts.iter().map(|text| (row, text))).unwrap();
    let query = TextQuery { limit: 700, ..TextQuery::new(vec![Term::new("same").unwrap()]) };
    let (mut turns, mut after) = (Vec::new(), None);
    loop {
        let page = search(&connection, &key.owner, &query, after.as_ref()).unwrap();
        turns.extend(page.items.iter().map(|hit| hit.turn.get()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(turns, (1..=3_000).rev().collect::<Vec<_>>());
}

#[test]
fn one_of_many_fitting_sessions_is_found_by_looking_at_it() {
    let connection = database();
    let owner = OwnerId::local();
    for number in 0..700_u64 {
        let fields = HeadFields { pinned: number.is_multiple_of(2), ..HeadFields::new(time(0)) };
        let row =
            catalogue::upsert(&connection, &key(&format!("n{number:03}")), &head(fields)).unwrap();
        set(&connection, row, &turn_text(1, i64::try_from(number).unwrap(), "word"));
    }
    let found = |sessions: ListQuery| {
        let query = TextQuery {
            sessions,
            limit: 1_000,
            ..TextQuery::new(vec![Term::new("word").unwrap()])
        };
        search(&connection, &owner, &query, None).unwrap().items.len()
    };
    assert_eq!(found(ListQuery::new().pinned(true)), 350);
    assert_eq!(found(ListQuery::new()), 700);
    while settle(&connection).unwrap() {}
    assert_eq!(found(ListQuery::new().pinned(true)), 350);
    // As many as are named in the expression.
    let few = ListQuery { title: Some(String::new()), ..ListQuery::new() };
    connection.execute("DELETE FROM sessions WHERE id > 256", ()).unwrap();
    assert_eq!(found(few), 256);
    assert_eq!(found(ListQuery::new().tag("nobody has it")), 0);
}

#[test]
fn texts_that_were_cut_by_other_rules_are_cut_anew() {
    for rules in ["'old'", "1", "x'80'", "NULL"] {
        let connection = database();
        let (key, fields) = session(0);
        let row = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
        set(&connection, row, &turn_text(1, 0, "word"));
        settle_some(&connection, true).unwrap();
        assert!(is_current(&connection).unwrap());
        let change = format!("UPDATE full_text SET value = {rules} WHERE name = 'tokens'");
        connection.execute(&change, ()).unwrap();
        connection.execute("INSERT INTO texts (texts) VALUES ('delete-all')", ()).unwrap();
        assert!(!is_current(&connection).unwrap(), "{rules}");
        assert!(can_index(&connection).unwrap());
        assert!(is_current(&connection).unwrap());
        let query = TextQuery::new(vec![Term::new("word").unwrap()]);
        assert_eq!(search(&connection, &key.owner, &query, None).unwrap().items.len(), 1);
    }
}

#[test]
fn a_removed_text_leaves_no_byte_in_the_tables() {
    let connection = database();
    let (first, fields) = session(0);
    let row = catalogue::upsert(&connection, &first, &head(fields.clone())).unwrap();
    let other = catalogue::upsert(&connection, &session(1).0, &head(fields)).unwrap();
    for turn in 0..200 {
        set(&connection, row, &turn_text(turn, 1_000, &format!("canary{turn}")));
        set(&connection, other, &turn_text(turn, 1_000, &format!("stays{turn}")));
    }
    while settle_some(&connection, true).unwrap() {}
    let bytes = || {
        let mut query = connection.prepare("SELECT block FROM texts_data").unwrap();
        let blocks = query.query_map((), |row| row.get::<_, Vec<u8>>(0)).unwrap();
        String::from_utf8_lossy(&blocks.map(Result::unwrap).collect::<Vec<_>>().concat())
            .into_owned()
    };
    assert!(bytes().contains("canary"));
    remove_session(&connection, row).unwrap();
    assert!(!bytes().contains("canary"));
    assert!(bytes().contains("stays"));
    assert_eq!(digests(&connection), 200);
    check_integrity(&connection);
}

fn digests(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM digests", (), |row| row.get(0)).unwrap()
}

fn waits(connection: &Connection) -> i64 {
    connection.query_row("SELECT count(*) FROM waiting", (), |row| row.get(0)).unwrap()
}

fn found(connection: &Connection, word: &str) -> usize {
    let query = TextQuery { limit: 1_000, ..TextQuery::new(vec![Term::new(word).unwrap()]) };
    search(connection, &OwnerId::local(), &query, None).unwrap().items.len()
}

#[test]
fn few_texts_wait_and_many_do_not() {
    let connection = database();
    let row = |number| {
        let (key, fields) = session(number);
        catalogue::upsert(&connection, &key, &head(fields)).unwrap()
    };
    let (runs, ended) = (row(0), row(1));
    for turn in 0..255 {
        set(&connection, ended, &turn_text(turn, 1_000, "word"));
        set(&connection, runs, &turn_text(turn, 1_000, "word"));
    }
    assert!(!is_due(&connection).unwrap());
    assert!(!settle(&connection).unwrap());
    assert_eq!((waits(&connection), found(&connection, "word")), (510, 510));
    set(&connection, ended, &turn_text(255, 1_000, "word"));
    assert!(is_due(&connection).unwrap());
    while settle(&connection).unwrap() {}
    // Those that an answer may still replace go on waiting.
    assert_eq!((waits(&connection), found(&connection, "word")), (255, 511));
    // Large ones are many sooner, even those.
    set(&connection, ended, &turn_text(256, 1_000, &"long ".repeat(60_000)));
    assert!(is_due(&connection).unwrap());
    while settle(&connection).unwrap() {}
    assert_eq!(waits(&connection), 255);
    set(&connection, runs, &turn_text(256, 1_000, &"long ".repeat(300_000)));
    while settle(&connection).unwrap() {}
    assert_eq!((waits(&connection), found(&connection, "long")), (0, 2));
    let many: Vec<_> = (0..300).map(|turn| turn_text(turn, 2_000, "other")).collect();
    put_all(&connection, many.iter().map(|text| (ended, text))).unwrap();
    assert_eq!((waits(&connection), found(&connection, "other")), (0, 300));
    check_integrity(&connection);
}

#[test]
fn a_text_that_is_replaced_while_it_waits_leaves_the_index_alone() {
    let connection = database();
    let (key, fields) = session(0);
    let row = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
    let blocks = "SELECT count(*), sum(length(block)) FROM texts_data";
    let blocks = || connection.query_row(blocks, (), |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let before: (i64, i64) = blocks();
    for length in 1..50 {
        set(&connection, row, &turn_text(1, 1_000, &"canary ".repeat(length)));
    }
    set(&connection, row, &turn_text(1, 9_000, "after"));
    assert_eq!((blocks(), waits(&connection)), (before, 1));
    assert_eq!((found(&connection, "canary"), found(&connection, "after")), (0, 1));
    remove_turn(&connection, row, TurnId::new(1)).unwrap();
    assert_eq!((blocks(), waits(&connection), found(&connection, "after")), (before, 0, 0));
    check_integrity(&connection);
}

#[test]
fn a_rebuild_mends_what_can_no_longer_be_read() {
    for harm in [
        "UPDATE docs SET text = x'ff' WHERE turn = 2",
        "UPDATE docs SET text = 5 WHERE turn = 2",
        "UPDATE docs SET at = 'then' WHERE turn = 2",
        "UPDATE docs SET at = 1 << 60 WHERE turn = 2",
        "DELETE FROM docs WHERE turn = 2",
        "UPDATE full_text SET value = 'far' WHERE name = 'spill'",
        "DELETE FROM full_text WHERE name = 'spill'",
    ] {
        for settles in [false, true] {
            let connection = database();
            let (key, fields) = session(0);
            let row = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
            for turn in 1..=3 {
                set(&connection, row, &turn_text(turn, 1_000, "word"));
            }
            if settles {
                settle_some(&connection, true).unwrap();
            }
            let there = match settles {
                true => harm.to_owned(),
                false => harm.replace("docs", "waiting").replace("turn = 2", "id & 0xff = 2"),
            };
            assert_eq!(connection.execute(&there, ()).unwrap(), 1);
            let query = TextQuery::new(vec![Term::new("word").unwrap()]);
            // A row that nothing refers to yet is missed by nobody.
            let missed = settles || !harm.starts_with("DELETE FROM docs");
            let searched = search(&connection, &key.owner, &query, None);
            assert_eq!(searched.is_err(), missed, "{harm}, {settles}");
            // What cannot be indexed holds up nothing else.
            settle_some(&connection, true).unwrap();
            rebuild(&connection).unwrap();
            let left = if harm.contains("docs") { 2 } else { 3 };
            assert_eq!(found(&connection, "word"), left, "{harm}, {settles}");
            set(&connection, row, &turn_text(2, 1_000, "word"));
            assert_eq!(found(&connection, "word"), 3, "{harm}, {settles}");
        }
    }
}

#[test]
fn an_owner_who_wrote_last_finds_what_is_far_behind_others() {
    let connection = database();
    let (own, others) = (session(0), session(3));
    let mut model = Model::new();
    for (number, (key, fields)) in [(0, &own), (3, &others)] {
        let row = catalogue::upsert(&connection, key, &head(fields.clone())).unwrap();
        for turn in 0..400_u64 {
            // Own ones among others at first, then others alone, then own ones alone.
            let is_there = match turn {
                0..100 => true,
                100..350 => number == 3,
                350.. => number == 0,
            };
            if is_there {
                let at = 10_000 * i64::try_from(turn).unwrap();
                let text = turn_text(turn, at, &"word ".repeat(1 + turn as usize % 3));
                set(&connection, row, &text);
                model.insert((number, turn), text);
            }
        }
    }
    settle_all(&connection).unwrap();
    for (owner, order, limit) in [
        (&own.0.owner, TextOrder::Newest, 40),
        (&own.0.owner, TextOrder::Newest, 200),
        (&own.0.owner, TextOrder::Relevance, 200),
        (&others.0.owner, TextOrder::Newest, 400),
        (&others.0.owner, TextOrder::Relevance, 30),
    ] {
        let query = TextQuery { order, limit, ..TextQuery::new(vec![Term::new("word").unwrap()]) };
        let (mut after, mut pages) = (None, 0);
        loop {
            let page = search(&connection, owner, &query, after.as_ref()).unwrap();
            assert_eq!(page, expected(owner, &query, &model, after.as_ref()), "{order:?} {limit}");
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let all = model.keys().filter(|(number, _)| session(*number).0.owner == *owner).count();
        assert_eq!(pages, all.div_ceil(limit));
    }
}

#[test]
fn digests_that_are_lost_are_missed_by_nobody_and_damaged_ones_are_mended() {
    let (_, fields) = session(0);
    // By their lengths alone, the second would be last.
    let texts = ["one word in a text", "an word and an word", "word", "word pie"];
    for (harm, is_damage) in [
        ("DELETE FROM digests", false),
        ("UPDATE digests SET digest = x''", true),
        ("UPDATE digests SET digest = x'0100'", true),
        ("UPDATE digests SET digest = x'01ffffffffffffffffff01ffffffffffffffffff010000'", true),
        ("UPDATE digests SET digest = 'none'", true),
        ("UPDATE digests SET turn = -1", true),
        ("UPDATE digests SET at = 'then'", true),
    ] {
        let connection = database();
        let (key, _) = session(0);
        let row = catalogue::upsert(&connection, &key, &head(fields.clone())).unwrap();
        for (turn, text) in (1..).zip(texts) {
            set(&connection, row, &turn_text(turn, 1_000, text));
        }
        settle_all(&connection).unwrap();
        let ranked = || {
            let mut query = TextQuery::new(vec![Term::new("word").unwrap()]);
            query.order = TextOrder::Relevance;
            let page = search(&connection, &key.owner, &query, None)?;
            Ok::<_, SqliteError>(page.items.iter().map(|hit| hit.turn.get()).collect::<Vec<_>>())
        };
        assert_eq!(ranked().unwrap(), [3, 2, 4, 1]);
        connection.execute(harm, ()).unwrap();
        match ranked() {
            Ok(turns) => assert_eq!((turns, is_damage), (vec![3, 2, 4, 1], false), "{harm}"),
            Err(damage) => {
                assert_eq!((damage.kind(), is_damage), (ErrorKind::Corrupt, true), "{harm}")
            }
        }
        rebuild(&connection).unwrap();
        assert_eq!(ranked().unwrap(), [3, 2, 4, 1], "{harm}");
        assert_eq!(digests(&connection), 4);
        remove_session(&connection, row).unwrap();
        assert_eq!(digests(&connection), 0);
    }
}

/// A program that knows nothing of digests may have the file open.
#[test]
fn no_digest_outlives_its_text_whoever_changes_that() {
    for change in [
        "DELETE FROM docs WHERE turn = 2",
        "UPDATE docs SET text = x'01' WHERE turn = 2",
        "UPDATE docs SET turn = 9 WHERE turn = 2",
    ] {
        let connection = database();
        let (key, fields) = session(0);
        let row = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
        for turn in 1..=3 {
            set(&connection, row, &turn_text(turn, 1_000, "word"));
        }
        settle_all(&connection).unwrap();
        assert_eq!(digests(&connection), 3);
        connection.execute(change, ()).unwrap();
        assert_eq!(digests(&connection), 2, "{change}");
    }
}

#[test]
fn a_text_of_no_turn_holds_up_neither_a_rebuild_nor_a_deletion() {
    for harm in ["-1", "'x'"] {
        for rebuilds in [false, true] {
            let connection = database();
            let (key, fields) = session(0);
            let row = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
            for turn in 1..=3 {
                set(&connection, row, &turn_text(turn, 1_000, "word"));
            }
            settle_all(&connection).unwrap();
            let harm = format!("UPDATE docs SET turn = {harm} WHERE turn = 2");
            connection.execute(&harm, ()).unwrap();
            if rebuilds {
                rebuild(&connection).unwrap();
                assert_eq!((found(&connection, "word"), digests(&connection)), (2, 2), "{harm}");
            }
            remove_session(&connection, row).unwrap();
            assert_eq!((found(&connection, "word"), digests(&connection)), (0, 0), "{harm}");
            let docs = connection.query_row("SELECT count(*) FROM docs", (), |row| row.get(0));
            assert_eq!(docs, Ok(0));
            check_integrity(&connection);
        }
    }
}

#[test]
fn a_damaged_text_holds_up_none_that_waits_with_it() {
    let connection = database();
    let (key, fields) = session(0);
    let row = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
    for turn in 0..300 {
        set(&connection, row, &turn_text(turn, 1_000, "word"));
    }
    connection.execute("UPDATE waiting SET text = x'ff' WHERE id & 0xffff = 7", ()).unwrap();
    settle_all(&connection).unwrap();
    assert_eq!(waits(&connection), 1);
    rebuild(&connection).unwrap();
    assert_eq!((waits(&connection), found(&connection, "word")), (0, 299));
}

/// A row's number has no room for such a turn: it is indexed at once.
#[test]
fn a_turn_of_a_very_high_number_is_found_and_removed() {
    let connection = database();
    let (key, fields) = session(0);
    let row = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
    let turns = [1 << 32, (1 << 32) + 1, i64::MAX as u64];
    for turn in turns {
        set(&connection, row, &turn_text(turn, 1_000, "word"));
    }
    assert_eq!((waits(&connection), found(&connection, "word")), (0, 3));
    remove_turn(&connection, row, TurnId::new(turns[0])).unwrap();
    assert_eq!(found(&connection, "word"), 2);
    remove_session(&connection, row).unwrap();
    assert_eq!(found(&connection, "word"), 0);
    check_integrity(&connection);
}

#[test]
fn a_text_of_no_session_is_passed_over() {
    let connection = database();
    let (key, fields) = session(0);
    catalogue::upsert(&connection, &key, &head(fields)).unwrap();
    connection.execute("INSERT INTO waiting VALUES (99 << 32, 0, x'01')", ()).unwrap();
    assert_eq!(found(&connection, "word"), 0);
    assert!(!settle_some(&connection, true).unwrap());
    assert_eq!(waits(&connection), 0);
}

/// What is left in the index of words that no text has.
fn traces(connection: &Connection) -> Vec<String> {
    let all = |sql| {
        let mut query = connection.prepare(sql).unwrap();
        let blobs = query.query_map((), |row| row.get::<_, Vec<u8>>(0)).unwrap();
        blobs.map(Result::unwrap).collect::<Vec<_>>()
    };
    let words = all("SELECT CAST(term AS BLOB) FROM words GROUP BY term");
    let is_trace = |beginning: &Vec<u8>| {
        let is_number = beginning.first() == Some(&0xee);
        !is_number && !words.iter().any(|word| word.starts_with(beginning))
    };
    let mut beginnings = all("SELECT substr(term, 2) FROM texts_idx WHERE term != x''");
    beginnings.retain(is_trace);
    beginnings.iter().map(|beginning| String::from_utf8_lossy(beginning).into_owned()).collect()
}

#[test]
fn traces_of_deleted_words_are_removed_from_a_small_index_and_told_of_in_a_large_one() {
    for (turns, is_large) in [(256, false), (2_560, true)] {
        let connection = database();
        let [gone, stays] = [0, 1].map(|number| {
            let (key, fields) = session(number);
            catalogue::upsert(&connection, &key, &head(fields)).unwrap()
        });
        for first in (0..turns).step_by(256) {
            // Of two words that follow each other one goes, and one stays.
            for (session, rest) in [(gone, 0), (stays, 1)] {
                let text = |turn: u64| {
                    let words =
                        (0..8).map(|word| format!("canary{:05}", (turn * 8 + word) * 2 + rest));
                    turn_text(turn, 1_000, &words.collect::<Vec<_>>().join(" "))
                };
                let texts: Vec<_> = (first..first + 256).map(text).collect();
                put_all(&connection, texts.iter().map(|text| (session, text))).unwrap();
            }
        }
        assert_eq!(remove_session(&connection, gone).unwrap(), is_large);
        assert_eq!(traces(&connection).is_empty(), !is_large);
        check_integrity(&connection);
        // Whoever comes next is told of them as well.
        let (key, fields) = session(2);
        let other = catalogue::upsert(&connection, &key, &head(fields)).unwrap();
        assert_eq!(remove_session(&connection, other).unwrap(), is_large);
        optimize(&connection).unwrap();
        assert_eq!(traces(&connection), Vec::<String>::new());
        assert!(!remove_session(&connection, other).unwrap());
        check_integrity(&connection);
    }
}

#[test]
fn traces_of_replaced_words_go_with_any_session() {
    let connection = database();
    let [edited, other] = [0, 1].map(|number| {
        let (key, fields) = session(number);
        catalogue::upsert(&connection, &key, &head(fields)).unwrap()
    });
    let words = |turn: u64, rest| {
        let words = (0..8).map(|word| format!("canary{:05}", (turn * 8 + word) * 2 + rest));
        turn_text(turn, 1_000, &words.collect::<Vec<_>>().join(" "))
    };
    for (session, rest) in [(edited, 0), (other, 1), (edited, 1)] {
        let texts: Vec<_> = (0..256).map(|turn| words(turn, rest)).collect();
        put_all(&connection, texts.iter().map(|text| (session, text))).unwrap();
    }
    assert!(!traces(&connection).is_empty());
    assert!(!remove_session(&connection, edited).unwrap());
    assert_eq!(traces(&connection), Vec::<String>::new());
    check_integrity(&connection);
}
