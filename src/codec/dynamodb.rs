//! Records of DynamoDB Streams, one a line, and Lambda envelopes of them.
//!
//! Shape: "Record" and "StreamRecord" in the Amazon DynamoDB Streams API reference. A delete made by
//! the table's time-to-live carries a `userIdentity` of type `Service` and principal
//! `dynamodb.amazonaws.com`; GetRecords and Lambda spell its members differently.

use super::before;
use super::instant::{parse_epoch, parse_text};
use super::json::{Cursor, Str, Token};
use super::plain::shown;
use super::refusal::{Read, Refusal};
use super::rows::{KeyPlaces, Rows};
use super::value::{Form, Opened, describe, open};
use crate::event::Operation;

/// A place in the record: where a value begins.
type Place = Option<usize>;

/// What a record says, images not yet read.
#[derive(Debug, Default)]
struct Parts {
    event_name: Option<Str>,
    by_service: bool,
    by_dynamodb: bool,
    keys: Place,
    new_image: Place,
    old_image: Place,
    created: Option<i64>,
    /// It has the member `dynamodb`.
    change: bool,
}

/// The elements of a Lambda envelope; `None` where the record is not one.
pub(super) fn elements(record: &str) -> Read<Option<Vec<(usize, usize)>>> {
    let mut cursor = Cursor::new(record, 0);
    if cursor.token()? != Token::Object {
        return Ok(None);
    }
    let Some(name) = cursor.member(true)? else { return Ok(None) };
    if cursor.text(name) != "Records" {
        return Ok(None);
    }
    if cursor.token()? != Token::Array {
        return Err(Refusal::new("expected a list").inside("Records"));
    }
    let mut elements = Vec::new();
    while cursor.element(elements.is_empty())? {
        elements.push(cursor.skip()?);
    }
    while cursor.member(false)?.is_some() {
        cursor.skip()?;
    }
    cursor.end()?;
    Ok(Some(elements))
}

/// Read one record into a row; false where it is `null` and says nothing.
pub(super) fn read(rows: &mut Rows<'_>, record: &str, base: usize) -> Read<bool> {
    let mut cursor = Cursor::new(record, 0);
    match cursor.token()? {
        Token::Object => {}
        Token::Null => {
            cursor.end()?;
            return Ok(false);
        }
        _ => return Err(Refusal::new("expected a stream record, an object with `eventName`")),
    }
    let parts = scan(&mut cursor)?;
    cursor.end()?;
    let op = operation(&cursor, &parts)?;
    let keys = parts
        .keys
        .ok_or_else(|| Refusal::new("dynamodb.Keys: expected the item's key, found nothing"))?;
    let key = key_of_record(rows, record, keys)?;

    let image = if op.removes() { parts.old_image } else { parts.new_image };
    let mut read_image = image.is_some();
    if let Some(image) = image {
        let name = if op.removes() { "OldImage" } else { "NewImage" };
        match read_row_image(rows, record, base, image, &key) {
            Ok(()) => {}
            Err(refusal) if refusal.is_syntax() || !op.removes() => {
                return Err(refusal.inside(name).inside("dynamodb"));
            }
            // The image before a delete no longer fits the contract. The delete must still be
            // honoured: it goes on with its key alone.
            Err(_) => {
                let row = rows.len();
                rows.image.truncate(row);
                rows.unknown.clear();
                read_image = false;
            }
        }
    }
    if !read_image {
        let mut cursor = Cursor::new(record, keys);
        cursor.token()?;
        rows.read_image(rows.plan, &mut cursor, Form::Typed, base, false)
            .map_err(|refusal| refusal.inside("Keys").inside("dynamodb"))?;
    }
    before::read(rows, rows.plan, record, base, Form::Typed, parts.old_image, &key)?;
    rows.finish_row(record, op, parts.created, key).map_err(|refusal| {
        if image.is_none() && !op.removes() {
            Refusal::new(format!("{refusal} (the record has no NewImage: the stream's view type must be NEW_IMAGE or NEW_AND_OLD_IMAGES)"))
        } else {
            refusal
        }
    })?;
    Ok(true)
}

/// Find the parts of a record whose opening brace has been passed.
fn scan(cursor: &mut Cursor<'_>) -> Read<Parts> {
    let mut parts = Parts::default();
    let mut first = true;
    while let Some(name) = cursor.member(first)? {
        first = false;
        match cursor.text(name).as_ref() {
            "eventName" => {
                let found = open(cursor, Form::Plain)?;
                let Opened::Text(string) = found else {
                    let found = describe(cursor, found);
                    return Err(Refusal::new(format!(
                        "eventName: expected INSERT, MODIFY or REMOVE, found {found}"
                    )));
                };
                if parts.event_name.replace(string).is_some() {
                    return Err(twice("eventName"));
                }
            }
            "userIdentity" => scan_identity(cursor, &mut parts)?,
            "dynamodb" => {
                if std::mem::replace(&mut parts.change, true) {
                    return Err(twice("dynamodb"));
                }
                if cursor.token()? != Token::Object {
                    return Err(Refusal::new("dynamodb: expected an object"));
                }
                scan_change(cursor, &mut parts)?;
            }
            _ => {
                cursor.skip()?;
            }
        }
    }
    Ok(parts)
}

