//! A session's own properties as JSON, whole or as a change of some of them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::Body;
use super::data::{read_map, write_map};
use super::json::{JsonChatModelSerializer, parse, parse_str, shape, with_field};
use crate::error::{Error, Result};
use crate::json::{Extra, JsonMap, Object, RawJson};
use crate::model::{QueuedRequest, SessionChange, SessionMeta};

pub(super) fn write_meta(json: &JsonChatModelSerializer, meta: &SessionMeta) -> Result<RawJson> {
    let mut written = RawJson::of_whole(meta)?;
    if !meta.queue.is_empty() {
        written = with_field(&written, "queue", &write_queue(json, &meta.queue)?)?;
    }
    if let Some(data) = write_map(&meta.data, json.data_serializer())? {
        written = with_field(&written, "data", &data)?;
    }
    Ok(written)
}

pub(super) fn read_meta(json: &JsonChatModelSerializer, raw: &RawValue) -> Result<SessionMeta> {
    let mut meta: SessionMeta = parse(raw)?;
    if let Some(queue) = meta.extra.take("queue").filter(|queue| !queue.is_null()) {
        meta.queue = read_queue(json, queue.as_raw()).map_err(|e| e.with("field", "queue"))?;
    }
    meta.data = read_map(meta.extra.take("data"), json.data_serializer())?;
    Ok(meta)
}

fn write_queue(json: &JsonChatModelSerializer, queue: &[QueuedRequest]) -> Result<RawJson> {
    let write = |queued: &QueuedRequest| {
        Body::default()
            .with("request", json.write_request(&queued.request)?)
            .with_some("options", queued.options.clone())
            .with_extra(&queued.extra, &["request", "options"])
            .write()
    };
    RawJson::of_whole(&queue.iter().map(write).collect::<Result<Vec<_>>>()?)
}

fn read_queue(json: &JsonChatModelSerializer, raw: &RawValue) -> Result<Vec<QueuedRequest>> {
    let items: Vec<&RawValue> = parse(raw)?;
    let read = |item: &&RawValue| {
        let mut object: Object<'_> = parse(item)?;
        let request: &RawValue = object.require("request").map_err(shape)?;
        Ok(QueuedRequest {
            request: json.read_request(request)?,
            options: object.take_json("options").map_err(shape)?,
            extra: object.rest().map_err(shape)?,
        })
    };
    items.iter().map(read).collect()
}

/// Unknown fields alone, as an object.
struct Fields<'a>(&'a Extra);

impl Serialize for Fields<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

pub(super) fn write_changes(
    json: &JsonChatModelSerializer,
    changes: &[SessionChange],
) -> Result<RawJson> {
    let mut object = Extra::new();
    let mut preferences = JsonMap::default();
    for change in changes {
        let (name, value) = match change {
            SessionChange::Title(title) => ("title", RawJson::of_whole(title)?),
            SessionChange::Status(status) => ("status", RawJson::of_whole(status)?),
            SessionChange::Pinned(pinned) => ("pinned", RawJson::of_whole(pinned)?),
            SessionChange::Tags(tags) => ("tags", RawJson::of_whole(tags)?),
            SessionChange::Workspace(workspace) => ("workspace", RawJson::of_whole(workspace)?),
            SessionChange::Agent(agent) => ("agent", RawJson::of_whole(agent)?),
            SessionChange::Location(location) => ("location", RawJson::of_whole(location)?),
            SessionChange::Parent(parent) => ("parent", RawJson::of_whole(parent)?),
            SessionChange::WorkingDirectory(folder) => {
                ("working_directory", RawJson::of_whole(folder)?)
            }
            SessionChange::Preference(name, value) => {
                let value = value.clone().map_or_else(|| RawJson::of_whole(&()), Ok)?;
                preferences.insert(name.clone(), value);
                ("preferences", RawJson::of_whole(&preferences)?)
            }
            SessionChange::Draft(draft) => ("draft", RawJson::of_whole(draft)?),
            SessionChange::Queue(queue) => ("queue", write_queue(json, queue)?),
            SessionChange::Extra(name, _) if is_known(name) => {
                let message =
                    format!("the unknown field `{name}` of a session has the name of a known one");
                return Err(Error::invalid(message));
            }
            SessionChange::Extra(name, value) => {
                (name.as_str(), value.clone().map_or_else(|| RawJson::of_whole(&()), Ok)?)
            }
        };
        object.set(name, Some(value));
    }
    RawJson::of_whole(&Fields(&object))
}

/// Whether a session has a property of this name.
fn is_known(name: &str) -> bool {
    FIXED.contains(&name) || CHANGEABLE.contains(&name)
}

/// Properties that a change cannot name: those that never change, and data, which has an event of
/// its own.
const FIXED: [&str; 4] = ["id", "owner", "created", "data"];

const CHANGEABLE: [&str; 12] = [
    "title",
    "status",
    "pinned",
    "tags",
    "workspace",
    "agent",
    "location",
    "parent",
    "working_directory",
    "preferences",
    "draft",
    "queue",
];

pub(super) fn read_changes(
    json: &JsonChatModelSerializer,
    body: &str,
) -> Result<Vec<SessionChange>> {
    let object: Object<'_> = parse_str(body)?;
    let mut changes = Vec::new();
    for (name, value) in object.into_fields() {
        let field = |e: Error| e.with("field", &name);
        match &*name {
            "preferences" => {
                let preferences: JsonMap = parse(value).map_err(field)?;
                for (name, value) in preferences.iter() {
                    let value = (!value.is_null()).then(|| value.clone());
                    changes.push(SessionChange::Preference(name.clone(), value));
                }
            }
            "queue" => changes.push(SessionChange::Queue(read_queue(json, value).map_err(field)?)),
            name => changes.push(read_change(name, value).map_err(field)?),
        }
    }
    Ok(changes)
}

fn read_change(name: &str, value: &RawValue) -> Result<SessionChange> {
    fn field<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T> {
        parse(value)
    }
    Ok(match name {
        "title" => SessionChange::Title(field(value)?),
        "status" => SessionChange::Status(field(value)?),
        "pinned" => SessionChange::Pinned(field(value)?),
        "tags" => SessionChange::Tags(field(value)?),
        "workspace" => SessionChange::Workspace(field(value)?),
        "agent" => SessionChange::Agent(field(value)?),
        "location" => SessionChange::Location(field(value)?),
        "parent" => SessionChange::Parent(field(value)?),
        "working_directory" => SessionChange::WorkingDirectory(field(value)?),
        "draft" => SessionChange::Draft(field(value)?),
        fixed if FIXED.contains(&fixed) => {
            return Err(Error::invalid("no change of a session can set this"));
        }
        unknown => {
            let value = (value.get() != "null").then(|| RawJson::from_raw(value)).transpose()?;
            SessionChange::Extra(unknown.to_owned(), value)
        }
    })
}
