//! One SELECT over the table `changes`, stateless per event.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One SELECT over `changes`: projections and filters only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SqlConfig(pub String);
