//! The store's directory: its names, its marker, and what is refused.

use std::sync::Arc;

use chatkeep::storage::file::RealFileSystem;
use chatkeep::storage::{
    BlobId, DocumentScope, ExpectedDocument, FileStorage, SessionKey, Storage,
};
use chatkeep::{ErrorKind, ListQuery, OwnerId, SessionId};

use crate::common::*;

fn open_error(path: &std::path::Path) -> chatkeep::Error {
    FileStorage::with_files(path, Arc::new(RealFileSystem)).unwrap_err()
}

#[test]
fn the_directory_looks_as_the_format_says() {
    let (dir, storage) = store();
    let (first, second) = (key("0199a8f0-7a4e"), key("Über/uns".replace('/', " ").as_str()));
    add(&storage, &first, 1, 0, 1).unwrap();
    add(&storage, &second, 1, 0, 1).unwrap();
    let id = BlobId::of(b"picture");
    wait(storage.put_blob(&first, &id, "picture".into())).unwrap();
    for scope in [DocumentScope::Store, DocumentScope::Owner(OwnerId::new("Ann").unwrap())] {
        let any = ExpectedDocument::Any;
        wait(storage.put_document(&scope, "ui/Tabs", any, "[1]".into(), Some(at()), at())).unwrap();
    }
    add(&storage, &key("gone"), 1, 0, 1).unwrap();
    wait(storage.purge(&key("gone"))).unwrap();
    let shown: Vec<String> = files(dir.path())
        .into_iter()
        .filter(|(path, _)| !path.starts_with(dir.path().join("index")))
        .map(|(path, content)| {
            let path = path.strip_prefix(dir.path()).unwrap().display().to_string();
            format!("{} {}", path, String::from_utf8(content).unwrap().trim_end())
        })
        .filter(|line| !line.contains("/local/") || !line.starts_with("locks"))
        .map(|line| redact(&line))
        .filter(|line| {
            !line.starts_with("locks/") || line.contains("writer") || line.contains("store")
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    blobs/local/0199a8f0-7a4e/2cea274d0bedc39ec4ab6ba9e59ec889e3ed6fb56a1cf088a64d9b383378dc97 picture
    chatkeep.json {"format":"1.0.0","salt":"<32>"}
    documents/%41nn/ui%2f%54abs.doc {"version":"<16>","expires":"2026-01-01T00:00:00Z","sha256":"<64>"}
    [1]
    documents/+store/ui%2f%54abs.doc {"version":"<16>","expires":"2026-01-01T00:00:00Z","sha256":"<64>"}
    [1]
    locks/store.lock
    locks/writer-000.id <16>
    locks/writer-000.lock
    locks/writers.lock
    sessions/local/%c3%9cber%20uns.jsonl {"rev":1,"turn":0,"kind":"log","at":"2026-01-01T00:00:00.000Z","batch":"0000000000000001","head":{"created":"2026-01-01T00:00:00Z","active":"2026-01-01T00:00:00Z"},"body":{"text":"record 1 of 1"},"sum":"5d3ded21"}
    sessions/local/0199a8f0-7a4e.jsonl {"rev":1,"turn":0,"kind":"log","at":"2026-01-01T00:00:00.000Z","batch":"0000000000000001","head":{"created":"2026-01-01T00:00:00Z","active":"2026-01-01T00:00:00Z"},"body":{"text":"record 1 of 1"},"sum":"5d3ded21"}
    tombstones/<64>.json {"incarnation":1}
    unindexed/000-<16>
    "#);
}

/// Random numbers and hashes with a random salt.
fn redact(line: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for c in line.chars().chain(['\n']) {
        if c.is_ascii_hexdigit() && !c.is_ascii_uppercase() {
            run.push(c);
            continue;
        }
        let id = line.starts_with("blobs") || line.starts_with("sessions");
        if run.len() >= 16 && !id {
            out.push_str(&format!("<{}>", run.len()))
        } else {
            out.push_str(&run)
        }
        run.clear();
        out.push(c);
    }
    out.trim_end().to_owned()
}

#[test]
fn a_store_that_cannot_be_read_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/store");
    drop(open(&root));
    let marker = root.join("chatkeep.json");
    let mut shown = Vec::new();
    for json in [r#"{"format":"2.0.0","more":1}"#, "{\"form", "", r#"{"format":"1.0.0","salt":""}"#]
    {
        std::fs::write(&marker, json).unwrap();
        let before = files(&root);
        shown.push(open_error(&root).to_string());
        assert_eq!(files(&root), before);
    }
    std::fs::write(&marker, r#"{"format":"1.7.0","salt":"ab","new":[1]}"#).unwrap();
    add(&open(&root), &key("s1"), 1, 0, 1).unwrap();
    assert!(std::fs::read_to_string(&marker).unwrap().contains("new"));
    std::fs::remove_file(&marker).unwrap();
    shown.push(open_error(&root).to_string());
    insta::assert_snapshot!(shown.join("\n"), @r#"
    unsupported version: the store was written in format 2.0.0, this version reads up to 1.0.0 (file chatkeep.json)
    corrupt: the store's marker is damaged: EOF while parsing a string at line 1 column 6 (file chatkeep.json)
    corrupt: the store's marker is damaged: EOF while parsing a value at line 1 column 0 (file chatkeep.json)
    corrupt: the store's marker is damaged: it has no salt (file chatkeep.json)
    corrupt: the store's marker is missing though there are sessions (file chatkeep.json)
    "#);
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    assert_eq!(open_error(&file).kind(), ErrorKind::Invalid);
    assert_eq!(open_error(&file.join("below")).kind(), ErrorKind::Invalid);
}

#[test]
fn a_directory_with_other_things_in_it_may_become_a_store() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    drop(open(dir.path()));
    std::fs::write(dir.path().join("sessions"), "not a directory").unwrap();
    let error = add(&open(dir.path()), &key("s1"), 1, 0, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(std::fs::read(dir.path().join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn odd_ids_are_apart_listed_and_deleted() {
    let (dir, storage) = store();
    let long = "É".repeat(100);
    let ids = [
        "a",
        "A",
        "é",
        "e\u{301}",
        "con",
        "CON",
        "nul.txt",
        ".hidden",
        "dot.",
        "a.jsonl",
        "a.jsonl.tmp",
        "%41",
        "a+",
        "+a",
        "..a",
        "a b",
        "\u{202e}x",
        "日本語",
        long.as_str(),
        &long[2..],
        "x:y",
        "~",
        "*?<>|\"",
    ];
    let owner = OwnerId::new(long.as_str()).unwrap();
    for (number, id) in ids.iter().enumerate() {
        for owner in [&owner, &OwnerId::local()] {
            let key = SessionKey::new(owner.clone(), SessionId::new(id).unwrap());
            add(&storage, &key, number as u64 + 1, 0, 1).unwrap();
        }
    }
    let other = open(dir.path());
    for owner in [&owner, &OwnerId::local()] {
        let query = ListQuery::new().limit(100);
        let page = wait(other.list(owner, &query, None)).unwrap();
        let mut listed: Vec<String> = page.items.iter().map(|s| s.id().to_string()).collect();
        let mut all = ids.map(str::to_owned).to_vec();
        listed.sort();
        all.sort();
        assert_eq!(listed, all);
    }
    assert_eq!(wait(other.owners(None)).unwrap().items, [OwnerId::local(), owner.clone()]);
    for id in ids {
        let key = SessionKey::new(owner.clone(), SessionId::new(id).unwrap());
        wait(other.purge(&key)).unwrap();
        assert_eq!(wait(storage.head(&key)).unwrap(), None);
    }
    assert_eq!(wait(other.owners(None)).unwrap().items, [OwnerId::local()]);
}

#[test]
fn names_that_no_id_has_are_left_alone() {
    let (dir, storage) = store();
    add(&storage, &key("s1"), 1, 0, 1).unwrap();
    let sessions = dir.path().join("sessions/local");
    for name in ["S2.jsonl", "%73%33.jsonl", "notes.txt", "..jsonl", "%2e%2e.jsonl", ".jsonl"] {
        std::fs::copy(sessions.join("s1.jsonl"), sessions.join(name)).unwrap();
    }
    let page = wait(storage.list(&OwnerId::local(), &ListQuery::new(), None)).unwrap();
    assert_eq!(page.items.len(), 1);
}

#[cfg(unix)]
#[test]
fn what_people_wrote_is_for_their_own_eyes() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, storage) = store();
    add(&storage, &key("s1"), 1, 0, 1).unwrap();
    for (path, mode) in [("sessions", 0o700), ("sessions/local/s1.jsonl", 0o600)] {
        let found = std::fs::metadata(dir.path().join(path)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
}
