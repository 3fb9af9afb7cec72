//! SELECT, INSERT, UPDATE and DELETE, alone or under EXECUTE AS: islands of sqlparser.

use nom::Parser;
use nom::combinator::opt;
use sqlparser::ast::{self, SetExpr};
use sqlparser::parser::Parser as SqlParser;
use sqlparser::tokenizer::Token;

use super::input::{Parsed, Tokens, refuse};
use super::not_supported;
use super::terminal::{close, end, island, open, text, word};
use crate::diag::{Diag, SqlState};
use crate::lexer::stray_string;
use crate::limits;
use crate::statement::Stmt;

/// One statement that sqlparser reads whole.
pub(super) fn plain(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    refuse_streaming(&input)?;
    refuse_strings_as_names(&input)?;
    refuse_clauses(&input)?;
    let (rest, statement) = island(input, input.end, SqlParser::parse_statement)?;
    let statement = match statement {
        ast::Statement::Query(mut query) => match change_behind_with(&mut query) {
            None => Stmt::Query(query),
            Some((with, change)) => match plain_change(change) {
                Some(inner) => Stmt::With { with, inner: Box::new(inner) },
                None => return not_supported("this statement behind WITH", input.span_to(&rest)),
            },
        },
        change => match plain_change(change) {
            Some(change) => change,
            None => return not_supported("this statement", input.span_to(&rest)),
        },
    };
    Ok((rest, statement))
}

fn plain_change(statement: ast::Statement) -> Option<Stmt> {
    match statement {
        ast::Statement::Insert(insert) => Some(Stmt::Insert(Box::new(insert))),
        ast::Statement::Update(update) => Some(Stmt::Update(Box::new(update))),
        ast::Statement::Delete(delete) => Some(Stmt::Delete(Box::new(delete))),
        _ => None,
    }
}

/// `WITH ... INSERT|UPDATE|DELETE`, which sqlparser reads as a query whose body is the change.
fn change_behind_with(query: &mut ast::Query) -> Option<(Box<ast::With>, ast::Statement)> {
    let is_change = matches!(*query.body, SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_));
    let alone = query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none();
    if !is_change || !alone {
        return None;
    }
    let with = query.with.take()?;
    let nothing = SetExpr::Values(ast::Values { explicit_row: false, value_keyword: false, rows: Vec::new() });
    match std::mem::replace(&mut *query.body, nothing) {
        SetExpr::Insert(change) | SetExpr::Update(change) | SetExpr::Delete(change) => Some((Box::new(with), change)),
        _ => None,
    }
}

/// `EMIT CHANGES|FINAL`, `WINDOW TUMBLING|HOPPING|SESSION (` and `WITHIN n` are the dialect's, and not there yet.
pub(super) fn refuse_streaming(input: &Tokens<'_>) -> Result<(), nom::Err<super::input::Stop>> {
    let mut at = *input;
    while !at.is_empty() {
        let found = if at.at_words(&["EMIT", "CHANGES"]) {
            Some("EMIT CHANGES")
        } else if at.at_words(&["EMIT", "FINAL"]) {
            Some("EMIT FINAL")
        } else if at.at_words(&["WINDOW"])
            && ["TUMBLING", "HOPPING", "SESSION"].iter().any(|kind| at.skip(1).at_words(&[kind]))
            && at.peek(2) == Some(&Token::LParen)
        {
            Some("WINDOW")
        } else {
            None
        };
        if let Some(construct) = found {
            return not_supported::<()>(construct, at.lexed.span_of(at.start, at.start + 2)).map(|_| ());
        }
        at = at.skip(1);
    }
    Ok(())
}

