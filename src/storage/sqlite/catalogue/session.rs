//! One session's row: where it stands.

use jiff::Timestamp;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::Deserialize;

use super::columns::{INDEXED, fields_of, indexed, json_of, named, plain, text_of_head};
use super::{Result, SessionRow, integer, unsigned};
use crate::id::OwnerId;
use crate::storage::rules::Standing;
use crate::storage::{Head, HeadFields, Incarnation, Revision, SessionKey, VersionToken};

/// Sets where a session stands; one that was not there is added.
pub(crate) fn upsert(connection: &Connection, key: &SessionKey, head: &Head) -> Result<SessionRow> {
    match row_of(connection, key)? {
        Some(row) => {
            update(connection, row, None, head)?;
            Ok(row)
        }
        None => insert(connection, key, head),
    }
}

/// Adds a session that is not there.
pub(crate) fn insert(connection: &Connection, key: &SessionKey, head: &Head) -> Result<SessionRow> {
    let owner = owner_or_new(connection, &key.owner)?;
    let json = json_of(&head.fields)?;
    let mut values = vec![ToSqlOutput::from(owner), key.id.as_str().into()];
    values.extend(plain(head, json)?);
    values.extend(indexed(&head.fields));
    let mut insert = connection.prepare_cached(
        "INSERT INTO sessions (owner, session, incarnation, revision, base, token, status, pinned,
           tags, agent, turns, state, head, active, created, title, workspace, parent)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?;
    insert.execute(params_from_iter(values))?;
    Ok(SessionRow { id: connection.last_insert_rowid(), owner })
}

/// Sets where a session that is there stands. With what is stored `before` the indexes are spared of
/// which nothing changed.
pub(crate) fn update(
    connection: &Connection,
    row: SessionRow,
    before: Option<&Stored>,
    head: &Head,
) -> Result<()> {
    let json = json_of(&head.fields)?;
    let is_sound = |before: &Stored| before.indexed.iter().all(Option::is_some);
    if before.is_some_and(|before| before.json == json && is_sound(before)) {
        return advance(connection, row, head);
    }
    let mut bound = vec![ToSqlOutput::from(row.id)];
    bound.extend(plain(head, json)?);
    let mut sql = "UPDATE sessions SET incarnation = ?2, revision = ?3, base = ?4, token = ?5,
        status = ?6, pinned = ?7, tags = ?8, agent = ?9, turns = ?10, state = ?11, head = ?12"
        .to_owned();
    for (index, (column, value)) in INDEXED.into_iter().zip(indexed(&head.fields)).enumerate() {
        let old = before.and_then(|before| before.indexed.get(index)?.as_ref());
        if !old.is_some_and(|old| is(old, &value)) {
            bound.push(value);
            sql.push_str(column);
            sql.push_str(&bound.len().to_string());
        }
    }
    sql.push_str(" WHERE id = ?1");
    connection.prepare_cached(&sql)?.execute(params_from_iter(bound))?;
    Ok(())
}

/// Sets the position of a session whose head's fields did not change.
pub(crate) fn advance(connection: &Connection, row: SessionRow, head: &Head) -> Result<()> {
    let mut update = connection
        .prepare_cached("UPDATE sessions SET revision = ?2, base = ?3, token = ?4 WHERE id = ?1")?;
    let (revision, base) = (head.revision.get(), head.base.get());
    update.execute(params![row.id, integer(revision)?, integer(base)?, head.token.0])?;
    Ok(())
}

/// Removes a session; where it was.
pub(crate) fn remove(connection: &Connection, key: &SessionKey) -> Result<Option<SessionRow>> {
    let Some(row) = row_of(connection, key)? else { return Ok(None) };
    connection.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([row.id])?;
    connection
        .prepare_cached(
            "DELETE FROM owners WHERE number = ?1
             AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.owner = number)",
        )?
        .execute([row.owner])?;
    Ok(Some(row))
}

/// Where a session is in the tables.
pub(crate) fn row_of(connection: &Connection, key: &SessionKey) -> Result<Option<SessionRow>> {
    let mut query = connection.prepare_cached(
        "SELECT id, sessions.owner FROM sessions JOIN owners ON number = sessions.owner
         WHERE owners.owner = ?1 AND session = ?2",
    )?;
    let row = |row: &Row<'_>| Ok(SessionRow { id: row.get(0)?, owner: row.get(1)? });
    Ok(query.query_row([key.owner.as_str(), key.id.as_str()], row).optional()?)
}

/// Where a session is, and where it stands.
pub(crate) fn get(connection: &Connection, key: &SessionKey) -> Result<Option<(SessionRow, Head)>> {
    let Some(stored) = find(connection, key)? else { return Ok(None) };
    let head = stored.head().map_err(|error| named(error, key))?;
    Ok(Some((stored.row, head)))
}

