//! Small documents: compare-and-swap, expiry, names.

use std::sync::{Arc, Barrier};
use std::thread;

use bytes::Bytes;

use crate::error::ErrorKind::{Busy, Conflict, Invalid};
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::conformance::bench::{Bench, Stop, Verdict, ensure, ensure_eq, refused, time};
use crate::storage::{Document, DocumentScope, ExpectedDocument, Storage, VersionToken};

use ExpectedDocument::{Absent, Any, Version};

const STORE: DocumentScope = DocumentScope::Store;

async fn put(
    storage: &dyn Storage,
    name: &str,
    expected: ExpectedDocument,
    content: &str,
) -> Result<VersionToken> {
    let content = Bytes::copy_from_slice(content.as_bytes());
    storage.put_document(&STORE, name, expected, content, None, time(0)).await
}

async fn get(storage: &dyn Storage, name: &str) -> Result<Option<Document>> {
    storage.get_document(&STORE, name, time(0)).await
}

fn text(document: Option<&Document>) -> Option<&[u8]> {
    document.map(|document| &document.content[..])
}

pub(in super::super) async fn comes_back(bench: &Bench) -> Verdict {
    let storage = &*bench.storage;
    ensure_eq!(get(storage, "d").await?, None, "a document that was not put");
    let version = put(storage, "d", Any, "\n{}\r\n\0").await?;
    let expected = Document { content: "\n{}\r\n\0".into(), version, expires: None };
    for storage in [&bench.storage, &bench.second().await?] {
        ensure_eq!(get(&**storage, "d").await?, Some(expected.clone()), "the document");
    }
    let version = put(storage, "d", Any, "").await?;
    ensure!(version != expected.version, "the version did not change with the content");
    ensure_eq!(text(get(storage, "d").await?.as_ref()), Some(&b""[..]), "an empty document");
    Ok(())
}

pub(in super::super) async fn compare_and_swap(bench: &Bench) -> Verdict {
    let storage = &*bench.storage;
    let never = VersionToken("never".to_owned());
    refused(put(storage, "d", Version(never.clone()), "x").await, Conflict, "a version of none")?;
    let first = put(storage, "d", Absent, "1").await?;
    refused(put(storage, "d", Absent, "x").await, Conflict, "absence of one that is there")?;
    refused(put(storage, "d", Version(never), "x").await, Conflict, "another version")?;
    put(storage, "d", Version(first.clone()), "2").await?;
    refused(put(storage, "d", Version(first.clone()), "x").await, Conflict, "an old version")?;
    ensure_eq!(text(get(storage, "d").await?.as_ref()), Some(&b"2"[..]), "the document");
    storage.delete_document(&STORE, "d", Any, time(0)).await?;
    put(storage, "d", Absent, "1").await?;
    refused(put(storage, "d", Version(first), "x").await, Conflict, "a version before deletion")
}

/// Runs one function per thread, half of them on a second handle, and returns what each returned.
async fn together<T: Send + 'static>(
    bench: &Bench,
    work: fn(&dyn Storage, usize, &Barrier) -> Result<T>,
) -> Result<Vec<T>, Stop> {
    const THREADS: usize = 8;
    let handles = [Arc::clone(&bench.storage), bench.second().await?];
    let barrier = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (storage, barrier) = (Arc::clone(&handles[number % 2]), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                work(&*storage, number, &barrier)
            })
        })
        .collect();
    let panicked = |_| Stop::Failed("a thread panicked".to_owned());
    threads.into_iter().map(|thread| Ok(thread.join().map_err(panicked)??)).collect()
}

pub(in super::super) async fn one_winner(bench: &Bench) -> Verdict {
    let won = together(bench, |storage, number, barrier| {
        let mut won = Vec::new();
        for round in 0..20 {
            barrier.wait();
            let (name, content) = (format!("d{round}"), number.to_string());
            match pollster::block_on(put(storage, &name, Absent, &content)) {
                Ok(_) => won.push((round, number)),
                Err(error) if error.kind() == Conflict => {}
                // The others wait for this thread: it goes on, and nobody wins too often.
                Err(_) => won.push((usize::MAX, number)),
            }
        }
        Ok(won)
    })
    .await?;
    let mut won: Vec<(usize, usize)> = won.into_iter().flatten().collect();
    won.sort_unstable();
    let rounds: Vec<usize> = won.iter().map(|(round, _)| *round).collect();
    ensure_eq!(rounds, (0..20).collect::<Vec<_>>(), "the rounds with a winner");
    for (round, winner) in won {
        let document = get(&*bench.storage, &format!("d{round}")).await?;
        let winner = winner.to_string();
        ensure_eq!(text(document.as_ref()), Some(winner.as_bytes()), "the winner of {round}");
    }
    Ok(())
}

pub(in super::super) async fn counted_by_many(bench: &Bench) -> Verdict {
    put(&*bench.storage, "n", Absent, "0").await?;
    together(bench, |storage, _, _| (0..10).try_for_each(|_| count_one_more(storage))).await?;
    let document = get(&*bench.storage, "n").await?;
    ensure_eq!(text(document.as_ref()), Some(&b"80"[..]), "the count of eight times ten");
    Ok(())
}

fn count_one_more(storage: &dyn Storage) -> Result<()> {
    loop {
        let Some(now) = pollster::block_on(get(storage, "n"))? else { return Ok(()) };
        let number: u64 = String::from_utf8_lossy(&now.content).parse().unwrap_or_default();
        let next = (number + 1).to_string();
        match pollster::block_on(put(storage, "n", Version(now.version), &next)) {
            Ok(_) => return Ok(()),
            Err(error) if matches!(error.kind(), Conflict | Busy) => {}
            Err(error) => return Err(error),
        }
    }
}

