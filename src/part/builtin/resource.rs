//! Images, files, references and sources.

use super::prelude::*;

/// An image, a file, or a reference to something.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resource {
    /// What it is.
    pub resource: ResourceKind,
    /// Its name for people.
    pub name: Option<String>,
    /// Where it is.
    pub uri: Option<String>,
    /// Its media type.
    pub media_type: Option<String>,
    /// Its content in base64.
    pub base64: Option<String>,
    /// Its content as text.
    pub text: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// What a resource is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResourceKind {
    /// A file.
    #[default]
    File,
    /// An image.
    Image,
    /// Sound.
    Audio,
    /// A place in a file or on the web.
    Reference,
}

/// A source that the answer rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Citation {
    /// Its title.
    pub title: Option<String>,
    /// Where it is.
    pub uri: Option<String>,
    /// The words that are cited.
    pub snippet: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Resource {
    required resource, optional name, optional uri, optional media_type, optional base64,
    optional text,
});
json_object!(Citation { optional title, optional uri, optional snippet });

builtin_part!(Resource, "resource", |part| {
    let shown = part.name.as_deref().or(part.uri.as_deref());
    let shown = shown.or(part.media_type.as_deref()).unwrap_or("resource");
    format!("[{shown}]").into()
});
builtin_part!(Citation, "citation", |part| {
    match (&part.title, &part.uri) {
        (Some(title), Some(uri)) => format!("[{title}]({uri})").into(),
        (Some(shown), None) | (None, Some(shown)) => format!("[{shown}]").into(),
        (None, None) => part.snippet.as_deref().unwrap_or("[source]").into(),
    }
});

impl Resource {
    /// A resource at a place.
    #[must_use]
    pub fn at(resource: ResourceKind, uri: impl Into<String>) -> Self {
        Self { resource, uri: Some(uri.into()), ..Self::default() }
    }
}

impl Citation {
    /// A source at a place.
    #[must_use]
    pub fn new(title: impl Into<String>, uri: impl Into<String>) -> Self {
        Self { title: Some(title.into()), uri: Some(uri.into()), ..Self::default() }
    }
}
