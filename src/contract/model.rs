//! What a contract says, free of the document's form.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

use crate::event::batch::{CONTRACT_COLUMN, KEY_COLUMN, REFERENCES};
use crate::event::system::INSTANT;

/// The schema of one event type, with what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    /// Name of the table or event type.
    pub name: String,
    /// Version of the contract document.
    pub version: String,
    /// The columns, in the document's order.
    pub columns: Vec<Column>,
    /// Names of the key columns, in key order (hash, then range).
    pub primary_key: Vec<String>,
    /// What happens to attributes that the contract does not know.
    pub evolution: Evolution,
    /// How long the table keeps rows, in days, where the contract says so.
    pub retention_days: Option<u32>,
    /// SHA-256 of the document: tells one contract version from another.
    pub hash: String,
}

/// What happens to an attribute that the contract does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Evolution {
    /// It goes into `_extra`.
    #[default]
    Lenient,
    /// The record is a dead letter.
    Strict,
}

/// One column, or one member of a struct.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// A missing or null value makes the record a dead letter.
    pub required: bool,
    /// Each value occurs about once: no dictionary is worth making.
    pub unique: bool,
    /// What it means.
    pub description: String,
    /// The document's `classification`, where it is personal data.
    pub pii: Option<String>,
    /// Quality rules checked at decode.
    pub rules: Vec<Rule>,
    /// Search mapping from the document's `customProperties`, as JSON.
    pub search: Option<serde_json::Value>,
    /// What its values are the names of, where they are names of objects outside the table.
    pub references: Option<Reference>,
}

/// What the values of a column refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// Media objects in a store: what belongs to a row without being in it.
    Media,
}

impl Reference {
    /// The word of contracts and of field metadata.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Media => "media",
        }
    }
}

/// The type of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnType {
    /// Text: `Utf8View`.
    Text,
    /// Whole number: `Int64`.
    Integer,
    /// `Float64`.
    Float,
    /// Exact number: `Decimal128(precision, scale)`, precision at most 38.
    Decimal {
        /// Digits in all, at most 38.
        precision: u8,
        /// Digits behind the point.
        scale: i8,
        /// How the source writes them.
        form: DecimalForm,
    },
    /// `Boolean`.
    Boolean,
    /// An instant, microseconds in UTC.
    Timestamp(TimeForm),
    /// A day: `Date32`.
    Date(TimeForm),
    /// Bytes: `BinaryView`, base64 in JSON.
    Binary,
    /// List of values of one type; also DynamoDB's string and number sets.
    List(Box<Column>),
    /// Named members.
    Struct(Vec<Column>),
}

/// How a source writes an instant or a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeForm {
    /// ISO 8601 text; without a zone it is UTC.
    Text,
    /// Days since 1970, as a number.
    EpochDays,
    /// Seconds since 1970, as a number.
    EpochSeconds,
    /// Milliseconds since 1970, as a number.
    EpochMillis,
    /// Microseconds since 1970, as a number.
    EpochMicros,
    /// Nanoseconds since 1970, as a number; digits beyond the microsecond are cut.
    EpochNanos,
}

/// How a source writes an exact number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalForm {
    /// A number, or its digits as text.
    Digits,
    /// Its unscaled value, as bytes in base64: big-endian, two's complement. The scale is the
    /// contract's, unless the value brings its own: `{"scale": 2, "value": "MDk="}`.
    Base64,
}

/// A quality rule of one column.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// The value is one of these texts.
    OneOf(Vec<String>),
    /// The number lies in this range, ends included; an absent end is open.
    Range {
        /// The least that is allowed.
        min: Option<f64>,
        /// The most that is allowed.
        max: Option<f64>,
    },
}

impl ColumnType {
    /// The Arrow type.
    pub fn arrow(&self) -> DataType {
        match self {
            Self::Text => DataType::Utf8View,
            Self::Integer => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Decimal { precision, scale, .. } => DataType::Decimal128(*precision, *scale),
            Self::Boolean => DataType::Boolean,
            Self::Timestamp(_) => INSTANT.clone(),
            Self::Date(_) => DataType::Date32,
            Self::Binary => DataType::BinaryView,
            Self::List(item) => {
                DataType::List(Arc::new(Field::new("item", item.kind.arrow(), true)))
            }
            Self::Struct(members) => DataType::Struct(
                members
                    .iter()
                    .map(|member| Field::new(&member.name, member.kind.arrow(), true))
                    .collect::<Fields>(),
            ),
        }
    }
}

impl Contract {
    /// The Arrow schema of the columns. Every field is nullable, since the row of a delete may have
    /// its key alone; metadata tells which contract column it is, whether it is a key column, and
    /// what its values refer to.
    pub fn schema(&self) -> SchemaRef {
        let field = |column: &Column| {
            let mut metadata = HashMap::from([(CONTRACT_COLUMN.to_owned(), column.name.clone())]);
            if self.primary_key.contains(&column.name) {
                metadata.insert(KEY_COLUMN.to_owned(), "true".to_owned());
            }
            if let Some(reference) = column.references {
                metadata.insert(REFERENCES.to_owned(), reference.as_str().to_owned());
            }
            Field::new(&column.name, column.kind.arrow(), true).with_metadata(metadata)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
