//! Time and ids from outside: the one module that may ask the machine for them.

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
        uuid::Uuid::now_v7().to_string()
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine")]
    fn next_u64(&self) -> u64 {
        // The low 62 bits of a version 7 UUID are random.
        let (high, low) = uuid::Uuid::now_v7().as_u64_pair();
        low ^ high.rotate_left(48)
    }
}

/// Cuts a moment to whole milliseconds, the precision of everything that is stored.
pub(crate) fn to_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
