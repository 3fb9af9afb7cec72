//! Changes whose rows a query names: UPDATE and DELETE with subqueries, UPDATE ... FROM, DELETE ... USING.
//!
//! A query over tables of this group alone is asked here, at the state that the command meets: nothing comes between what it reads and what
//! is written. What the edge read before, of other groups too, names each changed row with the `_seq` that it had: one that has another by
//! now makes the whole command stale. RETURNING with subqueries is asked here too, at that same state, behind the change. How much a query may do is counted in rows and steps, which all replicas count alike.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::catalog::{ColumnId, IndexState, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::EvalContext;
use highwater_sql::execute::{Executor, Source, Surroundings};
use highwater_sql::key::{encode_key, resolve_access, resolve_index};
use highwater_sql::memory::Pool;
use highwater_sql::pipeline::{Flow, Pipeline, PipelineLimits, Steps};
use highwater_sql::plan::{ChangedRows, From, QueryPlan, TableAccess};
use highwater_sql::value::{Micros, Row, Value};

use super::insert::default_value;
use super::modify::{Found, remove, replace};
use super::{Changes, MAX_RETURNED_BYTES, Statement, rows, too_much_returned};
use crate::error::{Abort, StateError};
use crate::group::Entry;
use crate::overlay::Overlay;
use crate::txn::{MAX_BYTES_PER_COMMAND, MAX_ROWS_PER_COMMAND, Txn};

/// Most pauses of a query, each after at most 512 steps: about as long as the reading of [`MAX_ROWS_PER_COMMAND`] rows takes.
const MAX_PAUSES: u32 = 4_000;
/// What a query may hold.
const LIMITS: PipelineLimits =
    PipelineLimits { max_rows: MAX_ROWS_PER_COMMAND, max_bytes: MAX_BYTES_PER_COMMAND, pool: Pool::unbounded() };

/// A row that is changed, with its new values.
type Named = (Found, Row);

/// UPDATE of the rows that a query names; `assignments` say where in its row the new values stand.
pub(super) async fn update<'a, E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'a>,
    assignments: &[(ColumnId, Option<u32>)],
    named: &ChangedRows,
) -> Result<Changes<'a>, Abort> {
    let named = self::named(entry, statement, named).await?;
    let mut new_rows = Vec::with_capacity(named.len());
    for ((key, old, seq), values) in named {
        let mut new = old.clone();
        for (id, place) in assignments {
            let slot = statement.table.columns.iter().zip(new.iter_mut()).find(|(column, _)| column.id == *id);
            let Some((column, slot)) = slot else {
                return Err(
                    Diag::new(SqlState::INTERNAL, "the statement names a column that its table does not have").into()
                );
            };
            *slot = match place {
                Some(place) => values.get(*place as usize).cloned().unwrap_or(Value::Null),
                None => default_value(statement, column)?,
            };
        }
        new_rows.push(((key, old, seq), new));
    }
    replace(entry, statement, new_rows).await
}

/// DELETE of the rows that a query names.
pub(super) async fn delete<'a, E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'a>,
    named: &ChangedRows,
) -> Result<Changes<'a>, Abort> {
    let named = self::named(entry, statement, named).await?;
    remove(entry, statement, named.into_iter().map(|(found, _)| found).collect()).await
}

/// The rows that are changed, in key order, each with the query's row that named it first.
async fn named<E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'_>,
    named: &ChangedRows,
) -> Result<Vec<Named>, Abort> {
    let (table, keys) = (statement.table, entry.txn.keys());
    let given = match named {
        ChangedRows::Asked { query, .. } => ask(entry, statement, query).await?,
        ChangedRows::Read(rows) => rows.clone(),
    };
    let width = table.primary_key.len();
    let mut met = BTreeSet::new();
    let mut found = Vec::with_capacity(given.len());
    for values in given {
        let (Some(key), Some(Value::BigInt(read))) = (values.get(..width), values.get(width)) else {
            return Err(Diag::new(SqlState::INTERNAL, "a row of the change has not the key of its table").into());
        };
        let key = encode_key(key).map_err(|error| Diag::new(SqlState::INTERNAL, error.to_string()))?;
        let key = keys.row(table.id, statement.user, &key);
        if !met.insert(key.clone()) {
            continue;
        }
        let row = match entry.txn.get(&key).await? {
            Some(value) => Some(rows::decode(keys.group(), table, &value)?),
            None => None,
        };
        match row {
            Some((row, seq)) if i64::try_from(seq) == Ok(*read) => found.push(((key, row, seq), values)),
            // It has changed since it was read, or is gone.
            Some(_) | None => return Err(Abort::Stale),
        }
    }
    found.sort_unstable_by(|((one, ..), _), ((other, ..), _)| one.cmp(other));
    Ok(found)
}

/// The rows of a query over this group's tables.
async fn ask<E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'_>,
    query: &Arc<QueryPlan>,
) -> Result<Vec<Row>, Abort> {
    // Volatile values of the query are others than those of what is written.
    let around = surroundings(statement, !statement.context.seed);
    let params = Arc::new(statement.context.params.to_vec());
    let own = Own { txn: Cell::new(Some(&mut entry.txn)), statement, around: &around, pauses: Cell::new(0) };
    let rows = Executor::new(&own, &around, false).query(query, params).await?;
    Ok(rows)
}

fn surroundings(statement: &Statement<'_>, seed: u128) -> Surroundings {
    let context = &statement.context;
    Surroundings { now: context.now, user: context.user.to_owned(), role: context.role, seed, limits: LIMITS }
}

