//! Mathematical functions. Transcendental ones come from the `libm` crate, never from the platform.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use super::Args;
use crate::decimal;
use crate::diag::{Diag, SqlState};
use crate::eval::operators::{as_decimal, as_double, checked_double, integer_overflow};
use crate::eval::wrong_type;
use crate::value::Value;

/// Which neighbouring whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Ceil,
    Floor,
}

pub(super) fn abs(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::SmallInt(v) => v.checked_abs().map(Value::SmallInt).ok_or_else(|| integer_overflow("SMALLINT")),
        Value::Int(v) => v.checked_abs().map(Value::Int).ok_or_else(|| integer_overflow("INT")),
        Value::BigInt(v) => v.checked_abs().map(Value::BigInt).ok_or_else(|| integer_overflow("BIGINT")),
        Value::Decimal(v) => Ok(Value::Decimal(v.abs())),
        Value::Float(v) => Ok(Value::Float(v.abs())),
        other => Ok(Value::Double(as_double(other)?.abs())),
    }
}

pub(super) fn to_whole(value: &Value, whole: Whole) -> Result<Value, Diag> {
    match value {
        Value::Decimal(v) => Ok(Value::Decimal(decimal::whole(*v, whole == Whole::Ceil))),
        other => {
            let number = as_double(other)?;
            Ok(Value::Double(match whole {
                Whole::Ceil => libm::ceil(number),
                Whole::Floor => libm::floor(number),
            }))
        }
    }
}

/// `round(x)`, `trunc(x)` and their forms with a number of places. DOUBLE rounds half to even, DECIMAL half away from zero.
pub(super) fn round(args: &Args<'_>, nearest: bool) -> Result<Value, Diag> {
    let value = args.get(0)?;
    if args.len() > 1 {
        // Beyond the scale of every DECIMAL more places change nothing.
        let places = i32::try_from(args.integer(1)?.clamp(-100, 100)).unwrap_or(0);
        return decimal::round_at(as_decimal(value)?, places, nearest).map(Value::Decimal);
    }
    match value {
        Value::Decimal(v) => decimal::round_at(*v, 0, nearest).map(Value::Decimal),
        other => {
            let number = as_double(other)?;
            Ok(Value::Double(if nearest { number.round_ties_even() } else { libm::trunc(number) }))
        }
    }
}

pub(super) fn modulo(left: &Value, right: &Value) -> Result<Value, Diag> {
    if let (Value::Decimal(_), _) | (_, Value::Decimal(_)) = (left, right) {
        return decimal::modulo(as_decimal(left)?, as_decimal(right)?).map(Value::Decimal);
    }
    let l = left.as_i64().ok_or_else(|| wrong_type("mod", left))?;
    let r = right.as_i64().ok_or_else(|| wrong_type("mod", right))?;
    if r == 0 {
        return Err(decimal::division_by_zero());
    }
    let rest = l.checked_rem(r).unwrap_or(0);
    // The rest is no larger than either operand, so it fits the wider of their types.
    Ok(match (left, right) {
        (Value::BigInt(_), _) | (_, Value::BigInt(_)) => Value::BigInt(rest),
        (Value::Int(_), _) | (_, Value::Int(_)) => {
            Value::Int(i32::try_from(rest).map_err(|_| integer_overflow("INT"))?)
        }
        _ => Value::SmallInt(i16::try_from(rest).map_err(|_| integer_overflow("SMALLINT"))?),
    })
}

pub(super) fn sign(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::Decimal(v) => Ok(Value::Decimal(match v.cmp(&Decimal::ZERO) {
            Ordering::Less => Decimal::NEGATIVE_ONE,
            Ordering::Equal => Decimal::ZERO,
            Ordering::Greater => Decimal::ONE,
        })),
        other => {
            let number = as_double(other)?;
            Ok(Value::Double(if number == 0.0 || number.is_nan() { number } else { number.signum() }))
        }
    }
}

fn domain(message: &str) -> Diag {
    Diag::new(SqlState::INVALID_PARAMETER, message)
}

