//! The counts in the OpenMetrics text format, made afresh at each scrape.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::metrics::{Counts, Lane, Metrics, Process, SENTIMENTS, read};
use super::process::ProcessMemory;

/// Media type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Count = fn(&Counts) -> u64;

/// Counters of the process, and of each lane with `acequia_lane_` in front. `_total` is appended.
const COUNTERS: [(&str, &str, Count); 7] = [
    ("events", "Events delivered by the source", |counts| read(&counts.events)),
    ("rows", "Rows taken by sinks", |counts| read(&counts.rows)),
    ("files", "Files made visible", |counts| read(&counts.files)),
    ("read_bytes", "Source bytes read, uncompressed", |counts| read(&counts.bytes_in)),
    ("written_bytes", "Bytes of files made visible", |counts| read(&counts.bytes_out)),
    ("dead_letters", "Events refused and kept", |counts| read(&counts.dead_letters)),
    ("epochs", "Epochs past their commit point", |counts| read(&counts.epochs)),
];

/// Counters of the process alone.
const PROCESS_COUNTERS: [(&str, &str, Count); 5] = [
    ("checkpoint_swaps", "Checkpoint documents replaced", |counts| read(&counts.swaps)),
    ("checkpoint_conflicts", "Checkpoint swaps that were refused", |counts| {
        read(&counts.conflicts)
    }),
    ("retries", "Steps done again after a failure", |counts| read(&counts.retries)),
    ("remote_sentiment_units", "Units of text that a remote engine was paid for", |counts| {
        read(&counts.remote_units)
    }),
    ("refused_sentiment_texts", "Texts that an engine refused to judge", |counts| {
        read(&counts.refused_texts)
    }),
];

type Gauge = fn(&Lane) -> Option<f64>;

/// Gauges of each lane.
const LANE_GAUGES: [(&str, &str, Gauge); 6] = [
    ("lag_bytes", "Source bytes still to be read", |lane| lane.lag_bytes().map(|left| left as f64)),
    ("lag_records", "Records still to be read", |lane| lane.lag_records().map(|left| left as f64)),
    ("lag_seconds", "Age of the newest event read, 0 where none is left", Lane::lag_seconds),
    ("epoch_age_seconds", "Age of the open epoch, 0 where none is open", |lane| {
        Some(lane.epoch_age_seconds())
    }),
    ("waiting", "1 while the lane waits for something outside", |lane| {
        Some(f64::from(u8::from(lane.is_waiting())))
    }),
    (
        "loses_soon",
        "1 while a sink has held the lane up for half of the source's retention",
        |lane| Some(f64::from(u8::from(lane.is_losing_soon()))),
    ),
];

impl Metrics {
    /// Everything counted, in the OpenMetrics text format that Prometheus reads.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("acequia");
        registry.register_collector(Box::new(Exposition(self.process().clone())));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[derive(Debug)]
struct Exposition(Arc<Process>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let live = self.0.live();
        for (name, help, count) in COUNTERS.into_iter().chain(PROCESS_COUNTERS) {
            encoder
                .encode_descriptor(name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&count(&self.0.counts), None)?;
        }
        let sentiments = self.0.sentiments();
        if sentiments.iter().any(|count| *count > 0) {
            let help = "Texts judged, by what they feel like";
            let kind = MetricType::Counter;
            let mut metric = encoder.encode_descriptor("sentiment_texts", help, None, kind)?;
            for (label, count) in SENTIMENTS.into_iter().zip(sentiments) {
                metric
                    .encode_family(&[("label", label)])?
                    .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
            }
        }
        let mut gauge = |name: &str, help: &str, value: f64| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        gauge("lanes", "Lanes that are running", live.len() as f64)?;
        let waiting = read(&self.0.waiting_steps) as f64;
        gauge("waiting_steps", "Steps that failed and are tried again", waiting)?;
        if let Some(memory) = self.0.memory() {
            gauge("memory_used_bytes", "Bytes charged to the budget", memory.used() as f64)?;
            gauge("memory_budget_bytes", "Bytes that rows may take", memory.total() as f64)?;
        }
        if let Some(memory) = ProcessMemory::now() {
            gauge("anonymous_memory_bytes", "RssAnon of the process", memory.anonymous as f64)?;
        }
        // A partition that was fenced again has two lanes for a moment: the newer one is shown.
        let lanes: BTreeMap<_, _> = live.iter().map(|lane| (escape(&lane.label), lane)).collect();
        encode_lanes(encoder, &lanes)
    }
}

fn encode_lanes(
    mut encoder: DescriptorEncoder,
    lanes: &BTreeMap<String, &Arc<Lane>>,
) -> fmt::Result {
    if lanes.is_empty() {
        return Ok(());
    }
    for (name, help, count) in COUNTERS {
        let name = format!("lane_{name}");
        let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for (label, lane) in lanes {
            metric
                .encode_family(&[("lane", label.as_str())])?
                .encode_counter::<NoLabelSet, _, u64>(&count(&lane.counts), None)?;
        }
    }
    for (name, help, value) in LANE_GAUGES {
        let name = format!("lane_{name}");
        let mut metric = encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (label, lane) in lanes {
            if let Some(value) = value(lane) {
                metric.encode_family(&[("lane", label.as_str())])?.encode_gauge(&value)?;
            }
        }
    }
    Ok(())
}

/// A label's value as the format wants it; the encoder writes it as it is.
fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBudget;

    #[test]
    fn renders_process_and_lane() {
        let metrics = Metrics::new();
        let budget = MemoryBudget::new(1 << 20);
        metrics.watch_memory(&budget);
        let charge = budget.charge(4096);
        let lane = metrics.lane("part-\"0\".ndjson");
        lane.events(7);
        lane.lag(2048);
        let ended = metrics.lane("part-1.ndjson");
        ended.events(3);
        drop(ended);
        let text = metrics.render().unwrap();
        for line in [
            "acequia_events_total 10",
            "acequia_memory_used_bytes 4096.0",
            "acequia_lanes 1.0",
            "acequia_lane_events_total{lane=\"part-\\\"0\\\".ndjson\"} 7",
            "acequia_lane_lag_bytes{lane=\"part-\\\"0\\\".ndjson\"} 2048.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "no line `{line}` in\n{text}");
        }
        assert!(!text.contains("part-1.ndjson"), "a lane's series end with it");
        assert!(!text.contains("lag_records{"), "an unknown lag is absent");
        drop(charge);
    }
}
