//! Logs and ids that are not what they should be: each its own error, and nothing is touched.

use std::fs;
use std::path::{Path, PathBuf};

use chatkeep::part::Markdown;
use chatkeep::storage::SessionKey;
use chatkeep::{ChatSession, ChatStore, Error, ErrorKind, NewSession, OwnerId, SessionId};

use crate::common::*;

fn log(dir: &Path) -> PathBuf {
    dir.join("sessions/local/s1.jsonl")
}

/// A store with a session of a few turns, and one that is well.
fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    block(async {
        let store = ChatStore::open(dir.path()).await?;
        let chat = store.local().create(NewSession::titled("Parser").id(id("s1"))).await?;
        for number in 0..40 {
            chat.record(format!("question {number}"), [Markdown::new("an answer")]).await?;
        }
        store.local().create(NewSession::new().id(id("well"))).await?;
        Ok(())
    });
    dir
}

fn open(dir: &Path) -> Result<ChatSession, Error> {
    let store = block(ChatStore::open(dir));
    // Whatever is wrong with the one, the other is well.
    block(block(store.local().open(id("well"))).pin(true));
    pollster::block_on(store.local().open(id("s1")))
}

/// Opens a log of this content: the error, and the content is as it was.
fn refused(content: &[u8]) -> Error {
    let dir = made();
    fs::write(log(dir.path()), content).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert_eq!(fs::read(log(dir.path())).unwrap(), content, "{error}");
    assert!(error.to_string().contains("s1"), "{error}");
    error
}

