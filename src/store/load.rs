//! Reading a session: its end, and what lies before.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::changes::Change;
use super::core::Core;
use super::live::{LINE_BYTES, Live, Shared, Volume};
use crate::error::{Error, ErrorKind, Result};
use crate::id::TurnId;
use crate::json::{Extra, Object, RawJson};
use crate::log::{DataLevel, Entry, Event, Fold, LogInfo, SessionState};
use crate::model::{ChatModel, ResponseState, SessionMeta, Title, Turn, Workspace};
use crate::part::{BlobRef, ResponsePart};
use crate::storage::{
    BlobId, Body, Damage, Head, LogPage, ReadRange, Record, Revision, SessionKey, StorageExt as _,
};
use crate::task::Task;

/// Reads the newest turns of a session.
pub(crate) async fn load(core: &Core, key: &SessionKey, turns: u64) -> Result<Live> {
    let page = core.storage.read(key, ReadRange::Newest { turns }).await?;
    let start = page.records.first().map_or(Revision::ZERO, |record| record.revision);
    let head = page.head.clone();
    let mut damage = page.damage.clone();
    let decoded = if damage.is_empty() { decode_all(core, key, &page, &mut damage)? } else { None };
    let mut live = match decoded {
        Some(entries) if damage.is_empty() => match Fold::newest(entries, false) {
            Ok(fold) => {
                let mut live = Live::new(fold, head, start, damage);
                measure(&mut live, &page.records);
                live
            }
            // Records that contradict each other are damage like any other.
            Err(_) => load_damaged(core, key).await?,
        },
        _ => load_damaged(core, key).await?,
    };
    load_path(core, key, &mut live, turns).await?;
    Ok(live)
}

/// Notes how far back the last checkpoint lies, and about how much of the log is useful: what lies
/// before these records is taken for what they are.
fn measure(live: &mut Live, records: &[Record]) {
    let (mut useful, mut superseded, mut turns) = (0, 0, 0);
    // What has come of the responses that are not sealed so far.
    let mut open: HashMap<TurnId, u64> = HashMap::new();
    for record in records {
        if record.kind == Record::CHECKPOINT {
            live.since_checkpoint = Volume::default();
        }
        live.since_checkpoint.note(record);
        let line = record.body.bytes().len() as u64 + LINE_BYTES;
        useful += line;
        match &*record.kind {
            Record::REQUEST => turns += 1,
            "part" | "text" | "response.set" | "claim" => {
                *open.entry(record.turn).or_default() += line;
            }
            "response" => {
                let sealed = open.remove(&record.turn).unwrap_or(0);
                superseded += sealed;
                useful -= sealed;
            }
            _ => {}
        }
    }
    // Before the base there is nothing superfluous.
    let since_base = live.head.revision.get().saturating_sub(live.head.base.get());
    live.superseded = superseded / (records.len() as u64).max(1) * since_base;
    live.useful = useful / turns.max(1) * live.model().turn_count().max(1);
}

/// Reads further back until so many turns of the branch that is shown are there.
pub(crate) async fn load_path(
    core: &Core,
    key: &SessionKey,
    live: &mut Live,
    turns: u64,
) -> Result<()> {
    while live.model().has_earlier() {
        let (shown, oldest) = live.shown();
        if shown >= turns {
            break;
        }
        let before = oldest.map(Turn::parent);
        let model = live.model();
        let next = before.unwrap_or_else(|| model.active());
        let way = next.map_or(0, |next| way_to(model, next));
        earlier(core, key, live, way.max(turns - shown)).await?;
    }
    Ok(())
}

/// At most so many turns are read at once.
pub(crate) const MAX_PAGE: u64 = 4_096;

/// How many turns are to be read back so that an earlier one is loaded, as far as one page goes.
pub(crate) fn way_to(model: &ChatModel, turn: TurnId) -> u64 {
    model.first.saturating_sub(turn.get()).min(MAX_PAGE)
}

/// Reads so many turns further back. Where these are damaged the session is read whole, as far as it can
/// be, as one whose end is damaged is.
pub(crate) async fn earlier(
    core: &Core,
    key: &SessionKey,
    live: &mut Live,
    turns: u64,
) -> Result<()> {
    let read = read_before(core, key, live.start, live.fold().log(), turns).await;
    let folded = read.and_then(|(entries, start)| {
        live.fold_mut().earlier(entries).map_err(|e| in_session(e, key))?;
        live.start = start;
        Ok(())
    });
    match folded {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            *live = load_damaged(core, key).await?;
            Ok(())
        }
        done => done,
    }
}

