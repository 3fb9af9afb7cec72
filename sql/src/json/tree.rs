//! JSON as a tree, for what cannot be done on its text: setting, removing and comparing parts of it.
//!
//! Scalars stay the text that they are, so numbers keep their digits. Trees are as deep as [`super::MAX_DEPTH`] at most, which
//! bounds every recursion here.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{JsonType, MAX_DEPTH, elements, push_string, type_of, unquote};
use crate::decimal;
use crate::diag::{Diag, SqlState};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'t> {
    /// Members in order, the last of each name.
    Object(Vec<(String, Node<'t>)>),
    /// Elements in order.
    Array(Vec<Node<'t>>),
    /// A string in its quotes, a number, true, false or null.
    Scalar(Cow<'t, str>),
}

/// Gives an object a member, in the place of one of the same name.
pub fn put<'t>(members: &mut Vec<(String, Node<'t>)>, name: String, value: Node<'t>) {
    match members.iter_mut().find(|(known, _)| *known == name) {
        Some((_, old)) => *old = value,
        None => members.push((name, value)),
    }
}

/// The place from 0 of an index that counts from the end when negative.
#[must_use]
pub fn place(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    let index = if index < 0 { index.checked_add(length)? } else { index };
    if index < length { usize::try_from(index).ok() } else { None }
}

impl<'t> Node<'t> {
    /// The tree of a compact JSON text; `None` when it is none or nests too deep.
    #[must_use]
    pub fn parse(json: &'t str) -> Option<Self> {
        Self::parse_at(json, 0)
    }

    fn parse_at(json: &'t str, depth: usize) -> Option<Self> {
        match type_of(json) {
            JsonType::Object | JsonType::Array if depth >= MAX_DEPTH => None,
            JsonType::Object => {
                let mut found: Vec<(String, &'t str)> = Vec::new();
                let mut places: BTreeMap<String, usize> = BTreeMap::new();
                for (name, value) in super::members(json) {
                    let name = unquote(name)?;
                    if let Some(known) = places.get(&name).and_then(|at| found.get_mut(*at)) {
                        known.1 = value;
                    } else {
                        places.insert(name.clone(), found.len());
                        found.push((name, value));
                    }
                }
                let member = |(name, value): (String, &'t str)| Some((name, Self::parse_at(value, depth + 1)?));
                found.into_iter().map(member).collect::<Option<_>>().map(Self::Object)
            }
            JsonType::Array => {
                elements(json).map(|item| Self::parse_at(item, depth + 1)).collect::<Option<_>>().map(Self::Array)
            }
            JsonType::String | JsonType::Number | JsonType::Boolean | JsonType::Null => {
                Some(Self::Scalar(Cow::Borrowed(json)))
            }
        }
    }

    /// The same tree, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Node<'static> {
        match self {
            Self::Object(members) => {
                Node::Object(members.into_iter().map(|(name, value)| (name, value.into_owned())).collect())
            }
            Self::Array(items) => Node::Array(items.into_iter().map(Self::into_owned).collect()),
            Self::Scalar(text) => Node::Scalar(Cow::Owned(text.into_owned())),
        }
    }

    /// Levels of arrays and objects.
    #[must_use]
    pub fn depth(&self) -> usize {
        match self {
            Self::Object(members) => 1 + members.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Scalar(_) => 0,
        }
    }

    /// Appends the compact text.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    push_string(name, out);
                    out.push(':');
                    value.write(out);
                }
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Self::Scalar(text) => out.push_str(text),
        }
    }

    /// Appends the text with a line per member and element, indented by four spaces a level.
    pub fn write_pretty(&self, level: usize, out: &mut String) {
        let line = |level: usize, out: &mut String| {
            out.push('\n');
            out.extend(std::iter::repeat_n("    ", level));
        };
        match self {
            Self::Object(members) => {
                out.push('{');
                for (at, (name, value)) in members.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(level + 1, out);
                    push_string(name, out);
                    out.push_str(": ");
                    value.write_pretty(level + 1, out);
                }
                line(level, out);
                out.push('}');
            }
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    line(level + 1, out);
                    item.write_pretty(level + 1, out);
                }
                line(level, out);
                out.push(']');
            }
            Self::Scalar(text) => out.push_str(text),
        }
    }

    /// Whether it is the string of this content.
    #[must_use]
    pub fn is_string(&self, content: &str) -> bool {
        match self {
            Self::Scalar(text) => unquote(text).is_some_and(|text| text == content),
            Self::Object(_) | Self::Array(_) => false,
        }
    }

    /// Removes members that are null, at every level; elements that are null stay.
    pub fn strip_nulls(&mut self) {
        match self {
            Self::Object(members) => {
                members.retain(|(_, value)| !matches!(value, Self::Scalar(text) if text == "null"));
                members.iter_mut().for_each(|(_, value)| value.strip_nulls());
            }
            Self::Array(items) => items.iter_mut().for_each(Self::strip_nulls),
            Self::Scalar(_) => {}
        }
    }

    /// PostgreSQL's containment: every member and element of the other is in this one. An array also holds a bare scalar.
    #[must_use]
    pub fn contains(&self, other: &Node<'_>) -> bool {
        match (self, other) {
            (Self::Array(items), Node::Scalar(_)) => items.iter().any(|item| item.equals(other)),
            _ => self.holds(other),
        }
    }

    fn holds(&self, other: &Node<'_>) -> bool {
        match (self, other) {
            (Self::Object(members), Node::Object(wanted)) => wanted
                .iter()
                .all(|(name, value)| members.iter().any(|(known, found)| known == name && found.holds(value))),
            (Self::Array(items), Node::Array(wanted)) => {
                wanted.iter().all(|value| items.iter().any(|item| item.holds(value)))
            }
            (Self::Scalar(_), Node::Scalar(_)) => self.equals(other),
            _ => false,
        }
    }

    /// Equality of scalars: numbers by value, strings by content.
    fn equals(&self, other: &Node<'_>) -> bool {
        let (Self::Scalar(left), Node::Scalar(right)) = (self, other) else { return false };
        if left == right {
            return true;
        }
        match (type_of(left), type_of(right)) {
            (JsonType::Number, JsonType::Number) => match (decimal::parse(left), decimal::parse(right)) {
                (Ok(left), Ok(right)) => left == right,
                _ => false,
            },
            (JsonType::String, JsonType::String) => unquote(left) == unquote(right),
            _ => false,
        }
    }
}

