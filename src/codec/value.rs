//! Values into columns, for both forms: plain JSON, and DynamoDB's, which wraps each value in an
//! object that names its type (`{"S": "text"}`).
//!
//! The form of DynamoDB: "AttributeValue" in the Amazon DynamoDB Streams API reference.

use super::base64::decode;
use super::columns::{Column, Values, home};
use super::instant::{parse_count, parse_date, parse_days, parse_text};
use super::json::{Cursor, Str, Token, number_length, write_string};
use super::number::{self, Excess, Misfit};
use super::plan::{Kind, Member, Members, Written};
use super::refusal::{Read, Refusal, quoted};
use crate::contract::TimeForm;
use crate::event::views::Views;

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As JSON has it.
    Plain,
    /// Wrapped in an object that names its type.
    Typed,
    /// An element of a string set, a number set, a binary set: the bare string of a typed value.
    Bare(Scalar),
}

/// What the string of a typed value stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    Number,
    Binary,
}

/// A value that was begun: a scalar, or the inside of a list or an object in a form.
#[derive(Debug, Clone, Copy)]
pub(super) enum Opened<'a> {
    Null,
    Boolean(bool),
    Number(&'a str),
    Text(Str),
    Binary(Str),
    Array(Form),
    Object(Form),
}

/// Begin a value. Lists and objects are read on with [`Cursor::element`] and [`Cursor::member`] in
/// the form given; afterwards [`close`] ends the value.
pub(super) fn open<'a>(cursor: &mut Cursor<'a>, form: Form) -> Read<Opened<'a>> {
    let token = cursor.token()?;
    match form {
        Form::Plain => Ok(match token {
            Token::Null => Opened::Null,
            Token::Boolean(value) => Opened::Boolean(value),
            Token::Number(text) => Opened::Number(text),
            Token::Text(string) => Opened::Text(string),
            Token::Array => Opened::Array(Form::Plain),
            Token::Object => Opened::Object(Form::Plain),
        }),
        Form::Bare(scalar) => match token {
            Token::Text(string) => bare(cursor, scalar, string),
            _ => Err(Refusal::new("expected a string inside a set")),
        },
        Form::Typed => {
            const WRAPPER: &str = "expected a value with its type, like {\"S\": \"text\"}";
            if token != Token::Object {
                return Err(Refusal::new(WRAPPER));
            }
            let Some(tag) = cursor.member(true)? else { return Err(Refusal::new(WRAPPER)) };
            let tag = cursor.text(tag);
            let token = cursor.token()?;
            match (tag.as_ref(), token) {
                ("S", Token::Text(string)) => Ok(Opened::Text(string)),
                ("N", Token::Text(string)) => bare(cursor, Scalar::Number, string),
                ("B", Token::Text(string)) => Ok(Opened::Binary(string)),
                ("BOOL", Token::Boolean(value)) => Ok(Opened::Boolean(value)),
                ("NULL", Token::Boolean(true)) => Ok(Opened::Null),
                ("M", Token::Object) => Ok(Opened::Object(Form::Typed)),
                ("L", Token::Array) => Ok(Opened::Array(Form::Typed)),
                ("SS", Token::Array) => Ok(Opened::Array(Form::Bare(Scalar::Text))),
                ("NS", Token::Array) => Ok(Opened::Array(Form::Bare(Scalar::Number))),
                ("BS", Token::Array) => Ok(Opened::Array(Form::Bare(Scalar::Binary))),
                ("S" | "N" | "B" | "BOOL" | "NULL" | "M" | "L" | "SS" | "NS" | "BS", _) => {
                    Err(Refusal::new(format!("not a value of type {tag}")))
                }
                _ => Err(Refusal::new(format!("unknown type {}", quoted(&tag)))),
            }
        }
    }
}

fn bare<'a>(cursor: &Cursor<'a>, scalar: Scalar, string: Str) -> Read<Opened<'a>> {
    Ok(match scalar {
        Scalar::Text => Opened::Text(string),
        Scalar::Binary => Opened::Binary(string),
        Scalar::Number => {
            let text = cursor.raw(string);
            if number_length(text.as_bytes()) != Some(text.len()) {
                return Err(Refusal::new(format!("expected a number, found {}", quoted(text))));
            }
            Opened::Number(text)
        }
    })
}

/// End a value that was begun in `form`.
pub(super) fn close(cursor: &mut Cursor<'_>, form: Form) -> Read<()> {
    match form {
        Form::Typed => match cursor.member(false)? {
            None => Ok(()),
            Some(_) => Err(Refusal::new("a value with two types")),
        },
        _ => Ok(()),
    }
}

