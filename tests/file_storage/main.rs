//! What `FileStorage` promises of its files: under torn writes, damage, failing disks, processes
//! that are killed, and things planted where files should be.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail its test")]

mod common;
mod conformance;
mod cost;
mod damage;
mod faults;
mod faulty;
#[cfg(feature = "sqlite")]
mod index;
mod layout;
mod meddling;
mod memory_disk;
mod planted;
mod power;
mod processes;
mod purge;
mod rules;
mod torn;
