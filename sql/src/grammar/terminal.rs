//! Words, names, literals and islands: what every statement's grammar is made of.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use nom::multi::separated_list1;
use nom::sequence::{delimited, preceded};
use sqlparser::ast;
use sqlparser::parser::{Parser as SqlParser, ParserError};
use sqlparser::tokenizer::Token;

use super::input::{Parsed, Stop, Tokens, refuse};
use crate::diag::{Diag, Span, SqlState};
use crate::lexer::{DIALECT, parser_failure};
use crate::limits;
use crate::statement::{Fragment, Name, ObjectName, OptionValue, WithOption};

/// This unquoted word, in any case; `expected` is the word in capitals.
pub(crate) fn word<'a>(expected: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Span> {
    move |input| match input.peek_word(0) {
        Some(found) if found.eq_ignore_ascii_case(expected) => Ok((input.skip(1), input.here())),
        _ => input.mismatch(expected),
    }
}

/// These words in a row.
pub(crate) fn words<'a>(expected: &'static [&'static str]) -> impl Fn(Tokens<'a>) -> Parsed<'a, Span> {
    move |input| {
        let mut rest = input;
        for one in expected {
            (rest, _) = word(one)(rest)?;
        }
        Ok((rest, input.span_to(&rest)))
    }
}

/// This punctuation; `expected` is how an error shows it.
pub(crate) fn symbol<'a>(token: Token, expected: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Span> {
    move |input| match input.peek(0) {
        Some(found) if *found == token => Ok((input.skip(1), input.here())),
        _ => input.mismatch(expected),
    }
}

/// `(`
pub(crate) fn open(input: Tokens<'_>) -> Parsed<'_, Span> {
    symbol(Token::LParen, "\"(\"")(input)
}

/// `)`
pub(crate) fn close(input: Tokens<'_>) -> Parsed<'_, Span> {
    symbol(Token::RParen, "\")\"")(input)
}

/// `,`
pub(crate) fn comma(input: Tokens<'_>) -> Parsed<'_, Span> {
    symbol(Token::Comma, "\",\"")(input)
}

/// Nothing more.
pub(crate) fn end(input: Tokens<'_>) -> Parsed<'_, ()> {
    if input.is_empty() { Ok((input, ())) } else { input.mismatch("the end of the statement") }
}

/// A name as the dialect has it: unquoted ones fold to lower case; empty, long and NUL-carrying ones are refused.
pub(crate) fn checked_name(text: &str, quoted: bool, span: Span) -> Result<Name, Diag> {
    let value = if quoted { text.to_owned() } else { text.to_ascii_lowercase() };
    let characters = value.chars().count();
    let wrong = if characters == 0 {
        "a name is empty".to_owned()
    } else if characters > limits::MAX_NAME_CHARS {
        format!("a name has {characters} characters, more than the limit of {}", limits::MAX_NAME_CHARS)
    } else if value.contains('\0') {
        "a name holds a NUL character".to_owned()
    } else {
        return Ok(Name { value, span });
    };
    Err(Diag::new(SqlState::INVALID_NAME, wrong).at(span))
}

/// A name; `expected` says of what.
pub(crate) fn name<'a>(expected: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Name> {
    move |input| match input.peek(0) {
        Some(Token::Word(found)) => match checked_name(&found.value, found.quote_style.is_some(), input.here()) {
            Ok(name) => Ok((input.skip(1), name)),
            Err(diag) => refuse(diag),
        },
        _ => input.mismatch(expected),
    }
}

/// `[namespace.]name`; `expected` says of what.
pub(crate) fn object<'a>(expected: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, ObjectName> {
    move |input| {
        let (rest, first) = name(expected)(input)?;
        let (rest, second) = opt(preceded(symbol(Token::Period, "\".\""), name(expected))).parse(rest)?;
        if rest.peek(0) == Some(&Token::Period) {
            return refuse(
                Diag::new(SqlState::SYNTAX_ERROR, "a name has more than two parts")
                    .hint("Write namespace.name.")
                    .at(input.span_to(&rest.skip(2))),
            );
        }
        let object = match second {
            Some(second) => ObjectName { namespace: Some(first), name: second },
            None => ObjectName { namespace: None, name: first },
        };
        Ok((rest, object))
    }
}

/// The text of a string literal.
fn text_of(token: &Token) -> Option<&str> {
    match token {
        Token::SingleQuotedString(text)
        | Token::EscapedStringLiteral(text)
        | Token::UnicodeStringLiteral(text)
        | Token::NationalStringLiteral(text) => Some(text),
        Token::DollarQuotedString(text) => Some(&text.value),
        _ => None,
    }
}

/// A string literal; `expected` says of what.
pub(crate) fn text<'a>(expected: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Name> {
    move |input| match input.peek(0).and_then(text_of) {
        Some(found) if found.contains('\0') => {
            refuse(Diag::new(SqlState::INVALID_ENCODING, "a text holds a NUL character").at(input.here()))
        }
        Some(found) => Ok((input.skip(1), Name { value: found.to_owned(), span: input.here() })),
        None => input.mismatch(expected),
    }
}

/// A string literal kept as it is, or a name.
pub(crate) fn text_or_name<'a>(expected: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Name> {
    move |input| alt((text(expected), name(expected))).parse(input)
}

/// An integer without a sign.
pub(crate) fn integer<'a>(expected: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, (u64, Span)> {
    move |input| match input.peek(0) {
        Some(Token::Number(digits, false)) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
            match digits.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok()) {
                Some(number) => Ok((input.skip(1), (number, input.here()))),
                None => refuse(Diag::new(SqlState::OUT_OF_RANGE, format!("{digits} is out of range")).at(input.here())),
            }
        }
        _ => input.mismatch(expected),
    }
}

