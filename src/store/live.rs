//! A session as all handles of this process share it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::changes::{Change, Subscriber};
use super::core::Core;
use super::writer::Command;
use crate::error::{Error, Result};
use crate::id::TurnId;
use crate::log::{Entry, Event, Fold, PartEvent, TextEvent};
use crate::model::{ChatModel, Turn};
use crate::part::ResponsePart;
use crate::storage::{BatchId, Damage, Head, Record, Revision, SessionKey};

/// Streamed text of more bytes than this that is not on the disk yet makes its writer wait.
pub(crate) const MAX_PENDING: usize = 256 << 10;

pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    pub(crate) key: SessionKey,
    live: Mutex<Live>,
}

/// The state behind the lock.
pub(crate) struct Live {
    /// The model with everything that handles have been told, unflushed text included.
    fold: Fold,
    /// How often that was changed.
    version: u64,
    /// Where the session stands on the disk, as far as this process knows.
    pub(crate) head: Head,
    /// The first revision that was read.
    pub(crate) start: Revision,
    /// Streamed text that is in the model and not on the disk.
    pub(crate) pending: Vec<Pending>,
    /// When it is to be there.
    pub(crate) flush_at: Option<Instant>,
    /// When the claim on the running response is to be renewed.
    pub(crate) renew_at: Option<Instant>,
    /// When the writer looks after this session at the latest, if it was asked to.
    wakes_at: Option<Instant>,
    /// The epoch of the answer that this process holds.
    pub(crate) own_epoch: Option<u64>,
    /// The append that is under way, or of which it is not known whether it took effect.
    pub(crate) unresolved: Option<Unresolved>,
    /// Why the last write failed; none once one has succeeded.
    pub(crate) failure: Option<Error>,
    /// How many writes in a row have failed.
    pub(crate) failures: u32,
    /// Damage was met in what is not loaded: the log is to be read whole.
    pub(crate) suspect: bool,
    /// It was deleted.
    pub(crate) gone: bool,
    /// What of its log cannot be read. Such a session is not written to.
    pub(crate) damage: Vec<Damage>,
    /// What has been written since the last checkpoint.
    pub(crate) since_checkpoint: Volume,
    /// Records of the running response, and how many bytes sealing would make superfluous.
    pub(crate) running: Volume,
    /// Bytes that sealing has made superfluous, as far as this process knows.
    pub(crate) superseded: u64,
    /// Bytes that are of use, as far as this process knows.
    pub(crate) useful: u64,
    subscribers: Vec<Weak<Subscriber>>,
    shown: Shown,
}

/// The branch that is shown, as far back as it has been walked: it may be long, and is asked for with
/// each page of it.
#[derive(Debug, Default)]
struct Shown {
    active: Option<TurnId>,
    oldest: Option<TurnId>,
    turns: u64,
}

/// About what a record takes in its log beside its body.
pub(crate) const LINE_BYTES: u64 = 150;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Volume {
    pub(crate) turns: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    /// Of the bytes, those of the session's own properties.
    pub(crate) own: u64,
}

impl Volume {
    /// Counts a record that is in the log.
    pub(crate) fn note(&mut self, record: &Record) {
        let bytes = record.body.bytes().len() as u64;
        self.turns += u64::from(record.kind == Record::REQUEST);
        self.records += 1;
        self.bytes += bytes;
        self.own += if record.turn == TurnId::SESSION { bytes } else { 0 };
    }
}

/// Streamed text that is not on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) turn: TurnId,
    pub(crate) epoch: u64,
    pub(crate) index: usize,
    pub(crate) what: PendingWhat,
    /// How much text it is.
    pub(crate) bytes: usize,
}

#[derive(Debug, Clone)]
pub(crate) enum PendingWhat {
    /// Text for a part that is there.
    Text(String),
    /// A new part; its text is added to it until it is written.
    Part(ResponsePart),
}

impl Pending {
    pub(crate) fn entry(&self, at: jiff::Timestamp) -> Entry {
        let (epoch, index) = (Some(self.epoch), self.index);
        let event = match &self.what {
            PendingWhat::Text(text) => Event::Text(TextEvent { epoch, index, text: text.clone() }),
            PendingWhat::Part(part) => Event::Part(PartEvent { epoch, index, part: part.clone() }),
        };
        Entry { turn: self.turn, at, event }
    }
}

/// An append whose outcome is not known.
#[derive(Debug, Clone)]
pub(crate) struct Unresolved {
    pub(crate) batch: BatchId,
    /// The streamed text that it carries: it is in the model already.
    pub(crate) pending: Arc<Vec<Pending>>,
}

