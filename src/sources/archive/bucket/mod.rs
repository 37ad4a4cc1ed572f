//! Objects in a bucket of S3.
//!
//! [`pattern`] says which keys a pattern names, [`object`] reads a range of an object, whatever
//! breaks meanwhile, [`stream`] reads one from place to place and ahead of who reads it, [`columns`]
//! gives the columns of a Parquet file from such streams.

mod columns;
mod object;
mod pattern;
mod stream;

use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::types::Object as Entry;

pub(super) use self::object::Object;
use self::pattern::KeyPattern;
use super::files::{self, FoundFile};
use super::place::{Identity, Place};
use crate::aws::{Call, objects};
use crate::component::Context;
use crate::error::{Error, Result};
use crate::location::{BUCKET_URL, BucketPrefix};

/// An object by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ObjectName {
    bucket: Arc<str>,
    key: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "s3://{}/{}", self.bucket, self.key)
    }
}

/// The objects that `url` names now, in no order. Every failure is a diagnostic, but for what passes
/// by itself.
pub(super) async fn list(url: &str, context: &Context) -> Result<Vec<FoundFile>> {
    let (bucket, keys) = BucketPrefix::split(url)
        .ok_or_else(|| Error::config(format!("{url} is no url of a bucket: {BUCKET_URL}")))?;
    let pattern = KeyPattern::parse(keys)?;
    let place = BucketPrefix { bucket: bucket.to_owned(), prefix: String::new() };
    objects::reach(&context.aws, &place, " of the archive").await?;
    let request = context.aws.s3().await.list_objects_v2().bucket(bucket);
    let request = request.prefix(pattern.beginning());
    let mut pages = request.set_delimiter(pattern.delimiter()).into_paginator().send();
    let what = format!("list s3://{bucket}/{}", pattern.beginning());
    let (bucket, mut found) = (Arc::from(bucket), Vec::new());
    while let Some(page) = pages.next().await {
        let call = Call { what: &what, needs: "s3:ListBucket" };
        let page = page.map_err(|error| call.refused(error))?;
        for entry in page.contents() {
            let Some(key) = entry.key() else { continue };
            if let Some(name) = pattern.name_of(key) {
                found.push(found_file(&bucket, key, name, entry)?);
            }
        }
        if pattern.is_one_key() {
            // The key itself comes before every longer one.
            let inside = |entry: &Entry| {
                entry.key().and_then(|key| key.strip_prefix(keys)?.strip_prefix('/')).is_some()
            };
            if found.is_empty() && page.contents().iter().any(inside) {
                return Err(files::is_folder(url));
            }
            break;
        }
    }
    Ok(found)
}

fn found_file(bucket: &Arc<str>, key: &str, name: &str, entry: &Entry) -> Result<FoundFile> {
    let object = ObjectName { bucket: bucket.clone(), key: key.to_owned() };
    let tag = entry.e_tag().ok_or_else(|| {
        Error::config(format!(
            "cannot read {object}: the server lists no tag of it, by which a replaced object would \
             be noticed; read from a server that does"
        ))
    })?;
    let time = entry.last_modified().map_or(0, aws_sdk_s3::primitives::DateTime::as_nanos);
    Ok(FoundFile {
        place: Place::Bucket(object),
        name: name.to_owned(),
        size: entry.size().unwrap_or_default().unsigned_abs(),
        modified_ns: i64::try_from(time).unwrap_or_default(),
        identity: Identity::Tag { tag: quoted(tag) },
    })
}

/// A tag as `If-Match` wants it. Servers write it with its quotes or without; some call it weak when
/// they compress what they send, and compare it with a strong one only.
fn quoted(tag: &str) -> String {
    let strong = tag.strip_prefix("W/").unwrap_or(tag);
    format!("\"{}\"", strong.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn tags_are_written_in_one_way() {
        for tag in ["abc-2", "\"abc-2\"", "W/\"abc-2\""] {
            assert_eq!(quoted(tag), "\"abc-2\"", "{tag}");
        }
    }
}
