//! The operation log.

use super::*;
use crate::ErrorKind;
use crate::interop::{Format, Outcome, vscode};

const SAMPLE: &str = r#"{"kind":0,"v":{"version":3,"creationDate":1767225600000,"initialLocation":"panel","responderUsername":"GitHub Copilot","sessionId":"u1","requests":[],"pendingRequests":[]}}
{"kind":2,"k":["requests"],"v":[{"requestId":"request_1","timestamp":1767225601000,"message":{"text":"fix it","parts":[]},"variableData":{"variables":[]},"response":[],"modelState":{"value":0}}]}
{"kind":2,"k":["requests",0,"response"],"v":[{"value":"Do"}]}
{"kind":2,"k":["requests",0,"response"],"i":0,"v":[{"value":"Done"}]}
{"kind":1,"k":["requests",0,"modelState"],"v":{"value":1,"completedAt":1767225609000}}
{"kind":1,"k":["customTitle"],"v":"Fix parser"}
{"kind":3,"k":["inputState"]}
"#;

#[test]
fn a_log_is_the_document_that_it_leads_to() {
    let (log, document) = (import(VSCODE_LOG).unwrap(), import(VSCODE).unwrap());
    assert_eq!(log.report.format(), Format::VsCodeLog);
    assert_eq!(sorted(dump(&log.model)), sorted(dump(&document.model)));
    assert!(log.report.is_lossless());
}

#[test]
fn the_sample() {
    let imported = import(SAMPLE).unwrap();
    assert_eq!(imported.model.title(), "Fix parser");
    let turn = imported.model.turns().next().unwrap();
    assert_eq!(turn.response().text(), "Done");
    assert_eq!(turn.request().text(), "fix it");
}

/// A log of one request with these operations behind its snapshot.
fn after(operations: &str) -> Result<Imported> {
    let snapshot = r#"{"kind":0,"v":{"version":3,"sessionId":"s","creationDate":0,"requests":[],"a":{"b":[1,2,3]}}}"#;
    import(&format!("{snapshot}\n{operations}"))
}

fn raw(operations: &str) -> String {
    let imported = after(operations).unwrap();
    let data = &imported.model.session().data;
    data.get("vscode.session").unwrap().value.to_string()
}

