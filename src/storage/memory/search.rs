//! Full text by looking at every turn's words.

use std::sync::Weak;

use async_trait::async_trait;

use super::MemoryStorage;
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::text::scan::Scan;
use crate::storage::{
    Cursor, Extract, FullText, OnProgress, Progress, SessionHead, TextHits, TextQuery, listing,
};

#[async_trait]
impl FullText for MemoryStorage {
    /// Nothing here is ever out of date.
    fn attach(&self, _extract: Weak<dyn Extract>) {}

    async fn search(
        &self,
        owner: &OwnerId,
        query: &TextQuery,
        after: Option<Cursor>,
    ) -> Result<TextHits> {
        let mut scan = Scan::new(owner, query, after.as_ref())?;
        let state = self.state();
        for (key, session) in state.sessions_of(owner) {
            let head = SessionHead { key: key.clone(), head: session.head.clone() };
            if listing::fits(&head, &query.sessions) {
                session.texts.values().for_each(|text| scan.look_at(key, text));
            }
        }
        Ok(TextHits { page: scan.finish()?, partial: None })
    }

    async fn rebuild(&self, extract: &dyn Extract, on_progress: OnProgress<'_>) -> Result<()> {
        let keys: Vec<_> = self.state().sessions.keys().cloned().collect();
        let total = Some(keys.len() as u64);
        for (done, key) in (1..).zip(keys) {
            let extracted = match extract.extract(&key).await {
                Ok(extracted) => extracted,
                // Deleted since the keys were collected.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            if let Some(session) = self.state().sessions.get_mut(&key) {
                let (texts, facts) = (extracted.texts, extracted.facts);
                session.texts = texts.into_iter().map(|text| (text.turn, text)).collect();
                session.facts = facts.into_iter().map(|facts| (facts.turn, facts)).collect();
            }
            on_progress(Progress { done, total });
        }
        Ok(())
    }
}
