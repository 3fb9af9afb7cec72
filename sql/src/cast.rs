//! Conversion of values between types, and which conversions the binder may insert.
//!
//! PostgreSQL's rules: DECIMAL to integer rounds half away from zero, DOUBLE to integer half to even, a number outside the
//! target's range is 22003, a text that is no value of the target is 22P02. Beyond PostgreSQL: BIGINT and TIMESTAMP convert
//! explicitly as microseconds since 1970 UTC, because that is how timestamps travel on the wire.

use rust_decimal::Decimal;

use crate::datetime::{self, TimestampError};
use crate::decimal::{self, DecimalError};
use crate::diag::{Diag, SqlState};
use crate::json::{self, JsonType};
use crate::value::{DataType, MAX_DECIMAL_DIGITS, Value};

/// Where a conversion is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coercion {
    /// Operands and arguments.
    Implicit,
    /// A value stored in a column.
    Assignment,
    /// CAST and `::`.
    Explicit,
}

/// Whether a value of type `from` may become one of type `to` in this context.
#[must_use]
pub fn allowed(from: DataType, to: DataType, context: Coercion) -> bool {
    from.same_kind(&to) || needs(from, to).is_some_and(|needed| context >= needed)
}

/// The weakest context in which the conversion between two kinds is allowed.
fn needs(from: DataType, to: DataType) -> Option<Coercion> {
    use DataType::{BigInt, Boolean, Bytes, Decimal, Double, Int, Json, SmallInt, Text, Timestamp};
    match (from, to) {
        (SmallInt, Int | BigInt) | (Int, BigInt) => Some(Coercion::Implicit),
        (SmallInt | Int | BigInt, Decimal { .. } | Double) | (Decimal { .. }, Double) => Some(Coercion::Implicit),
        (Int | BigInt, SmallInt) | (BigInt, Int) => Some(Coercion::Assignment),
        (Decimal { .. } | Double, SmallInt | Int | BigInt) | (Double, Decimal { .. }) => Some(Coercion::Assignment),
        (_, Text) => Some(Coercion::Assignment),
        (Text, _) => Some(Coercion::Explicit),
        (Boolean, SmallInt | Int | BigInt) | (SmallInt | Int | BigInt, Boolean) => Some(Coercion::Explicit),
        (Json, Boolean | SmallInt | Int | BigInt | Decimal { .. } | Double) => Some(Coercion::Explicit),
        (BigInt, Timestamp) | (Timestamp, BigInt) => Some(Coercion::Explicit),
        (Boolean | SmallInt | Int | BigInt | Decimal { .. } | Double | Bytes | Json | Timestamp, _) => None,
    }
}

/// The type to which values of all these types convert implicitly without loss of range; `None` when there is none, or no
/// type at all. DECIMALs meet in one that has the digits of each, up to 28, the digits before the point first.
#[must_use]
pub fn common_type(types: &[DataType]) -> Option<DataType> {
    let (first, rest) = types.split_first()?;
    rest.iter().try_fold(*first, |left, right| common_pair(left, *right))
}

fn common_pair(left: DataType, right: DataType) -> Option<DataType> {
    if left == right {
        return Some(left);
    }
    if left == DataType::Double && right.is_numeric() || right == DataType::Double && left.is_numeric() {
        return Some(DataType::Double);
    }
    if left.is_integer() && right.is_integer() {
        return Some(if allowed(left, right, Coercion::Implicit) { right } else { left });
    }
    let (left_whole, left_scale) = digits(left)?;
    let (right_whole, right_scale) = digits(right)?;
    let whole = left_whole.max(right_whole);
    let scale = left_scale.max(right_scale).min(MAX_DECIMAL_DIGITS.saturating_sub(whole));
    Some(DataType::Decimal { precision: (whole + scale).clamp(1, MAX_DECIMAL_DIGITS), scale })
}

