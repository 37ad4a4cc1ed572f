//! Paths and urls, relative to the pipeline file, made absolute: here and nowhere else.

use std::path::{Component, Path, PathBuf};

use crate::location::{BUCKET_URL, BucketPrefix};

/// What names a place on this machine.
const LOCAL: &str = "a path, or a `file:///...` url";
/// What names a place anywhere.
const KNOWN: &str = "a path, or a url like `file:///...` or `s3://BUCKET/...`";

/// What is wrong with a url of S3 where there is no client of it.
const NO_S3: &str = "this build cannot reach S3";
const WITH_S3: &str = "a build with the feature `aws`";
/// What names objects of a bucket.
const OBJECTS: &str = "like `s3://BUCKET/events/**/*.ndjson.zst`; the name of a bucket has 3 to 63 lower-case letters, digits, `.` and `-`";

/// What is wrong with a location, and what is allowed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub what: String,
    pub allowed: &'static str,
}

/// The absolute path that `text` names: a path relative to `base`, or a `file://` url.
///
/// # Errors
/// Another scheme, a `file` url with a host or a relative path, an empty text.
pub(super) fn path(base: &Path, text: &str) -> Result<PathBuf, Wrong> {
    let wrong = |what: String, allowed| Err(Wrong { what, allowed });
    if text.trim().is_empty() {
        return wrong("is empty".to_owned(), LOCAL);
    }
    let path = match scheme(text) {
        None => text,
        Some(("file", rest)) => match rest.strip_prefix("localhost").unwrap_or(rest) {
            rest if rest.starts_with('/') => rest,
            _ => {
                return wrong(
                    "a `file` url must hold an absolute path".to_owned(),
                    "write `file:///folder`, or a path relative to this file without `file://`",
                );
            }
        },
        Some(("s3", _)) => return wrong("is not on this machine".to_owned(), LOCAL),
        Some((scheme, _)) => return wrong(format!("unknown scheme `{scheme}`"), KNOWN),
    };
    Ok(normalize(&base.join(path)))
}

/// The absolute path, or the url of a bucket, that `text` names.
pub(super) fn url(base: &Path, text: &str) -> Result<String, Wrong> {
    match scheme(text) {
        Some(("s3", _)) => bucket(text),
        _ => path(base, text).map(|path| path.to_string_lossy().into_owned()),
    }
}

/// A url of a bucket, without a slash at its end.
fn bucket(text: &str) -> Result<String, Wrong> {
    let wrong = |what: &str, allowed| Err(Wrong { what: what.to_owned(), allowed });
    if cfg!(not(feature = "aws")) {
        return wrong(NO_S3, WITH_S3);
    }
    match BucketPrefix::parse(text) {
        Ok(place) => Ok(place.to_string()),
        Err(_) => wrong("is no url of a bucket", BUCKET_URL),
    }
}

/// The absolute pattern that `text` names; what `base` holds is taken literally.
pub(super) fn pattern(base: &Path, text: &str) -> Result<String, Wrong> {
    let wrong = |what: String, allowed| Err(Wrong { what, allowed });
    let relative = match scheme(text) {
        Some(("s3", _)) => return objects(text),
        Some(_) => path(base, text)?.to_string_lossy().into_owned(),
        None if text.trim().is_empty() => {
            return wrong("is empty".to_owned(), "a file, or a pattern like `events/*.ndjson.zst`");
        }
        None => text.to_owned(),
    };
    let absolute = match relative.starts_with('/') {
        true => relative,
        false => {
            let mut base = base.to_path_buf();
            let mut rest = relative.as_str();
            // `../` before the first pattern climbs; the pattern language does not know it.
            loop {
                if let Some(after) = rest.strip_prefix("../") {
                    base.pop();
                    rest = after;
                } else if let Some(after) = rest.strip_prefix("./") {
                    rest = after;
                } else {
                    break;
                }
            }
            let base = glob::Pattern::escape(&base.to_string_lossy());
            format!("{}/{rest}", base.trim_end_matches('/'))
        }
    };
    is_pattern(&absolute).map(|()| absolute)
}

