//! The one lexer: text to tokens with places.
//!
//! sqlparser's tokenizer cuts the text; this file drops white space and comments, and rewrites every token's span so that its
//! line is 1 and its column is the token's first character in the whole text, counted from 1. Whatever sqlparser later says
//! about a place is therefore a place in characters. Limits that keep every later stage's recursion small are checked here,
//! on the flat list of tokens, before anything recursive runs.

use sqlparser::keywords::Keyword;
use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Location, Span as TokenSpan, Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::diag::{Diag, Span, SqlState};
use crate::dialect::{self, Highwater};
use crate::limits;

mod comment;
mod operator;

/// The dialect that tokens and islands are read with.
pub(crate) static DIALECT: Highwater = Highwater;

/// Where a token stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// In characters.
    pub(crate) span: Span,
    /// First byte.
    pub(crate) start: usize,
    /// One past the last byte.
    pub(crate) end: usize,
}

/// A text and its tokens, without white space and comments.
#[derive(Debug)]
pub(crate) struct Lexed<'a> {
    pub(crate) text: &'a str,
    pub(crate) tokens: Vec<TokenWithSpan>,
    pub(crate) places: Vec<Place>,
    /// One past the last character.
    pub(crate) chars: u32,
}

impl Lexed<'_> {
    /// The place of the token at `index`, or the end of the text.
    pub(crate) fn span_at(&self, index: usize) -> Span {
        self.places.get(index).map_or(Span { start: self.chars, end: self.chars }, |place| place.span)
    }

    /// From the first to the last token of a range; an empty one is the place before its first token.
    pub(crate) fn span_of(&self, start: usize, end: usize) -> Span {
        let first = self.span_at(start);
        match end.checked_sub(1) {
            Some(last) if last >= start => Span { start: first.start, end: self.span_at(last).end },
            _ => Span { start: first.start, end: first.start },
        }
    }

    /// The text from the first to the last token of a range.
    pub(crate) fn text_of(&self, start: usize, end: usize) -> &str {
        let from = self.places.get(start).map(|place| place.start);
        let to = end.checked_sub(1).and_then(|last| self.places.get(last)).map(|place| place.end);
        match (from, to) {
            (Some(from), Some(to)) if from < to => self.text.get(from..to).unwrap_or_default(),
            _ => "",
        }
    }

    /// The first token at or after this character.
    pub(crate) fn index_of_char(&self, character: u32) -> usize {
        self.places.partition_point(|place| place.span.start < character)
    }

    pub(crate) fn token(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index).map(|token| &token.token)
    }
}

/// sqlparser's span, as rewritten by [`lex`], in characters of the text; `None` for one that it made up.
pub(crate) fn char_span(span: TokenSpan) -> Option<Span> {
    let at = |location: Location| match (location.line, u32::try_from(location.column)) {
        (1, Ok(column)) => column.checked_sub(1),
        _ => None,
    };
    Some(Span { start: at(span.start)?, end: at(span.end)? })
}

/// The text as the tokenizer takes it, as far as its comments are closed.
pub(crate) fn apart(text: &str) -> std::borrow::Cow<'_, str> {
    comment::apart(text).unwrap_or(std::borrow::Cow::Borrowed(text))
}

