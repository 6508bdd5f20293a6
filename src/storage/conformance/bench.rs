//! What the cases work with: a store, sessions to write, and words for what is wrong.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use jiff::Timestamp;

use super::fixture::Fixture;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{OwnerId, SessionId, TurnId};
use crate::storage::{
    Batch, BatchId, Body, Capabilities, Durability, Expected, Head, HeadFields, Incarnation,
    Record, Revision, SessionKey, Storage, StorageExt,
};

/// Why a case ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    Skipped(&'static str),
    Failed(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        let mut message = format!("unexpected error: {error}");
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            message.push_str(&format!(", because {cause}"));
            source = cause.source();
        }
        Self::Failed(message)
    }
}

pub(super) type Verdict = std::result::Result<(), Stop>;

/// Ends the case as failed unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err($crate::storage::conformance::bench::failed(file!(), line!(), format!($($message)+)));
        }
    };
}

/// Ends the case as failed unless two values are equal.
macro_rules! ensure_eq {
    ($actual:expr, $expected:expr, $($message:tt)+) => {
        match (&$actual, &$expected) {
            (actual, expected) => {
                if actual != expected {
                    let message = format!($($message)+);
                    let message = format!("{message}: got {actual:?}, expected {expected:?}");
                    return Err($crate::storage::conformance::bench::failed(
                        file!(),
                        line!(),
                        message,
                    ));
                }
            }
        }
    };
}

pub(super) use {ensure, ensure_eq};

pub(super) fn failed(file: &str, line: u32, message: String) -> Stop {
    // A whole log may be in it.
    let (most, length) = (2_000, message.chars().count());
    let message = match length > most {
        true => format!("{} …", message.chars().take(most).collect::<String>()),
        false => message,
    };
    Stop::Failed(format!("{message} ({file}:{line})"))
}

/// Ends the case as failed unless a call was refused with an error of this kind.
#[track_caller]
pub(super) fn refused<T>(result: Result<T>, kind: ErrorKind, what: &str) -> Verdict {
    let place = std::panic::Location::caller();
    let got = match result {
        Err(error) if error.kind() == kind => return Ok(()),
        Err(error) => error.to_string(),
        Ok(_) => "success".to_owned(),
    };
    let message = format!("{what} must be refused as \"{kind}\", got {got}");
    Err(failed(place.file(), place.line(), message))
}

/// An open store.
pub(super) struct Bench {
    pub(super) fixture: Arc<dyn Fixture>,
    pub(super) storage: Arc<dyn Storage>,
    pub(super) capabilities: Capabilities,
}

impl Bench {
    pub(super) async fn open(fixture: Arc<dyn Fixture>) -> Result<Self, Stop> {
        let storage = fixture.open().await?;
        let capabilities = storage.capabilities();
        Ok(Self { fixture, storage, capabilities })
    }

    /// A further handle on the same data.
    pub(super) async fn second(&self) -> Result<Arc<dyn Storage>, Stop> {
        Ok(self.fixture.open().await?)
    }

    /// Begins a session with a batch of these kinds of records.
    pub(super) async fn begin(&self, key: &SessionKey, kinds: &[&str]) -> Result<Head, Stop> {
        let batch = Draft::new(0).kinds(kinds).head(title("first")).batch();
        Ok(self.storage.append(key, Expected::New, batch).await?.head)
    }

    /// Adds a batch of these kinds of records where the session stands.
    pub(super) async fn add(&self, key: &SessionKey, kinds: &[&str]) -> Result<Head, Stop> {
        let head = self.storage.existing_head(key).await?;
        let batch = Draft::new(head.revision.get()).kinds(kinds).batch();
        Ok(self.storage.append(key, at(&head), batch).await?.head)
    }

    /// The session's whole log.
    pub(super) async fn log(&self, key: &SessionKey) -> Result<Vec<Record>, Stop> {
        Ok(self.storage.read_after(key, Revision::ZERO).await?.records)
    }
}

/// An owner's session.
pub(super) fn key_of(owner: &str, id: &str) -> Result<SessionKey, Stop> {
    Ok(SessionKey::new(OwnerId::new(owner)?, SessionId::new(id)?))
}

/// A session of the owner that most cases use.
pub(super) fn key(id: &str) -> Result<SessionKey, Stop> {
    key_of("owner", id)
}

/// A moment, some seconds after the suite's beginning of time.
pub(super) fn time(seconds: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_225_600_000 + seconds * 1000).unwrap_or_default()
}

pub(super) fn title(title: &str) -> HeadFields {
    HeadFields { title: title.to_owned(), ..HeadFields::new(time(0)) }
}

/// Where a head says that the session stands.
pub(super) fn at(head: &Head) -> Expected {
    Expected::At { incarnation: head.incarnation, revision: head.revision }
}

/// In its first life, at a revision.
pub(super) fn at_revision(revision: u64) -> Expected {
    Expected::At { incarnation: Incarnation::FIRST, revision: Revision::new(revision) }
}

/// A head without the engine's token, which no two engines share.
pub(super) fn plain(head: &Head) -> (Incarnation, Revision, Revision, HeadFields) {
    (head.incarnation, head.revision, head.base, head.fields.clone())
}

pub(super) fn revisions(records: &[Record]) -> Vec<u64> {
    records.iter().map(|record| record.revision.get()).collect()
}

pub(super) fn next_batch() -> BatchId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    BatchId::new(NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// A batch in the making.
pub(super) struct Draft(Batch, u64);

impl Draft {
    /// A batch that follows a revision.
    pub(super) fn new(after: u64) -> Self {
        let batch = Batch {
            id: next_batch(),
            records: Vec::new(),
            base: Revision::ZERO,
            head: None,
            epoch: None,
            texts: Vec::new(),
            facts: Vec::new(),
            durability: Durability::Buffered,
        };
        Self(batch, after)
    }

    /// Adds records of these kinds.
    pub(super) fn kinds(mut self, kinds: &[&str]) -> Self {
        for kind in kinds {
            let number = self.next();
            let body = Body::Json(format!(r#"{{"n":{number},"text":"é\n\"😀"}}"#).into());
            self = self.record(kind, body);
        }
        self
    }

    /// Adds so many text records.
    pub(super) fn texts(self, count: usize) -> Self {
        self.kinds(&vec!["text"; count])
    }

    /// Adds a record with this body.
    pub(super) fn record(mut self, kind: &str, body: Body) -> Self {
        let number = self.next();
        self.0.records.push(Record {
            revision: Revision::new(number),
            turn: TurnId::new(number % 7),
            kind: Cow::Owned(kind.to_owned()),
            at: time(i64::try_from(number).unwrap_or_default()),
            batch: self.0.id,
            body,
        });
        self
    }

    /// Adds a record with a body of so many bytes.
    pub(super) fn sized(self, kind: &str, bytes: usize) -> Self {
        let text = "x".repeat(bytes.saturating_sub(2));
        self.record(kind, Body::Json(Bytes::from(format!("\"{text}\""))))
    }

    pub(super) fn head(mut self, fields: HeadFields) -> Self {
        self.0.head = Some(fields);
        self
    }

    pub(super) fn epoch(mut self, epoch: u64) -> Self {
        self.0.epoch = Some(epoch);
        self
    }

    pub(super) fn durability(mut self, durability: Durability) -> Self {
        self.0.durability = durability;
        self
    }

    pub(super) fn batch(self) -> Batch {
        self.0
    }

    fn next(&self) -> u64 {
        self.1 + self.0.records.len() as u64 + 1
    }
}
