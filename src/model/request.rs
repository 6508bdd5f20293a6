//! What was asked.

use std::borrow::Cow;
use std::ops::Range;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::data::DataMap;
use crate::id::RequestId;
use crate::json::{Extra, RawJson, json_object};

/// A request: what a person, or the host in their name, asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The request's id, unique within its session.
    pub id: RequestId,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub author: Author,
    /// What it says: text, attachments, variables and mentions, in order.
    pub message: Vec<MessagePart>,
    /// The agent it is for.
    pub agent: Option<String>,
    /// The command it calls.
    pub command: Option<String>,
    /// The model that it asks for.
    pub model: Option<String>,
    /// Adopters' data, by id.
    pub data: DataMap,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(ChatRequest {
    required id, required at, default author, default message, optional agent, optional command,
    optional model, apart data,
});

impl ChatRequest {
    /// A user's request with nothing in it.
    #[must_use]
    pub fn new(id: RequestId, at: Timestamp) -> Self {
        Self {
            id,
            at,
            author: Author::User,
            message: Vec::new(),
            agent: None,
            command: None,
            model: None,
            data: DataMap::new(),
            extra: Extra::new(),
        }
    }

    /// The request as plain text: its text parts, and what stands in the text for the others.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self.message.as_slice() {
            [one] => one.text(),
            many => many.iter().map(MessagePart::text).collect::<Vec<_>>().concat().into(),
        }
    }
}

/// Who made a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Author {
    /// A person.
    #[default]
    User,
    /// The host: a notice, a continuation, a scheduled task.
    System,
}

/// A piece of a request.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MessagePart {
    /// Words.
    Text(TextPart),
    /// Something handed over with the request.
    Attachment(Attachment),
    /// A variable of the host, with its value.
    Variable(Variable),
    /// An agent, tool, person or file that the text names.
    Mention(Mention),
    /// A kind that this version does not know, kept token for token.
    Unknown(RawJson),
}

impl MessagePart {
    /// A piece of text.
    #[must_use]
    pub fn from_text(text: impl Into<String>) -> Self {
        Self::Text(TextPart { text: text.into(), range: None, extra: Extra::new() })
    }

    /// What it shows as plain text. Attachments, and what is not known, show nothing.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(part) => part.text.as_str().into(),
            Self::Variable(part) => part.text.as_deref().unwrap_or_default().into(),
            Self::Mention(part) => part.text.as_deref().unwrap_or(&part.name).into(),
            Self::Attachment(_) | Self::Unknown(_) => "".into(),
        }
    }
}

impl From<&str> for MessagePart {
    fn from(text: &str) -> Self {
        Self::from_text(text)
    }
}

impl From<String> for MessagePart {
    fn from(text: String) -> Self {
        Self::from_text(text)
    }
}

/// Words of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct TextPart {
    /// The words.
    pub text: String,
    /// Where they stand in the text as it was typed, in the host's units.
    pub range: Option<Range<u64>>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// Something handed over with a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attachment {
    /// Its name for people.
    pub name: String,
    /// Its kind in the host's words: file, image, symbol, …
    pub kind: Option<String>,
    /// Where it is.
    pub uri: Option<String>,
    /// Its media type.
    pub media_type: Option<String>,
    /// Its content or value.
    pub value: Option<RawJson>,
    /// Where it stands in the text as it was typed, in the host's units.
    pub range: Option<Range<u64>>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// A variable of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What stands for it in the text.
    pub text: Option<String>,
    /// Its value.
    pub value: Option<RawJson>,
    /// Where it stands in the text as it was typed, in the host's units.
    pub range: Option<Range<u64>>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// Something that the text names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mention {
    /// What is named: an agent's id, a tool's name.
    pub name: String,
    /// What it is in the host's words: agent, tool, person, file.
    pub kind: Option<String>,
    /// What stands for it in the text.
    pub text: Option<String>,
    /// Where it stands in the text as it was typed, in the host's units.
    pub range: Option<Range<u64>>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(TextPart { required text, optional range });
json_object!(Attachment {
    required name, optional kind, optional uri, optional media_type, optional_json value, optional range,
});
json_object!(Variable { required name, optional text, optional_json value, optional range });
json_object!(Mention { required name, optional kind, optional text, optional range });

/// `{"text":{…}}`, `{"attachment":{…}}`, …: the name of its only field says what a piece is.
impl Serialize for MessagePart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        if let Self::Unknown(raw) = self {
            return raw.serialize(serializer);
        }
        // A piece of text alone is by far the most frequent: it is written as a bare string.
        if let Self::Text(TextPart { text, range: None, extra }) = self
            && extra.is_empty()
        {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Text(part) => map.serialize_entry("text", part)?,
            Self::Attachment(part) => map.serialize_entry("attachment", part)?,
            Self::Variable(part) => map.serialize_entry("variable", part)?,
            Self::Mention(part) => map.serialize_entry("mention", part)?,
            Self::Unknown(_) => {}
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for MessagePart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        read_message_part(raw).map_err(serde::de::Error::custom)
    }
}

fn read_message_part(raw: &RawValue) -> Result<MessagePart, serde_json::Error> {
    use serde::de::Error as _;
    let json = raw.get();
    if json.starts_with('"') {
        return serde_json::from_str(json).map(|text: String| MessagePart::from_text(text));
    }
    let mut fields = match serde_json::from_str::<crate::json::Object<'_>>(json) {
        Ok(object) => object.into_fields(),
        Err(error) if json.starts_with('{') => return Err(error),
        Err(_) => Vec::new(),
    };
    if let (1, Some((name, value))) = (fields.len(), fields.pop()) {
        let value = value.get();
        match &*name {
            "text" => return serde_json::from_str(value).map(MessagePart::Text),
            "attachment" => return serde_json::from_str(value).map(MessagePart::Attachment),
            "variable" => return serde_json::from_str(value).map(MessagePart::Variable),
            "mention" => return serde_json::from_str(value).map(MessagePart::Mention),
            _ => {}
        }
    }
    RawJson::from_raw(raw).map(MessagePart::Unknown).map_err(serde_json::Error::custom)
}
