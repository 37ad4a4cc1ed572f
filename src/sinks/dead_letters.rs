//! Dead letters: one more staged file of the same epoch, flushed last.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where refused records go, and when there are too many of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersConfig {
    /// A folder or `file://` url, outside every table.
    pub url: String,
    /// More dead letters than this among the last 100,000 records of a lane stop it before it
    /// commits: a wrong contract must not drain a stream into dead letters.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

fn default_limit() -> u32 {
    1000
}
