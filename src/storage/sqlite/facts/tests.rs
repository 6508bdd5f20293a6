//! Facts, beside their texts and alone.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::id::TurnId;
use crate::model::ResponseState;
use crate::storage::sqlite::catalogue;
use crate::storage::sqlite::tests::{catalogue, head, key, time};
use crate::storage::{HeadFields, Passage, PassageRole, TurnText};

fn database() -> Connection {
    let connection = catalogue();
    full_text::create(&connection).unwrap();
    full_text::create_waiting(&connection).unwrap();
    full_text::create_digests(&connection).unwrap();
    create(&connection).unwrap();
    create_waiting(&connection).unwrap();
    connection
}

fn row(connection: &Connection, id: &str) -> SessionRow {
    catalogue::upsert(connection, &key(id), &head(HeadFields::new(time(5)))).unwrap()
}

fn facts(turn: u64, input_tokens: u64, output_tokens: u64) -> TurnFacts {
    TurnFacts {
        turn: TurnId::new(turn),
        at: time(1),
        state: ResponseState::Complete,
        model: Some("model".to_owned()),
        input_tokens,
        output_tokens,
        duration_ms: None,
    }
}

#[test]
fn facts_add_up_by_owner_and_time() {
    let connection = database();
    let turn = |session: SessionRow, turn, at, state| {
        let facts = TurnFacts { at: time(at), state, ..facts(turn, 10, 1) };
        put(&connection, session, &facts).unwrap();
    };
    let (a, b) = (row(&connection, "a"), row(&connection, "b"));
    turn(a, 1, 10, ResponseState::Streaming);
    turn(a, 1, 10, ResponseState::Failed);
    turn(a, 2, 20, ResponseState::Complete);
    turn(b, 1, 30, ResponseState::Complete);
    let totals = |from: Option<i64>, before: Option<i64>| {
        let query = StatisticsQuery { from: from.map(time), before: before.map(time) };
        totals(&connection, &OwnerId::local(), &query).unwrap()
    };
    let expected = Totals { sessions: 2, turns: 3, failed: 1, input_tokens: 30, output_tokens: 3 };
    assert_eq!(totals(None, None), expected);
    let expected = Totals { sessions: 1, turns: 1, failed: 0, input_tokens: 10, output_tokens: 1 };
    assert_eq!(totals(Some(20), Some(30)), expected);
    remove_session(&connection, a).unwrap();
    assert_eq!(totals(None, None).turns, 1);
}

#[test]
fn facts_that_are_too_large_are_cut_and_sums_are_exact() {
    let connection = database();
    let row = row(&connection, "a");
    let put = |turn, input_tokens, output_tokens, duration_ms| {
        let facts = TurnFacts { duration_ms, ..facts(turn, input_tokens, output_tokens) };
        put(&connection, row, &facts).unwrap();
    };
    let totals = || {
        let query = StatisticsQuery { from: None, before: None };
        totals(&connection, &OwnerId::local(), &query).map_err(Error::from)
    };
    put(1, 1 << 63, 3, Some(u64::MAX));
    put(2, u64::MAX, 4, None);
    put(3, 1, 5, None);
    let sums = totals().unwrap();
    assert_eq!((sums.input_tokens, sums.output_tokens), (u64::MAX, 12));
    let most = "1 1 1 complete model 9223372036854775807 3 9223372036854775807";
    assert_eq!(stored(&connection)[0], most);
    put(3, 2, 5, None);
    insta::assert_snapshot!(totals().unwrap_err(), @"limit exceeded: the sum of input_tokens is 18446744073709551616, too large");
}

fn wait(connection: &Connection, session: SessionRow, turn: u64) {
    let passages = vec![Passage {
        role: PassageRole::User,
        kind: "request".to_owned(),
        text: "text".to_owned(),
    }];
    let text = TurnText { turn: TurnId::new(turn), at: time(2), passages };
    full_text::put_all(connection, [(session, &text)]).unwrap();
}

