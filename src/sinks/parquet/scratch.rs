//! Rows that wait on disk: a lane's scratch file.
//!
//! The file is unlinked when it is opened and no part of the state: a crash re-reads the source.
//! Each spill is a run of packed rows sorted by Hive partition, so the flush reads the runs side by
//! side and each byte once. Nothing is compressed: the file lives for one epoch, mostly in the page
//! cache, and lz4 costs more than it saves.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use arrow::buffer::Buffer;

use super::layout::Bucket;
use super::packing::{PackedRows, Packing};
use super::rows::Piece;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 512 << 10;

/// Rows of one Hive partition that stand together in the file.
#[derive(Debug)]
struct Slice {
    bucket: Bucket,
    offset: u64,
    length: usize,
    rows: usize,
    /// CRC-32 of the bytes.
    checksum: u32,
}

/// A lane's scratch file.
#[derive(Debug)]
pub(super) struct Scratch {
    file: File,
    folder: String,
    packing: Arc<Packing>,
    end: u64,
    /// The slices of each spill, ascending by Hive partition, one after the other in the file.
    runs: Vec<Vec<Slice>>,
}

/// A spill that is being written.
struct Run<'a> {
    scratch: &'a mut Scratch,
    bytes: Vec<u8>,
    /// Where in `bytes` the open slice starts.
    start: usize,
    rows: usize,
    slices: Vec<Slice>,
}

impl Scratch {
    /// A new file in `folder`, which is made if it is not there.
    pub(super) fn create(folder: &Path, packing: &Arc<Packing>) -> Result<Self> {
        let file = std::fs::create_dir_all(folder)
            .and_then(|()| tempfile::tempfile_in(folder))
            .or_error(ErrorKind::Retryable, || {
                format!("cannot make a scratch file in {}", folder.display())
            })?;
        let folder = folder.display().to_string();
        Ok(Self { file, folder, packing: packing.clone(), end: 0, runs: Vec::new() })
    }

    /// Add a run: the rows of each Hive partition, the partitions ascending.
    pub(super) fn spill(&mut self, rows: Vec<(Bucket, Vec<Piece>)>) -> Result<()> {
        let packing = self.packing.clone();
        let bytes = Vec::with_capacity(WRITE_BYTES * 2);
        let mut run = Run { scratch: self, bytes, start: 0, rows: 0, slices: Vec::new() };
        for (bucket, pieces) in rows {
            for piece in pieces {
                let packed = piece.packed(&packing).or_error(ErrorKind::Fatal, || {
                    "cannot pack rows for the scratch file".to_owned()
                })?;
                run.bytes.extend_from_slice(&packed.bytes);
                run.rows += packed.rows;
                if run.bytes.len() >= WRITE_BYTES {
                    run.end_slice(bucket);
                    run.write()?;
                }
            }
            run.end_slice(bucket);
        }
        run.write()?;
        let slices = run.slices;
        self.runs.push(slices);
        Ok(())
    }

    /// Bytes in the file.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Read slices that stand one after the other.
    fn read(&self, slices: &[Slice]) -> Result<Vec<PackedRows>> {
        let Some(first) = slices.first() else { return Ok(Vec::new()) };
        let length = slices.iter().map(|slice| slice.length).sum();
        let mut bytes = Vec::with_capacity(length);
        // Unlike `read_exact_at` this needs no zeroes first; only the merge reads, so nothing else
        // moves the file's position.
        let read = (&self.file)
            .seek(SeekFrom::Start(first.offset))
            .and_then(|_| (&self.file).take(length as u64).read_to_end(&mut bytes))
            .or_error(ErrorKind::Retryable, || {
                format!("cannot read the scratch file in {}", self.folder)
            })?;
        if read < length {
            return Err(Error::fatal("the scratch file is cut short"));
        }
        let bytes = Buffer::from_vec(bytes);
        let mut packed = Vec::with_capacity(slices.len());
        let mut start = 0;
        for slice in slices {
            let bytes = bytes.slice_with_length(start, slice.length);
            let checksum = Some(slice.checksum);
            packed.push(PackedRows { bytes, rows: slice.rows, checksum });
            start += slice.length;
        }
        Ok(packed)
    }

