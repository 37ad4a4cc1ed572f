//! What a pipeline says of documents, whichever engine keeps them.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use std::sync::Arc;

use crate::event::Batch;
use crate::event::system::{self, INSTANT};

/// What a document says of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SystemField {
    /// When the change happened: `_event_time`.
    EventTime,
    /// What the change was: `_op`.
    Op,
    /// The number of the change: `_version`.
    Version,
    /// What the pipeline reads: `_stream`.
    Stream,
}

impl SystemField {
    /// The name of its field in documents.
    pub fn name(self) -> &'static str {
        self.column().trim_start_matches('_')
    }

    /// Its type.
    pub fn kind(self) -> DataType {
        match self {
            Self::EventTime => INSTANT.clone(),
            Self::Op | Self::Stream => DataType::Utf8View,
            Self::Version => DataType::Int64,
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::EventTime => system::EVENT_TIME,
            Self::Op => system::OP,
            Self::Version => system::VERSION,
            Self::Stream => system::STREAM,
        }
    }
}

/// The system columns of `batch` that documents have, under the names of their fields.
pub fn system_columns(batch: &Batch, fields: &[SystemField]) -> Vec<(FieldRef, ArrayRef)> {
    let column = |field: &SystemField| {
        let column = batch.system.column(field.column())?;
        let kind = column.data_type().clone();
        Some((Arc::new(Field::new(field.name(), kind, true)), column))
    };
    fields.iter().filter_map(column).collect()
}

/// What an expire does to its document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnExpire {
    /// Nothing.
    #[default]
    Keep,
    /// The document goes.
    Delete,
}
