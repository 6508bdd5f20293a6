//! A part of any kind.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use semver::Version;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Part;
use super::any::{AnyPart, guarded};
use super::builtin;
use super::registry::{Codec, PartRegistry};
use super::unknown::{UnknownPart, UnknownReason};
use crate::error::{Error, Result};
use crate::json::{Extra, Object, RawJson, json_object};

/// The version of a part whose envelope names none.
const FIRST: Version = Version::new(1, 0, 0);

/// One part of a response, of any kind.
///
/// A part that was read keeps its envelope as it was written until it is replaced; its type is
/// made when it is first looked at. Cloning is cheap. Two parts are equal if their envelopes are.
#[derive(Clone)]
pub struct ResponsePart(Arc<Inner>);

struct Inner {
    kind: Cow<'static, str>,
    version: Version,
    /// What the envelope says; built-in kinds say it in their data instead.
    fallback: Option<String>,
    data: Data,
    /// The envelope as it was read.
    envelope: Option<RawJson>,
    /// Fields of the envelope that this version does not know.
    extra: Extra,
}

enum Data {
    /// Made in this process, or changed.
    Typed(Box<dyn AnyPart>),
    /// Read; made into its type when it is looked at.
    Stored {
        /// None where the data lies in a blob.
        json: Option<RawJson>,
        blob: Option<BlobRef>,
        codec: Result<Arc<dyn Codec>, UnknownReason>,
        typed: OnceLock<Result<Box<dyn AnyPart>, UnknownPart>>,
    },
}

/// Where the data of a large part lies: a blob of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRef {
    /// The SHA-256 of the content, 64 hexadecimal digits.
    pub sha256: String,
    /// The content's length in bytes.
    pub bytes: u64,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(BlobRef { required sha256, required bytes });

impl ResponsePart {
    /// A part of a kind.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if its code panics or its data cannot be written as
    /// JSON.
    pub fn new<P: Part>(part: P) -> Result<Self> {
        let fallback = if builtin::is_builtin(P::KIND) {
            None
        } else {
            Some(guarded("making its fallback", || Ok(part.fallback().into_owned()))?)
        };
        let made = Self::made(P::KIND.into(), P::VERSION, fallback, Box::new(part));
        // Written once now, so that whoever pushes it hears of a failure.
        if !builtin::is_builtin(P::KIND) {
            made.to_envelope()?;
        }
        Ok(made)
    }

    pub(super) fn made(
        kind: Cow<'static, str>,
        version: Version,
        fallback: Option<String>,
        part: Box<dyn AnyPart>,
    ) -> Self {
        let data = Data::Typed(part);
        Self(Arc::new(Inner { kind, version, fallback, data, envelope: None, extra: Extra::new() }))
    }

    /// Reads a part's envelope. What it holds is made into its type later.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is not an envelope. A kind that is not known,
    /// or data that cannot be read, is no error: see [`unknown`](Self::unknown).
    pub fn from_envelope(envelope: &RawJson, parts: &PartRegistry) -> Result<Self> {
        let mut object: Object<'_> = envelope.read()?;
        let wrong = |e: serde_json::Error| Error::invalid("it is not a part").caused_by(e);
        let kind: Cow<'_, str> = object.require("kind").map_err(wrong)?;
        let version = object.take("version").map_err(wrong)?.unwrap_or(FIRST);
        let fallback = object.take("fallback").map_err(wrong)?;
        let blob = object.take("blob").map_err(wrong)?;
        let data = object.take_raw("data").map(keep).transpose()?;
        let json = match (data, &blob) {
            (None, None) => Some(keep(RawValue::NULL)?),
            (data, _) => data,
        };
        let codec = parts.codec(&kind, &version);
        Ok(Self(Arc::new(Inner {
            kind: builtin::name(kind),
            version,
            fallback,
            data: Data::Stored { json, blob, codec, typed: OnceLock::new() },
            envelope: Some(envelope.clone()),
            extra: object.rest().map_err(wrong)?,
        })))
    }

