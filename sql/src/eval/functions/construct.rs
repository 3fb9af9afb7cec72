//! Digests, encodings, and JSON built from values.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use md5::{Digest, Md5};
use sha2::{Sha256, Sha512};

use super::Args;
use crate::cast;
use crate::diag::{Diag, SqlState};
use crate::eval::operators::check_length;
use crate::eval::wrong_type;
use crate::json;
use crate::value::Value;

/// Reads base64 with or without its padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

fn input<'v>(value: &'v Value, function: &str) -> Result<&'v [u8], Diag> {
    match value {
        Value::Text(text) => Ok(text.as_bytes()),
        Value::Bytes(bytes) => Ok(bytes),
        other => Err(wrong_type(function, other)),
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

pub(super) fn md5(value: &Value) -> Result<Value, Diag> {
    Ok(Value::Text(hex(&Md5::digest(input(value, "md5")?))))
}

pub(super) fn sha256(value: &Value) -> Result<Value, Diag> {
    Ok(Value::Bytes(Sha256::digest(input(value, "sha256")?).to_vec()))
}

pub(super) fn sha512(value: &Value) -> Result<Value, Diag> {
    Ok(Value::Bytes(Sha512::digest(input(value, "sha512")?).to_vec()))
}

fn unknown_format(format: &str) -> Diag {
    let diag = Diag::new(SqlState::INVALID_PARAMETER, format!("unrecognized encoding: \"{format}\""))
        .hint("use hex, base64 or escape");
    crate::suggest::with_nearest(diag, format, ["hex", "base64", "escape"])
}

pub(super) fn encode(value: &Value, format: &str) -> Result<Value, Diag> {
    let bytes = input(value, "encode")?;
    check_length(bytes.len().saturating_mul(2))?;
    let text = match format.to_ascii_lowercase().as_str() {
        "hex" => hex(bytes),
        "base64" => base64_lines(bytes),
        "escape" => escape(bytes),
        _ => return Err(unknown_format(format)),
    };
    Ok(Value::Text(text))
}

/// Lines of 76 characters, each full one ended, as PostgreSQL writes them after RFC 2045.
fn base64_lines(bytes: &[u8]) -> String {
    const LINE: usize = 57;
    let mut out = String::with_capacity(bytes.len() / 3 * 4 + bytes.len() / LINE + 4);
    for line in bytes.chunks(LINE) {
        STANDARD.encode_string(line, &mut out);
        if line.len() == LINE {
            out.push('\n');
        }
    }
    out
}

/// Zero bytes and bytes beyond ASCII in octal, backslashes doubled.
fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
            other => out.push(char::from(*other)),
        }
    }
    out
}

pub(super) fn decode(text: &str, format: &str) -> Result<Value, Diag> {
    let bytes = match format.to_ascii_lowercase().as_str() {
        "hex" => cast::parse_hex(text),
        "base64" => {
            let compact: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
            LENIENT.decode(compact).ok()
        }
        "escape" => cast::parse_escaped(text),
        _ => return Err(unknown_format(format)),
    };
    bytes
        .map(Value::Bytes)
        .ok_or_else(|| Diag::new(SqlState::INVALID_PARAMETER, format!("invalid input for the encoding \"{format}\"")))
}

pub(super) fn json_typeof(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::Json(json) => Ok(Value::Text(json::type_of(json).name().to_owned())),
        other => Err(wrong_type("json_typeof", other)),
    }
}

/// Alternating keys and values; keys become strings.
pub(super) fn json_build_object(args: &Args<'_>) -> Result<Value, Diag> {
    if !args.len().is_multiple_of(2) {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "json_build_object needs an even number of arguments")
            .hint("give a key and a value in turn"));
    }
    let mut out = String::from("{");
    for (at, pair) in args.values.chunks_exact(2).enumerate() {
        let [key, value] = pair else { continue };
        if key.is_null() {
            return Err(Diag::new(
                SqlState::INVALID_PARAMETER,
                format!("argument {} of json_build_object is NULL", at * 2 + 1),
            )
            .hint("object keys cannot be NULL"));
        }
        if at > 0 {
            out.push(',');
        }
        json::push_string(&cast::to_text(key), &mut out);
        out.push(':');
        json::push_value(value, &mut out);
        check_length(out.len())?;
    }
    out.push('}');
    super::document::checked(out)
}
