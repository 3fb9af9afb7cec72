//! Queries: on the one group that has the rows, or gathered from several; over system tables; over nothing; and, through the
//! dialect's executor, over several of these at once.

use std::cell::RefCell;
use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::catalog::{ObjectId, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{EvalContext, evaluate};
use highwater_sql::execute::{Executor, Source, Surroundings};
use highwater_sql::explain::{self, Setting};
use highwater_sql::expr::Expr;
use highwater_sql::memory::Share;
use highwater_sql::order;
use highwater_sql::pipeline::{Flow, Pipeline, Steps};
use highwater_sql::plan::{Distinct, Explained, From, OutputColumn, Plan, QueryPlan, TableAccess};
use highwater_sql::value::{Row, Value};

use super::Node;
use super::answer::{ResultColumn, StatementResult};
use super::execute::{Failure, Run};
use super::mesh::{Question, ReadPart, ReadRefusal, TableRead, TableRows};
use super::reads;
use super::token::ReadToken;
use super::write::groups_of_access;

/// Results up to this size are not counted while they are sent, in bytes.
const SMALL_RESULT_BYTES: usize = 64 << 10;
/// Rows that are here and go through a pipeline between two pauses.
const ROWS_AT_ONCE: usize = 256;

/// Values of a statement's parameters, followed by those that its subqueries see of outer rows.
type Params = Arc<Vec<Value>>;

/// A statement's reads: what the executor asks for tables. Every read is of the effective user's rows.
pub(super) struct Reading<'r> {
    pub(super) node: &'r Node,
    pub(super) run: &'r Run,
    pub(super) token: RefCell<&'r mut ReadToken>,
}

impl Source for Reading<'_> {
    type Error = Failure;

    async fn read(&self, plan: &Arc<QueryPlan>, params: &Params) -> Result<(Vec<Row>, Steps), Failure> {
        self.node.rows(self.run, plan, params, &self.token).await
    }

    async fn pause(&self) -> Result<(), Failure> {
        self.node.pause(self.run).await
    }

    fn micros(&self) -> u64 {
        self.node.env().now().micros_since(self.run.began)
    }

    fn is_too_much(error: &Failure) -> bool {
        let too_much = [SqlState::PROGRAM_LIMIT, SqlState::OUT_OF_MEMORY];
        matches!(error, Failure::Diag(diag) if too_much.contains(&diag.sqlstate))
    }
}

impl Node {
    pub(super) async fn query(
        &self,
        run: &Run,
        plan: &Arc<QueryPlan>,
        token: &mut ReadToken,
    ) -> Result<StatementResult, Failure> {
        if let Some(streamed) = self.stream(run, plan, token).await? {
            return Ok(streamed);
        }
        let rows = match &plan.from {
            From::Nothing | From::System(_) | From::Table { .. } if plan.before.is_empty() => {
                self.rows(run, plan, &run.params, &RefCell::new(token)).await?.0
            }
            From::Explain(explained) => self.explain(run, explained, token).await?,
            From::Nothing | From::System(_) | From::Table { .. } | From::Tree(_) => {
                let around = self.surroundings(run);
                let source = Reading { node: self, run, token: RefCell::new(token) };
                Executor::new(&source, &around, false).query(plan, Arc::clone(&run.params)).await?
            }
        };
        let held = self.held_to_be_sent(&rows)?;
        Ok(StatementResult::Rows { schema: schema_of(&plan.projection), rows, as_user: run.user.clone(), held })
    }

    /// The memory of a result until its client has taken it.
    fn held_to_be_sent(&self, rows: &[Row]) -> Result<Option<Arc<Share>>, Diag> {
        let size = |row: &Row| size_of::<Row>() + row.iter().map(Value::size).sum::<usize>();
        let bytes: usize = rows.iter().map(size).sum();
        if bytes <= SMALL_RESULT_BYTES {
            return Ok(None);
        }
        let pool = &self.settings().pipeline.pool;
        let mut share = pool.share();
        if share.grow(bytes) { Ok(Some(Arc::new(share))) } else { Err(pool.refusal()) }
    }

    /// The rows of EXPLAIN; with ANALYZE the query runs first.
    async fn explain(&self, run: &Run, explained: &Explained, token: &mut ReadToken) -> Result<Vec<Row>, Failure> {
        let statistics = match &explained.plan {
            Plan::Query(plan) if explained.analyze => {
                let around = self.surroundings(run);
                let source = Reading { node: self, run, token: RefCell::new(token) };
                let executor = Executor::new(&source, &around, true);
                executor.query(plan, Arc::clone(&run.params)).await?;
                Some(executor.into_statistics())
            }
            _ => None,
        };
        let shards = |table: &Table, access: &TableAccess| self.shards_of(run, table, access);
        let table = |id: ObjectId| run.catalog.tables.get(&id).cloned();
        let setting = Setting { statistics: statistics.as_ref(), shards: &shards, table: &table };
        let lines = explain::rows(&explained.plan, &setting, explained.json);
        Ok(lines.into_iter().map(|line| vec![Value::Text(line)]).collect())
    }

