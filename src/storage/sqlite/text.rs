//! The full text and the statistics of a storage whose truth is one file.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use rusqlite::Connection;

use super::catalogue::SessionRow;
use super::database::Sync;
use super::engine::Engine;
use super::error::SqliteError;
use super::pending::Left;
use super::{SqliteStorage, catalogue, facts, full_text, read};
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::text::Extracted;
use crate::storage::{
    Cursor, Extract, FullText, OnProgress, Progress, SessionKey, Statistics, StatisticsQuery,
    TextHits, TextQuery, Totals,
};

/// How often a session that changes meanwhile is read again.
const ATTEMPTS: usize = 8;

/// The turns of a database's text are found as soon as the call that wrote them has returned. Where a
/// program with a newer version of Unicode has cut the text into words, what is found is partial.
#[async_trait]
impl FullText for SqliteStorage {
    /// Nobody is ever asked: an append brings its text with it.
    fn attach(&self, _extract: Weak<dyn Extract>) {}

    async fn search(
        &self,
        owner: &OwnerId,
        query: &TextQuery,
        after: Option<Cursor>,
    ) -> Result<TextHits> {
        let (page, is_current) = self.engine.database.read(|connection| {
            let page = full_text::search(connection, owner, query, after.as_ref())?;
            Ok((page, full_text::is_current(connection)?))
        })?;
        let partial = (!is_current).then_some(Progress { done: 0, total: None });
        Ok(TextHits { page, partial })
    }

    async fn rebuild(&self, extract: &dyn Extract, on_progress: OnProgress<'_>) -> Result<()> {
        let keys = self.engine.database.read(catalogue::keys)?;
        let total = Some(keys.len() as u64);
        for (done, key) in (1..).zip(keys) {
            self.rebuild_one(extract, &key).await?;
            on_progress(Progress { done, total });
        }
        Ok(())
    }
}

impl SqliteStorage {
    async fn rebuild_one(&self, extract: &dyn Extract, key: &SessionKey) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let extracted = match extract.extract(key).await {
                Ok(extracted) => extracted,
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => {
                    tracing::warn!(%error, %key, "a session is left out of the full text");
                    return Ok(());
                }
            };
            if self.engine.set_texts(key, &extracted)? {
                return Ok(());
            }
        }
        // Whoever changes it so often gives its texts with each change.
        Ok(())
    }
}

impl Engine {
    /// Sets all that can be searched and counted of a session; false if it has changed since.
    fn set_texts(self: &Arc<Self>, key: &SessionKey, extracted: &Extracted) -> Result<bool> {
        let set = self.database.write(Sync::Normal, |transaction| {
            let (session, head) = match read::existing(transaction, key) {
                Err(SqliteError::Other(error)) if error.is_not_found() => {
                    return Ok(Some(Left::default()));
                }
                found => found?,
            };
            let place = |head: &crate::storage::Head| (head.incarnation, head.revision);
            if place(&head) != place(&extracted.head) {
                return Ok(None);
            }
            replace(transaction, session, extracted).map(Some)
        })?;
        // As whoever appends them does: a store of many sessions would leave all of them to wait.
        Ok(set.map(|left| self.texts_came(left)).is_some())
    }
}

fn replace(
    transaction: &Connection,
    session: SessionRow,
    extracted: &Extracted,
) -> Result<Left, SqliteError> {
    facts::remove_session(transaction, session)?;
    let changed = full_text::set_session(transaction, session, &extracted.texts)?;
    extracted.facts.iter().try_for_each(|facts| facts::put(transaction, session, facts))?;
    Ok(Left::of(changed))
}

#[async_trait]
impl Statistics for SqliteStorage {
    async fn totals(&self, owner: &OwnerId, query: &StatisticsQuery) -> Result<Totals> {
        let totals = |connection: &_| facts::totals(connection, owner, query);
        Ok(self.engine.database.read(totals)?)
    }
}
