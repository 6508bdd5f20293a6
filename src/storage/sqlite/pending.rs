//! Texts on their way to the full text.
//!
//! An append leaves the text of its turns in a small table, which costs little, and is as durable
//! as the append. They are moved into the index in batches: soon by a thread, and before each
//! search. Whichever process comes first moves them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Connection, Row, params};

use super::catalogue::{SessionRow, integer, unsigned};
use super::database::Sync;
use super::engine::{Engine, lock};
use super::error::SqliteError;
use super::full_text::{self, other, passages};
use crate::error::Error;
use crate::id::TurnId;
use crate::storage::TurnText;

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// How long texts are collected before they are moved. Searches do not wait for it; a turn whose text
/// is replaced again and again meanwhile, as it is streamed, is indexed once.
const DELAY: Duration = Duration::from_secs(1);
/// How many are moved in one transaction: others wait for it.
const BATCH: usize = 64;

/// Adds a text to those that are to be moved.
pub(super) fn put(connection: &Connection, session: SessionRow, text: &TurnText) -> Result<()> {
    let sql = "INSERT INTO pending_texts (session, turn, at, text) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(params![
        session.id,
        integer(text.turn.get())?,
        text.at.as_millisecond(),
        passages::encode(&text.passages)
    ])?;
    Ok(())
}

pub(super) fn remove_session(connection: &Connection, session: SessionRow) -> Result<()> {
    connection
        .prepare_cached("DELETE FROM pending_texts WHERE session = ?1")?
        .execute([session.id])?;
    Ok(())
}

/// How many there are.
fn count(connection: &Connection) -> Result<u64> {
    let mut query = connection.prepare_cached("SELECT count(*) FROM pending_texts")?;
    unsigned(query.query_row((), |row| row.get(0))?)
}

/// Moves the first texts; whether there are more.
fn move_some(connection: &Connection) -> Result<bool> {
    let mut query = connection.prepare_cached(
        "SELECT pending_texts.id, sessions.id, sessions.owner, turn, at, text
         FROM pending_texts CROSS JOIN sessions ON sessions.id = pending_texts.session
         ORDER BY pending_texts.id LIMIT ?1",
    )?;
    let mut rows = query.query([integer(BATCH as u64)?])?;
    let (mut last, mut texts) = (None, Vec::new());
    while let Some(row) = rows.next()? {
        last = Some(row.get::<_, i64>(0)?);
        texts.push(read(row)?);
    }
    drop(rows);
    let Some(last) = last else {
        // What is left belongs to no session, and would be asked for forever.
        connection.prepare_cached("DELETE FROM pending_texts")?.execute(())?;
        return Ok(false);
    };
    full_text::ensure_current(connection)?;
    full_text::put_all(connection, texts.iter().map(|(session, text)| (*session, text)))?;
    connection.prepare_cached("DELETE FROM pending_texts WHERE id <= ?1")?.execute([last])?;
    Ok(texts.len() == BATCH)
}

fn read(row: &Row<'_>) -> Result<(SessionRow, TurnText)> {
    let at = Timestamp::from_millisecond(row.get(4)?)
        .map_err(|e| SqliteError::damaged(format!("a text's time: {e}")))?;
    let session = SessionRow { id: row.get(1)?, owner: row.get(2)? };
    let turn = TurnId::new(unsigned(row.get(3)?)?);
    let passages = passages::decode(row.get_ref(5)?.as_blob().map_err(other)?)?;
    Ok((session, TurnText { turn, at, passages }))
}

/// The thread that moves texts, and what wakes it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    started: AtomicBool,
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// There are texts to move.
    came: bool,
    /// The engine is gone.
    ended: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        lock(&self.signal.state).ended = true;
        self.signal.changed.notify_all();
    }
}

impl Engine {
    /// Moves all texts that are there now. Those that come meanwhile are left to whoever comes next:
    /// where they come faster than they are moved, this would not end.
    pub(super) fn move_texts(&self) -> Result<()> {
        // Looked at by a reader first, which waits for nobody.
        let mut left = self.database.read(count)?;
        while left > 0 && self.database.write(Sync::Normal, |transaction| move_some(transaction))? {
            left = left.saturating_sub(BATCH as u64);
        }
        Ok(())
    }

    /// There are texts to move: sees to it that the thread does.
    pub(super) fn pending_came(self: &Arc<Self>) {
        let mut state = lock(&self.pending.signal.state);
        if !state.came {
            state.came = true;
            self.pending.signal.changed.notify_all();
        }
        drop(state);
        if self.pending.started.swap(true, Ordering::AcqRel) {
            return;
        }
        let (engine, signal) = (Arc::downgrade(self), Arc::clone(&self.pending.signal));
        let started = std::thread::Builder::new()
            .name("chatkeep-texts".to_owned())
            .spawn(move || move_when_they_come(&engine, &signal));
        if let Err(error) = started {
            self.pending.started.store(false, Ordering::Release);
            // They are moved before the next search.
            tracing::warn!(%error, "no thread could be started to move texts");
        }
    }
}

/// Runs until the engine is gone.
fn move_when_they_come(engine: &Weak<Engine>, signal: &Signal) {
    loop {
        let state = lock(&signal.state);
        let idle = |state: &mut State| !state.came && !state.ended;
        let state = signal.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        // More of them cost less together.
        let waited = signal.changed.wait_timeout_while(state, DELAY, |state| !state.ended);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.came = false;
        drop(state);
        let Some(engine) = engine.upgrade() else { return };
        if let Err(error) = move_gently(&engine, signal) {
            // The next search tries again, and tells whoever asks.
            tracing::warn!(error = %Error::from(error), "texts could not be moved");
        }
    }
}

/// Moves what is there, and lets others write for as long as it wrote itself: an import leaves
/// texts for minutes, for which no append should wait. Ends when nobody else has the engine; what is
/// left is durable.
fn move_gently(engine: &Arc<Engine>, signal: &Signal) -> Result<()> {
    while Arc::strong_count(engine) > 1 && engine.database.read(count)? > 0 {
        let begun = Instant::now();
        engine.database.write(Sync::Normal, |transaction| move_some(transaction))?;
        let (state, pause) = (lock(&signal.state), begun.elapsed());
        let waited = signal.changed.wait_timeout_while(state, pause, |state| !state.ended);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            break;
        }
    }
    Ok(())
}
