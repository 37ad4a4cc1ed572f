//! Staged files: invisible until the record names them, published by identity.
//!
//! A [`Staging`] is what a store of files promises (a local folder, multipart uploads of an object
//! store, a double in the simulator). [`publish`], [`discard`] and [`sweep`] are the rules above
//! it, the same for every staged sink: `docs/delivery.md`.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::file_name::{FileName, partition_tag};
use super::marker::Ownership;
use crate::component::checkpoint::Document;
use crate::component::{CheckpointStore, EpochId, Key, Published, Record, StagedFile, Swept};
use crate::error::{Error, Result};
use crate::event::PartitionId;
use crate::mutants::{Mutant, planted};

/// Who wrote a file: stored with the file, under its final name too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileIdentity {
    /// Random, new for each file: two files are the same exactly when their nonces are.
    pub nonce: String,
    /// The pipeline.
    pub pipeline: String,
    /// The partition whose record may name the file.
    pub partition: PartitionId,
    /// The fencing token it was written under.
    pub token: u64,
    /// The epoch it belongs to.
    pub epoch: u64,
}

impl FileIdentity {
    /// The identity of a new file of `epoch`.
    pub fn new(epoch: &EpochId, nonce: String) -> Self {
        Self {
            nonce,
            pipeline: epoch.pipeline.clone(),
            partition: epoch.partition.clone(),
            token: epoch.token,
            epoch: epoch.epoch,
        }
    }
}

/// What a finished upload leaves for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Names the upload: [`StagedFile::upload`].
    pub upload: String,
    /// Tags of the parts: [`StagedFile::parts`].
    pub parts: Vec<String>,
    /// Length in bytes.
    pub bytes: u64,
}

/// A file that is being written, invisible to every reader of the table.
#[async_trait]
pub trait Upload: Send {
    /// Append `bytes`. An error ends the upload: abort it.
    async fn put(&mut self, bytes: Bytes) -> Result<()>;
    /// No more bytes follow. Durable once [`Staging::settle`] has returned.
    async fn finish(self: Box<Self>) -> Result<Uploaded>;
    /// Give it up: nothing names it yet. Failures are left to the sweep.
    async fn abort(self: Box<Self>);
}

/// The answer to completing one upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completion {
    /// This very upload is visible now.
    Done,
    /// There is no such upload: completed before, or aborted.
    NotFound,
    /// The answer does not tell (a timeout, a name that is taken): look at what is visible.
    Unclear(String),
    /// The upload is there but is not what was staged: publishing it would show a broken file.
    Damaged(String),
}

/// A file as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// The nonce inside it; `None` where it carries none.
    pub nonce: Option<String>,
    /// Length in bytes.
    pub bytes: u64,
}

/// An upload that is not visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedUpload {
    /// The table's root.
    pub root: String,
    /// The file's final name below the root.
    pub key: String,
    /// Names the upload.
    pub upload: String,
}

impl From<&StagedFile> for StagedUpload {
    fn from(file: &StagedFile) -> Self {
        Self { root: file.root.clone(), key: file.key.clone(), upload: file.upload.clone() }
    }
}

/// A store of files that has a state between written and visible.
#[async_trait]
pub trait Staging: Send + Sync {
    /// The root that new files go under: [`StagedFile::root`].
    fn root(&self) -> &str;

    /// Make sure that the root can be written and belongs to `ownership`: its marker is created
    /// where there is none, and compared otherwise. A difference halts; so does a missing marker
    /// where `written_before` says that there was one.
    async fn claim(&self, ownership: &Ownership, written_before: bool) -> Result<()>;

    /// How many files a writer may begin, grow or finish at once: one where the store is near.
    fn uploads_at_once(&self) -> usize {
        1
    }

    /// Begin a file whose final name below the root is `key`.
    async fn create(&self, key: &str, identity: &FileIdentity) -> Result<Box<dyn Upload>>;

    /// Make finished uploads durable: after this no crash loses them. One call for an epoch.
    async fn settle(&self, files: &[StagedFile]) -> Result<()>;

