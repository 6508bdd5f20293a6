//! The built-in kinds. Their names have no dot; their envelopes leave out the version while it is
//! 1.0.0, and the fallback, which any reader makes out of the data as `docs/format.md` says.

use std::any::TypeId;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Part;
use super::any::AnyPart;
use super::registry::{Codec, codec};

mod change;
mod interaction;
mod notice;
mod resource;
mod text;
mod tool;

pub use self::change::{ChangeSet, ChangeState, ChangeType, FileChange};
pub use self::interaction::{
    Compaction, Horizontal, Plan, PlanItem, PlanState, Question, QuestionOption,
};
pub use self::notice::{Command, ErrorPart, Progress, Separator, Status, StatusLevel};
pub use self::resource::{Citation, Resource, ResourceKind};
pub use self::text::{Code, Markdown, Text, Thinking};
pub(super) use self::text::{append_text, clone_text, takes_text};
pub use self::tool::{ToolCall, ToolState};

/// Makes a struct with `extra: Extra` a built-in kind at version 1.0.0.
macro_rules! builtin_part {
    ($type:ident, $kind:literal, |$part:ident| $fallback:expr) => {
        impl $crate::part::Part for $type {
            const KIND: &'static str = $kind;
            const VERSION: semver::Version = semver::Version::new(1, 0, 0);

            fn fallback(&self) -> std::borrow::Cow<'_, str> {
                let $part = self;
                $fallback
            }
        }
    };
}

use builtin_part;

const NAMES: [&str; 17] = [
    Markdown::KIND,
    Text::KIND,
    ToolCall::KIND,
    Thinking::KIND,
    Code::KIND,
    Command::KIND,
    Progress::KIND,
    Status::KIND,
    ErrorPart::KIND,
    Question::KIND,
    Resource::KIND,
    Citation::KIND,
    ChangeSet::KIND,
    Plan::KIND,
    Compaction::KIND,
    Horizontal::KIND,
    Separator::KIND,
];

pub(super) fn is_builtin(kind: &str) -> bool {
    NAMES.contains(&kind)
}

/// Whether the type is one of the built-in ones.
pub(super) fn is_type<P: Part>() -> bool {
    let types: [TypeId; NAMES.len()] = [
        TypeId::of::<Markdown>(),
        TypeId::of::<Text>(),
        TypeId::of::<ToolCall>(),
        TypeId::of::<Thinking>(),
        TypeId::of::<Code>(),
        TypeId::of::<Command>(),
        TypeId::of::<Progress>(),
        TypeId::of::<Status>(),
        TypeId::of::<ErrorPart>(),
        TypeId::of::<Question>(),
        TypeId::of::<Resource>(),
        TypeId::of::<Citation>(),
        TypeId::of::<ChangeSet>(),
        TypeId::of::<Plan>(),
        TypeId::of::<Compaction>(),
        TypeId::of::<Horizontal>(),
        TypeId::of::<Separator>(),
    ];
    types.contains(&TypeId::of::<P>())
}

/// The kind's name without an allocation where it is a built-in one.
pub(super) fn name(kind: Cow<'_, str>) -> Cow<'static, str> {
    NAMES
        .into_iter()
        .find(|name| *name == kind)
        .map_or_else(|| Cow::Owned(kind.into_owned()), Cow::Borrowed)
}

pub(super) fn codecs() -> BTreeMap<String, Arc<dyn Codec>> {
    let mut codecs = BTreeMap::new();
    add::<Markdown>(&mut codecs);
    add::<Text>(&mut codecs);
    add::<ToolCall>(&mut codecs);
    add::<Thinking>(&mut codecs);
    add::<Code>(&mut codecs);
    add::<Command>(&mut codecs);
    add::<Progress>(&mut codecs);
    add::<Status>(&mut codecs);
    add::<ErrorPart>(&mut codecs);
    add::<Question>(&mut codecs);
    add::<Resource>(&mut codecs);
    add::<Citation>(&mut codecs);
    add::<ChangeSet>(&mut codecs);
    add::<Plan>(&mut codecs);
    add::<Compaction>(&mut codecs);
    add::<Horizontal>(&mut codecs);
    add::<Separator>(&mut codecs);
    codecs
}

#[expect(clippy::expect_used, reason = "the built-in chains are checked by a test")]
fn add<P: Part>(codecs: &mut BTreeMap<String, Arc<dyn Codec>>) {
    let codec = codec::<P>().expect("a built-in kind's migrations have no gap");
    codecs.insert(P::KIND.to_owned(), codec);
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_builtin_kind_has_a_codec() {
        let codecs = super::codecs();
        assert_eq!(codecs.len(), super::NAMES.len());
        assert!(super::NAMES.iter().all(|name| codecs.contains_key(*name)));
    }
}

#[allow(unused_imports, reason = "shared by the files of this folder")]
mod prelude {
    pub(super) use super::builtin_part;
    pub(super) use crate::json::{Extra, RawJson, json_object};
    pub(super) use serde::{Deserialize, Serialize};
    pub(super) use std::borrow::Cow;
}
