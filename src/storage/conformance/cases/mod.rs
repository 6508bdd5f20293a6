//! The cases, by group. Each is a promise of [`Storage`](crate::storage::Storage), named by its
//! function.

pub(super) mod append;
pub(super) mod blob;
pub(super) mod compact;
pub(super) mod document;
pub(super) mod isolation;
pub(super) mod list;
pub(super) mod model;
pub(super) mod moved;
pub(super) mod purge;
pub(super) mod race;
pub(super) mod read;
pub(super) mod reopen;
pub(super) mod retry;
pub(super) mod search;
pub(super) mod upkeep;
pub(super) mod watch;
pub(super) mod writer;
