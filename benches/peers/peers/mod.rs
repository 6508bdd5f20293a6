//! What is compared: this crate on its engines, and what people do instead.
//!
//! Each way is written as its authors write it, but for one thing: all of them make a message
//! durable before they go on, so that they promise the same.

use std::path::Path;

use crate::data::{Question, Session};
use crate::harness::Result;
use crate::ours;

mod document;
mod json_rewrite;
mod jsonl;
pub(crate) mod limit;
mod sql_rows;
mod sql_states;
mod zstd_blob;

/// A way of keeping chats.
pub(crate) trait System {
    /// Writes sessions as a whole, without being timed, and without waiting for the disk.
    fn seed(&mut self, sessions: &mut dyn Iterator<Item = Session>) -> Result<()>;

    /// Adds a request to a session. It is on the disk when the call returns.
    fn ask(&mut self, session: &str, text: &str) -> Result<()>;

    /// Adds the answer to the last request. It is on the disk when the call returns.
    fn answer(&mut self, session: &str, text: &str) -> Result<()>;

    /// Reads a session's newest turns, and looks at every message of them. Returns how many
    /// bytes of text there are.
    fn newest(&mut self, session: &str, turns: usize) -> Result<usize>;

    /// The titles of the sessions that were active last. Returns how many there are.
    fn list(&mut self, limit: usize) -> Result<usize>;

    /// The newest messages with what is asked for. Returns how many were found.
    fn search(&mut self, question: &Question, limit: usize) -> Result<usize>;

    /// Ends it: when the call returns, all that it had put off is written.
    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// How a way of keeping chats is called, and opened in a folder of its own.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// What it does to add a message.
    pub(crate) how: &'static str,
    pub(crate) open: fn(&Path) -> Result<Box<dyn System>>,
}

/// All of them, this crate's first.
pub(crate) fn all() -> Vec<Entry> {
    let mut all = ours::entries();
    all.extend([
        json_rewrite::ENTRY,
        json_rewrite::ENTRY_WITH_INDEX,
        zstd_blob::ENTRY,
        sql_rows::ENTRY,
        sql_states::ENTRY,
        jsonl::ENTRY,
    ]);
    all
}

/// The one of this name.
pub(crate) fn entry(name: &str) -> Result<Entry> {
    let found = all().into_iter().find(|entry| entry.name == name);
    found.ok_or_else(|| format!("no system is named {name}").into())
}
