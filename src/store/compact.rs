//! Dropping what sealing and checkpoints have made superfluous.

use std::collections::HashMap;
use std::sync::Arc;

use super::live::{Live, Shared};
use super::load::{gone, in_session};
use crate::error::{ErrorKind, Result};
use crate::id::TurnId;
use crate::storage::{Record, Revision, StorageExt as _};

/// So many superfluous bytes are worth a compaction, if they are a third of the useful ones, which are
/// written once more: that keeps the log of short answers below twice what was said, however slowly
/// they came in.
const WORTHWHILE: u64 = 64 << 10;
const OF_USEFUL: u64 = 3;

/// Whether a compaction pays.
pub(crate) fn is_due(live: &Live) -> bool {
    live.superseded >= WORTHWHILE.max(live.useful / OF_USEFUL) && live.head.fields.running.is_none()
}

/// Rewrites the log without its superfluous records. Whoever changes it meanwhile wins.
pub(crate) async fn compact(shared: &Arc<Shared>) -> Result<()> {
    let compacted = rewrite(shared).await;
    if compacted.is_err() {
        // Not again with every append: once as much more has become superfluous.
        shared.lock().superseded = 0;
    }
    compacted
}

async fn rewrite(shared: &Arc<Shared>) -> Result<()> {
    let (core, key) = (&shared.core, &shared.key);
    let log = match core.storage.read_after(key, Revision::ZERO).await {
        Err(error) if error.is_not_found() => return Err(gone(shared)),
        log => log?,
    };
    if log.head.incarnation != shared.lock().head.incarnation {
        return Err(gone(shared));
    }
    if let Some(damage) = log.damage.first() {
        let error = crate::error::Error::corrupt(damage.problem.clone());
        return Err(in_session(error.with("place", &damage.place), key));
    }
    if log.head.fields.running.is_some() {
        return Ok(());
    }
    let kept = keep(log.records);
    match core.storage.compact(key, log.head.revision, kept, &log.head).await {
        Ok(head) => {
            let mut live = shared.lock();
            if live.head.revision == head.revision {
                live.head = head;
            }
            live.superseded = 0;
            Ok(())
        }
        Err(error) if error.is_not_found() => Err(gone(shared)),
        // Somebody wrote in between: it is tried again after the next response.
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        Err(error) => Err(in_session(error, key)),
    }
}

/// The records that are still of use, in their order.
fn keep(records: Vec<Record>) -> Vec<Record> {
    let mut sealed: HashMap<TurnId, Revision> = HashMap::new();
    let mut checkpoint = Revision::ZERO;
    for record in &records {
        match &*record.kind {
            "response" => {
                sealed.insert(record.turn, record.revision);
            }
            Record::CHECKPOINT => checkpoint = record.revision,
            _ => {}
        }
    }
    let is_of_use = |record: &Record| {
        let before_seal = sealed.get(&record.turn).is_some_and(|sealed| record.revision < *sealed);
        let before_checkpoint = record.revision < checkpoint;
        match &*record.kind {
            "part" | "text" | "response" | "response.set" | "claim" | "feedback" => !before_seal,
            "session" | "session.set" | "active" | Record::CHECKPOINT => !before_checkpoint,
            "data" => !(record.turn == TurnId::SESSION && before_checkpoint),
            _ => true,
        }
    };
    records.into_iter().filter(is_of_use).collect()
}
