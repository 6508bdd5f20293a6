//! Texts that come in out of turn, and what is put in the place of what.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::*;
use crate::id::{OwnerId, SessionId};
use crate::storage::file::system::FileKind;
use crate::storage::{
    HeadFields, Incarnation, Passage, PassageRole, Revision, TextQuery, VersionToken,
};

fn key() -> SessionKey {
    SessionKey::new(OwnerId::local(), SessionId::new("s").unwrap())
}

fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    SCHEMA.steps.iter().for_each(|step| step(&connection).unwrap());
    connection
}

fn head(life: u64, revision: u64) -> Head {
    Head {
        incarnation: Incarnation::new(life),
        revision: Revision::new(revision),
        base: Revision::ZERO,
        token: VersionToken(String::new()),
        fields: HeadFields::new(Timestamp::UNIX_EPOCH),
    }
}

/// A file of so many bytes, changed so many seconds after the beginning.
fn file(len: u64, modified: u64) -> Metadata {
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(modified);
    Metadata { kind: FileKind::File, len, modified, changed: None, identity: None }
}

fn text(turn: u64, text: &str) -> TurnText {
    let passage =
        Passage { role: PassageRole::User, kind: "request".to_owned(), text: text.to_owned() };
    TurnText { turn: TurnId::new(turn), at: Timestamp::UNIX_EPOCH, passages: vec![passage] }
}

/// Revisions from one to another, the last of which changed the texts of some turns.
fn written(first: u64, last: u64, texts: &[(u64, &str)]) -> Entry {
    let texts = texts.iter().map(|(turn, said)| (TurnId::new(*turn), (last, text(*turn, said))));
    Entry {
        head: head(1, last),
        len: last,
        before: None,
        start: first - 1,
        ranges: vec![(first, last)],
        texts: texts.collect::<BTreeMap<_, _>>(),
        tokens: Vec::new(),
        stale: false,
    }
}

fn put(connection: &Connection, entry: &Entry) {
    let mut texts = Vec::new();
    let found = file(entry.len, entry.len);
    put_written(connection, &key(), entry, &found, Some(&mut texts)).unwrap();
    full_text::put_all(connection, texts).unwrap();
}

fn finds(connection: &Connection, word: &str) -> Vec<u64> {
    let query = TextQuery::new(vec![crate::storage::Term::new(word).unwrap()]);
    let page = full_text::search(connection, &OwnerId::local(), &query, None).unwrap();
    let mut turns: Vec<u64> = page.items.iter().map(|hit| hit.turn.get()).collect();
    turns.sort_unstable();
    turns
}

/// Up to which revision the text is in, and whether some is missing.
fn indexed(connection: &Connection) -> (u64, bool) {
    let row = catalogue::row_of(connection, &key()).unwrap().unwrap();
    let log = log_of(connection, row).unwrap();
    (log.indexed, progress(connection).unwrap().behind > 0)
}

fn look(connection: &Connection) -> Option<String> {
    let row = catalogue::row_of(connection, &key()).unwrap().unwrap();
    log_of(connection, row).unwrap().look
}

#[test]
fn an_older_text_of_another_process_that_comes_later_does_not_replace_a_newer_one() {
    let connection = database();
    put(&connection, &written(1, 4, &[(1, "begun")]));
    put(&connection, &written(7, 8, &[(2, "newest")]));
    assert_eq!(indexed(&connection), (4, true));
    put(&connection, &written(6, 6, &[(2, "newer"), (3, "sixth")]));
    assert_eq!(indexed(&connection), (4, true));
    put(&connection, &written(5, 5, &[(1, "changed"), (2, "old"), (3, "fifth")]));
    assert_eq!(indexed(&connection), (8, false));
    for (word, turns) in [
        ("begun", vec![]),
        ("changed", vec![1]),
        ("newest", vec![2]),
        ("newer", vec![]),
        ("old", vec![]),
        ("sixth", vec![3]),
        ("fifth", vec![]),
    ] {
        assert_eq!(finds(&connection, word), turns, "{word}");
    }
    let (_, now) = catalogue::get(&connection, &key()).unwrap().unwrap();
    assert_eq!(now.revision, Revision::new(8));
    assert!(ahead_of(&connection, SessionRow { id: 1, owner: 1 }).unwrap().is_empty());
}

