//! Parts and adopters' data whose code fails, is absent, or is of another version.

use std::borrow::Cow;
use std::panic::panic_any;

use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::json::RawJson;

/// Its name says what goes wrong with it.
#[derive(Debug, Clone, PartialEq)]
struct Touchy(String);

impl Serialize for Touchy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            "panics when written" => panic!("written: {}", 7),
            "fails when written" => Err(serde::ser::Error::custom("no")),
            text => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Touchy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)? {
            text if text == "panics when read" => panic!("read"),
            text if text == "panics with a number" => panic_any(7),
            text if text == "fails when read" => Err(serde::de::Error::custom("no")),
            text => Ok(Self(text)),
        }
    }
}

impl Part for Touchy {
    const KIND: &'static str = "test.touchy";
    const VERSION: Version = Version::new(3, 1, 0);

    fn fallback(&self) -> Cow<'_, str> {
        assert_ne!(self.0, "panics when shown");
        self.0.as_str().into()
    }

    fn migrations() -> Migrations {
        Migrations::new().step("1.0.0", "2.0.0", unwrap).step("2.0.0", "3.0.0", |value| match value
        {
            Value::String(text) if text == "step fails" => Err(crate::Error::invalid("no")),
            Value::String(text) if text == "step panics" => panic!("step"),
            Value::String(text) => Ok(Value::String(text + "!")),
            other => Ok(other),
        })
    }
}

/// 1.0.0 was an object.
fn unwrap(value: Value) -> Result<Value> {
    Ok(value.get("text").cloned().unwrap_or_default())
}

fn registry() -> PartRegistry {
    PartRegistry::builtin().with::<Touchy>().unwrap()
}

fn read(envelope: &str) -> ResponsePart {
    ResponsePart::from_envelope(&RawJson::parse(envelope).unwrap(), &registry()).unwrap()
}

fn touchy(version: &str, data: &str) -> ResponsePart {
    read(&format!(
        r#"{{"kind":"test.touchy","version":"{version}","fallback":"stored","data":{data}}}"#
    ))
}

/// Why a part is unknown; it must be written as it was read.
fn reason(part: &ResponsePart) -> String {
    let before = part.to_envelope().unwrap();
    let reason = part.unknown().map(|unknown| unknown.reason().to_string());
    assert!(part.downcast_ref::<Touchy>().is_none());
    assert_eq!(part.fallback(), "stored");
    assert_eq!(part.to_envelope().unwrap(), before);
    reason.unwrap_or_else(|| "known".to_owned())
}

