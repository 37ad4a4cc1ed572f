//! Instants from ISO 8601 text and from counts since 1970, in microseconds UTC.

use super::number::{Excess, integer, scaled};
use crate::contract::TimeForm;

/// 0001-01-01T00:00:00Z.
const FIRST: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
const LAST: i64 = 253_402_300_799_999_999;
const MICROS_OF_DAY: i64 = 86_400_000_000;

/// Microseconds of an ISO 8601 instant: a date, or a date and a time with `T` or a space between
/// them, with seconds and up to nine digits of fraction or without, with `Z`, an offset or without
/// (then it is UTC). Digits beyond the microsecond are cut. Years 0001 to 9999.
#[inline]
pub(super) fn parse_text(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let days = i64::from(days_of(bytes.get(..10)?)?);
    let (seconds, rest) = match bytes.get(10) {
        None => return within(days * MICROS_OF_DAY),
        Some(b'T' | b't' | b' ') => {
            let hour = two(bytes, 11)?;
            let minute = two(bytes, 14)?;
            if bytes.get(13) != Some(&b':') || hour > 23 || minute > 59 {
                return None;
            }
            match bytes.get(16) {
                Some(b':') => {
                    let second = two(bytes, 17)?;
                    if second > 59 {
                        return None;
                    }
                    (hour * 3600 + minute * 60 + second, bytes.get(19..)?)
                }
                _ => (hour * 3600 + minute * 60, bytes.get(16..)?),
            }
        }
        Some(_) => return None,
    };
    let (micros, zone) = fraction(rest)?;
    let offset = offset_seconds(zone)?;
    within((days * 86_400 + seconds - offset) * 1_000_000 + micros)
}

/// Days since 1970 of `YYYY-MM-DD`, a date that exists.
pub(super) fn parse_date(text: &str) -> Option<i32> {
    days_of(text.as_bytes())
}

/// Microseconds of a count since 1970 in `form`; `text` is a JSON number, whole or not.
#[inline]
pub(super) fn parse_count(text: &str, form: TimeForm) -> Option<i64> {
    match form {
        TimeForm::Text => None,
        TimeForm::EpochDays => within(integer(text).ok()?.checked_mul(MICROS_OF_DAY)?),
        TimeForm::EpochSeconds => parse_epoch(text, 0),
        TimeForm::EpochMillis => parse_epoch(text, 3),
        TimeForm::EpochMicros => parse_epoch(text, 6),
        TimeForm::EpochNanos => parse_epoch(text, 9),
    }
}

/// Days since 1970 of a count since 1970 in `form`, which must be the midnight of a day.
pub(super) fn parse_days(text: &str, form: TimeForm) -> Option<i32> {
    let micros = parse_count(text, form)?;
    // What is cut from nanoseconds must not make a midnight of what is none.
    let is_midnight = micros % MICROS_OF_DAY == 0
        && (form != TimeForm::EpochNanos || integer(text).ok()? % 1000 == 0);
    is_midnight.then_some(i32::try_from(micros / MICROS_OF_DAY).ok()?)
}

/// Microseconds of a count since 1970, ten to the power of `power` of them a second: 0, 3, 6 or 9.
/// `text` is a JSON number, whole or not. Nanoseconds are cut towards the past, as those of text are.
pub(super) fn parse_epoch(text: &str, power: i8) -> Option<i64> {
    // Whole in nearly every record: the way for fractions is ten times as long.
    if let Ok(whole) = integer(text) {
        let factor = 10i64.checked_pow(u32::from((6 - power).unsigned_abs()))?;
        return match power {
            ..=6 => within(whole.checked_mul(factor)?),
            _ => within(whole.div_euclid(factor)),
        };
    }
    let micros = scaled(text, 38, 6 - power, Excess::Truncate).ok()?;
    within(i64::try_from(micros).ok()?)
}

fn within(micros: i64) -> Option<i64> {
    (FIRST..=LAST).contains(&micros).then_some(micros)
}

fn days_of(bytes: &[u8]) -> Option<i32> {
    let &[c, d, e, f, b'-', _, _, b'-', _, _] = bytes else { return None };
    if ![c, d, e, f].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |byte: u8| i64::from(byte - b'0');
    let year = digit(c) * 1000 + digit(d) * 100 + digit(e) * 10 + digit(f);
    let (month, day) = (two(bytes, 5)?, two(bytes, 8)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || day == 0 || day > last {
        return None;
    }
    // Howard Hinnant, "chrono-compatible low-level date algorithms": years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    i32::try_from(days).ok()
}

/// Two digits at a place.
#[inline]
fn two(bytes: &[u8], at: usize) -> Option<i64> {
    match bytes.get(at..at + 2) {
        Some(&[tens @ b'0'..=b'9', ones @ b'0'..=b'9']) => {
            Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
        }
        _ => None,
    }
}

/// The microseconds of a fraction, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.' | b',', rest)) = bytes.split_first() else { return Some((0, bytes)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 || count > 9 {
        return None;
    }
    let (digits, zone) = rest.split_at_checked(count)?;
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
    }
    Some((micros, zone))
}

/// Seconds east of UTC: nothing, `Z`, `+02:00`, `-0600`, `+02`.
fn offset_seconds(zone: &[u8]) -> Option<i64> {
    let (sign, digits) = match zone.split_first() {
        None | Some((b'Z' | b'z', [])) => return Some(0),
        Some((b'+', digits)) => (1, digits),
        Some((b'-', digits)) => (-1, digits),
        Some(_) => return None,
    };
    let minutes = match digits.len() {
        2 => 0,
        4 => two(digits, 2)?,
        5 if digits.get(2) == Some(&b':') => two(digits, 3)?,
        _ => return None,
    };
    let hours = two(digits, 0)?;
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}
