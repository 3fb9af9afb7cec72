//! Values as JSON cells, and their types' names.
//!
//! | type | cell |
//! |---|---|
//! | BOOLEAN, SMALLINT, INT | the JSON value |
//! | BIGINT, DECIMAL | text (JSON numbers lose digits in many clients) |
//! | REAL, DOUBLE | number; `"NaN"`, `"Infinity"`, `"-Infinity"` as text |
//! | TEXT, JSON | text |
//! | BYTES | array of numbers 0 to 255 |
//! | TIMESTAMP, TIMESTAMPTZ | integer microseconds since 1970 UTC |
//! | DATE | integer days since 1970-01-01 |
//! | TIME | integer microseconds since midnight |
//! | INTERVAL | text as PostgreSQL writes it: `1 mon -2 days +03:04:05` |
//! | UUID | hyphenated text |
//! | EMBEDDING | array of numbers |
//! | arrays | array of their elements' cells |
//! | NULL of any type | null |

use std::str::FromStr as _;

use highwater_sql::value::{Array, DataType, Element, Value};
use highwater_sql::{datetime, embedding, interval, uuid};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A type's name in an answer's schema. Fixed: it does not follow the names inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the SQL type of that name")]
pub enum TypeName {
    Boolean,
    SmallInt,
    Int,
    BigInt,
    Double,
    Text,
    Bytes,
    Json,
    Timestamp,
    Decimal { precision: u8, scale: u8 },
    Float,
    Date,
    Time,
    DateTime,
    Interval,
    Uuid,
    Embedding(u32),
    Array(ElementName),
}

/// The name of an array's element type, written as that type's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElementName(pub Element);

impl Serialize for ElementName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        TypeName::from(self.0.data_type()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ElementName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = TypeName::deserialize(deserializer)?;
        let element = Element::of(DataType::from(name));
        element.map(Self).ok_or_else(|| serde::de::Error::custom("an array's elements are scalars"))
    }
}

impl From<TypeName> for DataType {
    fn from(name: TypeName) -> Self {
        match name {
            TypeName::Boolean => Self::Boolean,
            TypeName::SmallInt => Self::SmallInt,
            TypeName::Int => Self::Int,
            TypeName::BigInt => Self::BigInt,
            TypeName::Double => Self::Double,
            TypeName::Text => Self::Text,
            TypeName::Bytes => Self::Bytes,
            TypeName::Json => Self::Json,
            TypeName::Timestamp => Self::Timestamp,
            TypeName::Decimal { precision, scale } => Self::Decimal { precision, scale },
            TypeName::Float => Self::Float,
            TypeName::Date => Self::Date,
            TypeName::Time => Self::Time,
            TypeName::DateTime => Self::DateTime,
            TypeName::Interval => Self::Interval,
            TypeName::Uuid => Self::Uuid,
            TypeName::Embedding(dimensions) => Self::Embedding(dimensions),
            TypeName::Array(ElementName(element)) => Self::Array(element),
        }
    }
}

impl From<DataType> for TypeName {
    fn from(data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::SmallInt => Self::SmallInt,
            DataType::Int => Self::Int,
            DataType::BigInt => Self::BigInt,
            DataType::Double => Self::Double,
            DataType::Decimal { precision, scale } => Self::Decimal { precision, scale },
            DataType::Text => Self::Text,
            DataType::Bytes => Self::Bytes,
            DataType::Json => Self::Json,
            DataType::Timestamp => Self::Timestamp,
            DataType::Float => Self::Float,
            DataType::Date => Self::Date,
            DataType::Time => Self::Time,
            DataType::DateTime => Self::DateTime,
            DataType::Interval => Self::Interval,
            DataType::Uuid => Self::Uuid,
            DataType::Embedding(dimensions) => Self::Embedding(dimensions),
            DataType::Array(element) => Self::Array(ElementName(element)),
        }
    }
}

/// A value that is written as its cell.
#[derive(Clone, Debug, PartialEq)]
#[repr(transparent)]
pub struct Cell(pub Value);

impl From<Value> for Cell {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

/// A value as its cell, borrowed.
struct CellOf<'v>(&'v Value);

impl Serialize for CellOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(self.0, serializer)
    }
}

