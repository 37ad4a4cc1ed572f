//! The system columns: what Acequia knows of each row, beside the row.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray as _, BooleanArray, Int64Array, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, TimeUnit};
use arrow::error::ArrowError;

use super::message::{HEADERS_TYPE, MessageColumns};
use super::position::Position;

/// `_op`: the operation, text.
pub const OP: &str = "_op";
/// `_key`: canonical JSON of the source's key attributes as the source wrote them, text.
pub const KEY: &str = "_key";
/// `_event_time`: when the change happened, microseconds UTC.
pub const EVENT_TIME: &str = "_event_time";
/// `_version`: 63-bit number that rises per key, inside one version domain.
pub const VERSION: &str = "_version";
/// `_stream`: what the pipeline reads, text.
pub const STREAM: &str = "_stream";
/// `_partition`: the partition of the event, text.
pub const PARTITION: &str = "_partition";
/// `_position`: the event's place in its partition: Int64 where the source counts, else text.
pub const POSITION: &str = "_position";
/// `_before`: the image before the change, a struct of the contract's columns.
pub const BEFORE: &str = "_before";
/// `_extra`: attributes that the contract does not know, JSON text.
pub const EXTRA: &str = "_extra";

/// `_message_key`: the key of a broker's message, text; readable in SQL, not written.
pub const MESSAGE_KEY: &str = "_message_key";
/// `_headers`: the headers of a broker's message by name; readable in SQL, not written.
pub const HEADERS: &str = "_headers";

/// All names: those that the lake writes, in its order, and then those that SQL alone can read.
pub const NAMES: [&str; 11] = [
    OP,
    KEY,
    EVENT_TIME,
    VERSION,
    STREAM,
    PARTITION,
    POSITION,
    BEFORE,
    EXTRA,
    MESSAGE_KEY,
    HEADERS,
];

/// The Arrow type of every instant in Acequia: microseconds in UTC.
pub static INSTANT: LazyLock<DataType> =
    LazyLock::new(|| DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.clone())));

/// The zone of every instant, spelled so that no time zone table is needed to read it.
pub static UTC: LazyLock<Arc<str>> = LazyLock::new(|| "+00:00".into());

/// Which system columns a pipeline's rows have, and of what type: known before the first row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemSchema {
    /// Type of `_position`: `Int64` where the source counts, else `Utf8View`.
    pub position: DataType,
    /// Members of `_before`, where the source gives the image before the change.
    pub before: Option<Fields>,
    /// True where `_extra` exists: the contract is lenient.
    pub extra: bool,
    /// True where the source is a broker, whose messages have keys and headers.
    pub message: bool,
}

impl SystemSchema {
    /// The fields that SQL can read, in the order of [`NAMES`]; absent ones left out.
    pub fn readable_fields(&self) -> Vec<Arc<Field>> {
        let mut fields = self.fields();
        if self.message {
            fields.push(Arc::new(Field::new(MESSAGE_KEY, DataType::Utf8View, true)));
            fields.push(Arc::new(Field::new(HEADERS, HEADERS_TYPE.clone(), true)));
        }
        fields
    }

    /// The fields that are written, in the order of [`NAMES`]; absent ones left out.
    pub fn fields(&self) -> Vec<Arc<Field>> {
        let field =
            |name: &str, kind: DataType, nullable| Arc::new(Field::new(name, kind, nullable));
        let mut fields = vec![
            field(OP, DataType::Utf8View, false),
            field(KEY, DataType::Utf8View, false),
            field(EVENT_TIME, INSTANT.clone(), false),
            field(VERSION, DataType::Int64, false),
            field(STREAM, DataType::Utf8View, false),
            field(PARTITION, DataType::Utf8View, false),
            field(POSITION, self.position.clone(), false),
        ];
        if let Some(members) = &self.before {
            fields.push(field(BEFORE, DataType::Struct(members.clone()), true));
        }
        if self.extra {
            fields.push(field(EXTRA, DataType::Utf8View, true));
        }
        fields
    }
}

/// The system columns of a batch, row-aligned with its rows. They travel beside the row, whatever
/// the SQL selects.
#[derive(Debug, Clone)]
pub struct SystemColumns {
    /// `_op`, never null.
    pub op: StringViewArray,
    /// `_key`, never null.
    pub key: StringViewArray,
    /// `_event_time`, never null (a record without a time takes that of its batch's source).
    pub event_time: TimestampMicrosecondArray,
    /// `_version`, never null, at least 1.
    pub version: Int64Array,
    /// `_stream`, the same for every row.
    pub stream: Arc<str>,
    /// `_partition` of the event; the same for every row of a lane.
    pub partition: Arc<str>,
    /// `_position`: [`Int64Array`] or [`StringViewArray`], never null.
    pub position: ArrayRef,
    /// `_before`, where the source gives it.
    pub before: Option<StructArray>,
    /// `_extra`, where the contract is lenient; null in a row without unknown attributes.
    pub extra: Option<StringViewArray>,
    /// `_message_key` and `_headers`, where the source has them and some SQL reads them.
    pub message: Option<MessageColumns>,
}

