//! Numbers from their decimal text, exactly or not at all.

/// Why a number does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It is outside the type's range.
    Range,
    /// It has a fraction that the type cannot hold.
    Fraction,
    /// It has no bytes.
    Empty,
}

/// The whole number that `text`, a JSON number, stands for: `1250`, `-3`, `1.5e3`.
#[inline]
pub(super) fn integer(text: &str) -> Result<i64, Misfit> {
    let bytes = text.as_bytes();
    let (negative, digits) = match bytes.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, bytes),
    };
    if digits.len() <= 18 {
        let mut value: i64 = 0;
        let mut plain = true;
        for &digit in digits {
            plain &= digit.is_ascii_digit();
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit.wrapping_sub(b'0')));
        }
        if plain {
            return Ok(if negative { -value } else { value });
        }
    }
    i64::try_from(scaled(text, 38, 0, Excess::Refuse)?).map_err(|_| Misfit::Range)
}

/// The nearest double; refused where only infinity is near.
pub(super) fn float(text: &str) -> Result<f64, Misfit> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(value),
        _ => Err(Misfit::Range),
    }
}

/// What happens to digits behind the last place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    Refuse,
    Truncate,
}

/// `text`, a JSON number, times ten to the power of `scale`, in at most `precision` digits.
pub(super) fn scaled(text: &str, precision: u8, scale: i8, excess: Excess) -> Result<i128, Misfit> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = || whole.bytes().chain(fraction.bytes());
    let Some(first) = all().position(|digit| digit != b'0') else {
        return Ok(0);
    };
    let trailing =
        fraction.bytes().rev().chain(whole.bytes().rev()).take_while(|&digit| digit == b'0');
    let mut significant = whole.len() + fraction.len() - first - trailing.count();
    // The number is its significant digits times ten to the power of `power`.
    let power = exponent.saturating_add(whole.len() as i64 - (first + significant) as i64);
    let mut shift = power.saturating_add(i64::from(scale));
    if shift < 0 {
        if excess == Excess::Refuse {
            return Err(Misfit::Fraction);
        }
        let dropped = usize::try_from(shift.unsigned_abs()).unwrap_or(usize::MAX);
        significant = significant.saturating_sub(dropped);
        shift = 0;
        if significant == 0 {
            return Ok(0);
        }
    }
    if shift.saturating_add(significant as i64) > i64::from(precision.min(38)) {
        return Err(Misfit::Range);
    }
    let digits = all().skip(first).take(significant);
    let value = digits.fold(0i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let value = (0..shift).fold(value, |value, _| value * 10);
    Ok(if negative { -value } else { value })
}

/// The number whose unscaled value is `bytes` (big-endian, two's complement) and whose scale is
/// `from`, times ten to the power of `scale`, in at most `precision` digits.
pub(super) fn unscaled(bytes: &[u8], from: i32, precision: u8, scale: i8) -> Result<i128, Misfit> {
    let Some(&first) = bytes.first() else { return Err(Misfit::Empty) };
    let sign = if first >= 0x80 { 0xff } else { 0 };
    // Leading bytes that repeat the sign say nothing.
    let extra = bytes.len().saturating_sub(16);
    let (leading, rest) = bytes.split_at_checked(extra).unwrap_or((&[], bytes));
    let is_padded = leading.iter().all(|&byte| byte == sign)
        && (extra == 0 || rest.first().is_some_and(|&byte| (byte >= 0x80) == (first >= 0x80)));
    if !is_padded {
        return Err(Misfit::Range);
    }
    let start = if sign == 0 { 0 } else { -1i128 };
    let mut value = rest.iter().fold(start, |value, &byte| (value << 8) | i128::from(byte));
    if value == 0 {
        return Ok(0);
    }
    for _ in 0..(i64::from(from) - i64::from(scale)).unsigned_abs() {
        value = match i64::from(from) > i64::from(scale) {
            true if value % 10 == 0 => value / 10,
            true => return Err(Misfit::Fraction),
            false => value.checked_mul(10).ok_or(Misfit::Range)?,
        };
    }
    match 10u128.checked_pow(u32::from(precision.min(38))) {
        Some(limit) if value.unsigned_abs() < limit => Ok(value),
        _ => Err(Misfit::Range),
    }
}

/// An exponent, held within a range beyond which nothing fits.
fn exponent_of(text: &str) -> i64 {
    const FAR: i64 = 1 << 40;
    let (negative, digits) = match text.as_bytes().split_first() {
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        _ => (false, text.as_bytes()),
    };
    let value = digits
        .iter()
        .fold(0i64, |value, &digit| (value * 10 + i64::from(digit.wrapping_sub(b'0'))).min(FAR));
    if negative { -value } else { value }
}
