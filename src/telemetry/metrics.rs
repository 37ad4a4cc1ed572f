//! What a process and its lanes count.
//!
//! A lane updates its handle with relaxed atomics and takes no lock; the list of lanes is locked
//! only where a lane begins or ends and while somebody reads. Process-wide counts never fall; a
//! lane's own series end with the lane, so that an archive of ten thousand files stays readable.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::memory::MemoryBudget;

/// Stands for "not known" in a gauge that may be absent.
const UNKNOWN: u64 = u64::MAX;

/// Everything that one process counts. Cheap to clone; every clone counts into the same numbers.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Process>);

/// The counts of one lane. Cheap to clone; the lane's series end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct LaneMetrics(Arc<Lane>);

/// The process-wide counts at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events that sources delivered in committed epochs, rejects included.
    pub events: u64,
    /// Rows that sinks wrote.
    pub rows: u64,
    /// Files made visible, dead-letter files included.
    pub files: u64,
    /// Uncompressed source bytes of committed epochs.
    pub bytes_in: u64,
    /// Bytes of the files made visible.
    pub bytes_out: u64,
    /// Events refused and kept as dead letters.
    pub dead_letters: u64,
    /// Epochs prepared: commits.
    pub epochs: u64,
    /// Texts that were judged, by what they felt like, in the order of [`SENTIMENTS`].
    pub sentiments: [u64; 4],
}

/// What a text can feel like.
pub const SENTIMENTS: [&str; 4] = ["positive", "neutral", "negative", "mixed"];

/// The counters that a process and each of its lanes have in common.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) events: AtomicU64,
    pub(super) rows: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) dead_letters: AtomicU64,
    pub(super) epochs: AtomicU64,
    pub(super) swaps: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) remote_units: AtomicU64,
    pub(super) refused_texts: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) counts: Counts,
    assigned: AtomicBool,
    /// Steps that failed and are tried again.
    pub(super) waiting_steps: AtomicU64,
    /// By label, in the order of [`SENTIMENTS`].
    sentiments: [AtomicU64; 4],
    started: Instant,
    memory: OnceLock<Arc<MemoryBudget>>,
    lanes: Mutex<Lanes>,
}

#[derive(Debug, Default)]
struct Lanes {
    next: u64,
    live: BTreeMap<u64, Weak<Lane>>,
}

/// Says whether a lane's source waits for something outside, whenever somebody looks.
type SourceWaits = Box<dyn Fn() -> bool + Send + Sync>;

