//! The catalogue: an owner's sessions by last activity, creation and title.
//!
//! What a list sorts and chooses by is in columns; the head's fields are there whole as JSON.

use jiff::Timestamp;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params, params_from_iter};
use serde::Deserialize;

use super::error::SqliteError;
use crate::error::ErrorKind;
use crate::id::{OwnerId, SessionId};
use crate::model::{ResponseState, SessionStatus};
use crate::storage::listing::{self, MAX_LIMIT, Place, PlaceKey};
use crate::storage::rules::Standing;
use crate::storage::{
    Cursor, Head, HeadFields, Incarnation, ListOrder, ListQuery, Page, Revision, SessionHead,
    SessionKey, VersionToken,
};

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// The tables `owners` and `sessions`.
///
/// Ids are never used again. Times are negative milliseconds: the newest is the first.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    connection.execute_batch(
        "CREATE TABLE owners (
           number INTEGER PRIMARY KEY AUTOINCREMENT,
           owner TEXT NOT NULL UNIQUE
         );
         CREATE TABLE sessions (
           id INTEGER PRIMARY KEY AUTOINCREMENT,
           owner INTEGER NOT NULL REFERENCES owners (number),
           session TEXT NOT NULL,
           incarnation INTEGER NOT NULL,
           revision INTEGER NOT NULL,
           base INTEGER NOT NULL,
           token TEXT NOT NULL,
           title TEXT NOT NULL,
           status TEXT NOT NULL,
           pinned INTEGER NOT NULL,
           tags TEXT,
           agent TEXT,
           workspace TEXT,
           parent TEXT,
           created INTEGER NOT NULL,
           active INTEGER NOT NULL,
           turns INTEGER NOT NULL,
           state TEXT,
           head TEXT NOT NULL
         );",
    )?;
    create_indexes(connection)
}

/// The indexes of `sessions` that are not there.
pub(super) fn create_indexes(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "CREATE UNIQUE INDEX IF NOT EXISTS sessions_session ON sessions (owner, session);
         CREATE INDEX IF NOT EXISTS sessions_active ON sessions (owner, active, session);
         CREATE INDEX IF NOT EXISTS sessions_created ON sessions (owner, created, session);
         CREATE INDEX IF NOT EXISTS sessions_title ON sessions (owner, title, session);
         CREATE INDEX IF NOT EXISTS sessions_workspace
           ON sessions (owner, workspace, active, session) WHERE workspace IS NOT NULL;
         CREATE INDEX IF NOT EXISTS sessions_parent
           ON sessions (owner, parent) WHERE parent IS NOT NULL;",
    )?)
}

