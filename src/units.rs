//! Quantities with units, as YAML writes them: `5m`, `128MiB`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that is no quantity: what is wrong with it, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError {
    /// The text.
    pub text: String,
    /// What is wrong with it: `is not a size`.
    pub what: &'static str,
    /// What would be right.
    pub allowed: &'static str,
}

impl fmt::Display for UnitError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` {}; {}", self.text, self.what, self.allowed)
    }
}

impl std::error::Error for UnitError {}

/// A size in bytes: a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many mebibytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl ByteSize {
    /// The size that a text with a slip in its unit was probably meant to be: `128MB` is `128MiB`.
    pub fn meant_by(text: &str) -> Option<String> {
        meant_by(text, |unit| match unit {
            "b" | "byte" | "bytes" => Some("B"),
            "k" | "kb" | "ki" | "kib" => Some("KiB"),
            "m" | "mb" | "mi" | "mib" => Some("MiB"),
            "g" | "gb" | "gi" | "gib" => Some("GiB"),
            "t" | "tb" | "ti" | "tib" => Some("TiB"),
            _ => None,
        })
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = |what| UnitError {
            text: text.to_owned(),
            what,
            allowed: "a whole number with B, KiB, MiB, GiB or TiB, like `128MiB`",
        };
        let (number, factor) =
            split_unit(text, &SIZE_UNITS).ok_or_else(|| wrong("is not a size"))?;
        number.checked_mul(factor).map(Self).ok_or_else(|| wrong("is too large for a size"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in SIZE_UNITS {
            if self.0 >= factor && self.0.is_multiple_of(factor) {
                return write!(out, "{}{unit}", self.0 / factor);
            }
        }
        write!(out, "{}B", self.0)
    }
}

/// A length of time: a whole number with `ms`, `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(pub Duration);

impl Interval {
    /// So many seconds.
    pub const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }
    /// As the standard library's duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl Interval {
    /// The duration that a text with a slip in its unit was probably meant to be: `5min` is `5m`.
    pub fn meant_by(text: &str) -> Option<String> {
        meant_by(text, |unit| match unit {
            "ms" | "msec" | "millis" | "millisecond" | "milliseconds" => Some("ms"),
            "s" | "sec" | "secs" | "second" | "seconds" => Some("s"),
            "m" | "min" | "mins" | "minute" | "minutes" => Some("m"),
            "h" | "hr" | "hrs" | "hour" | "hours" => Some("h"),
            "d" | "day" | "days" => Some("d"),
            _ => None,
        })
    }
}

impl FromStr for Interval {
    type Err = UnitError;
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = |what| UnitError {
            text: text.to_owned(),
            what,
            allowed: "a whole number with ms, s, m, h or d, like `5m`",
        };
        let (number, factor) =
            split_unit(text, &TIME_UNITS).ok_or_else(|| wrong("is not a duration"))?;
        number
            .checked_mul(factor)
            .map(|millis| Self(Duration::from_millis(millis)))
            .ok_or_else(|| wrong("is too long for a duration"))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        for (unit, factor) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if millis >= factor && millis.is_multiple_of(factor) {
                return write!(out, "{}{unit}", millis / factor);
            }
        }
        write!(out, "{millis}ms")
    }
}

fn split_unit(text: &str, units: &[(&str, u64)]) -> Option<(u64, u64)> {
    units.iter().find_map(|(unit, factor)| {
        let number = text.strip_suffix(unit)?.trim_end();
        number.bytes().all(|digit| digit.is_ascii_digit()).then_some(())?;
        Some((number.parse().ok()?, *factor))
    })
}

/// The number of `text` with the right spelling of its unit; nothing where the number is no whole one
/// or the unit means nothing.
fn meant_by(text: &str, unit: impl Fn(&str) -> Option<&'static str>) -> Option<String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, written) = text.split_at_checked(end).filter(|(number, _)| !number.is_empty())?;
    Some(format!("{number}{}", unit(&written.trim().to_lowercase())?))
}

macro_rules! as_text {
    ($kind:ty, $name:literal, $format:literal, $pattern:literal, $description:literal) => {
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
        impl JsonSchema for $kind {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern, "description": $description })
            }
        }
    };
}

as_text!(
    ByteSize,
    "ByteSize",
    "byte-size",
    r"^\d+\s*(B|KiB|MiB|GiB|TiB)$",
    "A size: a whole number with `B`, `KiB`, `MiB`, `GiB` or `TiB`, like `128MiB`."
);
as_text!(
    Interval,
    "Interval",
    "interval",
    r"^\d+\s*(ms|s|m|h|d)$",
    "A length of time: a whole number with `ms`, `s`, `m`, `h` or `d`, like `5m`."
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shows_units() {
        assert_eq!("128MiB".parse(), Ok(ByteSize::mebibytes(128)));
        assert_eq!("5m".parse(), Ok(Interval::seconds(300)));
        assert_eq!("200ms".parse(), Ok(Interval(Duration::from_millis(200))));
        assert_eq!(ByteSize(1536 << 10).to_string(), "1536KiB");
        assert_eq!(Interval::seconds(3600).to_string(), "1h");
        for wrong in ["", "MiB", "-1MiB", "1.5GiB", "12", "99999999999TiB"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
        assert_eq!(
            "5 minutes".parse::<Interval>().unwrap_err().to_string(),
            "`5 minutes` is not a duration; a whole number with ms, s, m, h or d, like `5m`"
        );
    }

    #[test]
    fn knows_what_was_meant() {
        assert_eq!(ByteSize::meant_by("128MB").as_deref(), Some("128MiB"));
        assert_eq!(ByteSize::meant_by("4 gb").as_deref(), Some("4GiB"));
        assert_eq!(Interval::meant_by("5min").as_deref(), Some("5m"));
        assert_eq!(Interval::meant_by("1 Hour").as_deref(), Some("1h"));
        for hopeless in ["", "128", "MB", "1.5GB", "5 parsecs"] {
            assert_eq!(ByteSize::meant_by(hopeless), None, "{hopeless}");
            assert_eq!(Interval::meant_by(hopeless), None, "{hopeless}");
        }
    }
}
