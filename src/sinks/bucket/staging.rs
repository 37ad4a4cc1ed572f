//! The calls of S3 behind [`Staging`].
//!
//! Source: the API reference of Amazon S3, "CreateMultipartUpload" and its neighbours, and
//! `docs/delivery.md`. A completed upload is the file that was staged exactly when its metadata
//! holds its nonce; neither an answer of 200 nor an equal size is enough.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, ServerSideEncryption, StorageClass as SdkStorageClass,
};
use futures::StreamExt as _;
use futures::stream;

use super::config::{Encryption, ObjectConfig, StorageClass};
use super::lifecycle;
use super::upload::BucketUpload;
use crate::aws::{self, Aws, Call, Phase, objects as stored};
use crate::component::{Context, StagedFile};
use crate::error::{Error, Result};
use crate::location::BucketPrefix;
use crate::memory::MemoryBudget;
use crate::sinks::marker::{self, MARKER, Ownership};
use crate::sinks::staging::{Completion, FileIdentity, StagedUpload, Staging, Upload, Visible};

/// Metadata of an object: the file's nonce.
const NONCE: &str = "acequia-nonce";
/// Calls of one epoch that are on their way at once.
const CALLS_AT_ONCE: usize = 16;
/// The longest text of a partition's name in the metadata, which S3 limits to 2 KiB.
const LONGEST_NAME: usize = 512;

/// A bucket with what its calls need. Cheap to clone.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) aws: Aws,
    pub(super) place: BucketPrefix,
    pub(super) memory: Arc<MemoryBudget>,
    /// Where unsent bytes wait that are much; without it in memory.
    pub(super) scratch: Option<Arc<Path>>,
}

/// A prefix of a bucket.
pub struct BucketStaging {
    store: Store,
    root: String,
    objects: ObjectConfig,
}

impl BucketStaging {
    /// Files below `place`, stored as `objects` says.
    /// Unsent bytes wait in `scratch`, a folder on a local disk, where there is one.
    pub fn new(
        place: BucketPrefix,
        objects: ObjectConfig,
        scratch: Option<&Path>,
        context: &Context,
    ) -> Self {
        let root = place.to_string();
        let (aws, memory) = (context.aws.clone(), context.memory.clone());
        let store = Store { aws, place, memory, scratch: scratch.map(Into::into) };
        Self { store, root, objects }
    }

    /// The store that a record's file lies in, which another configuration may have chosen.
    fn store_of(&self, root: &str) -> Result<Store> {
        if root == self.root {
            return Ok(self.store.clone());
        }
        let place = BucketPrefix::parse(root)
            .map_err(|error| Error::halted("a checkpoint record names a place").caused_by(error))?;
        Ok(Store { place, ..self.store.clone() })
    }
}

impl Store {
    fn url(&self, key: &str) -> String {
        format!("{}/{key}", self.place)
    }

    /// Abort one upload; one that is gone is no error.
    pub(super) async fn abort(&self, key: &str, id: &str) -> Result<()> {
        let aborted = self
            .aws
            .s3()
            .await
            .abort_multipart_upload()
            .bucket(&self.place.bucket)
            .key(self.place.key(key))
            .upload_id(id)
            .send()
            .await;
        match aborted {
            Err(error) if !aws::is_absent(&error) => {
                let what = format!("abort an upload of {}", self.url(key));
                Err(Call { what: &what, needs: "s3:AbortMultipartUpload" }.failed(error))
            }
            _ => Ok(()),
        }
    }

    async fn head(&self, key: &str) -> Result<Option<Visible>> {
        let found = self
            .aws
            .s3()
            .await
            .head_object()
            .bucket(&self.place.bucket)
            .key(self.place.key(key))
            .send()
            .await;
        match found {
            Ok(found) => {
                let nonce = found.metadata().and_then(|metadata| metadata.get(NONCE)).cloned();
                let bytes = found.content_length().unwrap_or_default().unsigned_abs();
                Ok(Some(Visible { nonce, bytes }))
            }
            Err(error) if aws::is_absent(&error) => Ok(None),
            Err(error) => {
                let what = format!("look at {}", self.url(key));
                // Without the right to list, S3 answers 403 where nothing is.
                Err(Call { what: &what, needs: "s3:GetObject, s3:ListBucket" }.failed(error))
            }
        }
    }

    /// Complete one upload and look at what is visible then.
    async fn complete(&self, file: &StagedFile) -> Completion {
        let part = |(number, tag): (i32, &String)| {
            CompletedPart::builder().part_number(number).e_tag(tag).build()
        };
        let parts = (1..).zip(&file.parts).map(part).collect();
        let completed = self
            .aws
            .s3()
            .await
            .complete_multipart_upload()
            .bucket(&self.place.bucket)
            .key(self.place.key(&file.key))
            .upload_id(&file.upload)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
            .send()
            .await;
        if let Err(error) = completed {
            return self.not_completed(file, error);
        }
        match self.head(&file.key).await {
            Ok(Some(found))
                if found.nonce.as_ref() == Some(&file.nonce) && found.bytes == file.bytes =>
            {
                Completion::Done
            }
            Ok(Some(_)) => Completion::Unclear("another object stands under its name".into()),
            Ok(None) => Completion::Unclear("it was completed and is not visible".into()),
            Err(error) => Completion::Unclear(error.to_string()),
        }
    }