/// Sets what lists choose by from the heads, as far as these are sound. An owner or a session whose id
/// is damaged gets a new one, by which it is found again.
pub(super) fn restore(connection: &Connection) -> Result<()> {
    restore_owners(connection)?;
    let mut ids = connection.prepare("SELECT id FROM sessions")?;
    let ids = ids.query_map((), |row| row.get(0))?.collect::<Result<Vec<i64>, _>>()?;
    for id in ids {
        let mut query = connection.prepare_cached(
            "SELECT incarnation, revision, base, token, head, session, owner FROM sessions
             WHERE id = ?1",
        )?;
        let (name, row, head) = query.query_one([id], |row| {
            let place = SessionRow { id, owner: row.get(6)? };
            Ok((session_id(row.get_ref(5)?), place, head_of(row)))
        })?;
        if let Err(damage) = name {
            let name = format!("recovered-{id}");
            tracing::warn!(error = %crate::Error::from(damage), name, "a session has a new id");
            let sql = "UPDATE sessions SET session = ?2 WHERE id = ?1";
            connection.prepare_cached(sql)?.execute(params![id, name])?;
        }
        match head {
            Ok(head) => update(connection, row, None, &head)?,
            // Lists say so.
            Err(error) if error.kind() == ErrorKind::Corrupt => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn restore_owners(connection: &Connection) -> Result<()> {
    let mut query = connection.prepare("SELECT number, owner FROM owners")?;
    let mut rows = query.query(())?;
    let mut damaged = Vec::new();
    while let Some(row) = rows.next()? {
        if let Err(damage) = owner_id(row.get_ref(1)?) {
            damaged.push((row.get::<_, i64>(0)?, damage));
        }
    }
    drop(rows);
    for (number, damage) in damaged {
        let name = format!("recovered-{number}");
        tracing::warn!(error = %crate::Error::from(damage), name, "an owner has a new id");
        connection
            .prepare_cached("UPDATE owners SET owner = ?2 WHERE number = ?1")?
            .execute(params![number, name])?;
    }
    Ok(())
}

/// A session's place in the tables: what full text and facts know it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionRow {
    /// Never used again after the session was removed.
    pub(crate) id: i64,
    /// Its owner's number.
    pub(crate) owner: i64,
}

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

/// The page of an owner's sessions that fit a query. One whose head is damaged is listed with the
/// reason; one whose id is cannot be listed, nor one by what is damaged: they hide no other.
pub(super) fn page(
    connection: &Connection,
    owner: &OwnerId,
    query: &ListQuery,
    after: Option<&Cursor>,
) -> Result<Page<SessionHead>> {
    page_of(connection, owner, query, after, Damaged::Listed)
}

/// The same where a damaged session is to be had from somebody else: it is an error here.
pub(crate) fn sound_page(
    connection: &Connection,
    owner: &OwnerId,
    query: &ListQuery,
    after: Option<&Cursor>,
) -> Result<Page<SessionHead>> {
    page_of(connection, owner, query, after, Damaged::Fails)
}

/// What becomes of a damaged session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Damaged {
    Listed,
    Fails,
}

fn page_of(
    connection: &Connection,
    owner: &OwnerId,
    query: &ListQuery,
    after: Option<&Cursor>,
    damaged: Damaged,
) -> Result<Page<SessionHead>> {
    listing::check(query)?;
    let mark = listing::mark(query);
    let after = after.map(|cursor| Place::after(cursor, query, mark)).transpose()?;
    let Some(number) = owner_number(connection, owner)? else {
        return Ok(Page { items: Vec::new(), next: None });
    };
    let (sql, values) = page_sql(number, query, after)?;
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut items: Vec<SessionHead> = Vec::new();
    let mut last = None;
    while let Some(row) = rows.next()? {
        if items.len() == query.limit {
            let next = last.map(|place: Place| listing::encode_cursor(&place)).transpose()?;
            return Ok(Page { items, next });
        }
        let Some(session) = session_of(row, owner, damaged)? else { continue };
        let key = match query.order {
            ListOrder::Title => row.get(7).map(PlaceKey::Title),
            _ => row.get(7).map(PlaceKey::Time),
        };
        let key = match key {
            Err(error) if damaged == Damaged::Listed => {
                // No page could go on from here, nor end here.
                left_out(error.into());
                continue;
            }
            key => key?,
        };
        if items.len() + 1 == query.limit {
            last = Some(Place::new(key, session.key.id.clone(), mark));
        }
        items.push(session);
    }
    Ok(Page { items, next: None })
}

fn page_sql(owner: i64, query: &ListQuery, after: Option<Place>) -> Result<(String, Vec<Value>)> {
    let mut filter = Filter::new(owner, query);
    let (column, mut index) = match query.order {
        ListOrder::LastActive => ("active", "sessions_active"),
        ListOrder::Created => ("created", "sessions_created"),
        ListOrder::Title => ("title", "sessions_title"),
    };
    if query.parent.is_some() {
        // Few have the same parent: they are sorted.
        index = "sessions_parent";
    } else if let ([Some(_)], ListOrder::LastActive) = (&*query.workspaces, query.order) {
        index = "sessions_workspace";
    }
    if let Some(place) = after {
        let key = match place.key {
            PlaceKey::Time(time) => Value::from(time),
            PlaceKey::Title(title) => Value::from(title),
        };
        let key = filter.bind(key);
        let id = filter.bind(place.id.as_str().to_owned());
        filter.add(format!("({column}, session) > ({key}, {id})"));
    }
    // Without a limit: it is not known how many are damaged.
    let sql = format!(
        "SELECT incarnation, revision, base, token, head, session, active, {column} FROM sessions
         INDEXED BY {index} WHERE {} ORDER BY {column}, session",
        filter.sql
    );
    Ok((sql, filter.values))
}

/// How many of an owner's sessions fit a query.
pub(crate) fn count(connection: &Connection, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
    listing::check_conditions(query)?;
    let Some(number) = owner_number(connection, owner)? else { return Ok(0) };
    let filter = Filter::new(number, query);
    let sql = format!("SELECT count(*) FROM sessions WHERE {}", filter.sql);
    let mut statement = connection.prepare_cached(&sql)?;
    unsigned(statement.query_row(params_from_iter(filter.values), |row| row.get(0))?)
}

/// The ids of an owner's sessions that fit a query, but not more than `most`.
pub(crate) fn matching(
    connection: &Connection,
    owner: i64,
    query: &ListQuery,
    most: usize,
) -> Result<Vec<i64>> {
    let mut filter = Filter::new(owner, query);
    let limit = filter.bind(integer(most as u64)?);
    let sql = format!("SELECT id FROM sessions WHERE {} LIMIT {limit}", filter.sql);
    let mut statement = connection.prepare_cached(&sql)?;
    let ids = statement.query_map(params_from_iter(filter.values), |row| row.get(0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// A session's id if it is its owner's, fits a query, and is sound.
pub(crate) fn id_if_fits(
    connection: &Connection,
    row: SessionRow,
    query: &ListQuery,
) -> Result<Option<SessionId>> {
    let mut filter = Filter::new(row.owner, query);
    let id = filter.bind(row.id);
    // The plus keeps the engine from walking through the owner's sessions.
    let sql = format!("SELECT session FROM sessions WHERE id = {id} AND +{}", filter.sql);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(filter.values))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(session_id(row.get_ref(0)?).map_err(left_out).ok())
}

/// Everyone who has a session, in the order of their ids, as far as these are sound.
pub(super) fn sound_owners(
    connection: &Connection,
    after: Option<&Cursor>,
) -> Result<Page<OwnerId>> {
    owners_of(connection, after, Damaged::Listed)
}

/// The same where a damaged id is to be had from somebody else: it is an error here.
pub(crate) fn owners(connection: &Connection, after: Option<&Cursor>) -> Result<Page<OwnerId>> {
    owners_of(connection, after, Damaged::Fails)
}

fn owners_of(
    connection: &Connection,
    after: Option<&Cursor>,
    damaged: Damaged,
) -> Result<Page<OwnerId>> {
    let start: Option<OwnerId> = after.map(listing::decode_cursor).transpose()?;
    let start = start.as_ref().map_or("", OwnerId::as_str);
    // Without a limit: it is not known how many are damaged.
    let mut statement =
        connection.prepare_cached("SELECT owner FROM owners WHERE owner > ?1 ORDER BY owner")?;
    let mut rows = statement.query([start])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        match owner_id(row.get_ref(0)?) {
            Ok(name) => names.push(name),
            Err(error) if damaged == Damaged::Listed => left_out(error),
            Err(error) => return Err(error),
        }
        if names.len() > MAX_LIMIT {
            break;
        }
    }
    Ok(listing::page_of_names(names, None)?)
}

/// The address of every session whose id is sound, and its owner's.
pub(crate) fn keys(connection: &Connection) -> Result<Vec<SessionKey>> {
    let mut query = connection.prepare(
        "SELECT owners.owner, session FROM sessions JOIN owners ON number = sessions.owner
         ORDER BY owners.owner, session",
    )?;
    let mut rows = query.query(())?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let owner = owner_id(row.get_ref(0)?).map_err(left_out).ok();
        let id = session_id(row.get_ref(1)?).map_err(left_out).ok();
        keys.extend(owner.zip(id).map(|(owner, id)| SessionKey::new(owner, id)));
    }
    Ok(keys)
}

/// The conditions of a query, with bound values only.
struct Filter {
    sql: String,
    values: Vec<Value>,
}

impl Filter {
    /// Begins with the owner's condition.
    fn new(owner: i64, query: &ListQuery) -> Self {
        let mut filter = Self { sql: "owner = ?1".to_owned(), values: vec![Value::from(owner)] };
        filter.add_workspaces(query);
        filter.add_any("status", query.statuses.iter().map(|status| status_name(*status)));
        filter.add_any("state", query.states.iter().map(|state| state_name(*state)));
        if let Some(pinned) = query.pinned {
            filter.add_value("pinned = ", i64::from(pinned));
        }
        for tag in &query.tags {
            let tag = filter.bind(format!("{TAG}{}{TAG}", escaped(tag)));
            filter.add(format!("instr(tags, {tag}) > 0"));
        }
        if let Some(agent) = &query.agent {
            filter.add_value("agent = ", agent.clone());
        }
        if let Some(parent) = &query.parent {
            filter.add_value("parent = ", parent.as_str().to_owned());
        }
        filter.add_times(query);
        if let Some(title) = &query.title {
            let title = filter.bind(title.to_lowercase());
            filter.add(format!("instr(title, {title}) > 0"));
        }
        filter
    }

    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    fn add(&mut self, condition: impl AsRef<str>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition.as_ref());
    }

    fn add_value(&mut self, comparison: &str, value: impl Into<Value>) {
        let value = self.bind(value);
        self.add(format!("{comparison}{value}"));
    }

    fn add_any(&mut self, column: &str, values: impl ExactSizeIterator<Item = &'static str>) {
        if values.len() > 0 {
            let values: Vec<String> = values.map(|value| self.bind(value.to_owned())).collect();
            self.add(format!("{column} IN ({})", values.join(", ")));
        }
    }

    fn add_workspaces(&mut self, query: &ListQuery) {
        let is = |filter: &mut Self, workspace: &Option<_>| match workspace {
            Some(workspace) => {
                let workspace: &crate::id::WorkspaceId = workspace;
                let workspace = filter.bind(workspace.as_str().to_owned());
                format!("workspace = {workspace}")
            }
            None => "workspace IS NULL".to_owned(),
        };
        let any: Vec<String> = query.workspaces.iter().map(|one| is(self, one)).collect();
        match &*any {
            [] => {}
            [one] => self.add(one),
            several => self.add(format!("({})", several.join(" OR "))),
        }
    }

    /// Stored times are negative and in whole milliseconds.
    fn add_times(&mut self, query: &ListQuery) {
        let times = [
            ("created <= ", query.created_from),
            ("created > ", query.created_before),
            ("active <= ", query.active_from),
            ("active > ", query.active_before),
        ];
        for (comparison, time) in times {
            if let Some(time) = time {
                self.add_value(comparison, -up(time));
            }
        }
    }
}

