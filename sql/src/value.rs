//! Values and their types: what they are called, how they compare, how they read as text.
//!
//! Text is ordered by its bytes (no locale). DOUBLE is ordered as PostgreSQL orders it: -0 equals 0, NaN equals NaN and is
//! greater than everything else.

mod array;
mod element;

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

pub use self::array::{Array, ArrayError, parse as parse_array};
pub use self::element::Element;
use crate::interval::Interval;
use crate::json::equality::canonical;
use crate::{datetime, decimal, embedding, uuid};

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
    /// Exact decimal, at most 28 digits. [`DataType::DECIMAL`] keeps each value's own digits.
    Decimal {
        /// Digits in all, 1 to 28; 0 with a scale of 0: as each value has them.
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
    /// Date and time of day without a zone, read as UTC: microseconds since 1970.
    Timestamp,
    /// IEEE 754 binary32: REAL.
    Float,
    /// A day.
    Date,
    /// Time of day, 00:00 to 24:00.
    Time,
    /// An instant: TIMESTAMPTZ.
    DateTime,
    /// Months, days and microseconds.
    Interval,
    /// 128 bits.
    Uuid,
    /// So many binary32 numbers; 0 where an expression does not say how many.
    Embedding(u32),
    /// A list of values of one scalar type.
    Array(Element),
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
    /// [`DataType::Float`].
    Float(f32),
    /// [`DataType::Date`]: days since 1970-01-01.
    Date(i32),
    /// [`DataType::Time`]: microseconds since midnight, 0 to 86,400,000,000.
    Time(i64),
    /// [`DataType::DateTime`].
    DateTime(Micros),
    /// [`DataType::Interval`].
    Interval(Interval),
    /// [`DataType::Uuid`].
    Uuid(u128),
    /// [`DataType::Embedding`].
    Embedding(Vec<f32>),
    /// [`DataType::Array`].
    Array(Box<Array>),
}

/// One row, values in the order of its schema.
pub type Row = Vec<Value>;

