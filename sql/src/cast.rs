//! Conversion of values between types, and which conversions the binder may insert.
//!
//! PostgreSQL's rules: DECIMAL to integer rounds half away from zero, DOUBLE to integer half to even, a number outside the
//! target's range is 22003, a text that is no value of the target is 22P02. Beyond PostgreSQL: BIGINT and TIMESTAMP (or
//! TIMESTAMPTZ) convert explicitly as microseconds since 1970 UTC, because that is how timestamps travel on the wire.

use rust_decimal::Decimal;

use crate::datetime::{self, DAY, TimestampError};
use crate::decimal::{self, DecimalError};
use crate::diag::{Diag, SqlState};
use crate::embedding;
use crate::interval::{self, Interval, IntervalError};
use crate::json::{self, JsonType};
use crate::uuid;
use crate::value::{Array, ArrayError, DataType, Element, MAX_VALUE_BYTES, Value, parse_array};

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
    use Coercion::{Assignment, Explicit, Implicit};
    use DataType::{
        Array, BigInt, Boolean, Bytes, Date, DateTime, Decimal, Double, Embedding, Float, Int, Interval, Json,
        SmallInt, Text, Time, Timestamp, Uuid,
    };
    match (from, to) {
        (SmallInt, Int | BigInt) | (Int, BigInt) => Some(Implicit),
        (SmallInt | Int | BigInt, Decimal { .. } | Float | Double) => Some(Implicit),
        (Decimal { .. }, Float | Double) | (Float, Double) => Some(Implicit),
        (Int | BigInt, SmallInt) | (BigInt, Int) => Some(Assignment),
        (Decimal { .. } | Float | Double, SmallInt | Int | BigInt) => Some(Assignment),
        (Float | Double, Decimal { .. }) | (Double, Float) => Some(Assignment),
        (Date, Timestamp | DateTime) | (Timestamp, DateTime) | (Time, Interval) => Some(Implicit),
        (DateTime, Timestamp) | (Timestamp | DateTime, Date | Time) | (Interval, Time) => Some(Assignment),
        (_, Text) => Some(Assignment),
        (Text, _) => Some(Explicit),
        (Array(from), Array(to)) => {
            if from.plain() == to.plain() {
                return Some(Implicit);
            }
            needs(from.data_type(), to.data_type())
        }
        (Array(element), Embedding(_)) if element.data_type().is_numeric() => Some(Assignment),
        (Embedding(_), Array(Element::Float)) => Some(Implicit),
        (Boolean, SmallInt | Int | BigInt) | (SmallInt | Int | BigInt, Boolean) => Some(Explicit),
        (Json, Boolean | SmallInt | Int | BigInt | Decimal { .. } | Float | Double) => Some(Explicit),
        (BigInt, Timestamp | DateTime) | (Timestamp | DateTime, BigInt) => Some(Explicit),
        (
            Boolean
            | SmallInt
            | Int
            | BigInt
            | Decimal { .. }
            | Float
            | Double
            | Bytes
            | Json
            | Timestamp
            | Date
            | Time
            | DateTime
            | Interval
            | Uuid
            | Embedding(_)
            | Array(_),
            _,
        ) => None,
    }
}

/// The type to which values of all these types convert implicitly without loss of range; `None` when there is none, or no
/// type at all. DECIMALs of different digits meet in DECIMAL, in which each value keeps its own.
#[must_use]
pub fn common_type(types: &[DataType]) -> Option<DataType> {
    let (first, rest) = types.split_first()?;
    rest.iter().try_fold(*first, |left, right| common_pair(left, *right))
}

fn common_pair(left: DataType, right: DataType) -> Option<DataType> {
    if left == right {
        return Some(left);
    }
    if let (DataType::Array(left), DataType::Array(right)) = (left, right) {
        return common_pair(left.data_type(), right.data_type())?.array();
    }
    if let (DataType::Embedding(_), DataType::Embedding(_)) = (left, right) {
        return Some(DataType::Embedding(0));
    }
    let exact = |side: DataType| side.is_integer() || matches!(side, DataType::Decimal { .. });
    if !exact(left) || !exact(right) || left.is_integer() && right.is_integer() {
        return if allowed(left, right, Coercion::Implicit) {
            Some(right)
        } else {
            allowed(right, left, Coercion::Implicit).then_some(left)
        };
    }
    Some(DataType::DECIMAL)
}

