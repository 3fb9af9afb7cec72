//! CREATE and DROP NAMESPACE; SCHEMA is the same word.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;

use super::input::{Parsed, Tokens};
use super::not_supported;
use super::terminal::{if_exists, if_not_exists, name, word};
use crate::diag::Span;
use crate::statement::Stmt;

fn noun(input: Tokens<'_>) -> Parsed<'_, Span> {
    alt((word("NAMESPACE"), word("SCHEMA"))).parse(input)
}

/// `NAMESPACE [IF NOT EXISTS] name`
pub(super) fn create(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, if_not_exists, name)) = (noun, if_not_exists, name("a namespace name")).parse(input)?;
    if rest.at_words(&["AUTHORIZATION"]) {
        return not_supported("AUTHORIZATION", rest.here());
    }
    Ok((rest, Stmt::CreateNamespace { name, if_not_exists }))
}

/// `NAMESPACE [IF EXISTS] name [CASCADE|RESTRICT]`
pub(super) fn drop(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let behaviour = opt(alt((word("CASCADE").map(|_| true), word("RESTRICT").map(|_| false))));
    let (rest, (_, if_exists, name, cascade)) = (noun, if_exists, name("a namespace name"), behaviour).parse(input)?;
    Ok((rest, Stmt::DropNamespace { name, if_exists, cascade: cascade.unwrap_or(false) }))
}
