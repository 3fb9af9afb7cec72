//! Literals: numbers, texts, bytes, booleans, NULL.

use rust_decimal::Decimal;
use sqlparser::ast;

use super::expr::Typed;
use crate::diag::{Diag, Span, SqlState};
use crate::expr::Expr;
use crate::value::{DataType, MAX_DECIMAL_DIGITS, Value};

/// A number: INT, else BIGINT, else DECIMAL; DOUBLE when it has an exponent.
pub(super) fn number(digits: &str, negative: bool, span: Option<Span>) -> Result<Typed, Diag> {
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    let (value, data_type) = if digits.contains(['e', 'E']) {
        match signed.parse::<f64>() {
            Ok(number) if number.is_finite() => (Value::Double(number), DataType::Double),
            _ => return Err(out_of_range(&signed, span)),
        }
    } else if let Ok(number) = signed.parse::<i32>() {
        (Value::Int(number), DataType::Int)
    } else if let Ok(number) = signed.parse::<i64>() {
        (Value::BigInt(number), DataType::BigInt)
    } else {
        decimal(&signed, span)?
    };
    Ok(Typed::leaf(Expr::Literal(value, data_type), Some(data_type), span))
}

fn decimal(signed: &str, span: Option<Span>) -> Result<(Value, DataType), Diag> {
    let significant = signed.bytes().filter(u8::is_ascii_digit).count();
    let too_long = || {
        let diag = Diag::new(SqlState::OUT_OF_RANGE, format!("a number has at most {MAX_DECIMAL_DIGITS} digits"))
            .hint("Write it with an exponent for a DOUBLE.");
        match span {
            Some(span) => diag.at(span),
            None => diag,
        }
    };
    let trimmed = signed.trim_start_matches('-').trim_start_matches('0');
    let digits = trimmed.bytes().filter(u8::is_ascii_digit).count();
    if digits > usize::from(MAX_DECIMAL_DIGITS) {
        return Err(too_long());
    }
    let written =
        if let Some(rest) = signed.strip_prefix('.') { format!("0.{rest}") } else { signed.replace("-.", "-0.") };
    let written = written.strip_suffix('.').unwrap_or(&written);
    let number: Decimal = Decimal::from_str_exact(written).map_err(|_| too_long())?;
    let scale = u8::try_from(number.scale()).unwrap_or(MAX_DECIMAL_DIGITS).min(MAX_DECIMAL_DIGITS);
    let precision = u8::try_from(significant).unwrap_or(MAX_DECIMAL_DIGITS).clamp(scale.max(1), MAX_DECIMAL_DIGITS);
    Ok((Value::Decimal(number), DataType::Decimal { precision, scale }))
}

fn out_of_range(digits: &str, span: Option<Span>) -> Diag {
    let shown: String = digits.chars().take(40).collect();
    let diag = Diag::new(SqlState::OUT_OF_RANGE, format!("the number {shown} is out of range"));
    match span {
        Some(span) => diag.at(span),
        None => diag,
    }
}

/// The text of a string literal of any form.
pub(super) fn text_of(value: &ast::Value) -> Option<&str> {
    match value {
        ast::Value::SingleQuotedString(text)
        | ast::Value::EscapedStringLiteral(text)
        | ast::Value::UnicodeStringLiteral(text)
        | ast::Value::NationalStringLiteral(text) => Some(text),
        ast::Value::DollarQuotedString(text) => Some(&text.value),
        _ => None,
    }
}

/// A literal other than a parameter.
pub(super) fn literal(value: &ast::Value, span: Option<Span>) -> Result<Typed, Diag> {
    let place = |diag: Diag| match span {
        Some(span) => diag.at(span),
        None => diag,
    };
    if let Some(text) = text_of(value) {
        if text.contains('\0') {
            return Err(place(Diag::new(SqlState::INVALID_ENCODING, "a text holds a NUL character")));
        }
        return Ok(Typed::leaf(Expr::Literal(Value::Text(text.to_owned()), DataType::Text), None, span));
    }
    match value {
        ast::Value::Number(digits, false) => number(digits, false, span),
        ast::Value::Boolean(truth) => {
            Ok(Typed::leaf(Expr::Literal(Value::Boolean(*truth), DataType::Boolean), Some(DataType::Boolean), span))
        }
        ast::Value::Null => Ok(Typed::leaf(Expr::Literal(Value::Null, DataType::Text), None, span)),
        ast::Value::HexStringLiteral(digits) => match hex(digits) {
            Some(bytes) => {
                Ok(Typed::leaf(Expr::Literal(Value::Bytes(bytes), DataType::Bytes), Some(DataType::Bytes), span))
            }
            None => Err(place(Diag::new(SqlState::INVALID_TEXT, "X'...' holds pairs of hexadecimal digits"))),
        },
        _ => Err(place(Diag::not_supported("this form of literal"))),
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let nibbles: Vec<u8> = digits
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = nibbles.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
