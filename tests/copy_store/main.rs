//! Moving everything from one storage to another, interrupted and resumed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail its test")]

mod chats;
mod common;
mod documents;
mod interrupted;
mod killed;
mod limited;
mod pairs;
mod resumed;
mod trouble;