#[test]
fn an_extracted_session_closes_a_gap_and_does_not_replace_what_came_after_it() {
    let connection = database();
    put(&connection, &written(1, 2, &[(1, "first"), (2, "gone")]));
    put(&connection, &written(9, 9, &[(3, "ninth")]));
    let texts = vec![text(1, "first"), text(3, "eighth"), text(4, "seventh")];
    let extracted = Extracted { head: head(1, 8), texts: texts.clone(), facts: Vec::new() };
    assert!(put_extracted(&connection, &key(), &extracted, &texts[..1], true).unwrap());
    assert_eq!(indexed(&connection), (2, true));
    assert!(put_extracted(&connection, &key(), &extracted, &texts[1..], false).unwrap());
    assert_eq!(indexed(&connection), (9, false));
    assert_eq!(finds(&connection, "first"), [1]);
    assert_eq!(finds(&connection, "gone"), [0; 0]);
    assert_eq!(finds(&connection, "ninth"), [3]);
    assert_eq!(finds(&connection, "eighth"), [0; 0]);
    assert_eq!(finds(&connection, "seventh"), [4]);
    // What comes late after that is older than what was read.
    put(&connection, &written(3, 8, &[(4, "third")]));
    assert_eq!(finds(&connection, "seventh"), [4]);
}

#[test]
fn an_older_row_does_not_replace_a_newer_one_but_a_file_as_it_is_does() {
    let connection = database();
    put(&connection, &written(1, 9, &[]));
    assert_eq!(look(&connection), Some(look_of(&file(9, 9))));
    put(&connection, &written(3, 4, &[]));
    let place = || catalogue::get(&connection, &key()).unwrap().unwrap().1;
    assert_eq!(place().revision, Revision::new(9));
    // An older state was restored: its text is to be read.
    put_read(&connection, &key(), &head(1, 4), Some(&file(4, 20))).unwrap();
    assert_eq!((place().revision, indexed(&connection)), (Revision::new(4), (0, true)));
    put(&connection, &Entry { head: head(2, 1), ..written(1, 1, &[(1, "again")]) });
    assert_eq!((place().incarnation, indexed(&connection)), (Incarnation::new(2), (1, false)));
    put(&connection, &written(5, 10, &[(1, "late")]));
    assert_eq!((place().incarnation, finds(&connection, "late")), (Incarnation::new(2), vec![]));
}

#[test]
fn a_log_of_another_length_than_was_written_must_be_looked_at() {
    let connection = database();
    let entry = written(1, 3, &[]);
    put_written(&connection, &key(), &entry, &file(7, 7), Some(&mut Vec::new())).unwrap();
    assert_eq!(look(&connection), None);
}

#[test]
fn a_log_that_was_changed_between_two_appends_has_its_text_read_again() {
    let connection = database();
    put(&connection, &written(1, 3, &[(1, "first")]));
    let unchanged = Entry { before: Some(file(3, 3)), ..written(4, 4, &[]) };
    put(&connection, &unchanged);
    assert_eq!(indexed(&connection), (4, false));
    let changed = Entry { before: Some(file(4, 30)), ..written(5, 5, &[(2, "fifth")]) };
    put(&connection, &changed);
    assert_eq!(indexed(&connection), (0, true));
    // What was written since is there all the same.
    assert_eq!(finds(&connection, "fifth"), [2]);
    let texts = vec![text(1, "other"), text(2, "fifth")];
    let extracted = Extracted { head: head(1, 5), texts: texts.clone(), facts: Vec::new() };
    assert!(put_extracted(&connection, &key(), &extracted, &texts, false).unwrap());
    assert_eq!(indexed(&connection), (5, false));
    assert_eq!(finds(&connection, "first"), [0; 0]);
}

#[test]
fn the_same_revision_in_another_file_is_somebody_elses() {
    let connection = database();
    put(&connection, &written(1, 3, &[(1, "first")]));
    put_read(&connection, &key(), &head(1, 3), Some(&file(3, 3))).unwrap();
    assert_eq!(indexed(&connection), (3, false));
    put_read(&connection, &key(), &head(1, 3), Some(&file(3, 4))).unwrap();
    assert_eq!(indexed(&connection), (0, true));
}

#[test]
fn an_extracted_session_replaces_no_text_of_a_stretch_that_goes_on_after_it() {
    let connection = database();
    put(&connection, &written(1, 2, &[(1, "first")]));
    put(&connection, &written(8, 9, &[(3, "ninth"), (4, "begun")]));
    let texts = vec![text(1, "first"), text(3, "eighth")];
    let extracted = Extracted { head: head(1, 8), texts: texts.clone(), facts: Vec::new() };
    assert!(put_extracted(&connection, &key(), &extracted, &texts, false).unwrap());
    assert_eq!(indexed(&connection), (9, false));
    assert_eq!(finds(&connection, "ninth"), [3]);
    assert_eq!(finds(&connection, "eighth"), [0; 0]);
    assert_eq!(finds(&connection, "begun"), [4]);
}

