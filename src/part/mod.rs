//! Response parts: what an answer is made of, and how adopters add kinds of their own.
//!
//! A type of yours becomes a part by implementing [`Part`]; a [`PartRegistry`] knows which kinds
//! there are; [`ResponsePart`] holds one of any kind. A kind that a registry does not know stays
//! as it is: it shows its fallback text and is written back token for token.

use std::borrow::Cow;
use std::fmt;

use semver::Version;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::migration::Migrations;

mod any;
mod blob;
mod builtin;
mod data;
mod envelope;
mod registry;
mod response_part;
#[cfg(test)]
mod tests;
#[cfg(feature = "typetag")]
mod typetag;
mod unknown;

pub use self::blob::BlobRef;
pub use self::builtin::{
    ChangeSet, ChangeState, ChangeType, Citation, Code, Command, Compaction, ErrorPart, FileChange,
    Horizontal, Markdown, Plan, PlanItem, PlanState, Progress, Question, QuestionOption, Resource,
    ResourceKind, Separator, Status, StatusLevel, Text, Thinking, ToolCall, ToolState,
};
pub use self::data::DataRegistry;
pub use self::registry::PartRegistry;
pub use self::response_part::ResponsePart;
#[cfg(feature = "typetag")]
#[cfg_attr(docsrs, doc(cfg(feature = "typetag")))]
pub use self::typetag::TypetagPart;
pub use self::unknown::{UnknownPart, UnknownReason};

/// A kind of response part.
///
/// The kind's name, its version and its data make up the envelope on disk:
/// `{"kind":"acme.chart","version":"2.0.0","fallback":"Chart: Sales","data":{…}}`.
///
/// # Examples
///
/// ```
/// use std::borrow::Cow;
///
/// use chatkeep::{Part, PartRegistry, ResponsePart};
/// use semver::Version;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Serialize, Deserialize)]
/// struct Chart {
///     title: String,
/// }
///
/// impl Part for Chart {
///     const KIND: &'static str = "acme.chart";
///     const VERSION: Version = Version::new(2, 0, 0);
///
///     fn fallback(&self) -> Cow<'_, str> {
///         format!("Chart: {}", self.title).into()
///     }
/// }
///
/// let part = ResponsePart::new(Chart { title: "Sales".to_owned() })?;
/// assert_eq!(part.kind(), "acme.chart");
/// assert_eq!(part.fallback(), "Chart: Sales");
/// assert_eq!(part.downcast_ref::<Chart>().map(|chart| &*chart.title), Some("Sales"));
/// # Ok::<(), chatkeep::Error>(())
/// ```
pub trait Part: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The kind's name on disk, never changed once it is used. Prefix it with the name of your
    /// product; names without a dot are the crate's own.
    const KIND: &'static str;

    /// The version of what is written. Raise the minor version when fields are added, the major
    /// one when older code could not read it any more.
    const VERSION: Version;

    /// Plain text for where the part's code is absent, and for search.
    fn fallback(&self) -> Cow<'_, str>;

    /// How to read what older versions wrote.
    #[must_use]
    fn migrations() -> Migrations {
        Migrations::new()
    }
}
