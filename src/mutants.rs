//! Planted bugs that prove the simulator: each breaks one promise of the delivery protocol, and
//! each must be found. They exist in the library's unit tests only; elsewhere `planted` is a
//! constant false.

/// The bugs that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    /// Take the partition without raising the token.
    NoFence,
    /// Open the reader at the position of a record loaded before the fence.
    ReadBeforeFence,
    /// Believe the store's first answer: a conflict is a loss, a failure means not written.
    CasByStatusCode,
    /// After an unclear answer compare the write's number only.
    NoNonceCheck,
    /// Make files visible before the record names them.
    PublishBeforePrepare,
    /// Take over without finishing what the record names.
    RecoverIgnoresPending,
    /// Advise the source of an epoch before its files are visible.
    AdviseBeforePublish,
    /// Sweep staged files by their age.
    AbortByAge,
    /// Remove staged files when the answer to Prepare was unclear.
    AbortAfterUnclearPrepare,
    /// Leave the ordinal in the record as it was.
    OrdinalNotStored,
    /// Open a child without waiting for its parents.
    ChildBeforeParent,
    /// Leave a batch without kept rows out of the epoch's range.
    FilteredRangeNotCarried,
    /// Flush the dead-letter file before the sinks.
    DeadLettersFlushedFirst,
    /// Read the control record before the fence.
    ControlReadBeforeFence,
    /// Go on with the open epoch when the control record has changed.
    EpochNotCutOnControl,
    /// Give a filtered expire to the sinks as a delete.
    FilteredExpireDeletes,
    /// Write a batch that was read ahead under an older control number.
    StaleReadAheadKept,
    /// Take the new control number on inside the open epoch.
    ControlAdoptedInOpenEpoch,
    /// Take a reading side that dies for the end of the partition.
    DeadFeedIsTheEnd,
    /// Let the record name files that a loss of power takes away.
    SettleSkipped,
    /// Leave the files of an epoch that is given up.
    GivenUpEpochLeavesFiles,
    /// Count the dead letters of an epoch once more each time it is read again.
    FloodCountsRedo,
    /// Take the first answer of a publication for the answer to all of it.
    FirstAnswerForAll,
    /// Go on with an epoch when a writer has asked for its end.
    HeavyEpochGoesOn,
}

#[cfg(test)]
mod active {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    }

    /// True where `mutant` is planted on this thread.
    pub(crate) fn planted(mutant: Mutant) -> bool {
        ACTIVE.get() == Some(mutant)
    }

    /// Plant `mutant` (or none) on this thread.
    pub(crate) fn plant(mutant: Option<Mutant>) {
        ACTIVE.set(mutant);
    }
}

#[cfg(test)]
pub(crate) use active::{plant, planted};

/// Always false outside the library's unit tests.
#[cfg(not(test))]
pub(crate) const fn planted(_: Mutant) -> bool {
    false
}

#[cfg(test)]
impl Mutant {
    /// Every mutant.
    pub(crate) const ALL: [Self; 24] = [
        Self::NoFence,
        Self::ReadBeforeFence,
        Self::CasByStatusCode,
        Self::NoNonceCheck,
        Self::PublishBeforePrepare,
        Self::RecoverIgnoresPending,
        Self::AdviseBeforePublish,
        Self::AbortByAge,
        Self::AbortAfterUnclearPrepare,
        Self::OrdinalNotStored,
        Self::ChildBeforeParent,
        Self::FilteredRangeNotCarried,
        Self::DeadLettersFlushedFirst,
        Self::ControlReadBeforeFence,
        Self::EpochNotCutOnControl,
        Self::FilteredExpireDeletes,
        Self::StaleReadAheadKept,
        Self::ControlAdoptedInOpenEpoch,
        Self::DeadFeedIsTheEnd,
        Self::SettleSkipped,
        Self::GivenUpEpochLeavesFiles,
        Self::FloodCountsRedo,
        Self::FirstAnswerForAll,
        Self::HeavyEpochGoesOn,
    ];
}
