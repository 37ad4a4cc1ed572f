//! Bytes to rows: plain JSON and DynamoDB JSON, directed by the contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The form of a source's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One item an object. `_op` and `_event_time` beside its attributes are read as the operation
    /// and the time; without `_op` the event is an upsert.
    Plain,
    /// DynamoDB Streams records, one a line, or Lambda envelopes with `Records`.
    Dynamodb,
}
