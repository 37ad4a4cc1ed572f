//! The decoder of a lane: every record of a chunk becomes a row or a reject.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use super::connect::{Schemas, Subject};
use super::plan::Plan;
use super::refusal::{Read, Refusal};
use super::rows::Rows;
use super::shape::Shapes;
use super::{Format, debezium, dynamodb, message, plain, table, tombstone};
use crate::component::decoder::{Decoder, Stamp};
use crate::component::source::{RawBatch, RawContent, RawRecords, RecordPositions};
use crate::contract::Contract;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::event::{Batch, Operation, RawImage};

/// Decodes records in one form into the columns of one contract.
pub(super) struct ContractDecoder {
    plan: Arc<Plan>,
    format: Format,
    /// What a record without `_op` is.
    unmarked: Operation,
    /// What records of this lane look like; `None` where only the slow path is wanted.
    shapes: Option<Shapes>,
    /// What the schemas beside its records say.
    schemas: Schemas,
}

impl ContractDecoder {
    pub(super) fn new(contract: &Contract, format: Format, unmarked: Operation) -> Self {
        let plan = Arc::new(Plan::new(contract));
        let shapes = Some(Shapes::default());
        let schemas = Schemas::new(plan.clone());
        Self { plan, format, unmarked, shapes, schemas }
    }

    /// A decoder without its fast path: what the fast path is measured against.
    #[cfg(test)]
    pub(super) fn slow(contract: &Contract, format: Format) -> Self {
        Self { shapes: None, ..Self::new(contract, format, Operation::Upsert) }
    }

    /// Records that the fast path has read.
    #[cfg(test)]
    pub(super) fn hits(&self) -> u64 {
        self.shapes.as_ref().map_or(0, Shapes::hits)
    }
}

impl Decoder for ContractDecoder {
    fn schema(&self) -> SchemaRef {
        self.plan.schema.clone()
    }

    fn decode(&mut self, raw: &RawBatch, stamp: &Stamp) -> Result<Batch> {
        match &raw.content {
            RawContent::Records(records) => self.decode_records(raw, records, stamp),
            RawContent::Rows { rows, first } => {
                let records = table::records(&self.plan, rows, *first)
                    .or_error(ErrorKind::Fatal, || "cannot read the rows of an archive".into())?;
                self.decode_records(raw, &records, stamp)
            }
        }
    }
}

impl ContractDecoder {
    fn decode_records(
        &mut self,
        raw: &RawBatch,
        records: &RawRecords,
        stamp: &Stamp,
    ) -> Result<Batch> {
        if u32::try_from(records.data.len()).is_err() {
            return Err(Error::fatal("a chunk of records is larger than 4 GiB"));
        }
        let plan = self.plan.clone();
        let with_before = self.format != Format::Plain;
        let mut rows = Rows::new(&plan, stamp, &records.data, records.spans.len(), with_before);
        rows.unmarked = self.unmarked;
        let text = simdutf8::basic::from_utf8(&records.data).ok();
        let mut oversized = records.oversized.iter().peekable();
        for (index, &span) in records.spans.iter().enumerate() {
            let position = match &records.positions {
                RecordPositions::Bytes { start } => start + u64::from(span.0),
                RecordPositions::Each(positions) => *positions
                    .get(index)
                    .ok_or_else(|| Error::fatal("a record without a position"))?,
            };
            while let Some(large) = oversized.next_if(|large| large.position < position) {
                refuse_oversized(&mut rows, large);
            }
            let raw = Raw { records, text, span, position };
            match &records.messages {
                None => self.decode_record(&mut rows, raw),
                Some(messages) => {
                    rows.message_time = messages.times.get(index).copied().flatten();
                    match messages.tombstones.get(index) {
                        Some(true) => decode_tombstone(&mut rows, &mut self.schemas, raw),
                        _ => self.decode_message(&mut rows, raw),
                    }
                }
            }
        }
        for large in oversized {
            refuse_oversized(&mut rows, large);
        }
        rows.finish(records.data.clone(), raw)
            .and_then(|batch| message::complete(batch, records))
            .or_error(ErrorKind::Fatal, || "cannot build the columns of a batch".into())
    }

    /// Decode the value of a message. Unlike a line of a file it says something even where it is
    /// blank, so that every message is a row or a reject.
    fn decode_message(&mut self, rows: &mut Rows<'_>, raw: Raw<'_>) {
        let mark = rows.mark();
        self.decode_record(rows, raw);
        if rows.mark().events == mark.events {
            let refusal = Refusal::new("expected an object, found nothing");
            rows.refuse(mark, &refusal, raw.bytes(), raw.position);
        }
    }

