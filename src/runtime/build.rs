//! From a checked pipeline to live parts: the only place that puts concrete components together.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::watch;

use super::lane::{CommitPolicy, DecoderFactory, LaneParts, LaneSettings, SinkLine};
use super::process::{self, ProcessEnd, ensure_control, next_run};
use super::retry::until_done;
use super::swap::Documents;
use super::sweep;
use super::until_end::Ends;
use crate::aws::Aws;
use crate::checkpoint::file::RunLock;
use crate::checkpoint::{self, CheckpointConfig};
use crate::clock::SystemClock;
use crate::codec;
use crate::component::checkpoint::Key;
use crate::component::{CheckpointStore, Context, Owner, Record, Sink, Transform};
use crate::compute::ComputePool;
use crate::config::Loaded;
use crate::error::{Error, Result};
use crate::memory::{DEFAULT_BASE_BYTES, DEFAULT_LANE_BYTES, MemoryBudget};
use crate::randomness::Generator;
use crate::sinks::dead_letters::DeadLetterSink;
use crate::sinks::marker::Ownership;
use crate::sinks::{self, SinkInputs};
use crate::sources;
use crate::telemetry::metrics::Metrics;
use crate::transforms::Mistake;
use crate::transforms::sql::SqlFilter;

/// Cores beyond this many add to the memory budget, as each of them encodes.
const CORES_IN_BASE: usize = 2;
/// What each further core adds to the budget for rows, in bytes.
const CORE_BYTES: usize = 16 << 20;

/// A pipeline that is ready to run: every place was looked at, nothing has been read.
pub struct Pipeline {
    /// What its lanes work with.
    pub parts: LaneParts,
    /// Held for the run, where nothing assigns partitions.
    _lock: Option<RunLock>,
}

impl Pipeline {
    /// Run until the source has ended or `drain` turns true, and remove what earlier processes left
    /// behind.
    ///
    /// # Errors
    /// See [`process::run`].
    pub async fn run(self, drain: watch::Receiver<bool>) -> Result<ProcessEnd> {
        let (told, stop) = watch::channel(false);
        let mut is_over = false;
        let until_told = async {
            is_over = self.told_or_over(drain).await?;
            told.send_replace(true);
            std::future::pending::<Result<Infallible>>().await
        };
        let end = tokio::select! {
            biased;
            end = process::run(self.parts.clone(), stop) => end?,
            never = sweep::from_time_to_time(&self.parts) => match never {},
            failed = until_told => match failed? {},
        };
        let end = if is_over { ProcessEnd::Finished } else { end };
        // Every lane holds its own token by now, so that what is left of older ones can go.
        sweep::once(&self.parts).await;
        Ok(end)
    }

    /// Returns when `drain` turns true, or when the run has reached the end that it looks for; true
    /// for the latter.
    async fn told_or_over(&self, mut drain: watch::Receiver<bool>) -> Result<bool> {
        let told = async {
            // An error says that nobody is left to say so.
            let _ = drain.wait_for(|told| *told).await;
        };
        if self.parts.ends.is_empty() {
            told.await;
            return Ok(false);
        }
        tokio::select! {
            biased;
            () = told => Ok(false),
            over = self.parts.ends.reached(&self.parts) => over.map(|()| true),
        }
    }
}

/// The seams of a process: the machine's clock and randomness, a compute thread for each core, and
/// the memory that `loaded` allows, or what the machine's cores need.
pub fn context(loaded: &Loaded) -> Result<Context> {
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).get();
    let memory = match loaded.pipeline.memory {
        Some(memory) => MemoryBudget::new(usize::try_from(memory.bytes()).unwrap_or(usize::MAX)),
        None => {
            let base = DEFAULT_BASE_BYTES + cores.saturating_sub(CORES_IN_BASE) * CORE_BYTES;
            MemoryBudget::with_lanes(base, DEFAULT_LANE_BYTES)
        }
    };
    let metrics = Metrics::new();
    metrics.watch_memory(&memory);
    Ok(Context {
        aws: Aws::new(loaded.pipeline.aws.clone().unwrap_or_default()),
        clock: Arc::new(SystemClock),
        randomness: Arc::new(Generator::from_os()),
        compute: Arc::new(ComputePool::new(cores)?),
        memory,
        metrics,
    })
}

