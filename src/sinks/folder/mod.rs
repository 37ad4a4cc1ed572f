//! Staged files in a local folder: `_NAME.staged` beside where `NAME` will stand. Readers of a table
//! take files by their ending or pass over names that begin with `_`; neither sees a staged file.
//!
//! Publishing is a rename that never replaces a file. One `syncfs` before the commit point and one
//! after the renames make an epoch durable however many files it has; a few files are synced one by
//! one instead. A staged file carries its identity inside and in its name, so nothing beside it can
//! be lost.

mod syncs;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};

use self::syncs::Syncs;
use super::marker::{self, MARKER, Ownership};
use super::staging::{Completion, FileIdentity, StagedUpload, Staging, Upload, Uploaded, Visible};
use crate::component::StagedFile;
use crate::disk::make_folder;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::randomness::Randomness;

/// What a staged file's name ends in.
pub const STAGED: &str = ".staged";

/// Up to so many files are synced one by one; more are synced with the whole file system.
const SYNC_ONE_BY_ONE: usize = 8;

/// Reads the nonce that a file carries inside.
pub type NonceReader = fn(&Path) -> Result<Option<String>>;

/// A folder on a local disk.
#[derive(Clone)]
pub struct FolderStaging {
    root: Arc<str>,
    read_nonce: NonceReader,
    randomness: Arc<dyn Randomness>,
    syncs: Arc<Syncs>,
}

impl FolderStaging {
    /// The folder `root`, an absolute path. `read_nonce` knows the form of its files.
    pub fn new(
        root: &Path,
        read_nonce: NonceReader,
        randomness: Arc<dyn Randomness>,
    ) -> Result<Self> {
        let Some(text) = root.to_str() else {
            return Err(Error::config(format!("{} is not UTF-8", root.display())));
        };
        if !root.is_absolute() {
            return Err(Error::config(format!("{text} is not an absolute path")));
        }
        Ok(Self { root: text.into(), read_nonce, randomness, syncs: Arc::default() })
    }
}

/// Run file system work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .or_error(ErrorKind::Fatal, || "file system work panicked; see the log".to_owned())?
}

/// In mid-run every failure of the file system is a wait, with the folder named.
fn failed(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let message = format!("cannot {what} {}", path.display());
    move |cause| Error::retryable(message).caused_by(cause)
}

/// At the start a folder that may not be written is a mistake in the configuration.
fn refused(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let message = format!("cannot write to the folder {}", path.display());
    move |cause| {
        let kind = match cause.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists => ErrorKind::Config,
            _ => ErrorKind::Retryable,
        };
        Error::new(kind, message).caused_by(cause)
    }
}

/// Where the file `key` waits until it is published.
fn upload_of(key: &str) -> String {
    match key.rsplit_once('/') {
        Some((folder, name)) => format!("{folder}/_{name}{STAGED}"),
        None => format!("_{key}{STAGED}"),
    }
}

/// The final name of a staged file; `None` for any other file.
fn key_of(upload: &str) -> Option<String> {
    let (folder, name) = match upload.rsplit_once('/') {
        Some((folder, name)) => (Some(folder), name),
        None => (None, upload),
    };
    let name = name.strip_prefix('_')?.strip_suffix(STAGED)?;
    Some(folder.map_or_else(|| name.to_owned(), |folder| format!("{folder}/{name}")))
}

/// The root was there when this process began.
fn gone(root: &str) -> Error {
    Error::halted(format!(
        "the folder {root} is gone: it was removed while the pipeline ran; nothing of the open \
         epochs was committed"
    ))
}

/// Give `from` the name `to` unless something has it: `false` where it is taken.
fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        // A file system without the flag: a second name, which fails where one exists.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            match std::fs::hard_link(from, to) {
                Ok(()) => std::fs::remove_file(from).map(|()| true),
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                    let (old, new) = (std::fs::metadata(from)?, std::fs::metadata(to)?);
                    if (old.dev(), old.ino()) != (new.dev(), new.ino()) {
                        return Ok(false);
                    }
                    // A crash came between the two steps.
                    std::fs::remove_file(from).map(|()| true)
                }
                Err(cause) => Err(cause),
            }
        }
        Err(cause) => Err(cause.into()),
    }
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(failed("sync", path))
}

fn sync_file_system(path: &Path) -> Result<()> {
    let folder = File::open(path).map_err(failed("open", path))?;
    syncfs(&folder).map_err(|cause| failed("sync the file system of", path)(cause.into()))
}

struct FolderUpload {
    root: Arc<str>,
    syncs: Arc<Syncs>,
    upload: String,
    length: u64,
    /// The file stays when this is dropped.
    finished: bool,
}

