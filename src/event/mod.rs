//! The nouns that flow: positions, operations, batches, dead letters. Nothing here does I/O.

pub mod batch;
pub mod dead_letter;
pub mod filter;
pub mod flood;
pub mod message;
pub mod operation;
pub mod position;
pub mod system;
pub mod views;

pub use batch::Batch;
pub use dead_letter::{DeadLetter, RawImage, Stage};
pub use operation::Operation;
pub use position::{PartitionId, Position, PositionRange};
pub use system::{SystemColumns, SystemSchema};
