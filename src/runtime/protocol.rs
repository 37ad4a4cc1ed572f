//! The steps of the delivery protocol, as logs and tests name them.

use std::fmt;

use tracing::info;

use crate::event::PartitionId;

/// Target of the log lines that say which step a lane has reached.
pub const STEP_TARGET: &str = "acequia::protocol";

/// A step of the protocol. Each is announced when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Raise the token before the position is used.
    Fence,
    /// Finish what the record names.
    Recover,
    /// Rows go to the writers.
    Run,
    /// Flush every writer.
    Flush,
    /// One compare-and-swap: the commit point.
    Prepare,
    /// Make the files visible.
    Publish,
    /// The epoch is done.
    Finalise,
    /// Tell the source.
    Advise,
    /// Give the partition back.
    Release,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 9] = [
        Self::Fence,
        Self::Recover,
        Self::Run,
        Self::Flush,
        Self::Prepare,
        Self::Publish,
        Self::Finalise,
        Self::Advise,
        Self::Release,
    ];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fence => "fence",
            Self::Recover => "recover",
            Self::Run => "run",
            Self::Flush => "flush",
            Self::Prepare => "prepare",
            Self::Publish => "publish",
            Self::Finalise => "finalise",
            Self::Advise => "advise",
            Self::Release => "release",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Say that a lane begins `step` under `token` in `epoch`.
pub fn announce(step: Step, partition: &PartitionId, token: u64, epoch: u64) {
    info!(target: STEP_TARGET, step = step.as_str(), %partition, token, epoch);
}
