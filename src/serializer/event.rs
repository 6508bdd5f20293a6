//! The log's events as the bodies of records.

use semver::Version;

use super::body::Body;
use super::json::{JsonChatModelSerializer, parse_str, shape};
use super::session::{read_changes, read_meta, write_changes, write_meta};
use super::{request, response};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ResponseId, TurnId};
use crate::json::{Extra, Object, RawJson, json_object};
use crate::log::{
    Checkpoint, DataEvent, DataLevel, Event, PartEvent, RequestEvent, ResponseEvent, SessionState,
    TextEvent,
};
use crate::model::ChatRequest;

/// Names that fields beside a session cannot have, in records and documents.
pub(super) const BESIDE_SESSION: &[&str] =
    &["session", "log", "active", "turns", "chatkeep", "serializer"];

/// Names that fields beside a request cannot have, in records and documents.
pub(super) const BESIDE_REQUEST: &[&str] = &["turn", "parent", "request", "response", "epoch"];

pub(super) fn write(json: &JsonChatModelSerializer, event: &Event) -> Result<RawJson> {
    let body = Body::default();
    match event {
        Event::Log(log) => RawJson::of_whole(log),
        Event::Session(state) => body
            .with("session", write_meta(json, &state.meta)?)
            .with_extra(&state.extra, BESIDE_SESSION)
            .write(),
        Event::SessionSet(changes) => write_changes(json, changes),
        Event::Data(data) => write_data(json, data),
        Event::Active(turn) => body.and_some("turn", turn.as_ref())?.write(),
        Event::Checkpoint(checkpoint) => body
            .and("log", &checkpoint.log)?
            .with("session", write_meta(json, &checkpoint.state.meta)?)
            .and_some("active", checkpoint.active.as_ref())?
            .and("turns", &checkpoint.turns)?
            .with_extra(&checkpoint.state.extra, BESIDE_SESSION)
            .write(),
        Event::Request(event) => {
            let body = body.and_some("parent", event.parent.as_ref())?;
            // The most frequent record is written in one pass.
            let body = match json.has_own_requests() && event.request.data.is_empty() {
                true => body.and("request", &event.request)?,
                false => body.with("request", json.write_request(&event.request)?),
            };
            body.and("response", &event.response)?
                .and_some("epoch", event.epoch.as_ref())?
                .with_extra(&event.extra, BESIDE_REQUEST)
                .write()
        }
        Event::Response(event) => body
            .and_some("epoch", event.epoch.as_ref())?
            .with("response", json.write_response(&event.response)?)
            .write(),
        Event::ResponseSet(event) => {
            let mut response = event.response.clone();
            response.parts.clear();
            body.and_some("epoch", event.epoch.as_ref())?
                .with("response", json.write_response(&response)?)
                .write()
        }
        Event::Part(event) => body
            .and_some("epoch", event.epoch.as_ref())?
            .and("index", &event.index)?
            .with("part", json.response_serializer().write_part(&event.part)?)
            .write(),
        Event::Text(event) => body
            .and_some("epoch", event.epoch.as_ref())?
            .and("index", &event.index)?
            .and("text", &event.text)?
            .write(),
        Event::Feedback(feedback) => body.and_some("feedback", feedback.as_ref())?.write(),
        Event::Claim(claim) => RawJson::of_whole(claim),
        Event::Other { body, .. } => Ok(body.clone()),
    }
}

fn write_data(json: &JsonChatModelSerializer, data: &DataEvent) -> Result<RawJson> {
    let write = |entry| json.data_serializer().write(&data.id, entry);
    let entry = data.entry.as_ref().map(write).transpose();
    Body::default()
        .and("on", &data.on)?
        .and("id", &data.id)?
        .with_some("entry", entry.map_err(|e| e.with("data", &data.id))?)
        .write()
}

pub(super) fn read(
    json: &JsonChatModelSerializer,
    kind: &str,
    body: &str,
    format: &Version,
) -> Result<Event> {
    let record = json.migrator().record(kind, body, format);
    record
        .and_then(|body| read_body(json, kind, &body))
        .map_err(|e| as_corrupt(e).with("kind", kind))
}

/// Whatever is wrong with a body of a log, it is the log that is damaged.
fn as_corrupt(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Invalid => error.into_kind(ErrorKind::Corrupt),
        _ => error,
    }
}

