//! The lane with its delivery protocol, and the process that runs lanes.
//!
//! Reading order: [`build`] makes live parts of a checked pipeline; [`process`] hands partitions to lanes; [`lane`] takes one partition through
//! fence, recover, run, prepare, publish, finalise and advise; [`swap`] is the compare-and-swap it
//! stands on; [`barrier`] is how maintenance waits for every lane. [`rehearsal`] plays events through
//! a pipeline without writing, for [`examples`] and previews.

pub mod barrier;
pub mod build;
pub mod checkpoints;
pub mod examples;
pub mod lane;
pub mod preview;
pub mod process;
pub mod progress;
pub mod protocol;
pub mod rehearsal;
pub mod retry;
pub mod shutdown;
pub mod swap;
pub mod sweep;
pub mod until_end;

#[cfg(test)]
mod simulation;
