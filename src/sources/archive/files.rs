//! The files that the patterns name, now.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use glob::MatchOptions;
use serde::{Deserialize, Serialize};

#[cfg(feature = "aws")]
use super::bucket;
use super::place::{Identity, Listed, OpenFile, Place};
use super::{FileOrder, Paths, disk};
use crate::component::Context;
use crate::error::{Error, Result};

/// Versions keep 36 bits for the place in a file.
pub(super) const POSITION_BITS: u32 = 36;
/// Files of this size or more are refused: positions would not fit.
pub(super) const FILE_BYTES_END: u64 = 1 << POSITION_BITS;

/// A file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Where it is.
    pub(super) place: Place,
    /// Its path below the fixed folder of its pattern: its name in manifests and rows.
    pub(super) name: String,
    /// Stored bytes.
    pub(super) size: u64,
    /// Time of modification, nanoseconds since 1970.
    pub(super) modified_ns: i64,
    /// What it is told by.
    pub(super) identity: Identity,
}

impl FoundFile {
    /// What it is now, to open it by.
    pub(super) fn listed(&self) -> Listed {
        let Self { place, size, identity, .. } = self;
        Listed { name: format!("`{place}`"), size: *size, identity: identity.clone() }
    }
}

/// How the content of a file is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// Lines as they are.
    Plain,
    /// Lines in gzip, of one member or more.
    Gzip,
    /// Lines in zstd, of one frame or more.
    Zstd,
    /// Rows in columns.
    Parquet,
}

/// How the parts of a pattern match.
pub(super) const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The first bytes of a file, which say how it is stored.
const HEAD_BYTES: usize = 6;

/// The files that `paths` name, in the order of their numbers. Hidden files and those whose name
/// begins with `_`, or that lie in such a folder, are left out unless a pattern spells that out.
pub(super) async fn list(
    paths: &Paths,
    order: FileOrder,
    context: &Context,
) -> Result<Vec<FoundFile>> {
    let patterns = match paths {
        Paths::One(pattern) => std::slice::from_ref(pattern),
        Paths::Many(patterns) => patterns.as_slice(),
    };
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut names: HashMap<String, Place> = HashMap::new();
    for pattern in patterns {
        let mut matched = matches(pattern, context).await?;
        matched.sort_by(|left, right| left.name.cmp(&right.name));
        for file in matched {
            if !seen.insert(file.place.clone()) {
                continue;
            }
            if file.size >= FILE_BYTES_END {
                return Err(Error::config(format!(
                    "the archive file {} has {} bytes; split it, a file must be below 64 GiB",
                    file.place, file.size
                )));
            }
            if let Some(other) = names.insert(file.name.clone(), file.place.clone()) {
                return Err(Error::config(format!(
                    "two patterns name files that are both called `{}` below their folders: {other} \
                     and {}; write one pattern above both folders",
                    file.name, file.place
                )));
            }
            files.push(file);
        }
    }
    if order == FileOrder::Modified {
        // Stable: files of one time stay in the order of patterns and names.
        files.sort_by_key(|file| file.modified_ns);
    }
    Ok(files)
}

async fn matches(pattern: &str, context: &Context) -> Result<Vec<FoundFile>> {
    if pattern.starts_with("s3://") {
        #[cfg(feature = "aws")]
        return bucket::list(pattern, context).await;
        #[cfg(not(feature = "aws"))]
        return Err(Error::config(format!("cannot read {pattern}: this build cannot reach S3")));
    }
    let (pattern, _) = (pattern.to_owned(), context);
    tokio::task::spawn_blocking(move || disk::list(&pattern))
        .await
        .map_err(|cause| Error::fatal("listing the archive ended early").caused_by(cause))?
}

/// The diagnostic for a path that names a folder.
pub(super) fn is_folder(path: &str) -> Error {
    Error::config(format!(
        "the archive path `{path}` is a folder; write a pattern like `{}/*.ndjson`",
        path.trim_end_matches('/')
    ))
}

/// True where a part of a pattern names more than itself.
pub(super) fn has_wildcard(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// True where a part of a file's path below the fixed folder begins with `.` or `_`, and no part of
/// the pattern does.
pub(super) fn is_left_out<'a>(
    below: impl Iterator<Item = &'a str> + Clone,
    pattern: &[&str],
) -> bool {
    ['.', '_'].into_iter().any(|mark| {
        !pattern.iter().any(|part| part.starts_with(mark))
            && below.clone().any(|part| part.starts_with(mark))
    })
}

/// How the file at `place` is stored, by its first bytes; by its name where there are too few.
pub(super) fn encoding(file: &dyn OpenFile, place: &Place) -> Result<Encoding> {
    let mut head = Vec::new();
    file.stream(0, HEAD_BYTES as u64).fill(&mut head, HEAD_BYTES)?;
    encoding_of(&head, place)
}

