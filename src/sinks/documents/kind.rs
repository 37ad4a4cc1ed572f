//! How the values of a field are found.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value;

use super::analysis::Analyzer;

/// How the values of a field are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By words.
    Text(Analyzer),
    /// As a whole, where they are not longer than so many characters.
    Keyword(usize),
    /// By whole numbers.
    Long,
    /// By numbers.
    Double,
    /// By numbers, which are rounded to 32 bits.
    Float,
    /// By truth.
    Boolean,
    /// By points in time.
    Date,
    /// Not at all.
    Stored,
}

impl Kind {
    /// The words of `type` in mappings that there is a kind for.
    pub const TYPES: [&'static str; 12] = [
        "text",
        "keyword",
        "long",
        "integer",
        "short",
        "byte",
        "double",
        "float",
        "half_float",
        "boolean",
        "date",
        "binary",
    ];

    /// The kind of a field of that mapping; `None` for a type that is none of [`Kind::TYPES`].
    pub fn of(mapping: &Value) -> Option<Self> {
        let analyzer = || {
            let named = mapping.get("analyzer").and_then(Value::as_str);
            named.and_then(Analyzer::parse).unwrap_or(Analyzer::Standard)
        };
        let most = || {
            let most = mapping.get("ignore_above").and_then(Value::as_u64);
            most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
        };
        Some(match mapping.get("type")?.as_str()? {
            "text" => Self::Text(analyzer()),
            "keyword" => Self::Keyword(most()),
            "long" | "integer" | "short" | "byte" => Self::Long,
            "double" => Self::Double,
            "float" | "half_float" => Self::Float,
            "boolean" => Self::Boolean,
            "date" => Self::Date,
            "binary" => Self::Stored,
            _ => return None,
        })
    }
}

/// Microseconds since 1970 of a date, or of a date with a time; in UTC unless it says otherwise.
pub fn instant(text: &str) -> Option<i64> {
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.timestamp_micros());
    }
    if let Ok(time) = text.parse::<NaiveDateTime>() {
        return Some(time.and_utc().timestamp_micros());
    }
    let date: NaiveDate = text.parse().ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
}
