//! How a file is split into ranges, each a partition of its own. Fixed when the file is first
//! listed: a later change of `range_size` does not move a range that a record covers.

use std::fs::File;
use std::path::Path;

use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use serde::{Deserialize, Serialize};

use super::files::{Encoding, FoundFile};
use crate::error::{ErrorKind, Result, ResultExt};

/// A part of a file, `[from, to)`: bytes of a plain file, rows of a Parquet file. A compressed file
/// is one range, whose end is known only when it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    /// First byte or row.
    pub(super) from: u64,
    /// End, not included. A line that begins before it belongs to the range whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<u64>,
}

/// Split `file` into ranges of about `range_bytes`.
pub(super) fn split(file: &FoundFile, encoding: Encoding, range_bytes: u64) -> Result<Vec<Range>> {
    match encoding {
        Encoding::Plain => Ok(split_evenly(file.size, parts(file.size, range_bytes))),
        Encoding::Gzip | Encoding::Zstd => Ok(vec![Range { from: 0, to: None }]),
        Encoding::Parquet => Ok(by_row_groups(&row_groups(&file.path)?, range_bytes)),
    }
}

fn parts(bytes: u64, range_bytes: u64) -> u64 {
    bytes.div_ceil(range_bytes.max(1)).max(1)
}

/// `parts` ranges that differ by one at most; they meet, begin at 0 and end at `end`.
fn split_evenly(end: u64, parts: u64) -> Vec<Range> {
    let bound = |index: u64| {
        // In 128 bits, where the product fits; the quotient is at most `end`.
        u64::try_from(u128::from(end) * u128::from(index) / u128::from(parts)).unwrap_or(end)
    };
    (0..parts).map(|index| Range { from: bound(index), to: Some(bound(index + 1)) }).collect()
}

/// Rows and stored bytes of each row group.
fn row_groups(path: &Path) -> Result<Vec<(u64, u64)>> {
    let failed =
        || format!("cannot read the Parquet footer of the archive file {}", path.display());
    let file = File::open(path).or_error(ErrorKind::Config, failed)?;
    let metadata =
        ArrowReaderMetadata::load(&file, Default::default()).or_error(ErrorKind::Config, failed)?;
    let groups = metadata.metadata().row_groups().iter();
    Ok(groups
        .map(|group| (unsigned(group.num_rows()), unsigned(group.compressed_size())))
        .collect())
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

/// Whole row groups together until they reach `range_bytes`.
fn by_row_groups(groups: &[(u64, u64)], range_bytes: u64) -> Vec<Range> {
    let mut ranges = Vec::new();
    let (mut from, mut to, mut bytes) = (0, 0, 0);
    for (rows, stored) in groups {
        to += rows;
        bytes += stored;
        if bytes >= range_bytes {
            ranges.push(Range { from, to: Some(to) });
            (from, bytes) = (to, 0);
        }
    }
    if from < to || ranges.is_empty() {
        ranges.push(Range { from, to: Some(to) });
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: u64, to: u64) -> Range {
        Range { from, to: Some(to) }
    }

    #[test]
    fn ranges_meet_and_cover_the_file() {
        for (size, range_bytes) in [(0, 10), (1, 10), (10, 10), (11, 10), (999, 7), (5, 0)] {
            let ranges = split_evenly(size, parts(size, range_bytes));
            assert_eq!(ranges.first().unwrap().from, 0);
            assert_eq!(ranges.last().unwrap().to, Some(size));
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].to, Some(pair[1].from), "{size} by {range_bytes}");
            }
            let longest = ranges.iter().map(|range| range.to.unwrap() - range.from).max();
            assert!(longest.unwrap() <= range_bytes.max(1), "{size} by {range_bytes}");
        }
    }

    #[test]
    fn row_groups_stay_whole() {
        let groups = [(100, 60), (100, 60), (50, 10), (7, 200), (3, 1)];
        assert_eq!(by_row_groups(&groups, 100), [range(0, 200), range(200, 257), range(257, 260)]);
        assert_eq!(by_row_groups(&groups, 1 << 30), [range(0, 260)]);
        assert_eq!(by_row_groups(&[], 100), [range(0, 0)]);
    }
}