impl SystemColumns {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.op.len()
    }
    /// True where there is no row.
    pub fn is_empty(&self) -> bool {
        self.op.is_empty()
    }

    /// `length` rows from `offset` on, without copying.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            op: self.op.slice(offset, length),
            key: self.key.slice(offset, length),
            event_time: self.event_time.slice(offset, length),
            version: self.version.slice(offset, length),
            stream: self.stream.clone(),
            partition: self.partition.clone(),
            position: self.position.slice(offset, length),
            before: self.before.as_ref().map(|column| column.slice(offset, length)),
            extra: self.extra.as_ref().map(|column| column.slice(offset, length)),
            message: self.message.as_ref().map(|columns| columns.slice(offset, length)),
        }
    }

    /// `_position` of a row.
    pub fn position_at(&self, row: usize) -> Position {
        match self.position.as_primitive_opt::<Int64Type>() {
            Some(offsets) => Position::Offset(offsets.value(row).unsigned_abs()),
            None => {
                let text = self.position.as_string_view_opt().map_or("", |text| text.value(row));
                Position::Sequence(text.into())
            }
        }
    }

    /// The column of that name as an array; `None` where the source or the contract gives none.
    /// `_stream` and `_partition` are repeated for every row.
    pub fn column(&self, name: &str) -> Option<ArrayRef> {
        let repeated = |text: &Arc<str>| -> ArrayRef {
            let rows = std::iter::repeat_n(text.as_ref(), self.len());
            Arc::new(StringViewArray::from_iter_values(rows))
        };
        match name {
            OP => Some(Arc::new(self.op.clone())),
            KEY => Some(Arc::new(self.key.clone())),
            EVENT_TIME => Some(Arc::new(self.event_time.clone())),
            VERSION => Some(Arc::new(self.version.clone())),
            STREAM => Some(repeated(&self.stream)),
            PARTITION => Some(repeated(&self.partition)),
            POSITION => Some(self.position.clone()),
            BEFORE => self.before.as_ref().map(|column| Arc::new(column.clone()) as ArrayRef),
            EXTRA => self.extra.as_ref().map(|column| Arc::new(column.clone()) as ArrayRef),
            MESSAGE_KEY => Some(Arc::new(self.message.as_ref()?.key.clone())),
            HEADERS => Some(Arc::new(self.message.as_ref()?.headers.clone())),
            _ => None,
        }
    }

    /// The columns that are written as arrays with their fields, in the order of [`NAMES`]; absent
    /// ones left out.
    /// `_stream` and `_partition` are repeated for every row.
    pub fn columns(&self) -> Vec<(Arc<Field>, ArrayRef)> {
        let schema = SystemSchema {
            position: self.position.data_type().clone(),
            before: self.before.as_ref().map(|column| column.fields().clone()),
            extra: self.extra.is_some(),
            message: false,
        };
        let fields = schema.fields();
        fields
            .into_iter()
            .filter_map(|field| self.column(field.name()).map(|column| (field, column)))
            .collect()
    }

    /// The rows where `keep` is true.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self, ArrowError> {
        let cast = |column: &dyn Array| filter(column, keep);
        Ok(Self {
            op: downcast(&cast(&self.op)?)?,
            key: downcast(&cast(&self.key)?)?,
            event_time: downcast(&cast(&self.event_time)?)?,
            version: downcast(&cast(&self.version)?)?,
            stream: self.stream.clone(),
            partition: self.partition.clone(),
            position: cast(&self.position)?,
            before: self.before.as_ref().map(|column| downcast(&cast(column)?)).transpose()?,
            extra: self.extra.as_ref().map(|column| downcast(&cast(column)?)).transpose()?,
            message: self.message.as_ref().map(|columns| columns.filter(keep)).transpose()?,
        })
    }
}

fn downcast<T: Clone + 'static>(array: &ArrayRef) -> Result<T, ArrowError> {
    array
        .as_any()
        .downcast_ref::<T>()
        .cloned()
        .ok_or_else(|| ArrowError::CastError(format!("unexpected type {}", array.data_type())))
}
