//! A session that begins with a base: moved here after it was compacted elsewhere.

use crate::error::ErrorKind::{Conflict, Invalid};
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, at, at_revision, ensure, ensure_eq, key, plain, refused,
    revisions, title,
};
use crate::storage::{
    Batch, Expected, Head, ListQuery, ReadRange, Revision, SessionKey, StorageExt,
};

/// The kinds of ten records of which the first six are compacted.
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

/// A first batch with a base, of these of the ten records.
fn batch(base: u64, kept: &[u64]) -> Batch {
    let mut batch = Draft::new(0).kinds(&KINDS).head(title("moved")).batch();
    batch.base = Revision::new(base);
    batch.records.retain(|record| kept.contains(&record.revision.get()));
    batch
}

const KEPT: [u64; 7] = [2, 5, 6, 7, 8, 9, 10];

async fn moved(bench: &Bench, key: &SessionKey) -> Result<(Head, Batch), Stop> {
    let batch = batch(6, &KEPT);
    let head = bench.storage.append(key, Expected::New, batch.clone()).await?.head;
    Ok((head, batch))
}

pub(in super::super) async fn begins_with_its_base(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let (head, batch) = moved(bench, &key).await?;
    ensure_eq!((head.revision.get(), head.base.get()), (10, 6), "the revision and the base");
    ensure_eq!(head.fields, title("moved"), "the fields");
    ensure_eq!(bench.log(&key).await?, batch.records, "the log");
    let second = bench.second().await?;
    ensure_eq!(plain(&second.existing_head(&key).await?), plain(&head), "the head read");
    let listed = second.list_all(&key.owner, &ListQuery::new()).await?;
    let listed: Vec<_> = listed.iter().map(|session| plain(&session.head)).collect();
    ensure_eq!(listed, vec![plain(&head)], "the list");
    let report = bench.storage.maintenance().verify(&key).await?;
    ensure_eq!(report.damage, vec![], "what verifying found");
    Ok(())
}

pub(in super::super) async fn of_compacted_records_alone(bench: &Bench) -> Verdict {
    let key = key("s")?;
    // Not even the record at the base is there.
    let batch = batch(6, &[2, 5]);
    let head = bench.storage.append(&key, Expected::New, batch.clone()).await?.head;
    ensure_eq!((head.revision.get(), head.base.get()), (6, 6), "the revision and the base");
    let second = bench.second().await?;
    ensure_eq!(plain(&second.existing_head(&key).await?), plain(&head), "the head read");
    ensure_eq!(bench.log(&key).await?, batch.records, "the log");
    let next = second.append(&key, at(&head), Draft::new(6).texts(1).batch()).await?.head;
    ensure_eq!(next.revision, Revision::new(7), "the revision of the next append");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![2, 5, 7], "the log after it");
    let page = bench.storage.read(&key, ReadRange::After(Revision::ZERO)).await?;
    ensure_eq!(page.damage, vec![], "the damage");
    Ok(())
}

pub(in super::super) async fn of_later_records_alone(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let batch = batch(6, &[7, 8, 9, 10]);
    let head = bench.storage.append(&key, Expected::New, batch.clone()).await?.head;
    ensure_eq!((head.revision.get(), head.base.get()), (10, 6), "the revision and the base");
    ensure_eq!(bench.log(&key).await?, batch.records, "the log");
    let page = bench.storage.read(&key, ReadRange::Newest { turns: 0 }).await?;
    ensure_eq!(revisions(&page.records), vec![7, 8, 9, 10], "the newest page");
    ensure!(!page.earlier, "there is nothing before the first record");
    ensure_eq!(page.damage, vec![], "what was left out is no damage");
    Ok(())
}

pub(in super::super) async fn readers_below_the_base_start_anew(bench: &Bench) -> Verdict {
    let key = key("s")?;
    moved(bench, &key).await?;
    for after in 0..=10_u64 {
        let page = bench.storage.read(&key, ReadRange::After(Revision::new(after))).await?;
        ensure_eq!(page.restarted, after < 6, "restarted of the page after {after}");
        let from = if after < 6 { 0 } else { after };
        let expected: Vec<u64> = KEPT.into_iter().filter(|r| *r > from).collect();
        ensure_eq!(revisions(&page.records), expected, "the page after {after}");
        ensure_eq!(page.damage, vec![], "the damage after {after}");
    }
    let range = ReadRange::Before { revision: Revision::new(6), turns: 1 };
    let page = bench.storage.read(&key, range).await?;
    ensure_eq!(revisions(&page.records), vec![2, 5], "the turn before the base");
    Ok(())
}

