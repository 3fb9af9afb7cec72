//! Text functions. Positions and lengths count characters (Unicode scalar values), from 1; on BYTES they count bytes.

use super::Args;
use crate::cast;
use crate::diag::{Diag, SqlState};
use crate::eval::operators::check_length;
use crate::eval::wrong_type;
use crate::value::Value;

fn count(length: usize) -> Value {
    Value::Int(i32::try_from(length).unwrap_or(i32::MAX))
}

pub(super) fn length(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::Text(text) => Ok(count(text.chars().count())),
        Value::Bytes(bytes) => Ok(count(bytes.len())),
        other => Err(wrong_type("length", other)),
    }
}

pub(super) fn octet_length(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::Text(text) => Ok(count(text.len())),
        Value::Bytes(bytes) => Ok(count(bytes.len())),
        other => Err(wrong_type("octet_length", other)),
    }
}

/// The first `most` characters' bytes, and the rest.
fn split_chars(text: &str, most: usize) -> (&str, &str) {
    let at = text.char_indices().nth(most).map_or(text.len(), |(at, _)| at);
    text.split_at_checked(at).unwrap_or((text, ""))
}

fn clamp(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

/// How many characters to skip and how many to take: a start before 1 eats into the length.
fn window(args: &Args<'_>) -> Result<(usize, usize), Diag> {
    let start = args.integer(1)?;
    if args.len() < 3 {
        return Ok((clamp(start.saturating_sub(1)), usize::MAX));
    }
    let length = args.integer(2)?;
    if length < 0 {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "negative substring length not allowed"));
    }
    let end = start.saturating_add(length).max(1);
    let start = start.max(1);
    Ok((clamp(start - 1), clamp(end - start)))
}

pub(super) fn substring(args: &Args<'_>) -> Result<Value, Diag> {
    let (skip, take) = window(args)?;
    match args.get(0)? {
        Value::Text(text) => Ok(Value::Text(split_chars(split_chars(text, skip).1, take).0.to_owned())),
        Value::Bytes(bytes) => Ok(Value::Bytes(bytes.iter().copied().skip(skip).take(take).collect())),
        other => Err(wrong_type("substring", other)),
    }
}

/// Where the first argument stands in the second, 0 when it does not.
pub(super) fn position(needle: &Value, haystack: &Value) -> Result<Value, Diag> {
    match (needle, haystack) {
        (Value::Text(needle), Value::Text(haystack)) => Ok(match haystack.split_once(needle.as_str()) {
            Some((before, _)) => count(before.chars().count() + 1),
            None => count(0),
        }),
        (Value::Bytes(needle), Value::Bytes(haystack)) => {
            let found = if needle.is_empty() {
                Some(0)
            } else {
                haystack.windows(needle.len()).position(|window| window == needle.as_slice())
            };
            Ok(count(found.map_or(0, |at| at + 1)))
        }
        (Value::Text(_) | Value::Bytes(_), other) | (other, _) => Err(wrong_type("position", other)),
    }
}

pub(super) fn replace(text: &str, from: &str, to: &str) -> Result<Value, Diag> {
    if from.is_empty() {
        return Ok(Value::Text(text.to_owned()));
    }
    if to.len() > from.len() {
        check_length(text.len().saturating_add(text.matches(from).count().saturating_mul(to.len() - from.len())))?;
    }
    Ok(Value::Text(text.replace(from, to)))
}

pub(super) fn trim(args: &Args<'_>, start: bool, end: bool) -> Result<Value, Diag> {
    let mut text = args.text(0)?;
    let set = if args.len() > 1 { args.text(1)? } else { " " };
    if start {
        text = text.trim_start_matches(|character| set.contains(character));
    }
    if end {
        text = text.trim_end_matches(|character| set.contains(character));
    }
    Ok(Value::Text(text.to_owned()))
}

pub(super) fn pad(args: &Args<'_>, left: bool) -> Result<Value, Diag> {
    let text = args.text(0)?;
    let wanted = clamp(args.integer(1)?);
    let fill = if args.len() > 2 { args.text(2)? } else { " " };
    let (kept, _) = split_chars(text, wanted);
    let missing = wanted - kept.chars().count();
    if missing == 0 || fill.is_empty() {
        return Ok(Value::Text(kept.to_owned()));
    }
    check_length(missing.saturating_add(kept.len()))?;
    let padding: String = fill.chars().cycle().take(missing).collect();
    check_length(padding.len() + kept.len())?;
    Ok(Value::Text(if left { padding + kept } else { kept.to_owned() + &padding }))
}

/// The first `n` characters; all but the last `-n` when negative.
pub(super) fn left(text: &str, n: i64) -> Result<Value, Diag> {
    let take = if n >= 0 { clamp(n) } else { text.chars().count().saturating_sub(clamp(n.saturating_neg())) };
    Ok(Value::Text(split_chars(text, take).0.to_owned()))
}

/// The last `n` characters; all but the first `-n` when negative.
pub(super) fn right(text: &str, n: i64) -> Result<Value, Diag> {
    let skip = if n >= 0 { text.chars().count().saturating_sub(clamp(n)) } else { clamp(n.saturating_neg()) };
    Ok(Value::Text(split_chars(text, skip).1.to_owned()))
}

