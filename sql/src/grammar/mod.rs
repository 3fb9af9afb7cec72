//! The grammar of statements: our own over the token slice, sqlparser's for queries, expressions and types inside them.
//!
//! The first words decide the statement; from there each statement is one function. A statement that SQL or this dialect
//! knows and this server does not have is refused by name (0A000), a word that nobody knows is a syntax error with the
//! nearest known words.

pub(crate) mod input;
pub(crate) mod terminal;

mod alter;
mod cluster;
mod dml;
mod index;
mod misspelt;
mod namespace;
mod session;
mod show;
mod table;
mod topic;
mod user;

use std::cell::RefCell;

use nom::Parser;
use nom::branch::alt;
use sqlparser::tokenizer::Token;

use crate::diag::{Diag, Span};
use crate::lexer::{Lexed, Wanted, syntax_error};
use crate::statement::Stmt;
use crate::suggest;
use input::{Furthest, Parsed, Tokens, refuse};
use terminal::end;

/// First words that have a grammar here.
const STATEMENTS: &[&str] = &[
    "ABORT",
    "ACK",
    "ALTER",
    "BEGIN",
    "CLEAR",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "CONSUME",
    "CREATE",
    "DELETE",
    "DESCRIBE",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "INSERT",
    "RELEASE",
    "RESET",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TRUNCATE",
    "UPDATE",
    "VALUES",
    "WITH",
];

/// First words of statements that are known and not supported, with what to do instead where there is something.
const NOT_SUPPORTED: &[(&str, &str)] = &[
    ("ANALYZE", ""),
    ("BACKUP", ""),
    ("CALL", ""),
    ("CHECKPOINT", ""),
    ("CLOSE", ""),
    ("COPY", "INSERT takes many rows at once."),
    ("DEALLOCATE", ""),
    ("DECLARE", ""),
    ("DISCARD", ""),
    ("DO", ""),
    ("EXPORT", ""),
    ("FETCH", ""),
    ("GRANT", "Rights follow from roles: ALTER USER u SET ROLE r."),
    ("IMPORT", ""),
    ("KILL", ""),
    ("LISTEN", "CONSUME FROM reads a topic."),
    ("LOCK", ""),
    ("MERGE", ""),
    ("NOTIFY", ""),
    ("PREPARE", "Send parameters with the statement: $1, $2 ..."),
    ("REFRESH", ""),
    ("REINDEX", ""),
    ("RESTORE", ""),
    ("REVOKE", "Rights follow from roles: ALTER USER u SET ROLE r."),
    ("SUBSCRIBE", ""),
    ("TABLE", "Write SELECT * FROM."),
    ("UNLISTEN", ""),
    ("USE", "Write namespace.name, or send the namespace with the request."),
    ("VACUUM", ""),
];

/// Parses the tokens `start..end`, one statement.
pub(crate) fn statement(lexed: &Lexed<'_>, start: usize, end: usize) -> Result<Stmt, Diag> {
    let furthest = RefCell::new(Furthest { index: start, ..Furthest::default() });
    let input = Tokens { lexed, first: start, start, end, furthest: &furthest };
    match one(input) {
        Ok((_, statement)) => Ok(statement),
        Err(nom::Err::Error(stop) | nom::Err::Failure(stop)) => {
            let whole = lexed.span_of(start, end);
            Err(match stop.0 {
                Some(diag) => misspelt::explained(lexed, start, end, diag.at(whole)),
                None => misspelt::explained(lexed, start, end, unexpected(lexed, end, &furthest.borrow())),
            })
        }
        Err(nom::Err::Incomplete(_)) => Err(unexpected(lexed, end, &furthest.borrow())),
    }
}

