//! Deletion: everything is gone, and nothing brings it back.

use bytes::Bytes;

use crate::error::ErrorKind::{Deleted, Indeterminate, NotFound};
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, at, at_revision, ensure, ensure_eq, key, refused, revisions, title,
};
use crate::storage::{
    BlobId, Body, Expected, Incarnation, ListQuery, ReadRange, Revision, StorageExt,
};

pub(in super::super) async fn removes_everything(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session", "request", "text"]).await?;
    let blob = BlobId::of(b"blob");
    bench.storage.put_blob(&key, &blob, "blob".into()).await?;
    let receipt = bench.storage.purge(&key).await?;
    ensure_eq!(receipt.incarnation, Incarnation::FIRST, "the receipt's incarnation");
    ensure_eq!(receipt.blobs, 1, "the receipt's blobs");
    ensure!(receipt.bytes > 0, "the receipt names no bytes");
    ensure!(
        !bench.capabilities.purges_bytes || receipt.remains.is_empty(),
        "something remains though all bytes are to be gone: {:?}",
        receipt.remains
    );
    for storage in [&bench.storage, &bench.second().await?] {
        ensure_eq!(storage.head(&key).await?, None, "the head");
        let range = ReadRange::After(Revision::ZERO);
        refused(storage.read(&key, range).await, NotFound, "reading a deleted session")?;
        ensure_eq!(storage.get_blob(&key, &blob).await?, None, "its blob");
        ensure_eq!(storage.count(&key.owner, &ListQuery::new()).await?, 0, "the count");
        refused(storage.purge(&key).await, NotFound, "deleting it again")?;
    }
    Ok(())
}

pub(in super::super) async fn a_deleted_id_stays_deleted(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    bench.storage.purge(&key).await?;
    for storage in [&bench.storage, &bench.second().await?] {
        let batch = Draft::new(0).texts(1).head(title("back")).batch();
        refused(storage.append(&key, Expected::New, batch).await, Deleted, "a deleted id")?;
    }
    ensure_eq!(bench.storage.head(&key).await?, None, "the head");
    Ok(())
}

pub(in super::super) async fn a_stale_writer_is_refused(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session"]).await?;
    let second = bench.second().await?;
    let landed = Draft::new(1).texts(1).batch();
    second.append(&key, at(&head), landed.clone()).await?;
    bench.storage.purge(&key).await?;
    let late = Draft::new(2).texts(1).head(title("late")).epoch(9).batch();
    refused(second.append(&key, at_revision(2), late).await, NotFound, "a late writer")?;
    refused(second.append(&key, at(&head), landed).await, NotFound, "a late retry")?;
    let blob = BlobId::of(b"late");
    refused(second.put_blob(&key, &blob, "late".into()).await, NotFound, "a late blob")?;
    let outcome = second.compact(&key, Revision::new(1), vec![], &head).await;
    ensure!(outcome.is_err(), "a late compaction succeeded");
    ensure_eq!(bench.storage.head(&key).await?, None, "the head");
    Ok(())
}

pub(in super::super) async fn an_import_begins_the_next_life(bench: &Bench) -> Verdict {
    let key = key("s")?;
    for life in 1..5 {
        let batch = Draft::new(0).texts(life).head(title("import")).batch();
        let append = bench.storage.append(&key, Expected::NewIncarnation, batch.clone());
        let head = append.await?.head;
        ensure_eq!(head.incarnation, Incarnation::new(life as u64), "the incarnation");
        ensure_eq!(head.revision, Revision::new(life as u64), "the revision");
        let again = bench.storage.append(&key, Expected::NewIncarnation, batch).await?.head;
        ensure_eq!(again.incarnation, head.incarnation, "the incarnation after a retry");
        let receipt = bench.storage.purge(&key).await?;
        ensure_eq!(receipt.incarnation, head.incarnation, "the receipt's incarnation");
    }
    let batch = Draft::new(0).texts(1).head(title("new")).batch();
    refused(bench.storage.append(&key, Expected::New, batch).await, Deleted, "a deleted id")
}

