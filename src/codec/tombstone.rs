//! A message without a value: the item that its key names is gone.

use std::ops::Range;

use super::columns::{Values, home};
use super::connect::{Schemas, Subject};
use super::json::{Cursor, Token, write_string};
use super::plan::{Kind, Plan};
use super::refusal::{Read, Refusal, quoted};
use super::rows::{ImageReader, Rows};
use super::value::{Form, ValueReader};
use super::{before, debezium};
use crate::event::Operation;

/// Read the key of a message, which stands at `base` of the chunk, into a delete of the item that it
/// names: a JSON object of the key columns, or the bare value where there is one key column. Its
/// time is the message's: that of the item is not when it went.
pub(super) fn read(rows: &mut Rows<'_>, schemas: &mut Schemas, key: &str, base: usize) -> Read<()> {
    // Debezium may write the schema of a key beside it.
    let (begins, schema) = debezium::payload(key).unwrap_or_default();
    let begins_object = matches!(Cursor::new(key, begins).token(), Ok(Token::Object));
    let written = match (begins_object, begins) {
        (true, _) => {
            let plan = schemas.plan(Subject::Key, schema)?;
            read_object(rows, &plan, key, base, begins)?
        }
        (false, 0) => read_value(rows, key, base)?,
        (false, _) => return Err(Refusal::new(expected(rows.plan)).inside("payload")),
    };
    before::end(rows, false);
    let time = rows.message_time;
    rows.finish_row(key, Operation::Delete, time, written)
}

fn read_object(
    rows: &mut Rows<'_>,
    plan: &Plan,
    key: &str,
    base: usize,
    begins: usize,
) -> Read<Range<usize>> {
    let row = rows.len();
    let mut cursor = Cursor::new(key, begins);
    cursor.token()?;
    let mut reader = ValueReader { base, side: &mut rows.side, unknown: &mut rows.unknown };
    let mut members = ImageReader::new(plan, row);
    let mut first = true;
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        if plan.root.index(&name, 0).and_then(|column| plan.key_of(column)).is_none() {
            return Err(Refusal::new(format!("{} and nothing else", expected(plan))).inside(&name));
        }
        members.member(&mut cursor, Form::Plain, &name, &mut reader, &mut rows.image)?;
    }
    if begins == 0 {
        cursor.end()?;
    }
    rows.image.fill(row);
    rows.write_key(key, Form::Plain, &members.keys)
}

/// The bare value of the only key column: as JSON where it is that, else as text.
fn read_value(rows: &mut Rows<'_>, key: &str, base: usize) -> Read<Range<usize>> {
    let row = rows.len();
    let plan = rows.plan;
    let unfit = || match key {
        "" => Refusal::new(format!("{}, found no key", expected(plan))),
        key => Refusal::new(format!("{}, found {}", expected(plan), quoted(key))),
    };
    let [only] = plan.keys.as_slice() else { return Err(unfit()) };
    let (Some(member), Some(column)) =
        (plan.root.all.get(only.column), rows.image.columns.get_mut(only.column))
    else {
        return Err(unfit());
    };
    if key.is_empty() {
        return Err(unfit());
    }
    let mut cursor = Cursor::new(key, 0);
    let mut reader = ValueReader { base, side: &mut rows.side, unknown: &mut rows.unknown };
    let as_json = reader
        .value(&mut cursor, Form::Plain, member, column)
        .and_then(|()| cursor.end())
        .is_ok_and(|()| column.is_valid(row));
    if as_json {
        rows.image.fill(row);
        return rows.write_key(key, Form::Plain, &vec![Some((0, key.len()))]);
    }
    column.truncate(row);
    let (Kind::Text, Values::Text(views)) = (&member.kind, &mut column.values) else {
        return Err(unfit());
    };
    views.push(key.as_bytes(), home::CHUNK, base as u32);
    column.mark_valid();
    rows.image.fill(row);
    let start = rows.keys.len();
    rows.keys.extend_from_slice(&only.literal);
    write_string(&mut rows.keys, key);
    rows.keys.push(b'}');
    Ok(start..rows.keys.len())
}

/// What the key of a tombstone has to be.
fn expected(plan: &Plan) -> String {
    let name =
        |key: &super::plan::KeyColumn| plan.root.all.get(key.column).map(|column| &column.name);
    let names: Vec<&str> = plan.keys.iter().filter_map(name).map(String::as_str).collect();
    let or_bare = if names.len() == 1 { ", or its bare value" } else { "" };
    format!(
        "the value is null: expected a message key that is a JSON object of {}{or_bare}",
        names.join(", ")
    )
}
