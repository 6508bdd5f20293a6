//! Input that is damaged, hostile, or something else.

use std::fs;

use super::*;
use crate::ErrorKind;
use crate::interop::{Outcome, read_file, theia, vscode};

fn kind(text: &str) -> ErrorKind {
    import(text).unwrap_err().kind()
}

fn session(fields: &str) -> String {
    format!(r#"{{"version":3,"sessionId":"s","creationDate":0,"requests":[]{fields}}}"#)
}

#[test]
fn errors_say_what_and_where() {
    let request = |fields: &str| {
        format!(r#"{{"sessionId":"s","requests":[{{"requestId":"r","message":"m"{fields}}}]}}"#)
    };
    let cases = [
        session("").replace("\"s\"", r#""../x""#),
        session("").replace("\"s\"", "7"),
        session("").replace("\"creationDate\":0", "\"creationDate\":1767225600000.5"),
        session("").replace("\"creationDate\":0", "\"creationDate\":\"2026-01-01\""),
        session("")
            .replace("\"creationDate\":0", "\"creationDate\":123456789012345678901234567890"),
        session("").replace("\"requests\":[]", "\"requests\":{}"),
        session("").replace("\"requests\":[]", "\"requests\":[null]"),
        session("").replace("\"version\":3", "\"version\":4"),
        session("").replace("\"version\":3", "\"version\":\"3\""),
        session(",\"version\":3"),
        session(",\n\"a\":NaN"),
        session(",\n\"a\":\"\\udc00\""),
        request(",\"timestamp\":1e12"),
        request(",\"responseId\":\"a/b\""),
        request(",\"modelState\":{\"value\":1,\"completedAt\":true}"),
        VSCODE[..2000].to_owned(),
        r#"{"version":2,"model":{"sessionId":"s"}}"#.to_owned(),
        r#"{"model":{"sessionId":"s"}}"#.to_owned(),
        r#"{"version":1,"model":{"sessionId":"a\u0000b"}}"#.to_owned(),
        r#"{"version":1,"model":{"sessionId":"s","requests":[1]}}"#.to_owned(),
        r#"{"version":1,"parentSessionId":"..","model":{"sessionId":"s"}}"#.to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        " \n".to_owned(),
        String::new(),
    ];
    let errors: Vec<String> =
        cases.iter().map(|case| import(case).unwrap_err().to_string()).collect();
    insta::assert_snapshot!("errors", errors.join("\n"));
}

#[test]
fn bombs() {
    let deep = |open: &str, close: &str, n: usize| format!("{}{}", open.repeat(n), close.repeat(n));
    let bomb = format!(",\"a\":{}", deep("[", "]", 100_000));
    assert_eq!(kind(&session(&bomb)), ErrorKind::LimitExceeded);
    let bomb = format!(",\"a\":1{}", deep(",\"b\":{\"a\":1", "}", 100_000));
    assert_eq!(kind(&session(&bomb)), ErrorKind::LimitExceeded);
    let log =
        format!("{{\"kind\":0,\"v\":{}}}", session(&format!(",\"a\":{}", deep("[", "]", 1000))));
    let error = import(&log).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::LimitExceeded), "{error}");

    let long = "x".repeat(64 << 20);
    let imported = import(&session(&format!(",\"customTitle\":\"{long}\""))).unwrap();
    assert_eq!(imported.model.title().len(), long.len());
    let ids = Counting::default();
    let small = options(&ids).max_bytes(50);
    let error = read(session(",\"a\":\"123456789012345678901234567890\"").as_bytes(), &small);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::LimitExceeded);

    let many: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":{n}")).collect();
    assert!(import(&session(&format!(",\"a\":{{{}}}", many.join(",")))).is_ok());
}

/// What is as deep as may be, and so in the worst place, can still be stored.
#[test]
fn the_deepest_document_has_room_in_a_record() {
    let depth = crate::interop::node::MAX_DEPTH;
    let value =
        |above: usize| format!("{}{}", "[".repeat(depth - above), "]".repeat(depth - above));
    let imported = import(&session(&format!(",\"a\":{}", value(1)))).unwrap();
    let entry = imported.model.session().data.get("vscode.session").unwrap();
    assert!(RawJson::parse(&format!("[[[[{}]]]]", entry.value)).is_ok());
    let imported = vscode_parts(&format!("[{{\"value\":\"x\",\"a\":{}}}]", value(5)));
    let part = envelopes(&imported);
    assert!(RawJson::parse(&format!("[[[[{part}]]]]")).is_ok());
}

