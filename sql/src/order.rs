//! Whether a table gives its rows in the order that ORDER BY asks for, so that nothing is to be sorted and LIMIT ends the scan.
//!
//! Rows come in the order of the key, or of an index's columns and then the key, NULLs last; ranges are sorted. Backwards the same rows come in
//! the opposite order. Columns that have one value in all rows that are read stand in no order's way, nor does what follows a whole key.
//! Says what a plan's order is worth; who reads must go in that direction.

use std::collections::BTreeSet;

use crate::catalog::{ObjectId, Table, TableKind};
use crate::eval;
use crate::expr::{AggregateCall, AggregateFunction, Expr};
use crate::plan::{Aggregate, Distinct, From, KeyBounds, QueryPlan, SortKey, TableAccess};

/// The direction in which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// In the order of the key or index.
    Forward,
    /// From its end.
    Backward,
}

/// How the table of a SELECT is to be read so that all its rows come as ORDER BY asks, or the first one gives its `min` or `max`; `None` where
/// all must be seen, or nothing is asked.
#[must_use]
pub fn of(plan: &QueryPlan) -> Option<Reading> {
    let From::Table { table, access } = &plan.from else { return None };
    of_each_place(plan).filter(|_| is_in_one_place(table, access))
}

/// The same of a partitioned table, whose groups give their rows one group after the other: of each group's rows.
#[must_use]
pub fn of_each_place(plan: &QueryPlan) -> Option<Reading> {
    let From::Table { table, access } = &plan.from else { return None };
    if let Some(Aggregate { keys, calls, sets }) = &plan.aggregate {
        let is_one_group = keys.is_empty() && sets.is_empty();
        return is_one_group.then(|| extreme(calls)).flatten().and_then(|wanted| reading(table, access, &[wanted]));
    }
    let is_plain = !matches!(plan.distinct, Distinct::On(_)) && !plan.order_by.is_empty();
    is_plain.then(|| reading(table, access, &plan.order_by)).flatten()
}

/// The order in which the first row that is no NULL gives all these aggregates: `min` or `max` of one and the same column. NULLs are not to be
/// passed over on the way to it.
pub(crate) fn extreme(calls: &[AggregateCall]) -> Option<SortKey> {
    let first = calls.first()?;
    let descending = match first.function {
        AggregateFunction::Min => false,
        AggregateFunction::Max => true,
        _ => return None,
    };
    let [expr @ Expr::Column(..)] = first.args.as_slice() else { return None };
    let is_same = |call: &AggregateCall| {
        call.function == first.function && call.args == first.args && !call.filtered && call.order.is_empty()
    };
    calls.iter().all(is_same).then(|| SortKey { expr: expr.clone(), descending, nulls_first: false })
}

/// How this part of a table is to be read so that its rows, all of one group, come in this order.
pub(crate) fn in_one_place(table: &Table, access: &TableAccess, order_by: &[SortKey]) -> Option<Reading> {
    reading(table, access, order_by).filter(|_| is_in_one_place(table, access))
}

fn reading(table: &Table, access: &TableAccess, order_by: &[SortKey]) -> Option<Reading> {
    let path = Path::of(table, access)?;
    let mut known = path.fixed;
    let (mut at, mut found) = (0, None);
    for item in order_by {
        while path.columns.get(at).is_some_and(|column| known.contains(&column.position)) {
            at += 1;
        }
        // No two rows are alike in what was asked so far: the rest decides nothing.
        let Some(next) = path.columns.get(at) else { break };
        let Expr::Column(position, _) = &item.expr else { return None };
        if known.contains(position) {
            continue;
        }
        let wanted = if item.descending { Reading::Backward } else { Reading::Forward };
        let nulls_first = wanted == Reading::Backward;
        let agrees = found.is_none_or(|found| found == wanted);
        if next.position != *position || !agrees || (next.has_nulls && item.nulls_first != nulls_first) {
            return None;
        }
        found = Some(wanted);
        known.insert(*position);
    }
    Some(found.unwrap_or(Reading::Forward))
}

/// A column that rows are in the order of, behind those before it.
struct PathColumn {
    position: u32,
    has_nulls: bool,
}

/// What rows are in the order of.
struct Path {
    columns: Vec<PathColumn>,
    /// Columns that have one value in all rows that are read.
    fixed: BTreeSet<u32>,
}

impl Path {
    /// `None` for an index that the table does not have.
    fn of(table: &Table, access: &TableAccess) -> Option<Self> {
        let key = || table.primary_key.iter().map(|position| PathColumn { position: *position, has_nulls: false });
        Some(match access {
            TableAccess::Full => Self { columns: key().collect(), fixed: BTreeSet::new() },
            TableAccess::Bounds(bounds) => {
                Self { columns: key().collect(), fixed: fixed(table, &table.primary_key, bounds) }
            }
            TableAccess::Index { index, bounds } => {
                let index = table.index(*index)?;
                let positions: Vec<u32> = index_positions(table, index.id)?;
                let is_nullable = |position: u32| {
                    usize::try_from(position)
                        .ok()
                        .and_then(|at| table.columns.get(at))
                        .is_none_or(|column| column.nullable)
                };
                let column = |(at, position): (usize, &u32)| PathColumn {
                    position: *position,
                    has_nulls: is_nullable(*position) && !bounds.iter().all(|bound| leaves_nulls_out(bound, at)),
                };
                let mut columns: Vec<PathColumn> = positions.iter().enumerate().map(column).collect();
                // In a unique index without NULLs no two rows are alike.
                if !index.unique || columns.iter().any(|column| column.has_nulls) {
                    columns.extend(key());
                }
                Self { columns, fixed: fixed(table, &positions, bounds) }
            }
        })
    }
}

/// The positions of an index's columns in the table's row.
pub(crate) fn index_positions(table: &Table, index: ObjectId) -> Option<Vec<u32>> {
    let position = |column| table.position(column).and_then(|position| u32::try_from(position).ok());
    table.index(index)?.columns.iter().map(|part| position(part.column)).collect()
}

/// Whether no row within the bound has a NULL in this column.
fn leaves_nulls_out(bound: &KeyBounds, at: usize) -> bool {
    at < bound.equal.len() || (at == bound.equal.len() && (bound.lower.is_some() || bound.upper.is_some()))
}

/// Those of the leading columns that equal one and the same value within all bounds.
fn fixed(table: &Table, positions: &[u32], bounds: &[KeyBounds]) -> BTreeSet<u32> {
    let Some((first, others)) = bounds.split_first() else { return BTreeSet::new() };
    let is_one = |position: u32, value: &Expr| {
        let column = usize::try_from(position).ok().and_then(|at| table.columns.get(at));
        let element = eval::data_type(value).element();
        column.is_some_and(|column| element.is_none_or(|element| !element.same_kind(&column.data_type)))
    };
    let in_order = positions.iter().copied().zip(&first.equal).enumerate();
    in_order
        .filter(|(at, (_, value))| others.iter().all(|bound| bound.equal.get(*at) == Some(value)))
        .filter(|(_, (position, value))| is_one(*position, value))
        .map(|(_, (position, _))| position)
        .collect()
}

/// Whether all rows that are read are in one group.
fn is_in_one_place(table: &Table, access: &TableAccess) -> bool {
    if table.kind != TableKind::Shared || table.partition_columns == 0 {
        return true;
    }
    let TableAccess::Bounds(bounds) = access else { return false };
    let fixed = fixed(table, &table.primary_key, bounds);
    let count = usize::try_from(table.partition_columns).unwrap_or(usize::MAX);
    table.primary_key.iter().take(count).all(|position| fixed.contains(position))
}
