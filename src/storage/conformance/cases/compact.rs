//! Compaction: fewer records, the same revisions.

use crate::error::ErrorKind::{Conflict, Invalid, NotFound};
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, at, at_revision, ensure, ensure_eq, key, plain, refused,
    revisions, title,
};
use crate::storage::{BlobId, Head, ReadRange, Record, Revision, SessionKey, StorageExt};

const KINDS: [&str; 10] = [
    "session",
    "request",
    "text",
    "text",
    "checkpoint",
    "request",
    "text",
    "text",
    "request",
    "text",
];

/// A session of ten records whose first six were compacted to 2, 5 and 6.
async fn compacted(bench: &Bench, key: &SessionKey) -> Result<(Head, Vec<Record>), Stop> {
    let before = bench.begin(key, &KINDS).await?;
    let mut log = bench.log(key).await?;
    let through = Revision::new(6);
    let kept = log[..6].iter().filter(|r| [2, 5, 6].contains(&r.revision.get())).cloned();
    let kept: Vec<Record> = kept.collect();
    let head = bench.storage.compact(key, through, kept.clone(), &before).await?;
    log.splice(..6, kept);
    Ok((head, log))
}

pub(in super::super) async fn keeps_revision_and_tail(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let (head, expected) = compacted(bench, &key).await?;
    ensure_eq!(head.revision, Revision::new(10), "the revision");
    ensure_eq!(head.base, Revision::new(6), "the base");
    ensure_eq!(head.fields, title("first"), "the fields");
    ensure_eq!(bench.storage.existing_head(&key).await?, head, "the head read");
    ensure_eq!(bench.log(&key).await?, expected, "the log");
    let page = bench.storage.read(&key, ReadRange::Newest { turns: 2 }).await?;
    ensure_eq!(revisions(&page.records), vec![5, 6, 7, 8, 9, 10], "the newest turns");
    ensure!(page.earlier, "there is a record before the newest two turns");
    let range = ReadRange::Before { revision: Revision::new(6), turns: 1 };
    let page = bench.storage.read(&key, range).await?;
    ensure_eq!(revisions(&page.records), vec![2, 5], "the turn before");
    ensure!(!page.earlier && page.later, "the turn before is the first but not the last");
    ensure_eq!(page.damage, vec![], "what compaction dropped is no damage");
    Ok(())
}

pub(in super::super) async fn readers_below_the_base_start_anew(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let (_, all) = compacted(bench, &key).await?;
    for after in 0..=10_u64 {
        let page = bench.storage.read(&key, ReadRange::After(Revision::new(after))).await?;
        ensure_eq!(page.restarted, after < 6, "restarted of the page after {after}");
        let from = if after < 6 { 0 } else { after };
        let expected: Vec<u64> = revisions(&all).into_iter().filter(|r| *r > from).collect();
        ensure_eq!(revisions(&page.records), expected, "the page after {after}");
        ensure_eq!(page.damage, vec![], "the damage after {after}");
    }
    Ok(())
}

pub(in super::super) async fn a_stale_guard_is_refused(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let old = bench.begin(&key, &KINDS).await?;
    let log = bench.log(&key).await?;
    let now = bench.add(&key, &["text"]).await?;
    let (three, kept) = (Revision::new(3), vec![log[2].clone()]);
    let outcome = bench.storage.compact(&key, three, kept.clone(), &old).await;
    refused(outcome, Conflict, "a guard of an earlier revision")?;
    bench.storage.compact(&key, three, kept.clone(), &now).await?;
    let outcome = bench.storage.compact(&key, three, kept.clone(), &now).await;
    refused(outcome, Conflict, "a guard of an earlier base")?;
    ensure_eq!(bench.log(&key).await?.len(), 9, "the length of the log");
    let other = super::super::bench::key("other")?;
    let outcome = bench.storage.compact(&other, three, kept, &now).await;
    match outcome.map_err(|error| error.kind()) {
        Err(NotFound | Conflict) => Ok(()),
        other => Err(Stop::Failed(format!("compacting no session came to {other:?}"))),
    }
}

pub(in super::super) async fn a_retry_after_it_does_not_land_twice(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &KINDS).await?;
    let (kept, dropped) = (Draft::new(10).texts(2).batch(), Draft::new(12).texts(2).batch());
    bench.storage.append(&key, at_revision(10), kept.clone()).await?;
    let head = bench.storage.append(&key, at_revision(12), dropped.clone()).await?.head;
    let records = kept.records.clone();
    let head = bench.storage.compact(&key, head.revision, records, &head).await?;
    let again = bench.storage.append(&key, at_revision(10), kept).await?.head;
    ensure_eq!(plain(&again), plain(&head), "the head after a retry of a batch that is there");
    // It was dropped: whether it ever landed may be unknown by now, but it may not land again.
    match bench.storage.append(&key, at_revision(12), dropped).await {
        Ok(again) => ensure_eq!(plain(&again.head), plain(&head), "the head after a retry"),
        Err(error) => ensure_eq!(error.kind(), Conflict, "what the retry is told"),
    }
    ensure_eq!(revisions(&bench.log(&key).await?), vec![11, 12], "the log");
    Ok(())
}

