//! Dead letters: one more staged file of the same epoch, flushed last.

use std::io::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bucket::ObjectConfig;
use super::file_name::FileName;
use super::letter::{self, EXTENSION, StoredLetter};
use super::marker::Ownership;
use super::staging::{self, FileIdentity, Staging, Upload, staged_file};
use super::staging_at;
use crate::aws::Aws;
use crate::component::{
    CheckpointStore, Context, EpochId, EpochWriter, Flushed, Published, Sink, SinkKind, StagedFile,
    Swept,
};
use crate::compute;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::DeadLetter;
use crate::event::filter::SinkRows;
use crate::location::Location;

/// Where refused records go, and when there are too many of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLettersConfig {
    /// A folder, a `file://` url or `s3://BUCKET/FOLDER`, outside every table.
    pub url: String,
    /// How objects are stored, where the url is one of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<ObjectConfig>,
    /// More dead letters than this among the last 100,000 records of a lane stop it before it
    /// commits: a wrong contract must not drain a stream into dead letters.
    #[serde(default = "default_limit")]
    pub limit: u32,
}

fn default_limit() -> u32 {
    1000
}

/// The name of the dead-letter sink in records.
pub const SINK_NAME: &str = "dead_letters";

/// Compressed bytes that are handed to the upload at once.
const PART_BYTES: usize = 1 << 20;

/// Where one pipeline's dead letters lie below `url`.
pub fn place_of(url: &str, pipeline: &str) -> Result<Location> {
    let root = Location::parse(url)?;
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    // Anything else is escaped, so that a name can neither leave the root nor meet another name.
    let name: String = pipeline
        .chars()
        .map(|character| match character {
            character if plain(character) => character.to_string(),
            other => format!("%{:x}%", u32::from(other)),
        })
        .collect();
    Ok(root.join(&name))
}

/// Keeps refused records in files of their own.
pub struct DeadLetterSink {
    staging: Arc<dyn Staging>,
    ownership: Ownership,
    context: Context,
}

impl DeadLetterSink {
    /// Dead letters below the folder or prefix that `config` names, which is absolute.
    pub fn new(config: &DeadLettersConfig, ownership: Ownership, context: Context) -> Result<Self> {
        let place = place_of(&config.url, &ownership.pipeline)?;
        let staging = staging_at(place, config.s3.as_ref(), letter::read_nonce, None, &context)?;
        Ok(Self::with_staging(staging, ownership, context))
    }

    /// Dead letters in any store of staged files.
    pub fn with_staging(staging: Arc<dyn Staging>, ownership: Ownership, context: Context) -> Self {
        Self { staging, ownership, context }
    }
}

#[async_trait]
impl Sink for DeadLetterSink {
    fn name(&self) -> &str {
        SINK_NAME
    }
    fn kind(&self) -> SinkKind {
        SinkKind::Staged
    }
    fn place(&self) -> String {
        self.staging.root().to_owned()
    }
    async fn prepare(&self, written_before: bool) -> Result<()> {
        let claimed = self.staging.claim(&self.ownership, written_before).await;
        claimed.map_err(|error| error.context("dead_letters"))
    }
    async fn begin(&self, epoch: &EpochId) -> Result<Box<dyn EpochWriter>> {
        let nonce = self.context.randomness.nonce();
        let key = format!("{}{EXTENSION}", FileName::new(epoch, 0, &nonce));
        Ok(Box::new(LetterWriter {
            staging: self.staging.clone(),
            context: self.context.clone(),
            identity: FileIdentity::new(epoch, nonce),
            key,
            file: None,
            letters: 0,
        }))
    }
    async fn publish(&self, staged: &[StagedFile]) -> Result<Published> {
        staging::publish(self.staging.as_ref(), staged).await
    }
    async fn discard(&self, staged: &[StagedFile]) -> Result<()> {
        staging::discard(self.staging.as_ref(), staged).await
    }
    async fn sweep(&self, records: &dyn CheckpointStore) -> Result<Swept> {
        staging::sweep(self.staging.as_ref(), records, &self.ownership.pipeline).await
    }
}

type Encoder = zstd::Encoder<'static, Vec<u8>>;

struct OpenFile {
    upload: Box<dyn Upload>,
    /// `None` only while a job has it.
    encoder: Option<Encoder>,
}

