//! What an operator sees of a process: counts, health, logs.

pub mod metrics;

mod exposition;

pub use metrics::{LaneMetrics, Metrics, Totals};
