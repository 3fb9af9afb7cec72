//! DECIMAL arithmetic: exact where 28 digits allow, PostgreSQL's result scales, errors in place of wrong leading digits.
//!
//! A result whose integer part fits but whose fraction does not is rounded in its last digits; one whose integer part does
//! not fit is refused (22003). Nothing here uses floating point except the two conversions named after it.

use rust_decimal::{Decimal, RoundingStrategy};

use crate::diag::{Diag, SqlState};
use crate::value::MAX_DECIMAL_DIGITS;

/// PostgreSQL's quotients show at least this many significant digits.
const MIN_SIGNIFICANT_DIGITS: i32 = 16;
/// Largest scale of a DECIMAL.
const MAX_SCALE: u32 = MAX_DECIMAL_DIGITS as u32;
/// Largest mantissa: 96 bits.
const MAX_MANTISSA: u128 = (1 << 96) - 1;

/// Why a text is no decimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// It does not read as a number.
    Malformed,
    /// More than 28 digits before the point.
    OutOfRange,
}

/// The refusal of a value beyond 28 digits.
#[must_use]
pub fn overflow() -> Diag {
    Diag::new(SqlState::OUT_OF_RANGE, "value is out of range for DECIMAL: it needs more than 28 digits")
        .hint("cast an operand to DOUBLE if an approximate result will do")
}

/// `left + right`.
///
/// # Errors
/// 22003.
pub fn add(left: Decimal, right: Decimal) -> Result<Decimal, Diag> {
    let sum = left.checked_add(right).ok_or_else(overflow)?;
    Ok(padded(sum, left.scale().max(right.scale())))
}

/// `left - right`.
///
/// # Errors
/// 22003.
pub fn subtract(left: Decimal, right: Decimal) -> Result<Decimal, Diag> {
    let difference = left.checked_sub(right).ok_or_else(overflow)?;
    Ok(padded(difference, left.scale().max(right.scale())))
}

/// `left * right`.
///
/// # Errors
/// 22003.
pub fn multiply(left: Decimal, right: Decimal) -> Result<Decimal, Diag> {
    let product = left.checked_mul(right).ok_or_else(overflow)?;
    Ok(padded(product, (left.scale() + right.scale()).min(MAX_SCALE)))
}

/// `left % right`, with the sign of `left`.
///
/// # Errors
/// 22012.
pub fn modulo(left: Decimal, right: Decimal) -> Result<Decimal, Diag> {
    if right.is_zero() {
        return Err(division_by_zero());
    }
    let rest = left.checked_rem(right).ok_or_else(overflow)?;
    Ok(padded(rest, left.scale().max(right.scale())))
}

/// The refusal of a zero divisor.
#[must_use]
pub fn division_by_zero() -> Diag {
    Diag::new(SqlState::DIVISION_BY_ZERO, "division by zero")
}

/// `left / right`, rounded half away from zero at PostgreSQL's scale: 16 significant digits at least, and no fewer digits
/// after the point than an operand has, as far as 28 digits allow.
///
/// # Errors
/// 22012, 22003.
pub fn divide(left: Decimal, right: Decimal) -> Result<Decimal, Diag> {
    if right.is_zero() {
        return Err(division_by_zero());
    }
    let dividend = left.mantissa().unsigned_abs();
    let divisor = right.mantissa().unsigned_abs();
    let wanted = quotient_scale(left, right);
    // Long division: each round multiplies the remainder (below 2^96) by ten and appends a digit.
    let rounds = wanted + right.scale() - left.scale();
    let mut quotient = dividend / divisor;
    let mut remainder = dividend % divisor;
    let mut done = 0;
    while done < rounds && quotient <= (MAX_MANTISSA - 9) / 10 {
        remainder *= 10;
        quotient = quotient * 10 + remainder / divisor;
        remainder %= divisor;
        done += 1;
    }
    let missing = rounds - done;
    let scale = wanted.checked_sub(missing).ok_or_else(overflow)?;
    if remainder * 2 >= divisor {
        quotient += 1;
    }
    let negative = left.is_sign_negative() != right.is_sign_negative();
    from_parts(quotient, scale, negative).ok_or_else(overflow)
}

fn from_parts(mantissa: u128, scale: u32, negative: bool) -> Option<Decimal> {
    let mantissa = i128::try_from(mantissa).ok()?;
    Decimal::try_from_i128_with_scale(if negative { -mantissa } else { mantissa }, scale).ok()
}

/// PostgreSQL chooses by the operands' leading digits in base 10000 (`select_div_scale` in its numeric.c).
fn quotient_scale(left: Decimal, right: Decimal) -> u32 {
    let (left_weight, left_digit) = leading(left);
    let (right_weight, right_digit) = leading(right);
    let mut weight = left_weight - right_weight;
    if left_digit <= right_digit {
        weight -= 1;
    }
    let scale = u32::try_from(MIN_SIGNIFICANT_DIGITS - weight * 4).unwrap_or(0);
    scale.max(left.scale()).max(right.scale()).min(MAX_SCALE)
}

/// Weight and value of the first digit that is not zero, in base 10000 counted from the point.
fn leading(value: Decimal) -> (i32, u128) {
    let mut mantissa = value.mantissa().unsigned_abs();
    let scale = value.scale();
    let padding = (4 - scale % 4) % 4;
    let mut weight = -i32::try_from(scale.div_ceil(4)).unwrap_or(0);
    mantissa *= 10_u128.pow(padding);
    if mantissa == 0 {
        return (0, 0);
    }
    while mantissa >= 10_000 {
        mantissa /= 10_000;
        weight += 1;
    }
    (weight, mantissa)
}

