//! The JSON Schemas in `docs/schema`, made out of the field lists that write the JSON.
//!
//! `CHATKEEP_BLESS=1 cargo test schema` writes them anew.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::json::schema::{Defs, Field, Schema, object, of_field};
use crate::log::{Claim, LogInfo, SerializerInfo};
use crate::model::*;
use crate::part::*;

/// The enumerations: the match fails to compile when a value is missing.
macro_rules! enumerations {
    ($($type:ident: $($variant:ident)+;)*) => {
        $(impl Schema for $type {
            fn schema(_: &mut Defs) -> Value {
                match $type::default_value() { $($type::$variant => {})+ }
                json!({ "enum": [$(serde_json::to_value($type::$variant).unwrap()),+] })
            }
        }

        impl DefaultValue for $type {
            fn default_value() -> Self {
                [$($type::$variant),+][0]
            }
        })*
    };
}

trait DefaultValue {
    fn default_value() -> Self;
}

enumerations! {
    SessionStatus: Active Archived Trashed;
    ResponseState: Pending Streaming NeedsInput Complete Cancelled Failed Interrupted;
    Author: User System;
    Vote: Up Down;
    TitleSource: Person Automatic;
    ParentRelation: Delegation Fork;
    StatusLevel: Status Info Warning;
    ToolState: InputStreaming InputAvailable ApprovalRequested ApprovalResponded OutputAvailable
        OutputError OutputDenied;
    ResourceKind: File Image Audio Reference;
    ChangeType: Add Modify Delete;
    ChangeState: Pending Applied Discarded Stale;
    PlanState: Pending InProgress Done Dropped;
}

impl Schema for DataMap {
    fn schema(defs: &mut Defs) -> Value {
        json!({ "type": "object", "additionalProperties": DataEntry::schema(defs) })
    }
}

impl Schema for QueuedRequest {
    fn schema(defs: &mut Defs) -> Value {
        defs.object("QueuedRequest", |defs| {
            let request = ChatRequest::schema(defs);
            vec![("request", "required", request), ("options", "optional_json", json!({}))]
        })
    }
}

impl Schema for MessagePart {
    fn schema(defs: &mut Defs) -> Value {
        defs.named("MessagePart", |defs| {
            let known = vec![
                ("text", "optional", TextPart::schema(defs)),
                ("attachment", "optional", Attachment::schema(defs)),
                ("variable", "optional", Variable::schema(defs)),
                ("mention", "optional", Mention::schema(defs)),
            ];
            json!({ "anyOf": [{ "type": "string" }, object(known)] })
        })
    }
}

impl Schema for ChatResponse {
    fn schema(defs: &mut Defs) -> Value {
        macro_rules! fields {
            ($defs:ident, $($mode:ident $name:ident),*) => {
                vec![$((
                    stringify!($name),
                    stringify!($mode),
                    of_field($defs, |response: &ChatResponse| &response.$name),
                )),*]
            };
        }
        defs.object("ChatResponse", |defs| {
            let fields: Vec<Field> = fields!(
                defs, required id, required state, default parts, optional model, optional usage,
                default timings, optional error, default followups, optional feedback,
                default references, default citations, default data
            );
            let names: Vec<&str> = fields.iter().map(|field| field.0).collect();
            assert_eq!(names, crate::serializer::response::FIELDS);
            fields
        })
    }
}

impl Schema for ResponsePart {
    fn schema(defs: &mut Defs) -> Value {
        fn builtin<P: Part + Schema>(defs: &mut Defs) -> Value {
            let has_kind = json!({
                "required": ["kind"],
                "properties": { "kind": { "const": P::KIND } },
                "not": { "required": ["version"] },
            });
            json!({ "if": has_kind, "then": { "properties": { "data": P::schema(defs) } } })
        }
        defs.named("ResponsePart", |defs| {
            let mut part = object(vec![
                ("kind", "required", String::schema(defs)),
                ("version", "optional", String::schema(defs)),
                ("fallback", "optional", String::schema(defs)),
                ("data", "optional_json", json!({})),
                ("blob", "optional", BlobRef::schema(defs)),
            ]);
            part["allOf"] = json!([
                builtin::<Markdown>(defs),
                builtin::<Text>(defs),
                builtin::<Thinking>(defs),
                builtin::<Code>(defs),
                builtin::<ToolCall>(defs),
                builtin::<Command>(defs),
                builtin::<Progress>(defs),
                builtin::<Status>(defs),
                builtin::<ErrorPart>(defs),
                builtin::<Question>(defs),
                builtin::<Resource>(defs),
                builtin::<Citation>(defs),
                builtin::<ChangeSet>(defs),
                builtin::<Plan>(defs),
                builtin::<Compaction>(defs),
                builtin::<Horizontal>(defs),
                builtin::<Separator>(defs),
            ]);
            part
        })
    }
}

