//! Compare-and-swap stores for checkpoint documents.

#[cfg(feature = "aws")]
pub mod dynamodb;
pub mod file;
mod identity;
pub mod memory;
mod names;
#[cfg(feature = "aws")]
pub mod s3;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::component::{CheckpointStore, Context};
use crate::error::Result;

/// Where the checkpoint documents live: exactly one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointConfig {
    /// A table of DynamoDB: for tasks on several machines.
    #[cfg(feature = "aws")]
    Dynamodb(dynamodb::DynamodbConfig),
    /// A folder on a local disk.
    File(file::FileConfig),
    /// A prefix of a bucket: for tasks on several machines that have no other service.
    #[cfg(feature = "aws")]
    S3(s3::S3Config),
}

/// Open the store of `pipeline` that `config` names; its paths are absolute by now.
pub async fn open(
    config: &CheckpointConfig,
    pipeline: &str,
    context: &Context,
) -> Result<Arc<dyn CheckpointStore>> {
    match config {
        #[cfg(feature = "aws")]
        CheckpointConfig::Dynamodb(table) => {
            Ok(Arc::new(dynamodb::DynamodbStore::open(table, pipeline, context).await?))
        }
        CheckpointConfig::File(file) => {
            // The folder is the pipeline's own.
            let _ = pipeline;
            Ok(Arc::new(file::FileStore::open(&file.path, context).await?))
        }
        #[cfg(feature = "aws")]
        CheckpointConfig::S3(s3) => Ok(Arc::new(s3::S3Store::open(s3, pipeline, context).await?)),
    }
}
