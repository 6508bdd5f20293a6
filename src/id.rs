//! Ids: short validated strings that a host or an import may supply.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// The longest id, in bytes of UTF-8.
pub const MAX_ID_BYTES: usize = 200;

fn validate(what: &'static str, id: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(plain) {
        // As nearly all are that were made by a machine.
        return Ok(());
    }
    let problem = if id.is_empty() {
        "is empty".to_owned()
    } else if id.len() > MAX_ID_BYTES {
        format!("is {} bytes long, at most {MAX_ID_BYTES} are allowed", id.len())
    } else if id == "." || id == ".." {
        "is a name for a directory".to_owned()
    } else if let Some(bad) = id.chars().find(|c| matches!(c, '/' | '\\') || c.is_control()) {
        format!("contains {bad:?}")
    } else if id.trim() != id {
        "begins or ends with white space".to_owned()
    } else {
        return Ok(());
    };
    let shown: String = id.chars().take(40).collect();
    Err(Error::invalid(format!("the {what} {shown:?} {problem}")))
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// One to 200 bytes of UTF-8 without control characters, slashes or surrounding white
        /// space; `.` and `..` are refused. Cloning is cheap.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text and makes an id of it.
            ///
            /// # Errors
            ///
            /// [`Invalid`](crate::ErrorKind::Invalid), naming the id and what is wrong with it.
            pub fn new(id: impl AsRef<str>) -> Result<Self> {
                validate($what, id.as_ref())?;
                Ok(Self(id.as_ref().into()))
            }

            /// The id's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(id: &str) -> Result<Self> {
                Self::new(id)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;

            fn try_from(id: &str) -> Result<Self> {
                Self::new(id)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(id: String) -> Result<Self> {
                Self::new(id)
            }
        }

        impl From<&$name> for $name {
            fn from(id: &$name) -> Self {
                id.clone()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = String::deserialize(deserializer)?;
                Self::new(id).map_err(serde::de::Error::custom)
            }
        }
    };
}

string_id! {
    /// Who a session belongs to. Nothing is reachable without one.
    OwnerId, "owner id"
}
string_id! {
    /// A chat session, unique within its owner.
    SessionId, "session id"
}
string_id! {
    /// A request, unique within its session.
    RequestId, "request id"
}
string_id! {
    /// A response, unique within its session.
    ResponseId, "response id"
}
string_id! {
    /// A workspace, by an id that stays when its folder moves.
    WorkspaceId, "workspace id"
}

impl OwnerId {
    /// The owner of a store that has a single user: `local`.
    #[must_use]
    pub fn local() -> Self {
        Self("local".into())
    }
}

/// The number of a turn within its session, counted from 1 in the order of their creation.
///
/// Turn 0 is the session itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TurnId(u64);

impl TurnId {
    /// The session itself, as the records of the log count it.
    pub const SESSION: Self = Self(0);

    /// The turn with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The turn's number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TurnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
