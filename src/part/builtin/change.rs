//! Changes of files.

use super::prelude::*;

/// Changes of files that an answer proposes or has made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChangeSet {
    /// What they are for.
    pub title: Option<String>,
    /// The files.
    pub changes: Vec<FileChange>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// The change of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FileChange {
    /// The file.
    pub uri: String,
    /// What happens to it.
    pub change: ChangeType,
    /// Whether it has happened.
    pub state: ChangeState,
    /// The file's content before.
    pub original: Option<String>,
    /// The file's content after.
    pub target: Option<String>,
    /// Anything else: edits, an icon, in the host's own shape.
    pub details: Option<RawJson>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// What happens to a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeType {
    /// It is made.
    Add,
    /// It is changed.
    #[default]
    Modify,
    /// It is removed.
    Delete,
}

/// Whether a change has happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeState {
    /// Proposed.
    #[default]
    Pending,
    /// Made.
    Applied,
    /// Turned down or undone.
    Discarded,
    /// The file has changed otherwise since.
    Stale,
}

json_object!(ChangeSet { optional title, required changes });
json_object!(FileChange {
    required uri, required change, default state, optional original, optional target,
    optional_json details,
});

builtin_part!(ChangeSet, "change_set", |part| {
    let mut text = part.title.clone().unwrap_or_else(|| "Changes".to_owned());
    for change in &part.changes {
        let mark = match change.change {
            ChangeType::Add => '+',
            ChangeType::Modify => '~',
            ChangeType::Delete => '-',
        };
        text.push_str(&format!("\n{mark} {}", change.uri));
    }
    text.into()
});

impl FileChange {
    /// The change of a file.
    #[must_use]
    pub fn new(uri: impl Into<String>, change: ChangeType) -> Self {
        Self { uri: uri.into(), change, ..Self::default() }
    }
}
