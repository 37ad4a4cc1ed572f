//! What an operator does with the records of a pipeline: look at them, compare them with what lies
//! in the lake, take them from whoever holds them, and say how it goes on after a halt.

mod accept;
mod verify;

use std::sync::Arc;

pub use self::accept::{Accept, Change};
pub use self::verify::{Doubt, Verified};

use super::swap::{Documents, Held, Swapped};
use crate::checkpoint::file::RunLock;
use crate::checkpoint::{self, CheckpointConfig};
use crate::component::checkpoint::Key;
use crate::component::source::Surveyed;
use crate::component::{CheckpointStore, Context, Control, Published, Record, StagedFile};
use crate::config::Loaded;
use crate::error::{Error, Result};
use crate::event::PartitionId;
use crate::sinks::staging::{self, Staging};
use crate::sources::{self, SourceConfig};

/// The records of one pipeline, and the places of its files.
pub struct Checkpoints {
    documents: Documents,
    control: Control,
    places: Vec<(String, Arc<dyn Staging>)>,
    source: SourceConfig,
    pipeline: String,
}

impl Checkpoints {
    /// Open the store of a pipeline that has run before.
    ///
    /// # Errors
    /// `Config` where it has not, or where the store is not reached.
    pub async fn open(loaded: &Loaded, context: Context) -> Result<Self> {
        let settings = &loaded.pipeline;
        if let CheckpointConfig::File(file) = &loaded.checkpoint
            && !std::path::Path::new(&file.path).exists()
        {
            return Err(never_run(&settings.name));
        }
        let store = checkpoint::open(&loaded.checkpoint, &settings.name, &context).await?;
        let places = crate::sinks::stagings(
            &settings.sinks,
            &settings.dead_letters,
            &settings.name,
            &context,
        )?;
        let documents = Documents { store, context };
        let control = documents.load::<Control>(&Key::Control).await?;
        let control = control.ok_or_else(|| never_run(&settings.name))?.content;
        let (source, pipeline) = (settings.source.clone(), settings.name.clone());
        Ok(Self { documents, control, places, source, pipeline })
    }

    /// The control record.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Let deletes leave documents that say so, or no longer. Running lanes hear of it within seconds.
    pub async fn keep_tombstones(&self, tombstones: bool) -> Result<Control> {
        loop {
            let held = self.documents.load::<Control>(&Key::Control).await?;
            let held = held.ok_or_else(|| never_run(&self.pipeline))?;
            if held.content.tombstones == tombstones {
                return Ok(held.content);
            }
            let number = held.content.number + 1;
            let control = Control { number, tombstones, ..held.content.clone() };
            let swapped = self.documents.swap(&Key::Control, Some(&held), control).await?;
            if let Swapped::Stored(held) = swapped {
                return Ok(held.content);
            }
        }
    }

    /// Every record, in the order of the partitions' names.
    pub async fn records(&self) -> Result<Vec<Held<Record>>> {
        let mut records = Vec::new();
        for partition in self.documents.partitions().await? {
            records.extend(self.documents.load(&Key::Record(partition)).await?);
        }
        Ok(records)
    }

    /// The record of one partition.
    pub async fn record(&self, partition: &PartitionId) -> Result<Held<Record>> {
        let found = self.documents.load(&Key::Record(partition.clone())).await?;
        found.ok_or_else(|| {
            Error::config(format!(
                "there is no record of {partition}: `acequia checkpoint list` shows those there are"
            ))
        })
    }

    /// Take `held` from whoever holds it, finish what it names, and leave it to nobody. A lane that
    /// held it loses what it has not committed, and begins again if the source still gives it the
    /// partition.
    pub async fn release(&self, held: Held<Record>) -> Result<Record> {
        let held = self.fence(held).await?;
        let mut record = held.content.clone();
        if let Some(pending) = record.pending.take() {
            self.publish(&pending.files).await?;
            record.done = pending.epoch;
        }
        Ok(self.store(&held, record).await?.content)
    }

    /// Raise the token, so that no other process commits under the record any more.
    async fn fence(&self, held: Held<Record>) -> Result<Held<Record>> {
        let mut record = held.content.clone();
        record.token += 1;
        record.owner = None;
        self.store(&held, record).await
    }

    async fn store(&self, old: &Held<Record>, record: Record) -> Result<Held<Record>> {
        let partition = record.partition.clone();
        match self.documents.swap(&Key::Record(partition.clone()), Some(old), record).await? {
            Swapped::Stored(held) => Ok(held),
            Swapped::Lost(_) => Err(Error::config(format!(
                "the record of {partition} was changed meanwhile by a task that runs: try again, or \
                 stop the tasks first"
            ))),
        }
    }

    async fn publish(&self, files: &[StagedFile]) -> Result<()> {
        for file in files {
            let staging = self.place_of(file)?;
            if let Published::Lost { key, reason } =
                staging::publish(staging, std::slice::from_ref(file)).await?
            {
                return Err(Error::halted(format!(
                    "file {key} is lost: {reason}; see `acequia checkpoint accept lost-file --help`"
                )));
            }
        }
        Ok(())
    }

    fn place_of(&self, file: &StagedFile) -> Result<&dyn Staging> {
        let found = self.places.iter().find(|(name, _)| *name == file.sink);
        found.map(|(_, staging)| staging.as_ref()).ok_or_else(|| {
            Error::halted(format!(
                "a record names a file of sink `{}`, which the pipeline no longer has: put the sink \
                 back until the record names none of its files",
                file.sink
            ))
        })
    }

    async fn survey(&self) -> Result<Vec<Surveyed>> {
        let Documents { store, context } = &self.documents;
        sources::survey(&self.source, store.as_ref(), context).await
    }

    fn store_of(&self) -> &dyn CheckpointStore {
        self.documents.store.as_ref()
    }
}

/// Held while records of an archive are changed: its runs hold it too.
pub fn lock(loaded: &Loaded) -> Result<Option<RunLock>> {
    match &loaded.checkpoint {
        CheckpointConfig::File(file) if !loaded.pipeline.source.is_assigned() => {
            RunLock::acquire(file.path.as_ref(), false).map(Some)
        }
        _ => Ok(None),
    }
}

fn never_run(pipeline: &str) -> Error {
    Error::config(format!("pipeline `{pipeline}` has no checkpoint: it has not run yet"))
}
