//! From packed rows to columns, one column after the other. Text stays where it is.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, StructArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::error::ArrowError;

use super::{LENGTH_BYTES, LONG_TEXT, ListRows, Node, PackedRows, Packing, null_bit};
use crate::event::views::Views;

/// Where a value stands.
struct Place<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Number of its buffer.
    buffer: u32,
}

/// Rows while they are unpacked.
struct Cursors<'a> {
    runs: Vec<Run<'a>>,
    /// Where each row starts in its run.
    starts: Vec<u32>,
    /// Where its next value stands.
    cursors: Vec<u32>,
    /// The null bits that any row has.
    nulls: Vec<u8>,
}

struct Run<'a> {
    bytes: &'a [u8],
    rows: usize,
}

impl Packing {
    /// The rows of `runs`, in order. Text and bytes point into the runs' buffers. An error means
    /// that the bytes are not what was packed.
    pub(in super::super) fn unpack(&self, runs: &[PackedRows]) -> Result<RecordBatch, ArrowError> {
        for run in runs {
            if run.checksum.is_some_and(|checksum| crc32fast::hash(&run.bytes) != checksum) {
                return Err(ArrowError::ComputeError(
                    "the scratch file is damaged: the disk does not give back what was written"
                        .to_owned(),
                ));
            }
        }
        let buffers: Vec<Buffer> = runs.iter().map(|run| run.bytes.clone()).collect();
        let mut cursors = Cursors::new(runs, self.head()).ok_or_else(damaged)?;
        let mut nodes = self.nodes.iter().enumerate();
        let fields = self.schema.fields().iter();
        let columns = fields
            .map(|field| cursors.column(field.data_type(), &mut nodes, &buffers))
            .collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.schema.clone(), columns)
    }
}

fn damaged() -> ArrowError {
    ArrowError::ComputeError("packed rows are damaged".to_owned())
}

fn number_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

impl<'a> Cursors<'a> {
    fn new(packed: &'a [PackedRows], head: usize) -> Option<Self> {
        let rows = packed.iter().map(|run| run.rows).sum();
        let mut starts = Vec::with_capacity(rows);
        let mut nulls = vec![0; head];
        for run in packed {
            let bytes = run.bytes.as_slice();
            let mut at = 0;
            for _ in 0..run.rows {
                let start = bytes.get(at..at + head)?;
                for (any, byte) in nulls.iter_mut().zip(start).skip(LENGTH_BYTES) {
                    *any |= byte;
                }
                starts.push(at as u32);
                at += number_at(start, 0)? as usize;
            }
            if at != bytes.len() {
                return None;
            }
        }
        let cursors = starts.iter().map(|start| start + head as u32).collect();
        let runs = packed.iter().map(|run| Run { bytes: run.bytes.as_slice(), rows: run.rows });
        Some(Self { runs: runs.collect(), starts, cursors, nulls })
    }

