//! Sessions of other systems, read without a loss.
//!
//! What a source holds either becomes a field or a built-in part of this crate's model, or it is
//! kept token for token: in the [data](crate::model::DataMap) of the session, request or response
//! under the ids `vscode.session`, `vscode.request`, `vscode.response` (`theia.…`), in a field
//! `vscode` (`theia`) of the part that it belongs to, or as a part of its own kind
//! `vscode.<kind>` (`theia.<kind>`), which shows a fallback until an adopter registers that kind. The
//! [`ImportReport`] says what went where.
//!
//! # Examples
//!
//! ```
//! use chatkeep::interop::{self, ReadOptions};
//! use chatkeep::{OwnerId, RandomIds};
//!
//! let file = br#"{"version":3,"sessionId":"u1","creationDate":1767225600000,
//!     "customTitle":"Fix parser","requests":[{"requestId":"r1","timestamp":1767225601000,
//!     "message":{"text":"fix it","parts":[]},"responseId":"a1","response":[{"value":"Done"}]}]}"#;
//! let options = ReadOptions::new(OwnerId::local(), jiff::Timestamp::UNIX_EPOCH, &RandomIds);
//! let imported = interop::read(file, &options)?;
//!
//! assert_eq!(imported.model.title(), "Fix parser");
//! assert_eq!(imported.model.turns().len(), 1);
//! assert!(imported.report.is_lossless());
//! # Ok::<(), chatkeep::Error>(())
//! ```

mod file;
mod node;
mod path;
mod reader;
mod report;
#[cfg(test)]
mod tests;
pub mod theia;
mod uri;
pub mod vscode;

use jiff::Timestamp;

pub use self::file::read_file;
use self::node::Node;
pub use self::report::{Finding, Format, ImportReport, Outcome};
use crate::environment::IdSource;
use crate::error::{Error, ErrorKind, Result};
use crate::id::OwnerId;
use crate::model::ChatModel;
use crate::part::PartRegistry;

/// The largest file that is read unless the options say otherwise: 256 MiB.
pub const DEFAULT_MAX_BYTES: u64 = 256 << 20;

/// How a session of another system is read.
#[derive(Debug, Clone)]
pub struct ReadOptions<'a> {
    owner: OwnerId,
    parts: PartRegistry,
    now: Timestamp,
    ids: &'a dyn IdSource,
    max_bytes: u64,
}

impl<'a> ReadOptions<'a> {
    /// Reads a session for an owner, with the built-in kinds of parts.
    ///
    /// `now` stands for moments of which the source says nothing at all, and `ids` gives the ids
    /// that it lacks; the report says where either was needed.
    #[must_use]
    pub fn new(owner: OwnerId, now: Timestamp, ids: &'a dyn IdSource) -> Self {
        Self { owner, parts: PartRegistry::builtin(), now, ids, max_bytes: DEFAULT_MAX_BYTES }
    }

    /// Reads parts with the kinds of this registry.
    #[must_use]
    pub fn parts(mut self, parts: PartRegistry) -> Self {
        self.parts = parts;
        self
    }

    /// Refuses input that is larger, in bytes.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }
}

/// A session that was read, and what became of everything in its source.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Imported {
    /// The session with all its turns.
    pub model: ChatModel,
    /// What became of what.
    pub report: ImportReport,
}

/// Reads a session in any format that is known, which is told by its content.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid) if it is empty, not UTF-8, not JSON, or breaks its format's
/// rules; [`LimitExceeded`](ErrorKind::LimitExceeded) if it is too large or nested too deep;
/// [`UnsupportedVersion`](ErrorKind::UnsupportedVersion) if a newer version wrote it;
/// [`Unsupported`](ErrorKind::Unsupported) if it is JSON of another kind. The context names the
/// `line`, or the `field` by its path in the document.
pub fn read(bytes: &[u8], options: &ReadOptions<'_>) -> Result<Imported> {
    check_size(bytes.len() as u64, options)?;
    let bytes = without_mark(bytes);
    let begun = bytes.trim_ascii_start();
    let head = begun.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let first = std::str::from_utf8(head).ok().and_then(|line| Node::parse(line, 1).ok());
    match first {
        Some(line) if vscode::is_operation(&line) => vscode::read_jsonl(bytes, options),
        Some(document) if blank(&begun[head.len()..]) => read_document(document, options),
        _ => read_document(parse(bytes)?, options),
    }
}

fn read_document(document: Node, options: &ReadOptions<'_>) -> Result<Imported> {
    if document.get("model").is_some_and(Node::is_object) {
        theia::read_node(document, options)
    } else if document.get("requests").is_some() {
        vscode::read_node(document, options)
    } else {
        Err(Error::unsupported(
            "neither a session of Visual Studio Code (`requests`) nor of Theia (`model`)",
        ))
    }
}

fn check_size(size: u64, options: &ReadOptions<'_>) -> Result<()> {
    if size <= options.max_bytes {
        return Ok(());
    }
    let message = format!("more than {} bytes", options.max_bytes);
    Err(Error::limit_exceeded(message).with("bytes", size))
}

/// The bytes behind a byte order mark.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

fn blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// Reads bytes as one JSON document.
fn parse(bytes: &[u8]) -> Result<Node> {
    if blank(bytes) {
        return Err(Error::invalid("it is empty"));
    }
    Node::parse(text(bytes, 1)?, 1)
}

/// Bytes as text, with the first line's number for errors.
fn text(bytes: &[u8], first_line: usize) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = first_line + before.iter().filter(|byte| **byte == b'\n').count();
        Error::new(ErrorKind::Invalid, "it is not UTF-8 text").with("line", line).caused_by(error)
    })
}
