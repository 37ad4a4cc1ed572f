//! Records that cannot be processed, kept with everything needed to look at them and try again.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::position::Position;

/// Where a record was refused.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its bytes could not be decoded, or do not fit the contract.
    Decode,
    /// A transform refused it: its index in the pipeline and its kind, `transforms[0].sql`.
    Transform(Arc<str>),
    /// A sink refused it; the letter concerns that sink alone.
    Sink(Arc<str>),
}

impl fmt::Display for Stage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decode => out.write_str("decode"),
            Self::Transform(name) => out.write_str(name),
            Self::Sink(name) => write!(out, "sink:{name}"),
        }
    }
}

/// The record as it came, or its beginning where it is too large to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawImage {
    /// The bytes, or the first 64 KiB of them.
    pub bytes: Bytes,
    /// Length of the whole record in bytes.
    pub length: u64,
    /// SHA-256 of the whole record in hexadecimal, where only its beginning is kept.
    pub sha256: Option<String>,
}

impl RawImage {
    /// Bytes that are kept of a record that is too large.
    pub const KEPT_BYTES: usize = 64 << 10;

    /// A record kept whole.
    pub fn whole(bytes: Bytes) -> Self {
        Self { length: bytes.len() as u64, bytes, sha256: None }
    }
}

/// One refused record. Its identity belongs to the event, never to the lane that carries it.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Where it was refused.
    pub stage: Stage,
    /// Why: names the field, what was expected and what was found.
    pub reason: String,
    /// The record.
    pub raw: RawImage,
    /// `_stream` of the event.
    pub stream: Arc<str>,
    /// `_partition` of the event.
    pub partition: Arc<str>,
    /// `_position` of the event.
    pub position: Position,
    /// `_version` of the event.
    pub version: i64,
    /// `_key`, where decoding came that far.
    pub key: Option<String>,
    /// `_event_time` in microseconds UTC, where decoding came that far.
    pub event_time: Option<i64>,
}
