//! Sessions that come as a whole.

use std::sync::Arc;

use bytes::Bytes;

use super::core::Core;
use super::extract::Changed;
use super::load::in_session;
use super::plan::checkpoint_of;
use super::write::append;
use crate::error::{Error, Result};
use crate::id::{OwnerId, TurnId};
use crate::log::{Entry, Event, events_of};
use crate::model::ChatModel;
use crate::part::{BlobRef, ResponsePart};
use crate::storage::{
    Batch, BlobId, Body, Durability, Expected, Head, HeadFields, Record, Revision, SessionKey,
};

/// Records of at most so many bytes go into one append of an import.
const BATCH_BYTES: usize = 4 << 20;

/// An import of at least so many entries ends with a checkpoint.
const CHECKPOINT_ENTRIES: usize = 16;

/// Appends a session's first entries.
pub(crate) async fn begin(
    core: &Core,
    key: &SessionKey,
    entries: &[Entry],
    expected: Expected,
) -> Result<Head> {
    let id = core.batch_id();
    let mut records = Vec::new();
    let mut head = HeadFields::new(core.clock.now());
    let mut texts = Vec::new();
    for entry in entries {
        if let Event::Session(state) = &entry.event {
            let model = ChatModel::new(state.meta.clone());
            head = head_of(&model);
            (texts, _) = Changed::by([entry]).of(core, key, &model).await?;
        }
        records.push(record(core, entry, Revision::new(records.len() as u64 + 1), id)?);
    }
    let batch = Batch {
        id,
        records,
        base: Revision::ZERO,
        head: Some(head),
        epoch: None,
        texts,
        facts: Vec::new(),
        durability: Durability::Synced,
    };
    Ok(append(&*core.storage, key, expected, &batch).await?.head)
}

fn record(
    core: &Core,
    entry: &Entry,
    revision: Revision,
    batch: crate::storage::BatchId,
) -> Result<Record> {
    let json = core.serializer.write_event(&entry.event)?;
    Ok(Record {
        revision,
        turn: entry.turn,
        kind: entry.event.kind().to_owned().into(),
        at: entry.at,
        batch,
        body: Body::Json(Bytes::copy_from_slice(json.get().as_bytes())),
    })
}

/// The head that a model shows.
pub(crate) fn head_of(model: &ChatModel) -> HeadFields {
    let meta = model.session();
    let mut head = HeadFields::new(meta.created);
    head.title = meta.title_text().to_owned();
    head.status = meta.status;
    head.pinned = meta.pinned;
    head.tags.clone_from(&meta.tags);
    head.agent.clone_from(&meta.agent);
    head.workspace = meta.workspace.as_ref().map(|workspace| workspace.id.clone());
    head.parent = meta.parent.as_ref().map(|parent| parent.session.clone());
    head.turns = model.turn_count();
    head.state = model.last_state();
    let active = model.all_turns().map(|turn| {
        let completed = turn.response().timings.completed;
        completed.unwrap_or(turn.request().at).max(turn.request().at)
    });
    head.active = active.max().unwrap_or(meta.created).max(meta.created);
    head
}

/// Stores a model under an owner.
pub(crate) async fn import(
    core: &Arc<Core>,
    owner: OwnerId,
    mut model: ChatModel,
) -> Result<SessionKey> {
    if model.has_earlier() {
        return Err(Error::invalid("an import needs all turns, and some are not loaded")
            .with("session", model.id()));
    }
    let key = SessionKey::new(owner.clone(), model.id().clone());
    Arc::make_mut(&mut model.meta).owner = owner;
    let model = end_open_responses(model);
    write_all(core, &key, &model).await.map_err(|e| in_session(e, &key))?;
    Ok(key)
}

/// Nobody writes the responses of a session that is taken in.
fn end_open_responses(mut model: ChatModel) -> ChatModel {
    let open: Vec<_> = model
        .all_turns()
        .filter(|turn| !turn.response().state.is_final())
        .map(crate::model::Turn::id)
        .collect();
    for id in open {
        if let Some(turn) = model.turn_mut(id) {
            Arc::make_mut(&mut turn.response).state = crate::model::ResponseState::Interrupted;
        }
    }
    model
}