/// What an operator decides for one run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Decisions {
    /// A run that is at work already loses its partitions to this one.
    pub take_over: bool,
    /// What cannot be read of a damaged partition is given up, and the record says so.
    pub skip_damaged: bool,
    /// The run is over when everything is visible that stood in the source at its start.
    pub until_end: bool,
}

/// Open every component of `loaded`. Whose store and folders these are is looked at before anything
/// is written into them.
///
/// # Errors
/// `Config` for what the user can mend (a folder without permission, no file, another run at work),
/// `Halted` where an operator must decide (a folder of another pipeline, a changed file).
pub async fn build(loaded: &Loaded, context: Context, decisions: Decisions) -> Result<Pipeline> {
    let pipeline = &loaded.pipeline;
    if pipeline.source.is_assigned() && (decisions.take_over || decisions.skip_damaged) {
        return Err(Error::config(
            "--take-over and --skip-damaged are for archives: this source is shared by the tasks of a group",
        ));
    }
    // A store that is busy or fails for a moment is waited for; what a person must mend is not.
    let open = || checkpoint::open(&loaded.checkpoint, &pipeline.name, &context);
    let store = until_done(&context, "opening the checkpoint store", open).await?;
    let lock = match &loaded.checkpoint {
        CheckpointConfig::File(folder) if !pipeline.source.is_assigned() => {
            Some(RunLock::acquire(folder.path.as_ref(), decisions.take_over)?)
        }
        // Another machine's run cannot be seen: the newer one wins, by its number.
        _ => None,
    };
    let documents = Documents { store: store.clone(), context: context.clone() };
    let control = ensure_control(&documents, &pipeline.name, &loaded.contract.hash).await?;
    let ownership = Ownership {
        pipeline: pipeline.name.clone(),
        domain: control.domain.clone(),
        store: store.identity().to_owned(),
    };
    let outlets = Outlets {
        lines: sink_lines(loaded, &ownership, &context)?,
        dead_letters: Arc::new(DeadLetterSink::new(
            &pipeline.dead_letters,
            ownership,
            context.clone(),
        )?),
    };
    outlets.prepare(&documents, &control.places).await?;
    let open = || {
        let store = store.as_ref();
        sources::open(&pipeline.source, &pipeline.name, store, loaded.reads_message, &context)
    };
    let source = until_done(&context, "opening the source", open).await?;
    let mut owner = Owner { uuid: context.randomness.nonce(), task: task_name(), run: 0 };
    if !pipeline.source.is_assigned() {
        owner.run = next_run(&documents, &owner).await?;
    }
    let ends = match decisions.until_end {
        true => Ends::of(source.as_ref(), &context).await?,
        false => Ends::default(),
    };
    let settings = settings(loaded, decisions, control.domain, store.as_ref(), owner);
    let parts = LaneParts {
        settings: Arc::new(settings),
        source,
        decoder: decoder_factory(loaded),
        transforms: transforms(loaded, &context)?.into(),
        sinks: outlets.lines.into(),
        dead_letters: outlets.dead_letters,
        ends: Arc::new(ends),
        documents,
    };
    Ok(Pipeline { parts, _lock: lock })
}

/// Makes a decoder of the source's records for each lane.
pub(super) fn decoder_factory(loaded: &Loaded) -> DecoderFactory {
    let source = &loaded.pipeline.source;
    let (contract, format, unmarked) =
        (loaded.contract.clone(), source.format(), source.unmarked());
    Arc::new(move || codec::decoder_of(contract.clone(), format, unmarked))
}

/// The stages, in order.
pub(super) fn transforms(loaded: &Loaded, context: &Context) -> Result<Vec<Arc<dyn Transform>>> {
    let mut stages: Vec<Arc<dyn Transform>> = Vec::new();
    let mut schema = loaded.contract.schema();
    for (index, config) in loaded.pipeline.transforms.iter().enumerate() {
        let name = format!("transforms[{index}].{}", config.kind());
        let stage = config
            .build(&schema, &loaded.system, &name, context)
            .map_err(|mistake| unchecked(&name, mistake))?;
        schema = stage.schema();
        stages.push(stage);
    }
    Ok(stages)
}

