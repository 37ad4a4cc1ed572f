//! Rows that wait on disk: a lane's scratch file.
//!
//! The file is unlinked when it is opened and no part of the state: a crash re-reads the source.
//! Each spill is a run sorted by Hive partition, cut into small Arrow IPC messages, so that the
//! flush merges the runs partition by partition and reads each message once. Nothing is compressed:
//! the file lives for one epoch, mostly in the page cache, and lz4 costs more than it saves.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions, write_message};
use arrow::ipc::{Block, MetadataVersion};

use super::layout::Bucket;
use super::rows::{Piece, blocks};
use super::table::compact;
use crate::error::{Error, ErrorKind, Result, ResultExt};

/// Rows of one message: few, because the merge holds one of each run in memory.
const MESSAGE_ROWS: usize = 1024;
/// From so many runs on, messages become smaller.
const MANY_RUNS: usize = 16;
/// Rows of one Hive partition that are read back at once.
const PART_ROWS: usize = 32 * 1024;
/// Smaller messages than this cost more than they save.
const LEAST_MESSAGE_ROWS: usize = 128;

/// One Arrow IPC message in the file.
#[derive(Debug)]
struct Message {
    offset: u64,
    metadata_length: usize,
    body_length: usize,
    /// Which rows belong to which Hive partition, ascending.
    slices: Vec<(Bucket, usize, usize)>,
}

/// A lane's scratch file.
#[derive(Debug)]
pub(super) struct Scratch {
    file: File,
    folder: String,
    schema: SchemaRef,
    end: u64,
    runs: Vec<Vec<Message>>,
}

impl Scratch {
    /// A new file in `folder`, which is made if it is not there.
    pub(super) fn create(folder: &Path, schema: &SchemaRef) -> Result<Self> {
        let file = std::fs::create_dir_all(folder)
            .and_then(|()| tempfile::tempfile_in(folder))
            .or_error(ErrorKind::Retryable, || {
                format!("cannot make a scratch file in {}", folder.display())
            })?;
        let folder = folder.display().to_string();
        Ok(Self { file, folder, schema: schema.clone(), end: 0, runs: Vec::new() })
    }

    /// Add a run: the rows of each Hive partition, the partitions ascending.
    pub(super) fn spill(&mut self, rows: Vec<(Bucket, Vec<Piece>)>) -> Result<()> {
        let message_rows =
            (MESSAGE_ROWS / (1 + self.runs.len() / MANY_RUNS)).max(LEAST_MESSAGE_ROWS);
        let mut run = Vec::new();
        let mut message: Vec<(Bucket, Piece)> = Vec::new();
        let mut waiting = 0;
        for (bucket, pieces) in rows {
            for piece in pieces {
                waiting += piece.len();
                message.push((bucket, piece));
                if waiting >= message_rows {
                    waiting = 0;
                    run.push(self.append(&std::mem::take(&mut message))?);
                }
            }
        }
        if !message.is_empty() {
            run.push(self.append(&message)?);
        }
        self.runs.push(run);
        Ok(())
    }

    fn append(&mut self, pieces: &[(Bucket, Piece)]) -> Result<Message> {
        let mut slices: Vec<(Bucket, usize, usize)> = Vec::new();
        let mut rows = 0;
        for (bucket, piece) in pieces {
            match slices.last_mut() {
                Some((last, _, length)) if last == bucket => *length += piece.len(),
                _ => slices.push((*bucket, rows, piece.len())),
            }
            rows += piece.len();
        }
        let pieces: Vec<_> = pieces.iter().map(|(_, piece)| piece.clone()).collect();
        let (bytes, metadata_length) = self
            .encode(&pieces)
            .or_error(ErrorKind::Fatal, || "cannot encode rows for the scratch file".to_owned())?;
        self.file.write_all_at(&bytes, self.end).or_error(ErrorKind::Retryable, || {
            format!("cannot write to the scratch file in {}", self.folder)
        })?;
        let offset = self.end;
        self.end += bytes.len() as u64;
        Ok(Message { offset, metadata_length, body_length: bytes.len() - metadata_length, slices })
    }

