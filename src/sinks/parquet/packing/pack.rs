//! From columns to packed rows: once over the columns for the lengths, once for the bytes.

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, GenericByteViewArray, RecordBatch,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::datatypes::{BinaryViewType, ByteViewType, StringViewType};
use arrow::error::ArrowError;
use arrow::row::Rows;

use super::{LENGTH_BYTES, LONG_TEXT, Node, PackedRows, Packing, null_bit};

/// Rows that are written column by column at once: few, so that all of their text and all of their
/// bytes stay in the nearest caches from the first column to the last.
const BLOCK_ROWS: usize = 128;

/// The values of one node, ready to be copied.
struct Leaf {
    values: Values,
    /// Only where there are any; those of a struct hold for its members as well.
    nulls: Option<NullBuffer>,
}

enum Values {
    One(Buffer),
    Two(Buffer),
    Four(Buffer),
    Eight(Buffer),
    Sixteen(Buffer),
    Boolean(BooleanArray),
    Text(GenericByteViewArray<StringViewType>),
    Binary(GenericByteViewArray<BinaryViewType>),
    Lists(Rows),
    None,
}

impl Packing {
    /// Pack the rows of `batch` whose numbers are in `groups`, each at most once, one group after the
    /// other. Gives back the rows of each group; they share one buffer.
    pub(in super::super) fn pack(
        &self,
        batch: &RecordBatch,
        groups: &[Vec<u32>],
    ) -> Result<Vec<PackedRows>, ArrowError> {
        let mut leaves = Vec::with_capacity(self.nodes.len());
        let mut nodes = self.nodes.iter();
        for column in batch.columns() {
            add_leaves(column, None, &mut nodes, &mut leaves)?;
        }
        let lengths = self.lengths(&leaves, batch.num_rows());
        let (starts, ends) = arrange(&lengths, groups)?;
        let total = ends.last().copied().unwrap_or_default() as usize;
        let mut bytes = zeroes(total);
        // In the order of the batch: what is read comes one after the other, only what is written
        // lies scattered, and a processor waits for reads alone.
        let (mut rows, mut cursors) = (Vec::new(), Vec::new());
        for (row, (start, length)) in starts.iter().zip(&lengths).enumerate() {
            if let Some(start) = start {
                put(&mut bytes, *start as usize, &length.to_le_bytes());
                rows.push(row as u32);
                cursors.push(start + self.head() as u32);
            }
        }
        for (rows, cursors) in rows.chunks(BLOCK_ROWS).zip(cursors.chunks_mut(BLOCK_ROWS)) {
            for (number, leaf) in leaves.iter().enumerate() {
                leaf.write_nulls(number, rows, &starts, &mut bytes);
                leaf.write(rows, cursors, &mut bytes);
            }
        }
        Ok(cut(&Buffer::from_vec(bytes), &ends, groups))
    }

    /// Bytes that each row of a batch needs.
    fn lengths(&self, leaves: &[Leaf], rows: usize) -> Vec<u32> {
        let mut lengths = vec![self.head() as u32; rows];
        let rows: Vec<u32> = (0..rows as u32).collect();
        leaves.iter().for_each(|leaf| leaf.add_lengths(&rows, &mut lengths));
        lengths
    }
}

/// Where each row starts, which is nowhere for a row that is in no group, and where each group ends.
fn arrange(
    lengths: &[u32],
    groups: &[Vec<u32>],
) -> Result<(Vec<Option<u32>>, Vec<u32>), ArrowError> {
    let mut starts = vec![None; lengths.len()];
    let mut ends = Vec::with_capacity(groups.len());
    let mut at = 0_u32;
    for group in groups {
        for &row in group {
            let row = row as usize;
            if let (Some(start), Some(&length)) = (starts.get_mut(row), lengths.get(row)) {
                *start = Some(at);
                at = at.checked_add(length).ok_or_else(|| {
                    ArrowError::ComputeError("a batch has more than 4 GiB of rows".to_owned())
                })?;
            }
        }
        ends.push(at);
    }
    Ok((starts, ends))
}