/// Writes the letters of one epoch; an epoch without letters makes no file.
struct LetterWriter {
    staging: Arc<dyn Staging>,
    context: Context,
    identity: FileIdentity,
    key: String,
    file: Option<OpenFile>,
    letters: u64,
}

fn broken(what: &str) -> Error {
    Error::fatal(format!("the dead-letter file {what} after an error"))
}

fn encode(mut encoder: Encoder, letters: &[DeadLetter]) -> Result<Encoder> {
    for letter in letters {
        serde_json::to_writer(&mut encoder, &StoredLetter::from(letter))
            .or_error(ErrorKind::Fatal, || "cannot encode a dead letter".to_owned())?;
        encoder
            .write_all(b"\n")
            .or_error(ErrorKind::Fatal, || "cannot compress a dead letter".to_owned())?;
    }
    Ok(encoder)
}

impl LetterWriter {
    async fn open(&mut self) -> Result<&mut OpenFile> {
        if self.file.is_none() {
            let mut upload = self.staging.create(&self.key, &self.identity).await?;
            upload.put(letter::identity_frame(&self.identity.nonce).into()).await?;
            let encoder = zstd::Encoder::new(Vec::new(), 3)
                .or_error(ErrorKind::Fatal, || "cannot start a zstd stream".to_owned())?;
            self.file = Some(OpenFile { upload, encoder: Some(encoder) });
        }
        self.file.as_mut().ok_or_else(|| broken("is used"))
    }
}

#[async_trait]
impl EpochWriter for LetterWriter {
    async fn write(&mut self, _rows: SinkRows) -> Result<Vec<DeadLetter>> {
        Err(Error::fatal("the dead-letter sink takes no rows"))
    }

    async fn write_dead_letters(&mut self, letters: Vec<DeadLetter>) -> Result<()> {
        if letters.is_empty() {
            return Ok(());
        }
        let compute = self.context.compute.clone();
        self.letters += letters.len() as u64;
        let file = self.open().await?;
        let encoder = file.encoder.take().ok_or_else(|| broken("is written to"))?;
        let mut encoder = compute::run(&compute, move || encode(encoder, &letters)).await??;
        if encoder.get_ref().len() >= PART_BYTES {
            file.upload.put(Bytes::from(std::mem::take(encoder.get_mut()))).await?;
        }
        file.encoder = Some(encoder);
        Ok(())
    }

    async fn flush(self: Box<Self>) -> Result<Flushed> {
        let Some(mut file) = self.file else { return Ok(Flushed::default()) };
        let encoder = file.encoder.take().ok_or_else(|| broken("is flushed"))?;
        let rest = encoder
            .finish()
            .or_error(ErrorKind::Fatal, || "cannot end a zstd stream".to_owned())?;
        file.upload.put(Bytes::from(rest)).await?;
        let uploaded = file.upload.finish().await?;
        let staged = staged_file(
            SINK_NAME,
            self.staging.root(),
            &self.key,
            &self.identity,
            uploaded,
            self.letters,
        );
        let staged = vec![staged];
        staging::settle(self.staging.as_ref(), &staged).await?;
        Ok(Flushed { staged, dead_letters: Vec::new(), rows: self.letters })
    }

    async fn abandon(self: Box<Self>) {
        // Never flushed, so no record names it or ever will.
        if let Some(file) = self.file {
            file.upload.abort().await;
        }
    }
}

/// The published letters of `pipeline` below `url`. Not to be called inside an asynchronous runtime.
pub fn read(url: &str, pipeline: &str, aws: &Aws) -> Result<letter::Letters> {
    match place_of(url, pipeline)? {
        Location::Folder(folder) => letter::Letters::in_folder(&folder),
        #[cfg(feature = "aws")]
        Location::Bucket(place) => letter::Letters::of(super::bucket::Objects::open(place, aws)?),
        #[cfg(not(feature = "aws"))]
        Location::Bucket(place) => {
            let _ = aws;
            Err(Error::config(format!(
                "this build cannot reach {place}: it lacks the feature `aws`"
            )))
        }
    }
}

#[cfg(test)]
#[path = "dead_letters_tests.rs"]
mod tests;
