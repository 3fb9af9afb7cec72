//! UPDATE and DELETE: rows found by key ranges and a filter, at the state that the command meets.
//!
//! All rows are found before the first is changed, so that no statement meets its own changes. An UPDATE that changes keys
//! first frees the old ones and then takes the new ones: keys may be swapped or shifted within one statement.

use highwater_runtime::Env;
use highwater_sql::catalog::{Column, ColumnId, IndexState, Operation, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{evaluate, is_true};
use highwater_sql::expr::Expr;
use highwater_sql::key::{resolve_access, resolve_index};
use highwater_sql::plan::TableAccess;
use highwater_sql::value::{Row, Value};

use super::insert::default_value;
use super::{Changes, Statement, indexes, rows, rules};
use crate::error::{Abort, StateError};
use crate::group::Entry;
use crate::topics::RowChange;

/// A row that is to be changed: its engine key, its values, its `_seq`.
pub(super) type Found = (Vec<u8>, Row, u64);

/// Updates the matching rows in key order.
pub(super) async fn update<'a, E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'a>,
    assignments: &[(ColumnId, Option<Expr>)],
    access: &TableAccess,
    filter: Option<&Expr>,
) -> Result<Changes<'a>, Abort> {
    not_append_only(statement, "UPDATE")?;
    let found = matching(entry, statement, access, filter).await?;
    let mut new_rows = Vec::with_capacity(found.len());
    for row in found {
        let new = assigned(statement, assignments, &row.1, &row.1)?;
        new_rows.push((row, new));
    }
    replace(entry, statement, new_rows).await
}

/// Puts new rows in the place of old ones.
pub(super) async fn replace<'a, E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'a>,
    new_rows: Vec<(Found, Row)>,
) -> Result<Changes<'a>, Abort> {
    let table = statement.table;
    not_append_only(statement, "UPDATE")?;
    let mut changes = statement.changes();
    let mut changed = Vec::with_capacity(new_rows.len());
    for ((old_key, old, _), new) in new_rows {
        let new = rules::checked(table, new, &statement.context)?;
        statement.sequences.borrow_mut().pass(table, &new);
        let row_key = rules::key_of(table, &new)?;
        let new_key = entry.txn.keys().row(table.id, statement.user, &row_key);
        let stays = (new_key == old_key).then_some(&new);
        if stays.is_none() {
            statement.check_row_group(&new)?;
            entry.txn.delete(old_key.clone())?;
        }
        let old_row_key = entry.txn.keys().row_key_of(table.id, statement.user, &old_key).unwrap_or_default();
        indexes::remove(&mut entry.txn, statement.owner(), &old, old_row_key, stays).await?;
        changed.push((old_key, old, new_key, new, row_key));
    }
    for (old_key, old, new_key, new, row_key) in &changed {
        if new_key != old_key && rows::occupied(entry, table, new_key).await? {
            return Err(rules::duplicate(table, new).into());
        }
        let same = (new_key == old_key).then_some(old);
        indexes::add(&mut entry.txn, statement.owner(), new, row_key, same).await?;
        let seq = rows::put(entry, table, new_key.clone(), new)?;
        changes.note(statement, &RowChange::Update { old, new }, seq)?;
    }
    Ok(changes)
}

/// Deletes the matching rows in key order.
pub(super) async fn delete<'a, E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'a>,
    access: &TableAccess,
    filter: Option<&Expr>,
) -> Result<Changes<'a>, Abort> {
    not_append_only(statement, "DELETE")?;
    let found = matching(entry, statement, access, filter).await?;
    remove(entry, statement, found).await
}

/// Removes these rows.
pub(super) async fn remove<'a, E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'a>,
    found: Vec<Found>,
) -> Result<Changes<'a>, Abort> {
    not_append_only(statement, "DELETE")?;
    let mut changes = statement.changes();
    for (key, old, seq) in &found {
        entry.txn.delete(key.clone())?;
        let row_key = entry.txn.keys().row_key_of(statement.table.id, statement.user, key).unwrap_or_default();
        indexes::remove(&mut entry.txn, statement.owner(), old, row_key, None).await?;
        changes.note(statement, &RowChange::Delete { old }, *seq)?;
    }
    Ok(changes)
}