pub(super) struct Lane {
    number: u64,
    pub(super) label: String,
    pub(super) counts: Counts,
    lag_bytes: AtomicU64,
    lag_records: AtomicU64,
    lag_time_micros: AtomicU64,
    /// Microseconds from the start of the process to the opening of the epoch; [`UNKNOWN`]: closed.
    epoch_opened: AtomicU64,
    /// What the open epoch has taken so far: counted for good when it commits.
    open_events: AtomicU64,
    open_bytes: AtomicU64,
    fenced: AtomicBool,
    waiting: AtomicBool,
    loses_soon: AtomicBool,
    source_waits: OnceLock<SourceWaits>,
    process: Arc<Process>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self(Arc::new(Process {
            counts: Counts::default(),
            assigned: AtomicBool::new(false),
            waiting_steps: AtomicU64::new(0),
            sentiments: Default::default(),
            started: Instant::now(),
            memory: OnceLock::new(),
            lanes: Mutex::default(),
        }))
    }

    /// The counts of a new lane, named after its partition.
    pub fn lane(&self, partition: impl Display) -> LaneMetrics {
        self.assigned();
        let mut lanes = self.0.lock();
        lanes.next += 1;
        let lane = Arc::new(Lane {
            number: lanes.next,
            label: partition.to_string(),
            counts: Counts::default(),
            lag_bytes: AtomicU64::new(UNKNOWN),
            lag_records: AtomicU64::new(UNKNOWN),
            lag_time_micros: AtomicU64::new(UNKNOWN),
            epoch_opened: AtomicU64::new(UNKNOWN),
            open_events: AtomicU64::new(0),
            open_bytes: AtomicU64::new(0),
            fenced: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            loses_soon: AtomicBool::new(false),
            source_waits: OnceLock::new(),
            process: self.0.clone(),
        });
        let number = lane.number;
        lanes.live.insert(number, Arc::downgrade(&lane));
        LaneMetrics(lane)
    }

    /// The source has said what this process reads, perhaps nothing: from now on the process is
    /// ready whenever each of its lanes is past its fence and given what it reads.
    pub fn assigned(&self) {
        self.0.assigned.store(true, Ordering::Relaxed);
    }

    /// The source has taken partitions away and says later what this process reads.
    pub fn unassigned(&self) {
        self.0.assigned.store(false, Ordering::Relaxed);
    }

    /// Show the use of `budget` too.
    pub fn watch_memory(&self, budget: &Arc<MemoryBudget>) {
        // A second budget in one process would be a defect of the tests; the first one stays.
        let _ = self.0.memory.set(budget.clone());
    }

    /// The process-wide counts now.
    pub fn totals(&self) -> Totals {
        let counts = &self.0.counts;
        Totals {
            events: read(&counts.events),
            rows: read(&counts.rows),
            files: read(&counts.files),
            bytes_in: read(&counts.bytes_in),
            bytes_out: read(&counts.bytes_out),
            dead_letters: read(&counts.dead_letters),
            epochs: read(&counts.epochs),
            sentiments: self.0.sentiments(),
        }
    }

    /// So many more texts were judged, by label, in the order of [`SENTIMENTS`]. What is read again
    /// after a failure counts again.
    pub fn judged(&self, labels: [u64; 4]) {
        for (counter, count) in self.0.sentiments.iter().zip(labels) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Events and source bytes that open epochs hold: read, and not yet committed.
    pub fn in_flight(&self) -> (u64, u64) {
        let live = self.0.live();
        live.iter().fold((0, 0), |(events, bytes), lane| {
            (events + read(&lane.open_events), bytes + read(&lane.open_bytes))
        })
    }

    /// A checkpoint document was swapped.
    pub fn swap_stored(&self) {
        self.0.counts.swaps.fetch_add(1, Ordering::Relaxed);
    }
    /// A swap found another document than it expected.
    pub fn swap_conflict(&self) {
        self.0.counts.conflicts.fetch_add(1, Ordering::Relaxed);
    }
    /// A remote engine was asked for texts of so many units, by which it is paid for.
    pub fn asked_remotely(&self, units: u64) {
        self.0.counts.remote_units.fetch_add(units, Ordering::Relaxed);
    }

    /// An engine refuses a text for good: its row has no sentiment.
    pub fn refused_text(&self) {
        self.0.counts.refused_texts.fetch_add(1, Ordering::Relaxed);
    }

    /// A failed step is done again.
    pub fn retried(&self) {
        self.0.counts.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// Time since the process began to count.
    pub fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// A step that failed waits to be done again, until the answer is dropped.
    pub fn step_waits(&self) -> WaitingStep {
        self.0.waiting_steps.fetch_add(1, Ordering::Relaxed);
        WaitingStep(self.0.clone())
    }

    /// What keeps the process from being ready: `None` once the source has answered, every live
    /// lane is past its fence, and nothing waits for something outside.
    pub fn unready(&self) -> Option<&'static str> {
        let live = self.0.live();
        if !self.0.assigned.load(Ordering::Relaxed) {
            Some("the source has not said what to read")
        } else if live.iter().any(|lane| !lane.fenced.load(Ordering::Relaxed)) {
            Some("a lane is not past its fence")
        } else if live.iter().any(|lane| lane.source_waits()) {
            Some("a lane waits for its source; the log says why")
        } else if live.iter().any(|lane| lane.waiting.load(Ordering::Relaxed)) {
            Some("a lane waits for a sink; the log says why")
        } else if read(&self.0.waiting_steps) > 0 {
            Some("a step that failed is tried again; the log says which")
        } else {
            None
        }
    }

    /// Lanes that are running, and how many of those wait for something outside.
    pub fn lanes(&self) -> (usize, usize) {
        let live = self.0.live();
        let waiting = live.iter().filter(|lane| lane.is_waiting()).count();
        (live.len(), waiting)
    }

    pub(super) fn process(&self) -> &Arc<Process> {
        &self.0
    }
}