/// An attribute that the contract does not know: its path, its place in the record, its form.
#[derive(Debug)]
pub(super) struct Unknown {
    pub path: Vec<String>,
    pub place: (usize, usize),
    pub form: Form,
}

/// Reads values of one record into columns.
pub(super) struct ValueReader<'r> {
    /// Where the record begins in the chunk.
    pub base: usize,
    /// Text that had escapes, and bytes that were base64.
    pub side: &'r mut Vec<u8>,
    /// Attributes that the contract does not know.
    pub unknown: &'r mut Vec<Unknown>,
}

impl ValueReader<'_> {
    /// Read one value into `column`; a null where it is one.
    pub(super) fn value(
        &mut self,
        cursor: &mut Cursor<'_>,
        form: Form,
        member: &Member,
        column: &mut Column,
    ) -> Read<()> {
        let opened = open(cursor, form)?;
        if let Opened::Null = opened {
            column.push_null();
            return close(cursor, form);
        }
        match (&mut column.values, &member.kind, opened) {
            (Values::List(ends, items), Kind::List(item), Opened::Array(inner)) => {
                let from = items.len();
                while cursor.element(items.len() == from)? {
                    let index = items.len() - from;
                    let before = self.unknown.len();
                    self.value(cursor, inner, item, items)
                        .map_err(|refusal| refusal.inside(&format!("[{index}]")))?;
                    for unknown in self.unknown.iter_mut().skip(before) {
                        unknown.path.insert(0, index.to_string());
                    }
                }
                ends.push(items.len() as i32);
            }
            (Values::Struct(rows, columns), Kind::Struct(members), Opened::Object(inner)) => {
                self.object(cursor, inner, members, columns, *rows)?;
                *rows += 1;
            }
            (
                Values::Decimal(values, _),
                kind @ Kind::Decimal { written: Written::Unscaled { .. }, .. },
                Opened::Object(inner),
            ) => values.push(scaled_object(cursor, inner, kind)?),
            (_, _, Opened::Array(_) | Opened::Object(_)) => {
                return Err(mismatch(cursor, &member.kind, opened));
            }
            (values, kind, scalar) => self.scalar(cursor, kind, values, scalar)?,
        }
        column.mark_valid();
        close(cursor, form)
    }

    /// Read the members of an object that was opened into row `row` of `columns`.
    fn object(
        &mut self,
        cursor: &mut Cursor<'_>,
        form: Form,
        members: &Members,
        columns: &mut [Column],
        row: usize,
    ) -> Read<()> {
        let mut names = Names::default();
        let mut hint = 0;
        let mut first = true;
        while let Some(name) = cursor.member(first)? {
            first = false;
            let name = cursor.text(name);
            match members.index(&name, hint) {
                Some(index) => {
                    hint = index + 1;
                    let (Some(member), Some(column)) =
                        (members.all.get(index), columns.get_mut(index))
                    else {
                        continue;
                    };
                    if column.len() > row {
                        return Err(Refusal::new("this name occurs twice").inside(&name));
                    }
                    let before = self.unknown.len();
                    self.value(cursor, form, member, column)
                        .map_err(|refusal| refusal.inside(&name))?;
                    for unknown in self.unknown.iter_mut().skip(before) {
                        unknown.path.insert(0, name.to_string());
                    }
                }
                None => self.unknown(cursor, form, &name, &mut names)?,
            }
        }
        for column in columns {
            if column.len() == row {
                column.push_null();
            }
        }
        Ok(())
    }

    /// Note an attribute that the contract does not know, and pass it.
    pub(super) fn unknown(
        &mut self,
        cursor: &mut Cursor<'_>,
        form: Form,
        name: &str,
        names: &mut Names,
    ) -> Read<()> {
        if !names.insert(name) {
            return Err(Refusal::new("this name occurs twice").inside(name));
        }
        let place = cursor.skip()?;
        self.unknown.push(Unknown { path: vec![name.to_owned()], place, form });
        Ok(())
    }

    fn scalar(
        &mut self,
        cursor: &Cursor<'_>,
        kind: &Kind,
        values: &mut Values,
        found: Opened<'_>,
    ) -> Read<()> {
        let misfit = || mismatch(cursor, kind, found);
        match (values, kind, found) {
            (Values::Text(views), Kind::Text, Opened::Text(string)) => {
                self.push_text(cursor, views, string);
            }
            (Values::Integer(values), Kind::Integer, Opened::Number(text)) => {
                values.push(
                    number::integer(text)
                        .map_err(|misfit| unfit(kind, Opened::Number(text), cursor, misfit))?,
                );
            }
            (Values::Float(values), Kind::Float, Opened::Number(text)) => {
                values.push(
                    number::float(text)
                        .map_err(|misfit| unfit(kind, Opened::Number(text), cursor, misfit))?,
                );
            }
            (Values::Decimal(values, _), Kind::Decimal { precision, scale, written }, _) => {
                let text = match (written, found) {
                    (_, Opened::Number(text)) => text,
                    // Many writers quote exact numbers, since most readers take a JSON number for
                    // a double.
                    (Written::Digits, Opened::Text(string)) if is_number(cursor.raw(string)) => {
                        cursor.raw(string)
                    }
                    (Written::Unscaled { scale: own }, Opened::Text(string)) => {
                        values.push(unscaled(cursor, kind, *own, string)?);
                        return Ok(());
                    }
                    _ => return Err(misfit()),
                };
                let value = number::scaled(text, *precision, *scale, Excess::Refuse);
                values.push(
                    value.map_err(|misfit| unfit(kind, Opened::Number(text), cursor, misfit))?,
                );
            }
            (Values::Boolean(values), Kind::Boolean, Opened::Boolean(value)) => {
                values.append(value);
            }
            (Values::Instant(values), Kind::Instant(form), _) => {
                values.push(instant(cursor, *form, found).ok_or_else(misfit)?);
            }
            (Values::Date(values), Kind::Date(form), _) => {
                values.push(date(cursor, *form, found).ok_or_else(misfit)?);
            }
            (
                Values::Binary(views),
                Kind::Binary,
                Opened::Text(string) | Opened::Binary(string),
            ) => {
                let bytes = decode(&cursor.text(string)).ok_or_else(misfit)?;
                let offset = self.side.len() as u32;
                self.side.extend_from_slice(&bytes);
                views.push(&bytes, home::SIDE, offset);
            }
            _ => return Err(misfit()),
        }
        Ok(())
    }

    fn push_text(&mut self, cursor: &Cursor<'_>, views: &mut Views, string: Str) {
        if string.escaped {
            let text = cursor.text(string);
            let offset = self.side.len() as u32;
            self.side.extend_from_slice(text.as_bytes());
            views.push(text.as_bytes(), home::SIDE, offset);
        } else {
            let offset = (self.base + string.start) as u32;
            views.push(cursor.raw(string).as_bytes(), home::CHUNK, offset);
        }
    }
}