pub(in super::super) async fn expires(bench: &Bench) -> Verdict {
    let storage = &*bench.storage;
    let until = Some(time(10));
    let put = |expected, now| {
        storage.put_document(&STORE, "d", expected, "slot".into(), until, time(now))
    };
    let version = put(Absent, 0).await?;
    let read = storage.get_document(&STORE, "d", time(9)).await?;
    ensure_eq!(read.map(|d| d.expires), Some(until), "a document before it expires");
    refused(put(Absent, 9).await, Conflict, "absence before it expires")?;
    for now in [10, 11] {
        let read = storage.get_document(&STORE, "d", time(now)).await?;
        ensure_eq!(read, None, "a document after it expired");
        let names = storage.list_documents(&STORE, "", None, time(now)).await?.items;
        ensure_eq!(names, Vec::<String>::new(), "the names after it expired");
    }
    refused(put(Version(version), 10).await, Conflict, "the version of an expired one")?;
    let later = Some(time(20));
    let again = storage.put_document(&STORE, "d", Absent, "next".into(), later, time(10));
    again.await?;
    let read = storage.get_document(&STORE, "d", time(19)).await?;
    ensure_eq!(text(read.as_ref()), Some(&b"next"[..]), "the next document");
    Ok(())
}

pub(in super::super) async fn scopes_are_apart(bench: &Bench) -> Verdict {
    let owner = |id: &str| OwnerId::new(id).map(DocumentScope::Owner);
    let scopes = [STORE, owner("a")?, owner("b")?, owner("ab")?, owner("s")?];
    let content = |number: usize| Bytes::from(number.to_string());
    for (number, scope) in scopes.iter().enumerate() {
        let put = bench.storage.put_document(scope, "bd", Absent, content(number), None, time(0));
        put.await?;
    }
    for (number, scope) in scopes.iter().enumerate() {
        let read = bench.storage.get_document(scope, "bd", time(0)).await?;
        ensure_eq!(read.map(|d| d.content), Some(content(number)), "the document of {scope:?}");
        let names = bench.storage.list_documents(scope, "", None, time(0)).await?.items;
        ensure_eq!(names, vec!["bd".to_owned()], "the names of {scope:?}");
    }
    bench.storage.delete_document(&STORE, "bd", Any, time(0)).await?;
    let read = bench.storage.get_document(&scopes[1], "bd", time(0)).await?;
    ensure!(read.is_some(), "the removal of the store's document removed an owner's");
    Ok(())
}

pub(in super::super) async fn names_by_prefix(bench: &Bench) -> Verdict {
    for name in ["b", "running/2", "running/10", "running", "a", "Running/1", "runninG/0"] {
        put(&*bench.storage, name, Any, "x").await?;
    }
    let names = |prefix: &'static str| bench.storage.list_documents(&STORE, prefix, None, time(0));
    let all = ["Running/1", "a", "b", "runninG/0", "running", "running/10", "running/2"];
    ensure_eq!(names("").await?.items, all, "all names");
    ensure_eq!(names("running/").await?.items, ["running/10", "running/2"], "names by prefix");
    ensure_eq!(names("running/2").await?.items, ["running/2"], "a whole name as prefix");
    ensure_eq!(names("c").await?.items, Vec::<String>::new(), "names by a prefix of none");
    Ok(())
}

pub(in super::super) async fn many_names(bench: &Bench) -> Verdict {
    let expected: Vec<String> = (0..1_100).map(|number| format!("d{number:04}")).collect();
    for name in &expected {
        put(&*bench.storage, name, Absent, "x").await?;
    }
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = bench.storage.list_documents(&STORE, "d", after, time(0)).await?;
        names.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    ensure_eq!(names, expected, "the names of all pages");
    Ok(())
}

pub(in super::super) async fn removal(bench: &Bench) -> Verdict {
    let storage = &*bench.storage;
    let delete = |expected| storage.delete_document(&STORE, "d", expected, time(0));
    delete(Any).await?;
    let never = Version(VersionToken("never".to_owned()));
    refused(delete(never.clone()).await, Conflict, "removing a version of none")?;
    let version = put(storage, "d", Absent, "x").await?;
    refused(delete(never).await, Conflict, "removing another version")?;
    ensure!(get(storage, "d").await?.is_some(), "the document is gone after a refusal");
    delete(Version(version)).await?;
    ensure_eq!(get(storage, "d").await?, None, "the document after its removal");
    Ok(())
}

pub(in super::super) async fn any_name(bench: &Bench) -> Verdict {
    let long = "n".repeat(150);
    let names = [
        "CON",
        "con",
        "a.b",
        "a..b",
        "..a",
        "%2e",
        "a b",
        "é",
        "e\u{301}",
        "😀",
        "a/b",
        "a:b",
        "a*?b",
        "trailing.",
        "-",
        "_",
        &long,
    ];
    for name in names {
        put(&*bench.storage, name, Absent, name).await?;
    }
    for name in names {
        let document = get(&*bench.storage, name).await?;
        ensure_eq!(text(document.as_ref()), Some(name.as_bytes()), "the document {name:?}");
    }
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    let listed = bench.storage.list_documents(&STORE, "", None, time(0)).await?.items;
    ensure_eq!(listed, sorted, "the names");
    for name in [String::new(), "n".repeat(201)] {
        refused(put(&*bench.storage, &name, Any, "x").await, Invalid, "a name out of bounds")?;
        refused(get(&*bench.storage, &name).await, Invalid, "a name out of bounds")?;
    }
    Ok(())
}