/// Removes every row (of the user) at once. Nobody is told of a single one, so a topic that carries deletions refuses it.
pub(super) fn truncate<'a, E: Env>(entry: &mut Entry<'_, E>, statement: &Statement<'a>) -> Result<Changes<'a>, Abort> {
    not_append_only(statement, "TRUNCATE")?;
    let table = statement.table;
    let name = format!("{}.{}", table.namespace, table.name);
    if table.partition_columns > 0 {
        return Err(Diag::not_supported(format!("TRUNCATE of partitioned table {name}")).into());
    }
    if let Some((topic, _)) = statement.catalog.sources_of(table.id, Operation::Delete).next() {
        return Err(Diag::not_supported(format!(
            "TRUNCATE of table {name}, whose deletions topic {}.{} carries,",
            topic.namespace, topic.name
        ))
        .hint("DELETE FROM without WHERE removes all rows with a message for each.")
        .into());
    }
    let span = entry.txn.keys().rows(table.id, statement.user, &[], None);
    entry.txn.delete_range(span)?;
    for index in &table.indexes {
        let span = entry.txn.keys().index_entries(table.id, index.id, statement.user, &[], None);
        entry.txn.delete_range(span)?;
    }
    Ok(statement.changes())
}

fn not_append_only(statement: &Statement<'_>, word: &str) -> Result<(), Diag> {
    let table = statement.table;
    match table.kind {
        TableKind::User | TableKind::Shared => Ok(()),
        TableKind::Stream => {
            Err(Diag::not_supported(format!("{word} of STREAM table {}.{}", table.namespace, table.name))
                .hint("A STREAM table is append-only; its rows go after TTL_SECONDS."))
        }
    }
}

/// Engine keys, rows and `_seq` that the statement means, in key order.
async fn matching<E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'_>,
    access: &TableAccess,
    filter: Option<&Expr>,
) -> Result<Vec<Found>, Abort> {
    let (table, keys) = (statement.table, entry.txn.keys());
    let mut found = Vec::new();
    if let TableAccess::Index { index, bounds } = access {
        let Some(index) = table.index(*index).filter(|index| index.state == IndexState::Public) else {
            return Err(Abort::Stale);
        };
        for range in resolve_index(bounds, table, index, &statement.context)? {
            let span = keys.index_entries(table.id, index.id, statement.user, &range.start, range.end.as_deref());
            for (_, row_key) in entry.txn.scan(&span, usize::MAX).await? {
                let key = keys.row(table.id, statement.user, &row_key);
                let Some(value) = entry.txn.get(&key).await? else {
                    return Err(
                        StateError::Corrupt { group: keys.group(), what: "an index entry without a row" }.into()
                    );
                };
                let (row, seq) = rows::decode(keys.group(), table, &value)?;
                if filter.map_or(Ok(true), |filter| is_true(filter, &row, &statement.context))? {
                    found.push((key, row, seq));
                }
            }
        }
        found.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
        return Ok(found);
    }
    // Sorted and disjoint: no row is met twice.
    for range in resolve_access(access, table, &statement.context)? {
        let span = rows::span(keys, table, statement.user, &range);
        let pairs = if range.is_point() {
            let value = entry.txn.get(&span.start).await?;
            value.map(|value| (span.start.into(), value)).into_iter().collect()
        } else {
            entry.txn.scan(&span, usize::MAX).await?
        };
        for (key, value) in pairs {
            let (row, seq) = rows::decode(keys.group(), table, &value)?;
            let matches = match filter {
                Some(filter) => is_true(filter, &row, &statement.context)?,
                None => true,
            };
            if matches {
                found.push((key.to_vec(), row, seq));
            }
        }
    }
    Ok(found)
}

/// The row after the assignments, whose expressions see `input`.
pub(super) fn assigned(
    statement: &Statement<'_>,
    assignments: &[(ColumnId, Option<Expr>)],
    old: &Row,
    input: &[Value],
) -> Result<Row, Diag> {
    let mut new = old.clone();
    for (id, value) in assignments {
        let place = statement.table.columns.iter().zip(new.iter_mut()).find(|(column, _)| column.id == *id);
        let Some((column, slot)): Option<(&Column, _)> = place else {
            return Err(Diag::new(SqlState::INTERNAL, "the statement names a column that its table does not have"));
        };
        *slot = match value {
            Some(expr) => evaluate(expr, input, &statement.context)?,
            None => default_value(statement, column)?,
        };
    }
    Ok(new)
}
