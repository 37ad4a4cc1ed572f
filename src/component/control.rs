//! The control record C of one pipeline: how maintenance speaks to every lane.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Read by a lane after its fence has succeeded, at the start of each epoch and every ten seconds;
/// a lane that sees a new number cuts its epoch and goes on under the new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// The pipeline.
    pub pipeline: String,
    /// The version domain: versions compare inside one domain only.
    pub domain: String,
    /// Rises with each change of this record.
    pub number: u64,
    /// Hash of the contract the lanes decode with.
    pub contract: String,
    /// Deletes leave documents that say so in stores that forget the versions of deleted ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tombstones: bool,
    /// Where the pipeline's sinks have written: a place of these that is found empty was lost.
    #[serde(default)]
    pub places: BTreeSet<String>,
}
