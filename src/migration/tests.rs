//! Chains of steps, and the reading of older formats.

use semver::Version;
use serde_json::Value;

use super::*;
use crate::log::Event;
use crate::part::{DataRegistry, PartRegistry};
use crate::serializer::{ChatModelSerializer as _, JsonChatModelSerializer};

fn same(value: Value) -> Result<Value> {
    Ok(value)
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn chains_that_are_none() {
    let refused = |chain: Migrations| chain.check(&version("3.0.0")).unwrap_err().to_string();
    let refused = [
        refused(Migrations::new().step("1.0.0", "2.0.0", same).step("2.1.0", "3.0.0", same)),
        refused(Migrations::new().step("2.0.0", "1.0.0", same)),
        refused(Migrations::new().step("2.0.0", "2.0.0", same)),
        refused(Migrations::new().step("1.0.0", "2.0.0", same)),
        refused(Migrations::new().step("3.0.0", "3.1.0", same)),
        refused(Migrations::new().step("3.0.0", "4.0.0", same)),
        refused(Migrations::new().step("1", "3.0.0", same)),
        Migrator::new(
            version("2.0.0"),
            Migrations::new().step("0.1.0", "1.0.0", same),
            Migrations::new(),
        )
        .unwrap_err()
        .to_string(),
    ];
    insta::assert_snapshot!(refused.join("\n"));
    let whole = Migrations::new().step("1.0.0", "2.0.0", same).step("2.0.0", "3.0.0", same);
    whole.check(&version("3.4.0")).unwrap();
}

#[test]
fn what_a_chain_makes_of_each_version() {
    fn one(value: Value) -> Result<Value> {
        Ok(serde_json::json!([1, value]))
    }
    fn two(value: Value) -> Result<Value> {
        Ok(serde_json::json!([2, value]))
    }
    let chain = Migrations::new().step("1.0.0", "1.5.0", one).step("1.5.0", "2.0.0", two);
    let shown: Vec<String> =
        ["0.9.0", "1.0.0", "1.4.9", "1.5.0", "1.9.0", "2.0.0", "2.1.0", "2.1.7", "2.2.0", "3.0.0"]
            .into_iter()
            .map(|from| {
                let data = RawJson::parse(r#"{"n":1e3}"#).unwrap();
                match chain.migrate(&data, &version(from), &version("2.1.0")) {
                    Ok(json) => format!("{from}: {json}"),
                    Err(error) => format!("{from}: {error}"),
                }
            })
            .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn steps_that_fail_and_numbers_that_would_be_rounded() {
    let migrate = |step: StepFn, data: &str| {
        let chain = Migrations::new().step("1.0.0", "2.0.0", step);
        chain
            .migrate(&RawJson::parse(data).unwrap(), &version("1.0.0"), &version("2.0.0"))
            .unwrap_err()
    };
    let failed = migrate(|_| Err(Error::unsupported("not this one")), "1");
    insta::assert_snapshot!(failed, @"unsupported: not this one (step 1.0.0 -> 2.0.0)");
    insta::assert_snapshot!(migrate(|_| panic!("at {}", 3), "1"), @"invalid: a migration step panicked: at 3 (step 1.0.0 -> 2.0.0)");
    let inexact = migrate(same, r#"{"id":123456789012345678901234567890}"#);
    insta::assert_snapshot!(inexact, @"invalid: the data holds a number that a migration would round, so it stays as it is");
}

/// Before 1.0.0 (it never was) texts were `words`, and turns were called `rounds`.
fn older_format() -> JsonChatModelSerializer {
    fn document(mut value: Value) -> Result<Value> {
        let fields = value.as_object_mut().ok_or_else(|| Error::invalid("not an object"))?;
        let rounds = fields.remove("rounds").ok_or_else(|| Error::invalid("no rounds"))?;
        fields.insert("turns".to_owned(), rounds);
        Ok(value)
    }
    fn record(mut value: Value) -> Result<Value> {
        if value["kind"] == "text" {
            let words = value["body"]["words"].take();
            value["body"] = serde_json::json!({"index": 0, "text": words});
        }
        Ok(value)
    }
    let documents = Migrations::new().step("0.5.0", "1.0.0", document);
    let records = Migrations::new().step("0.5.0", "1.0.0", record);
    let migrator = Migrator::new(version("1.0.0"), documents, records).unwrap();
    JsonChatModelSerializer::new(PartRegistry::builtin(), DataRegistry::new())
        .with_migrator(migrator)
}

const OLD: &str = r#"{"chatkeep":"0.6.2","serializer":{"id":"chatkeep.json","version":"1.0.0"},"session":{"id":"s","owner":"local","created":"2026-01-01T00:00:00Z"},"rounds":[]}"#;

#[test]
fn an_older_document_is_read_and_written_as_the_current_one() {
    let json = older_format();
    let model = json.read_document(OLD.as_bytes()).unwrap();
    let after = json.write_document(&model).unwrap();
    insta::assert_snapshot!(format!("{OLD}\n{after}"));
    let inexact = OLD.replace("[]", "[1.23456789012345678901]");
    let error = json.read_document(inexact.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let without = OLD.replace("rounds", "circles");
    insta::assert_snapshot!(json.read_document(without.as_bytes()).unwrap_err(), @"invalid: no rounds (step 0.5.0 -> 1.0.0)");
}

#[test]
fn an_older_record_is_read() {
    let json = older_format();
    let read = |format: &str, body: &str| json.read_event("text", body, &version(format));
    let old = read("0.5.0", r#"{"words":"hi"}"#).unwrap();
    assert_eq!(old, read("1.0.0", r#"{"index":0,"text":"hi"}"#).unwrap());
    assert!(matches!(old, Event::Text(_)));
    // A newer minor version may have added a field.
    assert_eq!(old, read("1.9.0", r#"{"index":0,"text":"hi","tone":"kind"}"#).unwrap());
    assert_eq!(read("0.4.0", "{}").unwrap_err().kind(), ErrorKind::UnsupportedVersion);
    assert_eq!(read("2.0.0", "{}").unwrap_err().kind(), ErrorKind::UnsupportedVersion);
    assert_eq!(read("0.5.0", "7").unwrap_err().kind(), ErrorKind::Corrupt);
}
