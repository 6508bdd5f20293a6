//! Finding turns: the newest by walking numbers downwards, the most relevant out of these.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{ControlFlow, RangeInclusive};

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::{Result, SLOTS, expression, other, passages, start, waiting, words};
use crate::id::{OwnerId, SessionId, TurnId};
use crate::storage::sqlite::SqliteError;
use crate::storage::sqlite::catalogue::{self, SessionRow, unsigned, up};
use crate::storage::text::RANKED;
use crate::storage::text::scan::{self, Counted, Order, Place};
use crate::storage::{Cursor, ListQuery, Page, SessionKey, TextHit, TextOrder, TextQuery, listing};

/// Up to so many sessions are part of the expression; of more each hit's is looked at.
const SESSIONS: usize = 256;

/// Finds turns of one owner, in the order of [`scan`](crate::storage::text::scan).
pub(crate) fn search(
    connection: &Connection,
    owner: &OwnerId,
    query: &TextQuery,
    after: Option<&Cursor>,
) -> Result<Page<TextHit>> {
    let limit = query.check()?;
    let mark = scan::mark(owner, query);
    let after = after.map(|cursor| Place::after(cursor, mark)).transpose()?;
    let nothing = Page { items: Vec::new(), next: None };
    let Some(number) = catalogue::owner_number(connection, owner)? else { return Ok(nothing) };
    let Some(search) = Search::new(connection, number, query)? else { return Ok(nothing) };
    let (found, next) = match query.order {
        TextOrder::Newest => search.newest(limit, mark, after)?,
        TextOrder::Relevance => search.most_relevant(limit, mark, after)?,
    };
    let next = next.map(|place| listing::encode_cursor(&place)).transpose()?;
    let items = found.into_iter().map(|found| search.hit(owner, found)).collect::<Result<_>>()?;
    Ok(Page { items, next })
}

struct Search<'s> {
    connection: &'s Connection,
    owner: i64,
    query: &'s TextQuery,
    expression: String,
    /// What a hit's session must fit, unless the expression sees to it.
    sessions: ListQuery,
    /// The sessions in the expression.
    few: Option<Vec<i64>>,
    spill: i64,
}

/// Where the text of a turn is.
#[derive(Clone, Copy)]
enum Stored {
    Indexed(i64),
    Waiting(i64),
}

/// A turn that was found.
struct Found {
    stored: Stored,
    order: Order,
    counted: Option<Counted>,
}

impl<'s> Search<'s> {
    /// None if no session fits.
    fn new(connection: &'s Connection, owner: i64, query: &'s TextQuery) -> Result<Option<Self>> {
        let (limit, order) = (query.sessions.limit, query.sessions.order);
        let mut sessions = ListQuery { limit, order, ..ListQuery::default() };
        let mut few = None;
        if query.sessions != sessions {
            let ids = catalogue::matching(connection, owner, &query.sessions, SESSIONS + 1)?;
            match ids.len() {
                0 => return Ok(None),
                1..=SESSIONS => few = Some(ids),
                _ => sessions = query.sessions.clone(),
            }
        }
        let words = words::beginning_with(connection, query)?;
        // The token of an only owner is in every turn: it finds nothing, and costs as much as a word.
        let others = "SELECT 1 FROM owners WHERE number <> ?1";
        let is_shared = connection.prepare_cached(others)?.exists([owner])?;
        let scope = is_shared.then_some(owner);
        let expression = expression::expression(scope, query, few.as_deref(), &words);
        let spill = "SELECT value FROM full_text WHERE name = 'spill'";
        let spill = connection.prepare_cached(spill)?.query_row((), |row| row.get(0))?;
        Ok(Some(Self { connection, owner, query, expression, sessions, few, spill }))
    }

