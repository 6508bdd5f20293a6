//! The JSON serializer, put together out of its parts.

use std::sync::Arc;

use semver::Version;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ChatDataSerializer, ChatModelSerializer, ChatRequestSerializer, ChatResponseSerializer,
    JsonChatDataSerializer, JsonChatRequestSerializer, JsonChatResponseSerializer,
    SerializerContext, document, event,
};
use crate::error::{Error, Result};
use crate::json::RawJson;
pub(super) use crate::json::shape;
use crate::log::Event;
use crate::migration::Migrator;
use crate::model::{ChatModel, ChatRequest, ChatResponse};
use crate::part::{DataRegistry, PartRegistry};

/// Writes and reads sessions as JSON, as `docs/format.md` specifies it.
///
/// # Examples
///
/// ```
/// use chatkeep::{ChatModelSerializer, DataRegistry, JsonChatModelSerializer, PartRegistry};
///
/// let serializer = JsonChatModelSerializer::new(PartRegistry::builtin(), DataRegistry::new());
/// assert_eq!(serializer.id(), "chatkeep.json");
/// ```
#[derive(Debug, Clone)]
pub struct JsonChatModelSerializer {
    id: Arc<str>,
    version: Version,
    parts: PartRegistry,
    data: DataRegistry,
    /// None for the format's own shape, which is read in one pass with what is around it.
    requests: Option<Arc<dyn ChatRequestSerializer>>,
    responses: Option<Arc<dyn ChatResponseSerializer>>,
    data_values: Arc<dyn ChatDataSerializer>,
    migrator: Migrator,
}

impl Default for JsonChatModelSerializer {
    fn default() -> Self {
        Self::new(PartRegistry::builtin(), DataRegistry::new())
    }
}

impl JsonChatModelSerializer {
    /// The serializer of the format's own shapes, for these kinds of parts and data.
    #[must_use]
    pub fn new(parts: PartRegistry, data: DataRegistry) -> Self {
        Self {
            id: "chatkeep.json".into(),
            version: Version::new(1, 0, 0),
            parts,
            data,
            requests: None,
            responses: None,
            data_values: Arc::new(JsonChatDataSerializer),
            migrator: Migrator::current(),
        }
    }

    /// Gives it a name and version of its own, which its logs carry. A serializer whose shapes
    /// differ from the format's should have one, so that nobody else misreads them.
    #[must_use]
    pub fn named(mut self, id: &str, version: Version) -> Self {
        self.id = id.into();
        self.version = version;
        self
    }

    /// Replaces the serializer of requests.
    #[must_use]
    pub fn with_request_serializer(mut self, requests: impl ChatRequestSerializer) -> Self {
        self.requests = Some(Arc::new(requests));
        self
    }

    /// Replaces the serializer of responses.
    #[must_use]
    pub fn with_response_serializer(mut self, responses: impl ChatResponseSerializer) -> Self {
        self.responses = Some(Arc::new(responses));
        self
    }

    /// Replaces the serializer of adopters' data.
    #[must_use]
    pub fn with_data_serializer(mut self, data: impl ChatDataSerializer) -> Self {
        self.data_values = Arc::new(data);
        self
    }

    /// Replaces the steps from older versions of the format, to try new ones out.
    #[must_use]
    pub fn with_migrator(mut self, migrator: Migrator) -> Self {
        self.migrator = migrator;
        self
    }

    pub(super) fn migrator(&self) -> &Migrator {
        &self.migrator
    }

    pub(super) fn data_serializer(&self) -> &dyn ChatDataSerializer {
        &*self.data_values
    }

    pub(super) fn response_serializer(&self) -> &dyn ChatResponseSerializer {
        self.responses.as_deref().unwrap_or(&JsonChatResponseSerializer)
    }

    fn request_serializer(&self) -> &dyn ChatRequestSerializer {
        self.requests.as_deref().unwrap_or(&JsonChatRequestSerializer)
    }

    /// Whether requests have the format's own shape.
    pub(super) fn has_own_requests(&self) -> bool {
        self.requests.is_none()
    }

    /// Whether responses have the format's own shape.
    pub(super) fn has_own_responses(&self) -> bool {
        self.responses.is_none()
    }

    pub(super) fn context(&self) -> SerializerContext<'_> {
        SerializerContext { parts: &self.parts, data: &*self.data_values }
    }

    pub(super) fn write_request(&self, request: &ChatRequest) -> Result<RawJson> {
        self.request_serializer().write(request, self.context())
    }

    pub(super) fn read_request(&self, json: &RawValue) -> Result<ChatRequest> {
        self.request_serializer().read(json, self.context())
    }

    pub(super) fn write_response(&self, response: &ChatResponse) -> Result<RawJson> {
        self.response_serializer().write(response, self.context())
    }

    pub(super) fn read_response(&self, json: &RawValue) -> Result<ChatResponse> {
        self.response_serializer().read(json, self.context())
    }
}

impl ChatModelSerializer for JsonChatModelSerializer {
    fn id(&self) -> &str {
        &self.id
    }

    fn version(&self) -> Version {
        self.version.clone()
    }

    fn format(&self) -> &Version {
        self.migrator.version()
    }

    fn parts(&self) -> &PartRegistry {
        &self.parts
    }

    fn data(&self) -> &DataRegistry {
        &self.data
    }

    fn write_event(&self, event: &Event) -> Result<RawJson> {
        event::write(self, event)
    }

    fn read_event(&self, kind: &str, body: &str, format: &Version) -> Result<Event> {
        event::read(self, kind, body, format)
    }

    fn write_document(&self, model: &ChatModel) -> Result<RawJson> {
        document::write(self, model)
    }

    fn read_document(&self, bytes: &[u8]) -> Result<ChatModel> {
        document::read(self, bytes)
    }
}

/// Reads a value out of a raw one.
pub(super) fn parse<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<T> {
    parse_str(raw.get())
}

/// Reads a value out of its JSON.
pub(super) fn parse_str<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(shape)
}

/// An object with one more field at its end.
pub(super) fn with_field(object: &RawJson, name: &str, value: &RawJson) -> Result<RawJson> {
    let open = object
        .get()
        .strip_suffix('}')
        .ok_or_else(|| Error::invalid("a serializer wrote something other than an object"))?;
    let comma = if open.ends_with('{') { "" } else { "," };
    RawJson::parse_whole(&format!("{open}{comma}{}:{value}}}", RawJson::of_whole(name)?))
}
