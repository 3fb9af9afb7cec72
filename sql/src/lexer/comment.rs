//! Comments directly behind an operator: it ends before `--` and `/*`, where sqlparser's tokenizer reads on.

use std::borrow::Cow;

use crate::diag::{Diag, Span, SqlState};

const OPERATOR: &[char] = &['+', '-', '*', '/', '<', '>', '=', '~', '!', '@', '#', '%', '^', '&', '|', '`', '?'];

/// The text, or when a comment may stand directly behind an operator, the text with blanks for its comments: each character
/// stays where it is.
pub(super) fn apart(text: &str) -> Result<Cow<'_, str>, Diag> {
    let touches = |mark: &str| {
        text.match_indices(mark).any(|(at, _)| text.get(..at).is_some_and(|before| before.ends_with(OPERATOR)))
    };
    if !touches("--") && !touches("/*") {
        return Ok(Cow::Borrowed(text));
    }
    let mut scan = Scan { rest: text, spaced: String::with_capacity(text.len()), place: 0 };
    while !scan.rest.is_empty() {
        scan.step()?;
    }
    Ok(Cow::Owned(scan.spaced))
}

struct Scan<'a> {
    rest: &'a str,
    spaced: String,
    /// Characters so far.
    place: u32,
}

impl Scan<'_> {
    fn step(&mut self) -> Result<(), Diag> {
        let rest = self.rest;
        if rest.starts_with("--") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            let Some(length) = closed(rest) else {
                let start = self.place;
                self.copy(rest.len());
                return Err(Diag::new(
                    SqlState::SYNTAX_ERROR,
                    "syntax error: the comment that starts here is never closed",
                )
                .at(Span { start, end: self.place }));
            };
            self.blank(length);
        } else if rest.starts_with(['e', 'E']) && rest.get(1..2) == Some("'") {
            self.copy(1);
            self.copy(quoted(self.rest, '\'', true));
        } else if rest.starts_with('\'') {
            self.copy(quoted(rest, '\'', false));
        } else if rest.starts_with('"') {
            self.copy(quoted(rest, '"', false));
        } else if rest.starts_with('$') {
            self.copy(dollar_quoted(rest));
        } else {
            let word = rest.find(|found: char| !is_word(found)).unwrap_or(rest.len());
            let one = rest.chars().next().map_or(1, char::len_utf8);
            self.copy(word.max(one));
        }
        Ok(())
    }

    fn copy(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.spaced.push_str(taken);
        self.rest = rest;
        self.place = self.place.saturating_add(u32::try_from(taken.chars().count()).unwrap_or(u32::MAX));
    }

    fn blank(&mut self, bytes: usize) {
        let from = self.spaced.len();
        self.copy(bytes);
        let comment = self.spaced.split_off(from);
        self.spaced.extend(comment.chars().map(|found| if matches!(found, '\n' | '\r') { found } else { ' ' }));
    }
}

fn is_word(found: char) -> bool {
    found.is_alphanumeric() || found == '_' || found == '$' || !found.is_ascii()
}

/// Bytes of the comment that starts here, with those inside of it.
fn closed(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        let next = rest.find(['/', '*'])?;
        at += next;
        let rest = rest.get(next..)?;
        if rest.starts_with("/*") {
            open += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            open -= 1;
            at += 2;
            if open == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// Bytes of the literal or name that starts here; a doubled quote is one inside of it.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut inside = text.char_indices().skip(1).peekable();
    while let Some((at, found)) = inside.next() {
        if found == '\\' && escapes {
            inside.next();
        } else if found == quote {
            match inside.peek() {
                Some((_, next)) if *next == quote => {
                    inside.next();
                }
                _ => return at + 1,
            }
        }
    }
    text.len()
}

/// Bytes of the `$tag$...$tag$` that starts here, or of the `$` alone.
fn dollar_quoted(text: &str) -> usize {
    let tag = text.get(1..).and_then(|rest| rest.find('$')).and_then(|end| text.get(..end + 2));
    match tag.filter(|tag| tag.trim_matches('$').chars().all(|found| is_word(found) && found != '$')) {
        Some(tag) if !tag.get(1..2).is_some_and(|first| first.starts_with(|found: char| found.is_ascii_digit())) => {
            text.get(tag.len()..).and_then(|body| body.find(tag)).map_or(text.len(), |end| tag.len() * 2 + end)
        }
        _ => 1,
    }
}