    /// Writes the part's envelope: as it was read, if it was.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if its code panics or its data cannot be written.
    pub fn to_envelope(&self) -> Result<RawJson> {
        if let Some(envelope) = &self.0.envelope {
            return Ok(envelope.clone());
        }
        guarded("being written", || RawJson::of(&Envelope(self)))
            .map_err(|e| e.with("part", &self.0.kind))
    }

    /// The kind's name.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.0.kind
    }

    /// The version of the kind that wrote it.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.0.version
    }

    /// The part as plain text.
    #[must_use]
    pub fn fallback(&self) -> Cow<'_, str> {
        if let Some(fallback) = &self.0.fallback {
            return fallback.as_str().into();
        }
        match self.typed() {
            Ok(part) => guarded("making its fallback", || Ok(part.fallback_text()))
                .unwrap_or_else(|_| format!("[{}]", self.kind()).into()),
            Err(_) => format!("[{}]", self.kind()).into(),
        }
    }

    /// The part as its type, if it is of that one and could be read.
    #[must_use]
    pub fn downcast_ref<P: 'static>(&self) -> Option<&P> {
        self.typed().ok()?.as_any().downcast_ref()
    }

    /// Why the part could not be read into its type, if so.
    #[must_use]
    pub fn unknown(&self) -> Option<&UnknownPart> {
        self.typed().err()
    }

    /// Where its data lies if that has not been loaded.
    #[must_use]
    pub fn blob(&self) -> Option<&BlobRef> {
        match &self.0.data {
            Data::Stored { json: None, blob, .. } => blob.as_ref(),
            _ => None,
        }
    }

    /// Whether its envelope names a blob, loaded or not.
    pub(crate) fn names_blob(&self) -> bool {
        matches!(&self.0.data, Data::Stored { blob: Some(_), .. })
    }

    /// The JSON of the part's data; none where it lies in a blob.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if its code panics or its data cannot be written.
    pub fn data(&self) -> Result<Option<RawJson>> {
        match &self.0.data {
            Data::Stored { json, .. } => Ok(json.clone()),
            Data::Typed(part) => {
                guarded("being written", || RawJson::of(&Erased(&**part))).map(Some)
            }
        }
    }

    fn typed(&self) -> Result<&dyn AnyPart, &UnknownPart> {
        match &self.0.data {
            Data::Typed(part) => Ok(&**part),
            Data::Stored { json, codec, typed, .. } => typed
                .get_or_init(|| {
                    decode(&self.0.version, json.as_ref(), codec)
                        .map_err(|reason| UnknownPart { reason })
                })
                .as_ref()
                .map(|part| &**part),
        }
    }

    /// The same part with its data in a blob instead of the envelope.
    pub(crate) fn moved_to_blob(&self, blob: BlobRef, fallback: String) -> Self {
        let codec = Err(UnknownReason::NotLoaded);
        Self(Arc::new(Inner {
            kind: self.0.kind.clone(),
            version: self.0.version.clone(),
            fallback: Some(self.0.fallback.clone().unwrap_or(fallback)),
            data: Data::Stored { json: None, blob: Some(blob), codec, typed: OnceLock::new() },
            envelope: None,
            extra: self.0.extra.clone(),
        }))
    }

    /// The same part with the data that was loaded from its blob. Its envelope goes on to name the
    /// blob.
    pub(crate) fn loaded(&self, json: RawJson, parts: &PartRegistry) -> Result<Self> {
        let codec = parts.codec(&self.0.kind, &self.0.version);
        let blob = self.blob().cloned();
        Ok(Self(Arc::new(Inner {
            kind: self.0.kind.clone(),
            version: self.0.version.clone(),
            fallback: self.0.fallback.clone(),
            data: Data::Stored { json: Some(json), blob, codec, typed: OnceLock::new() },
            envelope: Some(self.to_envelope()?),
            extra: self.0.extra.clone(),
        })))
    }

    /// The same part with its data in the envelope, for documents that stand alone.
    pub(crate) fn with_data_inline(&self) -> Self {
        match &self.0.data {
            Data::Stored { json: Some(json), blob: Some(_), codec, .. } => Self(Arc::new(Inner {
                kind: self.0.kind.clone(),
                version: self.0.version.clone(),
                fallback: self.0.fallback.clone(),
                data: Data::Stored {
                    json: Some(json.clone()),
                    blob: None,
                    codec: codec.clone(),
                    typed: OnceLock::new(),
                },
                envelope: None,
                extra: self.0.extra.clone(),
            })),
            _ => self.clone(),
        }
    }

    /// The same part in memory of its own, so that text can be added in place.
    pub(crate) fn unshared(&self) -> Self {
        match &self.0.data {
            Data::Typed(part) => match builtin::clone_text(&**part) {
                Some(copy) => Self(Arc::new(Inner {
                    kind: self.0.kind.clone(),
                    version: self.0.version.clone(),
                    fallback: self.0.fallback.clone(),
                    data: Data::Typed(copy),
                    envelope: self.0.envelope.clone(),
                    extra: self.0.extra.clone(),
                })),
                None => self.clone(),
            },
            Data::Stored { .. } => self.clone(),
        }
    }

    /// Whether text can be added to it: the built-in text, markdown, thinking and code.
    #[must_use]
    pub fn takes_text(&self) -> bool {
        self.typed().is_ok_and(builtin::takes_text)
    }

    /// Adds text to its end. In place if nobody else holds the part.
    pub(crate) fn append_text(&mut self, text: &str) -> Result<()> {
        if !self.takes_text() {
            return Err(Error::invalid("no text can be added to this kind of part")
                .with("part", self.kind()));
        }
        if let Some(Inner { data: Data::Typed(part), .. }) = Arc::get_mut(&mut self.0) {
            builtin::append_text(&mut **part, text);
            return Ok(());
        }
        let mut part = self
            .typed()
            .ok()
            .and_then(builtin::clone_text)
            .ok_or_else(|| Error::invalid("no text can be added to this kind of part"))?;
        builtin::append_text(&mut *part, text);
        self.0 = Arc::new(Inner {
            kind: self.0.kind.clone(),
            version: self.0.version.clone(),
            fallback: self.0.fallback.as_ref().map(|fallback| format!("{fallback}{text}")),
            data: Data::Typed(part),
            envelope: None,
            extra: self.0.extra.clone(),
        });
        Ok(())
    }
}

