//! The settings of one pipeline. Components keep theirs beside their code; this puts them together.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::AwsConfig;
use crate::checkpoint::CheckpointConfig;
use crate::event::Operation;
use crate::sinks::SinkConfig;
use crate::sinks::dead_letters::DeadLettersConfig;
use crate::sources::SourceConfig;
use crate::transforms::TransformConfig;
use crate::units::{ByteSize, Interval};

/// One pipeline: a source, transforms, sinks.
// In a loaded pipeline every path is absolute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Acequia pipeline")]
pub struct PipelineConfig {
    /// Name of the pipeline: lower-case letters, digits and hyphens. Its state is kept under this
    /// name, so it does not change.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The contract of the rows: an Open Data Contract Standard document, relative to this file.
    #[schemars(length(min = 1))]
    pub contract: String,
    /// Where change events come from. Exactly one kind.
    pub source: SourceConfig,
    /// Stages between the decoder and the sinks, in order. Each entry has exactly one kind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<TransformConfig>,
    /// Where rows go, by name: lower-case letters, digits and hyphens. Each sink has exactly one
    /// kind, and may filter with `where`.
    #[schemars(extend("minProperties" = 1))]
    pub sinks: IndexMap<String, SinkConfig>,
    /// Where records go that cannot be processed.
    pub dead_letters: DeadLettersConfig,
    /// Where progress is kept. Exactly one kind. Without it: the folder `TABLE.checkpoint` beside
    /// the first lake, if that is a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<CheckpointConfig>,
    /// How AWS is reached, for every component that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsConfig>,
    /// When what was read is committed.
    #[serde(default)]
    pub commit: CommitConfig,
    /// Folder on a local disk for rows that wait for their commit and do not fit into memory.
    /// Without it: `scratch` in the checkpoint's folder, or in the system's folder for temporary
    /// files where the checkpoint is elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<String>,
    /// Memory for rows, raw chunks and bodies, all lanes together, 32MiB or more. Without it: as
    /// the machine's cores need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    /// The HTTP endpoint of metrics and health. Without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsConfig>,
    /// Examples of what goes in and what comes out, run by `acequia test`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestConfig>,
}

/// When a lane commits what it has read.
///
/// It commits at `size`; after `every` if it has `min_size` by then, else after `max_age`; and
/// whenever it must: at the end of its partition, when the process is asked to stop, or when its rows
/// of many Hive partitions fill its part of the 8 GiB of disk that a process may use for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CommitConfig {
    /// Time after which a lane commits if it has read `min_size`.
    pub every: Interval,
    /// Uncompressed source bytes after which a lane commits.
    pub size: ByteSize,
    /// Uncompressed source bytes below which `every` waits for more: fewer, larger files.
    pub min_size: ByteSize,
    /// Time after which a lane commits whatever it has.
    pub max_age: Interval,
}

impl Default for CommitConfig {
    fn default() -> Self {
        Self {
            every: Interval::seconds(300),
            size: ByteSize::mebibytes(1024),
            min_size: ByteSize::mebibytes(8),
            max_age: Interval::seconds(3600),
        }
    }
}

/// The HTTP endpoint: `/metrics`, `/healthz`, `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address and port, like `127.0.0.1:9464`; an IPv6 address stands in brackets.
    pub listen: String,
    /// Allow an address that other machines can reach. The endpoint asks for no password.
    #[serde(default)]
    pub allow_remote: bool,
}

/// One example: changes in, rows out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestConfig {
    /// What it shows, in a few words.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The changes, in order.
    #[schemars(length(min = 1))]
    pub input: Vec<TestEvent>,
    /// For each sink named here, the rows that it gets: as many as listed, in this order, the
    /// listed columns equal, other columns free. `[]`: none. Sinks not named are not looked at.
    #[schemars(extend("minProperties" = 1))]
    pub expect: IndexMap<String, Vec<Row>>,
}

/// Columns and their values.
pub type Row = serde_json::Map<String, serde_json::Value>;

/// One change of one item: the attributes after it (before it, for a delete and an expire).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TestEvent {
    /// The item is new.
    Insert(Row),
    /// The item existed and has changed.
    Update(Row),
    /// The item is new or has changed.
    Upsert(Row),
    /// The item was deleted on purpose.
    Delete(Row),
    /// The store's time-to-live removed the item.
    Expire(Row),
    /// The item as a snapshot found it.
    Snapshot(Row),
}

impl TestEvent {
    /// The operation and the item.
    pub fn parts(&self) -> (Operation, &Row) {
        match self {
            Self::Insert(item) => (Operation::Insert, item),
            Self::Update(item) => (Operation::Update, item),
            Self::Upsert(item) => (Operation::Upsert, item),
            Self::Delete(item) => (Operation::Delete, item),
            Self::Expire(item) => (Operation::Expire, item),
            Self::Snapshot(item) => (Operation::Snapshot, item),
        }
    }
}