/// The rows of each group, which stand one after the other.
fn cut(bytes: &Buffer, ends: &[u32], groups: &[Vec<u32>]) -> Vec<PackedRows> {
    let mut start = 0;
    let rows = |(group, &end): (&Vec<u32>, &u32)| {
        let bytes = bytes.slice_with_length(start, end as usize - start);
        start = end as usize;
        PackedRows { bytes, rows: group.len(), checksum: None }
    };
    groups.iter().zip(ends).map(rows).collect()
}

fn add_leaves<'a>(
    array: &ArrayRef,
    outer: Option<&NullBuffer>,
    nodes: &mut impl Iterator<Item = &'a Node>,
    leaves: &mut Vec<Leaf>,
) -> Result<(), ArrowError> {
    let nulls = NullBuffer::union(outer, array.nulls()).filter(|nulls| nulls.null_count() > 0);
    let node = nodes.next().ok_or_else(|| {
        ArrowError::SchemaError("a batch has more columns than its table".to_owned())
    })?;
    let values = match node {
        Node::Number(width) => numbers(array, *width)?,
        Node::Boolean => Values::Boolean(array.as_boolean().clone()),
        Node::Text => Values::Text(array.as_string_view().clone()),
        Node::Binary => Values::Binary(array.as_binary_view().clone()),
        Node::List(rows) => {
            Values::Lists(rows.converter.convert_columns(std::slice::from_ref(array))?)
        }
        Node::Struct => Values::None,
    };
    leaves.push(Leaf { values, nulls: nulls.clone() });
    if let Node::Struct = node {
        for member in array.as_struct().columns() {
            add_leaves(member, nulls.as_ref(), nodes, leaves)?;
        }
    }
    Ok(())
}

/// The bytes of an array of numbers.
fn numbers(array: &ArrayRef, width: usize) -> Result<Values, ArrowError> {
    let data = array.to_data();
    let buffer = data.buffers().first().ok_or_else(|| {
        ArrowError::ComputeError(format!("a column of {} has no values", data.data_type()))
    })?;
    let values = buffer.slice_with_length(data.offset() * width, data.len() * width);
    Ok(match width {
        1 => Values::One(values),
        2 => Values::Two(values),
        4 => Values::Four(values),
        8 => Values::Eight(values),
        _ => Values::Sixteen(values),
    })
}

impl Leaf {
    /// Add to `lengths` what the values of `rows` need.
    fn add_lengths(&self, rows: &[u32], lengths: &mut [u32]) {
        let mut add = |length: u32| self.each(rows, lengths, |_, sum| sum.saturating_add(length));
        match &self.values {
            Values::One(_) | Values::Boolean(_) => add(1),
            Values::Two(_) => add(2),
            Values::Four(_) => add(4),
            Values::Eight(_) => add(8),
            Values::Sixteen(_) => add(16),
            Values::Text(text) => self.each(rows, lengths, |row, sum| {
                sum.saturating_add(text_length(text.views().get(row).copied()))
            }),
            Values::Binary(bytes) => self.each(rows, lengths, |row, sum| {
                sum.saturating_add(text_length(bytes.views().get(row).copied()))
            }),
            Values::Lists(lists) => self.each(rows, lengths, |row, sum| {
                let list = lists.row(row).data().len();
                sum.saturating_add((list + LENGTH_BYTES) as u32)
            }),
            Values::None => {}
        }
    }

    /// Set the bit of node `number` in each of `rows` that is null; `starts` says where they start.
    fn write_nulls(&self, number: usize, rows: &[u32], starts: &[Option<u32>], bytes: &mut [u8]) {
        let Some(nulls) = &self.nulls else { return };
        let (place, bit) = null_bit(number);
        for &row in rows {
            if nulls.is_null(row as usize)
                && let Some(Some(start)) = starts.get(row as usize)
                && let Some(byte) = bytes.get_mut(*start as usize + place)
            {
                *byte |= bit;
            }
        }
    }

