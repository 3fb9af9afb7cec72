//! JSON as text: checked, compacted, looked into, built.
//!
//! Works on the text itself, so that numbers keep all their digits and objects their order and their duplicate keys (the
//! last of which is found, as in PostgreSQL). Nesting is limited, so that no input exhausts the stack here or in a reader.

pub mod equality;
pub mod tree;

use crate::datetime;
use crate::diag::{Diag, SqlState};
use crate::value::Value;

/// Deepest nesting of arrays and objects; what clients' JSON readers commonly accept.
pub const MAX_DEPTH: usize = 127;

/// Why a text is no JSON, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub struct JsonError {
    /// Byte offset in the text.
    pub at: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// The type of a JSON value, with PostgreSQL's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonType {
    /// `{...}`
    Object,
    /// `[...]`
    Array,
    /// `"..."`
    String,
    /// A number.
    Number,
    /// true or false.
    Boolean,
    /// null.
    Null,
}

impl JsonType {
    /// What `json_typeof` answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Null => "null",
        }
    }
}

/// The same JSON without white space between tokens.
///
/// # Errors
/// The first thing that RFC 8259 does not allow, nesting beyond [`MAX_DEPTH`], and strings that no TEXT can hold
/// (`\u0000`, half a surrogate pair).
pub fn compact(text: &str) -> Result<String, JsonError> {
    let mut scanner = Scanner::new(text);
    let mut out = String::with_capacity(text.len());
    scanner.space();
    scanner.value(&mut |piece| out.push_str(piece), 0)?;
    scanner.space();
    if scanner.at == text.len() { Ok(out) } else { Err(scanner.error("unexpected text after the value")) }
}

/// JSON that was put together from values, which may nest too deep.
///
/// # Errors
/// 54000 beyond [`MAX_DEPTH`].
pub fn checked(json: String) -> Result<String, Diag> {
    let mut scanner = Scanner::new(&json);
    match scanner.value(&mut |_| (), 0) {
        Ok(()) => Ok(json),
        Err(_) => Err(Diag::new(SqlState::PROGRAM_LIMIT, format!("the JSON nests deeper than {MAX_DEPTH} levels"))),
    }
}

/// The type of a compact JSON text.
#[must_use]
pub fn type_of(json: &str) -> JsonType {
    match json.as_bytes().first() {
        Some(b'{') => JsonType::Object,
        Some(b'[') => JsonType::Array,
        Some(b'"') => JsonType::String,
        Some(b't' | b'f') => JsonType::Boolean,
        Some(b'n') | None => JsonType::Null,
        Some(_) => JsonType::Number,
    }
}

/// The member of an object under this key; `None` when there is none, or no object.
#[must_use]
pub fn member<'t>(json: &'t str, key: &str) -> Option<&'t str> {
    let mut scanner = Scanner::new(json);
    let mut found = None;
    if !scanner.take(b'{') || scanner.take(b'}') {
        return None;
    }
    loop {
        let name = scanner.slice(|scanner| scanner.string())?;
        if !scanner.take(b':') {
            return None;
        }
        let value = scanner.slice(|scanner| scanner.value(&mut |_| (), 0))?;
        if unquote(name).is_some_and(|name| name == key) {
            found = Some(value);
        }
        if !scanner.take(b',') {
            return found;
        }
    }
}

/// The members of an object in order, names in their quotes; none for anything else.
pub(crate) fn members(json: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut scanner = Scanner::new(json);
    let mut more = scanner.take(b'{') && scanner.peek() != Some(b'}');
    std::iter::from_fn(move || {
        if !more {
            return None;
        }
        let name = scanner.slice(|scanner| scanner.string())?;
        if !scanner.take(b':') {
            return None;
        }
        let value = scanner.slice(|scanner| scanner.value(&mut |_| (), 0));
        more = scanner.take(b',');
        Some((name, value?))
    })
}

/// The element of an array at this place, from 0, or from the end when negative; `None` when there is none, or no array.
#[must_use]
pub fn element(json: &str, index: i64) -> Option<&str> {
    if index < 0 {
        let length = i64::try_from(elements(json).count()).ok()?;
        return elements(json).nth(usize::try_from(length.checked_add(index)?).ok()?);
    }
    elements(json).nth(usize::try_from(index).ok()?)
}

/// The elements of an array in order; none for anything else.
pub fn elements(json: &str) -> impl Iterator<Item = &str> {
    let mut scanner = Scanner::new(json);
    let mut more = scanner.take(b'[') && scanner.peek() != Some(b']');
    std::iter::from_fn(move || {
        if !more {
            return None;
        }
        let value = scanner.slice(|scanner| scanner.value(&mut |_| (), 0));
        more = scanner.take(b',');
        value
    })
}

/// A JSON value as text: a string without its quotes, anything else as it stands; `None` for null.
#[must_use]
pub fn text(json: &str) -> Option<String> {
    match type_of(json) {
        JsonType::Null => None,
        JsonType::String => unquote(json),
        JsonType::Object | JsonType::Array | JsonType::Number | JsonType::Boolean => Some(json.to_owned()),
    }
}