pub(in super::super) async fn writers_go_on(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let (_, mut expected) = compacted(bench, &key).await?;
    // Whoever read the session before the compaction knows the right revision still.
    let batch = Draft::new(10).texts(3).batch();
    expected.extend(batch.records.clone());
    let second = bench.second().await?;
    let head = second.append(&key, at_revision(10), batch).await?.head;
    ensure_eq!(head.base, Revision::new(6), "the base after an append");
    ensure_eq!(bench.log(&key).await?, expected, "the log");
    let stale = Draft::new(6).texts(1).batch();
    refused(bench.storage.append(&key, at_revision(6), stale).await, Conflict, "a stale writer")
}

pub(in super::super) async fn twice(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let (head, log) = compacted(bench, &key).await?;
    let kept = vec![log[1].clone(), log[4].clone()];
    let head = bench.storage.compact(&key, Revision::new(9), kept, &head).await?;
    ensure_eq!(head.base, Revision::new(9), "the base");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![5, 8, 10], "the log");
    let next = bench.add(&key, &["text"]).await?;
    ensure_eq!(next.revision, Revision::new(11), "the revision of the next append");
    let page = bench.storage.read(&key, ReadRange::After(Revision::new(9))).await?;
    ensure_eq!(revisions(&page.records), vec![10, 11], "the page after the base");
    ensure!(!page.restarted && page.earlier, "the page after the base follows it");
    ensure_eq!(page.damage, vec![], "the damage");
    Ok(())
}

pub(in super::super) async fn bad_records_are_refused(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &KINDS).await?;
    let log = bench.log(&key).await?;
    let five = Revision::new(5);
    let bad = [
        ("a record after the end", vec![log[4].clone(), log[5].clone()]),
        ("a wrong order", vec![log[4].clone(), log[1].clone()]),
        ("one record twice", vec![log[1].clone(), log[1].clone()]),
    ];
    for (what, records) in bad {
        refused(bench.storage.compact(&key, five, records, &head).await, Invalid, what)?;
    }
    let beyond = Revision::new(11);
    let outcome = bench.storage.compact(&key, beyond, log.clone(), &head).await;
    refused(outcome, Invalid, "an end beyond the last revision")?;
    ensure_eq!(bench.log(&key).await?, log, "the log");
    Ok(())
}

pub(in super::super) async fn of_everything(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &KINDS).await?;
    let log = bench.log(&key).await?;
    let blob = BlobId::of(b"kept");
    bench.storage.put_blob(&key, &blob, "kept".into()).await?;
    // Not even the last record stays.
    let head = bench.storage.compact(&key, head.revision, vec![log[4].clone()], &head).await?;
    ensure_eq!((head.revision.get(), head.base.get()), (10, 10), "the revision and the base");
    ensure_eq!(bench.log(&key).await?, vec![log[4].clone()], "the log");
    let second = bench.second().await?;
    ensure_eq!(second.existing_head(&key).await?, head, "the head read through another handle");
    let batch = Draft::new(10).texts(1).batch();
    let head = second.append(&key, at(&head), batch).await?.head;
    ensure_eq!(head.revision, Revision::new(11), "the revision of the next append");
    let page = bench.storage.read(&key, ReadRange::Newest { turns: 0 }).await?;
    ensure_eq!(revisions(&page.records), vec![5, 11], "the log after the next append");
    ensure_eq!(page.damage, vec![], "the damage");
    Ok(())
}

pub(in super::super) async fn a_long_beginning_is_read_whole(bench: &Bench) -> Verdict {
    const RECORD: usize = 600_000;
    if bench.capabilities.max_record < RECORD {
        return Err(Stop::Skipped("it holds no long records"));
    }
    let key = key("s")?;
    let mut head = bench.begin(&key, &["session"]).await?;
    for _ in 0..12 {
        let batch = Draft::new(head.revision.get()).sized("text", RECORD).batch();
        head = bench.storage.append(&key, at(&head), batch).await?.head;
    }
    let log = bench.log(&key).await?;
    let through = Revision::new(11);
    let kept = log.iter().filter(|record| record.revision <= through).cloned().collect();
    bench.storage.compact(&key, through, kept, &head).await?;
    let page = bench.storage.read(&key, ReadRange::After(Revision::new(3))).await?;
    let last = page.records.last().map_or(Revision::ZERO, |record| record.revision);
    ensure!(page.restarted, "the page starts anew");
    ensure!(last >= through, "a page that starts anew ends at {last}, below the base");
    ensure_eq!(bench.storage.read_after(&key, Revision::new(3)).await?.records, log, "the log");
    Ok(())
}
