//! Sessions of Theia's chat (`@theia/ai-chat`), version 1.
//!
//! Theia keeps them under `chatSessions` of its configuration folder, one `<id>.json` each: a
//! wrapper with title and save date around the model. Requests and responses are two lists; a
//! hierarchy of branches says which request follows which. The items of a branch are alternatives, of
//! which one is active, and each may lead to the branch of those that follow it.
//!
//! The format has no times but the save date, which therefore stands for all of them.

mod part;
mod request;
mod response;
mod tree;

use std::collections::HashMap;

use jiff::Timestamp;

use super::node::Node;
use super::path::Path;
use super::reader::{Fields, Reader, read_time};
use super::report::{Format, Outcome};
use super::{Imported, ReadOptions, check_size, parse, without_mark};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{SessionId, TurnId};
use crate::model::{
    ChatModel, ChatResponse, ParentRelation, ParentSession, ResponseState, SessionMeta, Title, Turn,
};

/// The only version there is.
const VERSION: u64 = 1;

/// Reads a session document.
///
/// # Errors
///
/// Those of [`read`](super::read).
pub fn read(bytes: &[u8], options: &ReadOptions<'_>) -> Result<Imported> {
    check_size(bytes.len() as u64, options)?;
    read_node(parse(without_mark(bytes))?, options)
}

pub(super) fn read_node(document: Node, options: &ReadOptions<'_>) -> Result<Imported> {
    let mut reader = Reader::new(Format::Theia, options);
    let root = Path::ROOT;
    let mut fields = Fields::of(document, &root)?;
    check_version(&fields)?;
    let saved = saved(&fields, &mut reader)?;
    let id = session_id(&mut fields)?;
    let mut meta = SessionMeta::new(reader.options.owner.clone(), id, saved);
    meta.title = fields.string("title").map(Title::by_person);
    meta.agent = fields.string("pinnedAgentId");
    meta.location = fields.string_at(&["model", "location"]);
    meta.parent = parent(&mut fields)?;
    preferences(&mut meta, &mut fields)?;

    let mut read = turns(&mut fields, saved, &mut reader)?;
    put_back(&mut fields, std::mem::take(&mut read.spare));
    reader.keep_data(&mut meta.data, "session", fields, &root)?;

    let parts = read.turns.iter().map(|turn| turn.response().parts.len() as u64).sum();
    reader.report.counted(VERSION, read.turns.len() as u64, parts);
    let mut model = ChatModel::new(meta);
    model.active = read.active;
    read.turns.into_iter().for_each(|turn| model.push(turn));
    Ok(Imported { model, report: reader.report })
}

fn check_version(fields: &Fields) -> Result<()> {
    match fields.peek("version").map(Node::as_u64) {
        Some(Some(VERSION)) => Ok(()),
        Some(Some(version)) => Err(Error::new(
            ErrorKind::UnsupportedVersion,
            format!("version {version} of the session is not known, only {VERSION} is"),
        )),
        _ => Err(Path::ROOT.field("version").invalid("a whole number is expected")),
    }
}

/// The save date, which stands for all times that the format does not have.
fn saved(fields: &Fields, reader: &mut Reader<'_>) -> Result<Timestamp> {
    let place = Path::ROOT.field("saveDate");
    let saved = fields.peek("saveDate").map(|node| read_time(node, &place)).transpose()?.flatten();
    let detail = match saved {
        Some(_) => {
            "no other time is known: it stands for when the session and its requests were made"
        }
        None => "unknown; the time of the import stands for all times",
    };
    reader.note(Outcome::Assumed, &place, detail);
    Ok(saved.unwrap_or_else(|| reader.now()))
}

fn session_id(fields: &mut Fields) -> Result<SessionId> {
    let model = Path::ROOT.field("model");
    let path = model.field("sessionId");
    match fields.string_at(&["model", "sessionId"]) {
        Some(id) => SessionId::new(id).map_err(|e| e.with("field", path)),
        None => Err(path.invalid("text is expected")),
    }
}

fn parent(fields: &mut Fields) -> Result<Option<ParentSession>> {
    let Some(id) = fields.string("parentSessionId") else { return Ok(None) };
    let path = Path::ROOT.field("parentSessionId");
    let session = SessionId::new(id).map_err(|e| e.with("field", path))?;
    let relation = ParentRelation::Delegation;
    Ok(Some(ParentSession { session, turn: None, relation, extra: crate::Extra::new() }))
}

