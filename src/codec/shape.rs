//! The fast path: records of one lane mostly look alike, so the bytes between their values are
//! expected to be those of a record seen before.
//!
//! A shape is what a record looks like without its values: the literal bytes before each value
//! (braces, names, colons, DynamoDB's type wrappers) and what to do with the value. Reading compares
//! the literals and reads the values between them. A member that is missing is passed over where its
//! neighbours are members of the same object, since then nothing but its own bytes is missing. What
//! does not match any shape is rolled back and read again by the slow path, from whose record a new
//! shape is learnt. A shape never decides that a record is wrong: the slow path does, so that both
//! give the same rows and the same reasons.

use std::sync::Arc;

use super::Format;
use super::columns::{Column, Values};
use super::debezium::{self, Stamp};
use super::fast::{Fast, plain_string, starts_at};
use super::instant::parse_text;
use super::json::{Cursor, number_length};
use super::learn;
use super::plan::{Member, Plan};
use super::rows::{Image, Rows};
use super::value::{Form, Unknown, ValueReader};
use crate::event::Operation;

/// Shapes that a lane remembers.
const MAX_SHAPES: usize = 8;
/// How many missing members in a row are passed over.
const MAX_MISSING: usize = 6;

/// What a record looks like without its values.
#[derive(Debug)]
pub(super) struct Shape {
    /// How values are read: as the schema inside the literals says, where there is one.
    pub plan: Arc<Plan>,
    pub slots: Vec<Slot>,
    /// What follows the last value.
    pub tail: Vec<u8>,
    /// Structs that the record has, the inner ones first.
    pub structs: Vec<Target>,
    /// It has an image before the change.
    pub has_before: bool,
}

/// One value and the bytes before it.
#[derive(Debug)]
pub(super) struct Slot {
    pub literal: Vec<u8>,
    /// The object that the value is a member of.
    pub parent: u32,
    /// It stands inside a wrapper that names its type, which the next literal closes.
    pub wrapped: bool,
    /// How many lists and objects it stands in.
    pub depth: u32,
    pub action: Action,
}

/// A column or a member of one, in the row or in the image before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub is_before: bool,
    /// Index among the columns, then among the members, and so on.
    pub path: Vec<usize>,
}

/// What a value is for.
#[derive(Debug)]
pub(super) enum Action {
    /// It goes into a column, written in `form`; `key` is its place in the primary key.
    Column { target: Target, form: Form, fast: Fast, key: Option<usize> },
    /// A key attribute in the record's `Keys`.
    Key { key: usize, is_number: bool },
    /// An attribute that the contract does not know, for `_extra`.
    Unknown { path: Vec<String>, form: Form },
    /// Of no interest.
    Pass,
    /// `_op`.
    Op,
    /// `eventName`.
    EventName,
    /// `_event_time`, ISO 8601 text.
    EventTime,
    /// `ApproximateCreationDateTime`, whole seconds.
    Created,
    /// `op` of Debezium.
    Letter,
    /// A time of Debezium: of the database where `is_source`, else of the connector; in how many
    /// digits behind the second.
    Stamp { is_source: bool, power: i8 },
}

/// The shapes of one lane, the one that was met last first.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    hits: u64,
    misses: u64,
    scratch: Scratch,
}

/// The place of a key attribute's bytes, and whether they are text.
type KeyToken = Option<(usize, usize, bool)>;

/// What is found on the way through one record.
#[derive(Debug, Default)]
struct Scratch {
    /// Key attributes of the row, of the image before, of `Keys`.
    row_key: Vec<KeyToken>,
    before_key: Vec<KeyToken>,
    record_key: Vec<KeyToken>,
    op: Option<Operation>,
    time: Option<i64>,
    /// Times of Debezium: of the database and of the connector, each in its digits and as text.
    changed: Option<(i8, (usize, usize))>,
    seen: Option<(i8, (usize, usize))>,
}

