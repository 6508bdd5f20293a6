//! The engines below `KeyValueStorage` that come with the crate: the suite, reopening, crashes.

mod common;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "redb")]
mod redb_processes;
mod string_map;
