//! What a sink promises.

use async_trait::async_trait;

use super::checkpoint::CheckpointStore;
use super::confirmation::Confirmation;
use super::record::{Record, StagedFile};
use crate::error::Result;
use crate::event::filter::{FilterRule, SinkRows};
use crate::event::{DeadLetter, PartitionId, Position};

/// How a sink comes to hold each event once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkKind {
    /// Files are invisible until the record names them.
    Staged,
    /// The highest version of a key wins.
    Versioned,
}

impl SinkKind {
    /// The word that `validate` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Versioned => "versioned",
        }
    }
}

/// One epoch of one lane under one fencing token.
#[derive(Debug, Clone)]
pub struct EpochId {
    /// The pipeline.
    pub pipeline: String,
    /// The version domain of the pipeline.
    pub domain: String,
    /// The lane's partition.
    pub partition: PartitionId,
    /// The fencing token the lane holds.
    pub token: u64,
    /// Number of the epoch, from 1; rises by one with each prepared epoch.
    pub epoch: u64,
    /// Where the epoch begins.
    pub from: Position,
    /// The control number that all its rows are processed under.
    pub control: u64,
    /// A delete leaves a document that says so, where the store would forget its version.
    pub tombstones: bool,
    /// When the lane was last known to hold the token.
    pub confirmation: Confirmation,
}

/// Where rows go. Shared by all lanes of the process.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Its name in the pipeline.
    fn name(&self) -> &str;
    /// How it holds each event once.
    fn kind(&self) -> SinkKind;
    /// How it reads filtered rows.
    fn filter_rule(&self) -> FilterRule {
        FilterRule::Keyed
    }

    /// True where its store keeps by itself how far each partition is: it then gets a writer for every
    /// epoch, one without rows included, and a failure of its [`Sink::begin`] may say that it lacks
    /// what a record says is done.
    fn keeps_positions(&self) -> bool {
        false
    }

    /// Where its output lies: what a checkpoint store remembers of it.
    fn place(&self) -> String;

    /// Check the outside once, before any lane starts: that the place exists or can be made, that
    /// it belongs to this pipeline, that it may be written. Failures here are diagnostics. Where the
    /// pipeline has `written_before`, a place that is empty or new halts.
    async fn prepare(&self, written_before: bool) -> Result<()>;

    /// Compare what a sink that keeps positions has with the records, once and behind
    /// [`Sink::prepare`]. What is missing there that a record says is done halts.
    async fn compare(&self, records: &[Record]) -> Result<()> {
        let _ = records;
        Ok(())
    }

    /// A writer for one epoch. Its rows stay invisible (staged) or are safe to send again
    /// (versioned) until the epoch is prepared.
    async fn begin(&self, epoch: &EpochId) -> Result<Box<dyn EpochWriter>>;

    /// Make staged files visible. Idempotent; called after the record names the files, and again
    /// by whoever recovers. Identity decides, never size alone.
    async fn publish(&self, staged: &[StagedFile]) -> Result<Published>;

    /// Remove staged files that no record can name any more: only by the token rule.
    async fn discard(&self, staged: &[StagedFile]) -> Result<()>;

    /// Remove what earlier processes left behind, by the token rule: a staged file goes when its
    /// token is lower than that of its partition's record, and the record does not name it.
    async fn sweep(&self, records: &dyn CheckpointStore) -> Result<Swept>;
}

/// Takes the rows of one epoch.
#[async_trait]
pub trait EpochWriter: Send {
    /// Take rows, in the order of the partition. Returning is not durability. Rows that the target
    /// refuses come back as dead letters, here or at the flush.
    async fn write(&mut self, rows: SinkRows) -> Result<Vec<DeadLetter>>;

    /// Keep refused events: the dead-letter writer stages them, every other writer has no use for
    /// them and must not be called.
    async fn write_dead_letters(&mut self, letters: Vec<DeadLetter>) -> Result<()> {
        let _ = letters;
        Err(crate::Error::fatal("this sink takes no dead letters"))
    }

    /// True where the writer keeps so much aside until the flush that the epoch should end soon,
    /// whatever the lane's policy says. Asked after each batch.
    fn is_heavy(&self) -> bool {
        false
    }

    /// The epoch ends before `position`. Called once, before the flush.
    fn reach(&mut self, position: &Position) {
        let _ = position;
    }

    /// Make everything durable, still invisible. Nothing of the epoch may be prepared before.
    async fn flush(self: Box<Self>) -> Result<Flushed>;

    /// Give the epoch up: release memory and scratch, remove what was staged where that is safe.
    async fn abandon(self: Box<Self>);
}

/// What one writer leaves for the commit.
#[derive(Debug, Clone, Default)]
pub struct Flushed {
    /// Files to publish; empty where the sink stages none or had no row.
    pub staged: Vec<StagedFile>,
    /// Events that the target refused.
    pub dead_letters: Vec<DeadLetter>,
    /// Rows written.
    pub rows: u64,
}

/// The outcome of publishing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// Every file is visible and is the one that was staged.
    All,
    /// A file is gone for good, or a foreign one stands in its place: the lane halts.
    Lost {
        /// The file's final name.
        key: String,
        /// What was found instead.
        reason: String,
    },
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Staged files removed.
    pub removed: u64,
    /// Staged files left alone: a record may still name them.
    pub kept: u64,
}
