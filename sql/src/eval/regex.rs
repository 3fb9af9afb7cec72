//! Regular expressions: PostgreSQL's syntax over the `regex` crate, which takes time linear in the text.
//!
//! The pattern is rewritten token by token, so that nothing of the crate's own syntax shows through. What has no linear
//! algorithm is refused by name: back-references, and looking ahead or behind. Among alternatives that match at one place the
//! first wins, where PostgreSQL takes the longest match.

use std::cell::RefCell;
use std::rc::Rc;

use regex::{Regex, RegexBuilder};

use super::EvalContext;
use crate::diag::{Diag, SqlState};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 64 << 10;
/// Most memory of a compiled pattern.
const MAX_COMPILED: usize = 4 << 20;
/// Largest repetition count, as in PostgreSQL.
const MAX_REPEAT: u32 = 255;

/// What the letters behind a pattern ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// `i`: without regard to case.
    pub(super) insensitive: bool,
    /// `g`: every match, not only the first.
    pub(super) global: bool,
    /// `x`: white space and comments in the pattern do not count.
    expanded: bool,
    /// `q`: the pattern is no pattern.
    literal: bool,
    /// `p`, `n`: neither `.` nor `[^...]` matches a line's end.
    stops_at_newline: bool,
    /// `w`, `n`: `^` and `$` also match at lines' ends.
    anchors_at_newline: bool,
}

impl Flags {
    /// The flags of these letters.
    pub(super) fn parse(letters: &str) -> Result<Self, Diag> {
        let mut flags = Self::default();
        letters.chars().try_for_each(|letter| flags.set(letter)).map(|()| flags)
    }

    /// No flag but perhaps `i`.
    pub(super) fn case(insensitive: bool) -> Self {
        Self { insensitive, ..Self::default() }
    }

    fn set(&mut self, letter: char) -> Result<(), Diag> {
        match letter {
            'g' => self.global = true,
            'i' => self.insensitive = true,
            'c' => self.insensitive = false,
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            's' => (self.stops_at_newline, self.anchors_at_newline) = (false, false),
            'n' | 'm' => (self.stops_at_newline, self.anchors_at_newline) = (true, true),
            'p' => (self.stops_at_newline, self.anchors_at_newline) = (true, false),
            'w' => (self.stops_at_newline, self.anchors_at_newline) = (false, true),
            other => {
                return Err(Diag::new(
                    SqlState::INVALID_PARAMETER,
                    format!("invalid regular expression option: \"{other}\""),
                )
                .hint("options are g, i, c, n, m, p, w, s, x, t and q"));
            }
        }
        Ok(())
    }
}

/// Compiled regular expressions, kept from one evaluation to the next: who evaluates an expression for many rows, each with a
/// context of its own, gives them all the same.
#[derive(Debug, Default)]
pub struct Patterns(RefCell<Compiled>);

impl Patterns {
    fn get(&self, flags: Flags, pattern: &str) -> Option<Rc<Regex>> {
        self.0.borrow().get(flags, pattern)
    }

    fn keep(&self, flags: Flags, pattern: &str, regex: &Rc<Regex>) {
        self.0.borrow_mut().keep(flags, pattern.to_owned(), regex);
    }
}

#[derive(Debug, Default)]
struct Compiled {
    /// Newest last.
    patterns: Vec<(Flags, String, Rc<Regex>)>,
}

/// Most patterns kept.
const KEPT: usize = 8;

impl Compiled {
    fn get(&self, flags: Flags, pattern: &str) -> Option<Rc<Regex>> {
        let known = self.patterns.iter().find(|(by, known, _)| *by == flags && known == pattern);
        known.map(|(_, _, regex)| Rc::clone(regex))
    }

    fn keep(&mut self, flags: Flags, pattern: String, regex: &Rc<Regex>) {
        if self.patterns.len() >= KEPT {
            self.patterns.remove(0);
        }
        self.patterns.push((flags, pattern, Rc::clone(regex)));
    }
}

fn invalid(reason: impl std::fmt::Display) -> Diag {
    Diag::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {reason}"))
}

