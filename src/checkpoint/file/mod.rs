//! Checkpoint documents in a local folder.
//!
//! ```text
//! <folder>/store.json            identity of the store, made once
//! <folder>/control.json          the control record C
//! <folder>/manifest.json         the files of an archive
//! <folder>/beginnings.json       where topics begin
//! <folder>/newest-run.json       the newest run of a source that nothing assigns
//! <folder>/records/<name>.json   the record R of one partition
//! <folder>/run.lock              held by a run of a source that nothing assigns
//! ```
//!
//! Beside a document stand its lock (`.lock`) and, during a swap, the next version (`.json.tmp`).
//! One swap is: lock, read again, compare, write the next version, fsync, rename, fsync the folder,
//! unlock. The lock is held for one swap and never for a run, so any number of processes of one
//! machine may share the folder. A crash leaves the old document or the new one, never a mixture;
//! what it leaves of a next version is overwritten by the next swap, which holds the lock.

mod documents;
mod local_disk;
mod lock;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::lock::RunLock;
use self::lock::{Lock, blocking};
use super::{identity, names};
use crate::component::{CheckpointStore, Context, Expected, Key, Revision, Stored, SwapAnswer};
use crate::disk::{make_folder, sync_folder};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::PartitionId;

/// A folder on a local disk of one machine; network file systems are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The folder, relative to the pipeline file.
    pub path: String,
}

/// A store in a local folder. Several processes of one machine may have it open.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    identity: String,
    /// Folders in which a rename happened whose fsync failed: what a load would show of them may not
    /// survive a power failure, so nothing is shown until an fsync succeeds.
    unsynced: Unsynced,
}

/// Folders whose last rename may not be durable.
type Unsynced = Arc<Mutex<HashSet<PathBuf>>>;

impl FileStore {
    /// Open the store in `folder`, an absolute path; it is made where it does not exist, and then
    /// takes a random identity. Every failure here is a diagnostic ([`ErrorKind::Config`]), but a
    /// folder that has lost its identity or is of a newer format halts.
    pub async fn open(folder: impl Into<PathBuf>, context: &Context) -> Result<Self> {
        let folder = folder.into();
        let nonce = context.randomness.nonce();
        let made = folder.clone();
        blocking(move || make_folders(&made)).await?;
        let identity = match read_identity(&folder)? {
            Some(identity) => identity,
            None => {
                let lock = Lock::wait(&folder.join("store.lock"))
                    .await
                    .or_error(ErrorKind::Config, || {
                        format!("cannot lock the checkpoint folder {}", folder.display())
                    })?;
                let made = folder.clone();
                blocking(move || make_identity(&made, nonce, lock)).await?
            }
        };
        Ok(Self { folder, identity, unsynced: Arc::default() })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the document of `key` stands: its folder, and its name there without ending.
    fn place(&self, key: &Key) -> (PathBuf, String) {
        match key {
            Key::Record(partition) => {
                (self.folder.join("records"), names::escape(partition.as_str()))
            }
            Key::Control => (self.folder.clone(), "control".into()),
            Key::Manifest => (self.folder.clone(), "manifest".into()),
            Key::Beginnings => (self.folder.clone(), "beginnings".into()),
            // Not `run`: `run.lock` is held for a whole run.
            Key::Run => (self.folder.clone(), "newest-run".into()),
        }
    }
}

fn make_folders(folder: &Path) -> Result<()> {
    let records = folder.join("records");
    make_folder(&records).or_error(ErrorKind::Config, || {
        format!("cannot make the checkpoint folder {}", folder.display())
    })?;
    local_disk::require(folder)?;
    for place in [folder, &records] {
        rustix::fs::access(place, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
            .or_error(ErrorKind::Config, || {
                format!("the checkpoint folder {} is not writable", place.display())
            })?;
    }
    Ok(())
}

fn read_identity(folder: &Path) -> Result<Option<String>> {
    let path = folder.join("store.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            return Err(Error::config(format!("cannot read {}", path.display())).caused_by(cause));
        }
    };
    identity::decode(&path.display().to_string(), &bytes).map(Some)
}

/// Give a new store its identity, under `lock`: of two processes that start at once one wins.
fn make_identity(folder: &Path, nonce: String, lock: Lock) -> Result<String> {
    if let Some(identity) = read_identity(folder)? {
        return Ok(identity);
    }
    let written = ["control.json", "manifest.json", "beginnings.json"]
        .iter()
        .any(|name| folder.join(name).exists())
        || !documents::list(&folder.join("records"))?.is_empty();
    if written {
        return Err(identity::lost(&folder.display().to_string()));
    }
    let body = identity::encode(&nonce)?;
    documents::write(folder, "store.json", &body).map_err(|failed| {
        Error::config(format!("cannot write into the checkpoint folder {}", folder.display()))
            .caused_by(failed.cause)
    })?;
    drop(lock);
    Ok(nonce)
}

#[async_trait]
impl CheckpointStore for FileStore {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn load(&self, key: &Key) -> Result<Option<Stored>> {
        let (folder, name) = self.place(key);
        let (key, unsynced) = (key.clone(), self.unsynced.clone());
        blocking(move || {
            // Held while it syncs, so that a failure that comes meanwhile is not forgotten.
            let mut unsynced = unsynced.lock().unwrap_or_else(PoisonError::into_inner);
            if unsynced.contains(&folder) {
                sync_folder(&folder).or_error(ErrorKind::Retryable, || {
                    format!("cannot make the last write of {} durable", folder.display())
                })?;
                unsynced.remove(&folder);
            }
            drop(unsynced);
            documents::read(&folder, &name, &key)
        })
        .await
    }

    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        new.require(key, &body)?;
        let (folder, name) = self.place(key);
        let path = folder.join(format!("{name}.lock"));
        let lock = Lock::wait(&path).await.map_err(|cause| self.unreachable(key, cause))?;
        let swap = documents::Swap {
            folder,
            name,
            key: key.clone(),
            expected: expected.clone(),
            body,
            store: self.folder.clone(),
            identity: self.identity.clone(),
            unsynced: self.unsynced.clone(),
        };
        blocking(move || {
            let answer = swap.run();
            drop(lock);
            answer
        })
        .await
    }

    async fn partitions(&self) -> Result<Vec<PartitionId>> {
        let records = self.folder.join("records");
        blocking(move || documents::list(&records)).await
    }
}

impl FileStore {
    fn unreachable(&self, key: &Key, cause: std::io::Error) -> Error {
        let folder = self.folder.display();
        if cause.kind() == std::io::ErrorKind::NotFound {
            return Error::halted(format!("the checkpoint folder {folder} is gone"))
                .caused_by(cause);
        }
        Error::retryable(format!("cannot lock the {key} in {folder}")).caused_by(cause)
    }
}
