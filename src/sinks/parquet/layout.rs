//! Which Hive partition a row belongs to.

use std::collections::HashMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Date32Type, Schema, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};

use super::config::{Granularity, PartitionConfig};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::{Operation, SystemColumns};

const HOUR_MICROS: i64 = 3_600_000_000;
const DAY_MICROS: i64 = 24 * HOUR_MICROS;

/// A Hive partition: hours, days or months since 1970.
pub(super) type Bucket = i32;

/// How rows are laid out in folders.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    granularity: Granularity,
    column: usize,
    name: String,
    from: i64,
    to: Option<i64>,
}

/// The instants that are accepted now: `from` and all before `to`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    from: i64,
    to: i64,
}

/// Where the rows of a batch go.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Rows by Hive partition.
    pub(super) places: Places,
    /// Rows without a place, and why.
    pub(super) refused: Vec<(usize, String)>,
}

/// Rows of one batch by Hive partition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// Rows that lie together; a Hive partition may occur several times.
    Runs(Vec<(Bucket, Range<usize>)>),
    /// Scattered rows, ascending; a Hive partition occurs once.
    Lists(Vec<(Bucket, Vec<u32>)>),
}

impl Places {
    /// No row has a place.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Runs(runs) => runs.is_empty(),
            Self::Lists(lists) => lists.is_empty(),
        }
    }
}

/// Runs shorter than this on average are gathered into lists.
const SHORT_RUN: usize = 64;

fn day_start(text: &str, what: &str) -> Result<i64> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d")
        .or_error(ErrorKind::Config, || format!("time_range: {what} `{text}` is not YYYY-MM-DD"))?;
    Ok(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
}

impl Layout {
    /// The layout that `config` asks for, over rows of `schema`.
    pub(super) fn new(config: &PartitionConfig, schema: &Schema) -> Result<Self> {
        let Ok(column) = schema.index_of(&config.time) else {
            let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(Error::config(format!(
                "partition.time: there is no column `{}`; the last stage gives {}",
                config.time,
                names.join(", ")
            )));
        };
        let kind = schema.field(column).data_type();
        if !matches!(kind, DataType::Timestamp(..) | DataType::Date32) {
            return Err(Error::config(format!(
                "partition.time: `{}` is {kind}; it must be a timestamp or a date",
                config.time
            )));
        }
        let from = day_start(&config.time_range.from, "from")?;
        let to = config.time_range.to.as_deref().map(|to| day_start(to, "to")).transpose()?;
        if to.is_some_and(|to| to < from) {
            return Err(Error::config("time_range: to lies before from"));
        }
        let to = to.map(|to| to + DAY_MICROS);
        Ok(Self { granularity: config.by, column, name: config.time.clone(), from, to })
    }

    /// The instants accepted at `now`: without an end in the configuration, all of tomorrow.
    pub(super) fn bounds(&self, now: i64) -> Bounds {
        let after_tomorrow =
            now.div_euclid(DAY_MICROS).saturating_add(2).saturating_mul(DAY_MICROS);
        Bounds { from: self.from, to: self.to.unwrap_or(after_tomorrow) }
    }