/// Digits before and after the point that an exact number type holds; DECIMAL without digits says none.
#[must_use]
pub fn digits(data_type: DataType) -> Option<(u8, u8)> {
    match data_type {
        DataType::SmallInt => Some((5, 0)),
        DataType::Int => Some((10, 0)),
        DataType::BigInt => Some((19, 0)),
        DataType::Decimal { precision, scale } => Some((precision.saturating_sub(scale), scale)),
        DataType::Boolean
        | DataType::Float
        | DataType::Double
        | DataType::Text
        | DataType::Bytes
        | DataType::Json
        | DataType::Timestamp
        | DataType::Date
        | DataType::Time
        | DataType::DateTime
        | DataType::Interval
        | DataType::Uuid
        | DataType::Embedding(_)
        | DataType::Array(_) => None,
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
    match (&value, to) {
        (Value::Decimal(v), DataType::Decimal { precision, scale }) => {
            return decimal::fit(*v, precision, scale).map(Value::Decimal);
        }
        (Value::Embedding(v), DataType::Embedding(dimensions)) => {
            return fit_dimensions(v.len(), dimensions).map(|()| value);
        }
        (Value::Array(_), DataType::Array(Element::Decimal { precision: 1.., .. })) => {}
        _ if from.same_kind(&to) => return Ok(value),
        _ => {}
    }
    if !from.same_kind(&to) && needs(from, to).is_none() {
        return Err(cannot(from, to));
    }
    let wire_form = matches!((from, to), (DataType::BigInt, DataType::Timestamp | DataType::DateTime));
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
        DataType::Float => to_float(&value).map(Value::Float),
        DataType::Double => to_double(&value, to).map(Value::Double),
        DataType::Decimal { precision, scale } => {
            decimal::fit(to_decimal(&value, to)?, precision, scale).map(Value::Decimal)
        }
        DataType::Text => to_limited_text(&value),
        DataType::Bytes => to_bytes(&value),
        DataType::Json => to_json(&value),
        DataType::Timestamp => to_micros(&value, to).map(Value::Timestamp),
        DataType::DateTime => to_micros(&value, to).map(Value::DateTime),
        DataType::Date => to_date(&value),
        DataType::Time => to_time(&value),
        DataType::Interval => to_interval(&value),
        DataType::Uuid => to_uuid(&value),
        DataType::Embedding(dimensions) => to_embedding(value, dimensions, assignment),
        DataType::Array(element) => to_array(value, element, assignment),
    }
}

/// An EMBEDDING column takes vectors of its own dimensions only; 0 takes any.
fn fit_dimensions(found: usize, wanted: u32) -> Result<(), Diag> {
    if wanted == 0 || u32::try_from(found) == Ok(wanted) {
        return Ok(());
    }
    Err(Diag::new(SqlState::DATA_EXCEPTION, format!("expected {wanted} dimensions, not {found}")))
}

/// A value as a column of VARCHAR(n), or of arrays of it, stores it; of other types it stays as it is.
///
/// # Errors
/// 22001 for a text that is too long.
pub fn fit(value: Value, max_chars: u32) -> Result<Value, Diag> {
    match value {
        Value::Text(text) => fit_text(text, max_chars).map(Value::Text),
        Value::Array(array) if array.element() == Element::Text => {
            let items = array.items().iter().map(|item| fit(item.clone(), max_chars));
            Ok(Value::Array(Box::new(Array::new(Element::Text, items.collect::<Result<_, Diag>>()?))))
        }
        other => Ok(other),
    }
}

