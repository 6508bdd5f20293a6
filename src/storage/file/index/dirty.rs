//! What this process has written and the index does not have yet.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::rows::order;
use crate::id::{OwnerId, TurnId};
use crate::storage::file::changes::Change;
use crate::storage::file::system::Metadata;
use crate::storage::{Head, Revision, SessionKey, TurnText, VersionToken};

/// One session's changes.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) head: Head,
    /// The log's length after the last change.
    pub(super) len: u64,
    /// What the log looked like before the first change, and its revision there.
    pub(super) before: Option<Metadata>,
    pub(super) start: u64,
    /// The revisions that were written here, first and last of each stretch.
    pub(super) ranges: Vec<(u64, u64)>,
    /// The text of each turn that changed, and the revision that it is of.
    pub(super) texts: BTreeMap<TurnId, (u64, TurnText)>,
    /// The session's versions before that of the head, each with its revision, as far as they were
    /// written here.
    pub(super) tokens: Vec<(u64, VersionToken)>,
    /// Whether text that is in the index may be another by now.
    pub(super) stale: bool,
}

impl From<Change> for Entry {
    fn from(change: Change) -> Self {
        let (start, last) = (change.start.get(), change.through.get());
        let texts = change.texts.into_iter().map(|text| (text.turn, (last, text))).collect();
        Self {
            head: change.head,
            len: change.len,
            before: change.before,
            start,
            ranges: (start < last).then_some((start + 1, last)).into_iter().collect(),
            texts,
            tokens: Vec::new(),
            stale: change.stale,
        }
    }
}

impl Entry {
    /// Adds changes of the same session that came later.
    fn add(&mut self, later: Change) {
        if later.head.incarnation != self.head.incarnation {
            if later.head.incarnation > self.head.incarnation {
                *self = Self::from(later);
            }
            return;
        }
        let (start, through) = (later.start.get(), later.through.get());
        if order(&later.head) >= order(&self.head) {
            let before = std::mem::replace(&mut self.head, later.head);
            self.tokens.push((before.revision.get(), before.token));
            self.len = later.len;
        }
        if start < through {
            match self.ranges.last_mut() {
                Some((_, end)) if *end == start => *end = through,
                _ => self.ranges.push((start + 1, through)),
            }
        }
        for text in later.texts {
            let known = self.texts.get(&text.turn).is_some_and(|(known, _)| *known > through);
            if !known {
                self.texts.insert(text.turn, (through, text));
            }
        }
        self.stale |= later.stale;
    }
}

impl Entry {
    /// Whether a state between the first and the last change is one that was written here.
    pub(super) fn has_made(&self, revision: Revision, token: &VersionToken) -> bool {
        let of_head = (self.head.revision.get(), &self.head.token);
        let before = self.tokens.iter().map(|(revision, token)| (*revision, token));
        before.chain([of_head]).any(|made| made == (revision.get(), token))
    }
}

pub(super) type Entries = HashMap<SessionKey, Entry>;

/// The changes that wait, and those that are being written.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    waiting: Entries,
    written: Arc<Entries>,
    /// When the waiting ones must be written.
    pub(super) due: Option<Instant>,
    pub(super) stopping: bool,
}

impl Dirty {
    /// Adds a change that must be written by then, or that somebody is about to write. Whether it is
    /// the first that waits.
    pub(super) fn add(&mut self, key: &SessionKey, change: Change, due: Option<Instant>) -> bool {
        match self.waiting.get_mut(key) {
            Some(known) => known.add(change),
            None => drop(self.waiting.insert(key.clone(), Entry::from(change))),
        }
        let first = self.due.is_none() && due.is_some();
        self.due = self.due.or(due);
        first
    }

    /// Takes what is to be written now: one session's changes, or all. They stay visible until
    /// [`finish`](Self::finish).
    pub(super) fn take(&mut self, only: Option<&SessionKey>) -> Arc<Entries> {
        self.written = Arc::new(match only {
            Some(key) => self.waiting.remove_entry(key).into_iter().collect(),
            None => std::mem::take(&mut self.waiting),
        });
        if self.waiting.is_empty() {
            self.due = None;
        }
        Arc::clone(&self.written)
    }

    /// What was taken is in the index, or is given up.
    pub(super) fn finish(&mut self) {
        self.written = Arc::default();
    }

    pub(super) fn forget(&mut self, key: &SessionKey) {
        self.waiting.remove(key);
        if self.waiting.is_empty() {
            self.due = None;
        }
    }

    /// Where an owner's changed sessions stand.
    pub(super) fn heads(&self, owner: &OwnerId) -> HashMap<SessionKey, Head> {
        let all = self.written.iter().chain(&self.waiting);
        all.filter(|(key, _)| key.owner == *owner)
            .map(|(key, entry)| (key.clone(), entry.head.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::SessionId;
    use crate::storage::{HeadFields, Incarnation};

    fn key(id: &str) -> SessionKey {
        SessionKey::new(OwnerId::local(), SessionId::new(id).unwrap())
    }

    fn change(life: u64, first: u64, last: u64) -> Change {
        let head = Head {
            incarnation: Incarnation::new(life),
            revision: Revision::new(last),
            base: Revision::ZERO,
            token: VersionToken(String::new()),
            fields: HeadFields::new(jiff::Timestamp::UNIX_EPOCH),
        };
        Change {
            head,
            len: last,
            before: None,
            start: Revision::new(first - 1),
            through: Revision::new(last),
            texts: Vec::new(),
            at_once: false,
            stale: false,
        }
    }

    #[test]
    fn whoever_waits_is_told_of_even_if_something_else_is_being_written_at_once() {
        let (mut dirty, now) = (Dirty::default(), Instant::now());
        assert!(!dirty.add(&key("a"), change(1, 1, 1), None));
        assert!(dirty.add(&key("b"), change(1, 2, 2), Some(now)));
        assert!(!dirty.add(&key("c"), change(1, 2, 2), Some(now)));
        assert_eq!(dirty.take(Some(&key("a"))).len(), 1);
        assert_eq!(dirty.due, Some(now));
        // What is being written is still shown.
        assert_eq!(dirty.heads(&OwnerId::local()).len(), 3);
        dirty.finish();
        assert_eq!(dirty.take(None).len(), 2);
        assert_eq!(dirty.due, None);
        assert!(dirty.add(&key("b"), change(1, 3, 3), Some(now)));
        dirty.forget(&key("b"));
        assert_eq!(dirty.due, None);
    }

    #[test]
    fn changes_of_one_session_become_one() {
        let mut dirty = Dirty::default();
        for (first, last) in [(3, 4), (5, 5), (8, 9), (7, 7)] {
            dirty.add(&key("a"), change(1, first, last), None);
        }
        let taken = dirty.take(None);
        let one = &taken[&key("a")];
        assert_eq!((one.start, one.head.revision.get(), one.len), (2, 9, 9));
        assert_eq!(one.ranges, [(3, 5), (8, 9), (7, 7)]);
        // The last revision that there is has none after it.
        dirty.add(&key("b"), change(1, u64::MAX, u64::MAX), None);
        dirty.add(&key("b"), change(1, u64::MAX, u64::MAX), None);
        assert_eq!(dirty.take(None)[&key("b")].ranges.len(), 2);
        dirty.add(&key("a"), change(1, 10, 10), None);
        dirty.add(&key("a"), change(2, 1, 1), None);
        dirty.add(&key("a"), change(1, 11, 11), None);
        assert_eq!(dirty.take(None)[&key("a")].head.incarnation, Incarnation::new(2));
    }
}
