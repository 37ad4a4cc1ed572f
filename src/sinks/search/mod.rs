//! An embedded index: the last version of each key as a document, in a folder of this machine.
//!
//! The engine is tantivy. [`fields`] says how rows become its documents, [`analysis`] how text becomes
//! words, both by the definition that an index of OpenSearch is made by. [`store`] writes what is
//! newer than what is there; [`writer`] takes the rows of one epoch; [`index`] is the folder.
//!
//! A lane's flush waits for a commit of the engine before its record is changed, and the commit says
//! how far each partition is. So after a crash the index is never behind a record. Where it is
//! ahead, what is read again changes nothing.

pub mod analysis;
pub mod config;
pub mod fields;
mod index;
mod store;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use tracing::warn;

pub use self::config::SearchConfig;
pub use self::index::open;

use self::fields::Fields;
use self::store::{Reached, Settings, Store};
use self::writer::{IndexWriter, Waiting};
use super::folder::FolderStaging;
use super::staging::Staging as _;
use crate::component::{
    CheckpointStore, Context, EpochId, EpochWriter, Published, Record, Sink, SinkKind, StagedFile,
    Swept,
};
use crate::contract::Contract;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::PartitionId;
use crate::sinks::documents::{Definition, OnExpire, SystemField};
use crate::sinks::marker::Ownership;

/// What every writer of one index needs.
struct Shared {
    name: Arc<str>,
    fields: Fields,
    settings: Settings,
    system: Vec<SystemField>,
    expire_deletes: bool,
    context: Context,
    /// `None` before the index is opened.
    store: Arc<tokio::sync::Mutex<Option<Store>>>,
    /// Flushes that wait for a commit.
    waiting: Mutex<Waiting>,
    /// Bytes that are kept until the next commit, beside the engine's own.
    fresh_bytes: AtomicUsize,
}

impl Shared {
    /// Work with the store, where it may block; the store is this caller's until then.
    async fn with_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut store = self.store.clone().lock_owned().await;
        let (done, bytes) = blocking(move || {
            let Some(store) = store.as_mut() else {
                return Err(Error::fatal("the index was not opened"));
            };
            let done = work(store);
            Ok((done, store.fresh_bytes()))
        })
        .await?;
        self.fresh_bytes.store(bytes, Ordering::Relaxed);
        done
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Run what may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .or_error(ErrorKind::Fatal, || "work on an index panicked; see the log".to_owned())?
}

/// Writes rows as documents of an embedded index.
pub struct SearchSink {
    shared: Arc<Shared>,
}

impl SearchSink {
    /// The index that `config` names, of rows of `schema`. Nothing is opened yet.
    pub fn new(
        name: &str,
        config: &SearchConfig,
        schema: &SchemaRef,
        contract: &Contract,
        ownership: &Ownership,
        context: &Context,
    ) -> Self {
        let settings = Settings {
            path: Path::new(&config.path).into(),
            ownership: ownership.clone(),
            contract: contract.version.clone(),
            threads: usize::from(config.threads),
            thread_bytes: usize::try_from(config.memory.bytes()).unwrap_or(usize::MAX),
        };
        let definition = Definition::new(schema, contract, &config.mapping, &config.system);
        let shared = Shared {
            name: name.into(),
            fields: Fields::of(&definition),
            settings,
            system: config.system.clone(),
            expire_deletes: config.on_expire == OnExpire::Delete,
            context: context.clone(),
            store: Arc::default(),
            waiting: Mutex::default(),
            fresh_bytes: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared) }
    }
}

#[async_trait]
impl Sink for SearchSink {
    fn name(&self) -> &str {
        &self.shared.name
    }
    fn kind(&self) -> SinkKind {
        SinkKind::Versioned
    }
    fn keeps_positions(&self) -> bool {
        true
    }
    fn place(&self) -> String {
        self.shared.settings.path.display().to_string()
    }

