//! The files that the patterns name, now.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use glob::MatchOptions;
use serde::{Deserialize, Serialize};

use super::{FileOrder, Paths};
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Versions keep 36 bits for the place in a file.
pub(super) const POSITION_BITS: u32 = 36;
/// Files of this size or more are refused: positions would not fit.
pub(super) const FILE_BYTES_END: u64 = 1 << POSITION_BITS;

/// A file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its path below the fixed folder of its pattern: its name in manifests and rows.
    pub(super) name: String,
    /// Stored bytes.
    pub(super) size: u64,
    /// Time of modification, nanoseconds since 1970.
    pub(super) modified_ns: i64,
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

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Size and time of modification of an open or named file.
pub(super) fn stamp(metadata: &fs::Metadata) -> (u64, i64) {
    let nanoseconds =
        metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec());
    (metadata.len(), nanoseconds)
}

/// The files that `paths` name, in the order of their numbers. Hidden files and those whose name
/// begins with `_`, or that lie in such a folder, are left out unless a pattern spells that out.
pub(super) fn list(paths: &Paths, order: FileOrder) -> Result<Vec<FoundFile>> {
    let patterns = match paths {
        Paths::One(pattern) => std::slice::from_ref(pattern),
        Paths::Many(patterns) => patterns.as_slice(),
    };
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    let mut names: HashMap<String, PathBuf> = HashMap::new();
    for pattern in patterns {
        let mut matched = matches(pattern)?;
        matched.sort_by(|left, right| left.name.cmp(&right.name));
        for file in matched {
            if !seen.insert(file.path.clone()) {
                continue;
            }
            if let Some(other) = names.insert(file.name.clone(), file.path.clone()) {
                return Err(Error::config(format!(
                    "two patterns name files that are both called `{}` below their folders: {} and \
                     {}; write one pattern above both folders",
                    file.name,
                    other.display(),
                    file.path.display()
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

fn matches(pattern: &str) -> Result<Vec<FoundFile>> {
    let path = Path::new(pattern);
    if path.is_dir() {
        return Err(Error::config(format!(
            "the archive path `{pattern}` is a folder; write a pattern like `{}`",
            path.join("*.ndjson").display()
        )));
    }
    let (folder, names) = fixed_folder(path);
    let entries = glob::glob_with(pattern, OPTIONS)
        .or_error(ErrorKind::Config, || format!("`{pattern}` is no path pattern"))?;
    let mut files = Vec::new();
    let mut folders = BTreeSet::from([folder.clone()]);
    for entry in entries {
        let path = entry
            .or_error(ErrorKind::Config, || format!("cannot look for files of `{pattern}`"))?;
        let failed = || format!("cannot examine the archive file {}", path.display());
        let below = path.strip_prefix(&folder).unwrap_or(&path);
        if is_left_out(below, &names) {
            continue;
        }
        let metadata = fs::metadata(&path).or_error(ErrorKind::Config, failed)?;
        if metadata.is_dir() {
            folders.insert(path);
            continue;
        }
        if !metadata.is_file() {
            continue;
        }
        folders.extend(path.parent().map(Path::to_owned));
        let name = below
            .to_str()
            .ok_or_else(|| Error::config(failed()).caused_by("its name is not UTF-8"))?
            .to_owned();
        let (size, modified_ns) = stamp(&metadata);
        if size >= FILE_BYTES_END {
            return Err(Error::config(format!(
                "the archive file {} has {size} bytes; split it, a file must be below 64 GiB",
                path.display()
            )));
        }
        files.push(FoundFile { path, name, size, modified_ns });
    }
    folders.iter().try_for_each(|folder| readable_names(folder))?;
    Ok(files)
}

/// The pattern language knows text only and passes over any other name in silence: a file that
/// nobody reads must not go unnoticed.
fn readable_names(folder: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let odd = |name: &OsString| name.to_str().is_none();
    match entries.flatten().map(|entry| entry.file_name()).find(odd) {
        None => Ok(()),
        Some(name) => Err(Error::config(format!(
            "the archive file {} has a name that is not UTF-8: rename it, or keep it elsewhere",
            folder.join(name).display()
        ))),
    }
}

/// The folders of `pattern` before its first part with a wildcard, and the parts after them.
fn fixed_folder(pattern: &Path) -> (PathBuf, Vec<String>) {
    let mut folder = PathBuf::new();
    let mut names = Vec::new();
    let parts: Vec<Component<'_>> = pattern.components().collect();
    for (index, part) in parts.iter().enumerate() {
        let text = part.as_os_str().to_string_lossy();
        let last = index + 1 == parts.len();
        if names.is_empty() && !last && !text.contains(['*', '?', '[']) {
            folder.push(part);
        } else {
            names.push(text.into_owned());
        }
    }
    (folder, names)
}

/// True where a part of `below` begins with `.` or `_` and no part of the pattern does.
fn is_left_out(below: &Path, pattern: &[String]) -> bool {
    ['.', '_'].into_iter().any(|mark| {
        !pattern.iter().any(|part| part.starts_with(mark))
            && below.components().any(|part| part.as_os_str().to_string_lossy().starts_with(mark))
    })
}

/// How `path` is stored, by its first bytes; by its name where there are too few of them.
pub(super) fn encoding(path: &Path) -> Result<Encoding> {
    let failed = || format!("cannot read the archive file {}", path.display());
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(6).read_to_end(&mut head))
        .or_error(ErrorKind::Config, failed)?;
    let refused = |what: &str| {
        Err(Error::config(format!(
            "the archive file {} is {what}; what is read is UTF-8 text, plain or in gzip or zstd, \
             and Parquet",
            path.display()
        )))
    };
    match head.as_slice() {
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
        short if short.len() < 4 => Ok(match path.extension().and_then(|name| name.to_str()) {
            Some("gz") => Encoding::Gzip,
            Some("zst") => Encoding::Zstd,
            _ => Encoding::Plain,
        }),
        _ => Ok(Encoding::Plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }

    fn names(folder: &Path, patterns: &[&str]) -> Result<Vec<String>> {
        let full = |pattern: &&str| folder.join(pattern).to_str().unwrap().to_owned();
        let paths = Paths::Many(patterns.iter().map(full).collect());
        Ok(list(&paths, FileOrder::Name)?.into_iter().map(|file| file.name).collect())
    }

    #[test]
    fn patterns_name_files_below_their_fixed_folder() {
        let folder = tempfile::tempdir().unwrap();
        let all = ["2024/b.ndjson", "2024/a.ndjson", "2023/z.ndjson", "2024/.c", "2024/_d"];
        all.iter().for_each(|name| write(folder.path(), name));
        write(folder.path(), "2024/_old/e.ndjson");
        let root = folder.path();
        assert_eq!(names(root, &["2024/*"]).unwrap(), ["a.ndjson", "b.ndjson"]);
        assert_eq!(
            names(root, &["**/*.ndjson"]).unwrap(),
            ["2023/z.ndjson", "2024/a.ndjson", "2024/b.ndjson"]
        );
        assert_eq!(names(root, &["2024/_*"]).unwrap(), ["_d"]);
        assert_eq!(names(root, &["2024/.c", "2024/_old/*"]).unwrap(), [".c", "e.ndjson"]);
        let both = ["2024/b*", "2024/*.ndjson", "2023/*"];
        assert_eq!(names(root, &both).unwrap(), ["b.ndjson", "a.ndjson", "z.ndjson"]);
        assert!(names(root, &["2025/*"]).unwrap().is_empty());
    }

    #[test]
    fn odd_patterns_are_diagnostics() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a/x.ndjson");
        write(folder.path(), "b/x.ndjson");
        for (patterns, expected) in [
            (&["a/*", "b/*"][..], "both called `x.ndjson`"),
            (&["a"][..], "is a folder; write a pattern"),
            (&["a/***"][..], "is no path pattern"),
        ] {
            let error = names(folder.path(), patterns).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn the_content_says_how_a_file_is_stored() {
        let folder = tempfile::tempdir().unwrap();
        let encoding_of = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            encoding(&path)
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
