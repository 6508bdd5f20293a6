//! Response parts.

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader};
use super::super::uri::{name_of, uri_of};
use super::{edit, interaction, tool};
use crate::error::Result;
use crate::part::{
    Command, Markdown, Progress, Resource, ResourceKind, ResponsePart, Status, StatusLevel,
    Thinking,
};

/// Reads one part: into a built-in kind if it fits one, else as it is.
pub(super) fn read(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ResponsePart> {
    if let Some(text) = node.as_string() {
        return reader.part("text", Markdown::new(text), path);
    }
    let Some(kind) = node.get("kind").and_then(Node::as_string) else {
        return without_kind(node, path, reader);
    };
    let fits = |names: &[&str]| names.iter().all(|name| text_of(&node, name).is_some());
    match &*kind {
        "markdownContent" | "markdownVuln" if fits(&["content"]) => {
            markdown(&kind, node, "content", path, reader)
        }
        "thinking" if node.get("value").is_some_and(is_thought) => thinking(node, path, reader),
        "progressMessage" | "progressTaskSerialized" | "progressTask" if fits(&["content"]) => {
            progress(&kind, node, path, reader)
        }
        "warning" if fits(&["content"]) => status(StatusLevel::Warning, &kind, node, path, reader),
        "info" if fits(&["content"]) => status(StatusLevel::Info, &kind, node, path, reader),
        "systemNotification" if fits(&["content"]) => {
            status(StatusLevel::Status, &kind, node, path, reader)
        }
        "inlineReference" if reference_uri(&node).is_some() => reference(node, path, reader),
        "command" if command_id(&node).is_some() => command(node, path, reader),
        "confirmation" if fits(&["title"]) => interaction::confirmation(node, path, reader),
        "questionCarousel" if interaction::only_question(&node).is_some() => {
            interaction::question(node, path, reader)
        }
        "toolInvocationSerialized" | "toolInvocation" if tool::fits(&node) => {
            tool::read(&kind, node, path, reader)
        }
        "textEditGroup" | "notebookEditGroup" if edit::is_group(&node) => {
            edit::group(&kind, node, path, reader)
        }
        "workspaceEdit" if edit::is_workspace_edit(&node) => edit::workspace(node, path, reader),
        "treeData" => tagged_tree(node, path, reader),
        _ => raw(&kind, node, path, reader),
    }
}

/// Only Markdown has no kind, and in documents the tree of files.
fn without_kind(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ResponsePart> {
    if node.get("value").and_then(Node::as_string).is_some() {
        return markdown("markdown", node, "value", path, reader);
    }
    let is_tree = node.get("children").is_some()
        || (node.get("uri").is_some() && node.get("label").is_some());
    raw(if is_tree { "treeData" } else { "unnamed" }, node, path, reader)
}

/// In logs a tree is tagged, in documents it is not: both become the same part.
fn tagged_tree(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ResponsePart> {
    let only_tree = matches!(&node, Node::Object(fields) if fields.len() == 2);
    let mut fields = Fields::of(node.clone(), path)?;
    match fields.take_if(&["treeData"], Node::is_object) {
        Some(tree) if only_tree => raw("treeData", tree, path, reader),
        _ => raw("treeData", node, path, reader),
    }
}

/// A part that is kept as it is, under the kind `vscode.<kind>`.
fn raw(kind: &str, node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ResponsePart> {
    let fallback = fallback(kind, &node);
    reader.raw_part(&format!("vscode.{kind}"), &fallback, Some(node), None, path)
}

/// What a raw part shows: a tree its labels, the editor's own book-keeping nothing, any other what
/// it has to say.
fn fallback(kind: &str, node: &Node) -> String {
    const SILENT: [&str; 7] = [
        "undoStop",
        "codeblockUri",
        "clearToPreviousToolInvocation",
        "mcpServersStarting",
        "disabledClaudeHooks",
        "autoModeResolution",
        "hook",
    ];
    if SILENT.contains(&kind) {
        return String::new();
    }
    if kind == "treeData" {
        let mut lines = Vec::new();
        tree(node.get("treeData").unwrap_or(node), 0, &mut lines);
        return lines.join("\n");
    }
    let of = if kind == "multiDiffData" { node.get("multiDiffData").unwrap_or(node) } else { node };
    let names = ["title", "subtitle", "author", "message", "description", "content", "label"];
    let said: Vec<String> = names.into_iter().filter_map(|name| text_of(of, name)).collect();
    let questions = node.get("questions").map(Node::items).unwrap_or_default();
    let asked = questions
        .iter()
        .filter_map(|question| text_of(question, "message").or_else(|| text_of(question, "title")));
    let said: Vec<String> = said.into_iter().chain(asked).filter(|text| !text.is_empty()).collect();
    if said.is_empty() { format!("[{kind}]") } else { said.join("\n") }
}

fn tree(node: &Node, depth: usize, lines: &mut Vec<String>) {
    if let Some(label) = text_of(node, "label") {
        lines.push(format!("{:width$}{label}", "", width = 2 * depth));
    }
    for child in node.get("children").map(Node::items).unwrap_or_default() {
        tree(child, depth + 1, lines);
    }
}

/// The text of a field that holds a string, or Markdown as an object with a `value`.
pub(super) fn text_of(node: &Node, name: &str) -> Option<String> {
    let value = node.get(name)?;
    value.as_string().or_else(|| value.get("value").and_then(Node::as_string))
}

/// Takes the text of such a field; what else the Markdown holds stays.
pub(super) fn take_text(fields: &mut Fields, name: &str) -> Option<String> {
    fields.string(name).or_else(|| fields.string_at(&[name, "value"]))
}

fn markdown(
    kind: &str,
    node: Node,
    name: &str,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ResponsePart> {
    let mut fields = Fields::of(node, path)?;
    let mut part = Markdown::new(take_text(&mut fields, name).unwrap_or_default());
    reader.keep_extra(&mut part.extra, fields, path)?;
    reader.part(kind, part, path)
}

fn is_thought(value: &Node) -> bool {
    value.as_string().is_some()
        || (!value.items().is_empty()
            && value.items().iter().all(|item| item.as_string().is_some()))
}

fn thinking(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ResponsePart> {
    let mut fields = Fields::of(node, path)?;
    // The pieces of a list stay beside their whole: where one ends is known to nobody else.
    let pieces = fields.peek("value").map(Node::items).unwrap_or_default();
    let whole: String = pieces.iter().filter_map(Node::as_string).collect();
    let mut part = Thinking::new(fields.string("value").unwrap_or(whole));
    reader.keep_extra(&mut part.extra, fields, path)?;
    reader.part("thinking", part, path)
}

fn progress(
    kind: &str,
    node: Node,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ResponsePart> {
    let mut fields = Fields::of(node, path)?;
    let mut part = Progress::new(take_text(&mut fields, "content").unwrap_or_default());
    reader.keep_extra(&mut part.extra, fields, path)?;
    reader.part(kind, part, path)
}

fn status(
    level: StatusLevel,
    kind: &str,
    node: Node,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ResponsePart> {
    let mut fields = Fields::of(node, path)?;
    let mut part = Status::new(level, take_text(&mut fields, "content").unwrap_or_default());
    reader.keep_extra(&mut part.extra, fields, path)?;
    reader.part(kind, part, path)
}

/// A reference is a URI, a place in a file, or a symbol at such a place.
fn reference_uri(node: &Node) -> Option<String> {
    let target = node.get("inlineReference")?;
    uri_of(target).or_else(|| target.get("location").and_then(uri_of))
}

fn reference(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ResponsePart> {
    let uri = reference_uri(&node).unwrap_or_default();
    let symbol = node.at(&["inlineReference", "name"]).and_then(Node::as_string);
    let mut fields = Fields::of(node, path)?;
    let name = fields.string("name").or(symbol).unwrap_or_else(|| name_of(&uri));
    let mut part = Resource { name: Some(name), ..Resource::at(ResourceKind::Reference, uri) };
    reader.keep_extra(&mut part.extra, fields, path)?;
    reader.part("inlineReference", part, path)
}

fn command_id(node: &Node) -> Option<String> {
    node.at(&["command", "id"]).and_then(Node::as_string)
}

fn command(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ResponsePart> {
    let mut fields = Fields::of(node, path)?;
    let id = fields.string_at(&["command", "id"]).unwrap_or_default();
    let label = fields.string_at(&["command", "title"]).unwrap_or_default();
    let mut part = Command::new(id, label);
    part.arguments = fields.raw(&["command", "arguments"])?;
    reader.keep_extra(&mut part.extra, fields, path)?;
    reader.part("command", part, path)
}
