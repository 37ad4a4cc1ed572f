//! How a file is split into ranges, each a partition of its own. Fixed when the file is first
//! listed: a later change of `range_size` does not move a range that a record covers.

use parquet::file::metadata::ParquetMetaData;
use serde::{Deserialize, Serialize};

use super::files::Encoding;
use super::place::OpenFile;
use crate::error::Result;

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

/// How large files are split.
#[derive(Debug, Clone, Copy)]
pub(super) struct Splitting {
    /// Longest range, in bytes.
    pub(super) range_bytes: u64,
    /// Lanes that read at once.
    pub(super) lanes: u64,
}

/// A file is not split further than into ranges of this size for the sake of idle lanes.
const USEFUL_RANGE_BYTES: u64 = 64 << 20;

impl Splitting {
    /// The number of ranges of so many bytes: enough that none is too long and that no lane is idle,
    /// and where they are more than the lanes a multiple of those, so that no lane works on alone at
    /// the end.
    fn parts(self, bytes: u64) -> u64 {
        let lanes = self.lanes.max(1);
        let needed = bytes.div_ceil(self.range_bytes.max(1));
        let parts = needed.max(lanes.min(bytes / USEFUL_RANGE_BYTES)).max(1);
        if parts > lanes { parts.next_multiple_of(lanes) } else { parts }
    }
}

/// Split `file`, of `size` bytes, into ranges.
pub(super) fn split(
    file: &dyn OpenFile,
    size: u64,
    encoding: Encoding,
    splitting: Splitting,
) -> Result<Vec<Range>> {
    match encoding {
        Encoding::Plain => Ok(split_evenly(size, splitting.parts(size))),
        Encoding::Gzip | Encoding::Zstd => Ok(vec![Range { from: 0, to: None }]),
        Encoding::Parquet => {
            let groups = sizes(file.row_groups()?.metadata());
            let bytes: u64 = groups.iter().map(|(_, bytes)| bytes).sum();
            Ok(by_row_groups(&groups, bytes.div_ceil(splitting.parts(bytes))))
        }
    }
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
fn sizes(metadata: &ParquetMetaData) -> Vec<(u64, u64)> {
    let groups = metadata.row_groups().iter();
    groups.map(|group| (unsigned(group.num_rows()), unsigned(group.compressed_size()))).collect()
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
            let ranges = split_evenly(size, Splitting { range_bytes, lanes: 3 }.parts(size));
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
    fn no_lane_is_idle_and_none_works_alone_at_the_end() {
        let parts =
            |mebibytes: u64| Splitting { range_bytes: 1 << 30, lanes: 4 }.parts(mebibytes << 20);
        assert_eq!([1, 63, 127, 128, 255, 256, 1000].map(parts), [1, 1, 1, 2, 3, 4, 4]);
        assert_eq!([2500, 4096, 4097, 8192, 8193].map(parts), [4, 4, 8, 8, 12]);
        let alone = Splitting { range_bytes: 1 << 30, lanes: 1 };
        assert_eq!([1, 1024, 2500].map(|mebibytes: u64| alone.parts(mebibytes << 20)), [1, 1, 3]);
    }

    #[test]
    fn row_groups_stay_whole() {
        let groups = [(100, 60), (100, 60), (50, 10), (7, 200), (3, 1)];
        assert_eq!(by_row_groups(&groups, 100), [range(0, 200), range(200, 257), range(257, 260)]);
        assert_eq!(by_row_groups(&groups, 1 << 30), [range(0, 260)]);
        assert_eq!(by_row_groups(&[], 100), [range(0, 0)]);
    }
}
