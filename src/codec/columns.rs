//! Column builders that can forget their last row: a record that does not fit is rolled back.
//!
//! Text is not copied: a view of more than twelve bytes points into the chunk that the records came
//! in (buffer 0), or into a side buffer (1) where the text had escapes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal128Array, Float64Array,
    Int64Array, ListArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::error::ArrowError;

use super::plan::{Kind, Member};
use crate::event::system::UTC;
use crate::event::views::Views;

/// The buffer that a view points into, by its number.
pub(super) mod home {
    /// The chunk that the records came in.
    pub const CHUNK: u32 = 0;
    /// Text that had escapes.
    pub const SIDE: u32 = 1;
}

/// One column, or one member of a struct or a list.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) values: Values,
    /// False where null; made when the first null comes.
    valid: Option<BooleanBufferBuilder>,
}

/// The values of a column; a null takes a place.
#[derive(Debug)]
pub(super) enum Values {
    Text(Views),
    Integer(Vec<i64>),
    Float(Vec<f64>),
    /// Unscaled values, and the scale.
    Decimal(Vec<i128>, i8),
    Boolean(BooleanBufferBuilder),
    Instant(Vec<i64>),
    Date(Vec<i32>),
    Binary(Views),
    /// Where each list ends among the items.
    List(Vec<i32>, Box<Column>),
    /// The number of rows, and the members.
    Struct(usize, Vec<Column>),
}

impl Column {
    /// An empty column for `kind`, with room for `rows` rows.
    pub(super) fn new(kind: &Kind, rows: usize) -> Self {
        let views = || Views::with_capacity(rows);
        let values = match kind {
            Kind::Text => Values::Text(views()),
            Kind::Integer => Values::Integer(Vec::with_capacity(rows)),
            Kind::Float => Values::Float(Vec::with_capacity(rows)),
            Kind::Decimal { scale, .. } => Values::Decimal(Vec::with_capacity(rows), *scale),
            Kind::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            Kind::Instant(_) => Values::Instant(Vec::with_capacity(rows)),
            Kind::Date(_) => Values::Date(Vec::with_capacity(rows)),
            Kind::Binary => Values::Binary(views()),
            Kind::List(item) => {
                Values::List(Vec::with_capacity(rows), Box::new(Self::new(&item.kind, 0)))
            }
            Kind::Struct(members) => Values::Struct(
                0,
                members.all.iter().map(|member| Self::new(&member.kind, rows)).collect(),
            ),
        };
        Self { values, valid: None }
    }

    /// Rows so far.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.values {
            Values::Text(views) | Values::Binary(views) => views.len(),
            Values::Integer(values) | Values::Instant(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Decimal(values, _) => values.len(),
            Values::Boolean(values) => values.len(),
            Values::Date(values) => values.len(),
            Values::List(ends, _) => ends.len(),
            Values::Struct(rows, _) => *rows,
        }
    }

    /// Say that the value just pushed is one.
    #[inline]
    pub(super) fn mark_valid(&mut self) {
        if let Some(valid) = &mut self.valid {
            valid.append(true);
        }
    }

    /// Add a null.
    pub(super) fn push_null(&mut self) {
        let length = self.len();
        match &mut self.values {
            Values::Text(views) | Values::Binary(views) => views.push_null(),
            Values::Integer(values) | Values::Instant(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Decimal(values, _) => values.push(0),
            Values::Boolean(values) => values.append(false),
            Values::Date(values) => values.push(0),
            Values::List(ends, items) => ends.push(items.len() as i32),
            Values::Struct(rows, members) => {
                *rows += 1;
                members.iter_mut().for_each(Self::push_null);
            }
        }
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = BooleanBufferBuilder::new(length + 1);
            valid.append_n(length, true);
            valid
        });
        valid.append(false);
    }

    /// True where `row` holds a value.
    #[inline]
    pub(super) fn is_valid(&self, row: usize) -> bool {
        row < self.len() && self.valid.as_ref().is_none_or(|valid| valid.get_bit(row))
    }

    /// Forget all rows from `length` on.
    pub(super) fn truncate(&mut self, length: usize) {
        match &mut self.values {
            Values::Text(views) | Values::Binary(views) => views.truncate(length),
            Values::Integer(values) | Values::Instant(values) => values.truncate(length),
            Values::Float(values) => values.truncate(length),
            Values::Decimal(values, _) => values.truncate(length),
            Values::Boolean(values) => {
                if length < values.len() {
                    values.truncate(length);
                }
            }
            Values::Date(values) => values.truncate(length),
            Values::List(ends, items) => {
                ends.truncate(length);
                items.truncate(ends.last().map_or(0, |&end| end as usize));
            }
            Values::Struct(rows, members) => {
                *rows = (*rows).min(length);
                members.iter_mut().for_each(|member| member.truncate(length));
            }
        }
        if let Some(valid) = &mut self.valid
            && length < valid.len()
        {
            valid.truncate(length);
        }
    }

    /// The array. `buffers` are the chunk and the side buffer.
    pub(super) fn finish(self, kind: &Kind, buffers: &[Buffer]) -> Result<ArrayRef, ArrowError> {
        let nulls = self.valid.map(|mut valid| NullBuffer::new(valid.finish()));
        Ok(match (self.values, kind) {
            (Values::Text(views), _) => Arc::new(views.finish_text(buffers, nulls)?),
            (Values::Integer(values), _) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            (Values::Float(values), _) => Arc::new(Float64Array::try_new(values.into(), nulls)?),
            (Values::Decimal(values, _), Kind::Decimal { precision, scale, .. }) => Arc::new(
                Decimal128Array::try_new(values.into(), nulls)?
                    .with_precision_and_scale(*precision, *scale)?,
            ),
            (Values::Boolean(mut values), _) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            (Values::Instant(values), _) => Arc::new(
                TimestampMicrosecondArray::try_new(values.into(), nulls)?
                    .with_timezone(UTC.clone()),
            ),
            (Values::Date(values), _) => Arc::new(Date32Array::try_new(values.into(), nulls)?),
            (Values::Binary(views), _) => Arc::new(views.finish_binary(buffers, nulls)?),
            (Values::List(ends, items), Kind::List(item)) => {
                let offsets = OffsetBuffer::new(std::iter::once(0).chain(ends).collect());
                let items = items.finish(&item.kind, buffers)?;
                let field = Arc::new(Field::new("item", items.data_type().clone(), true));
                Arc::new(ListArray::try_new(field, offsets, items, nulls)?)
            }
            (Values::Struct(rows, columns), Kind::Struct(members)) => {
                Arc::new(finish_struct(rows, columns, &members.all, nulls, buffers)?)
            }
            _ => return Err(ArrowError::SchemaError("a column that is not of its kind".into())),
        })
    }
}

/// A struct array of `columns`.
pub(super) fn finish_struct(
    rows: usize,
    columns: Vec<Column>,
    members: &[Member],
    nulls: Option<NullBuffer>,
    buffers: &[Buffer],
) -> Result<StructArray, ArrowError> {
    let arrays = columns
        .into_iter()
        .zip(members)
        .map(|(column, member)| column.finish(&member.kind, buffers))
        .collect::<Result<Vec<_>, _>>()?;
    let fields: Fields = arrays
        .iter()
        .zip(members)
        .map(|(array, member)| {
            let kind: DataType = array.data_type().clone();
            Field::new(&member.name, kind, true)
        })
        .collect();
    StructArray::try_new_with_length(fields, arrays, nulls, rows)
}
