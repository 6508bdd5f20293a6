//! Search where the storage has no full text: what it costs, and what it leaves out.

use std::sync::Arc;

use chatkeep::part::Markdown;
use chatkeep::storage::Progress;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::storage::key_value::MemoryKeyValue;
use chatkeep::{
    ChatStore, FileStorage, JsonChatModelSerializer, KeyValueStorage, ListQuery, Query,
};
use semver::Version;

use crate::common::*;

#[test]
fn what_was_read_once_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = CountingFileSystem::new(Arc::new(RealFileSystem));
    let storage = FileStorage::with_files(folder.path(), Arc::new(files.clone())).unwrap();
    if chatkeep::Storage::full_text(&storage).is_some() {
        return;
    }
    let me = block(ChatStore::builder(storage).build()).local();
    let text = "the parser ".repeat(10_000);
    for name in ["a", "b", "c", "d"] {
        let chat = create(&me, name);
        block(chat.record(&*text, [Markdown::new("ok")]));
    }
    let cost = |query: &str, hits: usize| {
        let before = files.counts().read;
        assert_eq!(search(&me, query).hits.len(), hits);
        files.counts().read - before
    };
    let (size, slack) = (text.len() as u64, 20_000);
    let first = cost("parser", 4);
    assert!(first >= 4 * size, "{first}");
    let again = cost("parser ok", 4);
    assert!(again < slack, "{again}");
    // Of what has changed since that alone.
    let chat = block(me.open(id("b")));
    block(chat.record("and the parser?", [Markdown::new("ok")]));
    let changed = cost("parser", 5);
    assert!(changed >= size && changed < 2 * size + slack, "{changed}");
    block(me.delete(id("a")));
    assert_eq!(search(&me, "parser").hits.len(), 4);
}

#[test]
fn a_session_that_cannot_be_read_hides_no_other() {
    let pairs = MemoryKeyValue::new();
    let storage = || KeyValueStorage::new(pairs.clone());
    let me = block(ChatStore::builder(storage()).build()).local();
    block(create(&me, "mine").record("the parser", [Markdown::new("ok")]));
    let serializer = JsonChatModelSerializer::default().named("acme.own", Version::new(1, 0, 0));
    let they = block(ChatStore::builder(storage()).serializer(serializer).build()).local();
    block(create(&they, "theirs").record("the parser", [Markdown::new("ok")]));

    let hits = search(&me, "parser");
    let ids: Vec<_> = hits.hits.iter().map(|hit| hit.session.id().to_string()).collect();
    assert_eq!(ids, ["mine"]);
    assert_eq!(hits.partial, Some(Progress { done: 1, total: Some(2) }));
    // One that is not asked for is not missed.
    let only = Query::parse("parser").unwrap().sessions(ListQuery::new().title("mine"));
    let hits = block(me.search(only));
    assert_eq!((hits.hits.len(), hits.partial), (1, None));
}

#[test]
fn a_damaged_session_is_found_as_far_as_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    // More than is read at once.
    block(block(ChatStore::open(folder.path())).local().import(&long(5_000, 10)));
    let log = logs(folder.path()).pop().unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("request7\""));
    std::fs::write(&log, text.replace("request7\"", "requestX\"")).unwrap();
    let me = block(ChatStore::open(folder.path())).local();
    for (query, hits) in [("request5000", 1), ("request1", 1), ("request7", 0), ("answer7", 1)] {
        assert_eq!(search(&me, query).hits.len(), hits, "{query}");
    }
}

fn logs(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(logs(&path));
        } else if path.extension().is_some_and(|extension| extension == "jsonl") {
            found.push(path);
        }
    }
    found
}