    /// Read everything back, Hive partition by Hive partition.
    pub(super) fn into_merge(self) -> Merge {
        Merge { next: vec![0; self.runs.len()], scratch: self }
    }
}

impl Run<'_> {
    /// Rows of another Hive partition follow, or none.
    fn end_slice(&mut self, bucket: Bucket) {
        let bytes = self.bytes.get(self.start..).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        self.slices.push(Slice {
            bucket,
            offset: self.scratch.end + self.start as u64,
            length: bytes.len(),
            rows: std::mem::take(&mut self.rows),
            checksum: crc32fast::hash(bytes),
        });
        self.start = self.bytes.len();
    }

    /// Write what has come together; no slice is open.
    fn write(&mut self) -> Result<()> {
        let Scratch { file, folder, end, .. } = &mut *self.scratch;
        file.write_all_at(&self.bytes, *end).or_error(ErrorKind::Retryable, || {
            format!("cannot write to the scratch file in {folder}")
        })?;
        *end += self.bytes.len() as u64;
        self.bytes.clear();
        self.start = 0;
        Ok(())
    }
}

/// Rows of one Hive partition that were read back, oldest first.
#[derive(Debug)]
pub(super) struct Part {
    /// The Hive partition.
    pub(super) bucket: Bucket,
    /// The rows.
    pub(super) pieces: Vec<Piece>,
    /// Nothing more of it is in the file.
    pub(super) is_last: bool,
}

/// Reads the runs of a scratch file side by side.
#[derive(Debug)]
pub(super) struct Merge {
    scratch: Scratch,
    /// The slice of each run that comes next.
    next: Vec<usize>,
}

impl Merge {
    /// The rows of the next Hive partitions, ascending, at least `rows` of them while there are as
    /// many; empty at the end. A Hive partition of far more rows comes in parts, one after the other,
    /// so that it is never in memory whole.
    pub(super) fn next_group(&mut self, rows: usize) -> Result<Vec<Part>> {
        let begin = self.next.clone();
        let mut parts = Vec::new();
        // Of each part, how many slices come from each run.
        let mut counts: Vec<Vec<usize>> = Vec::new();
        let mut planned = 0;
        while planned < rows {
            let Some(bucket) = self.peek() else { break };
            counts.push(self.plan(bucket, rows, &mut planned));
            let is_last = self.peek() != Some(bucket);
            parts.push(Part { bucket, pieces: Vec::new(), is_last });
            if !is_last {
                break;
            }
        }
        for (number, (&begin, &end)) in begin.iter().zip(&self.next).enumerate() {
            let slices = self.scratch.runs.get(number).and_then(|run| run.get(begin..end));
            let mut read = self.scratch.read(slices.unwrap_or_default())?.into_iter();
            for (part, counts) in parts.iter_mut().zip(&counts) {
                let count = counts.get(number).copied().unwrap_or_default();
                let pieces = read.by_ref().take(count);
                part.pieces.extend(pieces.map(|packed| Piece::Packed { packed, _charge: None }));
            }
        }
        Ok(parts)
    }

    fn peek(&self) -> Option<Bucket> {
        let next = |(run, next): (&Vec<Slice>, &usize)| run.get(*next).map(|slice| slice.bucket);
        self.scratch.runs.iter().zip(&self.next).filter_map(next).min()
    }

    /// Step over the slices of `bucket`, up to about `most` rows; how many of each run they are.
    fn plan(&mut self, bucket: Bucket, most: usize, planned: &mut usize) -> Vec<usize> {
        let mut rows = 0;
        let mut counts = Vec::with_capacity(self.next.len());
        for (run, next) in self.scratch.runs.iter().zip(&mut self.next) {
            let begin = *next;
            while rows < most
                && let Some(slice) = run.get(*next)
                && slice.bucket == bucket
            {
                rows += slice.rows;
                *next += 1;
            }
            counts.push(*next - begin);
        }
        *planned += rows;
        counts
    }
}

#[cfg(test)]
#[path = "scratch_tests.rs"]
mod tests;
