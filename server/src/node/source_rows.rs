//! Changes whose rows a query gives: what is read before the change is written.
//!
//! INSERT ... SELECT reads its rows first, at the statement's read consistency, and writes them as one command, as an INSERT of values. An
//! UPDATE or DELETE whose query reads only what its own group has goes there as it is and is asked at apply; any other is read here, and its
//! command names each row by the `_seq` that it had. A retry under a request id is answered with the first answer even where the rows can no
//! longer be read.

use std::cell::RefCell;
use std::sync::Arc;

use highwater_sql::catalog::{Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::EvalContext;
use highwater_sql::execute::Executor;
use highwater_sql::expr::Expr;
use highwater_sql::limits::MAX_INSERT_ROWS;
use highwater_sql::plan::{ChangedRows, FIRST_SLOT, From, KeyBounds, QueryPlan, TableAccess, WriteKind, WritePlan};
use highwater_sql::value::{DataType, Row, Value};
use highwater_state::command::{Command, WriteCommand};
use highwater_state::outcome::Outcome;

use super::Node;
use super::execute::{Failure, Run};
use super::forward::Motion;
use super::query::Reading;
use super::token::ReadToken;
use super::write::groups_of_access;

/// Most bytes of rows that one command carries, below what the log takes as one entry.
const MAX_ROW_BYTES: usize = 12 << 20;

impl Node {
    /// The change as it is logged; `None` if it can be logged as it is.
    pub(super) async fn with_rows_read(
        &self,
        run: &Run,
        table: &Table,
        plan: &WritePlan,
        token: &mut ReadToken,
    ) -> Result<Option<WritePlan>, Failure> {
        let kind = match plan.change() {
            WriteKind::InsertFrom { columns, types, query, conflict } => {
                let rows = self.rows_of_change(run, query, token).await?;
                let rows = rows.into_iter().map(|row| given(row, query, types)).collect();
                WriteKind::Insert { columns: columns.clone(), rows, conflict: conflict.clone() }
            }
            WriteKind::UpdateFrom { assignments, rows: ChangedRows::Asked { query, access } } => {
                if self.is_of_one_group(run, table, access, query)? {
                    return Ok(None);
                }
                let rows = ChangedRows::Read(self.rows_of_change(run, query, token).await?);
                WriteKind::UpdateFrom { assignments: assignments.clone(), rows }
            }
            WriteKind::DeleteFrom { rows: ChangedRows::Asked { query, access } } => {
                if self.is_of_one_group(run, table, access, query)? {
                    return Ok(None);
                }
                WriteKind::DeleteFrom { rows: ChangedRows::Read(self.rows_of_change(run, query, token).await?) }
            }
            WriteKind::Insert { .. }
            | WriteKind::Update { .. }
            | WriteKind::Delete { .. }
            | WriteKind::Truncate
            | WriteKind::UpdateFrom { rows: ChangedRows::Read(_), .. }
            | WriteKind::DeleteFrom { rows: ChangedRows::Read(_) }
            | WriteKind::Answered { .. } => return Ok(None),
        };
        let kind = match plan.returned() {
            None => kind,
            Some(query) => WriteKind::Answered { change: Box::new(kind), query: Arc::clone(query) },
        };
        Ok(Some(WritePlan { kind, ..plan.clone() }))
    }

    async fn rows_of_change(
        &self,
        run: &Run,
        query: &Arc<QueryPlan>,
        token: &mut ReadToken,
    ) -> Result<Vec<Row>, Failure> {
        let around = self.surroundings(run);
        let source = Reading { node: self, run, token: RefCell::new(token) };
        let rows = Executor::new(&source, &around, false).query(query, Arc::clone(&run.params)).await?;
        let refused = |what: String| {
            Diag::new(SqlState::PROGRAM_LIMIT, format!("the statement would write {what}; nothing was changed"))
                .hint("Write in parts: give ranges of a key in WHERE.")
        };
        if rows.len() > MAX_INSERT_ROWS {
            return Err(refused(format!("{} rows, and one takes at most {MAX_INSERT_ROWS}", rows.len())).into());
        }
        let bytes: usize = rows.iter().flatten().map(Value::size).sum();
        if bytes > MAX_ROW_BYTES {
            return Err(refused(format!("{bytes} bytes, and one takes at most {MAX_ROW_BYTES}")).into());
        }
        Ok(rows)
    }

    /// Whether the group that is written has everything that the query reads.
    fn is_of_one_group(&self, run: &Run, table: &Table, access: &TableAccess, query: &QueryPlan) -> Result<bool, Diag> {
        let Some(home) = self.only_group(run, table, access)? else { return Ok(false) };
        self.has_all(run, home, query)
    }

    /// Whether a group has everything that a query reads.
    pub(super) fn has_all(&self, run: &Run, home: u32, query: &QueryPlan) -> Result<bool, Diag> {
        let mut parts: Vec<&QueryPlan> = Vec::new();
        query.each_plan(&mut |part| parts.push(part));
        for part in parts {
            let is_there = match &part.from {
                From::Nothing | From::Tree(_) => true,
                From::Table { table, access } => self.only_group(run, table, access)? == Some(home),
                From::System(_) | From::Explain(_) => false,
            };
            if !is_there {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The one group that has a part of a table, if it is known before anything is read.
    fn only_group(&self, run: &Run, table: &Table, access: &TableAccess) -> Result<Option<u32>, Diag> {
        match table.kind {
            TableKind::User | TableKind::Stream => return Ok(Some(self.layout().user_group(&run.user))),
            TableKind::Shared if table.partition_columns == 0 => return Ok(Some(self.layout().table_group(table.id))),
            TableKind::Shared => {}
        }
        if waits_for_rows(access) {
            return Ok(None);
        }
        let context = EvalContext::new(run.now, &run.user, run.role, &run.params, 0);
        Ok(match groups_of_access(self.layout(), table, access, &context)?.as_deref() {
            Some([one]) => Some(*one),
            Some(_) | None => None,
        })
    }

    /// The first answer of a request id whose rows cannot be read (again): `why`, unless there is one. Nothing is applied.
    pub(super) async fn answer_of_id(
        &self,
        run: &Run,
        table: &Table,
        plan: &WritePlan,
        why: Diag,
    ) -> Result<(u32, Outcome, u64), Failure> {
        let access = match plan.change() {
            WriteKind::UpdateFrom { rows: ChangedRows::Asked { access, .. }, .. }
            | WriteKind::DeleteFrom { rows: ChangedRows::Asked { access, .. } } => access.clone(),
            _ => TableAccess::Full,
        };
        let Some(group) = self.only_group(run, table, &access)?.filter(|_| run.head.request.is_some()) else {
            return Err(why.into());
        };
        // No table has this version: a command that finds no answer of its id is stale and leaves none.
        let kind = WriteKind::Insert { columns: Vec::new(), rows: Vec::new(), conflict: None };
        let plan = WritePlan { table: plan.table, table_version: 0, kind, returning: Vec::new() };
        let command = WriteCommand { head: run.head.clone(), user: run.user.clone(), plan, params: Vec::new() };
        let motion = Motion::of_client(run.errand, group, Command::Write(command), Some(run.catalog.clone()));
        let applied = self.propose(motion).await?;
        match applied.outcome {
            Outcome::StaleCatalog { .. } => Err(why.into()),
            outcome => Ok((group, outcome, applied.index)),
        }
    }
}

/// Whether bounds hold values that subqueries give.
fn waits_for_rows(access: &TableAccess) -> bool {
    let (TableAccess::Bounds(bounds) | TableAccess::Index { bounds, .. }) = access else { return false };
    let mut waits = false;
    for KeyBounds { equal, lower, upper } in bounds {
        let sides = lower.iter().chain(upper).map(|(expr, _)| expr);
        for expr in equal.iter().chain(sides) {
            expr.visit(&mut |part| waits |= matches!(part, Expr::Param(slot, _) if *slot >= FIRST_SLOT));
        }
    }
    waits
}

/// A row that was read, as one of VALUES.
fn given(row: Row, query: &QueryPlan, types: &[DataType]) -> Vec<Option<Expr>> {
    let values = row.into_iter().zip(&query.projection).zip(types);
    let value = |((value, column), wanted): ((Value, &_), &DataType)| {
        let column: &highwater_sql::plan::OutputColumn = column;
        let literal = Expr::Literal(value, column.data_type);
        Some(if column.data_type == *wanted {
            literal
        } else {
            Expr::Cast { expr: Box::new(literal), to: *wanted, assignment: true }
        })
    };
    values.map(value).collect()
}