    /// Only an answer that is known for what it is says anything; what is visible decides the rest.
    fn not_completed(
        &self,
        file: &StagedFile,
        error: SdkError<CompleteMultipartUploadError>,
    ) -> Completion {
        match aws::code(&error) {
            Some("NoSuchUpload") => Completion::NotFound,
            Some(code @ ("InvalidPart" | "InvalidPartOrder" | "EntityTooSmall")) => {
                Completion::Damaged(format!(
                    "its parts in {} are not those that were sent ({code})",
                    self.url(&file.key)
                ))
            }
            _ => {
                let what = format!("complete {}", self.url(&file.key));
                let call = Call { what: &what, needs: "s3:PutObject" };
                Completion::Unclear(call.failed(error).to_string())
            }
        }
    }
}

#[async_trait]
impl Staging for BucketStaging {
    fn root(&self) -> &str {
        &self.root
    }

    fn uploads_at_once(&self) -> usize {
        CALLS_AT_ONCE
    }

    async fn claim(&self, ownership: &Ownership, written_before: bool) -> Result<()> {
        stored::reach(&self.store.aws, &self.store.place, "").await?;
        lifecycle::check(&self.store).await?;
        self.store.claim(ownership, written_before).await
    }

    async fn create(&self, key: &str, identity: &FileIdentity) -> Result<Box<dyn Upload>> {
        let (store, objects) = (&self.store, &self.objects);
        let tags = (!objects.tags.is_empty()).then(|| tagging(objects));
        let created = store
            .aws
            .s3()
            .await
            .create_multipart_upload()
            .bucket(&store.place.bucket)
            .key(store.place.key(key))
            .set_metadata(Some(metadata(identity)))
            .set_storage_class(objects.storage_class.map(storage_class))
            .set_server_side_encryption(objects.encryption.map(encryption))
            .set_ssekms_key_id(objects.kms_key.clone())
            .set_tagging(tags)
            .send()
            .await;
        let what = format!("begin an upload of {}", store.url(key));
        let created =
            created.map_err(|error| Call { what: &what, needs: "s3:PutObject" }.failed(error))?;
        let id = created
            .upload_id
            .ok_or_else(|| Error::retryable(format!("cannot {what}: the answer has no id")))?;
        Ok(Box::new(BucketUpload::new(store.clone(), key.to_owned(), id)))
    }

    /// A part that was acknowledged is durable.
    async fn settle(&self, _files: &[StagedFile]) -> Result<()> {
        Ok(())
    }

    async fn complete_all(&self, files: &[StagedFile]) -> Result<Vec<Completion>> {
        let complete =
            |file: StagedFile| async move { Ok(self.store_of(&file.root)?.complete(&file).await) };
        let answers: Vec<Result<Completion>> =
            stream::iter(files.to_vec()).map(complete).buffered(CALLS_AT_ONCE).collect().await;
        answers.into_iter().collect()
    }

    async fn head(&self, file: &StagedFile) -> Result<Option<Visible>> {
        self.store_of(&file.root)?.head(&file.key).await
    }

    async fn upload_exists(&self, file: &StagedFile) -> Result<bool> {
        let store = self.store_of(&file.root)?;
        let found = store
            .aws
            .s3()
            .await
            .list_parts()
            .bucket(&store.place.bucket)
            .key(store.place.key(&file.key))
            .upload_id(&file.upload)
            .max_parts(1)
            .send()
            .await;
        match found {
            Ok(_) => Ok(true),
            Err(error) if aws::is_absent(&error) => Ok(false),
            Err(error) => {
                let what = format!("look at the upload of {}", store.url(&file.key));
                Err(Call { what: &what, needs: "s3:ListMultipartUploadParts" }.failed(error))
            }
        }
    }

    async fn abort(&self, upload: &StagedUpload) -> Result<()> {
        self.store_of(&upload.root)?.abort(&upload.key, &upload.upload).await
    }

    async fn visible(&self) -> Result<Vec<String>> {
        stored::names(&self.store.aws, &self.store.place, Phase::Run).await
    }

    async fn remove(&self, file: &StagedFile) -> Result<()> {
        let store = self.store_of(&file.root)?;
        let (bucket, key) = (&store.place.bucket, store.place.key(&file.key));
        let removed = store.aws.s3().await.delete_object().bucket(bucket).key(key).send().await;
        let what = format!("remove {}", store.url(&file.key));
        removed
            .map(drop)
            .map_err(|error| Call { what: &what, needs: "s3:DeleteObject" }.failed(error))
    }

