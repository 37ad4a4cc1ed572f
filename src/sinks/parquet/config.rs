//! What a pipeline says about the lake.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sinks::bucket::ObjectConfig;

/// The lake: Hive-partitioned Parquet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParquetConfig {
    /// The table's root: a folder (relative to the pipeline file), a `file://` url, or
    /// `s3://BUCKET/FOLDER`.
    pub url: String,
    /// How objects are stored, where the url is one of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<ObjectConfig>,
    /// How rows are laid out in folders.
    pub partition: PartitionConfig,
}

/// Folders `year=/month=/day=/hour=` by an instant of the row, in UTC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PartitionConfig {
    /// Granularity.
    pub by: Granularity,
    /// The column that holds the instant: a timestamp or a date.
    pub time: String,
    /// Instants outside this range are dead letters.
    #[serde(default)]
    pub time_range: TimeRange,
}

/// How fine the folders are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// `year=/month=`
    Month,
    /// `year=/month=/day=`
    Day,
    /// `year=/month=/day=/hour=`
    Hour,
}

/// The instants that a table accepts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeRange {
    /// First day, `YYYY-MM-DD`.
    pub from: String,
    /// Last day, `YYYY-MM-DD`; absent: tomorrow.
    pub to: Option<String>,
}

impl Default for TimeRange {
    fn default() -> Self {
        Self { from: "2000-01-01".to_owned(), to: None }
    }
}