#[test]
fn operations() {
    let cases = [
        (r#"{"kind":1,"k":["a","b",1],"v":"x"}"#, r#"{"version":3,"a":{"b":[1,"x",3]}}"#),
        (r#"{"kind":1,"k":["a","b",3],"v":4}"#, r#"{"version":3,"a":{"b":[1,2,3,4]}}"#),
        (r#"{"kind":1,"k":["a","b",0]}"#, r#"{"version":3,"a":{"b":[null,2,3]}}"#),
        (r#"{"kind":1,"k":["a","b"]}"#, r#"{"version":3,"a":{}}"#),
        (r#"{"kind":2,"k":["a","b"],"i":1}"#, r#"{"version":3,"a":{"b":[1]}}"#),
        (r#"{"kind":2,"k":["a","b"],"i":0,"v":[9]}"#, r#"{"version":3,"a":{"b":[9]}}"#),
        (r#"{"kind":2,"k":["a","c"],"v":[[]]}"#, r#"{"version":3,"a":{"b":[1,2,3],"c":[[]]}}"#),
        (r#"{"kind":3,"k":["a"]}"#, r#"{"version":3}"#),
        (r#"{"kind":3,"k":["nothing"]}"#, r#"{"version":3,"a":{"b":[1,2,3]}}"#),
        (
            r#"{"kind":1,"k":["__proto__"],"v":{"constructor":{"prototype":1}}}"#,
            r#"{"version":3,"a":{"b":[1,2,3]},"__proto__":{"constructor":{"prototype":1}}}"#,
        ),
        (
            r#"{"kind":1,"k":["a"],"v":123456789012345678901234567890}"#,
            r#"{"version":3,"a":123456789012345678901234567890}"#,
        ),
    ];
    for (operation, expected) in cases {
        assert_eq!(raw(operation), expected, "{operation}");
    }
}

#[test]
fn what_does_not_apply_names_its_line() {
    let cases = [
        r#"{"kind":1,"k":["a","b",1000000000],"v":1}"#,
        r#"{"kind":1,"k":["a","x","y"],"v":1}"#,
        r#"{"kind":1,"k":["a",0],"v":1}"#,
        r#"{"kind":1,"k":["a",-1],"v":1}"#,
        r#"{"kind":1,"k":["a",1.5],"v":1}"#,
        r#"{"kind":1,"k":"a","v":1}"#,
        r#"{"kind":1,"v":1}"#,
        r#"{"kind":1,"k":[]}"#,
        r#"{"kind":2,"k":["a","b"],"i":1000000000}"#,
        r#"{"kind":2,"k":["a"],"v":[1]}"#,
        r#"{"kind":2,"k":["a","b"],"v":1}"#,
        r#"{"kind":3,"k":["a","b",0]}"#,
        r#"{"kind":4,"k":["a"]}"#,
        r#"{"kind":"1","k":["a"]}"#,
        r#"{"k":["a"]}"#,
        "[]",
        r#"{"kind":1,"k":["a"],"v":1,"v":2}"#,
        "{\"kind\":1,\"k\":[\"a\"],\"v\":\"\\ud800\"}",
        "garbage",
        "\u{1}",
    ];
    for operation in cases {
        let error = after(operation).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{operation}: {error}");
        assert_eq!(error.context("line"), Some("2"), "{operation}: {error}");
        let error = after(&format!("\n{operation}\n{{\"kind\":3,\"k\":[\"a\"]}}")).unwrap_err();
        assert_eq!(error.context("line"), Some("3"), "{operation}: {error}");
    }
    insta::assert_snapshot!(after(cases[0]).unwrap_err(), @"invalid: the place lies beyond the array's end (path a.b[1000000000], line 2)");
}

#[test]
fn a_torn_last_line_is_reported_and_kept() {
    let whole = SAMPLE.trim_end();
    let start = whole.rfind('\n').unwrap() + 1;
    for end in start + 1..whole.len() {
        let imported = import(&whole[..end]).unwrap();
        assert_eq!(imported.model.title(), "Fix parser", "{end}");
        let torn = imported.model.session().data.get("vscode.torn_line").unwrap();
        assert_eq!(torn.value.read::<String>().unwrap(), &whole[start..end]);
        let found = imported.report.findings().find(|finding| finding.first == "line 7").unwrap();
        assert_eq!(found.outcome, Outcome::Kept);
    }
    // Within a character, and with a line break behind it.
    let mut bytes = SAMPLE.as_bytes().to_vec();
    bytes.extend_from_slice(b"{\"kind\":1,\"k\":[\"customTitle\"],\"v\":\"Gr\xc3");
    let ids = Counting::default();
    let imported = vscode::read_jsonl(&bytes, &options(&ids)).unwrap();
    assert!(imported.model.session().data.get("vscode.torn_line").is_some());
    assert!(import(&format!("{SAMPLE}{{\"kind\":1,\n")).is_ok());
    // In the middle it is damage.
    let error = import(&SAMPLE.replacen("\"Do\"}]}", "\"Do", 1)).unwrap_err();
    assert_eq!(error.context("line"), Some("3"));
}

#[test]
fn a_log_without_a_snapshot_is_refused() {
    let rest = SAMPLE.split_once('\n').unwrap().1;
    assert_eq!(import(rest).unwrap_err().context("line"), Some("1"));
    assert!(import(r#"{"kind":0}"#).is_err());
    assert!(import("{\"kind\":0,\"v\":{\"ver").is_err());
}

#[test]
fn a_log_cannot_be_made_deep_or_wide() {
    let keys: Vec<String> = (0..200).map(|_| "\"a\"".to_owned()).collect();
    let mut log = String::new();
    for depth in 1..keys.len() {
        log.push_str(&format!("{{\"kind\":1,\"k\":[{}],\"v\":{{}}}}\n", keys[..depth].join(",")));
    }
    assert_eq!(after(&log).unwrap_err().kind(), ErrorKind::LimitExceeded);
    let wide: String =
        (0..5000).map(|n| format!("{{\"kind\":1,\"k\":[\"x{n}\"],\"v\":0}}\n")).collect();
    assert_eq!(after(&wide).unwrap_err().kind(), ErrorKind::LimitExceeded);
    let fields: Vec<String> = (0..5000).map(|n| format!("\"x{n}\":0")).collect();
    let wide = format!("{{\"kind\":1,\"k\":[\"a\"],\"v\":{{{}}}}}", fields.join(","));
    assert!(after(&wide).is_ok());
    let error = after(&format!("{wide}\n{{\"kind\":3,\"k\":[\"a\",\"x1\"]}}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn a_tree_is_the_same_part_in_both() {
    let tree =
        r#"{"label":"src","uri":{"scheme":"file","path":"/s"},"children":[{"label":"a.rs"}]}"#;
    let bare = vscode_parts(&format!("[{tree}]"));
    let tagged = vscode_parts(&format!(r#"[{{"kind":"treeData","treeData":{tree}}}]"#));
    assert_eq!(envelopes(&bare), envelopes(&tagged));
    insta::assert_snapshot!(envelopes(&bare), @r#"{"kind":"vscode.treeData","version":"1.0.0","fallback":"src\n  a.rs","data":{"label":"src","uri":{"scheme":"file","path":"/s"},"children":[{"label":"a.rs"}]}}"#);
}
