//! An embeddable persistence library for AI chats.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod environment;
mod error;
mod id;
pub mod model;
pub mod storage;

pub use crate::environment::{Clock, IdSource, RandomIds, SystemClock};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::id::{OwnerId, RequestId, ResponseId, SessionId, TurnId, WorkspaceId};
pub use crate::model::{ResponseState, SessionStatus};
pub use crate::storage::{ListOrder, ListQuery};
