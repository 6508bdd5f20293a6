//! Parts that are text, and can be streamed.

use super::AnyPart;
use super::prelude::*;

/// Plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// Markdown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Markdown {
    /// The Markdown source.
    pub text: String,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// What a model thought before it answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thinking {
    /// The text; empty where the vendor keeps it to itself.
    pub text: String,
    /// The vendor's signature, to be sent back with it.
    pub signature: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

/// Source code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code {
    /// The code.
    pub text: String,
    /// Its language; empty where it is not known.
    pub language: String,
    /// The file that it is for.
    pub uri: Option<String>,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(Text { required text });
json_object!(Markdown { required text });
json_object!(Thinking { required text, optional signature });
json_object!(Code { required text, default language, optional uri });

builtin_part!(Text, "text", |part| part.text.as_str().into());
builtin_part!(Markdown, "markdown", |part| part.text.as_str().into());
builtin_part!(Thinking, "thinking", |part| part.text.as_str().into());
builtin_part!(Code, "code", |part| part.text.as_str().into());

impl Text {
    /// Plain text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), extra: Extra::new() }
    }
}

impl Markdown {
    /// Markdown.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), extra: Extra::new() }
    }
}

impl Thinking {
    /// A thought.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Adds the vendor's signature.
    #[must_use]
    pub fn signature(mut self, signature: impl Into<String>) -> Self {
        self.signature = Some(signature.into());
        self
    }
}

impl Code {
    /// Code in a language.
    #[must_use]
    pub fn new(language: impl Into<String>, text: impl Into<String>) -> Self {
        Self { text: text.into(), language: language.into(), ..Self::default() }
    }
}

macro_rules! text_parts {
    ($($type:ident),*) => {
        /// Whether text can be added to a part.
        pub(in crate::part) fn takes_text(part: &dyn AnyPart) -> bool {
            false $(|| part.as_any().is::<$type>())*
        }

        /// A copy of a part that text can be added to.
        pub(in crate::part) fn clone_text(part: &dyn AnyPart) -> Option<Box<dyn AnyPart>> {
            $(if let Some(part) = part.as_any().downcast_ref::<$type>() {
                return Some(Box::new(part.clone()));
            })*
            None
        }

        /// Adds text to the end of a part that takes it.
        pub(in crate::part) fn append_text(part: &mut dyn AnyPart, text: &str) {
            $(if let Some(part) = part.as_any_mut().downcast_mut::<$type>() {
                part.text.push_str(text);
                return;
            })*
        }
    };
}

text_parts!(Markdown, Text, Thinking, Code);
