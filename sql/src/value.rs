//! Values and their types.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

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
