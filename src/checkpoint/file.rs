//! Checkpoint documents in a local folder.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A folder on a local disk of one machine; network file systems are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The folder, relative to the pipeline file.
    pub path: String,
}
