//! Rows as JSON documents.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray as _, BinaryViewArray, StructArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use arrow::error::ArrowError;
use arrow::json::writer::{
    Encoder as ValueEncoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use crate::event::{Batch, Operation};

/// Bytes that an id may have.
const ID_BYTES: usize = 512;

/// The id of the document of `key`: the key itself, or its hash where it is too long for one.
pub fn id_of(key: &str) -> Cow<'_, str> {
    match key.len() {
        0..=ID_BYTES => Cow::Borrowed(key),
        _ => {
            let hash = Sha256::digest(key.as_bytes());
            let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            Cow::Owned(format!("sha256:{hex}"))
        }
    }
}

/// What becomes of the document of a row's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is this row.
    Index,
    /// It goes.
    Delete,
    /// It stays as it is.
    Keep,
}

impl Fate {
    /// The fate under `op`; an expire deletes only where the sink says so.
    pub fn of(op: &str, expire_deletes: bool) -> Self {
        match op {
            op if op == Operation::Delete.as_str() => Self::Delete,
            op if op == Operation::Expire.as_str() && expire_deletes => Self::Delete,
            op if op == Operation::Expire.as_str() => Self::Keep,
            _ => Self::Index,
        }
    }
}

/// The rows of one batch with what it takes to write them. Columns that are null are left out of a
/// document.
pub struct Documents {
    field: FieldRef,
    rows: StructArray,
    options: EncoderOptions,
}

impl Documents {
    /// Of the rows of `batch`, with `system` columns under names of their own.
    pub fn of(batch: &Batch, system: Vec<(FieldRef, ArrayRef)>) -> Self {
        let mut fields = batch.rows.schema().fields().to_vec();
        let mut columns = batch.rows.columns().to_vec();
        for (field, column) in system {
            fields.push(field);
            columns.push(column);
        }
        Self::new(StructArray::new(Fields::from(fields), columns, None))
    }

    fn new(rows: StructArray) -> Self {
        Self {
            field: Arc::new(Field::new("row", rows.data_type().clone(), false)),
            rows,
            options: EncoderOptions::default().with_encoder_factory(Arc::new(BytesAsBase64)),
        }
    }

    /// The columns that documents are made of, those of the system among them.
    pub fn columns(&self) -> &StructArray {
        &self.rows
    }

    /// What writes them.
    ///
    /// # Errors
    /// A column has a type that no JSON stands for.
    pub fn encoder(&self) -> Result<Encoder<'_>, ArrowError> {
        Ok(Encoder { rows: make_encoder(&self.field, &self.rows, &self.options)? })
    }
}

/// Writes rows as documents.
pub struct Encoder<'a> {
    rows: NullableEncoder<'a>,
}

impl Encoder<'_> {
    /// Write the document of `row` behind what is in `out`.
    pub fn write(&mut self, row: usize, out: &mut Vec<u8>) {
        self.rows.encode(row, out);
    }
}

/// Bytes are base64, as the field type `binary` has them.
#[derive(Debug)]
struct BytesAsBase64;

impl EncoderFactory for BytesAsBase64 {
    fn make_default_encoder<'a>(
        &self,
        _: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        Ok(match array.data_type() {
            DataType::BinaryView => {
                let encoder = Base64(array.as_binary_view());
                Some(NullableEncoder::new(Box::new(encoder), array.nulls().cloned()))
            }
            _ => None,
        })
    }
}

struct Base64<'a>(&'a BinaryViewArray);

impl ValueEncoder for Base64<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(BASE64.encode(self.0.value(row)).as_bytes());
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal128Array, Float64Array, ListArray, StringViewArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Int64Type, TimeUnit};
    use serde_json::{Value, json};

    use super::*;
    use crate::event::system::UTC;

    fn written(columns: Vec<(&str, ArrayRef)>) -> Vec<Value> {
        let columns = columns.into_iter().map(|(name, column)| {
            (Arc::new(Field::new(name, column.data_type().clone(), true)), column)
        });
        let documents = Documents::new(StructArray::from(columns.collect::<Vec<_>>()));
        let mut encoder = documents.encoder().unwrap();
        (0..documents.rows.len())
            .map(|row| {
                let mut out = Vec::new();
                encoder.write(row, &mut out);
                serde_json::from_slice(&out).unwrap()
            })
            .collect()
    }

    #[test]
    fn documents_have_what_the_rows_have() {
        let time = TimestampMicrosecondArray::from(vec![Some(1_705_314_600_123_456), None]);
        let price = Decimal128Array::from(vec![Some(-1205), None]);
        let lists =
            ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None]), None]);
        let found = written(vec![
            ("text", Arc::new(StringViewArray::from(vec![Some("línea\n\"uno\" \u{1}"), None]))),
            ("bytes", Arc::new(BinaryViewArray::from(vec![Some(&b"\xff\x00ab"[..]), None]))),
            ("number", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
            ("time", Arc::new(time.with_timezone(UTC.clone()))),
            ("price", Arc::new(price.with_precision_and_scale(9, 2).unwrap())),
            ("list", Arc::new(lists)),
        ]);
        let first = json!({ "text": "línea\n\"uno\" \u{1}", "bytes": "/wBhYg==", "number": 0.1,
            "time": "2024-01-15T10:30:00.123456Z", "price": -12.05, "list": [1, null] });
        assert_eq!(found, [first, json!({})]);
        assert_eq!(
            DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.clone())),
            *crate::event::system::INSTANT
        );
    }

    #[test]
    fn long_keys_are_hashed_and_no_two_ids_are_the_same() {
        let (short, long) = ("k".repeat(512), "k".repeat(513));
        assert_eq!(id_of(&short), short);
        assert_eq!(id_of(&long).len(), 7 + 64);
        assert_ne!(id_of(&long), id_of(&"k".repeat(514)));
    }

    #[test]
    fn an_expire_keeps_the_document_unless_told_otherwise() {
        let fates = |expire_deletes| {
            ["insert", "upsert", "update", "snapshot", "delete", "expire"]
                .map(|op| Fate::of(op, expire_deletes))
        };
        use Fate::{Delete, Index, Keep};
        assert_eq!(fates(false), [Index, Index, Index, Index, Delete, Keep]);
        assert_eq!(fates(true), [Index, Index, Index, Index, Delete, Delete]);
    }
}
