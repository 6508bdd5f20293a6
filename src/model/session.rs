//! What a session knows of itself, apart from its turns.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::data::DataMap;
use super::request::ChatRequest;
use super::state::SessionStatus;
use crate::id::{OwnerId, SessionId, TurnId, WorkspaceId};
use crate::json::{Extra, JsonMap, RawJson, json_object};

/// A session's own properties: everything but its turns.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionMeta {
    /// The session's id, unique within its owner.
    pub id: SessionId,
    /// Who it belongs to.
    pub owner: OwnerId,
    /// When it was created.
    pub created: Timestamp,
    /// Its title and who set it.
    pub title: Option<Title>,
    /// Whether it is active, archived or in the trash.
    pub status: SessionStatus,
    /// Whether a person pinned it.
    pub pinned: bool,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// The workspace it belongs to; none is global.
    pub workspace: Option<Workspace>,
    /// The agent it is bound to.
    pub agent: Option<String>,
    /// Where it is shown: a panel, a terminal, an editor, in the host's words.
    pub location: Option<String>,
    /// The session it came from.
    pub parent: Option<ParentSession>,
    /// The folder that commands run in.
    pub working_directory: Option<String>,
    /// The host's settings for this session, by name.
    pub preferences: JsonMap,
    /// What was being typed.
    pub draft: Option<Draft>,
    /// Requests that wait until the running response ends.
    pub queue: Vec<QueuedRequest>,
    /// Adopters' data, by id.
    pub data: DataMap,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

impl SessionMeta {
    /// A session without anything but an id, an owner and a time.
    #[must_use]
    pub fn new(owner: OwnerId, id: SessionId, created: Timestamp) -> Self {
        Self {
            id,
            owner,
            created,
            title: None,
            status: SessionStatus::Active,
            pinned: false,
            tags: Vec::new(),
            workspace: None,
            agent: None,
            location: None,
            parent: None,
            working_directory: None,
            preferences: JsonMap::default(),
            draft: None,
            queue: Vec::new(),
            data: DataMap::new(),
            extra: Extra::new(),
        }
    }

    /// The title's text; empty where none is set.
    #[must_use]
    pub fn title_text(&self) -> &str {
        self.title.as_ref().map_or("", |title| &title.text)
    }

    /// Applies one change.
    pub fn apply(&mut self, change: SessionChange) {
        match change {
            SessionChange::Title(title) => self.title = title,
            SessionChange::Status(status) => self.status = status,
            SessionChange::Pinned(pinned) => self.pinned = pinned,
            SessionChange::Tags(tags) => self.tags = sorted(tags),
            SessionChange::Workspace(workspace) => self.workspace = workspace,
            SessionChange::Agent(agent) => self.agent = agent,
            SessionChange::Location(location) => self.location = location,
            SessionChange::Parent(parent) => self.parent = parent,
            SessionChange::WorkingDirectory(folder) => self.working_directory = folder,
            SessionChange::Preference(name, value) => match value.filter(|v| !v.is_null()) {
                Some(value) => drop(self.preferences.insert(name, value)),
                None => drop(self.preferences.remove(&name)),
            },
            SessionChange::Draft(draft) => self.draft = draft,
            SessionChange::Queue(queue) => self.queue = queue,
            SessionChange::Extra(name, value) => {
                self.extra.set(&name, value.filter(|value| !value.is_null()));
            }
        }
    }
}

fn sorted(mut tags: Vec<String>) -> Vec<String> {
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// One change of a session's properties. Of two changes to the same property the last one wins.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum SessionChange {
    /// Sets or removes the title.
    Title(Option<Title>),
    /// Activates, archives or trashes.
    Status(SessionStatus),
    /// Pins or unpins.
    Pinned(bool),
    /// Sets the tags.
    Tags(Vec<String>),
    /// Moves it to a workspace, or out of one.
    Workspace(Option<Workspace>),
    /// Binds it to an agent.
    Agent(Option<String>),
    /// Sets where it is shown.
    Location(Option<String>),
    /// Sets where it came from.
    Parent(Option<ParentSession>),
    /// Sets the folder that commands run in.
    WorkingDirectory(Option<String>),
    /// Sets or removes one preference; `null` removes it as well.
    Preference(String, Option<RawJson>),
    /// Sets or removes what was being typed.
    Draft(Option<Draft>),
    /// Sets the requests that wait.
    Queue(Vec<QueuedRequest>),
    /// Sets or removes a field that this version does not know; `null` removes it as well.
    Extra(String, Option<RawJson>),
}

/// A session's title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title {
    /// The text.
    pub text: String,
    /// Whether a person set it. What a machine set may be replaced by a better guess.
    pub set_by: TitleSource,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Title { required text, default set_by });

impl Title {
    /// A title that a person gave.
    #[must_use]
    pub fn by_person(text: impl Into<String>) -> Self {
        Self { text: text.into(), set_by: TitleSource::Person, extra: Extra::new() }
    }

    /// A title that was made up automatically.
    #[must_use]
    pub fn automatic(text: impl Into<String>) -> Self {
        Self { text: text.into(), set_by: TitleSource::Automatic, extra: Extra::new() }
    }
}

/// Who set a title.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TitleSource {
    /// A person.
    #[default]
    Person,
    /// A model or the host.
    Automatic,
}

/// A workspace: an id that stays, and where it is at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// The id that stays when the folder moves.
    pub id: WorkspaceId,
    /// The URIs of its folders.
    pub uris: Vec<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Workspace { required id, default uris });

impl Workspace {
    /// A workspace whose folders are not known.
    #[must_use]
    pub fn new(id: WorkspaceId) -> Self {
        Self { id, uris: Vec::new(), extra: Extra::new() }
    }

    /// Adds the URI of a folder.
    #[must_use]
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uris.push(uri.into());
        self
    }
}

/// The session that another one came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentSession {
    /// Its id.
    pub session: SessionId,
    /// The turn at which this one left it.
    pub turn: Option<TurnId>,
    /// How this one came to be.
    pub relation: ParentRelation,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(ParentSession { required session, optional turn, default relation });

/// How a session came out of another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParentRelation {
    /// An agent handed work to another one.
    #[default]
    Delegation,
    /// A person went on from a copy.
    Fork,
}

/// What was being typed and had not been sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// The text.
    pub text: String,
    /// Anything else of the input: attachments, the mode, selections, in the host's own shape.
    pub input: Option<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Draft { default text, optional_json input });

impl From<&str> for Draft {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }
}

impl From<String> for Draft {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// A request that waits until the running response ends.
#[derive(Debug, Clone, PartialEq)]
pub struct QueuedRequest {
    /// The request.
    pub request: ChatRequest,
    /// The host's own options for sending it.
    pub options: Option<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(SessionMeta {
    required id, required owner, required created, optional title, default status, default pinned,
    default tags, optional workspace, optional agent, optional location, optional parent,
    optional working_directory, default preferences, optional draft, apart queue, apart data,
});