    /// Which shards have what is read of a table, in words.
    fn shards_of(&self, run: &Run, table: &Table, access: &TableAccess) -> String {
        let layout = self.layout();
        let all = match table.kind {
            TableKind::User | TableKind::Stream => {
                let group = layout.user_group(&run.user);
                return format!("1 of {} (group {group}, of user {})", layout.user_shards, run.user);
            }
            TableKind::Shared if table.partition_columns == 0 => {
                let group = layout.table_group(table.id);
                return format!("1 of {} (group {group})", layout.shared_shards);
            }
            TableKind::Shared => layout.shared_groups().count(),
        };
        let context = EvalContext::new(run.now, &run.user, run.role, &run.params, 0);
        match groups_of_access(layout, table, access, &context) {
            Ok(Some(groups)) => format!("{} of {all}", groups.len()),
            Ok(None) => format!("all {all}"),
            // What outer rows say is not known before the query runs.
            Err(_) => format!("by outer rows, of {all}"),
        }
    }

    /// What the expressions of a statement may know.
    pub(super) fn surroundings(&self, run: &Run) -> Surroundings {
        Surroundings {
            now: run.now,
            user: run.user.clone(),
            role: run.role,
            seed: run.seed,
            limits: self.settings().pipeline.clone(),
        }
    }

    /// The result of a SELECT over one source.
    async fn rows(
        &self,
        run: &Run,
        plan: &Arc<QueryPlan>,
        params: &Params,
        token: &RefCell<&mut ReadToken>,
    ) -> Result<(Vec<Row>, Steps), Failure> {
        match &plan.from {
            From::Nothing => self.pipe(run, plan, params, std::iter::once(Vec::new())).await,
            From::System(table) => {
                let source = self.system_rows(*table, run).await?;
                self.pipe(run, plan, params, source).await
            }
            From::Table { table, access } => self.table_rows(run, plan, params, table, access, token).await,
            From::Tree(_) | From::Explain(_) => {
                Err(Diag::new(SqlState::INTERNAL, "a tree of relations was read as one table").into())
            }
        }
    }

    async fn table_rows(
        &self,
        run: &Run,
        plan: &Arc<QueryPlan>,
        params: &Params,
        table: &Table,
        access: &TableAccess,
        token: &RefCell<&mut ReadToken>,
    ) -> Result<(Vec<Row>, Steps), Failure> {
        let groups = match table.kind {
            TableKind::User | TableKind::Stream => vec![self.layout().user_group(&run.user)],
            TableKind::Shared if table.partition_columns == 0 => vec![self.layout().table_group(table.id)],
            TableKind::Shared => {
                let context = EvalContext::new(run.now, &run.user, run.role, params, 0);
                groups_of_access(self.layout(), table, access, &context)?
                    .unwrap_or_else(|| self.layout().shared_groups().collect())
            }
        };
        let mark = |group| token.borrow().mark(group);
        if let [group] = groups.as_slice() {
            let found = self.read_group(run, plan, params, *group, ReadPart::Whole, mark(*group)).await?;
            token.borrow_mut().showed(*group, found.shown, run.read_consistency());
            return Ok((found.rows, found.steps));
        }
        let part = ReadPart::Filtered { enough: enough(run, plan, params)? };
        let (mut gathered, mut steps) = (Vec::new(), Steps::default());
        for group in groups {
            let found = self.read_group(run, plan, params, group, part, mark(group)).await?;
            token.borrow_mut().showed(group, found.shown, run.read_consistency());
            steps += found.steps;
            gathered.extend(found.rows);
            if gathered.len() > self.settings().pipeline.max_rows {
                return Err(Diag::new(SqlState::PROGRAM_LIMIT, "the query gathers too many rows from its shards")
                    .hint("Narrow the WHERE clause, or read in pages with LIMIT over key ranges.")
                    .into());
            }
        }
        // The groups have filtered; the rest is done here, over all of them.
        let rest = QueryPlan { filter: None, ..QueryPlan::clone(plan) };
        let (rows, last) = self.pipe(run, &rest, params, gathered).await?;
        Ok((rows, Steps { read: steps.read, micros: steps.micros, ..last }))
    }