    /// Copy the values of `rows` to where their cursors stand.
    fn write(&self, rows: &[u32], cursors: &mut [u32], bytes: &mut [u8]) {
        match &self.values {
            Values::One(values) => self.write_numbers::<1>(values, rows, cursors, bytes),
            Values::Two(values) => self.write_numbers::<2>(values, rows, cursors, bytes),
            Values::Four(values) => self.write_numbers::<4>(values, rows, cursors, bytes),
            Values::Eight(values) => self.write_numbers::<8>(values, rows, cursors, bytes),
            Values::Sixteen(values) => self.write_numbers::<16>(values, rows, cursors, bytes),
            Values::Boolean(values) => self.each(rows, cursors, |row, at| {
                put(bytes, at as usize, &[u8::from(values.value(row))]);
                at + 1
            }),
            Values::Text(text) => self.write_text(text, rows, cursors, bytes),
            Values::Binary(values) => self.write_text(values, rows, cursors, bytes),
            Values::Lists(lists) => self.each(rows, cursors, |row, at| {
                let row = lists.row(row);
                let list = row.data();
                put(bytes, at as usize, &(list.len() as u32).to_le_bytes());
                put(bytes, at as usize + LENGTH_BYTES, list);
                at + (list.len() + LENGTH_BYTES) as u32
            }),
            Values::None => {}
        }
    }

    fn write_numbers<const WIDTH: usize>(
        &self,
        values: &Buffer,
        rows: &[u32],
        cursors: &mut [u32],
        bytes: &mut [u8],
    ) {
        let (values, _) = values.as_slice().as_chunks::<WIDTH>();
        self.each(rows, cursors, |row, at| {
            let place = bytes.get_mut(at as usize..).and_then(<[u8]>::first_chunk_mut::<WIDTH>);
            if let (Some(place), Some(value)) = (place, values.get(row)) {
                *place = *value;
            }
            at + WIDTH as u32
        });
    }

    fn write_text<T: ByteViewType + ?Sized>(
        &self,
        text: &GenericByteViewArray<T>,
        rows: &[u32],
        cursors: &mut [u32],
        bytes: &mut [u8],
    ) {
        self.each(rows, cursors, |row, at| {
            let text: &[u8] = text.value(row).as_ref();
            let length = text.len() as u32;
            let at = match u8::try_from(length) {
                Ok(short) if short != LONG_TEXT => {
                    put(bytes, at as usize, &[short]);
                    at + 1
                }
                _ => {
                    put(bytes, at as usize, &[LONG_TEXT]);
                    put(bytes, at as usize + 1, &length.to_le_bytes());
                    at + 1 + LENGTH_BYTES as u32
                }
            };
            put(bytes, at as usize, text);
            at + length
        });
    }

    /// Replace the number of each of `rows` that has a value here.
    fn each(&self, rows: &[u32], numbers: &mut [u32], mut next: impl FnMut(usize, u32) -> u32) {
        match &self.nulls {
            None => {
                for (number, &row) in numbers.iter_mut().zip(rows) {
                    *number = next(row as usize, *number);
                }
            }
            Some(nulls) => {
                for (number, &row) in numbers.iter_mut().zip(rows) {
                    if nulls.is_valid(row as usize) {
                        *number = next(row as usize, *number);
                    }
                }
            }
        }
    }
}

/// So many zeroes, written as such: to get memory that is zero already, jemalloc gives pages back to
/// the kernel and faults them in again, which takes longer than writing them.
#[allow(clippy::slow_vector_initialization)]
fn zeroes(count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    bytes.resize(count, 0);
    bytes
}

/// Bytes that text of this view takes.
fn text_length(view: Option<u128>) -> u32 {
    let length = view.unwrap_or_default() as u32;
    let head = if length < u32::from(LONG_TEXT) { 1 } else { 1 + LENGTH_BYTES as u32 };
    length.saturating_add(head)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}