/// `IF NOT EXISTS`
pub(crate) fn if_not_exists(input: Tokens<'_>) -> Parsed<'_, bool> {
    opt(words(&["IF", "NOT", "EXISTS"])).map(|found| found.is_some()).parse(input)
}

/// `IF EXISTS`
pub(crate) fn if_exists(input: Tokens<'_>) -> Parsed<'_, bool> {
    opt(words(&["IF", "EXISTS"])).map(|found| found.is_some()).parse(input)
}

/// `( column, ... )`
pub(crate) fn column_list(input: Tokens<'_>) -> Parsed<'_, Vec<Name>> {
    delimited(open, separated_list1(comma, name("a column name")), close).parse(input)
}

/// `WITH ( name = value, ... )`, or nothing.
pub(crate) fn with_options(input: Tokens<'_>) -> Parsed<'_, Vec<WithOption>> {
    opt(preceded(word("WITH"), option_list)).map(Option::unwrap_or_default).parse(input)
}

/// `( name = value, ... )`
pub(crate) fn option_list(input: Tokens<'_>) -> Parsed<'_, Vec<WithOption>> {
    delimited(open, separated_list1(comma, with_option), close).parse(input)
}

fn with_option(input: Tokens<'_>) -> Parsed<'_, WithOption> {
    let (rest, mut name) = name("an option name")(input)?;
    name.value.make_ascii_lowercase();
    let (rest, _) = symbol(Token::Eq, "\"=\"")(rest)?;
    let (rest, value) =
        alt((text("an option value").map(|text| OptionValue::Text(text.value)), option_number, option_word))
            .parse(rest)?;
    Ok((rest, WithOption { name, value, span: input.span_to(&rest) }))
}

fn option_number(input: Tokens<'_>) -> Parsed<'_, OptionValue> {
    match input.peek(0) {
        Some(Token::Number(digits, false)) => Ok((input.skip(1), OptionValue::Number(digits.clone()))),
        _ => input.mismatch("an option value"),
    }
}

fn option_word(input: Tokens<'_>) -> Parsed<'_, OptionValue> {
    match input.peek_word(0) {
        Some(found) => Ok((input.skip(1), OptionValue::Word(found.to_owned()))),
        None => input.mismatch("an option value"),
    }
}

/// Gives the tokens before `end` to sqlparser; the rest is what it left.
pub(crate) fn island<'a, T>(
    input: Tokens<'a>,
    end: usize,
    read: impl FnOnce(&mut SqlParser<'static>) -> Result<T, ParserError>,
) -> Parsed<'a, T> {
    let end = end.min(input.end);
    let mut tokens = input.lexed.tokens.get(input.start..end).unwrap_or_default().to_vec();
    crate::dialect::names_are_no_keywords(&mut tokens);
    let mut parser =
        SqlParser::new(&DIALECT).with_recursion_limit(limits::PARSER_RECURSION).with_tokens_with_locations(tokens);
    match read(&mut parser) {
        Ok(value) => {
            let next = parser.peek_token_ref();
            let stopped = match crate::lexer::char_span(next.span) {
                Some(span) if next.token != Token::EOF => input.lexed.index_of_char(span.start),
                _ => end,
            };
            Ok((input.skip(stopped.saturating_sub(input.start)), value))
        }
        Err(error) => refuse(parser_failure(input.lexed, end, error)),
    }
}

/// An expression that ends before token `end` at the latest.
pub(crate) fn expression_until(input: Tokens<'_>, end: usize) -> Parsed<'_, Fragment> {
    if input.start >= end {
        return input.mismatch("an expression");
    }
    let (rest, expr) = island(input, end, SqlParser::parse_expr)?;
    let text = input.lexed.text_of(input.start, rest.start).to_owned();
    Ok((rest, Fragment { expr: Box::new(expr), text, span: input.span_to(&rest) }))
}

/// An expression that ends where the parentheses around it do, or at a word or comma that it cannot hold.
pub(crate) fn expression(input: Tokens<'_>) -> Parsed<'_, Fragment> {
    let end = input.find_at_level(|at| at.peek(0) == Some(&Token::Comma));
    expression_until(input, end)
}

/// A column's or cast's type, within the tokens before `end`.
pub(crate) fn data_type(input: Tokens<'_>, end: usize) -> Parsed<'_, (ast::DataType, Span)> {
    if !matches!(input.peek(0), Some(Token::Word(_))) || input.start >= end {
        return input.mismatch("a type");
    }
    let (rest, found) = island(input, end, SqlParser::parse_data_type)?;
    Ok((rest, (found, input.span_to(&rest))))
}

/// A `$n` or an integer, as an expression.
pub(crate) fn number_or_parameter<'a>(expected: &'static str) -> impl Fn(Tokens<'a>) -> Parsed<'a, Fragment> {
    move |input| match input.peek(0) {
        Some(Token::Number(..) | Token::Placeholder(_) | Token::Minus) => {
            let take = if input.peek(0) == Some(&Token::Minus) { 2 } else { 1 };
            expression_until(input, input.start + take)
        }
        _ => input.mismatch(expected),
    }
}

/// The error of a repeated clause.
pub(crate) fn twice<'a, T>(clause: &str, span: Span) -> Parsed<'a, T> {
    refuse(Diag::new(SqlState::SYNTAX_ERROR, format!("syntax error: {clause} is given twice")).at(span))
}

/// A mismatch that stops, with what the terminals noted.
pub(crate) fn stop<'a, T>() -> Parsed<'a, T> {
    Err(nom::Err::Failure(Stop(None)))
}
