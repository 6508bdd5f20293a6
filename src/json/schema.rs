//! JSON Schema (draft 2020-12) of what is written, out of the same field lists that write it. Only
//! tests make it: `docs/schema` is checked in.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value, json};

use super::{JsonMap, Number, RawJson};

/// The named schemas, which others refer to.
#[derive(Default)]
pub(crate) struct Defs(pub(crate) BTreeMap<String, Value>);

/// A type with a schema.
pub(crate) trait Schema {
    /// The schema, or a reference to it among the named ones.
    fn schema(defs: &mut Defs) -> Value;
}

/// A field of an object: its name, its mode in `json_object!`, and its schema.
pub(crate) type Field = (&'static str, &'static str, Value);

/// The schema of a field, whose type its accessor tells.
pub(crate) fn of_field<S, T: Schema>(defs: &mut Defs, _: fn(&S) -> &T) -> Value {
    T::schema(defs)
}

impl Defs {
    /// A named object; its unknown fields may be anything.
    pub(crate) fn object(
        &mut self,
        name: &str,
        fields: impl FnOnce(&mut Self) -> Vec<Field>,
    ) -> Value {
        self.named(name, |defs| object(fields(defs)))
    }

    pub(crate) fn named(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.0.contains_key(name) {
            // Marked before it is made: some refer to themselves.
            self.0.insert(name.to_owned(), Value::Null);
            let made = make(self);
            self.0.insert(name.to_owned(), made);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }
}

pub(crate) fn object(fields: Vec<Field>) -> Value {
    let needed = |mode: &str| matches!(mode, "required" | "json");
    let required: Vec<&str> =
        fields.iter().filter(|field| needed(field.1)).map(|field| field.0).collect();
    let properties: Map<String, Value> =
        fields.iter().map(|(name, _, schema)| ((*name).to_owned(), schema.clone())).collect();
    let mut schema = json!({ "type": "object" });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !properties.is_empty() {
        schema["properties"] = Value::Object(properties);
    }
    schema
}

macro_rules! schemas {
    ($($type:ty => $schema:tt),* $(,)?) => {
        $(impl Schema for $type {
            fn schema(_: &mut Defs) -> Value {
                json!($schema)
            }
        })*
    };
}

schemas! {
    String => { "type": "string" },
    bool => { "type": "boolean" },
    u64 => { "type": "integer", "minimum": 0 },
    Number => { "type": "number" },
    RawJson => {},
    JsonMap => { "type": "object" },
    jiff::Timestamp => { "type": "string", "format": "date-time" },
    semver::Version => { "type": "string" },
    crate::id::TurnId => { "type": "integer", "minimum": 0 },
    crate::id::OwnerId => { "type": "string", "minLength": 1 },
    crate::id::SessionId => { "type": "string", "minLength": 1 },
    crate::id::RequestId => { "type": "string", "minLength": 1 },
    crate::id::ResponseId => { "type": "string", "minLength": 1 },
    crate::id::WorkspaceId => { "type": "string", "minLength": 1 },
    Range<u64> => {
        "type": "object",
        "required": ["start", "end"],
        "properties": {
            "start": { "type": "integer", "minimum": 0 },
            "end": { "type": "integer", "minimum": 0 },
        },
        "additionalProperties": false,
    },
}

impl<T: Schema> Schema for Option<T> {
    /// What is absent is left out, not `null`.
    fn schema(defs: &mut Defs) -> Value {
        T::schema(defs)
    }
}

impl<T: Schema> Schema for Vec<T> {
    fn schema(defs: &mut Defs) -> Value {
        json!({ "type": "array", "items": T::schema(defs) })
    }
}
