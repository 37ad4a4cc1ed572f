//! The progress bar of a run that somebody watches.

use std::convert::Infallible;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::{bytes, grouped};
use crate::runtime::progress::{Progress, Sample};
use crate::telemetry::logs::LogOutput;

/// How often the bar is drawn.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Length of the whole bar.
const PARTS: u64 = 1_000;

/// A bar on standard error; log lines appear above it. It vanishes when dropped.
pub(super) struct Bar {
    bar: ProgressBar,
    log: LogOutput,
}

impl Bar {
    pub(super) fn new(log: LogOutput) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let around = bar.clone();
        log.write_inside(Some(Box::new(move |write| around.suspend(write))));
        Self { bar, log }
    }

    /// Draw until the future is dropped.
    pub(super) async fn draw(&self, mut progress: Progress) -> Infallible {
        loop {
            self.show(&progress.sample());
            tokio::time::sleep(DRAW_INTERVAL).await;
        }
    }

    fn show(&self, sample: &Sample) {
        match sample.done {
            Some(done) => {
                self.bar.set_style(style("{bar:28} {percent:>3}%  {msg}"));
                self.bar.set_length(PARTS);
                self.bar.set_position((done * PARTS as f64) as u64);
            }
            None => self.bar.set_style(style("{spinner} {msg}")),
        }
        self.bar.set_message(message(sample));
        self.bar.tick();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.log.write_inside(None);
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template that does not parse would be a defect of this file; the default bar stands in.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn message(sample: &Sample) -> String {
    let mut text = format!(
        "{} events  {}/s  {}/s",
        grouped(sample.events_read),
        grouped(sample.events_per_second.round() as u64),
        bytes(sample.bytes_per_second.round() as u64),
    );
    if sample.totals.dead_letters > 0 {
        text.push_str(&format!("  {} dead letters", grouped(sample.totals.dead_letters)));
    }
    if sample.lanes_waiting > 0 {
        text.push_str(&format!("  {} of {} lanes waiting", sample.lanes_waiting, sample.lanes));
    }
    text
}
