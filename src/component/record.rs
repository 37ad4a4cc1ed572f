//! The checkpoint record R of one partition.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::{PartitionId, Position};

/// How far one partition is done, who may go on, and what still has to be published.
///
/// Changed only by compare-and-swap, never deleted. Protocol: `docs/delivery.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The pipeline.
    pub pipeline: String,
    /// The partition.
    pub partition: PartitionId,
    /// Version domain of the pipeline when the record was made.
    pub domain: String,
    /// Identity of the checkpoint store.
    pub store: String,
    /// Fencing token: rises each time a process takes the partition.
    pub token: u64,
    /// Number of the control record that the whole last epoch was processed under.
    pub control: u64,
    /// Who took the partition last.
    pub owner: Option<Owner>,
    /// What the source is: compared at every fence.
    pub source: Value,
    /// Where the partition began.
    pub start: Position,
    /// Where reading goes on.
    pub next: Position,
    /// Ordinal of the event at `next`.
    pub ordinal_next: i64,
    /// Number of the last epoch that this record shows finalised.
    pub done: u64,
    /// The epoch that is prepared and not yet known to be published.
    pub pending: Option<Pending>,
    /// Ranges that were skipped by an operator's decision.
    pub gaps: Vec<Gap>,
    /// The partition was read to its end.
    pub closed: bool,
    /// Added to the version of every event: raised by an operator's decision where positions alone
    /// no longer order the events of a key.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version_base: i64,
    /// `_partition` of events, where the stream was made anew and its positions began again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde wants it")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Record {
    /// Number of the last prepared epoch.
    pub fn last_epoch(&self) -> u64 {
        self.pending.as_ref().map_or(self.done, |pending| pending.epoch)
    }
    /// True where nothing is left to do: read to the end and published.
    pub fn is_finished(&self) -> bool {
        self.closed && self.pending.is_none()
    }
    /// Where the finalised epochs end.
    pub fn finalised(&self) -> &Position {
        self.pending.as_ref().map_or(&self.next, |pending| &pending.from)
    }
}

/// The process that took a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Random identity of the process's life.
    pub uuid: String,
    /// For people: host and process id, or the task's name.
    pub task: String,
    /// Number of the run, where nothing assigns partitions: a higher one is newer and wins. Zero
    /// where a group or lease table assigns.
    pub run: u64,
}

/// An epoch past its commit point whose files may not all be visible yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// Number of the epoch.
    pub epoch: u64,
    /// Where it begins: kept until every file is verified.
    pub from: Position,
    /// Where it ends.
    pub to: Position,
    /// Ordinal of its first event.
    pub ordinal_from: i64,
    /// Hash of the pipeline's configuration that made it.
    pub config_hash: String,
    /// The files to publish.
    pub files: Vec<StagedFile>,
}

/// A staged file with everything needed to publish it under another configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StagedFile {
    /// Name of the sink in the pipeline.
    pub sink: String,
    /// The table's root: a folder or a bucket with its prefix.
    pub root: String,
    /// The file's final name below the root.
    pub key: String,
    /// Names the upload: the staged file's name, or a multipart upload's id.
    pub upload: String,
    /// Tags of the uploaded parts, where the store has parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
    /// Identity of the file: random, in its metadata and in part in its name.
    pub nonce: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Rows in it.
    pub rows: u64,
}

/// A range that was given up by an operator's decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First position given up.
    pub from: Position,
    /// Where reading went on.
    pub to: Position,
    /// Why.
    pub reason: String,
}
