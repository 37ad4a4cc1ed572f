//! Change events of Debezium as JSON, with their schema beside them or without.
//!
//! Shape: "Data change events" in the documentation of the Debezium connectors: an object with `op`,
//! `before`, `after` and `source`, or one with `schema` and `payload` around it. `op` is c (create),
//! u (update), d (delete), r (read by a snapshot); t (truncate) and m (message) are no change of one
//! item and are refused. A column that a database did not send since it is unchanged and large
//! carries a marker instead of a value: it is taken from the image before, or the record is refused,
//! as a null would say that the value is gone.

use super::before;
use super::connect::{Schemas, Subject};
use super::instant::parse_epoch;
use super::json::{Cursor, Str, Token};
use super::plain::shown;
use super::plan::Plan;
use super::refusal::{Read, Refusal};
use super::rows::{ImageReader, KeyPlaces, Rows};
use super::value::{Form, Opened, ValueReader, describe, open};
use crate::event::Operation;

/// Stands where a value was not sent: "unavailable.value.placeholder", as text, as a list of text,
/// and in base64.
const UNAVAILABLE: [&str; 3] = [
    "\"__debezium_unavailable_value\"",
    "[\"__debezium_unavailable_value\"]",
    "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"",
];

/// A time that an event carries: in how many digits behind the second, and the count itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp<'a>(pub i8, pub &'a str);

impl Stamp<'_> {
    /// A count of something. A snapshot of some databases says 0: no time at all.
    pub(super) fn is_time(self) -> bool {
        let Self(_, text) = self;
        text.bytes().all(|byte| byte.is_ascii_digit()) && text != "0"
    }

    /// Microseconds since 1970.
    pub(super) fn micros(self) -> Option<i64> {
        let Self(power, text) = self;
        parse_epoch(text, power)
    }
}

/// In how many digits behind the second the member `name` counts, where it is a time.
pub(super) fn power_of(name: &str) -> Option<i8> {
    match name {
        "ts_ms" => Some(3),
        "ts_us" => Some(6),
        // Rows have microseconds: nanoseconds say no more.
        _ => None,
    }
}

/// What an event says, images not yet read.
#[derive(Debug, Default)]
struct Parts<'a> {
    op: Option<Str>,
    before: Option<usize>,
    after: Option<usize>,
    /// When the database changed the item, and when the connector saw it.
    changed: Option<Stamp<'a>>,
    seen: Option<Stamp<'a>>,
}

/// Where the payload of `record` begins, and the schema beside it: inside an envelope with a schema,
/// else the record itself.
pub(super) fn payload(record: &str) -> Read<(usize, Option<&str>)> {
    let mut cursor = Cursor::new(record, 0);
    let start = cursor.at();
    if cursor.token()? != Token::Object {
        return Ok((start, None));
    }
    let (mut first, mut payload, mut schema) = (true, None, None);
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        let (place, end) = cursor.skip()?;
        match name.as_ref() {
            "schema" => schema = Some(cursor.slice(place, end)),
            "payload" => payload = Some(place),
            _ => return Ok((start, None)),
        }
    }
    cursor.end()?;
    match (payload, schema) {
        // A null schema is none.
        (Some(payload), Some(schema)) => {
            Ok((payload, Some(schema).filter(|schema| *schema != "null")))
        }
        _ => Ok((start, None)),
    }
}

