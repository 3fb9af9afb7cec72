//! Definitions as text: the statements that would make a table as it is now.
//!
//! Names carry no namespace, so that the text makes an equal table in any other one. Pure wording: what a word means, the binder says.

use std::fmt::Write as _;

use sqlparser::tokenizer::Token;

use crate::catalog::{AccessLevel, Column, Index, Table, TableKind};
use crate::lexer::lex;
use crate::value::DataType;

/// Words that mean something else where a name may stand: as names they are written in quotes.
const QUOTED: &[&str] = &[
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "cross",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exclude",
    "exists",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "full",
    "grant",
    "group",
    "having",
    "if",
    "in",
    "index",
    "inner",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "lateral",
    "leading",
    "left",
    "like",
    "limit",
    "natural",
    "not",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "partition",
    "primary",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "set",
    "some",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "when",
    "where",
    "window",
    "with",
];

/// CREATE TABLE with all that belongs to it: indexes and a comment follow as statements of their own.
#[must_use]
pub fn create_table(table: &Table) -> String {
    let mut lines: Vec<String> = table.columns.iter().enumerate().map(|(at, one)| column(table, at, one)).collect();
    lines.push(format!("PRIMARY KEY ({})", names(table.key_columns())));
    for index in table.indexes.iter().filter(|index| index.constraint) {
        lines.push(format!("CONSTRAINT {} UNIQUE ({})", name(&index.name), names(table.index_columns(index))));
    }
    for check in &table.checks {
        lines.push(format!("CONSTRAINT {} CHECK ({})", name(&check.name), check.text));
    }
    let kind = match table.kind {
        TableKind::User => "USER ",
        TableKind::Shared => "",
        TableKind::Stream => "STREAM ",
    };
    let own = name(&table.name);
    let mut text = format!("CREATE {kind}TABLE {own} (\n  {}\n)", lines.join(",\n  "));
    if table.partition_columns > 0 {
        let leading = usize::try_from(table.partition_columns).unwrap_or(usize::MAX);
        let _ = write!(text, " PARTITION BY ({})", names(table.key_columns().take(leading)));
    }
    let level = match (table.kind, table.access_level) {
        (TableKind::Shared, AccessLevel::Public) => Some("ACCESS_LEVEL = 'PUBLIC'".to_owned()),
        (TableKind::Shared, AccessLevel::Restricted) => Some("ACCESS_LEVEL = 'RESTRICTED'".to_owned()),
        (TableKind::Shared, AccessLevel::Dba) => Some("ACCESS_LEVEL = 'DBA'".to_owned()),
        (TableKind::Shared, AccessLevel::Private) | (TableKind::User | TableKind::Stream, _) => None,
    };
    let ttl = table.ttl_seconds.map(|seconds| format!("TTL_SECONDS = {seconds}"));
    let options: Vec<String> = level.into_iter().chain(ttl).collect();
    if !options.is_empty() {
        let _ = write!(text, " WITH ({})", options.join(", "));
    }
    text.push(';');
    for index in table.indexes.iter().filter(|index| !index.constraint) {
        let _ = write!(text, "\n{};", create_index(table, index));
    }
    if let Some(comment) = &table.comment {
        let _ = write!(text, "\nCOMMENT ON TABLE {own} IS {};", quoted(comment));
    }
    text
}

fn create_index(table: &Table, index: &Index) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let parts = index.columns.iter().filter_map(|part| {
        let column = table.column(part.column)?;
        Some(format!("{}{}", name(&column.name), if part.descending { " DESC" } else { "" }))
    });
    let parts: Vec<String> = parts.collect();
    format!("CREATE {unique}INDEX {} ON {} ({})", name(&index.name), name(&table.name), parts.join(", "))
}

fn column(table: &Table, at: usize, column: &Column) -> String {
    let is_key = table.primary_key.iter().any(|key| usize::try_from(*key) == Ok(at));
    let of = match (column.data_type, column.serial) {
        (DataType::SmallInt, true) => "SMALLSERIAL".to_owned(),
        (DataType::Int, true) => "SERIAL".to_owned(),
        (_, true) => "BIGSERIAL".to_owned(),
        (_, false) => column.type_name(),
    };
    let mut text = format!("{} {of}", name(&column.name));
    if column.serial && column.nullable {
        text.push_str(" NULL");
    }
    if !column.serial && !column.nullable && !is_key {
        text.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default_text {
        let _ = write!(text, " DEFAULT {default}");
    }
    text
}

fn names<'c>(columns: impl Iterator<Item = &'c Column>) -> String {
    columns.map(|column| name(&column.name)).collect::<Vec<_>>().join(", ")
}

/// A name as a statement writes it.
#[must_use]
pub fn name(name: &str) -> String {
    let mut characters = name.chars();
    let is_plain = characters.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && characters.all(|other| other.is_ascii_lowercase() || other.is_ascii_digit() || other == '_')
        && !QUOTED.contains(&name);
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A text as a literal.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The text of an expression over a table's columns with one of them called otherwise.
#[must_use]
pub fn with_column_renamed(text: &str, from: &str, to: &str) -> String {
    let Ok(lexed) = lex(text) else { return text.to_owned() };
    let characters: Vec<char> = text.chars().collect();
    let piece = |start: u32, end: u32| -> String {
        characters.get(start as usize..end as usize).map(|part| part.iter().collect()).unwrap_or_default()
    };
    let mut out = String::with_capacity(text.len() + to.len());
    let mut done = 0;
    for at in 0..lexed.tokens.len() {
        let Some(Token::Word(word)) = lexed.token(at) else { continue };
        let is_it = if word.quote_style.is_some() { word.value == from } else { word.value.eq_ignore_ascii_case(from) };
        let before = at.checked_sub(1).and_then(|before| lexed.token(before));
        let is_type = matches!(before, Some(Token::DoubleColon))
            || matches!(before, Some(Token::Word(word)) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("as"));
        // A function or a type may have the same name.
        if !is_it || is_type || lexed.token(at + 1) == Some(&Token::LParen) {
            continue;
        }
        let span = lexed.span_at(at);
        out.push_str(&piece(done, span.start));
        out.push_str(&name(to));
        done = span.end;
    }
    out.push_str(&piece(done, u32::try_from(characters.len()).unwrap_or(u32::MAX)));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_column_is_renamed_in_the_text_of_a_condition_and_nothing_else_is() {
        for (text, renamed) in [
            ("n > 0 AND t.N < 10", "size > 0 AND t.size < 10"),
            ("length(n) > 'n'::n", "length(size) > 'n'::n"),
            ("n(1) = \"n\" OR \"N\" = 2", "n(1) = size OR \"N\" = 2"),
            ("CAST(x AS n) = 1 /* n */", "CAST(x AS n) = 1 /* n */"),
        ] {
            assert_eq!(with_column_renamed(text, "n", "size"), renamed);
        }
        assert_eq!(with_column_renamed("n > 0", "n", "Odd one"), "\"Odd one\" > 0");
    }
}
