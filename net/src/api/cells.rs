//! Values as JSON cells, and their types' names.
//!
//! | type | cell |
//! |---|---|
//! | BOOLEAN, SMALLINT, INT | the JSON value |
//! | BIGINT, DECIMAL | text (JSON numbers lose digits in many clients) |
//! | DOUBLE | number; `"NaN"`, `"Infinity"`, `"-Infinity"` as text |
//! | TEXT, JSON | text |
//! | BYTES | array of numbers 0 to 255 |
//! | TIMESTAMP | integer microseconds since 1970 UTC |
//! | NULL of any type | null |

use std::str::FromStr as _;

use highwater_sql::value::{DataType, Value};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize, Serializer};

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
        match &self.0 {
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
            Value::Timestamp(value) => serializer.serialize_i64(*value),
        }
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
        (Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_) | Json::Object(_), _) => return None,
    })
}