/// Read one record into a row; false where it is `null` and says nothing.
pub(super) fn read(
    rows: &mut Rows<'_>,
    schemas: &mut Schemas,
    record: &str,
    base: usize,
) -> Read<bool> {
    let (begins, schema) = payload(record)?;
    let mut cursor = Cursor::new(record, begins);
    match cursor.token()? {
        Token::Object => {}
        Token::Null => return Ok(false),
        _ => return Err(Refusal::new("expected a Debezium event, an object with `op`")),
    }
    let parts = scan(&mut cursor)?;
    if begins == 0 {
        cursor.end()?;
    }
    let op = operation(&cursor, &parts)?;
    let (name, image) = match op.removes() {
        true => ("before", parts.before),
        false => ("after", parts.after),
    };
    let Some(image) = image else {
        let hint = match op.removes() {
            true => " (the table must have a primary key, or REPLICA IDENTITY FULL)",
            false => "",
        };
        return Err(Refusal::new(format!("{name}: expected an object, found nothing{hint}")));
    };
    let plan = &schemas.plan(Subject::Event, schema).map_err(|refusal| refusal.inside(name))?;
    let places = key_places(rows, record, image).map_err(|refusal| refusal.inside(name))?;
    let key =
        rows.write_key(record, Form::Plain, &places).map_err(|refusal| refusal.inside(name))?;
    match read_image(rows, plan, record, base, image, parts.before, Members::All) {
        Ok(()) => {}
        Err(refusal) if refusal.is_syntax() || !op.removes() => return Err(refusal.inside(name)),
        // The image before a delete holds the key and little else, or no longer fits the contract.
        // The delete must still be honoured: it goes on with its key alone.
        Err(_) => {
            let row = rows.len();
            rows.image.truncate(row);
            rows.unknown.clear();
            read_image(rows, plan, record, base, image, None, Members::Key)
                .map_err(|refusal| refusal.inside(name))?;
        }
    }
    let whole = |place: &usize| !is_partial(object(record, *place));
    before::read(rows, plan, record, base, Form::Plain, parts.before.filter(whole), &key)?;
    let time = parts.changed.or(parts.seen);
    let time = time.and_then(Stamp::micros);
    rows.finish_row(record, op, time, key)?;
    Ok(true)
}

/// Find the parts of an event whose opening brace has been passed.
fn scan<'a>(cursor: &mut Cursor<'a>) -> Read<Parts<'a>> {
    let mut parts = Parts::default();
    let mut first = true;
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        match name.as_ref() {
            "op" => {
                let found = open(cursor, Form::Plain)?;
                let Opened::Text(op) = found else {
                    let found = describe(cursor, found);
                    return Err(Refusal::new(format!("op: expected c, u, d or r, found {found}")));
                };
                if parts.op.replace(op).is_some() {
                    return Err(Refusal::new("this name occurs twice").inside("op"));
                }
            }
            "before" => parts.before = image(cursor).map_err(|refusal| refusal.inside("before"))?,
            "after" => parts.after = image(cursor).map_err(|refusal| refusal.inside("after"))?,
            "source" => parts.changed = source_time(cursor)?,
            name => {
                let (start, end) = cursor.skip()?;
                finest(&mut parts.seen, name, cursor.slice(start, end));
            }
        }
    }
    Ok(parts)
}

/// Where an image begins; none where it is null.
fn image(cursor: &mut Cursor<'_>) -> Read<Option<usize>> {
    let (start, end) = cursor.skip()?;
    match cursor.slice(start, end).as_bytes() {
        b"null" => Ok(None),
        [b'{', ..] => Ok(Some(start)),
        _ => Err(Refusal::new("expected an object")),
    }
}

fn source_time<'a>(cursor: &mut Cursor<'a>) -> Read<Option<Stamp<'a>>> {
    let (start, end) = cursor.skip()?;
    if !cursor.slice(start, end).starts_with('{') {
        return Ok(None);
    }
    let mut inner = cursor.clone_at(start);
    inner.token()?;
    let (mut found, mut first) = (None, true);
    while let Some(name) = inner.member(first)? {
        first = false;
        let name = inner.text(name);
        let (start, end) = inner.skip()?;
        finest(&mut found, &name, cursor.slice(start, end));
    }
    Ok(found)
}

/// Keep the time with the most digits.
fn finest<'a>(kept: &mut Option<Stamp<'a>>, name: &str, text: &'a str) {
    let Some(power) = power_of(name) else { return };
    if Stamp(power, text).is_time() && kept.is_none_or(|Stamp(finer, _)| finer < power) {
        *kept = Some(Stamp(power, text));
    }
}