fn index(step: &str, at: usize) -> Result<i64, Diag> {
    step.trim_ascii().parse().map_err(|_| {
        Diag::new(SqlState::INVALID_TEXT, format!("path element at position {} is not an integer: \"{step}\"", at + 1))
    })
}

/// The tree with `new` at the path. `insert`: a new element before that place (`option`: after it), never in the place of a
/// member. Otherwise what stands there is replaced, and `option` creates what does not.
///
/// # Errors
/// 22P02 for a step into an array that is no number, 22023 for a member that exists and is to be inserted.
pub fn edited<'t>(tree: Node<'t>, path: &[&str], new: &Node<'t>, insert: bool, option: bool) -> Result<Node<'t>, Diag> {
    edited_at(tree, path, 0, new, insert, option)
}

fn edited_at<'t>(
    mut tree: Node<'t>,
    path: &[&str],
    at: usize,
    new: &Node<'t>,
    insert: bool,
    option: bool,
) -> Result<Node<'t>, Diag> {
    let Some(step) = path.get(at) else { return Ok(tree) };
    let last = at + 1 == path.len();
    match &mut tree {
        Node::Object(members) => {
            let found = members.iter_mut().find(|(name, _)| name == step);
            match found {
                Some(_) if last && insert => {
                    return Err(Diag::new(SqlState::INVALID_PARAMETER, "cannot replace existing key")
                        .hint("jsonb_set replaces a member"));
                }
                Some((_, value)) if last => *value = new.clone(),
                Some((_, value)) => {
                    let old = std::mem::replace(value, Node::Array(Vec::new()));
                    *value = edited_at(old, path, at + 1, new, insert, option)?;
                }
                None if last && (insert || option) => members.push(((*step).to_owned(), new.clone())),
                None => {}
            }
        }
        Node::Array(items) => {
            let index = index(step, at)?;
            match place(index, items.len()) {
                Some(found) if last && insert => items.insert(found + usize::from(option), new.clone()),
                Some(found) => {
                    if let Some(value) = items.get_mut(found) {
                        let old = std::mem::replace(value, Node::Array(Vec::new()));
                        *value = if last { new.clone() } else { edited_at(old, path, at + 1, new, insert, option)? };
                    }
                }
                None if last && (insert || option) => {
                    items.insert(if index < 0 { 0 } else { items.len() }, new.clone());
                }
                None => {}
            }
        }
        Node::Scalar(_) => {}
    }
    Ok(tree)
}

/// The tree without what stands at the path.
///
/// # Errors
/// 22P02 for a step into an array that is no number.
pub fn removed<'t>(mut tree: Node<'t>, path: &[&str]) -> Result<Node<'t>, Diag> {
    remove_at(&mut tree, path, 0)?;
    Ok(tree)
}

fn remove_at(tree: &mut Node<'_>, path: &[&str], at: usize) -> Result<(), Diag> {
    let Some(step) = path.get(at) else { return Ok(()) };
    let last = at + 1 == path.len();
    match tree {
        Node::Object(members) if last => members.retain(|(name, _)| name != step),
        Node::Object(members) => {
            if let Some((_, value)) = members.iter_mut().find(|(name, _)| name == step) {
                remove_at(value, path, at + 1)?;
            }
        }
        Node::Array(items) => {
            if let Some(found) = place(index(step, at)?, items.len()) {
                if last {
                    items.remove(found);
                } else if let Some(value) = items.get_mut(found) {
                    remove_at(value, path, at + 1)?;
                }
            }
        }
        Node::Scalar(_) => {}
    }
    Ok(())
}