impl Live {
    pub(crate) fn new(fold: Fold, head: Head, start: Revision, damage: Vec<Damage>) -> Self {
        Self {
            fold,
            version: 0,
            head,
            start,
            pending: Vec::new(),
            flush_at: None,
            renew_at: None,
            wakes_at: None,
            own_epoch: None,
            unresolved: None,
            failure: None,
            failures: 0,
            suspect: false,
            gone: false,
            damage,
            since_checkpoint: Volume::default(),
            running: Volume::default(),
            superseded: 0,
            useful: 0,
            subscribers: Vec::new(),
            shown: Shown::default(),
        }
    }

    pub(crate) fn model(&self) -> &ChatModel {
        self.fold.model()
    }

    /// How many turns of the branch that is shown are loaded, and the oldest of them.
    pub(crate) fn shown(&mut self) -> (u64, Option<&Turn>) {
        let (model, shown) = (self.fold.model(), &mut self.shown);
        let walked = shown.oldest.and_then(|oldest| model.turn(oldest));
        let from = match walked.filter(|_| shown.active == model.active()) {
            Some(oldest) => oldest.parent(),
            None => {
                *shown = Shown { active: model.active(), ..Shown::default() };
                shown.active
            }
        };
        for turn in model.ancestors(from) {
            shown.oldest = Some(turn.id());
            shown.turns += 1;
        }
        (shown.turns, shown.oldest.and_then(|oldest| model.turn(oldest)))
    }

    pub(crate) fn fold(&self) -> &Fold {
        &self.fold
    }

    pub(crate) fn fold_mut(&mut self) -> &mut Fold {
        self.version += 1;
        &mut self.fold
    }

    /// Puts what was read anew in the place of all that is known.
    pub(crate) fn replace(&mut self, fold: Fold) {
        *self.fold_mut() = fold;
        self.shown = Shown::default();
    }

    /// The state, and a number by which it is known again.
    pub(crate) fn state(&self) -> (Fold, u64) {
        (self.fold.clone(), self.version)
    }

    /// Takes over what was made of that state, if nothing has changed it since.
    pub(crate) fn advance(&mut self, from: u64, to: Fold) -> bool {
        let same = self.version == from;
        if same {
            *self.fold_mut() = to;
        }
        same
    }

    /// Whether a change can be made at all.
    pub(crate) fn check(&self, key: &SessionKey) -> Result<()> {
        if self.gone {
            return Err(crate::storage::session_not_found(key));
        }
        if let Some(damage) = self.damage.first() {
            let mut error = Error::corrupt(format!(
                "the session is damaged and cannot be changed until it is repaired: {}",
                damage.problem
            ))
            .with("session", &key.id)
            .with("place", &damage.place);
            if let Some(record) = damage.record {
                error = error.with("record", record);
            }
            return Err(error);
        }
        Ok(())
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|pending| pending.bytes).sum()
    }

    /// Puts the text of an append that did not take effect back in front of what has come since.
    /// Says whether there was any.
    pub(crate) fn take_back(&mut self) -> bool {
        let Some(unresolved) = self.unresolved.take() else { return false };
        let mut pending = Arc::unwrap_or_clone(unresolved.pending);
        let had_text = !pending.is_empty();
        pending.append(&mut self.pending);
        self.pending = pending;
        had_text
    }

    pub(crate) fn has_subscribers(&self) -> bool {
        !self.subscribers.is_empty()
    }

    /// Tells the subscribers; forgets those that are gone.
    pub(crate) fn tell(&mut self, change: &Change) {
        self.subscribers.retain(|subscriber| match subscriber.upgrade() {
            Some(subscriber) => {
                subscriber.push(change.clone());
                true
            }
            None => false,
        });
    }

    pub(crate) fn subscribe(&mut self) -> Arc<Subscriber> {
        let subscriber = Arc::new(Subscriber::default());
        // Those that are gone would stay for as long as nothing changes.
        self.subscribers.retain(|subscriber| subscriber.strong_count() > 0);
        self.subscribers.push(Arc::downgrade(&subscriber));
        subscriber
    }

    /// Adds streamed text to the model at once, and to what is to be written, in pieces of at most
    /// `limit` bytes.
    #[expect(clippy::too_many_arguments, reason = "one place calls it; each is a different thing")]
    pub(crate) fn stream(
        &mut self,
        turn: TurnId,
        epoch: u64,
        text: &str,
        new_part: impl FnOnce() -> Result<ResponsePart>,
        continues: impl FnOnce(&ResponsePart) -> bool,
        at: jiff::Timestamp,
        limit: usize,
    ) -> Result<()> {
        let model = self.fold.model();
        let parts = model.turn(turn).map_or(&[][..], |turn| turn.response().parts());
        let open = parts.last().is_some_and(continues);
        let index = if open { parts.len() - 1 } else { parts.len() };
        if open {
            let event = TextEvent { epoch: Some(epoch), index, text: text.to_owned() };
            self.fold_mut().apply(Entry { turn, at, event: Event::Text(event) })?;
            self.tell(&Change::Text { turn, part: index, text: text.to_owned() });
            let last = self.pending.last_mut().filter(|last| {
                (last.turn, last.index) == (turn, index) && last.bytes + text.len() <= limit
            });
            match last {
                Some(Pending { what, bytes, .. }) => {
                    match what {
                        PendingWhat::Text(pending) => pending.push_str(text),
                        PendingWhat::Part(part) => part.append_text(text)?,
                    }
                    *bytes += text.len();
                }
                None => {
                    let (what, bytes) = (PendingWhat::Text(text.to_owned()), text.len());
                    self.pending.push(Pending { turn, epoch, index, what, bytes });
                }
            }
        } else {
            let part = new_part()?;
            // The model and what is pending each have their own copy, so that text is added to
            // either in place.
            let event = PartEvent { epoch: Some(epoch), index, part: part.unshared() };
            self.fold_mut().apply(Entry { turn, at, event: Event::Part(event) })?;
            self.tell(&Change::Part { turn, part: index });
            let (what, bytes) = (PendingWhat::Part(part), text.len());
            self.pending.push(Pending { turn, epoch, index, what, bytes });
        }
        Ok(())
    }
}

