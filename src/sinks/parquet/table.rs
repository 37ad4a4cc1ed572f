//! The columns of the table: what the last stage selects, then the system columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, ListArray, RecordBatch, StringViewArray,
    StructArray, UInt32Array, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, nullif, take};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::SystemColumns;
use crate::event::batch::KEY_COLUMN;
use crate::event::system::{
    BEFORE, EVENT_TIME, EXTRA, INSTANT, KEY, NAMES, OP, PARTITION, POSITION, STREAM, VERSION,
};

/// Which system columns the table has, and of which type. Every file of a table has the same
/// columns, so this is fixed when the pipeline is built.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemShape {
    /// `_position` is a number: the source counts. Else it is text.
    pub counted: bool,
    /// Type of `_before`, where the source gives images before the change.
    pub before: Option<DataType>,
    /// There is an `_extra`: the contract is lenient.
    pub extra: bool,
}

/// The table's columns.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Every column of a file.
    schema: SchemaRef,
    /// Those that differ from row to row.
    waiting: SchemaRef,
    /// For each column of the last stage, whether it is a key column.
    keys: Vec<bool>,
    shape: SystemShape,
}

/// Where all rows of a lane come from: what `_stream` and `_partition` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origin {
    stream: Arc<str>,
    partition: Arc<str>,
}

impl Origin {
    /// Where the rows of a batch come from.
    pub(super) fn of(system: &SystemColumns) -> Self {
        Self { stream: system.stream.clone(), partition: system.partition.clone() }
    }
}

impl Table {
    /// The table for rows of `rows`; `folders` are the names of the Hive columns.
    pub(super) fn new(rows: &Schema, shape: SystemShape, folders: &[&str]) -> Result<Self> {
        let mut fields = Vec::with_capacity(rows.fields().len() + NAMES.len());
        for field in rows.fields() {
            let name = field.name();
            let clash = if NAMES.contains(&name.as_str()) {
                "that is a system column, which the lake writes anyway; leave it out or rename it"
            } else if folders.contains(&name.as_str()) {
                "that is the name of a folder level of the table; rename it"
            } else if fields.iter().any(|other: &Field| other.name() == name) {
                "there are two of that name; rename one"
            } else {
                ""
            };
            if !clash.is_empty() {
                return Err(Error::config(format!("column `{name}`: {clash}")));
            }
            let kind = stored_type(field.data_type()).map_err(|why| {
                Error::config(format!("column `{name}` is {}: {why}", field.data_type()))
            })?;
            fields.push(Field::new(name, kind, true).with_metadata(field.metadata().clone()));
        }
        let keys = fields.iter().map(|field| field.metadata().contains_key(KEY_COLUMN)).collect();
        fields.extend(system_fields(&shape)?);
        let differs = |field: &&Field| ![STREAM, PARTITION].contains(&field.name().as_str());
        let waiting = fields.iter().filter(differs).cloned().collect::<Vec<_>>();
        let (schema, waiting) = (Arc::new(Schema::new(fields)), Arc::new(Schema::new(waiting)));
        Ok(Self { schema, waiting, keys, shape })
    }

    /// The columns of every file.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns in which rows wait: all but `_stream` and `_partition`.
    pub(super) fn waiting_schema(&self) -> &SchemaRef {
        &self.waiting
    }

    /// The columns of a file, of rows that waited.
    pub(super) fn complete(&self, rows: &RecordBatch, origin: &Origin) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        let mut waiting = rows.columns().iter().cloned();
        for field in self.schema.fields() {
            columns.extend(match field.name().as_str() {
                STREAM => Some(repeated(&origin.stream, rows.num_rows())?),
                PARTITION => Some(repeated(&origin.partition, rows.num_rows())?),
                _ => waiting.next(),
            });
        }
        RecordBatch::try_new(self.schema.clone(), columns)
            .or_error(ErrorKind::Fatal, || "rows that waited lack a column".to_owned())
    }

    /// Rows of the table as they wait. Withheld rows keep their key columns and the system columns
    /// alone.
    pub(super) fn assemble(
        &self,
        rows: &RecordBatch,
        system: &SystemColumns,
        withheld: Option<&BooleanBuffer>,
    ) -> Result<RecordBatch> {
        let failed = || "cannot lay out the rows of a batch".to_owned();
        if rows.num_columns() != self.keys.len() {
            return Err(Error::fatal(format!(
                "a batch has {} columns, the table expects {}",
                rows.num_columns(),
                self.keys.len()
            )));
        }
        let withheld = withheld.map(|withheld| BooleanArray::new(withheld.clone(), None));
        let mut columns = Vec::with_capacity(self.waiting.fields().len());
        for ((column, field), key) in
            rows.columns().iter().zip(self.schema.fields()).zip(&self.keys)
        {
            let column = as_type(column, field.data_type())?;
            columns.push(match &withheld {
                Some(withheld) if !key => {
                    nullif(&column, withheld).or_error(ErrorKind::Fatal, failed)?
                }
                _ => column,
            });
        }
        columns.extend(self.system(system, withheld.as_ref())?);
        RecordBatch::try_new(self.waiting.clone(), columns).or_error(ErrorKind::Fatal, failed)
    }

    fn system(
        &self,
        system: &SystemColumns,
        withheld: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let length = system.len();
        let failed = || "cannot lay out the system columns of a batch".to_owned();
        let position = if self.shape.counted { DataType::Int64 } else { DataType::Utf8View };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(system.op.clone()),
            Arc::new(system.key.clone()),
            Arc::new(system.event_time.clone()),
            Arc::new(system.version.clone()),
            as_type(&system.position, &position)?,
        ];
        let mut optional = |column: Option<ArrayRef>, kind: &DataType| -> Result<()> {
            let column = match column {
                Some(column) => as_type(&column, kind)?,
                None => new_null_array(kind, length),
            };
            columns.push(match withheld {
                Some(withheld) => nullif(&column, withheld).or_error(ErrorKind::Fatal, failed)?,
                None => column,
            });
            Ok(())
        };
        let before = system.before.as_ref().map(|before| Arc::new(before.clone()) as ArrayRef);
        let extra = system.extra.as_ref().map(|extra| Arc::new(extra.clone()) as ArrayRef);
        for (name, has, wants) in [
            (BEFORE, before.is_some(), self.shape.before.is_some()),
            (EXTRA, extra.is_some(), self.shape.extra),
        ] {
            if has && !wants {
                return Err(Error::fatal(format!("a batch has {name}, the table has none")));
            }
        }
        if self.shape.before.is_some()
            && let Ok(field) = self.schema.field_with_name(BEFORE)
        {
            optional(before, field.data_type())?;
        }
        if self.shape.extra {
            optional(extra, &DataType::Utf8View)?;
        }
        Ok(columns)
    }
}