impl DataType {
    /// DECIMAL without digits: each value keeps its own.
    pub const DECIMAL: Self = Self::Decimal { precision: 0, scale: 0 };

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
            Self::Float => "Float",
            Self::Date => "Date",
            Self::Time => "Time",
            Self::DateTime => "DateTime",
            Self::Interval => "Interval",
            Self::Uuid => "Uuid",
            Self::Embedding(_) => "Embedding",
            Self::Array(_) => "Array",
        }
    }

    /// `data_type` of a result's schema: the name, or `{"Decimal":{"precision":10,"scale":2}}`, `{"Embedding":384}`,
    /// `{"Array":"Int"}`.
    #[must_use]
    pub fn wire_json(&self) -> serde_json::Value {
        match self {
            Self::Decimal { precision, scale } => {
                serde_json::json!({ "Decimal": { "precision": precision, "scale": scale } })
            }
            Self::Embedding(dimensions) => serde_json::json!({ "Embedding": dimensions }),
            Self::Array(element) => serde_json::json!({ "Array": element.data_type().wire_json() }),
            other => serde_json::Value::String(other.wire_name().to_owned()),
        }
    }

    /// SMALLINT, INT or BIGINT.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        matches!(self, Self::SmallInt | Self::Int | Self::BigInt)
    }

    /// An integer, DECIMAL, REAL or DOUBLE.
    #[must_use]
    pub fn is_numeric(&self) -> bool {
        self.is_integer() || matches!(self, Self::Decimal { .. } | Self::Float | Self::Double)
    }

    /// DATE, TIMESTAMP or TIMESTAMPTZ: they have one order.
    #[must_use]
    pub fn is_point_in_time(&self) -> bool {
        matches!(self, Self::Date | Self::Timestamp | Self::DateTime)
    }

    /// The same type, precision and scale of DECIMAL and dimensions of EMBEDDING aside.
    #[must_use]
    pub fn same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Decimal { .. }, Self::Decimal { .. }) | (Self::Embedding(_), Self::Embedding(_)) => true,
            (Self::Array(left), Self::Array(right)) => left.plain() == right.plain(),
            _ => self == other,
        }
    }

    /// Whether `=`, GROUP BY and DISTINCT are defined; not for EMBEDDING, and arrays of JSON.
    #[must_use]
    pub fn has_equality(&self) -> bool {
        *self == Self::Json || self.is_comparable()
    }

    /// Whether `<` and ORDER BY are defined; not for JSON, EMBEDDING, and arrays of JSON.
    #[must_use]
    pub fn is_comparable(&self) -> bool {
        !matches!(self, Self::Json | Self::Embedding(_) | Self::Array(Element::Json))
    }

    /// The type of an array's elements.
    #[must_use]
    pub fn element(&self) -> Option<Self> {
        match self {
            Self::Array(element) => Some(element.data_type()),
            _ => None,
        }
    }

    /// The type of arrays of this type; `None` where there are none.
    #[must_use]
    pub fn array(&self) -> Option<Self> {
        Element::of(*self).map(Self::Array)
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
            Self::Decimal { precision: 0, .. } => "DECIMAL",
            Self::Decimal { precision, scale } => return write!(f, "DECIMAL({precision},{scale})"),
            Self::Text => "TEXT",
            Self::Bytes => "BYTES",
            Self::Json => "JSON",
            Self::Timestamp => "TIMESTAMP",
            Self::Float => "REAL",
            Self::Date => "DATE",
            Self::Time => "TIME",
            Self::DateTime => "TIMESTAMPTZ",
            Self::Interval => "INTERVAL",
            Self::Uuid => "UUID",
            Self::Embedding(0) => "EMBEDDING",
            Self::Embedding(dimensions) => return write!(f, "EMBEDDING({dimensions})"),
            Self::Array(element) => return write!(f, "{}[]", element.data_type()),
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
            Self::Float(_) => DataType::Float,
            Self::Date(_) => DataType::Date,
            Self::Time(_) => DataType::Time,
            Self::DateTime(_) => DataType::DateTime,
            Self::Interval(_) => DataType::Interval,
            Self::Uuid(_) => DataType::Uuid,
            Self::Embedding(vector) => DataType::Embedding(u32::try_from(vector.len()).unwrap_or(u32::MAX)),
            Self::Array(array) => DataType::Array(array.element()),
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
            Self::Embedding(vector) => vector.len() * size_of::<f32>(),
            Self::Array(array) => size_of::<Array>() + array.items().iter().map(Self::size).sum::<usize>(),
            Self::Null
            | Self::Boolean(_)
            | Self::SmallInt(_)
            | Self::Int(_)
            | Self::BigInt(_)
            | Self::Double(_)
            | Self::Decimal(_)
            | Self::Timestamp(_)
            | Self::Float(_)
            | Self::Date(_)
            | Self::Time(_)
            | Self::DateTime(_)
            | Self::Interval(_)
            | Self::Uuid(_) => 0,
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
            Self::Timestamp(v) => datetime::write(*v, ' ', "", f),
            Self::Float(v) => write_float(*v, f),
            Self::Date(v) => datetime::write_date(i64::from(*v), f),
            Self::Time(v) => datetime::write_time(*v, f),
            Self::DateTime(v) => datetime::write(*v, ' ', "+00", f),
            Self::Interval(v) => write!(f, "{v}"),
            Self::Uuid(v) => uuid::write(*v, f),
            Self::Embedding(v) => embedding::write(v, f),
            Self::Array(v) => write!(f, "{v}"),
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
    write_scientific(&format!("{value:e}"), f)
}

/// As [`write_double`], with an exponent outside 1e-4 to 1e6.
pub(crate) fn write_float(value: f32, f: &mut impl fmt::Write) -> fmt::Result {
    let magnitude = value.abs();
    if !magnitude.is_finite() {
        return write_double(f64::from(value), f);
    }
    if magnitude == 0.0 || (1e-4..1e6).contains(&magnitude) {
        return write!(f, "{value}");
    }
    write_scientific(&format!("{value:e}"), f)
}