impl Shapes {
    /// Read `record` by one of the shapes; false where none fits, and nothing is left behind.
    pub(super) fn read(
        &mut self,
        rows: &mut Rows<'_>,
        record: &str,
        base: usize,
        format: Format,
    ) -> bool {
        if self.is_pausing() {
            return false;
        }
        let mark = rows.mark();
        for index in 0..self.shapes.len() {
            let Some(shape) = self.shapes.get(index) else { break };
            let read = shape.read(rows, record, base, format, &mut self.scratch);
            if read.is_some() {
                self.hits += 1;
                if index > 0 {
                    self.shapes.swap(0, index);
                }
                return true;
            }
            rows.rollback(mark);
        }
        false
    }

    /// Learn the shape of a record that the slow path has read.
    pub(super) fn learn(&mut self, plan: &Arc<Plan>, record: &str, format: Format) {
        self.misses += 1;
        if self.is_pausing() {
            return;
        }
        let Some(shape) = learn::shape(plan, record, format) else { return };
        self.shapes.truncate(MAX_SHAPES - 1);
        self.shapes.insert(0, shape);
    }

    /// Records read.
    #[cfg(test)]
    pub(super) fn hits(&self) -> u64 {
        self.hits
    }

    /// Where records do not look alike, shapes are not worth their while: then only some records
    /// are tried.
    fn is_pausing(&self) -> bool {
        self.misses > 256 + self.hits && !self.misses.is_multiple_of(16)
    }
}

impl Shape {
    fn read(
        &self,
        rows: &mut Rows<'_>,
        record: &str,
        base: usize,
        format: Format,
        scratch: &mut Scratch,
    ) -> Option<()> {
        scratch.reset(rows.plan.keys.len());
        let row = rows.len();
        if format == Format::Debezium {
            let begins = self.slots.first()?.literal.len();
            if !starts_at(record.as_bytes(), 0, &self.slots.first()?.literal)
                || debezium::is_partial(record.get(begins..)?)
            {
                return None;
            }
        }
        let end = self.values(rows, record, base, scratch)?;
        for target in &self.structs {
            close_struct(image_of(rows, target.is_before)?, target)?;
        }
        rows.image.fill(row);
        let key = scratch.write_key(rows, record, format, self.has_before)?;
        if let Some(before) = &mut rows.before {
            if self.has_before {
                before.fill(row);
            } else {
                before.columns.iter_mut().for_each(Column::push_null);
            }
            before.present.append(self.has_before);
        }
        record.as_bytes().get(end..)?.iter().all(|byte| b" \t\n\r".contains(byte)).then_some(())?;
        let op = match format {
            Format::Plain => scratch.op.unwrap_or(rows.unmarked),
            Format::Dynamodb => scratch.op?,
            Format::Debezium => {
                let stamp = scratch.changed.or(scratch.seen);
                scratch.time = stamp.and_then(|(power, (start, end))| {
                    Stamp(power, record.get(start..end)?).micros()
                });
                scratch.op?
            }
        };
        rows.finish_row(record, op, scratch.time, key).ok()
    }

    /// Read all values; where the record's tail ends.
    fn values(
        &self,
        rows: &mut Rows<'_>,
        record: &str,
        base: usize,
        scratch: &mut Scratch,
    ) -> Option<usize> {
        let bytes = record.as_bytes();
        let (mut at, mut index) = (0, 0);
        let mut previous = None;
        while let Some(mut slot) = self.slots.get(index) {
            if !starts_at(bytes, at, &slot.literal) {
                index = self.next_match(bytes, at, index, previous)?;
                match self.slots.get(index) {
                    Some(next) => slot = next,
                    None => break,
                }
            }
            at += slot.literal.len();
            at = slot.value(&self.plan, rows, record, at, base, scratch)?;
            previous = Some((slot.parent, slot.wrapped));
            index += 1;
        }
        starts_at(bytes, at, &self.tail).then_some(at + self.tail.len())
    }

    /// The next slot whose literal stands at `at`, the number of slots for the tail: only siblings
    /// of the value before may be missing, and what follows them must follow that value as well.
    #[cold]
    fn next_match(
        &self,
        bytes: &[u8],
        at: usize,
        from: usize,
        previous: Option<(u32, bool)>,
    ) -> Option<usize> {
        let (parent, wrapped) = previous?;
        for index in from..(from + MAX_MISSING).min(self.slots.len()) {
            let missing = self.slots.get(index)?;
            if missing.parent != parent {
                return None;
            }
            let (is_sibling, literal) = match self.slots.get(index + 1) {
                Some(next) => (next.parent == parent, &next.literal),
                None => (true, &self.tail),
            };
            if is_sibling && missing.wrapped == wrapped && starts_at(bytes, at, literal) {
                return Some(index + 1);
            }
        }
        None
    }
}