/// What the grammar would take after the tokens `start..end`: words in capitals, and phrases such as "a topic name". Empty
/// inside of queries and expressions, and after what is wrong already.
pub(crate) fn expected_after(lexed: &Lexed<'_>, start: usize, end: usize) -> Vec<&'static str> {
    if start >= end {
        return STATEMENTS.to_vec();
    }
    let furthest = RefCell::new(Furthest { index: start, ..Furthest::default() });
    let _outcome = one(Tokens { lexed, first: start, start, end, furthest: &furthest });
    let furthest = furthest.into_inner();
    if furthest.index < end { Vec::new() } else { furthest.expected.into_iter().collect() }
}

/// The syntax error of the furthest failure.
fn unexpected(lexed: &Lexed<'_>, end: usize, furthest: &Furthest) -> Diag {
    let expected: Vec<&str> = furthest.expected.iter().copied().collect();
    let listed = match expected.as_slice() {
        [] => "something else".to_owned(),
        [one] => (*one).to_owned(),
        [first, second] => format!("{first} or {second}"),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    };
    let diag = syntax_error(lexed, furthest.index, end, Wanted::Expected(&listed));
    if furthest.index >= end {
        return diag;
    }
    let found = lexed.text_of(furthest.index, furthest.index + 1);
    let keywords = expected.iter().copied().filter(|word| word.bytes().all(|byte| byte.is_ascii_uppercase()));
    suggest::with_nearest(diag, found, keywords)
}

fn one(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let Some(first) = input.peek_word(0).map(str::to_ascii_uppercase) else {
        return match input.peek(0) {
            Some(Token::LParen) => {
                let (rest, statement) = dml::plain(input)?;
                let (rest, ()) = end(rest)?;
                Ok((rest, statement))
            }
            _ => refuse(no_statement(&input)),
        };
    };
    let (rest, statement) = match first.as_str() {
        "CREATE" => create(input.skip(1))?,
        "ALTER" => alter(input.skip(1))?,
        "DROP" => drop(input.skip(1))?,
        "CONSUME" => topic::consume(input.skip(1))?,
        "ACK" => topic::ack(input.skip(1))?,
        "CLEAR" => topic::clear(input.skip(1))?,
        "CLUSTER" => cluster::cluster(input.skip(1))?,
        "SHOW" => show::show(input.skip(1))?,
        "DESCRIBE" | "DESC" => show::describe(input.skip(1))?,
        "TRUNCATE" => table::truncate(input.skip(1))?,
        "COMMENT" => alter::comment(input.skip(1))?,
        "BEGIN" => session::begin(input.skip(1))?,
        "START" => session::start(input.skip(1))?,
        "COMMIT" | "END" => session::commit(input.skip(1))?,
        "ROLLBACK" | "ABORT" => session::rollback(input.skip(1))?,
        "SAVEPOINT" => session::savepoint(input.skip(1))?,
        "RELEASE" => session::release(input.skip(1))?,
        "SET" => session::set(input.skip(1))?,
        "RESET" => session::reset(input.skip(1))?,
        "EXECUTE" => dml::execute_as(input)?,
        "EXPLAIN" => dml::explain(input)?,
        "SELECT" | "WITH" | "VALUES" | "INSERT" | "UPDATE" | "DELETE" => dml::plain(input)?,
        _ => return refuse(unknown_statement(&input, &first)),
    };
    let (rest, ()) = end(rest)?;
    Ok((rest, statement))
}

fn no_statement(input: &Tokens<'_>) -> Diag {
    syntax_error(input.lexed, input.start, input.end, Wanted::Expected("a statement"))
}

fn unknown_statement(input: &Tokens<'_>, first: &str) -> Diag {
    if let Some((word, hint)) = NOT_SUPPORTED.iter().find(|(word, _)| *word == first) {
        let diag = Diag::not_supported(word).at(input.here());
        return if hint.is_empty() { diag } else { diag.hint(*hint) };
    }
    let known = STATEMENTS.iter().copied().chain(NOT_SUPPORTED.iter().map(|(word, _)| *word));
    suggest::with_nearest(no_statement(input), first, known)
}

fn create(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    not_supported_after(
        input,
        "CREATE",
        &[
            &["OR", "REPLACE"],
            &["MATERIALIZED", "VIEW"],
            &["VIEW"],
            &["RECURSIVE"],
            &["TEMPORARY"],
            &["TEMP"],
            &["UNLOGGED"],
            &["FOREIGN"],
            &["GLOBAL"],
            &["LOCAL"],
            &["EXTERNAL"],
            &["VIRTUAL"],
            &["ROLE"],
            &["DATABASE"],
            &["SEQUENCE"],
            &["TYPE"],
            &["DOMAIN"],
            &["FUNCTION"],
            &["PROCEDURE"],
            &["TRIGGER"],
            &["EXTENSION"],
            &["POLICY"],
            &["PUBLICATION"],
            &["SUBSCRIPTION"],
            &["RULE"],
        ],
    )?;
    if input.at_words(&["STREAM"])
        && !input.at_words(&["STREAM", "TABLE"])
        && !matches!(input.peek(1), None | Some(Token::LParen))
    {
        return refuse(
            Diag::not_supported("CREATE STREAM ... AS SELECT")
                .hint("CREATE STREAM TABLE makes a table of events.")
                .at(input.skip(1).so_far()),
        );
    }
    alt((namespace::create, table::create, index::create, topic::create, user::create)).parse(input)
}

fn alter(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    not_supported_after(
        input,
        "ALTER",
        &[
            &["NAMESPACE"],
            &["SCHEMA"],
            &["INDEX"],
            &["VIEW"],
            &["MATERIALIZED"],
            &["DATABASE"],
            &["ROLE"],
            &["SYSTEM"],
            &["SEQUENCE"],
            &["TYPE"],
            &["DEFAULT"],
        ],
    )?;
    alt((alter::table, topic::alter, user::alter)).parse(input)
}

fn drop(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    not_supported_after(
        input,
        "DROP",
        &[
            &["VIEW"],
            &["MATERIALIZED"],
            &["DATABASE"],
            &["ROLE"],
            &["SEQUENCE"],
            &["TYPE"],
            &["FUNCTION"],
            &["PROCEDURE"],
            &["TRIGGER"],
            &["EXTENSION"],
            &["STREAM"],
            &["OWNED"],
        ],
    )?;
    alt((namespace::drop, table::drop, index::drop, topic::drop, user::drop)).parse(input)
}

/// Refuses `verb` followed by one of these rows of words.
fn not_supported_after<'a>(input: Tokens<'a>, verb: &str, rows: &[&[&str]]) -> Result<(), nom::Err<input::Stop>> {
    for row in rows {
        let dropped_kind = verb == "DROP" && *row == ["STREAM"] && input.at_words(&["STREAM", "TABLE"]);
        if input.at_words(row) && !dropped_kind {
            let diag = Diag::not_supported(format_args!("{verb} {}", row.join(" "))).at(input.skip(row.len()).so_far());
            return refuse::<()>(diag).map(|_| ());
        }
    }
    Ok(())
}

/// `construct` is not supported, here.
fn not_supported<'a, T>(construct: &str, span: Span) -> Parsed<'a, T> {
    refuse(Diag::not_supported(construct).at(span))
}