/// The own `where` of the sink called `name`, if it has one.
pub(super) fn filter(
    loaded: &Loaded,
    name: &str,
    config: &sinks::SinkConfig,
    context: &Context,
) -> Result<Option<Arc<dyn Transform>>> {
    let Some(condition) = &config.condition else { return Ok(None) };
    let filter = SqlFilter::new(condition, &loaded.schema, &loaded.system, name, context)
        .map_err(|error| unchecked(&format!("sinks.{name}.where"), Mistake::Sql(error)))?;
    Ok(Some(Arc::new(filter)))
}

/// Loading has checked all stages with their place in the file: this one is a defect, or a model file
/// that was changed since.
fn unchecked(name: &str, mistake: Mistake) -> Error {
    Error::config(format!("cannot plan {name}")).caused_by(mistake)
}

fn sink_lines(loaded: &Loaded, ownership: &Ownership, context: &Context) -> Result<Vec<SinkLine>> {
    let inputs = SinkInputs {
        schema: &loaded.schema,
        system: &loaded.system,
        contract: &loaded.contract,
        ownership,
        scratch: loaded.scratch.clone(),
        context,
    };
    let line = |(name, config): (&String, &sinks::SinkConfig)| {
        let filter = filter(loaded, name, config, context)?;
        Ok(SinkLine { filter, sink: sinks::build(name, config, &inputs)? })
    };
    loaded.pipeline.sinks.iter().map(line).collect()
}

/// Everything that rows and letters go to.
struct Outlets {
    lines: Vec<SinkLine>,
    dead_letters: Arc<dyn Sink>,
}

impl Outlets {
    /// Look at every place once; one that does not answer is waited for. Places that are new are
    /// remembered, so that one that vanishes later is missed.
    async fn prepare(&self, documents: &Documents, known: &BTreeSet<String>) -> Result<()> {
        let sinks = self.lines.iter().map(|line| &line.sink);
        let mut places = BTreeSet::new();
        for sink in sinks.chain(std::iter::once(&self.dead_letters)) {
            let written_before = known.contains(&sink.place());
            let prepare = || sink.prepare(written_before);
            until_done(&documents.context, "preparing a sink", prepare).await?;
            places.insert(sink.place());
        }
        self.compare(documents).await?;
        process::remember_places(documents, &places).await
    }
}

impl Outlets {
    /// Sinks that keep positions must have what the records say is done.
    async fn compare(&self, documents: &Documents) -> Result<()> {
        let mut sinks = self.lines.iter().filter(|line| line.sink.keeps_positions()).peekable();
        if sinks.peek().is_none() {
            return Ok(());
        }
        let mut records = Vec::new();
        for partition in documents.partitions().await? {
            let held = documents.load::<Record>(&Key::Record(partition)).await?;
            records.extend(held.map(|held| held.content));
        }
        for line in sinks {
            let compare = || line.sink.compare(&records);
            until_done(&documents.context, "comparing a sink with the records", compare).await?;
        }
        Ok(())
    }
}

fn settings(
    loaded: &Loaded,
    decisions: Decisions,
    domain: String,
    store: &dyn CheckpointStore,
    owner: Owner,
) -> LaneSettings {
    let (pipeline, commit) = (&loaded.pipeline, loaded.pipeline.commit);
    LaneSettings {
        pipeline: pipeline.name.clone(),
        domain,
        store: store.identity().to_owned(),
        config_hash: loaded.hash.clone(),
        commit: CommitPolicy {
            every: commit.every,
            size: commit.size,
            min_size: commit.min_size,
            max_age: commit.max_age,
        },
        contract: loaded.contract.hash.clone(),
        skip_damaged: decisions.skip_damaged,
        dead_letter_limit: pipeline.dead_letters.limit,
        owner,
    }
}

/// Who this process is, for people: host and process id.
fn task_name() -> String {
    let name = rustix::system::uname();
    format!("{} pid {}", name.nodename().to_string_lossy(), std::process::id())
}