impl Shared {
    pub(crate) fn new(core: Arc<Core>, key: SessionKey, live: Live) -> Self {
        Self { core, key, live: Mutex::new(live) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Live> {
        // A panic while the lock was held cannot leave it half changed: each change is one call.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Refuses a session that was deleted.
    pub(crate) fn check_present(&self) -> Result<()> {
        if self.is_gone() {
            return Err(crate::storage::session_not_found(&self.key));
        }
        Ok(())
    }

    /// Has the writer look after this session at a moment. If it will do so before, it goes on
    /// from there: most writes need not tell it anything.
    pub(crate) fn wake_at(self: &Arc<Self>, live: &mut Live, at: Instant) -> Result<()> {
        if live.wakes_at.is_some_and(|earlier| earlier <= at) {
            return Ok(());
        }
        self.core.send(Command::WakeAt(at, Arc::downgrade(self)))?;
        live.wakes_at = Some(at);
        Ok(())
    }

    /// The writer looks after this session now: says whether anything is due, and has it look
    /// again for what is not.
    pub(crate) fn woken(self: &Arc<Self>) -> Result<bool> {
        let mut live = self.lock();
        live.wakes_at = None;
        let (now, moments) = (Instant::now(), [live.flush_at, live.renew_at]);
        if let Some(next) = moments.into_iter().flatten().filter(|at| *at > now).min() {
            self.wake_at(&mut live, next)?;
        }
        Ok(moments.into_iter().flatten().any(|at| at <= now))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.core.forget(&self.key);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use crate::part::Markdown;
    use crate::{ChatStore, MemoryStorage, NewSession};

    #[test]
    fn subscribers_that_are_gone_are_forgotten_though_nothing_changes() {
        pollster::block_on(async {
            let store = ChatStore::builder(MemoryStorage::new()).build().await.unwrap();
            let chat = store.local().create(NewSession::new()).await.unwrap();
            for _ in 0..100 {
                drop(chat.subscribe());
            }
            assert!(chat.shared.lock().subscribers.len() <= 1);
        });
    }

    /// In a log that was repaired a turn may follow another one than before.
    #[test]
    fn the_branch_is_walked_anew_once_everything_was_read_anew() {
        pollster::block_on(async {
            let store = ChatStore::builder(MemoryStorage::new()).build().await.unwrap();
            let mut chats = Vec::new();
            for branches in [true, false] {
                let chat = store.local().create(NewSession::new()).await.unwrap();
                chat.record("one", [Markdown::new("1")]).await.unwrap();
                let two = chat.record("two", [Markdown::new("2")]).await.unwrap();
                let three = match branches {
                    true => chat.edit(two, "three").await,
                    false => chat.ask("three").await,
                };
                three.unwrap().complete().await.unwrap();
                chats.push(chat);
            }
            let (fold, _) = chats[1].shared.lock().state();
            let mut live = chats[0].shared.lock();
            assert_eq!(live.shown().0, 2);
            live.replace(fold);
            assert_eq!(live.shown().0, 3);
        });
    }
}
