//! Values and their types: what they are called, how they compare, how they read as text.
//!
//! Text is ordered by its bytes (no locale). DOUBLE is ordered as PostgreSQL orders it: -0 equals 0, NaN equals NaN and is
//! greater than everything else.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{datetime, decimal};

/// Most digits of a DECIMAL, before and after the point together.
pub const MAX_DECIMAL_DIGITS: u8 = 28;

/// Most bytes of a TEXT, BYTES or JSON that an expression may make: more is refused (54000).
pub const MAX_VALUE_BYTES: usize = 16 << 20;

/// Microseconds since 1970-01-01 UTC.
pub type Micros = i64;

/// Type of a column, parameter or expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DataType {
    /// true or false.
    Boolean,
    /// 16-bit integer.
    SmallInt,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    BigInt,
    /// IEEE 754 binary64.
    Double,
    /// Exact decimal, at most 28 digits.
    Decimal {
        /// Digits in all, 1 to 28.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// UTF-8 text.
    Text,
    /// Bytes.
    Bytes,
    /// JSON, kept as its compact text.
    Json,
    /// An instant, in microseconds since 1970 UTC.
    Timestamp,
}

/// A value of any type, or NULL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// [`DataType::Boolean`].
    Boolean(bool),
    /// [`DataType::SmallInt`].
    SmallInt(i16),
    /// [`DataType::Int`].
    Int(i32),
    /// [`DataType::BigInt`].
    BigInt(i64),
    /// [`DataType::Double`].
    Double(f64),
    /// [`DataType::Decimal`].
    Decimal(Decimal),
    /// [`DataType::Text`].
    Text(String),
    /// [`DataType::Bytes`].
    Bytes(Vec<u8>),
    /// [`DataType::Json`]: valid, compact JSON text.
    Json(String),
    /// [`DataType::Timestamp`].
    Timestamp(Micros),
}

/// One row, values in the order of its schema.
pub type Row = Vec<Value>;

impl DataType {
    /// The name in a result's schema on the wire, without precision and scale (those are in [`DataType::wire_json`]).
    #[must_use]
    pub fn wire_name(&self) -> &'static str {
        match self {
            Self::Boolean => "Boolean",
            Self::SmallInt => "SmallInt",
            Self::Int => "Int",
            Self::BigInt => "BigInt",
            Self::Double => "Double",
            Self::Decimal { .. } => "Decimal",
            Self::Text => "Text",
            Self::Bytes => "Bytes",
            Self::Json => "Json",
            Self::Timestamp => "Timestamp",
        }
    }

    /// `data_type` of a result's schema: the name, or `{"Decimal":{"precision":10,"scale":2}}`.
    #[must_use]
    pub fn wire_json(&self) -> serde_json::Value {
        match self {
            Self::Decimal { precision, scale } => {
                serde_json::json!({ "Decimal": { "precision": precision, "scale": scale } })
            }
            other => serde_json::Value::String(other.wire_name().to_owned()),
        }
    }

    /// SMALLINT, INT or BIGINT.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::SmallInt | Self::Int | Self::BigInt)
    }

    /// An integer, DECIMAL or DOUBLE.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, Self::Decimal { .. } | Self::Double)
    }

    /// The same type, precision and scale of DECIMAL aside.
    #[must_use]
    pub fn same_kind(&self, other: &Self) -> bool {
        self.wire_name() == other.wire_name()
    }

    /// Whether `=`, `<` and ORDER BY are defined; not for JSON.
    #[must_use]
    pub fn is_comparable(&self) -> bool {
        !matches!(self, Self::Json)
    }
}

/// The SQL name: `BIGINT`, `DECIMAL(10,2)`.
impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Boolean => "BOOLEAN",
            Self::SmallInt => "SMALLINT",
            Self::Int => "INT",
            Self::BigInt => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Decimal { precision, scale } => return write!(f, "DECIMAL({precision},{scale})"),
            Self::Text => "TEXT",
            Self::Bytes => "BYTES",
            Self::Json => "JSON",
            Self::Timestamp => "TIMESTAMP",
        };
        f.write_str(name)
    }
}