/// The pattern of objects that `text` names, as it is written: keys know no relative parts.
fn objects(text: &str) -> Result<String, Wrong> {
    let wrong = |what: &str, allowed| Err(Wrong { what: what.to_owned(), allowed });
    if cfg!(not(feature = "aws")) {
        return wrong(NO_S3, WITH_S3);
    }
    match BucketPrefix::split(text) {
        None => wrong("is no url of a bucket", OBJECTS),
        Some((_, "")) => wrong("names no object", OBJECTS),
        Some((_, keys)) if keys.ends_with('/') => wrong("is a folder", OBJECTS),
        Some((_, keys)) => is_pattern(keys).map(|()| text.to_owned()),
    }
}

fn is_pattern(text: &str) -> Result<(), Wrong> {
    match glob::Pattern::new(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(Wrong {
            what: format!("is not a pattern: {}", error.msg),
            allowed: "`*`, `?`, `[...]` and `**` between slashes; a literal `[` is `[[]`",
        }),
    }
}

/// `scheme://rest`.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let letters = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    (!scheme.is_empty() && scheme.chars().all(letters)).then_some((scheme, rest))
}

/// The path without `.` and `..`, by its text: it need not exist.
fn normalize(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> Result<String, String> {
        path(Path::new("/home/ana/pipelines"), text)
            .map(|path| path.display().to_string())
            .map_err(|wrong| wrong.what)
    }

    #[test]
    fn resolves_against_the_file() {
        assert_eq!(resolved("lake"), Ok("/home/ana/pipelines/lake".into()));
        assert_eq!(resolved("../target/./lake/"), Ok("/home/ana/target/lake".into()));
        assert_eq!(resolved("/data/lake"), Ok("/data/lake".into()));
        assert_eq!(resolved("file:///data/lake"), Ok("/data/lake".into()));
        assert_eq!(resolved("file://localhost/data"), Ok("/data".into()));
        assert_eq!(resolved("file://data"), Err("a `file` url must hold an absolute path".into()));
        assert_eq!(resolved("gs://bucket/x"), Err("unknown scheme `gs`".into()));
        assert_eq!(resolved("s3://bucket/x"), Err("is not on this machine".into()));
        assert_eq!(resolved("odd: name/x"), Ok("/home/ana/pipelines/odd: name/x".into()));
        assert_eq!(resolved(" "), Err("is empty".into()));
    }

    #[cfg(feature = "aws")]
    #[test]
    fn buckets_are_places_too() {
        let resolved = |text| url(Path::new("/data"), text).map_err(|wrong| wrong.what);
        assert_eq!(resolved("s3://lake/a/"), Ok("s3://lake/a".into()));
        assert_eq!(resolved("a"), Ok("/data/a".into()));
        assert_eq!(resolved("s3://lake/../a"), Err("is no url of a bucket".into()));
    }

    #[test]
    fn patterns_keep_the_folder_literal() {
        let base = Path::new("/data/[2024]");
        let resolved = |text| pattern(base, text).map_err(|wrong| wrong.what);
        assert_eq!(resolved("a/*.zst"), Ok("/data/[[]2024[]]/a/*.zst".into()));
        assert_eq!(resolved("../x-*.gz"), Ok("/data/x-*.gz".into()));
        assert_eq!(resolved("/abs/**/*.json"), Ok("/abs/**/*.json".into()));
        assert!(resolved("a/[b").is_err());
        assert!(resolved("gs://x/*").is_err());
    }

    #[cfg(feature = "aws")]
    #[test]
    fn patterns_of_objects_stay_as_they_are_written() {
        let resolved = |text| pattern(Path::new("/data"), text).map_err(|wrong| wrong.what);
        for text in ["s3://lake/**/*.zst", "s3://lake/a b/../%20=ñ[0-9]?.gz"] {
            assert_eq!(resolved(text), Ok(text.into()));
        }
        assert_eq!(resolved("s3://x/*"), Err("is no url of a bucket".into()));
        assert_eq!(resolved("s3://lake"), Err("names no object".into()));
        assert_eq!(resolved("s3://lake/events/"), Err("is a folder".into()));
        let wrong = resolved("s3://lake/a**").unwrap_err();
        assert!(wrong.starts_with("is not a pattern: "), "{wrong}");
    }
}
