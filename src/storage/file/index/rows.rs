//! What the index holds of a session beside its place in lists and its text.
//!
//! | table | holds |
//! | --- | --- |
//! | `logs` | what a session's log looked like when its head was read, and how far its text is in |
//! | `ahead` | stretches of revisions whose text came before that of the ones below them |
//! | `state` | `complete` once all logs are in; of which `store` it is; how often it was `synced` |
//!
//! A row says where its session stood at some moment, and never goes back: one that was made from
//! an append gives way to a higher revision. Only what was read from a file that is still the same
//! within the transaction is the truth, whatever the row said.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::dirty::Entry;
use crate::id::{OwnerId, TurnId};
use crate::storage::file::system::Metadata;
use crate::storage::sqlite::SqliteError;
use crate::storage::sqlite::catalogue::{self, SessionRow, Stored, integer, unsigned};
use crate::storage::sqlite::database::Schema;
use crate::storage::sqlite::full_text;
use crate::storage::{Extracted, Head, Incarnation, Revision, SessionKey, TurnText};

type Result<T, E = SqliteError> = std::result::Result<T, E>;

pub(super) const SCHEMA: Schema = Schema {
    application_id: 0x636b_6978,
    steps: &[create, full_text::create_waiting, full_text::create_digests, fourth],
    checkpoint_pages: 4_000,
};

fn create(connection: &Connection) -> Result<()> {
    catalogue::create(connection)?;
    full_text::create(connection)?;
    Ok(connection.execute_batch(
        "CREATE TABLE logs (
           session INTEGER PRIMARY KEY,
           look TEXT,
           indexed INTEGER NOT NULL,
           refused INTEGER NOT NULL,
           behind INTEGER NOT NULL
         );
         CREATE INDEX logs_behind ON logs (session) WHERE behind;
         CREATE TABLE ahead (
           session INTEGER NOT NULL,
           first INTEGER NOT NULL,
           last INTEGER NOT NULL,
           turns TEXT NOT NULL,
           PRIMARY KEY (session, first)
         ) WITHOUT ROWID;
         CREATE TABLE state (name TEXT PRIMARY KEY, value) WITHOUT ROWID;",
    )?)
}

/// Texts that cannot be had are counted. What logs look like is said anew, without the device.
fn fourth(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "CREATE INDEX logs_refused ON logs (session) WHERE refused;
         UPDATE logs SET look = NULL;",
    )?)
}

/// What is known of a session's log.
#[derive(Debug, Default)]
struct Log {
    /// None if it must be looked at.
    look: Option<String>,
    /// The text of all revisions up to this one is in.
    indexed: u64,
    /// Its text cannot be had as long as it looks so, by whoever reads now.
    refused: bool,
}

/// A stretch of revisions, and the turns whose text it changed.
#[derive(Debug)]
struct Ahead {
    first: u64,
    last: u64,
    turns: Vec<u64>,
}

/// A file's look as it is compared. Not with the number of its device, which another start of the
/// system may change for all files.
pub(super) fn look_of(found: &Metadata) -> String {
    let mut look = format!("{} {} {}", found.kind as u8, found.len, nanos(found.modified));
    if let Some(changed) = found.changed {
        look = format!("{look} c{}", nanos(changed));
    }
    if let Some(id) = found.identity {
        look = format!("{look} f{}", id.file);
    }
    look
}

fn nanos(time: SystemTime) -> i128 {
    let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|before| -nanos(before.duration()), nanos)
}

/// Whether all logs have been in the index at some time.
pub(super) fn is_complete(connection: &Connection) -> Result<bool> {
    let mut query = connection.prepare_cached("SELECT 1 FROM state WHERE name = 'complete'")?;
    Ok(query.exists(())?)
}

pub(super) fn set_complete(connection: &Connection) -> Result<()> {
    if !is_complete(connection)? {
        connection.execute("INSERT INTO state VALUES ('complete', 1)", ())?;
    }
    Ok(())
}