fn keep(raw: &RawValue) -> Result<RawJson> {
    RawJson::from_raw(raw)
}

fn decode(
    version: &Version,
    json: Option<&RawJson>,
    codec: &Result<Arc<dyn Codec>, UnknownReason>,
) -> Result<Box<dyn AnyPart>, UnknownReason> {
    let codec = codec.as_ref().map_err(Clone::clone)?;
    let json = json.ok_or(UnknownReason::NotLoaded)?;
    guarded("being read", || codec.decode(version, json)).map_err(UnknownReason::Failed)
}

/// The envelope of a part that was made here.
struct Envelope<'a>(&'a ResponsePart);

impl Serialize for Envelope<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let inner = &*self.0.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", &inner.kind)?;
        if inner.version != FIRST || !builtin::is_builtin(&inner.kind) {
            map.serialize_entry("version", &inner.version)?;
        }
        if let Some(fallback) = &inner.fallback {
            map.serialize_entry("fallback", fallback)?;
        }
        match &inner.data {
            Data::Typed(part) => map.serialize_entry("data", &Erased(&**part))?,
            Data::Stored { blob: Some(blob), .. } => map.serialize_entry("blob", blob)?,
            Data::Stored { json, .. } => map.serialize_entry("data", json)?,
        }
        for (name, value) in inner.extra.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

struct Erased<'a>(&'a dyn AnyPart);

impl Serialize for Erased<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        erased_serde::serialize(self.0, serializer)
    }
}

impl PartialEq for ResponsePart {
    fn eq(&self, other: &Self) -> bool {
        if Arc::ptr_eq(&self.0, &other.0) {
            return true;
        }
        matches!((self.to_envelope(), other.to_envelope()), (Ok(a), Ok(b)) if a == b)
    }
}

impl fmt::Debug for ResponsePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ResponsePart");
        debug.field("kind", &self.kind()).field("version", &self.version().to_string());
        match self.typed() {
            Ok(part) => debug.field("part", &part),
            Err(unknown) => debug.field("unknown", &unknown.reason),
        };
        debug.finish_non_exhaustive()
    }
}