    async fn prepare(&self, written_before: bool) -> Result<()> {
        let shared = &self.shared;
        let mut store = shared.store.clone().lock_owned().await;
        if store.is_some() {
            return Ok(());
        }
        let path = shared.settings.path.clone();
        let prepare = async {
            let looked = path.clone();
            blocking(move || index::look_at(&looked)).await?;
            let folder =
                FolderStaging::new(&path, |_| Ok(None), shared.context.randomness.clone())?;
            folder.claim(&shared.settings.ownership, written_before).await?;
            let (fields, settings) = (shared.fields.clone(), shared.settings.clone());
            let memory = shared.context.memory.clone();
            blocking(move || {
                let index = index::open_or_make(&settings.path, &fields, written_before)?;
                *store = Some(Store::open(&index, fields, settings, &memory)?);
                Ok(())
            })
            .await
        };
        prepare.await.map_err(|error: Error| error.context(format!("sink {}", shared.name)))
    }

    /// The index must have what the records say is done. A new one begins where they are.
    async fn compare(&self, records: &[Record]) -> Result<()> {
        let shared = &self.shared;
        let standing: Vec<(PartitionId, Reached)> = records
            .iter()
            .filter(|record| record.last_epoch() > 0)
            .map(|record| {
                let reached = Reached { position: record.next.clone(), epoch: record.last_epoch() };
                (record.partition.clone(), reached)
            })
            .collect();
        let wanted = standing.clone();
        let (is_new, found) = shared
            .with_store(move |store| {
                if store.is_new() && !wanted.is_empty() {
                    store.ready()?;
                    store.commit(wanted)?;
                    return Ok((true, Vec::new()));
                }
                let reached =
                    |(partition, _): &(PartitionId, Reached)| store.reached(partition).cloned();
                Ok((false, wanted.iter().map(reached).collect()))
            })
            .await?;
        if is_new {
            let events: i64 = records.iter().map(|record| record.ordinal_next).sum();
            warn!(
                sink = &*shared.name,
                "the index begins here: it lacks the {events} events that were done before"
            );
            return Ok(());
        }
        for ((partition, wanted), reached) in standing.iter().zip(found) {
            shared.is_not_behind(partition, wanted, reached.as_ref())?;
        }
        Ok(())
    }

    async fn begin(&self, epoch: &EpochId) -> Result<Box<dyn EpochWriter>> {
        let shared = &self.shared;
        let partition = epoch.partition.clone();
        let (generation, reached) = shared
            .with_store(move |store| {
                store.ready()?;
                Ok((store.generation, store.reached(&partition).cloned()))
            })
            .await?;
        let before = Reached { position: epoch.from.clone(), epoch: epoch.epoch.saturating_sub(1) };
        shared.is_not_behind(&epoch.partition, &before, reached.as_ref())?;
        Ok(Box::new(IndexWriter::new(shared.clone(), epoch, generation)))
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

impl Shared {
    /// What the index has of a partition must not be less than what its record says.
    fn is_not_behind(
        &self,
        partition: &PartitionId,
        wanted: &Reached,
        reached: Option<&Reached>,
    ) -> Result<()> {
        if reached.map_or(0, |reached| reached.epoch) >= wanted.epoch {
            return Ok(());
        }
        let has = match reached {
            Some(reached) => format!("up to {} (epoch {})", reached.position, reached.epoch),
            None => "not at all".to_owned(),
        };
        Err(Error::halted(format!(
            "sink {}: the index {} has {partition} {has}, the checkpoint up to {} (epoch {}): the folder was put back from an older copy, or the sink was left out of the pipeline for a while, and what lies between is missing; put the newest copy back, or name an empty folder by `path` and fill it anew under a new checkpoint",
            self.name,
            self.settings.path.display(),
            wanted.position,
            wanted.epoch
        )))
    }
}

#[cfg(test)]
mod tests;