/// The pattern, ready to be used.
///
/// # Errors
/// 2201B for a pattern that is none, 0A000 for what has no linear algorithm, 54000 for one too large.
pub(super) fn compile(pattern: &str, flags: Flags, context: &EvalContext<'_>) -> Result<Rc<Regex>, Diag> {
    // Whether every match is wanted is no part of what is compiled.
    let asked = Flags { global: false, ..flags };
    if let Some(known) = context.patterns().get(asked, pattern) {
        return Ok(known);
    }
    let written = pattern;
    if pattern.len() > MAX_PATTERN {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("a regular expression has at most {MAX_PATTERN} bytes"),
        ));
    }
    let (pattern, flags) = leading_options(pattern, flags)?;
    let rewritten = if flags.literal { regex::escape(pattern) } else { Rewriter::new(pattern, flags).rewrite()? };
    let regex = RegexBuilder::new(&rewritten)
        .case_insensitive(flags.insensitive)
        .dot_matches_new_line(!flags.stops_at_newline)
        .multi_line(flags.anchors_at_newline)
        .ignore_whitespace(flags.expanded && !flags.literal)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                Diag::new(SqlState::PROGRAM_LIMIT, "the regular expression is too large when compiled")
                    .hint("use fewer or smaller repetition counts")
            }
            other => invalid(reason(&other.to_string())),
        })?;
    let regex = Rc::new(regex);
    context.patterns().keep(asked, written, &regex);
    Ok(regex)
}

/// The last line of the crate's message, which draws the rewritten pattern before it.
fn reason(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// `***=`, `***:` and `(?letters)` before the pattern.
fn leading_options(pattern: &str, mut flags: Flags) -> Result<(&str, Flags), Diag> {
    let mut rest = pattern;
    if flags.literal {
        return Ok((rest, flags));
    }
    if let Some(literal) = rest.strip_prefix("***=") {
        flags.literal = true;
        return Ok((literal, flags));
    }
    if let Some(advanced) = rest.strip_prefix("***:") {
        rest = advanced;
    }
    if let Some(inner) = rest.strip_prefix("(?")
        && inner.starts_with(|letter: char| letter.is_ascii_lowercase())
        && let Some((letters, after)) = inner.split_once(')')
    {
        for letter in letters.chars() {
            if letter == 'g' {
                return Err(invalid("the option g stands outside the pattern"));
            }
            flags.set(letter)?;
        }
        rest = after;
    }
    Ok((rest, flags))
}

/// The pattern of SIMILAR TO as a regular expression over the whole text.
///
/// # Errors
/// 22025 for an escape character at the end.
pub(super) fn similar(pattern: &str, escape: Option<char>) -> Result<String, Diag> {
    let mut out = String::from("***:^(?:");
    let mut input = pattern.chars();
    let mut bracket = false;
    while let Some(character) = input.next() {
        if Some(character) == escape {
            let literal = input.next().ok_or_else(|| {
                Diag::new(SqlState::INVALID_PARAMETER, "SIMILAR TO pattern must not end with the escape character")
            })?;
            push_literal(literal, &mut out);
            continue;
        }
        match character {
            ']' if bracket => {
                bracket = false;
                out.push(']');
            }
            '\\' if bracket => out.push_str("\\\\"),
            other if bracket => out.push(other),
            '[' => {
                bracket = true;
                out.push('[');
            }
            '%' => out.push_str(".*"),
            '_' => out.push('.'),
            '(' => out.push_str("(?:"),
            ')' | '|' | '*' | '+' | '?' | '{' | '}' => out.push(character),
            other => push_literal(other, &mut out),
        }
    }
    out.push_str(")$");
    Ok(out)
}

/// A character that stands for itself in PostgreSQL's syntax.
fn push_literal(character: char, out: &mut String) {
    if !character.is_alphanumeric() && character.is_ascii() {
        out.push('\\');
    }
    out.push(character);
}

/// Walks over a pattern and writes it in the crate's syntax.
struct Rewriter<'p> {
    input: std::iter::Peekable<std::str::Chars<'p>>,
    flags: Flags,
    out: String,
}

