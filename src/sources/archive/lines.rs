//! A stream of bytes as batches of whole lines.

use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memrchr};

use super::oversized::OversizedLine;
use super::ranges::Range;
use super::streams::ByteStream;
use crate::component::source::{Oversized, RecordPositions};
use crate::component::{RawBatch, RawContent, RawRecords};
use crate::error::{Error, Result};
use crate::event::{Position, PositionRange};
use crate::memory::{Charge, MemoryBudget};

/// Bytes read in one go, and so the size of a batch.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes read in one go beyond the end of a range, where the end of its last line is looked for.
const OVERRUN_BYTES: usize = 64 << 10;
/// A line must fit one buffer, whose places have 32 bits.
const MAX_RECORD_BYTES: u64 = 1 << 30;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Sizes that a reader goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineLimits {
    /// Bytes of a batch.
    pub(super) chunk_bytes: usize,
    /// Longest line that is held.
    pub(super) record_bytes: usize,
}

impl LineLimits {
    pub(super) fn new(max_record_size: u64) -> Self {
        let record_bytes = usize::try_from(max_record_size.min(MAX_RECORD_BYTES));
        Self { chunk_bytes: CHUNK_BYTES, record_bytes: record_bytes.unwrap_or(usize::MAX >> 1) }
    }
}

/// Gives the lines that begin in one range of a stream, from a position on.
///
/// A line belongs to the range in which it begins, so ranges that meet share out the lines of a
/// file: each reads its last line to its end, and the next one first looks for the byte after a
/// newline. Batches chain: each covers every byte from the end of the one before it.
pub(super) struct LineReader<S> {
    stream: S,
    limits: LineLimits,
    memory: Arc<MemoryBudget>,
    /// Where the next batch's range begins.
    next: u64,
    /// Where `buffer` begins in the stream.
    position: u64,
    /// Bytes that were read and not given out.
    buffer: Vec<u8>,
    /// End of the range.
    to: Option<u64>,
    /// The stream stands inside a line that belongs to the range before.
    inside_line: bool,
    /// The stream has no more bytes, or failed.
    at_end: bool,
    failed: Option<Error>,
    /// Where a line began that is too long to be held, and what was read of it.
    long: Option<(u64, OversizedLine)>,
    finished: bool,
}

impl<S: ByteStream> LineReader<S> {
    /// Where a stream must begin for a reader of `range` from `from` on: the range's own first byte
    /// says only together with the one before it whether a line begins there.
    pub(super) fn stream_start(range: Range, from: u64) -> u64 {
        if from == range.from { from.saturating_sub(1) } else { from }
    }

    /// Read `range` from `from` on: its first byte, or where a batch of it ended. `stream` begins
    /// at [`Self::stream_start`].
    pub(super) fn new(
        stream: S,
        range: Range,
        from: u64,
        limits: LineLimits,
        memory: Arc<MemoryBudget>,
    ) -> Self {
        let position = Self::stream_start(range, from);
        Self {
            stream,
            limits,
            memory,
            next: from,
            position,
            buffer: Vec::new(),
            to: range.to,
            inside_line: position < from,
            at_end: false,
            failed: None,
            long: None,
            finished: range.to.is_some_and(|to| from >= to),
        }
    }

