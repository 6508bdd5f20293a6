//! Records as rows, each with its own checksum.

use std::ops::RangeInclusive;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql, params};

use super::catalogue::{SessionRow, integer, unsigned};
use super::error::SqliteError;
use crate::id::TurnId;
use crate::storage::{BatchId, Body, Damage, Record, Revision, line};

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// How many bits of a row's id are for the revision.
const REVISION_BITS: u32 = 32;
const REVISIONS: i64 = 1 << REVISION_BITS;

pub(super) const COLUMNS: &str = "id, turn, kind, at, batch, sum, body";

/// The row of a session's revision. Those of a session stand together, in order.
pub(super) fn id(session: SessionRow, revision: Revision) -> Result<i64> {
    let too_many = || crate::Error::limit_exceeded("a session or a revision has too high a number");
    let revision = integer(revision.get())?;
    if revision >= REVISIONS || session.id >= i64::MAX >> REVISION_BITS {
        return Err(too_many().into());
    }
    Ok((session.id << REVISION_BITS) + revision)
}

/// All rows of a session.
pub(super) fn all(session: SessionRow) -> Result<RangeInclusive<i64>> {
    let first = id(session, Revision::ZERO)?;
    Ok(first..=first + REVISIONS - 1)
}

pub(super) fn revision_of(id: i64) -> Result<Revision> {
    Ok(Revision::new(unsigned(id & (REVISIONS - 1))?))
}

pub(super) fn insert(connection: &Connection, session: SessionRow, record: &Record) -> Result<()> {
    let id = id(session, record.revision)?;
    let (turn, at) = (integer(record.turn.get())?, record.at.as_millisecond());
    let batch = record.batch.get().cast_signed();
    let sum = sum(id, turn, &record.kind, at, batch, &record.body);
    let text;
    let body: &dyn ToSql = match &record.body {
        Body::Json(json) => {
            text = std::str::from_utf8(json)
                .map_err(|e| crate::Error::invalid("a record's body is not UTF-8").caused_by(e))?;
            &text
        }
        Body::Binary(bytes) => &bytes.as_ref(),
    };
    connection
        .prepare_cached("INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute(params![id, turn, record.kind, at, batch, sum, body])?;
    Ok(())
}

/// The batch of the first record at or after a revision.
pub(super) fn batch_at(
    connection: &Connection,
    session: SessionRow,
    revision: Revision,
) -> Result<Option<BatchId>> {
    let mut query = connection.prepare_cached(
        "SELECT batch FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1",
    )?;
    let mut rows = query.query([id(session, revision)?, *all(session)?.end()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(BatchId::new(row.get::<_, i64>(0)?.cast_unsigned())))
}

/// Whether there is a record in a range of rows.
pub(super) fn any(connection: &Connection, first: i64, last: i64) -> Result<bool> {
    let mut query =
        connection.prepare_cached("SELECT 1 FROM records WHERE id BETWEEN ?1 AND ?2")?;
    Ok(query.exists([first, last])?)
}

/// Reads a row of [`COLUMNS`], or says what is wrong with it.
pub(super) fn read(row: &Row<'_>) -> Result<std::result::Result<Record, Damage>> {
    let id: i64 = row.get(0)?;
    let revision = revision_of(id)?;
    Ok(parse(row, id, revision).map_err(|problem| damage(revision, problem)))
}

pub(super) fn damage(revision: Revision, problem: impl Into<String>) -> Damage {
    Damage {
        place: "table records".to_owned(),
        record: Some(revision.get()),
        problem: problem.into(),
    }
}

fn parse(row: &Row<'_>, id: i64, revision: Revision) -> std::result::Result<Record, String> {
    let wrong = |e: rusqlite::Error| format!("the row is not a record: {e}");
    let (turn, at): (i64, i64) = (row.get(1).map_err(wrong)?, row.get(3).map_err(wrong)?);
    let kind: String = row.get(2).map_err(wrong)?;
    let (batch, stored): (i64, u32) = (row.get(4).map_err(wrong)?, row.get(5).map_err(wrong)?);
    let body = match row.get_ref(6).map_err(wrong)? {
        ValueRef::Text(json) => Body::Json(Bytes::copy_from_slice(json)),
        ValueRef::Blob(bytes) => Body::Binary(Bytes::copy_from_slice(bytes)),
        other => return Err(format!("the body is {}", other.data_type())),
    };
    if sum(id, turn, &kind, at, batch, &body) != stored {
        return Err("the checksum does not match".to_owned());
    }
    line::check_kind(&kind).map_err(|e| e.message().to_owned())?;
    let turn = u64::try_from(turn).map_err(|_| "the turn is negative".to_owned())?;
    Ok(Record {
        revision,
        turn: TurnId::new(turn),
        kind: line::intern(kind.into()),
        at: Timestamp::from_millisecond(at).map_err(|e| format!("the time is none: {e}"))?,
        batch: BatchId::new(batch.cast_unsigned()),
        body,
    })
}

/// CRC-32 over the row's id and all that it holds.
fn sum(id: i64, turn: i64, kind: &str, at: i64, batch: i64, body: &Body) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for number in [id, turn, at, batch] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(kind.as_bytes());
    let (mark, bytes) = match body {
        Body::Json(json) => (b"\0j", json),
        Body::Binary(bytes) => (b"\0b", bytes),
    };
    hasher.update(mark);
    hasher.update(bytes);
    hasher.finalize()
}
