//! The contracts: what a source, a decoder, a transform, a sink and a checkpoint store promise,
//! and what they may expect. Readable in one sitting; implementations live in their families.

pub mod checkpoint;
pub mod confirmation;
pub mod context;
pub mod control;
pub mod decoder;

pub mod record;
pub mod sink;
pub mod source;
pub mod transform;

pub use checkpoint::{CheckpointStore, Expected, Key, Revision, Stored, SwapAnswer};
pub use confirmation::Confirmation;
pub use context::Context;
pub use control::Control;
pub use decoder::{Decoder, Stamp, Versioning};
pub use record::{Gap, Owner, Pending, Record, StagedFile};
pub use sink::{EpochId, EpochWriter, Flushed, Published, Sink, SinkKind, Swept};
pub use source::{
    PartitionReader, PartitionStart, RawBatch, RawContent, RawRecords, Source, SourceEvent,
};
pub use transform::Transform;
