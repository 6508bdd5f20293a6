//! Lists, by looking through an owner's heads.

use jiff::Timestamp;

use super::engine::Order;
use super::head::StoredHead;
use super::{KeyValue, KeyValueStorage, keys};
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::{Cursor, ListQuery, Page, SessionHead, listing};

impl<K: KeyValue> KeyValueStorage<K> {
    pub(super) async fn heads_of(&self, owner: &OwnerId) -> Result<Vec<SessionHead>> {
        let heads = self.all(keys::heads(owner)).await?;
        heads
            .iter()
            .map(|(key, head)| {
                let key = keys::session_of_head(key)?;
                // A damaged head must not hide the others.
                let head = StoredHead::decode(&key, head).map_or_else(
                    |error| listing::unreadable(Timestamp::UNIX_EPOCH, error.message()),
                    |stored| stored.to_head(),
                );
                Ok(SessionHead { key, head })
            })
            .collect()
    }

    pub(super) async fn page_of_sessions(
        &self,
        owner: &OwnerId,
        query: &ListQuery,
        after: Option<&Cursor>,
    ) -> Result<Page<SessionHead>> {
        listing::check(query)?;
        listing::page(self.heads_of(owner).await?, query, after)
    }

    pub(super) async fn count_sessions(&self, owner: &OwnerId, query: &ListQuery) -> Result<u64> {
        listing::check_conditions(query)?;
        let heads = self.heads_of(owner).await?;
        Ok(heads.iter().filter(|session| listing::fits(session, query)).count() as u64)
    }

    /// One read per owner: it steps from each to the next without reading their heads.
    pub(super) async fn page_of_owners(&self, after: Option<&Cursor>) -> Result<Page<OwnerId>> {
        let mut last = after.map(listing::decode_cursor::<OwnerId>).transpose()?;
        let mut owners = Vec::new();
        // One more than a page holds shows whether there is a next one.
        while owners.len() <= listing::MAX_LIMIT {
            let range = keys::heads_after(last.as_ref());
            let next = self.scan(range, 1, Order::Ascending).await?;
            let Some((key, _)) = next.first() else { break };
            let owner = keys::session_of_head(key)?.owner;
            owners.push(owner.clone());
            last = Some(owner);
        }
        listing::page_of_names(owners, None)
    }
}
