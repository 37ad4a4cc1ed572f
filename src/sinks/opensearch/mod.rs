//! OpenSearch: the last version of each key as a document.
//!
//! The index keeps the highest version of a document (`version_type: external`), so that whatever is
//! sent twice, late or out of order changes nothing. [`index`] makes the index or compares it,
//! [`actions`] says which document of which index a row is, [`bulk`] writes requests and reads answers,
//! [`writer`] sends them, as many at once as [`limit`] allows, by the [`client`]. [`purge`] removes
//! documents that stand for deleted ones.

pub mod actions;
mod bulk;
pub mod client;
pub mod config;
mod index;
mod limit;
mod purge;
mod writer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
use tokio::sync::OnceCell;
use tokio::time::Instant;

pub use self::config::OpensearchConfig;

use self::actions::{ActionRules, DELETED};
use self::client::Client;
use self::index::Index;
use self::limit::Limit;
use self::writer::BulkWriter;
use crate::component::{
    CheckpointStore, Context, EpochId, EpochWriter, Published, Sink, SinkKind, StagedFile, Swept,
};
use crate::contract::Contract;
use crate::error::{Error, ErrorKind, Result};
use crate::sinks::documents::{Definition, OnExpire};
use crate::sinks::marker::Ownership;

/// A cluster that fails for longer than this when a run starts is a mistake to be mended.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// What every writer of one index needs.
struct Shared {
    name: Arc<str>,
    config: OpensearchConfig,
    definition: Definition,
    ownership: Ownership,
    contract_version: String,
    client: OnceCell<Client>,
    limit: Arc<Limit>,
    bulk_bytes: usize,
    rules: ActionRules,
    /// Periods whose indices are known to be there and as they should be.
    known: Mutex<BTreeSet<String>>,
    context: Context,
}

impl Shared {
    /// The client, made when it is first asked for: logins may be asked for then.
    async fn client(&self) -> Result<&Client> {
        self.client.get_or_try_init(|| Client::new(&self.config, &self.context)).await
    }

    /// The index of `period`; an empty one is that of the only index.
    async fn index(&self, period: &str) -> Result<Index<'_>> {
        Ok(Index {
            client: self.client().await?,
            config: &self.config,
            sink: &self.name,
            name: self.rules.index_of(period),
            write_alias: self.rules.write_alias(period),
            definition: &self.definition,
            ownership: &self.ownership,
            contract_version: &self.contract_version,
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Look at every index that is there.
    async fn look_at_all(&self, written_before: bool) -> Result<()> {
        if self.config.split.is_none() {
            return self.index("").await?.prepare(written_before).await;
        }
        // None at all is no loss: nothing may have come yet, and old ones may be dropped.
        for period in self.index("").await?.periods().await? {
            self.index(&period).await?.prepare(true).await?;
            self.known().insert(period);
        }
        Ok(())
    }

    /// See that the index of each period is there; the only one was seen to at the start.
    async fn ensure(&self, periods: &BTreeSet<String>) -> Result<()> {
        if self.config.split.is_none() {
            return Ok(());
        }
        for period in periods {
            if self.known().contains(period) {
                continue;
            }
            // What a user may mend is waited for, now that the run is at work.
            let index = self.index(period).await?;
            index.prepare(false).await.map_err(|error| match error.kind() {
                ErrorKind::Config => Error::retryable(error.to_string()),
                _ => error,
            })?;
            self.known().insert(period.clone());
        }
        Ok(())
    }
}

/// Writes rows as documents of an index.
pub struct OpensearchSink {
    shared: Arc<Shared>,
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
        let mut definition = Definition::new(schema, contract, &config.mapping, &config.system);
        definition.add(DELETED, &DataType::Boolean);
        let rules = ActionRules {
            expire_deletes: config.on_expire == OnExpire::Delete,
            routing: config.routing.clone(),
            split: config.split.clone(),
            index: format!("{}-1", config.index),
        };
        let bulk_bytes = usize::try_from(config.bulk_size.bytes()).unwrap_or(usize::MAX);
        let shared = Shared {
            name: name.into(),
            config: config.clone(),
            definition,
            ownership: ownership.clone(),
            contract_version: contract.version.clone(),
            client: OnceCell::new(),
            limit: Arc::new(Limit::new(config.requests)),
            bulk_bytes: bulk_bytes.max(1),
            rules,
            known: Mutex::default(),
            context: context.clone(),
        };
        Self { shared: Arc::new(shared), asked_at: OnceLock::new() }
    }
}

#[async_trait]
impl Sink for OpensearchSink {
    fn name(&self) -> &str {
        &self.shared.name
    }
    fn kind(&self) -> SinkKind {
        SinkKind::Versioned
    }
    fn place(&self) -> String {
        let Shared { config, rules, .. } = &*self.shared;
        format!("{}/{}", config.url.trim_end_matches('/'), rules.index)
    }
    async fn prepare(&self, written_before: bool) -> Result<()> {
        let shared = &self.shared;
        shared.client().await?;
        let asked_at = *self.asked_at.get_or_init(Instant::now);
        let prepared = shared.look_at_all(written_before).await.map_err(|error| {
            match error.is_retryable() && asked_at.elapsed() > START_PATIENCE {
                true => {
                    Error::config(format!("{error}; check `url`, the network, and the cluster"))
                }
                false => error,
            }
        });
        prepared.map_err(|error| error.context(format!("sink {}", shared.name)))
    }
    async fn begin(&self, epoch: &EpochId) -> Result<Box<dyn EpochWriter>> {
        Ok(Box::new(BulkWriter::new(self.shared.clone(), epoch)))
    }
    async fn publish(&self, staged: &[StagedFile]) -> Result<Published> {
        match staged {
            [] => Ok(Published::All),
            _ => Err(Error::fatal(format!("sink {} stages no files", self.shared.name))),
        }
    }
    async fn discard(&self, _: &[StagedFile]) -> Result<()> {
        Ok(())
    }
    async fn sweep(&self, _: &dyn CheckpointStore) -> Result<Swept> {
        Ok(Swept::default())
    }
}
