//! Notices and small interface elements.

use super::prelude::*;

/// A button that runs a command of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Command {
    /// The command's id.
    pub id: String,
    /// What the button says.
    pub label: String,
    /// The command's arguments.
    pub arguments: Option<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// What is going on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The message.
    pub message: String,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// A message beside the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// How grave it is.
    pub level: StatusLevel,
    /// The message.
    pub message: String,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// How grave a message is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StatusLevel {
    /// How things are.
    #[default]
    Status,
    /// Good to know.
    Info,
    /// To be minded.
    Warning,
}

/// Something that went wrong while the answer was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPart {
    /// The message.
    pub message: String,
    /// Where in the code, for those who mend it.
    pub stack: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// A line between what is above and what is below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Separator {
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Command { required id, default label, optional_json arguments });
json_object!(Progress { required message });
json_object!(Status { default level, required message });
json_object!(ErrorPart { required message, optional stack });
json_object!(Separator {});

builtin_part!(Command, "command", |part| {
    let shown = if part.label.is_empty() { &part.id } else { &part.label };
    format!("[{shown}]").into()
});
builtin_part!(Progress, "progress", |part| part.message.as_str().into());
builtin_part!(Status, "status", |part| part.message.as_str().into());
builtin_part!(ErrorPart, "error", |part| format!("Error: {}", part.message).into());
builtin_part!(Separator, "separator", |_part| "---".into());

impl Command {
    /// A button.
    #[must_use]
    pub fn new(id: impl Into<String>, label: impl Into<String>) -> Self {
        Self { id: id.into(), label: label.into(), ..Self::default() }
    }
}

impl Progress {
    /// A message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}

impl Status {
    /// A message.
    #[must_use]
    pub fn new(level: StatusLevel, message: impl Into<String>) -> Self {
        Self { level, message: message.into(), ..Self::default() }
    }
}

impl ErrorPart {
    /// A message.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }
}
