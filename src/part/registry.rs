//! Which kinds of parts there are.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use semver::Version;

use super::Part;
use super::any::AnyPart;
use super::builtin;
use super::unknown::UnknownReason;
use crate::error::{Error, Result};
use crate::json::{RawJson, shape};
use crate::migration::{Migrations, is_newer};

/// Reads parts of one kind.
pub(crate) trait Codec: fmt::Debug + Send + Sync {
    /// The newest version that it reads.
    fn version(&self) -> Option<&Version>;
    /// Reads the JSON of a version's data.
    fn decode(&self, version: &Version, data: &str) -> Result<Box<dyn AnyPart>>;
}

#[derive(Debug)]
struct PartCodec<P> {
    version: Version,
    migrations: Migrations,
    part: PhantomData<fn() -> P>,
}

impl<P: Part> Codec for PartCodec<P> {
    fn version(&self) -> Option<&Version> {
        Some(&self.version)
    }

    fn decode(&self, version: &Version, data: &str) -> Result<Box<dyn AnyPart>> {
        if self.migrations.is_current(version, &self.version) {
            return Ok(Box::new(serde_json::from_str::<P>(data).map_err(shape)?));
        }
        let data = RawJson::parse(data)?;
        let data = self.migrations.migrate(&data, version, &self.version)?;
        Ok(Box::new(data.read::<P>()?))
    }
}

/// The kinds of parts that can be read into their types, by name.
///
/// It is made once and handed to the store; there is no global one. Cloning is cheap.
///
/// # Examples
///
/// ```
/// use chatkeep::PartRegistry;
///
/// let parts = PartRegistry::builtin();
/// assert!(parts.kinds().any(|kind| kind == "markdown"));
/// ```
#[derive(Clone)]
pub struct PartRegistry {
    codecs: Arc<BTreeMap<String, Arc<dyn Codec>>>,
}

impl PartRegistry {
    /// The built-in kinds.
    #[must_use]
    pub fn builtin() -> Self {
        static BUILTIN: LazyLock<PartRegistry> =
            LazyLock::new(|| PartRegistry { codecs: Arc::new(builtin::codecs()) });
        BUILTIN.clone()
    }

    /// No kinds at all: for hosts that choose the built-in ones one by one, and for tools that move
    /// sessions and need not look into parts.
    ///
    /// Every part is kept as it is and shows its fallback; that of a built-in kind is made out of
    /// its data all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use chatkeep::part::Markdown;
    /// use chatkeep::{PartRegistry, RawJson, ResponsePart};
    ///
    /// let envelope = RawJson::parse(r#"{"kind":"markdown","data":{"text":"hi"}}"#)?;
    /// let part = ResponsePart::from_envelope(&envelope, &PartRegistry::empty())?;
    /// assert!(part.downcast_ref::<Markdown>().is_none());
    /// assert_eq!(part.fallback(), "hi");
    ///
    /// let some = PartRegistry::empty().with::<Markdown>()?;
    /// assert_eq!(some.kinds().collect::<Vec<_>>(), ["markdown"]);
    /// # Ok::<(), chatkeep::Error>(())
    /// ```
    #[must_use]
    pub fn empty() -> Self {
        Self { codecs: Arc::default() }
    }

    /// Adds a kind.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if the kind is there,
    /// [`Invalid`](crate::ErrorKind::Invalid) if its name is empty or that of a built-in kind, or
    /// its migrations have a gap.
    pub fn with<P: Part>(self) -> Result<Self> {
        let codec = codec::<P>().map_err(|e| e.with("kind", P::KIND))?;
        self.with_codec(P::KIND, codec, builtin::is_type::<P>())
    }

    /// Adds the kinds that were declared with `#[typetag::serde]`.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](crate::ErrorKind::AlreadyExists) if one of the kinds is there, or was
    /// declared twice.
    #[cfg(feature = "typetag")]
    #[cfg_attr(docsrs, doc(cfg(feature = "typetag")))]
    pub fn with_typetag(mut self) -> Result<Self> {
        for (kind, codec) in super::typetag::codecs() {
            if super::typetag::is_declared_twice(kind) {
                return Err(registered_twice(kind));
            }
            self = self.with_codec(kind, codec, false)?;
        }
        Ok(self)
    }

    fn with_codec(mut self, kind: &str, codec: Arc<dyn Codec>, is_ours: bool) -> Result<Self> {
        if kind.is_empty() {
            return Err(Error::invalid("a part's kind has no name"));
        }
        if self.codecs.contains_key(kind) {
            return Err(registered_twice(kind));
        }
        if builtin::is_builtin(kind) && !is_ours {
            return Err(Error::invalid("a built-in kind has this name").with("kind", kind));
        }
        Arc::make_mut(&mut self.codecs).insert(kind.to_owned(), codec);
        Ok(self)
    }

    /// The names of the kinds, in order.
    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.codecs.keys().map(String::as_str)
    }

    /// The code that reads a version of a kind, or why there is none.
    pub(crate) fn codec(
        &self,
        kind: &str,
        version: &Version,
    ) -> Result<Arc<dyn Codec>, UnknownReason> {
        let codec = self.codecs.get(kind).ok_or(UnknownReason::UnknownKind)?;
        match codec.version() {
            Some(known) if is_newer(version, known) => {
                Err(UnknownReason::NewerVersion { known: known.clone() })
            }
            _ => Ok(Arc::clone(codec)),
        }
    }
}

fn registered_twice(kind: &str) -> Error {
    Error::already_exists("this kind of part is registered twice").with("kind", kind)
}

pub(super) fn codec<P: Part>() -> Result<Arc<dyn Codec>> {
    let (version, migrations) = (P::VERSION, P::migrations());
    migrations.check(&version)?;
    Ok(Arc::new(PartCodec::<P> { version, migrations, part: PhantomData }))
}

impl Default for PartRegistry {
    fn default() -> Self {
        Self::builtin()
    }
}

impl fmt::Debug for PartRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.kinds()).finish()
    }
}
