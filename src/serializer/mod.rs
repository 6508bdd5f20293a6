//! How a chat becomes bytes.
//!
//! A [`ChatModelSerializer`] writes and reads the log's events and whole-session documents. The
//! JSON one, [`JsonChatModelSerializer`], is put together out of a [`ChatRequestSerializer`], a
//! [`ChatResponseSerializer`], a [`ChatDataSerializer`] and the registries; any of them can be
//! replaced, and records and documents both use what is there, so that a thing has one shape.

use std::fmt;

use semver::Version;

use crate::error::Result;
use crate::json::RawJson;
use crate::log::{Event, SerializerInfo};
use crate::model::ChatModel;
use crate::part::{DataRegistry, PartRegistry};

mod body;
mod data;
mod document;
mod event;
mod json;
mod request;
mod response;
mod session;

pub use self::data::{ChatDataSerializer, JsonChatDataSerializer};
pub(crate) use self::document::check_serializer;
pub use self::json::JsonChatModelSerializer;
pub use self::request::{ChatRequestSerializer, JsonChatRequestSerializer};
pub use self::response::{ChatResponseSerializer, JsonChatResponseSerializer};

/// Writes and reads the log's events and whole-session documents.
///
/// A replaced serializer changes the shapes of the JSON; it does not leave JSON.
pub trait ChatModelSerializer: fmt::Debug + Send + Sync + 'static {
    /// The serializer's name, which a log carries. A log is read by the serializer that wrote it.
    fn id(&self) -> &str;

    /// The version of what it writes.
    fn version(&self) -> Version;

    /// The kinds of parts that it reads into their types.
    fn parts(&self) -> &PartRegistry;

    /// The kinds of adopters' data.
    fn data(&self) -> &DataRegistry;

    /// Writes an event as the body of a record of the event's kind.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if an adopter's code fails.
    fn write_event(&self, event: &Event) -> Result<RawJson>;

    /// Reads a record's body. A kind that is not known becomes [`Event::Other`].
    ///
    /// # Errors
    ///
    /// [`Corrupt`](crate::ErrorKind::Corrupt) if the body is not of the kind's shape.
    fn read_event(&self, kind: &str, body: &str, format: &Version) -> Result<Event>;

    /// Writes a session as one JSON document that stands alone.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if an adopter's code fails, or if turns or parts are
    /// not loaded.
    fn write_document(&self, model: &ChatModel) -> Result<RawJson>;

    /// Reads a session's document.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is not one, naming the place;
    /// [`UnsupportedVersion`](crate::ErrorKind::UnsupportedVersion) if a newer major version wrote
    /// it; [`LimitExceeded`](crate::ErrorKind::LimitExceeded) if it is nested too deep.
    fn read_document(&self, document: &[u8]) -> Result<ChatModel>;
}

/// What the serializers of requests and responses need of the others.
#[derive(Debug, Clone, Copy)]
pub struct SerializerContext<'a> {
    /// The kinds of parts.
    pub parts: &'a PartRegistry,
    /// The serializer of adopters' data.
    pub data: &'a dyn ChatDataSerializer,
}

pub(crate) fn info(serializer: &dyn ChatModelSerializer) -> SerializerInfo {
    SerializerInfo {
        id: serializer.id().to_owned(),
        version: serializer.version(),
        extra: crate::json::Extra::new(),
    }
}

#[cfg(test)]
mod tests;
