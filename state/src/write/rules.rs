//! The rules of a single row: types, NOT NULL, lengths, CHECK, key. Pure: a row in, the row or a refusal out.

use highwater_sql::cast;
use highwater_sql::catalog::{Column, Pending, PendingRule, Table};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{EvalContext, evaluate};
use highwater_sql::key::{KeyError, encode_key};
use highwater_sql::value::{Row, Value};

use super::backfill;

/// Most characters of a value that a refusal shows.
const SHOWN_CHARS: usize = 100;

/// The row as it is stored, if every rule holds.
///
/// # Errors
/// 23502, 22001, 23514, what evaluating a CHECK gives, and XX000 for a value of another type than its column's.
pub(crate) fn checked(table: &Table, row: Row, context: &EvalContext<'_>) -> Result<Row, Diag> {
    let row: Row =
        table.columns.iter().zip(row).map(|(column, value)| fit(table, column, value)).collect::<Result<_, _>>()?;
    for check in &table.checks {
        // NULL passes.
        if evaluate(&check.expr, &row, context)? == Value::Boolean(false) {
            return Err(Diag::new(
                SqlState::CHECK_VIOLATION,
                format!(
                    "the row violates check constraint \"{}\" of table {}.{}",
                    check.name, table.namespace, table.name
                ),
            )
            .detail(format!("CHECK ({})", check.text)));
        }
    }
    match &table.pending {
        Some(Pending { rule: PendingRule::NotNull { column, .. }, .. }) => {
            let position = table.position(*column);
            let found = position.and_then(|at| Some((table.columns.get(at)?, row.get(at)?)));
            if let Some((column, Value::Null)) = found {
                return Err(null_refusal(table, column));
            }
        }
        Some(Pending { rule, .. }) => backfill::check(table, rule, &row, context)?,
        None => {}
    }
    Ok(row)
}

fn fit(table: &Table, column: &Column, value: Value) -> Result<Value, Diag> {
    let Some(found) = value.data_type() else {
        return if column.nullable { Ok(Value::Null) } else { Err(null_refusal(table, column)) };
    };
    if !found.same_kind(&column.data_type) {
        return Err(Diag::new(
            SqlState::INTERNAL,
            format!("the statement gives a {found} for column \"{}\", which is {}", column.name, column.data_type),
        ));
    }
    match column.max_chars {
        Some(limit) => cast::fit(value, limit)
            .map_err(|diag| Diag { message: format!("{} for column \"{}\"", diag.message, column.name), ..diag }),
        None => Ok(value),
    }
}

fn null_refusal(table: &Table, column: &Column) -> Diag {
    Diag::new(
        SqlState::NOT_NULL_VIOLATION,
        format!("column \"{}\" of table {}.{} cannot be NULL", column.name, table.namespace, table.name),
    )
    .hint("Give a value for the column, or define a DEFAULT for it.")
}

/// The key columns' values, in key order.
pub(crate) fn key_values<'a>(table: &'a Table, row: &'a Row) -> impl Iterator<Item = &'a Value> {
    table.primary_key.iter().map(|at| row.get(*at as usize).unwrap_or(&Value::Null))
}

/// The row's key.
///
/// # Errors
/// 23502 for NULL, 54000 for a key that is too long.
pub(crate) fn key_of(table: &Table, row: &Row) -> Result<Vec<u8>, Diag> {
    let values: Vec<Value> = key_values(table, row).cloned().collect();
    encode_key(&values).map_err(|error| key_refusal(table, row, &error))
}

/// The refusal for a key that cannot be made.
pub(crate) fn key_refusal(table: &Table, row: &Row, error: &KeyError) -> Diag {
    let name = format!("{}.{}", table.namespace, table.name);
    match error {
        KeyError::Null => {
            let null =
                table.primary_key.iter().zip(key_values(table, row)).find(|(_, value)| matches!(value, Value::Null));
            match null.and_then(|(at, _)| table.columns.get(*at as usize)) {
                Some(column) => null_refusal(table, column),
                None => Diag::new(SqlState::NOT_NULL_VIOLATION, format!("a key column of table {name} cannot be NULL")),
            }
        }
        KeyError::TooLong { .. } => {
            Diag::new(SqlState::PROGRAM_LIMIT, format!("the row does not fit table {name}: {error}"))
        }
        KeyError::Unordered(_) | KeyError::Truncated(_) | KeyError::Invalid(_) | KeyError::TrailingBytes(_) => {
            Diag::new(SqlState::INTERNAL, format!("the key of table {name} cannot be made: {error}"))
        }
    }
}

/// The refusal for a key that another row has.
pub(crate) fn duplicate(table: &Table, row: &Row) -> Diag {
    let names: Vec<&str> = table
        .primary_key
        .iter()
        .filter_map(|at| table.columns.get(*at as usize))
        .map(|column| column.name.as_str())
        .collect();
    let values: Vec<String> = key_values(table, row).map(shown).collect();
    Diag::new(SqlState::UNIQUE_VIOLATION, format!("duplicate key in table {}.{}", table.namespace, table.name))
        .detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
}

/// The key of a row as people read it.
pub(crate) fn key_text(table: &Table, row: &Row) -> String {
    key_values(table, row).map(shown).collect::<Vec<_>>().join(", ")
}

/// A value as people read it, cut where it is long.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}...", text.get(..at).unwrap_or_default()),
        None => text,
    }
}
