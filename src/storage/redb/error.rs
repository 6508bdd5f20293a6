//! What can go wrong with the database, and what it is to a caller.

use std::io;

use crate::error::{Error, ErrorKind};

/// A failure of this adapter.
#[derive(Debug, thiserror::Error)]
pub(super) enum RedbError {
    #[error("the database is open already: one storage at a time can have it")]
    InUse { source: ::redb::Error },
    #[error("the database could not {operation}")]
    Engine { operation: &'static str, source: ::redb::Error },
    #[error("the database failed to commit: the change may or may not be there")]
    Unknown { source: ::redb::Error },
    #[error(
        "the database panicked while it committed: the change may or may not be there: {problem}"
    )]
    Panicked { problem: String },
    #[error("the database's pages contradict each other: {problem}")]
    Broken { problem: String },
    #[error("the database holds tables of {found}, this version knows {known}")]
    OtherLayout { found: String, known: &'static str },
    #[error("the database's file could not be made")]
    File { source: io::Error },
}

impl RedbError {
    /// A call of the engine that failed before it changed anything.
    pub(super) fn in_call<E: Into<::redb::Error>>(operation: &'static str) -> impl Fn(E) -> Self {
        move |source| match source.into() {
            source @ (::redb::Error::DatabaseAlreadyOpen | ::redb::Error::LockProtocolMismatch) => {
                Self::InUse { source }
            }
            source => Self::Engine { operation, source },
        }
    }

    fn kind(&self) -> ErrorKind {
        match self {
            Self::InUse { .. } => ErrorKind::Busy,
            Self::Engine { source, .. } => kind_of(source),
            Self::Unknown { .. } | Self::Panicked { .. } => ErrorKind::Indeterminate,
            Self::Broken { .. } => ErrorKind::Corrupt,
            Self::OtherLayout { .. } => ErrorKind::UnsupportedVersion,
            Self::File { .. } => ErrorKind::Unavailable,
        }
    }
}

fn kind_of(error: &::redb::Error) -> ErrorKind {
    use ::redb::Error as Redb;
    match error {
        Redb::Corrupted(_) | Redb::TableTypeMismatch { .. } | Redb::TableIsMultimap(_) => {
            ErrorKind::Corrupt
        }
        // The file is no database, or ends where it should not.
        Redb::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            ErrorKind::Corrupt
        }
        Redb::UpgradeRequired(_) => ErrorKind::UnsupportedVersion,
        Redb::ValueTooLarge(_) => ErrorKind::LimitExceeded,
        _ => ErrorKind::Unavailable,
    }
}

impl From<RedbError> for Error {
    fn from(error: RedbError) -> Self {
        let converted = Self::new(error.kind(), error.to_string());
        match error {
            RedbError::InUse { source }
            | RedbError::Engine { source, .. }
            | RedbError::Unknown { source } => converted.caused_by(source),
            RedbError::File { source } => converted.caused_by(source),
            RedbError::Panicked { .. }
            | RedbError::Broken { .. }
            | RedbError::OtherLayout { .. } => converted,
        }
    }
}
