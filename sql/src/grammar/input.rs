//! Tokens as nom's input, and the record of the furthest failure.
//!
//! Every terminal that does not match notes what it wanted at its position; the note that got furthest becomes the error, so
//! that what an `opt` or an `alt` gave up is not forgotten. Input is finite: nothing is ever incomplete.

use std::cell::RefCell;
use std::collections::BTreeSet;

use nom::error::{ErrorKind, ParseError};
use nom::{IResult, Input, Needed};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::diag::{Diag, Span};
use crate::lexer::Lexed;

/// What the terminals at the furthest position wanted.
#[derive(Debug, Default)]
pub(crate) struct Furthest {
    pub(crate) index: usize,
    pub(crate) expected: BTreeSet<&'static str>,
}

/// A range of a text's tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens<'a> {
    pub(crate) lexed: &'a Lexed<'a>,
    /// First token of the whole statement.
    pub(crate) first: usize,
    /// Next token.
    pub(crate) start: usize,
    /// One past the last token.
    pub(crate) end: usize,
    pub(crate) furthest: &'a RefCell<Furthest>,
}

/// Why a parser stopped: a mismatch (noted in [`Furthest`]) or a finished diagnostic.
#[derive(Debug)]
pub(crate) struct Stop(pub(crate) Option<Box<Diag>>);

/// A parser's result.
pub(crate) type Parsed<'a, T> = IResult<Tokens<'a>, T, Stop>;

impl<I> ParseError<I> for Stop {
    fn from_error_kind(_: I, _: ErrorKind) -> Self {
        Self(None)
    }

    fn append(_: I, _: ErrorKind, other: Self) -> Self {
        other
    }

    fn or(self, other: Self) -> Self {
        if self.0.is_some() { self } else { other }
    }
}

impl<'a> Tokens<'a> {
    /// The token `ahead` of the next.
    pub(crate) fn peek(&self, ahead: usize) -> Option<&'a Token> {
        let index = self.start + ahead;
        if index < self.end { self.lexed.token(index) } else { None }
    }

    /// The next token's text when it is an unquoted word.
    pub(crate) fn peek_word(&self, ahead: usize) -> Option<&'a str> {
        match self.peek(ahead) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    /// Whether unquoted words in any case stand here.
    pub(crate) fn at_words(&self, words: &[&str]) -> bool {
        words
            .iter()
            .enumerate()
            .all(|(ahead, word)| self.peek_word(ahead).is_some_and(|found| found.eq_ignore_ascii_case(word)))
    }

    /// The tokens after the next `count`.
    pub(crate) fn skip(mut self, count: usize) -> Self {
        self.start = (self.start + count).min(self.end);
        self
    }

    /// Only the tokens before `end`.
    pub(crate) fn until(mut self, end: usize) -> Self {
        self.end = self.end.min(end);
        self
    }

    /// Nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.start >= self.end
    }

    /// The place of the next token; of what follows the last at the end.
    pub(crate) fn here(&self) -> Span {
        if self.is_empty() {
            let end = self.lexed.span_at(self.end.saturating_sub(1)).end;
            return Span { start: end, end };
        }
        self.lexed.span_at(self.start)
    }

    /// The place from the next token to the one before `rest`'s next.
    pub(crate) fn span_to(&self, rest: &Self) -> Span {
        self.lexed.span_of(self.start, rest.start)
    }

    /// From the statement's first token to the one before the next.
    pub(crate) fn so_far(&self) -> Span {
        self.lexed.span_of(self.first, self.start)
    }

    /// Notes what was wanted here.
    pub(crate) fn wanted(&self, expected: &'static str) {
        let mut furthest = self.furthest.borrow_mut();
        if self.start > furthest.index {
            furthest.index = self.start;
            furthest.expected.clear();
        }
        if self.start == furthest.index {
            furthest.expected.insert(expected);
        }
    }

    /// A mismatch here.
    pub(crate) fn mismatch<T>(&self, expected: &'static str) -> Parsed<'a, T> {
        self.wanted(expected);
        Err(nom::Err::Error(Stop(None)))
    }

    /// The index of the first token at this nesting for which `stop` holds, or the end.
    pub(crate) fn find_at_level(&self, mut stop: impl FnMut(&Self) -> bool) -> usize {
        let mut depth = 0_usize;
        let mut at = *self;
        while let Some(token) = at.peek(0) {
            match token {
                Token::RParen | Token::RBracket | Token::RBrace if depth == 0 => return at.start,
                _ if depth == 0 && stop(&at) => return at.start,
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace => depth -= 1,
                _ => {}
            }
            at = at.skip(1);
        }
        self.end
    }
}

/// A finished diagnostic: no other alternative is tried.
pub(crate) fn refuse<'a, T>(diag: Diag) -> Parsed<'a, T> {
    Err(nom::Err::Failure(Stop(Some(Box::new(diag)))))
}

impl<'a> Input for Tokens<'a> {
    type Item = &'a TokenWithSpan;
    type Iter = std::slice::Iter<'a, TokenWithSpan>;
    type IterIndices = std::iter::Enumerate<std::slice::Iter<'a, TokenWithSpan>>;

    fn input_len(&self) -> usize {
        self.end - self.start
    }

    fn take(&self, index: usize) -> Self {
        self.until(self.start + index)
    }

    fn take_from(&self, index: usize) -> Self {
        self.skip(index)
    }

    fn take_split(&self, index: usize) -> (Self, Self) {
        (self.take_from(index), self.take(index))
    }

    fn position<P>(&self, predicate: P) -> Option<usize>
    where
        P: Fn(Self::Item) -> bool,
    {
        self.iter_elements().position(predicate)
    }

    fn iter_elements(&self) -> Self::Iter {
        self.lexed.tokens.get(self.start..self.end).unwrap_or_default().iter()
    }

    fn iter_indices(&self) -> Self::IterIndices {
        self.iter_elements().enumerate()
    }

    fn slice_index(&self, count: usize) -> Result<usize, Needed> {
        if self.input_len() >= count { Ok(count) } else { Err(Needed::new(count - self.input_len())) }
    }
}
