//! A whole session as one document that stands alone.

use semver::Version;
use serde::Serialize;
use serde::ser::SerializeMap as _;
use serde_json::value::RawValue;

use super::event::{BESIDE_REQUEST, BESIDE_SESSION};
use super::info;
use super::json::{JsonChatModelSerializer, parse, shape};
use super::session::{read_meta, write_meta};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::json::{Extra, Object, RawJson, write_extra};
use crate::log::SerializerInfo;
use crate::model::{ChatModel, ChatResponse, Turn};

struct Document<'a> {
    format: &'a Version,
    serializer: SerializerInfo,
    session: RawJson,
    active: Option<TurnId>,
    turns: Vec<WrittenTurn<'a>>,
    extra: &'a Extra,
}

impl Serialize for Document<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("chatkeep", self.format)?;
        map.serialize_entry("serializer", &self.serializer)?;
        map.serialize_entry("session", &self.session)?;
        if let Some(active) = self.active {
            map.serialize_entry("active", &active)?;
        }
        map.serialize_entry("turns", &self.turns)?;
        write_extra(&mut map, self.extra, BESIDE_SESSION)?;
        map.end()
    }
}

struct WrittenTurn<'a> {
    turn: &'a Turn,
    request: RawJson,
    response: RawJson,
}

impl Serialize for WrittenTurn<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("turn", &self.turn.id)?;
        if let Some(parent) = self.turn.parent {
            map.serialize_entry("parent", &parent)?;
        }
        map.serialize_entry("request", &self.request)?;
        map.serialize_entry("response", &self.response)?;
        write_extra(&mut map, &self.turn.extra, BESIDE_REQUEST)?;
        map.end()
    }
}

pub(super) fn write(json: &JsonChatModelSerializer, model: &ChatModel) -> Result<RawJson> {
    if model.has_earlier() {
        return Err(Error::invalid("a document needs all turns, and some are not loaded")
            .with("session", model.id()));
    }
    let turns = model.all_turns().map(|turn| {
        Ok(WrittenTurn {
            turn,
            request: json.write_request(&turn.request)?,
            response: json.write_response(&inline(turn)?)?,
        })
    });
    RawJson::of_whole(&Document {
        format: json.migrator().version(),
        serializer: info(json),
        session: write_meta(json, model.session())?,
        active: model.active(),
        turns: turns.collect::<Result<_>>()?,
        extra: &model.extra,
    })
}

/// The response with the data of all parts in it.
fn inline(turn: &Turn) -> Result<ChatResponse> {
    let mut response = (*turn.response).clone();
    for (index, part) in response.parts.iter_mut().enumerate() {
        *part = part.with_data_inline();
        if part.blob().is_some() {
            return Err(Error::invalid("a document needs all parts, and one is not loaded")
                .with("turn", turn.id)
                .with("part", index));
        }
    }
    Ok(response)
}

pub(super) fn read(json: &JsonChatModelSerializer, bytes: &[u8]) -> Result<ChatModel> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Error::invalid("the document is not UTF-8").caused_by(e))?;
    let raw = RawJson::parse_whole(text)?;
    let (format, serializer) = versions(&raw)?;
    check_serializer(&serializer, json)?;
    let raw = json.migrator().document(&raw, &format)?;
    let mut object: Object<'_> = parse(raw.as_raw())?;
    object.take_raw("chatkeep");
    object.take_raw("serializer");
    let meta = read_meta(json, object.require("session").map_err(shape)?)
        .map_err(|e| e.with("place", "session"))?;
    let mut model = ChatModel::new(meta);
    let active: Option<TurnId> = object.take("active").map_err(shape)?;
    let turns: Vec<&RawValue> = object.require("turns").map_err(shape)?;
    for (index, turn) in turns.into_iter().enumerate() {
        let turn = read_turn(json, turn, index).map_err(|e| e.with("turn", index + 1))?;
        model.push(turn);
    }
    if active.is_some_and(|active| model.turn(active).is_none()) {
        return Err(Error::invalid("the active turn is not there"));
    }
    model.active = active;
    model.extra = beside(object, BESIDE_SESSION)?;
    Ok(model)
}

fn read_turn(json: &JsonChatModelSerializer, raw: &RawValue, index: usize) -> Result<Turn> {
    let mut object: Object<'_> = parse(raw)?;
    let id: TurnId = object.require("turn").map_err(shape)?;
    let parent: Option<TurnId> = object.take("parent").map_err(shape)?;
    if id.get() != index as u64 + 1 {
        return Err(Error::invalid(format!("turn {id} stands in the place of {}", index + 1)));
    }
    if parent.is_some_and(|parent| parent >= id || parent == TurnId::SESSION) {
        return Err(Error::invalid(format!("turn {id} follows one that is not before it")));
    }
    let request = json.read_request(object.require("request").map_err(shape)?)?;
    let response = json.read_response(object.require("response").map_err(shape)?)?;
    let mut turn = Turn::new(id, parent, request, response);
    turn.extra = beside(object, BESIDE_REQUEST)?;
    Ok(turn)
}

/// The unknown fields, none of which may have a name that a record needs.
fn beside(object: Object<'_>, reserved: &[&str]) -> Result<Extra> {
    let extra = object.rest().map_err(shape)?;
    match reserved.iter().find(|name| extra.get(name).is_some()) {
        Some(name) => Err(Error::invalid(format!("a field `{name}` has no place here"))),
        None => Ok(extra),
    }
}

fn versions(raw: &RawJson) -> Result<(Version, SerializerInfo)> {
    let mut object: Object<'_> = parse(raw.as_raw())?;
    let format = object.require("chatkeep").map_err(shape)?;
    let serializer = object.require("serializer").map_err(shape)?;
    Ok((format, serializer))
}

/// Whether what a serializer wrote can be read by another one.
pub(crate) fn check_serializer(
    written: &SerializerInfo,
    reader: &dyn super::ChatModelSerializer,
) -> Result<()> {
    if written.id != reader.id() {
        return Err(Error::unsupported(format!(
            "it was written by the serializer {:?}, this is {:?}",
            written.id,
            reader.id()
        )));
    }
    if written.version.major > reader.version().major {
        return Err(Error::new(
            ErrorKind::UnsupportedVersion,
            format!(
                "it was written by version {} of its serializer, this is {}",
                written.version,
                reader.version()
            ),
        ));
    }
    Ok(())
}