#[test]
fn what_is_no_log_is_refused_and_not_touched() {
    let mut said = Vec::new();
    for (name, content) in [
        ("empty", Vec::new()),
        ("binary", (0..=255_u8).cycle().take(4_096).collect()),
        ("truncated", b"{\"v\":1,\"rev".to_vec()),
        ("deep", "[".repeat(100_000).into_bytes()),
        ("long", format!("\"{}\"\n", "x".repeat(64 << 20)).into_bytes()),
        ("duplicate keys", b"{\"a\":1,\"a\":2}\n".to_vec()),
        ("surrogate", b"{\"a\":\"\\ud800\"}\n".to_vec()),
    ] {
        let error = refused(&content);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        said.push(format!("{name}: {error}"));
    }
    insta::assert_snapshot!(said.join("\n"), @r###"
empty: corrupt: the log is empty (file sessions/local/s1.jsonl, record 1, session s1)
binary: corrupt: no record of the log can be read; of the first line, the line has no checksum (file sessions/local/s1.jsonl, record 1, session s1)
truncated: corrupt: no record of the log can be read; of the first line, the end is missing (file sessions/local/s1.jsonl, record 1, session s1)
deep: corrupt: no record of the log can be read; of the first line, the end is further away than that of a record (file sessions/local/s1.jsonl, record 1, session s1)
long: corrupt: no record of the log can be read; of the first line, the end is further away than that of a record (file sessions/local/s1.jsonl, record 1, session s1)
duplicate keys: corrupt: no record of the log can be read; of the first line, the line has no checksum (file sessions/local/s1.jsonl, record 1, session s1)
surrogate: corrupt: no record of the log can be read; of the first line, the line has no checksum (file sessions/local/s1.jsonl, record 1, session s1)
"###);
}

#[test]
fn a_folder_in_a_logs_place_is_refused() {
    let dir = made();
    fs::remove_file(log(dir.path())).unwrap();
    fs::create_dir(log(dir.path())).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(!error.is_not_found(), "{error}");
}

#[test]
fn ids_that_are_paths_are_refused() {
    for bad in ["../x", "a/b", "..", "", "a\0b", "a\\b", &"x".repeat(201)] {
        assert_eq!(SessionId::new(bad).unwrap_err().kind(), ErrorKind::Invalid, "{bad:?}");
    }
}

fn edit(dir: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let text = fs::read_to_string(log(dir)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(log(dir), lines.join("\n") + "\n").unwrap();
}

/// It is read as far as it can be, not written to, and writable once it is repaired.
fn is_read_only_until_repaired(dir: &Path, turns: usize) {
    let before = fs::read(log(dir)).unwrap();
    let store = block(ChatStore::open(dir));
    let chat = block(store.local().open(id("s1")));
    block(chat.load_earlier(1_000));
    let damage = chat.damage();
    assert!(!damage.is_empty() && damage.iter().all(|damage| damage.record.is_some()));
    println!("{damage:?}");
    assert_eq!(chat.model().title(), "Parser");
    assert_eq!(chat.model().all_turns().len(), turns);
    for error in [
        pollster::block_on(chat.rename("x")).unwrap_err(),
        pollster::block_on(chat.ask("x")).map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.context("record").is_some(), "{error}");
    }
    assert_eq!(fs::read(log(dir)).unwrap(), before);
    block(block(store.local().open(id("well"))).rename("well"));

    let key = SessionKey::new(OwnerId::local(), id("s1"));
    let report = block(store.storage().maintenance().repair(&key));
    assert!(!report.kept.is_empty());
    // The handle that was there, after it has looked.
    block(chat.refresh());
    block(chat.load_earlier(1_000));
    assert!(chat.damage().is_empty(), "{:?}", chat.damage());
    let mut answer = block(chat.ask("and now?"));
    block(answer.append_text("on"));
    block(answer.complete());
    let again = block(block(ChatStore::open(dir)).local().open(id("s1")));
    block(again.load_earlier(1_000));
    assert!(again.damage().is_empty());
    assert!(again.model() == chat.model());
}

#[test]
fn a_damaged_record_at_the_end_costs_itself_alone() {
    let dir = made();
    edit(dir.path(), |lines| {
        let last = lines.len() - 3;
        lines[last] = lines[last].replace("an answer", "no answer");
    });
    is_read_only_until_repaired(dir.path(), 40);
}

#[test]
fn a_damaged_record_far_back_is_met_when_it_is_read() {
    let dir = made();
    edit(dir.path(), |lines| lines[9] = lines[9].replace("an answer", "no answer"));
    is_read_only_until_repaired(dir.path(), 40);
}

#[test]
fn a_damaged_record_that_a_branch_leads_back_to_keeps_nothing_from_being_opened() {
    let dir = made();
    let store = block(ChatStore::open(dir.path()));
    let chat = block(store.local().open(id("s1")));
    // The newest 20 turns of the log are now fewer of the branch, so that opening reads on.
    let newest = chat.model().active().unwrap();
    let mut answer = block(chat.regenerate(newest));
    block(answer.append_text("an answer"));
    block(answer.complete());
    drop((answer, chat, store));
    edit(dir.path(), |lines| {
        let requests = |line: &&mut String| line.contains("\"kind\":\"request\"");
        let line = lines.iter_mut().rev().filter(requests).nth(20).unwrap();
        *line = line.replace("\"at\"", "\"ta\"");
    });
    let store = block(ChatStore::open(dir.path()));
    let chat = block(store.local().open(id("s1")));
    assert!(!chat.damage().is_empty());
    let model = chat.model();
    let is_lost = |turn: &&chatkeep::Turn| turn.request().id.as_str() == "lost-21";
    assert_eq!((model.all_turns().len(), model.all_turns().filter(is_lost).count()), (41, 1));
    assert_eq!(model.active().map(chatkeep::TurnId::get), Some(41));
}

#[test]
fn a_session_whose_first_request_a_repair_took_out_is_opened_with_a_lost_turn() {
    let dir = tempfile::tempdir().unwrap();
    let store = block(ChatStore::open(dir.path()));
    let chat = block(store.local().create(NewSession::titled("Parser").id(id("s1"))));
    for question in ["first", "second", "third"] {
        block(chat.record(question, [Markdown::new("an answer")]));
    }
    edit(dir.path(), |lines| {
        let line = lines.iter_mut().find(|line| line.contains("\"kind\":\"request\"")).unwrap();
        *line = line.replace("first", "other");
    });
    // Open while it is damaged, and when it is not any more.
    let damaged = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
    assert!(!damaged.damage().is_empty());
    block(store.storage().maintenance().repair(&SessionKey::new(OwnerId::local(), id("s1"))));
    block(damaged.refresh());
    let again = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
    for chat in [&damaged, &again] {
        let model = chat.model();
        let requests: Vec<_> = model.all_turns().map(|turn| turn.request().text()).collect();
        assert_eq!((model.has_earlier(), requests.len()), (false, 3));
        assert_eq!(requests[1..], ["second", "third"]);
    }
    block(again.record("fourth", [Markdown::new("goes on")]));
}

#[test]
fn a_log_whose_first_record_is_missing_is_read() {
    let dir = made();
    edit(dir.path(), |lines| drop(lines.remove(0)));
    let store = block(ChatStore::open(dir.path()));
    let opened = pollster::block_on(store.local().open(id("s1")));
    if let Ok(chat) = opened {
        block(chat.load_earlier(1_000));
        assert!(!chat.damage().is_empty());
        assert_eq!(pollster::block_on(chat.rename("x")).unwrap_err().kind(), ErrorKind::Corrupt);
    } else {
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

/// Writes lines whose checksums fit: what another program wrote so.
async fn append_raw(dir: &Path, kind: &'static str, body: &str) {
    append_raw_to(dir, chatkeep::TurnId::new(3), kind, body).await;
}

async fn append_raw_to(dir: &Path, turn: chatkeep::TurnId, kind: &'static str, body: &str) {
    use chatkeep::storage::*;
    let storage = FileStorage::open(dir).await.unwrap();
    let key = SessionKey::new(OwnerId::local(), id("s1"));
    let head = storage.head(&key).await.unwrap().unwrap();
    let revision = head.revision.next();
    let record = Record {
        revision,
        turn,
        kind: kind.into(),
        at: head.fields.active,
        batch: BatchId::new(7),
        body: Body::Json(bytes::Bytes::copy_from_slice(body.as_bytes())),
    };
    let batch = Batch {
        id: BatchId::new(7),
        records: vec![record],
        head: None,
        epoch: None,
        base: Revision::ZERO,
        texts: Vec::new(),
        facts: Vec::new(),
        durability: Durability::Synced,
    };
    let expected = Expected::At { incarnation: head.incarnation, revision: head.revision };
    storage.append(&key, expected, batch).await.unwrap();
}

#[test]
fn a_body_that_cannot_be_decoded_costs_itself_alone() {
    let dir = made();
    let store = block(ChatStore::open(dir.path()));
    let live = block(store.local().open(id("s1")));
    pollster::block_on(append_raw(dir.path(), "feedback", "{\"feedback\":{\"vote\":7}}"));
    let chat = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
    for chat in [&chat, &live] {
        block(chat.refresh());
        assert_eq!(chat.damage().len(), 1, "{:?}", chat.damage());
        assert_eq!(chat.model().all_turns().len(), 40);
        assert_eq!(pollster::block_on(chat.rename("x")).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_checkpoint_of_more_turns_than_can_be_counted_costs_itself_alone() {
    let dir = made();
    let written = fs::read_to_string(log(dir.path())).unwrap();
    let line = written.lines().rfind(|line| line.contains("\"kind\":\"checkpoint\"")).unwrap();
    let line: std::collections::BTreeMap<String, serde_json::Value> =
        serde_json::from_str(line).unwrap();
    let mut body = line["body"].clone();
    body["turns"] = u64::MAX.into();
    let turn = chatkeep::TurnId::SESSION;
    pollster::block_on(append_raw_to(dir.path(), turn, "checkpoint", &body.to_string()));
    let chat = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
    assert_eq!(chat.damage().len(), 1, "{:?}", chat.damage());
    assert_eq!(chat.model().all_turns().len(), 40);
}

/// Lines whose checksums fit, and whose bodies are not what they should be.
#[test]
fn each_fault_of_a_body_is_named_with_its_record() {
    let mut said = Vec::new();
    for (name, kind, body) in [
        ("deep", "feedback", format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200))),
        ("surrogate", "feedback", "{\"feedback\":{\"reason\":\"\\ud800\"}}".to_owned()),
        (
            "duplicate key",
            "feedback",
            "{\"feedback\":{\"vote\":\"up\",\"vote\":\"up\"}}".to_owned(),
        ),
        ("wrong type", "feedback", "{\"feedback\":{\"vote\":7}}".to_owned()),
        ("missing field", "text", "{\"index\":0}".to_owned()),
        ("no such part", "text", "{\"index\":9,\"text\":\"x\"}".to_owned()),
        (
            "out of its place",
            "request",
            "{\"request\":{\"id\":\"q\",\"at\":\"2026-01-01T00:00:00Z\"},\"response\":\"a\"}"
                .to_owned(),
        ),
    ] {
        let dir = made();
        pollster::block_on(append_raw(dir.path(), kind, &body));
        let before = fs::read(log(dir.path())).unwrap();
        let chat = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
        block(chat.load_earlier(1_000));
        assert_eq!(chat.model().all_turns().len(), 40, "{name}");
        let error = pollster::block_on(chat.rename("x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
        assert_eq!(fs::read(log(dir.path())).unwrap(), before, "{name}");
        said.push(format!("{name}: {error}"));
    }
    insta::assert_snapshot!(said.join("\n"), @r###"
deep: corrupt: the session is damaged and cannot be changed until it is repaired: JSON is nested more than 144 deep (session s1, place record of kind feedback, record 85)
surrogate: corrupt: the session is damaged and cannot be changed until it is repaired: a string holds half of a surrogate pair (session s1, place record of kind feedback, record 85)
duplicate key: corrupt: the session is damaged and cannot be changed until it is repaired: the JSON has another shape: field `feedback`: duplicate field `vote` at line 1 column 19 (session s1, place record of kind feedback, record 85)
wrong type: corrupt: the session is damaged and cannot be changed until it is repaired: the JSON has another shape: field `feedback`: field `vote`: expected value at line 1 column 9 (session s1, place record of kind feedback, record 85)
missing field: corrupt: the session is damaged and cannot be changed until it is repaired: the JSON has another shape: missing field `text` (session s1, place record of kind text, record 85)
no such part: corrupt: the session is damaged and cannot be changed until it is repaired: the response of turn 3 has no part 9 (session s1, place record of kind text, record 85)
out of its place: corrupt: the session is damaged and cannot be changed until it is repaired: turn 3 begins where turn 41 should (session s1, place record of kind request, record 85)
"###);
}

#[test]
fn records_of_kinds_to_come_are_kept_and_passed_over() {
    let dir = made();
    pollster::block_on(append_raw(dir.path(), "hologram", "{\"x\":1}"));
    let chat = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
    assert!(chat.damage().is_empty());
    block(chat.rename("goes on"));
    block(chat.compact());
    assert!(fs::read_to_string(log(dir.path())).unwrap().contains("hologram"));
}

#[test]
fn a_newer_major_version_and_another_serializer_are_refused() {
    use chatkeep::storage::*;
    for (body, kind) in [
        (
            r#"{"format":"9.0.0","serializer":{"id":"chatkeep.json","version":"1.0.0"},"owner":"local","session":"s2"}"#,
            ErrorKind::UnsupportedVersion,
        ),
        (
            r#"{"format":"1.0.0","serializer":{"id":"acme.cbor","version":"1.0.0"},"owner":"local","session":"s2"}"#,
            ErrorKind::Unsupported,
        ),
        (
            r#"{"format":"1.0.0","serializer":{"id":"chatkeep.json","version":"1.0.0"},"owner":"local","session":"other"}"#,
            ErrorKind::Corrupt,
        ),
    ] {
        let dir = made();
        let store = block(ChatStore::open(dir.path()));
        let key = SessionKey::new(OwnerId::local(), id("s2"));
        let at = chatkeep::Clock::now(&Hands::default());
        let record = |revision, kind: &'static str, body: &str| Record {
            revision: Revision::new(revision),
            turn: chatkeep::TurnId::SESSION,
            kind: kind.into(),
            at,
            batch: BatchId::new(1),
            body: Body::Json(bytes::Bytes::copy_from_slice(body.as_bytes())),
        };
        let batch = Batch {
            id: BatchId::new(1),
            records: vec![
                record(1, "log", body),
                record(2, "session", "{\"from\":\"the future\"}"),
            ],
            head: Some(HeadFields::new(at)),
            epoch: None,
            base: Revision::ZERO,
            texts: Vec::new(),
            facts: Vec::new(),
            durability: Durability::Synced,
        };
        block(store.storage().append(&key, Expected::New, batch));
        let path = dir.path().join("sessions/local/s2.jsonl");
        let before = fs::read(&path).unwrap();
        let error = pollster::block_on(store.local().open(id("s2"))).unwrap_err();
        println!("{error}");
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(block(store.local().count(Default::default())), 3);
    }
}

#[test]
fn a_turn_that_cannot_be_has_no_others_after_it() {
    let dir = made();
    let chat = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
    let last = chatkeep::TurnId::new(u64::MAX);
    let model = chat.model();
    assert_eq!((model.children(Some(last)), model.leaf_of(last)), (Vec::new(), last));
}
