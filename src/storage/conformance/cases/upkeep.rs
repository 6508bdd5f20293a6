//! Maintenance of what is in order.

use crate::error::ErrorKind::NotFound;
use crate::storage::conformance::bench::{Bench, Verdict, ensure_eq, key, refused, revisions};
use crate::storage::{ListQuery, Revision};

pub(in super::super) async fn a_sound_session_verifies(bench: &Bench) -> Verdict {
    let key = key("s")?;
    refused(bench.storage.maintenance().verify(&key).await, NotFound, "verifying no session")?;
    let head = bench.begin(&key, &["session", "request", "text", "checkpoint", "text"]).await?;
    let log = bench.log(&key).await?;
    let kept = vec![log[1].clone(), log[3].clone()];
    for compacted in [false, true] {
        if compacted {
            bench.storage.compact(&key, Revision::new(4), kept.clone(), &head).await?;
        }
        let report = bench.storage.maintenance().verify(&key).await?;
        ensure_eq!(report.damage, vec![], "the damage of a sound session");
        ensure_eq!(report.records, if compacted { 3 } else { 5 }, "the records read");
        ensure_eq!(report.revision, Revision::new(5), "the last readable revision");
    }
    let report = bench.storage.maintenance().repair(&key).await?;
    ensure_eq!(report.damage, vec![], "the damage that a repair of it found");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![2, 4, 5], "the log after a repair");
    Ok(())
}

pub(in super::super) async fn an_index_can_be_rebuilt(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session"]).await?;
    bench.storage.maintenance().rebuild_index(&|_| {}).await?;
    bench.storage.maintenance().scrub().await?;
    ensure_eq!(bench.storage.count(&key.owner, &ListQuery::new()).await?, 1, "the count");
    ensure_eq!(bench.storage.head(&key).await?, Some(head), "the head");
    Ok(())
}