/// The value with at least `scale` digits after the point, as far as they fit; zero without a sign.
fn padded(mut value: Decimal, scale: u32) -> Decimal {
    if value.scale() < scale {
        value.rescale(scale);
    }
    if value.is_zero() {
        value.set_sign_positive(true);
    }
    value
}

/// The nearest whole number that is not below (`up`) or not above the value.
#[must_use]
pub fn whole(value: Decimal, up: bool) -> Decimal {
    let strategy = if up { RoundingStrategy::ToPositiveInfinity } else { RoundingStrategy::ToNegativeInfinity };
    padded(value.round_dp_with_strategy(0, strategy), 0)
}

/// The value as DECIMAL(precision, scale): rounded half away from zero to exactly `scale` digits. A precision of 0 keeps it.
///
/// # Errors
/// 22003 when more than `precision - scale` digits stand before the point.
pub fn fit(value: Decimal, precision: u8, scale: u8) -> Result<Decimal, Diag> {
    if precision == 0 {
        return Ok(value);
    }
    let rounded = round_at(value, i32::from(scale), true)?;
    let limit = 10_u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
    if rounded.scale() != u32::from(scale) || rounded.mantissa().unsigned_abs() >= limit {
        return Err(Diag::new(
            SqlState::OUT_OF_RANGE,
            format!("value {value} is out of range for DECIMAL({precision},{scale})"),
        )
        .detail(format!("at most {} digits may stand before the decimal point", precision.saturating_sub(scale))));
    }
    Ok(rounded)
}

/// The value with exactly `places` digits after the point (`round` half away from zero, else cut); negative places count
/// before the point.
///
/// # Errors
/// 22003.
pub fn round_at(value: Decimal, places: i32, round: bool) -> Result<Decimal, Diag> {
    let strategy = if round { RoundingStrategy::MidpointAwayFromZero } else { RoundingStrategy::ToZero };
    if let Ok(places) = u32::try_from(places) {
        let places = places.min(MAX_SCALE);
        return Ok(padded(value.round_dp_with_strategy(places, strategy), places));
    }
    let places = places.unsigned_abs();
    if places > MAX_SCALE {
        return Ok(Decimal::ZERO);
    }
    let unit = 10_i128.pow(places);
    let whole = value.round_dp_with_strategy(0, RoundingStrategy::ToZero).mantissa();
    // Half of the unit is a whole number, so the fraction cut off above cannot change the decision.
    let mut count = whole / unit;
    if round && (whole % unit).abs() * 2 >= unit {
        count += whole.signum();
    }
    Decimal::try_from_i128_with_scale(count * unit, 0).map_err(|_| overflow())
}

/// Reads `12`, `-0.50`, `1.5e3`; digits beyond 28 after the point are rounded half away from zero.
///
/// # Errors
/// See [`DecimalError`].
pub fn parse(text: &str) -> Result<Decimal, DecimalError> {
    let text = text.trim_ascii();
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    let (number, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, parse_exponent(exponent)?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut digits: Vec<u8> = Vec::with_capacity(number.len());
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return Err(DecimalError::Malformed);
        }
        if byte != b'0' || !digits.is_empty() {
            digits.push(byte - b'0');
        }
    }
    if whole.is_empty() && fraction.is_empty() {
        return Err(DecimalError::Malformed);
    }
    let scale = i64::try_from(fraction.len()).unwrap_or(i64::MAX).saturating_sub(exponent);
    from_digits(&digits, scale, negative)
}

fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecimalError::Malformed);
    }
    // Beyond this every value is zero or out of range.
    let magnitude = digits.parse::<i64>().unwrap_or(1_000_000_000).min(1_000_000_000);
    Ok(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// `digits` (no leading zero) times ten to minus `scale`.
fn from_digits(digits: &[u8], scale: i64, negative: bool) -> Result<Decimal, DecimalError> {
    let places = i64::from(MAX_DECIMAL_DIGITS);
    let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    if count == 0 {
        let scale = u32::try_from(scale.clamp(0, places)).unwrap_or(0);
        return Decimal::try_from_i128_with_scale(0, scale).map_err(|_| DecimalError::OutOfRange);
    }
    if count - scale > places {
        return Err(DecimalError::OutOfRange);
    }
    let dropped = (scale - places).max(count - places).max(0);
    if dropped > count {
        return Ok(Decimal::new(0, MAX_SCALE));
    }
    let kept = usize::try_from(count - dropped).unwrap_or(0);
    let mut mantissa = digits.iter().take(kept).fold(0_u128, |value, digit| value * 10 + u128::from(*digit));
    if digits.get(kept).is_some_and(|digit| *digit >= 5) {
        mantissa += 1;
    }
    let mut scale = scale - dropped;
    while scale < 0 {
        mantissa *= 10;
        scale += 1;
    }
    from_parts(mantissa, u32::try_from(scale).unwrap_or(0), negative).ok_or(DecimalError::OutOfRange)
}

/// The nearest DOUBLE.
#[must_use]
pub fn to_double(value: Decimal) -> f64 {
    // The standard library's parser rounds correctly on every platform; arithmetic on the mantissa would round twice.
    value.to_string().parse().unwrap_or(0.0)
}

/// A DOUBLE as its 15 significant digits, as PostgreSQL converts; `None` for what no DECIMAL holds.
#[must_use]
pub fn from_double(value: f64) -> Option<Decimal> {
    if !value.is_finite() {
        return None;
    }
    parse(&format!("{value:.14e}")).ok().map(|parsed| parsed.normalize())
}

/// A REAL as its 6 significant digits, as PostgreSQL converts; `None` for what no DECIMAL holds.
#[must_use]
pub fn from_float(value: f32) -> Option<Decimal> {
    if !value.is_finite() {
        return None;
    }
    parse(&format!("{value:.5e}")).ok().map(|parsed| parsed.normalize())
}
