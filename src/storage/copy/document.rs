//! Copying one document, and noting beside it that a copy put it there.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::session::{Outcome, Stop, of_target};
use crate::environment::Clock;
use crate::error::{Error, ErrorKind};
use crate::storage::{BlobId, Document, DocumentScope, ExpectedDocument, Storage, VersionToken};

/// How a note's name begins. The SHA-256 of the document's name follows, which may be as long as a
/// name can be.
const NOTES: &str = "copied/";
/// How often a document is copied that others copy at the same time.
const ATTEMPTS: usize = 4;

/// Whether a document is what a copy noted of another one.
pub(super) fn is_note(name: &str) -> bool {
    name.strip_prefix(NOTES).is_some_and(|hash| hash.parse::<BlobId>().is_ok())
}

fn note_of(name: &str) -> String {
    format!("{NOTES}{}", BlobId::of(name.as_bytes()))
}

/// What copies have put in the place of a document. What is there and not in its note is somebody
/// else's.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// More than one only while one replaces another.
    copied: Vec<Mark>,
}

/// How a document is known again.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

impl Mark {
    fn of(document: &Document) -> Self {
        Self { sha256: BlobId::of(&document.content).to_string(), expires: document.expires }
    }
}

impl Note {
    /// When nothing of what it notes is there any more.
    fn expires(&self) -> Option<Timestamp> {
        let all: Option<Vec<_>> = self.copied.iter().map(|mark| mark.expires).collect();
        all.and_then(|all| all.into_iter().max())
    }
}

/// What was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) bytes: u64,
    /// Whether an earlier copy's document was replaced.
    pub(super) replaced: bool,
}

/// The copy of one document.
pub(super) struct OneDocument<'a> {
    pub(super) from: &'a dyn Storage,
    pub(super) to: &'a dyn Storage,
    pub(super) clock: &'a dyn Clock,
    pub(super) scope: &'a DocumentScope,
    pub(super) name: &'a str,
}

impl OneDocument<'_> {
    /// Copies it and reads it back; nothing is written if it is there already.
    pub(super) async fn copy(&self) -> Outcome<Option<Written>> {
        let mut attempts = 1;
        loop {
            match self.copy_once().await {
                // Maybe with another copy, which has got further meanwhile.
                Err(Stop::Failed(error))
                    if error.kind() == ErrorKind::Conflict && attempts < ATTEMPTS =>
                {
                    attempts += 1;
                }
                copied => return copied,
            }
        }
    }

    /// The note comes first: whenever this ends, it names what a copy has put there.
    async fn copy_once(&self) -> Outcome<Option<Written>> {
        let now = self.clock.now();
        let original = self.from.get_document(self.scope, self.name, now).await;
        let original = original.map_err(Stop::Failed)?.ok_or(Stop::Gone)?;
        let there = self.read(self.name, now).await?;
        if there.as_ref().is_some_and(|there| same(there, &original)) {
            return Ok(None);
        }
        let (mut note, noted) = self.note(now).await?;
        let replaced = there.is_some();
        let expected = match there {
            None => ExpectedDocument::Absent,
            Some(there) if note.copied.contains(&Mark::of(&there)) => {
                ExpectedDocument::Version(there.version)
            }
            Some(_) => {
                return Err(
                    self.failed(Error::conflict, "the target has the document with other content")
                );
            }
        };
        note.copied.retain(|mark| *mark != Mark::of(&original));
        note.copied.push(Mark::of(&original));
        let noted = self.put_note(&note, noted, now).await?;
        self.put(self.name, &original, expected, now).await?;
        if note.copied.len() > 1 {
            note.copied.retain(|mark| *mark == Mark::of(&original));
            match self.put_note(&note, ExpectedDocument::Version(noted), now).await {
                // Another copy has added to it since.
                Err(Stop::Failed(error)) if error.kind() == ErrorKind::Conflict => {}
                put => drop(put?),
            }
        }
        Ok(Some(Written { bytes: original.content.len() as u64, replaced }))
    }

    /// Writes a document, or the note of one, and reads it back.
    async fn put(
        &self,
        name: &str,
        document: &Document,
        expected: ExpectedDocument,
        now: Timestamp,
    ) -> Outcome<VersionToken> {
        let (content, expires) = (document.content.clone(), document.expires);
        let put = self.to.put_document(self.scope, name, expected, content, expires, now).await;
        let version = put.map_err(of_target)?;
        match self.read(name, now).await? {
            Some(there) if there.version != version => {
                Err(self.failed(Error::conflict, "the target's document was changed meanwhile"))
            }
            Some(there) if same(&there, document) => Ok(version),
            _ => Err(self.failed(Error::corrupt, "what is in the target is not what was written")),
        }
    }

    async fn read(&self, name: &str, now: Timestamp) -> Outcome<Option<Document>> {
        self.to.get_document(self.scope, name, now).await.map_err(of_target)
    }

    /// The note, and in what version it is.
    async fn note(&self, now: Timestamp) -> Outcome<(Note, ExpectedDocument)> {
        let Some(found) = self.read(&note_of(self.name), now).await? else {
            return Ok((Note::default(), ExpectedDocument::Absent));
        };
        let note = serde_json::from_slice(&found.content).map_err(|error| {
            let message = "what copies have put in its place cannot be read";
            let unread = Error::corrupt(message).with("document", self.name);
            Stop::Failed(unread.with("note", note_of(self.name)).caused_by(error))
        })?;
        Ok((note, ExpectedDocument::Version(found.version)))
    }

    async fn put_note(
        &self,
        note: &Note,
        expected: ExpectedDocument,
        now: Timestamp,
    ) -> Outcome<VersionToken> {
        let content = serde_json::to_vec(note).map_err(|error| {
            let error = Error::invalid("the note of a copy cannot be written").caused_by(error);
            Stop::Failed(error.with("document", self.name))
        })?;
        let (version, expires) = (VersionToken(String::new()), note.expires());
        let document = Document { content: Bytes::from(content), version, expires };
        self.put(&note_of(self.name), &document, expected, now).await
    }

    fn failed(&self, kind: fn(&'static str) -> Error, message: &'static str) -> Stop {
        Stop::Failed(kind(message).with("document", self.name))
    }
}

fn same(a: &Document, b: &Document) -> bool {
    (&a.content, a.expires) == (&b.content, b.expires)
}