    fn decode_record(&mut self, rows: &mut Rows<'_>, raw: Raw<'_>) {
        let mark = rows.mark();
        let text = match raw.text() {
            Ok(text) => text,
            Err(refusal) => return rows.refuse(mark, &refusal, raw.bytes(), raw.position),
        };
        if text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return;
        }
        if self.read_by_shape(rows, raw, text) {
            return;
        }
        if self.format == Format::Dynamodb {
            match dynamodb::elements(text) {
                Ok(None) => {}
                Ok(Some(elements)) => return self.decode_elements(rows, raw, text, &elements),
                Err(refusal) => return rows.refuse(mark, &refusal, raw.bytes(), raw.position),
            }
        }
        self.decode_slowly(rows, raw, text);
    }

    /// Try the fast path; false where the record is not like those before.
    fn read_by_shape(&mut self, rows: &mut Rows<'_>, raw: Raw<'_>, text: &str) -> bool {
        let Some(shapes) = &mut self.shapes else { return false };
        let read = shapes.read(rows, text, raw.base(text), self.format);
        if read {
            rows.commit(raw.position, raw.span);
        }
        read
    }

    /// Decode each element of an envelope as a record of its own.
    fn decode_elements(
        &mut self,
        rows: &mut Rows<'_>,
        raw: Raw<'_>,
        text: &str,
        elements: &[(usize, usize)],
    ) {
        let shift = raw.span.1 as usize - text.len();
        let counted = matches!(raw.records.positions, RecordPositions::Each(_));
        if counted && elements.len() > 1 {
            let refusal = Refusal::new("an envelope of several records inside one message");
            return rows.refuse(rows.mark(), &refusal, raw.bytes(), raw.position);
        }
        for &(start, end) in elements {
            let place = shift + start;
            let span = (raw.span.0 + place as u32, (end - start) as u32);
            let position = if counted { raw.position } else { raw.position + place as u64 };
            let element = Raw { span, position, ..raw };
            let text = text.get(start..end).unwrap_or_default();
            if !self.read_by_shape(rows, element, text) {
                self.decode_slowly(rows, element, text);
            }
        }
    }

    fn decode_slowly(&mut self, rows: &mut Rows<'_>, raw: Raw<'_>, text: &str) {
        let mark = rows.mark();
        let read = match self.format {
            Format::Plain => plain::read(rows, text, raw.base(text)),
            Format::Dynamodb => dynamodb::read(rows, text, raw.base(text)),
            Format::Debezium => debezium::read(rows, &mut self.schemas, text, raw.base(text)),
        };
        match read {
            Ok(true) => {
                rows.commit(raw.position, raw.span);
                if let Some(shapes) = &mut self.shapes {
                    let schema = match self.format {
                        Format::Debezium => debezium::payload(text).ok().and_then(|(_, text)| text),
                        _ => None,
                    };
                    if let Ok(plan) = self.schemas.plan(Subject::Event, schema) {
                        shapes.learn(&plan, text, self.format);
                    }
                }
            }
            Ok(false) => rows.rollback(mark),
            Err(refusal) => rows.refuse(mark, &refusal, raw.bytes(), raw.position),
        }
    }
}

/// One record in its chunk.
#[derive(Clone, Copy)]
struct Raw<'a> {
    records: &'a RawRecords,
    /// The chunk as text, where all of it is.
    text: Option<&'a str>,
    span: (u32, u32),
    position: u64,
}

impl<'a> Raw<'a> {
    /// Where `text`, the end of this record, begins in the chunk: a byte order mark shifts it.
    fn base(&self, text: &str) -> usize {
        (self.span.0 as usize + self.span.1 as usize).saturating_sub(text.len())
    }

    fn range(&self) -> std::ops::Range<usize> {
        let start = self.span.0 as usize;
        start..start.saturating_add(self.span.1 as usize)
    }

    fn bytes(&self) -> Bytes {
        let length = self.records.data.len();
        let range = self.range();
        self.records.data.slice(range.start.min(length)..range.end.min(length))
    }

    /// The record as text, without a byte order mark at the very beginning of its partition.
    fn text(&self) -> Read<&'a str> {
        let range = self.range();
        let text = match self.text.and_then(|text| text.get(range.clone())) {
            Some(text) => text,
            None => {
                let bytes = self.records.data.get(range).unwrap_or_default();
                std::str::from_utf8(bytes).map_err(|error| {
                    Refusal::new(format!("invalid UTF-8 at byte {}", error.valid_up_to()))
                })?
            }
        };
        Ok(match self.position {
            0 => text.strip_prefix('\u{feff}').unwrap_or(text),
            _ => text,
        })
    }
}

fn decode_tombstone(rows: &mut Rows<'_>, schemas: &mut Schemas, raw: Raw<'_>) {
    let mark = rows.mark();
    let read = raw.text().and_then(|key| tombstone::read(rows, schemas, key, raw.base(key)));
    match read {
        Ok(()) => rows.commit(raw.position, raw.span),
        Err(refusal) => rows.refuse(mark, &refusal, raw.bytes(), raw.position),
    }
}

fn refuse_oversized(rows: &mut Rows<'_>, large: &crate::component::source::Oversized) {
    let reason = format!(
        "the record has {} bytes, more than `max_record_size` allows; its first {} are kept",
        large.raw.length,
        large.raw.bytes.len(),
    );
    let raw = RawImage { ..large.raw.clone() };
    rows.reject(reason, raw, large.position, (None, None));
}
