//! INSERT, UPDATE and DELETE: which group, and its answer.

use highwater_sql::catalog::{Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{self, EvalContext, evaluate};
use highwater_sql::expr::Expr;
use highwater_sql::key::{each_alternative, encode_key};
use highwater_sql::plan::{ChangedRows, TableAccess, WriteKind, WritePlan};
use highwater_sql::value::{DataType, Value};
use highwater_state::command::{Command, WriteCommand};
use highwater_state::outcome::Outcome;
use highwater_state::placement::Layout;

use super::Node;
use super::answer::StatementResult;
use super::execute::{Failure, Run};
use super::forward::Motion;
use super::phases::Phase;
use super::query::schema_of;
use super::returned::AnswerHere;
use super::token::ReadToken;

impl Node {
    pub(super) async fn write(
        &self,
        run: &Run,
        plan: &WritePlan,
        token: &mut ReadToken,
    ) -> Result<StatementResult, Failure> {
        let table = run.catalog.tables.get(&plan.table).ok_or(Failure::Stale)?;
        if let Some(open) = &run.around.within {
            // Before its rows are read: an earlier try of the transaction may have written them.
            match table.kind {
                TableKind::User | TableKind::Stream => {
                    open.enter(self.layout().user_group(&run.user), run.errand.deadline).await?;
                }
                TableKind::Shared if table.partition_columns == 0 => {
                    open.enter(self.layout().table_group(table.id), run.errand.deadline).await?;
                }
                TableKind::Shared => {}
            }
        }
        let is_earlier = run.around.within.as_ref().is_some_and(|open| open.is_earlier());
        let read = match self.with_rows_read(run, table, plan, token).await {
            Ok(read) => read,
            Err(Failure::Diag(_)) if is_earlier => None,
            Err(Failure::Diag(why)) if run.around.within.is_some() => return Err(why.into()),
            Err(Failure::Diag(why)) => {
                let (group, outcome, index) = self.answer_of_id(run, table, plan, why).await?;
                let (_, answer) = self.with_answer_here(run, group, plan.clone(), token).await?;
                return self.written(run, table, plan, (group, outcome, index), answer, token).await;
            }
            Err(Failure::Stale) => return Err(Failure::Stale),
        };
        if run.around.within.is_some()
            && let Some(WriteKind::UpdateFrom { .. } | WriteKind::DeleteFrom { .. }) =
                read.as_ref().map(WritePlan::change)
        {
            return Err(Diag::not_supported(
                "in a transaction, a change of rows found by way of another shard or a system table,",
            )
            .hint("Read what is needed first, and give it as values.")
            .into());
        }
        let logged = read.unwrap_or_else(|| plan.clone());
        let context = EvalContext::new(run.now, &run.user, run.role, &run.params, 0);
        let group = match table.kind {
            TableKind::User | TableKind::Stream => self.layout().user_group(&run.user),
            TableKind::Shared if table.partition_columns == 0 => self.layout().table_group(table.id),
            TableKind::Shared => group_of_partitioned(self.layout(), table, &logged, &context)?,
        };
        let (logged, answer) = self.with_answer_here(run, group, logged, token).await?;
        let command = WriteCommand {
            head: run.head.clone(),
            user: run.user.clone(),
            plan: logged,
            params: run.params.as_ref().clone(),
        };
        let (outcome, index) = match &run.around.within {
            Some(transaction) => (transaction.write(run, group, command).await?.outcome, 0),
            None => {
                let catalog = Some(run.catalog.clone());
                let motion = Motion::of_client(run.errand, group, Command::Write(command), catalog);
                let began = self.begins(&run.timed);
                let applied = self.propose(motion).await;
                self.ends(&run.timed, Phase::Queue, began);
                let applied = applied?;
                (applied.outcome, applied.index)
            }
        };
        self.written(run, table, plan, (group, outcome, index), answer, token).await
    }

    /// The answer of a change: what became of it, in which group, at which index, and what is made here of the rows that it gave.
    async fn written(
        &self,
        run: &Run,
        table: &Table,
        plan: &WritePlan,
        (group, outcome, index): (u32, Outcome, u64),
        answer: Option<AnswerHere>,
        token: &mut ReadToken,
    ) -> Result<StatementResult, Failure> {
        match outcome {
            Outcome::Written(rows) => {
                token.saw(group, index);
                let message = match plan.change() {
                    WriteKind::Insert { .. } | WriteKind::InsertFrom { .. } => format!("Inserted {rows} row(s)"),
                    WriteKind::Update { .. } | WriteKind::UpdateFrom { .. } => format!("Updated {rows} row(s)"),
                    WriteKind::Delete { .. } | WriteKind::DeleteFrom { .. } => format!("Deleted {rows} row(s)"),
                    // All went at once: nobody counted them.
                    WriteKind::Truncate => format!("Truncated table '{}.{}'", table.namespace, table.name),
                    WriteKind::Answered { .. } => format!("Changed {rows} row(s)"),
                };
                Ok(StatementResult::Message { message, row_count: rows, as_user: run.user.clone() })
            }
            Outcome::Returned { rows, .. } => {
                token.saw(group, index);
                let rows = match answer {
                    None => rows,
                    Some(answer) => self.answer_of_rows(run, rows, answer, token).await?,
                };
                let (schema, as_user) = (schema_of(&run.bound.returning), run.user.clone());
                Ok(StatementResult::Rows { schema, rows, as_user, held: None })
            }
            other => Err(unexpected(other)),
        }
    }
}

/// An outcome that is no answer to the command: refusals as they are, staleness to plan again, the rest is a defect.
pub(super) fn unexpected(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Refused(diag) | Outcome::Conflict(diag) => Failure::Diag(*diag),
        Outcome::StaleCatalog { .. } => Failure::Stale,
        Outcome::Done
        | Outcome::Written(_)
        | Outcome::Returned { .. }
        | Outcome::Backfilled { .. }
        | Outcome::Committed { .. }
        | Outcome::Defined { .. }
        | Outcome::Consumed(_)
        | Outcome::Acked { .. }
        | Outcome::Inbox { .. } => {
            Failure::Diag(Diag::new(SqlState::INTERNAL, "the command was answered with another kind of outcome"))
        }
    }
}

