//! Requests and what is attached to them.

use jiff::Timestamp;

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader, take_range};
use super::super::report::Outcome;
use super::super::uri::uri_of;
use crate::error::Result;
use crate::json::Extra;
use crate::model::{Attachment, Author, ChatRequest, Mention, MessagePart, TextPart};

/// Reads a request out of what its response has left.
pub(super) fn read(
    mut fields: Fields,
    id: &str,
    before: Timestamp,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ChatRequest> {
    let id = reader.request_id(&mut fields, id, path)?;
    let at = match fields.time("timestamp", path)? {
        Some(at) => at,
        None => {
            let detail = "unknown; that of what came before it";
            reader.note(Outcome::Assumed, &path.field("timestamp"), detail);
            before
        }
    };
    let mut request = ChatRequest::new(id, at);
    request.message = message(&mut fields, path, reader)?;
    attachments(&mut request.message, &mut fields, path, reader)?;
    request.model = fields.string("modelId");
    request.agent = fields.string("agent").or_else(|| name(&fields, &["agent", "id"]));
    request.command =
        fields.string("slashCommand").or_else(|| name(&fields, &["slashCommand", "name"]));
    if fields.peek("isSystemInitiated").and_then(Node::as_bool) == Some(true) {
        request.author = Author::System;
    }
    hidden(&mut fields, &request, path, reader)?;
    reader.keep_data(&mut request.data, "request", fields, path)?;
    Ok(request)
}

fn name(fields: &Fields, names: &[&str]) -> Option<String> {
    fields.at(names).and_then(Node::as_string)
}

/// `isHidden` became `shouldBeRemovedOnSend`.
fn hidden(
    fields: &mut Fields,
    request: &ChatRequest,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<()> {
    let is_hidden = fields.peek("isHidden").and_then(Node::as_bool) == Some(true);
    if is_hidden && fields.peek("shouldBeRemovedOnSend").is_none() {
        let id = Node::string(request.id.as_str())?;
        let removed = Node::Object(vec![("requestId".to_owned(), id)]);
        fields.put("shouldBeRemovedOnSend", removed);
        let detail = "it is `shouldBeRemovedOnSend` now";
        reader.note(Outcome::Repaired, &path.field("isHidden"), detail);
    }
    Ok(())
}

/// The message: a string, or a text with the parts that it was parsed into.
fn message(
    fields: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<MessagePart>> {
    if let Some(text) = fields.string("message") {
        return Ok(vec![MessagePart::from_text(text)]);
    }
    let mut message = Vec::new();
    let (outer, array) = (path.field("message"), "parts");
    let array = outer.field(array);
    for (index, node) in fields.array_at(&["message", "parts"]).into_iter().enumerate() {
        message.push(piece(node, &array.item(index), reader)?);
    }
    let text = fields.at(&["message", "text"]).and_then(Node::as_string);
    let said = message.iter().map(MessagePart::text).collect::<Vec<_>>();
    // The whole text stays beside the pieces unless they say no more and no less.
    if let Some(text) = text
        && (said.is_empty() || said == [text.as_str()])
    {
        let said_nothing = said.is_empty();
        let _taken = fields.string_at(&["message", "text"]);
        if said_nothing {
            message.push(MessagePart::from_text(text));
        }
    }
    Ok(message)
}

fn piece(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<MessagePart> {
    if node.get("text").and_then(Node::as_string).is_none() {
        reader.note(Outcome::Kept, path, "an unknown piece of the message");
        return Ok(MessagePart::Unknown(node.to_raw()?));
    }
    let mut fields = Fields::of(node, path)?;
    let text = fields.string("text").unwrap_or_default();
    let range = take_range(&mut fields);
    let kind = fields.peek("kind").and_then(Node::as_string);
    let mut extra = Extra::new();
    if matches!(kind.as_deref(), None | Some("text")) {
        reader.keep_extra(&mut extra, fields, path)?;
        return Ok(MessagePart::Text(TextPart { text, range, extra }));
    }
    let named = [
        &["agent", "id"][..],
        &["toolName"],
        &["command", "name"],
        &["slashCommand", "command"],
        &["fullName"],
        &["variableName"],
        &["name"],
        &["id"],
    ];
    let name = named.into_iter().find_map(|names| name(&fields, names));
    let kind = fields.string("kind");
    reader.keep_extra(&mut extra, fields, path)?;
    let name = name.unwrap_or_else(|| text.clone());
    Ok(MessagePart::Mention(Mention { name, kind, text: Some(text), range, extra }))
}

/// `variableData.variables`: files, images, symbols and whatever else was attached.
fn attachments(
    message: &mut Vec<MessagePart>,
    fields: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<()> {
    let outer = path.field("variableData");
    let array = outer.field("variables");
    let variables = fields.objects(&["variableData", "variables"]);
    for (index, node) in variables.into_iter().enumerate() {
        let path = array.item(index);
        let mut fields = Fields::of(node, &path)?;
        let mut attachment = Attachment {
            name: fields.string("name").unwrap_or_default(),
            kind: fields.string("kind"),
            uri: fields.peek("value").filter(|value| value.is_object()).and_then(uri_of),
            media_type: fields.string("mimeType"),
            range: take_range(&mut fields),
            ..Attachment::default()
        };
        attachment.value = fields.raw(&["value"])?;
        reader.keep_extra(&mut attachment.extra, fields, &path)?;
        message.push(MessagePart::Attachment(attachment));
    }
    Ok(())
}
