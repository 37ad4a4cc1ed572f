//! What the archive needs of a place that files lie in, be it a local disk or a bucket: what files
//! there are and what tells them apart ([`super::files`]), and the bytes of a file at a place.

use std::fmt;
use std::path::PathBuf;

use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

#[cfg(feature = "aws")]
use super::bucket::{Object, ObjectName};
use super::disk::DiskFile;
use super::rows::Selection;
use super::streams::ByteStream;
use crate::aws::Phase;
use crate::component::Context;
use crate::error::{Error, Result};

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// On a local disk.
    Disk(PathBuf),
    /// In a bucket of S3.
    #[cfg(feature = "aws")]
    Bucket(ObjectName),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(path) => path.display().fmt(out),
            #[cfg(feature = "aws")]
            Self::Bucket(name) => name.fmt(out),
        }
    }
}

/// What tells, together with its size, whether a file is still the one that was listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Identity {
    /// Of a file on disk.
    Modified {
        /// Time of modification, nanoseconds since 1970.
        modified_ns: i64,
    },
    /// Of an object. Its time does not count: a copy of the same bytes is the same.
    Tag {
        /// Its `ETag`, with its quotes.
        tag: String,
    },
}

/// What a file was when it was listed.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// What messages call it.
    pub(super) name: String,
    /// Stored bytes.
    pub(super) size: u64,
    /// What it is told by.
    pub(super) identity: Identity,
}

impl Listed {
    /// What is different in a file of this size and identity, if anything.
    pub(super) fn difference(&self, size: u64, identity: &Identity) -> Option<String> {
        if size > self.size {
            return Some(format!("grew from {} to {size} bytes", self.size));
        }
        if size < self.size {
            return Some(format!("shrank from {} to {size} bytes", self.size));
        }
        if *identity == self.identity {
            return None;
        }
        Some(match (&self.identity, identity) {
            (Identity::Modified { .. }, Identity::Modified { .. }) => {
                "was modified: its time of modification differs".into()
            }
            (Identity::Tag { .. }, Identity::Tag { .. }) => "was replaced: its tag differs".into(),
            _ => "was listed in another kind of place, a disk or a bucket".into(),
        })
    }
}

/// A file that is open, with the bytes that it was listed with and no others. Calls wait for their
/// bytes: none is made on an asynchronous thread.
pub(super) trait OpenFile: Send + Sync {
    /// Its bytes from `from` on. Few will be wanted beyond `until`.
    fn stream(&self, from: u64, until: u64) -> Box<dyn ByteStream>;
    /// What it holds as a Parquet file.
    fn row_groups(&self) -> Result<Box<dyn RowGroups>>;
    /// Fails where it is not what was listed any more.
    fn unchanged(&self) -> Result<()>;
}

/// The row groups of a Parquet file.
pub(super) trait RowGroups: Send {
    /// The file's footer.
    fn metadata(&self) -> &ParquetMetaData;
    /// A reader of the first of `groups`, and of those after it that are read together with it.
    fn open(&mut self, groups: &[usize], selection: Selection) -> Result<ParquetRecordBatchReader>;
    /// Why the reader that was opened last did not get its bytes, where that is why it failed.
    fn failure(&mut self) -> Option<Error>;
}

/// Open the file at `place`. In [`Phase::Start`] a failure is a diagnostic. An object is not looked
/// at before its first byte is read; each reading checks then that it is the one that was listed.
pub(super) fn open(
    place: &Place,
    listed: Listed,
    phase: Phase,
    stop: &Stop,
    context: &Context,
) -> Result<Box<dyn OpenFile>> {
    // Files on disk are read by calls that nothing can interrupt, nor need to.
    let _ = (stop, context);
    match place {
        Place::Disk(path) => Ok(Box::new(DiskFile::open(path, listed, phase)?)),
        #[cfg(feature = "aws")]
        Place::Bucket(name) => {
            Ok(Box::new(Object::new(name.clone(), listed, phase, stop.clone(), context)?))
        }
    }
}

/// Says that what is read is still wanted: dropping it tells every [`Stop`].
pub(super) struct Wanted {
    _told: watch::Sender<()>,
}

/// Told when nobody waits for what is read any more.
#[derive(Debug, Clone)]
pub(super) struct Stop(watch::Receiver<()>);

impl Wanted {
    /// The two ends.
    pub(super) fn new() -> (Self, Stop) {
        let (told, stop) = watch::channel(());
        (Self { _told: told }, Stop(stop))
    }
}

impl Stop {
    /// True from when it is told.
    pub(super) fn is_told(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Returns when it is told.
    #[cfg(feature = "aws")]
    pub(super) async fn told(&self) {
        let mut told = self.0.clone();
        while told.changed().await.is_ok() {}
    }
}
