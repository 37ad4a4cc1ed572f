//! How far a run has come: samples of the counters, and a log line from time to time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use crate::component::Source;
use crate::telemetry::metrics::{Metrics, Totals};

/// How often a run without a terminal says how far it is.
pub const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// Rates are taken over about this long.
const RATE_WINDOW: Duration = Duration::from_secs(5);

/// Takes samples of a run's counters.
pub struct Progress {
    metrics: Metrics,
    source: Option<Arc<dyn Source>>,
    samples: VecDeque<(Duration, (u64, u64))>,
}

/// The state of a run at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Counts since the run began.
    pub totals: Totals,
    /// Events read so far, those of open epochs included.
    pub events_read: u64,
    /// Time since the run began.
    pub elapsed: Duration,
    /// Events a second, over the last seconds.
    pub events_per_second: f64,
    /// Source bytes a second, over the last seconds.
    pub bytes_per_second: f64,
    /// How much of the source has been read, from 0 to 1; `None` where it has no end.
    pub done: Option<f64>,
    /// Lanes that run.
    pub lanes: usize,
    /// Lanes that wait for something outside.
    pub lanes_waiting: usize,
}

impl Progress {
    /// Progress of the run that counts into `metrics`; `source` says how much is left.
    pub fn new(metrics: Metrics, source: Option<Arc<dyn Source>>) -> Self {
        Self { metrics, source, samples: VecDeque::new() }
    }

    /// The state now.
    pub fn sample(&mut self) -> Sample {
        self.sample_at(self.metrics.elapsed())
    }

    fn sample_at(&mut self, elapsed: Duration) -> Sample {
        let totals = self.metrics.totals();
        let (open_events, open_bytes) = self.metrics.in_flight();
        let read = (totals.events + open_events, totals.bytes_in + open_bytes);
        while self.samples.len() > 1
            && self.samples.get(1).is_some_and(|(at, _)| elapsed.saturating_sub(*at) >= RATE_WINDOW)
        {
            self.samples.pop_front();
        }
        self.samples.push_back((elapsed, read));
        let (since, before) = self.samples.front().copied().unwrap_or_default();
        let seconds = elapsed.saturating_sub(since).as_secs_f64();
        let rate = |now: u64, then: u64| {
            if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 }
        };
        let (lanes, lanes_waiting) = self.metrics.lanes();
        let done = self.source.as_ref().and_then(|source| source.progress());
        let done = done.filter(|done| done.total_bytes > 0);
        Sample {
            totals,
            events_read: read.0,
            elapsed,
            events_per_second: rate(read.0, before.0),
            bytes_per_second: rate(read.1, before.1),
            done: done.map(|done| done.read_bytes as f64 / done.total_bytes as f64),
            lanes,
            lanes_waiting,
        }
    }

    /// Log a line every [`LOG_INTERVAL`] until the future is dropped.
    pub async fn log(mut self) -> std::convert::Infallible {
        self.sample();
        loop {
            tokio::time::sleep(LOG_INTERVAL).await;
            let sample = self.sample();
            info!(
                events = sample.events_read,
                rows = sample.totals.rows,
                dead_letters = sample.totals.dead_letters,
                epochs = sample.totals.epochs,
                events_per_second = sample.events_per_second.round(),
                mb_per_second = (sample.bytes_per_second / 1e5).round() / 10.0,
                percent = sample.done.map(|done| (done * 1000.0).round() / 10.0),
                lanes = sample.lanes,
                lanes_waiting = sample.lanes_waiting,
                "running"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_seconds() {
        let metrics = Metrics::new();
        let lane = metrics.lane("a");
        let mut progress = Progress::new(metrics.clone(), None);
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(progress.sample_at(at(0)).events_per_second, 0.0);
        lane.events(600);
        lane.epoch_grew(400, 4000);
        let sample = progress.sample_at(at(1));
        assert_eq!((sample.events_read, sample.events_per_second), (1000, 1000.0));
        assert_eq!(sample.totals.events, 600, "the open epoch is not committed");
        for second in 2..20 {
            progress.sample_at(at(second));
        }
        assert_eq!(progress.sample_at(at(20)).events_per_second, 0.0, "the burst is long gone");
        assert!(progress.samples.len() < 10, "samples are bounded");
    }
}