fn finished(title: &str, mut schema: Value, defs: Defs) -> Value {
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(title);
    schema["$defs"] = json!(defs.0);
    schema
}

pub(super) fn document() -> Value {
    let defs = &mut Defs::default();
    let turn = defs.object("Turn", |defs| {
        vec![
            ("turn", "required", json!({ "type": "integer", "minimum": 1 })),
            ("parent", "optional", json!({ "type": "integer", "minimum": 1 })),
            ("request", "required", ChatRequest::schema(defs)),
            ("response", "required", ChatResponse::schema(defs)),
        ]
    });
    let schema = object(vec![
        ("chatkeep", "required", String::schema(defs)),
        ("serializer", "required", SerializerInfo::schema(defs)),
        ("session", "required", SessionMeta::schema(defs)),
        ("active", "optional", json!({ "type": "integer", "minimum": 1 })),
        ("turns", "required", json!({ "type": "array", "items": turn })),
    ]);
    finished("A chatkeep session document", schema, std::mem::take(defs))
}

fn bodies(defs: &mut Defs) -> Vec<(&'static str, Value)> {
    let number = || json!({ "type": "integer", "minimum": 0 });
    let epoch = || ("epoch", "optional", number());
    let meta = SessionMeta::schema(defs);
    let response = object(vec![epoch(), ("response", "required", ChatResponse::schema(defs))]);
    let log = LogInfo::schema(defs);
    let on = json!({ "enum": ["session", "request", "response"] });
    vec![
        ("log", log.clone()),
        ("session", object(vec![("session", "required", meta.clone())])),
        // A change of some properties: those that go are null.
        ("session.set", json!({ "type": "object" })),
        (
            "data",
            object(vec![
                ("on", "required", on),
                ("id", "required", String::schema(defs)),
                ("entry", "optional", DataEntry::schema(defs)),
            ]),
        ),
        ("active", object(vec![("turn", "optional", number())])),
        (
            "checkpoint",
            object(vec![
                ("log", "required", log),
                ("session", "required", meta),
                ("active", "optional", number()),
                ("turns", "required", number()),
            ]),
        ),
        (
            "request",
            object(vec![
                ("parent", "optional", number()),
                ("request", "required", ChatRequest::schema(defs)),
                ("response", "required", String::schema(defs)),
                epoch(),
            ]),
        ),
        ("response", response.clone()),
        ("response.set", response),
        (
            "part",
            object(vec![
                epoch(),
                ("index", "required", number()),
                ("part", "required", ResponsePart::schema(defs)),
            ]),
        ),
        (
            "text",
            object(vec![
                epoch(),
                ("index", "required", number()),
                ("text", "required", String::schema(defs)),
            ]),
        ),
        ("feedback", object(vec![("feedback", "optional", Feedback::schema(defs))])),
        ("claim", Claim::schema(defs)),
    ]
}

pub(super) fn record() -> Value {
    let defs = &mut Defs::default();
    let number = || json!({ "type": "integer", "minimum": 0 });
    let time = || json!({ "type": "string", "format": "date-time" });
    let head = json!({
        "type": "object",
        "required": ["created", "active"],
        "properties": { "created": time(), "active": time(), "title": { "type": "string" } },
    });
    let mut line = object(vec![
        ("rev", "required", json!({ "type": "integer", "minimum": 1 })),
        ("turn", "required", number()),
        ("kind", "required", json!({ "type": "string", "pattern": "^[a-z._]{1,32}$" })),
        ("at", "required", time()),
        ("batch", "required", json!({ "type": "string", "pattern": "^[0-9a-f]{16}$" })),
        ("more", "optional", number()),
        ("head", "optional", head),
        ("body", "optional_json", json!({})),
        ("base64", "optional", String::schema(defs)),
        ("sum", "required", json!({ "type": "string", "pattern": "^[0-9a-f]{8}$" })),
    ]);
    line["additionalProperties"] = json!(false);
    let of_kind = |(kind, body)| {
        let is_kind = json!({ "properties": { "kind": { "const": kind } } });
        json!({ "if": is_kind, "then": { "properties": { "body": body } } })
    };
    line["allOf"] = bodies(defs).into_iter().map(of_kind).collect();
    finished("A line of a chatkeep log", line, std::mem::take(defs))
}

