//! What engines on SQLite share: a database file, a catalogue of sessions, full text, facts.
//!
//! The catalogue, the full text and the facts are functions over a connection. Each brings a part
//! of a schema, and knows of the others' tables only what its own documentation says.

#![allow(dead_code, unused_imports, reason = "the engines that use it follow")]

pub(crate) mod catalogue;
pub(crate) mod database;
mod error;
pub(crate) mod facts;
pub(crate) mod full_text;

pub(crate) use self::error::SqliteError;

#[cfg(test)]
mod tests;
