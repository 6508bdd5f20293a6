//! What a session and a request begin with.

use crate::id::{RequestId, ResponseId, SessionId};
use crate::json::RawJson;
use crate::model::{Author, MessagePart, ParentSession, SessionChange, Title, Workspace};

/// A session to be created.
///
/// # Examples
///
/// ```
/// use chatkeep::{NewSession, WorkspaceId};
/// use chatkeep::model::Workspace;
///
/// let workspace = Workspace::new(WorkspaceId::new("parser")?).uri("file:///home/me/parser");
/// let session = NewSession::titled("Why it loops").workspace(workspace).tag("bug");
/// # let _ = session;
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    pub(super) id: Option<SessionId>,
    pub(super) changes: Vec<SessionChange>,
    pub(super) tags: Vec<String>,
}

impl NewSession {
    /// A session without a title.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A session with a title that a person gave.
    #[must_use]
    pub fn titled(title: impl Into<String>) -> Self {
        Self::new().with(SessionChange::Title(Some(Title::by_person(title))))
    }

    /// With an id of the host's own; a new one is made otherwise.
    #[must_use]
    pub fn id(mut self, id: impl Into<SessionId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// In a workspace. It is remembered as open there until it is closed.
    #[must_use]
    pub fn workspace(self, workspace: Workspace) -> Self {
        self.with(SessionChange::Workspace(Some(workspace)))
    }

    /// Bound to an agent.
    #[must_use]
    pub fn agent(self, agent: impl Into<String>) -> Self {
        self.with(SessionChange::Agent(Some(agent.into())))
    }

    /// Shown there: a panel, a terminal, an editor.
    #[must_use]
    pub fn location(self, location: impl Into<String>) -> Self {
        self.with(SessionChange::Location(Some(location.into())))
    }

    /// Delegated or forked from another session.
    #[must_use]
    pub fn parent(self, parent: ParentSession) -> Self {
        self.with(SessionChange::Parent(Some(parent)))
    }

    /// With the folder that commands run in.
    #[must_use]
    pub fn working_directory(self, folder: impl Into<String>) -> Self {
        self.with(SessionChange::WorkingDirectory(Some(folder.into())))
    }

    /// With a preference.
    #[must_use]
    pub fn preference(self, name: impl Into<String>, value: RawJson) -> Self {
        self.with(SessionChange::Preference(name.into(), Some(value)))
    }

    /// With a tag; called again: and that one.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// With any other property.
    #[must_use]
    pub fn with(mut self, change: SessionChange) -> Self {
        self.changes.push(change);
        self
    }
}

/// A request to be made. Text alone becomes one by itself.
///
/// # Examples
///
/// ```
/// use chatkeep::NewRequest;
/// use chatkeep::model::{Attachment, MessagePart};
///
/// let file = Attachment { name: "lexer.rs".to_owned(), ..Attachment::default() };
/// let request = NewRequest::from("Why does it loop?").part(MessagePart::Attachment(file));
/// # let _ = request;
/// ```
#[derive(Debug, Clone, Default)]
pub struct NewRequest {
    pub(super) id: Option<RequestId>,
    pub(super) response_id: Option<ResponseId>,
    pub(super) author: Author,
    pub(super) message: Vec<MessagePart>,
    pub(super) agent: Option<String>,
    pub(super) command: Option<String>,
    pub(super) model: Option<String>,
}

impl NewRequest {
    /// A request with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With an id of the host's own; a new one is made otherwise.
    #[must_use]
    pub fn id(mut self, id: impl Into<RequestId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// With an id of the host's own for the response; a new one is made otherwise.
    #[must_use]
    pub fn response_id(mut self, id: impl Into<ResponseId>) -> Self {
        self.response_id = Some(id.into());
        self
    }

    /// Made by the host, not by a person.
    #[must_use]
    pub fn by_system(mut self) -> Self {
        self.author = Author::System;
        self
    }

    /// Adds a piece: text, an attachment, a variable, a mention.
    #[must_use]
    pub fn part(mut self, part: impl Into<MessagePart>) -> Self {
        self.message.push(part.into());
        self
    }

    /// For an agent.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Calling a command.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    /// Asking for a model.
    #[must_use]
    pub fn model(mut self, model: impl Into<String>) -> Self {
        self.model = Some(model.into());
        self
    }
}

impl From<&str> for NewRequest {
    fn from(text: &str) -> Self {
        Self::new().part(text)
    }
}

impl From<String> for NewRequest {
    fn from(text: String) -> Self {
        Self::new().part(text)
    }
}

impl From<&String> for NewRequest {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}