/// The entries before a revision, back to the start of so many turns, and where they begin.
///
/// Of many turns the next ones are read while those before them are decoded, on threads of their
/// own: decoding is most of what a whole restore takes.
pub(crate) async fn read_before(
    core: &Core,
    key: &SessionKey,
    revision: Revision,
    log: &LogInfo,
    turns: u64,
) -> Result<(Vec<Entry>, Revision)> {
    /// Fewer turns are decoded sooner than a thread begins.
    const SHARE: u64 = 512;
    const MOST_THREADS: usize = 8;
    if turns <= SHARE {
        let page = page_before(core, key, revision, turns).await?;
        let entries = decode_page(core, key, &page, log)?;
        return Ok((entries, start_of(&page, revision)));
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
    std::thread::scope(|scope| {
        let (mut decoding, mut decoded) = (VecDeque::new(), Vec::new());
        let (mut start, mut missing) = (revision, turns);
        while missing > 0 {
            let page = pollster::block_on(page_before(core, key, start, missing.min(SHARE)))?;
            start = start_of(&page, start);
            missing = if page.earlier { missing.saturating_sub(SHARE) } else { 0 };
            if decoding.len() >= threads
                && let Some(first) = decoding.pop_front()
            {
                decoded.push(Task::join(first)?);
            }
            let page = Arc::new(page);
            let decode = move || decode_page(core, key, &page, log);
            decoding.push_back(Task::begin("chatkeep-decode", scope, decode));
        }
        for task in decoding {
            decoded.push(task.join()?);
        }
        // The pages came from the newest to the oldest.
        Ok((decoded.into_iter().rev().flatten().collect(), start))
    })
}

async fn page_before(
    core: &Core,
    key: &SessionKey,
    revision: Revision,
    turns: u64,
) -> Result<LogPage> {
    let page = core.storage.read(key, ReadRange::Before { revision, turns }).await?;
    if let Some(damage) = page.damage.first() {
        return Err(damaged(damage, key));
    }
    if page.records.is_empty() {
        return Err(in_session(Error::corrupt("earlier turns are not in the log"), key));
    }
    Ok(page)
}

fn start_of(page: &LogPage, before: Revision) -> Revision {
    page.records.first().map_or(before, |record| record.revision)
}

fn decode_page(core: &Core, key: &SessionKey, page: &LogPage, log: &LogInfo) -> Result<Vec<Entry>> {
    let entry = |record| decode(core, record, log).map_err(|e| in_record(e, key, record));
    page.records.iter().map(entry).collect()
}

/// A session whose log is damaged, or was, is read whole, as far as it can be: nothing is earlier.
pub(super) async fn load_damaged(core: &Core, key: &SessionKey) -> Result<Live> {
    let page = core.storage.read_after(key, Revision::ZERO).await?;
    let mut damage = page.damage.clone();
    let log = match log_info(&page.records) {
        Some(log) => log?,
        None => core.log_info(key),
    };
    check(core, key, &log)?;
    let mut entries = Vec::new();
    for record in &page.records {
        match decode(core, record, &log) {
            Ok(entry) => entries.push(entry),
            Err(error) => damage.push(undecodable(record, &error)),
        }
    }
    if damage.is_empty() {
        match Fold::newest(entries.clone(), false) {
            // A repair may have taken the first turns out: they are filled up, below.
            Ok(fold) if fold.model().has_earlier() => {}
            Ok(fold) => return Ok(Live::new(fold, page.head, Revision::ZERO, damage)),
            Err(error) => damage.push(contradiction(&entries, &page.records, &error)),
        }
    }
    let fold = match Fold::newest(entries.clone(), true) {
        Ok(fold) => fold,
        // The session's own first records are lost: its head says what it is.
        Err(_) if !damage.is_empty() => {
            entries.splice(0..0, made_of_head(&page.head, key, log));
            Fold::newest(entries, true).map_err(|e| in_session(e, key))?
        }
        Err(error) => return Err(in_session(error, key)),
    };
    Ok(Live::new(fold, page.head, Revision::ZERO, damage))
}

/// The first record that contradicts what comes before it; all of them could be read.
fn contradiction(entries: &[Entry], records: &[Record], error: &Error) -> Damage {
    let contradicts = |count: &usize| {
        let before = &entries[..*count];
        Fold::newest(before.to_vec(), true).is_ok() && Fold::newest(before.to_vec(), false).is_err()
    };
    let (mut sound, mut contradictory) = (0, entries.len());
    while contradictory - sound > 1 {
        let middle = sound + (contradictory - sound) / 2;
        if contradicts(&middle) {
            contradictory = middle;
        } else {
            sound = middle;
        }
    }
    match records.get(contradictory.saturating_sub(1)) {
        Some(record) => undecodable(record, error),
        None => Damage {
            place: "the log".to_owned(),
            record: None,
            problem: error.message().to_owned(),
        },
    }
}

fn made_of_head(head: &Head, key: &SessionKey, log: LogInfo) -> [Entry; 2] {
    let fields = &head.fields;
    let mut meta = SessionMeta::new(key.owner.clone(), key.id.clone(), fields.created);
    if !fields.title.is_empty() {
        meta.title = Some(Title::automatic(&fields.title));
    }
    meta.status = fields.status;
    meta.pinned = fields.pinned;
    meta.tags.clone_from(&fields.tags);
    meta.agent.clone_from(&fields.agent);
    meta.workspace = fields.workspace.clone().map(Workspace::new);
    let state = SessionState { meta, extra: Extra::new() };
    let entry = |event| Entry { turn: TurnId::SESSION, at: fields.created, event };
    [entry(Event::Log(log)), entry(Event::Session(Box::new(state)))]
}

fn decode_all(
    core: &Core,
    key: &SessionKey,
    page: &LogPage,
    damage: &mut Vec<Damage>,
) -> Result<Option<Vec<Entry>>> {
    let Some(log) = log_info(&page.records) else {
        damage.push(Damage {
            place: key.to_string(),
            record: Some(1),
            problem: "the log's first record is missing".to_owned(),
        });
        return Ok(None);
    };
    let log = log.map_err(|e| in_session(e, key))?;
    check(core, key, &log)?;
    let mut entries = Vec::with_capacity(page.records.len());
    for record in &page.records {
        match decode(core, record, &log) {
            Ok(entry) => entries.push(entry),
            Err(error) => {
                damage.push(undecodable(record, &error));
                return Ok(None);
            }
        }
    }
    Ok(Some(entries))
}

fn undecodable(record: &Record, error: &Error) -> Damage {
    Damage {
        place: format!("record of kind {}", record.kind),
        record: Some(record.revision.get()),
        problem: error.message().to_owned(),
    }
}

/// What a page's records say of the log: its first record does, and every checkpoint. The place is
/// the same whichever serializer wrote them.
fn log_info(records: &[Record]) -> Option<Result<LogInfo>> {
    let record = records.iter().rev().find(|record| {
        record.kind == Record::CHECKPOINT
            || (record.kind == "log" && record.turn == TurnId::SESSION)
    })?;
    Some(read_log_info(record))
}

fn read_log_info(record: &Record) -> Result<LogInfo> {
    let wrong = |e: serde_json::Error| {
        Error::corrupt("the record does not say which format it is of")
            .with("record", record.revision)
            .caused_by(e)
    };
    let body = text(record)?;
    if record.kind == Record::CHECKPOINT {
        let mut object: Object<'_> = serde_json::from_str(body).map_err(wrong)?;
        return object.require("log").map_err(wrong);
    }
    serde_json::from_str(body).map_err(wrong)
}

fn text(record: &Record) -> Result<&str> {
    match &record.body {
        Body::Json(bytes) => std::str::from_utf8(bytes)
            .map_err(|e| Error::corrupt("the record is not UTF-8").caused_by(e)),
        Body::Binary(_) => Err(Error::unsupported(
            "the record is not JSON: it was written through a wrapper that is absent",
        )),
    }
}

/// Whether this process can read the log, and whether it is the session's.
fn check(core: &Core, key: &SessionKey, log: &LogInfo) -> Result<()> {
    if log.session != key.id || log.owner != key.owner {
        let said = SessionKey::new(log.owner.clone(), log.session.clone());
        return Err(in_session(Error::corrupt(format!("the log is that of {said}")), key));
    }
    let known = core.serializer.format();
    if log.format.major > known.major {
        let message = format!("format {} is newer than {known}, the newest known", log.format);
        return Err(in_session(Error::new(ErrorKind::UnsupportedVersion, message), key));
    }
    crate::serializer::check_serializer(&log.serializer, &*core.serializer)
        .map_err(|e| in_session(e, key))
}

/// A number of turns that none is beyond, so that one that was never written cannot overflow.
const MOST_TURNS: u64 = 1 << 53;

pub(super) fn decode(core: &Core, record: &Record, log: &LogInfo) -> Result<Entry> {
    let event = core.serializer.read_event(&record.kind, text(record)?, &log.format)?;
    let turns = match &event {
        Event::Checkpoint(checkpoint) => checkpoint.turns,
        _ => record.turn.get(),
    };
    if turns > MOST_TURNS {
        return Err(Error::corrupt(format!("no session has {turns} turns")));
    }
    Ok(Entry { turn: record.turn, at: record.at, event })
}

pub(crate) fn in_session(error: Error, key: &SessionKey) -> Error {
    error.with("session", &key.id)
}

fn in_record(error: Error, key: &SessionKey, record: &Record) -> Error {
    in_session(error, key).with("record", record.revision)
}

fn damaged(damage: &Damage, key: &SessionKey) -> Error {
    let error = Error::corrupt(damage.problem.clone()).with("place", &damage.place);
    let error = match damage.record {
        Some(record) => error.with("record", record),
        None => error,
    };
    in_session(error, key)
}

/// Marks the session as deleted and says so.
pub(crate) fn gone(shared: &Shared) -> Error {
    let mut live = shared.lock();
    if !live.gone {
        live.gone = true;
        live.pending.clear();
        live.unresolved = None;
        live.tell(&Change::Deleted);
    }
    crate::storage::session_not_found(&shared.key)
}

/// Applies an entry to the model and tells the subscribers.
pub(crate) fn apply(live: &mut Live, entry: Entry) -> Result<()> {
    let (change, turn) = (change_of(&entry), entry.turn);
    live.fold_mut().apply(entry)?;
    tell(live, turn, change);
    Ok(())
}

/// Tells subscribers of an entry that is in the model already.
pub(crate) fn tell_of(live: &mut Live, entry: &Entry) {
    if live.has_subscribers() {
        tell(live, entry.turn, change_of(entry));
    }
}

fn tell(live: &mut Live, turn: TurnId, change: Option<Change>) {
    match change {
        Some(Change::Response { .. }) => {
            let state = live.model().turn(turn).map(|turn| turn.response().state);
            // Of a turn that is not loaded nobody has seen anything.
            if let Some(state) = state {
                live.tell(&Change::Response { turn, state });
            }
        }
        Some(change) => live.tell(&change),
        None => {}
    }
}

/// What subscribers are told of an entry.
fn change_of(entry: &Entry) -> Option<Change> {
    let turn = entry.turn;
    Some(match &entry.event {
        Event::Session(_) | Event::SessionSet(_) => Change::Session,
        Event::Data(data) => match data.on {
            DataLevel::Session => Change::Session,
            DataLevel::Request => Change::Turn(turn),
            DataLevel::Response => Change::Response { turn, state: ResponseState::Pending },
        },
        Event::Active(active) => Change::Active(*active),
        Event::Request(_) => Change::Turn(turn),
        Event::Part(event) => Change::Part { turn, part: event.index },
        Event::Text(event) => Change::Text { turn, part: event.index, text: event.text.clone() },
        Event::Response(event) | Event::ResponseSet(event) => {
            Change::Response { turn, state: event.response.state }
        }
        Event::Feedback(_) => Change::Response { turn, state: ResponseState::Pending },
        _ => return None,
    })
}

/// A part with the data of its blob.
pub(crate) async fn blob(
    core: &Core,
    key: &SessionKey,
    part: &ResponsePart,
    blob: &BlobRef,
) -> Result<ResponsePart> {
    let id: BlobId = blob.sha256.parse().map_err(|e: Error| {
        Error::corrupt("a part names a blob that cannot be one").caused_by(e)
    })?;
    let content = core.storage.get_blob(key, &id).await?;
    let content = content.ok_or_else(|| {
        Error::corrupt("the blob of a part is missing").with("blob", &blob.sha256)
    })?;
    let json = std::str::from_utf8(&content)
        .map_err(|e| Error::corrupt("the blob of a part is not UTF-8").caused_by(e))?;
    part.loaded(RawJson::parse(json)?, core.serializer.parts())
}