/// Digits before and after the point that an exact number type holds.
#[must_use]
pub fn digits(data_type: DataType) -> Option<(u8, u8)> {
    match data_type {
        DataType::SmallInt => Some((5, 0)),
        DataType::Int => Some((10, 0)),
        DataType::BigInt => Some((19, 0)),
        DataType::Decimal { precision, scale } => Some((precision.saturating_sub(scale), scale)),
        DataType::Boolean
        | DataType::Double
        | DataType::Text
        | DataType::Bytes
        | DataType::Json
        | DataType::Timestamp => None,
    }
}

/// The value as one of type `to`; NULL stays NULL. `assignment`: the value is being stored, so conversions that only an
/// explicit cast may do (number to BOOLEAN and back, JSON to a scalar) are refused; texts are read in any case, since that
/// is what parameters and untyped literals are.
///
/// # Errors
/// 22003, 22P02, 22007, and 42846 for a pair of types without a conversion.
pub fn cast(value: Value, to: DataType, assignment: bool) -> Result<Value, Diag> {
    let Some(from) = value.data_type() else { return Ok(Value::Null) };
    if let (Value::Decimal(v), DataType::Decimal { precision, scale }) = (&value, to) {
        return decimal::fit(*v, precision, scale).map(Value::Decimal);
    }
    if from.same_kind(&to) {
        return Ok(value);
    }
    if needs(from, to).is_none() {
        return Err(cannot(from, to));
    }
    let wire_form = matches!((from, to), (DataType::BigInt, DataType::Timestamp));
    if assignment && !wire_form && from != DataType::Text && !allowed(from, to, Coercion::Assignment) {
        return Err(cannot(from, to).hint("write an explicit CAST if this is what you mean"));
    }
    if matches!(&value, Value::Json(json) if to != DataType::Text && json::type_of(json) == JsonType::Null) {
        return Ok(Value::Null);
    }
    match to {
        DataType::Boolean => to_boolean(&value),
        DataType::SmallInt => {
            Ok(Value::SmallInt(i16::try_from(to_integer(&value, to)?).map_err(|_| out_of_range(&value, to))?))
        }
        DataType::Int => Ok(Value::Int(i32::try_from(to_integer(&value, to)?).map_err(|_| out_of_range(&value, to))?)),
        DataType::BigInt => to_integer(&value, to).map(Value::BigInt),
        DataType::Double => to_double(&value).map(Value::Double),
        DataType::Decimal { precision, scale } => {
            decimal::fit(to_decimal(&value, to)?, precision, scale).map(Value::Decimal)
        }
        DataType::Text => Ok(Value::Text(to_text(&value))),
        DataType::Bytes => to_bytes(&value),
        DataType::Json => to_json(&value),
        DataType::Timestamp => to_timestamp(&value),
    }
}

/// A text as VARCHAR(n) stores it: longer ones are refused unless only spaces stand beyond the limit, which are cut.
///
/// # Errors
/// 22001.
pub fn fit_text(text: String, max_chars: u32) -> Result<String, Diag> {
    let limit = usize::try_from(max_chars).unwrap_or(usize::MAX);
    let Some((at, _)) = text.char_indices().nth(limit) else { return Ok(text) };
    match text.split_at_checked(at) {
        Some((kept, cut)) if cut.bytes().all(|byte| byte == b' ') => Ok(kept.to_owned()),
        _ => Err(Diag::new(SqlState::STRING_TRUNCATION, format!("value too long for VARCHAR({max_chars})"))
            .detail(format!("it has {} characters", text.chars().count()))),
    }
}

fn cannot(from: DataType, to: DataType) -> Diag {
    Diag::new(SqlState::CANNOT_COERCE, format!("cannot convert {from} to {to}"))
}

fn cannot_value(value: &Value, to: DataType) -> Diag {
    match value.data_type() {
        Some(from) => cannot(from, to),
        None => Diag::new(SqlState::INTERNAL, "NULL reached a conversion"),
    }
}

fn out_of_range(value: &Value, to: DataType) -> Diag {
    Diag::new(SqlState::OUT_OF_RANGE, format!("value {} is out of range for {to}", shown(&value.to_string())))
}

