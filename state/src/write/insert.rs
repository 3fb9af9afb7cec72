//! INSERT: new rows from expressions and defaults.

use highwater_runtime::Env;
use highwater_sql::catalog::{Column, ColumnId};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::evaluate;
use highwater_sql::expr::Expr;
use highwater_sql::plan::OnConflict;
use highwater_sql::value::{Row, Value};

use super::conflict::{self, Met};
use super::{Changes, Statement, indexes, rows, rules};
use crate::error::Abort;
use crate::group::Entry;
use crate::topics::RowChange;

/// Inserts the rows in order.
pub(super) async fn apply<'a, E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'a>,
    columns: &[ColumnId],
    given: &[Vec<Option<Expr>>],
    conflict: Option<&OnConflict>,
) -> Result<Changes<'a>, Abort> {
    let table = statement.table;
    for id in columns {
        if !table.columns.iter().any(|column| column.id == *id) {
            return Err(
                Diag::new(SqlState::INTERNAL, "the statement names a column that its table does not have").into()
            );
        }
    }
    let mut changes = statement.changes();
    let mut met = Met::default();
    for values in given {
        if values.len() != columns.len() {
            return Err(Diag::new(SqlState::INTERNAL, "a row of the statement has not one value per column").into());
        }
        let row = rules::checked(table, new_row(statement, columns, values)?, &statement.context)?;
        statement.check_row_group(&row)?;
        statement.sequences.borrow_mut().pass(table, &row);
        let row_key = rules::key_of(table, &row)?;
        let key = entry.txn.keys().row(table.id, statement.user, &row_key);
        if let Some(on) = conflict
            && conflict::resolve(entry, statement, on, &key, &row, &mut met, &mut changes).await?
        {
            continue;
        }
        if rows::occupied(entry, table, &key).await? {
            return Err(rules::duplicate(table, &row).into());
        }
        if conflict.is_some() {
            met.insert(key.clone());
        }
        indexes::add(&mut entry.txn, statement.owner(), &row, &row_key, None).await?;
        let seq = rows::put(entry, table, key, &row)?;
        changes.note(statement, &RowChange::Insert { new: &row }, seq)?;
    }
    Ok(changes)
}

fn new_row(statement: &Statement<'_>, columns: &[ColumnId], values: &[Option<Expr>]) -> Result<Row, Diag> {
    let value_of = |column: &Column| {
        let given = columns.iter().zip(values).find(|(id, _)| **id == column.id);
        match given.and_then(|(_, value)| value.as_ref()) {
            Some(expr) => evaluate(expr, &[], &statement.context),
            None => default_value(statement, column),
        }
    };
    statement.table.columns.iter().map(value_of).collect()
}

/// What the word DEFAULT, or no word at all, gives for a column.
pub(super) fn default_value(statement: &Statement<'_>, column: &Column) -> Result<Value, Diag> {
    if column.serial {
        return statement.sequences.borrow_mut().next(column);
    }
    match &column.default {
        Some(expr) => evaluate(expr, &[], &statement.context),
        None => Ok(Value::Null),
    }
}
