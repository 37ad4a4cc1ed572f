//! The columns of a Parquet file in a bucket.
//!
//! Row groups that lie together in a few mebibytes come in one request, and the next ones are on
//! their way meanwhile. A larger one comes column by column, each a stream of its own that is read
//! ahead by a part of it: what is held does not grow with the row group.

use std::io::{self, BufReader, Read};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf as _, Bytes};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use super::object::{Fetch, Shared};
use super::stream::{Ahead, ObjectStream};
use crate::error::{Error, Result};
use crate::memory::Charge;
use crate::sources::archive::place::RowGroups;
use crate::sources::archive::rows::{self, Selection};
use crate::sources::archive::streams::ByteStream as _;

/// The end of a file that is asked for first: most footers are shorter.
const FOOTER_BYTES: u64 = 64 << 10;
/// What a footer may say of its own length, which may be damaged: ten thousand row groups of a hundred
/// columns need less.
const MOST_FOOTER_BYTES: u64 = 256 << 20;
/// Row groups that lie together in so many bytes come in one request.
const TOGETHER_BYTES: u64 = 4 << 20;
/// What the columns of a larger one hold and read ahead is divided among them...
const COLUMNS_BYTES: u64 = 4 << 20;
/// ...within these bounds.
const LEAST_CHUNK_BYTES: u64 = 64 << 10;
const MOST_CHUNK_BYTES: u64 = 1 << 20;
/// What the reader of a page's header reads in one go.
const HEADER_BYTES: usize = 256;

type Failure = Arc<Mutex<Option<Error>>>;

/// The row groups of an object.
pub(super) struct Columns {
    object: Arc<Shared>,
    footer: ArrowReaderMetadata,
    /// The row groups that come next, on their way.
    next: Option<Coming>,
    failure: Failure,
}

struct Coming {
    span: Range<u64>,
    fetch: Fetch,
    charge: Charge,
}

impl Columns {
    /// Read the footer.
    pub(super) fn open(object: Arc<Shared>) -> Result<Self> {
        let (size, name) = (object.listed.size, object.name.to_string());
        let damaged = |cause| rows::unreadable_footer(&name, object.phase, cause);
        let mut reader = ParquetMetaDataReader::new();
        let mut wanted = size.min(FOOTER_BYTES);
        loop {
            let bytes = usize::try_from(wanted).unwrap_or(usize::MAX);
            let _charge = object.context.memory.charge(bytes);
            let tail = object.wait(&mut object.begin(size - wanted..size))?;
            match reader.try_parse_sized(&tail, size) {
                Err(ParquetError::NeedMoreData(more))
                    if (wanted + 1..=size.min(MOST_FOOTER_BYTES)).contains(&(more as u64)) =>
                {
                    wanted = more as u64;
                }
                parsed => break parsed.map_err(damaged)?,
            }
        }
        let metadata = reader.finish().map_err(damaged)?;
        let footer = ArrowReaderMetadata::try_new(Arc::new(metadata), Default::default());
        let footer = footer.map_err(damaged)?;
        Ok(Self { footer, next: None, failure: Failure::default(), object })
    }

    fn begin(&self, span: Range<u64>) -> Coming {
        let bytes = usize::try_from(span.end - span.start).unwrap_or(usize::MAX);
        let charge = self.object.context.memory.charge(bytes);
        Coming { fetch: self.object.begin(span.clone()), span, charge }
    }

    /// The bytes of row groups that come in one request; those of `after` come behind them.
    fn whole(&mut self, span: Range<u64>, after: &[usize]) -> Result<Whole> {
        let mut coming = match self.next.take() {
            Some(next) if next.span == span => next,
            _ => self.begin(span.clone()),
        };
        let (_, next) = together(self.footer.metadata(), after);
        self.next = is_small(&next).then(|| self.begin(next));
        let bytes = self.object.wait(&mut coming.fetch)?;
        let size = self.object.listed.size;
        Ok(Whole { bytes, start: span.start, size, _charge: coming.charge })
    }

    /// The columns of one row group, each by itself.
    fn apart(&mut self, group: usize) -> Apart {
        self.next = None;
        let mut ranges = column_ranges(self.footer.metadata(), group);
        ranges.sort_by_key(|range| range.start);
        let chunk_bytes = COLUMNS_BYTES / (ranges.len() as u64).max(1);
        let chunk_bytes = chunk_bytes.clamp(LEAST_CHUNK_BYTES, MOST_CHUNK_BYTES);
        let ahead = Ahead { chunk_bytes, chunks: 1 };
        let column = |range| Column::new(&self.object, range, ahead);
        Apart {
            columns: Arc::new(Mutex::new(ranges.into_iter().map(column).collect())),
            size: self.object.listed.size,
            failure: self.failure.clone(),
        }
    }
}

impl RowGroups for Columns {
    fn metadata(&self) -> &ParquetMetaData {
        self.footer.metadata()
    }

    fn open(&mut self, groups: &[usize], selection: Selection) -> Result<ParquetRecordBatchReader> {
        let (count, span) = together(self.footer.metadata(), groups);
        let (these, after) = groups.split_at_checked(count).unwrap_or((groups, &[]));
        let footer = self.footer.clone();
        let reader = match these {
            [group] if !is_small(&span) => {
                rows::select(self.apart(*group), &footer, these, selection)
            }
            _ => rows::select(self.whole(span, after)?, &footer, these, selection),
        };
        let name = self.object.name.to_string();
        reader.map_err(|cause| self.failure().unwrap_or_else(|| rows::unreadable(&name, cause)))
    }