/// The content of a JSON string.
pub(crate) fn unquote(json: &str) -> Option<String> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(inner.to_owned());
    }
    serde_json::from_str(json).ok()
}

/// Appends a text as a JSON string.
pub fn push_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

/// Appends a value as PostgreSQL's `to_json` has it: numbers bare with all their digits, NaN and infinities as strings,
/// timestamps as ISO 8601, bytes as `\x` hex, arrays and embeddings as arrays, everything else as its text.
pub fn push_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Boolean(v) => out.push_str(if *v { "true" } else { "false" }),
        Value::SmallInt(_) | Value::Int(_) | Value::BigInt(_) | Value::Decimal(_) | Value::Embedding(_) => {
            out.push_str(&value.to_string());
        }
        Value::Double(v) if v.is_finite() => out.push_str(&value.to_string()),
        Value::Float(v) if v.is_finite() => out.push_str(&value.to_string()),
        Value::Double(_)
        | Value::Float(_)
        | Value::Bytes(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::Interval(_)
        | Value::Uuid(_) => push_string(&value.to_string(), out),
        Value::Text(v) => push_string(v, out),
        Value::Json(v) => out.push_str(v),
        Value::Timestamp(v) => push_instant(*v, "", out),
        Value::DateTime(v) => push_instant(*v, "+00:00", out),
        Value::Array(array) => {
            out.push('[');
            for (at, item) in array.items().iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_value(item, out);
            }
            out.push(']');
        }
    }
}

fn push_instant(at: i64, zone: &str, out: &mut String) {
    out.push('"');
    // Writing to a String cannot fail.
    let _ = datetime::write(at, 'T', zone, out);
    out.push('"');
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let taken = self.peek() == Some(wanted);
        if taken {
            self.at += 1;
        }
        taken
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn error(&self, reason: &'static str) -> JsonError {
        JsonError { at: self.at, reason }
    }

    fn expect(&mut self, wanted: u8, reason: &'static str) -> Result<(), JsonError> {
        if self.take(wanted) { Ok(()) } else { Err(self.error(reason)) }
    }

    /// The text that a step walks over.
    fn slice(&mut self, step: impl FnOnce(&mut Self) -> Result<(), JsonError>) -> Option<&'t str> {
        let start = self.at;
        step(self).ok()?;
        self.text.get(start..self.at)
    }

    fn emit(&self, start: usize, out: &mut dyn FnMut(&str)) {
        out(self.text.get(start..self.at).unwrap_or_default());
    }

    fn value(&mut self, out: &mut dyn FnMut(&str), depth: usize) -> Result<(), JsonError> {
        let start = self.at;
        match self.peek() {
            Some(b'{' | b'[') if depth >= MAX_DEPTH => return Err(self.error("nesting deeper than 127 levels")),
            Some(b'{') => return self.object(out, depth),
            Some(b'[') => return self.array(out, depth),
            Some(b'"') => self.string()?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            Some(_) => return Err(self.error("expected a JSON value")),
            None => return Err(self.error("unexpected end of the text")),
        }
        self.emit(start, out);
        Ok(())
    }

    fn object(&mut self, out: &mut dyn FnMut(&str), depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        out("{");
        self.space();
        if self.take(b'}') {
            out("}");
            return Ok(());
        }
        loop {
            self.space();
            let start = self.at;
            self.string()?;
            self.emit(start, out);
            self.space();
            self.expect(b':', "expected ':'")?;
            out(":");
            self.space();
            self.value(out, depth + 1)?;
            self.space();
            if self.take(b'}') {
                out("}");
                return Ok(());
            }
            self.expect(b',', "expected ',' or '}'")?;
            out(",");
        }
    }

    fn array(&mut self, out: &mut dyn FnMut(&str), depth: usize) -> Result<(), JsonError> {
        self.at += 1;
        out("[");
        self.space();
        if self.take(b']') {
            out("]");
            return Ok(());
        }
        loop {
            self.space();
            self.value(out, depth + 1)?;
            self.space();
            if self.take(b']') {
                out("]");
                return Ok(());
            }
            self.expect(b',', "expected ',' or ']'")?;
            out(",");
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), JsonError> {
        if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.error("expected a JSON value"))
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.error("expected a digit")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.expect(b'"', "expected a string")?;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(0..=0x1f) => return Err(self.error("a control character in a string must be escaped")),
                Some(_) => self.at += 1,
                None => return Err(self.error("a string is not closed")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                match self.unit()? {
                    0 => Err(self.error("\\u0000 is not allowed in a text")),
                    0xd800..=0xdbff => {
                        let paired = self.take(b'\\') && self.take(b'u') && matches!(self.unit()?, 0xdc00..=0xdfff);
                        if paired { Ok(()) } else { Err(self.error("half of a surrogate pair")) }
                    }
                    0xdc00..=0xdfff => Err(self.error("half of a surrogate pair")),
                    _ => Ok(()),
                }
            }
            _ => Err(self.error("unknown escape in a string")),
        }
    }

    fn unit(&mut self) -> Result<u32, JsonError> {
        let digits =
            self.text.get(self.at..self.at + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or(self.error("expected four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }
}