/// The one group that a write of a partitioned table touches.
fn group_of_partitioned(
    layout: Layout,
    table: &Table,
    plan: &WritePlan,
    context: &EvalContext<'_>,
) -> Result<u32, Diag> {
    let groups = match plan.change() {
        WriteKind::Insert { columns, rows, .. } => {
            let mut groups = Vec::with_capacity(rows.len());
            for row in rows {
                let mut values = Vec::new();
                for column in partition_columns(table) {
                    let given = columns.iter().position(|id| *id == column.id).and_then(|at| row.get(at));
                    let expr = match given {
                        Some(Some(expr)) => Some(expr),
                        Some(None) | None => column.default.as_ref(),
                    };
                    if expr.is_some_and(|expr| {
                        !eval::is_immutable(expr) && !matches!(expr, Expr::Param(..) | Expr::Cast { .. })
                    }) {
                        // The shard would be chosen by one clock and checked by another.
                        return Err(Diag::not_supported(format!(
                            "a value of partition column \"{}\" that depends on the time or the user",
                            column.name
                        ))
                        .hint("Give the value as a literal or a parameter."));
                    }
                    values.push(match expr {
                        Some(expr) => evaluate(expr, &[], context)?,
                        None => Value::Null,
                    });
                }
                groups.push(group_of_values(layout, table, &values)?);
            }
            groups
        }
        WriteKind::Update { access, .. } | WriteKind::Delete { access, .. } => {
            groups_of_access(layout, table, access, context)?.ok_or_else(|| {
                Diag::not_supported("a statement that writes several shards").hint(format!(
                    "The table is partitioned: give the value of {} in the WHERE clause.",
                    partition_columns(table).map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
                ))
            })?
        }
        WriteKind::Truncate => return Err(Diag::not_supported("TRUNCATE of a partitioned table")),
        WriteKind::UpdateFrom { rows: ChangedRows::Read(rows), .. }
        | WriteKind::DeleteFrom { rows: ChangedRows::Read(rows) } => {
            let leading = partition_columns(table).count();
            let groups = rows.iter().map(|row| group_of_values(layout, table, row.get(..leading).unwrap_or_default()));
            groups.collect::<Result<_, Diag>>()?
        }
        WriteKind::UpdateFrom { rows: ChangedRows::Asked { access, .. }, .. }
        | WriteKind::DeleteFrom { rows: ChangedRows::Asked { access, .. } } => {
            groups_of_access(layout, table, access, context)?.unwrap_or_default()
        }
        WriteKind::InsertFrom { .. } | WriteKind::Answered { .. } => {
            return Err(Diag::new(SqlState::INTERNAL, "the rows of an INSERT were to be read before they are placed"));
        }
    };
    let mut groups = groups.into_iter();
    let first = groups.next().unwrap_or_else(|| layout.table_group(table.id));
    if groups.any(|group| group != first) {
        return Err(Diag::not_supported("a statement that writes several shards").hint(
            "Send one statement per value of the partition columns; statements of a batch may go to different shards.",
        ));
    }
    Ok(first)
}

/// The groups that an access touches, `None` when its bounds do not fix the partition columns.
pub(super) fn groups_of_access(
    layout: Layout,
    table: &Table,
    access: &TableAccess,
    context: &EvalContext<'_>,
) -> Result<Option<Vec<u32>>, Diag> {
    let TableAccess::Bounds(bounds) = access else { return Ok(None) };
    let needed = usize::try_from(table.partition_columns).unwrap_or(usize::MAX);
    let types: Vec<DataType> = partition_columns(table).map(|column| column.data_type).collect();
    let Some(bounds) = each_alternative(bounds, &types, context)? else { return Ok(None) };
    let mut groups = Vec::new();
    for bound in bounds.iter() {
        let Some(leading) = bound.equal.get(..needed) else { return Ok(None) };
        let values = leading.iter().map(|expr: &Expr| evaluate(expr, &[], context)).collect::<Result<Vec<_>, _>>()?;
        if values.iter().any(|value| matches!(value, Value::Null)) {
            continue;
        }
        groups.push(group_of_values(layout, table, &values)?);
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(Some(groups))
}

pub(super) fn group_of_values(layout: Layout, table: &Table, values: &[Value]) -> Result<u32, Diag> {
    if let Some((column, _)) = partition_columns(table).zip(values).find(|(_, value)| matches!(value, Value::Null)) {
        return Err(Diag::new(
            SqlState::NOT_NULL_VIOLATION,
            format!("null value in column \"{}\" violates not-null constraint", column.name),
        ));
    }
    let encoded = encode_key(values).map_err(|error| Diag::new(SqlState::INTERNAL, error.to_string()))?;
    Ok(layout.partitioned_group(table.id, &encoded))
}

fn partition_columns(table: &Table) -> impl Iterator<Item = &highwater_sql::catalog::Column> {
    let count = usize::try_from(table.partition_columns).unwrap_or(usize::MAX);
    table.primary_key.iter().take(count).filter_map(|at| usize::try_from(*at).ok().and_then(|at| table.columns.get(at)))
}