    fn failure(&mut self) -> Option<Error> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where the columns of a row group lie.
fn column_ranges(metadata: &ParquetMetaData, group: usize) -> Vec<Range<u64>> {
    let columns = metadata.row_groups().get(group).map(|group| group.columns());
    let range = |(start, length): (u64, u64)| start..start.saturating_add(length);
    columns.unwrap_or_default().iter().map(|column| range(column.byte_range())).collect()
}

/// How many of `groups` come in one request, one at least, and where they lie.
fn together(metadata: &ParquetMetaData, groups: &[usize]) -> (usize, Range<u64>) {
    let (mut count, mut whole) = (0, 0..0);
    for group in groups {
        let ranges = column_ranges(metadata, *group);
        let start = ranges.iter().map(|range| range.start).min().unwrap_or_default();
        let end = ranges.iter().map(|range| range.end).max().unwrap_or_default();
        let span = match count {
            0 => start..end,
            _ => start.min(whole.start)..end.max(whole.end),
        };
        if count > 0 && !is_small(&span) {
            break;
        }
        (count, whole) = (count + 1, span);
    }
    (count, whole)
}

fn is_small(span: &Range<u64>) -> bool {
    !span.is_empty() && span.end - span.start <= TOGETHER_BYTES
}

/// Row groups that are held whole.
struct Whole {
    bytes: Bytes,
    start: u64,
    size: u64,
    _charge: Charge,
}

impl Whole {
    fn part(&self, start: u64, length: Option<usize>) -> Result<Bytes, ParquetError> {
        let outside = || ParquetError::EOF(format!("byte {start} lies outside its row group"));
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let from = from.ok_or_else(outside)?;
        let to = length.map_or(Some(self.bytes.len()), |length| from.checked_add(length));
        let to = to.filter(|to| (from..=self.bytes.len()).contains(to)).ok_or_else(outside)?;
        Ok(self.bytes.slice(from..to))
    }
}

impl Length for Whole {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Whole {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        self.part(start, None).map(|bytes| bytes.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.part(start, Some(length))
    }
}

/// The columns of a row group, each read from its beginning to its end.
#[derive(Clone)]
struct Apart {
    columns: Arc<Mutex<Vec<Column>>>,
    size: u64,
    failure: Failure,
}

struct Column {
    object: Arc<Shared>,
    range: Range<u64>,
    ahead: Ahead,
    stream: ObjectStream,
    /// Where `held` begins.
    begin: u64,
    held: Vec<u8>,
}

impl Column {
    fn new(object: &Arc<Shared>, range: Range<u64>, ahead: Ahead) -> Self {
        let stream = ObjectStream::new(object.clone(), range.start, range.end, ahead);
        let (object, begin) = (object.clone(), range.start);
        Self { object, range, ahead, stream, begin, held: Vec::new() }
    }

    /// Hold `length` bytes from `start` on, and nothing before them.
    fn hold(&mut self, start: u64, length: usize) -> Result<()> {
        let Range { end, .. } = self.range;
        let reach = self.begin + self.held.len() as u64 + self.ahead.chunk_bytes;
        if start < self.begin || start > reach {
            // Backwards, or over many pages that nobody wants.
            self.stream = ObjectStream::new(self.object.clone(), start, end, self.ahead);
            self.held.clear();
            self.begin = start;
        }
        let unwanted = usize::try_from(start - self.begin).unwrap_or(usize::MAX);
        let wanted = unwanted.saturating_add(length);
        while self.held.len() < wanted {
            let missing = wanted - self.held.len();
            if self.stream.fill(&mut self.held, missing)? == 0 {
                let cause = ParquetError::EOF(format!("a column goes on at its end, byte {end}"));
                return Err(rows::unreadable(&self.object.name.to_string(), cause));
            }
        }
        self.held.drain(..unwanted);
        self.begin = start;
        Ok(())
    }
}

impl Apart {
    fn columns(&self) -> MutexGuard<'_, Vec<Column>> {
        self.columns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Do `work` with the column that `start` lies in.
    fn with<T>(
        &self,
        start: u64,
        work: impl FnOnce(&mut Column) -> Result<T>,
    ) -> Result<T, ParquetError> {
        let mut columns = self.columns();
        let behind = columns.partition_point(|column| column.range.start <= start);
        let column = behind.checked_sub(1).and_then(|index| columns.get_mut(index));
        let column = column.ok_or_else(|| {
            ParquetError::EOF(format!("byte {start} lies before the columns of its row group"))
        })?;
        work(column).map_err(|error| {
            let shown = error.to_string();
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            ParquetError::General(shown)
        })
    }
}

impl Length for Apart {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Apart {
    type T = BufReader<HeaderReader>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let header = HeaderReader { columns: self.clone(), at: start };
        Ok(BufReader::with_capacity(HEADER_BYTES, header))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.with(start, |column| {
            column.hold(start, length)?;
            let rest = column.held.split_off(length);
            column.begin = start + length as u64;
            Ok(std::mem::replace(&mut column.held, rest).into())
        })
    }
}

/// Reads the header of a page.
struct HeaderReader {
    columns: Apart,
    at: u64,
}

impl Read for HeaderReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let at = self.at;
        let read = self.columns.with(at, |column| {
            let left = usize::try_from(column.range.end.saturating_sub(at)).unwrap_or(usize::MAX);
            let wanted = buffer.len().min(left);
            column.hold(at, wanted)?;
            let (into, held) = (buffer.get_mut(..wanted), column.held.get(..wanted));
            if let (Some(into), Some(held)) = (into, held) {
                into.copy_from_slice(held);
            }
            Ok(wanted)
        });
        let read = read.map_err(io::Error::other)?;
        self.at += read as u64;
        Ok(read)
    }
}
