//! The only retry loop: the same step again, with growing pauses, for as long as it takes.

use std::future::Future;
use std::time::Duration;

use tracing::warn;

use crate::component::Context;
use crate::error::Result;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Pauses between tries: doubling from 50 ms to 10 s, each shortened at random by up to half so
/// that many lanes do not knock together.
pub struct Backoff {
    next: Duration,
    tries: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_PAUSE, tries: 0 }
    }
}

impl Backoff {
    /// Wait before the next try.
    pub async fn pause(&mut self, context: &Context) {
        let whole = self.next.as_micros().max(2) as u64;
        let wait = whole / 2 + context.randomness.next_u64() % (whole / 2);
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        self.tries += 1;
        context.metrics.retried();
        tokio::time::sleep(Duration::from_micros(wait)).await;
    }

    /// True where the present failure should be said aloud: the first, and of a wait that lasts each
    /// time the number of tries has doubled, after about one second, 13, 90, and so on.
    pub fn is_worth_a_line(&self) -> bool {
        self.tries == 0 || (self.tries >= 4 && self.tries.is_power_of_two())
    }
}

/// Do `step` until it succeeds or fails in a way that a repetition cannot mend.
pub async fn until_done<T, F, Fut>(context: &Context, what: &str, mut step: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut backoff = Backoff::default();
    let mut waiting = None;
    loop {
        match step().await {
            Err(error) if error.is_retryable() => {
                // One failure is no wait yet.
                if backoff.tries > 0 {
                    waiting.get_or_insert_with(|| context.metrics.step_waits());
                }
                if backoff.is_worth_a_line() {
                    warn!(%error, "{what} failed, trying again");
                }
                backoff.pause(context).await;
            }
            done => return done,
        }
    }
}

/// Read the next records, again and again while the source says that a later try may succeed.
pub async fn until_read(
    context: &Context,
    reader: &mut Box<dyn crate::component::PartitionReader>,
) -> Result<Option<crate::component::RawBatch>> {
    let mut backoff = Backoff::default();
    loop {
        match reader.next().await {
            Err(error) if error.is_retryable() => {
                // A reader that has nothing to give between two outages fails twice in one call.
                if backoff.tries < 4 || backoff.is_worth_a_line() {
                    warn!(%error, "reading failed, trying again");
                }
                backoff.pause(context).await;
            }
            done => return done,
        }
    }
}
