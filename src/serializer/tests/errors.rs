//! Bytes that are wrong, each with what is said of them.

use std::error::Error as _;
use std::fmt::Write as _;

use super::{knowing, log_of};
use crate::error::{Error, ErrorKind};
use crate::json::RawJson;
use crate::log::{Event, FORMAT, SessionState};
use crate::model::{ChatModel, SessionChange, SessionMeta};
use crate::serializer::ChatModelSerializer as _;

fn nested(depth: usize) -> String {
    format!("{}{}", "[".repeat(depth), "]".repeat(depth))
}

/// A document with this in the place of its session's unknown field, response, and so on.
fn document(session: &str, request: &str, response: &str, beside: &str) -> String {
    format!(
        r#"{{"chatkeep":"1.0.0","serializer":{{"id":"chatkeep.json","version":"1.0.0"}},"session":{{"id":"s","owner":"local","created":"2026-01-01T00:00:00Z"{session}}},"turns":[{{"turn":1,"request":{{"id":"q","at":"2026-01-01T00:00:00Z"{request}}},"response":{{"id":"a","state":"complete"{response}}}}}]{beside}}}"#
    )
}

fn table(cases: &[(&str, String)], fails: impl Fn(&str) -> Error) -> String {
    let mut table = String::new();
    for (name, bytes) in cases {
        let error = fails(bytes);
        let shown = error.to_string();
        assert!(shown.len() < 700, "{name}: {} bytes", shown.len());
        writeln!(table, "{name}\n    {shown}").unwrap();
        assert!(error.source().is_none_or(|cause| cause.to_string().len() < 700), "{name}");
    }
    table
}

#[test]
fn the_plain_document_of_these_tests_is_read() {
    let model = knowing().read_document(document("", "", "", "").as_bytes()).unwrap();
    assert_eq!(knowing().write_document(&model).unwrap().get(), document("", "", "", ""));
}