/// A text as VARCHAR(n) stores it: longer ones are refused unless only spaces stand beyond the limit, which are cut.
///
/// # Errors
/// 22001.
fn fit_text(text: String, max_chars: u32) -> Result<String, Diag> {
    let limit = usize::try_from(max_chars).unwrap_or(usize::MAX);
    let Some((at, _)) = text.char_indices().nth(limit) else { return Ok(text) };
    match text.split_at_checked(at) {
        Some((kept, cut)) if cut.bytes().all(|byte| byte == b' ') => Ok(kept.to_owned()),
        _ => Err(Diag::new(SqlState::STRING_TRUNCATION, format!("value too long for VARCHAR({max_chars})"))
            .detail(format!("it has {} characters", text.chars().count()))),
    }
}

/// What equals a value in another type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Equal {
    /// This value alone.
    Value(Value),
    /// No value of that type.
    Never,
    /// It cannot be told, or it is not one value.
    Unknown,
}

/// The value of type `wanted` that equals `value`, where the two types are compared in a type that has the values of both.
pub(crate) fn equal_in(value: &Value, wanted: DataType) -> Equal {
    let Some(from) = value.data_type() else { return Equal::Never };
    if from.same_kind(&wanted) {
        return Equal::Value(value.clone());
    }
    if from.is_point_in_time() && matches!(wanted, DataType::Timestamp | DataType::DateTime) {
        return cast(value.clone(), wanted, false).map_or(Equal::Unknown, Equal::Value);
    }
    let whole = |number: i64| match wanted {
        DataType::SmallInt => i16::try_from(number).ok().map(Value::SmallInt),
        DataType::Int => i32::try_from(number).ok().map(Value::Int),
        DataType::BigInt => Some(Value::BigInt(number)),
        _ => None,
    };
    let number = match value {
        Value::Decimal(decimal) if wanted.is_integer() => match decimal.is_integer().then(|| i64::try_from(*decimal)) {
            Some(Ok(number)) => Some(number),
            Some(Err(_)) | None => return Equal::Never,
        },
        other => other.as_i64(),
    };
    match number {
        Some(number) if wanted.is_integer() => whole(number).map_or(Equal::Never, Equal::Value),
        Some(number) if matches!(wanted, DataType::Decimal { .. }) => Equal::Value(Value::Decimal(number.into())),
        _ => Equal::Unknown,
    }
}

