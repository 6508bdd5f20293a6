//! Requests as JSON.

use std::fmt;

use serde_json::value::RawValue;

use super::SerializerContext;
use super::data::{read_map, write_map};
use super::json::{parse, with_field};
use crate::error::Result;
use crate::json::RawJson;
use crate::model::ChatRequest;

/// Writes and reads requests.
pub trait ChatRequestSerializer: fmt::Debug + Send + Sync + 'static {
    /// Writes a request.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it cannot be written.
    fn write(&self, request: &ChatRequest, context: SerializerContext<'_>) -> Result<RawJson>;

    /// Reads a request.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it has another shape, naming the field.
    fn read(&self, json: &RawValue, context: SerializerContext<'_>) -> Result<ChatRequest>;
}

/// Requests as `docs/format.md` specifies them.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonChatRequestSerializer;

impl ChatRequestSerializer for JsonChatRequestSerializer {
    fn write(&self, request: &ChatRequest, context: SerializerContext<'_>) -> Result<RawJson> {
        let json = RawJson::of_whole(request)?;
        match write_map(&request.data, context.data)? {
            Some(data) => with_field(&json, "data", &data),
            None => Ok(json),
        }
    }

    fn read(&self, json: &RawValue, context: SerializerContext<'_>) -> Result<ChatRequest> {
        finish(parse(json)?, context)
    }
}

/// Reads the data of a request whose other fields have been read.
pub(super) fn finish(
    mut request: ChatRequest,
    context: SerializerContext<'_>,
) -> Result<ChatRequest> {
    request.data = read_map(request.extra.take("data"), context.data)?;
    Ok(request)
}