/// Rust's `1.5e7` as PostgreSQL's `1.5e+07`.
fn write_scientific(scientific: &str, f: &mut impl fmt::Write) -> fmt::Result {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
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

/// SQL comparison of two values of one type, of two numbers of any types, or of two points in time. `None` when a side is NULL, or when the types
/// have no common order. JSON has equality alone: what of two documents is the lesser means nothing.
#[must_use]
pub fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    Some(match (left, right) {
        (Value::Text(l), Value::Text(r)) => l.as_bytes().cmp(r.as_bytes()),
        (Value::Json(l), Value::Json(r)) if l == r => Ordering::Equal,
        (Value::Json(l), Value::Json(r)) => canonical(l).cmp(&canonical(r)),
        (Value::Boolean(l), Value::Boolean(r)) => l.cmp(r),
        (Value::Bytes(l), Value::Bytes(r)) => l.cmp(r),
        (Value::Timestamp(l) | Value::DateTime(l), Value::Timestamp(r) | Value::DateTime(r)) => l.cmp(r),
        (Value::Date(l), Value::Date(r)) => l.cmp(r),
        (Value::Date(l), Value::Timestamp(r) | Value::DateTime(r)) => midnight(*l).cmp(&i128::from(*r)),
        (Value::Timestamp(l) | Value::DateTime(l), Value::Date(r)) => i128::from(*l).cmp(&midnight(*r)),
        (Value::Time(l), Value::Time(r)) => l.cmp(r),
        (Value::Interval(l), Value::Interval(r)) => l.compare(r),
        (Value::Uuid(l), Value::Uuid(r)) => l.cmp(r),
        (Value::Array(l), Value::Array(r)) if l.element() == r.element() && l.element() != Element::Json => {
            l.compare(r)
        }
        (Value::Decimal(l), Value::Decimal(r)) => l.cmp(r),
        (Value::Double(l), Value::Double(r)) => compare_doubles(*l, *r),
        (Value::Double(_) | Value::Float(_), _) | (_, Value::Double(_) | Value::Float(_)) => {
            compare_doubles(number_as_double(left)?, number_as_double(right)?)
        }
        (Value::Decimal(l), other) => l.cmp(&Decimal::from(other.as_i64()?)),
        (other, Value::Decimal(r)) => Decimal::from(other.as_i64()?).cmp(r),
        (l, r) => l.as_i64()?.cmp(&r.as_i64()?),
    })
}

/// The first instant of a day, in microseconds since 1970.
fn midnight(days: i32) -> i128 {
    i128::from(days) * i128::from(datetime::DAY)
}

fn number_as_double(value: &Value) -> Option<f64> {
    match value {
        Value::Double(v) => Some(*v),
        Value::Float(v) => Some(f64::from(*v)),
        Value::Decimal(v) => Some(decimal::to_double(*v)),
        #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as PostgreSQL's int8 to float8")]
        other => other.as_i64().map(|v| v as f64),
    }
}

/// Total order for sorting, grouping and DISTINCT: as [`compare`], JSON by its text, which [`SortValue::same`] makes equal for equal documents. NULL equals NULL and stands after
/// everything (callers that want it elsewhere look first); values of unlike types are ordered by type.
#[must_use]
pub fn sort_compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Json(l), Value::Json(r)) => l.as_bytes().cmp(r.as_bytes()),
        (Value::Embedding(l), Value::Embedding(r)) => {
            let pairs = l.iter().zip(r).map(|(l, r)| compare_doubles(f64::from(*l), f64::from(*r)));
            pairs.fold(Ordering::Equal, Ordering::then).then(l.len().cmp(&r.len()))
        }
        (Value::Array(l), Value::Array(r)) if l.element() == r.element() => l.compare(r),
        _ => compare(left, right).unwrap_or_else(|| rank(left).cmp(&rank(right))),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Boolean(_) => 0,
        Value::SmallInt(_)
        | Value::Int(_)
        | Value::BigInt(_)
        | Value::Double(_)
        | Value::Float(_)
        | Value::Decimal(_) => 1,
        Value::Text(_) => 2,
        Value::Bytes(_) => 3,
        Value::Json(_) => 4,
        Value::Timestamp(_) | Value::DateTime(_) | Value::Date(_) => 5,
        Value::Time(_) => 6,
        Value::Interval(_) => 7,
        Value::Uuid(_) => 8,
        Value::Embedding(_) => 9,
        Value::Array(_) => 10,
        Value::Null => 11,
    }
}

/// A value in the order of [`sort_compare`], for ordered maps and sets.
#[derive(Clone, Debug)]
pub struct SortValue(pub Value);

impl SortValue {
    /// The value as one of what is told apart: equal documents have one text.
    #[must_use]
    pub fn same(value: Value) -> Self {
        match value {
            Value::Json(json) => Self(Value::Json(canonical(&json))),
            other => Self(other),
        }
    }
}

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
