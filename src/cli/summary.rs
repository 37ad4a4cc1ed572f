//! The table at the end of a run, and the same as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::figures::{Align, bytes, duration, grouped, table};
use super::terminal::{Style, Terminal};
use crate::telemetry::metrics::{SENTIMENTS, Totals};
use crate::telemetry::process::ProcessMemory;

/// How a run ended, as scripts read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ending {
    /// Everything has been read and published.
    Finished,
    /// Everything had been read and published before.
    NothingToDo,
    /// A signal asked for it; the next run resumes.
    Drained,
}

/// What a run did. The names of the fields are what scripts see.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Summary {
    pub(super) outcome: Ending,
    pub(super) pipeline: String,
    pub(super) events: u64,
    pub(super) rows: u64,
    pub(super) files: u64,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    pub(super) dead_letters: u64,
    pub(super) epochs: u64,
    /// Texts judged, by label; absent where no stage judges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sentiment: Option<BTreeMap<&'static str, u64>>,
    pub(super) seconds: f64,
    pub(super) events_per_second: f64,
    pub(super) rows_per_second: f64,
    pub(super) megabytes_per_second: f64,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) anonymous_memory_bytes: Option<u64>,
    /// Commands worth trying now.
    pub(super) next: Vec<String>,
}

impl Summary {
    pub(super) fn new(
        pipeline: &str,
        drained: bool,
        totals: Totals,
        elapsed: Duration,
        memory: Option<ProcessMemory>,
    ) -> Self {
        let seconds = elapsed.as_secs_f64();
        let rate = |count: f64| if seconds > 0.0 { count / seconds } else { 0.0 };
        let outcome = match (drained, totals.events) {
            (true, _) => Ending::Drained,
            (false, 0) => Ending::NothingToDo,
            (false, _) => Ending::Finished,
        };
        Self {
            outcome,
            pipeline: pipeline.to_owned(),
            events: totals.events,
            rows: totals.rows,
            files: totals.files,
            bytes_read: totals.bytes_in,
            bytes_written: totals.bytes_out,
            dead_letters: totals.dead_letters,
            epochs: totals.epochs,
            sentiment: (totals.sentiments != [0; 4])
                .then(|| SENTIMENTS.into_iter().zip(totals.sentiments).collect()),
            seconds,
            events_per_second: rate(totals.events as f64),
            rows_per_second: rate(totals.rows as f64),
            megabytes_per_second: rate(totals.bytes_in as f64 / 1e6),
            peak_memory_bytes: memory.map(|memory| memory.peak_resident),
            anonymous_memory_bytes: memory.map(|memory| memory.anonymous),
            next: Vec::new(),
        }
    }

    /// The table for people.
    pub(super) fn render(&self, terminal: &Terminal) -> String {
        let time = duration(Duration::from_secs_f64(self.seconds));
        let headline = match self.outcome {
            Ending::Finished => format!("{}: finished in {time}", self.pipeline),
            Ending::Drained => {
                format!("{}: drained after {time}; the next run goes on from here", self.pipeline)
            }
            Ending::NothingToDo => format!(
                "{}: nothing to do, everything has been read already ({time})",
                self.pipeline
            ),
        };
        let mut text = format!("{}\n", terminal.paint(Style::Bold, &headline));
        if self.outcome != Ending::NothingToDo {
            text.push('\n');
            text.push_str(&table(&[Align::Left, Align::Right, Align::Right], &self.figures()));
        }
        if !self.next.is_empty() {
            text.push_str("\nnext:\n");
            for command in &self.next {
                text.push_str(&format!("  {}\n", terminal.paint(Style::Cyan, command)));
            }
        }
        text
    }

    fn figures(&self) -> Vec<Vec<String>> {
        let row = |name: &str, value: String, rate: String| vec![name.to_owned(), value, rate];
        let each_second = |rate: f64| format!("{}/s", grouped(rate.round() as u64));
        let mut rows = vec![
            row("events", grouped(self.events), each_second(self.events_per_second)),
            row("rows", grouped(self.rows), each_second(self.rows_per_second)),
            row("read", bytes(self.bytes_read), format!("{:.1} MB/s", self.megabytes_per_second)),
            row("written", bytes(self.bytes_written), String::new()),
            row("files", grouped(self.files), String::new()),
            row("dead letters", grouped(self.dead_letters), String::new()),
            row("commits", grouped(self.epochs), String::new()),
        ];
        let judged: u64 = self.sentiment.iter().flat_map(BTreeMap::values).sum();
        for (label, count) in self.sentiment.iter().flatten().filter(|(_, count)| **count > 0) {
            let share = format!("{:.0} %", 100.0 * *count as f64 / judged as f64);
            rows.push(row(label, grouped(*count), share));
        }
        if let Some(peak) = self.peak_memory_bytes {
            rows.push(row("peak memory", bytes(peak), String::new()));
        }
        rows
    }
}