#[test]
fn a_decoder_that_fails_or_panics_costs_its_own_part() {
    let reasons = [
        touchy("3.1.0", r#""fails when read""#),
        touchy("3.1.0", r#""panics when read""#),
        touchy("3.1.0", r#""panics with a number""#),
        touchy("3.1.0", "{}"),
        touchy("2.0.0", r#""step fails""#),
        touchy("2.0.0", r#""step panics""#),
        touchy("2.0.0", "123456789012345678901234567890"),
        touchy("0.9.0", "1"),
        touchy("3.2.0", "1"),
        touchy("4.0.0", "1"),
        read(r#"{"kind":"test.touchy","version":7,"fallback":"stored","data":1}"#),
        read(r#"{"kind":"test.touchy","version":"3.1.0","fallback":"stored","blob":{"bytes":1}}"#),
    ]
    .iter()
    .map(reason)
    .collect::<Vec<_>>()
    .join("\n");
    insta::assert_snapshot!(reasons);
}

#[test]
fn what_is_of_an_older_version_is_migrated_when_looked_at_and_kept_as_it_was() {
    let one = touchy("1.4.0", r#"{"text":"a","n":1.50}"#);
    assert_eq!(one.downcast_ref::<Touchy>(), Some(&Touchy("a!".to_owned())));
    assert!(one.to_envelope().unwrap().get().contains(r#"{"text":"a","n":1.50}"#));
    let current = touchy("3.0.0", r#""b""#);
    assert_eq!(current.downcast_ref::<Touchy>(), Some(&Touchy("b".to_owned())));
}

#[test]
fn an_encoder_that_fails_or_panics_is_heard_of_when_the_part_is_made() {
    let make = |text: &str| ResponsePart::new(Touchy(text.to_owned())).unwrap_err();
    insta::assert_snapshot!(make("panics when written"), @"invalid: the code that writes it panicked: written: 7 (part test.touchy)");
    insta::assert_snapshot!(make("fails when written"), @"invalid: the value cannot be written as JSON: no (part test.touchy)");
    assert!(make("panics when shown").message().starts_with("the code that makes its fallback"));
}

/// A fallback that panics where the envelope has none.
#[test]
fn a_fallback_that_panics_shows_the_kind() {
    let part = read(r#"{"kind":"test.touchy","version":"3.1.0","data":"panics when shown"}"#);
    assert_eq!(part.fallback(), "[test.touchy]");
    assert!(part.unknown().is_none());
}

#[test]
fn a_kind_is_registered_once_and_no_built_in_name_is_taken() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Fake;
    impl Part for Fake {
        const KIND: &'static str = "markdown";
        const VERSION: Version = Version::new(1, 0, 0);
        fn fallback(&self) -> Cow<'_, str> {
            "".into()
        }
    }
    insta::assert_snapshot!(registry().with::<Touchy>().unwrap_err(), @"already exists: this kind of part is registered twice (kind test.touchy)");
    assert_eq!(
        PartRegistry::builtin().with::<Markdown>().unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    insta::assert_snapshot!(PartRegistry::empty().with::<Fake>().unwrap_err(), @"invalid: a built-in kind has this name (kind markdown)");
    let all = PartRegistry::empty().with::<Markdown>().unwrap().with::<Touchy>().unwrap();
    assert_eq!(all.kinds().collect::<Vec<_>>(), ["markdown", "test.touchy"]);
}

#[test]
fn data_is_registered_once_and_read_in_isolation() {
    let data = DataRegistry::new().with::<Touchy>("t").unwrap().with::<Option<u8>>("o").unwrap();
    let twice = data.clone().with::<u8>("t").unwrap_err();
    insta::assert_snapshot!(twice, @"already exists: this kind of data is registered twice (data t)");
    let entry = |version: &str, json: &str| {
        crate::model::DataEntry::new(version.parse().unwrap(), RawJson::parse(json).unwrap())
    };
    let fails = |version: &str, json: &str| {
        data.decode::<Touchy>("t", &entry(version, json)).unwrap_err().to_string()
    };
    let shown = [
        fails("1.0.0", r#""panics when read""#),
        fails("1.0.0", r#""fails when read""#),
        fails("1.0.0", "[]"),
        fails("1.1.0", r#""x""#),
        fails("0.1.0", r#""x""#),
        data.decode::<u8>("t", &entry("1.0.0", "1")).unwrap_err().to_string(),
        data.decode::<u8>("nobody", &entry("1.0.0", "1")).unwrap_err().to_string(),
        data.encode("t", &Touchy("panics when written".to_owned())).unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(shown.join("\n").replace(module_path!(), "tests"));
    let nothing = data.encode("o", &None::<u8>).unwrap();
    assert_eq!(data.decode::<Option<u8>>("o", &nothing).unwrap(), None);
}

#[test]
fn text_goes_to_the_end_whatever_the_registry_knows() {
    let envelopes = [
        r#"{"kind":"markdown","data":{"text":"a","x":1.50},"y":[1e3]}"#,
        r#"{"kind":"markdown","version":"1.3.0","data":{"text":"a","new":{}}}"#,
        r#"{"kind":"markdown","version":"2.0.0","data":{"new":{},"text":"a"},"fallback":"a","z":1}"#,
        r#"{"kind":"thinking","fallback":"a","data":{"text":"a","signature":"s"}}"#,
    ];
    for registry in [PartRegistry::builtin(), PartRegistry::empty()] {
        let mut shown = Vec::new();
        for envelope in envelopes {
            let envelope = RawJson::parse(envelope).unwrap();
            let mut part = ResponsePart::from_envelope(&envelope, &registry).unwrap();
            let before = part.clone();
            part.append_text("b").unwrap();
            part.append_text("\"c").unwrap();
            assert_eq!(before.to_envelope().unwrap(), envelope);
            shown.push(part.to_envelope().unwrap().get().to_owned());
        }
        insta::assert_snapshot!("appended", shown.join("\n"));
    }
    let mut part = read(r#"{"kind":"separator","data":{}}"#);
    insta::assert_snapshot!(part.append_text("x").unwrap_err(), @"invalid: no text can be added to this kind of part (part separator)");
}

#[test]
fn a_part_goes_into_a_blob_and_back_token_for_token() {
    let blob = || BlobRef { sha256: "00".repeat(32), bytes: 9, extra: crate::json::Extra::new() };
    for envelope in [
        r#"{"kind":"markdown","data":{"text":"a"}}"#,
        r#"{"kind":"markdown","fallback":"mine","data":{"text":"a"},"x":1}"#,
        r#"{"x":1.50,"data":[1e3],"version":"0.1.0","kind":"nobody.knows"}"#,
        r#"{"kind":"test.touchy","version":"3.1.0","fallback":"f","data":"b"}"#,
    ] {
        let part = read(envelope);
        let data = part.data().unwrap().unwrap();
        let moved = part.moved_to_blob(blob(), "cut".to_owned());
        assert_eq!(moved.blob(), Some(&blob()));
        let stored = moved.to_envelope().unwrap();
        let again = ResponsePart::from_envelope(&stored, &registry()).unwrap();
        assert!(matches!(
            again.unknown().unwrap().reason(),
            UnknownReason::NotLoaded | UnknownReason::UnknownKind
        ));
        let loaded = again.loaded(data, &registry()).unwrap();
        assert_eq!(loaded.to_envelope().unwrap(), stored);
        assert_eq!(loaded.fallback(), part.fallback());
        let inline = loaded.with_data_inline();
        assert_eq!(inline.to_envelope().unwrap().get(), envelope);
    }
    let made = ResponsePart::new(Markdown::new("long")).unwrap();
    let moved = made.moved_to_blob(blob(), "lo…".to_owned());
    assert_eq!(moved.fallback(), "lo…");
    insta::assert_snapshot!(moved.to_envelope().unwrap(), @r#"{"kind":"markdown","blob":{"sha256":"0000000000000000000000000000000000000000000000000000000000000000","bytes":9},"fallback":"lo…"}"#);
}

#[test]
fn a_null_that_a_tool_returned_is_a_result() {
    let call = ToolCall::new("1", "f").result(RawJson::parse("null").unwrap());
    let written = ResponsePart::new(call.clone()).unwrap().to_envelope().unwrap();
    let part = ResponsePart::from_envelope(&written, &registry()).unwrap();
    assert_eq!(part.downcast_ref::<ToolCall>(), Some(&call));
}
