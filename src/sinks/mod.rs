//! Where rows go.

pub mod dead_letters;
pub mod file_name;
pub mod folder;
pub mod letter;
pub mod location;
pub mod marker;
pub mod parquet;
pub mod staging;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One sink: an optional filter and exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["parquet"] }]))]
pub struct SinkConfig {
    /// One more filter, for this sink alone: a SQL condition over the last stage's columns.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// The lake: Hive-partitioned Parquet in a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parquet: Option<parquet::ParquetConfig>,
}
