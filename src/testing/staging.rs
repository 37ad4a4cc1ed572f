//! A store of staged files in memory, with a place for faults before and after each call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::component::StagedFile;
use crate::error::{Error, Result};
use crate::sinks::marker::{self, Ownership};
use crate::sinks::staging::{
    Completion, FileIdentity, StagedUpload, Staging, Upload, Uploaded, Visible,
};

/// Faults enter here. Points are named `create:before`, `create:after` and so on, for `claim`,
/// `create`, `put`, `finish`, `settle`, `complete` (once for each file), `sync`, `head`, `exists`, `abort`, `list`.
/// An error before: nothing was done. An error after: it was done and the answer is lost. The call
/// waits as long as the point does; a caller that is dropped while it waits before has done nothing.
#[async_trait]
pub trait FaultPoint: Send + Sync {
    /// Let the call go on, or fail it.
    async fn point(&self, name: &str) -> Result<()>;
}

/// No faults.
#[derive(Debug, Default)]
pub struct NoFaults;

#[async_trait]
impl FaultPoint for NoFaults {
    async fn point(&self, _name: &str) -> Result<()> {
        Ok(())
    }
}

/// A file, staged or visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryFile {
    /// Its final name.
    pub key: String,
    /// Who wrote it.
    pub identity: FileIdentity,
    /// What it holds.
    pub bytes: Vec<u8>,
    /// No more bytes follow.
    pub finished: bool,
    /// Its bytes are durable.
    pub settled: bool,
}

/// Everything that the store holds. Public, so that a simulator can look and interfere.
#[derive(Debug, Default)]
pub struct MemoryFiles {
    /// Uploads by upload id.
    pub staged: BTreeMap<String, MemoryFile>,
    /// Visible files by key.
    pub visible: BTreeMap<String, MemoryFile>,
    /// The marker, once claimed.
    pub ownership: Option<Ownership>,
    /// Visible files whose new name is not durable, with their uploads' ids.
    unsynced: BTreeMap<String, String>,
    next_upload: u64,
}

impl MemoryFiles {
    /// Complete one upload at once, as the store does: also the way to apply a call late.
    pub fn complete(&mut self, file: &StagedFile) -> Completion {
        match self.staged.get(&file.upload) {
            None => Completion::NotFound,
            Some(upload) if self.visible.contains_key(&upload.key) => {
                Completion::Unclear("the name is taken".to_owned())
            }
            Some(upload) if !upload.finished => {
                Completion::Unclear("the upload is not finished".to_owned())
            }
            Some(_) => {
                if let Some(upload) = self.staged.remove(&file.upload) {
                    self.unsynced.insert(upload.key.clone(), file.upload.clone());
                    self.visible.insert(upload.key.clone(), upload);
                }
                Completion::Done
            }
        }
    }

    /// Make uploads durable, as [`Staging::settle`] promises.
    pub fn settle(&mut self, files: &[StagedFile]) {
        for file in files {
            if let Some(upload) = self.staged.get_mut(&file.upload) {
                upload.settled = true;
            }
        }
    }

    /// Make the final names durable, whoever gave them.
    pub fn sync(&mut self, files: &[StagedFile]) {
        for file in files {
            self.unsynced.remove(&file.key);
        }
    }

    /// The power fails: names that were not synced are what they were before, and what was never
    /// settled is gone.
    pub fn lose_power(&mut self) {
        for (key, upload) in std::mem::take(&mut self.unsynced) {
            if let Some(file) = self.visible.remove(&key) {
                self.staged.insert(upload, file);
            }
        }
        self.staged.retain(|_, file| file.settled);
    }
}

/// A store of staged files in memory. Clones share the files; each has its own faults.
#[derive(Clone)]
pub struct MemoryStaging {
    root: String,
    files: Arc<Mutex<MemoryFiles>>,
    faults: Arc<dyn FaultPoint>,
}

impl MemoryStaging {
    /// An empty store.
    pub fn new(root: &str) -> Self {
        Self {
            root: root.to_owned(),
            files: Arc::new(Mutex::new(MemoryFiles::default())),
            faults: Arc::new(NoFaults),
        }
    }

    /// The same files as another process sees them, with faults of its own.
    #[must_use]
    pub fn with_faults(&self, faults: Arc<dyn FaultPoint>) -> Self {
        Self { faults, ..self.clone() }
    }

    /// The files. Hold the guard across no await.
    pub fn files(&self) -> MutexGuard<'_, MemoryFiles> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryUpload {
    store: MemoryStaging,
    upload: String,
}

