//! CREATE TABLE ... AS: the query's rows are read, put into a table that nobody knows by its name yet, and then that gets its name.
//!
//! So the table is there with all of its rows or not at all, and the definition that names it is what a request id stands for. What is left of a
//! copy that failed is dropped; a node that ends in between leaves a table `<name>__copy_<number>`, which `DROP TABLE` removes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::catalog::{ColumnId, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::execute::Executor;
use highwater_sql::expr::Expr;
use highwater_sql::limits::MAX_NAME_CHARS;
use highwater_sql::plan::{CreateFrom, Ddl, TableChange, TableSpec, WriteKind, WritePlan};
use highwater_sql::value::{Row, Value};
use highwater_state::command::{Command, MetaCommand, RequestHead, WriteCommand};
use highwater_state::outcome::Outcome;

use super::Node;
use super::answer::StatementResult;
use super::execute::{Failure, Pauses, Run};
use super::forward::Motion;
use super::query::Reading;
use super::token::ReadToken;
use super::write::{group_of_values, unexpected};

/// What stands in the name of a table that is not whole yet.
const COPY: &str = "__copy_";
/// Most rows of one command.
const ROWS_AT_ONCE: usize = 5_000;
/// Rows that are looked at between two pauses.
const YIELD_ROWS: u32 = 256;
/// Bytes of rows after which a command is full.
const BYTES_AT_ONCE: usize = 2 << 20;

/// The answer to a statement that was answered before: what it ended with was giving the copy its name.
fn shown(result: StatementResult, wanted: &TableSpec) -> StatementResult {
    match result {
        StatementResult::Message { message, row_count, as_user } if message.contains(COPY) => {
            let message = format!(
                "Created table '{}.{}' with a copy of rows, which does not follow later changes",
                wanted.namespace, wanted.name
            );
            StatementResult::Message { message, row_count, as_user }
        }
        other => other,
    }
}

impl Node {
    pub(super) async fn create_from(
        &self,
        run: &Run,
        create: &CreateFrom,
        token: &mut ReadToken,
    ) -> Result<StatementResult, Failure> {
        let wanted = &create.table;
        let named = |ddl| Ddl::CreateTable { table: ddl, if_not_exists: create.if_not_exists };
        // There already, perhaps by a first try: the meta group says which.
        if !create.with_data || run.catalog.table(&wanted.namespace, &wanted.name).is_some() {
            return self.define(run, named(wanted.clone())).await.map(|result| shown(result, wanted));
        }
        let rows = {
            let around = self.surroundings(run);
            let source = Reading { node: self, run, token: RefCell::new(&mut *token) };
            Executor::new(&source, &around, false).query(&create.query, Arc::clone(&run.params)).await?
        };
        let mut unnamed = wanted.clone();
        let suffix = format!("{COPY}{:016x}", self.env().random());
        unnamed.name = wanted.name.chars().take(MAX_NAME_CHARS - suffix.len()).chain(suffix.chars()).collect();
        let (namespace, name) = (unnamed.namespace.clone(), unnamed.name.clone());
        self.step(run, Ddl::CreateTable { table: unnamed, if_not_exists: false }).await?;
        let copied = self.copied(run, &namespace, &name, rows, token).await;
        let catalog = self.catalog();
        let is_named = catalog.table(&wanted.namespace, &wanted.name).is_some();
        let is_left = catalog.table(&namespace, &name).is_some();
        if is_left && (copied.is_err() || is_named) {
            let dropped = self.step(run, Ddl::DropTable { namespace, name: name.clone(), if_exists: true }).await;
            if let Err(Failure::Diag(diag)) = dropped {
                tracing::warn!(%diag, table = %name, "what is left of a table that was not made could not be dropped");
            }
        }
        let rows = copied.map_err(|failure| match failure {
            Failure::Diag(diag) => Failure::Diag(diag.renamed(&name, &wanted.name)),
            Failure::Stale => Failure::Stale,
        })?;
        let message = format!(
            "Created table '{}.{}' with a copy of {rows} row(s), which does not follow later changes",
            wanted.namespace, wanted.name
        );
        Ok(StatementResult::Message { message, row_count: rows, as_user: run.user.clone() })
    }