/// The store that it was made of.
pub(super) fn seal(connection: &Connection) -> Result<Option<String>> {
    let mut query = connection.prepare_cached("SELECT value FROM state WHERE name = 'store'")?;
    Ok(query.query_row((), |row| row.get(0)).optional()?)
}

pub(super) fn set_seal(connection: &Connection, seal: &str) -> Result<()> {
    connection.execute("INSERT INTO state VALUES ('store', ?1)", [seal])?;
    Ok(())
}

pub(super) fn set_incomplete(connection: &Connection) -> Result<()> {
    connection.execute("DELETE FROM state WHERE name = 'complete'", ())?;
    Ok(())
}

/// Changes something, so that the transaction is one that can be synced.
pub(super) fn set_synced(connection: &Connection) -> Result<()> {
    connection.execute(
        "INSERT INTO state VALUES ('synced', 1) ON CONFLICT DO UPDATE SET value = value + 1",
        (),
    )?;
    Ok(())
}

/// Order of two states of one session.
pub(super) fn order(head: &Head) -> (Incarnation, Revision, Revision) {
    (head.incarnation, head.revision, head.base)
}

impl Stored {
    fn order(&self) -> (Incarnation, Revision, Revision) {
        (self.incarnation, self.revision, self.base)
    }
}

/// Brings in what a process wrote: the texts to be indexed are added to `texts`, if they can be.
pub(super) fn put_written<'e>(
    connection: &Connection,
    key: &SessionKey,
    entry: &'e Entry,
    found: &Metadata,
    texts: Option<&mut Vec<(SessionRow, &'e TurnText)>>,
) -> Result<()> {
    let old = catalogue::find(connection, key)?;
    if old.as_ref().is_some_and(|old| old.incarnation > entry.head.incarnation) {
        return Ok(());
    }
    let row = match &old {
        None => catalogue::insert(connection, key, &entry.head)?,
        Some(old) if order(&entry.head) < old.order() => old.row,
        Some(old) => {
            // What changed alone is written, unless everything did.
            let same_life = Some(old).filter(|old| old.incarnation == entry.head.incarnation);
            catalogue::update(connection, old.row, same_life, &entry.head)?;
            old.row
        }
    };
    // The log has changed since its text was refused.
    let mut log = Log { refused: false, ..log_of(connection, row)? };
    if old.as_ref().is_some_and(|old| old.incarnation < entry.head.incarnation) {
        forget_text(connection, row)?;
        log = Log::default();
    }
    let changed_between = match (&log.look, &entry.before, &old) {
        (Some(look), Some(before), Some(old)) if old.revision.get() == entry.start => {
            *look != look_of(before)
        }
        _ => false,
    };
    // The log was put back to an earlier state, and written on from there.
    let of_another = old.as_ref().is_some_and(|old| {
        old.incarnation == entry.head.incarnation
            && entry
                .ranges
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&old.revision.get()))
            && !entry.has_made(old.revision, &old.token)
    });
    if entry.stale || changed_between || of_another {
        forget_progress(connection, row)?;
        log.indexed = 0;
    }
    let newest = match &old {
        Some(old) if old.order() > order(&entry.head) => old.revision,
        _ => {
            // Another length is another's append: the log must be looked at.
            log.look = (found.len == entry.len).then(|| look_of(found));
            entry.head.revision
        }
    };
    if let Some(texts) = texts {
        take_texts(connection, row, entry, &mut log, texts)?;
    }
    set_log(connection, row, &log, newest)
}

/// Chooses the texts that nothing newer has replaced, and notes which revisions they cover.
fn take_texts<'e>(
    connection: &Connection,
    row: SessionRow,
    entry: &'e Entry,
    log: &mut Log,
    texts: &mut Vec<(SessionRow, &'e TurnText)>,
) -> Result<()> {
    let ahead = ahead_of(connection, row)?;
    let is_new = |revision: u64, turn: TurnId| {
        let replaced = |a: &Ahead| a.first > revision && a.turns.contains(&turn.get());
        revision > log.indexed && !ahead.iter().any(replaced)
    };
    let new = entry.texts.iter().filter(|(turn, (revision, _))| is_new(*revision, **turn));
    texts.extend(new.map(|(_, (_, text))| (row, text)));
    for &(first, last) in &entry.ranges {
        if first <= log.indexed + 1 {
            log.indexed = log.indexed.max(last);
            continue;
        }
        let within = |revision: u64| (first..=last).contains(&revision);
        let turns: Vec<u64> = entry
            .texts
            .iter()
            .filter(|(_, (revision, _))| within(*revision))
            .map(|(turn, _)| turn.get())
            .collect();
        put_ahead(connection, row, &Ahead { first, last, turns })?;
    }
    absorb(connection, row, log)
}

