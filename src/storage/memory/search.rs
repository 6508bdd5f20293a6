//! Full text by looking at every turn's words.

use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::MemoryStorage;
use crate::error::{Error, Result};
use crate::id::{OwnerId, SessionId};
use crate::storage::{
    Cursor, Extract, FullText, Page, Passage, Term, TextHit, TextHits, TextQuery, TurnText, listing,
};

const DEFAULT_LIMIT: usize = 50;

#[async_trait]
impl FullText for MemoryStorage {
    async fn search(
        &self,
        owner: &OwnerId,
        query: &TextQuery,
        after: Option<Cursor>,
    ) -> Result<TextHits> {
        let limit = limit(query)?;
        let mark = mark(owner, query);
        let after = after.as_ref().map(listing::decode_cursor::<Place>).transpose()?;
        if after.as_ref().is_some_and(|place| place.query != mark) {
            return Err(Error::invalid("the cursor belongs to another search"));
        }
        let mut hits = self.hits(owner, query);
        hits.sort_by_cached_key(order);
        let rest = hits
            .into_iter()
            .filter(|hit| after.as_ref().is_none_or(|place| order(hit) > place.order()));
        Ok(TextHits { page: page(rest, limit, mark)?, partial: false })
    }

    async fn rebuild(&self, extract: &dyn Extract) -> Result<()> {
        let keys: Vec<_> = self.state().sessions.keys().cloned().collect();
        for key in keys {
            let (texts, facts) = match extract.extract(&key).await {
                Ok(extracted) => extracted,
                // Deleted since the keys were collected.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            if let Some(session) = self.state().sessions.get_mut(&key) {
                session.texts = texts.into_iter().map(|text| (text.turn, text)).collect();
                session.facts = facts.into_iter().map(|facts| (facts.turn, facts)).collect();
            }
        }
        Ok(())
    }
}

impl MemoryStorage {
    fn hits(&self, owner: &OwnerId, query: &TextQuery) -> Vec<TextHit> {
        let state = self.state();
        state
            .sessions_of(owner)
            .flat_map(|(key, session)| session.texts.values().map(move |text| (key, text)))
            .filter(|(_, text)| fits(text, query))
            .map(|(key, text)| TextHit { key: key.clone(), turn: text.turn, at: text.at })
            .collect()
    }
}

fn limit(query: &TextQuery) -> Result<usize> {
    match query.limit {
        0 => Ok(DEFAULT_LIMIT),
        limit if limit <= listing::MAX_LIMIT => Ok(limit),
        limit => Err(Error::invalid(format!(
            "a search's limit is {limit}, it must be at most {}",
            listing::MAX_LIMIT
        ))),
    }
}

/// A hit's place in the results.
#[derive(Serialize, Deserialize)]
struct Place {
    at: i64,
    id: SessionId,
    turn: u64,
    /// Which search this place belongs to.
    query: u64,
}

type Order = (Reverse<i64>, SessionId, Reverse<u64>);

impl Place {
    fn order(&self) -> Order {
        (Reverse(self.at), self.id.clone(), Reverse(self.turn))
    }
}

fn order(hit: &TextHit) -> Order {
    (Reverse(hit.at.as_millisecond()), hit.key.id.clone(), Reverse(hit.turn.get()))
}

fn mark(owner: &OwnerId, query: &TextQuery) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{owner:?} {:?}", TextQuery { limit: 0, ..query.clone() }).hash(&mut hasher);
    hasher.finish()
}

fn page(
    mut hits: impl Iterator<Item = TextHit>,
    limit: usize,
    query: u64,
) -> Result<Page<TextHit>> {
    let items: Vec<TextHit> = hits.by_ref().take(limit).collect();
    let next = match (hits.next(), items.last()) {
        (Some(_), Some(hit)) => Some(listing::encode_cursor(&Place {
            at: hit.at.as_millisecond(),
            id: hit.key.id.clone(),
            turn: hit.turn.get(),
            query,
        })?),
        _ => None,
    };
    Ok(Page { items, next })
}

/// Whether a turn is found: looking only at passages of the role and kind asked for.
fn fits(text: &TurnText, query: &TextQuery) -> bool {
    let passages: Vec<Vec<String>> = text
        .passages
        .iter()
        .filter(|passage| looked_at(passage, query))
        .map(|passage| words(&passage.text))
        .collect();
    let contains = |term: &Term| passages.iter().any(|words| is_in(term, words));
    !passages.is_empty()
        && query.from.is_none_or(|from| text.at >= from)
        && query.before.is_none_or(|before| text.at < before)
        && query.all.iter().all(contains)
        && !query.none.iter().any(contains)
}

fn looked_at(passage: &Passage, query: &TextQuery) -> bool {
    query.role.is_none_or(|role| passage.role == role)
        && query.kind.as_ref().is_none_or(|kind| passage.kind == *kind)
}

/// The words of a text: runs of letters and digits, in lower case.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// Whether a passage's words contain a term. A term that is several words is a phrase of them.
fn is_in(term: &Term, passage: &[String]) -> bool {
    let (wanted, prefix) = match term {
        Term::Word(word) => (words(word), false),
        Term::Prefix(word) => (words(word), true),
        Term::Phrase(phrase) => (phrase.iter().flat_map(|word| words(word)).collect(), false),
    };
    let Some((last, before)) = wanted.split_last() else { return false };
    passage.windows(wanted.len()).any(|window| {
        window[..before.len()] == *before
            && if prefix {
                window[before.len()].starts_with(last.as_str())
            } else {
                window[before.len()] == *last
            }
    })
}