impl Drop for FolderUpload {
    /// An upload that was never finished can be named by no record: a lane that is stopped in the
    /// middle of a flush leaves nothing behind.
    fn drop(&mut self) {
        if !self.finished {
            self.syncs.forget(&self.upload);
            // What stays is swept later.
            let _ = std::fs::remove_file(self.path());
        }
    }
}

impl FolderUpload {
    fn path(&self) -> PathBuf {
        Path::new(self.root.as_ref()).join(&self.upload)
    }
}

/// Append to a file that is closed in between: hundreds of open days in each of many lanes would
/// meet the limit of open files. A failure takes back what it wrote.
fn append(path: &Path, length: u64, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(bytes).inspect_err(|_| {
        // The first failure is the one to report.
        let _ = file.set_len(length);
    })
}

#[async_trait]
impl Upload for FolderUpload {
    async fn put(&mut self, bytes: Bytes) -> Result<()> {
        let (path, length) = (self.path(), self.length);
        self.length += bytes.len() as u64;
        blocking(move || append(&path, length, &bytes).map_err(failed("write to", &path))).await
    }

    async fn finish(mut self: Box<Self>) -> Result<Uploaded> {
        self.finished = true;
        Ok(Uploaded { upload: self.upload.clone(), parts: Vec::new(), bytes: self.length })
    }

    async fn abort(self: Box<Self>) {
        // Dropping removes the file.
        let _ = blocking(move || Ok(drop(self))).await;
    }
}

impl FolderStaging {
    fn complete_blocking(files: &[StagedFile]) -> Result<Vec<Completion>> {
        let mut answers = Vec::with_capacity(files.len());
        let mut folders = BTreeSet::new();
        for file in files {
            let root = Path::new(&file.root);
            let (staged, visible) = (root.join(&file.upload), root.join(&file.key));
            answers.push(match std::fs::metadata(&staged) {
                Ok(found) if found.len() != file.bytes => Completion::Damaged(format!(
                    "the staged file {} has {} bytes instead of {}",
                    staged.display(),
                    found.len(),
                    file.bytes
                )),
                Ok(_) => match rename_new(&staged, &visible) {
                    Ok(true) => Completion::Done,
                    Ok(false) => Completion::Unclear("the name is taken".to_owned()),
                    Err(cause) if cause.kind() == io::ErrorKind::NotFound => Completion::NotFound,
                    Err(cause) => return Err(failed("publish", &visible)(cause)),
                },
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => Completion::NotFound,
                Err(cause) => return Err(failed("look at", &staged)(cause)),
            });
            // Also where it was renamed before: by a process that may have died before its sync.
            folders.extend(
                visible
                    .ancestors()
                    .skip(1)
                    .map(Path::to_owned)
                    .take_while(|folder| folder.starts_with(root)),
            );
        }
        if folders.len() > SYNC_ONE_BY_ONE {
            for root in files.iter().map(|file| file.root.as_str()).collect::<BTreeSet<_>>() {
                sync_file_system(Path::new(root))?;
            }
        } else {
            for folder in folders.iter().filter(|folder| folder.exists()) {
                sync(folder)?;
            }
        }
        Ok(answers)
    }

    fn settle_blocking(files: &[StagedFile]) -> Result<()> {
        if files.len() > SYNC_ONE_BY_ONE {
            for root in files.iter().map(|file| file.root.as_str()).collect::<BTreeSet<_>>() {
                sync_file_system(Path::new(root))?;
            }
            return Ok(());
        }
        let mut folders = BTreeSet::new();
        for file in files {
            let root = Path::new(&file.root);
            let staged = root.join(&file.upload);
            sync(&staged)?;
            folders.extend(
                staged
                    .ancestors()
                    .skip(1)
                    .map(Path::to_owned)
                    .take_while(|folder| folder.starts_with(root)),
            );
        }
        folders.iter().try_for_each(|folder| sync(folder))
    }

    fn claim_blocking(
        root: &Path,
        ownership: &Ownership,
        nonce: &str,
        written_before: bool,
    ) -> Result<()> {
        let path = root.join(MARKER);
        if written_before && !path.try_exists().map_err(refused(root))? {
            return Err(marker::missing(&path.display().to_string()));
        }
        make_folder(root).map_err(refused(root))?;
        // Written anew even where the marker stands: the folder must be writable.
        let trial = root.join(format!("{MARKER}.{nonce}.new"));
        let written = File::create_new(&trial)
            .and_then(|mut file| {
                file.write_all(&marker::encode(ownership).map_err(io::Error::other)?)?;
                file.sync_all()
            })
            .and_then(|()| rename_new(&trial, &path));
        if !matches!(written, Ok(true)) {
            // Best effort: it is not the marker, and a failure before is the one to report.
            let _ = std::fs::remove_file(&trial);
        }
        if written.map_err(refused(root))? {
            return sync(root);
        }
        let found = std::fs::read(&path).map_err(refused(root))?;
        marker::check(&path.display().to_string(), &found, ownership)
    }
}

