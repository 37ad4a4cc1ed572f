//! The rows of one batch while they are built: columns, system columns and rejects.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    AsArray, BooleanBufferBuilder, Int64Array, RecordBatch, RecordBatchOptions,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer};
use arrow::error::ArrowError;
use bytes::Bytes;

use super::check::check;
use super::columns::{Column, finish_struct, home};
use super::json::{Cursor, write_string};
use super::plan::{Kind, Plan};
use super::refusal::{Read, Refusal};
use super::value::{Form, Opened, Unknown, ValueReader, close, describe, open, write_plain};
use crate::component::RawBatch;
use crate::component::decoder::{Stamp, Versioning};
use crate::event::batch::{BeforeImage, RawRows};
use crate::event::system::UTC;
use crate::event::views::Views;
use crate::event::{Batch, DeadLetter, Operation, Position, RawImage, Stage, SystemColumns};

/// The places of the key attributes in a record.
pub(super) type KeyPlaces = Vec<Option<(usize, usize)>>;

/// One image: the columns of the contract, row by row.
pub(super) struct Image {
    pub columns: Vec<Column>,
    /// True where the event has this image; not kept for the rows themselves.
    pub present: BooleanBufferBuilder,
}

/// What the rows of a batch grow in.
pub(super) struct Rows<'p> {
    pub plan: &'p Plan,
    pub stamp: &'p Stamp,
    /// The chunk that all records lie in.
    data: &'p [u8],
    pub image: Image,
    pub before: Option<Image>,
    pub op: Views,
    pub key: Views,
    /// Bytes of `_key`.
    pub keys: Vec<u8>,
    pub event_time: Vec<i64>,
    pub extra: Option<Column>,
    /// Bytes of `_extra`.
    pub extras: Vec<u8>,
    /// Text that had escapes.
    pub side: Vec<u8>,
    version: Vec<i64>,
    position: Vec<i64>,
    spans: Vec<(u32, u32)>,
    pub unknown: Vec<Unknown>,
    /// Events so far, rejects included.
    pub events: u64,
    pub rejects: Vec<DeadLetter>,
    /// The time of the message being read, where a broker gives one: the last resort.
    pub message_time: Option<i64>,
    /// What a record without `_op` is.
    pub unmarked: Operation,
    /// What is known of the row being read, for its dead letter.
    known: (Option<Range<usize>>, Option<i64>),
}

/// Where a row begins: what a rollback goes back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    rows: usize,
    pub events: u64,
    side: usize,
    keys: usize,
    extras: usize,
    rejects: usize,
}

impl Image {
    fn new(plan: &Plan, rows: usize) -> Self {
        let columns = plan.root.all.iter().map(|column| Column::new(&column.kind, rows));
        Self { columns: columns.collect(), present: BooleanBufferBuilder::new(rows) }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
        if rows < self.present.len() {
            self.present.truncate(rows);
        }
    }

    /// A null in each column that has no value in `row` yet.
    pub(super) fn fill(&mut self, row: usize) {
        for column in &mut self.columns {
            if column.len() == row {
                column.push_null();
            }
        }
    }
}

impl<'p> Rows<'p> {
    /// No rows yet, with room for `rows`; `with_before` where the form has images before.
    pub(super) fn new(
        plan: &'p Plan,
        stamp: &'p Stamp,
        data: &'p [u8],
        rows: usize,
        with_before: bool,
    ) -> Self {
        Self {
            plan,
            stamp,
            data,
            image: Image::new(plan, rows),
            before: with_before.then(|| Image::new(plan, rows)),
            op: Views::default(),
            key: Views::default(),
            keys: Vec::with_capacity(rows * 64),
            event_time: Vec::with_capacity(rows),
            extra: (!plan.strict).then(|| Column::new(&Kind::Text, rows)),
            extras: Vec::new(),
            side: Vec::new(),
            version: Vec::with_capacity(rows),
            position: Vec::with_capacity(rows),
            spans: Vec::with_capacity(rows),
            unknown: Vec::new(),
            events: 0,
            rejects: Vec::new(),
            message_time: None,
            unmarked: Operation::Upsert,
            known: (None, None),
        }
    }

