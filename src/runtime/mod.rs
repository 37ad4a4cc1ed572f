//! The lane with its delivery protocol, and the process that runs lanes.
//!
//! Reading order: [`process`] hands partitions to lanes; [`lane`] takes one partition through
//! fence, recover, run, prepare, publish, finalise and advise; [`swap`] is the compare-and-swap it
//! stands on; [`barrier`] is how maintenance waits for every lane.

pub mod barrier;
pub mod lane;
pub mod process;
pub mod progress;
pub mod protocol;
pub mod retry;
pub mod shutdown;
pub mod swap;

#[cfg(test)]
mod simulation;
