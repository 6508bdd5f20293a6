//! The suite that every storage passes (feature `conformance`): for adapters of your own too.
//!
//! Each case opens an isolated store, uses it as the façade does, from two handles and several
//! threads where that matters, and compares what it gets with what [`Storage`] promises. Which
//! cases apply is decided by the [`Capabilities`](super::Capabilities), never by a name.
//!
//! [`tests!`] makes one `#[test]` of each case; [`run`] runs them all and returns a [`Report`].
//!
//! # Examples
//!
//! In a file under `tests/`, for a key-value engine of your own:
//!
//! ```
//! use chatkeep::storage::key_value::MemoryKeyValue;
//!
//! mod my_engine {
//!     use super::*;
//!     // A function that gives an empty engine; clones of it share its data.
//!     chatkeep::storage::conformance::tests!(MemoryKeyValue::new);
//! }
//! # fn main() {}
//! ```
//!
//! For a whole [`Storage`] whose clones share its data, and for one that needs a
//! [`Fixture`] of its own (several handles, a file to scan):
//!
//! ```
//! # use chatkeep::storage::{MemoryStorage, conformance};
//! mod my_storage {
//!     use super::*;
//!     conformance::tests!(storage: MemoryStorage::new);
//! }
//!
//! mod my_fixture {
//!     use super::*;
//!     conformance::tests!(fixture: || conformance::of_storage(MemoryStorage::new()));
//! }
//! # fn main() {}
//! ```

mod bench;
mod cases;
mod faulty;
mod fixture;
mod list;
mod report;

#[cfg(doc)]
use super::Storage;

pub use self::fixture::{Fixture, of_key_value, of_storage};
pub use self::report::{Outcome, Report, check, run};

#[doc(inline)]
pub use crate::__chatkeep_conformance as tests;
