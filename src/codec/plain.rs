//! Plain records: one item an object, `_op` and `_event_time` beside its attributes.

use std::str::FromStr;

use super::instant::parse_text;
use super::json::{Cursor, Token};
use super::refusal::{Read, Refusal, quoted};
use super::rows::{ImageReader, Rows};
use super::value::{Form, Opened, ValueReader, describe, open};
use crate::event::Operation;
use crate::event::system::{EVENT_TIME, OP};

/// Read one record into a row; false where it is `null` and says nothing.
///
/// Without `_op` the event is what its source says, mostly an upsert. Without `_event_time` its time is the first that has a
/// value of: the key's instants, the other instants, the dates, each in the contract's order; then
/// the time of its message.
pub(super) fn read(rows: &mut Rows<'_>, record: &str, base: usize) -> Read<bool> {
    let mut cursor = Cursor::new(record, 0);
    match cursor.token()? {
        Token::Object => {}
        Token::Null => {
            cursor.end()?;
            return Ok(false);
        }
        _ => {
            let mut again = Cursor::new(record, 0);
            let found = open(&mut again, Form::Plain)?;
            let found = describe(&again, found);
            return Err(Refusal::new(format!("expected an object, found {found}")));
        }
    }
    let row = rows.len();
    let mut reader = ValueReader { base, side: &mut rows.side, unknown: &mut rows.unknown };
    let mut members = ImageReader::new(rows.plan, row);
    let (mut op, mut time) = (None, None);
    let mut first = true;
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        match name.as_ref() {
            OP if op.is_some() => return Err(twice(OP)),
            EVENT_TIME if time.is_some() => return Err(twice(EVENT_TIME)),
            OP => op = Some(operation(&mut cursor).map_err(|refusal| refusal.inside(OP))?),
            EVENT_TIME => {
                time = Some(event_time(&mut cursor).map_err(|refusal| refusal.inside(EVENT_TIME))?);
            }
            name => members.member(&mut cursor, Form::Plain, name, &mut reader, &mut rows.image)?,
        }
    }
    cursor.end()?;
    rows.image.fill(row);
    let key = rows.write_key(record, Form::Plain, &members.keys)?;
    rows.finish_row(record, op.unwrap_or(rows.unmarked), time, key)?;
    Ok(true)
}

fn twice(name: &str) -> Box<Refusal> {
    Refusal::new("this name occurs twice").inside(name)
}

fn operation(cursor: &mut Cursor<'_>) -> Read<Operation> {
    let found = open(cursor, Form::Plain)?;
    let word = match found {
        Opened::Text(string) => Operation::from_str(&cursor.text(string)).ok(),
        _ => None,
    };
    word.ok_or_else(|| {
        let found = describe(cursor, found);
        Refusal::new(format!(
            "expected insert, update, upsert, delete, expire or snapshot, found {found}"
        ))
    })
}

fn event_time(cursor: &mut Cursor<'_>) -> Read<i64> {
    let found = open(cursor, Form::Plain)?;
    let time = match found {
        Opened::Text(string) => parse_text(&cursor.text(string)),
        _ => None,
    };
    time.ok_or_else(|| {
        Refusal::new(format!("expected an ISO 8601 time, found {}", describe(cursor, found)))
    })
}

/// Text that a message can show.
pub(super) fn shown(cursor: &Cursor<'_>, found: Opened<'_>) -> String {
    match found {
        Opened::Text(string) => quoted(&cursor.text(string)),
        other => describe(cursor, other),
    }
}