fn scan_identity(cursor: &mut Cursor<'_>, parts: &mut Parts) -> Read<()> {
    let start = cursor.skip()?.0;
    let mut inner = cursor.clone_at(start);
    if inner.token()? != Token::Object {
        return Ok(());
    }
    let mut first = true;
    while let Some(name) = inner.member(first)? {
        first = false;
        let name = inner.text(name);
        let (start, end) = inner.skip()?;
        let value = inner.slice(start, end);
        match name.as_ref() {
            "type" | "Type" => parts.by_service = value == "\"Service\"",
            "principalId" | "PrincipalId" => {
                parts.by_dynamodb = value == "\"dynamodb.amazonaws.com\"";
            }
            _ => {}
        }
    }
    Ok(())
}

fn scan_change(cursor: &mut Cursor<'_>, parts: &mut Parts) -> Read<()> {
    let mut first = true;
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        let place = match name.as_ref() {
            "Keys" => &mut parts.keys,
            "NewImage" => &mut parts.new_image,
            "OldImage" => &mut parts.old_image,
            "ApproximateCreationDateTime" => {
                parts.created = Some(created(cursor).map_err(|refusal| {
                    refusal.inside("ApproximateCreationDateTime").inside("dynamodb")
                })?);
                continue;
            }
            _ => {
                cursor.skip()?;
                continue;
            }
        };
        let (start, end) = cursor.skip()?;
        match cursor.slice(start, end).as_bytes() {
            b"null" => {}
            [b'{', ..] if place.is_none() => *place = Some(start),
            [b'{', ..] => return Err(twice(&name).inside("dynamodb")),
            _ => return Err(Refusal::new("expected an object").inside(&name).inside("dynamodb")),
        }
    }
    Ok(())
}

fn twice(name: &str) -> Box<Refusal> {
    Refusal::new("this name occurs twice").inside(name)
}

/// The time of a record: seconds as GetRecords and Lambda write them, or text as the AWS CLI does.
fn created(cursor: &mut Cursor<'_>) -> Read<i64> {
    let found = open(cursor, Form::Plain)?;
    let time = match found {
        Opened::Number(text) => parse_epoch(text, 0),
        Opened::Text(string) => parse_text(&cursor.text(string)),
        _ => None,
    };
    time.ok_or_else(|| {
        let found = describe(cursor, found);
        Refusal::new(format!("expected seconds since 1970 or an ISO 8601 time, found {found}"))
    })
}

fn operation(cursor: &Cursor<'_>, parts: &Parts) -> Read<Operation> {
    const EXPECTED: &str = "eventName: expected INSERT, MODIFY or REMOVE, found";
    let Some(name) = parts.event_name else {
        return Err(Refusal::new(format!("{EXPECTED} nothing")));
    };
    match cursor.text(name).as_ref() {
        "INSERT" => Ok(Operation::Insert),
        "MODIFY" => Ok(Operation::Update),
        "REMOVE" if parts.by_service && parts.by_dynamodb => Ok(Operation::Expire),
        "REMOVE" => Ok(Operation::Delete),
        _ => Err(Refusal::new(format!("{EXPECTED} {}", shown(cursor, Opened::Text(name))))),
    }
}

/// `_key` from the record's `Keys`, which must be the contract's primary key and nothing else.
fn key_of_record(rows: &mut Rows<'_>, record: &str, keys: usize) -> Read<std::ops::Range<usize>> {
    let plan = rows.plan;
    let mut cursor = Cursor::new(record, keys);
    cursor.token()?;
    let mut places: KeyPlaces = vec![None; plan.keys.len()];
    let mut first = true;
    let fail = |message: &str, name: &str| {
        Refusal::new(message).inside(name).inside("Keys").inside("dynamodb")
    };
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        let place = plan.root.index(&name, 0).and_then(|column| plan.key_of(column));
        let span = cursor.skip()?;
        match place.and_then(|place| places.get_mut(place)) {
            Some(place @ None) => *place = Some(span),
            Some(_) => return Err(fail("this name occurs twice", &name)),
            None => return Err(fail("not in the contract's primary key", &name)),
        }
    }
    rows.write_key(record, Form::Typed, &places)
        .map_err(|refusal| refusal.inside("Keys").inside("dynamodb"))
}

/// Read the image that the row shows; its key must be the record's.
fn read_row_image(
    rows: &mut Rows<'_>,
    record: &str,
    base: usize,
    image: usize,
    key: &std::ops::Range<usize>,
) -> Read<()> {
    let mut cursor = Cursor::new(record, image);
    cursor.token()?;
    let places = rows.read_image(rows.plan, &mut cursor, Form::Typed, base, false)?;
    before::same_key(rows, record, Form::Typed, &places, key)
}
