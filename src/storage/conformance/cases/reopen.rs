//! After all handles were dropped.

use crate::error::ErrorKind::Deleted;
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, at_revision, ensure_eq, key, plain, refused, time, title,
};
use crate::storage::{
    BlobId, DocumentScope, Expected, ExpectedDocument, ListQuery, Revision, StorageExt,
};

/// Opens the store again. The bench given here must hold the only handle.
async fn reopened(bench: Bench) -> Result<Bench, Stop> {
    let Bench { fixture, storage, .. } = bench;
    drop(storage);
    Bench::open(fixture).await
}

async fn fresh(bench: &Bench) -> Result<Bench, Stop> {
    if !bench.capabilities.persistent {
        return Err(Stop::Skipped("it is not persistent"));
    }
    Bench::open(std::sync::Arc::clone(&bench.fixture)).await
}

pub(in super::super) async fn everything_is_kept(bench: &Bench) -> Verdict {
    let mut bench = fresh(bench).await?;
    let key = key("s")?;
    let (scope, blob) = (DocumentScope::Store, BlobId::of(b"blob"));
    bench.begin(&key, &["session", "request", "text"]).await?;
    bench.storage.put_blob(&key, &blob, "blob".into()).await?;
    let put =
        bench.storage.put_document(&scope, "d", ExpectedDocument::Any, "x".into(), None, time(0));
    let version = put.await?;
    for _ in 0..3 {
        let revision = bench.storage.existing_head(&key).await?.revision.get();
        let batch = Draft::new(revision).texts(2).batch();
        bench.storage.append(&key, at_revision(revision), batch.clone()).await?;
        let (head, log) = (bench.storage.existing_head(&key).await?, bench.log(&key).await?);
        bench = reopened(bench).await?;
        let read = bench.storage.existing_head(&key).await?;
        ensure_eq!(plain(&read), plain(&head), "the head");
        ensure_eq!(bench.log(&key).await?, log, "the log");
        let again = bench.storage.append(&key, at_revision(revision), batch).await?.head;
        ensure_eq!(plain(&again), plain(&head), "the head after a retry");
    }
    let kept = bench.log(&key).await?.split_off(6);
    let head = bench.storage.existing_head(&key).await?;
    let head = bench.storage.compact(&key, head.revision, kept.clone(), &head).await?;
    bench = reopened(bench).await?;
    let read = bench.storage.existing_head(&key).await?;
    ensure_eq!(plain(&read), plain(&head), "the head after compaction");
    ensure_eq!(bench.log(&key).await?, kept, "the log after compaction");
    let list = bench.storage.list_all(&key.owner, &ListQuery::new()).await?;
    ensure_eq!(list.len(), 1, "the length of the list");
    let read = bench.storage.get_blob(&key, &blob).await?;
    ensure_eq!(read.as_deref(), Some(&b"blob"[..]), "the blob");
    let document = bench.storage.get_document(&scope, "d", time(0)).await?;
    ensure_eq!(document.map(|document| document.version), Some(version), "the document's version");
    Ok(())
}

pub(in super::super) async fn bases_are_kept(bench: &Bench) -> Verdict {
    for (id, kept, revision) in [("a", &[2, 3, 5, 6][..], 6), ("b", &[2, 3], 4)] {
        let mut bench = fresh(bench).await?;
        let key = key(id)?;
        let mut batch = Draft::new(0).texts(6).head(title("moved")).batch();
        batch.base = Revision::new(4);
        batch.records.retain(|record| kept.contains(&record.revision.get()));
        let mut log = batch.records.clone();
        let head = bench.storage.append(&key, Expected::New, batch).await?.head;
        ensure_eq!((head.revision.get(), head.base.get()), (revision, 4), "revision and base");
        bench = reopened(bench).await?;
        let read = bench.storage.existing_head(&key).await?;
        ensure_eq!(plain(&read), plain(&head), "the head");
        let next = Draft::new(revision).texts(1).batch();
        log.extend(next.records.clone());
        let head = bench.storage.append(&key, at_revision(revision), next).await?.head;
        bench = reopened(bench).await?;
        let read = bench.storage.existing_head(&key).await?;
        ensure_eq!(plain(&read), plain(&head), "the head after an append");
        ensure_eq!(bench.log(&key).await?, log, "the log");
    }
    Ok(())
}

pub(in super::super) async fn tombstones_are_kept(bench: &Bench) -> Verdict {
    let bench = fresh(bench).await?;
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    bench.storage.purge(&key).await?;
    let bench = reopened(bench).await?;
    ensure_eq!(bench.storage.head(&key).await?, None, "the head");
    let batch = || Draft::new(0).texts(1).head(title("back")).batch();
    let outcome = bench.storage.append(&key, Expected::New, batch()).await;
    refused(outcome, Deleted, "a deleted id")?;
    let head = bench.storage.append(&key, Expected::NewIncarnation, batch()).await?.head;
    ensure_eq!(head.incarnation.get(), 2, "the incarnation");
    let bench = reopened(bench).await?;
    let read = bench.storage.existing_head(&key).await?;
    ensure_eq!(plain(&read), plain(&head), "the head of the second life");
    Ok(())
}
