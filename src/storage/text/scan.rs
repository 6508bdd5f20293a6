//! Search for engines that look at every turn's text.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::{RANKED, Term, TextHit, TextOrder, TextQuery, tokens};
use crate::error::{Error, Result};
use crate::id::{OwnerId, SessionId};
use crate::storage::batch::{Passage, TurnText};
use crate::storage::head::SessionKey;
use crate::storage::listing;
use crate::storage::query::{Cursor, ListQuery, Page};

/// A search while the texts are being looked at.
#[derive(Debug)]
pub(crate) struct Scan<'q> {
    query: &'q TextQuery,
    limit: usize,
    mark: u64,
    after: Option<Place>,
    found: Vec<Found>,
}

#[derive(Debug)]
struct Found {
    hit: TextHit,
    /// How often each term is in it, and how many tokens it has.
    counts: Vec<u32>,
    length: u32,
}

/// Where a page ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Place {
    /// The hit after which a page of the newest goes on; of one of the most relevant, the newest
    /// hit that is ranked.
    at: i64,
    id: SessionId,
    turn: u64,
    /// How many of the most relevant were on the pages before.
    skip: usize,
    /// Which search this place belongs to.
    query: u64,
}

type Order = (Reverse<i64>, SessionId, Reverse<u64>);

impl Place {
    fn of(hit: &TextHit, skip: usize, query: u64) -> Self {
        let (at, id, turn) = (hit.at.as_millisecond(), hit.key.id.clone(), hit.turn.get());
        Self { at, id, turn, skip, query }
    }

    fn order(&self) -> Order {
        (Reverse(self.at), self.id.clone(), Reverse(self.turn))
    }
}

fn order(hit: &TextHit) -> Order {
    (Reverse(hit.at.as_millisecond()), hit.key.id.clone(), Reverse(hit.turn.get()))
}

/// Tells one search's cursors from another's.
pub(crate) fn mark(owner: &OwnerId, query: &TextQuery) -> u64 {
    let sessions = ListQuery { limit: 1, order: Default::default(), ..query.sessions.clone() };
    listing::mark_of(&(owner, TextQuery { limit: 0, sessions, ..query.clone() }))
}

/// A cursor of another search.
pub(crate) fn foreign_cursor() -> Error {
    Error::invalid("the cursor belongs to another search")
}

impl<'q> Scan<'q> {
    pub(crate) fn new(
        owner: &OwnerId,
        query: &'q TextQuery,
        after: Option<&Cursor>,
    ) -> Result<Self> {
        let limit = query.check()?;
        let mark = mark(owner, query);
        let after = after.map(listing::decode_cursor::<Place>).transpose()?;
        if after.as_ref().is_some_and(|place| place.query != mark) {
            return Err(foreign_cursor());
        }
        Ok(Self { query, limit, mark, after, found: Vec::new() })
    }

    /// Notes a turn if it is found. Its session fits.
    pub(crate) fn look_at(&mut self, key: &SessionKey, text: &TurnText) {
        let query = self.query;
        let in_time = query.from.is_none_or(|from| text.at >= from)
            && query.before.is_none_or(|before| text.at < before);
        if !in_time {
            return;
        }
        let Some((counts, length)) = count(text, query) else { return };
        let hit = TextHit {
            key: key.clone(),
            turn: text.turn,
            at: text.at,
            passages: text.passages.clone(),
        };
        self.found.push(Found { hit, counts, length });
        self.let_go();
    }

    /// Lets go of what comes after all that the page can hold: only so many of the newest count.
    fn let_go(&mut self) {
        let most = match self.query.order {
            TextOrder::Newest => self.limit + 1,
            TextOrder::Relevance => RANKED,
        };
        if self.found.len() < 2 * most {
            return;
        }
        self.leave_out();
        self.found.sort_by_cached_key(|found| order(&found.hit));
        self.found.truncate(most);
    }

    /// Leaves out what the pages before this one hold, or what has come since the first of them.
    fn leave_out(&mut self) {
        let Some(after) = self.after.as_ref().map(Place::order) else { return };
        let ranked = self.query.order == TextOrder::Relevance;
        self.found.retain(|found| match order(&found.hit) {
            order if ranked => order >= after,
            order => order > after,
        });
    }