/// Cuts a text into tokens.
pub(crate) fn lex(text: &str) -> Result<Lexed<'_>, Diag> {
    if text.len() > limits::MAX_TEXT_BYTES {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("the text has {} bytes, more than the limit of {}", text.len(), limits::MAX_TEXT_BYTES),
        )
        .hint("Send several requests; long values go into parameters."));
    }
    let mut raw = Vec::new();
    let spaced = comment::apart(text)?;
    let outcome = Tokenizer::new(&DIALECT, &spaced).tokenize_with_location_into_buf(&mut raw);
    let mut walk = Walk::new(text);
    let mut lexed = Lexed { text, tokens: Vec::with_capacity(raw.len() / 2 + 1), places: Vec::new(), chars: 0 };
    for TokenWithSpan { token, span } in raw {
        let start = walk.reach(span.start);
        let end = walk.reach(span.end);
        if matches!(token, Token::Whitespace(_)) {
            unclosed_comment(&token, text, start, end)?;
            continue;
        }
        let place =
            Place { span: Span { start: start.character, end: end.character }, start: start.byte, end: end.byte };
        if lexed.closes_a_word_of_its_own(&token, place) || lexed.continues_a_string(&token, place) {
            continue;
        }
        if let Token::CustomBinaryOperator(operator) = &token
            && let Some(parts) = operator::parts(operator)
        {
            lexed.push_parts(&parts, place);
            continue;
        }
        lexed.refuse_junk(&token, place)?;
        lexed.tokens.push(TokenWithSpan { token, span: token_span(place.span) });
        lexed.places.push(place);
    }
    if let Err(error) = outcome {
        let start = walk.here.character;
        walk.reach_end();
        let span = Span { start, end: walk.here.character };
        return Err(Diag::new(SqlState::SYNTAX_ERROR, lexical_sentence(&error.message)).at(span));
    }
    walk.reach_end();
    lexed.chars = walk.here.character;
    Ok(lexed)
}

impl Lexed<'_> {
    /// What the tokenizer takes and PostgreSQL does not: a word right behind a number, 0x1F, ==.
    fn refuse_junk(&self, token: &Token, place: Place) -> Result<(), Diag> {
        let follows = self.places.last().filter(|before| before.end == place.start);
        let what = match (token, self.tokens.last()) {
            (Token::Word(_), Some(TokenWithSpan { token: Token::Number(..), .. })) if follows.is_some() => {
                "the word follows the number without a space"
            }
            (Token::HexStringLiteral(_), _)
                if self.text.get(place.start..place.end).is_some_and(|text| text.starts_with('0')) =>
            {
                "numbers are written in decimal digits"
            }
            (Token::DoubleEq, _) => "expected =",
            _ => return Ok(()),
        };
        let near = self.text.get(place.start..place.end).unwrap_or_default();
        Err(Diag::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{near}\": {what}")).at(place.span))
    }

    /// CURRENT_USER is a word of SQL that sqlparser reads without parentheses only: `CURRENT_USER()` is that word, from its first
    /// character to its last.
    fn closes_a_word_of_its_own(&mut self, token: &Token, end: Place) -> bool {
        let [.., TokenWithSpan { token: Token::Word(word), .. }, TokenWithSpan { token: Token::LParen, .. }] =
            self.tokens.as_slice()
        else {
            return false;
        };
        let is_one = ["current_user", "session_user"].iter().any(|known| word.value.eq_ignore_ascii_case(known));
        if *token != Token::RParen || word.quote_style.is_some() || !is_one {
            return false;
        }
        self.tokens.pop();
        self.places.pop();
        if let (Some(token), Some(place)) = (self.tokens.last_mut(), self.places.last_mut()) {
            place.span.end = end.span.end;
            place.end = end.end;
            token.span = token_span(place.span);
        }
        true
    }
}

impl Lexed<'_> {
    /// Operators that stand without a space between them, from `place` on.
    fn push_parts(&mut self, parts: &[(Token, u32)], place: Place) {
        let (mut character, mut byte) = (place.span.start, place.start);
        for (token, length) in parts {
            let (from, start) = (character, byte);
            character += length;
            byte += usize::try_from(*length).unwrap_or_default();
            let place = Place { span: Span { start: from, end: character }, start, end: byte };
            self.tokens.push(TokenWithSpan { token: token.clone(), span: token_span(place.span) });
            self.places.push(place);
        }
    }

    /// `'a'` and on another line `'b'` is `'ab'`, as the standard has it.
    fn continues_a_string(&mut self, token: &Token, end: Place) -> bool {
        let Token::SingleQuotedString(more) = token else { return false };
        let (Some(before), Some(place)) = (self.tokens.last_mut(), self.places.last_mut()) else { return false };
        let between = self.text.get(place.end..end.start).unwrap_or_default();
        let only_lines = between.contains('\n')
            && between.lines().all(|line| matches!(line.trim_start().get(..2), None | Some("--")));
        match &mut before.token {
            Token::SingleQuotedString(text) if only_lines => text.push_str(more),
            // What follows would have escapes too.
            Token::EscapedStringLiteral(text) if only_lines && !more.contains('\\') => text.push_str(more),
            _ => return false,
        }
        place.span.end = end.span.end;
        place.end = end.end;
        before.span = token_span(place.span);
        true
    }
}

