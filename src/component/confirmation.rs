//! Since when a lane knows that its partition is its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// When the record of a partition was last seen to be the lane's own, by the monotonic clock: a
/// process that was stopped for an hour sees an hour. Clones tell the same.
///
/// A sink that sends to a store which cannot refuse an older holder looks at it before it sends.
#[derive(Debug, Clone)]
pub struct Confirmation(Arc<Mutex<Instant>>);

impl Confirmation {
    /// Confirmed now.
    pub fn now() -> Self {
        Self::at(Instant::now())
    }

    /// Confirmed at that time.
    pub fn at(time: Instant) -> Self {
        Self(Arc::new(Mutex::new(time)))
    }

    /// The record was the lane's own when it was asked for, at `asked`.
    pub fn confirm(&self, asked: Instant) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = asked.max(*last);
    }

    /// How long ago that was.
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}