fn stored(connection: &Connection) -> Vec<String> {
    let sql = "SELECT concat_ws(' ', session, turn, at, state, model, input_tokens, output_tokens,
                 duration_ms) FROM facts";
    let mut query = connection.prepare(sql).unwrap();
    let rows = query.query_map((), |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn facts_that_waited_are_kept_as_they_were() {
    let connection = database();
    let session = row(&connection, "a");
    wait(&connection, session, 3);
    let duration_ms = Some(6);
    put(&connection, session, &TurnFacts { duration_ms, ..facts(3, 4, 5) }).unwrap();
    assert_eq!(stored(&connection), [""; 0]);
    full_text::settle_all(&connection).unwrap();
    assert_eq!(stored(&connection), ["1 3 1 complete model 4 5 6"]);
    wait(&connection, session, 3);
    put(&connection, session, &facts(3, 7, 5)).unwrap();
    remove_session(&connection, session).unwrap();
    full_text::remove_session(&connection, session).unwrap();
    assert_eq!(stored(&connection), [""; 0]);
}

#[test]
fn damaged_facts_and_those_of_no_session_hold_up_no_text() {
    for harm in [
        "UPDATE waiting SET input_tokens = NULL",
        "UPDATE waiting SET output_tokens = NULL, text = x'ff'",
        "UPDATE waiting SET facts_at = NULL",
        "DELETE FROM sessions",
    ] {
        let connection = database();
        let session = row(&connection, "a");
        wait(&connection, session, 3);
        put(&connection, session, &facts(3, 4, 5)).unwrap();
        connection.execute(harm, ()).unwrap();
        let query = StatisticsQuery::default();
        totals(&connection, &OwnerId::local(), &query).unwrap();
        full_text::settle_all(&connection).unwrap();
        full_text::rebuild(&connection).unwrap();
        assert_eq!(full_text::count(&connection).unwrap(), 0, "{harm}");
        assert_eq!(stored(&connection), [""; 0], "{harm}");
    }
}

/// What happens to a turn's facts and its text, which may wait with them.
#[derive(Debug, Clone)]
enum Step {
    Text(usize, u64),
    Facts(usize, u64, u64),
    RemoveText(usize, u64),
    RemoveFacts(usize),
    Settle,
    Rebuild,
    Damage,
}

fn step() -> impl Strategy<Value = Step> {
    // A row's number has no room for the last one.
    let turn = || (0..3_usize, prop_oneof![4 => 0..5_u64, 1 => Just(1 << 32)]);
    prop_oneof![
        6 => turn().prop_map(|(session, turn)| Step::Text(session, turn)),
        6 => (turn(), 1..100_u64).prop_map(|((s, turn), tokens)| Step::Facts(s, turn, tokens)),
        1 => turn().prop_map(|(session, turn)| Step::RemoveText(session, turn)),
        1 => (0..3_usize).prop_map(Step::RemoveFacts),
        3 => Just(Step::Settle),
        1 => Just(Step::Rebuild),
        1 => Just(Step::Damage),
    ]
}

fn apply(connection: &Connection, model: &mut BTreeMap<(usize, u64), u64>, step: Step) {
    let row = |session: usize| row(connection, &format!("s{session}"));
    match step {
        Step::Text(session, turn) => wait(connection, row(session), turn),
        Step::Facts(session, turn, tokens) => {
            put(connection, row(session), &facts(turn, tokens, 0)).unwrap();
            model.insert((session, turn), tokens);
        }
        Step::RemoveText(session, turn) => {
            full_text::remove_turn(connection, row(session), TurnId::new(turn)).unwrap();
        }
        Step::RemoveFacts(session) => {
            remove_session(connection, row(session)).unwrap();
            model.retain(|(of, _), _| *of != session);
        }
        Step::Settle => full_text::settle_some(connection, true).map(drop).unwrap(),
        Step::Rebuild => full_text::rebuild(connection).unwrap(),
        Step::Damage => {
            connection.execute("UPDATE waiting SET text = x'ff'", ()).map(drop).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn facts_are_counted_once_wherever_they_stand(steps in proptest::collection::vec(step(), 0..40)) {
        let connection = database();
        let mut model = BTreeMap::new();
        for step in steps {
            apply(&connection, &mut model, step);
            let found = totals(&connection, &OwnerId::local(), &StatisticsQuery::default()).unwrap();
            let expected = (model.len() as u64, model.values().sum());
            assert_eq!((found.turns, found.input_tokens), expected);
        }
    }
}
