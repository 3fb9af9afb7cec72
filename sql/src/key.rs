//! Keys: values as bytes whose order is the values' order, and the key ranges that a statement touches.
//!
//! ```text
//! BOOLEAN            0x00 | 0x01
//! SMALLINT, INT,     2, 4, 8, 8 bytes big endian, sign bit flipped
//! BIGINT, TIMESTAMP,
//! TIMESTAMPTZ, TIME
//! DATE               4 bytes big endian, sign bit flipped
//! REAL               4 bytes, as DOUBLE
//! DOUBLE             8 bytes big endian: sign bit flipped when positive, all bits when negative; -0 is 0, every NaN one NaN
//! INTERVAL           its length with months of 30 days, 16 bytes big endian, sign bit flipped: equal intervals have equal
//!                    bytes, and read back as the one with most months and days
//! UUID               16 bytes
//! DECIMAL            zero: 0x80
//!                    positive: 0x80 + (e + 32), then two decimal digits per byte (01..64 hex: pair + 1), then 0x00
//!                    negative: 0x80 - (e + 32), then the complement of those bytes, then 0xFF
//!                    the value is 0.d1d2d3... * 10^e without leading or trailing zeros, so equal values have equal bytes
//! TEXT, BYTES        the bytes, 0x00 as 0x00 0xFF; then 0x00 0x01
//! arrays             per element 0x01 and its encoding, or 0x02 for NULL; then 0x00
//! ```
//!
//! A composite key is its columns' encodings one after the other; no encoding is a prefix of another of its type. NULL,
//! JSON and EMBEDDING are refused. This is a stored format: a change needs another function beside these, never another meaning of them.

mod access;
mod decimal;
mod index;

pub use self::access::{KeyRange, each_alternative, resolve_access};
pub use self::index::{IndexKey, encode_index, resolve_index};

use crate::datetime;
use crate::interval::Interval;
use crate::value::{Array, DataType, Value};

/// Longest key in bytes that [`encode_key`] makes.
pub const MAX_KEY_BYTES: usize = 8 << 10;

/// Why values are no key, or bytes are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key column is NULL.
    #[error("a key column cannot be NULL")]
    Null,
    /// A type that has no order.
    #[error("a value of type {0} cannot be part of a key")]
    Unordered(DataType),
    /// Too long to be stored as a key.
    #[error("the key has {length} bytes; at most {MAX_KEY_BYTES} are allowed")]
    TooLong {
        /// Bytes that it would have.
        length: usize,
    },
    /// The bytes end inside a value.
    #[error("the key ends inside its {0} value")]
    Truncated(DataType),
    /// The bytes are no value of the type.
    #[error("the key holds no valid {0} value")]
    Invalid(DataType),
    /// Bytes are left over after the last column.
    #[error("{0} bytes follow the key's last value")]
    TrailingBytes(usize),
}

/// Appends one value.
///
/// # Errors
/// NULL, JSON and EMBEDDING.
pub fn encode_value(value: &Value, out: &mut Vec<u8>) -> Result<(), KeyError> {
    match value {
        Value::Null => return Err(KeyError::Null),
        Value::Json(_) => return Err(KeyError::Unordered(DataType::Json)),
        Value::Boolean(v) => out.push(u8::from(*v)),
        Value::SmallInt(v) => out.extend_from_slice(&(v.cast_unsigned() ^ 1 << 15).to_be_bytes()),
        Value::Int(v) => out.extend_from_slice(&(v.cast_unsigned() ^ 1 << 31).to_be_bytes()),
        Value::BigInt(v) | Value::Timestamp(v) | Value::DateTime(v) | Value::Time(v) => {
            out.extend_from_slice(&(v.cast_unsigned() ^ 1 << 63).to_be_bytes())
        }
        Value::Double(v) => out.extend_from_slice(&double_bits(*v).to_be_bytes()),
        Value::Decimal(v) => decimal::encode(*v, out),
        Value::Text(v) => encode_bytes(v.as_bytes(), out),
        Value::Bytes(v) => encode_bytes(v, out),
        Value::Float(v) => out.extend_from_slice(&float_bits(*v).to_be_bytes()),
        Value::Date(v) => out.extend_from_slice(&(v.cast_unsigned() ^ 1 << 31).to_be_bytes()),
        Value::Interval(v) => out.extend_from_slice(&(v.total().cast_unsigned() ^ 1 << 127).to_be_bytes()),
        Value::Uuid(v) => out.extend_from_slice(&v.to_be_bytes()),
        Value::Embedding(_) => return Err(KeyError::Unordered(DataType::Embedding(0))),
        Value::Array(array) => {
            for item in array.items() {
                if item.is_null() {
                    out.push(2);
                } else {
                    out.push(1);
                    encode_value(item, out)?;
                }
            }
            out.push(0);
        }
    }
    Ok(())
}

/// The key of these values.
///
/// # Errors
/// NULL, JSON, EMBEDDING, and keys longer than [`MAX_KEY_BYTES`].
pub fn encode_key(values: &[Value]) -> Result<Vec<u8>, KeyError> {
    let mut out = Vec::with_capacity(values.len() * 12);
    values.iter().try_for_each(|value| encode_value(value, &mut out))?;
    if out.len() > MAX_KEY_BYTES { Err(KeyError::TooLong { length: out.len() }) } else { Ok(out) }
}