/// `AS 'x'` and `FROM table 'x'`, which sqlparser takes for names.
fn refuse_strings_as_names(input: &Tokens<'_>) -> Result<(), nom::Err<super::input::Stop>> {
    let mut at = *input;
    // Whether what is open is a query: the FROM of extract(... FROM ...) stands before an expression.
    let mut queries = vec![false];
    while let Some(token) = at.peek(0) {
        match token {
            Token::LParen => queries.push(false),
            Token::RParen => {
                queries.pop();
            }
            Token::Word(_) => {
                let is_query = ["SELECT", "DELETE", "UPDATE"].iter().any(|known| at.at_words(&[known]));
                if let Some(top) = queries.last_mut().filter(|_| is_query) {
                    *top = true;
                }
                if let Some(ahead) = string_as_name(&at, queries.last() == Some(&true)) {
                    return refuse::<()>(stray_string(at.lexed, at.start + ahead, at.end)).map(|_| ());
                }
            }
            _ => {}
        }
        at = at.skip(1);
    }
    Ok(())
}

/// Clauses that sqlparser reads and this dialect has not, where they stand.
fn refuse_clauses(input: &Tokens<'_>) -> Result<(), nom::Err<super::input::Stop>> {
    let changes = input.at_words(&["UPDATE"]) || input.at_words(&["DELETE"]);
    let (mut at, mut depth) = (*input, 0_usize);
    let mut before: Option<&Token> = None;
    while let Some(token) = at.peek(0) {
        depth = match token {
            Token::LParen => depth + 1,
            Token::RParen => depth.saturating_sub(1),
            _ => depth,
        };
        let is_name = match before {
            Some(Token::Period) => true,
            Some(Token::Word(word)) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case("as"),
            _ => false,
        };
        let words = |known: &[&str]| !is_name && at.at_words(known);
        let locks = [&["FOR", "UPDATE"][..], &["FOR", "SHARE"], &["FOR", "NO", "KEY"], &["FOR", "KEY", "SHARE"]];
        let found = if locks.iter().any(|lock| words(lock)) {
            let hint = "Transactions are SERIALIZABLE: one whose reads another has changed fails, to be tried again.";
            Some(("FOR UPDATE or FOR SHARE", 2, hint))
        } else if words(&["GROUP", "BY", "ALL"]) {
            Some(("GROUP BY ALL", 3, "Name the columns."))
        } else if words(&["ON", "DUPLICATE", "KEY"]) {
            Some(("ON DUPLICATE KEY", 3, "Write ON CONFLICT (key) DO UPDATE SET ..."))
        } else if words(&["QUALIFY"]) && at.peek(2) == Some(&Token::LParen) {
            Some(("QUALIFY", 1, "Select the window function in FROM, and put the condition into WHERE."))
        } else if words(&["INTO"])
            && !matches!(before, Some(Token::Word(word)) if word.value.eq_ignore_ascii_case("insert"))
        {
            Some(("SELECT INTO", 1, "Write CREATE TABLE ... AS SELECT, or INSERT INTO ... SELECT."))
        } else if changes && depth == 0 && words(&["LIMIT"]) {
            let what = if input.at_words(&["UPDATE"]) { "LIMIT in UPDATE" } else { "LIMIT in DELETE" };
            Some((what, 1, "Choose the rows in WHERE: key IN (SELECT key ... LIMIT n)."))
        } else {
            None
        };
        if let Some((what, width, hint)) = found {
            let span = at.lexed.span_of(at.start, at.start + width);
            return refuse::<()>(Diag::not_supported(what).hint(hint).at(span)).map(|_| ());
        }
        before = Some(token);
        at = at.skip(1);
    }
    Ok(())
}

/// How far ahead a string stands where a name should.
fn string_as_name(at: &Tokens<'_>, in_query: bool) -> Option<usize> {
    let string = |ahead: usize| matches!(at.peek(ahead), Some(Token::SingleQuotedString(_))).then_some(ahead);
    if at.at_words(&["AS"]) {
        return string(1);
    }
    let behind_table = in_query && (at.at_words(&["FROM"]) || at.at_words(&["JOIN"]));
    match (at.peek(1), at.peek(2)) {
        (Some(Token::Word(_)), Some(Token::Period)) if behind_table => string(4),
        (Some(Token::Word(_)), _) if behind_table => string(2),
        _ => None,
    }
}