/// What is stored of a session, which costs less than its head.
pub(crate) fn find(connection: &Connection, key: &SessionKey) -> Result<Option<Stored>> {
    let mut query = connection.prepare_cached(
        "SELECT incarnation, revision, base, token, head, id, sessions.owner,
           active, created, title, workspace, parent
         FROM sessions JOIN owners ON number = sessions.owner
         WHERE owners.owner = ?1 AND session = ?2",
    )?;
    let mut rows = query.query([key.owner.as_str(), key.id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Stored::read(row).map(Some).map_err(|error| named(error, key))
}

/// A session as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) row: SessionRow,
    pub(crate) incarnation: Incarnation,
    pub(crate) revision: Revision,
    pub(crate) base: Revision,
    pub(crate) token: VersionToken,
    json: String,
    /// In the order of [`INDEXED`]; none that is damaged, which is the same as no other.
    indexed: [Option<Value>; 5],
}

impl Stored {
    /// Takes the row that [`find`] asks for.
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Self {
            incarnation: Incarnation::new(unsigned(row.get(0)?)?),
            revision: Revision::new(unsigned(row.get(1)?)?),
            base: Revision::new(unsigned(row.get(2)?)?),
            token: VersionToken(row.get(3)?),
            json: text_of_head(row.get_ref(4)?)?.to_owned(),
            row: SessionRow { id: row.get(5)?, owner: row.get(6)? },
            indexed: [7, 8, 9, 10, 11].map(|index| row.get(index).ok()),
        })
    }

    pub(crate) fn fields(&self) -> Result<HeadFields> {
        fields_of(&self.json)
    }

    pub(crate) fn head(&self) -> Result<Head> {
        let fields = self.fields()?;
        let (incarnation, revision, base) = (self.incarnation, self.revision, self.base);
        Ok(Head { incarnation, revision, base, token: self.token.clone(), fields })
    }

    /// Where the session stands, as far as an append asks: the rest of the head is not looked at.
    pub(crate) fn standing(&self) -> Result<Standing> {
        #[derive(Deserialize)]
        struct Fields {
            #[serde(rename = "created")]
            _created: Timestamp,
            #[serde(rename = "active")]
            _active: Timestamp,
            #[serde(default)]
            epoch: u64,
        }

        // What is never left out says that it is a head: that there is no epoch in what is none says
        // nothing.
        let Fields { epoch, .. } = fields_of(&self.json)?;
        Ok(Standing { incarnation: self.incarnation, revision: self.revision, epoch })
    }
}

/// Whether a value is the one that is stored.
fn is(stored: &Value, value: &ToSqlOutput<'_>) -> bool {
    match value {
        ToSqlOutput::Borrowed(value) => ValueRef::from(stored) == *value,
        ToSqlOutput::Owned(value) => stored == value,
        _ => false,
    }
}

/// Where a session is, and its life: nothing else of it need be sound.
pub(crate) fn life(
    connection: &Connection,
    key: &SessionKey,
) -> Result<Option<(SessionRow, Incarnation)>> {
    let Some(row) = row_of(connection, key)? else { return Ok(None) };
    let mut query = connection.prepare_cached("SELECT incarnation FROM sessions WHERE id = ?1")?;
    let life = unsigned(query.query_row([row.id], |row| row.get(0))?);
    Ok(Some((row, Incarnation::new(life.map_err(|error| named(error, key))?))))
}

/// A session's life and token, which differ after each change.
pub(crate) fn version(connection: &Connection, key: &SessionKey) -> Result<Option<String>> {
    let mut query = connection.prepare_cached(
        "SELECT incarnation || '.' || token FROM sessions JOIN owners ON number = sessions.owner
         WHERE owners.owner = ?1 AND session = ?2",
    )?;
    Ok(query.query_row([key.owner.as_str(), key.id.as_str()], |row| row.get(0)).optional()?)
}

/// The number of an owner who has a session.
pub(crate) fn owner_number(connection: &Connection, owner: &OwnerId) -> Result<Option<i64>> {
    let mut query = connection.prepare_cached("SELECT number FROM owners WHERE owner = ?1")?;
    Ok(query.query_row([owner.as_str()], |row| row.get(0)).optional()?)
}

fn owner_or_new(connection: &Connection, owner: &OwnerId) -> Result<i64> {
    if let Some(number) = owner_number(connection, owner)? {
        return Ok(number);
    }
    let mut insert = connection.prepare_cached("INSERT INTO owners (owner) VALUES (?1)")?;
    insert.execute([owner.as_str()])?;
    Ok(connection.last_insert_rowid())
}
