//! Staged files behind a link: completed late, twice, in any order, or not at all.

use async_trait::async_trait;

use super::checker;
use super::faults::Link;
use super::files;
use crate::component::StagedFile;
use crate::error::Result;
use crate::sinks::marker::Ownership;
use crate::sinks::staging::{Completion, FileIdentity, StagedUpload, Staging, Upload, Visible};
use crate::testing::staging::{FaultPoint, MemoryStaging};

/// One place of staged files as one process reaches it.
pub(super) struct LinkedStaging {
    link: Link,
    /// With the link's faults before and after each call.
    faulty: MemoryStaging,
    /// The same files, without faults: for what arrives late.
    plain: MemoryStaging,
}

impl LinkedStaging {
    pub(super) fn new(plain: &MemoryStaging, link: &Link) -> Self {
        let faulty = plain.with_faults(std::sync::Arc::new(link.clone()));
        Self { link: link.clone(), faulty, plain: plain.clone() }
    }

    fn complete(&self, file: &StagedFile) -> Result<Completion> {
        let (plain, late) = (self.plain.clone(), file.clone());
        if self.link.fault(0.5) {
            return Err(self.link.later(move |world| {
                plain.files().complete(&late);
                files::look(world);
            }));
        }
        if self.link.fault(1.0) {
            return Ok(Completion::Unclear("injected: an error inside a good answer".to_owned()));
        }
        let answer = self.plain.files().complete(file);
        if self.link.fault(0.5) {
            return Ok(Completion::Unclear("injected: a timeout after the fact".to_owned()));
        }
        if self.link.fault(0.5) {
            // The client library repeated a call whose answer it lost.
            return Ok(self.plain.files().complete(file));
        }
        Ok(answer)
    }
}

#[async_trait]
impl Staging for LinkedStaging {
    fn root(&self) -> &str {
        self.plain.root()
    }

    async fn claim(&self, ownership: &Ownership, written_before: bool) -> Result<()> {
        self.faulty.claim(ownership, written_before).await
    }

    async fn create(&self, key: &str, identity: &FileIdentity) -> Result<Box<dyn Upload>> {
        self.link.world.state().authors.insert(identity.nonce.clone(), self.link.process);
        self.link.world.note(|| format!("p{} begins {} {key}", self.link.process, self.root()));
        self.faulty.create(key, identity).await
    }

    async fn settle(&self, files: &[StagedFile]) -> Result<()> {
        self.faulty.settle(files).await
    }

    /// Completes the files in any order; the answers are in the order of the question.
    async fn complete_all(&self, files: &[StagedFile]) -> Result<Vec<Completion>> {
        let mut answers = vec![Completion::NotFound; files.len()];
        let first = self.link.world.draw(0..files.len().max(1) as u64) as usize;
        for turn in 0..files.len() {
            let index = (first + turn) % files.len();
            FaultPoint::point(&self.link, "complete:before").await?;
            answers[index] = self.complete(&files[index])?;
            FaultPoint::point(&self.link, "complete:after").await?;
        }
        FaultPoint::point(&self.link, "sync:before").await?;
        self.plain.files().sync(files);
        FaultPoint::point(&self.link, "sync:after").await?;
        Ok(answers)
    }

    async fn head(&self, file: &StagedFile) -> Result<Option<Visible>> {
        self.faulty.head(file).await
    }

    async fn upload_exists(&self, file: &StagedFile) -> Result<bool> {
        self.faulty.upload_exists(file).await
    }

    async fn abort(&self, upload: &StagedUpload) -> Result<()> {
        self.link.world.note(|| format!("p{} aborts {}", self.link.process, upload.key));
        if self.link.fault(0.5) {
            let (plain, upload) = (self.plain.clone(), upload.upload.clone());
            return Err(self.link.later(move |world| {
                plain.files().staged.remove(&upload);
                checker::named_files_are_there(world, "I5: an abort came late and");
            }));
        }
        self.faulty.abort(upload).await
    }

    async fn visible(&self) -> Result<Vec<String>> {
        self.faulty.visible().await
    }

    async fn remove(&self, file: &StagedFile) -> Result<()> {
        self.faulty.remove(file).await
    }

    async fn list(&self) -> Result<Vec<StagedUpload>> {
        self.faulty.list().await
    }
}
