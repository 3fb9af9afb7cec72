//! `format`, and texts written as SQL writes them.

use super::Args;
use crate::diag::{Diag, SqlState};
use crate::eval::operators::check_length;
use crate::value::Value;

/// The text in single quotes, as a literal.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// The name, in double quotes where it needs them.
pub(super) fn identifier(name: &str) -> String {
    let plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_'))
        && !is_reserved(name);
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// PostgreSQL's words that cannot be a name without quotes, or not everywhere.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "authorization",
    "between",
    "bigint",
    "binary",
    "bit",
    "boolean",
    "both",
    "case",
    "cast",
    "char",
    "character",
    "check",
    "coalesce",
    "collate",
    "collation",
    "column",
    "concurrently",
    "constraint",
    "create",
    "cross",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "dec",
    "decimal",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "exists",
    "extract",
    "false",
    "fetch",
    "float",
    "for",
    "foreign",
    "freeze",
    "from",
    "full",
    "grant",
    "greatest",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "initially",
    "inner",
    "inout",
    "int",
    "integer",
    "intersect",
    "interval",
    "into",
    "is",
    "isnull",
    "join",
    "lateral",
    "leading",
    "least",
    "left",
    "like",
    "limit",
    "localtime",
    "localtimestamp",
    "national",
    "natural",
    "nchar",
    "none",
    "normalize",
    "not",
    "notnull",
    "null",
    "nullif",
    "numeric",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "out",
    "outer",
    "overlaps",
    "overlay",
    "placing",
    "position",
    "precision",
    "primary",
    "real",
    "references",
    "returning",
    "right",
    "row",
    "select",
    "session_user",
    "setof",
    "similar",
    "smallint",
    "some",
    "substring",
    "symmetric",
    "table",
    "tablesample",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "treat",
    "trim",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "values",
    "varchar",
    "variadic",
    "verbose",
    "when",
    "where",
    "window",
    "with",
];

fn is_reserved(name: &str) -> bool {
    RESERVED.binary_search(&name).is_ok()
}

fn invalid(reason: impl Into<String>) -> Diag {
    Diag::new(SqlState::INVALID_PARAMETER, reason)
}

/// `format(template, ...)`: `%s`, `%I`, `%L`, `%%`, with a position (`%2$s`), a width and a minus for the left side.
pub(super) fn format(args: &Args<'_>) -> Result<Value, Diag> {
    let template = match args.get(0)? {
        Value::Null => return Ok(Value::Null),
        _ => args.text(0)?,
    };
    let mut out = String::new();
    let mut next = 1;
    let mut input = template.chars().peekable();
    while let Some(character) = input.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        if input.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut number = digits(&mut input)?;
        if let Some(position) = number
            && input.next_if_eq(&'$').is_some()
        {
            if position == 0 {
                return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
            }
            next = position;
            number = None;
        }
        let mut left = false;
        while number.is_none() && input.next_if_eq(&'-').is_some() {
            left = true;
        }
        let width = match number {
            Some(width) => width,
            None if input.next_if_eq(&'*').is_some() => {
                let width = match digits(&mut input)? {
                    Some(position) if input.next_if_eq(&'$').is_some() => argument(args, position)?,
                    Some(_) => return Err(invalid("width argument position must be ended by \"$\"")),
                    None => {
                        next += 1;
                        argument(args, next - 1)?
                    }
                };
                let width = width.as_i64().unwrap_or(0);
                left |= width < 0;
                usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX)
            }
            None => digits(&mut input)?.unwrap_or(0),
        };
        let kind = input
            .next()
            .ok_or_else(|| invalid("unterminated format() type specifier").hint("for a single \"%\" use \"%%\""))?;
        let value = argument(args, next)?;
        next += 1;
        let text = match (kind, value) {
            ('s', Value::Null) => String::new(),
            ('s', value) => super::text::written(value),
            ('I', Value::Null) => return Err(invalid("null values cannot be formatted as an SQL identifier")),
            ('I', value) => identifier(&super::text::written(value)),
            ('L', Value::Null) => "NULL".to_owned(),
            ('L', value) => literal(&super::text::written(value)),
            (other, _) => {
                return Err(invalid(format!("unrecognized format() type specifier \"{other}\""))
                    .hint("for a single \"%\" use \"%%\""));
            }
        };
        check_length(out.len().saturating_add(text.len()).saturating_add(width))?;
        let padding = width.saturating_sub(text.chars().count());
        if !left {
            out.extend(std::iter::repeat_n(' ', padding));
        }
        out.push_str(&text);
        if left {
            out.extend(std::iter::repeat_n(' ', padding));
        }
    }
    check_length(out.len())?;
    Ok(Value::Text(out))
}

fn argument<'a>(args: &Args<'a>, at: usize) -> Result<&'a Value, Diag> {
    if at >= args.len() {
        return Err(invalid("too few arguments for format()"));
    }
    args.get(at)
}

fn digits(input: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<usize>, Diag> {
    let mut number: Option<usize> = None;
    while let Some(digit) = input.peek().and_then(|digit| digit.to_digit(10)) {
        input.next();
        let digit = usize::try_from(digit).unwrap_or(0);
        let grown = number.unwrap_or(0).checked_mul(10).and_then(|number| number.checked_add(digit));
        number = Some(grown.filter(|number| *number <= 16 << 20).ok_or_else(|| invalid("number is out of range"))?);
    }
    Ok(number)
}