    /// Names of the folders' columns.
    pub(super) fn columns(&self) -> &'static [&'static str] {
        match self.granularity {
            Granularity::Month => &["year", "month"],
            Granularity::Day => &["year", "month", "day"],
            Granularity::Hour => &["year", "month", "day", "hour"],
        }
    }

    /// The folder of a Hive partition below the root. Numbers only: no text of a row gets here.
    pub(super) fn folder(&self, bucket: Bucket) -> String {
        let micros = match self.granularity {
            Granularity::Month => {
                return format!(
                    "year={:04}/month={:02}",
                    1970 + bucket.div_euclid(12),
                    bucket.rem_euclid(12) + 1
                );
            }
            Granularity::Day => i64::from(bucket) * DAY_MICROS,
            Granularity::Hour => i64::from(bucket) * HOUR_MICROS,
        };
        let at = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
        let day = format!("year={:04}/month={:02}/day={:02}", at.year(), at.month(), at.day());
        match self.granularity {
            Granularity::Hour => format!("{day}/hour={:02}", at.hour()),
            _ => day,
        }
    }

    /// The Hive partition of an instant, with its first instant and that of the next one.
    fn bucket(&self, micros: i64) -> (Bucket, i64, i64) {
        let width = match self.granularity {
            Granularity::Hour => HOUR_MICROS,
            Granularity::Day => DAY_MICROS,
            Granularity::Month => {
                let at = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
                let bucket = (at.year() - 1970) * 12 + at.month0() as i32;
                // Valid for the rest of this day, which is enough to look up rarely.
                let day = micros.div_euclid(DAY_MICROS) * DAY_MICROS;
                return (bucket, day, day + DAY_MICROS);
            }
        };
        let number = micros.div_euclid(width);
        // Bounds keep the instants inside the calendar, so the number fits.
        (number as Bucket, number * width, (number + 1) * width)
    }

    /// Find the place of each row. A delete without a time goes by the time of the event; any other
    /// row without a time, or with one out of range, has no place.
    pub(super) fn assign(
        &self,
        rows: &RecordBatch,
        system: &SystemColumns,
        bounds: Bounds,
    ) -> Result<Assignment> {
        let times = self.micros(rows)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let (values, event_times) = (times.values(), system.event_time.values());
        let mut refused = Vec::new();
        let mut runs: Vec<(Bucket, Range<usize>)> = Vec::new();
        let (mut bucket, mut first, mut next) = (0, i64::MAX, i64::MIN);
        for row in 0..rows.num_rows() {
            let known = times.is_valid(row);
            let micros = if known { values.get(row) } else { event_times.get(row) };
            let Some(&micros) = micros else { continue };
            if !known && !removes(system.op.value(row)) {
                refused.push((
                    row,
                    format!("`{}` is null, and the table is laid out by it", self.name),
                ));
                continue;
            }
            if micros < bounds.from || micros >= bounds.to {
                refused.push((row, self.out_of_range(known, micros, bounds)));
                continue;
            }
            if micros < first || micros >= next {
                (bucket, first, next) = self.bucket(micros);
            }
            match runs.last_mut() {
                Some((last, run)) if *last == bucket && run.end == row => run.end += 1,
                _ => runs.push((bucket, row..row + 1)),
            }
        }
        Ok(Assignment { places: gather(runs), refused })
    }

    /// The time column in microseconds UTC.
    fn micros(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        let column = rows.columns().get(self.column).ok_or_else(|| {
            Error::fatal(format!("the rows of a batch have no column {}", self.name))
        })?;
        let cast_to = |unit_zone: Option<_>| {
            cast(column, &DataType::Timestamp(TimeUnit::Microsecond, unit_zone))
                .or_error(ErrorKind::Fatal, || format!("cannot read the times of {}", self.name))
        };
        match column.data_type() {
            DataType::Date32 => {
                let days = column.as_primitive::<Date32Type>();
                let micros = days.unary::<_, TimestampMicrosecondType>(|day| {
                    i64::from(day).saturating_mul(DAY_MICROS)
                });
                Ok(std::sync::Arc::new(micros))
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(column.clone()),
            DataType::Timestamp(_, zone) => cast_to(zone.clone()),
            kind => Err(Error::fatal(format!("{} is {kind}, no time", self.name))),
        }
    }

    fn out_of_range(&self, known: bool, micros: i64, bounds: Bounds) -> String {
        let name = if known { self.name.as_str() } else { crate::event::system::EVENT_TIME };
        let show = |micros: i64, form: &str| match DateTime::<Utc>::from_timestamp_micros(micros) {
            Some(at) => at.format(form).to_string(),
            None => format!("{micros} us"),
        };
        format!(
            "`{name}` {} lies outside the time_range of the table: {} to {}",
            show(micros, "%Y-%m-%dT%H:%M:%S%.fZ"),
            show(bounds.from, "%Y-%m-%d"),
            show(bounds.to - 1, "%Y-%m-%d")
        )
    }
}

fn removes(op: &str) -> bool {
    op == Operation::Delete.as_str() || op == Operation::Expire.as_str()
}

/// Long runs stay runs; many short ones become one list for each Hive partition.
fn gather(runs: Vec<(Bucket, Range<usize>)>) -> Places {
    let rows: usize = runs.iter().map(|(_, run)| run.len()).sum();
    if runs.len() <= 1 || rows >= runs.len() * SHORT_RUN {
        return Places::Runs(runs);
    }
    let mut places: HashMap<Bucket, usize> = HashMap::new();
    let mut lists: Vec<(Bucket, Vec<u32>)> = Vec::new();
    for (bucket, run) in runs {
        let place = *places.entry(bucket).or_insert_with(|| {
            lists.push((bucket, Vec::new()));
            lists.len() - 1
        });
        if let Some((_, list)) = lists.get_mut(place) {
            list.extend(run.map(|row| row as u32));
        }
    }
    Places::Lists(lists)
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
