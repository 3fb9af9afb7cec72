//! ON CONFLICT: a row that is to be inserted meets one that is there.
//!
//! What is there is looked for at apply, with the statement's own writes in sight: two commands never both find nothing.
//! Invariant: a statement changes a row at most once (21000 else), so that its result does not depend on the order of its rows.

use std::collections::BTreeSet;

use highwater_runtime::Env;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::is_true;
use highwater_sql::plan::{ConflictAction, ConflictTarget, OnConflict};
use highwater_sql::value::Row;

use super::modify::assigned;
use super::{Changes, Statement, indexes, rows, rules};
use crate::error::Abort;
use crate::group::Entry;
use crate::topics::RowChange;

/// Engine keys of the rows that the statement has inserted or updated.
pub(super) type Met = BTreeSet<Vec<u8>>;

/// Whether the row is settled: it met another, and what is to become of that was done.
pub(super) async fn resolve<'a, E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'a>,
    on: &OnConflict,
    key: &[u8],
    row: &Row,
    met: &mut Met,
    changes: &mut Changes<'a>,
) -> Result<bool, Abort> {
    let Some(there) = in_the_way(entry, statement, on.target, key, row).await? else { return Ok(false) };
    let (assignments, filter) = match &on.action {
        ConflictAction::Nothing => return Ok(true),
        ConflictAction::Update { assignments, filter } => (assignments, filter),
    };
    let table = statement.table;
    if !met.insert(there.clone()) {
        return Err(Diag::new(
            SqlState::CARDINALITY_VIOLATION,
            format!("ON CONFLICT DO UPDATE would change a row of table {}.{} twice", table.namespace, table.name),
        )
        .hint("Two rows of the INSERT have the same key: give each key once.")
        .into());
    }
    let Some(value) = entry.txn.get(&there).await? else { return Ok(false) };
    let (old, _) = rows::decode(entry.txn.group(), table, &value)?;
    let input: Row = old.iter().chain(row).cloned().collect();
    if let Some(filter) = filter
        && !is_true(filter, &input, &statement.context)?
    {
        return Ok(true);
    }
    let new = rules::checked(table, assigned(statement, assignments, &old, &input)?, &statement.context)?;
    statement.sequences.borrow_mut().pass(table, &new);
    let row_key = entry.txn.keys().row_key_of(table.id, statement.user, &there).unwrap_or_default().to_vec();
    indexes::remove(&mut entry.txn, statement.owner(), &old, &row_key, Some(&new)).await?;
    indexes::add(&mut entry.txn, statement.owner(), &new, &row_key, Some(&old)).await?;
    let seq = rows::put(entry, table, there, &new)?;
    changes.note(statement, &RowChange::Update { old: &old, new: &new }, seq)?;
    Ok(true)
}

/// The engine key of the row that is in the way.
async fn in_the_way<E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'_>,
    target: ConflictTarget,
    key: &[u8],
    row: &Row,
) -> Result<Option<Vec<u8>>, Abort> {
    let table = statement.table;
    if matches!(target, ConflictTarget::Any | ConflictTarget::Key) && rows::occupied(entry, table, key).await? {
        return Ok(Some(key.to_vec()));
    }
    for index in table.indexes.iter().filter(|index| index.unique) {
        let is_meant = match target {
            ConflictTarget::Any => true,
            ConflictTarget::Key => false,
            ConflictTarget::Index(id) => index.id == id,
        };
        if is_meant && let Some(row_key) = indexes::in_the_way(&mut entry.txn, statement.owner(), index, row).await? {
            return Ok(Some(entry.txn.keys().row(table.id, statement.user, &row_key)));
        }
    }
    Ok(None)
}
