//! BEGIN to ROLLBACK, SAVEPOINT, SET and RESET.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use nom::sequence::preceded;
use sqlparser::tokenizer::Token;

use super::input::{Parsed, Tokens, refuse};
use super::not_supported;
use super::terminal::{name, symbol, text_or_name, word, words};
use crate::diag::{Diag, Span};
use crate::session::{Parameter, SessionStatement, unknown_parameter};
use crate::statement::Stmt;

/// `[WORK | TRANSACTION]`
fn work(input: Tokens<'_>) -> Parsed<'_, ()> {
    opt(alt((word("WORK"), word("TRANSACTION")))).map(|_| ()).parse(input)
}

/// `ISOLATION LEVEL level | READ WRITE | READ ONLY | NOT DEFERRABLE`, any number of them, with or without commas; true: READ ONLY.
fn modes(input: Tokens<'_>) -> Parsed<'_, bool> {
    let (mut rest, mut read_only) = (input, false);
    loop {
        if rest.at_words(&["DEFERRABLE"]) {
            return not_supported("DEFERRABLE", rest.here());
        }
        let level = preceded(
            words(&["ISOLATION", "LEVEL"]),
            alt((
                word("SERIALIZABLE"),
                words(&["REPEATABLE", "READ"]),
                words(&["READ", "COMMITTED"]),
                words(&["READ", "UNCOMMITTED"]),
            )),
        );
        let mode = alt((
            level.map(|_| None),
            words(&["READ", "WRITE"]).map(|_| Some(false)),
            words(&["READ", "ONLY"]).map(|_| Some(true)),
            words(&["NOT", "DEFERRABLE"]).map(|_| None),
        ));
        let (after, found) = opt(mode).parse(rest)?;
        let Some(mode) = found else { return Ok((rest, read_only)) };
        read_only = mode.unwrap_or(read_only);
        (rest, _) = opt(symbol(Token::Comma, "\",\"")).parse(after)?;
    }
}

fn statement(found: SessionStatement) -> Stmt {
    Stmt::Session(found)
}

/// Behind BEGIN: `[WORK | TRANSACTION] [modes]`
pub(super) fn begin(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, ()) = work(input)?;
    modes(rest).map(|(rest, read_only)| (rest, statement(SessionStatement::Begin { read_only })))
}

/// Behind START: `TRANSACTION [modes]`
pub(super) fn start(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, _) = word("TRANSACTION")(input)?;
    modes(rest).map(|(rest, read_only)| (rest, statement(SessionStatement::Begin { read_only })))
}

/// `[AND NO CHAIN]`
fn no_chain(input: Tokens<'_>) -> Parsed<'_, ()> {
    if input.at_words(&["AND", "CHAIN"]) {
        return not_supported("AND CHAIN", input.skip(2).so_far());
    }
    opt(words(&["AND", "NO", "CHAIN"])).map(|_| ()).parse(input)
}

fn not_prepared(input: Tokens<'_>) -> Parsed<'_, ()> {
    if input.at_words(&["PREPARED"]) {
        return not_supported("a prepared transaction", input.skip(1).so_far());
    }
    Ok((input, ()))
}

/// Behind COMMIT or END: `[WORK | TRANSACTION] [AND NO CHAIN]`
pub(super) fn commit(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    (not_prepared, work, no_chain).map(|_| statement(SessionStatement::Commit)).parse(input)
}

/// Behind ROLLBACK or ABORT: `[WORK | TRANSACTION] [AND NO CHAIN | TO [SAVEPOINT] name]`
pub(super) fn rollback(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, _) = (not_prepared, work).parse(input)?;
    if rest.at_words(&["TO"]) {
        let (rest, _) = opt(word("SAVEPOINT")).parse(rest.skip(1))?;
        let (rest, name) = name("a savepoint's name")(rest)?;
        return Ok((rest, statement(SessionStatement::RollbackTo(name.value))));
    }
    rest.wanted("TO");
    no_chain.map(|()| statement(SessionStatement::Rollback)).parse(rest)
}

/// Behind SAVEPOINT: `name`
pub(super) fn savepoint(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    name("a savepoint's name").map(|name| statement(SessionStatement::Savepoint(name.value))).parse(input)
}

/// Behind RELEASE: `[SAVEPOINT] name`
pub(super) fn release(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, _) = opt(word("SAVEPOINT")).parse(input)?;
    name("a savepoint's name").map(|name| statement(SessionStatement::Release(name.value))).parse(rest)
}

