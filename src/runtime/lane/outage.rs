//! What holds a lane up: a sink that does not take its epoch.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, warn};

use super::{CONTROL_INTERVAL, Going, Lane, Redo, Stop, told_to_drain};
use crate::error::Result;
use crate::runtime::retry::Backoff;
use crate::telemetry::metrics::LaneMetrics;

/// For how long a lane has committed nothing because a sink holds it up.
#[derive(Debug, Default)]
pub(super) struct Outage(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    is_said: bool,
}

impl Outage {
    /// An epoch was committed.
    pub(super) fn ends(&self, metrics: &LaneMetrics) {
        let before = std::mem::take(&mut *self.state());
        if before.is_said {
            metrics.loses_soon(false);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    /// A sink holds the lane up, and has for as long as `already` says at least. Where that has lasted for half of the time for which the source keeps
    /// what is not read, somebody must know.
    async fn held_up(&self, already: Duration) {
        self.metrics.waiting(true);
        let since = {
            let mut state = self.outage.state();
            let now = Instant::now();
            let since = *state.since.get_or_insert(now.checked_sub(already).unwrap_or(now));
            if state.is_said {
                return;
            }
            since
        };
        let partition = &self.start.partition;
        let Some(kept) = self.parts.source.retention(partition).await else { return };
        let waited = since.elapsed();
        if waited < kept / 2 {
            return;
        }
        self.outage.state().is_said = true;
        self.metrics.loses_soon(true);
        error!(
            %partition,
            "a sink has taken nothing for {waited:.0?}, and the source keeps what is not read for {kept:.0?}: mend the sink, or let the source keep it for longer, before it is lost"
        );
    }

    /// Await `work`, which a sink may hold up, and look at the control record meanwhile. Dropping
    /// the work leaves its epoch fit only to be given up.
    pub(super) async fn unless_control_changes(
        &self,
        work: impl Future<Output = Result<()>>,
    ) -> Going<()> {
        tokio::pin!(work);
        loop {
            let outcome = tokio::select! {
                biased;
                outcome = &mut work => outcome,
                () = tokio::time::sleep(CONTROL_INTERVAL) => {
                    self.held_up(CONTROL_INTERVAL).await;
                    self.show_lag();
                    self.confirm_where_it_matters().await?;
                    if self.control_changed().await? {
                        return Err(Stop::Redo(Redo::ControlChanged));
                    }
                    continue;
                }
            };
            self.metrics.waiting(false);
            return match outcome {
                Err(error) if error.is_retryable() => Err(Stop::Redo(Redo::Sink(error))),
                outcome => outcome.map_err(Stop::Failed),
            };
        }
    }

    pub(super) async fn redo(&mut self, redo: Redo, backoff: &mut Backoff) -> Going<()> {
        match redo {
            Redo::ControlChanged => {
                self.control = self.parts.load_control().await?;
                self.fence_again().await
            }
            Redo::Sink(error) => {
                if backoff.is_worth_a_line() {
                    warn!(partition = %self.start.partition, %error, "a sink failed, reading the epoch again");
                }
                self.held_up(Duration::ZERO).await;
                tokio::select! {
                    biased;
                    () = told_to_drain(&mut self.orders) => {}
                    () = backoff.pause(&self.parts.documents.context) => {}
                }
                // The sink may have failed because the partition is another's by now.
                self.confirm_token().await?;
                self.control = self.parts.load_control().await?;
                self.fence_again().await
            }
        }
    }
}
