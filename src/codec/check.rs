//! The contract's quality rules, checked on a row as it was decoded.

use super::columns::{Column, Values};
use super::plan::{Member, Members};
use super::refusal::{Read, Refusal, quoted};
use crate::contract::Rule;

/// Where text is found: views point into these.
struct Texts<'a> {
    chunk: &'a [u8],
    side: &'a [u8],
}

/// Check `row`: required values are there, values keep to their rules.
pub(super) fn check(
    members: &Members,
    columns: &[Column],
    row: usize,
    chunk: &[u8],
    side: &[u8],
) -> Read<()> {
    let texts = Texts { chunk, side };
    for (member, column) in members.all.iter().zip(columns) {
        if member.checked {
            check_value(member, column, row, &texts)
                .map_err(|refusal| refusal.inside(&member.name))?;
        }
    }
    Ok(())
}

fn check_value(member: &Member, column: &Column, row: usize, texts: &Texts<'_>) -> Read<()> {
    if !column.is_valid(row) {
        return match member.required {
            true => Err(Refusal::new(format!("expected {}, found nothing", member.kind.word()))),
            false => Ok(()),
        };
    }
    for rule in &member.rules {
        check_rule(rule, column, row, texts)?;
    }
    match (&column.values, &member.kind) {
        (Values::Struct(_, columns), super::plan::Kind::Struct(members)) => {
            for (member, column) in members.all.iter().zip(columns) {
                if member.checked {
                    check_value(member, column, row, texts)
                        .map_err(|refusal| refusal.inside(&member.name))?;
                }
            }
            Ok(())
        }
        (Values::List(ends, items), super::plan::Kind::List(item)) if item.checked => {
            let end = ends.get(row).map_or(0, |&end| end as usize);
            let start = match row.checked_sub(1) {
                Some(before) => ends.get(before).map_or(0, |&end| end as usize),
                None => 0,
            };
            (start..end).try_for_each(|place| {
                check_value(item, items, place, texts)
                    .map_err(|refusal| refusal.inside(&format!("[{}]", place - start)))
            })
        }
        _ => Ok(()),
    }
}

fn check_rule(rule: &Rule, column: &Column, row: usize, texts: &Texts<'_>) -> Read<()> {
    match rule {
        Rule::OneOf(allowed) => {
            let Values::Text(views) = &column.values else { return Ok(()) };
            let Some(view) = views.get(row) else { return Ok(()) };
            let inline = view.to_le_bytes();
            let found = texts.of(view, &inline);
            if allowed.iter().any(|word| word.as_bytes() == found) {
                return Ok(());
            }
            let found = quoted(&String::from_utf8_lossy(found));
            let allowed = allowed.join(", ");
            Err(Refusal::new(format!("expected one of {allowed}, found text {found}")))
        }
        Rule::Range { min, max } => {
            let Some(found) = number_at(column, row) else { return Ok(()) };
            let below = min.is_some_and(|min| found < min);
            let above = max.is_some_and(|max| found > max);
            if !below && !above {
                return Ok(());
            }
            let expected = match (min, max) {
                (Some(min), Some(max)) => format!("a number from {min} to {max}"),
                (Some(min), None) => format!("a number of at least {min}"),
                (None, Some(max)) => format!("a number of at most {max}"),
                (None, None) => return Ok(()),
            };
            Err(Refusal::new(format!("expected {expected}, found number {found}")))
        }
    }
}

fn number_at(column: &Column, row: usize) -> Option<f64> {
    match &column.values {
        Values::Integer(values) => values.get(row).map(|&value| value as f64),
        Values::Float(values) => values.get(row).copied(),
        Values::Decimal(values, scale) => {
            values.get(row).map(|&value| value as f64 / 10f64.powi(i32::from(*scale)))
        }
        _ => None,
    }
}

impl<'a> Texts<'a> {
    /// The bytes of a view; short ones lie inside it.
    fn of<'v>(&self, view: u128, inline: &'v [u8; 16]) -> &'v [u8]
    where
        'a: 'v,
    {
        let length = (view & 0xffff_ffff) as usize;
        if let Some(bytes) = inline.get(4..4 + length) {
            return bytes;
        }
        let start = (view >> 96) as usize;
        let home = if (view >> 64) & 0xffff_ffff == 0 { self.chunk } else { self.side };
        home.get(start..start + length).unwrap_or_default()
    }
}
