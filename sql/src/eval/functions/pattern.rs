//! Functions of regular expressions.

use std::ops::Range;
use std::rc::Rc;

use regex::Regex;

use super::{Args, array};
use crate::diag::{Diag, SqlState};
use crate::eval::EvalContext;
use crate::eval::operators::check_length;
use crate::eval::regex::{Flags, compile, similar};
use crate::value::{Element, Value};

/// The pattern at `at`, with the flags behind it when they are given.
fn pattern(args: &Args<'_>, at: usize, flags_at: usize, context: &EvalContext<'_>) -> Result<(Rc<Regex>, Flags), Diag> {
    let flags = if args.len() > flags_at { Flags::parse(args.text(flags_at)?)? } else { Flags::default() };
    Ok((compile(args.text(at)?, flags, context)?, flags))
}

fn no_global(flags: Flags, name: &str) -> Result<(), Diag> {
    if flags.global {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, format!("{name} does not take the option g")));
    }
    Ok(())
}

/// The groups of the first match, or the whole of it when there are none; NULL without a match.
pub(super) fn first_match(args: &Args<'_>, context: &EvalContext<'_>) -> Result<Value, Diag> {
    let (regex, flags) = pattern(args, 1, 2, context)?;
    no_global(flags, "regexp_match")?;
    let Some(found) = regex.captures(args.text(0)?) else { return Ok(Value::Null) };
    let group = |at: usize| found.get(at).map_or(Value::Null, |group| Value::Text(group.as_str().to_owned()));
    let first = usize::from(found.len() > 1);
    array::made(Element::Text, (first..found.len()).map(group).collect())
}

pub(super) fn like(args: &Args<'_>, context: &EvalContext<'_>) -> Result<Value, Diag> {
    let (regex, flags) = pattern(args, 1, 2, context)?;
    no_global(flags, "regexp_like")?;
    Ok(Value::Boolean(regex.is_match(args.text(0)?)))
}

pub(super) fn count(args: &Args<'_>, context: &EvalContext<'_>) -> Result<Value, Diag> {
    let (regex, _) = pattern(args, 1, 3, context)?;
    let start = if args.len() > 2 { args.integer(2)? } else { 1 };
    let Some(skip) = start.checked_sub(1).and_then(|skip| usize::try_from(skip).ok()) else {
        return Err(Diag::new(SqlState::INVALID_PARAMETER, "the start of regexp_count is at least 1"));
    };
    let text = args.text(0)?;
    let from = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
    let (mut at, mut count) = (Some(from), 0);
    while let Some(found) = at.and_then(|at| regex.find_at(text, at)) {
        count += 1;
        at = behind(text, &found.range());
    }
    Ok(Value::Int(count))
}

/// Where the search for the next match begins. Unlike the crate's iterators, PostgreSQL takes an empty match right behind a
/// longer one; only behind an empty one it steps over a character.
fn behind(text: &str, found: &Range<usize>) -> Option<usize> {
    if !found.is_empty() {
        return Some(found.end);
    }
    let stepped_over = text.get(found.end..)?.chars().next()?;
    Some(found.end + stepped_over.len_utf8())
}

/// The first match, or its first group when `group` and there is one.
fn part(text: &str, regex: &Regex, group: bool) -> Value {
    let Some(found) = regex.captures(text) else { return Value::Null };
    let at = usize::from(group && found.len() > 1);
    found.get(at).map_or(Value::Null, |found| Value::Text(found.as_str().to_owned()))
}

pub(super) fn substr(args: &Args<'_>, context: &EvalContext<'_>) -> Result<Value, Diag> {
    Ok(part(args.text(0)?, pattern(args, 1, 2, context)?.0.as_ref(), false))
}

/// `substring(text FROM pattern)`
pub(super) fn substring(args: &Args<'_>, context: &EvalContext<'_>) -> Result<Value, Diag> {
    Ok(part(args.text(0)?, pattern(args, 1, usize::MAX, context)?.0.as_ref(), true))
}

/// The text between matches. An empty match at the start or the end does not count.
pub(super) fn split(args: &Args<'_>, context: &EvalContext<'_>) -> Result<Value, Diag> {
    let (regex, flags) = pattern(args, 1, 2, context)?;
    no_global(flags, "regexp_split_to_array")?;
    let text = args.text(0)?;
    let mut parts = Vec::new();
    let mut from = 0;
    for found in regex.find_iter(text) {
        if found.is_empty() && (found.start() == 0 || found.start() == text.len()) {
            continue;
        }
        parts.push(Value::Text(text.get(from..found.start()).unwrap_or_default().to_owned()));
        from = found.end();
    }
    parts.push(Value::Text(text.get(from..).unwrap_or_default().to_owned()));
    array::made(Element::Text, parts)
}

/// `regexp_replace(text, pattern, replacement [, flags])`: `\1` to `\9` and `\&` in the replacement stand for groups and the
/// whole match.
pub(super) fn replace(args: &Args<'_>, context: &EvalContext<'_>) -> Result<Value, Diag> {
    let (regex, flags) = pattern(args, 1, 3, context)?;
    let (text, replacement) = (args.text(0)?, args.text(2)?);
    let mut out = String::with_capacity(text.len());
    let (mut at, mut from) = (Some(0), 0);
    while let Some(found) = at.and_then(|at| regex.captures_at(text, at)) {
        let Some(whole) = found.get(0) else { break };
        at = behind(text, &whole.range());
        out.push_str(text.get(from..whole.start()).unwrap_or_default());
        from = whole.end();
        let mut input = replacement.chars();
        while let Some(character) = input.next() {
            if character != '\\' {
                out.push(character);
                continue;
            }
            match input.next() {
                Some('&') => out.push_str(whole.as_str()),
                Some(digit @ '1'..='9') => {
                    let group = digit.to_digit(10).and_then(|group| found.get(usize::try_from(group).ok()?));
                    out.push_str(group.map_or("", |group| group.as_str()));
                }
                Some('\\') | None => out.push('\\'),
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
            }
        }
        check_length(out.len())?;
        if !flags.global {
            break;
        }
    }
    out.push_str(text.get(from..).unwrap_or_default());
    check_length(out.len())?;
    Ok(Value::Text(out))
}

/// `text SIMILAR TO pattern ESCAPE escape`: an empty escape is none.
pub(super) fn similar_to(args: &Args<'_>, context: &EvalContext<'_>) -> Result<Value, Diag> {
    let escape = if args.len() > 2 { args.text(2)?.chars().next() } else { Some('\\') };
    let pattern = similar(args.text(1)?, escape)?;
    Ok(Value::Boolean(compile(&pattern, Flags::default(), context)?.is_match(args.text(0)?)))
}