/// Counts as a step that waits as long as it lives.
#[derive(Debug)]
pub struct WaitingStep(Arc<Process>);

impl Drop for WaitingStep {
    fn drop(&mut self) {
        self.0.waiting_steps.fetch_sub(1, Ordering::Relaxed);
    }
}

impl LaneMetrics {
    /// The lane is past its fence: it may read.
    pub fn fenced(&self) {
        self.0.fenced.store(true, Ordering::Relaxed);
    }
    /// The source delivered `count` more events.
    pub fn events(&self, count: u64) {
        self.add(count, |counts| &counts.events);
    }
    /// Sinks took `count` more rows.
    pub fn rows(&self, count: u64) {
        self.add(count, |counts| &counts.rows);
    }
    /// The source delivered `count` more bytes, uncompressed.
    pub fn bytes(&self, count: u64) {
        self.add(count, |counts| &counts.bytes_in);
    }
    /// `count` more events were refused.
    pub fn dead_letters(&self, count: u64) {
        self.add(count, |counts| &counts.dead_letters);
    }
    /// `files` more files of `bytes` bytes together are visible.
    pub fn published(&self, files: u64, bytes: u64) {
        self.add(files, |counts| &counts.files);
        self.add(bytes, |counts| &counts.bytes_out);
    }
    /// One more epoch is past its commit point.
    pub fn epoch_committed(&self) {
        self.add(1, |counts| &counts.epochs);
    }
    /// The open epoch holds `events` of `bytes` source bytes by now. Its age counts from the first
    /// call after the last epoch was closed.
    pub fn epoch_grew(&self, events: u64, bytes: u64) {
        self.0.open_events.store(events, Ordering::Relaxed);
        self.0.open_bytes.store(bytes, Ordering::Relaxed);
        if read(&self.0.epoch_opened) == UNKNOWN {
            let since = self.0.process.started.elapsed().as_micros();
            let since = u64::try_from(since).unwrap_or(UNKNOWN - 1);
            self.0.epoch_opened.store(since, Ordering::Relaxed);
        }
    }
    /// No epoch is open: the last one was committed or given up.
    pub fn epoch_closed(&self) {
        self.0.open_events.store(0, Ordering::Relaxed);
        self.0.open_bytes.store(0, Ordering::Relaxed);
        self.0.epoch_opened.store(UNKNOWN, Ordering::Relaxed);
    }
    /// Source bytes that are still to be read.
    pub fn lag(&self, bytes_left: u64) {
        self.0.lag_bytes.store(bytes_left, Ordering::Relaxed);
    }
    /// Records that are still to be read, where the source counts them.
    pub fn lag_records(&self, records_left: u64) {
        self.0.lag_records.store(records_left, Ordering::Relaxed);
    }
    /// Age of the newest event that was read while others are left, in microseconds.
    pub fn lag_time(&self, micros: u64) {
        self.0.lag_time_micros.store(micros, Ordering::Relaxed);
    }
    /// Ask `waits` whether the lane's source waits for something outside, whenever somebody looks.
    pub fn watch_source(&self, waits: impl Fn() -> bool + Send + Sync + 'static) {
        // A lane has one source; the first answer would be the same as the second.
        let _ = self.0.source_waits.set(Box::new(waits));
    }
    /// The lane waits for something outside (a sink, the store), or goes on.
    pub fn waiting(&self, waits: bool) {
        self.0.waiting.store(waits, Ordering::Relaxed);
    }

    /// The lane has waited for a sink for half of the time for which its source keeps what is not read.
    pub fn loses_soon(&self, loses: bool) {
        self.0.loses_soon.store(loses, Ordering::Relaxed);
    }

