//! What can go wrong with a database, and what it is to a caller.

use rusqlite::ErrorCode;

use super::place::Moved;
use crate::error::{Error, ErrorKind};

/// A failure of an engine that stands on SQLite.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqliteError {
    #[error("the database failed")]
    Engine { source: rusqlite::Error },
    #[error("the database failed to commit: the change may or may not be there")]
    Unknown { source: rusqlite::Error },
    #[error("{problem}")]
    Damaged { problem: String },
    #[error(
        "SQLite {found} is linked, which can lose what several connections write; 3.51.3 or newer \
         is needed"
    )]
    OldLibrary { found: &'static str },
    #[error("the database has schema {found}, this version reads up to {known}")]
    NewerSchema { found: i64, known: i64 },
    #[error("the file is a database of something else (application id {found:#010x})")]
    Foreign { found: i64 },
    #[error("the database's file was moved, deleted or replaced while it was open")]
    Moved { source: Moved },
    #[error("somebody reads the database for too long for its write-ahead log to be cut")]
    Suspect,
    #[error("the disk could not {operation} beside the database")]
    Beside { operation: &'static str, source: std::io::Error },
    #[error("all {slots} places for writers are taken")]
    TooManyWriters { slots: usize },
    /// What is wrong is not the database.
    #[error(transparent)]
    Other(Box<Error>),
}

impl SqliteError {
    pub(crate) fn damaged(problem: impl Into<String>) -> Self {
        Self::Damaged { problem: problem.into() }
    }

    /// A failed commit, whose outcome depends on what failed.
    pub(super) fn of_commit(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            // A sync that failed may come after the last byte was written.
            Some(ErrorCode::SystemIoFailure) => Self::Unknown { source },
            _ => Self::Engine { source },
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        matches!(self, Self::Engine { source }
            if matches!(source.sqlite_error_code(), Some(ErrorCode::DatabaseBusy)))
    }

    pub(super) fn kind(&self) -> ErrorKind {
        match self {
            Self::Engine { source } => kind_of(source),
            Self::Unknown { .. } => ErrorKind::Indeterminate,
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::OldLibrary { .. } => ErrorKind::Unsupported,
            Self::NewerSchema { .. } => ErrorKind::UnsupportedVersion,
            Self::Foreign { .. } => ErrorKind::Invalid,
            Self::Moved { .. }
            | Self::Suspect
            | Self::Beside { .. }
            | Self::TooManyWriters { .. } => ErrorKind::Unavailable,
            Self::Other(error) => error.kind(),
        }
    }
}

fn kind_of(error: &rusqlite::Error) -> ErrorKind {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(failure, message) => match failure.code {
            // A row that must not be there is.
            ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::ConstraintViolation => ErrorKind::Corrupt,
            ErrorCode::TooBig => ErrorKind::LimitExceeded,
            _ if message.as_deref().is_some_and(is_damage) => ErrorKind::Corrupt,
            _ => ErrorKind::Unavailable,
        },
        E::SqlInputError { msg, .. } if is_damage(msg) => ErrorKind::Corrupt,
        // What is stored is not what was written.
        E::QueryReturnedNoRows
        | E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::Utf8Error(..)
        | E::InvalidColumnType(..) => ErrorKind::Corrupt,
        _ => ErrorKind::Unavailable,
    }
}

/// What is said of a schema that is not what it was, and by FTS5 of its own tables, as if the statement
/// were wrong.
fn is_damage(message: &str) -> bool {
    const BEGINNINGS: [&str; 6] = [
        "no such table",
        "no such column",
        "no such index",
        "duplicate column name",
        "invalid fts5 file format",
        "vtable constructor failed",
    ];
    BEGINNINGS.iter().any(|beginning| message.starts_with(beginning))
        || message.ends_with("already exists")
}

impl From<rusqlite::Error> for SqliteError {
    fn from(source: rusqlite::Error) -> Self {
        Self::Engine { source }
    }
}

impl From<Error> for SqliteError {
    fn from(error: Error) -> Self {
        Self::Other(Box::new(error))
    }
}

impl From<SqliteError> for Error {
    fn from(error: SqliteError) -> Self {
        let converted = Self::new(error.kind(), error.to_string());
        match error {
            SqliteError::Other(error) => *error,
            SqliteError::Engine { source } | SqliteError::Unknown { source } => {
                converted.with("reason", &source).caused_by(source)
            }
            SqliteError::Beside { source, .. } => converted.caused_by(source),
            SqliteError::Moved { source } => converted.caused_by(source),
            _ => converted,
        }
    }
}