fn lexical_sentence(message: &str) -> String {
    let lower = message.to_lowercase();
    let what = if lower.contains("unterminated encoded string") {
        "the string literal that starts here is never closed, or has an escape that is no character"
    } else if lower.contains("unterminated string") {
        "the string literal that starts here is never closed"
    } else if lower.contains("comment") {
        "the comment that starts here is never closed"
    } else if lower.contains("identifier") || lower.contains("close delimiter") {
        "the quoted name that starts here is never closed"
    } else if lower.contains("dollar") || lower.contains('$') {
        "the dollar-quoted string that starts here is never closed"
    } else {
        return format!("syntax error: {message}");
    };
    format!("syntax error: {what}")
}

/// The tokenizer takes a comment that the text's end closes as a comment: refuse it.
fn unclosed_comment(token: &Token, text: &str, start: Here, end: Here) -> Result<(), Diag> {
    if !matches!(token, Token::Whitespace(Whitespace::MultiLineComment(_))) {
        return Ok(());
    }
    let closed = text.get(start.byte..end.byte).is_some_and(|comment| comment.len() >= 4 && comment.ends_with("*/"));
    if closed {
        return Ok(());
    }
    Err(Diag::new(SqlState::SYNTAX_ERROR, "syntax error: the comment that starts here is never closed")
        .at(Span { start: start.character, end: end.character }))
}

fn token_span(span: Span) -> TokenSpan {
    let at = |character: u32| Location { line: 1, column: u64::from(character) + 1 };
    TokenSpan { start: at(span.start), end: at(span.end) }
}

#[derive(Clone, Copy)]
pub(crate) struct Here {
    pub(crate) character: u32,
    pub(crate) byte: usize,
}

/// Walks the text once, counting lines and columns as the tokenizer does.
pub(crate) struct Walk<'a> {
    rest: std::str::Chars<'a>,
    here: Here,
    line: u64,
    column: u64,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: text.chars(), here: Here { character: 0, byte: 0 }, line: 1, column: 1 }
    }

    pub(crate) fn reach(&mut self, location: Location) -> Here {
        while (self.line, self.column) < (location.line, location.column) && self.step() {}
        self.here
    }

    fn reach_end(&mut self) {
        while self.step() {}
    }

    fn step(&mut self) -> bool {
        let Some(character) = self.rest.next() else { return false };
        self.here.character += 1;
        self.here.byte += character.len_utf8();
        if character == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
        true
    }
}

/// The ranges of tokens between top-level semicolons, empty ones left out, each checked against the limits of shape.
pub(crate) fn split(lexed: &Lexed<'_>) -> Result<Vec<(usize, usize)>, Diag> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut shape = Shape::default();
    for (index, token) in lexed.tokens.iter().enumerate() {
        if token.token == Token::SemiColon {
            shape.finish(lexed)?;
            if start < index {
                statements.push((start, index));
            }
            start = index + 1;
            shape = Shape::default();
        } else {
            shape.take(lexed, index, &token.token)?;
        }
    }
    shape.finish(lexed)?;
    if start < lexed.tokens.len() {
        statements.push((start, lexed.tokens.len()));
    }
    if let Some((first_too_many, _)) = statements.get(limits::MAX_STATEMENTS) {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("the text has {} statements, more than the limit of {}", statements.len(), limits::MAX_STATEMENTS),
        )
        .at(lexed.span_at(*first_too_many)));
    }
    Ok(statements)
}