#[test]
fn schemas_in_docs_are_up_to_date() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/schema");
    for (name, schema) in [("record", record()), ("document", document())] {
        let file = folder.join(format!("{name}.schema.json"));
        let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("CHATKEEP_BLESS").is_some() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&file, &made).unwrap();
        }
        let kept = fs::read_to_string(&file).unwrap_or_default().replace("\r\n", "\n");
        assert!(kept == made, "{name} has changed: run with CHATKEEP_BLESS=1 and look at the diff");
    }
}

/// Checks a value against the words of JSON Schema that occur in ours; says where it fails.
pub(super) fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for (word, rule) in schema.as_object().unwrap() {
        let fits = match word.as_str() {
            "$ref" => {
                let place = rule.as_str().unwrap().strip_prefix('#').unwrap();
                check(root, root.pointer(place).unwrap(), value, at)?;
                true
            }
            "type" => is_type(rule.as_str().unwrap(), value),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value.as_u64() >= rule.as_u64(),
            "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
            "required" => {
                let names = rule.as_array().unwrap();
                names.iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}/{index}"))?;
                }
                true
            }
            "properties" => check_properties(root, schema, value, at)?,
            "anyOf" => {
                let any = rule.as_array().unwrap();
                any.iter().any(|schema| check(root, schema, value, at).is_ok())
            }
            "allOf" => {
                for schema in rule.as_array().unwrap() {
                    check(root, schema, value, at)?;
                }
                true
            }
            "not" => check(root, rule, value, at).is_err(),
            "if" => {
                if check(root, rule, value, at).is_ok() {
                    check(root, &schema["then"], value, at)?;
                }
                true
            }
            "additionalProperties" if schema.get("properties").is_none() => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    check(root, rule, value, &format!("{at}/{name}"))?;
                }
                true
            }
            "additionalProperties"
            | "then"
            | "format"
            | "pattern"
            | "$schema"
            | "title"
            | "$defs" => true,
            other => panic!("the check does not know `{other}`"),
        };
        if !fits {
            return Err(format!("{at}: {word} {rule} does not hold for {value}"));
        }
    }
    Ok(())
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        other => panic!("the check does not know the type `{other}`"),
    }
}

fn check_properties(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<bool, String> {
    let closed = schema.get("additionalProperties") == Some(&json!(false));
    for (name, value) in value.as_object().into_iter().flatten() {
        match schema["properties"].get(name) {
            Some(rule) => check(root, rule, value, &format!("{at}/{name}"))?,
            None if closed => return Ok(false),
            None => {}
        }
    }
    Ok(true)
}

#[test]
fn the_check_can_fail() {
    let document = document();
    let bad = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap();
        check(&document, &document, &value, "").unwrap_err()
    };
    let start = r#""chatkeep":"1.0.0","serializer":{"id":"x","version":"1.0.0"},"session":{"id":"s","owner":"o","created":"2026-01-01T00:00:00Z""#;
    assert!(bad("{}").contains("required"));
    assert!(
        bad(&format!(r#"{{{start},"status":"lost"}},"turns":[]}}"#))
            .starts_with("/session/status: enum")
    );
    let part = r#"{"kind":"markdown","data":{"text":5}}"#;
    let turn = format!(
        r#"{{"turn":1,"request":{{"id":"q","at":""}},"response":{{"id":"a","state":"failed","parts":[{part}]}}}}"#
    );
    let bad = bad(&format!(r#"{{{start}}},"turns":[{turn}]}}"#));
    assert!(bad.starts_with("/turns/0/response/parts/0/data/text: type"), "{bad}");
}