/// Goes on over the stretches that follow by now.
fn absorb(connection: &Connection, row: SessionRow, log: &mut Log) -> Result<()> {
    for ahead in ahead_of(connection, row)? {
        if ahead.first > log.indexed + 1 {
            break;
        }
        log.indexed = log.indexed.max(ahead.last);
        connection
            .prepare_cached("DELETE FROM ahead WHERE session = ?1 AND first = ?2")?
            .execute(params![row.id, integer(ahead.first)?])?;
    }
    Ok(())
}

/// Brings in what was read from a log that still looks so; `found` is none if it must be looked at
/// again all the same.
pub(super) fn put_read(
    connection: &Connection,
    key: &SessionKey,
    head: &Head,
    found: Option<&Metadata>,
) -> Result<()> {
    let old = catalogue::find(connection, key)?;
    let row = catalogue::upsert(connection, key, head)?;
    let mut log = log_of(connection, row)?;
    let look = found.map(look_of);
    if let Some(old) = &old {
        if old.incarnation != head.incarnation {
            forget_text(connection, row)?;
            log = Log::default();
        } else if head.revision < old.revision
            // The same revision in another file, which nobody here wrote, or of another log.
            || (old.order() == order(head)
                && (old.token != head.token || log.look.is_some() && log.look != look))
        {
            forget_progress(connection, row)?;
            log.indexed = 0;
        }
    }
    log.refused &= log.look == look;
    // There is nothing to be had of a log without a head.
    log.refused |= head.revision == Revision::ZERO;
    log.look = look;
    set_log(connection, row, &log, head.revision)
}

/// Has a session's log looked at again; false if nothing is known of it.
pub(super) fn look_again(connection: &Connection, key: &SessionKey) -> Result<bool> {
    let Some(stored) = catalogue::find(connection, key)? else { return Ok(false) };
    if stored.revision == Revision::ZERO {
        return Ok(false);
    }
    let sql = "UPDATE logs SET look = NULL WHERE session = ?1";
    connection.prepare_cached(sql)?.execute([stored.row.id])?;
    Ok(true)
}

/// Brings in the text of a whole session, a part of its turns at a time.
///
/// `more` says that other parts follow. Whether the session is still there, as it was read, and needs
/// it.
pub(super) fn put_extracted(
    connection: &Connection,
    key: &SessionKey,
    extracted: &Extracted,
    part: &[TurnText],
    more: bool,
) -> Result<bool> {
    let Some(stored) = catalogue::find(connection, key)? else { return Ok(false) };
    let row = stored.row;
    let mut log = log_of(connection, row)?;
    let revision = extracted.head.revision.get();
    let of_another = stored.revision == extracted.head.revision
        && stored.base == extracted.head.base
        && stored.token != extracted.head.token;
    if stored.incarnation != extracted.head.incarnation || log.indexed > revision || of_another {
        return Ok(false);
    }
    let ahead = ahead_of(connection, row)?;
    // A stretch has its turns' texts as they are at its end.
    let replaced = |turn: u64| ahead.iter().any(|a| a.last > revision && a.turns.contains(&turn));
    let new = part.iter().filter(|text| !replaced(text.turn.get()));
    full_text::put_all(connection, new.map(|text| (row, text)))?;
    while full_text::settle(connection)? {}
    if more {
        return Ok(true);
    }
    let kept: std::collections::HashSet<u64> =
        extracted.texts.iter().map(|text| text.turn.get()).collect();
    for turn in full_text::turns(connection, row)? {
        if !kept.contains(&turn) && !replaced(turn) {
            full_text::remove_turn(connection, row, TurnId::new(turn))?;
        }
    }
    (log.indexed, log.refused) = (revision, false);
    absorb(connection, row, &mut log)?;
    set_log(connection, row, &log, stored.revision)?;
    Ok(true)
}

