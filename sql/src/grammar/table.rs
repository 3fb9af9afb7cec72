//! CREATE and DROP TABLE.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use nom::multi::separated_list1;
use nom::sequence::preceded;
use sqlparser::parser::Parser as SqlParser;
use sqlparser::tokenizer::Token;

use super::input::{Parsed, Tokens, refuse};
use super::not_supported;
use super::terminal::{
    close, column_list, comma, data_type, expression_until, if_exists, if_not_exists, island, name, object, open,
    twice, with_options, word, words,
};
use crate::catalog::TableKind;
use crate::diag::{Diag, Span};
use crate::statement::{ColumnConstraint, ColumnSpec, CreateTable, CreateTableAs, Fragment, Name, Stmt, TableElement};

pub(super) fn kind(input: Tokens<'_>) -> Parsed<'_, (TableKind, Span)> {
    alt((
        word("USER").map(|span| (TableKind::User, span)),
        word("SHARED").map(|span| (TableKind::Shared, span)),
        word("STREAM").map(|span| (TableKind::Stream, span)),
    ))
    .parse(input)
}

/// `[USER|SHARED|STREAM] TABLE [IF NOT EXISTS] name ( element, ... ) [PARTITION BY (...)] [WITH (...)]`
pub(super) fn create(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (kind, _, if_not_exists, name)) =
        (opt(kind), word("TABLE"), if_not_exists, object("a table name")).parse(input)?;
    let query = rest.find_at_level(|at| at.at_words(&["AS"]));
    if query < rest.end {
        let table = CreateTable {
            kind,
            if_not_exists,
            name,
            elements: Vec::new(),
            elements_span: rest.here(),
            partition_by: None,
            options: Vec::new(),
        };
        return from_query(rest, query, table);
    }
    let list_start = rest;
    let (rest, _) = open(rest)?;
    let (rest, elements) = separated_list1(comma, element).parse(rest)?;
    let (rest, _) = close(rest)?;
    let elements_span = list_start.span_to(&rest);
    let mut table =
        CreateTable { kind, if_not_exists, name, elements, elements_span, partition_by: None, options: Vec::new() };
    let rest = tail(rest, &mut table)?;
    Ok((rest, Stmt::CreateTable(Box::new(table))))
}

/// `[(column, ...)] [PRIMARY KEY (...)] [PARTITION BY (...)] [WITH (...)] AS query [WITH [NO] DATA]`
fn from_query(input: Tokens<'_>, query: usize, mut table: CreateTable) -> Parsed<'_, Stmt> {
    let (rest, columns) = opt(column_list).map(Option::unwrap_or_default).parse(input)?;
    let (rest, key) = opt(preceded(words(&["PRIMARY", "KEY"]), column_list)).parse(rest)?;
    let rest = if rest.start < query { tail(rest, &mut table)? } else { rest };
    let (rest, _) = word("AS")(rest)?;
    let all = rest.end;
    let behind = |words: &[&str]| {
        all.checked_sub(words.len()).is_some_and(|at| at > rest.start && Tokens { start: at, ..rest }.at_words(words))
    };
    let (end, with_data) = if behind(&["WITH", "NO", "DATA"]) {
        (all.saturating_sub(3), false)
    } else if behind(&["WITH", "DATA"]) {
        (all.saturating_sub(2), true)
    } else {
        (all, true)
    };
    super::dml::refuse_streaming(&rest)?;
    let (left, query) = island(rest, end, SqlParser::parse_query)?;
    let left = if left.start == end { Tokens { start: all, ..left } } else { left };
    let stmt = CreateTableAs { table, columns, key, query, with_data };
    Ok((left, Stmt::CreateTableAs(Box::new(stmt))))
}

fn tail<'a>(mut rest: Tokens<'a>, table: &mut CreateTable) -> Result<Tokens<'a>, nom::Err<super::input::Stop>> {
    loop {
        for unsupported in ["INHERITS", "TABLESPACE", "ON", "USING", "ENGINE", "COMMENT", "CLUSTER"] {
            if rest.at_words(&[unsupported]) {
                return not_supported(&format!("{unsupported} in CREATE TABLE"), rest.here()).map(|(rest, ())| rest);
            }
        }
        let before = rest;
        let partition;
        (rest, partition) = opt(preceded(words(&["PARTITION", "BY"]), column_list)).parse(rest)?;
        if let Some(columns) = partition {
            if table.partition_by.replace(columns).is_some() {
                return twice("PARTITION BY", before.here()).map(|(rest, ())| rest);
            }
            continue;
        }
        let options;
        (rest, options) = with_options(rest)?;
        if options.is_empty() {
            return Ok(rest);
        }
        if !table.options.is_empty() {
            return twice("WITH", before.here()).map(|(rest, ())| rest);
        }
        table.options = options;
    }
}

