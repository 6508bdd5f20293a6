//! Full text by looking at every turn's words.

use std::sync::Weak;

use async_trait::async_trait;

use super::MemoryStorage;
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::text::scan::Scan;
use crate::storage::{
    Cursor, Extract, FullText, Head, OnProgress, Progress, SessionHead, SessionKey, TextHits,
    TextQuery, listing,
};

/// How often a session that changes meanwhile is read again.
const ATTEMPTS: usize = 8;

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
            self.rebuild_one(extract, &key).await;
            on_progress(Progress { done, total });
        }
        Ok(())
    }
}

impl MemoryStorage {
    async fn rebuild_one(&self, extract: &dyn Extract, key: &SessionKey) {
        for _ in 0..ATTEMPTS {
            let extracted = match extract.extract(key).await {
                Ok(extracted) => extracted,
                // Deleted since the keys were collected.
                Err(error) if error.is_not_found() => return,
                Err(error) => {
                    tracing::warn!(%error, %key, "a session is left out of the full text");
                    return;
                }
            };
            let mut state = self.state();
            let Some(session) = state.sessions.get_mut(key) else { return };
            let place = |head: &Head| (head.incarnation, head.revision);
            // Otherwise it has gone on since it was read.
            if place(&session.head) == place(&extracted.head) {
                let (texts, facts) = (extracted.texts, extracted.facts);
                session.texts = texts.into_iter().map(|text| (text.turn, text)).collect();
                session.facts = facts.into_iter().map(|facts| (facts.turn, facts)).collect();
                return;
            }
        }
        // Whoever changes it so often gives its texts with each change.
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::error::Error;
    use crate::id::{SessionId, TurnId};
    use crate::storage::{
        Batch, BatchId, Body, Durability, Expected, Extracted, HeadFields, Passage, PassageRole,
        Record, Revision, Storage as _, Term, TurnText,
    };
    use pollster::block_on as wait;

    fn key(id: &str) -> SessionKey {
        SessionKey::new(OwnerId::local(), SessionId::new(id).unwrap())
    }

    fn text(text: &str) -> TurnText {
        let (role, kind) = (PassageRole::User, "request".to_owned());
        let passages = vec![Passage { role, kind, text: text.to_owned() }];
        TurnText { turn: TurnId::new(1), at: Timestamp::UNIX_EPOCH, passages }
    }

    /// Adds a record; the first turn says this from then on.
    fn say(storage: &MemoryStorage, key: &SessionKey, said: &str) {
        let head = wait(storage.head(key)).unwrap();
        let after = head.as_ref().map_or(Revision::ZERO, |head| head.revision);
        let expected = head.map_or(Expected::New, |head| Expected::At {
            incarnation: head.incarnation,
            revision: head.revision,
        });
        let batch = BatchId::new(after.get());
        let record = Record {
            revision: after.next(),
            turn: TurnId::new(1),
            kind: Record::REQUEST.into(),
            at: Timestamp::UNIX_EPOCH,
            batch,
            body: Body::Json("1".into()),
        };
        let batch = Batch {
            id: batch,
            records: vec![record],
            base: Revision::ZERO,
            head: Some(HeadFields::new(Timestamp::UNIX_EPOCH)),
            epoch: None,
            texts: vec![text(said)],
            facts: Vec::new(),
            durability: Durability::Buffered,
        };
        wait(storage.append(key, expected, batch)).unwrap();
    }

    fn finds(storage: &MemoryStorage, word: &str) -> bool {
        let query = TextQuery::new(vec![Term::new(word).unwrap()]);
        let found = wait(storage.full_text().unwrap().search(&OwnerId::local(), &query, None));
        !found.unwrap().page.items.is_empty()
    }

    /// Cannot read `a`. Of any other session it reads what was said as of its revision; after it
    /// has first read one, that one goes on.
    #[derive(Debug)]
    struct Reader(MemoryStorage);

    #[async_trait]
    impl Extract for Reader {
        async fn extract(&self, key: &SessionKey) -> Result<Extracted> {
            let head = self.0.head(key).await?.ok_or_else(|| Error::not_found("no session"))?;
            if key.id.as_str() == "a" {
                return Err(Error::corrupt("unreadable"));
            }
            let said = if head.revision.get() == 1 { "older" } else { "newer" };
            if head.revision.get() == 1 {
                say(&self.0, key, "newer");
            }
            Ok(Extracted { head, texts: vec![text(said)], facts: Vec::new() })
        }
    }

    #[test]
    fn a_rebuild_replaces_no_newer_text_and_leaves_out_what_cannot_be_read() {
        let storage = MemoryStorage::new();
        for id in ["a", "b"] {
            say(&storage, &key(id), "first");
        }
        let seen = std::sync::Mutex::new(Vec::new());
        let told = |progress: Progress| seen.lock().unwrap().push(progress.done);
        let reader = Reader(storage.clone());
        let rebuilt = storage.full_text().unwrap().rebuild(&reader, &told);
        assert_eq!(wait(rebuilt), Ok(()));
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        assert!(finds(&storage, "newer") && !finds(&storage, "older"));
    }
}
