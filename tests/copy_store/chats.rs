//! Chats that were copied are chats: opened, searched, counted, gone on with.

use chatkeep::part::Markdown;
use chatkeep::storage::{StatisticsQuery, copy_store};
use chatkeep::{ChatStore, MemoryStorage, NewSession, Query, ResponseState};
use pollster::block_on;

use crate::common::*;

async fn store(place: &Place) -> ChatStore {
    ChatStore::builder_on(std::sync::Arc::clone(&place.storage)).build().await.unwrap()
}

fn query() -> Query {
    Query::parse("sentinel").unwrap().limit(100)
}

#[test]
fn a_store_of_chats_is_moved_with_what_is_found_and_counted_in_it() {
    block_on(async {
        let (old, new) = (files(), memory());
        let store = store(&old).await;
        let me = store.local();
        let chat = me.create(NewSession::titled("Parser")).await.unwrap();
        for n in 0..40 {
            let answer = Markdown::new(format!("The sentinel {n}."));
            chat.record(format!("Why {n}?"), [answer]).await.unwrap();
        }
        let mut streaming = chat.ask("And now?").await.unwrap();
        streaming.append_text("It is the sentinel, ").await.unwrap();

        let report = store.copy_to(&*new.storage).await.unwrap();
        assert!(report.is_complete() && report.without_text.is_empty(), "{report}");
        let moved = self::store(&new).await.local();
        let hits = moved.search(query()).await.unwrap();
        assert_eq!(hits.hits.len(), 41, "what was streamed as well");
        let totals = moved.totals(StatisticsQuery::default()).await.unwrap();
        assert_eq!((totals.sessions, totals.turns), (1, 41));

        // Nobody writes the answer there: it is ended at once, not after the claim's half minute.
        let copied = moved.open(chat.id()).await.unwrap();
        let last = copied.model().last_state().unwrap();
        assert_eq!(last, ResponseState::Interrupted);
        copied.record("Go on", [Markdown::new("Gladly.")]).await.unwrap();
        streaming.append_text("still.").await.unwrap();
        streaming.complete().await.unwrap();
    });
}

#[test]
fn chats_that_were_copied_without_their_text_can_be_opened_all_the_same() {
    block_on(async {
        let (old, new) = (MemoryStorage::new(), memory());
        let store = ChatStore::builder(old.clone()).build().await.unwrap();
        let chat = store.local().create(NewSession::titled("Parser")).await.unwrap();
        chat.record("Why?", [Markdown::new("The sentinel.")]).await.unwrap();
        assert!(copy_store(&old, &*new.storage).await.unwrap().is_complete());
        let store = self::store(&new).await;
        let moved = store.local();
        assert_eq!(moved.search(query()).await.unwrap().hits.len(), 0);
        assert_eq!(moved.open(chat.id()).await.unwrap().model().turns().len(), 1);
        let told = std::sync::Mutex::new(Vec::new());
        store.rebuild_index(&|progress| told.lock().unwrap().push(progress.done)).await.unwrap();
        assert_eq!(moved.search(query()).await.unwrap().hits.len(), 1);
        assert_eq!(*told.lock().unwrap(), [1]);
    });
}