    async fn read_group(
        &self,
        run: &Run,
        plan: &Arc<QueryPlan>,
        params: &Params,
        group: u32,
        part: ReadPart,
        at_least: u64,
    ) -> Result<TableRows, Failure> {
        let within = match &run.around.within {
            Some(transaction) => {
                transaction.enter(group, run.errand.deadline).await?;
                (!transaction.is_earlier()).then(|| transaction.key(group))
            }
            None => None,
        };
        let read = TableRead {
            within,
            consistency: run.read_consistency(),
            group,
            plan: Arc::clone(plan),
            params: Arc::clone(params),
            head: run.head.clone(),
            user: run.user.clone(),
            role: run.role,
            now: run.now,
            catalog: run.catalog.version,
            at_least,
            part,
            seed: run.seed ^ u128::from(self.env().random()),
            deadline: run.errand.deadline,
        };
        // A statement of a transaction runs to its end, whoever waits for it.
        let home = run.around.within.as_ref().filter(|_| within.is_some()).and_then(|open| open.home());
        let answer = if let Some(home) = home {
            self.table_of_workspace(home, &read).await
        } else if within.is_none() && self.is_elsewhere(group) {
            self.table_of_home(&read).await
        } else if within.is_none() && self.is_here(group) {
            reads::table(self, &read).await
        } else {
            self.ask(group, |reply| Question::Table(Box::new(read), reply)).await?
        };
        match answer {
            Ok(found) => Ok(found),
            Err(ReadRefusal::StaleCatalog) => Err(Failure::Stale),
            Err(ReadRefusal::Failed(diag)) => Err(Failure::Diag(diag)),
        }
    }

    /// Gives the core away if the time slice is over.
    ///
    /// # Errors
    /// Past the statement's deadline.
    async fn pause(&self, run: &Run) -> Result<(), Failure> {
        let env = self.env();
        env.yield_if_needed().await;
        if env.now() >= run.errand.deadline {
            return Err(Diag::new(SqlState::TIMEOUT, "the query did not end before its deadline")
                .hint("Narrow it with conditions on keys, or ask for less at once.")
                .into());
        }
        Ok(())
    }

    /// Runs the query's operators over rows that are here.
    async fn pipe(
        &self,
        run: &Run,
        plan: &QueryPlan,
        params: &Params,
        rows: impl IntoIterator<Item = Row>,
    ) -> Result<(Vec<Row>, Steps), Failure> {
        let began = self.env().now();
        let context = EvalContext::new(run.now, &run.user, run.role, params, !run.seed);
        let mut pipeline = Pipeline::new(plan, context, self.settings().pipeline.clone())?;
        let mut rows = rows.into_iter();
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for row in rows.by_ref().take(ROWS_AT_ONCE) {
                is_done = matches!(pipeline.push(&row)?, Flow::Done);
                if is_done {
                    break;
                }
            }
            self.pause(run).await?;
        }
        let micros = self.env().now().micros_since(began);
        let (rows, steps) = pipeline.finish_in_portions(async || self.pause(run).await).await?;
        Ok((rows, Steps { micros, ..steps }))
    }
}

/// The columns of a result.
pub(super) fn schema_of(columns: &[OutputColumn]) -> Vec<ResultColumn> {
    let shown = |column: &OutputColumn| ResultColumn {
        name: column.name.clone(),
        data_type: column.data_type,
        primary_key: column.primary_key,
        not_null: column.not_null,
        unique: column.unique,
    };
    columns.iter().map(shown).collect()
}

/// How many filtered rows of a group are enough, when neither aggregates nor DISTINCT nor an order that the group's rows do not come in
/// need all.
fn enough(run: &Run, plan: &QueryPlan, params: &Params) -> Result<Option<u64>, Diag> {
    let is_in_order = plan.order_by.is_empty() || order::of_each_place(plan) == Some(order::Reading::Forward);
    if plan.aggregate.is_some() || !is_in_order || plan.distinct != Distinct::No {
        return Ok(None);
    }
    let context = EvalContext::new(run.now, &run.user, run.role, params, 0);
    let Some(limit) = plan.limit.as_ref().map(|expr| row_count(expr, &context)).transpose()?.flatten() else {
        return Ok(None);
    };
    let offset = plan.offset.as_ref().map(|expr| row_count(expr, &context)).transpose()?.flatten().unwrap_or(0);
    Ok(Some(limit.saturating_add(offset)))
}

/// The value of a LIMIT or OFFSET; NULL is none.
pub(super) fn row_count(expr: &Expr, context: &EvalContext<'_>) -> Result<Option<u64>, Diag> {
    match evaluate(expr, &[], context)? {
        Value::Null => Ok(None),
        Value::BigInt(count) => u64::try_from(count)
            .map(Some)
            .map_err(|_| Diag::new(SqlState::INVALID_LIMIT, "LIMIT and OFFSET must not be negative")),
        _ => Err(Diag::new(SqlState::DATATYPE_MISMATCH, "LIMIT and OFFSET take a whole number")),
    }
}
