//! Zed's way: a row per thread in SQLite, with the whole thread as compressed JSON in it.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, params};

use super::document::{Role, Thread, page};
use super::{Entry, System};
use crate::data::{Question, Session};
use crate::harness::Result;

pub(crate) const ENTRY: Entry = Entry {
    name: "zstd blob in SQLite",
    how: "compresses the thread's JSON anew and replaces its row",
    open: |folder| open(folder),
};

const LEVEL: i32 = 3;

struct ZstdBlob {
    database: Connection,
    /// Threads that are open, as an editor has them.
    open: BTreeMap<String, Thread>,
}

fn open(folder: &Path) -> Result<Box<dyn System>> {
    let database = Connection::open(folder.join("threads.db"))?;
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS threads (
             id TEXT PRIMARY KEY, summary TEXT NOT NULL, updated_at TEXT NOT NULL,
             data_type TEXT NOT NULL, data BLOB NOT NULL)",
    )?;
    Ok(Box::new(ZstdBlob { database, open: BTreeMap::new() }))
}

fn save(database: &Connection, thread: &Thread) -> Result<()> {
    let data = zstd::encode_all(&*serde_json::to_vec(thread)?, LEVEL)?;
    let mut insert = database.prepare_cached(
        "INSERT OR REPLACE INTO threads (id, summary, updated_at, data_type, data)
         VALUES (?1, ?2, ?3, 'zstd', ?4)",
    )?;
    insert.execute(params![thread.id, thread.title, format!("{:.3}", thread.updated), data])?;
    Ok(())
}

fn unpack(data: &[u8]) -> Result<Thread> {
    Ok(serde_json::from_slice(&zstd::decode_all(data)?)?)
}

impl ZstdBlob {
    fn load(&self, id: &str) -> Result<Thread> {
        let data: Vec<u8> = self
            .database
            .prepare_cached("SELECT data FROM threads WHERE id = ?1")?
            .query_row([id], |row| row.get(0))?;
        unpack(&data)
    }

    fn push(&mut self, id: &str, role: Role, text: &str) -> Result<()> {
        if !self.open.contains_key(id) {
            self.open.insert(id.to_owned(), self.load(id)?);
        }
        let thread = self.open.get_mut(id).ok_or("the thread is not open")?;
        thread.push(role, text);
        save(&self.database, thread)
    }
}

impl System for ZstdBlob {
    fn seed(&mut self, sessions: &mut dyn Iterator<Item = Session>) -> Result<()> {
        let all = self.database.transaction()?;
        for session in sessions {
            save(&all, &session.into())?;
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
        Ok(self.load(session)?.newest(turns))
    }

    fn list(&mut self, limit: usize) -> Result<usize> {
        let mut list = self.database.prepare_cached(
            "SELECT id, summary, updated_at FROM threads ORDER BY updated_at DESC",
        )?;
        // All of them, as the sidebar takes them.
        let rows = list.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
        })?;
        let all = rows.collect::<std::result::Result<Vec<_>, _>>()?;
        Ok(all.len().min(limit))
    }

    fn search(&mut self, question: &Question, limit: usize) -> Result<usize> {
        let mut all = self.database.prepare_cached("SELECT data FROM threads")?;
        let mut rows = all.query([])?;
        let mut hits = Vec::new();
        while let Some(row) = rows.next()? {
            hits.extend(unpack(&row.get::<_, Vec<u8>>(0)?)?.hits(question));
        }
        Ok(page(hits, limit))
    }
}
