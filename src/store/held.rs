//! Which responses this process is writing. Two stores on one storage count as one writer: by this
//! they tell an answer that someone still holds from one that was left behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::storage::{SessionKey, WriterId};

/// A writer's claim on a response: who, in which session, under which epoch.
type Claimed = (Arc<str>, SessionKey, u64);

/// How many hold each claim: two stores may reach for the same epoch at once, and one gets it.
static HELD: Mutex<BTreeMap<Claimed, usize>> = Mutex::new(BTreeMap::new());

fn lock() -> MutexGuard<'static, BTreeMap<Claimed, usize>> {
    // The map is whole between any two statements.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds a claim until it is dropped.
#[derive(Debug)]
pub(crate) struct Held(Claimed);

impl Held {
    pub(crate) fn new(writer: WriterId, key: SessionKey, epoch: u64) -> Self {
        let claimed = (writer.0, key, epoch);
        *lock().entry(claimed.clone()).or_default() += 1;
        Self(claimed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = lock();
        if let Some(count) = held.get_mut(&self.0) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.0);
            }
        }
    }
}

/// Whether someone in this process holds the claim.
pub(crate) fn is_held(writer: &WriterId, key: &SessionKey, epoch: u64) -> bool {
    lock().contains_key(&(Arc::clone(&writer.0), key.clone(), epoch))
}
