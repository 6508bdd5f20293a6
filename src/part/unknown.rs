//! A part whose code is absent or failed.

use std::fmt;

use semver::Version;

use crate::error::Error;

/// A part that cannot be read into its type. It shows its fallback and is kept token for token.
#[derive(Debug, Clone)]
pub struct UnknownPart {
    pub(super) reason: UnknownReason,
}

impl UnknownPart {
    /// Why it cannot be read.
    #[must_use]
    pub fn reason(&self) -> &UnknownReason {
        &self.reason
    }
}

/// Why a part cannot be read into its type.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum UnknownReason {
    /// The registry does not know the kind.
    UnknownKind,
    /// A newer version of the kind wrote it.
    NewerVersion {
        /// The newest version that the registry knows.
        known: Version,
    },
    /// Its code failed or panicked.
    Failed(Error),
    /// Its data lies in a blob that has not been loaded.
    NotLoaded,
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind => f.write_str("no code is registered for this kind"),
            Self::NewerVersion { known } => {
                write!(f, "it was written by a newer version than {known}")
            }
            Self::Failed(error) => write!(f, "its code failed: {error}"),
            Self::NotLoaded => f.write_str("its data has not been loaded"),
        }
    }
}