pub(in crate::eval) fn power(base: f64, exponent: f64) -> Result<Value, Diag> {
    if base == 0.0 && exponent < 0.0 {
        return Err(domain("zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.is_finite() && libm::trunc(exponent) != exponent {
        return Err(domain("a negative number raised to a non-integer power yields a complex result"));
    }
    let result = libm::pow(base, exponent);
    checked_double(
        result,
        base.is_infinite() || exponent.is_infinite(),
        base == 0.0 || base.is_infinite() || exponent.is_infinite(),
    )
    .map(Value::Double)
}

pub(super) fn sqrt(value: f64) -> Result<Value, Diag> {
    if value < 0.0 {
        return Err(domain("cannot take square root of a negative number"));
    }
    Ok(Value::Double(libm::sqrt(value)))
}

pub(super) fn exp(value: f64) -> Result<Value, Diag> {
    checked_double(libm::exp(value), value.is_infinite(), value.is_infinite()).map(Value::Double)
}

fn logarithm_argument(value: f64) -> Result<f64, Diag> {
    if value == 0.0 {
        return Err(domain("cannot take logarithm of zero"));
    }
    if value < 0.0 {
        return Err(domain("cannot take logarithm of a negative number"));
    }
    Ok(value)
}

pub(super) fn ln(value: f64) -> Result<Value, Diag> {
    Ok(Value::Double(libm::log(logarithm_argument(value)?)))
}

pub(super) fn log10(value: f64) -> Result<Value, Diag> {
    Ok(Value::Double(libm::log10(logarithm_argument(value)?)))
}

/// `log(base, x)`.
pub(super) fn log(base: f64, value: f64) -> Result<Value, Diag> {
    let base = libm::log(logarithm_argument(base)?);
    let value = libm::log(logarithm_argument(value)?);
    if base == 0.0 {
        return Err(decimal::division_by_zero());
    }
    Ok(Value::Double(value / base))
}

/// The quotient of two numbers, cut to a whole one.
pub(super) fn div(left: &Value, right: &Value) -> Result<Value, Diag> {
    let (left, right) = (as_decimal(left)?, as_decimal(right)?);
    if right.is_zero() {
        return Err(decimal::division_by_zero());
    }
    let quotient = left.checked_div(right).ok_or_else(decimal::overflow)?;
    decimal::round_at(quotient, 0, false).map(Value::Decimal)
}

/// An integer as the wider type of two.
fn wider(number: u128, left: &Value, right: &Value) -> Result<Value, Diag> {
    match (left, right) {
        (Value::BigInt(_), _) | (_, Value::BigInt(_)) => {
            i64::try_from(number).map(Value::BigInt).map_err(|_| integer_overflow("BIGINT"))
        }
        _ => i32::try_from(number).map(Value::Int).map_err(|_| integer_overflow("INT")),
    }
}

fn magnitudes(left: &Value, right: &Value) -> Result<(u128, u128), Diag> {
    let l = left.as_i64().ok_or_else(|| wrong_type("gcd", left))?;
    let r = right.as_i64().ok_or_else(|| wrong_type("gcd", right))?;
    Ok((u128::from(l.unsigned_abs()), u128::from(r.unsigned_abs())))
}

fn common_divisor(mut left: u128, mut right: u128) -> u128 {
    while right != 0 {
        (left, right) = (right, left % right);
    }
    left
}

pub(super) fn gcd(left: &Value, right: &Value) -> Result<Value, Diag> {
    let (l, r) = magnitudes(left, right)?;
    wider(common_divisor(l, r), left, right)
}

pub(super) fn lcm(left: &Value, right: &Value) -> Result<Value, Diag> {
    let (l, r) = magnitudes(left, right)?;
    let multiple = if l == 0 || r == 0 { 0 } else { l / common_divisor(l, r) * r };
    wider(multiple, left, right)
}

pub(super) fn factorial(number: i64) -> Result<Value, Diag> {
    if number < 0 {
        return Err(Diag::new(SqlState::OUT_OF_RANGE, "factorial of a negative number is undefined"));
    }
    let mut product = Decimal::ONE;
    // Beyond 28 the product has more digits than a DECIMAL.
    for factor in 2..=number.min(40) {
        product = product.checked_mul(Decimal::from(factor)).ok_or_else(decimal::overflow)?;
    }
    Ok(Value::Decimal(product))
}

/// Digits after the point: as many as there are, or as many as are needed.
pub(super) fn scale(value: &Value, least: bool) -> Result<Value, Diag> {
    let number = as_decimal(value)?;
    let scale = if least { number.normalize().scale() } else { number.scale() };
    Ok(Value::Int(i32::try_from(scale).unwrap_or(i32::MAX)))
}

/// `width_bucket(operand, low, high, count)`
pub(super) fn width_bucket(args: &Args<'_>) -> Result<Value, Diag> {
    let refused = |reason: &str| Diag::new(SqlState::INVALID_PARAMETER, reason);
    let (operand, low, high, count) = (args.double(0)?, args.double(1)?, args.double(2)?, args.integer(3)?);
    let count = i32::try_from(count)
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| refused("count must be greater than zero"))?;
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(refused("operand, lower bound, and upper bound cannot be NaN"));
    }
    if !low.is_finite() || !high.is_finite() {
        return Err(refused("lower and upper bounds must be finite"));
    }
    let (position, width) = match low.partial_cmp(&high) {
        Some(Ordering::Less) => (operand - low, high - low),
        Some(Ordering::Greater) => (low - operand, low - high),
        _ => return Err(refused("lower bound cannot equal upper bound")),
    };
    if position < 0.0 {
        return Ok(Value::Int(0));
    }
    if position >= width {
        return count.checked_add(1).map(Value::Int).ok_or_else(|| integer_overflow("INT"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "between 0 and the count")]
    let bucket = libm::floor(f64::from(count) * (position / width)) as i32;
    Ok(Value::Int(bucket.min(count - 1) + 1))
}
