//! Stages between the decoder and the sinks.

pub mod sql;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One stage: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransformConfig {
    /// One SELECT over `changes`.
    Sql(sql::SqlConfig),
}