impl MemoryUpload {
    fn edit(&self, edit: impl FnOnce(&mut MemoryFile)) -> Result<u64> {
        let mut files = self.store.files();
        let file = files.staged.get_mut(&self.upload).ok_or_else(|| {
            // Who lost its partition may meet the sweep; its next swap tells it so.
            Error::retryable(format!("upload {} was removed", self.upload))
        })?;
        edit(file);
        Ok(file.bytes.len() as u64)
    }
}

#[async_trait]
impl Upload for MemoryUpload {
    async fn put(&mut self, bytes: Bytes) -> Result<()> {
        self.store.faults.point("put:before").await?;
        self.edit(|file| file.bytes.extend_from_slice(&bytes))?;
        self.store.faults.point("put:after").await
    }

    async fn finish(self: Box<Self>) -> Result<Uploaded> {
        self.store.faults.point("finish:before").await?;
        let bytes = self.edit(|file| file.finished = true)?;
        self.store.faults.point("finish:after").await?;
        Ok(Uploaded { upload: self.upload.clone(), parts: Vec::new(), bytes })
    }

    async fn abort(self: Box<Self>) {
        if self.store.faults.point("abort:before").await.is_ok() {
            self.store.files().staged.remove(&self.upload);
            // The caller does not learn the outcome.
            let _ = self.store.faults.point("abort:after").await;
        }
    }
}

#[async_trait]
impl Staging for MemoryStaging {
    fn root(&self) -> &str {
        &self.root
    }

    async fn claim(&self, ownership: &Ownership, _written_before: bool) -> Result<()> {
        self.faults.point("claim:before").await?;
        let found = self.files().ownership.get_or_insert_with(|| ownership.clone()).clone();
        marker::check(&self.root, &marker::encode(&found)?, ownership)?;
        self.faults.point("claim:after").await
    }

    async fn create(&self, key: &str, identity: &FileIdentity) -> Result<Box<dyn Upload>> {
        self.faults.point("create:before").await?;
        let upload = {
            let mut files = self.files();
            files.next_upload += 1;
            let upload = format!("upload-{:06}", files.next_upload);
            let file = MemoryFile {
                key: key.to_owned(),
                identity: identity.clone(),
                bytes: Vec::new(),
                finished: false,
                settled: false,
            };
            files.staged.insert(upload.clone(), file);
            upload
        };
        self.faults.point("create:after").await?;
        Ok(Box::new(MemoryUpload { store: self.clone(), upload }))
    }

    async fn settle(&self, files: &[StagedFile]) -> Result<()> {
        self.faults.point("settle:before").await?;
        self.files().settle(files);
        self.faults.point("settle:after").await
    }

    async fn complete_all(&self, files: &[StagedFile]) -> Result<Vec<Completion>> {
        let mut answers = Vec::with_capacity(files.len());
        for file in files {
            self.faults.point("complete:before").await?;
            answers.push(self.files().complete(file));
            self.faults.point("complete:after").await?;
        }
        self.faults.point("sync:before").await?;
        self.files().sync(files);
        self.faults.point("sync:after").await?;
        Ok(answers)
    }

    async fn head(&self, file: &StagedFile) -> Result<Option<Visible>> {
        self.faults.point("head:before").await?;
        let found = self.files().visible.get(&file.key).map(|visible| Visible {
            nonce: Some(visible.identity.nonce.clone()),
            bytes: visible.bytes.len() as u64,
        });
        self.faults.point("head:after").await?;
        Ok(found)
    }

    async fn upload_exists(&self, file: &StagedFile) -> Result<bool> {
        self.faults.point("exists:before").await?;
        let found = self.files().staged.contains_key(&file.upload);
        self.faults.point("exists:after").await?;
        Ok(found)
    }

    async fn abort(&self, upload: &StagedUpload) -> Result<()> {
        self.faults.point("abort:before").await?;
        self.files().staged.remove(&upload.upload);
        self.faults.point("abort:after").await
    }

    async fn visible(&self) -> Result<Vec<String>> {
        Ok(self.files().visible.keys().cloned().collect())
    }

    async fn remove(&self, file: &StagedFile) -> Result<()> {
        self.files().visible.remove(&file.key);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<StagedUpload>> {
        self.faults.point("list:before").await?;
        let found = self
            .files()
            .staged
            .iter()
            .map(|(upload, file)| StagedUpload {
                root: self.root.clone(),
                key: file.key.clone(),
                upload: upload.clone(),
            })
            .collect();
        self.faults.point("list:after").await?;
        Ok(found)
    }
}
