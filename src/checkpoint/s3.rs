//! Checkpoint documents in a bucket of S3, changed by conditional writes.
//!
//! ```text
//! <url>/<pipeline>/store.json            identity of the store, made once
//! <url>/<pipeline>/control.json          the control record C
//! <url>/<pipeline>/manifest.json         the files of an archive
//! <url>/<pipeline>/beginnings.json       where topics begin
//! <url>/<pipeline>/newest-run.json       the newest run of a source that nothing assigns
//! <url>/<pipeline>/records/<name>.json   the record R of one partition
//! ```
//!
//! A swap is one PUT with `If-Match` on the tag of the write that is expected, or `If-None-Match: *`
//! where nothing is. No two writes have the same bytes, as each carries a nonce, so that a tag, which
//! is made of an object's bytes, never comes back. Source: "Conditional writes" in the guide of
//! Amazon S3, whose reads and listings are strongly consistent.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{identity, names};
use crate::aws::objects::{self, Object};
use crate::aws::{self, Aws, Call, Phase};
use crate::component::{CheckpointStore, Context, Expected, Key, Revision, Stored, SwapAnswer};
use crate::error::{Error, Result};
use crate::event::PartitionId;
use crate::location::BucketPrefix;

/// Metadata of a record whose name is hashed: the partition, in base64.
const PARTITION: &str = "acequia-partition";
/// The folder of the records.
const RECORDS: &str = "records/";

/// A prefix of a bucket. The documents of each pipeline lie in a folder of its name below it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The prefix, like `s3://BUCKET/checkpoints`; outside every table.
    pub url: String,
}

/// A store in a bucket. Any number of processes may have it open.
pub struct S3Store {
    aws: Aws,
    client: Client,
    place: BucketPrefix,
    identity: String,
    /// A document was written by this process.
    has_written: AtomicBool,
}

impl S3Store {
    /// Open the store of `pipeline`; it takes a random identity where it is new. Every failure here
    /// that a person must mend is a diagnostic.
    pub async fn open(config: &S3Config, pipeline: &str, context: &Context) -> Result<Self> {
        let place = BucketPrefix::parse(&config.url)?.join(pipeline);
        let aws = context.aws.clone();
        objects::reach(&aws, &place, " of the checkpoint").await?;
        let client = aws.s3().await.clone();
        let has_written = AtomicBool::new(false);
        let mut store = Self { aws, client, place, identity: String::new(), has_written };
        store.identity = store.find_identity(context.randomness.nonce()).await?;
        Ok(store)
    }

    /// The identity that the store has; a new store takes `nonce`. Of two processes that start at
    /// once one gives it.
    async fn find_identity(&self, nonce: String) -> Result<String> {
        let url = self.url(identity::DOCUMENT);
        let read = || async {
            let found = self.get(identity::DOCUMENT, Phase::Start).await?;
            found.map(|found| identity::decode(&url, &found.body)).transpose()
        };
        if let Some(found) = read().await? {
            return Ok(found);
        }
        let control = self.get("control.json", Phase::Start).await?;
        if control.is_some() || !self.list_records(1, Phase::Start).await?.is_empty() {
            // Another process may have begun the store between the two looks: its identity comes
            // before any document.
            return read().await?.ok_or_else(|| identity::lost(&self.place.to_string()));
        }
        let put = self
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .key(self.place.key(identity::DOCUMENT))
            .if_none_match("*")
            .body(ByteStream::from(identity::encode(&nonce)?))
            .send()
            .await;
        match put {
            Ok(_) => Ok(nonce),
            // Also after a lost answer to our own write.
            Err(error) if matches!(aws::status(&error), Some(409 | 412)) => {
                let writing = || Error::retryable(format!("another process is writing {url}"));
                read().await?.ok_or_else(writing)
            }
            Err(error) => {
                let what = format!("write {url}");
                Err(Call { what: &what, needs: "s3:PutObject" }.refused(error))
            }
        }
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.place)
    }

    async fn get(&self, name: &str, phase: Phase) -> Result<Option<Object>> {
        objects::get(&self.aws, &self.place, name, phase).await
    }

    /// The names of the records, without folder and ending; `most` at a time.
    async fn list_records(&self, most: i32, phase: Phase) -> Result<Vec<String>> {
        let (mut names, mut token) = (Vec::new(), None);
        let folder = self.place.key(RECORDS);
        loop {
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.place.bucket)
                .prefix(&folder)
                .max_keys(most)
                .set_continuation_token(token)
                .send()
                .await;
            let page = page.map_err(|error| {
                let what = format!("list {}", self.url(RECORDS));
                Call { what: &what, needs: "s3:ListBucket" }.fail(phase, error)
            })?;
            for object in page.contents() {
                let name = object.key().and_then(|key| key.strip_prefix(&folder));
                if let Some(name) = name.and_then(|name| name.strip_suffix(".json")) {
                    names.push(name.to_owned());
                }
            }
            if page.is_truncated() != Some(true) || most == 1 {
                return Ok(names);
            }
            token = page.next_continuation_token;
        }
    }

    /// The partition whose record has this name.
    async fn partition_of(&self, name: &str) -> Result<Option<PartitionId>> {
        if !names::is_hashed(name) {
            return Ok(names::unescape(name).map(PartitionId::new));
        }
        let key = self.place.key(&format!("{RECORDS}{name}.json"));
        let found = self.client.head_object().bucket(&self.place.bucket).key(key).send().await;
        let what = format!("look at {}{RECORDS}{name}.json", self.url(""));
        let found =
            found.map_err(|error| Call { what: &what, needs: "s3:GetObject" }.failed(error))?;
        let written = found.metadata().and_then(|metadata| metadata.get(PARTITION));
        let bytes = written.and_then(|written| BASE64.decode(written).ok());
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(PartitionId::new))
    }
}