/// What a session's log looked like when its row was made.
pub(super) fn look_at(connection: &Connection, key: &SessionKey) -> Result<Option<String>> {
    let Some(row) = catalogue::row_of(connection, key)? else { return Ok(None) };
    Ok(log_of(connection, row)?.look)
}

/// Notes that the text of a session that looked so cannot be had until its log changes or another
/// comes to read it.
pub(super) fn refuse(connection: &Connection, key: &SessionKey, look: Option<&str>) -> Result<()> {
    let Some(stored) = catalogue::find(connection, key)? else { return Ok(()) };
    let log = log_of(connection, stored.row)?;
    if log.look.as_deref() != look {
        return Ok(());
    }
    set_log(connection, stored.row, &Log { refused: true, ..log }, stored.revision)
}

/// Has the texts that were refused read again.
pub(super) fn retry_refused(connection: &Connection) -> Result<()> {
    connection.execute("UPDATE logs SET refused = 0, behind = 1 WHERE refused", ())?;
    Ok(())
}

/// Removes all that is known of a deleted session; whether something of its words is left.
pub(super) fn remove(connection: &Connection, key: &SessionKey) -> Result<bool> {
    let Some(row) = catalogue::row_of(connection, key)? else { return Ok(false) };
    check_rules(connection, row)?;
    let words_are_left = full_text::remove_session(connection, row)?;
    remove_row(connection, key, row)?;
    Ok(words_are_left)
}

/// Removes a session whose log is gone.
pub(super) fn forget(connection: &Connection, key: &SessionKey) -> Result<()> {
    let Some(row) = catalogue::row_of(connection, key)? else { return Ok(()) };
    forget_text(connection, row)?;
    remove_row(connection, key, row)
}

fn remove_row(connection: &Connection, key: &SessionKey, row: SessionRow) -> Result<()> {
    forget_progress(connection, row)?;
    connection.prepare_cached("DELETE FROM logs WHERE session = ?1")?.execute([row.id])?;
    catalogue::remove(connection, key)?;
    Ok(())
}

/// Of how many sessions the text is not all in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Texts {
    /// How many sessions there are; none are counted if nothing is missing.
    pub(super) all: u64,
    pub(super) missing: u64,
    /// Those of them whose text is yet to be read.
    pub(super) behind: u64,
}

pub(super) fn progress(connection: &Connection) -> Result<Texts> {
    let count = |condition: &str| {
        let sql = format!("SELECT count(*) FROM logs {condition}");
        let mut query = connection.prepare_cached(&sql)?;
        unsigned(query.query_row((), |row| row.get(0))?)
    };
    let behind = count("WHERE behind")?;
    let missing = behind + count("WHERE refused")?;
    let all = if missing == 0 { 0 } else { count("")? };
    Ok(Texts { all, missing, behind })
}

