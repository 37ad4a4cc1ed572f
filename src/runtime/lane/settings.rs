//! What every lane of a process shares.

use std::sync::Arc;

use crate::component::checkpoint::Key;
use crate::component::{Control, Decoder, Owner, Record, Sink, Source, Transform};
use crate::error::{Error, Result};
use crate::event::PartitionId;
use crate::runtime::swap::{Documents, Held};
use crate::runtime::until_end::Ends;
use crate::units::{ByteSize, Interval};

/// When an epoch is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitPolicy {
    /// Cut at this age, if the epoch holds at least `min_size`.
    pub every: Interval,
    /// Cut at this many uncompressed source bytes.
    pub size: ByteSize,
    /// Below this many source bytes `every` does not cut.
    pub min_size: ByteSize,
    /// Cut at this age whatever the size.
    pub max_age: Interval,
}

/// Plain data that every lane shares.
#[derive(Debug, Clone)]
pub struct LaneSettings {
    /// The pipeline.
    pub pipeline: String,
    /// Its version domain.
    pub domain: String,
    /// Identity of the checkpoint store.
    pub store: String,
    /// Hash of the configuration, kept with each prepared epoch.
    pub config_hash: String,
    /// When epochs are cut.
    pub commit: CommitPolicy,
    /// Hash of the contract that the lanes decode with.
    pub contract: String,
    /// Give up what cannot be read of a damaged partition, by an operator's decision.
    pub skip_damaged: bool,
    /// The most dead letters among the last 100,000 records of a lane.
    pub dead_letter_limit: u32,
    /// Who this process is.
    pub owner: Owner,
}

/// A sink and the filter in front of it.
#[derive(Clone)]
pub struct SinkLine {
    /// The sink's own `where`.
    pub filter: Option<Arc<dyn Transform>>,
    /// The sink.
    pub sink: Arc<dyn Sink>,
}

/// Makes the decoder of a lane.
pub type DecoderFactory = Arc<dyn Fn() -> Box<dyn Decoder> + Send + Sync>;

/// Everything a lane works with. Cheap to clone.
#[derive(Clone)]
pub struct LaneParts {
    /// Plain data.
    pub settings: Arc<LaneSettings>,
    /// Where records come from.
    pub source: Arc<dyn Source>,
    /// Makes a decoder for each lane.
    pub decoder: DecoderFactory,
    /// The stages, in order.
    pub transforms: Arc<[Arc<dyn Transform>]>,
    /// The sinks.
    pub sinks: Arc<[SinkLine]>,
    /// Takes refused events.
    pub dead_letters: Arc<dyn Sink>,
    /// Where the run is to end.
    pub ends: Arc<Ends>,
    /// The checkpoint documents, with the seams and the counters.
    pub documents: Documents,
}

impl LaneParts {
    /// The control record; it exists since the process made sure of it at its start.
    pub async fn load_control(&self) -> Result<Control> {
        let held = self.documents.load::<Control>(&Key::Control).await?;
        let control = held.map(|held| held.content).ok_or_else(|| {
            Error::halted("the control record is gone from the checkpoint store: it was deleted or replaced while the pipeline ran")
        })?;
        // Rows of another contract must never carry the number that speaks of this one.
        if control.contract != self.settings.contract {
            return Err(Error::halted(
                "a newer run of this pipeline works under another contract: start this task again with the new one",
            ));
        }
        Ok(control)
    }

    /// The record of `partition`.
    pub async fn load_record(&self, partition: &PartitionId) -> Result<Option<Held<Record>>> {
        self.documents.load(&Key::Record(partition.clone())).await
    }

    /// The sink of that name, the dead letters included.
    pub fn sink(&self, name: &str) -> Option<&Arc<dyn Sink>> {
        self.sinks
            .iter()
            .map(|line| &line.sink)
            .chain(std::iter::once(&self.dead_letters))
            .find(|sink| sink.name() == name)
    }
}