/// What is open while a statement's tokens pass by: an upper bound of the tree's depth.
#[derive(Default)]
struct Shape {
    open: Vec<(usize, Token)>,
    /// Per open parenthesis, and for the statement itself as the last: the chain so far.
    outer: Vec<Chain>,
    chain: Chain,
    set_operations: usize,
}

/// Depth that one list item's operators can build: its AND and OR, and the longest run of tokens between two of them.
#[derive(Clone, Copy, Default)]
struct Chain {
    joints: usize,
    run: usize,
    longest: usize,
}

impl Chain {
    fn depth(self) -> usize {
        self.joints + self.longest.max(self.run)
    }
}

impl Shape {
    fn take(&mut self, lexed: &Lexed<'_>, index: usize, token: &Token) -> Result<(), Diag> {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => self.open(lexed, index, token)?,
            Token::RParen | Token::RBracket | Token::RBrace => self.close(lexed, index, token)?,
            Token::Comma => self.chain = Chain::default(),
            Token::Word(word) if word.quote_style.is_none() => self.word(lexed, index, word.keyword)?,
            _ => self.chain.run += 1,
        }
        if self.chain.depth() > limits::MAX_CHAIN {
            return Err(too_deep(
                format!("the expression is a chain of more than {} tokens", limits::MAX_CHAIN),
                lexed.span_at(index),
            )
            .hint("Use IN (...) for a long list of alternatives."));
        }
        Ok(())
    }

    fn word(&mut self, lexed: &Lexed<'_>, index: usize, keyword: Keyword) -> Result<(), Diag> {
        match keyword {
            Keyword::AND | Keyword::OR | Keyword::WHEN | Keyword::THEN | Keyword::ELSE => {
                self.chain.joints += 1;
                self.chain.longest = self.chain.longest.max(self.chain.run);
                self.chain.run = 0;
            }
            Keyword::UNION | Keyword::INTERSECT | Keyword::EXCEPT | Keyword::MINUS => {
                self.chain.run += 1;
                self.set_operations += 1;
                if self.set_operations > limits::MAX_SET_OPERATIONS {
                    return Err(too_deep(
                        format!("the statement has more than {} set operations", limits::MAX_SET_OPERATIONS),
                        lexed.span_at(index),
                    ));
                }
            }
            _ => self.chain.run += 1,
        }
        Ok(())
    }

    fn open(&mut self, lexed: &Lexed<'_>, index: usize, token: &Token) -> Result<(), Diag> {
        self.chain.run += 1;
        self.outer.push(self.chain);
        self.chain = Chain::default();
        self.open.push((index, token.clone()));
        if self.open.len() > limits::MAX_NESTING {
            return Err(too_deep(
                format!("the statement is nested deeper than {} levels", limits::MAX_NESTING),
                lexed.span_at(index),
            ));
        }
        Ok(())
    }

    fn close(&mut self, lexed: &Lexed<'_>, index: usize, token: &Token) -> Result<(), Diag> {
        let fits = match self.open.pop() {
            Some((_, Token::LParen)) => *token == Token::RParen,
            Some((_, Token::LBracket)) => *token == Token::RBracket,
            Some((_, Token::LBrace)) => *token == Token::RBrace,
            _ => false,
        };
        if !fits {
            return Err(Diag::new(
                SqlState::SYNTAX_ERROR,
                format!("syntax error: \"{token}\" closes nothing that is open"),
            )
            .at(lexed.span_at(index)));
        }
        self.chain = self.outer.pop().unwrap_or_default();
        self.chain.run += 1;
        Ok(())
    }

    fn finish(&self, lexed: &Lexed<'_>) -> Result<(), Diag> {
        match self.open.last() {
            None => Ok(()),
            Some((index, token)) => Err(Diag::new(
                SqlState::SYNTAX_ERROR,
                format!("syntax error: the \"{token}\" that opens here is never closed"),
            )
            .at(lexed.span_at(*index))),
        }
    }
}

fn too_deep(message: String, span: Span) -> Diag {
    Diag::new(SqlState::PROGRAM_LIMIT, message).at(span)
}

