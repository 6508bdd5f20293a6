//! An embeddable persistence library for AI chats.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod environment;
mod error;
mod id;
pub mod interop;
mod json;
pub mod migration;
pub mod model;
pub mod part;
pub mod storage;

pub use crate::environment::{Clock, IdSource, RandomIds, SystemClock};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::id::{OwnerId, RequestId, ResponseId, SessionId, TurnId, WorkspaceId};
pub use crate::json::{Extra, JsonMap, Number, RawJson};
pub use crate::model::{ResponseState, SessionStatus};
#[cfg(feature = "typetag")]
pub use crate::part::TypetagPart;
pub use crate::part::{DataRegistry, Part, PartRegistry, ResponsePart};
pub use crate::storage::{ListOrder, ListQuery};
