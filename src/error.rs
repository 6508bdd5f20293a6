//! One error type for the whole crate: what kind, what and where, and why.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The result of every fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in terms a caller can act on.
///
/// New kinds may be added; match with a wildcard arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It is not there, or it belongs to someone else (the two cannot be told apart on purpose).
    NotFound,
    /// Something with this id exists.
    AlreadyExists,
    /// Something with this id existed and was deleted; a deleted id stays deleted.
    Deleted,
    /// Somebody else changed it first; read what was missed and try again.
    Conflict,
    /// The right to write this response has passed to another writer.
    Fenced,
    /// The engine did not say whether it took effect; a retry with the same batch lands once.
    Indeterminate,
    /// A response is being written and only one may be.
    Busy,
    /// Stored bytes are damaged. Never used for something that is absent.
    Corrupt,
    /// The caller's input breaks a rule; nothing was changed.
    Invalid,
    /// This storage, part or feature cannot do it.
    Unsupported,
    /// Written by a newer major version, or by one for which no migration is known.
    UnsupportedVersion,
    /// A size, depth or count is over its limit; nothing was changed.
    LimitExceeded,
    /// The engine or the disk failed or could not be reached.
    Unavailable,
}

impl ErrorKind {
    /// The kind in words, as it begins an error's message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::AlreadyExists => "already exists",
            Self::Deleted => "deleted",
            Self::Conflict => "conflict",
            Self::Fenced => "fenced",
            Self::Indeterminate => "outcome unknown",
            Self::Busy => "busy",
            Self::Corrupt => "corrupt",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::UnsupportedVersion => "unsupported version",
            Self::LimitExceeded => "limit exceeded",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The crate's error: a [kind](ErrorKind), a message, and where it happened.
///
/// `Display` prints this error alone: kind, message, then the context in parentheses. Its cause,
/// if there is one, is reached through [`source`](StdError::source).
///
/// # Examples
///
/// ```
/// use chatkeep::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Corrupt, "the checksum does not match")
///     .with("session", "s1")
///     .with("record", 12);
/// assert_eq!(error.kind(), ErrorKind::Corrupt);
/// assert_eq!(error.to_string(), "corrupt: the checksum does not match (session s1, record 12)");
/// assert_eq!(error.context("record"), Some("12"));
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    source: Option<std::sync::Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of a kind with a message that says what is wrong.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Vec::new(), source: None }))
    }

    /// Adds where it happened. A key that is there already keeps its first value: the innermost
    /// place knows best.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        if self.context(key).is_none() {
            self.0.context.push((key, value.to_string()));
        }
        self
    }

    /// Adds the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// What went wrong, in terms a caller can act on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What is wrong, without kind and context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened: `session`, `record`, `file`, `backend`, `field`, `part`, … where known.
    #[must_use]
    pub fn context(&self, key: &str) -> Option<&str> {
        self.0.context.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// Whether the same call may succeed later without the caller changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Conflict
                | ErrorKind::Indeterminate
                | ErrorKind::Busy
                | ErrorKind::Unavailable
        )
    }

    /// Whether this is [`ErrorKind::NotFound`].
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl Error {
    /// The same error as another kind: what is invalid by itself is corrupt where it was stored.
    pub(crate) fn into_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }
}

/// Runs an adopter's code. A panic in it becomes an error of the one thing it was called for.
pub(crate) fn guarded<T>(what: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a message".to_owned());
        Err(Error::invalid(format!("{what} panicked: {message}")))
    })
}

macro_rules! shorthands {
    ($($name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $(pub(crate) fn $name(message: impl Into<Cow<'static, str>>) -> Self {
                Self::new(ErrorKind::$kind, message)
            })*
        }
    };
}

shorthands! {
    not_found => NotFound,
    already_exists => AlreadyExists,
    conflict => Conflict,
    fenced => Fenced,
    busy => Busy,
    corrupt => Corrupt,
    invalid => Invalid,
    unsupported => Unsupported,
    limit_exceeded => LimitExceeded,
    unavailable => Unavailable,
}

/// Two errors are equal if they say the same; their causes are not compared.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        let said = |error: &Self| (error.0.kind, error.0.message.clone(), error.0.context.clone());
        said(self) == said(other)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind, self.0.message)?;
        for (index, (key, value)) in self.0.context.iter().enumerate() {
            let before = if index == 0 { " (" } else { ", " };
            write!(f, "{before}{key} {value}")?;
        }
        if self.0.context.is_empty() { Ok(()) } else { f.write_str(")") }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("message", &self.0.message);
        for (key, value) in &self.0.context {
            debug.field(key, value);
        }
        debug.field("source", &self.0.source).finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}