/// A failure of sqlparser on the tokens `start..end`, with its place; at the end of the tokens it is the place after them.
pub(crate) fn parser_failure(lexed: &Lexed<'_>, end: usize, error: ParserError) -> Diag {
    let message = match error {
        ParserError::RecursionLimitExceeded => {
            return Diag::new(SqlState::PROGRAM_LIMIT, "the statement is nested too deeply");
        }
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    let (sentence, column) = match message.rfind(" at Line: ") {
        Some(cut) => {
            let (sentence, place) = message.split_at(cut);
            (sentence.to_owned(), place.rsplit(' ').next().and_then(|column| column.parse::<u32>().ok()))
        }
        None => (message, None),
    };
    let index = column
        .and_then(|column| column.checked_sub(1))
        .map_or(end, |character| lexed.index_of_char(character))
        .min(end);
    let expected = sentence
        .strip_prefix("Expected: ")
        .map(|rest| rest.rsplit_once(", found: ").map_or(rest, |(expected, _)| expected).to_owned());
    match expected.as_deref() {
        Some(dialect::NO_STRING) => stray_string(lexed, index, end),
        Some(dialect::NO_SUCH_OPERATOR) => strange_operator(lexed, index),
        // What sqlparser says of SIMILAR without TO.
        Some("IN or BETWEEN after NOT") => Diag::not_supported("SIMILAR without TO")
            .hint("Write text SIMILAR TO pattern, or substring(text FROM pattern).")
            .at(lexed.span_at(index)),
        Some(expected @ ("END" | "THEN" | "WHEN")) => syntax_error(lexed, index, end, Wanted::Expected(expected))
            .hint("Write CASE WHEN condition THEN value ... ELSE value END."),
        Some(expected) => syntax_error(lexed, index, end, Wanted::Expected(expected)),
        None => syntax_error(lexed, index, end, Wanted::Sentence(&sentence)),
    }
}

/// A string literal at the token `index`, where neither a comma nor an operator stands before it.
pub(crate) fn stray_string(lexed: &Lexed<'_>, index: usize, end: usize) -> Diag {
    syntax_error(lexed, index, end, Wanted::Sentence("a string literal cannot stand here"))
        .hint("Is a comma missing? Names stand in double quotes.")
}

/// An operator of another system at the token `index`.
fn strange_operator(lexed: &Lexed<'_>, index: usize) -> Diag {
    let word = lexed.text_of(index, index + 1).to_ascii_uppercase();
    let instead = match word.as_str() {
        "DIV" => "Write trunc(a / b), or a / b of two integers.",
        "REGEXP" | "RLIKE" => "Write text ~ pattern.",
        "GLOB" => "Write text LIKE pattern.",
        "XOR" => "Of two BOOLEANs it is a <> b, of two integers a # b.",
        "MEMBER" => "Write value = ANY (array).",
        _ => "",
    };
    let diag = Diag::not_supported(format_args!("operator {word}")).at(lexed.span_at(index));
    if instead.is_empty() { diag } else { diag.hint(instead) }
}

/// What a syntax error says after its place.
pub(crate) enum Wanted<'a> {
    /// What should stand there.
    Expected(&'a str),
    /// Something else.
    Sentence(&'a str),
}

/// A syntax error at the token `index` of a statement that ends before token `end`.
pub(crate) fn syntax_error(lexed: &Lexed<'_>, index: usize, end: usize, wanted: Wanted<'_>) -> Diag {
    let rest = match wanted {
        Wanted::Expected(expected) => format!(": expected {expected}"),
        Wanted::Sentence(sentence) => format!(": {sentence}"),
    };
    if index >= end {
        let last = lexed.span_at(end.saturating_sub(1)).end;
        return Diag::new(SqlState::SYNTAX_ERROR, format!("syntax error at the end of the statement{rest}"))
            .at(Span { start: last, end: last });
    }
    let near: String = lexed.text_of(index, index + 1).chars().take(60).collect();
    let diag =
        Diag::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{near}\"{rest}")).at(lexed.span_at(index));
    if near == "?" { diag.hint("Parameters are $1, $2 ...") } else { diag }
}
