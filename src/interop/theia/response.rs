//! Responses.

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader};
use super::super::report::Outcome;
use super::part;
use crate::error::Result;
use crate::model::{ChatResponse, ResponseError, ResponseState, Usage};

/// Reads a response.
pub(super) fn read(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ChatResponse> {
    let mut fields = Fields::of(node, path)?;
    let mut response = ChatResponse::new(reader.response_id(&mut fields, "id", path)?);
    response.state = state(&fields, path, reader);
    if response.state == ResponseState::Failed || fields.peek("errorMessage").is_some() {
        response.error = fields.string("errorMessage").map(ResponseError::new);
    }
    if response.state == ResponseState::Failed && response.error.is_none() {
        response.error = Some(ResponseError::default());
    }
    let array = path.field("content");
    for (index, node) in fields.array("content").into_iter().enumerate() {
        response.parts.push(part::read(node, &array.item(index), reader)?);
    }
    response.model = fields.string("languageModel");
    response.usage = usage(&mut fields);
    reader.keep_data(&mut response.data, "response", fields, path)?;
    Ok(response)
}

fn state(fields: &Fields, path: &Path<'_>, reader: &mut Reader<'_>) -> ResponseState {
    let is = |name| fields.peek(name).and_then(Node::as_bool) == Some(true);
    if is("isError") {
        ResponseState::Failed
    } else if is("isComplete") {
        ResponseState::Complete
    } else {
        let detail = "it had not ended; it counts as interrupted";
        reader.note(Outcome::Repaired, &path.field("isComplete"), detail);
        ResponseState::Interrupted
    }
}

fn usage(fields: &mut Fields) -> Option<Usage> {
    let mut count = |name| fields.number(&["tokenUsage", name]);
    let usage = Usage {
        input: count("inputTokens"),
        output: count("outputTokens"),
        cached: count("cacheReadInputTokens"),
        cache_written: count("cacheCreationInputTokens"),
        ..Usage::default()
    };
    (usage != Usage::default()).then_some(usage)
}
