//! Where change events come from.

pub mod archive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The source of a pipeline: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceConfig {
    /// Files of change events: NDJSON (plain, gzip or zstd) and Parquet.
    Archive(archive::ArchiveConfig),
}