    fn add(&self, count: u64, counter: impl Fn(&Counts) -> &AtomicU64) {
        counter(&self.0.counts).fetch_add(count, Ordering::Relaxed);
        counter(&self.0.process.counts).fetch_add(count, Ordering::Relaxed);
    }
}

impl Process {
    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Texts judged, by label.
    pub(super) fn sentiments(&self) -> [u64; 4] {
        self.sentiments.each_ref().map(read)
    }
    /// The running lanes, oldest first.
    pub(super) fn live(&self) -> Vec<Arc<Lane>> {
        self.lock().live.values().filter_map(Weak::upgrade).collect()
    }
    pub(super) fn memory(&self) -> Option<&Arc<MemoryBudget>> {
        self.memory.get()
    }
}

impl Lane {
    pub(super) fn lag_bytes(&self) -> Option<u64> {
        known(&self.lag_bytes)
    }
    pub(super) fn lag_records(&self) -> Option<u64> {
        known(&self.lag_records)
    }
    pub(super) fn lag_seconds(&self) -> Option<f64> {
        known(&self.lag_time_micros).map(|micros| Duration::from_micros(micros).as_secs_f64())
    }
    /// Seconds that the open epoch has been open; zero where none is.
    pub(super) fn epoch_age_seconds(&self) -> f64 {
        known(&self.epoch_opened).map_or(0.0, |opened| {
            self.process
                .started
                .elapsed()
                .saturating_sub(Duration::from_micros(opened))
                .as_secs_f64()
        })
    }
    pub(super) fn is_losing_soon(&self) -> bool {
        self.loses_soon.load(Ordering::Relaxed)
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) || self.source_waits()
    }
    fn source_waits(&self) -> bool {
        self.source_waits.get().is_some_and(|waits| waits())
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Lane").field("label", &self.label).finish_non_exhaustive()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.process.lock().live.remove(&self.number);
    }
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn known(gauge: &AtomicU64) -> Option<u64> {
    Some(read(gauge)).filter(|&value| value != UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_outlive_the_lane() {
        let metrics = Metrics::new();
        let lane = metrics.lane("a.ndjson");
        lane.events(5);
        lane.clone().rows(4);
        lane.dead_letters(1);
        lane.published(2, 100);
        assert_eq!(metrics.lanes(), (1, 0));
        drop(lane);
        assert_eq!(metrics.lanes(), (0, 0));
        let totals = metrics.totals();
        assert_eq!((totals.events, totals.rows, totals.dead_letters), (5, 4, 1));
        assert_eq!((totals.files, totals.bytes_out), (2, 100));
    }

    #[test]
    fn ready_means_that_every_live_lane_is_fenced_and_given_what_it_reads() {
        let metrics = Metrics::new();
        assert_eq!(metrics.unready(), Some("the source has not said what to read"));
        metrics.assigned();
        assert_eq!(metrics.unready(), None, "assigned nothing is ready");
        let (first, second) = (metrics.lane("a"), metrics.lane("b"));
        first.fenced();
        assert_eq!(metrics.unready(), Some("a lane is not past its fence"));
        second.fenced();
        assert_eq!(metrics.unready(), None);
        let waits = Arc::new(AtomicBool::new(true));
        let asked = waits.clone();
        first.watch_source(move || asked.load(Ordering::Relaxed));
        assert_eq!(metrics.unready(), Some("a lane waits for its source; the log says why"));
        assert_eq!(metrics.lanes(), (2, 1));
        waits.store(false, Ordering::Relaxed);
        assert_eq!((metrics.unready(), metrics.lanes()), (None, (2, 0)));
        let step = metrics.step_waits();
        assert_eq!(
            metrics.unready(),
            Some("a step that failed is tried again; the log says which")
        );
        drop(step);
        first.waiting(true);
        assert_eq!(metrics.unready(), Some("a lane waits for a sink; the log says why"));
        first.waiting(false);
        metrics.unassigned();
        assert_eq!(metrics.unready(), Some("the source has not said what to read"));
    }
}