async fn write_all(core: &Arc<Core>, key: &SessionKey, model: &ChatModel) -> Result<()> {
    let mut entries = events_of(model, core.log_info(key));
    let first: Vec<Entry> = entries.drain(..2).collect();
    if entries.len() >= CHECKPOINT_ENTRIES {
        // So that opening the newest turns need not read back to the beginning.
        let event = Event::Checkpoint(Box::new(checkpoint_of(model, core.log_info(key))));
        entries.push(Entry { turn: TurnId::SESSION, at: core.clock.now(), event });
    }
    let head = begin(core, key, &first, Expected::NewIncarnation).await?;
    let written = write_rest(core, key, model, entries, head).await;
    if written.is_err()
        && let Err(error) = core.storage.purge(key).await
    {
        // All of it or nothing: what has been written is taken back.
        tracing::error!(%error, session = %key.id, "an import that failed was left half done");
    }
    written
}

async fn write_rest(
    core: &Core,
    key: &SessionKey,
    model: &ChatModel,
    entries: Vec<Entry>,
    mut head: Head,
) -> Result<()> {
    let fields = head_of(model);
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        let id = core.batch_id();
        let (mut records, mut bytes, mut changed) = (Vec::new(), 0, Changed::default());
        while let Some(mut entry) = entries.next_if(|_| bytes < BATCH_BYTES) {
            move_to_blobs(core, key, &mut entry).await?;
            changed.note(&entry);
            let revision = head.revision.plus(records.len() as u64 + 1);
            let record = record(core, &entry, revision, id)?;
            bytes += record.body.bytes().len();
            records.push(record);
        }
        let (incarnation, revision) = (head.incarnation, head.revision);
        let (texts, facts) = changed.of(core, key, model).await?;
        let batch = Batch {
            id,
            records,
            base: Revision::ZERO,
            head: Some(fields.clone()),
            epoch: None,
            texts,
            facts,
            durability: Durability::Synced,
        };
        let expected = Expected::At { incarnation, revision };
        head = append(&*core.storage, key, expected, &batch).await?.head;
    }
    Ok(())
}

async fn move_to_blobs(core: &Core, key: &SessionKey, entry: &mut Entry) -> Result<()> {
    let Event::Response(event) = &mut entry.event else { return Ok(()) };
    for part in &mut event.response.parts {
        *part = part.with_data_inline();
        if let Some((moved, id, content)) = moved_to_blob(part, core.options.blob_threshold)? {
            core.storage.put_blob(key, &id, content).await?;
            *part = moved;
        }
    }
    Ok(())
}

/// The part with its data in a blob, and the blob, if the data is longer than the threshold.
///
/// Text stays where it is: it is what is read first.
pub(crate) fn moved_to_blob(
    part: &ResponsePart,
    threshold: usize,
) -> Result<Option<(ResponsePart, BlobId, Bytes)>> {
    if part.names_blob() || part.takes_text() {
        return Ok(None);
    }
    let Some(data) = part.data()? else { return Ok(None) };
    if data.get().len() <= threshold {
        return Ok(None);
    }
    let content = Bytes::copy_from_slice(data.get().as_bytes());
    let id = BlobId::of(&content);
    let blob = BlobRef {
        sha256: id.to_string(),
        bytes: content.len() as u64,
        extra: crate::json::Extra::new(),
    };
    Ok(Some((part.moved_to_blob(blob, shortened(&part.fallback())), id, content)))
}

/// What a fallback ends with that says less than the data.
pub(crate) const SHORTENED: char = '…';

/// A fallback for where the data is not loaded.
fn shortened(fallback: &str) -> String {
    const CHARACTERS: usize = 200;
    let mut short: String = fallback.chars().take(CHARACTERS).collect();
    if short.len() < fallback.len() {
        short.push(SHORTENED);
    }
    short
}
