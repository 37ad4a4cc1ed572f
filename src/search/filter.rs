//! What the fields of a document must be.

use std::fmt;

use super::fields::{FieldKind, IndexFields};
use crate::error::{Error, Result};
use crate::sinks::documents::Kind;
use crate::sinks::documents::kind::instant;

/// How a field compares with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// One of its values is that.
    Is,
    /// None of its values is that.
    IsNot,
    /// One of its values lies above.
    Above,
    /// One of its values is that or lies above.
    AtLeast,
    /// One of its values lies below.
    Below,
    /// One of its values is that or lies below.
    AtMost,
}

/// The signs, the longer ones first.
const SIGNS: [(&str, Comparison); 6] = [
    ("!=", Comparison::IsNot),
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    (">", Comparison::Above),
    ("<", Comparison::Below),
    ("=", Comparison::Is),
];

/// A value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// Of a keyword.
    Text(String),
    /// Of whole numbers.
    Long(i64),
    /// Of numbers.
    Double(f64),
    /// Of truth.
    Boolean(bool),
    /// Of points in time, in milliseconds since 1970, as an index keeps them.
    Time(i64),
}

/// One condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Path of the field.
    pub field: String,
    /// How it compares.
    pub comparison: Comparison,
    /// With what.
    pub value: FieldValue,
}

impl Filter {
    /// Read `FIELD=VALUE`, or with one of the other signs.
    ///
    /// # Errors
    /// `Config` where there is no sign, no such field, or no such value of it.
    pub fn parse(text: &str, fields: &IndexFields) -> Result<Self> {
        let sign = |at: usize| {
            let rest = text.get(at..).unwrap_or_default();
            SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)).map(|found| (at, found))
        };
        let found = text.char_indices().find_map(|(at, _)| sign(at));
        let Some((at, (sign, comparison))) = found else {
            return Err(Error::config(format!(
                "`{text}` is no condition: write like `role=user` or `timestamp>=2026-01-01`, with one of = != < <= > >="
            )));
        };
        let name = text.get(..at).unwrap_or_default().trim();
        let value = text.get(at + sign.len()..).unwrap_or_default().trim();
        let field = fields.get(name)?;
        let value = value_of(field.kind, value).ok_or_else(|| {
            Error::config(format!("`{value}` is no value of `{name}`: {}", Wanted(field)))
        })?;
        let is_range = !matches!(comparison, Comparison::Is | Comparison::IsNot);
        if is_range && field.kind == Some(Kind::Boolean) {
            return Err(Error::config(format!("`{name}` has no order: write `{name}=true`")));
        }
        Ok(Self { field: name.to_owned(), comparison: *comparison, value })
    }
}

fn value_of(kind: Option<Kind>, text: &str) -> Option<FieldValue> {
    Some(match kind? {
        Kind::Keyword(_) => FieldValue::Text(text.to_owned()),
        Kind::Long => FieldValue::Long(text.parse().ok()?),
        Kind::Double => FieldValue::Double(finite(text)?),
        // As the index has rounded it.
        Kind::Float => FieldValue::Double(f64::from(finite(text)? as f32)),
        Kind::Boolean => FieldValue::Boolean(text.parse().ok()?),
        Kind::Date => FieldValue::Time(instant(text)?.div_euclid(1000)),
        Kind::Text(_) | Kind::Stored => return None,
    })
}

fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// What a value of a field looks like.
struct Wanted<'a>(&'a FieldKind);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self.0.kind {
            Some(Kind::Text(_)) => "words are found by the query itself, with `--field` in this field alone; a whole text by its keyword, like `content.keyword`",
            Some(Kind::Keyword(_)) => "any text",
            Some(Kind::Long) => "a whole number",
            Some(Kind::Double | Kind::Float) => "a number",
            Some(Kind::Boolean) => "`true` or `false`",
            Some(Kind::Date) => "a date like `2026-01-31`, which is its first instant in UTC, or `2026-01-31T10:00:00Z`",
            Some(Kind::Stored) | None => "nothing is found by it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::fields::tests::fields;

    #[test]
    fn values_are_read_as_their_field_wants_them() {
        let read = |text: &str| match Filter::parse(text, &fields()) {
            Ok(Filter { field, comparison, value }) => format!("{field} {comparison:?} {value:?}"),
            Err(error) => error.to_string(),
        };
        let found: Vec<String> = [
            "role=user",
            "role != a=b",
            "metadata.intent= ",
            "tokens_used >= 12",
            "confidence_score<0.5",
            "escalation_triggered=true",
            "timestamp>=2026-01-31",
            "timestamp < 2026-01-31T10:00:00.250-06:00",
            "content.keyword=hola",
            "content=hola",
            "tokens_used>many",
            "confidence_score=0.1",
            "confidence_score<inf",
            "escalation_triggered>=true",
            "rol=user",
            "role",
        ]
        .map(read)
        .to_vec();
        insta::assert_snapshot!(found.join("\n"), @r#"
        role Is Text("user")
        role IsNot Text("a=b")
        metadata.intent Is Text("")
        tokens_used AtLeast Long(12)
        confidence_score Below Double(0.5)
        escalation_triggered Is Boolean(true)
        timestamp AtLeast Time(1769817600000)
        timestamp Below Time(1769875200250)
        content.keyword Is Text("hola")
        `hola` is no value of `content`: words are found by the query itself, with `--field` in this field alone; a whole text by its keyword, like `content.keyword`
        `many` is no value of `tokens_used`: a whole number
        confidence_score Is Double(0.10000000149011612)
        `inf` is no value of `confidence_score`: a number
        `escalation_triggered` has no order: write `escalation_triggered=true`
        the index has no field `rol` (did you mean `role`?): its fields are ai_model_used, confidence_score, content, content.keyword, escalation_triggered, message_id, message_type, metadata.intent, metadata.language, metadata.sentiment, processing_time_ms, role, session_id, timestamp, tokens_used, ttl, user_id
        `role` is no condition: write like `role=user` or `timestamp>=2026-01-01`, with one of = != < <= > >=
        "#);
    }
}
