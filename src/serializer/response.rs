//! Responses as JSON.

use std::fmt;

use serde::Serialize;
use serde::ser::SerializeMap as _;
use serde_json::value::RawValue;

use super::SerializerContext;
use super::data::{read_map, write_map};
use super::json::{parse, shape};
use crate::error::Result;
use crate::json::{Object, RawJson, is_default, write_extra};
use crate::model::ChatResponse;
use crate::part::{PartRegistry, ResponsePart};

/// Writes and reads responses and their parts.
pub trait ChatResponseSerializer: fmt::Debug + Send + Sync + 'static {
    /// Writes a response with the parts that it has. It may have none: the log writes what else is
    /// known of a response without them.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it cannot be written.
    fn write(&self, response: &ChatResponse, context: SerializerContext<'_>) -> Result<RawJson>;

    /// Reads a response.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it has another shape, naming the field. A part
    /// that cannot be read into its type is no error.
    fn read(&self, json: &RawValue, context: SerializerContext<'_>) -> Result<ChatResponse>;

    /// Writes one part.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if its code fails.
    fn write_part(&self, part: &ResponsePart) -> Result<RawJson> {
        part.to_envelope()
    }

    /// Reads one part.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is not a part's envelope.
    fn read_part(&self, json: &RawValue, parts: &PartRegistry) -> Result<ResponsePart> {
        ResponsePart::from_envelope(&RawJson::from_raw(json)?, parts)
    }
}

/// Responses as `docs/format.md` specifies them.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonChatResponseSerializer;

impl ChatResponseSerializer for JsonChatResponseSerializer {
    fn write(&self, response: &ChatResponse, context: SerializerContext<'_>) -> Result<RawJson> {
        let parts = response.parts.iter().map(|part| self.write_part(part));
        RawJson::of_whole(&Written {
            response,
            parts: parts.collect::<Result<_>>()?,
            data: write_map(&response.data, context.data)?,
        })
    }

    fn read(&self, json: &RawValue, context: SerializerContext<'_>) -> Result<ChatResponse> {
        let mut object: Object<'_> = parse(json)?;
        let parts: Vec<&RawValue> = object.take_or_default("parts").map_err(shape)?;
        let read_part = |(index, part): (usize, &&RawValue)| {
            self.read_part(part, context.parts).map_err(|e| e.with("part", index))
        };
        let data = object.take_raw("data").map(|raw| RawJson::parse_whole(raw.get()));
        Ok(ChatResponse {
            id: object.require("id").map_err(shape)?,
            state: object.require("state").map_err(shape)?,
            parts: parts.iter().enumerate().map(read_part).collect::<Result<_>>()?,
            model: object.take("model").map_err(shape)?,
            usage: object.take("usage").map_err(shape)?,
            timings: object.take_or_default("timings").map_err(shape)?,
            error: object.take("error").map_err(shape)?,
            followups: object.take_or_default("followups").map_err(shape)?,
            feedback: object.take("feedback").map_err(shape)?,
            references: object.take_or_default("references").map_err(shape)?,
            citations: object.take_or_default("citations").map_err(shape)?,
            data: read_map(data.transpose()?, context.data)?,
            extra: object.rest().map_err(shape)?,
        })
    }
}

pub(super) const FIELDS: [&str; 12] = [
    "id",
    "state",
    "parts",
    "model",
    "usage",
    "timings",
    "error",
    "followups",
    "feedback",
    "references",
    "citations",
    "data",
];

struct Written<'a> {
    response: &'a ChatResponse,
    parts: Vec<RawJson>,
    data: Option<RawJson>,
}

impl Serialize for Written<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn entry<M: serde::ser::SerializeMap, T: Serialize + Default + PartialEq>(
            map: &mut M,
            name: &str,
            value: &T,
        ) -> Result<(), M::Error> {
            if is_default(value) { Ok(()) } else { map.serialize_entry(name, value) }
        }

        let response = self.response;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &response.id)?;
        map.serialize_entry("state", &response.state)?;
        entry(&mut map, "parts", &self.parts)?;
        entry(&mut map, "model", &response.model)?;
        entry(&mut map, "usage", &response.usage)?;
        entry(&mut map, "timings", &response.timings)?;
        entry(&mut map, "error", &response.error)?;
        entry(&mut map, "followups", &response.followups)?;
        entry(&mut map, "feedback", &response.feedback)?;
        entry(&mut map, "references", &response.references)?;
        entry(&mut map, "citations", &response.citations)?;
        if let Some(data) = &self.data {
            map.serialize_entry("data", data)?;
        }
        write_extra(&mut map, &response.extra, &FIELDS)?;
        map.end()
    }
}
