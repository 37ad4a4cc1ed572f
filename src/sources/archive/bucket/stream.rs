//! An object from place to place, read ahead.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};

use super::object::{Fetch, Shared};
use crate::error::Result;
use crate::memory::Charge;
use crate::sources::archive::streams::ByteStream;

/// Bytes of one request.
const CHUNK_BYTES: u64 = 2 << 20;
/// Requests ahead of the reader, where memory allows.
const CHUNKS_AHEAD: usize = 4;
/// What a stream may hold ahead: this part of the lane's share of the memory.
const PART_OF_SHARE: usize = 4;
/// Bytes of one request where few are wanted: beyond the end of a range.
const OVERRUN_BYTES: u64 = 64 << 10;

/// How far a stream reads ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// Bytes of one request.
    pub(super) chunk_bytes: u64,
    /// Most requests at once.
    pub(super) chunks: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { chunk_bytes: CHUNK_BYTES, chunks: CHUNKS_AHEAD }
    }
}

/// A chunk on its way.
struct Coming {
    range: Range<u64>,
    fetch: Fetch,
    charge: Charge,
}

/// Gives the bytes of an object in order. The first are asked for when it is made.
pub(super) struct ObjectStream {
    object: Arc<Shared>,
    from: u64,
    /// Where the next byte stands that is given out.
    offset: u64,
    /// Few bytes are wanted from here on.
    until: u64,
    ahead: Ahead,
    /// The rest of the chunk that is given out.
    chunk: Bytes,
    charge: Option<Charge>,
    /// The chunks after it, without a gap.
    coming: VecDeque<Coming>,
    /// Where the next request begins.
    next: u64,
}

impl ObjectStream {
    pub(super) fn new(object: Arc<Shared>, from: u64, until: u64, ahead: Ahead) -> Self {
        let until = until.min(object.listed.size);
        let mut stream = Self {
            object,
            from,
            offset: from,
            until,
            ahead,
            chunk: Bytes::new(),
            charge: None,
            coming: VecDeque::new(),
            next: from,
        };
        stream.ask();
        stream
    }

    /// Ask for what may be asked for now.
    fn ask(&mut self) {
        let share = self.object.context.memory.share() / PART_OF_SHARE;
        let allowed = share / usize::try_from(self.ahead.chunk_bytes).unwrap_or(usize::MAX).max(1);
        while self.next < self.until && self.coming.len() < allowed.clamp(1, self.ahead.chunks) {
            self.request(self.ahead.chunk_bytes, self.until);
        }
        if self.next >= self.until && self.coming.is_empty() && self.chunk.is_empty() {
            // Only when somebody waits for it.
            self.request(OVERRUN_BYTES, self.object.listed.size);
        }
    }

    fn request(&mut self, bytes: u64, end: u64) {
        let range = self.next..self.next.saturating_add(bytes).min(end);
        if range.is_empty() {
            return;
        }
        self.next = range.end;
        let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let charge = self.object.context.memory.charge(length);
        let fetch = self.object.begin(range.clone());
        self.coming.push_back(Coming { range, fetch, charge });
    }

    /// Take the next chunk; false at the end of the object.
    fn advance(&mut self) -> Result<bool> {
        self.charge = None;
        self.ask();
        let Some(mut first) = self.coming.pop_front() else { return Ok(false) };
        match self.object.wait(&mut first.fetch) {
            Ok(bytes) => {
                (self.chunk, self.charge) = (bytes, Some(first.charge));
                self.ask();
                Ok(true)
            }
            Err(error) => {
                // Whoever tries again asks anew.
                self.coming.clear();
                self.next = first.range.start;
                Err(error)
            }
        }
    }
}

impl ByteStream for ObjectStream {
    fn fill(&mut self, buffer: &mut Vec<u8>, bytes: usize) -> Result<usize> {
        let mut filled = 0;
        buffer.reserve_exact(bytes);
        while filled < bytes {
            if self.chunk.is_empty() && !self.advance()? {
                break;
            }
            let part = self.chunk.len().min(bytes - filled);
            buffer.extend_from_slice(self.chunk.get(..part).unwrap_or_default());
            self.chunk.advance(part);
            self.offset += part as u64;
            filled += part;
        }
        Ok(filled)
    }

    fn stored_bytes(&self) -> u64 {
        self.offset - self.from
    }
}