/// What RETURNING makes of changed rows. Its subqueries read tables as they were `before` the change.
pub(super) async fn returned<E: Env>(
    entry: &mut Entry<'_, E>,
    statement: &Statement<'_>,
    before: Overlay,
    rows: Vec<Row>,
    query: &Arc<QueryPlan>,
) -> Result<Vec<Row>, Abort> {
    let around = surroundings(statement, statement.context.seed.rotate_left(64));
    let params = Arc::new(statement.context.params.to_vec());
    let after = entry.txn.exchange(before);
    let own = Own { txn: Cell::new(Some(&mut entry.txn)), statement, around: &around, pauses: Cell::new(0) };
    let answer = Executor::new(&own, &around, false).query_over(rows, query, params).await;
    entry.txn.exchange(after);
    let answer = answer?;
    if answer.iter().flatten().map(Value::size).sum::<usize>() > MAX_RETURNED_BYTES {
        return Err(too_much_returned().into());
    }
    Ok(answer)
}

/// The group's own tables, as the command meets them.
struct Own<'o, 't, 's, E: Env> {
    /// Taken while a table is read: one is at a time.
    txn: Cell<Option<&'o mut Txn<'t, E>>>,
    statement: &'o Statement<'s>,
    around: &'o Surroundings,
    pauses: Cell<u32>,
}

impl<E: Env> Source for Own<'_, '_, '_, E> {
    type Error = Abort;

    async fn read(&self, plan: &Arc<QueryPlan>, params: &Arc<Vec<Value>>) -> Result<(Vec<Row>, Steps), Abort> {
        let From::Table { table, access } = &plan.from else {
            return Err(Diag::new(SqlState::INTERNAL, "a change asks for what its group does not have").into());
        };
        match self.statement.catalog.tables.get(&table.id) {
            Some(known) if known.version == table.version => {}
            Some(_) | None => return Err(Abort::Stale),
        }
        let Some(txn) = self.txn.take() else {
            return Err(Diag::new(SqlState::INTERNAL, "a change reads two tables at once").into());
        };
        let rows = self.table(txn, plan, table, access, params).await;
        self.txn.set(Some(txn));
        // A change is never run by EXPLAIN: nobody asks what its steps gave.
        Ok((rows?, Steps::default()))
    }

    async fn pause(&self) -> Result<(), Abort> {
        self.pauses.set(self.pauses.get() + 1);
        if self.pauses.get() <= MAX_PAUSES {
            return Ok(());
        }
        Err(Diag::new(SqlState::PROGRAM_LIMIT, "the subqueries of the change take too many steps; nothing was changed")
            .hint("Give conditions on keys, or change fewer rows at once.")
            .into())
    }

    fn micros(&self) -> u64 {
        0
    }
}

impl<E: Env> Own<'_, '_, '_, E> {
    async fn table(
        &self,
        txn: &mut Txn<'_, E>,
        plan: &QueryPlan,
        table: &Table,
        access: &TableAccess,
        params: &[Value],
    ) -> Result<Vec<Row>, Abort> {
        let Surroundings { now, user, role, seed, .. } = self.around;
        let context = || EvalContext::new(*now, user, *role, params, *seed);
        let owner = match table.kind {
            TableKind::User | TableKind::Stream => Some(user.as_str()),
            TableKind::Shared => None,
        };
        let mut pipeline = Pipeline::new(plan, context(), LIMITS)?;
        for (row, seq) in stored(txn, table, owner, access, &context(), *now).await? {
            let mut row = row;
            row.push(Value::BigInt(i64::try_from(seq).unwrap_or(i64::MAX)));
            if pipeline.push(&row)? == Flow::Done {
                break;
            }
        }
        Ok(pipeline.finish()?)
    }
}

/// The live rows of a part of a table, with their `_seq`, in the order of what they are found by.
async fn stored<E: Env>(
    txn: &mut Txn<'_, E>,
    table: &Table,
    user: Option<&str>,
    access: &TableAccess,
    context: &EvalContext<'_>,
    now: Micros,
) -> Result<Vec<(Row, u64)>, Abort> {
    let keys = txn.keys();
    let mut values = Vec::new();
    if let TableAccess::Index { index, bounds } = access {
        let Some(index) = table.index(*index).filter(|index| index.state == IndexState::Public) else {
            return Err(Abort::Stale);
        };
        for range in resolve_index(bounds, table, index, context)? {
            let span = keys.index_entries(table.id, index.id, user, &range.start, range.end.as_deref());
            for (_, row_key) in txn.scan(&span, usize::MAX).await? {
                let Some(value) = txn.get(&keys.row(table.id, user, &row_key)).await? else {
                    return Err(
                        StateError::Corrupt { group: keys.group(), what: "an index entry without a row" }.into()
                    );
                };
                values.push(value);
            }
        }
    } else {
        for range in resolve_access(access, table, context)? {
            let span = rows::span(keys, table, user, &range);
            if range.is_point() {
                values.extend(txn.get(&span.start).await?);
            } else {
                values.extend(txn.scan(&span, usize::MAX).await?.into_iter().map(|(_, value)| value));
            }
        }
    }
    let mut found = Vec::with_capacity(values.len());
    for value in values {
        let (row, seq) = rows::decode(keys.group(), table, &value)?;
        if rows::end_of(table, seq) > now {
            found.push((row, seq));
        }
    }
    Ok(found)
}
