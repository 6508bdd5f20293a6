//! Tool invocations.

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader};
use super::part::{take_text, text_of};
use crate::error::Result;
use crate::part::{ResponsePart, ToolCall, ToolState};

/// Whether it names the tool and the call.
pub(super) fn fits(node: &Node) -> bool {
    ["toolId", "toolCallId"]
        .into_iter()
        .all(|name| node.get(name).and_then(Node::as_string).is_some())
}

/// Reads an invocation. Its title is what is said of it when it is over, else while it runs; its
/// arguments are the raw input where the editor has kept it.
pub(super) fn read(
    kind: &str,
    node: Node,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ResponsePart> {
    let state = state(&node);
    let mut fields = Fields::of(node, path)?;
    let id = fields.string("toolCallId").unwrap_or_default();
    let name = fields.string("toolId").unwrap_or_default();
    let mut call = ToolCall { state, ..ToolCall::new(id, name) };
    call.state = state;
    call.title = take_text(&mut fields, "pastTenseMessage")
        .or_else(|| take_text(&mut fields, "invocationMessage"));
    call.arguments = match fields.raw(&["toolSpecificData", "rawInput"])? {
        Some(input) => Some(input),
        None => fields.raw(&["resultDetails", "input"])?,
    };
    call.error = fields.string("resultError");
    call.result = fields.raw(&["resultDetails"])?;
    reader.keep_extra(&mut call.extra, fields, path)?;
    reader.part(kind, call, path)
}

/// Confirmed was a yes or no; it is an object with a type since: 0 denied, 4 by a person, 5 skipped,
/// others without asking.
fn state(node: &Node) -> ToolState {
    let confirmed = node.get("isConfirmed").filter(|node| !node.is_null());
    let kind = confirmed.and_then(|node| node.get("type")).and_then(Node::as_u64);
    let denied = matches!(kind, Some(0 | 5)) || confirmed.and_then(Node::as_bool) == Some(false);
    let failed = text_of(node, "resultError").is_some()
        || node.at(&["resultDetails", "isError"]).and_then(Node::as_bool) == Some(true);
    let complete = node.get("isComplete").and_then(Node::as_bool) == Some(true);
    match (denied, failed, complete, confirmed) {
        (true, ..) => ToolState::OutputDenied,
        (_, true, ..) => ToolState::OutputError,
        (_, _, true, _) => ToolState::OutputAvailable,
        (_, _, _, Some(_)) => ToolState::InputAvailable,
        (_, _, _, None) => ToolState::ApprovalRequested,
    }
}
