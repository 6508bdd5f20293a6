//! Search: what a person types, the turns that are found, and the piece of each that is shown.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use jiff::Timestamp;

use super::core::Core;
use super::owned::OwnedStore;
use crate::error::{ErrorKind, Result};
use crate::id::TurnId;
use crate::storage::{
    Cursor, PassageRole, Progress, SessionHead, SessionKey, TextHit, TextHits, TextQuery,
    unreadable,
};

mod cache;
mod look_through;
mod mistake;
mod parse;
mod query;
mod snippet;
#[cfg(test)]
mod tests;

pub(crate) use self::cache::TextCache;
pub use self::query::Query;
pub use self::snippet::Snippet;

/// A page of what was found.
///
/// # Examples
///
/// ```
/// use chatkeep::{ChatStore, MemoryStorage, NewSession, Query, part::Markdown};
///
/// # pollster::block_on(async {
/// let me = ChatStore::builder(MemoryStorage::new()).build().await?.local();
/// let chat = me.create(NewSession::titled("Parser")).await?;
/// let turn = chat.record("Why does it loop?", [Markdown::new("The sentinel.")]).await?;
/// chat.record("And now?", [Markdown::new("It ends.")]).await?;
///
/// let hits = me.search(Query::parse("sentinel")?).await?;
/// assert_eq!(hits.next, None); // no further page
/// assert_eq!(hits.partial, None); // nothing is missing
/// for hit in hits {
///     assert_eq!(hit.session.title(), "Parser");
///     assert_eq!(hit.turn, turn);
///     assert_eq!(hit.snippet.marked("<", ">"), "The <sentinel>.");
/// }
/// # Ok::<(), chatkeep::Error>(())
/// # })?;
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hits {
    /// The turns, in the order that was asked for.
    pub hits: Vec<Hit>,
    /// Where the next page begins; none after the last one.
    pub next: Option<Cursor>,
    /// How far the storage's index has come, or how many sessions could be read, if not all of
    /// it has been searched: there may be more.
    pub partial: Option<Progress>,
}

/// A turn that was found, or a session by its title.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The session, as it stands now; one whose head cannot be read as lists show it.
    pub session: SessionHead,
    /// Which turn of it; [`TurnId::SESSION`] for the title.
    /// [`ChatSession::load_to`](crate::ChatSession::load_to) opens the chat there.
    pub turn: TurnId,
    /// When the turn was made, or for the title the session.
    pub at: Timestamp,
    /// Whose text the snippet is.
    pub role: PassageRole,
    /// The kind of the part that the snippet is from; `title`, `request`, `attachment` and
    /// `variable` for those, and `error` for why a response failed.
    pub kind: String,
    /// The piece of the turn's text where the words stand.
    pub snippet: Snippet,
}

impl IntoIterator for Hits {
    type Item = Hit;
    type IntoIter = std::vec::IntoIter<Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.into_iter()
    }
}

impl<'a> IntoIterator for &'a Hits {
    type Item = &'a Hit;
    type IntoIter = std::slice::Iter<'a, Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.iter()
    }
}

impl OwnedStore {
    /// Finds turns by what was asked, answered, called and returned, and sessions by their titles;
    /// the newest first.
    ///
    /// A change is found once its call has returned, by other processes within 200 ms; an answer
    /// that is coming in at the latest when it ends. All branches are searched, those that are not
    /// shown included.
    ///
    /// Where the storage has no [full text](crate::storage::FullText) of its own the sessions that
    /// fit are read whole, one after the other, and their texts kept in memory (up to 64 MiB) for
    /// the next search: the same is found, in the same order, more slowly. Sessions that cannot be
    /// read are left out, and [`Hits::partial`] says so.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if there are too many words, or a limit over 1,000;
    /// those of [`Storage::list`](crate::Storage::list) and of
    /// [`FullText::search`](crate::storage::FullText::search).
    pub async fn search(&self, query: Query) -> Result<Hits> {
        self.search_after(query, None).await
    }

    /// The next page of a search: `after` is the last page's [`next`](Hits::next).
    ///
    /// # Errors
    ///
    /// Those of [`search`](Self::search), and [`Invalid`](crate::ErrorKind::Invalid) for the
    /// cursor of another query.
    pub async fn search_after(&self, query: Query, after: Option<Cursor>) -> Result<Hits> {
        let (core, owner) = (Arc::clone(self.core()), self.owner().clone());
        let query = TextQuery::from(query);
        let search = async move {
            let found = match core.storage.full_text() {
                Some(full_text) => full_text.search(&owner, &query, after).await?,
                None => look_through::search(&core, &owner, &query, after.as_ref()).await?,
            };
            hits(&core, &query, found).await
        };
        self.core().run(search).await
    }
}

/// What was found with the heads of the sessions. Those deleted meanwhile are left out.
async fn hits(core: &Core, query: &TextQuery, found: TextHits) -> Result<Hits> {
    let mut heads: HashMap<SessionKey, Option<SessionHead>> = HashMap::new();
    let mut hits = Vec::with_capacity(found.page.items.len());
    for hit in found.page.items {
        let head = match heads.entry(hit.key.clone()) {
            Entry::Occupied(head) => head.into_mut(),
            Entry::Vacant(place) => place.insert(head_of(core, &hit).await?),
        };
        hits.extend(head.as_ref().and_then(|session| hit_of(hit, session, query)));
    }
    Ok(Hits { hits, next: found.page.next, partial: found.partial })
}

/// The session of a hit. One that cannot be read is shown as lists show it, and hides no other.
async fn head_of(core: &Core, hit: &TextHit) -> Result<Option<SessionHead>> {
    let head = match core.storage.head(&hit.key).await {
        Err(error) if is_unreadable(error.kind()) => Some(unreadable(hit.at, &error.to_string())),
        head => head?,
    };
    let key = hit.key.clone();
    Ok(head.map(|head| SessionHead { key, head }))
}

/// Whether it is the session's own fault, and no reason to give the others up.
fn is_unreadable(kind: ErrorKind) -> bool {
    use ErrorKind::{Corrupt, Unsupported, UnsupportedVersion};
    matches!(kind, Corrupt | Unsupported | UnsupportedVersion)
}

fn hit_of(hit: TextHit, session: &SessionHead, query: &TextQuery) -> Option<Hit> {
    let (role, kind, snippet) = snippet::best(&hit.passages, query)?;
    Some(Hit { session: session.clone(), turn: hit.turn, at: hit.at, role, kind, snippet })
}