    fn encode(&self, pieces: &[Piece]) -> Result<(Vec<u8>, usize), ArrowError> {
        let parts = blocks(pieces, &self.schema)?;
        let batch = arrow::compute::concat_batches(&self.schema, &parts)?;
        let options = IpcWriteOptions::default();
        let (_, encoded) = IpcDataGenerator::default().encode(
            &compact(&batch)?,
            &mut DictionaryTracker::new(true),
            &options,
            &mut Default::default(),
        )?;
        let mut bytes = Vec::new();
        let (metadata_length, _) = write_message(&mut bytes, encoded, &options)?;
        Ok((bytes, metadata_length))
    }

    fn read(&self, message: &Message) -> Result<RecordBatch> {
        let length = message.metadata_length + message.body_length;
        let mut bytes = Vec::with_capacity(length);
        // Unlike `read_exact_at` this needs no zeroes first; only the merge reads, so nothing else
        // moves the file's position.
        let read = (&self.file)
            .seek(SeekFrom::Start(message.offset))
            .and_then(|_| (&self.file).take(length as u64).read_to_end(&mut bytes))
            .or_error(ErrorKind::Retryable, || {
                format!("cannot read the scratch file in {}", self.folder)
            })?;
        if read < length {
            return Err(Error::fatal("the scratch file is cut short"));
        }
        let block = Block::new(0, message.metadata_length as i32, message.body_length as i64);
        FileDecoder::new(self.schema.clone(), MetadataVersion::V5)
            .read_record_batch(&block, &Buffer::from_vec(bytes))
            .or_error(ErrorKind::Fatal, || "the scratch file is damaged".to_owned())?
            .ok_or_else(|| Error::fatal("the scratch file holds an empty message"))
    }

    /// Read everything back, Hive partition by Hive partition.
    pub(super) fn into_merge(self) -> Merge {
        let cursors = self.runs.iter().map(|_| Cursor::default()).collect();
        Merge { scratch: Arc::new(self), cursors }
    }
}

/// Where the merge stands in one run.
#[derive(Debug, Default)]
struct Cursor {
    message: usize,
    slice: usize,
    batch: Option<RecordBatch>,
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
    scratch: Arc<Scratch>,
    cursors: Vec<Cursor>,
}

impl Merge {
    /// The rows of the next Hive partitions, ascending, at least `rows` of them while there are as
    /// many; empty at the end. A Hive partition of far more rows than [`PART_ROWS`] comes in parts,
    /// one after the other, so that it is never in memory whole.
    pub(super) fn next_group(&mut self, rows: usize) -> Result<Vec<Part>> {
        let mut group = Vec::new();
        let mut read = 0;
        while read < rows {
            let Some(bucket) = self.peek() else { break };
            let pieces = self.take(bucket)?;
            read += pieces.iter().map(Piece::len).sum::<usize>();
            let is_last = self.peek() != Some(bucket);
            group.push(Part { bucket, pieces, is_last });
            if !is_last {
                break;
            }
        }
        Ok(group)
    }

    fn peek(&self) -> Option<Bucket> {
        let next = |(run, cursor): (&Vec<Message>, &Cursor)| {
            run.get(cursor.message)?.slices.get(cursor.slice).map(|(bucket, _, _)| *bucket)
        };
        self.scratch.runs.iter().zip(&self.cursors).filter_map(next).min()
    }

    fn take(&mut self, bucket: Bucket) -> Result<Vec<Piece>> {
        let scratch = self.scratch.clone();
        let (mut pieces, mut rows) = (Vec::new(), 0);
        for (run, cursor) in scratch.runs.iter().zip(&mut self.cursors) {
            while let Some(message) = run.get(cursor.message)
                && let Some(&(found, start, length)) = message.slices.get(cursor.slice)
                && found == bucket
                && rows < PART_ROWS
            {
                rows += length;
                let batch = match cursor.batch.take() {
                    Some(batch) => batch,
                    None => scratch.read(message)?,
                };
                pieces.push(Piece::Read(batch.slice(start, length)));
                cursor.slice += 1;
                if cursor.slice == message.slices.len() {
                    *cursor = Cursor { message: cursor.message + 1, slice: 0, batch: None };
                } else {
                    cursor.batch = Some(batch);
                }
            }
        }
        Ok(pieces)
    }
}
