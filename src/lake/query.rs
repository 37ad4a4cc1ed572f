//! SQL over a pipeline's lake.
//!
//! The table named by the pipeline is the log: every published row with its system columns and the
//! Hive columns `year`, `month`, `day`, `hour` as whole numbers. The view `<name>_current` is, for
//! each key, the row with the highest `_version` among all rows but expires, unless that row is a
//! delete: the store's own time-to-live does not take a fact back.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
#[cfg(feature = "aws")]
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;

use super::table;
use crate::aws::Aws;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::{Operation, SystemSchema, system};
use crate::location::Location;
use crate::sinks::parquet::Granularity;

/// A lake to ask.
#[derive(Debug, Clone)]
pub struct QueryTable {
    /// Name of the table: see [`table_name`].
    pub name: String,
    /// The table's root; a folder need not exist yet.
    pub root: Location,
    /// How its folders are laid out.
    pub granularity: Granularity,
    /// Schema of the pipeline's last stage.
    pub schema: SchemaRef,
    /// The system columns that its rows have.
    pub system: SystemSchema,
}

/// What a query may use.
#[derive(Debug, Clone, Copy)]
pub struct QueryLimits {
    /// Bytes for sorts, joins and aggregates; beyond it they spill to the temporary folder.
    pub memory: usize,
    /// Threads that scan and compute.
    pub threads: NonZeroUsize,
}

impl Default for QueryLimits {
    /// One GiB, all cores.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self { memory: 1 << 30, threads }
    }
}

/// The name of a pipeline's table: the pipeline's, hyphens and other odd letters as underscores.
pub fn table_name(pipeline: &str) -> String {
    pipeline
        .chars()
        .map(
            |letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' },
        )
        .collect()
}

/// The folder columns of a table, outermost first.
fn hive_columns(granularity: Granularity) -> &'static [&'static str] {
    match granularity {
        Granularity::Month => &["year", "month"],
        Granularity::Day => &["year", "month", "day"],
        Granularity::Hour => &["year", "month", "day", "hour"],
    }
}

/// Answers SQL over lakes.
pub struct LakeQuery {
    session: SessionContext,
    limits: QueryLimits,
}

/// The rows of an answer, as they come.
pub struct Answer {
    /// Their schema.
    pub schema: SchemaRef,
    stream: SendableRecordBatchStream,
    memory: usize,
}

impl Answer {
    /// The next rows; `None` at the end. An answer may be larger than memory: write as you go.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        self.stream.try_next().await.map_err(|error| refuse(error, self.memory))
    }

    /// All rows.
    pub async fn collect(mut self) -> Result<Vec<RecordBatch>> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }
}

impl LakeQuery {
    /// Register `tables` and their `_current` views.
    pub async fn open(tables: &[QueryTable], limits: QueryLimits, aws: &Aws) -> Result<Self> {
        let defect = || "cannot set up the query engine".to_owned();
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(limits.memory)))
            .build_arc()
            .or_error(ErrorKind::Fatal, defect)?;
        let mut config = SessionConfig::new()
            .with_target_partitions(limits.threads.get())
            .with_information_schema(true);
        config.options_mut().execution.time_zone = Some(system::UTC.to_string());
        let session = SessionContext::new_with_config_rt(config, runtime);
        for lake in tables {
            read_from(&session, &lake.root, aws)?;
            let log = table::open(&lake.root, &log_schema(lake), hive_columns(lake.granularity))?;
            session
                .register_table(lake.name.as_str(), log)
                .or_error(ErrorKind::Config, || format!("cannot name a table {}", lake.name))?;
            let view = session.sql(&current(lake)).await.or_error(ErrorKind::Fatal, defect)?;
            session
                .register_table(format!("{}_current", lake.name), view.into_view())
                .or_error(ErrorKind::Fatal, defect)?;
        }
        Ok(Self { session, limits })
    }

    /// Plan `sql`, one query, and begin to run it. Whatever would change something is refused.
    pub async fn query(&self, sql: &str) -> Result<Answer> {
        let refuse = |error| refuse(error, self.limits.memory);
        let plan = self.session.state().create_logical_plan(sql).await.map_err(refuse)?;
        let queries = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        if queries.verify_plan(&plan).is_err() || matches!(plan, LogicalPlan::Copy(_)) {
            return Err(Error::config("only queries are possible here: write SELECT"));
        }
        let frame = self.session.execute_logical_plan(plan).await.map_err(refuse)?;
        let stream = frame.execute_stream().await.map_err(refuse)?;
        Ok(Answer { schema: stream.schema(), stream, memory: self.limits.memory })
    }
}

/// Let the session read where a table lies.
fn read_from(session: &SessionContext, root: &Location, aws: &Aws) -> Result<()> {
    #[cfg(feature = "aws")]
    if let Location::Bucket(place) = root {
        let url = ObjectStoreUrl::parse(format!("s3://{}", place.bucket))
            .or_error(ErrorKind::Config, || format!("{place} is no url"))?;
        let files = super::bucket::BucketFiles::new(&place.bucket, aws);
        session.register_object_store(url.as_ref(), Arc::new(files));
    }
    let _ = (session, root, aws);
    Ok(())
}

/// The columns of the files: the last stage's, then the system columns. Any of them may be missing
/// in older files and reads as NULL there.
fn log_schema(lake: &QueryTable) -> SchemaRef {
    let plain = |name: &str, kind: &DataType| Field::new(name, kind.clone(), true);
    let stage = lake.schema.fields().iter().map(|field| plain(field.name(), field.data_type()));
    let system = lake.system.fields();
    let system = system.iter().map(|field| plain(field.name(), field.data_type()));
    Arc::new(Schema::new(stage.chain(system).collect::<Vec<_>>()))
}

/// The last version of each key. One row a key whatever the log holds, and the sort behind it
/// spills where keys do not fit into memory.
fn current(lake: &QueryTable) -> String {
    let (name, key, op, version) = (&lake.name, system::KEY, system::OP, system::VERSION);
    let (expire, delete) = (Operation::Expire, Operation::Delete);
    format!(
        "SELECT * EXCEPT (_rank) FROM (
           SELECT *, row_number() OVER (PARTITION BY \"{key}\" ORDER BY \"{version}\" DESC) AS _rank
           FROM \"{name}\" WHERE \"{op}\" <> '{expire}')
         WHERE _rank = 1 AND \"{op}\" <> '{delete}'"
    )
}

/// A failed query: the user's fault where planning failed or one of its expressions did.
fn refuse(error: DataFusionError, memory: usize) -> Error {
    let (kind, text) = match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => {
            let memory = memory >> 20;
            let text = format!("the query needs more than its {memory} MiB of memory; select less");
            return Error::fatal(text);
        }
        DataFusionError::SQL(cause, _) => (ErrorKind::Config, cause.to_string()),
        DataFusionError::SchemaError(cause, _) => (ErrorKind::Config, cause.to_string()),
        DataFusionError::Plan(text) | DataFusionError::NotImplemented(text) => {
            (ErrorKind::Config, text.clone())
        }
        DataFusionError::ArrowError(cause, _) => (ErrorKind::Config, cause.to_string()),
        DataFusionError::Execution(text) => (ErrorKind::Config, text.clone()),
        _ => return Error::fatal("cannot read the lake").caused_by(error),
    };
    let text = text.lines().next().unwrap_or_default().trim_start_matches("sql parser error: ");
    let text = text.trim_end_matches('.').replace("datafusion.public.", "");
    let mut letters = text.chars();
    let text: String = match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    };
    Error::new(kind, format!("cannot answer the query: {text}"))
}

#[cfg(test)]
mod tests;