    /// Make uploads visible and durable under their final names, one answer for each in order.
    /// Never replaces a visible file. Uses the root inside each [`StagedFile`], never the present
    /// configuration's. An `Err` means that any of them may or may not be visible.
    async fn complete_all(&self, files: &[StagedFile]) -> Result<Vec<Completion>>;

    /// The visible file under the final name of `file`, whoever wrote it.
    async fn head(&self, file: &StagedFile) -> Result<Option<Visible>>;

    /// True where the upload of `file` is still there.
    async fn upload_exists(&self, file: &StagedFile) -> Result<bool>;

    /// Remove an upload. One that is gone already is no error.
    async fn abort(&self, upload: &StagedUpload) -> Result<()>;

    /// Every upload under the root that is not visible.
    async fn list(&self) -> Result<Vec<StagedUpload>>;

    /// The names of all visible files under the root, in any order.
    async fn visible(&self) -> Result<Vec<String>>;

    /// Remove the visible file under the final name of `file`, whoever wrote it: see [`retract`].
    async fn remove(&self, file: &StagedFile) -> Result<()>;
}

/// The record's entry for a finished upload.
pub fn staged_file(
    sink: &str,
    root: &str,
    key: &str,
    identity: &FileIdentity,
    uploaded: Uploaded,
    rows: u64,
) -> StagedFile {
    StagedFile {
        sink: sink.to_owned(),
        root: root.to_owned(),
        key: key.to_owned(),
        upload: uploaded.upload,
        parts: uploaded.parts,
        nonce: identity.nonce.clone(),
        bytes: uploaded.bytes,
        rows,
    }
}

/// Make the finished files of one writer durable: before this no record may name them. Where that
/// fails they are removed, as no record ever will.
pub async fn settle(staging: &dyn Staging, files: &[StagedFile]) -> Result<()> {
    if planted(Mutant::SettleSkipped) {
        return Ok(());
    }
    let settled = staging.settle(files).await;
    if settled.is_err() {
        for file in files {
            // What stays is swept later.
            let _ = staging.abort(&file.into()).await;
        }
    }
    settled
}

/// Make staged files visible, or say which is lost. Idempotent.
///
/// A clean answer is enough. Else what is visible decides, by identity: the same nonce and size is
/// the file; nothing visible and no upload left is a lost file; a foreign nonce is a lost file too.
/// Where nothing is visible and the upload is still there the error is retryable.
pub async fn publish(staging: &dyn Staging, files: &[StagedFile]) -> Result<Published> {
    if files.is_empty() {
        return Ok(Published::All);
    }
    let answers = staging.complete_all(files).await?;
    let mut answers = answers.into_iter();
    for file in files {
        let unclear = match answers.next() {
            Some(Completion::Done) if planted(Mutant::FirstAnswerForAll) => break,
            Some(Completion::Done) => continue,
            Some(Completion::NotFound) => "the store has no such upload".to_owned(),
            Some(Completion::Unclear(reason)) => reason,
            Some(Completion::Damaged(reason)) => {
                return Ok(Published::Lost { key: file.key.clone(), reason });
            }
            None => "the store gave no answer".to_owned(),
        };
        if let Some(reason) = verify(staging, file, &unclear).await? {
            return Ok(Published::Lost { key: file.key.clone(), reason });
        }
    }
    Ok(Published::All)
}

/// `None` where the visible file is `file`; else why it is lost.
async fn verify(staging: &dyn Staging, file: &StagedFile, unclear: &str) -> Result<Option<String>> {
    match look(staging, file).await? {
        Found::Visible => Ok(None),
        Found::Lost(reason) => Ok(Some(reason)),
        Found::Staged => Err(Error::retryable(format!(
            "cannot publish {} under {}: {unclear}",
            file.key, file.root
        ))),
    }
}

fn difference(file: &StagedFile, found: &Visible) -> Option<String> {
    match &found.nonce {
        Some(nonce) if *nonce == file.nonce && found.bytes == file.bytes => None,
        Some(nonce) if *nonce == file.nonce => Some(format!(
            "the visible file has its nonce but {} bytes instead of {}",
            found.bytes, file.bytes
        )),
        Some(nonce) => Some(format!(
            "a foreign file stands under its name: nonce {nonce}, expected {}",
            file.nonce
        )),
        None => Some("a foreign file without a nonce stands under its name".to_owned()),
    }
}