#[test]
fn a_log_that_went_back_and_on_again_has_its_text_read_anew() {
    let with = |entry: Entry, token: &str| {
        let token = VersionToken(token.to_owned());
        Entry { head: Head { token, ..entry.head }, ..entry }
    };
    let connection = database();
    put(&connection, &with(written(1, 10, &[(1, "first"), (2, "other")]), "10 of another"));
    // It was put back to revision 8, and two appends made two more.
    put(&connection, &with(written(9, 10, &[(2, "tenth")]), "10"));
    assert_eq!(indexed(&connection), (0, true));
    let texts = vec![text(1, "first"), text(2, "tenth")];
    let now = with(written(1, 10, &[]), "10").head;
    let extracted = Extracted { head: now, texts: texts.clone(), facts: Vec::new() };
    assert!(put_extracted(&connection, &key(), &extracted, &texts, false).unwrap());
    assert_eq!(finds(&connection, "other"), [0; 0]);
    // Whoever verified in between has read what is written here.
    put_read(&connection, &key(), &with(written(1, 11, &[]), "11").head, Some(&file(11, 11)))
        .unwrap();
    let mut two = with(written(11, 12, &[(2, "twelfth")]), "12");
    two.tokens.push((11, VersionToken("11".to_owned())));
    put(&connection, &two);
    assert_eq!((indexed(&connection), finds(&connection, "twelfth")), ((12, false), vec![2]));
}

#[test]
fn text_that_cannot_be_had_makes_searches_partial() {
    let connection = database();
    put(&connection, &written(1, 3, &[]));
    assert_eq!(progress(&connection).unwrap(), Texts { all: 0, missing: 0, behind: 0 });
    put_read(&connection, &key(), &head(1, 4), Some(&file(4, 4))).unwrap();
    assert_eq!(progress(&connection).unwrap(), Texts { all: 1, missing: 1, behind: 1 });
    // It was read as it looked before.
    refuse(&connection, &key(), Some(&look_of(&file(3, 3)))).unwrap();
    assert_eq!(progress(&connection).unwrap(), Texts { all: 1, missing: 1, behind: 1 });
    refuse(&connection, &key(), Some(&look_of(&file(4, 4)))).unwrap();
    assert_eq!(progress(&connection).unwrap(), Texts { all: 1, missing: 1, behind: 0 });
    put_read(&connection, &key(), &head(1, 0), Some(&file(5, 5))).unwrap();
    assert_eq!(progress(&connection).unwrap(), Texts { all: 1, missing: 1, behind: 0 });
}

#[test]
fn text_of_another_history_than_the_rows_is_not_taken_for_its() {
    let with = |head: Head, token: &str| Head { token: VersionToken(token.to_owned()), ..head };
    let connection = database();
    put(&connection, &written(1, 3, &[(1, "first")]));
    let read = with(head(1, 3), "3 of this");
    put_read(&connection, &key(), &read, Some(&file(3, 40))).unwrap();
    let texts = vec![text(1, "first")];
    let put = |token: &str| {
        let head = with(head(1, 3), token);
        let extracted = Extracted { head, texts: texts.clone(), facts: Vec::new() };
        put_extracted(&connection, &key(), &extracted, &texts, false).unwrap()
    };
    assert!(!put("3 of another"));
    assert_eq!(indexed(&connection), (0, true));
    assert!(put("3 of this"));
    assert_eq!(indexed(&connection), (3, false));
}

#[test]
fn another_log_of_the_same_revision_that_could_not_be_opened_at_first_is_read() {
    let of = |token: &str| Head { token: VersionToken(token.to_owned()), ..head(1, 3) };
    let connection = database();
    put(&connection, &Entry { head: of("3 of this"), ..written(1, 3, &[(1, "first")]) });
    assert!(look_again(&connection, &key()).unwrap());
    put_read(&connection, &key(), &of("3 of this"), Some(&file(3, 4))).unwrap();
    assert_eq!(indexed(&connection), (3, false));
    assert!(look_again(&connection, &key()).unwrap());
    put_read(&connection, &key(), &of("3 of another"), Some(&file(3, 5))).unwrap();
    assert_eq!(indexed(&connection), (0, true));
}

#[test]
fn nothing_is_left_of_what_is_removed() {
    let connection = database();
    put(&connection, &written(1, 2, &[(1, "first")]));
    put(&connection, &written(5, 6, &[(2, "sixth")]));
    remove(&connection, &key()).unwrap();
    for table in ["owners", "sessions", "logs", "ahead", "docs", "waiting"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = connection.query_row(&sql, (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    remove(&connection, &key()).unwrap();
}
