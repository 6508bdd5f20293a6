//! Sessions of Visual Studio Code's chat, versions 1 to 3, as a document or as an operation log.
//!
//! The editor keeps them under `workspaceStorage/<hash>/chatSessions` of its user folder, one
//! `<id>.json` or `<id>.jsonl` each. A turn is one element of `requests`, in which the fields of the
//! response lie beside those of the request; the conversation is the order of the elements.
//!
//! What the editor itself does to older sessions when it reads them is done here as well: a string
//! is a message or a response, `isCanceled` is a state, a response that had not ended counts as
//! cancelled, an `editing-session` is shown where chats are.

mod edit;
mod interaction;
mod log;
mod part;
mod request;
mod response;
mod tool;

use jiff::Timestamp;

pub(super) use self::log::is_operation;
use super::node::Node;
use super::path::Path;
use super::reader::{Fields, Reader, read_time};
use super::report::{Format, Outcome};
use super::uri::uri_of;
use super::{Imported, ReadOptions, check_size, parse, without_mark};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{SessionId, TurnId};
use crate::model::{ChatModel, Draft, QueuedRequest, SessionMeta, Title, Turn};

/// The newest version that is known.
const NEWEST: u64 = 3;

/// Reads a session document.
///
/// # Errors
///
/// Those of [`read`](super::read).
pub fn read_json(bytes: &[u8], options: &ReadOptions<'_>) -> Result<Imported> {
    check_size(bytes.len() as u64, options)?;
    read_node(parse(without_mark(bytes))?, options)
}

/// Reads an operation log: a snapshot of a session and what was done to it since.
///
/// A last line that ends in the middle is not applied: the report says so, and its text is kept as
/// the session's data `vscode.torn_line`.
///
/// # Errors
///
/// Those of [`read`](super::read); the context names the `line` of an operation that is damaged or
/// does not apply.
pub fn read_jsonl(bytes: &[u8], options: &ReadOptions<'_>) -> Result<Imported> {
    check_size(bytes.len() as u64, options)?;
    let mut reader = Reader::new(Format::VsCodeLog, options);
    let replayed = log::replay(without_mark(bytes), &mut reader)?;
    let mut imported = session(replayed.document, reader)?;
    if let Some(torn) = replayed.torn {
        log::keep_torn(&mut imported, &torn)?;
    }
    Ok(imported)
}

pub(super) fn read_node(document: Node, options: &ReadOptions<'_>) -> Result<Imported> {
    session(document, Reader::new(Format::VsCode, options))
}

fn session(document: Node, mut reader: Reader<'_>) -> Result<Imported> {
    let root = Path::ROOT;
    let mut fields = Fields::of(document, &root)?;
    let version = version(&fields)?;
    let requests = requests(&mut fields)?;
    let created = created(&mut fields, &requests, &mut reader)?;
    let id = session_id(&mut fields, &mut reader)?;
    let mut meta = SessionMeta::new(reader.options.owner.clone(), id, created);
    meta.title = title(&mut fields);
    meta.location = location(&mut fields, &mut reader);
    meta.working_directory = working_directory(&mut fields);
    meta.draft = draft(&mut fields)?;
    let turns = turns(requests, created, &mut reader)?;
    meta.queue = queue(&mut fields, created, &mut reader)?;
    reader.keep_data(&mut meta.data, "session", fields, &root)?;

    let parts = turns.iter().map(|turn| turn.response().parts.len() as u64).sum();
    reader.report.counted(version, turns.len() as u64, parts);
    let mut model = ChatModel::new(meta);
    model.active = turns.last().map(Turn::id);
    turns.into_iter().for_each(|turn| model.push(turn));
    Ok(Imported { model, report: reader.report })
}

fn version(fields: &Fields) -> Result<u64> {
    let Some(node) = fields.peek("version").filter(|node| !node.is_null()) else { return Ok(1) };
    match node.as_u64() {
        Some(version @ 1..=NEWEST) => Ok(version),
        Some(version) => Err(Error::new(
            ErrorKind::UnsupportedVersion,
            format!("version {version} of the session is not known; the newest known is {NEWEST}"),
        )),
        None => Err(Path::ROOT.field("version").invalid("a whole number is expected")),
    }
}

fn requests(fields: &mut Fields) -> Result<Vec<Node>> {
    match fields.take_if(&["requests"], |node| matches!(node, Node::Array(_))) {
        Some(Node::Array(requests)) => Ok(requests),
        _ => Err(Path::ROOT.field("requests").invalid("an array is expected")),
    }
}

