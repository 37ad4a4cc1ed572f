//! Text that is not copied: views into buffers that somebody else filled.

use arrow::array::{BinaryViewArray, StringViewArray};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::error::ArrowError;

/// Text of at most this many bytes lies inside its view.
const INLINE: usize = 12;

/// Views of text or bytes, in the making. A null takes the place of an empty value.
#[derive(Debug, Default)]
pub struct Views {
    views: Vec<u128>,
    /// A view points into a buffer.
    long: bool,
}

/// The view of `bytes`, which stand at `offset` of buffer number `buffer` (Arrow's columnar format,
/// "Variable-size Binary View Layout").
#[inline]
fn view_of(bytes: &[u8], buffer: u32, offset: u32) -> u128 {
    let length = bytes.len() as u32;
    if bytes.len() > INLINE
        && let Some(&prefix) = bytes.first_chunk::<4>()
    {
        let prefix = u128::from(u32::from_le_bytes(prefix)) << 32;
        return u128::from(length) | prefix | u128::from(buffer) << 64 | u128::from(offset) << 96;
    }
    u128::from(length) | inline(bytes) << 32
}

/// Up to twelve bytes as a number. Two loads that may overlap each other, instead of a loop: the
/// bits that both have are the same.
#[inline]
fn inline(bytes: &[u8]) -> u128 {
    if let (Some(start), Some(end)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let end = u128::from(u64::from_le_bytes(*end));
        return u128::from(u64::from_le_bytes(*start)) | end << (8 * (bytes.len() - 8));
    }
    if let (Some(start), Some(end)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let end = u128::from(u32::from_le_bytes(*end));
        return u128::from(u32::from_le_bytes(*start)) | end << (8 * (bytes.len() - 4));
    }
    let place = |number: u128, &byte: &u8| number << 8 | u128::from(byte);
    bytes.iter().rev().fold(0, place)
}

impl Views {
    /// No views yet, with room for `rows`.
    pub fn with_capacity(rows: usize) -> Self {
        Self { views: Vec::with_capacity(rows), long: false }
    }
    /// Add a value. For a text column `bytes` are those of a `str`, and stand at `offset` of the
    /// buffer of that number: [`Views::finish_text`] relies on it.
    #[inline]
    pub fn push(&mut self, bytes: &[u8], buffer: u32, offset: u32) {
        self.long |= bytes.len() > INLINE;
        self.views.push(view_of(bytes, buffer, offset));
    }
    /// Add a null.
    pub fn push_null(&mut self) {
        self.views.push(0);
    }
    /// Values so far.
    pub fn len(&self) -> usize {
        self.views.len()
    }
    /// There is no value.
    pub fn is_empty(&self) -> bool {
        self.views.is_empty()
    }
    /// The view of one row.
    pub fn get(&self, row: usize) -> Option<u128> {
        self.views.get(row).copied()
    }
    /// Forget all values from `length` on.
    pub fn truncate(&mut self, length: usize) {
        self.views.truncate(length);
    }
    /// The text column; `buffers` are left out where no view needs them.
    pub fn finish_text(
        self,
        buffers: &[Buffer],
        nulls: Option<NullBuffer>,
    ) -> Result<StringViewArray, ArrowError> {
        let (views, buffers) = self.into_parts(buffers);
        if cfg!(debug_assertions) {
            return StringViewArray::try_new(views, buffers, nulls);
        }
        // SAFETY: `push` made each view of a `str` that stands where the view says, in a buffer that
        // is kept whole: a chunk whose text was checked before it was read, a side buffer that is
        // written as text, or packed rows, which were text columns when they were packed and carry a
        // checksum where they come back from a file. Builds with debug assertions, the tests among
        // them, check every view; checking them again here takes a tenth of the time of a whole
        // pipeline.
        #[allow(unsafe_code)]
        Ok(unsafe { StringViewArray::new_unchecked(views, buffers, nulls) })
    }
    /// The column of bytes; `buffers` are left out where no view needs them.
    pub fn finish_binary(
        self,
        buffers: &[Buffer],
        nulls: Option<NullBuffer>,
    ) -> Result<BinaryViewArray, ArrowError> {
        let (views, buffers) = self.into_parts(buffers);
        BinaryViewArray::try_new(views, buffers, nulls)
    }
    fn into_parts(self, buffers: &[Buffer]) -> (ScalarBuffer<u128>, Vec<Buffer>) {
        let buffers = if self.long { buffers.to_vec() } else { Vec::new() };
        (self.views.into(), buffers)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array as _;

    use super::*;

    #[test]
    fn text_of_every_length_comes_back() {
        let text = "0123456789abcdefghij";
        let mut views = Views::default();
        for length in 0..=text.len() {
            for start in 0..=text.len() - length {
                views.push(&text.as_bytes()[start..start + length], 0, start as u32);
            }
        }
        views.push_null();
        let rows = views.len();
        let valid = (0..rows).map(|row| row + 1 < rows).collect::<Vec<_>>();
        let buffer = Buffer::from(text.as_bytes());
        let array = views.finish_text(&[buffer], Some(NullBuffer::from(valid))).unwrap();
        array.to_data().validate_full().unwrap();
        let mut found = array.iter();
        for length in 0..=text.len() {
            for start in 0..=text.len() - length {
                assert_eq!(found.next(), Some(Some(&text[start..start + length])));
            }
        }
        assert_eq!(found.next(), Some(None));
    }
}