fn read_body(json: &JsonChatModelSerializer, kind: &str, raw: &str) -> Result<Event> {
    // Of these two, all that is not known is kept, and checked where it is.
    if !matches!(kind, "request" | "response") {
        RawJson::check_whole(raw)?;
    }
    Ok(match kind {
        "log" => Event::Log(parse_str(raw)?),
        "session" => {
            let mut object: Object<'_> = parse_str(raw)?;
            let meta = read_meta(json, object.require("session").map_err(shape)?)?;
            let extra = object.rest().map_err(shape)?;
            Event::Session(Box::new(SessionState { meta, extra }))
        }
        "session.set" => Event::SessionSet(read_changes(json, raw)?),
        "data" => Event::Data(read_data(json, raw)?),
        "active" => Event::Active(parse_str::<Object<'_>>(raw)?.take("turn").map_err(shape)?),
        "checkpoint" => Event::Checkpoint(Box::new(read_checkpoint(json, raw)?)),
        "request" => Event::Request(Box::new(read_request(json, raw)?)),
        "response" => Event::Response(Box::new(read_response(json, raw)?)),
        "response.set" => Event::ResponseSet(Box::new(read_response(json, raw)?)),
        "part" => {
            let mut object: Object<'_> = parse_str(raw)?;
            let part = object.require("part").map_err(shape)?;
            Event::Part(PartEvent {
                epoch: object.take("epoch").map_err(shape)?,
                index: object.require("index").map_err(shape)?,
                part: json.response_serializer().read_part(part, json_parts(json))?,
            })
        }
        "text" => {
            let mut object: Object<'_> = parse_str(raw)?;
            Event::Text(TextEvent {
                epoch: object.take("epoch").map_err(shape)?,
                index: object.require("index").map_err(shape)?,
                text: object.require("text").map_err(shape)?,
            })
        }
        "feedback" => {
            Event::Feedback(parse_str::<Object<'_>>(raw)?.take("feedback").map_err(shape)?)
        }
        "claim" => Event::Claim(parse_str(raw)?),
        other => Event::Other { kind: other.to_owned(), body: RawJson::parse(raw)? },
    })
}

fn json_parts(json: &JsonChatModelSerializer) -> &crate::part::PartRegistry {
    use super::ChatModelSerializer as _;
    json.parts()
}

fn read_data(json: &JsonChatModelSerializer, raw: &str) -> Result<DataEvent> {
    let mut object: Object<'_> = parse_str(raw)?;
    let on: DataLevel = object.require("on").map_err(shape)?;
    let id: String = object.require("id").map_err(shape)?;
    let entry = object.take_raw("entry").map(|entry| json.data_serializer().read(&id, entry));
    let entry = entry.transpose().map_err(|e| e.with("data", &id))?;
    Ok(DataEvent { on, entry, id })
}

fn read_checkpoint(json: &JsonChatModelSerializer, raw: &str) -> Result<Checkpoint> {
    let mut object: Object<'_> = parse_str(raw)?;
    Ok(Checkpoint {
        log: object.require("log").map_err(shape)?,
        active: object.take("active").map_err(shape)?,
        turns: object.require("turns").map_err(shape)?,
        state: SessionState {
            meta: read_meta(json, object.require("session").map_err(shape)?)?,
            extra: object.rest().map_err(shape)?,
        },
    })
}

fn read_request(json: &JsonChatModelSerializer, raw: &str) -> Result<RequestEvent> {
    if json.has_own_requests() {
        // The most frequent record is read in one pass.
        let body: OwnRequest = parse_str(raw)?;
        return Ok(RequestEvent {
            parent: body.parent,
            request: request::finish(body.request, json.context())?.into(),
            response: body.response,
            epoch: body.epoch,
            extra: body.extra,
        });
    }
    let mut object: Object<'_> = parse_str(raw)?;
    Ok(RequestEvent {
        parent: object.take("parent").map_err(shape)?,
        request: json.read_request(object.require("request").map_err(shape)?)?.into(),
        response: object.require("response").map_err(shape)?,
        epoch: object.take("epoch").map_err(shape)?,
        extra: object.rest().map_err(shape)?,
    })
}

fn read_response(json: &JsonChatModelSerializer, raw: &str) -> Result<ResponseEvent> {
    if json.has_own_responses() {
        let body: OwnResponse = parse_str(raw)?;
        let response = body.response.finish(json.context())?;
        return Ok(ResponseEvent { epoch: body.epoch, response });
    }
    let mut object: Object<'_> = parse_str(raw)?;
    Ok(ResponseEvent {
        epoch: object.take("epoch").map_err(shape)?,
        response: json.read_response(object.require("response").map_err(shape)?)?,
    })
}

/// The body of a `request` whose request has the format's own shape.
struct OwnRequest {
    parent: Option<TurnId>,
    request: ChatRequest,
    response: ResponseId,
    epoch: Option<u64>,
    extra: Extra,
}

json_object!(read OwnRequest { optional parent, required request, required response, optional epoch });

/// The body of a `response` or `response.set` whose response has the format's own shape.
struct OwnResponse {
    epoch: Option<u64>,
    response: response::Read,
    /// What a newer version added is in the log alone.
    #[expect(dead_code, reason = "read, so that a name that occurs twice is an error")]
    extra: Extra,
}

json_object!(read OwnResponse { optional epoch, required response });