/// Whether every value of a column of type `own`, compared in type `wide`, has [`equal_in`] lead back to it.
pub(crate) fn is_reversible(own: DataType, wide: DataType) -> bool {
    match (own, wide) {
        (own, wide) if own.same_kind(&wide) => true,
        (own, DataType::SmallInt | DataType::Int | DataType::BigInt | DataType::Decimal { .. }) => own.is_integer(),
        (DataType::Timestamp | DataType::DateTime, DataType::Timestamp | DataType::DateTime) => true,
        _ => false,
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

fn to_limited_text(value: &Value) -> Result<Value, Diag> {
    let text = to_text(value);
    if text.len() > MAX_VALUE_BYTES {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("a text of {} bytes is beyond the limit of {MAX_VALUE_BYTES}", text.len()),
        )
        .hint("make shorter values"));
    }
    Ok(Value::Text(text))
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
        Value::Float(v) => to_integer(&Value::Double(f64::from(*v)), to),
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
        Value::Timestamp(micros) | Value::DateTime(micros) => Ok(*micros),
        Value::Json(json) => match json_scalar(json, to)? {
            scalar @ Value::Decimal(_) => to_integer(&scalar, to),
            other => Err(cannot_value(&other, to)),
        },
        Value::Null
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Interval(_)
        | Value::Uuid(_)
        | Value::Embedding(_)
        | Value::Array(_) => Err(cannot_value(value, to)),
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

fn to_double(value: &Value, to: DataType) -> Result<f64, Diag> {
    match value {
        Value::Decimal(v) => Ok(decimal::to_double(*v)),
        Value::Float(v) => Ok(f64::from(*v)),
        Value::Double(v) => Ok(*v),
        Value::Text(text) => parse_double(text, to),
        Value::Json(json) => match json_scalar(json, DataType::Double)? {
            Value::Text(number) => parse_double(&number, to),
            other => Err(cannot_value(&other, to)),
        },
        #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as PostgreSQL does")]
        other => other.as_i64().map(|v| v as f64).ok_or_else(|| cannot_value(other, to)),
    }
}

/// Rounded once: a text is read as binary32, not narrowed from binary64.
fn to_float(value: &Value) -> Result<f32, Diag> {
    let to = DataType::Float;
    let read = |text: &str| -> Result<f32, Diag> {
        let parsed: f32 = text.trim_ascii().parse().map_err(|_| invalid(text, to))?;
        checked_number(text, f64::from(parsed), to)?;
        Ok(parsed)
    };
    match value {
        Value::Text(text) => read(text),
        Value::Decimal(v) => read(&v.to_string()),
        Value::Json(json) => match json_scalar(json, DataType::Double)? {
            Value::Text(number) => read(&number),
            other => Err(cannot_value(&other, to)),
        },
        #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as PostgreSQL does")]
        Value::SmallInt(_) | Value::Int(_) | Value::BigInt(_) => {
            value.as_i64().map(|v| v as f32).ok_or_else(|| cannot_value(value, to))
        }
        other => {
            let wide = to_double(other, to)?;
            #[expect(clippy::cast_possible_truncation, reason = "rounds to nearest; overflow is refused below")]
            let narrow = wide as f32;
            if narrow.is_infinite() && wide.is_finite() || narrow == 0.0 && wide != 0.0 {
                return Err(out_of_range(other, to));
            }
            Ok(narrow)
        }
    }
}

fn parse_double(text: &str, to: DataType) -> Result<f64, Diag> {
    let parsed: f64 = text.trim_ascii().parse().map_err(|_| invalid(text, to))?;
    checked_number(text, parsed, to)
}

/// Refuses a text whose digits are beyond what the type holds: too large, or too small to differ from zero.
fn checked_number(text: &str, parsed: f64, to: DataType) -> Result<f64, Diag> {
    let trimmed = text.trim_ascii();
    let named = trimmed.bytes().any(|byte| byte.eq_ignore_ascii_case(&b'n'));
    let digits = trimmed.split(['e', 'E']).next().unwrap_or_default();
    let vanished = parsed == 0.0 && digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    if (parsed.is_infinite() && !named) || vanished {
        return Err(Diag::new(SqlState::OUT_OF_RANGE, format!("\"{}\" is out of range for {to}", shown(text))));
    }
    Ok(parsed)
}

fn to_decimal(value: &Value, to: DataType) -> Result<Decimal, Diag> {
    match value {
        Value::Double(v) => decimal::from_double(*v).ok_or_else(|| out_of_range(value, to)),
        Value::Float(v) => decimal::from_float(*v).ok_or_else(|| out_of_range(value, to)),
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

/// Microseconds since 1970 of a TIMESTAMP or TIMESTAMPTZ.
fn to_micros(value: &Value, to: DataType) -> Result<i64, Diag> {
    match value {
        Value::BigInt(micros) | Value::Timestamp(micros) | Value::DateTime(micros) => Ok(*micros),
        Value::Date(days) => i64::from(*days).checked_mul(DAY).ok_or_else(|| field_out_of_range(&value.to_string())),
        Value::Text(text) => datetime::parse(text).map_err(|error| {
            bad_time(error, text, to, "write it as 2026-01-02 03:04:05.123456, with an offset if it is not UTC")
        }),
        other => Err(cannot_value(other, to)),
    }
}

fn bad_time(error: TimestampError, text: &str, to: DataType, hint: &str) -> Diag {
    match error {
        TimestampError::Malformed => {
            Diag::new(SqlState::INVALID_DATETIME, format!("invalid input syntax for type {to}: \"{}\"", shown(text)))
                .hint(hint)
        }
        TimestampError::OutOfRange => field_out_of_range(text),
    }
}

fn field_out_of_range(text: &str) -> Diag {
    Diag::new(SqlState::INVALID_DATETIME, format!("date or time field out of range: \"{}\"", shown(text)))
}

fn to_date(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::Timestamp(micros) | Value::DateTime(micros) => {
            i32::try_from(micros.div_euclid(DAY)).map(Value::Date).map_err(|_| field_out_of_range(&value.to_string()))
        }
        Value::Text(text) => datetime::parse_date(text)
            .map(Value::Date)
            .map_err(|error| bad_time(error, text, DataType::Date, "write it as 2026-01-02")),
        other => Err(cannot_value(other, DataType::Date)),
    }
}

fn to_time(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::Timestamp(micros) | Value::DateTime(micros) => Ok(Value::Time(micros.rem_euclid(DAY))),
        Value::Interval(interval) => Ok(Value::Time(interval.micros.rem_euclid(DAY))),
        Value::Text(text) => datetime::parse_time(text)
            .map(Value::Time)
            .map_err(|error| bad_time(error, text, DataType::Time, "write it as 03:04:05.123456")),
        other => Err(cannot_value(other, DataType::Time)),
    }
}

fn to_interval(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::Time(micros) => Ok(Value::Interval(Interval { months: 0, days: 0, micros: *micros })),
        Value::Text(text) => parse_interval(text, None).map(Value::Interval),
        other => Err(cannot_value(other, DataType::Interval)),
    }
}