/// `EXECUTE AS [USER] 'u' ( statement )`
pub(super) fn execute_as(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    if input.peek_word(1).is_some_and(|word| !word.eq_ignore_ascii_case("AS"))
        && !input.at_words(&["EXECUTE", "IMMEDIATE"])
    {
        let prepared = !matches!(input.peek(2), Some(Token::SingleQuotedString(_)));
        if prepared {
            return refuse(
                Diag::not_supported("EXECUTE of a prepared statement")
                    .hint("Send parameters with the statement: $1, $2 ...")
                    .at(input.skip(2).so_far()),
            );
        }
    }
    let (rest, (_, _, _, user)) =
        (word("EXECUTE"), word("AS"), opt(word("USER")), text("a user name in quotes")).parse(input)?;
    if user.value.is_empty() || user.value.len() > limits::MAX_USER_NAME_BYTES {
        return refuse(
            Diag::new(SqlState::INVALID_NAME, format!("a user name has 1 to {} bytes", limits::MAX_USER_NAME_BYTES))
                .at(user.span),
        );
    }
    let (inside, _) = open(rest)?;
    let closing = inside.find_at_level(|_| false);
    let body = inside.until(closing);
    let known = ["SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE"];
    let Some(first) = body.peek_word(0) else {
        return body.mismatch("SELECT, INSERT, UPDATE or DELETE");
    };
    if !known.iter().any(|word| first.eq_ignore_ascii_case(word)) {
        return refuse(
            Diag::not_supported(format_args!("{} under EXECUTE AS", first.to_ascii_uppercase()))
                .hint("EXECUTE AS takes SELECT, INSERT, UPDATE and DELETE on USER and STREAM tables.")
                .at(body.here()),
        );
    }
    let (left, inner) = plain(body)?;
    let (_, ()) = end(left)?;
    let after = Tokens { start: closing, ..inside };
    let (rest, _) = close(after)?;
    Ok((rest, Stmt::ExecuteAs { user, inner: Box::new(inner) }))
}

/// `EXPLAIN [ANALYZE] statement`, `EXPLAIN ( ANALYZE [boolean], FORMAT TEXT|JSON, ... ) statement`
pub(super) fn explain(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (mut rest, _) = word("EXPLAIN")(input)?;
    let (mut analyze, mut json) = (false, false);
    let is_query = |at: &Tokens<'_>| ["SELECT", "WITH", "VALUES"].iter().any(|known| at.at_words(&[known]));
    if rest.peek(0) == Some(&Token::LParen) && !is_query(&rest.skip(1)) && rest.peek(1) != Some(&Token::LParen) {
        (rest, _) = open(rest)?;
        loop {
            if rest.at_words(&["ANALYZE"]) {
                rest = rest.skip(1);
                analyze = !rest.at_words(&["FALSE"]) && !rest.at_words(&["OFF"]);
                if ["TRUE", "FALSE", "ON", "OFF"].iter().any(|known| rest.at_words(&[known])) {
                    rest = rest.skip(1);
                }
            } else if rest.at_words(&["FORMAT", "JSON"]) || rest.at_words(&["FORMAT", "TEXT"]) {
                json = rest.at_words(&["FORMAT", "JSON"]);
                rest = rest.skip(2);
            } else {
                return rest.mismatch("ANALYZE, FORMAT TEXT or FORMAT JSON");
            }
            if rest.peek(0) != Some(&Token::Comma) {
                break;
            }
            rest = rest.skip(1);
        }
        (rest, _) = close(rest)?;
    } else if rest.at_words(&["ANALYZE"]) {
        analyze = true;
        rest = rest.skip(1);
    }
    let known = ["SELECT", "WITH", "VALUES", "INSERT", "UPDATE", "DELETE"];
    let is_known = known.iter().any(|word| rest.at_words(&[word])) || rest.peek(0) == Some(&Token::LParen);
    if !is_known {
        return rest.mismatch("SELECT, INSERT, UPDATE or DELETE");
    }
    let begin = rest;
    let (rest, inner) = plain(rest)?;
    Ok((rest, Stmt::Explain { analyze, json, inner: Box::new(inner), span: begin.span_to(&rest) }))
}
