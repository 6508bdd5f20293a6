//! Tests of all readers together.

mod bad_input;
mod examples;
mod hierarchy;
mod log;
mod lossless;
mod mutations;
mod parts;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::{Imported, Node, ReadOptions, read};
use crate::environment::IdSource;
use crate::error::Result;
use crate::id::OwnerId;
use crate::json::RawJson;
use crate::model::{ChatModel, DataMap, Turn};

const VSCODE: &str = include_str!("../../../examples/data/vscode-session.json");
const VSCODE_LOG: &str = include_str!("../../../examples/data/vscode-session.jsonl");
const THEIA: &str = include_str!("../../../examples/data/theia-session.json");

/// The samples of the formats' description.
const SAMPLES: [&str; 2] = [
    r#"{"version":1,"title":"Fix parser","pinnedAgentId":"Coder","saveDate":1767225600000,"model":{"sessionId":"s1","location":"panel","hierarchy":{"rootBranchId":"b0","branches":{"b0":{"id":"b0","items":[{"requestId":"r1"},{"requestId":"r2"}],"activeBranchIndex":1}}},"requests":[{"id":"r1","text":"fix"},{"id":"r2","text":"fix it","agentId":"Coder","changeSet":{"title":"Changes","elements":[{"kind":"file","uri":"file:///w/a.ts","state":"applied","type":"modify","data":{"targetState":"new","originalState":"old"}}]},"parsedRequest":{"parts":[{"kind":"text","range":{"start":0,"endExclusive":6},"text":"fix it"}],"toolRequests":[],"variables":[]}}],"responses":[{"id":"p2","requestId":"r2","isComplete":true,"isError":false,"tokenUsage":{"inputTokens":9,"outputTokens":3},"content":[{"kind":"markdownContent","data":{"content":"Done"},"fallbackMessage":"Done"},{"kind":"toolCall","data":{"id":"t1","name":"readFile","arguments":"{}","result":"ok"}}]}],"settings":{}}}"#,
    r#"{"version":3,"sessionId":"u1","creationDate":1767225600000,"customTitle":"Fix parser","responderUsername":"GitHub Copilot","initialLocation":"panel","requests":[{"requestId":"request_1","timestamp":1767225601000,"message":{"text":"fix it","parts":[{"kind":"text","text":"fix it","range":{"start":0,"endExclusive":6},"editorRange":{"startLineNumber":1,"startColumn":1,"endLineNumber":1,"endColumn":7}}]},"variableData":{"variables":[{"kind":"file","id":"f","name":"a.ts","value":{"$mid":1,"path":"/w/a.ts","scheme":"file"}}]},"modelId":"copilot/gpt-4o","response":[{"value":"Done","isTrusted":false},{"kind":"toolInvocationSerialized","toolId":"copilot_readFile","toolCallId":"t1","invocationMessage":"Reading","isConfirmed":{"type":1},"isComplete":true},{"kind":"undoStop","id":"x"}],"responseId":"response_1","result":{"metadata":{}},"followups":[],"modelState":{"value":1,"completedAt":1767225609000},"contentReferences":[],"codeCitations":[]}]}"#,
];

/// The moment of all imports: 2026-03-01T00:00:00Z.
const NOW: i64 = 1_772_323_200_000;

/// Ids that count.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl IdSource for Counting {
    fn next_id(&self) -> String {
        format!("new-{}", self.next_u64())
    }

    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn options(ids: &Counting) -> ReadOptions<'_> {
    ReadOptions::new(OwnerId::local(), Timestamp::from_millisecond(NOW).unwrap(), ids)
}

fn import(text: &str) -> Result<Imported> {
    read(text.as_bytes(), &options(&Counting::default()))
}

/// A session with one request, in the editor's format, whose response has these parts.
fn vscode_parts(parts: &str) -> Imported {
    let text = format!(
        r#"{{"version":3,"sessionId":"s","creationDate":0,"requests":[{{"requestId":"r","timestamp":0,
        "message":"m","responseId":"a","response":{parts}}}]}}"#
    );
    import(&text).unwrap()
}

