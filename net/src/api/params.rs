//! Parameters as they come: null, boolean, number, text, or a JSON array or object. A number keeps every digit that was sent,
//! an array and an object are kept as they were written; their type is decided where the statement is bound.

use std::str::FromStr as _;

use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::json;
use highwater_sql::value::Value;
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::errors::{ApiError, ErrorCode};

/// One parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Param {
    /// null.
    Null,
    /// true, false.
    Boolean(bool),
    /// A JSON number, in the digits that were sent.
    Number(String),
    /// A text.
    Text(String),
    /// A JSON array or object, as it was sent: an array's elements, an embedding's numbers, bytes, or a JSON document.
    Json(String),
}

impl Param {
    /// The value that a parameter has by itself, to be cast to the type that is wanted: a whole number within 64 bits is a
    /// BIGINT; another within 28 digits a DECIMAL, every digit kept; any other number a DOUBLE; an array or object JSON.
    ///
    /// # Errors
    /// 22003 for a number beyond a DOUBLE's range, 22P02 for JSON that no value holds.
    pub fn into_value(self) -> Result<Value, Diag> {
        match self {
            Self::Null => Ok(Value::Null),
            Self::Boolean(value) => Ok(Value::Boolean(value)),
            Self::Text(value) => Ok(Value::Text(value)),
            Self::Json(text) => json::compact(&text)
                .map(Value::Json)
                .map_err(|error| Diag::new(SqlState::INVALID_TEXT, format!("invalid JSON: {error}"))),
            Self::Number(digits) => {
                if let Ok(value) = digits.parse::<i64>() {
                    return Ok(Value::BigInt(value));
                }
                if !digits.contains(['e', 'E'])
                    && digits.bytes().filter(u8::is_ascii_digit).count() <= 28
                    && let Ok(value) = Decimal::from_str(&digits)
                {
                    return Ok(Value::Decimal(value));
                }
                match digits.parse::<f64>() {
                    Ok(value) if value.is_finite() => Ok(Value::Double(value)),
                    Ok(_) | Err(_) => Err(Diag::new(
                        SqlState::OUT_OF_RANGE,
                        format!("the number {} is out of range", shortened(&digits)),
                    )
                    .hint("a number may have 28 digits, or lie within about 1.8e308")),
                }
            }
        }
    }

    /// The parameter `$number` from its JSON.
    pub(super) fn from_raw(raw: &RawValue, number: usize, max_bytes: usize) -> Result<Self, ApiError> {
        let refused = |message: String| Err(ApiError::new(ErrorCode::InvalidParameter, message));
        let text = raw.get();
        if text.len() > max_bytes {
            return refused(format!("parameter ${number} has {} bytes; at most {max_bytes} are allowed", text.len()));
        }
        match text.bytes().next() {
            Some(b'n') => Ok(Self::Null),
            Some(b't') => Ok(Self::Boolean(true)),
            Some(b'f') => Ok(Self::Boolean(false)),
            Some(b'-' | b'0'..=b'9') => Ok(Self::Number(text.to_owned())),
            Some(b'"') => match serde_json::from_str(text) {
                Ok(text) => Ok(Self::Text(text)),
                Err(error) => refused(format!("parameter ${number} is not a valid text: {error}")),
            },
            Some(b'[' | b'{') => Ok(Self::Json(text.to_owned())),
            Some(_) | None => refused(format!("parameter ${number} is not a JSON value")),
        }
    }
}

/// The first characters of a long number, for a message.
fn shortened(digits: &str) -> String {
    let head: String = digits.chars().take(40).collect();
    if head.len() < digits.len() { format!("{head}...") } else { head }
}