fn operation(cursor: &Cursor<'_>, parts: &Parts<'_>) -> Read<Operation> {
    let Some(op) = parts.op else {
        return Err(Refusal::new("op: expected c, u, d or r, found nothing"));
    };
    match cursor.text(op).as_ref() {
        "c" => Ok(Operation::Insert),
        "u" => Ok(Operation::Update),
        "d" => Ok(Operation::Delete),
        "r" => Ok(Operation::Snapshot),
        "t" => Err(Refusal::new(
            "op: a truncate names no item: whatever the table held is still in the lake",
        )),
        "m" => Err(Refusal::new("op: a logical message is no change of an item")),
        _ => Err(Refusal::new(format!(
            "op: expected c, u, d or r, found {}",
            shown(cursor, Opened::Text(op))
        ))),
    }
}

/// The places of the key attributes in the image at `image`.
fn key_places(rows: &Rows<'_>, record: &str, image: usize) -> Read<KeyPlaces> {
    let plan = rows.plan;
    let mut places: KeyPlaces = vec![None; plan.keys.len()];
    let mut cursor = Cursor::new(record, image);
    cursor.token()?;
    let mut first = true;
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        let key = plan.root.index(&name, 0).and_then(|column| plan.key_of(column));
        let span = cursor.skip()?;
        if let Some(place) = key.and_then(|key| places.get_mut(key)) {
            *place = Some(span);
        }
    }
    Ok(places)
}

/// Which members of an image are read.
#[derive(Clone, Copy, PartialEq)]
enum Members {
    All,
    Key,
}

/// Read the image at `image` into the row; what was not sent is taken from the one at `before`.
fn read_image(
    rows: &mut Rows<'_>,
    plan: &Plan,
    record: &str,
    base: usize,
    image: usize,
    before: Option<usize>,
    which: Members,
) -> Read<()> {
    let row = rows.len();
    let mut cursor = Cursor::new(record, image);
    cursor.token()?;
    let mut reader = ValueReader { base, side: &mut rows.side, unknown: &mut rows.unknown };
    let mut members = ImageReader::new(plan, row);
    let mut first = true;
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        let is_key = || plan.root.index(&name, 0).and_then(|column| plan.key_of(column)).is_some();
        if which == Members::Key && !is_key() {
            cursor.skip()?;
            continue;
        }
        let at = cursor.at();
        let mut ahead = cursor.clone_at(at);
        let (start, end) = ahead.skip()?;
        if !UNAVAILABLE.contains(&record.get(start..end).unwrap_or_default()) {
            members.member(&mut cursor, Form::Plain, &name, &mut reader, &mut rows.image)?;
            continue;
        }
        cursor.skip()?;
        let Some(place) = before.and_then(|before| member_of(record, before, &name)) else {
            return Err(Refusal::new(
                "the value is unchanged and was not sent: set REPLICA IDENTITY FULL for the table",
            )
            .inside(&name));
        };
        let mut there = Cursor::new(record, place);
        members.member(&mut there, Form::Plain, &name, &mut reader, &mut rows.image)?;
    }
    rows.image.fill(row);
    Ok(())
}

/// Where the value of `name` begins in the object at `object`; none where it was not sent either.
fn member_of(record: &str, object: usize, name: &str) -> Option<usize> {
    let mut cursor = Cursor::new(record, object);
    cursor.token().ok()?;
    let mut first = true;
    while let Some(found) = cursor.member(first).ok()? {
        first = false;
        let is_it = cursor.text(found) == name;
        let (start, end) = cursor.skip().ok()?;
        if is_it {
            return (!UNAVAILABLE.contains(&cursor.slice(start, end))).then_some(start);
        }
    }
    None
}

/// The text of the object at `place`.
fn object(record: &str, place: usize) -> &str {
    let end = Cursor::new(record, place).skip().map_or(record.len(), |(_, end)| end);
    record.get(place..end).unwrap_or_default()
}

/// True where some value of `text` was not sent.
pub(super) fn is_partial(text: &str) -> bool {
    UNAVAILABLE.iter().any(|marker| text.contains(marker))
}
