//! An archive: files of change events, read once each, in order.
//!
//! [`files`] finds what the patterns name, on a [`disk`] or in a [`bucket`], [`manifest`] numbers it
//! for good, [`ranges`] splits it into partitions. [`place`] is what the rest needs of either place:
//! a file that is open, and gives the bytes that it was listed with. [`streams`] gives a file's bytes, decompressed, [`lines`] the lines that begin
//! in a range, [`rows`] the rows of a Parquet file; [`reader`] reads ahead of the lane by one batch.
//!
//! The version of an event is `(file number << 36) | position`: files are numbered from 1 and the
//! position is a byte of the decompressed file, or a row of a Parquet file.

#[cfg(feature = "aws")]
mod bucket;
mod disk;
mod files;
mod lines;
mod manifest;
mod oversized;
mod place;
mod ranges;
mod reader;
mod rows;
pub mod sample;
mod source;
mod streams;

pub use self::source::{ArchiveCounts, ArchiveSource};

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::codec::Format;
use crate::units::ByteSize;

/// An archive of change events in files, on a local disk or in S3.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArchiveConfig {
    /// One path pattern or a list (`*`, `?`, `[...]`, `**`), relative to the pipeline file, or of
    /// objects like `s3://BUCKET/events/**/*.ndjson.zst`.
    pub path: Paths,
    /// Form of the records.
    pub format: Format,
    /// Order in which files are numbered; it is taken for the order of events.
    #[serde(default)]
    pub order: FileOrder,
    /// Records above this size become dead letters that keep their first 64 KiB.
    #[serde(default = "default_max_record_size")]
    pub max_record_size: ByteSize,
    /// Plain and Parquet files are split into ranges of at most about this size, each a lane of its
    /// own; smaller ones where lanes would be idle otherwise.
    #[serde(default = "default_range_size")]
    pub range_size: ByteSize,
    /// Lanes that are open at once.
    #[serde(default = "default_lanes")]
    #[schemars(range(min = 1))]
    pub lanes: u16,
}

/// One pattern or several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Paths {
    /// One pattern.
    One(String),
    /// Several, read in this order.
    Many(Vec<String>),
}

impl fmt::Display for Paths {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(pattern) => write!(out, "`{pattern}`"),
            Self::Many(patterns) => write!(out, "`{}`", patterns.join("` or `")),
        }
    }
}

/// Order of an archive's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileOrder {
    /// By path.
    #[default]
    Name,
    /// By time of modification, then path.
    Modified,
}

fn default_max_record_size() -> ByteSize {
    ByteSize::mebibytes(1)
}
fn default_range_size() -> ByteSize {
    ByteSize::mebibytes(1024)
}
fn default_lanes() -> u16 {
    4
}