impl Value {
    /// Its type; `None` for NULL. A DECIMAL's is the widest with the value's own scale.
    #[must_use]
    pub fn data_type(&self) -> Option<DataType> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(_) => DataType::Boolean,
            Self::SmallInt(_) => DataType::SmallInt,
            Self::Int(_) => DataType::Int,
            Self::BigInt(_) => DataType::BigInt,
            Self::Double(_) => DataType::Double,
            Self::Decimal(decimal) => DataType::Decimal {
                precision: MAX_DECIMAL_DIGITS,
                scale: u8::try_from(decimal.scale()).unwrap_or(MAX_DECIMAL_DIGITS),
            },
            Self::Text(_) => DataType::Text,
            Self::Bytes(_) => DataType::Bytes,
            Self::Json(_) => DataType::Json,
            Self::Timestamp(_) => DataType::Timestamp,
        })
    }

    /// SQL NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The value of a SMALLINT, INT or BIGINT.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::SmallInt(v) => Some(i64::from(*v)),
            Self::Int(v) => Some(i64::from(*v)),
            Self::BigInt(v) => Some(*v),
            _ => None,
        }
    }

    /// Bytes that it takes in memory, near enough for a memory budget.
    #[must_use]
    pub fn size(&self) -> usize {
        let heap = match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            Self::Null
            | Self::Boolean(_)
            | Self::SmallInt(_)
            | Self::Int(_)
            | Self::BigInt(_)
            | Self::Double(_)
            | Self::Decimal(_)
            | Self::Timestamp(_) => 0,
        };
        size_of::<Self>() + heap
    }
}

/// PostgreSQL's text output (`t`, `1.50`, `\x00ff`, `2026-01-02 03:04:05.5`); NULL reads `NULL`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Boolean(true) => f.write_str("t"),
            Self::Boolean(false) => f.write_str("f"),
            Self::SmallInt(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::BigInt(v) => write!(f, "{v}"),
            Self::Double(v) => write_double(*v, f),
            Self::Decimal(v) => write!(f, "{v}"),
            Self::Text(v) | Self::Json(v) => f.write_str(v),
            Self::Bytes(v) => {
                f.write_str("\\x")?;
                v.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Timestamp(v) => datetime::write(*v, ' ', f),
        }
    }
}

/// The shortest digits that read back as the same number, with an exponent outside 1e-4 to 1e15.
fn write_double(value: f64, f: &mut impl fmt::Write) -> fmt::Result {
    if value.is_nan() {
        return f.write_str("NaN");
    }
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-4..1e15).contains(&magnitude) {
        return write!(f, "{value}");
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    write!(f, "{mantissa}e{sign}{digits:0>2}")
}

/// Total order of DOUBLE: -0 equals 0, NaN is the greatest and equals itself.
#[must_use]
pub fn compare_doubles(left: f64, right: f64) -> Ordering {
    match left.partial_cmp(&right) {
        Some(ordering) => ordering,
        None => left.is_nan().cmp(&right.is_nan()),
    }
}

/// SQL comparison of two values of one type, or of two numbers of any types. `None` when a side is NULL, or when the types
/// have no common order (JSON has none).
#[must_use]
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Text(l), Value::Text(r)) => l.as_bytes().cmp(r.as_bytes()),
        (Value::Boolean(l), Value::Boolean(r)) => l.cmp(r),
        (Value::Bytes(l), Value::Bytes(r)) => l.cmp(r),
        (Value::Timestamp(l), Value::Timestamp(r)) => l.cmp(r),
        (Value::Decimal(l), Value::Decimal(r)) => l.cmp(r),
        (Value::Double(l), Value::Double(r)) => compare_doubles(*l, *r),
        (Value::Double(l), other) => compare_doubles(*l, number_as_double(other)?),
        (other, Value::Double(r)) => compare_doubles(number_as_double(other)?, *r),
        (Value::Decimal(l), other) => l.cmp(&Decimal::from(other.as_i64()?)),
        (other, Value::Decimal(r)) => Decimal::from(other.as_i64()?).cmp(r),
        (l, r) => l.as_i64()?.cmp(&r.as_i64()?),
    })
}

fn number_as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Double(v) => Some(*v),
        Value::Decimal(v) => Some(decimal::to_double(*v)),
        #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as PostgreSQL's int8 to float8")]
        other => other.as_i64().map(|v| v as f64),
    }
}

/// Total order for sorting, grouping and DISTINCT: as [`compare`], JSON by its text. NULL equals NULL and stands after
/// everything (callers that want it elsewhere look first); values of unlike types are ordered by type.
#[must_use]
pub fn sort_compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Json(l), Value::Json(r)) => l.as_bytes().cmp(r.as_bytes()),
        _ => compare(left, right).unwrap_or_else(|| rank(left).cmp(&rank(right))),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Boolean(_) => 0,
        Value::SmallInt(_) | Value::Int(_) | Value::BigInt(_) | Value::Double(_) | Value::Decimal(_) => 1,
        Value::Text(_) => 2,
        Value::Bytes(_) => 3,
        Value::Json(_) => 4,
        Value::Timestamp(_) => 5,
        Value::Null => 6,
    }
}

/// A value in the order of [`sort_compare`], for ordered maps and sets.
#[derive(Clone, Debug)]
pub struct SortValue(pub Value);

impl PartialEq for SortValue {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SortValue {}

impl PartialOrd for SortValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SortValue {
    fn cmp(&self, other: &Self) -> Ordering {
        sort_compare(&self.0, &other.0)
    }
}