    async fn list(&self) -> Result<Vec<StagedUpload>> {
        let (store, mut found) = (&self.store, Vec::new());
        let (mut after_key, mut after_id) = (None, None);
        loop {
            let page = store
                .aws
                .s3()
                .await
                .list_multipart_uploads()
                .bucket(&store.place.bucket)
                .prefix(store.place.beginning())
                .set_key_marker(after_key)
                .set_upload_id_marker(after_id)
                .send()
                .await;
            let what = format!("list the uploads below {}", self.root);
            let page = page.map_err(|error| {
                Call { what: &what, needs: "s3:ListBucketMultipartUploads" }.failed(error)
            })?;
            for upload in page.uploads() {
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id())
                    && let Some(key) = store.place.below(key)
                {
                    let (root, key) = (self.root.clone(), key.to_owned());
                    found.push(StagedUpload { root, key, upload: id.to_owned() });
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            (after_key, after_id) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }
}

impl Store {
    /// Create the marker, or compare the one that stands.
    async fn claim(&self, ownership: &Ownership, written_before: bool) -> Result<()> {
        let (client, url) = (self.aws.s3().await, self.url(MARKER));
        let (bucket, key) = (&self.place.bucket, self.place.key(MARKER));
        if written_before {
            let found = client.head_object().bucket(bucket).key(&key).send().await;
            match found {
                Ok(_) => {}
                Err(error) if aws::is_absent(&error) => return Err(marker::missing(&url)),
                Err(error) => {
                    let what = format!("look at {url}");
                    let call = Call { what: &what, needs: "s3:GetObject, s3:ListBucket" };
                    return Err(call.refused(error));
                }
            }
        }
        // Sent even where the marker stands: the prefix must be writable.
        let written = client
            .put_object()
            .bucket(bucket)
            .key(&key)
            .if_none_match("*")
            .content_type("application/json")
            .body(ByteStream::from(marker::encode(ownership)?))
            .send()
            .await;
        match written {
            Ok(_) => return Ok(()),
            Err(error) if aws::status(&error) == Some(412) => {}
            Err(error) if aws::status(&error) == Some(409) => {
                return Err(Error::retryable(format!("another process is writing {url}")));
            }
            Err(error) => {
                let what = format!("write {url}");
                return Err(Call { what: &what, needs: "s3:PutObject" }.refused(error));
            }
        }
        let found = stored::get(&self.aws, &self.place, MARKER, Phase::Start).await?;
        let gone = || Error::config(format!("cannot read {url}: it does not exist"));
        marker::check(&url, &found.ok_or_else(gone)?.body, ownership)
    }
}

fn metadata(identity: &FileIdentity) -> HashMap<String, String> {
    let mut partition = String::new();
    for byte in identity.partition.as_str().bytes().take(LONGEST_NAME) {
        // Metadata travel as headers: what is no plain character is escaped.
        match byte {
            b'%' | 0..=b' ' | 127.. => partition.push_str(&format!("%{byte:02X}")),
            plain => partition.push(char::from(plain)),
        }
    }
    let entry = |name: &str, value: String| (name.to_owned(), value);
    HashMap::from([
        entry(NONCE, identity.nonce.clone()),
        entry("acequia-pipeline", identity.pipeline.clone()),
        entry("acequia-partition", partition),
        entry("acequia-token", identity.token.to_string()),
        entry("acequia-epoch", identity.epoch.to_string()),
    ])
}

/// Tags as a query string.
fn tagging(objects: &ObjectConfig) -> String {
    let escape = |text: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        let escape = |byte: u8| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        text.bytes().map(escape).collect::<String>()
    };
    let tag = |(name, value): (&String, &String)| format!("{}={}", escape(name), escape(value));
    objects.tags.iter().map(tag).collect::<Vec<_>>().join("&")
}

fn storage_class(class: StorageClass) -> SdkStorageClass {
    match class {
        StorageClass::Standard => SdkStorageClass::Standard,
        StorageClass::StandardIa => SdkStorageClass::StandardIa,
        StorageClass::OnezoneIa => SdkStorageClass::OnezoneIa,
        StorageClass::IntelligentTiering => SdkStorageClass::IntelligentTiering,
        StorageClass::GlacierIr => SdkStorageClass::GlacierIr,
    }
}

fn encryption(encryption: Encryption) -> ServerSideEncryption {
    match encryption {
        Encryption::S3 => ServerSideEncryption::Aes256,
        Encryption::Kms => ServerSideEncryption::AwsKms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::PartitionId;

    #[test]
    fn tags_and_metadata_travel_as_plain_text() {
        let tags = [("team", "datos & más"), ("a=b", "1")];
        let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let objects = ObjectConfig { tags, ..ObjectConfig::default() };
        assert_eq!(tagging(&objects), "a%3Db=1&team=datos%20%26%20m%C3%A1s");
        let identity = FileIdentity {
            nonce: "n".into(),
            pipeline: "shop".into(),
            partition: PartitionId::new("año 1/x\r\n"),
            token: 3,
            epoch: 4,
        };
        assert_eq!(metadata(&identity)["acequia-partition"], "a%C3%B1o%201/x%0D%0A");
    }
}
