//! Compare-and-swap stores for checkpoint documents.

pub mod file;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the checkpoint documents live: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointConfig {
    /// A folder on a local disk.
    File(file::FileConfig),
}