/// Name of a document below the place.
fn name_of(key: &Key) -> String {
    match key {
        Key::Record(partition) => format!("{RECORDS}{}.json", names::escape(partition.as_str())),
        Key::Control => "control.json".into(),
        Key::Manifest => "manifest.json".into(),
        Key::Beginnings => "beginnings.json".into(),
        Key::Run => "newest-run.json".into(),
    }
}

#[async_trait]
impl CheckpointStore for S3Store {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn load(&self, key: &Key) -> Result<Option<Stored>> {
        let name = name_of(key);
        let Some(Object { tag, body }) = self.get(&name, Phase::Run).await? else {
            return Ok(None);
        };
        let revision = Revision::of(key, &body).map_err(|error| error.context(self.url(&name)))?;
        Ok(Some(Stored { revision, tag, body }))
    }

    async fn swap(
        &self,
        key: &Key,
        expected: &Expected,
        new: &Revision,
        body: Bytes,
    ) -> Result<SwapAnswer> {
        new.require(key, &body)?;
        let name = name_of(key);
        let put = self
            .client
            .put_object()
            .bucket(&self.place.bucket)
            .key(self.place.key(&name))
            .content_type("application/json")
            .body(ByteStream::from(body));
        let put = match (key, expected) {
            (Key::Record(partition), _) if names::is_hashed(&names::escape(partition.as_str())) => {
                put.metadata(PARTITION, BASE64.encode(partition.as_str()))
            }
            _ => put,
        };
        let put = match expected {
            Expected::Absent => put.if_none_match("*"),
            Expected::Write { tag: Some(tag), .. } => put.if_match(tag),
            Expected::Write { revision, tag: None } => match self.load(key).await? {
                Some(Stored { revision: found, tag: Some(tag), .. }) if found == *revision => {
                    put.if_match(tag)
                }
                _ => return Ok(SwapAnswer::Conflict),
            },
        };
        match put.send().await {
            Ok(written) => {
                self.has_written.store(true, Ordering::Relaxed);
                Ok(SwapAnswer::Stored { tag: written.e_tag })
            }
            Err(error) if aws::status(&error) == Some(412) => Ok(SwapAnswer::Conflict),
            // Nothing is there to match.
            Err(error) if aws::code(&error) == Some("NoSuchKey") => Ok(SwapAnswer::Conflict),
            Err(error) => {
                let what = format!("write {}", self.url(&name));
                let has_written = self.has_written.load(Ordering::Relaxed);
                Err(Call { what: &what, needs: "s3:PutObject" }.failed_write(has_written, error))
            }
        }
    }

    async fn partitions(&self) -> Result<Vec<PartitionId>> {
        let mut partitions = Vec::new();
        for name in self.list_records(1000, Phase::Run).await? {
            let partition = self.partition_of(&name).await?.ok_or_else(|| {
                let url = self.url(&format!("{RECORDS}{name}.json"));
                Error::halted(format!("{url} is no record of acequia"))
            })?;
            partitions.push(partition);
        }
        partitions.sort();
        Ok(partitions)
    }
}