fn element(input: Tokens<'_>) -> Parsed<'_, TableElement> {
    for (start, what) in [
        (&["FOREIGN", "KEY"][..], "a FOREIGN KEY constraint"),
        (&["EXCLUDE"], "an EXCLUDE constraint"),
        (&["LIKE"], "LIKE in CREATE TABLE"),
    ] {
        let behind_name = if input.at_words(&["CONSTRAINT"]) { input.skip(2) } else { input };
        if behind_name.at_words(start) && (start.len() > 1 || is_constraint(&behind_name)) {
            return refuse(unenforced(what, behind_name.here()));
        }
    }
    if is_table_constraint(&input) {
        return table_constraint(input);
    }
    column(input).map(|(rest, column)| (rest, TableElement::Column(column)))
}

/// A word that could be a column's name is a constraint when a parenthesis or `USING` follows.
fn is_constraint(input: &Tokens<'_>) -> bool {
    matches!(input.peek(1), Some(Token::LParen)) || input.at_words(&["LIKE"]) || input.at_words(&["EXCLUDE", "USING"])
}

fn unenforced(what: &str, span: Span) -> Diag {
    Diag::not_supported(what).hint("What is not enforced is refused; check it in the application.").at(span)
}

pub(super) fn is_table_constraint(input: &Tokens<'_>) -> bool {
    input.at_words(&["CONSTRAINT"])
        || input.at_words(&["PRIMARY", "KEY"])
        || ((input.at_words(&["CHECK"]) || input.at_words(&["UNIQUE"])) && input.peek(1) == Some(&Token::LParen))
}

fn constraint_name(input: Tokens<'_>) -> Parsed<'_, Option<Name>> {
    opt(preceded(word("CONSTRAINT"), name("a constraint name"))).parse(input)
}

pub(super) fn table_constraint(input: Tokens<'_>) -> Parsed<'_, TableElement> {
    let (rest, given) = constraint_name(input)?;
    let (rest, element) = alt((
        (words(&["PRIMARY", "KEY"]), column_list).map(|(span, columns)| TableElement::PrimaryKey { columns, span }),
        (word("UNIQUE"), column_list).map(|(span, columns)| TableElement::Unique { name: None, columns, span }),
        check.map(|condition| TableElement::Check { name: None, condition }),
    ))
    .parse(rest)?;
    match element {
        TableElement::Check { condition, .. } => Ok((rest, TableElement::Check { name: given, condition })),
        TableElement::Unique { columns, span, .. } => Ok((rest, TableElement::Unique { name: given, columns, span })),
        other => Ok((rest, other)),
    }
}

/// `CHECK ( condition )`
fn check(input: Tokens<'_>) -> Parsed<'_, Fragment> {
    let (rest, _) = word("CHECK")(input)?;
    let (rest, _) = open(rest)?;
    let end = rest.find_at_level(|_| false);
    let (rest, condition) = expression_until(rest, end)?;
    let (rest, _) = close(rest)?;
    Ok((rest, condition))
}

pub(super) fn column(input: Tokens<'_>) -> Parsed<'_, ColumnSpec> {
    let end = input.find_at_level(|at| at.peek(0) == Some(&Token::Comma));
    let (rest, name) = name("a column name")(input)?;
    let (mut rest, (data_type, type_span)) = data_type(rest, end)?;
    let mut constraints = Vec::new();
    while rest.start < end {
        let constraint;
        (rest, constraint) = column_constraint(rest, end)?;
        constraints.push(constraint);
    }
    Ok((rest, ColumnSpec { name, data_type, type_span, constraints }))
}

fn column_constraint(input: Tokens<'_>, end: usize) -> Parsed<'_, ColumnConstraint> {
    let behind_name = if input.at_words(&["CONSTRAINT"]) { input.skip(2) } else { input };
    for (word, what) in [
        ("REFERENCES", "REFERENCES (a foreign key)"),
        ("GENERATED", "a GENERATED column"),
        ("COLLATE", "COLLATE"),
        ("AUTO_INCREMENT", "AUTO_INCREMENT"),
        ("AUTOINCREMENT", "AUTOINCREMENT"),
        ("IDENTITY", "IDENTITY"),
        ("COMMENT", "COMMENT on a column"),
        ("STORAGE", "STORAGE"),
        ("COMPRESSION", "COMPRESSION"),
    ] {
        if behind_name.at_words(&[word]) {
            let diag = match word {
                "REFERENCES" => unenforced(what, behind_name.here()),
                "GENERATED" | "AUTO_INCREMENT" | "AUTOINCREMENT" | "IDENTITY" => Diag::not_supported(what)
                    .hint("Type SERIAL or BIGSERIAL numbers the rows; DEFAULT SNOWFLAKE_ID() gives rising unique numbers.")
                    .at(behind_name.here()),
                _ => Diag::not_supported(what).at(behind_name.here()),
            };
            return refuse(diag);
        }
    }
    let (rest, given) = constraint_name(input)?;
    let (rest, constraint) = alt((
        words(&["NOT", "NULL"]).map(ColumnConstraint::NotNull),
        word("NULL").map(ColumnConstraint::Null),
        words(&["PRIMARY", "KEY"]).map(ColumnConstraint::PrimaryKey),
        word("UNIQUE").map(|span| ColumnConstraint::Unique { name: None, span }),
        (|input| default(input, end)).map(ColumnConstraint::Default),
        check.map(|condition| ColumnConstraint::Check { name: None, condition }),
        end_of_column.map(ColumnConstraint::Null),
    ))
    .parse(rest)?;
    match (constraint, given) {
        (ColumnConstraint::Check { condition, .. }, name) => Ok((rest, ColumnConstraint::Check { name, condition })),
        (ColumnConstraint::Unique { span, .. }, name) => Ok((rest, ColumnConstraint::Unique { name, span })),
        (other, None | Some(_)) => Ok((rest, other)),
    }
}

/// Never matches: notes that the list may go on or end here.
fn end_of_column(input: Tokens<'_>) -> Parsed<'_, Span> {
    input.wanted("\",\"");
    input.mismatch("\")\"")
}

/// `DEFAULT expression`, which ends before the next constraint's word.
fn default(input: Tokens<'_>, end: usize) -> Parsed<'_, Fragment> {
    let (rest, _) = word("DEFAULT")(input)?;
    if rest.start >= end {
        return rest.mismatch("an expression");
    }
    let first = rest.start;
    let mut behind_is = false;
    let limit = rest.until(end).find_at_level(|at| {
        let constraint = at.start > first
            && ((at.at_words(&["NOT", "NULL"]) && !behind_is)
                || at.at_words(&["PRIMARY", "KEY"])
                || at.at_words(&["CHECK"])
                || at.at_words(&["CONSTRAINT"])
                || at.at_words(&["UNIQUE"])
                || at.at_words(&["REFERENCES"])
                || at.at_words(&["DEFAULT"])
                || at.at_words(&["COLLATE"]));
        behind_is = at.at_words(&["IS"]);
        constraint
    });
    expression_until(rest, limit)
}

/// `[TABLE] name [CONTINUE IDENTITY] [RESTRICT]`
pub(super) fn truncate(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, name)) = (opt(word("TABLE")), object("a table name")).parse(input)?;
    if rest.peek(0) == Some(&Token::Comma) {
        return not_supported("TRUNCATE of several tables", rest.here());
    }
    for unsupported in [&["RESTART", "IDENTITY"][..], &["CASCADE"]] {
        if rest.at_words(unsupported) {
            return not_supported(&format!("TRUNCATE ... {}", unsupported.join(" ")), rest.here());
        }
    }
    let (rest, _) = opt(words(&["CONTINUE", "IDENTITY"])).parse(rest)?;
    let (rest, _) = opt(word("RESTRICT")).parse(rest)?;
    Ok((rest, Stmt::Truncate(name)))
}

/// `[USER|SHARED|STREAM] TABLE [IF EXISTS] name [CASCADE|RESTRICT]`
pub(super) fn drop(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, _, if_exists, name)) = (opt(kind), word("TABLE"), if_exists, object("a table name")).parse(input)?;
    if rest.peek(0) == Some(&Token::Comma) {
        return not_supported("DROP TABLE of several tables", rest.here());
    }
    if rest.at_words(&["CASCADE"]) {
        return not_supported("DROP TABLE ... CASCADE", rest.here());
    }
    let (rest, _) = opt(word("RESTRICT")).parse(rest)?;
    Ok((rest, Stmt::DropTable { name, if_exists }))
}
