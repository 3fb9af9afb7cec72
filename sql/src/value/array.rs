//! Arrays: one dimension, counted from 1, elements of one scalar type or NULL.
//!
//! The text form is PostgreSQL's: `{1,2,NULL}`, elements in double quotes where they are empty, read `NULL`, or hold white
//! space, braces, commas, quotes or backslashes.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Element, Value, sort_compare};

/// An array's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Array {
    element: Element,
    items: Vec<Value>,
}

/// Why a text is no array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArrayError {
    /// It does not begin with a brace.
    #[error("an array begins with \"{{\"")]
    NoBrace,
    /// An array inside an array.
    #[error("arrays of arrays are not supported")]
    Nested,
    /// It begins with subscripts of its own.
    #[error("arrays count from 1: subscripts such as [0:2]= are not supported")]
    Bounds,
    /// It ends too early.
    #[error("the array is not closed")]
    Open,
    /// Something stands where an element or a comma is wanted.
    #[error("unexpected text in the array, at byte {0}")]
    Unexpected(usize),
}

impl Array {
    /// An array of these elements, which must be NULL or of the element type.
    #[must_use]
    pub fn new(element: Element, items: Vec<Value>) -> Self {
        Self { element: element.plain(), items }
    }

    /// Type of the elements, without precision and scale.
    #[must_use]
    pub const fn element(&self) -> Element {
        self.element
    }

    /// The elements in order.
    #[must_use]
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// The elements in order.
    #[must_use]
    pub fn into_items(self) -> Vec<Value> {
        self.items
    }

    /// Element by element, NULL after everything and equal to itself; then the shorter first.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        let pairs = self.items.iter().zip(&other.items);
        pairs
            .map(|(left, right)| sort_compare(left, right))
            .find(|ordering| ordering.is_ne())
            .unwrap_or_else(|| self.items.len().cmp(&other.items.len()))
    }
}

impl fmt::Display for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, item) in self.items.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            match item {
                Value::Null => f.write_str("NULL")?,
                item => write_item(&item.to_string(), f)?,
            }
        }
        f.write_str("}")
    }
}

fn write_item(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || is_space(c);
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{character}")?;
    }
    f.write_str("\"")
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// The elements' texts of `{a,"b c",NULL}`; `None` for NULL.
///
/// # Errors
/// See [`ArrayError`].
pub fn parse(text: &str) -> Result<Vec<Option<String>>, ArrayError> {
    let text = text.trim_matches(is_space);
    if text.starts_with('[') && text.contains("]=") {
        return Err(ArrayError::Bounds);
    }
    let mut rest = text.strip_prefix('{').ok_or(ArrayError::NoBrace)?.trim_start_matches(is_space);
    let place = |rest: &str| ArrayError::Unexpected(text.len() - rest.len());
    let mut items = Vec::new();
    if let Some(after) = rest.strip_prefix('}') {
        return if after.is_empty() { Ok(items) } else { Err(place(after)) };
    }
    loop {
        rest = rest.trim_start_matches(is_space);
        let (item, after) = match rest.chars().next() {
            None => return Err(ArrayError::Open),
            Some('{') => return Err(ArrayError::Nested),
            Some('"') => quoted(rest.get(1..).unwrap_or_default())?,
            Some(',' | '}') => return Err(place(rest)),
            Some(_) => bare(rest).ok_or(ArrayError::Open)?,
        };
        items.push(item);
        rest = after.trim_start_matches(is_space);
        match rest.chars().next() {
            Some(',') => rest = rest.get(1..).unwrap_or_default(),
            Some('}') => {
                let after = rest.get(1..).unwrap_or_default();
                return if after.is_empty() { Ok(items) } else { Err(place(after)) };
            }
            Some(_) => return Err(place(rest)),
            None => return Err(ArrayError::Open),
        }
    }
}

/// Up to the closing quote, and what follows it.
fn quoted(text: &str) -> Result<(Option<String>, &str), ArrayError> {
    let mut item = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Some(item), text.get(at + 1..).unwrap_or_default())),
            '\\' => item.push(characters.next().ok_or(ArrayError::Open)?.1),
            other => item.push(other),
        }
    }
    Err(ArrayError::Open)
}

/// Up to the next comma or brace; closing white space does not count.
fn bare(text: &str) -> Option<(Option<String>, &str)> {
    let mut item = String::new();
    let mut kept = 0;
    let mut escaped = false;
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ',' | '}' => {
                item.truncate(kept);
                let null = !escaped && item.eq_ignore_ascii_case("null");
                return Some((Some(item).filter(|_| !null), text.get(at..).unwrap_or_default()));
            }
            '{' | '"' => return None,
            '\\' => {
                item.push(characters.next()?.1);
                escaped = true;
                kept = item.len();
            }
            other => {
                item.push(other);
                if !is_space(other) {
                    kept = item.len();
                }
            }
        }
    }
    None
}