fn invalid(text: &str, to: DataType) -> Diag {
    Diag::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type {to}: \"{}\"", shown(text)))
}

/// The text, or its beginning when it is long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A JSON scalar as the SQL value that it looks like; objects, arrays and strings are refused.
fn json_scalar(json: &str, to: DataType) -> Result<Value, Diag> {
    match json::type_of(json) {
        JsonType::Null => Ok(Value::Null),
        JsonType::Boolean => Ok(Value::Boolean(json == "true")),
        JsonType::Number if to == DataType::Double => Ok(Value::Text(json.to_owned())),
        JsonType::Number => decimal::parse(json)
            .map(Value::Decimal)
            .map_err(|_| Diag::new(SqlState::OUT_OF_RANGE, format!("value {} is out of range for {to}", shown(json)))),
        other @ (JsonType::Object | JsonType::Array | JsonType::String) => {
            Err(Diag::new(SqlState::INVALID_PARAMETER, format!("cannot cast JSON {} to {to}", other.name()))
                .hint("use ->> to take a string out of JSON first"))
        }
    }
}

fn to_boolean(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::Text(text) => match text.trim_ascii().to_ascii_lowercase().as_str() {
            "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes" | "on" | "1" => Ok(Value::Boolean(true)),
            "f" | "fa" | "fal" | "fals" | "false" | "n" | "no" | "of" | "off" | "0" => Ok(Value::Boolean(false)),
            _ => Err(invalid(text, DataType::Boolean)),
        },
        Value::Json(json) => match json_scalar(json, DataType::Boolean)? {
            scalar @ (Value::Boolean(_) | Value::Null) => Ok(scalar),
            other => Err(cannot_value(&other, DataType::Boolean)),
        },
        other => match other.as_i64() {
            Some(number) => Ok(Value::Boolean(number != 0)),
            None => Err(cannot_value(other, DataType::Boolean)),
        },
    }
}

fn to_integer(value: &Value, to: DataType) -> Result<i64, Diag> {
    match value {
        Value::SmallInt(_) | Value::Int(_) | Value::BigInt(_) => value.as_i64().ok_or_else(|| cannot_value(value, to)),
        Value::Boolean(v) => Ok(i64::from(*v)),
        Value::Decimal(v) => {
            let rounded = decimal::round_at(*v, 0, true)?;
            i64::try_from(rounded.mantissa()).map_err(|_| out_of_range(value, to))
        }
        Value::Double(v) => {
            let rounded = v.round_ties_even();
            // Both bounds are exact as DOUBLE; i64::MAX itself is not.
            if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                return Err(out_of_range(value, to));
            }
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range just checked")]
            Ok(rounded as i64)
        }
        Value::Text(text) => parse_integer(text, to),
        Value::Timestamp(micros) => Ok(*micros),
        Value::Json(json) => match json_scalar(json, to)? {
            scalar @ Value::Decimal(_) => to_integer(&scalar, to),
            other => Err(cannot_value(&other, to)),
        },
        Value::Null | Value::Bytes(_) => Err(cannot_value(value, to)),
    }
}

fn parse_integer(text: &str, to: DataType) -> Result<i64, Diag> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.trim_ascii().parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        PosOverflow | NegOverflow => {
            Diag::new(SqlState::OUT_OF_RANGE, format!("value \"{}\" is out of range for {to}", shown(text)))
        }
        _ => invalid(text, to),
    })
}

fn to_double(value: &Value) -> Result<f64, Diag> {
    match value {
        Value::Decimal(v) => Ok(decimal::to_double(*v)),
        Value::Text(text) => parse_double(text),
        Value::Json(json) => match json_scalar(json, DataType::Double)? {
            Value::Text(number) => parse_double(&number),
            other => Err(cannot_value(&other, DataType::Double)),
        },
        #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as PostgreSQL does")]
        other => other.as_i64().map(|v| v as f64).ok_or_else(|| cannot_value(other, DataType::Double)),
    }
}