/// Sessions whose text is not all in, or all sessions: owners and ids.
pub(super) fn sessions(connection: &Connection, behind: bool) -> Result<Vec<(String, String)>> {
    let condition = if behind { "WHERE behind" } else { "" };
    let sql = format!(
        "SELECT owners.owner, sessions.session FROM logs
         JOIN sessions ON sessions.id = logs.session
         JOIN owners ON owners.number = sessions.owner {condition}"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What the logs of an owner's sessions looked like, by id.
pub(super) fn looks(
    connection: &Connection,
    owner: &str,
) -> Result<HashMap<String, Option<String>>> {
    let mut query = connection.prepare_cached(
        "SELECT sessions.session, logs.look FROM sessions
         LEFT JOIN logs ON logs.session = sessions.id
         WHERE sessions.owner = (SELECT number FROM owners WHERE owner = ?1)",
    )?;
    let rows = query.query_map([owner], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A session's row, to be compared with its log before it is believed.
#[derive(Debug)]
pub(in crate::storage::file) struct Row {
    look: String,
    head: catalogue::StoredHead,
}

impl Row {
    /// Whether the row was made of a file that looks so.
    pub(in crate::storage::file) fn is_of(&self, found: &Metadata) -> bool {
        self.look == look_of(found)
    }

    /// The head; none if it is damaged.
    pub(in crate::storage::file) fn head(&self) -> Option<Head> {
        self.head.parse().ok()
    }
}

/// The rows of an owner's sessions, by id.
pub(super) fn of_owner(connection: &Connection, owner: &OwnerId) -> Result<HashMap<String, Row>> {
    let mut query = connection.prepare_cached(
        "SELECT incarnation, revision, base, token, head, sessions.session, logs.look
         FROM sessions JOIN logs ON logs.session = sessions.id
         WHERE sessions.owner = (SELECT number FROM owners WHERE owner = ?1)
         AND logs.look IS NOT NULL",
    )?;
    let mut rows = query.query([owner.as_str()])?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next()? {
        let head = catalogue::StoredHead::read(row)?;
        found.insert(row.get(5)?, Row { look: row.get(6)?, head });
    }
    Ok(found)
}

/// Everyone who has a session in the index.
pub(super) fn owners(connection: &Connection) -> Result<Vec<String>> {
    let mut query = connection.prepare_cached("SELECT owner FROM owners")?;
    let rows = query.query_map((), |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn log_of(connection: &Connection, row: SessionRow) -> Result<Log> {
    let mut query =
        connection.prepare_cached("SELECT look, indexed, refused FROM logs WHERE session = ?1")?;
    let log = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?));
    let Some((look, indexed, refused)) = query.query_row([row.id], log).optional()? else {
        return Ok(Log::default());
    };
    Ok(Log { look, indexed: unsigned(indexed)?, refused })
}

fn set_log(connection: &Connection, row: SessionRow, log: &Log, last: Revision) -> Result<()> {
    let behind = log.indexed < last.get() && !log.refused;
    connection
        .prepare_cached("INSERT OR REPLACE INTO logs VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![row.id, log.look, integer(log.indexed)?, log.refused, behind])?;
    Ok(())
}

fn ahead_of(connection: &Connection, row: SessionRow) -> Result<Vec<Ahead>> {
    let mut query = connection
        .prepare_cached("SELECT first, last, turns FROM ahead WHERE session = ?1 ORDER BY first")?;
    let mut rows = query.query([row.id])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let turns = serde_json::from_str(&row.get::<_, String>(2)?)
            .map_err(|e| SqliteError::damaged(format!("in ahead: {e}")))?;
        let (first, last) = (unsigned(row.get(0)?)?, unsigned(row.get(1)?)?);
        found.push(Ahead { first, last, turns });
    }
    Ok(found)
}

fn put_ahead(connection: &Connection, row: SessionRow, ahead: &Ahead) -> Result<()> {
    let turns = serde_json::to_string(&ahead.turns)
        .map_err(|e| SqliteError::damaged(format!("turns cannot be written: {e}")))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO ahead VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![row.id, integer(ahead.first)?, integer(ahead.last)?, turns])?;
    Ok(())
}

fn forget_text(connection: &Connection, row: SessionRow) -> Result<()> {
    check_rules(connection, row)?;
    full_text::forget_session(connection, row)?;
    forget_progress(connection, row)
}

/// What was cut by other rules cannot be taken out by these: the index must be built anew.
fn check_rules(connection: &Connection, row: SessionRow) -> Result<()> {
    if !full_text::is_current(connection)? && !full_text::indexed_turns(connection, row)?.is_empty()
    {
        return Err(SqliteError::damaged("a text was cut by the rules of a newer program"));
    }
    Ok(())
}

fn forget_progress(connection: &Connection, row: SessionRow) -> Result<()> {
    connection.prepare_cached("DELETE FROM ahead WHERE session = ?1")?.execute([row.id])?;
    Ok(())
}

#[cfg(test)]
mod tests;
