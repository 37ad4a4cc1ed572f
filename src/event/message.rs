//! What a broker carries around a message's value: its key and its headers.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, MapArray, MapBuilder, MapFieldNames, StringBuilder,
    StringViewArray, StringViewBuilder,
};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Stands before bytes that are no text.
const BASE64: &str = "base64:";

/// The Arrow type of `_headers`: a map from text, never null, to text, null where the header is.
pub static HEADERS_TYPE: LazyLock<DataType> = LazyLock::new(|| {
    let entries = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Utf8View, true),
    ]);
    DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)
});

/// `_message_key` and `_headers`, one entry a message.
#[derive(Debug, Clone, PartialEq)]
pub struct MessageColumns {
    /// The key as text; null where a message has none. Bytes that are no UTF-8 are in base64 behind
    /// `base64:`.
    pub key: StringViewArray,
    /// The headers by name, of [`HEADERS_TYPE`], values as the key is. Of several headers of one name
    /// the last one counts.
    pub headers: MapArray,
}

impl MessageColumns {
    /// `length` rows from `offset` on, without copying.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self { key: self.key.slice(offset, length), headers: self.headers.slice(offset, length) }
    }

    /// The rows where `keep` is true.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        Self::of(&filter(&self.key, keep)?, &filter(&self.headers, keep)?)
    }

    fn of(key: &ArrayRef, headers: &ArrayRef) -> Result<Self, ArrowError> {
        let wrong = || ArrowError::CastError("the columns of messages have other types".into());
        Ok(Self {
            key: key.as_string_view_opt().cloned().ok_or_else(wrong)?,
            headers: headers.as_map_opt().cloned().ok_or_else(wrong)?,
        })
    }
}

/// Puts [`MessageColumns`] together, message by message.
#[derive(Debug)]
pub struct MessageColumnsBuilder {
    key: StringViewBuilder,
    headers: MapBuilder<StringBuilder, StringViewBuilder>,
}

impl Default for MessageColumnsBuilder {
    fn default() -> Self {
        let names = MapFieldNames {
            entry: "entries".to_owned(),
            key: "keys".to_owned(),
            value: "values".to_owned(),
        };
        let headers = MapBuilder::new(Some(names), StringBuilder::new(), StringViewBuilder::new());
        Self { key: StringViewBuilder::new(), headers }
    }
}

impl MessageColumnsBuilder {
    /// Add a message with its headers in their order.
    pub fn push(&mut self, key: Option<&[u8]>, headers: &[(&[u8], Option<&[u8]>)]) {
        self.key.append_option(key.map(text));
        for (index, (name, value)) in headers.iter().enumerate() {
            let mut later = headers.iter().skip(index + 1);
            if later.any(|(other, _)| other == name) {
                continue;
            }
            self.headers.keys().append_value(text(name));
            self.headers.values().append_option(value.map(text));
        }
        // Fails only where keys and values are not of one length.
        let added = self.headers.append(true);
        debug_assert!(added.is_ok());
    }

    /// The columns.
    pub fn finish(mut self) -> MessageColumns {
        MessageColumns { key: self.key.finish(), headers: self.headers.finish() }
    }
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    match simdutf8::basic::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(format!("{BASE64}{}", STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array as _;

    use super::*;

    fn columns() -> MessageColumns {
        let mut builder = MessageColumnsBuilder::default();
        builder
            .push(Some(b"a"), &[(b"trace", Some(b"1")), (b"retry", None), (b"trace", Some(b"2"))]);
        builder.push(None, &[]);
        builder.push(Some(&[0xff, 0]), &[(b"raw", Some(&[0xfe]))]);
        builder.finish()
    }

    fn headers(columns: &MessageColumns, row: usize) -> Vec<(String, Option<String>)> {
        let entries = columns.headers.value(row);
        let (names, values) =
            (entries.column(0).as_string::<i32>(), entries.column(1).as_string_view());
        let owned = |text: &str| text.to_owned();
        names
            .iter()
            .map(|name| name.unwrap().to_owned())
            .zip(values.iter().map(|value| value.map(owned)))
            .collect()
    }

    #[test]
    fn the_last_header_of_a_name_counts_and_bytes_are_told_from_text() {
        let columns = columns();
        assert_eq!(columns.headers.data_type(), &*HEADERS_TYPE);
        let keys: Vec<_> = columns.key.iter().collect();
        assert_eq!(keys, [Some("a"), None, Some("base64:/wA=")]);
        let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(headers(&columns, 0), [pair("retry", None), pair("trace", Some("2"))]);
        assert!(headers(&columns, 1).is_empty());
        assert_eq!(headers(&columns, 2), [pair("raw", Some("base64:/g=="))]);
    }

    #[test]
    fn rows_are_sliced_and_filtered_together() {
        let columns = columns();
        let last = columns.slice(2, 1);
        assert_eq!(columns.filter(&BooleanArray::from(vec![false, false, true])).unwrap(), last);
    }
}