fn parse_double(text: &str) -> Result<f64, Diag> {
    let trimmed = text.trim_ascii();
    let parsed: f64 = trimmed.parse().map_err(|_| invalid(text, DataType::Double))?;
    let named = trimmed.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
    let digits = trimmed.split(['e', 'E']).next().unwrap_or_default();
    let vanished = parsed == 0.0 && digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if (parsed.is_infinite() && !named) || vanished {
        return Err(Diag::new(SqlState::OUT_OF_RANGE, format!("\"{}\" is out of range for DOUBLE", shown(text))));
    }
    Ok(parsed)
}

fn to_decimal(value: &Value, to: DataType) -> Result<Decimal, Diag> {
    match value {
        Value::Double(v) => decimal::from_double(*v).ok_or_else(|| out_of_range(value, to)),
        Value::Text(text) => decimal::parse(text).map_err(|error| match error {
            DecimalError::Malformed => invalid(text, to),
            DecimalError::OutOfRange => {
                Diag::new(SqlState::OUT_OF_RANGE, format!("value \"{}\" is out of range for {to}", shown(text)))
            }
        }),
        Value::Json(json) => match json_scalar(json, to)? {
            Value::Decimal(number) => Ok(number),
            other => Err(cannot_value(&other, to)),
        },
        other => other.as_i64().map(Decimal::from).ok_or_else(|| cannot_value(other, to)),
    }
}

/// As `CAST(... AS TEXT)`: `true` and `false` in full, the rest as output.
pub(crate) fn to_text(value: &Value) -> String {
    match value {
        Value::Boolean(v) => v.to_string(),
        other => other.to_string(),
    }
}

fn to_bytes(value: &Value) -> Result<Value, Diag> {
    let Value::Text(text) = value else { return Err(cannot_value(value, DataType::Bytes)) };
    parse_bytes(text).map(Value::Bytes).ok_or_else(|| {
        invalid(text, DataType::Bytes)
            .hint("write \\x and an even number of hexadecimal digits, or text with \\\\ and \\ooo escapes")
    })
}

/// PostgreSQL's two input forms: `\x00ff`, or text with `\\` and three-digit octal escapes.
pub(crate) fn parse_bytes(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escaped(text),
    }
}

pub(crate) fn parse_hex(hex: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut digits = hex.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    while let Some(high) = digits.next() {
        bytes.push(value(high)? << 4 | value(digits.next()?)?);
    }
    Some(bytes)
}

pub(crate) fn parse_escaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut input = text.bytes();
    while let Some(byte) = input.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match input.next()? {
            b'\\' => bytes.push(b'\\'),
            first @ b'0'..=b'3' => {
                let (second, third) = (input.next()?, input.next()?);
                if !matches!((second, third), (b'0'..=b'7', b'0'..=b'7')) {
                    return None;
                }
                bytes.push((first - b'0') << 6 | (second - b'0') << 3 | (third - b'0'));
            }
            _ => return None,
        }
    }
    Some(bytes)
}

fn to_json(value: &Value) -> Result<Value, Diag> {
    let Value::Text(text) = value else { return Err(cannot_value(value, DataType::Json)) };
    json::compact(text).map(Value::Json).map_err(|error| invalid(text, DataType::Json).detail(error.to_string()))
}

fn to_timestamp(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::BigInt(micros) => Ok(Value::Timestamp(*micros)),
        Value::Text(text) => datetime::parse(text).map(Value::Timestamp).map_err(|error| match error {
            TimestampError::Malformed => Diag::new(
                SqlState::INVALID_DATETIME,
                format!("invalid input syntax for type TIMESTAMP: \"{}\"", shown(text)),
            )
            .hint("write it as 2026-01-02 03:04:05.123456, with an offset if it is not UTC"),
            TimestampError::OutOfRange => {
                Diag::new(SqlState::INVALID_DATETIME, format!("date or time field out of range: \"{}\"", shown(text)))
            }
        }),
        other => Err(cannot_value(other, DataType::Timestamp)),
    }
}
