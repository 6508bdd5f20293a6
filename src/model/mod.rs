//! The chat as plain values: sessions, turns, requests, responses, and what they hold.

mod chat;
mod data;
mod request;
mod response;
mod session;
mod state;

pub use self::chat::{ChatModel, Turn};
pub use self::data::{DataEntry, DataMap};
pub use self::request::{
    Attachment, Author, ChatRequest, Mention, MessagePart, TextPart, Variable,
};
pub use self::response::{
    ChatResponse, Feedback, Followup, Reference, ResponseError, Timings, Usage, Vote,
};
pub use self::session::{
    Draft, ParentRelation, ParentSession, QueuedRequest, SessionChange, SessionMeta, Title,
    TitleSource, Workspace,
};
pub use self::state::{ResponseState, SessionStatus};
