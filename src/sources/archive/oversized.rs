//! A line that is too long to be held.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::component::source::Oversized;
use crate::event::RawImage;

/// Takes a line in parts and keeps its beginning, length and hash. A carriage return at its very
/// end does not count.
#[derive(Default)]
pub(super) struct OversizedLine {
    kept: Vec<u8>,
    length: u64,
    hash: Sha256,
    carriage_return: bool,
}

impl OversizedLine {
    /// The next part of the line.
    pub(super) fn push(&mut self, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        if std::mem::take(&mut self.carriage_return) {
            self.feed(b"\r");
        }
        match part.strip_suffix(b"\r") {
            Some(part) => {
                self.carriage_return = true;
                self.feed(part);
            }
            None => self.feed(part),
        }
    }

    fn feed(&mut self, part: &[u8]) {
        let room = RawImage::KEPT_BYTES - self.kept.len();
        self.kept.extend_from_slice(part.get(..room).unwrap_or(part));
        self.hash.update(part);
        self.length += part.len() as u64;
    }

    /// What is known of the line that begins at `position`.
    pub(super) fn finish(self, position: u64) -> Oversized {
        let raw = RawImage {
            bytes: Bytes::from(self.kept),
            length: self.length,
            sha256: Some(format!("{:x}", self.hash.finalize())),
        };
        Oversized { position, raw }
    }
}
