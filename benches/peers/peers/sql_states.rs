//! LangGraph's way: every step adds a row with the whole state of the thread to SQLite.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, params};

use super::document::{Role, Thread, page};
use super::{Entry, System};
use crate::data::{Question, Session};
use crate::harness::Result;

pub(crate) const ENTRY: Entry = Entry {
    name: "full state per step",
    how: "adds a row with the whole thread",
    open: |folder| open(folder),
};

struct SqlStates {
    database: Connection,
    /// Each thread that is open, and how many steps it has taken.
    open: BTreeMap<String, (Thread, u64)>,
}

fn open(folder: &Path) -> Result<Box<dyn System>> {
    let database = Connection::open(folder.join("checkpoints.db"))?;
    database.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE IF NOT EXISTS checkpoints (
             thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '',
             checkpoint_id TEXT NOT NULL, parent_checkpoint_id TEXT, type TEXT,
             checkpoint BLOB, metadata BLOB,
             PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id))",
    )?;
    Ok(Box::new(SqlStates { database, open: BTreeMap::new() }))
}

/// Steps sort by their names, as its time-ordered ids do.
fn name(step: u64) -> String {
    format!("{step:016}")
}

fn save(database: &Connection, thread: &Thread, step: u64) -> Result<()> {
    let mut insert = database.prepare_cached(
        "INSERT OR REPLACE INTO checkpoints
             (thread_id, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
         VALUES (?1, ?2, ?3, 'json', ?4, ?5)",
    )?;
    let parent = step.checked_sub(1).map(name);
    let metadata = format!("{{\"step\":{step},\"source\":\"loop\"}}");
    let state = serde_json::to_vec(thread)?;
    insert.execute(params![thread.id, name(step), parent, state, metadata.as_bytes()])?;
    Ok(())
}

impl SqlStates {
    fn load(&self, id: &str) -> Result<(Thread, u64)> {
        let mut select = self.database.prepare_cached(
            "SELECT checkpoint, checkpoint_id FROM checkpoints
             WHERE thread_id = ?1 AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT 1",
        )?;
        let found: (Vec<u8>, String) =
            select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok((serde_json::from_slice(&found.0)?, found.1.parse()?))
    }

    fn push(&mut self, id: &str, role: Role, text: &str) -> Result<()> {
        if !self.open.contains_key(id) {
            self.open.insert(id.to_owned(), self.load(id)?);
        }
        let (thread, step) = self.open.get_mut(id).ok_or("the thread is not open")?;
        thread.push(role, text);
        *step += 1;
        save(&self.database, thread, *step)
    }

    /// The newest state of every thread.
    fn each(&self, mut look: impl FnMut(Thread)) -> Result<()> {
        let mut select = self.database.prepare_cached(
            "SELECT checkpoint, max(checkpoint_id) FROM checkpoints
             WHERE checkpoint_ns = '' GROUP BY thread_id",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            look(serde_json::from_slice(row.get_ref(0)?.as_blob()?)?);
        }
        Ok(())
    }
}

impl System for SqlStates {
    fn seed(&mut self, sessions: &mut dyn Iterator<Item = Session>) -> Result<()> {
        let all = self.database.transaction()?;
        for session in sessions {
            // The last state alone: all of them would be some terabytes.
            save(&all, &session.into(), 1)?;
        }
        Ok(all.commit()?)
    }

    fn ask(&mut self, session: &str, text: &str) -> Result<()> {
        self.push(session, Role::User, text)
    }

    fn answer(&mut self, session: &str, text: &str) -> Result<()> {
        self.push(session, Role::Assistant, text)
    }

    fn newest(&mut self, session: &str, turns: usize) -> Result<usize> {
        Ok(self.load(session)?.0.newest(turns))
    }

    fn list(&mut self, limit: usize) -> Result<usize> {
        let mut listed = Vec::new();
        self.each(|thread| listed.push((thread.updated, thread.title)))?;
        listed.sort_unstable_by(|a, b| b.cmp(a));
        listed.truncate(limit);
        Ok(listed.len())
    }

    fn search(&mut self, question: &Question, limit: usize) -> Result<usize> {
        let mut hits = Vec::new();
        self.each(|thread| hits.extend(thread.hits(question)))?;
        Ok(page(hits, limit))
    }
}