    /// Rows that are complete.
    pub(super) fn len(&self) -> usize {
        self.version.len()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            rows: self.len(),
            events: self.events,
            side: self.side.len(),
            keys: self.keys.len(),
            extras: self.extras.len(),
            rejects: self.rejects.len(),
        }
    }

    /// Forget everything since `mark`.
    pub(super) fn rollback(&mut self, mark: Mark) {
        self.image.truncate(mark.rows);
        if let Some(before) = &mut self.before {
            before.truncate(mark.rows);
        }
        if let Some(extra) = &mut self.extra {
            extra.truncate(mark.rows);
        }
        self.op.truncate(mark.rows);
        self.key.truncate(mark.rows);
        self.event_time.truncate(mark.rows);
        self.version.truncate(mark.rows);
        self.position.truncate(mark.rows);
        self.spans.truncate(mark.rows);
        self.side.truncate(mark.side);
        self.keys.truncate(mark.keys);
        self.extras.truncate(mark.extras);
        self.rejects.truncate(mark.rejects);
        self.events = mark.events;
        self.unknown.clear();
        self.known = (None, None);
    }

    /// `_version` of the next event, which stands at `position`.
    fn next_version(&self, position: u64) -> i64 {
        let (base, step) = match self.stamp.versioning {
            Versioning::Position { base } => (base, position),
            Versioning::Ordinal => (self.stamp.first_ordinal, self.events),
        };
        base.saturating_add(i64::try_from(step).unwrap_or(i64::MAX)).max(1)
    }

    /// Complete the row: stamp it.
    pub(super) fn commit(&mut self, position: u64, span: (u32, u32)) {
        self.version.push(self.next_version(position));
        self.position.push(i64::try_from(position).unwrap_or(i64::MAX));
        self.spans.push(span);
        self.events += 1;
        self.known = (None, None);
    }

    /// Refuse one event, which has no row; with what is known of its key and its time.
    pub(super) fn reject(
        &mut self,
        reason: String,
        raw: RawImage,
        position: u64,
        known: (Option<String>, Option<i64>),
    ) {
        self.rejects.push(DeadLetter {
            stage: Stage::Decode,
            reason,
            raw,
            stream: self.stamp.stream.clone(),
            partition: self.stamp.partition.clone(),
            position: Position::Offset(position),
            version: self.next_version(position),
            key: known.0,
            event_time: known.1,
        });
        self.events += 1;
    }

    /// Refuse the event being read: its row is rolled back to `mark`, what is known of it kept.
    pub(super) fn refuse(&mut self, mark: Mark, refusal: &Refusal, raw: Bytes, position: u64) {
        let (key, time) = std::mem::take(&mut self.known);
        let key = key.and_then(|key| std::str::from_utf8(self.keys.get(key)?).ok());
        let known = (key.map(str::to_owned), time);
        self.rollback(mark);
        self.reject(refusal.to_string(), RawImage::whole(raw), position, known);
    }

    /// Read the members of an image into its columns; the places of its key attributes.
    pub(super) fn read_image(
        &mut self,
        plan: &Plan,
        cursor: &mut Cursor<'_>,
        form: Form,
        base: usize,
        is_before: bool,
    ) -> Read<KeyPlaces> {
        let row = self.len();
        let image = match &mut self.before {
            Some(before) if is_before => before,
            _ => &mut self.image,
        };
        let mut reader = ValueReader { base, side: &mut self.side, unknown: &mut self.unknown };
        let mut row_reader = ImageReader::new(plan, row);
        let mut first = true;
        while let Some(name) = cursor.member(first)? {
            first = false;
            row_reader.member(cursor, form, &cursor.text(name), &mut reader, image)?;
        }
        image.fill(row);
        Ok(row_reader.keys)
    }

    /// The canonical key of the attributes at `places`, appended to the bytes of `_key`.
    pub(super) fn write_key(
        &mut self,
        record: &str,
        form: Form,
        places: &KeyPlaces,
    ) -> Read<Range<usize>> {
        let start = self.keys.len();
        for (key, place) in self.plan.keys.iter().zip(places) {
            let name = || self.plan.root.all.get(key.column).map_or("", |column| &column.name);
            self.keys.extend_from_slice(&key.literal);
            let Some((at, _)) = *place else {
                return Err(Refusal::new("a key attribute is missing").inside(name()));
            };
            let mut cursor = Cursor::new(record, at);
            let opened = open(&mut cursor, form)?;
            match opened {
                Opened::Text(string) | Opened::Binary(string) => {
                    write_string(&mut self.keys, &cursor.text(string));
                }
                Opened::Number(text) => self.keys.extend_from_slice(text.as_bytes()),
                _ => {
                    let found = describe(&cursor, opened);
                    let message =
                        format!("a key attribute must be text, a number or bytes, found {found}");
                    return Err(Refusal::new(message).inside(name()));
                }
            }
            close(&mut cursor, form)?;
        }
        self.keys.push(b'}');
        Ok(start..self.keys.len())
    }

    /// Complete the row's system columns and check it: everything but [`commit`](Self::commit).
    pub(super) fn finish_row(
        &mut self,
        record: &str,
        op: Operation,
        time: Option<i64>,
        key: Range<usize>,
    ) -> Read<()> {
        let row = self.len();
        let bytes = self.keys.get(key.clone()).unwrap_or_default();
        self.known = (Some(key.clone()), time);
        self.key.push(bytes, home::CHUNK, key.start as u32);
        self.push_op(op);
        let Some(time) = time.or_else(|| self.time_of(row)).or(self.message_time) else {
            return Err(Refusal::new(
                "no time: expected `_event_time` or a value in a time column of the contract",
            ));
        };
        self.known.1 = Some(time);
        self.event_time.push(time);
        if !op.removes() {
            check(&self.plan.root, &self.image.columns, row, self.data, &self.side)?;
        }
        self.finish_extra(record)
    }

    pub(super) fn push_op(&mut self, op: Operation) {
        self.op.push(op.as_str().as_bytes(), home::CHUNK, 0);
    }

    /// The time of a row from its columns: the first one of the plan's times that has a value.
    pub(super) fn time_of(&self, row: usize) -> Option<i64> {
        use super::columns::Values;
        self.plan.times.iter().find_map(|&index| {
            let column = self.image.columns.get(index)?;
            if !column.is_valid(row) {
                return None;
            }
            match &column.values {
                Values::Instant(values) => values.get(row).copied(),
                Values::Date(values) => values.get(row).map(|&day| i64::from(day) * 86_400_000_000),
                _ => None,
            }
        })
    }

    /// `_extra` of the row: the unknown attributes as one JSON object, nested as they were.
    fn finish_extra(&mut self, record: &str) -> Read<()> {
        let unknown = std::mem::take(&mut self.unknown);
        let Some(extra) = &mut self.extra else {
            return match unknown.first() {
                None => Ok(()),
                Some(first) => Err(Refusal::new("the contract does not know this attribute")
                    .inside(&first.path.join("."))),
            };
        };
        if unknown.is_empty() {
            extra.push_null();
            return Ok(());
        }
        let start = self.extras.len();
        write_unknown(&mut self.extras, record, &unknown)?;
        let bytes = self.extras.get(start..).unwrap_or_default();
        if let super::columns::Values::Text(views) = &mut extra.values {
            views.push(bytes, home::CHUNK, start as u32);
        }
        extra.mark_valid();
        Ok(())
    }

    /// The batch.
    pub(super) fn finish(self, data: Bytes, raw: &RawBatch) -> Result<Batch, ArrowError> {
        let rows = self.version.len();
        let buffers = [Buffer::from(data.clone()), Buffer::from_vec(self.side)];
        let members = &self.plan.root.all;
        let arrays = finish_struct(rows, self.image.columns, members, None, &buffers)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(
            self.plan.schema.clone(),
            arrays.columns().to_vec(),
            &options,
        )?;
        let mut before_image = None;
        let mut before_column = None;
        if let Some(mut before) = self.before {
            let present = before.present.finish();
            let nulls = Some(NullBuffer::new(present.clone()));
            let column = finish_struct(rows, before.columns, members, nulls, &buffers)?;
            let rows = RecordBatch::try_new_with_options(
                self.plan.schema.clone(),
                column.columns().to_vec(),
                &options,
            )?;
            before_image = Some(BeforeImage { rows, present, kept: None });
            before_column = Some(column);
        }
        let extra = match self.extra {
            None => None,
            Some(extra) => {
                let array = extra.finish(&Kind::Text, &[Buffer::from_vec(self.extras)])?;
                array.as_string_view_opt().cloned()
            }
        };
        let system = SystemColumns {
            op: self.op.finish_text(&[], None)?,
            key: self.key.finish_text(&[Buffer::from_vec(self.keys)], None)?,
            event_time: TimestampMicrosecondArray::from(self.event_time).with_timezone(UTC.clone()),
            version: Int64Array::from(self.version),
            stream: self.stamp.stream.clone(),
            partition: self.stamp.partition.clone(),
            position: Arc::new(Int64Array::from(self.position)),
            before: before_column,
            extra,
            message: None,
        };
        debug_assert_eq!(system.len(), batch.num_rows());
        Ok(Batch {
            rows: batch,
            system,
            raw: RawRows { data, spans: self.spans.into(), index: None },
            kept: None,
            before: before_image,
            range: raw.range.clone(),
            events: self.events,
            bytes: raw.bytes,
            rejects: self.rejects,
        })
    }
}

