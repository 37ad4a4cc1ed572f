//! Compare-and-swap stores for checkpoint documents.

pub mod file;
pub mod memory;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{CheckpointStore, Context};
use crate::error::Result;

/// Where the checkpoint documents live: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointConfig {
    /// A folder on a local disk.
    File(file::FileConfig),
}

/// Open the store that `config` names; its paths are absolute by now.
pub async fn open(
    config: &CheckpointConfig,
    context: &Context,
) -> Result<Arc<dyn CheckpointStore>> {
    match config {
        CheckpointConfig::File(file) => {
            Ok(Arc::new(file::FileStore::open(&file.path, context).await?))
        }
    }
}
