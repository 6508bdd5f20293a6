//! Finding turns: the newest by walking numbers downwards, the most relevant out of these.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::{ControlFlow, RangeInclusive};

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::digest::Asked;
use super::{Result, SLOTS, expression, other, passages, start, waiting, words};
use crate::id::{OwnerId, SessionId, TurnId};
use crate::storage::sqlite::SqliteError;
use crate::storage::sqlite::catalogue::{self, SessionRow, unsigned, up};
use crate::storage::text::RANKED;
use crate::storage::text::scan::{self, Counted, Order, Place};
use crate::storage::{Cursor, ListQuery, Page, SessionKey, TextHit, TextOrder, TextQuery, listing};

/// Up to so many sessions are part of the expression; of more each hit's is looked at.
const SESSIONS: usize = 256;

/// Once more texts than this, and than one of so many, are not to be found the owner's token is asked
/// for.
const STRANGERS: usize = 64;
const SHARE: usize = 16;

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
    /// The same without the owner, where nearly all texts are its own: its token would narrow nothing,
    /// and costs as much as a word.
    wide: Option<String>,
    /// What a hit's session must fit, unless the expression sees to it.
    sessions: ListQuery,
    /// The sessions in the expression.
    few: Option<Vec<i64>>,
    /// Where digests can tell all that is asked, how they do.
    asked: Option<Asked<'s>>,
    spill: i64,
}

/// Where the text of a turn is.
#[derive(Clone, Copy)]
enum Stored {
    Indexed(i64),
    Waiting(i64),
}

