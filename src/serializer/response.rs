//! Responses as JSON.

use std::fmt;

use serde::Serialize;
use serde::ser::SerializeMap as _;
use serde_json::value::RawValue;

use super::SerializerContext;
use super::data::{read_map, write_map};
use super::json::parse;
use crate::error::Result;
use crate::id::ResponseId;
use crate::json::{Extra, RawJson, is_default, json_object, write_extra};
use crate::model::{
    ChatResponse, Feedback, Followup, Reference, ResponseError, ResponseState, Timings, Usage,
};
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
        parse::<Read>(json)?.finish(context)
    }
}

/// A response as it is read: its parts are not looked into yet.
pub(super) struct Read {
    id: ResponseId,
    state: ResponseState,
    parts: Vec<RawJson>,
    model: Option<String>,
    usage: Option<Usage>,
    timings: Timings,
    error: Option<ResponseError>,
    followups: Vec<Followup>,
    feedback: Option<Feedback>,
    references: Vec<Reference>,
    citations: Vec<Reference>,
    extra: Extra,
}

json_object!(read Read {
    required id, required state, default parts, optional model, optional usage, default timings,
    optional error, default followups, optional feedback, default references, default citations,
});

impl Read {
    pub(super) fn finish(mut self, context: SerializerContext<'_>) -> Result<ChatResponse> {
        let part = |(index, part): (usize, &RawJson)| {
            ResponsePart::from_envelope(part, context.parts).map_err(|e| e.with("part", index))
        };
        let data = self.extra.take("data");
        Ok(ChatResponse {
            id: self.id,
            state: self.state,
            parts: self.parts.iter().enumerate().map(part).collect::<Result<_>>()?,
            model: self.model,
            usage: self.usage,
            timings: self.timings,
            error: self.error,
            followups: self.followups,
            feedback: self.feedback,
            references: self.references,
            citations: self.citations,
            data: read_map(data, context.data)?,
            extra: self.extra,
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
