//! OpenSearch: the last version of each key as a document.
//!
//! The index keeps the highest version of a document (`version_type: external`), so that whatever is
//! sent twice, late or out of order changes nothing. [`index`] makes the index or compares it,
//! [`bulk`] writes requests and reads answers, [`writer`] sends them, as many at once as [`limit`]
//! allows, by the [`client`].

mod bulk;
pub mod client;
pub mod config;
mod index;
mod limit;
mod writer;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use self::config::OpensearchConfig;

use self::client::Client;
use self::index::Index;
use self::limit::Limit;
use self::writer::BulkWriter;
use crate::component::{
    CheckpointStore, Context, EpochId, EpochWriter, Published, Sink, SinkKind, StagedFile, Swept,
};
use crate::contract::Contract;
use crate::error::{Error, Result};
use crate::sinks::documents::{Definition, OnExpire, SystemField};
use crate::sinks::marker::Ownership;

/// A cluster that fails for longer than this when a run starts is a mistake to be mended.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What every writer of one index needs.
struct Shared {
    name: Arc<str>,
    /// The name of the index itself.
    index: String,
    /// What is written to.
    write_alias: String,
    client: Client,
    limit: Arc<Limit>,
    bulk_bytes: usize,
    expire_deletes: bool,
    system: Vec<SystemField>,
    context: Context,
}

/// Writes rows as documents of an index.
pub struct OpensearchSink {
    name: Arc<str>,
    config: OpensearchConfig,
    definition: Definition,
    ownership: Ownership,
    contract_version: String,
    context: Context,
    shared: OnceCell<Arc<Shared>>,
    /// When the cluster was asked for the first time.
    asked_at: OnceLock<Instant>,
}

impl OpensearchSink {
    /// The index that `config` names, of rows of `schema`. Nothing is asked of the cluster yet.
    pub fn new(
        name: &str,
        config: &OpensearchConfig,
        schema: &SchemaRef,
        contract: &Contract,
        ownership: &Ownership,
        context: &Context,
    ) -> Self {
        Self {
            name: name.into(),
            config: config.clone(),
            definition: Definition::new(schema, contract, &config.mapping, &config.system),
            ownership: ownership.clone(),
            contract_version: contract.version.clone(),
            context: context.clone(),
            shared: OnceCell::new(),
            asked_at: OnceLock::new(),
        }
    }

    /// The index itself, behind the alias that is configured.
    fn index(&self) -> String {
        format!("{}-1", self.config.index)
    }

    async fn shared(&self) -> Result<&Arc<Shared>> {
        let make = || async {
            let bulk_bytes = usize::try_from(self.config.bulk_size.bytes()).unwrap_or(usize::MAX);
            Ok(Arc::new(Shared {
                name: self.name.clone(),
                index: self.index(),
                write_alias: format!("{}-write", self.index()),
                client: Client::new(&self.config, &self.context).await?,
                limit: Arc::new(Limit::new(self.config.requests)),
                bulk_bytes: bulk_bytes.max(1),
                expire_deletes: self.config.on_expire == OnExpire::Delete,
                system: self.config.system.clone(),
                context: self.context.clone(),
            }))
        };
        self.shared.get_or_try_init(make).await
    }
}

#[async_trait]
impl Sink for OpensearchSink {
    fn name(&self) -> &str {
        &self.name
    }
    fn kind(&self) -> SinkKind {
        SinkKind::Versioned
    }
    fn place(&self) -> String {
        format!("{}/{}", self.config.url.trim_end_matches('/'), self.index())
    }
    async fn prepare(&self, written_before: bool) -> Result<()> {
        let shared = self.shared().await?;
        let index = Index {
            client: &shared.client,
            config: &self.config,
            sink: &self.name,
            name: &shared.index,
            write_alias: &shared.write_alias,
            definition: &self.definition,
            ownership: &self.ownership,
            contract_version: &self.contract_version,
        };
        let asked_at = *self.asked_at.get_or_init(Instant::now);
        let prepared = index.prepare(written_before).await.map_err(|error| {
            match error.is_retryable() && asked_at.elapsed() > START_PATIENCE {
                true => {
                    Error::config(format!("{error}; check `url`, the network, and the cluster"))
                }
                false => error,
            }
        });
        prepared.map_err(|error| error.context(format!("sink {}", self.name)))
    }
    async fn begin(&self, epoch: &EpochId) -> Result<Box<dyn EpochWriter>> {
        Ok(Box::new(BulkWriter::new(self.shared().await?.clone(), epoch)))
    }
    async fn publish(&self, staged: &[StagedFile]) -> Result<Published> {
        match staged {
            [] => Ok(Published::All),
            _ => Err(Error::fatal(format!("sink {} stages no files", self.name))),
        }
    }
    async fn discard(&self, _: &[StagedFile]) -> Result<()> {
        Ok(())
    }
    async fn sweep(&self, _: &dyn CheckpointStore) -> Result<Swept> {
        Ok(Swept::default())
    }
}
