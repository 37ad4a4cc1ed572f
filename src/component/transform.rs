//! What a transform promises.

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;

use crate::error::Result;
use crate::event::Batch;

/// One stage between the decoder and the sinks. Stateless per event: the same event gives the same
/// rows whatever batch it comes in.
#[async_trait]
pub trait Transform: Send + Sync {
    /// Schema of the rows it gives.
    fn schema(&self) -> SchemaRef;

    /// Transform `batch`. Range, system columns and row count stay, but for rows that it refuses:
    /// those leave the rows and enter `rejects`. Filtering clears `kept`. Work that needs a core
    /// goes through the compute seam; remote engines just await.
    async fn apply(&self, batch: Batch) -> Result<Batch>;
}