    /// The page that was asked for.
    pub(crate) fn finish(mut self) -> Result<Page<TextHit>> {
        self.leave_out();
        self.found.sort_by_cached_key(|found| order(&found.hit));
        match self.query.order {
            TextOrder::Newest => self.newest(),
            TextOrder::Relevance => self.most_relevant(),
        }
    }

    fn newest(self) -> Result<Page<TextHit>> {
        let mut hits = self.found.into_iter().map(|found| found.hit);
        let items: Vec<TextHit> = hits.by_ref().take(self.limit).collect();
        let next = match (hits.next(), items.last()) {
            (Some(_), Some(hit)) => Some(listing::encode_cursor(&Place::of(hit, 0, self.mark))?),
            _ => None,
        };
        Ok(Page { items, next })
    }

    fn most_relevant(mut self) -> Result<Page<TextHit>> {
        self.found.truncate(RANKED);
        let Some(newest) = self.found.first().map(|found| Place::of(&found.hit, 0, self.mark))
        else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let scores = scores(&self.found);
        let mut ranked: Vec<(f64, TextHit)> =
            scores.into_iter().zip(self.found.into_iter().map(|found| found.hit)).collect();
        // Of two that are as good the newer one comes first.
        ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let skip = self.after.map_or(0, |place| place.skip);
        let more = ranked.len() > skip + self.limit;
        let items: Vec<TextHit> =
            ranked.into_iter().skip(skip).take(self.limit).map(|(_, hit)| hit).collect();
        let next = more.then(|| Place { skip: skip + items.len(), ..newest });
        let next = next.map(|place| listing::encode_cursor(&place)).transpose()?;
        Ok(Page { items, next })
    }
}

/// Okapi BM25 with its usual constants, over what was found.
fn scores(found: &[Found]) -> Vec<f64> {
    const K: f64 = 1.2;
    const B: f64 = 0.75;
    let total: f64 = found.iter().map(|found| f64::from(found.length)).sum();
    let mean = total / found.len().max(1) as f64;
    let score = |found: &Found| {
        let norm = K * (1.0 - B + B * f64::from(found.length) / mean);
        let of_count = |count: &u32| f64::from(*count) * (K + 1.0) / (f64::from(*count) + norm);
        found.counts.iter().map(of_count).sum()
    };
    found.iter().map(score).collect()
}

/// How often each term is in a turn, and how many tokens it has, if it is found.
fn count(text: &TurnText, query: &TextQuery) -> Option<(Vec<u32>, u32)> {
    let passages: Vec<Vec<_>> = text
        .passages
        .iter()
        .filter(|passage| looked_at(passage, query))
        .map(|passage| tokens(&passage.text).map(|token| token.term).collect())
        .collect();
    let times = |term: &Term| -> u32 { passages.iter().map(|tokens| times_in(term, tokens)).sum() };
    let counts: Vec<u32> = query.all.iter().map(times).collect();
    let fits =
        counts.iter().all(|count| *count > 0) && !query.none.iter().any(|term| times(term) > 0);
    let length = passages.iter().map(|tokens| u32::try_from(tokens.len()).unwrap_or(u32::MAX));
    fits.then(|| (counts, length.fold(0, u32::saturating_add)))
}

/// Whether a search looks at a passage.
pub(crate) fn looked_at(passage: &Passage, query: &TextQuery) -> bool {
    query.role.is_none_or(|role| passage.role == role)
        && query.kind.as_ref().is_none_or(|kind| passage.kind == *kind)
}

/// How often a term begins in a passage.
fn times_in(term: &Term, passage: &[impl AsRef<str>]) -> u32 {
    let Some((last, before)) = term.tokens().split_last() else { return 0 };
    let is_there = |window: &[_]| is_term(term, last, before, window);
    let count = passage.windows(before.len() + 1).filter(|window| is_there(window)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn is_term(term: &Term, last: &str, before: &[String], window: &[impl AsRef<str>]) -> bool {
    let Some((window_last, window_before)) = window.split_last() else { return false };
    let same = before.iter().zip(window_before).all(|(a, b)| a == b.as_ref());
    same && match term.is_prefix() {
        true => window_last.as_ref().starts_with(last),
        false => window_last.as_ref() == last,
    }
}