/// Behind SET: `[SESSION] parameter {TO | =} value | TIME ZONE value | NAMES value | [SESSION CHARACTERISTICS AS] TRANSACTION modes`
pub(super) fn set(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    if input.at_words(&["LOCAL"]) {
        return not_supported("SET LOCAL", input.skip(1).so_far());
    }
    let isolation = || statement(SessionStatement::Set(Parameter::TransactionIsolation, Some("serializable".into())));
    if input.at_words(&["TRANSACTION"]) || input.at_words(&["SESSION", "CHARACTERISTICS"]) {
        let (rest, _) = opt(words(&["SESSION", "CHARACTERISTICS", "AS"])).parse(input)?;
        let (rest, _) = word("TRANSACTION")(rest)?;
        let (rest, read_only) = modes(rest)?;
        if read_only {
            return refuse(
                Diag::not_supported("READ ONLY here").hint("Write BEGIN READ ONLY.").at(input.span_to(&rest)),
            );
        }
        return Ok((rest, isolation()));
    }
    let (rest, _) = opt(word("SESSION")).parse(input)?;
    if rest.at_words(&["TIME", "ZONE"]) {
        return given(Parameter::TimeZone, rest.skip(2));
    }
    if rest.at_words(&["NAMES"]) {
        return given(Parameter::ClientEncoding, rest.skip(1));
    }
    let (after, found) = name("a parameter's name")(rest)?;
    let parameter = parameter(&found.value, found.span)?;
    let (rest, _) = alt((word("TO"), symbol(Token::Eq, "\"=\""))).parse(after)?;
    given(parameter, rest)
}

/// Behind RESET: `parameter`
pub(super) fn reset(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    if input.at_words(&["ALL"]) {
        return not_supported("RESET ALL", input.skip(1).so_far());
    }
    let (rest, found) = name("a parameter's name")(input)?;
    let parameter = parameter(&found.value, found.span)?;
    Ok((rest, statement(SessionStatement::Set(parameter, None))))
}

fn parameter(name: &str, span: Span) -> Result<Parameter, nom::Err<super::input::Stop>> {
    match Parameter::by_name(name) {
        Some(parameter) => Ok(parameter),
        None => match refuse::<()>(unknown_parameter(name).at(span)) {
            Err(stop) => Err(stop),
            Ok(_) => Err(nom::Err::Error(super::input::Stop(None))),
        },
    }
}

/// `value [, value ...] | DEFAULT`
fn given(parameter: Parameter, input: Tokens<'_>) -> Parsed<'_, Stmt> {
    if input.at_words(&["DEFAULT"]) {
        return Ok((input.skip(1), statement(SessionStatement::Set(parameter, None))));
    }
    let (mut rest, mut value) = one_value(input)?;
    while rest.peek(0) == Some(&Token::Comma) {
        let (after, more) = one_value(rest.skip(1))?;
        value = format!("{value},{more}");
        rest = after;
    }
    match parameter.checked(&value) {
        Ok(value) => Ok((rest, statement(SessionStatement::Set(parameter, Some(value))))),
        Err(diag) => refuse(diag.at(input.span_to(&rest))),
    }
}

fn one_value(input: Tokens<'_>) -> Parsed<'_, String> {
    match input.peek(0) {
        Some(Token::Number(digits, false)) => Ok((input.skip(1), digits.clone())),
        _ => text_or_name("a value").map(|found| found.value).parse(input),
    }
}