    fn newest(
        &self,
        limit: usize,
        mark: u64,
        after: Option<Place>,
    ) -> Result<(Vec<Found>, Option<Place>)> {
        let after = after.as_ref().map(Place::order);
        let mut found = Vec::new();
        let is_new = |order: &Order| after.as_ref().is_none_or(|after| order > after);
        let is_asked = |order: &Order| is_new(order);
        let mut more = false;
        self.walk(after.as_ref(), false, is_asked, |hit| {
            more = found.len() == limit;
            if more {
                return ControlFlow::Break(());
            }
            found.push(hit);
            ControlFlow::Continue(())
        })?;
        let last = found.last().filter(|_| more);
        let next = last.map(|last: &Found| Place::of(&last.order, 0, mark));
        Ok((found, next))
    }

    fn most_relevant(
        &self,
        limit: usize,
        mark: u64,
        after: Option<Place>,
    ) -> Result<(Vec<Found>, Option<Place>)> {
        let first = after.as_ref().map(Place::order);
        let mut found = Vec::new();
        let is_asked = |order: &Order| first.as_ref().is_none_or(|first| order >= first);
        self.walk(first.as_ref(), true, is_asked, |hit| {
            found.push(hit);
            if found.len() == RANKED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let newest = found.first().map(|found: &Found| found.order.clone());
        let counted: Vec<&Counted> = found.iter().filter_map(|f| f.counted.as_ref()).collect();
        let mut ranked: Vec<(f64, Found)> = scan::scores(&counted).into_iter().zip(found).collect();
        // Of two that are as good the newer one comes first.
        ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let skip = after.map_or(0, |place| place.skip);
        let more = ranked.len() > skip.saturating_add(limit);
        let page: Vec<Found> =
            ranked.into_iter().skip(skip).take(limit).map(|(_, found)| found).collect();
        let next = newest.filter(|_| more);
        let next = next.map(|newest| Place::of(&newest, skip + page.len(), mark));
        Ok((page, next))
    }

    /// Goes from the newest hit to the oldest, until it is told to stop.
    ///
    /// A hit is told of once no number that follows can be of a newer turn.
    fn walk(
        &self,
        from: Option<&Order>,
        counts: bool,
        is_asked: impl Fn(&Order) -> bool,
        mut each: impl FnMut(Found) -> ControlFlow<()>,
    ) -> Result<()> {
        let docs = self.docs(from);
        let mut statement = self.connection.prepare_cached(
            "SELECT texts.rowid, session, turn, at, text FROM texts LEFT JOIN docs
             ON doc = texts.rowid
             WHERE texts MATCH ?1 AND texts.rowid BETWEEN ?2 AND ?3 ORDER BY texts.rowid DESC",
        )?;
        let mut rows = statement.query(params![self.expression, docs.start(), docs.end()])?;
        let mut fitting = Fitting { search: self, known: HashMap::new() };
        let (replaced, mut waiting) = self.not_indexed(&mut fitting, &is_asked)?;
        while let Some(row) = rows.next()? {
            let doc: i64 = row.get(0)?;
            while let Some(entry) = waiting.first_entry() {
                let std::cmp::Reverse(at) = entry.key().0;
                if at.div_euclid(1_000) <= doc / SLOTS {
                    break;
                }
                if each(entry.remove()).is_break() {
                    return Ok(());
                }
            }
            let Some(session) = row.get::<_, Option<i64>>(1)? else {
                return Err(SqliteError::damaged("the text of a turn in the full text is missing"));
            };
            let turn = unsigned(row.get(2)?)?;
            if waiting::id_of(session, turn).is_some_and(|id| replaced.contains(&id)) {
                continue;
            }
            let text = Text { stored: Stored::Indexed(doc), session, turn, row, counts };
            if let Some(found) = self.look_at(text, &mut fitting, &is_asked)? {
                waiting.insert(found.order.clone(), found);
            }
        }
        for found in waiting.into_values() {
            if each(found).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The rows of all texts whose tokens are not in the index, and the hits among them.
    fn not_indexed(
        &self,
        fitting: &mut Fitting<'_, '_>,
        is_asked: impl Fn(&Order) -> bool,
    ) -> Result<(HashSet<i64>, BTreeMap<Order, Found>)> {
        let sql = "SELECT id, NULL, NULL, at, text FROM waiting";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(())?;
        let (mut all, mut hits) = (HashSet::new(), BTreeMap::new());
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            all.insert(id);
            let (session, turn) = waiting::parts(id);
            let text = Text { stored: Stored::Waiting(id), session, turn, row, counts: true };
            if self.few.as_ref().is_none_or(|few| few.contains(&session))
                && let Some(found) = self.look_at(text, fitting, &is_asked)?
            {
                hits.insert(found.order.clone(), found);
            }
        }
        Ok((all, hits))
    }

    /// The numbers among which hits can be.
    fn docs(&self, from: Option<&Order>) -> RangeInclusive<i64> {
        let first = self.query.from.map_or(0, |from| start(from.as_millisecond()));
        let before = self.query.before.map(|before| before.as_millisecond());
        let newest = from.map(|(std::cmp::Reverse(at), ..)| *at);
        let last = [before, newest].into_iter().flatten().min();
        first..=last.map_or(i64::MAX, |last| start(last).saturating_add(self.spill))
    }

    fn look_at(
        &self,
        text: Text<'_, '_>,
        fitting: &mut Fitting<'_, '_>,
        is_asked: impl Fn(&Order) -> bool,
    ) -> Result<Option<Found>> {
        let Text { stored, session, turn, row, counts } = text;
        let at: i64 = row.get(3)?;
        let in_time = self.query.from.is_none_or(|from| at >= up(from))
            && self.query.before.is_none_or(|before| at < up(before));
        if !in_time {
            return Ok(None);
        }
        let Some(id) = fitting.id_of(session)? else { return Ok(None) };
        let order = (std::cmp::Reverse(at), id, std::cmp::Reverse(turn));
        if !is_asked(&order) {
            return Ok(None);
        }
        let mut counted = None;
        if counts || self.query.kind.is_some() {
            let passages = passages::look_at(row.get_ref(4)?.as_blob().map_err(other)?)?;
            counted = scan::count(passages, self.query);
            if counted.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(Found { stored, order, counted }))
    }

    fn hit(&self, owner: &OwnerId, found: Found) -> Result<TextHit> {
        let (sql, number) = match found.stored {
            Stored::Indexed(doc) => ("SELECT text FROM docs WHERE doc = ?1", doc),
            Stored::Waiting(id) => ("SELECT text FROM waiting WHERE id = ?1", id),
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let bytes: Vec<u8> = statement.query_row([number], |row| row.get(0))?;
        let (std::cmp::Reverse(at), id, std::cmp::Reverse(turn)) = found.order;
        let at = Timestamp::from_millisecond(at)
            .map_err(|e| SqliteError::damaged(format!("a turn's time: {e}")))?;
        let key = SessionKey::new(owner.clone(), id);
        Ok(TextHit { key, turn: TurnId::new(turn), at, passages: passages::decode(&bytes)? })
    }
}

/// A text that is looked at, with its time and passages in a row's fourth and fifth column.
struct Text<'r, 's> {
    stored: Stored,
    session: i64,
    turn: u64,
    row: &'r Row<'s>,
    /// Whether it must be looked at even if the expression has found it.
    counts: bool,
}

/// Which sessions fit, as far as they were asked for.
struct Fitting<'f, 's> {
    search: &'f Search<'s>,
    known: HashMap<i64, Option<SessionId>>,
}

impl Fitting<'_, '_> {
    fn id_of(&mut self, session: i64) -> Result<Option<SessionId>> {
        if let Some(known) = self.known.get(&session) {
            return Ok(known.clone());
        }
        let row = SessionRow { id: session, owner: self.search.owner };
        let id = catalogue::id_if_fits(self.search.connection, row, &self.search.sessions)?;
        self.known.insert(session, id.clone());
        Ok(id)
    }
}
