//! Search for engines that look at every turn's text.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::convert::Infallible;

use serde::{Deserialize, Serialize};

use super::{RANKED, Term, TextHit, TextOrder, TextQuery, ascii, tokens};
use crate::error::{Error, Result};
use crate::id::{OwnerId, SessionId};
use crate::storage::batch::{Passage, PassageRole, TurnText};
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
    counted: Counted,
}

/// How often each term is in a turn, and how many bytes of text were looked at.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counted {
    times: Vec<u32>,
    length: u64,
}

#[cfg(feature = "sqlite")]
impl Counted {
    /// In a turn of this length that has each of so many terms once.
    pub(crate) fn once(terms: usize, length: u64) -> Self {
        Self { times: vec![1; terms], length }
    }
}

/// Where a page ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The hit after which a page of the newest goes on; of one of the most relevant, the newest
    /// hit that is ranked.
    pub(crate) at: i64,
    id: SessionId,
    turn: u64,
    /// How many of the most relevant were on the pages before.
    pub(crate) skip: usize,
    /// Which search this place belongs to.
    query: u64,
}

/// The order of the newest: by time, session and turn.
pub(crate) type Order = (Reverse<i64>, SessionId, Reverse<u64>);

impl Place {
    pub(crate) fn of(order: &Order, skip: usize, query: u64) -> Self {
        let (Reverse(at), id, Reverse(turn)) = order.clone();
        Self { at, id, turn, skip, query }
    }

    /// Where the page before ended, if it is one of this search's.
    pub(crate) fn after(cursor: &Cursor, query: u64) -> Result<Self> {
        let place: Self = listing::decode_cursor(cursor)?;
        if place.query != query {
            return Err(foreign_cursor());
        }
        Ok(place)
    }

    pub(crate) fn order(&self) -> Order {
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
        let after = after.map(|cursor| Place::after(cursor, mark)).transpose()?;
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
        let passages = text.passages.iter().map(|passage| Ok::<_, Infallible>(passage.into()));
        let Ok(Some(counted)) = count(passages, query) else { return };
        let hit = TextHit {
            key: key.clone(),
            turn: text.turn,
            at: text.at,
            passages: text.passages.clone(),
        };
        self.found.push(Found { hit, counted });
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
            (Some(_), Some(hit)) => {
                Some(listing::encode_cursor(&Place::of(&order(hit), 0, self.mark))?)
            }
            _ => None,
        };
        Ok(Page { items, next })
    }

    fn most_relevant(mut self) -> Result<Page<TextHit>> {
        self.found.truncate(RANKED);
        let Some(newest) =
            self.found.first().map(|found| Place::of(&order(&found.hit), 0, self.mark))
        else {
            return Ok(Page { items: Vec::new(), next: None });
        };
        let counted: Vec<&Counted> = self.found.iter().map(|found| &found.counted).collect();
        let scores = scores(&counted);
        let mut ranked: Vec<(f64, TextHit)> =
            scores.into_iter().zip(self.found.into_iter().map(|found| found.hit)).collect();
        // Of two that are as good the newer one comes first.
        ranked.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let skip = self.after.map_or(0, |place| place.skip);
        let more = ranked.len() > skip.saturating_add(self.limit);
        let items: Vec<TextHit> =
            ranked.into_iter().skip(skip).take(self.limit).map(|(_, hit)| hit).collect();
        let next = more.then(|| Place { skip: skip + items.len(), ..newest });
        let next = next.map(|place| listing::encode_cursor(&place)).transpose()?;
        Ok(Page { items, next })
    }
}

