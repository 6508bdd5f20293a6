//! Chats that were copied are chats: opened, searched, counted, gone on with.

use std::sync::atomic::{AtomicI64, Ordering};

use chatkeep::model::Workspace;
use chatkeep::part::Markdown;
use chatkeep::storage::{CopyReport, StatisticsQuery, copy_store};
use chatkeep::{ChatStore, MemoryStorage, NewSession, Query, ResponseState, WorkspaceId};
use pollster::block_on;

use crate::common::*;
use crate::limited::{Call, End, Limited};

async fn store(place: &Place) -> ChatStore {
    ChatStore::builder_on(std::sync::Arc::clone(&place.storage)).build().await.unwrap()
}

async fn hits(store: &ChatStore) -> usize {
    let query = Query::parse("sentinel").unwrap().limit(100);
    store.local().search(query).await.unwrap().hits.len()
}

/// How many turns are counted; nothing where nothing is.
async fn turns(store: &ChatStore) -> Option<u64> {
    store.storage().statistics()?;
    Some(store.local().totals(StatisticsQuery::default()).await.unwrap().turns)
}

#[test]
fn a_store_of_chats_is_moved_with_what_is_found_and_counted_in_it() {
    for place in searched() {
        block_on(move_chats(&files(), &place()));
        block_on(move_chats(&place(), &memory()));
    }
}

async fn move_chats(old: &Place, new: &Place) {
    let names = format!("{} to {}", old.name, new.name);
    let store = store(old).await;
    let me = store.local();
    let chat = me.create(NewSession::titled("Parser")).await.unwrap();
    for n in 0..40 {
        let answer = Markdown::new(format!("The sentinel {n}."));
        chat.record(format!("Why {n}?"), [answer]).await.unwrap();
    }
    let mut streaming = chat.ask("And now?").await.unwrap();
    streaming.append_text("It is the sentinel, ").await.unwrap();

    let report = store.copy_to(&*new.storage).await.unwrap();
    assert!(report.is_complete() && report.without_text.is_empty(), "{names}: {report}");
    let moved = self::store(new).await;
    assert_eq!(hits(&moved).await, 41, "{names}: what was streamed as well");
    assert_eq!(turns(&moved).await.unwrap_or(41), 41, "{names}");

    // Nobody writes the answer there: it is ended at once, not after the claim's half minute.
    let copied = moved.local().open(chat.id()).await.unwrap();
    let last = copied.model().last_state().unwrap();
    assert_eq!(last, ResponseState::Interrupted, "{names}");
    copied.record("Go on", [Markdown::new("Gladly.")]).await.unwrap();
    streaming.append_text("still.").await.unwrap();
    streaming.complete().await.unwrap();
}

#[test]
fn chats_that_were_copied_without_their_text_can_be_opened_all_the_same() {
    for make_new in searched() {
        block_on(async {
            let (old, new) = (MemoryStorage::new(), make_new());
            let store = ChatStore::builder(old.clone()).build().await.unwrap();
            let chat = store.local().create(NewSession::titled("Parser")).await.unwrap();
            chat.record("Why?", [Markdown::new("The sentinel.")]).await.unwrap();
            assert!(copy_store(&old, &*new.storage).await.unwrap().is_complete());
            let store = self::store(&new).await;
            assert_eq!(hits(&store).await, 0, "{}", new.name);
            let copied = store.local().open(chat.id()).await.unwrap();
            assert_eq!(copied.model().turns().len(), 1, "{}", new.name);
            let told = std::sync::Mutex::new(Vec::new());
            store.rebuild_index(&|p| told.lock().unwrap().push(p.done)).await.unwrap();
            assert_eq!(hits(&store).await, 1, "{}", new.name);
            assert_eq!(told.lock().unwrap().last(), Some(&1), "{}", new.name);
        });
    }
}

/// Another question is asked after the log was read and before its text is, so many times.
async fn copied_while_asked(new: &Place, times: i64) -> CopyReport {
    let store = store(&memory()).await;
    let chat = store.local().create(NewSession::titled("Parser")).await.unwrap();
    chat.record("Why?", [Markdown::new("The sentinel.")]).await.unwrap();
    let (asked, left) = (chat.clone(), AtomicI64::new(times));
    let meddling = Limited::new(&new.storage, i64::MAX, End::Before).before(move |call| {
        if call == Call::Read && left.fetch_sub(1, Ordering::SeqCst) > 0 {
            block_on(asked.record("And?", [Markdown::new("The sentinel.")])).unwrap();
        }
    });
    let report = store.copy_to(&meddling).await.unwrap();
    assert!(report.is_complete(), "{}: {:#?}", new.name, report.failed);
    let moved = self::store(new).await;
    let copied = moved.local().open(chat.id()).await.unwrap().model().turns().len();
    let found = if report.without_text.is_empty() { copied } else { 0 };
    assert_eq!(hits(&moved).await, found, "{}: {times}", new.name);
    assert_eq!(turns(&moved).await.unwrap_or(found as u64), found as u64, "{}", new.name);

    // Once it does not go on any more all of it is there.
    assert!(store.copy_to(&*new.storage).await.unwrap().without_text.is_empty());
    let all = chat.model().turns().len();
    assert_eq!(hits(&moved).await, all, "{}: {times}", new.name);
    assert_eq!(turns(&moved).await.unwrap_or(all as u64), all as u64, "{}", new.name);
    report
}

#[test]
fn nothing_is_found_or_counted_of_turns_that_were_not_copied() {
    for place in searched() {
        for (times, without_text) in [(1, 0), (2, 0), (i64::MAX, 1)] {
            let report = block_on(copied_while_asked(&place(), times));
            assert_eq!(report.without_text.len(), without_text, "{times}");
        }
    }
}

/// As it is recommended: once while the source is in use, and again when nobody uses it any more.
#[test]
fn what_was_open_when_the_source_was_last_used_is_open_in_the_target() {
    for place in all() {
        block_on(async {
            let (old, new) = (memory(), place());
            let old = store(&old).await;
            let workspace = || Workspace::new(WorkspaceId::new("w").unwrap());
            for title in ["a", "b"] {
                let chat = NewSession::titled(title).workspace(workspace());
                old.local().create(chat).await.unwrap();
                let report = old.copy_to(&*new.storage).await.unwrap();
                assert!(report.is_complete(), "{}: {:#?}", new.name, report.failed);
            }
            let resumed = store(&new).await.local().resume(workspace().id).await.unwrap();
            let titles = resumed.chats.iter().map(|chat| chat.model().title().to_owned());
            assert_eq!(titles.collect::<Vec<_>>(), ["a", "b"], "{}", new.name);
        });
    }
}
