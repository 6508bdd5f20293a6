//! Tool calls.

use super::prelude::*;

/// A call of a tool by a model, with its result.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ToolCall {
    /// The call's id, by which its result is matched.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// How far it has come.
    pub state: ToolState,
    /// A title for people.
    pub title: Option<String>,
    /// The arguments: any JSON; a string while they are still coming in.
    pub arguments: Option<RawJson>,
    /// What it returned: any JSON.
    pub result: Option<RawJson>,
    /// Why it failed or was denied.
    pub error: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// How far a tool call has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolState {
    /// The arguments are coming in.
    InputStreaming,
    /// The arguments are there; it runs or is about to.
    #[default]
    InputAvailable,
    /// A person is asked whether it may run.
    ApprovalRequested,
    /// A person has answered.
    ApprovalResponded,
    /// It has returned.
    OutputAvailable,
    /// It has failed.
    OutputError,
    /// A person has denied it.
    OutputDenied,
}

impl ToolState {
    /// Whether nothing more is to come.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::OutputAvailable | Self::OutputError | Self::OutputDenied)
    }
}

json_object!(ToolCall {
    required id, required name, required state, optional title, optional_json arguments, optional_json result,
    optional error,
});

builtin_part!(ToolCall, "tool_call", |part| {
    let shown = part.title.as_deref().unwrap_or(&part.name);
    let value = |json: &RawJson| json.read::<String>().unwrap_or_else(|_| json.get().to_owned());
    let mut text = format!("[{shown}");
    if let Some(arguments) = &part.arguments {
        text.push(' ');
        text.push_str(&value(arguments));
    }
    text.push(']');
    if let Some(result) = &part.result {
        text.push(' ');
        text.push_str(&value(result));
    }
    if let Some(error) = &part.error {
        text.push_str(" failed: ");
        text.push_str(error);
    }
    text.into()
});

impl ToolCall {
    /// A call whose arguments are not there yet.
    #[must_use]
    pub fn new(id: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            state: ToolState::InputStreaming,
            ..Self::default()
        }
    }

    /// Adds the arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: RawJson) -> Self {
        self.arguments = Some(arguments);
        self.state = ToolState::InputAvailable;
        self
    }

    /// Adds what it returned.
    #[must_use]
    pub fn result(mut self, result: RawJson) -> Self {
        self.result = Some(result);
        self.state = ToolState::OutputAvailable;
        self
    }

    /// Adds why it failed.
    #[must_use]
    pub fn error(mut self, error: impl Into<String>) -> Self {
        self.error = Some(error.into());
        self.state = ToolState::OutputError;
        self
    }
}