/// When the session was created; else when its first request was made; else now.
fn created(fields: &mut Fields, requests: &[Node], reader: &mut Reader<'_>) -> Result<Timestamp> {
    let root = Path::ROOT;
    if let Some(created) = fields.time("creationDate", &root)? {
        return Ok(created);
    }
    let place = root.field("creationDate");
    for (index, request) in requests.iter().enumerate() {
        let Some(node) = request.get("timestamp") else { continue };
        let path = root.field("requests");
        if let Some(time) = read_time(node, &path.item(index).field("timestamp"))? {
            reader.note(Outcome::Assumed, &place, "the time of the first request that has one");
            return Ok(time);
        }
    }
    reader.note(Outcome::Assumed, &place, "unknown; the time of the import");
    Ok(reader.now())
}

fn session_id(fields: &mut Fields, reader: &mut Reader<'_>) -> Result<SessionId> {
    let path = Path::ROOT.field("sessionId");
    if fields.peek("sessionId").is_none_or(Node::is_null) {
        reader.note(Outcome::Assumed, &path, "a new id");
        return SessionId::new(reader.options.ids.next_id());
    }
    match fields.string("sessionId") {
        Some(id) => SessionId::new(id).map_err(|e| e.with("field", path)),
        None => Err(path.invalid("text is expected")),
    }
}

/// Version 2 called the title `computedTitle`; since then it cannot be told who set it, so that it
/// counts as a person's and no machine replaces it.
fn title(fields: &mut Fields) -> Option<Title> {
    if let Some(text) = fields.string("customTitle") {
        return Some(Title::by_person(text));
    }
    fields.string("computedTitle").map(Title::automatic)
}

fn location(fields: &mut Fields, reader: &mut Reader<'_>) -> Option<String> {
    if fields.peek("initialLocation").and_then(Node::as_string)? == "editing-session" {
        let place = Path::ROOT.field("initialLocation");
        reader.note(Outcome::Repaired, &place, "`editing-session` is shown as `chat`");
        return Some("chat".to_owned());
    }
    fields.string("initialLocation")
}

fn working_directory(fields: &mut Fields) -> Option<String> {
    fields.string("workingDirectory").or_else(|| fields.peek("workingDirectory").and_then(uri_of))
}

fn draft(fields: &mut Fields) -> Result<Option<Draft>> {
    let text = fields.string_at(&["inputState", "inputText"]);
    let input =
        fields.take_if(&["inputState"], |node| matches!(node, Node::Object(f) if !f.is_empty()));
    if text.is_none() && input.is_none() {
        return Ok(None);
    }
    let input = input.map(|node| node.to_raw()).transpose()?;
    Ok(Some(Draft { text: text.unwrap_or_default(), input, ..Draft::default() }))
}

fn turns(requests: Vec<Node>, created: Timestamp, reader: &mut Reader<'_>) -> Result<Vec<Turn>> {
    let root = Path::ROOT;
    let array = root.field("requests");
    let mut turns = Vec::with_capacity(requests.len());
    let mut before = created;
    for (index, node) in requests.into_iter().enumerate() {
        let path = array.item(index);
        let mut fields = Fields::of(node, &path)?;
        let response = response::read(&mut fields, &path, reader)?;
        let request = request::read(fields, "requestId", before, &path, reader)?;
        before = request.at;
        let id = TurnId::new(index as u64 + 1);
        let parent = turns.last().map(Turn::id);
        turns.push(Turn::new(id, parent, request, response));
    }
    Ok(turns)
}

/// `pendingRequests`: what a person has sent while a response was coming in.
fn queue(
    fields: &mut Fields,
    created: Timestamp,
    reader: &mut Reader<'_>,
) -> Result<Vec<QueuedRequest>> {
    let root = Path::ROOT;
    let array = root.field("pendingRequests");
    let mut queue = Vec::new();
    for (index, node) in fields.objects(&["pendingRequests"]).into_iter().enumerate() {
        let path = array.item(index);
        let mut outer = Fields::of(node, &path)?;
        let inner = outer.take_if(&["request"], Node::is_object);
        let inner = inner.unwrap_or_else(|| Node::Object(Vec::new()));
        let place = path.field("request");
        let inner = Fields::of(inner, &place)?;
        let request = request::read(inner, "requestId", created, &place, reader)?;
        let options = outer.raw(&["sendOptions"])?;
        let mut queued = QueuedRequest { request, options, extra: crate::Extra::new() };
        reader.keep_extra(&mut queued.extra, outer, &path)?;
        queue.push(queued);
    }
    Ok(queue)
}
