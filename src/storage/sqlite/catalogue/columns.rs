//! Heads and ids as values of columns, and back.

use rusqlite::Row;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde::Deserialize;

use super::{Result, integer, unsigned};
use crate::id::{OwnerId, SessionId};
use crate::model::{ResponseState, SessionStatus};
use crate::storage::sqlite::error::SqliteError;
use crate::storage::{Head, HeadFields, Incarnation, Revision, SessionKey, VersionToken};

/// Stands around each tag; never in one as it is written.
pub(super) const TAG: char = '\u{1f}';

pub(super) fn escaped(tag: &str) -> String {
    serde_json::Value::from(tag).to_string()
}

pub(super) fn tags(fields: &HeadFields) -> Option<String> {
    let mut tags = String::new();
    for tag in &fields.tags {
        tags.push(TAG);
        tags.push_str(&escaped(tag));
        tags.push(TAG);
    }
    (!tags.is_empty()).then_some(tags)
}

pub(super) fn status_name(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Active => "active",
        SessionStatus::Archived => "archived",
        SessionStatus::Trashed => "trashed",
    }
}

pub(crate) fn state_name(state: ResponseState) -> &'static str {
    match state {
        ResponseState::Pending => "pending",
        ResponseState::Streaming => "streaming",
        ResponseState::NeedsInput => "needs_input",
        ResponseState::Complete => "complete",
        ResponseState::Cancelled => "cancelled",
        ResponseState::Failed => "failed",
        ResponseState::Interrupted => "interrupted",
    }
}

/// The values of a head that stand in no index, the last of them its fields as JSON.
pub(super) fn plain(head: &Head, json: String) -> Result<[ToSqlOutput<'_>; 11]> {
    let fields = &head.fields;
    Ok([
        integer(head.incarnation.get())?.into(),
        integer(head.revision.get())?.into(),
        integer(head.base.get())?.into(),
        head.token.0.as_str().into(),
        status_name(fields.status).into(),
        fields.pinned.into(),
        ToSqlOutput::Owned(tags(fields).into()),
        text(fields.agent.as_deref()),
        integer(fields.turns)?.into(),
        text(fields.state.map(state_name)),
        json.into(),
    ])
}

/// The columns that stand in an index, as a statement sets them.
pub(super) const INDEXED: [&str; 5] =
    [", active = ?", ", created = ?", ", title = ?", ", workspace = ?", ", parent = ?"];

/// Their values.
pub(super) fn indexed(fields: &HeadFields) -> [ToSqlOutput<'_>; 5] {
    [
        (-fields.active.as_millisecond()).into(),
        (-fields.created.as_millisecond()).into(),
        fields.title.to_lowercase().into(),
        text(fields.workspace.as_ref().map(AsRef::as_ref)),
        text(fields.parent.as_ref().map(AsRef::as_ref)),
    ]
}

fn text(text: Option<&str>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(text.into())
}

pub(super) fn json_of(fields: &HeadFields) -> Result<String> {
    let unwritable = |e| crate::Error::invalid("the head cannot be written as JSON").caused_by(e);
    Ok(serde_json::to_string(fields).map_err(unwritable)?)
}

/// The head in a row that begins with incarnation, revision, base, token and fields.
pub(super) fn head_of(row: &Row<'_>) -> Result<Head> {
    let place = [row.get(0)?, row.get(1)?, row.get(2)?];
    head_from(place, row.get(3)?, text_of_head(row.get_ref(4)?)?)
}

pub(super) fn text_of_head(json: ValueRef<'_>) -> Result<&str> {
    let damaged = |e| SqliteError::damaged(format!("the session's head is not text: {e}"));
    json.as_str().map_err(damaged)
}

pub(super) fn fields_of<'j, F: Deserialize<'j>>(json: &'j str) -> Result<F> {
    let damaged = |e| SqliteError::damaged(format!("the session's head is not a head: {e}"));
    serde_json::from_str(json).map_err(damaged)
}

fn head_from([life, revision, base]: [i64; 3], token: String, json: &str) -> Result<Head> {
    let fields = fields_of(json)?;
    Ok(Head {
        incarnation: Incarnation::new(unsigned(life)?),
        revision: Revision::new(unsigned(revision)?),
        base: Revision::new(unsigned(base)?),
        token: VersionToken(token),
        fields,
    })
}

/// A head as it is stored, which costs less than to read it.
#[derive(Debug)]
pub(crate) struct StoredHead {
    place: [i64; 3],
    token: String,
    json: String,
}

impl StoredHead {
    /// Takes a row that begins with incarnation, revision, base, token and fields.
    pub(crate) fn read(row: &Row<'_>) -> Result<Self> {
        let place = [row.get(0)?, row.get(1)?, row.get(2)?];
        Ok(Self { place, token: row.get(3)?, json: row.get(4)? })
    }

    pub(crate) fn parse(&self) -> Result<Head> {
        head_from(self.place, self.token.clone(), &self.json)
    }
}

/// Nobody could ask for it by an id that is none.
pub(crate) fn left_out(error: SqliteError) {
    tracing::warn!(error = %crate::Error::from(error), "it is left out until a rebuild");
}

pub(super) fn named(error: SqliteError, key: &SessionKey) -> SqliteError {
    SqliteError::from(crate::Error::from(error).with("session", &key.id))
}

pub(crate) fn session_id(id: ValueRef<'_>) -> Result<SessionId> {
    let damaged = |e: &dyn std::fmt::Display| SqliteError::damaged(format!("a session's id: {e}"));
    SessionId::new(id.as_str().map_err(|e| damaged(&e))?).map_err(|e| damaged(&e))
}

pub(super) fn owner_id(id: ValueRef<'_>) -> Result<OwnerId> {
    let damaged = |e: &dyn std::fmt::Display| SqliteError::damaged(format!("an owner's id: {e}"));
    OwnerId::new(id.as_str().map_err(|e| damaged(&e))?).map_err(|e| damaged(&e))
}