/// One thing that an escape stands for.
enum Escape {
    Char(char),
    /// In the crate's syntax, also inside brackets.
    Class(&'static str),
    /// Matches a place; not inside brackets.
    Place(&'static str),
}

impl<'p> Rewriter<'p> {
    fn new(pattern: &'p str, flags: Flags) -> Self {
        Self { input: pattern.chars().peekable(), flags, out: String::with_capacity(pattern.len() + 16) }
    }

    fn char(&mut self, character: char) {
        if character.is_ascii_alphanumeric() || !character.is_ascii() && !character.is_whitespace() {
            self.out.push(character);
        } else {
            self.out.push_str(&format!("\\x{{{:x}}}", u32::from(character)));
        }
    }

    fn rewrite(mut self) -> Result<String, Diag> {
        while let Some(character) = self.input.next() {
            match character {
                '\\' => match self.escape()? {
                    Escape::Char(literal) => self.char(literal),
                    Escape::Class(class) | Escape::Place(class) => self.out.push_str(class),
                },
                '[' => self.bracket()?,
                '(' => self.group()?,
                '{' => self.repetition()?,
                '.' | '^' | '$' | '|' | ')' | '*' | '+' | '?' => self.out.push(character),
                '#' if self.flags.expanded => while self.input.next().is_some_and(|skipped| skipped != '\n') {},
                space if self.flags.expanded && space.is_whitespace() => {}
                other => self.char(other),
            }
        }
        Ok(self.out)
    }

    fn group(&mut self) -> Result<(), Diag> {
        self.out.push('(');
        if self.input.peek() != Some(&'?') {
            return Ok(());
        }
        self.input.next();
        match self.input.next() {
            Some(':') => {
                self.out.push_str("?:");
                Ok(())
            }
            Some('=' | '!') => Err(Diag::not_supported("a look-ahead (?= or (?! in a regular expression")
                .hint("patterns are matched in linear time, which rules it out")),
            Some('<') => Err(Diag::not_supported("a look-behind (?<= or (?<! in a regular expression")
                .hint("patterns are matched in linear time, which rules it out")),
            _ => Err(invalid("quantifier operand invalid")),
        }
    }

    /// A count in braces; a brace before anything else is itself.
    fn repetition(&mut self) -> Result<(), Diag> {
        if !self.input.peek().is_some_and(char::is_ascii_digit) {
            self.char('{');
            return Ok(());
        }
        let mut written = String::new();
        loop {
            match self.input.next() {
                Some('}') => break,
                Some(digit @ ('0'..='9' | ',')) => written.push(digit),
                _ => return Err(invalid("invalid repetition count(s)")),
            }
        }
        for bound in written.split(',').filter(|bound| !bound.is_empty()) {
            if bound.parse::<u32>().is_ok_and(|count| count > MAX_REPEAT) || bound.len() > 9 {
                return Err(invalid(format!("a repetition count is at most {MAX_REPEAT}")));
            }
        }
        self.out.push_str(&format!("{{{written}}}"));
        Ok(())
    }

    fn escape(&mut self) -> Result<Escape, Diag> {
        let character = self.input.next().ok_or_else(|| invalid("the pattern ends with a backslash"))?;
        Ok(match character {
            'd' => Escape::Class("\\d"),
            'D' => Escape::Class("\\D"),
            'w' => Escape::Class("\\w"),
            'W' => Escape::Class("\\W"),
            's' => Escape::Class("\\s"),
            'S' => Escape::Class("\\S"),
            'A' => Escape::Place("\\A"),
            'Z' => Escape::Place("\\z"),
            'm' => Escape::Place("\\b{start}"),
            'M' => Escape::Place("\\b{end}"),
            'y' => Escape::Place("\\b"),
            'Y' => Escape::Place("\\B"),
            'a' => Escape::Char('\u{7}'),
            'b' => Escape::Char('\u{8}'),
            'B' => Escape::Char('\\'),
            'e' => Escape::Char('\u{1b}'),
            'f' => Escape::Char('\u{c}'),
            'n' => Escape::Char('\n'),
            'r' => Escape::Char('\r'),
            't' => Escape::Char('\t'),
            'v' => Escape::Char('\u{b}'),
            'u' => Escape::Char(self.code(4)?),
            'U' => Escape::Char(self.code(8)?),
            'x' => Escape::Char(self.code(usize::MAX)?),
            '0' => return Err(invalid("a text holds no NUL")),
            '1'..='9' => {
                return Err(Diag::not_supported("a back-reference in a regular expression")
                    .hint("patterns are matched in linear time, which rules it out"));
            }
            letter if letter.is_ascii_alphabetic() => return Err(invalid("invalid escape \\ sequence")),
            other => Escape::Char(other),
        })
    }

    /// Hexadecimal digits: exactly so many, or as many as there are.
    fn code(&mut self, digits: usize) -> Result<char, Diag> {
        let mut code = 0_u32;
        let mut read = 0;
        while read < digits
            && let Some(digit) = self.input.peek().and_then(|digit| digit.to_digit(16))
        {
            self.input.next();
            code =
                code.checked_mul(16).map(|code| code + digit).ok_or_else(|| invalid("invalid escape \\ sequence"))?;
            read += 1;
        }
        let complete = read > 0 && (digits == usize::MAX || read == digits);
        let character = char::from_u32(code).filter(|character| complete && *character != '\0');
        character.ok_or_else(|| invalid("invalid escape \\ sequence"))
    }

    /// `[...]`, every character written by its number.
    fn bracket(&mut self) -> Result<(), Diag> {
        let unclosed = || invalid("brackets [] not balanced");
        if let Some(place) = self.word_boundary() {
            self.out.push_str(place);
            return Ok(());
        }
        self.out.push('[');
        let negated = self.input.next_if_eq(&'^').is_some();
        if negated {
            self.out.push('^');
            if self.flags.stops_at_newline {
                self.out.push_str("\\n");
            }
        }
        let mut first = true;
        loop {
            let character = self.input.next().ok_or_else(unclosed)?;
            let low = match character {
                ']' if !first => break,
                '[' => match self.input.peek() {
                    Some(':') => {
                        self.class()?;
                        first = false;
                        continue;
                    }
                    Some('.' | '=') => self.collating()?,
                    _ => '[',
                },
                '\\' => match self.escape()? {
                    Escape::Char(character) => character,
                    Escape::Class(class) => {
                        self.out.push_str(class);
                        first = false;
                        continue;
                    }
                    Escape::Place(_) => return Err(invalid("invalid escape \\ sequence")),
                },
                other => other,
            };
            first = false;
            self.char(low);
            if self.input.peek() != Some(&'-') {
                continue;
            }
            let mut ahead = self.input.clone();
            ahead.next();
            if ahead.peek().is_none_or(|next| *next == ']') {
                continue;
            }
            self.input.next();
            let high = match self.input.next().ok_or_else(unclosed)? {
                '\\' => match self.escape()? {
                    Escape::Char(character) => character,
                    Escape::Class(_) | Escape::Place(_) => return Err(invalid("invalid character range")),
                },
                '[' if matches!(self.input.peek(), Some('.' | '=')) => self.collating()?,
                other => other,
            };
            if high < low {
                return Err(invalid("invalid character range"));
            }
            self.out.push('-');
            self.char(high);
        }
        self.out.push(']');
        Ok(())
    }

    /// `[[:<:]]` and `[[:>:]]`.
    fn word_boundary(&mut self) -> Option<&'static str> {
        for (written, place) in [("[:<:]]", "\\b{start}"), ("[:>:]]", "\\b{end}")] {
            let mut ahead = self.input.clone();
            if written.chars().all(|wanted| ahead.next() == Some(wanted)) {
                self.input = ahead;
                return Some(place);
            }
        }
        None
    }

    /// `[:alpha:]` after its opening bracket.
    fn class(&mut self) -> Result<(), Diag> {
        self.input.next();
        let mut name = String::new();
        while let Some(letter) = self.input.next_if(char::is_ascii_alphabetic) {
            name.push(letter);
        }
        let closed = self.input.next() == Some(':') && self.input.next() == Some(']');
        let class = match name.as_str() {
            "alpha" => "\\p{Alphabetic}",
            "digit" => "\\d",
            "alnum" => "\\p{Alphabetic}\\p{N}",
            "upper" => "\\p{Uppercase}",
            "lower" => "\\p{Lowercase}",
            "space" => "\\s",
            "blank" => "\\t\\x20",
            "cntrl" => "\\p{Cc}",
            "punct" => "\\p{P}\\p{S}",
            "xdigit" => "0-9A-Fa-f",
            "word" => "\\w",
            "graph" => "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}",
            "print" => "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\x20",
            "ascii" => "\\x01-\\x7f",
            _ => return Err(invalid("invalid character class")),
        };
        if !closed {
            return Err(invalid("brackets [] not balanced"));
        }
        self.out.push_str(class);
        Ok(())
    }

    /// `[.x.]` and `[=x=]` of one character, after the opening bracket.
    fn collating(&mut self) -> Result<char, Diag> {
        let mark = self.input.next();
        let character = self.input.next().ok_or_else(|| invalid("brackets [] not balanced"))?;
        if self.input.next() == mark && self.input.next() == Some(']') {
            return Ok(character);
        }
        Err(Diag::not_supported("a named collating element in a regular expression"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;
    use crate::catalog::Role;

    #[test]
    fn contexts_that_keep_the_same_patterns_compile_each_once() {
        let patterns = Patterns::default();
        let compiled = |pattern: &str, letters: &str| {
            let context = EvalContext::new(0, "", Role::User, &[], 0).keeping(&patterns);
            compile(pattern, Flags::parse(letters).unwrap(), &context).unwrap()
        };
        let first = compiled("a+", "");
        assert!(Rc::ptr_eq(&first, &compiled("a+", "g")), "how many matches are wanted is no part of it");
        assert!(!Rc::ptr_eq(&first, &compiled("a+", "i")));
        assert!(!Rc::ptr_eq(&first, &compiled("b+", "")));
        assert!(Rc::ptr_eq(&first, &compiled("a+", "")));
    }
}