/// Reads the members of one image, at the top of a record.
pub(super) struct ImageReader<'p> {
    plan: &'p Plan,
    row: usize,
    hint: usize,
    names: super::value::Names,
    pub keys: KeyPlaces,
}

impl<'p> ImageReader<'p> {
    pub(super) fn new(plan: &'p Plan, row: usize) -> Self {
        let keys = vec![None; plan.keys.len()];
        Self { plan, row, hint: 0, names: super::value::Names::default(), keys }
    }

    /// Read the value of the member `name`, at the cursor.
    pub(super) fn member(
        &mut self,
        cursor: &mut Cursor<'_>,
        form: Form,
        name: &str,
        reader: &mut ValueReader<'_>,
        image: &mut Image,
    ) -> Read<()> {
        let Some(index) = self.plan.root.index(name, self.hint) else {
            return reader.unknown(cursor, form, name, &mut self.names);
        };
        self.hint = index + 1;
        let (Some(member), Some(column)) =
            (self.plan.root.all.get(index), image.columns.get_mut(index))
        else {
            return Ok(());
        };
        if column.len() > self.row {
            return Err(Refusal::new("this name occurs twice").inside(name));
        }
        cursor.peek();
        let start = cursor.at();
        let before = reader.unknown.len();
        reader.value(cursor, form, member, column).map_err(|refusal| refusal.inside(name))?;
        for unknown in reader.unknown.iter_mut().skip(before) {
            unknown.path.insert(0, name.to_owned());
        }
        if let Some(key) = self.plan.key_of(index).and_then(|place| self.keys.get_mut(place)) {
            *key = column.is_valid(self.row).then_some((start, cursor.at()));
        }
        Ok(())
    }
}

/// Write unknown attributes as one object. Those of one parent lie side by side.
fn write_unknown(out: &mut Vec<u8>, record: &str, unknown: &[Unknown]) -> Read<()> {
    let mut open: &[String] = &[];
    out.push(b'{');
    let mut first = true;
    for attribute in unknown {
        let Some((name, parents)) = attribute.path.split_last() else { continue };
        let shared = open.iter().zip(parents).take_while(|(left, right)| left == right).count();
        for _ in shared..open.len() {
            out.push(b'}');
            first = false;
        }
        for parent in parents.iter().skip(shared) {
            if !first {
                out.push(b',');
            }
            write_string(out, parent);
            out.extend_from_slice(b":{");
            first = true;
        }
        if !first {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_plain(&mut Cursor::new(record, attribute.place.0), attribute.form, out)
            .map_err(|refusal| refusal.inside(&attribute.path.join(".")))?;
        first = false;
        open = parents;
    }
    out.extend(std::iter::repeat_n(b'}', open.len() + 1));
    Ok(())
}
