//! Texts of sessions that were read for a search, kept for the next one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{Head, Incarnation, Revision, SessionKey, TurnText};

/// So many bytes of text are kept at most.
const MAX_BYTES: usize = 64 << 20;
/// What a passage and a turn take beside their text, about.
const OVERHEAD: usize = 128;

/// The texts of sessions at the revision at which they were read.
#[derive(Default)]
pub(crate) struct TextCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    sessions: HashMap<SessionKey, Texts>,
    bytes: usize,
    /// Which search it is, counted from 1.
    search: u64,
    /// In this search there was no room, and what is old has gone.
    swept: bool,
}

struct Texts {
    life: (Incarnation, Revision),
    texts: Arc<Vec<TurnText>>,
    bytes: usize,
    /// The last search that used them.
    used: u64,
}

impl TextCache {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // What is kept is whole between any two statements that may panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a search begins.
    pub(super) fn begin(&self) {
        let mut kept = self.lock();
        kept.search += 1;
        kept.swept = false;
    }

    /// The texts of a session, if they were kept as of this head.
    pub(super) fn of(&self, key: &SessionKey, head: &Head) -> Option<Arc<Vec<TurnText>>> {
        let mut kept = self.lock();
        let search = kept.search;
        let texts = kept.sessions.get_mut(key)?;
        if texts.life != (head.incarnation, head.revision) {
            return None;
        }
        texts.used = search;
        Some(Arc::clone(&texts.texts))
    }

    /// Keeps the texts of a session if there is room.
    pub(super) fn keep(&self, key: &SessionKey, head: &Head, texts: &Arc<Vec<TurnText>>) {
        let passages = texts.iter().flat_map(|text| &text.passages);
        let size = passages.map(|p| p.text.len() + p.kind.len() + OVERHEAD).sum::<usize>();
        let bytes = size + texts.len() * OVERHEAD;
        let mut kept = self.lock();
        kept.remove(key);
        if kept.bytes + bytes > MAX_BYTES {
            kept.sweep();
        }
        if kept.bytes + bytes > MAX_BYTES {
            return;
        }
        let (life, used) = ((head.incarnation, head.revision), kept.search);
        kept.bytes += bytes;
        let texts = Texts { life, texts: Arc::clone(texts), bytes, used };
        kept.sessions.insert(key.clone(), texts);
    }

    /// Drops the texts of a session that was deleted.
    pub(crate) fn forget(&self, key: &SessionKey) {
        self.lock().remove(key);
    }
}

impl Kept {
    fn remove(&mut self, key: &SessionKey) {
        if let Some(texts) = self.sessions.remove(key) {
            self.bytes -= texts.bytes;
        }
    }

    /// Drops what neither this search nor the last one used. What they used stays even if it is
    /// not all there is: to drop it would leave a search over more than fits with nothing at all.
    fn sweep(&mut self) {
        if std::mem::replace(&mut self.swept, true) {
            return;
        }
        let (search, mut bytes) = (self.search, 0);
        self.sessions.retain(|_, texts| {
            let stays = texts.used + 1 >= search;
            bytes += if stays { texts.bytes } else { 0 };
            stays
        });
        self.bytes = bytes;
    }
}

impl fmt::Debug for TextCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.lock();
        f.debug_struct("TextCache")
            .field("sessions", &kept.sessions.len())
            .field("bytes", &kept.bytes)
            .finish_non_exhaustive()
    }
}
