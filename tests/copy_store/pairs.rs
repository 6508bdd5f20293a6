//! From every storage to every other.

use std::sync::Mutex;

use chatkeep::storage::{CopyProgress, Storage, copy_store};
use pollster::block_on;

use crate::common::*;

#[test]
fn everything_goes_from_any_storage_to_any_other_and_back() {
    for from in all() {
        for to in all() {
            let (from, to, back) = (from(), to(), from());
            let names = format!("from {} to {}", from.name, to.name);
            fill(&*from.storage);
            let report = copy(&*from.storage, &*to.storage);
            assert!(report.is_complete(), "{names}: {:#?}", report.failed);
            assert_eq!((report.sessions, report.blobs, report.documents), (9, 3, 5), "{names}");
            assert_eq!(everything(&*to.storage), everything(&*from.storage), "{names}");
            let report = copy(&*to.storage, &*back.storage);
            assert!(report.is_complete(), "{names} and back: {:#?}", report.failed);
            assert_eq!(everything(&*back.storage), everything(&*from.storage), "{names} and back");
            // Again, there is nothing to do.
            let report = copy(&*from.storage, &*back.storage);
            assert!(report.is_complete(), "{names} again: {:#?}", report.failed);
            assert_eq!((report.sessions, report.completed, report.already_there), (0, 0, 9));
            assert_eq!((report.blobs, report.documents, report.bytes), (0, 0, 0), "{names} again");
        }
    }
}

#[test]
fn a_long_log_is_copied_in_batches_and_goes_on() {
    for to in [files, key_value] {
        let (from, to) = (memory(), to());
        let key = key("local", "long");
        begin(&*from.storage, &key, 5_000);
        let report = copy(&*from.storage, &*to.storage);
        assert!(report.is_complete(), "{:#?}", report.failed);
        assert_eq!(session(&*to.storage, &key), session(&*from.storage, &key));
        assert_eq!(add(&*to.storage, &key, 2).revision.get(), 5_002);
    }
}

#[test]
fn progress_begins_at_nothing_never_goes_back_and_ends_at_all() {
    let (from, to) = (memory(), files());
    fill(&*from.storage);
    let told: Mutex<Vec<CopyProgress>> = Mutex::default();
    let copy =
        copy_store(&*from.storage, &*to.storage).on_progress(|p| told.lock().unwrap().push(p));
    let report = block_on(copy.into_future()).unwrap();
    let told = told.into_inner().unwrap();
    assert_eq!(told.iter().map(|p| p.done).collect::<Vec<_>>(), (0..=9).collect::<Vec<_>>());
    assert!(told.iter().all(|p| p.total == 9));
    assert!(told.is_sorted_by_key(|p| p.bytes));
    assert!(told[9].bytes > 150_000 && told[9].bytes <= report.bytes);
}

#[test]
fn a_claim_on_a_response_has_ended_in_the_copy() {
    let (from, to) = (memory(), files());
    fill(&*from.storage);
    let _ = copy(&*from.storage, &*to.storage);
    let head = block_on(to.storage.head(&key("local", "rich"))).unwrap().unwrap();
    let running = head.fields.running.unwrap();
    assert!(running.until < time(0));
    assert_eq!(running.turn.get(), 2);
}

#[test]
fn it_can_be_awaited_on_any_executor_and_from_synchronous_code() {
    let (from, to, also) = (memory(), memory(), memory());
    fill(&*from.storage);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (a, b) = (std::sync::Arc::clone(&from.storage), std::sync::Arc::clone(&to.storage));
    let copied = runtime.block_on(runtime.spawn(async move { copy_store(&*a, &*b).await }));
    assert_eq!(copied.unwrap().unwrap().sessions, 9);
    let storage: &dyn Storage = &*also.storage;
    let report = chatkeep::blocking::copy_store(&*from.storage, storage).run().unwrap();
    assert_eq!((report.sessions, report.documents), (9, 3), "without the owner of no sessions");
}