/// The unknown names of one object, to find one that occurs twice.
#[derive(Debug, Default)]
pub(super) struct Names(std::collections::HashSet<String>);

impl Names {
    /// False where the name was met before.
    pub(super) fn insert(&mut self, name: &str) -> bool {
        self.0.insert(name.to_owned())
    }
}

fn is_number(text: &str) -> bool {
    number_length(text.as_bytes()) == Some(text.len())
}

fn instant(cursor: &Cursor<'_>, form: TimeForm, found: Opened<'_>) -> Option<i64> {
    match (form, found) {
        (TimeForm::Text, Opened::Text(string)) => parse_text(&cursor.text(string)),
        (form, Opened::Number(text)) => parse_count(text, form),
        _ => None,
    }
}

fn date(cursor: &Cursor<'_>, form: TimeForm, found: Opened<'_>) -> Option<i32> {
    match (form, found) {
        (TimeForm::Text, Opened::Text(string)) => {
            let text = cursor.text(string);
            // A date in UTC, as Debezium's IsoDate is.
            parse_date(text.strip_suffix('Z').unwrap_or(&text))
        }
        (form, Opened::Number(text)) => parse_days(text, form),
        _ => None,
    }
}

/// A number of `kind` from the base64 of its unscaled value, whose scale is `own`.
fn unscaled(cursor: &Cursor<'_>, kind: &Kind, own: i32, string: Str) -> Read<i128> {
    let misfit = || mismatch(cursor, kind, Opened::Text(string));
    let Kind::Decimal { precision, scale, .. } = kind else { return Err(misfit()) };
    let bytes = decode(&cursor.text(string)).ok_or_else(misfit)?;
    number::unscaled(&bytes, own, *precision, *scale)
        .map_err(|misfit| unfit(kind, Opened::Text(string), cursor, misfit))
}

