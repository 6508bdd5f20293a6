//! Retrying a batch: it lands exactly once.

use crate::error::ErrorKind::{AlreadyExists, Conflict, Indeterminate, Unavailable};
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, at, at_revision, ensure_eq, key, plain, refused, revisions, title,
};
use crate::storage::{Expected, HeadFields, StorageExt};

pub(in super::super) async fn lands_once(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let batch = Draft::new(1).texts(3).batch();
    let first = bench.storage.append(&key, at_revision(1), batch.clone()).await?.head;
    let second = bench.second().await?;
    for storage in [&bench.storage, &second] {
        let again = storage.append(&key, at_revision(1), batch.clone()).await?.head;
        ensure_eq!(plain(&again), plain(&first), "the head after a retry");
    }
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1, 2, 3, 4], "the log");
    Ok(())
}

pub(in super::super) async fn lands_once_after_further_appends(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let batch = Draft::new(1).texts(2).batch();
    bench.storage.append(&key, at_revision(1), batch.clone()).await?;
    bench.add(&key, &["text"]).await?;
    let head = bench.add(&key, &["text"]).await?;
    let again = bench.storage.append(&key, at_revision(1), batch.clone()).await?.head;
    ensure_eq!(plain(&again), plain(&head), "the head after a late retry");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1, 2, 3, 4, 5], "the log");
    let other = Draft::new(1).texts(2).batch();
    let outcome = bench.storage.append(&key, at_revision(1), other).await;
    refused(outcome, Conflict, "another batch at the same place")
}

pub(in super::super) async fn of_a_first_batch_lands_once(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let batch = Draft::new(0).texts(2).head(title("t")).batch();
    bench.storage.append(&key, Expected::New, batch.clone()).await?;
    let head = bench.add(&key, &["text"]).await?;
    for expected in [Expected::New, Expected::NewIncarnation] {
        let again = bench.storage.append(&key, expected, batch.clone()).await?.head;
        ensure_eq!(plain(&again), plain(&head), "the head after a retry of {expected:?}");
    }
    let other = Draft::new(0).texts(2).head(title("t")).batch();
    refused(bench.storage.append(&key, Expected::New, other).await, AlreadyExists, "another")?;
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1, 2, 3], "the log");
    Ok(())
}

pub(in super::super) async fn comes_before_every_refusal(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let batch = Draft::new(1).texts(1).epoch(0).batch();
    bench.storage.append(&key, at_revision(1), batch.clone()).await?;
    let taken = HeadFields { epoch: 1, ..title("t") };
    let takeover = Draft::new(2).texts(1).head(taken).batch();
    let head = bench.storage.append(&key, at_revision(2), takeover).await?.head;
    // By now both its revision and its epoch are old; but it is there.
    let again = bench.storage.append(&key, at_revision(1), batch).await?.head;
    ensure_eq!(plain(&again), plain(&head), "the head after a retry under an older epoch");
    Ok(())
}

pub(in super::super) async fn of_a_lost_answer_lands_once(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session"]).await?;
    let batch = Draft::new(1).texts(2).batch();
    if !bench.fixture.lose_next_answer() {
        return Err(Stop::Skipped("the fixture cannot lose answers"));
    }
    let outcome = bench.storage.append(&key, at(&head), batch.clone()).await;
    refused(outcome, Indeterminate, "a lost answer")?;
    let head = bench.storage.append(&key, at(&head), batch).await?.head;
    ensure_eq!(head.revision.get(), 3, "the revision after the retry");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1, 2, 3], "the log");
    Ok(())
}

pub(in super::super) async fn of_a_failed_write_lands(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session"]).await?;
    let batch = Draft::new(1).texts(2).head(title("new")).batch();
    if !bench.fixture.fail_next_write() {
        return Err(Stop::Skipped("the fixture cannot fail writes"));
    }
    let outcome = bench.storage.append(&key, at(&head), batch.clone()).await;
    refused(outcome, Unavailable, "a failed write")?;
    let now = bench.storage.existing_head(&key).await?;
    ensure_eq!(now, head, "the head after a failed write");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1], "the log after a failed write");
    bench.storage.append(&key, at(&head), batch).await?;
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1, 2, 3], "the log");
    Ok(())
}

pub(in super::super) async fn of_a_lost_first_answer_lands_once(bench: &Bench) -> Verdict {
    let (key, other) = (key("s")?, key("other")?);
    bench.begin(&other, &["session"]).await?;
    let batch = Draft::new(0).texts(2).head(title("t")).batch();
    if !bench.fixture.lose_next_answer() {
        return Err(Stop::Skipped("the fixture cannot lose answers"));
    }
    let outcome = bench.storage.append(&key, Expected::New, batch.clone()).await;
    refused(outcome, Indeterminate, "a lost answer")?;
    let head = bench.storage.append(&key, Expected::New, batch).await?.head;
    ensure_eq!(head.incarnation.get(), 1, "the incarnation after the retry");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1, 2], "the log");
    Ok(())
}
