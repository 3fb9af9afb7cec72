//! SHOW and DESCRIBE: short words for queries on system tables.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use nom::multi::separated_list1;
use nom::sequence::preceded;
use sqlparser::tokenizer::Token;

use super::input::{Parsed, Tokens, refuse};
use super::terminal::{name, object, symbol, word};
use crate::diag::{Diag, Span, SqlState};
use crate::session::{Parameter, SessionStatement};
use crate::statement::{Name, Show, Stmt};
use crate::suggest;

const NOUNS: &[&str] =
    &["NAMESPACES", "SCHEMAS", "TABLES", "COLUMNS", "INDEXES", "TOPICS", "USERS", "JOBS", "SETTINGS"];

fn of(input: Tokens<'_>) -> Parsed<'_, Span> {
    alt((word("FROM"), word("IN"))).parse(input)
}

/// `NAMESPACES | SCHEMAS | TABLES [IN ns] | COLUMNS FROM t | INDEXES [FROM t] | CREATE TABLE t | TOPICS | USERS | JOBS | SETTINGS | ALL | setting`
pub(super) fn show(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    for what in ["EXPORT", "VIEWS", "LIVE", "SESSIONS", "CLUSTER", "STATS", "FUNCTIONS", "DATABASES", "GRANTS"] {
        if input.at_words(&[what]) && !matches!(input.peek(1), Some(Token::Period)) {
            return super::not_supported(&format!("SHOW {what}"), input.skip(1).so_far());
        }
    }
    for (words, parameter) in [
        (&["TIME", "ZONE"][..], Parameter::TimeZone),
        (&["TRANSACTION", "ISOLATION", "LEVEL"], Parameter::TransactionIsolation),
    ] {
        if input.at_words(words) {
            return Ok((input.skip(words.len()), Stmt::Session(SessionStatement::Show(parameter))));
        }
    }
    let tables = preceded(word("TABLES"), opt(preceded(of, name("a namespace name"))));
    let columns = preceded((word("COLUMNS"), of), object("a table name"));
    let (rest, show) = alt((
        alt((word("NAMESPACES"), word("SCHEMAS"))).map(|_| Show::Namespaces),
        tables.map(|namespace| Show::Tables { namespace }),
        columns.map(|table| Show::Columns { table }),
        preceded((word("CREATE"), word("TABLE")), object("a table name")).map(|table| Show::CreateTable { table }),
        preceded(word("INDEXES"), opt(preceded(of, object("a table name")))).map(|table| Show::Indexes { table }),
        word("TOPICS").map(|_| Show::Topics),
        word("USERS").map(|_| Show::Users),
        word("JOBS").map(|_| Show::Jobs),
        alt((word("SETTINGS"), word("ALL"))).map(|_| Show::Settings),
        setting.map(|name| Show::Setting { name }),
    ))
    .parse(input)?;
    if rest.at_words(&["LIKE"]) || rest.at_words(&["WHERE"]) {
        return refuse(
            Diag::not_supported("a filter in SHOW")
                .hint("Query the system table: SELECT ... FROM system.tables WHERE ...")
                .at(rest.here()),
        );
    }
    Ok((rest, Stmt::Show(show)))
}

fn setting(input: Tokens<'_>) -> Parsed<'_, Name> {
    if input.at_words(&["COLUMNS"]) {
        return input.mismatch("a setting's name");
    }
    let (rest, parts) = separated_list1(symbol(Token::Period, "\".\""), name("a setting's name")).parse(input)?;
    let span = input.span_to(&rest);
    let value = parts.iter().map(|part| part.value.as_str()).collect::<Vec<_>>().join(".");
    if let ([one], Some(best)) = (parts.as_slice(), suggest::nearest(&value, NOUNS.iter().copied()).first())
        && strsim::damerau_levenshtein(&one.value.to_ascii_uppercase(), best) <= 2
    {
        let diag =
            Diag::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{value}\": SHOW knows no such list"))
                .at(span);
        return refuse(suggest::with_nearest(diag, &value, NOUNS.iter().copied()));
    }
    Ok((rest, Name { value, span }))
}

/// `[TABLE] t`
pub(super) fn describe(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, table)) = (opt(word("TABLE")), object("a table name")).parse(input)?;
    Ok((rest, Stmt::Show(Show::Columns { table })))
}