pub(in super::super) async fn writers_go_on(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let (head, batch) = moved(bench, &key).await?;
    let mut expected = batch.records;
    let stale = Draft::new(6).texts(1).batch();
    refused(bench.storage.append(&key, at_revision(6), stale).await, Conflict, "a stale writer")?;
    let second = bench.second().await?;
    let next = Draft::new(10).texts(3).batch();
    expected.extend(next.records.clone());
    let now = second.append(&key, at(&head), next).await?.head;
    ensure_eq!((now.revision.get(), now.base.get()), (13, 6), "the revision and the base");
    ensure_eq!(bench.log(&key).await?, expected, "the log");
    Ok(())
}

pub(in super::super) async fn a_retry_lands_once(bench: &Bench) -> Verdict {
    for (id, base, kept) in [("a", 6, &KEPT[..]), ("b", 6, &[2, 5]), ("c", 6, &[7])] {
        let key = key(id)?;
        let batch = batch(base, kept);
        let head = bench.storage.append(&key, Expected::New, batch.clone()).await?.head;
        let again = bench.storage.append(&key, Expected::New, batch.clone()).await?.head;
        ensure_eq!(plain(&again), plain(&head), "the head after a retry");
        bench.add(&key, &["text"]).await?;
        let now = bench.storage.existing_head(&key).await?;
        let again = bench.second().await?.append(&key, Expected::New, batch.clone()).await?.head;
        ensure_eq!(plain(&again), plain(&now), "the head after a late retry");
        ensure_eq!(bench.log(&key).await?.len(), kept.len() + 1, "the length of the log");
    }
    Ok(())
}

pub(in super::super) async fn can_be_compacted_again(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let (head, batch) = moved(bench, &key).await?;
    let below = Revision::new(5);
    let outcome = bench.storage.compact(&key, below, vec![], &head).await;
    refused(outcome, Invalid, "a compaction that ends below the base")?;
    let kept = vec![batch.records[1].clone(), batch.records[3].clone()];
    let head = bench.storage.compact(&key, Revision::new(9), kept, &head).await?;
    ensure_eq!((head.revision.get(), head.base.get()), (10, 9), "the revision and the base");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![5, 7, 10], "the log");
    Ok(())
}

pub(in super::super) async fn begins_the_next_life(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    bench.storage.purge(&key).await?;
    let batch = batch(6, &KEPT);
    let head = bench.storage.append(&key, Expected::NewIncarnation, batch.clone()).await?.head;
    ensure_eq!(head.incarnation.get(), 2, "the incarnation");
    ensure_eq!((head.revision.get(), head.base.get()), (10, 6), "the revision and the base");
    ensure_eq!(bench.log(&key).await?, batch.records, "the log");
    Ok(())
}

pub(in super::super) async fn bad_bases_are_refused(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let mut back = batch(6, &KEPT);
    back.records.swap(0, 1);
    let mut twice = batch(6, &KEPT);
    twice.records.insert(0, twice.records[0].clone());
    let mut endless = batch(u64::MAX, &[2]);
    endless.records.truncate(1);
    let bad = [
        ("a gap after the base", batch(6, &[2, 5, 8, 9, 10])),
        ("a gap further on", batch(6, &[2, 5, 7, 9, 10])),
        ("nothing that follows the base", batch(4, &[8, 9])),
        ("a base of no records", batch(6, &[])),
        ("a wrong order", back),
        ("one record twice", twice),
        ("a base that leaves no room for what follows", endless),
    ];
    for (what, batch) in bad {
        refused(bench.storage.append(&key, Expected::New, batch).await, Invalid, what)?;
    }
    ensure_eq!(bench.storage.head(&key).await?, None, "the head");
    let head = bench.begin(&key, &["session"]).await?;
    let mut late = Draft::new(1).texts(2).batch();
    late.base = Revision::new(1);
    let outcome = bench.storage.append(&key, at(&head), late).await;
    refused(outcome, Invalid, "a base in the middle of a session")?;
    ensure_eq!(bench.storage.existing_head(&key).await?, head, "the head after it");
    Ok(())
}