fn encoding_of(head: &[u8], place: &Place) -> Result<Encoding> {
    let refused = |what: &str| {
        Err(Error::config(format!(
            "the archive file {place} is {what}; what is read is UTF-8 text, plain or in gzip or \
             zstd, and Parquet"
        )))
    };
    match head {
        [0x1F, 0x8B, ..] => Ok(Encoding::Gzip),
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Ok(Encoding::Zstd),
        [b'P', b'A', b'R', b'1', ..] => Ok(Encoding::Parquet),
        [b'B', b'Z', b'h', ..] => refused("compressed with bzip2"),
        [0xFD, b'7', b'z', b'X', b'Z', 0] => refused("compressed with xz"),
        [0x04, 0x22, 0x4D, 0x18, ..] => refused("compressed with lz4"),
        [b'P', b'K', 3, 4, ..] => refused("a zip archive"),
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => refused("UTF-16 text"),
        [] => Ok(Encoding::Plain),
        // Cut inside the mark itself: read as what it says it is, it is reported as damaged.
        short if short.len() < 4 => Ok(encoding_of_name(&place.to_string())),
        _ => Ok(Encoding::Plain),
    }
}

fn encoding_of_name(name: &str) -> Encoding {
    match Path::new(name).extension().and_then(|ending| ending.to_str()) {
        Some("gz") => Encoding::Gzip,
        Some("zst") => Encoding::Zstd,
        _ => Encoding::Plain,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::error::ErrorKind;

    fn write(folder: &Path, name: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }

    async fn names(folder: &Path, patterns: &[&str]) -> Result<Vec<String>> {
        let full = |pattern: &&str| folder.join(pattern).to_str().unwrap().to_owned();
        let paths = Paths::Many(patterns.iter().map(full).collect());
        let context = crate::testing::context(1);
        Ok(list(&paths, FileOrder::Name, &context)
            .await?
            .into_iter()
            .map(|file| file.name)
            .collect())
    }

    #[tokio::test]
    async fn patterns_name_files_below_their_fixed_folder() {
        let folder = tempfile::tempdir().unwrap();
        let all = ["2024/b.ndjson", "2024/a.ndjson", "2023/z.ndjson", "2024/.c", "2024/_d"];
        all.iter().for_each(|name| write(folder.path(), name));
        write(folder.path(), "2024/_old/e.ndjson");
        let root = folder.path();
        assert_eq!(names(root, &["2024/*"]).await.unwrap(), ["a.ndjson", "b.ndjson"]);
        assert_eq!(
            names(root, &["**/*.ndjson"]).await.unwrap(),
            ["2023/z.ndjson", "2024/a.ndjson", "2024/b.ndjson"]
        );
        assert_eq!(names(root, &["2024/_*"]).await.unwrap(), ["_d"]);
        assert_eq!(names(root, &["2024/.c", "2024/_old/*"]).await.unwrap(), [".c", "e.ndjson"]);
        let both = ["2024/b*", "2024/*.ndjson", "2023/*"];
        assert_eq!(names(root, &both).await.unwrap(), ["b.ndjson", "a.ndjson", "z.ndjson"]);
        assert!(names(root, &["2025/*"]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn odd_patterns_are_diagnostics() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/x.ndjson");
        write(folder.path(), "b/x.ndjson");
        for (patterns, expected) in [
            (&["a/*", "b/*"][..], "both called `x.ndjson`"),
            (&["a"][..], "is a folder; write a pattern"),
            (&["a/***"][..], "is no path pattern"),
        ] {
            let error = names(folder.path(), patterns).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn the_content_says_how_a_file_is_stored() {
        let encoding_of = |name: &str, content: &[u8]| {
            let head = &content[..content.len().min(HEAD_BYTES)];
            encoding_of(head, &Place::Disk(name.into()))
        };
        let gzip = [0x1F, 0x8B, 8, 0, 0, 0, 0];
        assert_eq!(encoding_of("a.ndjson", &gzip).unwrap(), Encoding::Gzip);
        let zstd = zstd::encode_all(&b"{}"[..], 1).unwrap();
        assert_eq!(encoding_of("a.ndjson.gz", &zstd).unwrap(), Encoding::Zstd);
        assert_eq!(encoding_of("a.ndjson.gz", b"{\"a\":1}").unwrap(), Encoding::Plain);
        assert_eq!(encoding_of("a.zst", &zstd[..2]).unwrap(), Encoding::Zstd);
        assert_eq!(encoding_of("a.zst", b"").unwrap(), Encoding::Plain);
        assert_eq!(encoding_of("a", b"PAR1....").unwrap(), Encoding::Parquet);
        let error = encoding_of("a", b"BZh9....").unwrap_err();
        assert!(error.to_string().contains("bzip2"), "{error}");
        let error = encoding_of("a", &[0xFF, 0xFE, b'{', 0]).unwrap_err();
        assert!(error.to_string().contains("UTF-16"), "{error}");
    }
}
