//! A part of any kind.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use semver::Version;

use super::Part;
use super::any::AnyPart;
use super::blob::BlobRef;
use super::builtin;
use super::envelope::{self, Envelope, FIRST};
use super::registry::{Codec, PartRegistry};
use super::unknown::{UnknownPart, UnknownReason};
use crate::error::{Error, Result, guarded};
use crate::json::{Extra, Name, Object, RawJson, shape};

/// Whose panic it is, for the error that becomes of it.
const WRITES: &str = "the code that writes it";
const MAKES_FALLBACK: &str = "the code that makes its fallback";

/// One part of a response, of any kind.
///
/// A part that was read keeps its envelope as it was written until it is replaced; its type is
/// made when it is first looked at. Cloning is cheap. Two parts are equal if their envelopes are.
#[derive(Clone)]
pub struct ResponsePart(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) kind: Cow<'static, str>,
    pub(super) version: Version,
    /// What the envelope says; built-in kinds say it in their data instead.
    pub(super) fallback: Option<String>,
    pub(super) data: Data,
    /// The envelope as it was read.
    pub(super) envelope: Option<RawJson>,
    /// Fields of the envelope that this version does not know, where there is no envelope.
    pub(super) extra: Extra,
}

pub(super) enum Data {
    /// Made in this process, or changed.
    Typed(Box<dyn AnyPart>),
    /// Read; made into its type when it is looked at.
    Stored {
        /// None where the data lies in a blob.
        json: Option<Json>,
        blob: Option<BlobRef>,
        codec: Result<Arc<dyn Codec>, UnknownReason>,
        typed: OnceLock<Result<Box<dyn AnyPart>, UnknownPart>>,
    },
}

/// The JSON of data that was read.
pub(super) enum Json {
    /// A piece of the envelope.
    Within(Range<usize>),
    /// Loaded from a blob.
    Own(RawJson),
    /// The envelope names none, which is read as `null`.
    Absent,
}

impl ResponsePart {
    /// A part of a kind.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if its code panics or its data cannot be written as
    /// JSON.
    pub fn new<P: Part>(part: P) -> Result<Self> {
        if builtin::is_builtin(P::KIND) {
            return Ok(Self::made(P::KIND.into(), P::VERSION, None, Box::new(part)));
        }
        let fallback = guarded(MAKES_FALLBACK, || Ok(part.fallback().into_owned()))?;
        Self::made(P::KIND.into(), P::VERSION, Some(fallback), Box::new(part)).written()
    }

