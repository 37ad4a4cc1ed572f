//! Scalars as plain as most are, read where they stand into their column.

use super::columns::{Column, Values, home};
use super::instant::{parse_count, parse_days, parse_text};
use super::json::{find_special, number_length};
use super::number;
use super::value::Form;
use crate::contract::TimeForm;

/// A scalar that is read where it stands, if it is as plain as most are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fast {
    Text,
    Integer,
    Float,
    Boolean,
    Instant,
    /// A count since 1970.
    Count(TimeForm),
    /// Read by the slow path's reader.
    No,
}

impl Fast {
    /// Read the value at `at` into `column`; where it ends, `None` where it is not plain.
    #[inline]
    pub(super) fn read(
        self,
        column: &mut Column,
        record: &str,
        at: usize,
        base: usize,
        form: Form,
    ) -> Option<usize> {
        let bytes = record.as_bytes();
        let end = match (self, &mut column.values) {
            (Self::Text, Values::Text(views)) => {
                let end = plain_string(bytes, at)?;
                views.push(bytes.get(at + 1..end - 1)?, home::CHUNK, (base + at + 1) as u32);
                end
            }
            (Self::Instant, Values::Instant(values)) => {
                let end = plain_string(bytes, at)?;
                values.push(parse_text(record.get(at + 1..end - 1)?)?);
                end
            }
            (Self::Boolean, Values::Boolean(values)) => match bytes.get(at) {
                Some(b't') if starts_at(bytes, at, b"true") => {
                    values.append(true);
                    at + 4
                }
                Some(b'f') if starts_at(bytes, at, b"false") => {
                    values.append(false);
                    at + 5
                }
                _ => return None,
            },
            (_, values) => {
                // A typed number stands in quotes.
                let quoted = form != Form::Plain;
                let start = at + usize::from(quoted);
                if quoted && bytes.get(at) != Some(&b'"') {
                    return None;
                }
                let end = start + number_length(bytes.get(start..)?)?;
                // Nothing is pushed before all of it is known to be plain.
                if quoted && bytes.get(end) != Some(&b'"') {
                    return None;
                }
                let text = record.get(start..end)?;
                match (self, values) {
                    (Self::Integer, Values::Integer(values)) => {
                        values.push(number::integer(text).ok()?);
                    }
                    (Self::Float, Values::Float(values)) => {
                        values.push(number::float(text).ok()?);
                    }
                    (Self::Count(form), Values::Instant(values)) => {
                        values.push(parse_count(text, form)?);
                    }
                    (Self::Count(form), Values::Date(values)) => {
                        values.push(parse_days(text, form)?);
                    }
                    _ => return None,
                }
                end + usize::from(quoted)
            }
        };
        column.mark_valid();
        Some(end)
    }
}

/// True where `literal` stands at `at`.
#[inline]
pub(super) fn starts_at(bytes: &[u8], at: usize, literal: &[u8]) -> bool {
    bytes.get(at..at + literal.len()) == Some(literal)
}

/// Where a string without escapes ends that begins at `at`, its quotes included.
#[inline]
pub(super) fn plain_string(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let end = find_special(bytes, at + 1);
    (bytes.get(end) == Some(&b'"')).then_some(end + 1)
}
