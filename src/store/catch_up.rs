//! Reading what others have added, and settling what became of one's own.

use std::sync::Arc;

use super::changes::Change;
use super::live::{Live, Pending, PendingWhat, Shared, Unresolved, Volume};
use super::load::{apply, decode, earlier, gone, in_session, load, load_damaged};
use crate::error::Result;
use crate::log::{Entry, Event};
use crate::storage::{Head, LogPage, Record, StorageExt as _};

/// Reads what others have added since, and settles what became of an append of unknown outcome.
pub(crate) async fn catch_up(shared: &Arc<Shared>) -> Result<()> {
    let (core, key) = (&shared.core, &shared.key);
    let (revision, incarnation, log, harmed) = {
        let live = shared.lock();
        let harmed = live.suspect || !live.damage.is_empty();
        (live.head.revision, live.head.incarnation, live.fold().log().clone(), harmed)
    };
    let page = match core.storage.read_after(key, revision).await {
        Err(error) if error.is_not_found() => return Err(gone(shared)),
        page => page?,
    };
    if page.head.incarnation != incarnation {
        return Err(gone(shared));
    }
    let anew = harmed || page.restarted || !page.damage.is_empty();
    if anew || is_fenced(shared, &page) {
        return reload(shared, &page.records).await;
    }
    let decoded: Result<Vec<_>> =
        page.records.iter().map(|record| decode(core, record, &log)).collect();
    let Ok(entries) = decoded else {
        // What cannot be read costs itself alone: the rest is there, and the damage is shown.
        return reload(shared, &page.records).await;
    };
    let settled = {
        let mut live = shared.lock();
        let before = live.fold().clone();
        let settled = settle(&mut live, &page.records, entries).is_ok();
        if settled {
            live.head = page.head;
        } else {
            *live.fold_mut() = before;
        }
        settled
    };
    // Records that contradict each other are damage like any other: shown, and nothing hidden.
    if settled { Ok(()) } else { reload(shared, &page.records).await }
}

/// Applies the entries of others; skips those of the append whose outcome was not known.
fn settle(live: &mut Live, records: &[Record], entries: Vec<Entry>) -> Result<()> {
    let unresolved = live.unresolved.clone().filter(|u| has_landed(u, records));
    let mut to_skip = unresolved.as_ref().map_or(0, |u| u.pending.len());
    for (record, entry) in records.iter().zip(entries) {
        if record.kind == Record::CHECKPOINT {
            live.since_checkpoint = Volume::default();
        }
        live.since_checkpoint.note(record);
        // A batch begins with the streamed text that it carries.
        if to_skip > 0 && unresolved.as_ref().is_some_and(|u| u.batch == record.batch) {
            to_skip -= 1;
            continue;
        }
        apply(live, entry)?;
    }
    resolve(live, records);
    Ok(())
}

/// Whether an append of unknown outcome is among the records that came after what was known.
fn has_landed(unresolved: &Unresolved, records: &[Record]) -> bool {
    records.iter().any(|record| record.batch == unresolved.batch)
}

/// Settles what is to become of the text of an append of unknown outcome.
fn resolve(live: &mut Live, records: &[Record]) {
    if live.unresolved.as_ref().is_some_and(|u| has_landed(u, records)) {
        (live.unresolved, live.failure, live.failures) = (None, None, 0);
    }
    live.take_back();
}

/// Whether streamed text in the model can never be written, because its claim was taken over.
fn is_fenced(shared: &Shared, page: &LogPage) -> bool {
    let live = shared.lock();
    let lost = live.unresolved.iter().filter(|unresolved| !has_landed(unresolved, &page.records));
    let lost = lost.flat_map(|unresolved| &*unresolved.pending);
    live.pending.iter().chain(lost).any(|pending| !is_writable(pending, &page.head))
}

/// Whether the claim under which text was streamed still stands.
fn is_writable(pending: &Pending, head: &Head) -> bool {
    let running = head.fields.running.as_ref();
    pending.epoch == head.fields.epoch && running.is_some_and(|r| r.turn == pending.turn)
}

/// Reads the session anew, and puts the streamed text that can still be written back in.
/// `records` are those that came after what was known.
async fn reload(shared: &Arc<Shared>, records: &[Record]) -> Result<()> {
    let (core, key) = (&shared.core, &shared.key);
    let (turns, first, suspect) = {
        let mut live = shared.lock();
        (live.shown().0, live.model().first, live.suspect)
    };
    let mut loaded = match suspect {
        true => load_damaged(core, key).await?,
        false => load(core, key, turns.max(1)).await?,
    };
    // Whoever uses a turn that was loaded finds it loaded.
    while loaded.model().first > first.max(1) {
        let missing = loaded.model().first - first;
        earlier(core, key, &mut loaded, missing).await?;
    }
    let mut live = shared.lock();
    resolve(&mut live, records);
    let pending = std::mem::take(&mut live.pending);
    loaded.fold_mut().keep_transient_of(live.fold());
    live.replace(loaded.fold().clone());
    (live.head, live.start) = (loaded.head, loaded.start);
    (live.since_checkpoint, live.damage) = (loaded.since_checkpoint, loaded.damage);
    (live.superseded, live.useful) = (0, loaded.useful);
    live.suspect = false;
    let at = live.head.fields.active;
    for pending in pending {
        if !is_writable(&pending, &live.head) {
            continue;
        }
        let mut entry = pending.entry(at);
        if let (Event::Part(event), PendingWhat::Part(part)) = (&mut entry.event, &pending.what) {
            event.part = part.unshared();
        }
        match live.fold_mut().apply(entry) {
            Ok(()) => live.pending.push(pending),
            // What it followed is lost.
            Err(error) => live.failure = Some(in_session(error, key)),
        }
    }
    live.tell(&Change::Reloaded);
    Ok(())
}
