//! LIKE and ILIKE.

use super::wrong_type;
use crate::diag::{Diag, SqlState};
use crate::value::Value;

/// One step of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// `%`
    Any,
    /// `_`
    One,
    /// This character.
    Exactly(char),
}

impl Step {
    fn in_lower_case(self) -> Vec<Self> {
        match self {
            Self::Exactly(character) => character.to_lowercase().map(Self::Exactly).collect(),
            Self::Any | Self::One => vec![self],
        }
    }
}

/// `text [NOT] LIKE pattern`; NULL when a side is NULL.
pub(super) fn like(text: &Value, pattern: &Value, escape: char, fold_case: bool, negated: bool) -> Result<Value, Diag> {
    let (text, pattern) = match (text, pattern) {
        (Value::Null, _) | (_, Value::Null) => return Ok(Value::Null),
        (Value::Text(text), Value::Text(pattern)) => (text, pattern),
        (Value::Text(_), other) | (other, _) => return Err(wrong_type("LIKE", other)),
    };
    let steps = steps(pattern, escape)?;
    let matched = if fold_case {
        // One character at a time on both sides: the lower case of a whole text depends on where its words end.
        let text: String = text.chars().flat_map(char::to_lowercase).collect();
        matches(&text, &steps.into_iter().flat_map(Step::in_lower_case).collect::<Vec<_>>())
    } else {
        matches(text, &steps)
    };
    Ok(Value::Boolean(matched != negated))
}

fn steps(pattern: &str, escape: char) -> Result<Vec<Step>, Diag> {
    let mut steps = Vec::with_capacity(pattern.len());
    let mut input = pattern.chars();
    while let Some(character) = input.next() {
        if character == escape {
            let literal = input.next().ok_or_else(|| {
                Diag::new(SqlState::INVALID_PARAMETER, "LIKE pattern must not end with the escape character")
                    .hint(format!("write {escape}{escape} for the character itself"))
            })?;
            steps.push(Step::Exactly(literal));
            continue;
        }
        steps.push(match character {
            '%' if steps.last() == Some(&Step::Any) => continue,
            '%' => Step::Any,
            '_' => Step::One,
            other => Step::Exactly(other),
        });
    }
    Ok(steps)
}

/// Greedy with one point of return: a later `%` never needs an earlier one to give more back.
fn matches(text: &str, steps: &[Step]) -> bool {
    let mut rest = text.chars();
    let mut at = 0;
    let mut retry: Option<(std::str::Chars<'_>, usize)> = None;
    loop {
        let before = rest.clone();
        match (steps.get(at), rest.next()) {
            (Some(Step::Any), _) => {
                retry = Some((before.clone(), at + 1));
                rest = before;
                at += 1;
                continue;
            }
            (Some(Step::One), Some(_)) => {
                at += 1;
                continue;
            }
            (Some(Step::Exactly(wanted)), Some(found)) if *wanted == found => {
                at += 1;
                continue;
            }
            (None, None) => return true,
            (Some(_) | None, _) => {}
        }
        let Some((from, next)) = &mut retry else { return false };
        if from.next().is_none() {
            return false;
        }
        rest = from.clone();
        at = *next;
    }
}
