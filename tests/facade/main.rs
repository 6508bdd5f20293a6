//! The façade as a host uses it, and as the world treats it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helpers fail its test")]

mod bad_input;
mod basics;
mod cancel;
mod common;
mod concurrency;
mod crash;
mod deletion;
mod disk;
mod everything;
mod failing;
mod flaky;
mod flatness;
mod history;
mod import;
mod messages;
mod older_format;
mod windows;
