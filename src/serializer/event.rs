//! The log's events as the bodies of records.

use semver::Version;
use serde_json::value::RawValue;

use super::body::Body;
use super::json::{JsonChatModelSerializer, parse, shape};
use super::session::{read_changes, read_meta, write_changes, write_meta};
use crate::error::{Error, ErrorKind, Result};
use crate::json::{Object, RawJson};
use crate::log::{
    Checkpoint, DataEvent, DataLevel, Event, PartEvent, RequestEvent, ResponseEvent, SessionState,
    TextEvent,
};

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
        Event::Request(event) => body
            .and_some("parent", event.parent.as_ref())?
            .with("request", json.write_request(&event.request)?)
            .and("response", &event.response)?
            .and_some("epoch", event.epoch.as_ref())?
            .with_extra(&event.extra, BESIDE_REQUEST)
            .write(),
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

fn read_body(json: &JsonChatModelSerializer, kind: &str, raw: &RawValue) -> Result<Event> {
    Ok(match kind {
        "log" => Event::Log(parse(raw)?),
        "session" => {
            let mut object: Object<'_> = parse(raw)?;
            let meta = read_meta(json, object.require("session").map_err(shape)?)?;
            let extra = object.rest().map_err(shape)?;
            Event::Session(Box::new(SessionState { meta, extra }))
        }
        "session.set" => Event::SessionSet(read_changes(json, raw)?),
        "data" => Event::Data(read_data(json, raw)?),
        "active" => Event::Active(parse::<Object<'_>>(raw)?.take("turn").map_err(shape)?),
        "checkpoint" => Event::Checkpoint(Box::new(read_checkpoint(json, raw)?)),
        "request" => Event::Request(Box::new(read_request(json, raw)?)),
        "response" => Event::Response(Box::new(read_response(json, raw)?)),
        "response.set" => Event::ResponseSet(Box::new(read_response(json, raw)?)),
        "part" => {
            let mut object: Object<'_> = parse(raw)?;
            let part = object.require("part").map_err(shape)?;
            Event::Part(PartEvent {
                epoch: object.take("epoch").map_err(shape)?,
                index: object.require("index").map_err(shape)?,
                part: json.response_serializer().read_part(part, json_parts(json))?,
            })
        }
        "text" => {
            let mut object: Object<'_> = parse(raw)?;
            Event::Text(TextEvent {
                epoch: object.take("epoch").map_err(shape)?,
                index: object.require("index").map_err(shape)?,
                text: object.require("text").map_err(shape)?,
            })
        }
        "feedback" => Event::Feedback(parse::<Object<'_>>(raw)?.take("feedback").map_err(shape)?),
        "claim" => Event::Claim(parse(raw)?),
        other => Event::Other { kind: other.to_owned(), body: RawJson::from_raw(raw)? },
    })
}

fn json_parts(json: &JsonChatModelSerializer) -> &crate::part::PartRegistry {
    use super::ChatModelSerializer as _;
    json.parts()
}

fn read_data(json: &JsonChatModelSerializer, raw: &RawValue) -> Result<DataEvent> {
    let mut object: Object<'_> = parse(raw)?;
    let on: DataLevel = object.require("on").map_err(shape)?;
    let id: String = object.require("id").map_err(shape)?;
    let entry = object.take_raw("entry").map(|entry| json.data_serializer().read(&id, entry));
    let entry = entry.transpose().map_err(|e| e.with("data", &id))?;
    Ok(DataEvent { on, entry, id })
}

fn read_checkpoint(json: &JsonChatModelSerializer, raw: &RawValue) -> Result<Checkpoint> {
    let mut object: Object<'_> = parse(raw)?;
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

fn read_request(json: &JsonChatModelSerializer, raw: &RawValue) -> Result<RequestEvent> {
    let mut object: Object<'_> = parse(raw)?;
    Ok(RequestEvent {
        parent: object.take("parent").map_err(shape)?,
        request: json.read_request(object.require("request").map_err(shape)?)?,
        response: object.require("response").map_err(shape)?,
        epoch: object.take("epoch").map_err(shape)?,
        extra: object.rest().map_err(shape)?,
    })
}

fn read_response(json: &JsonChatModelSerializer, raw: &RawValue) -> Result<ResponseEvent> {
    let mut object: Object<'_> = parse(raw)?;
    Ok(ResponseEvent {
        epoch: object.take("epoch").map_err(shape)?,
        response: json.read_response(object.require("response").map_err(shape)?)?,
    })
}