/// Field `n` from 1 between delimiters, from the end when negative; empty when there is none.
pub(super) fn split_part(text: &str, delimiter: &str, n: i64) -> Result<Value, Diag> {
    if n == 0 {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "field position must not be zero"));
    }
    let place = clamp(n.saturating_abs() - 1);
    let field = if delimiter.is_empty() {
        Some(text).filter(|_| place == 0)
    } else if n > 0 {
        text.split(delimiter).nth(place)
    } else {
        // Fields are cut from the left, so counting from the end needs all of them.
        let fields: Vec<&str> = text.split(delimiter).collect();
        fields.iter().rev().nth(place).copied()
    };
    Ok(Value::Text(field.unwrap_or_default().to_owned()))
}

/// A value as concat, concat_ws and format write it: a BOOLEAN by its first letter, where a cast to TEXT writes the word.
pub(super) fn written(value: &Value) -> String {
    match value {
        Value::Boolean(true) => "t".to_owned(),
        Value::Boolean(false) => "f".to_owned(),
        other => cast::to_text(other),
    }
}

fn append(out: &mut String, value: &Value) -> Result<(), Diag> {
    let text = written(value);
    check_length(out.len().saturating_add(text.len()))?;
    out.push_str(&text);
    Ok(())
}

/// All arguments as text, NULLs left out.
pub(super) fn concat(args: &Args<'_>) -> Result<Value, Diag> {
    let mut out = String::new();
    for value in args.values.iter().filter(|value| !value.is_null()) {
        append(&mut out, value)?;
    }
    Ok(Value::Text(out))
}

/// As [`concat`], with the first argument between the others; NULL when that is NULL.
pub(super) fn concat_ws(args: &Args<'_>) -> Result<Value, Diag> {
    let separator = args.get(0)?;
    if separator.is_null() {
        return Ok(Value::Null);
    }
    let mut out = String::new();
    let mut first = true;
    for value in args.values.iter().skip(1).filter(|value| !value.is_null()) {
        if !first {
            append(&mut out, separator)?;
        }
        first = false;
        append(&mut out, value)?;
    }
    Ok(Value::Text(out))
}

/// The code of the first character, 0 for an empty text.
pub(super) fn ascii(text: &str) -> Value {
    Value::Int(text.chars().next().and_then(|first| i32::try_from(u32::from(first)).ok()).unwrap_or(0))
}

pub(super) fn chr(code: i64) -> Result<Value, Diag> {
    if code < 0 {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "character number must be positive"));
    }
    if code == 0 {
        return Err(Diag::new(SqlState::PROGRAM_LIMIT, "null character not permitted"));
    }
    let character = u32::try_from(code).ok().and_then(char::from_u32);
    character.map(|character| Value::Text(character.to_string())).ok_or_else(|| {
        Diag::new(SqlState::PROGRAM_LIMIT, format!("requested character not valid for encoding: {code}"))
    })
}

/// The first letter of every word in upper case, the rest in lower case. Words are letters and digits.
pub(super) fn init_cap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        if inside {
            out.extend(character.to_lowercase());
        } else {
            out.extend(character.to_uppercase());
        }
        inside = character.is_alphanumeric();
    }
    out
}

pub(super) fn repeat(text: &str, times: i64) -> Result<Value, Diag> {
    let times = clamp(times);
    check_length(text.len().saturating_mul(times))?;
    Ok(Value::Text(text.repeat(if text.is_empty() { 0 } else { times })))
}

/// Each character of `from` becomes the one at its place in `to`, or goes when there is none.
pub(super) fn translate(text: &str, from: &str, to: &str) -> String {
    let to: Vec<char> = to.chars().collect();
    let mut places = std::collections::BTreeMap::new();
    for (at, character) in from.chars().enumerate() {
        places.entry(character).or_insert(at);
    }
    let changed = |character: char| match places.get(&character) {
        None => Some(character),
        Some(at) => to.get(*at).copied(),
    };
    text.chars().filter_map(changed).collect()
}

/// `overlay(text PLACING new FROM start FOR length)`; without a length as much as the new text is long.
pub(super) fn overlay(args: &Args<'_>) -> Result<Value, Diag> {
    let (text, new, start) = (args.text(0)?, args.text(1)?, args.integer(2)?);
    let length = if args.len() > 3 { args.integer(3)? } else { i64::try_from(new.chars().count()).unwrap_or(i64::MAX) };
    if start < 1 {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "negative substring length not allowed"));
    }
    let (before, _) = split_chars(text, clamp(start - 1));
    let (_, after) = split_chars(text, clamp(start.saturating_sub(1).saturating_add(length)));
    check_length(before.len().saturating_add(new.len()).saturating_add(after.len()))?;
    Ok(Value::Text([before, new, after].concat()))
}

/// Hexadecimal digits of an integer; a negative one in two's complement of its width.
pub(super) fn to_hex(value: &Value) -> Result<Value, Diag> {
    match value {
        Value::SmallInt(v) => Ok(Value::Text(format!("{:x}", i32::from(*v)))),
        Value::Int(v) => Ok(Value::Text(format!("{v:x}"))),
        Value::BigInt(v) => Ok(Value::Text(format!("{v:x}"))),
        other => Err(wrong_type("to_hex", other)),
    }
}