fn preferences(meta: &mut SessionMeta, fields: &mut Fields) -> Result<()> {
    let fits = |node: &Node| matches!(node, Node::Object(settings) if !settings.is_empty());
    if let Some(Node::Object(settings)) = fields.take_if(&["model", "settings"], fits) {
        for (name, value) in settings {
            meta.preferences.insert(name, value.to_raw()?);
        }
    }
    Ok(())
}

/// The turns of a session in the order of their numbers.
#[derive(Debug)]
struct Turns {
    turns: Vec<Turn>,
    active: Option<TurnId>,
    /// Responses that belong to no request, or to one that has another one.
    spare: Vec<Node>,
}

fn turns(fields: &mut Fields, saved: Timestamp, reader: &mut Reader<'_>) -> Result<Turns> {
    let (root, requests) = (Path::ROOT, list(fields, "requests")?);
    let model = root.field("model");
    let order = tree::order(&requests, fields.at(&["model", "hierarchy"]), &model, reader);
    let (mut responses, spare) = match_responses(list(fields, "responses")?, &requests, reader);
    let mut requests: Vec<Option<Node>> = requests.into_iter().map(Some).collect();
    let array = model.field("requests");
    let mut turns = Vec::with_capacity(requests.len());
    for placed in &order.placed {
        let path = array.item(placed.request);
        let node = requests.get_mut(placed.request).and_then(Option::take);
        let mut request = Fields::of(node.unwrap_or_else(|| Node::Object(Vec::new())), &path)?;
        let answer = responses.remove(&placed.request);
        let mut response = respond(answer, &path, &model, reader)?;
        response.parts.extend(request::change_set(&mut request, &path, reader)?);
        let request = request::read(request, saved, &path, reader)?;
        let id = TurnId::new(turns.len() as u64 + 1);
        turns.push(Turn::new(id, placed.parent.map(TurnId::new), request, response));
    }
    Ok(Turns { turns, active: order.active.map(TurnId::new), spare })
}

fn respond(
    answer: Option<(usize, Node)>,
    request: &Path<'_>,
    model: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ChatResponse> {
    if let Some((index, node)) = answer {
        let array = model.field("responses");
        return response::read(node, &array.item(index), reader);
    }
    let detail = "there is no response; an empty one that was interrupted";
    reader.note(Outcome::Assumed, request, detail);
    let mut nothing = Fields::of(Node::Object(Vec::new()), request)?;
    let mut response = ChatResponse::new(reader.response_id(&mut nothing, "response", request)?);
    response.state = ResponseState::Interrupted;
    Ok(response)
}

/// The elements of one of the model's lists; an empty one stays, as does one that is absent.
fn list(fields: &mut Fields, name: &str) -> Result<Vec<Node>> {
    let model = Path::ROOT.field("model");
    match fields.at(&["model", name]) {
        None => Ok(Vec::new()),
        Some(Node::Array(items)) if items.iter().all(Node::is_object) => {
            Ok(fields.array_at(&["model", name]))
        }
        Some(_) => Err(model.field(name).invalid("an array of objects is expected")),
    }
}

type Responses = HashMap<usize, (usize, Node)>;

/// Finds the request of each response, with the response's place in its list. A request has the
/// first of several.
fn match_responses(
    responses: Vec<Node>,
    requests: &[Node],
    reader: &mut Reader<'_>,
) -> (Responses, Vec<Node>) {
    let by_id = tree::by_id(requests);
    let model = Path::ROOT.field("model");
    let array = model.field("responses");
    let (mut matched, mut spare) = (Responses::new(), Vec::new());
    for (index, node) in responses.into_iter().enumerate() {
        let request = node.get("requestId").and_then(Node::as_string);
        let request = request.and_then(|id| by_id.get(&id).copied());
        let detail = match request {
            Some(request) if !matched.contains_key(&request) => {
                matched.insert(request, (index, node));
                continue;
            }
            Some(_) => "its request has a response already; kept in data `theia.session`",
            None => "its request is not there; kept in data `theia.session`",
        };
        reader.note(Outcome::Kept, &array.item(index), detail);
        spare.push(node);
    }
    (matched, spare)
}

/// Keeps responses without a turn among the raw fields of the model.
fn put_back(fields: &mut Fields, spare: Vec<Node>) {
    if spare.is_empty() {
        return;
    }
    let spare = ("responses".to_owned(), Node::Array(spare));
    let model = match fields.move_out("model") {
        Some(Node::Object(mut model)) => {
            model.push(spare);
            model
        }
        _ => vec![spare],
    };
    fields.put("model", Node::Object(model));
}
