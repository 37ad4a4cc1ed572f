//! Failed syncs, and the uploads that they may have hurt.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::component::StagedFile;

/// Failed syncs of the file system under one root.
///
/// The kernel reports a write that it could not do to whoever syncs next, once. Where one lane is
/// told, the lost pages may be another's: every upload that was open at that time is given up.
#[derive(Debug, Default)]
pub(super) struct Syncs {
    pub(super) failed: AtomicU64,
    /// How many had failed when each upload began.
    began: Mutex<HashMap<String, u64>>,
}

impl Syncs {
    fn began(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, upload: &str) {
        self.began().insert(upload.to_owned(), self.failed.load(Ordering::Acquire));
    }

    pub(super) fn forget(&self, upload: &str) {
        self.began().remove(upload);
    }

    /// True where no sync has failed since any of `files` began.
    pub(super) fn none_failed_since(&self, files: &[StagedFile]) -> bool {
        let (began, failed) = (self.began(), self.failed.load(Ordering::Acquire));
        files.iter().all(|file| began.get(&file.upload).is_none_or(|began| *began == failed))
    }
}
