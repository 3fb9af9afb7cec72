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

pub(super) fn power(base: f64, exponent: f64) -> Result<Value, Diag> {
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
