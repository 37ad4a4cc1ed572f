//! What a bulk request says of each row: which document of which index, at which version.

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use arrow::error::ArrowError;
use chrono::{DateTime, Datelike as _};

use super::config::{Period, SplitConfig};
use crate::event::Batch;
use crate::event::system::INSTANT;
use crate::sinks::documents::id_of;

/// Years that an index may be named after: a time that is wrong must not make an index of its own.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=2100;

/// The field of a document that stands for a deleted one.
pub const DELETED: &str = "acequia_deleted";
/// That document.
pub(super) const TOMBSTONE: &str = "{\"acequia_deleted\":true}";

/// How rows become items of a bulk.
#[derive(Debug, Clone)]
pub(super) struct ActionRules {
    /// An expire deletes its document.
    pub(super) expire_deletes: bool,
    /// The key column by whose values documents are spread over shards.
    pub(super) routing: Option<String>,
    /// Documents lie in an index for each period.
    pub(super) split: Option<SplitConfig>,
    /// The index itself, which the names of periods are put behind.
    pub(super) index: String,
}

impl ActionRules {
    /// The alias that documents of the index of `period` are written to; an empty one is that of the
    /// only index.
    pub(super) fn write_alias(&self, period: &str) -> String {
        format!("{}-write", self.index_of(period))
    }

    /// The index of `period`.
    pub(super) fn index_of(&self, period: &str) -> String {
        match period {
            "" => self.index.clone(),
            period => format!("{}-{period}", self.index),
        }
    }
}

/// The actions of one batch.
pub(super) struct Actions<'a> {
    rules: &'a ActionRules,
    batch: &'a Batch,
    routing: Option<ArrayRef>,
    times: Option<ArrayRef>,
}

impl<'a> Actions<'a> {
    pub(super) fn of(batch: &'a Batch, rules: &'a ActionRules) -> Result<Self, ArrowError> {
        let column = |name: &String, kind: &DataType| {
            let missing = || ArrowError::SchemaError(format!("there is no column {name}"));
            cast(batch.rows.column_by_name(name).ok_or_else(missing)?, kind)
        };
        let routing = rules.routing.as_ref().map(|name| column(name, &DataType::Utf8));
        let times = rules.split.as_ref().map(|split| column(&split.time, &INSTANT));
        Ok(Self { rules, batch, routing: routing.transpose()?, times: times.transpose()? })
    }

    /// The period that the document of `row` belongs to; an empty one where there are none.
    ///
    /// # Errors
    /// Why it belongs to none, in words for a dead letter.
    pub(super) fn period(&self, row: usize) -> Result<String, String> {
        let (Some(times), Some(split)) = (&self.times, &self.rules.split) else {
            return Ok(String::new());
        };
        let times = times.as_primitive::<TimestampMicrosecondType>();
        if times.is_null(row) {
            return Err(format!("`{}` is null, and with it the index of the document", split.time));
        }
        match DateTime::from_timestamp_micros(times.value(row)) {
            Some(time) if YEARS.contains(&time.year()) => {
                Ok(time.format(split.by.form()).to_string())
            }
            _ => Err(format!(
                "`{}` lies outside {} to {}: no index is named after it",
                split.time,
                YEARS.start(),
                YEARS.end()
            )),
        }
    }

    /// Write the line of `row` that says what to do.
    ///
    /// # Errors
    /// An id that no JSON can hold: there is none.
    pub(super) fn write(
        &self,
        action: &str,
        row: usize,
        period: &str,
        out: &mut Vec<u8>,
    ) -> serde_json::Result<()> {
        let system = &self.batch.system;
        out.extend_from_slice(format!("{{\"{action}\":{{\"_id\":").as_bytes());
        serde_json::to_writer(&mut *out, &id_of(system.key.value(row)))?;
        if !period.is_empty() {
            out.extend_from_slice(b",\"_index\":");
            serde_json::to_writer(&mut *out, &self.rules.write_alias(period))?;
        }
        if let Some(routing) = &self.routing
            && routing.is_valid(row)
        {
            out.extend_from_slice(b",\"routing\":");
            serde_json::to_writer(&mut *out, routing.as_string::<i32>().value(row))?;
        }
        let version = system.version.value(row);
        let rest = format!(",\"version\":{version},\"version_type\":\"external\"}}}}\n");
        out.extend_from_slice(rest.as_bytes());
        Ok(())
    }
}

impl Period {
    /// The form of its name.
    fn form(self) -> &'static str {
        match self {
            Self::Day => "%Y-%m-%d",
            Self::Month => "%Y-%m",
            Self::Year => "%Y",
        }
    }
}
