//! Bringing a log of an older format, or of an older serializer, up to date.

use std::sync::Arc;

use bytes::Bytes;
use semver::Version;

use super::live::Shared;
use super::load::{decode, in_session};
use crate::error::{Error, Result};
use crate::log::{Event, LogInfo};
use crate::storage::{Body, Record, Revision, StorageExt as _};

/// Whether a log was written by an older version than this process writes.
fn is_older(log: &LogInfo, format: &Version, serializer: &Version) -> bool {
    let of = |version: &Version| (version.major, version.minor);
    of(&log.format) < of(format) || of(&log.serializer.version) < of(serializer)
}

/// Rewrites a log of an older version, before it is changed: it stays as it is while it is only
/// read, and the original stays until the new log is durable. Whoever writes meanwhile wins.
pub(crate) async fn upgrade(shared: &Arc<Shared>) -> Result<()> {
    let (core, key) = (&shared.core, &shared.key);
    let written_by = {
        let live = shared.lock();
        let (serializer, log) = (&core.serializer, live.fold().log());
        if !is_older(log, serializer.format(), &serializer.version()) {
            return Ok(());
        }
        log.clone()
    };
    let now = LogInfo { extra: written_by.extra.clone(), ..core.log_info(key) };
    let log = core.storage.read_after(key, Revision::ZERO).await?;
    if let Some(damage) = log.damage.first() {
        let error = Error::corrupt(damage.problem.clone()).with("place", &damage.place);
        return Err(in_session(error, key));
    }
    let mut records = Vec::with_capacity(log.records.len());
    for record in log.records {
        let entry = decode(core, &record, &written_by)
            .map_err(|e| in_session(e, key).with("record", record.revision))?;
        let event = match entry.event {
            Event::Log(_) => Event::Log(now.clone()),
            Event::Checkpoint(mut checkpoint) => {
                checkpoint.log = now.clone();
                Event::Checkpoint(checkpoint)
            }
            event => event,
        };
        let json = core.serializer.write_event(&event)?;
        let body = Body::Json(Bytes::copy_from_slice(json.get().as_bytes()));
        records.push(Record { body, ..record });
    }
    let head = core.storage.compact(key, log.head.revision, records, &log.head).await?;
    let mut live = shared.lock();
    live.fold_mut().set_log(now);
    // What others added since this process last looked is read by the append that follows.
    if live.head.revision == head.revision {
        live.head = head;
    }
    Ok(())
}
