//! Index entries: made and removed in the same batch as the row that they are of.
//!
//! ```text
//! entry (crate::keys::Space::Index) := values, and the row key behind them where rows may share values (sql::key)
//!                                      value: the row key
//! ```
//!
//! Invariant: once an index is public, its entries are those of the rows, one each; while it is being built, those of the rows that
//! were written or passed since. A unique index has one entry for equal values, so that a second row with them is met by a lookup.

use highwater_runtime::Env;
use highwater_sql::catalog::{Index, IndexState, Table};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::key::encode_index;
use highwater_sql::value::{Row, Value};

use super::rules::shown;
use crate::error::Abort;
use crate::keys::Keys;
use crate::txn::Txn;

/// What a row's entries are made from.
#[derive(Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub table: &'a Table,
    /// Whose row; `None` on SHARED tables.
    pub user: Option<&'a str>,
}

/// An entry: its engine key, and whether other rows of the same values would have the same.
struct Entry {
    key: Vec<u8>,
    is_shared: bool,
}

fn values<'a>(table: &'a Table, index: &'a Index, row: &'a Row) -> impl Iterator<Item = &'a Value> {
    index
        .columns
        .iter()
        .map(|part| table.position(part.column).and_then(|position| row.get(position)).unwrap_or(&Value::Null))
}

fn entry(keys: Keys, owner: Owner<'_>, index: &Index, row: &Row, row_key: &[u8]) -> Result<Entry, Diag> {
    let table = owner.table;
    let mut made = encode_index(values(table, index, row)).map_err(|error| {
        Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!(
                "the row does not fit index \"{}\" of table {}.{}: {error}",
                index.name, table.namespace, table.name
            ),
        )
    })?;
    let is_shared = index.unique && !made.has_null;
    if !is_shared {
        made.bytes.extend_from_slice(row_key);
    }
    Ok(Entry { key: keys.index_entry(table.id, index.id, owner.user, &made.bytes), is_shared })
}

/// Whether the row's entry in the index stays the same.
fn is_same(table: &Table, index: &Index, old: &Row, new: &Row) -> bool {
    values(table, index, old).eq(values(table, index, new))
}

/// Removes the entries of a row that goes, or of those indexes whose values `new` changes.
pub(crate) async fn remove<E: Env>(
    txn: &mut Txn<'_, E>,
    owner: Owner<'_>,
    old: &Row,
    row_key: &[u8],
    new: Option<&Row>,
) -> Result<(), Abort> {
    let keys = txn.keys();
    for index in &owner.table.indexes {
        if new.is_some_and(|new| is_same(owner.table, index, old, new)) {
            continue;
        }
        let made = entry(keys, owner, index, old, row_key)?;
        // While a unique index is being built, another row of the same values may have the entry.
        if made.is_shared
            && index.state == IndexState::Building
            && txn.get(&made.key).await?.is_none_or(|there| there != row_key)
        {
            continue;
        }
        txn.delete(made.key)?;
    }
    Ok(())
}

/// Makes the entries of a row, or of those indexes whose values `old` had otherwise (under the same key).
///
/// # Errors
/// 23505 that names the index, its columns and values when another row has them.
pub(crate) async fn add<E: Env>(
    txn: &mut Txn<'_, E>,
    owner: Owner<'_>,
    row: &Row,
    row_key: &[u8],
    old: Option<&Row>,
) -> Result<(), Abort> {
    for index in &owner.table.indexes {
        if old.is_some_and(|old| is_same(owner.table, index, old, row)) {
            continue;
        }
        put(txn, owner, index, row, row_key).await?;
    }
    Ok(())
}

/// Makes the entry of one index. One that is there already for the same row stays.
pub(crate) async fn put<E: Env>(
    txn: &mut Txn<'_, E>,
    owner: Owner<'_>,
    index: &Index,
    row: &Row,
    row_key: &[u8],
) -> Result<(), Abort> {
    let made = entry(txn.keys(), owner, index, row, row_key)?;
    if made.is_shared
        && let Some(there) = txn.get(&made.key).await?
        && there != row_key
    {
        return Err(duplicate(owner.table, index, row).into());
    }
    txn.put(made.key, row_key.to_vec())
}

/// The row key of another row that has the same values in a unique index.
pub(crate) async fn in_the_way<E: Env>(
    txn: &mut Txn<'_, E>,
    owner: Owner<'_>,
    index: &Index,
    row: &Row,
) -> Result<Option<Vec<u8>>, Abort> {
    let made = entry(txn.keys(), owner, index, row, &[])?;
    if !made.is_shared {
        return Ok(None);
    }
    Ok(txn.get(&made.key).await?.map(|row_key| row_key.to_vec()))
}

fn duplicate(table: &Table, index: &Index, row: &Row) -> Diag {
    let names: Vec<&str> = table.index_columns(index).map(|column| column.name.as_str()).collect();
    let values: Vec<String> = values(table, index, row).map(shown).collect();
    let what = if index.constraint { "constraint" } else { "index" };
    Diag::new(
        SqlState::UNIQUE_VIOLATION,
        format!("duplicate values for unique {what} \"{}\" of table {}.{}", index.name, table.namespace, table.name),
    )
    .detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
}
