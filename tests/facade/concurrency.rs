//! Every executor, the blocking façade and plain threads on one session together.

use std::sync::Arc;

use chatkeep::part::Markdown;
use chatkeep::{ChatStore, FileStorage, MemoryStorage, NewSession, Storage, blocking};

use crate::common::*;
use crate::flaky::{Fault, Flaky};

const EACH: usize = 25;

/// `record` is refused while another one's answer comes in.
async fn add_all(store: ChatStore, who: &'static str) {
    let chat = store.local().open(id("s1")).await.unwrap();
    for number in 0..EACH {
        loop {
            match chat.record(format!("{who} {number}"), [Markdown::new("ok")]).await {
                Ok(_) => break,
                Err(error) if error.kind() == chatkeep::ErrorKind::Busy => {
                    // Others have their turn.
                    let mut yielded = false;
                    std::future::poll_fn(|context| {
                        if std::mem::replace(&mut yielded, true) {
                            return std::task::Poll::Ready(());
                        }
                        context.waker().wake_by_ref();
                        std::task::Poll::Pending
                    })
                    .await;
                }
                Err(error) => panic!("{who}: {error}"),
            }
        }
        chat.set_preference(&format!("{who} {number}"), Some(&number)).await.unwrap();
        if let Ok(mut answer) = chat.ask(format!("asked {who} {number}")).await {
            answer.append_text("streamed ").await.unwrap();
            answer.append_text("text").await.unwrap();
            answer.complete().await.unwrap();
        }
    }
}

fn add_blocking(store: ChatStore, who: &'static str) {
    let chat = blocking::ChatStore::from(store).local().open(id("s1")).unwrap();
    for number in 0..EACH {
        while let Err(error) = chat.record(format!("{who} {number}"), [Markdown::new("ok")]) {
            assert_eq!(error.kind(), chatkeep::ErrorKind::Busy, "{who}");
        }
        chat.set_preference(&format!("{who} {number}"), Some(&number)).unwrap();
    }
}

fn everyone(store: &ChatStore) -> Vec<std::thread::JoinHandle<()>> {
    let start = |run: fn(ChatStore)| {
        let store = store.clone();
        std::thread::spawn(move || run(store))
    };
    vec![
        start(|store| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let one = tokio::spawn(add_all(store.clone(), "current one"));
                let two = tokio::spawn(add_all(store, "current two"));
                one.await.unwrap();
                two.await.unwrap();
            });
        }),
        start(|store| {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
            runtime.block_on(async {
                let one = tokio::spawn(add_all(store.clone(), "multi one"));
                let inside = store.clone();
                // A blocking call from inside a worker.
                let two = tokio::spawn(async move { add_blocking(inside, "multi blocking") });
                one.await.unwrap();
                two.await.unwrap();
            });
        }),
        start(|store| {
            // Nothing but blocking calls within the only worker.
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async { add_blocking(store, "current blocking") });
        }),
        start(|store| smol::block_on(add_all(store, "smol"))),
        start(|store| {
            smol::block_on(async {
                smol::spawn(add_all(store, "smol task")).await;
            });
        }),
        start(|store| add_blocking(store, "thread")),
    ]
}

fn together(storage: Arc<dyn Storage>) {
    let store = block(ChatStore::builder_on(Arc::clone(&storage)).build());
    let chat = block(store.local().create(NewSession::new().id(id("s1"))));
    everyone(&store).into_iter().for_each(|writer| writer.join().unwrap());
    block(chat.load_earlier(10_000));
    let model = chat.model();
    assert_eq!(model.session().preferences.len(), 8 * EACH);
    let mut recorded: Vec<_> = model
        .all_turns()
        .map(|turn| turn.request().text().into_owned())
        .filter(|text| !text.starts_with("asked"))
        .collect();
    recorded.sort();
    recorded.dedup();
    assert_eq!(recorded.len(), 8 * EACH);
    for turn in model.all_turns().filter(|turn| turn.request().text().starts_with("asked")) {
        assert_eq!(turn.response().text(), "streamed text");
        assert!(turn.response().state.is_final());
    }
    let other = block(ChatStore::builder_on(storage).build());
    let seen = block(other.local().open(id("s1")));
    block(seen.load_earlier(10_000));
    assert_eq!(seen.model(), model);
}

#[test]
fn all_executors_and_threads_write_to_one_session() {
    within(LONG, || together(Arc::new(MemoryStorage::new())));
    let dir = tempfile::tempdir().unwrap();
    let storage = block(FileStorage::open(dir.path()));
    within(LONG, move || together(Arc::new(storage)));
}

#[test]
fn the_blocking_facade_works_inside_async_workers() {
    within(LONG, || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = blocking::ChatStore::open(dir.path()).unwrap();
            let me = store.local();
            let mut list = me.subscribe(chatkeep::ListQuery::new());
            let chat = me.create(NewSession::titled("x").id(id("s1"))).unwrap();
            let mut changes = chat.subscribe();
            assert_eq!(changes.try_next(), None);
            let mut answer = chat.ask("why?").unwrap();
            answer.append_text("because").unwrap();
            answer.complete().unwrap();
            let seen = changes.by_ref().take_while(|change| {
                !matches!(change, chatkeep::Change::Response { state, .. } if state.is_final())
            });
            assert!(seen.count() >= 2);
            chat.rename("y").unwrap();
            assert!(list.by_ref().any(|change| {
                matches!(change, chatkeep::ListChange::Updated(head) if head.title() == "y")
            }));
            assert_eq!(changes.next_within(LONG), Some(chatkeep::Change::Session));
            assert_eq!(changes.next_within(std::time::Duration::from_millis(20)), None);
            me.delete(id("s1")).unwrap();
            assert_eq!(changes.last(), Some(chatkeep::Change::Deleted));
            store.flush().unwrap();
        });
    });
}

#[test]
fn a_blocking_call_writes_on_its_own_thread_and_an_async_one_does_not() {
    let own = Some(std::thread::current().id());
    let storage = Flaky::new();
    let store = block(ChatStore::builder(storage.clone()).build());
    let chat = block(store.local().create(NewSession::titled("x")));
    block(chat.rename("async"));
    assert_ne!(storage.writes_on(), own);
    let blocking = blocking::ChatStore::from(store).local().open(chat.id()).unwrap();
    let mut answer = blocking.ask("Why?").unwrap();
    assert_eq!(storage.writes_on(), own);
    answer.append_text("Because.").unwrap();
    answer.complete().unwrap();
    // What goes wrong on it goes wrong as it does elsewhere, and costs one call.
    for fault in [Fault::Down, Fault::PanicBefore] {
        storage.fail(fault, 1);
        assert!(blocking.rename("lost").is_err(), "{fault:?}");
        blocking.rename("kept").unwrap();
        assert_eq!(chat.model().title(), "kept");
    }
}
