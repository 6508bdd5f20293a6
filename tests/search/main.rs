//! Search as a host uses it, on every storage.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail its test")]

mod attacked;
mod common;
mod index;
mod language;
mod look_through;
mod pages;
