//! One document: read, compare, replace.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use bytes::Bytes;

use crate::checkpoint::names;
use crate::component::{Expected, Key, Revision, Stored, SwapAnswer};
use crate::disk::sync_folder;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::PartitionId;

/// One compare-and-swap; run by who holds the document's lock.
pub(super) struct Swap {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) key: Key,
    pub(super) expected: Expected,
    pub(super) body: Bytes,
    pub(super) store: PathBuf,
    pub(super) identity: String,
    pub(super) unsynced: super::Unsynced,
}

impl Swap {
    pub(super) fn run(self) -> Result<SwapAnswer> {
        // The folder may have been removed and made again by another run while this one worked.
        if super::read_identity(&self.store)?.as_deref() != Some(self.identity.as_str()) {
            return Err(Error::halted(format!(
                "the checkpoint folder {} was replaced while this run used it",
                self.store.display()
            )));
        }
        let found = read(&self.folder, &self.name, &self.key)?.map(|stored| stored.revision);
        let matches = match (&self.expected, &found) {
            (Expected::Absent, None) => true,
            (Expected::Write { revision, .. }, Some(found)) => revision == found,
            _ => false,
        };
        if !matches {
            return Ok(SwapAnswer::Conflict);
        }
        let unclear = |failed: WriteFailed| {
            if failed.renamed {
                let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
                unsynced.insert(self.folder.clone());
            }
            Error::retryable(format!(
                "cannot write the {} into {}",
                self.key,
                self.folder.display()
            ))
            .caused_by(failed.cause)
        };
        if let (Key::Record(partition), None) = (&self.key, &found)
            && names::is_hashed(&self.name)
        {
            // Only the name's hash is in the file's name: keep the name itself beside it.
            let beside = format!("{}.name", self.name);
            write(&self.folder, &beside, partition.as_str().as_bytes()).map_err(unclear)?;
        }
        write(&self.folder, &format!("{}.json", self.name), &self.body).map_err(unclear)?;
        Ok(SwapAnswer::Stored { tag: None })
    }
}

/// A write that failed, and whether the new document may be visible all the same.
pub(super) struct WriteFailed {
    pub(super) renamed: bool,
    pub(super) cause: io::Error,
}

/// Put `body` under `name` in one step that survives a power failure. The next version has one
/// fixed name, since the writer holds the document's lock: what a crash left there is overwritten.
pub(super) fn write(folder: &Path, name: &str, body: &[u8]) -> Result<(), WriteFailed> {
    let next = folder.join(format!("{name}.tmp"));
    let staged = File::create(&next).and_then(|mut file| {
        file.write_all(body)?;
        file.sync_all()
    });
    if let Err(cause) = staged.and_then(|()| fs::rename(&next, folder.join(name))) {
        // A leftover does no harm; the space it takes may be the very thing that is missing.
        let _ = fs::remove_file(&next);
        return Err(WriteFailed { renamed: false, cause });
    }
    sync_folder(folder).map_err(|cause| WriteFailed { renamed: true, cause })
}

/// The document `name` of `folder`, which is that of `key`.
pub(super) fn read(folder: &Path, name: &str, key: &Key) -> Result<Option<Stored>> {
    let path = folder.join(format!("{name}.json"));
    let body = match fs::read(&path) {
        Ok(body) => Bytes::from(body),
        Err(cause) if cause.kind() == IoKind::NotFound => return Ok(None),
        Err(cause) => {
            return Err(
                Error::retryable(format!("cannot read {}", path.display())).caused_by(cause)
            );
        }
    };
    let revision =
        Revision::of(key, &body).map_err(|error| error.context(path.display().to_string()))?;
    Ok(Some(Stored { revision, tag: None, body }))
}

/// The partitions that have a record in `records`, sorted.
pub(super) fn list(records: &Path) -> Result<Vec<PartitionId>> {
    let failed = || format!("cannot list {}", records.display());
    let mut partitions = Vec::new();
    for entry in fs::read_dir(records).or_error(ErrorKind::Retryable, failed)? {
        let file = entry.or_error(ErrorKind::Retryable, failed)?.file_name();
        let Some(name) = file.to_str().and_then(|name| name.strip_suffix(".json")) else {
            continue;
        };
        let partition = if names::is_hashed(name) {
            fs::read_to_string(records.join(format!("{name}.name"))).ok()
        } else {
            names::unescape(name)
        };
        let partition = partition.ok_or_else(|| {
            Error::halted(format!("{}/{name}.json is no record of acequia", records.display()))
        })?;
        partitions.push(PartitionId::new(partition));
    }
    partitions.sort();
    Ok(partitions)
}
