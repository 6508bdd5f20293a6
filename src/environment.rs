//! Time and ids from outside: the one module that may ask the machine for them.

use std::cell::RefCell;
use std::fmt;

use jiff::Timestamp;

/// Where the store takes the time from. Tests give a fixed one.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present moment. The store keeps milliseconds.
    fn now(&self) -> Timestamp;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn now(&self) -> Timestamp {
        to_millis(Timestamp::now())
    }
}

/// Where the store takes new ids and batch numbers from. Tests give a counting one.
pub trait IdSource: fmt::Debug + Send + Sync + 'static {
    /// A new id that nobody else has: UUID version 7 text by default.
    fn next_id(&self) -> String;
    /// A new random number.
    fn next_u64(&self) -> u64;
}

/// UUID version 7 (RFC 9562) from the machine's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn next_id(&self) -> String {
        // A clock that stands before 1970 cannot be said in such an id, which is random all the same.
        let millis = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random()).into_uuid();
        id.as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).to_owned()
    }

    fn next_u64(&self) -> u64 {
        u64::from_ne_bytes(random())
    }
}

/// Random bytes of the machine that were asked for together: asking takes longer than using them.
struct Pool {
    bytes: [u8; 512],
    used: usize,
    /// Who asked: a process that was forked off must not use the same ones.
    process: u32,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; 512], used: 512, process: 0 }) };
}

/// Random bytes that nobody else gets.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
fn random<const N: usize>() -> [u8; N] {
    let pooled = POOL.try_with(|pool| {
        let pool = &mut *pool.try_borrow_mut().ok()?;
        let process = std::process::id();
        if pool.process != process || pool.used + N > pool.bytes.len() {
            getrandom::fill(&mut pool.bytes).ok()?;
            (pool.used, pool.process) = (0, process);
        }
        let taken = pool.bytes.get(pool.used..pool.used + N)?.try_into().ok();
        pool.used += N;
        taken
    });
    // Where a thread ends there is no pool any more, and on a machine without randomness there are
    // no ids: `uuid` says so.
    pooled.ok().flatten().unwrap_or_else(|| {
        let mut bytes = [0; N];
        for piece in bytes.chunks_mut(16) {
            piece.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..piece.len()]);
        }
        bytes
    })
}

/// Cuts a moment to whole milliseconds, the precision of everything that is stored.
pub(crate) fn to_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_ids_are_the_same_on_any_thread() {
        let ids = || (0..1_000).map(|_| RandomIds.next_id()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(ids)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4_000);
        for id in all {
            assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
        }
    }

    #[test]
    fn every_byte_of_a_number_is_random() {
        let numbers: Vec<u64> = (0..1_000).map(|_| RandomIds.next_u64()).collect();
        let (all, any) = numbers.iter().fold((u64::MAX, 0), |(all, any), n| (all & n, any | n));
        assert_eq!((all, any), (0, u64::MAX));
    }
}