fn image_of<'r>(rows: &'r mut Rows<'_>, is_before: bool) -> Option<&'r mut Image> {
    if is_before { rows.before.as_mut() } else { Some(&mut rows.image) }
}

fn column_at<'c>(columns: &'c mut [Column], path: &[usize]) -> Option<&'c mut Column> {
    let (first, rest) = path.split_first()?;
    let column = columns.get_mut(*first)?;
    if rest.is_empty() {
        return Some(column);
    }
    match &mut column.values {
        Values::Struct(_, members) => column_at(members, rest),
        _ => None,
    }
}

/// A struct whose members have been read: those that were missing are null.
fn close_struct(image: &mut Image, target: &Target) -> Option<()> {
    let column = column_at(&mut image.columns, &target.path)?;
    if let Values::Struct(rows, members) = &mut column.values {
        for member in members {
            if member.len() == *rows {
                member.push_null();
            }
        }
        *rows += 1;
    }
    column.mark_valid();
    Some(())
}

fn member_at<'p>(plan: &'p Plan, path: &[usize]) -> Option<&'p Member> {
    let (first, rest) = path.split_first()?;
    let member = plan.root.all.get(*first)?;
    rest.iter().try_fold(member, |member, &index| match &member.kind {
        super::plan::Kind::Struct(members) => members.all.get(index),
        _ => None,
    })
}

impl Slot {
    /// Read the value at `at`; where it ends.
    #[inline]
    fn value(
        &self,
        plan: &Plan,
        rows: &mut Rows<'_>,
        record: &str,
        at: usize,
        base: usize,
        scratch: &mut Scratch,
    ) -> Option<usize> {
        let bytes = record.as_bytes();
        match &self.action {
            Action::Column { target, form, fast, key } => {
                let image = image_of(rows, target.is_before)?;
                let column = column_at(&mut image.columns, &target.path)?;
                let end = match fast.read(column, record, at, base, *form) {
                    Some(end) => end,
                    None => return self.slow_value(plan, rows, record, at, base),
                };
                if let Some(key) = *key {
                    let is_text = *form != Form::Bare(super::value::Scalar::Number)
                        && bytes.get(at) == Some(&b'"');
                    let keys = if target.is_before {
                        &mut scratch.before_key
                    } else {
                        &mut scratch.row_key
                    };
                    *keys.get_mut(key)? = Some(token(bytes, at, end, is_text));
                }
                Some(end)
            }
            Action::Key { key, is_number } => {
                let end = plain_string(bytes, at)?;
                *scratch.record_key.get_mut(*key)? = Some(token(bytes, at, end, !is_number));
                Some(end)
            }
            Action::Pass => match plain_string(bytes, at) {
                Some(end) => Some(end),
                None => Cursor::inside(record, at, self.depth).skip().ok().map(|(_, end)| end),
            },
            Action::Unknown { path, form } => {
                let (start, end) = Cursor::inside(record, at, self.depth).skip().ok()?;
                rows.unknown.push(Unknown { path: path.clone(), place: (start, end), form: *form });
                Some(end)
            }
            _ => self.word(record, at, scratch),
        }
    }