/// Every file below `root`, by its path there.
fn walk(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => return Err(failed("list", &path)(cause)),
        };
        for entry in entries {
            let entry = entry.map_err(failed("list", &path))?;
            let kind = entry.file_type().map_err(failed("look at", &entry.path()))?;
            let below = folder.join(entry.file_name());
            if kind.is_dir() {
                folders.push(below);
            } else if kind.is_file() {
                found.extend(below.to_str().map(str::to_owned));
            }
        }
    }
    found.sort();
    Ok(found)
}

#[async_trait]
impl Staging for FolderStaging {
    fn root(&self) -> &str {
        &self.root
    }

    async fn claim(&self, ownership: &Ownership, written_before: bool) -> Result<()> {
        let (root, ownership) = (self.root.clone(), ownership.clone());
        let nonce = self.randomness.nonce();
        blocking(move || {
            Self::claim_blocking(Path::new(root.as_ref()), &ownership, &nonce, written_before)
        })
        .await
    }

    async fn create(&self, key: &str, _identity: &FileIdentity) -> Result<Box<dyn Upload>> {
        let upload = FolderUpload {
            root: self.root.clone(),
            syncs: self.syncs.clone(),
            upload: upload_of(key),
            length: 0,
            finished: false,
        };
        self.syncs.begin(&upload.upload);
        let (path, root) = (upload.path(), self.root.clone());
        blocking(move || {
            let created = match File::create_new(&path) {
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                    if !Path::new(root.as_ref()).exists() {
                        return Err(gone(&root));
                    }
                    let folder = path.parent().unwrap_or(&path);
                    std::fs::create_dir_all(folder).map_err(failed("make the folder", folder))?;
                    File::create_new(&path)
                }
                created => created,
            };
            created.map(drop).map_err(failed("create", &path))
        })
        .await?;
        Ok(Box::new(upload))
    }

    async fn settle(&self, files: &[StagedFile]) -> Result<()> {
        let (files, syncs) = (files.to_vec(), self.syncs.clone());
        blocking(move || {
            let settled = Self::settle_blocking(&files);
            if settled.is_err() {
                syncs.failed.fetch_add(1, Ordering::Release);
            }
            let intact = syncs.none_failed_since(&files);
            files.iter().for_each(|file| syncs.forget(&file.upload));
            settled?;
            match (intact, files.first()) {
                (false, Some(file)) => Err(Error::retryable(format!(
                    "the file system of {} lost writes while these files were written",
                    file.root
                ))),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn complete_all(&self, files: &[StagedFile]) -> Result<Vec<Completion>> {
        let files = files.to_vec();
        blocking(move || Self::complete_blocking(&files)).await
    }

    async fn head(&self, file: &StagedFile) -> Result<Option<Visible>> {
        let (path, read_nonce) = (Path::new(&file.root).join(&file.key), self.read_nonce);
        blocking(move || match std::fs::metadata(&path) {
            Ok(found) => match read_nonce(&path) {
                Ok(nonce) => Ok(Some(Visible { nonce, bytes: found.len() })),
                Err(error) if error.is_retryable() => Err(error),
                // What cannot be read as one of ours is foreign.
                Err(_) => Ok(Some(Visible { nonce: None, bytes: found.len() })),
            },
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(failed("look at", &path)(cause)),
        })
        .await
    }

    async fn upload_exists(&self, file: &StagedFile) -> Result<bool> {
        let path = Path::new(&file.root).join(&file.upload);
        blocking(move || path.try_exists().map_err(failed("look at", &path))).await
    }

    async fn abort(&self, upload: &StagedUpload) -> Result<()> {
        let path = Path::new(&upload.root).join(&upload.upload);
        blocking(move || match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(cause))
            }
            _ => Ok(()),
        })
        .await
    }

    async fn list(&self) -> Result<Vec<StagedUpload>> {
        let root = self.root.clone();
        let files = blocking(move || walk(Path::new(root.as_ref()))).await?;
        let staged = |upload: String| {
            let (root, key) = (self.root.to_string(), key_of(&upload)?);
            Some(StagedUpload { root, key, upload })
        };
        Ok(files.into_iter().filter_map(staged).collect())
    }

    async fn visible(&self) -> Result<Vec<String>> {
        let root = self.root.clone();
        let mut files = blocking(move || walk(Path::new(root.as_ref()))).await?;
        files.retain(|name| key_of(name).is_none());
        Ok(files)
    }

    async fn remove(&self, file: &StagedFile) -> Result<()> {
        let path = Path::new(&file.root).join(&file.key);
        blocking(move || match std::fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(cause))
            }
            _ => path.parent().map_or(Ok(()), sync),
        })
        .await
    }
}

#[cfg(test)]
mod tests;
