//! Kinds declared with `#[typetag::serde]`, collected when the program is linked.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use semver::Version;
use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::any::AnyPart;
use super::registry::Codec;
use super::response_part::ResponsePart;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{RawJson, shape};

/// A kind of response part that registers itself where it is declared.
///
/// Add `typetag` to your own dependencies, and `.with_typetag()` to the registry. A kind with
/// migrations implements [`Part`](super::Part) instead.
///
/// # Examples
///
/// ```
/// use std::borrow::Cow;
///
/// use chatkeep::{PartRegistry, ResponsePart, TypetagPart};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Map {
///     place: String,
/// }
///
/// #[typetag::serde(name = "acme.map")]
/// impl TypetagPart for Map {
///     fn fallback(&self) -> Cow<'_, str> {
///         format!("Map of {}", self.place).into()
///     }
///
///     fn as_any(&self) -> &dyn std::any::Any {
///         self
///     }
/// }
///
/// let parts = PartRegistry::builtin().with_typetag()?;
/// let written = ResponsePart::from_typetag(Map { place: "Oslo".to_owned() })?.to_envelope()?;
/// let part = ResponsePart::from_envelope(&written, &parts)?;
/// assert_eq!(part.downcast_ref::<Map>().map(|map| &*map.place), Some("Oslo"));
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[typetag::serde]
pub trait TypetagPart: fmt::Debug + Send + Sync {
    /// Plain text for where the part's code is absent, and for search.
    fn fallback(&self) -> Cow<'_, str>;

    /// The part itself: `self`.
    fn as_any(&self) -> &dyn Any;

    /// The version of what is written; 1.0.0 unless it says otherwise.
    fn version(&self) -> Version {
        Version::new(1, 0, 0)
    }
}

impl ResponsePart {
    /// A part of a kind that was declared with `#[typetag::serde]`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if its code panics or its data cannot be written.
    #[cfg_attr(docsrs, doc(cfg(feature = "typetag")))]
    pub fn from_typetag(part: impl TypetagPart + 'static) -> Result<Self> {
        let (kind, version) = (part.typetag_name(), part.version());
        let fallback = crate::error::guarded("the code that makes its fallback", || {
            Ok(part.fallback().into_owned())
        })?;
        Self::made(kind.into(), version, Some(fallback), Box::new(Tagged(Box::new(part)))).written()
    }
}

/// A part behind its trait object. It is written without its tag, which is the envelope's kind.
struct Tagged(Box<dyn TypetagPart>);

impl fmt::Debug for Tagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl AnyPart for Tagged {
    fn as_any(&self) -> &dyn Any {
        self.0.as_any()
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn fallback_text(&self) -> Cow<'_, str> {
        self.0.fallback()
    }
}

impl Serialize for Tagged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error as _;
        // typetag writes `{"name":data}`: the data is what stands in the envelope.
        let tagged = RawJson::of_whole(&*self.0).map_err(S::Error::custom)?;
        let fields: std::collections::BTreeMap<String, RawJson> =
            tagged.read().map_err(S::Error::custom)?;
        match fields.into_values().next() {
            Some(data) => data.serialize(serializer),
            None => serializer.serialize_map(Some(0))?.end(),
        }
    }
}

#[derive(Debug)]
struct TypetagCodec {
    kind: &'static str,
}

impl Codec for TypetagCodec {
    fn version(&self) -> Option<&Version> {
        None
    }

    fn decode(&self, version: &Version, data: &str) -> Result<Box<dyn AnyPart>> {
        let name = RawJson::of(self.kind)?;
        let tagged = format!("{{{name}:{data}}}");
        let part: Box<dyn TypetagPart> = serde_json::from_str(&tagged).map_err(shape)?;
        let known = part.version();
        let unsupported = |what: String| Err(Error::new(ErrorKind::UnsupportedVersion, what));
        if crate::migration::is_newer(version, &known) {
            return unsupported(format!(
                "version {version} is newer than {known}, the newest known"
            ));
        }
        if version.major < known.major {
            return unsupported(format!("no migration is known from version {version} to {known}"));
        }
        Ok(Box::new(Tagged(part)))
    }
}

/// The kinds that were declared. typetag lists them when it is asked for one that is not there.
pub(super) fn codecs() -> Vec<(&'static str, Arc<dyn Codec>)> {
    let codec = |kind| (kind, Arc::new(TypetagCodec { kind }) as Arc<dyn Codec>);
    probe("").kinds.into_iter().map(codec).collect()
}

/// Whether two types were declared under this name. typetag then reads neither of them.
pub(super) fn is_declared_twice(kind: &str) -> bool {
    probe(kind).message.starts_with("non-unique tag")
}

/// What typetag says when it is asked for data of a kind out of nothing.
fn probe(kind: &str) -> Listed {
    let nothing = MapDeserializer::<_, Listed>::new(std::iter::once((kind, ())));
    // A type that can be made out of nothing has been declared once.
    Box::<dyn TypetagPart>::deserialize(nothing).err().unwrap_or_default()
}

/// The names that an `unknown variant` error lists, or another error's message.
#[derive(Debug, Default)]
struct Listed {
    kinds: Vec<&'static str>,
    message: String,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.message, self.kinds)
    }
}

impl std::error::Error for Listed {}

impl serde::de::Error for Listed {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { kinds: Vec::new(), message: message.to_string() }
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self { kinds: expected.to_vec(), message: String::new() }
    }
}
