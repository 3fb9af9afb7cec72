//! Stored rows: putting, removing and finding them, and the end of STREAM rows.
//!
//! A STREAM row ends `TTL_SECONDS` after the time in its `_seq`. From then on (by log time) nobody sees it; entries remove a
//! bounded number of ended rows, which is no change: no topic hears of it. Invariant: each stored row of a table with a
//! time to live has exactly one [`crate::keys::Space::RowEnd`] key, and nothing else has one (a dropped table's are left to
//! run out).

use highwater_runtime::Env;
use highwater_sql::catalog::Table;
use highwater_sql::key::KeyRange;
use highwater_sql::row::{Columns, decode_columns, decode_row, decode_seq, encode_row};
use highwater_sql::value::{Micros, Row};

use crate::error::{Abort, StateError};
use crate::group::Entry;
use crate::keys::{KeySpan, Keys, Space};
use crate::mark::time_of_seq;
use crate::reader::Reader;
use crate::txn::Txn;

/// Most ended rows that one entry removes.
pub const ENDED_ROWS_PER_ENTRY: usize = 1024;

/// When a row ends; the maximum when it never does.
pub(crate) fn end_of(table: &Table, seq: u64) -> Micros {
    table.ttl_seconds.map_or(Micros::MAX, |seconds| {
        let ttl = Micros::try_from(seconds).unwrap_or(Micros::MAX).saturating_mul(1_000_000);
        time_of_seq(seq).saturating_add(ttl)
    })
}

/// Stores a row with the next `_seq`, and gives that.
pub(crate) fn put<E: Env>(entry: &mut Entry<'_, E>, table: &Table, key: Vec<u8>, row: &Row) -> Result<u64, Abort> {
    let seq = entry.mark.next_seq();
    if table.ttl_seconds.is_some() {
        let end = end_of(table, seq);
        entry.first_ends.row = entry.first_ends.row.min(end);
        let end_key = entry.txn.keys().row_end(end, &key);
        entry.txn.put(end_key, Vec::new())?;
    }
    let value = encode_row(table, row, seq);
    entry.txn.put(key, value)?;
    Ok(seq)
}

/// Whether a live row has this key. One that has ended makes room: its end goes too.
pub(crate) async fn occupied<E: Env>(entry: &mut Entry<'_, E>, table: &Table, key: &[u8]) -> Result<bool, Abort> {
    let Some(value) = entry.txn.get(key).await? else { return Ok(false) };
    if table.ttl_seconds.is_none() {
        return Ok(true);
    }
    let seq = decode_seq(&value).map_err(|_| corrupt(entry.txn.group()))?;
    let end = end_of(table, seq);
    if end > entry.now() {
        return Ok(true);
    }
    let end_key = entry.txn.keys().row_end(end, key);
    entry.txn.delete(end_key)?;
    Ok(false)
}

/// The engine range of a range of row keys.
pub(crate) fn span(keys: Keys, table: &Table, user: Option<&str>, range: &KeyRange) -> KeySpan {
    keys.rows(table.id, user, &range.start, range.end.as_deref())
}

/// A stored row.
pub(crate) fn decode(group: u32, table: &Table, value: &[u8]) -> Result<(Row, u64), StateError> {
    decode_row(table, value).map_err(|_| corrupt(group))
}

/// A stored row with NULL in place of every column but these, into `row`; gives its `_seq`.
pub(crate) fn decode_part(
    group: u32,
    table: &Table,
    value: &[u8],
    columns: &Columns,
    row: &mut Row,
) -> Result<u64, StateError> {
    decode_columns(table, value, columns, row).map_err(|_| corrupt(group))
}

fn corrupt(group: u32) -> StateError {
    StateError::Corrupt { group, what: "a stored row" }
}

/// Removes ended rows, at most [`ENDED_ROWS_PER_ENTRY`]. Gives the end of the first that stays; the maximum when none has one.
pub(crate) async fn expire<E: Env>(txn: &mut Txn<'_, E>, log_time: Micros) -> Result<Micros, Abort> {
    let keys = txn.keys();
    let ends = txn.scan(&keys.space(Space::RowEnd), ENDED_ROWS_PER_ENTRY + 1).await?;
    for (count, (key, _)) in ends.into_iter().enumerate() {
        let end = Keys::end_time(&key).unwrap_or(Micros::MIN);
        if end > log_time || count == ENDED_ROWS_PER_ENTRY {
            return Ok(end);
        }
        if let Some(row) = keys.row_of_end(&key) {
            txn.delete(row)?;
        }
        txn.delete(key.to_vec())?;
    }
    Ok(Micros::MAX)
}

/// When the first of the rows that the store holds ends; the maximum when none does.
pub(crate) async fn first_end<E: Env>(reader: &Reader<E>, keys: Keys) -> Result<Micros, StateError> {
    let mut scan = reader.scan(&keys.space(Space::RowEnd)).await?;
    Ok(scan.next().await?.and_then(|(key, _)| Keys::end_time(&key)).unwrap_or(Micros::MAX))
}
