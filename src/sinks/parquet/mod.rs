//! The lake: Hive-partitioned Parquet.

mod config;
mod encoder;
mod layout;
mod packing;
mod properties;
mod rows;
mod scratch;
mod table;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

pub use self::config::{Granularity, ParquetConfig, PartitionConfig, TimeRange};
pub use self::table::SystemShape;

use self::layout::Layout;
use self::packing::Packing;
use self::properties::Encodings;
use self::table::Table;
use self::writer::LakeWriter;
use crate::component::checkpoint::FORMAT;
use crate::component::{
    CheckpointStore, Context, EpochId, EpochWriter, Published, Sink, SinkKind, StagedFile, Swept,
};
use crate::contract::model::Contract;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::batch::REFERENCES;
use crate::location::Location;
use crate::sinks::marker::Ownership;
use crate::sinks::staging::{self, Staging};
use crate::sinks::staging_at;

/// Key of a footer's entry: the file's nonce.
pub const NONCE: &str = "acequia.nonce";

/// Bytes that the scratch files of a process may take. Four lanes with epochs of 1 GiB stay below it;
/// many lanes end their epochs earlier, and so run on a small disk.
pub const DEFAULT_SCRATCH_BYTES: u64 = 8 << 30;

/// What a table is made of.
#[derive(Debug, Clone)]
pub struct TableSettings<'a> {
    /// Name of the sink in the pipeline.
    pub name: &'a str,
    /// What the pipeline says; its url is absolute.
    pub config: &'a ParquetConfig,
    /// Schema of the last stage's rows.
    pub schema: &'a SchemaRef,
    /// The contract that the rows come from.
    pub contract: &'a Contract,
    /// Which system columns the source and the contract give.
    pub system: SystemShape,
    /// What the marker beside the root says.
    pub ownership: Ownership,
    /// Folder for rows that do not fit into memory; outside every table.
    pub scratch: PathBuf,
    /// Bytes that the scratch files of all lanes may take.
    pub scratch_bytes: u64,
}

/// What every writer of one table needs.
struct Shared {
    name: Arc<str>,
    table: Table,
    layout: Layout,
    encodings: Encodings,
    packing: Arc<Packing>,
    contract_version: String,
    ownership: Ownership,
    scratch: PathBuf,
    scratch_bytes: u64,
    staging: Arc<dyn Staging>,
    context: Context,
}

impl Shared {
    /// What the footer of a file says.
    fn footer(&self, epoch: &EpochId, nonce: &str) -> Vec<(&'static str, String)> {
        let mut entries = vec![
            ("acequia.v", FORMAT.to_string()),
            ("acequia.pipeline", epoch.pipeline.clone()),
            ("acequia.domain", epoch.domain.clone()),
            ("acequia.partition", epoch.partition.to_string()),
            ("acequia.token", epoch.token.to_string()),
            ("acequia.epoch", epoch.epoch.to_string()),
            ("acequia.from", epoch.from.to_string()),
            ("acequia.control", epoch.control.to_string()),
            ("acequia.contract", self.contract_version.clone()),
            (NONCE, nonce.to_owned()),
        ];
        // The file has no Arrow schema that could say it.
        let names = self.encodings.schema().fields().iter();
        let names = names.filter(|field| field.metadata().contains_key(REFERENCES));
        let names: Vec<_> = names.map(|field| field.name().as_str()).collect();
        if !names.is_empty() {
            entries.push(("acequia.media", serde_json::json!(names).to_string()));
        }
        entries
    }
}

/// Writes rows as Parquet files in folders by time.
pub struct ParquetSink {
    shared: Arc<Shared>,
}

impl ParquetSink {
    /// A table in the folder or bucket that the configuration names.
    pub fn new(settings: TableSettings<'_>, context: Context) -> Result<Self> {
        let location = Location::parse(&settings.config.url)?;
        let objects = settings.config.s3.as_ref();
        let staging = staging_at(location, objects, read_nonce, Some(&settings.scratch), &context)?;
        Self::with_staging(settings, staging, context)
    }

    /// A table in any store of staged files.
    pub fn with_staging(
        settings: TableSettings<'_>,
        staging: Arc<dyn Staging>,
        context: Context,
    ) -> Result<Self> {
        let layout = Layout::new(&settings.config.partition, settings.schema)?;
        let table = Table::new(settings.schema, settings.system, layout.columns())?;
        let encodings = Encodings::new(table.schema(), settings.contract)?;
        let packing = Packing::new(table.waiting_schema())
            .or_error(ErrorKind::Config, || "the columns cannot be packed".to_owned())?;
        let shared = Shared {
            name: settings.name.into(),
            table,
            layout,
            encodings,
            packing: Arc::new(packing),
            contract_version: settings.contract.version.clone(),
            ownership: settings.ownership,
            scratch: settings.scratch,
            scratch_bytes: settings.scratch_bytes,
            staging,
            context,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The columns of every file of the table.
    pub fn table_schema(&self) -> &SchemaRef {
        self.shared.table.schema()
    }
}

#[async_trait]
impl Sink for ParquetSink {
    fn name(&self) -> &str {
        &self.shared.name
    }
    fn kind(&self) -> SinkKind {
        SinkKind::Staged
    }
    fn place(&self) -> String {
        self.shared.staging.root().to_owned()
    }
    async fn prepare(&self, written_before: bool) -> Result<()> {
        let claimed = self.shared.staging.claim(&self.shared.ownership, written_before).await;
        claimed.map_err(|error| error.context(format!("sink {}", self.shared.name)))
    }
    async fn begin(&self, epoch: &EpochId) -> Result<Box<dyn EpochWriter>> {
        Ok(Box::new(LakeWriter::new(self.shared.clone(), epoch)))
    }
    async fn publish(&self, staged: &[StagedFile]) -> Result<Published> {
        staging::publish(self.shared.staging.as_ref(), staged).await
    }
    async fn discard(&self, staged: &[StagedFile]) -> Result<()> {
        staging::discard(self.shared.staging.as_ref(), staged).await
    }
    async fn sweep(&self, records: &dyn CheckpointStore) -> Result<Swept> {
        let pipeline = &self.shared.ownership.pipeline;
        staging::sweep(self.shared.staging.as_ref(), records, pipeline).await
    }
}

/// The nonce in the footer of a Parquet file; `None` where it has none.
pub fn read_nonce(path: &Path) -> Result<Option<String>> {
    let failed = || format!("cannot read the footer of {}", path.display());
    let file = File::open(path).or_error(ErrorKind::Retryable, failed)?;
    let footer = match ParquetMetaDataReader::new().parse_and_finish(&file) {
        Ok(footer) => footer,
        // The disk failed, not the file.
        Err(ParquetError::External(cause)) => {
            return Err(Error::retryable(failed()).caused_by(cause));
        }
        Err(cause) => return Err(Error::data(failed()).caused_by(cause)),
    };
    let entries = footer.file_metadata().key_value_metadata();
    let nonce = entries.and_then(|entries| entries.iter().find(|entry| entry.key == NONCE));
    Ok(nonce.and_then(|entry| entry.value.clone()))
}

#[cfg(test)]
mod tests;
