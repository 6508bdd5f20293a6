//! The engines below `KeyValueStorage` that come with the crate: the suite, reopening, crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail its test")]

mod common;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "redb")]
mod redb_processes;
mod string_map;