fn serialize<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Value::Null => serializer.serialize_unit(),
        Value::Boolean(value) => serializer.serialize_bool(*value),
        Value::SmallInt(value) => serializer.serialize_i16(*value),
        Value::Int(value) => serializer.serialize_i32(*value),
        Value::BigInt(value) => serializer.collect_str(value),
        Value::Double(value) if value.is_nan() => serializer.serialize_str("NaN"),
        Value::Double(value) if value.is_infinite() => {
            serializer.serialize_str(if *value > 0.0 { "Infinity" } else { "-Infinity" })
        }
        Value::Double(value) => serializer.serialize_f64(*value),
        Value::Decimal(value) => serializer.collect_str(value),
        Value::Text(value) | Value::Json(value) => serializer.serialize_str(value),
        Value::Bytes(value) => value.serialize(serializer),
        Value::Timestamp(value) | Value::DateTime(value) | Value::Time(value) => serializer.serialize_i64(*value),
        Value::Date(value) => serializer.serialize_i32(*value),
        Value::Float(value) if value.is_finite() => serializer.serialize_f32(*value),
        Value::Float(_) | Value::Interval(_) | Value::Uuid(_) => serializer.collect_str(value),
        Value::Embedding(value) => value.serialize(serializer),
        Value::Array(value) => serializer.collect_seq(value.items().iter().map(CellOf)),
    }
}

/// A cell back as a value of its column's type; `None` when it is no cell of that type.
#[must_use]
pub fn decode_cell(cell: &serde_json::Value, data_type: TypeName) -> Option<Value> {
    use serde_json::Value as Json;
    Some(match (cell, data_type) {
        (Json::Null, _) => Value::Null,
        (Json::Bool(value), TypeName::Boolean) => Value::Boolean(*value),
        (Json::Number(value), TypeName::SmallInt) => Value::SmallInt(value.as_i64()?.try_into().ok()?),
        (Json::Number(value), TypeName::Int) => Value::Int(value.as_i64()?.try_into().ok()?),
        (Json::String(value), TypeName::BigInt) => Value::BigInt(value.parse().ok()?),
        (Json::Number(value), TypeName::Double) => Value::Double(value.as_f64()?),
        (Json::String(value), TypeName::Double) => Value::Double(match value.as_str() {
            "NaN" => f64::NAN,
            "Infinity" => f64::INFINITY,
            "-Infinity" => f64::NEG_INFINITY,
            _ => return None,
        }),
        (Json::String(value), TypeName::Decimal { .. }) => Value::Decimal(Decimal::from_str(value).ok()?),
        (Json::String(value), TypeName::Text) => Value::Text(value.clone()),
        (Json::String(value), TypeName::Json) => Value::Json(value.clone()),
        (Json::Array(bytes), TypeName::Bytes) => {
            Value::Bytes(bytes.iter().map(|byte| byte.as_u64()?.try_into().ok()).collect::<Option<_>>()?)
        }
        (Json::Number(value), TypeName::Timestamp) => Value::Timestamp(value.as_i64()?),
        (Json::Number(value), TypeName::DateTime) => Value::DateTime(value.as_i64()?),
        (Json::Number(value), TypeName::Date) => Value::Date(value.as_i64()?.try_into().ok()?),
        (Json::Number(value), TypeName::Time) => {
            Value::Time(value.as_i64().filter(|micros| (0..=datetime::DAY).contains(micros))?)
        }
        (Json::Number(value), TypeName::Float) => Value::Float(value.to_string().parse().ok()?),
        (Json::String(value), TypeName::Float) => Value::Float(match value.as_str() {
            "NaN" => f32::NAN,
            "Infinity" => f32::INFINITY,
            "-Infinity" => f32::NEG_INFINITY,
            _ => return None,
        }),
        (Json::String(value), TypeName::Interval) => Value::Interval(interval::parse(value, None).ok()?),
        (Json::String(value), TypeName::Uuid) => Value::Uuid(uuid::parse(value)?),
        (Json::Array(numbers), TypeName::Embedding(_)) => {
            let number = |number: &Json| number.as_number()?.to_string().parse::<f32>().ok();
            let vector = numbers.iter().map(number).collect::<Option<Vec<f32>>>()?;
            Value::Embedding(Some(vector).filter(|vector| embedding::fits(vector.len()))?)
        }
        (Json::Array(cells), TypeName::Array(ElementName(element))) => {
            let name = TypeName::from(element.data_type());
            let items = cells.iter().map(|cell| decode_cell(cell, name)).collect::<Option<Vec<Value>>>()?;
            Value::Array(Box::new(Array::new(element, items)))
        }
        (Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_), _) => return None,
    })
}
