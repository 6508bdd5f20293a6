//! The chat as plain values: sessions, turns, requests, responses, and what they hold.

mod state;

pub use self::state::{ResponseState, SessionStatus};
