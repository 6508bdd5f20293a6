//! Requests and the change sets that belong to them.

use jiff::Timestamp;

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader, take_range};
use super::super::report::Outcome;
use crate::error::Result;
use crate::json::Extra;
use crate::model::{ChatRequest, Mention, MessagePart, TextPart, Variable};
use crate::part::{ChangeSet, ChangeState, ChangeType, FileChange, ResponsePart};

/// Reads a request.
pub(super) fn read(
    mut fields: Fields,
    saved: Timestamp,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ChatRequest> {
    let mut request = ChatRequest::new(reader.request_id(&mut fields, "id", path)?, saved);
    request.agent = fields.string("agentId");
    request.message = message(&mut fields, path, reader)?;
    variables(&mut request.message, &mut fields, path, reader)?;
    reader.keep_data(&mut request.data, "request", fields, path)?;
    Ok(request)
}

fn message(
    fields: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<MessagePart>> {
    let parsed = path.field("parsedRequest");
    let array = parsed.field("parts");
    let mut message = Vec::new();
    for (index, node) in fields.array_at(&["parsedRequest", "parts"]).into_iter().enumerate() {
        message.push(piece(node, &array.item(index), reader)?);
    }
    let said: Vec<_> = message.iter().map(MessagePart::text).collect();
    // The whole text stays beside the pieces unless they say no more and no less.
    if let Some(text) = fields.peek("text").and_then(Node::as_string)
        && (said.is_empty() || said == [text.as_str()])
    {
        let said_nothing = said.is_empty();
        let _taken = fields.string("text");
        if said_nothing {
            message.push(MessagePart::from_text(text));
        }
    }
    Ok(message)
}

fn piece(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<MessagePart> {
    let text = |name: &str| node.get(name).and_then(Node::as_string);
    let kind = text("kind").unwrap_or_default();
    let name = match kind.as_str() {
        "text" => text("text"),
        "var" => text("variableName").or_else(|| text("variableId")),
        "function" => node
            .at(&["toolRequest", "id"])
            .and_then(Node::as_string)
            .or_else(|| text("toolId"))
            .or_else(|| text("id")),
        "agent" => text("agentId"),
        _ => None,
    };
    let Some(name) = name else {
        reader.note(Outcome::Kept, path, "an unknown piece of the message");
        return Ok(MessagePart::Unknown(node.to_raw()?));
    };
    let mut fields = Fields::of(node, path)?;
    let range = take_range(&mut fields);
    let mut extra = Extra::new();
    let text = fields.string("text").or_else(|| fields.string("promptText"));
    if kind != "text" && kind != "var" {
        let kind = fields.string("kind");
        reader.keep_extra(&mut extra, fields, path)?;
        return Ok(MessagePart::Mention(Mention { name, kind, text, range, extra }));
    }
    reader.keep_extra(&mut extra, fields, path)?;
    Ok(match kind.as_str() {
        "text" => MessagePart::Text(TextPart { text: name, range, extra }),
        _ => MessagePart::Variable(Variable { name, text, value: None, range, extra }),
    })
}

/// The variables with the values that they had; they stand in no particular place of the text.
fn variables(
    message: &mut Vec<MessagePart>,
    fields: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<()> {
    let parsed = path.field("parsedRequest");
    let array = parsed.field("variables");
    let variables = fields.objects(&["parsedRequest", "variables"]);
    for (index, node) in variables.into_iter().enumerate() {
        let path = array.item(index);
        let mut fields = Fields::of(node, &path)?;
        let mut variable = Variable {
            name: fields.string("variableName").unwrap_or_default(),
            ..Variable::default()
        };
        variable.value = fields.raw(&["value"])?;
        reader.keep_extra(&mut variable.extra, fields, &path)?;
        message.push(MessagePart::Variable(variable));
    }
    Ok(())
}

/// Takes the change set of a request: it is what the response has made of the files.
pub(super) fn change_set(
    request: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<Option<ResponsePart>> {
    let path = path.field("changeSet");
    let fits = |node: &Node| {
        let elements = node.get("elements").map(Node::items).unwrap_or_default();
        !elements.is_empty() && elements.iter().all(is_element)
    };
    let Some(node) = request.take_if(&["changeSet"], fits) else { return Ok(None) };
    let mut fields = Fields::of(node, &path)?;
    let mut part = ChangeSet { title: fields.string("title"), ..ChangeSet::default() };
    let array = path.field("elements");
    for (index, node) in fields.objects(&["elements"]).into_iter().enumerate() {
        part.changes.push(file_change(node, &array.item(index), reader)?);
    }
    reader.keep_extra(&mut part.extra, fields, &path)?;
    reader.part("changeSet", part, &path).map(Some)
}

fn is_element(node: &Node) -> bool {
    node.get("uri").and_then(Node::as_string).is_some()
}

fn file_change(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<FileChange> {
    let mut fields = Fields::of(node, path)?;
    let mut change = FileChange::new(fields.string("uri").unwrap_or_default(), ChangeType::Modify);
    let text = |name: &str| fields.peek(name).and_then(Node::as_string);
    let types =
        [("add", ChangeType::Add), ("modify", ChangeType::Modify), ("delete", ChangeType::Delete)];
    let states = [
        ("pending", ChangeState::Pending),
        ("applied", ChangeState::Applied),
        ("stale", ChangeState::Stale),
    ];
    let (kind, state) = (text("type"), text("state"));
    let kind = types.into_iter().find(|(name, _)| Some(*name) == kind.as_deref());
    let state = states.into_iter().find(|(name, _)| Some(*name) == state.as_deref());
    if let Some((_, kind)) = kind {
        change.change = kind;
        let _taken = fields.take("type");
    }
    if let Some((_, state)) = state {
        change.state = state;
        let _taken = fields.take("state");
    }
    change.target = fields.string_at(&["data", "targetState"]);
    change.original = fields.string_at(&["data", "originalState"]);
    let fits = |node: &Node| matches!(node, Node::Object(data) if !data.is_empty());
    change.details = fields.take_if(&["data"], fits).map(|node| node.to_raw()).transpose()?;
    reader.keep_extra(&mut change.extra, fields, path)?;
    Ok(change)
}