    /// Read a word or a time that says something of the record as a whole; where it ends.
    fn word(&self, record: &str, at: usize, scratch: &mut Scratch) -> Option<usize> {
        let bytes = record.as_bytes();
        match &self.action {
            Action::Op | Action::EventName => {
                let end = plain_string(bytes, at)?;
                let word = record.get(at + 1..end - 1)?;
                scratch.op = Some(match (&self.action, word) {
                    (Action::Op, word) => word.parse().ok()?,
                    (_, "INSERT") => Operation::Insert,
                    (_, "MODIFY") => Operation::Update,
                    _ => return None,
                });
                Some(end)
            }
            Action::Letter => {
                let end = plain_string(bytes, at)?;
                scratch.op = Some(match record.get(at + 1..end - 1)? {
                    "c" => Operation::Insert,
                    "u" => Operation::Update,
                    "r" => Operation::Snapshot,
                    // The row of a delete is another image.
                    _ => return None,
                });
                Some(end)
            }
            Action::Stamp { is_source, power } => {
                let (start, end) = Cursor::inside(record, at, self.depth).skip().ok()?;
                let is_time = Stamp(*power, record.get(start..end)?).is_time();
                let kept = if *is_source { &mut scratch.changed } else { &mut scratch.seen };
                if is_time && kept.is_none_or(|(finer, _)| finer < *power) {
                    *kept = Some((*power, (start, end)));
                }
                Some(end)
            }
            Action::EventTime => {
                let end = plain_string(bytes, at)?;
                scratch.time = Some(parse_text(record.get(at + 1..end - 1)?)?);
                Some(end)
            }
            Action::Created => {
                let end = at + number_length(bytes.get(at..)?)?;
                scratch.time = Some(super::instant::parse_epoch(record.get(at..end)?, 0)?);
                Some(end)
            }
            _ => None,
        }
    }

    /// Read a value of a column by the slow path's reader. A key read so is left to the slow path.
    #[cold]
    fn slow_value(
        &self,
        plan: &Plan,
        rows: &mut Rows<'_>,
        record: &str,
        at: usize,
        base: usize,
    ) -> Option<usize> {
        let Action::Column { target, form, key: None, fast } = &self.action else { return None };
        // The value of a typed boolean: plain JSON, but never null.
        if *form == Form::Typed && *fast != Fast::No {
            return None;
        }
        let member = member_at(plan, &target.path)?;
        let known = rows.unknown.len();
        let image = if target.is_before { rows.before.as_mut()? } else { &mut rows.image };
        let column = column_at(&mut image.columns, &target.path)?;
        let mut reader = ValueReader { base, side: &mut rows.side, unknown: &mut rows.unknown };
        let mut cursor = Cursor::inside(record, at, self.depth);
        reader.value(&mut cursor, *form, member, column).ok()?;
        // Unknown members inside lists: their path is not kept in a shape.
        (rows.unknown.len() == known).then_some(cursor.at())
    }
}

/// A key attribute's bytes as `_key` has them: text with its quotes, a number without.
fn token(bytes: &[u8], at: usize, end: usize, is_text: bool) -> (usize, usize, bool) {
    let is_wrapped = !is_text && bytes.get(at) == Some(&b'"');
    if is_wrapped { (at + 1, end - 1, false) } else { (at, end, is_text) }
}

impl Scratch {
    fn reset(&mut self, keys: usize) {
        for tokens in [&mut self.row_key, &mut self.before_key, &mut self.record_key] {
            tokens.clear();
            tokens.resize(keys, None);
        }
        self.op = None;
        self.time = None;
        self.changed = None;
        self.seen = None;
    }

    /// Write `_key`; `None` where a key attribute is missing, or images and `Keys` differ.
    fn write_key(
        &self,
        rows: &mut Rows<'_>,
        record: &str,
        format: Format,
        has_before: bool,
    ) -> Option<std::ops::Range<usize>> {
        let start = rows.keys.len();
        let text = |token: &KeyToken| {
            let (from, to, _) = (*token)?;
            record.get(from..to)
        };
        for (index, key) in rows.plan.keys.iter().enumerate() {
            let token = self.row_key.get(index)?;
            let own = text(token)?;
            if format != Format::Plain {
                let same = |other: &Vec<KeyToken>| {
                    let other = other.get(index)?;
                    let same_kind = (*other)?.2 == (*token)?.2;
                    (same_kind && text(other)? == own).then_some(())
                };
                if format == Format::Dynamodb {
                    same(&self.record_key)?;
                }
                if has_before {
                    same(&self.before_key)?;
                }
            }
            rows.keys.extend_from_slice(&key.literal);
            rows.keys.extend_from_slice(own.as_bytes());
        }
        rows.keys.push(b'}');
        Some(start..rows.keys.len())
    }
}
