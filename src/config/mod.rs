//! YAML in, checked settings out: every mistake at once, with its place.
//!
//! [`load`] reads a pipeline file, expands `${NAME}`, walks it against the JSON Schema of
//! [`PipelineConfig`], resolves paths, and checks what no schema can: columns, keys, SQL, folders
//! that would overlap. This is the only module that reads YAML pipelines or the environment.

mod buckets;
#[cfg(feature = "opensearch")]
mod clusters;
pub mod environment;
mod examples;
mod folders;
mod indices;
mod load;
mod locations;
pub mod pipeline;
pub mod reference;
mod repair;
mod resolve;
mod stages;
mod validate;

pub use load::{Loaded, load, load_with};
pub use pipeline::{CommitConfig, MetricsConfig, PipelineConfig, TestConfig, TestEvent};

pub use crate::document::{Finding, Findings};
