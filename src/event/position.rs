//! Where a record stands in its stream.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of what a source orders by and one checkpoint record covers: a topic-partition, a
/// shard, a file or a byte range of one. Unique inside its pipeline, stable across runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionId(Arc<str>);

impl PartitionId {
    /// The name as the source gives it.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A place in a partition. Opaque outside the source that made it, and totally ordered within its
/// partition; comparing positions of two partitions means nothing.
///
/// Sources that count (bytes, rows, offsets) use [`Position::Offset`]; shards, whose sequence
/// numbers have 21 to 129 digits, use [`Position::Sequence`], ordered by length and then by text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Position {
    /// A counted place: the next offset to read.
    Offset(u64),
    /// A decimal number kept as text, without leading zeros.
    Sequence(Arc<str>),
}

impl Position {
    /// The counted place, where the source counts.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Offset(offset) => Some(*offset),
            Self::Sequence(_) => None,
        }
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Offset(left), Self::Offset(right)) => left.cmp(right),
            (Self::Sequence(left), Self::Sequence(right)) => {
                left.len().cmp(&right.len()).then_with(|| left.cmp(right))
            }
            (Self::Offset(_), Self::Sequence(_)) => Ordering::Less,
            (Self::Sequence(_), Self::Offset(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(out, "{offset}"),
            Self::Sequence(number) => out.write_str(number),
        }
    }
}

/// The half-open range `[from, to)` of one partition that a batch or an epoch covers, records that
/// were filtered or rejected included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionRange {
    /// Where the range begins.
    pub from: Position,
    /// Where the next range begins.
    pub to: Position,
}

impl PositionRange {
    /// A range; `to` is never below `from`.
    pub fn new(from: Position, to: Position) -> Self {
        debug_assert!(from <= to, "a range runs forwards: {from} to {to}");
        Self { from, to }
    }
    /// True where the range covers nothing.
    pub fn is_empty(&self) -> bool {
        self.from == self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(text: &str) -> Position {
        Position::Sequence(text.into())
    }

    #[test]
    fn sequence_numbers_compare_as_numbers() {
        assert!(sequence("9") < sequence("10"));
        assert!(
            sequence("4905000000000000000000000000000000000002")
                > sequence("4905000000000000000000000000000000000001")
        );
    }

    #[test]
    fn positions_are_plain_in_json() {
        assert_eq!(serde_json::to_string(&Position::Offset(7)).unwrap(), "7");
        assert_eq!(serde_json::from_str::<Position>("\"12\"").unwrap(), sequence("12"));
    }
}
