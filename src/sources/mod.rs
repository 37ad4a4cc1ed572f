//! Where change events come from.

pub mod archive;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{CheckpointStore, Context, Source};
use crate::error::Result;

/// The source of a pipeline: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceConfig {
    /// Files of change events: NDJSON (plain, gzip or zstd) and Parquet.
    Archive(archive::ArchiveConfig),
}

impl SourceConfig {
    /// Lanes that may be open at once; `None` where the source decides while it runs.
    pub fn lanes(&self) -> Option<u64> {
        match self {
            Self::Archive(archive) => Some(u64::from(archive.lanes)),
        }
    }

    /// True where a group or a lease table says which process reads a partition. Where nothing
    /// does, one process runs at a time, and the newest wins.
    pub fn is_assigned(&self) -> bool {
        match self {
            Self::Archive(_) => false,
        }
    }
}

/// Open the source that `config` names; its paths are absolute by now. `stream` is the pipeline's
/// name, and `store` keeps what the source must remember.
pub async fn open(
    config: &SourceConfig,
    stream: &str,
    store: &dyn CheckpointStore,
    context: &Context,
) -> Result<Arc<dyn Source>> {
    match config {
        SourceConfig::Archive(archive) => {
            Ok(Arc::new(archive::ArchiveSource::open(archive, stream, store, context).await?))
        }
    }
}