    /// A definition on the way, which no request id stands for.
    async fn step(&self, run: &Run, ddl: Ddl) -> Result<(), Failure> {
        let head = RequestHead { request: None, ..run.head.clone() };
        self.define_meta(run.errand, &run.user, MetaCommand::Ddl { head, ddl }).await.map(|_| ())
    }

    /// Puts the rows into the table and gives it its name; tells how many.
    async fn copied(
        &self,
        run: &Run,
        namespace: &str,
        name: &str,
        rows: Vec<Row>,
        token: &mut ReadToken,
    ) -> Result<u64, Failure> {
        let Some(table) = self.newest_catalog_by(run.errand.deadline).await?.table(namespace, name).cloned() else {
            return Err(Diag::new(SqlState::INTERNAL, "a table that was just made is not there").into());
        };
        let count = rows.len() as u64;
        let mut parts: BTreeMap<u32, Vec<Row>> = BTreeMap::new();
        for (row, at) in rows.into_iter().zip(0_u32..) {
            parts.entry(self.group_of_row(run, &table, &row)?).or_default().push(row);
            if at.is_multiple_of(YIELD_ROWS) {
                self.env().yield_if_needed().await;
            }
        }
        for (group, rows) in parts {
            let mut rows = rows.into_iter().peekable();
            while rows.peek().is_some() {
                let (mut part, mut bytes) = (Vec::new(), 0);
                while part.len() < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE {
                    let Some(row) = rows.next() else { break };
                    bytes += row.iter().map(Value::size).sum::<usize>();
                    part.push(values(&table, row));
                }
                let index = self.copy_part(run, &table, group, part).await?;
                token.saw(group, index);
            }
        }
        let wanted = match &run.bound.plan {
            highwater_sql::plan::Plan::CreateFrom(create) => create.table.name.clone(),
            _ => return Err(Diag::new(SqlState::INTERNAL, "a copy without its statement").into()),
        };
        let change = TableChange::Rename(wanted);
        self.define(run, Ddl::AlterTable { table: table.id, table_version: table.version, change }).await?;
        Ok(count)
    }

    fn group_of_row(&self, run: &Run, table: &Table, row: &Row) -> Result<u32, Diag> {
        Ok(match table.kind {
            TableKind::User | TableKind::Stream => self.layout().user_group(&run.user),
            TableKind::Shared if table.partition_columns == 0 => self.layout().table_group(table.id),
            TableKind::Shared => {
                let leading = table.primary_key.iter().take(table.partition_columns as usize);
                let values: Vec<Value> =
                    leading.map(|at| row.get(*at as usize).cloned().unwrap_or(Value::Null)).collect();
                group_of_values(self.layout(), table, &values)?
            }
        })
    }

    /// One command of rows; gives its index.
    async fn copy_part(
        &self,
        run: &Run,
        table: &Table,
        group: u32,
        rows: Vec<Vec<Option<Expr>>>,
    ) -> Result<u64, Failure> {
        let columns: Vec<ColumnId> = table.columns.iter().map(|column| column.id).collect();
        let kind = WriteKind::Insert { columns, rows, conflict: None };
        let plan = WritePlan { table: table.id, table_version: table.version, kind, returning: Vec::new() };
        let head = RequestHead { request: None, ..run.head.clone() };
        let command = Command::Write(WriteCommand { head, user: run.user.clone(), plan, params: Vec::new() });
        let mut pauses = Pauses::default();
        loop {
            let motion = Motion::of_client(run.errand, group, command.clone(), Some(self.catalog()));
            let applied = self.propose(motion).await?;
            match applied.outcome {
                Outcome::Written(_) => return Ok(applied.index),
                Outcome::StaleCatalog { .. } => self.before_next_plan(&mut pauses, run.errand.deadline).await?,
                other => return Err(unexpected(other)),
            }
        }
    }
}

/// A row as one of VALUES.
fn values(table: &Table, row: Row) -> Vec<Option<Expr>> {
    row.into_iter().zip(&table.columns).map(|(value, column)| Some(Expr::Literal(value, column.data_type))).collect()
}
