//! The only reader of the wall clock. Timers and deadlines use the runtime's monotonic time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time of day. Nothing that decides about safety may ask it.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970 in UTC.
    fn now_micros(&self) -> i64;
}

/// The machine's clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now_micros(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }
}
