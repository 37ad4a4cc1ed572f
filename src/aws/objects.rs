//! What every reader of a bucket asks of it.

use std::ops::Range;

use bytes::Bytes;

use super::{Aws, Call, Phase, code, status};
use crate::error::{Error, Result};
use crate::location::BucketPrefix;

/// An object that was read whole: its tag and its bytes.
pub struct Object {
    /// The store's own tag of it.
    pub tag: Option<String>,
    /// What it holds.
    pub body: Bytes,
}

/// The bucket of `place` is there, and in the region that is asked. `role` says what it is for.
pub async fn reach(aws: &Aws, place: &BucketPrefix, role: &str) -> Result<()> {
    let bucket = &place.bucket;
    match aws.s3().await.head_bucket().bucket(bucket).send().await {
        // Whoever may not list may still read and write: the next calls show it.
        Err(error) if status(&error) == Some(403) => Ok(()),
        Err(error) => {
            let what = format!("reach the bucket {bucket}{role}");
            Err(Call { what: &what, needs: "s3:ListBucket" }.refused(error))
        }
        Ok(_) => Ok(()),
    }
}

/// The object `name` below `place`; none where there is none.
pub async fn get(
    aws: &Aws,
    place: &BucketPrefix,
    name: &str,
    phase: Phase,
) -> Result<Option<Object>> {
    let what = format!("read {place}/{name}");
    let client = aws.s3().await;
    let found = client.get_object().bucket(&place.bucket).key(place.key(name)).send().await;
    let found = match found {
        Err(error) if code(&error) == Some("NoSuchKey") => return Ok(None),
        Err(error) => {
            // Without the right to list, S3 answers 403 where nothing is.
            let call = Call { what: &what, needs: "s3:GetObject, s3:ListBucket" };
            return Err(call.fail(phase, error));
        }
        Ok(found) => found,
    };
    let tag = found.e_tag().map(str::to_owned);
    let body = found.body.collect().await.map_err(|cause| {
        Error::retryable(format!("cannot {what}: the answer ended early")).caused_by(cause)
    })?;
    Ok(Some(Object { tag, body: body.into_bytes() }))
}

/// The names of all objects below `place`.
pub async fn names(aws: &Aws, place: &BucketPrefix, phase: Phase) -> Result<Vec<String>> {
    let listed = aws.s3().await.list_objects_v2().bucket(&place.bucket);
    let mut pages = listed.prefix(place.beginning()).into_paginator().send();
    let mut names = Vec::new();
    let what = format!("list {place}");
    while let Some(page) = pages.next().await {
        let call = Call { what: &what, needs: "s3:ListBucket" };
        let page = page.map_err(|error| call.fail(phase, error))?;
        let keys = page.contents().iter().filter_map(|object| object.key());
        names.extend(keys.filter_map(|key| place.below(key)).map(str::to_owned));
    }
    Ok(names)
}

/// `bytes 0-99/1234`: which bytes these are, and of how many.
pub fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last.checked_add(1)?, size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_an_answer() {
        assert_eq!(content_range("bytes 0-99/1234"), Some((0..100, 1234)));
        for text in ["bytes */1234", "0-99/1234", "bytes 5/9", ""] {
            assert_eq!(content_range(text), None);
        }
    }
}
