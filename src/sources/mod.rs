//! Where change events come from.

pub mod archive;
#[cfg(feature = "kafka")]
pub mod kafka;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::Format;
use crate::component::source::Surveyed;
use crate::component::{CheckpointStore, Context, Source};
use crate::error::Result;
use crate::event::Operation;

/// The source of a pipeline: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceConfig {
    /// Files of change events, local or in S3: NDJSON (plain, gzip or zstd) and Parquet.
    Archive(archive::ArchiveConfig),
    /// Topics of a Kafka cluster, spread over the tasks of a consumer group.
    #[cfg(feature = "kafka")]
    Kafka(kafka::KafkaConfig),
}

impl SourceConfig {
    /// Lanes that may be open at once; `None` where the source decides while it runs.
    pub fn lanes(&self) -> Option<u64> {
        match self {
            Self::Archive(archive) => Some(u64::from(archive.lanes)),
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => None,
        }
    }

    /// Form of the records.
    pub fn format(&self) -> Format {
        match self {
            Self::Archive(archive) => archive.format,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.format,
        }
    }

    /// True where records are messages of a broker, which have keys and headers.
    pub fn has_messages(&self) -> bool {
        match self {
            Self::Archive(_) => false,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => true,
        }
    }

    /// What a record is that does not say so itself.
    pub fn unmarked(&self) -> Operation {
        match self {
            Self::Archive(_) => Operation::Upsert,
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => kafka.op.into(),
        }
    }

    /// The same source for somebody who only looks at it, under a name of their own: what other tasks
    /// read stays theirs.
    #[must_use]
    #[cfg_attr(not(feature = "kafka"), expect(unused_variables, reason = "files have no group"))]
    pub fn to_look_at(&self, name: &str) -> Self {
        match self {
            Self::Archive(archive) => Self::Archive(archive.clone()),
            #[cfg(feature = "kafka")]
            Self::Kafka(kafka) => {
                let group = Some(format!("{}-{name}", kafka.group.as_deref().unwrap_or("acequia")));
                Self::Kafka(kafka::KafkaConfig { group, ..kafka.clone() })
            }
        }
    }

    /// True where a group or a lease table says which process reads a partition. Where nothing
    /// does, one process runs at a time, and the newest wins.
    pub fn is_assigned(&self) -> bool {
        match self {
            Self::Archive(_) => false,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => true,
        }
    }
}

/// Every partition that the source has now, without reading or taking part in a group. An archive
/// has none to tell: its files are in its manifest, and never change.
pub async fn survey(
    config: &SourceConfig,
    store: &dyn CheckpointStore,
    context: &Context,
) -> Result<Vec<Surveyed>> {
    match config {
        SourceConfig::Archive(_) => {
            let _ = (store, context);
            Ok(Vec::new())
        }
        #[cfg(feature = "kafka")]
        SourceConfig::Kafka(kafka) => kafka::survey(kafka, store, context).await,
    }
}

/// What is added to the versions of a partition that begins a new life.
pub fn version_step(config: &SourceConfig) -> i64 {
    match config {
        SourceConfig::Archive(_) => 0,
        #[cfg(feature = "kafka")]
        SourceConfig::Kafka(_) => kafka::INCARNATION,
    }
}

/// Open the source that `config` names; its paths are absolute by now. `stream` is the pipeline's
/// name, and `store` keeps what the source must remember. A broker's source gives
/// keys and headers too where some SQL `reads_message`.
#[cfg_attr(not(feature = "kafka"), expect(unused_variables, reason = "files have no messages"))]
pub async fn open(
    config: &SourceConfig,
    stream: &str,
    store: &dyn CheckpointStore,
    reads_message: bool,
    context: &Context,
) -> Result<Arc<dyn Source>> {
    match config {
        SourceConfig::Archive(archive) => {
            Ok(Arc::new(archive::ArchiveSource::open(archive, stream, store, context).await?))
        }
        #[cfg(feature = "kafka")]
        SourceConfig::Kafka(kafka) => {
            let source = kafka::KafkaSource::open(kafka, stream, store, reads_message, context);
            Ok(Arc::new(source.await?))
        }
    }
}
