//! Lists from the index, with what this process has not written to it yet.

use std::collections::HashMap;

use rusqlite::Connection;

use super::rows::{self, Row};
use super::{Index, Shared};
use crate::error::{ErrorKind, Result};
use crate::id::OwnerId;
use crate::storage::file::engine::lock;
use crate::storage::listing::{self, MAX_LIMIT};
use crate::storage::sqlite::SqliteError;
use crate::storage::sqlite::catalogue;
use crate::storage::{Cursor, Head, Incarnation, ListQuery, Page, SessionHead, SessionKey};

/// With more changed sessions than this the index is brought up to date first.
const MOST_CHANGED: usize = 200;

/// Sessions whose deletion was interrupted, each with the life that was deleted.
pub(in crate::storage::file) type Hidden = HashMap<SessionKey, Incarnation>;

/// An owner's sessions of which the index may not know all.
#[derive(Debug, Default)]
struct Overlay {
    sessions: HashMap<SessionKey, Over>,
}

#[derive(Debug, Default)]
struct Over {
    /// Where it stands, as this process wrote it.
    own: Option<Head>,
    /// The life that is being deleted.
    deleted: Option<Incarnation>,
}

/// A session as the index has it, and as it is.
type Covered = (Option<SessionHead>, Option<SessionHead>);

impl Index {
    /// A page of a list; none if the index cannot give it now.
    pub(in crate::storage::file) fn list(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<&Cursor>,
        hidden: &Hidden,
    ) -> Result<Option<Page<SessionHead>>> {
        self.ask(|shared| {
            let overlay = shared.overlay(owner, hidden);
            shared.answer(|connection| shared.page(connection, owner, query, after, &overlay))
        })
    }

    /// How many sessions fit a query; none if the index cannot say now.
    pub(in crate::storage::file) fn count(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        hidden: &Hidden,
    ) -> Result<Option<u64>> {
        self.ask(|shared| {
            let overlay = shared.overlay(owner, hidden);
            shared.answer(|connection| shared.count(connection, owner, query, &overlay))
        })
    }

    /// A page of those who have a session; none if the index cannot say now.
    pub(in crate::storage::file) fn owners(
        &self,
        after: Option<&Cursor>,
    ) -> Result<Option<Page<OwnerId>>> {
        self.ask(|shared| shared.answer(|connection| catalogue::owners(connection, after)))
    }

    /// What the index holds of an owner's sessions, whether it is to be trusted or not.
    pub(in crate::storage::file) fn rows(&self, owner: &OwnerId) -> Result<HashMap<String, Row>> {
        let generation = self.shared.present()?;
        let found = generation.database.read(|connection| rows::of_owner(connection, owner));
        self.shared.checked(&generation, found)
    }

    /// Asks the index unless it is not to be trusted, and sees to it that it is verified now and
    /// then.
    fn ask<T>(&self, question: impl FnOnce(&Shared) -> Result<Option<T>>) -> Result<Option<T>> {
        let shared = &self.shared;
        let answer = match shared.is_believed() {
            true => question(shared),
            false => Ok(None),
        };
        self.verify_later();
        match answer {
            Err(error) if error.kind() != ErrorKind::Invalid => {
                shared.distrust(&error);
                Ok(None)
            }
            answer => answer,
        }
    }
}

impl Shared {
    /// Asks the index if all logs have come in.
    pub(super) fn answer<T>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, SqliteError>,
    ) -> Result<Option<T>> {
        let generation = self.present()?;
        let answer = generation.database.read(|connection| {
            let complete = rows::is_complete(connection)?;
            complete.then(|| question(connection)).transpose()
        });
        self.checked(&generation, answer)
    }

    /// What waits is looked at before the database is: what is written in between is in it then.
    fn overlay(&self, owner: &OwnerId, hidden: &Hidden) -> Overlay {
        let mut changed = lock(&self.dirty).heads(owner);
        if changed.len() > MOST_CHANGED {
            self.flush(None);
            changed = lock(&self.dirty).heads(owner);
        }
        let mut sessions: HashMap<SessionKey, Over> = HashMap::new();
        for (key, head) in changed {
            sessions.entry(key).or_default().own = Some(head);
        }
        for (key, deleted) in hidden.iter().filter(|(key, _)| key.owner == *owner) {
            sessions.entry(key.clone()).or_default().deleted = Some(*deleted);
        }
        Overlay { sessions }
    }

    fn page(
        &self,
        connection: &Connection,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<&Cursor>,
        overlay: &Overlay,
    ) -> Result<Page<SessionHead>, SqliteError> {
        let over = &overlay.sessions;
        if over.is_empty() {
            return catalogue::sound_page(connection, owner, query, after);
        }
        listing::check(query)?;
        let limit = (query.limit + over.len()).min(MAX_LIMIT);
        let larger = ListQuery { limit, ..query.clone() };
        let mut found: Vec<SessionHead> = Vec::new();
        let mut next = after.cloned();
        loop {
            let page = catalogue::sound_page(connection, owner, &larger, next.as_ref())?;
            found.extend(page.items.into_iter().filter(|one| !over.contains_key(&one.key)));
            next = page.next;
            // One more than is asked for says that there is another page.
            if next.is_none() || found.len() > query.limit {
                break;
            }
        }
        found.extend(self.covered(connection, overlay)?.into_iter().filter_map(|(_, now)| now));
        Ok(listing::page(found, query, after)?)
    }

    fn count(
        &self,
        connection: &Connection,
        owner: &OwnerId,
        query: &ListQuery,
        overlay: &Overlay,
    ) -> Result<u64, SqliteError> {
        let mut count = catalogue::count(connection, owner, query)?;
        let fits = |session: &Option<SessionHead>| {
            u64::from(session.as_ref().is_some_and(|session| listing::fits(session, query)))
        };
        for (indexed, now) in self.covered(connection, overlay)? {
            count = (count + fits(&now)).saturating_sub(fits(&indexed));
        }
        Ok(count)
    }

    /// The sessions that an overlay covers.
    fn covered(
        &self,
        connection: &Connection,
        overlay: &Overlay,
    ) -> Result<Vec<Covered>, SqliteError> {
        let mut covered = Vec::with_capacity(overlay.sessions.len());
        for (key, over) in &overlay.sessions {
            let indexed = catalogue::get(connection, key)?.map(|(_, head)| head);
            let now = match (&indexed, &over.own) {
                (Some(indexed), Some(own)) if rows::order(indexed) > rows::order(own) => {
                    Some(indexed)
                }
                (Some(_), Some(own)) => Some(own),
                // It was deleted; or it never came in, and its log is there.
                (None, Some(own)) => self.is_there(key)?.then_some(own),
                (indexed, None) => indexed.as_ref(),
            };
            let lives = |head: &&Head| over.deleted.is_none_or(|gone| head.incarnation > gone);
            let with = |head: &Head| SessionHead { key: key.clone(), head: head.clone() };
            let now = now.filter(lives).map(with);
            covered.push((indexed.as_ref().map(with), now));
        }
        Ok(covered)
    }

    fn is_there(&self, key: &SessionKey) -> Result<bool> {
        Ok(self.disk.metadata(&self.layout.log(key))?.is_some())
    }
}
