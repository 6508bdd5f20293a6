//! What a change of a log is to whoever keeps an index of logs.

use super::system::Metadata;
use super::tail::Log;
use crate::storage::{Head, HeadFields, Revision, TurnText};

/// A change of one log that is durable.
#[derive(Debug)]
#[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "nobody keeps an index"))]
pub(super) struct Change {
    /// Where the session stands now.
    pub(super) head: Head,
    /// The log's length now.
    pub(super) len: u64,
    /// What the log looked like before; none where that is not known, or it was not there.
    pub(super) before: Option<Metadata>,
    /// The revision before, and the last one that was added.
    pub(super) start: Revision,
    pub(super) through: Revision,
    /// The texts of the turns that changed.
    pub(super) texts: Vec<TurnText>,
    /// Whether it is to be in the index before the call returns.
    pub(super) at_once: bool,
    /// Whether records that were there before may read differently now.
    pub(super) stale: bool,
}

impl Change {
    /// That a log is now as it is, without a word on what was added to it.
    pub(super) fn of(log: &Log) -> Self {
        Self { before: log.look, ..Self::to(log.tail.head(), log.len) }
    }

    /// That a log of this length now stands there, without a word on what it was before.
    pub(super) fn to(head: Head, len: u64) -> Self {
        Self {
            len,
            before: None,
            start: head.revision,
            through: head.revision,
            head,
            texts: Vec::new(),
            at_once: true,
            stale: false,
        }
    }
}

/// Whether two heads differ in nothing but activity.
pub(super) fn alike(a: &HeadFields, b: &HeadFields) -> bool {
    let kept = |fields: &HeadFields| (fields.status, fields.pinned, fields.created);
    kept(a) == kept(b)
        && a.title == b.title
        && a.tags == b.tags
        && a.agent == b.agent
        && a.workspace == b.workspace
        && a.parent == b.parent
}