    /// Written once now, so that whoever pushes it hears of a failure, and for good, so that code
    /// that writes the same thing in two ways does no harm.
    pub(super) fn written(mut self) -> Result<Self> {
        let envelope = self.to_envelope()?;
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.envelope = Some(envelope);
        }
        Ok(self)
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
    /// [`Invalid`](crate::ErrorKind::Invalid) if it is not an object with a `kind`. A kind that is
    /// not known, or anything else of it that cannot be read, is no error: see
    /// [`unknown`](Self::unknown).
    pub fn from_envelope(envelope: &RawJson, parts: &PartRegistry) -> Result<Self> {
        let not_a_part = |e: Error| Error::invalid(format!("it is not a part: {}", e.message()));
        let mut object: Object<'_> = envelope.read().map_err(not_a_part)?;
        let Name(kind) = object.require("kind").map_err(shape).map_err(not_a_part)?;
        let mut wrong = None;
        let version = well_formed(object.take("version"), &mut wrong).unwrap_or(FIRST);
        let fallback = well_formed(object.take("fallback"), &mut wrong);
        let blob = well_formed(object.take("blob"), &mut wrong);
        let json = match object.take_raw("data") {
            Some(data) => Some(Json::Within(envelope::place(envelope, data))),
            None if blob.is_none() => Some(Json::Absent),
            None => None,
        };
        let codec = match wrong {
            Some(error) => Err(UnknownReason::Failed(error)),
            None => parts.codec(&kind, &version),
        };
        Ok(Self(Arc::new(Inner {
            kind: builtin::name(kind),
            version,
            fallback,
            data: Data::Stored { json, blob, codec, typed: OnceLock::new() },
            envelope: Some(envelope.clone()),
            extra: Extra::new(),
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
        let written = Envelope {
            kind: &self.0.kind,
            version: &self.0.version,
            fallback: self.0.fallback.as_deref(),
            data: match &self.0.data {
                Data::Typed(part) => &**part,
                Data::Stored { .. } => return Err(Error::invalid("the part has no envelope")),
            },
            extra: &self.0.extra,
        };
        guarded(WRITES, || RawJson::of(&written)).map_err(|e| e.with("part", &self.0.kind))
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
    ///
    /// That of a built-in kind is made out of its data, whether or not the registry knows the
    /// kind; that of another stands in its envelope.
    #[must_use]
    pub fn fallback(&self) -> Cow<'_, str> {
        let stored = self.0.fallback.as_deref().map(Cow::Borrowed);
        if let Some(stored) = stored.clone()
            && !builtin::is_builtin(self.kind())
        {
            return stored;
        }
        let made = match self.typed() {
            Ok(part) => fallback_of(part),
            Err(_) => self
                .as_builtin()
                .and_then(|part| fallback_of(&*part).map(|shown| shown.into_owned().into())),
        };
        made.or(stored).unwrap_or_else(|| format!("[{}]", self.kind()).into())
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

    /// The JSON of the part's data; none where it lies in a blob.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if its code panics or its data cannot be written.
    pub fn data(&self) -> Result<Option<RawJson>> {
        match &self.0.data {
            Data::Stored { .. } => self.0.json().map(RawJson::parse).transpose(),
            Data::Typed(part) => {
                guarded(WRITES, || RawJson::of(&envelope::Erased(&**part))).map(Some)
            }
        }
    }

    fn typed(&self) -> Result<&dyn AnyPart, &UnknownPart> {
        match &self.0.data {
            Data::Typed(part) => Ok(&**part),
            Data::Stored { codec, typed, .. } => typed
                .get_or_init(|| {
                    decode(&self.0.version, self.0.json(), codec)
                        .map_err(|reason| UnknownPart { reason })
                })
                .as_ref()
                .map(|part| &**part),
        }
    }

    /// A part of a built-in kind as its type where the registry does not know the kind, or a newer
    /// minor version wrote it: what that added stands among the unknown fields.
    fn as_builtin(&self) -> Option<Box<dyn AnyPart>> {
        if !builtin::is_builtin(self.kind()) || self.version().major > FIRST.major {
            return None;
        }
        let version = self.version().clone().min(FIRST);
        let codec = PartRegistry::builtin().codec(self.kind(), &version);
        decode(&version, self.0.json(), &codec).ok()
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
        match self.typed() {
            Ok(part) => builtin::takes_text(part),
            Err(_) => self.as_builtin().is_some_and(|part| builtin::takes_text(&*part)),
        }
    }

    /// Adds text to its end. In place if nobody else holds the part.
    pub(crate) fn append_text(&mut self, text: &str) -> Result<()> {
        if let Some(Inner { data: Data::Typed(part), fallback, .. }) = Arc::get_mut(&mut self.0)
            && builtin::takes_text(&**part)
        {
            builtin::append_text(&mut **part, text);
            fallback.iter_mut().for_each(|fallback| fallback.push_str(text));
            return Ok(());
        }
        let copy = match self.typed() {
            Ok(part) => builtin::clone_text(part),
            Err(_) => self.as_builtin().filter(|part| builtin::takes_text(&**part)),
        };
        let Some(mut part) = copy else {
            // A newer major version of a kind: text is added to its data's `text` all the same.
            let envelope = envelope::with_text(&self.to_envelope()?, text)
                .map_err(|e| e.with("part", self.kind()))?;
            *self = Self::from_envelope(&envelope, &PartRegistry::empty())?;
            return Ok(());
        };
        builtin::append_text(&mut *part, text);
        let extra = match &self.0.envelope {
            Some(envelope) => envelope::unknown_fields(envelope)?,
            None => self.0.extra.clone(),
        };
        self.0 = Arc::new(Inner {
            kind: self.0.kind.clone(),
            version: self.0.version.clone(),
            fallback: self.0.fallback.as_ref().map(|fallback| format!("{fallback}{text}")),
            data: Data::Typed(part),
            envelope: None,
            extra,
        });
        Ok(())
    }
}

impl Inner {
    /// The JSON of data that was read.
    fn json(&self) -> Option<&str> {
        let Data::Stored { json, .. } = &self.data else { return None };
        match json.as_ref()? {
            Json::Within(place) => self.envelope.as_ref()?.get().get(place.clone()),
            Json::Own(json) => Some(json.get()),
            Json::Absent => Some("null"),
        }
    }
}

fn fallback_of(part: &dyn AnyPart) -> Option<Cow<'_, str>> {
    guarded(MAKES_FALLBACK, || Ok(part.fallback_text())).ok()
}

/// A field of an envelope, or nothing and what is wrong with it.
fn well_formed<T>(
    field: Result<Option<T>, serde_json::Error>,
    wrong: &mut Option<Error>,
) -> Option<T> {
    field.unwrap_or_else(|error| {
        wrong.get_or_insert(shape(error));
        None
    })
}

fn decode(
    version: &Version,
    json: Option<&str>,
    codec: &Result<Arc<dyn Codec>, UnknownReason>,
) -> Result<Box<dyn AnyPart>, UnknownReason> {
    let codec = codec.as_ref().map_err(Clone::clone)?;
    let json = json.ok_or(UnknownReason::NotLoaded)?;
    guarded("the code that reads it", || codec.decode(version, json)).map_err(UnknownReason::Failed)
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