fn system_fields(shape: &SystemShape) -> Result<Vec<Field>> {
    let text = || DataType::Utf8View;
    let position = if shape.counted { DataType::Int64 } else { text() };
    let mut fields = vec![
        Field::new(OP, text(), false),
        Field::new(KEY, text(), false),
        Field::new(EVENT_TIME, INSTANT.clone(), false),
        Field::new(VERSION, DataType::Int64, false),
        Field::new(STREAM, text(), false),
        Field::new(PARTITION, text(), false),
        Field::new(POSITION, position, false),
    ];
    if let Some(before) = &shape.before {
        let kind = stored_type(before)
            .map_err(|why| Error::config(format!("{BEFORE} is {before}: {why}")))?;
        fields.push(Field::new(BEFORE, kind, true));
    }
    if shape.extra {
        fields.push(Field::new(EXTRA, text(), true));
    }
    Ok(fields)
}

fn as_type(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    if column.data_type() == kind {
        return Ok(column.clone());
    }
    cast(column, kind).or_error(ErrorKind::Fatal, || {
        format!("cannot turn a column of {} into {kind}", column.data_type())
    })
}

/// `text` in every row: one copy of it, whatever the length.
fn repeated(text: &str, length: usize) -> Result<ArrayRef> {
    let one = StringViewArray::from_iter_values([text]);
    take(&one, &UInt32Array::from_value(0, length), None)
        .or_error(ErrorKind::Fatal, || "cannot repeat a system column".to_owned())
}

/// The type in which a column waits and is written: what every Parquet reader understands.
fn stored_type(kind: &DataType) -> Result<DataType, String> {
    let nested = |field: &Field| -> Result<DataType, String> { stored_type(field.data_type()) };
    Ok(match kind {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::Float32
        | DataType::Float64
        | DataType::Date32
        | DataType::Decimal128(..) => kind.clone(),
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        // Unsigned 64-bit numbers are read as negative ones by some engines.
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Timestamp(..) => INSTANT.clone(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::FixedSizeBinary(_)
        | DataType::BinaryView => DataType::BinaryView,
        DataType::Dictionary(_, values) => stored_type(values)?,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(Field::new("element", nested(item)?, true)))
        }
        DataType::Struct(members) if members.is_empty() => {
            return Err("a struct without members cannot be written".to_owned());
        }
        DataType::Struct(members) => DataType::Struct(
            members
                .iter()
                .map(|member| Ok(Field::new(member.name(), nested(member)?, true)))
                .collect::<Result<Fields, String>>()?,
        ),
        DataType::Null => return Err("it has no type; write CAST(... AS VARCHAR)".to_owned()),
        _ => return Err("Parquet readers do not agree on that type; cast it".to_owned()),
    })
}

/// Copy the text that a batch points to, so that it keeps nothing else alive.
pub(super) fn compact(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns =
        batch.columns().iter().map(compact_array).collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(batch.schema(), columns)
}

fn compact_array(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    Ok(match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let children = array.columns().iter().map(compact_array).collect::<Result<_, _>>()?;
            Arc::new(StructArray::try_new(fields.clone(), children, array.nulls().cloned())?)
        }
        DataType::List(field) => {
            let array = array.as_list::<i32>();
            let values = compact_array(array.values())?;
            let (offsets, nulls) = (array.offsets().clone(), array.nulls().cloned());
            Arc::new(ListArray::try_new(field.clone(), offsets, values, nulls)?)
        }
        _ => array.clone(),
    })
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
