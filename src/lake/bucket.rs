//! A bucket as DataFusion reads it: listings and ranges of objects, by the clients that the rest of
//! the program uses. Nothing is written.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error as StoreError, GetOptions, GetRange, GetResult,
    GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

use crate::aws::objects::content_range;
use crate::aws::{self, Aws, Call};

/// The objects of one bucket.
#[derive(Debug)]
pub(super) struct BucketFiles {
    bucket: String,
    aws: Aws,
}

impl BucketFiles {
    pub(super) fn new(bucket: &str, aws: &Aws) -> Self {
        Self { bucket: bucket.to_owned(), aws: aws.clone() }
    }

    fn failed<E>(&self, what: &str, needs: &str, error: SdkError<E>) -> StoreError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let what = format!("{what} s3://{}", self.bucket);
        let source = Call { what: &what, needs }.refused(error).into();
        StoreError::Generic { store: "s3", source }
    }

    /// One page of a listing; `token` says which.
    async fn page(
        &self,
        prefix: &str,
        delimiter: Option<&str>,
        token: Option<String>,
    ) -> Result<ListObjectsV2Output> {
        let listed = self
            .aws
            .s3()
            .await
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .set_delimiter(delimiter.map(str::to_owned))
            .set_continuation_token(token)
            .send()
            .await;
        listed.map_err(|error| self.failed("list", "s3:ListBucket", error))
    }
}

impl fmt::Display for BucketFiles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "s3://{}", self.bucket)
    }
}

/// What every listing of `prefix` begins with.
fn beginning(prefix: Option<&Path>) -> String {
    match prefix.map(Path::as_ref) {
        None | Some("") => String::new(),
        Some(prefix) => format!("{prefix}/"),
    }
}

/// An object in the words of DataFusion.
fn described(
    location: Path,
    modified: Option<&aws_sdk_s3::primitives::DateTime>,
    size: u64,
    tag: Option<&str>,
) -> ObjectMeta {
    let seconds = modified.map_or(0, aws_sdk_s3::primitives::DateTime::secs);
    ObjectMeta {
        location,
        last_modified: DateTime::<Utc>::from_timestamp(seconds, 0).unwrap_or_default(),
        size,
        e_tag: tag.map(str::to_owned),
        version: None,
    }
}

fn objects(page: &ListObjectsV2Output) -> Vec<Result<ObjectMeta>> {
    let meta = |object: &aws_sdk_s3::types::Object| {
        let location = Path::parse(object.key()?).ok()?;
        let size = object.size().unwrap_or_default().unsigned_abs();
        Some(Ok(described(location, object.last_modified(), size, object.e_tag())))
    };
    page.contents().iter().filter_map(meta).collect()
}

fn read_only(operation: &str) -> StoreError {
    StoreError::NotImplemented {
        operation: operation.to_owned(),
        implementer: "the lake, which is only read".to_owned(),
    }
}

#[async_trait]
impl ObjectStore for BucketFiles {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only("put"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only("put"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let client = self.aws.s3().await;
        let missing = |source: String| StoreError::NotFound {
            path: location.to_string(),
            source: source.into(),
        };
        if options.head {
            let found = client.head_object().bucket(&self.bucket).key(location.as_ref());
            let found = match found.send().await {
                Err(error) if aws::is_absent(&error) => return Err(missing(error.to_string())),
                found => found.map_err(|error| self.failed("look into", "s3:GetObject", error))?,
            };
            let size = found.content_length().unwrap_or_default().unsigned_abs();
            let meta = described(location.clone(), found.last_modified(), size, found.e_tag());
            let payload = GetResultPayload::Stream(stream::empty().boxed());
            return Ok(GetResult { payload, meta, range: 0..0, attributes: Attributes::new() });
        }
        let range = options.range.as_ref().map(|range| match range {
            GetRange::Bounded(range) => {
                format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
            }
            GetRange::Offset(offset) => format!("bytes={offset}-"),
            GetRange::Suffix(length) => format!("bytes=-{length}"),
        });
        let found = client
            .get_object()
            .bucket(&self.bucket)
            .key(location.as_ref())
            .set_range(range)
            .set_if_match(options.if_match)
            .send()
            .await;
        let found = match found {
            Err(error) if aws::is_absent(&error) => return Err(missing(error.to_string())),
            found => found.map_err(|error| self.failed("read from", "s3:GetObject", error))?,
        };
        let length = found.content_length().unwrap_or_default().unsigned_abs();
        let (range, size) = match found.content_range().and_then(content_range) {
            Some((range, size)) => (range, size),
            None => (0..length, length),
        };
        let meta = described(location.clone(), found.last_modified(), size, found.e_tag());
        let body = stream::try_unfold(found.body, |mut body| async move {
            match body.try_next().await {
                Ok(bytes) => Ok(bytes.map(|bytes| (bytes, body))),
                Err(cause) => Err(StoreError::Generic { store: "s3", source: cause.into() }),
            }
        });
        let payload = GetResultPayload::Stream(body.boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::new() })
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { Err(read_only("delete")) }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let files = Self { bucket: self.bucket.clone(), aws: self.aws.clone() };
        let state = Some((files, beginning(prefix), None));
        let pages = stream::try_unfold(state, |state| async move {
            let Some((files, prefix, token)) = state else { return Ok(None) };
            let page = files.page(&prefix, None, token).await?;
            let token = page.next_continuation_token().map(str::to_owned);
            let next = token.map(|token| (files, prefix, Some(token)));
            Ok::<_, StoreError>(Some((stream::iter(objects(&page)), next)))
        });
        pages.try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let (mut common_prefixes, mut found, mut token) = (Vec::new(), Vec::new(), None);
        loop {
            let page = self.page(&beginning(prefix), Some("/"), token).await?;
            let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            common_prefixes.extend(folders.filter_map(|folder| Path::parse(folder).ok()));
            found.extend(objects(&page).into_iter().flatten());
            token = page.next_continuation_token;
            if token.is_none() {
                return Ok(ListResult { common_prefixes, objects: found });
            }
        }
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only("copy"))
    }
}