/// The text as an interval; `bare` is the unit of a number without one.
pub(crate) fn parse_interval(text: &str, bare: Option<&str>) -> Result<Interval, Diag> {
    interval::parse(text, bare).map_err(|error| match error {
        IntervalError::Malformed => Diag::new(
            SqlState::INVALID_DATETIME,
            format!("invalid input syntax for type INTERVAL: \"{}\"", shown(text)),
        )
        .hint("write it as 1 year 2 months 3 days 04:05:06, or P1Y2M3DT4H5M6S"),
        IntervalError::OutOfRange => {
            Diag::new(SqlState::OUT_OF_RANGE, format!("interval field value out of range: \"{}\"", shown(text)))
        }
    })
}

fn to_uuid(value: &Value) -> Result<Value, Diag> {
    let Value::Text(text) = value else { return Err(cannot_value(value, DataType::Uuid)) };
    uuid::parse(text).map(Value::Uuid).ok_or_else(|| invalid(text, DataType::Uuid))
}

fn to_embedding(value: Value, dimensions: u32, assignment: bool) -> Result<Value, Diag> {
    let to = DataType::Embedding(dimensions);
    let vector = match value {
        Value::Text(text) => embedding::parse(&text).ok_or_else(|| {
            invalid(&text, to).hint(format!("write 1 to {} finite numbers as [1, 0.5, -2]", embedding::MAX_DIMENSIONS))
        })?,
        Value::Array(array) => {
            let number = |item: Value| match cast(item, DataType::Float, assignment)? {
                Value::Float(number) if number.is_finite() => Ok(number),
                other => Err(Diag::new(
                    SqlState::INVALID_PARAMETER,
                    format!("an embedding holds finite numbers, not {other}"),
                )),
            };
            let vector = array.into_items().into_iter().map(number).collect::<Result<Vec<f32>, Diag>>()?;
            embedding::checked(vector.len())?;
            vector
        }
        other => return Err(cannot_value(&other, to)),
    };
    fit_dimensions(vector.len(), dimensions)?;
    Ok(Value::Embedding(vector))
}

fn to_array(value: Value, element: Element, assignment: bool) -> Result<Value, Diag> {
    let to = DataType::Array(element);
    let items = match value {
        Value::Text(text) => {
            let items = parse_array(&text).map_err(|error| match error {
                ArrayError::Nested => Diag::not_supported("an array of arrays"),
                ArrayError::Bounds => Diag::not_supported("an array whose text says its subscripts")
                    .hint("Write the elements alone, as {1,2}: they count from 1."),
                error => Diag::new(SqlState::INVALID_TEXT, format!("malformed array literal: \"{}\"", shown(&text)))
                    .detail(error.to_string())
                    .hint("write it as {1,2,NULL} or {\"a\",\"b c\"}"),
            })?;
            items.into_iter().map(|item| item.map_or(Value::Null, Value::Text)).collect()
        }
        Value::Array(array) => array.into_items(),
        Value::Embedding(vector) => vector.into_iter().map(Value::Float).collect(),
        other => return Err(cannot_value(&other, to)),
    };
    let items = items.into_iter().map(|item| cast(item, element.data_type(), assignment)).collect::<Result<_, _>>()?;
    Ok(Value::Array(Box::new(Array::new(element, items))))
}
