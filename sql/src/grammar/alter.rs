//! ALTER TABLE and COMMENT ON TABLE.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use sqlparser::tokenizer::Token;

use super::input::{Parsed, Tokens, refuse};
use super::not_supported;
use super::table::{column, is_table_constraint, kind, table_constraint};
use super::terminal::{
    data_type, expression_until, if_exists, if_not_exists, name, object, option_list, text, word, words,
};
use crate::diag::{Diag, SqlState};
use crate::limits;
use crate::statement::{AlterAction, AlterTable, OptionValue, Stmt, WithOption};

/// `[USER|SHARED|STREAM] TABLE name change`
pub(super) fn table(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, _)) = (opt(kind), word("TABLE")).parse(input)?;
    for unsupported in [&["IF", "EXISTS"][..], &["ONLY"]] {
        if rest.at_words(unsupported) {
            return not_supported(&format!("ALTER TABLE {}", unsupported.join(" ")), rest.here());
        }
    }
    let (rest, name) = object("a table name")(rest)?;
    let (mut rest, first) = alt((add, drop, rename, alter_column, set)).parse(rest)?;
    let mut actions = vec![first];
    while rest.peek(0) == Some(&Token::Comma) {
        if actions.len() >= limits::MAX_TABLE_CHANGES {
            let diag = format!("ALTER TABLE has more than {} changes", limits::MAX_TABLE_CHANGES);
            return refuse(Diag::new(SqlState::PROGRAM_LIMIT, diag).at(rest.here()));
        }
        let (behind, action) = alt((add, drop, rename, alter_column, set)).parse(rest.skip(1))?;
        rest = behind;
        actions.push(action);
    }
    Ok((rest, Stmt::AlterTable(Box::new(AlterTable { name, actions }))))
}

fn add(input: Tokens<'_>) -> Parsed<'_, AlterAction> {
    let (rest, _) = word("ADD")(input)?;
    if is_table_constraint(&rest) {
        return table_constraint(rest).map(|(rest, element)| (rest, AlterAction::AddConstraint(element)));
    }
    for (first, what) in [("FOREIGN", "a FOREIGN KEY constraint"), ("EXCLUDE", "an EXCLUDE constraint")] {
        if rest.at_words(&[first]) {
            return not_supported(what, rest.here());
        }
    }
    let (rest, (_, if_not_exists)) = (opt(word("COLUMN")), if_not_exists).parse(rest)?;
    let (rest, column) = column(rest)?;
    Ok((rest, AlterAction::AddColumn { column, if_not_exists }))
}

fn drop(input: Tokens<'_>) -> Parsed<'_, AlterAction> {
    let (rest, _) = word("DROP")(input)?;
    let (rest, constraint) = opt(word("CONSTRAINT")).parse(rest)?;
    let (rest, _) = if constraint.is_some() { (rest, None) } else { opt(word("COLUMN")).parse(rest)? };
    let (rest, if_exists) = if_exists(rest)?;
    let (rest, name) = name(if constraint.is_some() { "a constraint name" } else { "a column name" })(rest)?;
    if rest.at_words(&["CASCADE"]) {
        return not_supported("CASCADE in ALTER TABLE", rest.here());
    }
    let (rest, _) = opt(word("RESTRICT")).parse(rest)?;
    Ok((
        rest,
        if constraint.is_some() {
            AlterAction::DropConstraint { name, if_exists }
        } else {
            AlterAction::DropColumn { column: name, if_exists }
        },
    ))
}

fn rename(input: Tokens<'_>) -> Parsed<'_, AlterAction> {
    let (rest, _) = word("RENAME")(input)?;
    if rest.at_words(&["CONSTRAINT"]) {
        return not_supported("RENAME CONSTRAINT", rest.here());
    }
    if rest.at_words(&["TO"]) {
        return (word("TO"), name("a table name")).map(|(_, to)| AlterAction::RenameTable { to }).parse(rest);
    }
    (opt(word("COLUMN")), name("a column name"), word("TO"), name("a column name"))
        .map(|(_, column, _, to)| AlterAction::RenameColumn { column, to })
        .parse(rest)
}

fn alter_column(input: Tokens<'_>) -> Parsed<'_, AlterAction> {
    let (rest, (_, _, column)) = (word("ALTER"), opt(word("COLUMN")), name("a column name")).parse(input)?;
    if rest.at_words(&["SET", "DEFAULT"]) {
        let rest = rest.skip(2);
        let end = rest.find_at_level(|at| at.peek(0) == Some(&Token::Comma));
        let (rest, default) = expression_until(rest, end)?;
        return Ok((rest, AlterAction::SetDefault { column, default }));
    }
    for (begin, done) in [
        (&["DROP", "DEFAULT"][..], AlterAction::DropDefault { column: column.clone() }),
        (&["SET", "NOT", "NULL"], AlterAction::SetNotNull { column: column.clone() }),
        (&["DROP", "NOT", "NULL"], AlterAction::DropNotNull { column: column.clone() }),
    ] {
        if rest.at_words(begin) {
            return Ok((rest.skip(begin.len()), done));
        }
    }
    let (rest, _) = alt((words(&["SET", "DATA", "TYPE"]), word("TYPE"))).parse(rest)?;
    let end = rest.find_at_level(|at| at.peek(0) == Some(&Token::Comma) || at.at_words(&["USING"]));
    let (rest, (data_type, type_span)) = data_type(rest, end)?;
    if rest.at_words(&["USING"]) {
        return refuse(
            Diag::not_supported("USING in ALTER COLUMN ... TYPE")
                .hint("Add a column of the new type, UPDATE it, and drop the old one.")
                .at(rest.here()),
        );
    }
    Ok((rest, AlterAction::SetType { column, data_type, type_span }))
}

/// `SET ( option = value, ... )`, or `SET ACCESS LEVEL word`
fn set(input: Tokens<'_>) -> Parsed<'_, AlterAction> {
    let (rest, _) = word("SET")(input)?;
    if rest.at_words(&["ACCESS", "LEVEL"]) {
        let start = rest;
        let (rest, level) = name("an access level")(rest.skip(2))?;
        let mut option = level.clone();
        option.value = "access_level".to_owned();
        let span = start.span_to(&rest);
        let given = WithOption { name: option, value: OptionValue::Word(level.value), span };
        return Ok((rest, AlterAction::SetOptions(vec![given])));
    }
    option_list(rest).map(|(rest, options)| (rest, AlterAction::SetOptions(options)))
}

/// `ON TABLE name IS 'text' | NULL`
pub(super) fn comment(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, _) = word("ON")(input)?;
    if !rest.at_words(&["TABLE"]) {
        return not_supported("COMMENT on anything but a table", rest.here());
    }
    let (rest, (_, name, _)) = (word("TABLE"), object("a table name"), word("IS")).parse(rest)?;
    let (rest, comment) = alt((word("NULL").map(|_| None), text("a text").map(|text| Some(text.value)))).parse(rest)?;
    Ok((rest, Stmt::CommentOnTable { name, comment }))
}
