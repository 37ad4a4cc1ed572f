//! Urls of places that files lie in: a local folder, or a prefix of a bucket.

use std::fmt;
use std::path::PathBuf;

use hyper::Uri;

use crate::error::{Error, Result};

/// Where a url points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder on a local disk, absolute.
    Folder(PathBuf),
    /// A prefix of a bucket.
    Bucket(BucketPrefix),
}

/// A bucket of S3 and the prefix of every key in it. Shown as a url without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BucketPrefix {
    /// The bucket.
    pub bucket: String,
    /// The keys' common beginning, without a slash at its ends; empty for the whole bucket.
    pub prefix: String,
}

/// What may stand in a url of a bucket.
pub const BUCKET_URL: &str = "like `s3://BUCKET/FOLDER`: 3 to 63 lower-case letters, digits, `.` and `-`, then parts that are not empty, `.` or `..`";

/// True where nobody can read on the way what is sent to `url`: it is encrypted, or stays on this
/// machine.
pub fn hides_what_is_sent(url: &str) -> bool {
    let Ok(url) = url.parse::<Uri>() else { return false };
    let is_this_machine =
        |host: &str| ["localhost", "127.0.0.1", "[::1]"].contains(&host.to_lowercase().as_str());
    match (url.scheme_str(), url.host()) {
        (Some("https"), Some(_)) => true,
        (Some("http"), Some(host)) => is_this_machine(host),
        _ => false,
    }
}

impl Location {
    /// Read `url`: an absolute path, a `file://` url of one, or `s3://BUCKET/PREFIX`. Relative
    /// paths are made absolute where the configuration is read.
    pub fn parse(url: &str) -> Result<Self> {
        let path = match url.split_once("://") {
            Some(("file", path)) => path,
            Some(("s3", _)) => return BucketPrefix::parse(url).map(Self::Bucket),
            Some((scheme, _)) => {
                return Err(Error::config(format!(
                    "cannot reach {url}: this build knows folders, file:// and s3:// urls, not {scheme}://"
                )));
            }
            None => url,
        };
        if !path.starts_with('/') {
            return Err(Error::config(format!("{url} does not name an absolute path")));
        }
        Ok(Self::Folder(path.into()))
    }

    /// The place called `name` inside this one.
    #[must_use]
    pub fn join(self, name: &str) -> Self {
        match self {
            Self::Folder(folder) => Self::Folder(folder.join(name)),
            Self::Bucket(place) => Self::Bucket(place.join(name)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(out),
            Self::Bucket(place) => place.fmt(out),
        }
    }
}

impl BucketPrefix {
    /// Read `s3://BUCKET/PREFIX`; a slash at the end is passed over.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = || Error::config(format!("{url} is no url of a bucket: {BUCKET_URL}"));
        let (bucket, prefix) = Self::split(url).ok_or_else(wrong)?;
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        if !(prefix.is_empty() || prefix.split('/').all(is_part)) {
            return Err(wrong());
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }

    /// The bucket of `s3://BUCKET/REST` and the rest as it is written; `None` for another url, and
    /// where that is no name of a bucket.
    pub fn split(url: &str) -> Option<(&str, &str)> {
        let rest = url.strip_prefix("s3://")?;
        let (bucket, rest) = rest.split_once('/').unwrap_or((rest, ""));
        is_bucket(bucket).then_some((bucket, rest))
    }

    /// The place called `name` inside this one.
    #[must_use]
    pub fn join(self, name: &str) -> Self {
        Self { prefix: self.key(name), bucket: self.bucket }
    }

    /// The whole key of `name`, which stands below the prefix.
    pub fn key(&self, name: &str) -> String {
        match self.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// What every key below the prefix begins with: it ends in a slash, so that `lake` does not
    /// take in `lake-old`.
    pub fn beginning(&self) -> String {
        self.key("")
    }

    /// The part of a whole key below the prefix; `None` where it lies elsewhere.
    pub fn below<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.strip_prefix(&self.beginning())
    }
}

fn is_bucket(name: &str) -> bool {
    let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = |c: u8| edge(c) || c == b'-' || c == b'.';
    (3..=63).contains(&name.len())
        && name.bytes().all(inside)
        && name.bytes().next().is_some_and(edge)
        && name.bytes().last().is_some_and(edge)
        && !name.contains("..")
}

impl fmt::Display for BucketPrefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "s3://{}", self.bucket)?;
        match self.prefix.as_str() {
            "" => Ok(()),
            prefix => write!(out, "/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_and_file_urls_are_the_same() {
        for url in ["/a/b", "file:///a/b"] {
            assert_eq!(Location::parse(url).unwrap(), Location::Folder("/a/b".into()));
        }
        for url in ["gs://bucket/a", "a/b", "file://a/b"] {
            Location::parse(url).unwrap_err();
        }
    }

    #[test]
    fn a_bucket_and_its_prefix() {
        let place = BucketPrefix::parse("s3://my-lake.data/conversations/2024/").unwrap();
        assert_eq!(place.to_string(), "s3://my-lake.data/conversations/2024");
        assert_eq!(place.key("a.parquet"), "conversations/2024/a.parquet");
        assert_eq!(place.below("conversations/2024/a/b"), Some("a/b"));
        assert_eq!(place.below("conversations/2024-old/a"), None);
        let whole = BucketPrefix::parse("s3://bucket").unwrap();
        assert_eq!((whole.key("a"), whole.below("a")), ("a".to_owned(), Some("a")));
        assert_eq!(whole.to_string(), "s3://bucket");
        for url in [
            "s3://",
            "s3://ab",
            "s3://Bucket/a",
            "s3://-ab/a",
            "s3://bucket/a//b",
            "s3://bucket/../b",
            "s3://buc_ket",
            "/bucket",
        ] {
            BucketPrefix::parse(url).unwrap_err();
        }
    }

    #[test]
    fn a_place_inside() {
        let inside = |url| Location::parse(url).unwrap().join("x");
        assert_eq!(inside("/a"), Location::Folder("/a/x".into()));
        assert_eq!(inside("s3://bucket"), Location::parse("s3://bucket/x").unwrap());
    }
}