#[test]
fn documents_that_cannot_be_read() {
    let d = document;
    let cases = [
        ("empty", String::new()),
        ("text", "hello".to_owned()),
        ("null", "null".to_owned()),
        ("an array", "[]".to_owned()),
        ("another object", "{}".to_owned()),
        ("cut", d("", "", "", "")[..90].to_owned()),
        ("more behind", d("", "", "", "") + "{}"),
        ("a newer major version", d("", "", "", "").replace("\"1.0.0\",\"s", "\"2.0.0\",\"s")),
        ("an older version", d("", "", "", "").replace("\"1.0.0\",\"s", "\"0.9.0\",\"s")),
        ("no version", d("", "", "", "").replace("\"1.0.0\",\"s", "\"banana\",\"s")),
        ("another serializer", d("", "", "", "").replace("chatkeep.json", "acme.cbor")),
        ("a newer serializer", d("", "", "", "").replace("1.0.0\"},", "3.0.0\"},")),
        ("a key twice", d("", "", "", r#","turns":[]"#)),
        ("a key twice in a session", d(r#","id":"t""#, "", "", "")),
        ("a key twice in a request", d("", r#","x":1,"x":2"#, "", "")),
        ("a key twice in a response", d("", "", r#","\u0078":1,"x":2"#, "")),
        ("a key twice in usage", d("", "", r#","usage":{"input":1,"input":1}"#, "")),
        ("a key twice in preferences", d(r#","preferences":{"a":1,"a":1}"#, "", "", "")),
        (
            "a key twice in data",
            d(r#","data":{"a":{"version":"1.0.0","value":1},"a":{}}"#, "", "", ""),
        ),
        ("a key twice in an envelope", d("", "", r#","parts":[{"kind":"a","kind":"b"}]"#, "")),
        ("an id that is null", d("", "", "", "").replace(r#""id":"q""#, r#""id":null"#)),
        ("an id that is a path", d("", "", "", "").replace(r#""id":"q""#, r#""id":"../q""#)),
        ("an id that is missing", d("", "", "", "").replace(r#""id":"a","#, "")),
        ("a state that is unknown", d("", "", "", "").replace("complete", "dreaming")),
        (
            "a time that is a number",
            d("", "", "", "").replace(r#""2026-01-01T00:00:00Z"},"r"#, r#"5},"r"#),
        ),
        ("tokens that are text", d("", "", r#","usage":{"input":"secret text"}"#, "")),
        ("tokens that are negative", d("", "", r#","usage":{"input":-1}"#, "")),
        ("a cost that is text", d("", "", r#","usage":{"cost":"1"}"#, "")),
        ("parts that are an object", d("", "", r#","parts":{}"#, "")),
        ("a part that is null", d("", "", r#","parts":[{"kind":"separator"},null]"#, "")),
        ("a part without a kind", d("", "", r#","parts":[{"data":{}}]"#, "")),
        ("data without a version", d("", r#","data":{"acme.todos":{"value":1}}"#, "", "")),
        ("data without a value", d("", r#","data":{"acme.todos":{"version":"1.0.0"}}"#, "", "")),
        ("data that is a list", d("", r#","data":[]"#, "", "")),
        ("a message that is text", d("", r#","message":"hi""#, "", "")),
        ("a queue that is text", d(r#","queue":"x""#, "", "", "")),
        ("half a surrogate pair", d(r#","x":"\ud83d""#, "", "", "")),
        ("half a pair in a key", d(r#","\ude00x":1"#, "", "", "")),
        ("a raw line break in text", d(",\"x\":\"a\nb\"", "", "", "")),
        ("not a number", d(r#","x":NaN"#, "", "", "")),
        ("129 deep", d(&format!(r#","preferences":{{"x":{}}}"#, nested(129)), "", "", "")),
        ("100,000 deep", d(&format!(r#","x":{}"#, nested(100_000)), "", "", "")),
        ("another turn's number", d("", "", "", "").replace("\"turn\":1", "\"turn\":2")),
        ("a parent to come", d("", "", "", "").replace("\"turn\":1", "\"turn\":1,\"parent\":1")),
        ("an active turn that is not there", d("", "", "", r#","active":2"#)),
        ("a name that records need", d("", "", "", r#","log":2"#)),
    ];
    let fails = |bytes: &str| knowing().read_document(bytes.as_bytes()).unwrap_err();
    insta::assert_snapshot!(table(&cases, fails));
    for (name, bytes) in &cases {
        let kind = fails(bytes).kind();
        let expected = match *name {
            "129 deep" | "100,000 deep" => ErrorKind::LimitExceeded,
            "a newer major version" | "an older version" | "a newer serializer" => {
                ErrorKind::UnsupportedVersion
            }
            "another serializer" => ErrorKind::Unsupported,
            _ => ErrorKind::Invalid,
        };
        assert_eq!(kind, expected, "{name}");
    }
    let binary = knowing().read_document(b"\xff\xfe{}").unwrap_err();
    insta::assert_snapshot!(binary, @"invalid: the document is not UTF-8");
}

#[test]
fn bodies_that_cannot_be_read() {
    let cases = [
        ("log", "{}".to_owned()),
        ("log", r#"{"format":"1.0.0","serializer":{},"owner":"o","session":"s"}"#.to_owned()),
        ("session", r#"{"session":null}"#.to_owned()),
        ("session.set", r#"{"title":5}"#.to_owned()),
        ("session.set", r#"{"created":"2026-01-01T00:00:00Z"}"#.to_owned()),
        ("session.set", r#"{"queue":[{"request":{}}]}"#.to_owned()),
        ("data", r#"{"on":"moon","id":"x"}"#.to_owned()),
        ("data", r#"{"on":"session","id":"x","entry":7}"#.to_owned()),
        ("active", r#"{"turn":-1}"#.to_owned()),
        ("checkpoint", r#"{"log":{}}"#.to_owned()),
        ("request", r#"{"request":{"id":"q"},"response":"a"}"#.to_owned()),
        ("response", "[]".to_owned()),
        ("response", r#"{"response":{"id":"a","state":"complete","parts":[1]}}"#.to_owned()),
        ("part", r#"{"index":0}"#.to_owned()),
        ("part", r#"{"index":0,"part":"x"}"#.to_owned()),
        ("text", r#"{"index":-1,"text":"x"}"#.to_owned()),
        ("text", r#"{"index":0,"text":null}"#.to_owned()),
        ("feedback", r#"{"feedback":{"vote":"sideways"}}"#.to_owned()),
        ("claim", r#"{"epoch":"x"}"#.to_owned()),
        ("later", "not JSON".to_owned()),
    ];
    let mut shown = String::new();
    for (kind, body) in &cases {
        let error = knowing().read_event(kind, body, &FORMAT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{kind} {body}");
        assert_eq!(error.context("kind"), Some(*kind));
        writeln!(shown, "{body}\n    {error}").unwrap();
    }
    insta::assert_snapshot!(shown);
    let newer = knowing().read_event("text", "{}", &"2.0.0".parse().unwrap()).unwrap_err();
    insta::assert_snapshot!(newer, @"unsupported version: format 2.0.0 is newer than 1.0.0, the newest known (kind text)");
}

#[test]
fn a_long_string_is_kept_and_never_cited() {
    let long = "x".repeat(64 << 20);
    let good = document(&format!(r#","x":"{long}""#), "", "", "");
    let model = knowing().read_document(good.as_bytes()).unwrap();
    assert_eq!(knowing().write_document(&model).unwrap().get().len(), good.len());
    let bad = document(&format!(r#","pinned":"{long}""#), "", "", "");
    let error = knowing().read_document(bad.as_bytes()).unwrap_err();
    assert!(error.to_string().len() < 300 && format!("{error:?}").len() < 500);
}

#[test]
fn values_as_deep_as_allowed_fit_everywhere() {
    let deep = nested(128);
    let wide = document(
        &format!(
            r#","preferences":{{"x":{deep}}},"data":{{"d":{{"version":"1.0.0","value":{deep}}}}}"#
        ),
        "",
        &format!(r#","parts":[{{"kind":"x","data":{}}}]"#, nested(127)),
        "",
    );
    let model = knowing().read_document(wide.as_bytes()).unwrap();
    assert_eq!(knowing().write_document(&model).unwrap().get(), wide);
    for entry in crate::log::events_of(&model, log_of(&model)) {
        let body = knowing().write_event(&entry.event).unwrap();
        let read = knowing().read_event(entry.event.kind(), body.get(), &FORMAT).unwrap();
        assert_eq!(read, entry.event);
    }
}

#[test]
fn an_unknown_field_cannot_take_a_known_ones_name() {
    let meta = |name: &str| {
        let document = document("", "", "", "");
        let model = knowing().read_document(document.as_bytes()).unwrap();
        let mut meta: SessionMeta = model.session().clone();
        meta.extra.set(name, Some(RawJson::parse("1").unwrap()));
        ChatModel::new(meta)
    };
    for name in ["id", "title", "queue", "data"] {
        let error = knowing().write_document(&meta(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
    }
    let error = knowing().write_document(&meta("title")).unwrap_err();
    insta::assert_snapshot!(error, @"invalid: the value cannot be written as JSON: the unknown field `title` has the name of a known one");

    let set = |name: &str| {
        let change = SessionChange::Extra(name.to_owned(), None);
        knowing().write_event(&Event::SessionSet(vec![change]))
    };
    assert!(set("x").is_ok());
    insta::assert_snapshot!(set("owner").unwrap_err(), @"invalid: the unknown field `owner` of a session has the name of a known one");

    let state = |name: &str| {
        let mut extra = crate::json::Extra::new();
        extra.set(name, Some(RawJson::parse("1").unwrap()));
        let state = SessionState { meta: meta("x").session().clone(), extra };
        knowing().write_event(&Event::Session(Box::new(state)))
    };
    assert!(state("x").is_ok());
    // A checkpoint could not say it later.
    assert_eq!(state("turns").unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn null_is_a_value_of_data_and_absence_of_anything_else() {
    let text = document(
        r#","title":null,"tags":null,"queue":null,"data":{"d":{"version":"1.0.0","value":null}}"#,
        r#","message":null,"data":null"#,
        r#","parts":null,"usage":null,"data":null,"references":[{"value":null}],"x":null"#,
        r#","active":null"#,
    );
    let model = knowing().read_document(text.as_bytes()).unwrap();
    let written = knowing().write_document(&model).unwrap();
    let expected = document(
        r#","data":{"d":{"version":"1.0.0","value":null}}"#,
        "",
        r#","references":[{"value":null}],"x":null"#,
        "",
    );
    assert_eq!(written.get(), expected);
}

#[test]
fn a_preference_that_is_set_to_null_is_removed_here_as_after_reading() {
    let model = knowing().read_document(document("", "", "", "").as_bytes()).unwrap();
    let null = || Some(RawJson::parse("null").unwrap());
    let changes = vec![
        SessionChange::Preference("a".to_owned(), null()),
        SessionChange::Extra("x".to_owned(), null()),
    ];
    let body = knowing().write_event(&Event::SessionSet(changes.clone())).unwrap();
    let Event::SessionSet(read) = knowing().read_event("session.set", body.get(), &FORMAT).unwrap()
    else {
        panic!("another event")
    };
    let apply = |changes: Vec<SessionChange>| {
        let mut meta = model.session().clone();
        changes.into_iter().for_each(|change| meta.apply(change));
        meta
    };
    assert_eq!(apply(read), apply(changes));
}