pub(in super::super) async fn lives_do_not_mix(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let first = bench.begin(&key, &["session", "request", "text", "text"]).await?;
    let old = Draft::new(4).texts(1).batch();
    bench.storage.append(&key, at(&first), old.clone()).await?;
    bench.storage.put_blob(&key, &BlobId::of(b"old"), "old".into()).await?;
    bench.storage.purge(&key).await?;
    let batch = Draft::new(0).kinds(&["session", "text"]).head(title("import")).batch();
    let second = bench.storage.append(&key, Expected::NewIncarnation, batch).await?.head;
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1, 2], "the log of the second life");
    ensure!(first.token != second.token, "the token is that of another life");
    let blob = bench.storage.get_blob(&key, &BlobId::of(b"old")).await?;
    ensure_eq!(blob, None, "the first life's blob");
    refused(bench.storage.append(&key, at(&first), old).await, NotFound, "the first life's retry")?;
    let batch = Draft::new(2).texts(1).batch();
    let outcome = bench.storage.append(&key, at_revision(2), batch).await;
    refused(outcome, NotFound, "the first life's writer")
}

pub(in super::super) async fn is_of_one_session_only(bench: &Bench) -> Verdict {
    for id in ["s", "s2", "s/2".replace('/', ".").as_str(), "S"] {
        bench.begin(&key(id)?, &["session", "text"]).await?;
        bench.storage.put_blob(&key(id)?, &BlobId::of(b"b"), "b".into()).await?;
    }
    bench.storage.purge(&key("s")?).await?;
    for id in ["s2", "s.2", "S"] {
        ensure_eq!(revisions(&bench.log(&key(id)?).await?), vec![1, 2], "the log of {id}");
        let blob = bench.storage.get_blob(&key(id)?, &BlobId::of(b"b")).await?;
        ensure!(blob.is_some(), "the blob of {id} is gone");
    }
    Ok(())
}

pub(in super::super) async fn leaves_no_bytes(bench: &Bench) -> Verdict {
    const CANARY: &str = "canary4f1b9c";
    let (key, kept) = (key(&format!("{CANARY}-id"))?, key("kept")?);
    let body = |text: &str| Body::Json(Bytes::from(format!("\"{text}\"")));
    let batch = Draft::new(0).record("text", body(CANARY)).texts(1).head(title(CANARY)).batch();
    bench.storage.append(&key, Expected::New, batch).await?;
    let content = Bytes::from(CANARY.repeat(100_000));
    bench.storage.put_blob(&key, &BlobId::of(&content), content).await?;
    let batch = Draft::new(0).record("text", body("kept-canary")).head(title("kept")).batch();
    bench.storage.append(&kept, Expected::New, batch).await?;
    let Some(before) = bench.fixture.stored_bytes().await? else {
        return Err(Stop::Skipped("the fixture cannot show the store's bytes"));
    };
    ensure!(holds(&before, "kept-canary"), "the bytes shown do not hold what is stored");
    bench.storage.purge(&key).await?;
    let after = bench.fixture.stored_bytes().await?.unwrap_or_default();
    ensure!(!holds(&after, CANARY), "bytes of the deleted session are there");
    ensure!(holds(&after, "kept-canary"), "bytes of another session are gone");
    Ok(())
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

pub(in super::super) async fn a_lost_answer_is_no_resurrection(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    if !bench.fixture.lose_next_answer() {
        return Err(Stop::Skipped("the fixture cannot lose answers"));
    }
    refused(bench.storage.purge(&key).await, Indeterminate, "a lost answer")?;
    refused(bench.storage.purge(&key).await, NotFound, "the retry")?;
    let batch = Draft::new(0).texts(1).head(title("back")).batch();
    refused(bench.storage.append(&key, Expected::New, batch).await, Deleted, "a deleted id")?;
    ensure!(bench.storage.existing_head(&key).await.is_err(), "the session is back");
    Ok(())
}
