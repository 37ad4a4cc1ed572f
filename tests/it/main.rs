//! The integration tests: one binary, one module for each theme.
// Tests may be long, and may clone where it reads better.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::cloned_ref_to_slice_refs,
    clippy::type_complexity
)]

mod aimed;
mod archive;
#[cfg(feature = "aws")]
mod aws;
mod changes;
mod checkpoints;
mod cli;
mod config_errors;
mod decode;
mod delivery;
mod faults;
mod golden;
#[cfg(feature = "kafka")]
mod kafka;
mod lake;
#[cfg(feature = "opensearch")]
mod opensearch;
mod program;
mod reference;
#[cfg(all(feature = "aws", feature = "kafka"))]
mod schedules;
#[cfg(feature = "search")]
mod search;
mod sentiment;
#[path = "../services/mod.rs"]
mod services;
mod services_harness;
mod tidy;
