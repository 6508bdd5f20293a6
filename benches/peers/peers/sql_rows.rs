//! LangChain's way: a row per message in one table of SQLite, found by the session's id, with the
//! engine's own settings.

use std::path::Path;

use rusqlite::{Connection, params, params_from_iter};

use super::document::{Message, Role, messages};
use super::{Entry, System};
use crate::data::{Question, Session};
use crate::harness::Result;

pub(crate) const ENTRY: Entry = Entry {
    name: "SQL row per message",
    how: "inserts a row in a transaction of its own",
    open: |folder| open(folder),
};

struct SqlRows {
    database: Connection,
}

fn open(folder: &Path) -> Result<Box<dyn System>> {
    let database = Connection::open(folder.join("history.db"))?;
    // The table that its message store makes: nothing but the primary key is indexed.
    database.execute_batch(
        "CREATE TABLE IF NOT EXISTS message_store (
             id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)",
    )?;
    Ok(Box::new(SqlRows { database }))
}

fn insert(database: &Connection, session: &str, message: &Message) -> Result<()> {
    let mut insert = database
        .prepare_cached("INSERT INTO message_store (session_id, message) VALUES (?1, ?2)")?;
    insert.execute(params![session, serde_json::to_string(message)?])?;
    Ok(())
}

impl System for SqlRows {
    fn seed(&mut self, sessions: &mut dyn Iterator<Item = Session>) -> Result<()> {
        let all = self.database.transaction()?;
        for session in sessions {
            let id = session.id.clone();
            for message in messages(session) {
                insert(&all, &id, &message)?;
            }
        }
        Ok(all.commit()?)
    }

    fn ask(&mut self, session: &str, text: &str) -> Result<()> {
        insert(&self.database, session, &Message::now(Role::User, text))
    }

    fn answer(&mut self, session: &str, text: &str) -> Result<()> {
        insert(&self.database, session, &Message::now(Role::Assistant, text))
    }

    fn newest(&mut self, session: &str, turns: usize) -> Result<usize> {
        // It reads all messages of a session, whatever is asked for.
        let mut select = self.database.prepare_cached(
            "SELECT message FROM message_store WHERE session_id = ?1 ORDER BY id",
        )?;
        let mut rows = select.query([session])?;
        let mut messages = Vec::new();
        while let Some(row) = rows.next()? {
            messages.push(serde_json::from_str::<Message>(row.get_ref(0)?.as_str()?)?);
        }
        let newest = messages.iter().rev().take(turns.saturating_mul(2));
        Ok(newest.map(|message| message.content.len()).sum())
    }

    fn list(&mut self, limit: usize) -> Result<usize> {
        let mut select = self.database.prepare_cached(
            "SELECT session_id FROM message_store
             GROUP BY session_id ORDER BY max(id) DESC LIMIT ?1",
        )?;
        let rows = select.query_map([limit as i64], |row| row.get::<_, String>(0))?;
        Ok(rows.collect::<std::result::Result<Vec<_>, _>>()?.len())
    }

    fn search(&mut self, question: &Question, limit: usize) -> Result<usize> {
        let likes: Vec<&str> =
            question.needles.iter().map(|_| "message LIKE '%' || ? || '%'").collect();
        let mut select = self.database.prepare_cached(&format!(
            "SELECT message FROM message_store WHERE {} ORDER BY id DESC LIMIT {limit}",
            likes.join(" AND ")
        ))?;
        let needles = params_from_iter(&question.needles);
        let rows = select.query_map(needles, |row| row.get::<_, String>(0))?;
        Ok(rows.collect::<std::result::Result<Vec<_>, _>>()?.len())
    }
}