/// The values of a key with columns of these types; DECIMALs get their column's scale.
///
/// # Errors
/// Bytes that are no such key.
pub fn decode_key(types: &[DataType], bytes: &[u8]) -> Result<Vec<Value>, KeyError> {
    let mut rest = bytes;
    let values = types.iter().map(|data_type| decode_value(*data_type, &mut rest)).collect::<Result<Vec<_>, _>>()?;
    if rest.is_empty() { Ok(values) } else { Err(KeyError::TrailingBytes(rest.len())) }
}

/// Takes one value off the front.
fn decode_value(data_type: DataType, rest: &mut &[u8]) -> Result<Value, KeyError> {
    let truncated = KeyError::Truncated(data_type);
    Ok(match data_type {
        DataType::Boolean => match take::<1>(rest).ok_or(truncated)? {
            [0] => Value::Boolean(false),
            [1] => Value::Boolean(true),
            _ => return Err(KeyError::Invalid(data_type)),
        },
        DataType::SmallInt => {
            Value::SmallInt((u16::from_be_bytes(take(rest).ok_or(truncated)?) ^ 1 << 15).cast_signed())
        }
        DataType::Int => Value::Int((u32::from_be_bytes(take(rest).ok_or(truncated)?) ^ 1 << 31).cast_signed()),
        DataType::BigInt => Value::BigInt(decode_i64(take(rest).ok_or(truncated)?)),
        DataType::Timestamp => Value::Timestamp(decode_i64(take(rest).ok_or(truncated)?)),
        DataType::Double => {
            let bits = u64::from_be_bytes(take(rest).ok_or(truncated)?);
            let value = f64::from_bits(if bits >> 63 == 1 { bits ^ 1 << 63 } else { !bits });
            if double_bits(value) != bits {
                return Err(KeyError::Invalid(data_type));
            }
            Value::Double(value)
        }
        DataType::Decimal { scale, .. } => {
            Value::Decimal(decimal::decode(scale, rest).ok_or(KeyError::Invalid(data_type))?)
        }
        DataType::Text => {
            let bytes = decode_bytes(rest).ok_or(truncated)?;
            Value::Text(String::from_utf8(bytes).map_err(|_| KeyError::Invalid(data_type))?)
        }
        DataType::Bytes => Value::Bytes(decode_bytes(rest).ok_or(truncated)?),
        DataType::Float => {
            let bits = u32::from_be_bytes(take(rest).ok_or(truncated)?);
            let value = f32::from_bits(if bits >> 31 == 1 { bits ^ 1 << 31 } else { !bits });
            if float_bits(value) != bits {
                return Err(KeyError::Invalid(data_type));
            }
            Value::Float(value)
        }
        DataType::Date => Value::Date((u32::from_be_bytes(take(rest).ok_or(truncated)?) ^ 1 << 31).cast_signed()),
        DataType::DateTime => Value::DateTime(decode_i64(take(rest).ok_or(truncated)?)),
        DataType::Time => match decode_i64(take(rest).ok_or(truncated)?) {
            micros @ 0..=datetime::DAY => Value::Time(micros),
            _ => return Err(KeyError::Invalid(data_type)),
        },
        DataType::Interval => {
            let total = (u128::from_be_bytes(take(rest).ok_or(truncated)?) ^ 1 << 127).cast_signed();
            Value::Interval(Interval::of_total(total).ok_or(KeyError::Invalid(data_type))?)
        }
        DataType::Uuid => Value::Uuid(u128::from_be_bytes(take(rest).ok_or(truncated)?)),
        DataType::Array(element) => {
            let mut items = Vec::new();
            loop {
                items.push(match take::<1>(rest).ok_or(KeyError::Truncated(data_type))? {
                    [0] => break,
                    [1] => decode_value(element.data_type(), rest)?,
                    [2] => Value::Null,
                    _ => return Err(KeyError::Invalid(data_type)),
                });
            }
            Value::Array(Box::new(Array::new(element, items)))
        }
        DataType::Json | DataType::Embedding(_) => return Err(KeyError::Unordered(data_type)),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn decode_i64(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ 1 << 63).cast_signed()
}

/// Bits whose unsigned order is the order of DOUBLE.
fn double_bits(value: f64) -> u64 {
    // One zero and one NaN, so that equal values have equal bytes.
    let value = if value == 0.0 { 0.0 } else { value };
    let bits = if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() };
    if bits >> 63 == 0 { bits ^ 1 << 63 } else { !bits }
}

/// Bits whose unsigned order is the order of REAL.
fn float_bits(value: f32) -> u32 {
    let value = if value == 0.0 { 0.0 } else { value };
    let bits = if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
    if bits >> 31 == 0 { bits ^ 1 << 31 } else { !bits }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    for byte in bytes {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0x00, 0x01]);
}

fn decode_bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let (first, after) = rest.split_first()?;
        *rest = after;
        if *first != 0 {
            bytes.push(*first);
            continue;
        }
        let (marker, after) = rest.split_first()?;
        *rest = after;
        match marker {
            0xff => bytes.push(0),
            0x01 => return Some(bytes),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests;
