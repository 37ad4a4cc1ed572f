//! What an operator sees of a process: counts, health, logs.

pub mod logs;
pub mod metrics;
pub mod process;
pub mod server;

mod exposition;

pub use metrics::{LaneMetrics, Metrics, Totals};
