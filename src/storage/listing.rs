//! Lists for engines that look through all heads: filter, order, page.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::head::{Head, HeadFields, Incarnation, SessionHead, VersionToken};
use super::query::{Cursor, ListOrder, ListQuery, Page};
use super::record::Revision;
use crate::error::{Error, Result};
use crate::id::SessionId;

/// The most that a page may hold.
pub(crate) const MAX_LIMIT: usize = 1_000;

/// The most conditions of a query: an engine's own limit is never met.
const MAX_CONDITIONS: usize = 500;

/// Checks how many conditions a query has.
pub(crate) fn check_conditions(query: &ListQuery) -> Result<()> {
    let ListQuery { workspaces, statuses, tags, states, .. } = query;
    let conditions = workspaces.len() + statuses.len() + tags.len() + states.len();
    if conditions > MAX_CONDITIONS {
        return Err(Error::invalid(format!(
            "a list has {conditions} conditions, it may have {MAX_CONDITIONS}"
        )));
    }
    Ok(())
}

/// Checks what a query asks for.
pub(crate) fn check(query: &ListQuery) -> Result<()> {
    check_conditions(query)?;
    if query.limit == 0 || query.limit > MAX_LIMIT {
        return Err(Error::invalid(format!(
            "a list's limit is {}, it must be 1 to {MAX_LIMIT}",
            query.limit
        )));
    }
    Ok(())
}

/// A session that cannot be read is listed all the same: without a title, and with the reason
/// under `unreadable`. Opening it says what is wrong.
pub(crate) fn unreadable(at: Timestamp, problem: &str) -> Head {
    let mut fields = HeadFields::new(at);
    fields.extra.insert("unreadable".to_owned(), Value::from(problem));
    Head {
        incarnation: Incarnation::FIRST,
        revision: Revision::ZERO,
        base: Revision::ZERO,
        token: VersionToken(String::new()),
        fields,
    }
}

/// Whether a session fits a query.
pub(crate) fn fits(session: &SessionHead, query: &ListQuery) -> bool {
    let fields = &session.head.fields;
    let any = |wanted: bool, empty: bool| empty || wanted;
    any(query.workspaces.contains(&fields.workspace), query.workspaces.is_empty())
        && any(query.statuses.contains(&fields.status), query.statuses.is_empty())
        && any(fields.state.is_some_and(|s| query.states.contains(&s)), query.states.is_empty())
        && query.pinned.is_none_or(|pinned| pinned == fields.pinned)
        && query.tags.iter().all(|tag| fields.tags.contains(tag))
        && query.agent.as_ref().is_none_or(|agent| fields.agent.as_ref() == Some(agent))
        && query.parent.as_ref().is_none_or(|parent| fields.parent.as_ref() == Some(parent))
        && query.created_from.is_none_or(|from| fields.created >= from)
        && query.created_before.is_none_or(|before| fields.created < before)
        && query.active_from.is_none_or(|from| fields.active >= from)
        && query.active_before.is_none_or(|before| fields.active < before)
        && query
            .title
            .as_ref()
            .is_none_or(|text| fields.title.to_lowercase().contains(&text.to_lowercase()))
}

/// A session's place in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Negative milliseconds, so that the newest comes first, or the lower-case title.
    pub(crate) key: PlaceKey,
    pub(crate) id: SessionId,
    /// Which question this place belongs to.
    query: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum PlaceKey {
    Time(i64),
    Title(String),
}

fn place(session: &SessionHead, query: &ListQuery, mark: u64) -> Place {
    let fields = &session.head.fields;
    let key = match query.order {
        ListOrder::LastActive => PlaceKey::Time(-fields.active.as_millisecond()),
        ListOrder::Created => PlaceKey::Time(-fields.created.as_millisecond()),
        ListOrder::Title => PlaceKey::Title(fields.title.to_lowercase()),
    };
    Place { key, id: session.key.id.clone(), query: mark }
}

impl Place {
    #[cfg(feature = "sqlite")]
    pub(crate) fn new(key: PlaceKey, id: SessionId, query: u64) -> Self {
        Self { key, id, query }
    }

    /// Where the page before ended.
    pub(crate) fn after(cursor: &Cursor, query: &ListQuery, mark: u64) -> Result<Self> {
        let place: Self = decode_cursor(cursor)?;
        let is_time = matches!(place.key, PlaceKey::Time(_));
        if place.query != mark || is_time == (query.order == ListOrder::Title) {
            return Err(Error::invalid("the cursor belongs to another query"));
        }
        Ok(place)
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then_with(|| self.id.cmp(&other.id))
    }
}

/// Tells one question's cursors from another's.
pub(crate) fn mark(query: &ListQuery) -> u64 {
    mark_of(&ListQuery { limit: 1, ..query.clone() })
}

pub(crate) fn mark_of(question: &impl fmt::Debug) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{question:?}").hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn encode_cursor(value: &impl Serialize) -> Result<Cursor> {
    let json = serde_json::to_vec(value)
        .map_err(|e| Error::invalid("a cursor cannot be written").caused_by(e))?;
    Ok(Cursor(BASE64.encode(json)))
}

pub(crate) fn decode_cursor<T: for<'de> Deserialize<'de>>(cursor: &Cursor) -> Result<T> {
    let wrong = || Error::invalid("the cursor is not one that this list gave");
    let json = BASE64.decode(&cursor.0).map_err(|e| wrong().caused_by(e))?;
    serde_json::from_slice(&json).map_err(|e| wrong().caused_by(e))
}

/// The page of the sessions that fit a query, out of all of an owner's heads.
pub(crate) fn page(
    heads: impl IntoIterator<Item = SessionHead>,
    query: &ListQuery,
    after: Option<&Cursor>,
) -> Result<Page<SessionHead>> {
    check(query)?;
    let mark = mark(query);
    let after = after.map(|cursor| Place::after(cursor, query, mark)).transpose()?;
    let mut found: Vec<(Place, SessionHead)> = heads
        .into_iter()
        .filter(|session| fits(session, query))
        .map(|session| (place(&session, query, mark), session))
        .filter(|(place, _)| after.as_ref().is_none_or(|after| place.compare(after).is_gt()))
        .collect();
    found.sort_by(|(a, _), (b, _)| a.compare(b));
    let next = match found.get(query.limit) {
        Some(_) => found.get(query.limit - 1).map(|(place, _)| encode_cursor(place)).transpose()?,
        None => None,
    };
    found.truncate(query.limit);
    Ok(Page { items: found.into_iter().map(|(_, session)| session).collect(), next })
}

/// The page of names after a cursor, out of all names in order.
pub(crate) fn page_of_names<T: Clone + Ord + Serialize + for<'de> Deserialize<'de>>(
    names: impl IntoIterator<Item = T>,
    after: Option<&Cursor>,
) -> Result<Page<T>> {
    let after = after.map(decode_cursor::<T>).transpose()?;
    let mut names =
        names.into_iter().filter(|name| after.as_ref().is_none_or(|after| name > after));
    let items: Vec<T> = names.by_ref().take(MAX_LIMIT).collect();
    let next = match (names.next(), items.last()) {
        (Some(_), Some(last)) => Some(encode_cursor(last)?),
        _ => None,
    };
    Ok(Page { items, next })
}