fn theia_parts(parts: &str) -> Imported {
    let text = format!(
        r#"{{"version":1,"saveDate":0,"model":{{"sessionId":"s","hierarchy":{{"rootBranchId":"b","branches":
        {{"b":{{"items":[{{"requestId":"r"}}],"activeBranchIndex":0}}}}}},"requests":[{{"id":"r","text":"m"}}],
        "responses":[{{"id":"a","requestId":"r","isComplete":true,"content":{parts}}}]}}}}"#
    );
    import(&text).unwrap()
}

/// The envelopes of the first response's parts, one a line.
fn envelopes(imported: &Imported) -> String {
    let turn = imported.model.all_turns().next().unwrap();
    let lines = turn.response().parts().iter().map(|part| part.to_envelope().unwrap().to_string());
    lines.collect::<Vec<_>>().join("\n")
}

fn node<T: serde::Serialize>(value: &T) -> Node {
    Node::parse(RawJson::of(value).unwrap().get(), 1).unwrap()
}

fn object(fields: impl IntoIterator<Item = (&'static str, Node)>) -> Node {
    Node::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn data(map: &DataMap) -> Node {
    let entries: BTreeMap<&str, &RawJson> = map.iter().map(|(id, e)| (id, &e.value)).collect();
    node(&entries)
}

fn turn(turn: &Turn) -> Node {
    let response = turn.response();
    let parts = response.parts().iter().map(|part| node(&part.to_envelope().unwrap()));
    object([
        ("turn", node(&turn.id())),
        ("parent", node(&turn.parent())),
        ("request", node(turn.request())),
        ("request_data", data(&turn.request().data)),
        ("response", response_fields(response)),
        ("parts", Node::Array(parts.collect())),
        ("response_data", data(&response.data)),
    ])
}

fn response_fields(response: &crate::model::ChatResponse) -> Node {
    object([
        ("id", node(&response.id)),
        ("state", node(&response.state)),
        ("model", node(&response.model)),
        ("usage", node(&response.usage)),
        ("timings", node(&response.timings)),
        ("error", node(&response.error)),
        ("followups", node(&response.followups)),
        ("feedback", node(&response.feedback)),
        ("references", node(&response.references)),
        ("citations", node(&response.citations)),
    ])
}

/// Everything that a session holds.
fn dump(model: &ChatModel) -> Node {
    let queue = model.session().queue.iter().map(|queued| {
        object([
            ("request", node(&queued.request)),
            ("data", data(&queued.request.data)),
            ("options", node(&queued.options)),
            ("extra", node(&queued.extra.iter().collect::<BTreeMap<_, _>>())),
        ])
    });
    object([
        ("session", node(model.session())),
        ("data", data(&model.session().data)),
        ("active", node(&model.active())),
        ("queue", Node::Array(queue.collect())),
        ("turns", Node::Array(model.all_turns().map(turn).collect())),
    ])
}

/// The same with all fields in the order of their names.
fn sorted(node: Node) -> Node {
    match node {
        Node::Object(mut fields) => {
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Node::Object(fields.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        Node::Array(items) => Node::Array(items.into_iter().map(sorted).collect()),
        scalar => scalar,
    }
}

/// JSON with a field or item a line.
fn pretty(node: &Node, indent: usize, out: &mut String) {
    let flat = node.to_raw().unwrap().to_string();
    let pad = "  ".repeat(indent + 1);
    match node {
        _ if flat.chars().count() + 2 * indent <= 100 => out.push_str(&flat),
        Node::Object(fields) => {
            out.push('{');
            for (index, (name, value)) in fields.iter().enumerate() {
                let before = if index == 0 { "" } else { "," };
                out.push_str(&format!("{before}\n{pad}{name:?}: "));
                pretty(value, indent + 1, out);
            }
            out.push_str(&format!("\n{}}}", &pad[2..]));
        }
        Node::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                let before = if index == 0 { "" } else { "," };
                out.push_str(&format!("{before}\n{pad}"));
                pretty(item, indent + 1, out);
            }
            out.push_str(&format!("\n{}]", &pad[2..]));
        }
        Node::Scalar(token) => out.push_str(token),
    }
}
