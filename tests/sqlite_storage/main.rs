//! What `SqliteStorage` promises of its file: together with other processes, under damage, after a
//! kill, and in groups.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail its test")]

mod attacked;
mod common;
mod conformance;
mod damage;
mod facade;
mod group;
mod processes;
mod purge;
mod schema;
mod search;
