//! What a decoder promises: raw records in, Arrow rows out.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::source::RawBatch;
use crate::error::Result;
use crate::event::Batch;

/// How `_version` follows from where an event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versioning {
    /// `base + position`: archives (`file number << 36`) and Kafka (`incarnation << 48`).
    Position {
        /// Added to the position; its low bits are zero.
        base: i64,
    },
    /// The lineage ordinal: each event of the partition takes the next number, rejects included.
    Ordinal,
}

impl Versioning {
    /// The same, with `more` added to every position's version.
    #[must_use]
    pub fn raised_by(self, more: i64) -> Self {
        match self {
            Self::Position { base } => Self::Position { base: base.saturating_add(more) },
            Self::Ordinal => Self::Ordinal,
        }
    }
}

/// What the lane stamps on the events of one batch.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// `_stream`.
    pub stream: Arc<str>,
    /// `_partition`.
    pub partition: Arc<str>,
    /// How `_version` is made.
    pub versioning: Versioning,
    /// Ordinal of the first event, for [`Versioning::Ordinal`].
    pub first_ordinal: i64,
}

/// Turns raw records into rows of the contract. One decoder belongs to one lane and may learn from
/// what it has seen (key order, dictionaries), but its output is a function of its input alone.
pub trait Decoder: Send {
    /// Schema of the rows: the contract's columns.
    fn schema(&self) -> SchemaRef;

    /// Decode `raw`. A record that does not decode, or does not fit the contract, becomes a reject
    /// with its reason; it never fails the batch. An `Err` is a defect or lack of memory.
    fn decode(&mut self, raw: &RawBatch, stamp: &Stamp) -> Result<Batch>;
}
