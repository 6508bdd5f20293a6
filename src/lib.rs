//! An embeddable persistence library for AI chats, with pluggable serializers.
//!
//! A [`ChatModelSerializer`] composes serializers of requests and responses and a kind-keyed
//! [registry](PartRegistry) of custom response parts, with versioned [migrations](migration), and a
//! [`Storage`] trait is backed by file, memory or key-value adapters that host applications plug
//! in. A session is an append-only log of small records: what a call promises to have written is
//! on the disk when it returns, and everything else is derived from it.
//!
//! ```
//! use chatkeep::part::{Code, Markdown};
//! use chatkeep::{Budget, ChatStore, NewSession};
//!
//! # let folder = tempfile::tempdir().unwrap();
//! # let chats = folder.path();
//! # pollster::block_on(async {
//! let store = ChatStore::open(chats).await?; // a folder of files
//! let me = store.local(); // one user
//! let chat = me.create(NewSession::titled("Parser")).await?;
//!
//! let mut answer = chat.ask("Why does the parser loop?").await?; // the request is on the disk
//! answer.append_text("Because the ").await?; // streamed: soon on the disk
//! answer.append_text("sentinel is never reached.").await?;
//! answer.push(Code::new("rust", "while !eof() {}")).await?;
//! answer.complete().await?; // the answer is on the disk
//!
//! let chat = me.open(chat.id()).await?; // another process, another day
//! let model = chat.model();
//! let turn = model.turns().next().unwrap();
//! assert_eq!(turn.request().text(), "Why does the parser loop?");
//! assert_eq!(turn.response().parts()[0].downcast_ref::<Markdown>().unwrap().text.len(), 38);
//! let context = chat.context(Budget::tokens(100_000)).await?; // ready to send to a model
//! assert_eq!(context.messages().len(), 2);
//! # Ok::<(), chatkeep::Error>(())
//! # })?;
//! # Ok::<(), chatkeep::Error>(())
//! ```
//!
//! | to … | see |
//! | --- | --- |
//! | keep chats | [`ChatStore`], [`OwnedStore`], [`ChatSession`], [`Answer`] |
//! | find them again | [`ListQuery`], [`Query`], [`Hits`] |
//! | do it from synchronous code | [`blocking`] |
//! | add a kind of response part | [`Part`], [`PartRegistry`] |
//! | keep data of your own with a chat | [`DataRegistry`] |
//! | change how it is written | [`serializer`] |
//! | keep it somewhere else | [`Storage`], [`KeyValue`], the [`storage`] module |
//! | read other applications' chats | [`interop`] |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod blocking;
mod environment;
mod error;
mod id;
pub mod interop;
mod json;
pub mod log;
pub mod migration;
pub mod model;
pub mod part;
pub mod serializer;
pub mod storage;
mod store;
mod task;

pub use crate::environment::{Clock, IdSource, RandomIds, SystemClock};
pub use crate::error::{Error, ErrorKind, Result};
pub use crate::id::{MAX_ID_BYTES, OwnerId, RequestId, ResponseId, SessionId, TurnId, WorkspaceId};
pub use crate::json::{Extra, JsonMap, Number, RawJson};
pub use crate::model::{ChatModel, ResponseState, SessionStatus, Turn};
#[cfg(feature = "typetag")]
#[cfg_attr(docsrs, doc(cfg(feature = "typetag")))]
pub use crate::part::TypetagPart;
pub use crate::part::{DataRegistry, Part, PartRegistry, ResponsePart};
pub use crate::serializer::{ChatModelSerializer, JsonChatModelSerializer};
#[cfg(feature = "redb")]
#[cfg_attr(docsrs, doc(cfg(feature = "redb")))]
pub use crate::storage::RedbStorage;
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub use crate::storage::SqliteStorage;
pub use crate::storage::{
    CopyReport, Cursor, FileStorage, KeyValue, KeyValueStorage, ListOrder, ListQuery,
    MemoryStorage, Page, PassageRole, SessionHead, Storage, StringMap, StringMapStorage, TextOrder,
    copy_store,
};
pub use crate::store::{
    Answer, Budget, Change, Changes, ChatSession, ChatStore, ChatStoreBuilder, Context,
    ContextMessage, Hit, Hits, IntoPart, ListChange, ListChanges, NewRequest, NewSession,
    OwnedStore, Query, Resumed, Role, Snippet,
};

/// The README's example runs as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