#[test]
fn not_text() {
    let ids = Counting::default();
    let mut bytes = session("").into_bytes();
    bytes.extend_from_slice(b"\n\n\xff");
    let error = read(&bytes, &options(&ids)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(error.context("line"), Some("3"));
    let marked = format!("\u{feff}{}", session(""));
    assert!(read(marked.as_bytes(), &options(&ids)).is_ok());
    assert!(vscode::read_json(marked.as_bytes(), &options(&ids)).is_ok());
    assert!(vscode::read_json(VSCODE_LOG.as_bytes(), &options(&ids)).is_err());
    assert!(vscode::read_jsonl(VSCODE.as_bytes(), &options(&ids)).is_err());
    assert!(theia::read(VSCODE.as_bytes(), &options(&ids)).is_err());
    assert!(theia::read(THEIA.as_bytes(), &options(&ids)).is_ok());
}

#[test]
fn what_is_missing_is_made_up_and_said() {
    let imported = import(r#"{"requests":[{"message":"hello"},{"timestamp":1000}]}"#).unwrap();
    assert_eq!(imported.report.version(), 1);
    assert_eq!(imported.model.id().as_str(), "new-1");
    assert_eq!(imported.model.session().created.as_millisecond(), 1000);
    insta::assert_snapshot!("made_up", imported.report);
    let imported = import("\n\n{\"creationDate\":-1,\"requests\":[]}\n").unwrap();
    assert_eq!(imported.model.session().created.as_millisecond(), NOW);
    assert_eq!(imported.report.count(Outcome::Assumed), 2);
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let ids = Counting::default();
    let path = |name: &str| folder.path().join(name);
    let open = |name: &str| read_file(path(name), &options(&ids).max_bytes(50_000));
    fs::write(path("good.jsonl"), VSCODE_LOG).unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("binary"), b"SQLite format 3\0").unwrap();
    fs::write(path("large"), " ".repeat(50_001)).unwrap();
    fs::write(path("torn"), &VSCODE[..500]).unwrap();
    assert_eq!(open("good.jsonl").unwrap().model.turns().len(), 8);
    let shown = |name: &str| {
        let error = open(name).unwrap_err();
        assert!(error.context("file").unwrap().ends_with(name), "{error}");
        format!("{name}: {}: {}", error.kind(), error.message())
    };
    let mut errors = vec![shown("empty"), shown("binary"), shown("large"), shown("torn")];
    errors.push(shown("absent"));
    fs::create_dir(path("folder")).unwrap();
    errors.push(shown("folder"));
    insta::assert_snapshot!(errors.join("\n"), @r"
    empty: invalid: the file is empty
    binary: invalid: the file is binary, not text
    large: limit exceeded: more than 50000 bytes
    torn: invalid: the JSON ends too early
    absent: not found: there is no such file
    folder: invalid: it is a folder, not a file
    ");
}

#[cfg(unix)]
#[test]
fn files_that_are_none() {
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let ids = Counting::default();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("good"), VSCODE).unwrap();
    symlink(path("good"), path("link")).unwrap();
    symlink(path("nothing"), path("dangling")).unwrap();
    symlink(path("loop"), path("loop")).unwrap();
    symlink("/dev/zero", path("device")).unwrap();
    symlink(folder.path(), path("folder")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(path("pipe")).status();
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    assert!(read_file(path("link"), &options(&ids)).is_ok());
    let mut names = vec!["dangling", "loop", "device", "folder", "socket"];
    if made.is_ok_and(|status| status.success()) {
        names.push("pipe");
    }
    for name in names {
        let error = read_file(path(name), &options(&ids)).unwrap_err();
        let expected = match name {
            "dangling" => ErrorKind::NotFound,
            "loop" => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        };
        assert_eq!(error.kind(), expected, "{name}: {error}");
    }
}

#[test]
fn reports_and_errors_do_not_steer_a_terminal() {
    let name = "\\u001b]0;x\\u0007\\u202e";
    let imported = import(&session(&format!(",\"{name}\":1"))).unwrap();
    let shown = imported.report.to_string();
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{shown:?}");
    let error = import(&session(&format!(",\"{name}\":{{\"a\":1,\"a\":2}}"))).unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'));
    let imported = vscode_parts(&format!("[{{\"kind\":\"{name}\"}}]"));
    assert!(!imported.report.to_string().contains('\u{1b}'));
}