/// What became of a file that a record names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is visible.
    Visible,
    /// Its upload waits to be completed.
    Staged,
    /// It is gone, or another stands in its place: why.
    Lost(String),
}

/// Look for a file that a record names, and change nothing.
pub async fn look(staging: &dyn Staging, file: &StagedFile) -> Result<Found> {
    if let Some(found) = staging.head(file).await? {
        return Ok(difference(file, &found).map_or(Found::Visible, Found::Lost));
    }
    if staging.upload_exists(file).await? {
        return Ok(Found::Staged);
    }
    // Another process may have completed it between the two looks.
    match staging.head(file).await? {
        Some(found) => Ok(difference(file, &found).map_or(Found::Visible, Found::Lost)),
        None => Ok(Found::Lost(format!(
            "it is neither visible nor staged under {}: removed by something else",
            file.root
        ))),
    }
}

/// Take back the files of an epoch that is to be read again, visible ones too. Nobody may complete
/// them any more: their uploads go first, and the record that names them has a new holder.
pub async fn retract(staging: &dyn Staging, files: &[StagedFile]) -> Result<()> {
    discard(staging, files).await?;
    for file in files {
        if let Some(found) = staging.head(file).await?
            && found.nonce.as_ref() == Some(&file.nonce)
        {
            staging.remove(file).await?;
        }
    }
    Ok(())
}

/// Remove staged files. The caller answers for the token rule: no record names them, and none can
/// any more (their prepare was never sent, or a record with a higher token was seen after it).
pub async fn discard(staging: &dyn Staging, files: &[StagedFile]) -> Result<()> {
    for file in files {
        staging.abort(&file.into()).await?;
    }
    Ok(())
}

/// The token rule: an upload may be removed only if its token is lower than that of the present
/// record of its partition and the record does not name it. Age says nothing. Without a record the
/// upload stays.
pub fn may_remove(upload: &StagedUpload, token: u64, record: Option<&Record>) -> bool {
    if planted(Mutant::AbortByAge) {
        return true;
    }
    let Some(record) = record else { return false };
    let named = record.pending.as_ref().is_some_and(|pending| {
        // By the unique name alone: the root may be spelled otherwise in another configuration.
        pending.files.iter().any(|file| file.key == upload.key || file.upload == upload.upload)
    });
    token < record.token && !named
}

/// Remove what earlier holders of a partition of `pipeline` left behind, by the token rule.
pub async fn sweep(
    staging: &dyn Staging,
    records: &dyn CheckpointStore,
    pipeline: &str,
) -> Result<Swept> {
    let uploads = staging.list().await?;
    let mut swept = Swept::default();
    if uploads.is_empty() {
        return Ok(swept);
    }
    let partitions: HashMap<String, PartitionId> = records
        .partitions()
        .await?
        .into_iter()
        .map(|partition| (partition_tag(pipeline, &partition), partition))
        .collect();
    let mut seen: HashMap<PartitionId, Option<Record>> = HashMap::new();
    for upload in uploads {
        // Records are read after the listing. Reading one record once is enough: its token only
        // rises, and who holds a lower one can never be named by it again.
        let name = FileName::parse(&upload.key);
        let partition = name.as_ref().and_then(|name| partitions.get(&name.partition_tag));
        let (Some(name), Some(partition)) = (&name, partition) else {
            swept.kept += 1;
            continue;
        };
        if !seen.contains_key(partition) {
            seen.insert(partition.clone(), load_record(records, partition).await?);
        }
        let record = seen.get(partition).and_then(Option::as_ref);
        if may_remove(&upload, name.token, record) {
            staging.abort(&upload).await?;
            swept.removed += 1;
        } else {
            swept.kept += 1;
        }
    }
    Ok(swept)
}

async fn load_record(
    records: &dyn CheckpointStore,
    partition: &PartitionId,
) -> Result<Option<Record>> {
    let key = Key::Record(partition.clone());
    let Some(stored) = records.load(&key).await? else { return Ok(None) };
    Ok(Some(Document::<Record>::decode(&key, &stored.body)?.content))
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