/// Okapi BM25 with its usual constants, over what was found. A turn is as long as its text: that
/// is known without counting its words, of which there are thousands of turns.
pub(crate) fn scores(found: &[&Counted]) -> Vec<f64> {
    const K: f64 = 1.2;
    const B: f64 = 0.75;
    let total: f64 = found.iter().map(|found| found.length as f64).sum();
    let mean = total / found.len().max(1) as f64;
    let score = |found: &&Counted| {
        let norm = K * (1.0 - B + B * found.length as f64 / mean);
        let of_count = |count: &u32| f64::from(*count) * (K + 1.0) / (f64::from(*count) + norm);
        found.times.iter().map(of_count).sum()
    };
    found.iter().map(score).collect()
}

/// How often each term is in a turn, and how long it is, if it is found.
pub(crate) fn count<'t, E>(
    passages: impl IntoIterator<Item = Result<Looked<'t>, E>>,
    query: &TextQuery,
) -> Result<Option<Counted>, E> {
    let mut counted = Counted { times: vec![0; query.all.len()], length: 0 };
    let mut unwanted = false;
    for passage in passages {
        let passage = passage?;
        if !looked_at(passage, query) {
            continue;
        }
        counted.length += passage.text.len() as u64;
        let words = Words::of(passage.text);
        for (times, term) in counted.times.iter_mut().zip(&query.all) {
            *times = times.saturating_add(words.times(term));
        }
        unwanted |= query.none.iter().any(|term| words.times(term) > 0);
    }
    let is_hit = !unwanted && counted.times.iter().all(|times| *times > 0);
    Ok(is_hit.then_some(counted))
}

/// What is looked at of a passage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked<'t> {
    pub(crate) role: PassageRole,
    pub(crate) kind: &'t str,
    pub(crate) text: &'t str,
}

impl<'t> From<&'t Passage> for Looked<'t> {
    fn from(passage: &'t Passage) -> Self {
        Self { role: passage.role, kind: &passage.kind, text: &passage.text }
    }
}

fn saturated(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A text's tokens. Those of a text of ASCII alone are its runs of letters and digits: they are
/// counted where they stand, many times faster, since thousands of turns are ranked for one page.
enum Words<'t> {
    Ascii(&'t [u8]),
    Any(Vec<Cow<'t, str>>),
}

impl<'t> Words<'t> {
    fn of(text: &'t str) -> Self {
        match text.is_ascii() {
            true => Self::Ascii(text.as_bytes()),
            false => Self::Any(tokens(text).map(|token| token.term).collect()),
        }
    }

    /// How often a term begins here.
    fn times(&self, term: &Term) -> u32 {
        let Some((last, before)) = term.tokens().split_last() else { return 0 };
        saturated(match self {
            Self::Ascii(text) => ascii::times(text, term),
            Self::Any(words) => {
                let windows = words.windows(before.len() + 1);
                windows.filter(|window| is_term(term, last, before, window)).count()
            }
        })
    }
}

/// Whether a search looks at a passage.
pub(crate) fn looked_at<'t>(passage: impl Into<Looked<'t>>, query: &TextQuery) -> bool {
    let passage = passage.into();
    query.role.is_none_or(|role| passage.role == role)
        && query.kind.as_ref().is_none_or(|kind| passage.kind == *kind)
}

fn is_term(term: &Term, last: &str, before: &[String], window: &[Cow<'_, str>]) -> bool {
    let Some((window_last, window_before)) = window.split_last() else { return false };
    let is_last = match term.is_prefix() {
        true => window_last.starts_with(last),
        false => window_last == last,
    };
    is_last && before == window_before
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ascii_is_counted_as_its_tokens_are(
            text in "([aAbB1]{1,3}|[ _.\0-]{1,2}|a{60,70}){0,12}",
            term in "[aAb1]{1,2}( [ab]{1,2}){0,2}|a{60,70}( b)?",
            is_prefix: bool,
        ) {
            let term = if is_prefix { Term::prefix(&term) } else { Term::new(&term) }.unwrap();
            let counted = Words::of(&text);
            let cut = Words::Any(tokens(&text).map(|token| token.term).collect());
            prop_assert_eq!(counted.times(&term), cut.times(&term));
        }
    }
}
