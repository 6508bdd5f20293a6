//! What can go wrong with files, and what it is to a caller.

use std::io;

use crate::error::{Error, ErrorKind};

/// A failure of this adapter. `file` is given relative to the store's directory.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("the disk could not {operation} a file")]
    Io { operation: &'static str, file: String, source: io::Error },
    #[error("the disk failed to {operation} a file: the append may or may not be there")]
    Unknown { operation: &'static str, file: String, source: io::Error },
    #[error("the disk took {written} of {bytes} bytes; nothing was changed")]
    Short { file: String, written: usize, bytes: usize },
    #[error("{problem}")]
    Damaged { file: String, record: Option<u64>, problem: String },
    #[error("{found} is where a regular file should be")]
    NotAFile { file: String, found: &'static str },
    #[error(
        "writing was stopped after the disk failed within an earlier append; repair the session or \
         open the store again"
    )]
    Poisoned { file: String },
    #[error("the store was written in format {found}, this version reads up to {known}")]
    NewerFormat { file: String, found: String, known: &'static str },
    #[error("the store's marker is missing though there are sessions")]
    NoMarker { file: String },
    #[error("{path:?} is {found}, not a directory")]
    NotADirectory { path: std::path::PathBuf, found: &'static str },
    #[error("all {slots} places for writers are taken")]
    TooManyWriters { slots: usize },
}

impl FileError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { .. } | Self::Short { .. } | Self::Poisoned { .. } => ErrorKind::Unavailable,
            Self::TooManyWriters { .. } => ErrorKind::Unavailable,
            Self::Unknown { .. } => ErrorKind::Indeterminate,
            Self::Damaged { .. } | Self::NotAFile { .. } | Self::NoMarker { .. } => {
                ErrorKind::Corrupt
            }
            Self::NewerFormat { .. } => ErrorKind::UnsupportedVersion,
            Self::NotADirectory { .. } => ErrorKind::Invalid,
        }
    }

    fn file(&self) -> Option<&str> {
        match self {
            Self::Io { file, .. }
            | Self::Unknown { file, .. }
            | Self::Short { file, .. }
            | Self::Damaged { file, .. }
            | Self::NotAFile { file, .. }
            | Self::Poisoned { file }
            | Self::NewerFormat { file, .. }
            | Self::NoMarker { file } => Some(file),
            Self::NotADirectory { .. } | Self::TooManyWriters { .. } => None,
        }
    }
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        let mut converted = Self::new(error.kind(), error.to_string());
        if let Some(file) = error.file() {
            converted = converted.with("file", file);
        }
        match error {
            FileError::Io { source, .. } | FileError::Unknown { source, .. } => {
                converted.caused_by(source)
            }
            FileError::Damaged { record: Some(record), .. } => converted.with("record", record),
            _ => converted,
        }
    }
}