/// The first whole millisecond at or after a time.
pub(super) fn up(time: Timestamp) -> i64 {
    let millis = time.as_nanosecond().div_euclid(1_000_000);
    let part = i128::from(time.as_nanosecond().rem_euclid(1_000_000) > 0);
    // The range of times in milliseconds is far smaller.
    i64::try_from(millis + part).unwrap_or(i64::MAX)
}

/// Stands around each tag; never in one as it is written.
const TAG: char = '\u{1f}';

fn escaped(tag: &str) -> String {
    serde_json::Value::from(tag).to_string()
}

fn tags(fields: &HeadFields) -> Option<String> {
    let mut tags = String::new();
    for tag in &fields.tags {
        tags.push(TAG);
        tags.push_str(&escaped(tag));
        tags.push(TAG);
    }
    (!tags.is_empty()).then_some(tags)
}

fn status_name(status: SessionStatus) -> &'static str {
    match status {
        SessionStatus::Active => "active",
        SessionStatus::Archived => "archived",
        SessionStatus::Trashed => "trashed",
    }
}

pub(super) fn state_name(state: ResponseState) -> &'static str {
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
fn plain(head: &Head, json: String) -> Result<[ToSqlOutput<'_>; 11]> {
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
const INDEXED: [&str; 5] =
    [", active = ?", ", created = ?", ", title = ?", ", workspace = ?", ", parent = ?"];

/// Their values.
fn indexed(fields: &HeadFields) -> [ToSqlOutput<'_>; 5] {
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

fn json_of(fields: &HeadFields) -> Result<String> {
    let unwritable = |e| crate::Error::invalid("the head cannot be written as JSON").caused_by(e);
    Ok(serde_json::to_string(fields).map_err(unwritable)?)
}

/// The head in a row that begins with incarnation, revision, base, token and fields.
fn head_of(row: &Row<'_>) -> Result<Head> {
    let place = [row.get(0)?, row.get(1)?, row.get(2)?];
    head_from(place, row.get(3)?, text_of_head(row.get_ref(4)?)?)
}

fn text_of_head(json: ValueRef<'_>) -> Result<&str> {
    let damaged = |e| SqliteError::damaged(format!("the session's head is not text: {e}"));
    json.as_str().map_err(damaged)
}

fn fields_of<'j, F: Deserialize<'j>>(json: &'j str) -> Result<F> {
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

fn session_of(row: &Row<'_>, owner: &OwnerId, damaged: Damaged) -> Result<Option<SessionHead>> {
    let id = match session_id(row.get_ref(5)?) {
        Ok(id) => id,
        Err(error) if damaged == Damaged::Listed => {
            left_out(error);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let head = match head_of(row) {
        Err(error) if damaged == Damaged::Listed && error.kind() == ErrorKind::Corrupt => {
            unreadable(row, &error)
        }
        head => head?,
    };
    Ok(Some(SessionHead { key: SessionKey::new(owner.clone(), id), head }))
}

/// What is listed of a session whose head is damaged.
fn unreadable(row: &Row<'_>, error: &SqliteError) -> Head {
    let problem = match error {
        SqliteError::Engine { source } => source.to_string(),
        other => other.to_string(),
    };
    let active = row.get(6).ok().and_then(i64::checked_neg);
    let at = active.and_then(|active| Timestamp::from_millisecond(active).ok());
    listing::unreadable(at.unwrap_or(Timestamp::UNIX_EPOCH), &problem)
}

/// Nobody could ask for it by an id that is none.
pub(super) fn left_out(error: SqliteError) {
    tracing::warn!(error = %crate::Error::from(error), "it is left out until a rebuild");
}

fn named(error: SqliteError, key: &SessionKey) -> SqliteError {
    SqliteError::from(crate::Error::from(error).with("session", &key.id))
}

pub(super) fn session_id(id: ValueRef<'_>) -> Result<SessionId> {
    let damaged = |e: &dyn std::fmt::Display| SqliteError::damaged(format!("a session's id: {e}"));
    SessionId::new(id.as_str().map_err(|e| damaged(&e))?).map_err(|e| damaged(&e))
}

fn owner_id(id: ValueRef<'_>) -> Result<OwnerId> {
    let damaged = |e: &dyn std::fmt::Display| SqliteError::damaged(format!("an owner's id: {e}"));
    OwnerId::new(id.as_str().map_err(|e| damaged(&e))?).map_err(|e| damaged(&e))
}

/// A number as the engine keeps it.
pub(crate) fn integer(number: u64) -> Result<i64> {
    let too_large = |_| crate::Error::limit_exceeded(format!("{number} is too large a number"));
    Ok(i64::try_from(number).map_err(too_large)?)
}

/// A number as the engine kept it.
pub(crate) fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| SqliteError::damaged("a number is negative"))
}

/// How the engine goes about a page.
#[cfg(test)]
pub(super) fn plan(connection: &Connection, query: &ListQuery, after: bool) -> Result<String> {
    let key = match query.order {
        ListOrder::Title => PlaceKey::Title(String::new()),
        _ => PlaceKey::Time(0),
    };
    let place = after.then(|| SessionId::new("s").map(|id| Place::new(key, id, 0))).transpose()?;
    let (sql, values) = page_sql(1, query, place)?;
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
    let lines = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3))?;
    Ok(lines.collect::<Result<Vec<_>, _>>()?.join("\n"))
}
