//! CREATE and DROP INDEX.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use nom::multi::separated_list1;
use sqlparser::tokenizer::Token;

use super::input::{Parsed, Tokens, refuse};
use super::not_supported;
use super::terminal::{close, comma, if_exists, if_not_exists, name, object, open, word, words};
use crate::diag::Diag;
use crate::statement::{CreateIndex, IndexPart, Stmt};

/// `[UNIQUE] INDEX [CONCURRENTLY] [[IF NOT EXISTS] name] ON table [USING BTREE] ( column [ASC|DESC] [NULLS FIRST|LAST], ... )`
pub(super) fn create(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (unique, _, _, if_not_exists)) =
        (opt(word("UNIQUE")), word("INDEX"), opt(word("CONCURRENTLY")), if_not_exists).parse(input)?;
    let (rest, name) =
        if rest.at_words(&["ON"]) { (rest, None) } else { name("an index name").map(Some).parse(rest)? };
    let (rest, (_, table)) = (word("ON"), object("a table name")).parse(rest)?;
    let rest = using(rest)?;
    let (rest, _) = open(rest)?;
    let (rest, columns) = separated_list1(comma, part).parse(rest)?;
    let (rest, _) = close(rest)?;
    for unsupported in ["INCLUDE", "NULLS", "WITH", "TABLESPACE", "WHERE"] {
        if rest.at_words(&[unsupported]) {
            return not_supported(&format!("{unsupported} in CREATE INDEX"), rest.here());
        }
    }
    let create = CreateIndex { unique: unique.is_some(), if_not_exists, name, table, columns };
    Ok((rest, Stmt::CreateIndex(Box::new(create))))
}

/// `USING BTREE` is what there is.
fn using(input: Tokens<'_>) -> Result<Tokens<'_>, nom::Err<super::input::Stop>> {
    if !input.at_words(&["USING"]) || input.at_words(&["USING", "BTREE"]) {
        return Ok(if input.at_words(&["USING"]) { input.skip(2) } else { input });
    }
    refuse(
        Diag::not_supported("an index of another kind")
            .hint("An index is ordered: leave USING away, or write USING BTREE.")
            .at(input.skip(1).here()),
    )
    .map(|(rest, ())| rest)
}

fn part(input: Tokens<'_>) -> Parsed<'_, IndexPart> {
    if input.peek(0) == Some(&Token::LParen) || input.peek(1) == Some(&Token::LParen) {
        return refuse(
            Diag::not_supported("an expression in an index").hint("Index columns of the table.").at(input.here()),
        );
    }
    let (rest, column) = name("a column name")(input)?;
    let (rest, descending) = opt(alt((word("ASC").map(|_| false), word("DESC").map(|_| true)))).parse(rest)?;
    // Entries are read in either direction: no query sees where NULLs stand.
    let (rest, _) = opt(alt((words(&["NULLS", "FIRST"]), words(&["NULLS", "LAST"])))).parse(rest)?;
    if !matches!(rest.peek(0), None | Some(Token::Comma | Token::RParen)) {
        return rest.mismatch("\",\" or \")\"");
    }
    Ok((rest, IndexPart { column, descending: descending.unwrap_or(false) }))
}

/// `INDEX [CONCURRENTLY] [IF EXISTS] name [RESTRICT]`
pub(super) fn drop(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, _, if_exists, name)) =
        (word("INDEX"), opt(word("CONCURRENTLY")), if_exists, object("an index name")).parse(input)?;
    if rest.peek(0) == Some(&Token::Comma) {
        return not_supported("DROP INDEX of several indexes", rest.here());
    }
    if rest.at_words(&["CASCADE"]) {
        return not_supported("DROP INDEX ... CASCADE", rest.here());
    }
    let (rest, _) = opt(word("RESTRICT")).parse(rest)?;
    Ok((rest, Stmt::DropIndex { name, if_exists }))
}