    /// Stored bytes that were read from the file.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.stream.stored_bytes()
    }

    /// The next batch; `None` at the end. Asked again after a retryable error it goes on as if
    /// nothing had been; after another it is not to be asked.
    pub(super) fn next(&mut self) -> Result<Option<RawBatch>> {
        if self.finished {
            return Ok(None);
        }
        if self.inside_line {
            self.skip_line()?;
            self.inside_line = false;
        }
        loop {
            if self.long.is_some() {
                let oversized = self.stream_line()?;
                return Ok(self.give_out(0, vec![oversized]));
            }
            if self.owned().is_some_and(|owned| owned == 0) {
                // The line before, or an oversized one, went on beyond the end of the range.
                self.finished = true;
                return Ok(self.give_out(0, Vec::new()));
            }
            self.fill();
            if let Some((end, finished)) = self.complete_lines() {
                self.finished = finished;
                return Ok(self.give_out(end, Vec::new()));
            }
            if self.failed.is_some() {
                return self.failure().map(|()| None);
            }
            if self.buffer.len() > self.limits.record_bytes.saturating_add(1) {
                self.begin_long_line();
            }
        }
    }

    /// Bytes of the buffer's beginning in which a line may begin that belongs to the range.
    fn owned(&self) -> Option<usize> {
        self.to.map(|to| usize::try_from(to.saturating_sub(self.position)).unwrap_or(usize::MAX))
    }

    /// Bytes to read now, so that the buffer holds a chunk, or a whole line.
    fn wanted(&self) -> usize {
        let have = self.buffer.len();
        let goal = if have < self.limits.chunk_bytes {
            self.limits.chunk_bytes
        } else {
            have.saturating_mul(2).min(self.limits.record_bytes.saturating_add(2)).max(have + 1)
        };
        match self.owned() {
            Some(owned) if have < owned => goal.min(owned) - have,
            Some(_) => OVERRUN_BYTES,
            None => goal - have,
        }
    }

    /// Read on. A failure is kept until the whole lines before it are given out.
    fn fill(&mut self) {
        if self.at_end {
            return;
        }
        let wanted = self.wanted();
        match self.stream.fill(&mut self.buffer, wanted) {
            Ok(0) => self.at_end = true,
            Ok(_) => {}
            Err(error) => {
                self.at_end = true;
                self.failed = Some(error);
            }
        }
    }

    /// Hand over the failure that was kept, if one was. Behind a retryable one the stream goes on.
    fn failure(&mut self) -> Result<()> {
        let Some(error) = self.failed.take() else { return Ok(()) };
        self.at_end = !error.is_retryable();
        Err(error)
    }

    /// The end of the whole lines in the buffer that belong to the range, and whether they are its
    /// last ones. `None`: no line is whole yet.
    fn complete_lines(&self) -> Option<(usize, bool)> {
        if let Some(owned) = self.owned()
            && let Some(beyond) = self.buffer.get(owned.saturating_sub(1)..)
            && let Some(at) = memchr(b'\n', beyond)
        {
            return Some((owned.saturating_sub(1) + at + 1, true));
        }
        if self.at_end && self.failed.is_none() {
            // A last line without a newline is a record: if it is only half of one, the decoder
            // says so.
            return Some((self.buffer.len(), true));
        }
        memrchr(b'\n', &self.buffer).map(|at| (at + 1, false))
    }

    /// Hand out the first `end` bytes of the buffer. `None` where that moves nothing.
    fn give_out(&mut self, end: usize, oversized: Vec<Oversized>) -> Option<RawBatch> {
        let capacity = if self.finished { 0 } else { self.limits.chunk_bytes };
        let tail = self.buffer.get(end..).unwrap_or_default();
        let mut rest = Vec::with_capacity(capacity.max(tail.len()));
        rest.extend_from_slice(tail);
        let mut data = std::mem::replace(&mut self.buffer, rest);
        data.truncate(end);
        if data.len() < data.capacity() / 2 {
            // A short end of a file must not keep a whole chunk alive.
            data.shrink_to_fit();
        }
        let start = self.position;
        let (spans, mut too_long) = find_records(&data, start, self.limits.record_bytes);
        too_long.extend(oversized);
        self.position += end as u64;
        let range =
            PositionRange::new(Position::Offset(self.next), Position::Offset(self.position));
        let bytes = self.position - self.next;
        self.next = self.position;
        (bytes > 0).then(|| RawBatch {
            range,
            bytes,
            content: RawContent::Records(RawRecords {
                data: charged(data, &self.memory),
                spans,
                positions: RecordPositions::Bytes { start },
                oversized: too_long,
                messages: None,
            }),
        })
    }

    fn skip_line(&mut self) -> Result<()> {
        self.through_line(|_| {})
    }

    fn begin_long_line(&mut self) {
        if self.position == 0 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.drain(..BYTE_ORDER_MARK.len());
            self.position += BYTE_ORDER_MARK.len() as u64;
        }
        self.long = Some((self.position, OversizedLine::default()));
    }

    /// Take a line that is too long to be held through its hash, or what is left of it.
    fn stream_line(&mut self) -> Result<Oversized> {
        let (position, mut line) = self.long.take().unwrap_or((self.position, Default::default()));
        match self.through_line(|part| line.push(part)) {
            Ok(()) => Ok(line.finish(position)),
            Err(error) => {
                self.long = Some((position, line));
                Err(error)
            }
        }
    }

    /// Move behind the next newline, or to the end, showing the bytes before it to `see`.
    fn through_line(&mut self, mut see: impl FnMut(&[u8])) -> Result<()> {
        loop {
            if let Some(at) = memchr(b'\n', &self.buffer) {
                see(self.buffer.get(..at).unwrap_or_default());
                self.buffer.drain(..=at);
                self.position += at as u64 + 1;
                return Ok(());
            }
            see(&self.buffer);
            self.position += self.buffer.len() as u64;
            self.buffer.clear();
            if self.at_end {
                return self.failure();
            }
            match self.stream.fill(&mut self.buffer, self.limits.chunk_bytes) {
                Ok(0) => self.at_end = true,
                Ok(_) => {}
                Err(error) => {
                    self.at_end = true;
                    self.failed = Some(error);
                }
            }
        }
    }
}

/// Where each record begins in `data`, and its length: lines without the spaces around them, none
/// for a blank line. Lines longer than `record_bytes` come apart. `position` is that of `data`.
fn find_records(
    data: &[u8],
    position: u64,
    record_bytes: usize,
) -> (Vec<(u32, u32)>, Vec<Oversized>) {
    let mut spans = Vec::with_capacity(data.len() / 512);
    let mut oversized = Vec::new();
    let mut start =
        if position == 0 && data.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let ends = memchr_iter(b'\n', data).chain((!data.ends_with(b"\n")).then_some(data.len()));
    for end in ends {
        let line = data.get(start..end).unwrap_or_default();
        let begin = start;
        start = end + 1;
        // A carriage return is no part of the line; whether it has one must not decide.
        if line.strip_suffix(b"\r").unwrap_or(line).len() > record_bytes {
            let mut long = OversizedLine::default();
            long.push(line);
            oversized.push(long.finish(position + begin as u64));
            continue;
        }
        let leading = line.iter().take_while(|byte| is_space(**byte)).count();
        let trailing = line.iter().rev().take_while(|byte| is_space(**byte)).count();
        if leading < line.len() {
            // A buffer holds no more than a chunk, or one record of at most 1 GiB.
            let place = u32::try_from(begin + leading).unwrap_or(u32::MAX);
            let length = u32::try_from(line.len() - leading - trailing).unwrap_or(u32::MAX);
            spans.push((place, length));
        }
    }
    (spans, oversized)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// Bytes that stay charged as long as anything points into them.
struct Charged {
    data: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

fn charged(data: Vec<u8>, memory: &Arc<MemoryBudget>) -> Bytes {
    if data.is_empty() {
        return Bytes::new();
    }
    let charge = memory.charge(data.capacity());
    Bytes::from_owner(Charged { data, _charge: charge })
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