/// A turn that was found. Newer ones are less.
struct Found {
    stored: Stored,
    order: Order,
    counted: Option<Counted>,
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Found {}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
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
        let few = few.as_deref();
        let expression = expression::expression(Some(owner), query, few, &words);
        // Sessions that are asked for by themselves are the owner's.
        let wide = few.is_some() || is_alone(connection, owner)?;
        let wide = wide.then(|| expression::expression(None, query, few, &words));
        let spill = "SELECT value FROM full_text WHERE name = 'spill'";
        let spill = connection.prepare_cached(spill)?.query_row((), |row| row.get(0))?;
        let few = few.map(Vec::from);
        let asked = Asked::of(query);
        Ok(Some(Self { connection, owner, query, expression, wide, sessions, few, asked, spill }))
    }

    fn newest(
        &self,
        limit: usize,
        mark: u64,
        after: Option<Place>,
    ) -> Result<(Vec<Found>, Option<Place>)> {
        let after = after.as_ref().map(Place::order);
        let mut found = Vec::new();
        let is_asked = |order: &Order| after.as_ref().is_none_or(|after| order > after);
        let mut more = false;
        self.walk(after.as_ref(), is_asked, |hit| {
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
        self.walk(first.as_ref(), is_asked, |hit| {
            found.push(hit);
            if found.len() == RANKED { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let newest = found.first().map(|found: &Found| found.order.clone());
        let counted = found.iter().map(|found| found.counted.as_ref());
        let counted: Vec<&Counted> = counted.collect::<Option<_>>().ok_or_else(missing)?;
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
        is_asked: impl Fn(&Order) -> bool,
        mut each: impl FnMut(Found) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut fitting = Fitting::of(self);
        let (replaced, mut waiting) = self.not_indexed(&mut fitting, &is_asked)?;
        let docs = self.docs(from);
        let mut wide = self.wide.as_deref();
        let (seen, table) = match self.asked {
            Some(_) => ("digest", "digests"),
            None => ("text", "docs"),
        };
        let sql = format!(
            "SELECT texts.rowid, session, turn, at, {seen} FROM texts LEFT JOIN {table}
             ON doc = texts.rowid
             WHERE texts MATCH ?1 AND texts.rowid BETWEEN ?2 AND ?3 ORDER BY texts.rowid DESC"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let expression = wide.unwrap_or(&self.expression);
        let mut rows = statement.query(params![expression, docs.start(), docs.end()])?;
        let (mut looked_at, waited) = (0, fitting.misfits);
        loop {
            let Some(row) = rows.next()? else { break };
            looked_at += 1;
            let doc: i64 = row.get(0)?;
            while let Some(Reverse(found)) = waiting.peek() {
                let Reverse(at) = found.order.0;
                if at.div_euclid(1_000) <= doc / SLOTS {
                    break;
                }
                let Some(Reverse(found)) = waiting.pop() else { break };
                if each(found).is_break() {
                    return Ok(());
                }
            }
            let (text, seen) = match row.get(1)? {
                Some(session) => {
                    let (turn, at) = (unsigned(row.get(2)?)?, row.get(3)?);
                    let seen = row.get_ref(4)?.as_blob().map_err(other)?;
                    (Text { stored: Stored::Indexed(doc), session, turn, at }, Some(seen))
                }
                None => (self.without_digest(doc)?, None),
            };
            if waiting::id_of(text.session, text.turn).is_some_and(|id| replaced.contains(&id)) {
                continue;
            }
            let count = || match (&self.asked, seen) {
                (Some(asked), Some(digest)) => self.count_by(asked, digest, doc),
                (None, Some(text)) => self.count(text),
                (_, None) => self.count_stored(doc),
            };
            let found = self.found(text, &mut fitting, &is_asked, count)?;
            waiting.extend(found.map(Reverse));
            let most = STRANGERS.max(looked_at / SHARE);
            if wide.is_some() && fitting.misfits - waited > most {
                // There are many others, among whose texts the own ones are to be found.
                wide = None;
                drop(rows);
                rows = statement.query(params![self.expression, docs.start(), doc - 1])?;
            }
        }
        while let Some(Reverse(found)) = waiting.pop() {
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
    ) -> Result<(HashSet<i64>, BinaryHeap<Reverse<Found>>)> {
        let sql = "SELECT id, at, text FROM waiting";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(())?;
        let (mut all, mut hits) = (HashSet::new(), BinaryHeap::new());
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            all.insert(id);
            let (session, turn) = waiting::parts(id);
            let text = Text { stored: Stored::Waiting(id), session, turn, at: row.get(1)? };
            let count = || self.count(row.get_ref(2)?.as_blob().map_err(other)?);
            if self.few.as_ref().is_none_or(|few| few.contains(&session))
                && let Some(found) = self.found(text, fitting, &is_asked, count)?
            {
                hits.push(Reverse(found));
            }
        }
        Ok((all, hits))
    }

    /// The numbers among which hits can be.
    fn docs(&self, from: Option<&Order>) -> RangeInclusive<i64> {
        let first = self.query.from.map_or(0, |from| start(from.as_millisecond()));
        let before = self.query.before.map(|before| before.as_millisecond());
        let newest = from.map(|(Reverse(at), ..)| *at);
        let last = [before, newest].into_iter().flatten().min();
        first..=last.map_or(i64::MAX, |last| start(last).saturating_add(self.spill))
    }

    /// A text as a hit, if it is one.
    fn found(
        &self,
        text: Text,
        fitting: &mut Fitting<'_, '_>,
        is_asked: impl Fn(&Order) -> bool,
        count: impl FnOnce() -> Result<Hit>,
    ) -> Result<Option<Found>> {
        let Text { stored, session, turn, at } = text;
        let in_time = self.query.from.is_none_or(|from| at >= up(from))
            && self.query.before.is_none_or(|before| at < up(before));
        if !in_time {
            return Ok(None);
        }
        let Some(id) = fitting.id_of(session)? else { return Ok(None) };
        let order = (Reverse(at), id, Reverse(turn));
        if !is_asked(&order) {
            return Ok(None);
        }
        Ok(match count()? {
            Hit::No => None,
            Hit::Yes(counted) => Some(Found { stored, order, counted }),
        })
    }

    /// Looks through a text.
    fn count(&self, text: &[u8]) -> Result<Hit> {
        let counted = scan::count(passages::look_at(text), self.query)?;
        Ok(counted.map_or(Hit::No, |counted| Hit::Yes(Some(counted))))
    }

    /// Looks through a text unless its digest tells how often the words are in it.
    fn count_by(&self, asked: &Asked<'_>, digest: &[u8], doc: i64) -> Result<Hit> {
        if self.query.order == TextOrder::Newest {
            return Ok(Hit::Yes(None));
        }
        match asked.count(digest)? {
            Some(counted) => Ok(Hit::Yes(Some(counted))),
            None => self.count_stored(doc),
        }
    }

    fn count_stored(&self, doc: i64) -> Result<Hit> {
        let sql = "SELECT text FROM docs WHERE doc = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([doc])?;
        let row = rows.next()?.ok_or_else(missing)?;
        self.count(row.get_ref(0)?.as_blob().map_err(other)?)
    }

    /// A text that was indexed by a program that made no digests.
    fn without_digest(&self, doc: i64) -> Result<Text> {
        let sql = "SELECT session, turn, at FROM docs WHERE doc = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([doc])?;
        let row = rows.next()?.ok_or_else(missing)?;
        let turn = unsigned(row.get(1)?)?;
        Ok(Text { stored: Stored::Indexed(doc), session: row.get(0)?, turn, at: row.get(2)? })
    }

    fn hit(&self, owner: &OwnerId, found: Found) -> Result<TextHit> {
        let (sql, number) = match found.stored {
            Stored::Indexed(doc) => ("SELECT text FROM docs WHERE doc = ?1", doc),
            Stored::Waiting(id) => ("SELECT text FROM waiting WHERE id = ?1", id),
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let bytes: Vec<u8> = statement.query_row([number], |row| row.get(0))?;
        let (Reverse(at), id, Reverse(turn)) = found.order;
        let at = Timestamp::from_millisecond(at)
            .map_err(|e| SqliteError::damaged(format!("a turn's time: {e}")))?;
        let key = SessionKey::new(owner.clone(), id);
        Ok(TextHit { key, turn: TurnId::new(turn), at, passages: passages::decode(&bytes)? })
    }
}

fn missing() -> SqliteError {
    SqliteError::damaged("the text of a turn in the full text is missing")
}

/// A text that may be a hit.
struct Text {
    stored: Stored,
    session: i64,
    turn: u64,
    at: i64,
}

/// Whether a text is one, with how often the words are in it where it was counted.
enum Hit {
    No,
    Yes(Option<Counted>),
}

/// Which sessions fit, as far as they were asked for.
struct Fitting<'f, 's> {
    search: &'f Search<'s>,
    known: HashMap<i64, Option<SessionId>>,
    /// How many texts were looked at whose sessions did not fit.
    misfits: usize,
}

impl<'f, 's> Fitting<'f, 's> {
    fn of(search: &'f Search<'s>) -> Self {
        Self { search, known: HashMap::new(), misfits: 0 }
    }

    fn id_of(&mut self, session: i64) -> Result<Option<SessionId>> {
        let id = match self.known.get(&session) {
            Some(id) => id.clone(),
            None => self.look_up(session)?,
        };
        self.misfits += usize::from(id.is_none());
        Ok(id)
    }

    fn look_up(&mut self, session: i64) -> Result<Option<SessionId>> {
        let row = SessionRow { id: session, owner: self.search.owner };
        let id = catalogue::id_if_fits(self.search.connection, row, &self.search.sessions)?;
        self.known.insert(session, id.clone());
        Ok(id)
    }
}

/// Whether the newest texts of all are one owner's.
fn is_alone(connection: &Connection, owner: i64) -> Result<bool> {
    let mut others = connection.prepare_cached(
        "SELECT 1 FROM (SELECT session AS newest FROM digests ORDER BY doc DESC LIMIT 16)
         JOIN sessions ON id = newest WHERE owner <> ?1",
    )?;
    Ok(!others.exists([owner])?)
}
