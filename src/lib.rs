//! An embeddable persistence library for AI chats.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod environment;
mod error;
mod id;
mod json;
pub mod log;
pub mod migration;
pub mod model;
pub mod part;
pub mod serializer;
pub mod storage;
mod store;

pub use crate::environment::{Clock, IdSource, RandomIds, SystemClock};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::id::{OwnerId, RequestId, ResponseId, SessionId, TurnId, WorkspaceId};
pub use crate::json::{Extra, JsonMap, Number, RawJson};
pub use crate::model::{ResponseState, SessionStatus};
#[cfg(feature = "typetag")]
pub use crate::part::TypetagPart;
pub use crate::part::{DataRegistry, Part, PartRegistry, ResponsePart};
pub use crate::serializer::{ChatModelSerializer, JsonChatModelSerializer};
pub use crate::storage::{
    FileStorage, KeyValue, KeyValueStorage, ListOrder, ListQuery, MemoryStorage, Storage,
};
pub use crate::store::{
    Answer, Budget, Change, Changes, ChatSession, ChatStore, ChatStoreBuilder, Context,
    ContextMessage, IntoPart, ListChange, ListChanges, NewRequest, NewSession, OwnedStore, Role,
};