    /// Read the values of one node: `take` gets where each stands, or nothing for a null, and
    /// answers how many bytes it has.
    fn read(
        &mut self,
        node: usize,
        mut take: impl FnMut(Option<Place<'a>>) -> Option<usize>,
    ) -> Result<Option<NullBuffer>, ArrowError> {
        let (byte, bit) = null_bit(node);
        let nullable = self.nulls.get(byte).is_some_and(|any| any & bit != 0);
        let mut valid = nullable.then(|| BooleanBufferBuilder::new(self.starts.len()));
        let mut rows = self.starts.iter().zip(&mut self.cursors);
        for (buffer, run) in self.runs.iter().enumerate() {
            for (&start, cursor) in rows.by_ref().take(run.rows) {
                let at = *cursor as usize;
                let place = Place { bytes: run.bytes, at, buffer: buffer as u32 };
                let Some(valid) = &mut valid else {
                    *cursor += take(Some(place)).ok_or_else(damaged)? as u32;
                    continue;
                };
                let is_null = run.bytes.get(start as usize + byte).is_some_and(|b| b & bit != 0);
                valid.append(!is_null);
                *cursor += take((!is_null).then_some(place)).ok_or_else(damaged)? as u32;
            }
        }
        Ok(valid.map(|mut valid| NullBuffer::new(valid.finish())))
    }

    /// The column of the next node and those below it.
    fn column<'n>(
        &mut self,
        kind: &DataType,
        nodes: &mut impl Iterator<Item = (usize, &'n Node)>,
        buffers: &[Buffer],
    ) -> Result<ArrayRef, ArrowError> {
        let (number, node) = nodes.next().ok_or_else(damaged)?;
        Ok(match node {
            Node::Number(1) => self.numbers(kind, number, u8::from_le_bytes)?,
            Node::Number(2) => self.numbers(kind, number, u16::from_le_bytes)?,
            Node::Number(4) => self.numbers(kind, number, u32::from_le_bytes)?,
            Node::Number(8) => self.numbers(kind, number, u64::from_le_bytes)?,
            Node::Number(_) => self.numbers(kind, number, i128::from_le_bytes)?,
            Node::Boolean => {
                let mut values = BooleanBufferBuilder::new(self.starts.len());
                let nulls = self.read(number, |place| {
                    let value = place.as_ref().map(|place| place.bytes.get(place.at));
                    values.append(value.flatten().is_some_and(|&value| value != 0));
                    Some(usize::from(place.is_some()))
                })?;
                Arc::new(BooleanArray::new(values.finish(), nulls))
            }
            Node::Text => {
                let (views, nulls) = self.views(number)?;
                Arc::new(views.finish_text(buffers, nulls)?)
            }
            Node::Binary => {
                let (views, nulls) = self.views(number)?;
                Arc::new(views.finish_binary(buffers, nulls)?)
            }
            Node::List(rows) => self.lists(number, rows)?,
            Node::Struct => {
                let DataType::Struct(members) = kind else { return Err(damaged()) };
                let nulls = self.read(number, |_| Some(0))?;
                let columns = members
                    .iter()
                    .map(|member| self.column(member.data_type(), nodes, buffers))
                    .collect::<Result<Vec<_>, _>>()?;
                let rows = self.starts.len();
                let members = members.clone();
                Arc::new(StructArray::try_new_with_length(members, columns, nulls, rows)?)
            }
        })
    }

    fn numbers<T: ArrowNativeType, const WIDTH: usize>(
        &mut self,
        kind: &DataType,
        node: usize,
        from_bytes: fn([u8; WIDTH]) -> T,
    ) -> Result<ArrayRef, ArrowError> {
        let mut values: Vec<T> = Vec::with_capacity(self.starts.len());
        let nulls = self.read(node, |place| {
            let Some(Place { bytes, at, .. }) = place else {
                values.push(T::default());
                return Some(0);
            };
            values.push(from_bytes(*bytes.get(at..)?.first_chunk::<WIDTH>()?));
            Some(WIDTH)
        })?;
        let data = ArrayData::builder(kind.clone())
            .len(values.len())
            .nulls(nulls)
            .add_buffer(Buffer::from_vec(values));
        Ok(make_array(data.build()?))
    }

    fn views(&mut self, node: usize) -> Result<(Views, Option<NullBuffer>), ArrowError> {
        let mut views = Views::with_capacity(self.starts.len());
        let nulls = self.read(node, |place| {
            let Some(Place { bytes, at, buffer }) = place else {
                views.push_null();
                return Some(0);
            };
            let (length, text) = match *bytes.get(at)? {
                LONG_TEXT => (number_at(bytes, at + 1)? as usize, at + 1 + LENGTH_BYTES),
                short => (usize::from(short), at + 1),
            };
            views.push(bytes.get(text..text + length)?, buffer, text as u32);
            Some(text + length - at)
        })?;
        Ok((views, nulls))
    }

    fn lists(&mut self, node: usize, rows: &ListRows) -> Result<ArrayRef, ArrowError> {
        let parser = rows.converter.parser();
        let mut lists = Vec::with_capacity(self.starts.len());
        self.read(node, |place| {
            let Some(Place { bytes, at, .. }) = place else {
                lists.push(parser.parse(&rows.null));
                return Some(0);
            };
            let length = number_at(bytes, at)? as usize;
            let list = at + LENGTH_BYTES;
            lists.push(parser.parse(bytes.get(list..list + length)?));
            Some(LENGTH_BYTES + length)
        })?;
        rows.converter.convert_rows(lists)?.pop().ok_or_else(damaged)
    }
}
