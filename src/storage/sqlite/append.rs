//! Adding a batch to a log, within a transaction.

use std::fmt::Write as _;

use rusqlite::Connection;

use super::catalogue::{self, Stored};
use super::engine::{buried, capabilities};
use super::error::SqliteError;
use super::pending::Left;
use super::{facts, full_text, records};
use crate::storage::rules::{self, Salt};
use crate::storage::{
    Appended, Batch, BatchId, Durability, Expected, Head, HeadFields, Incarnation, Revision,
    SessionKey, VersionToken,
};

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// The head's token: the number of its version, and the last batch with the revision that it
/// followed, by which a retry is known even when compaction dropped its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    version: u64,
    after: Revision,
    batch: BatchId,
}

impl Token {
    pub(super) fn of(token: &VersionToken) -> Result<Self> {
        let wrong = || SqliteError::damaged("the session's version is damaged");
        let mut parts = token.0.split('.');
        let mut part = || parts.next().ok_or_else(wrong);
        let (version, after, batch) = (part()?, part()?, part()?);
        Ok(Self {
            version: version.parse().map_err(|_| wrong())?,
            after: Revision::new(after.parse().map_err(|_| wrong())?),
            batch: batch.parse().map_err(|_| wrong())?,
        })
    }

    pub(super) fn next(self) -> Self {
        Self { version: self.version.saturating_add(1), ..self }
    }

    pub(super) fn write(self) -> VersionToken {
        // Room for three numbers: a text that grows is moved again and again.
        let mut token = String::with_capacity(62);
        // Writing to a `String` cannot fail.
        let _ = write!(token, "{}.{}.{}", self.version, self.after, self.batch);
        VersionToken(token)
    }
}

/// One append and what it needs.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) key: SessionKey,
    pub(super) expected: Expected,
    pub(super) batch: Batch,
}

/// An append that took effect in a transaction that is not committed yet.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) appended: Appended,
    /// The texts that wait to be indexed.
    pub(super) left: Left,
}

pub(super) fn append(transaction: &Connection, salt: Salt, request: Request) -> Result<Done> {
    let Request { key, expected, mut batch } = request;
    let present = catalogue::find(transaction, &key)?;
    if let Some(stored) = &present
        && has_landed(transaction, stored, expected, batch.id)?
    {
        if batch.durability > Durability::Buffered {
            // What landed may not be on the disk: a commit that changes nothing syncs nothing.
            let sql = "UPDATE store SET value = value + 1 WHERE name = 'syncs'";
            transaction.prepare_cached(sql)?.execute(())?;
        }
        return Ok(done(stored.head()?, &batch));
    }
    let buried = match present {
        Some(_) => None,
        None => buried(transaction, salt, &key)?,
    };
    let stands = present.as_ref().map(Stored::standing).transpose()?;
    let life = rules::decide(&key, expected, batch.epoch, stands, buried)?;
    let head = head_after(present.as_ref(), life, &mut batch)?;
    let session = match present {
        Some(stored) => {
            catalogue::update(transaction, stored.row, Some(&stored), &head)?;
            stored.row
        }
        None => catalogue::insert(transaction, &key, &head)?,
    };
    batch.records.iter().try_for_each(|record| records::insert(transaction, session, record))?;
    full_text::put_all(transaction, batch.texts.iter().map(|text| (session, text)))?;
    batch.facts.iter().try_for_each(|facts| facts::put(transaction, session, facts))?;
    Ok(done(head, &batch))
}

fn done(head: Head, batch: &Batch) -> Done {
    let durability = rules::achieved(batch.durability, capabilities().durability);
    Done { appended: Appended { head, durability }, left: Left::of(&batch.texts) }
}

/// Whether the batch is in the log already, where it was expected to be.
fn has_landed(
    transaction: &Connection,
    stored: &Stored,
    expected: Expected,
    batch: BatchId,
) -> Result<bool> {
    if matches!(expected, Expected::At { incarnation, .. } if incarnation != stored.incarnation) {
        return Ok(false);
    }
    let place = rules::place_of(expected);
    if stored.revision <= place {
        return Ok(false);
    }
    let token = Token::of(&stored.token)?;
    if (token.after, token.batch) == (place, batch) {
        return Ok(true);
    }
    Ok(records::batch_at(transaction, stored.row, place.next())? == Some(batch))
}

/// The head that a batch leads to, which takes over the fields that the batch sets.
fn head_after(
    before: Option<&Stored>,
    incarnation: Incarnation,
    batch: &mut Batch,
) -> Result<Head> {
    let last = batch.records.last().map_or(Revision::ZERO, |record| record.revision);
    let (version, after) = match before {
        Some(before) => (Token::of(&before.token)?.next().version, before.revision),
        None => (1, Revision::ZERO),
    };
    let fields = match batch.head.take() {
        Some(fields) => Some(fields),
        None => before.map(Stored::fields).transpose()?,
    };
    let at = batch.records.first().map(|record| record.at);
    Ok(Head {
        incarnation,
        revision: last.max(batch.base),
        base: before.map_or(batch.base, |before| before.base),
        token: Token { version, after, batch: batch.id }.write(),
        fields: fields
            .or_else(|| at.map(HeadFields::new))
            .ok_or_else(|| crate::Error::invalid("a batch has at least one record"))?,
    })
}