/// A number of `kind` that brings its scale: `{"scale": 2, "value": "MDk="}`, opened.
fn scaled_object(cursor: &mut Cursor<'_>, form: Form, kind: &Kind) -> Read<i128> {
    const SHAPE: &str = "expected an object of `scale` and `value`";
    let (mut scale, mut value, mut first) = (None, None, true);
    while let Some(name) = cursor.member(first)? {
        first = false;
        let name = cursor.text(name);
        let found = open(cursor, form)?;
        let is_new = match (name.as_ref(), found) {
            ("scale", Opened::Number(text)) => {
                let own = number::integer(text).ok().and_then(|own| i32::try_from(own).ok());
                let own = own.ok_or_else(|| {
                    Refusal::new(format!("expected a scale, found {}", describe(cursor, found)))
                        .inside("scale")
                })?;
                scale.replace(own).is_none()
            }
            ("value", Opened::Text(string)) => value.replace(string).is_none(),
            _ => false,
        };
        if !is_new {
            return Err(Refusal::new(SHAPE));
        }
        close(cursor, form)?;
    }
    let (Some(scale), Some(value)) = (scale, value) else { return Err(Refusal::new(SHAPE)) };
    unscaled(cursor, kind, scale, value)
}

/// A value as messages show it.
pub(super) fn describe(cursor: &Cursor<'_>, found: Opened<'_>) -> String {
    match found {
        Opened::Null => "null".into(),
        Opened::Boolean(value) => value.to_string(),
        Opened::Number(text) if text.len() > 45 => {
            format!("number {}... of {} characters", text.get(..40).unwrap_or_default(), text.len())
        }
        Opened::Number(text) => format!("number {text}"),
        Opened::Text(string) => format!("text {}", quoted(&cursor.text(string))),
        Opened::Binary(_) => "bytes".into(),
        Opened::Array(_) => "a list".into(),
        Opened::Object(_) => "an object".into(),
    }
}

fn mismatch(cursor: &Cursor<'_>, kind: &Kind, found: Opened<'_>) -> Box<Refusal> {
    Refusal::new(format!("expected {}, found {}", kind.word(), describe(cursor, found)))
}

fn unfit(kind: &Kind, found: Opened<'_>, cursor: &Cursor<'_>, misfit: Misfit) -> Box<Refusal> {
    let why = match (misfit, kind) {
        (Misfit::Empty, _) => "it has no bytes",
        (Misfit::Range, Kind::Integer) => "outside the range of 64 bits",
        (Misfit::Range, Kind::Float) => "outside the range of a double",
        (Misfit::Range, _) => "too many digits",
        (Misfit::Fraction, Kind::Integer) => "it has a fraction",
        (Misfit::Fraction, _) => "too many decimals",
    };
    let shown = match found {
        Opened::Number(text) => {
            let cut = text.get(..40).map(|start| format!("number {start}..."));
            cut.unwrap_or_else(|| format!("number {text}"))
        }
        found => describe(cursor, found),
    };
    Refusal::new(format!("expected {}, found {shown}: {why}", kind.word()))
}

/// Write the value at the cursor as plain JSON.
pub(super) fn write_plain(cursor: &mut Cursor<'_>, form: Form, out: &mut Vec<u8>) -> Read<()> {
    if form == Form::Plain {
        let (start, end) = cursor.skip()?;
        out.extend_from_slice(cursor.slice(start, end).as_bytes());
        return Ok(());
    }
    match open(cursor, form)? {
        Opened::Null => out.extend_from_slice(b"null"),
        Opened::Boolean(value) => out.extend_from_slice(if value { b"true" } else { b"false" }),
        Opened::Number(text) => out.extend_from_slice(text.as_bytes()),
        Opened::Text(string) | Opened::Binary(string) => write_string(out, &cursor.text(string)),
        Opened::Array(inner) => {
            out.push(b'[');
            let mut first = true;
            while cursor.element(first)? {
                if !first {
                    out.push(b',');
                }
                first = false;
                write_plain(cursor, inner, out)?;
            }
            out.push(b']');
        }
        Opened::Object(inner) => {
            out.push(b'{');
            let mut first = true;
            while let Some(name) = cursor.member(first)? {
                if !first {
                    out.push(b',');
                }
                first = false;
                write_string(out, &cursor.text(name));
                out.push(b':');
                write_plain(cursor, inner, out)?;
            }
            out.push(b'}');
        }
    }
    close(cursor, form)
}
