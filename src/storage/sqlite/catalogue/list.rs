//! Pages of sessions, and of owners.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};

use super::columns::{head_of, left_out, owner_id, session_id};
use super::filter::Filter;
use super::session::owner_number;
use super::{Result, SessionRow, integer, unsigned};
use crate::error::ErrorKind;
use crate::id::{OwnerId, SessionId};
use crate::storage::listing::{self, MAX_LIMIT, Place, PlaceKey};
use crate::storage::sqlite::error::SqliteError;
use crate::storage::{Cursor, Head, ListOrder, ListQuery, Page, SessionHead, SessionKey};

/// The page of an owner's sessions that fit a query. One whose head is damaged is listed with the
/// reason; one whose id is cannot be listed, nor one by what is damaged: they hide no other.
pub(crate) fn page(
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
pub(crate) fn sound_owners(
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

/// How the engine goes about a page.
#[cfg(test)]
pub(crate) fn plan(connection: &Connection, query: &ListQuery, after: bool) -> Result<String> {
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
