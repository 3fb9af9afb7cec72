//! A database in memory: stored rows under their keys, read by the planner's key ranges through a pipeline.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use highwater_sql::bind::{BindContext, bind};
use highwater_sql::cast::fit;
use highwater_sql::catalog::{
    Catalog, CatalogDelta, CatalogVersion, Index, IndexState, Namespace, ObjectId, Role, Table,
};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{EvalContext, evaluate, is_true};
use highwater_sql::execute::{Executor, Source, Surroundings};
use highwater_sql::key::{KeyRange, encode_index, encode_key, resolve_access, resolve_index};
use highwater_sql::memory::Pool;
use highwater_sql::order::{self, Reading};
use highwater_sql::parse::parse;
use highwater_sql::pipeline::{Flow, Pipeline, PipelineLimits, Steps};
use highwater_sql::plan::{ChangedRows, Ddl, From, Plan, QueryPlan, TableAccess, TableSpec, WriteKind, WritePlan};
use highwater_sql::row::{decode_row, encode_row};
use highwater_sql::value::{Row, Value};

/// 2026-01-02 03:04:05 UTC.
pub const NOW: i64 = 1_767_323_045_000_000;
pub const LIMITS: PipelineLimits = PipelineLimits { max_rows: 10_000, max_bytes: 16 << 20, pool: Pool::unbounded() };

/// Tables in memory.
pub struct Database {
    pub catalog: Catalog,
    pub rows: BTreeMap<ObjectId, BTreeMap<Vec<u8>, Vec<u8>>>,
    pub seq: u64,
    /// How many rows the last query looked at.
    pub visited: Cell<usize>,
}

impl Database {
    pub fn new() -> Self {
        let mut catalog = Catalog::default();
        catalog
            .advance(CatalogVersion(1), &[CatalogDelta::PutNamespace(Namespace { name: "app".into(), created_at: 0 })]);
        Self { catalog, rows: BTreeMap::new(), seq: 0, visited: Cell::new(0) }
    }

    /// What one statement answers, as text.
    pub fn run(&mut self, sql: &str) -> String {
        self.try_run(sql).unwrap_or_else(|diag| {
            let hint = diag.hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            format!("error {}: {}{hint}", diag.sqlstate, diag.message)
        })
    }

    pub fn try_run(&mut self, sql: &str) -> Result<String, Diag> {
        let mut answer = String::new();
        for statement in parse(sql)? {
            let context = BindContext { catalog: &self.catalog, namespace: "app", user: "alice", role: Role::Dba };
            answer = match bind(&statement, &context)?.plan {
                Plan::Query(plan) => shown(&self.query(&plan)?),
                Plan::Write(plan) => format!("{} rows", self.write(&plan)?),
                Plan::Ddl(Ddl::CreateTable { table, .. }) => self.create(table),
                Plan::Ddl(Ddl::CreateIndex { table, index, .. }) => {
                    let mut table = Table::clone(&self.catalog.tables[&table]);
                    let id = ObjectId(self.catalog.version.0 + 1);
                    table.indexes.push(index.into_index(ObjectId(id.0 + 1000), IndexState::Public));
                    self.catalog.advance(CatalogVersion(id.0), &[CatalogDelta::PutTable(Arc::new(table))]);
                    "created".into()
                }
                _ => panic!("this test knows no such statement"),
            };
        }
        Ok(answer)
    }

    pub fn create(&mut self, spec: TableSpec) -> String {
        let id = ObjectId(self.catalog.version.0 + 1);
        let table = spec.into_table(id, 0);
        self.catalog.advance(CatalogVersion(id.0), &[CatalogDelta::PutTable(Arc::new(table))]);
        self.rows.insert(id, BTreeMap::new());
        "created".into()
    }

    /// Keys and rows that the access names, `_seq` not yet among the values.
    pub fn scan(&self, table: &Table, access: &TableAccess) -> Result<Vec<(Vec<u8>, Row, u64)>, Diag> {
        self.scan_with(table, access, &[])
    }

    pub fn scan_with(
        &self,
        table: &Table,
        access: &TableAccess,
        params: &[Value],
    ) -> Result<Vec<(Vec<u8>, Row, u64)>, Diag> {
        let context = EvalContext::new(NOW, "alice", Role::Dba, params, 7);
        if let TableAccess::Index { index, bounds } = access {
            return self.scan_index(
                table,
                table.index(*index).unwrap(),
                &resolve_index(bounds, table, table.index(*index).unwrap(), &context)?,
            );
        }
        let ranges = resolve_access(access, table, &context)?;
        assert!(
            ranges.is_sorted()
                && ranges.windows(2).all(|pair| pair[0].end.as_ref().is_some_and(|end| *end <= pair[1].start))
        );
        let stored = self.rows[&table.id].iter().filter(|(key, _)| ranges.iter().any(|range| range.contains(key)));
        stored
            .map(|(key, bytes)| decode_row(table, bytes).map(|(row, seq)| (key.clone(), row, seq)).map_err(Diag::from))
            .collect()
    }

    /// Rows whose index entries lie in the ranges, in the order of the entries.
    pub fn scan_index(
        &self,
        table: &Table,
        index: &Index,
        ranges: &[KeyRange],
    ) -> Result<Vec<(Vec<u8>, Row, u64)>, Diag> {
        let mut found = Vec::new();
        for (key, bytes) in &self.rows[&table.id] {
            let (row, seq) = decode_row(table, bytes)?;
            let values = index.columns.iter().map(|part| &row[table.position(part.column).unwrap()]);
            let entry = encode_index(values)?.bytes;
            if ranges.iter().any(|range| range.contains(&entry)) {
                found.push((entry, (key.clone(), row, seq)));
            }
        }
        // Entries of the same values are in the order of the rows' keys.
        found.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(found.into_iter().map(|(_, row)| row).collect())
    }

    pub fn query(&mut self, plan: &Arc<QueryPlan>) -> Result<Vec<Row>, Diag> {
        // A subquery that reads at once what it looks up answers the same.
        let at_once = self.query_with(plan, Some(0));
        let rows = self.query_with(plan, None);
        let sorted = |rows: &Result<Vec<Row>, Diag>| {
            let mut rows =
                rows.as_ref().map(|rows| rows.iter().map(|row| format!("{row:?}")).collect::<Vec<_>>()).ok()?;
            rows.sort();
            Some(rows)
        };
        assert_eq!(sorted(&rows), sorted(&at_once));
        rows
    }

    /// Runs a query whose subqueries read at once what they look up after so many runs.
    pub fn query_with(&self, plan: &Arc<QueryPlan>, many_runs: Option<u64>) -> Result<Vec<Row>, Diag> {
        self.visited.set(0);
        let around = Surroundings { now: NOW, user: "alice".into(), role: Role::Dba, seed: 7, limits: LIMITS };
        let executor = Executor::new(self, &around, false);
        let executor = match many_runs {
            Some(runs) => executor.with_many_runs(runs),
            None => executor,
        };
        finished(executor.query(plan, Arc::default()))
    }

    pub async fn table_rows(&self, plan: &QueryPlan, params: &[Value]) -> Result<(Vec<Row>, Steps), Diag> {
        let mut pipeline = Pipeline::new(plan, EvalContext::new(NOW, "alice", Role::Dba, params, 7), LIMITS)?;
        let From::Table { table, access } = &plan.from else { panic!("this test has no system tables") };
        let mut rows = self.scan_with(table, access, params)?;
        match order::of(plan) {
            None => {}
            Some(Reading::Forward) => pipeline = pipeline.in_order(),
            Some(Reading::Backward) => {
                pipeline = pipeline.in_order();
                rows.reverse();
            }
        }
        for (_, mut row, seq) in rows {
            row.push(Value::BigInt(i64::try_from(seq).unwrap()));
            if pipeline.is_done() {
                break;
            }
            self.visited.set(self.visited.get() + 1);
            if pipeline.push(&row)? == Flow::Done {
                break;
            }
        }
        pipeline.finish_in_portions(async || Ok(())).await
    }

    pub fn write(&mut self, plan: &WritePlan) -> Result<usize, Diag> {
        let table = Arc::clone(&self.catalog.tables[&plan.table]);
        let context = context();
        match &plan.kind {
            WriteKind::Insert { columns, rows, .. } => {
                for exprs in rows {
                    let mut row: Vec<Option<Value>> = vec![None; table.columns.len()];
                    for (id, expr) in columns.iter().zip(exprs) {
                        let at = table.columns.iter().position(|column| column.id == *id).unwrap();
                        row[at] = expr.as_ref().map(|expr| evaluate(expr, &[], &context)).transpose()?;
                    }
                    let mut complete = Vec::new();
                    for (value, column) in row.into_iter().zip(&table.columns) {
                        complete.push(match (value, &column.default) {
                            (Some(value), _) => value,
                            (None, Some(default)) => evaluate(default, &[], &context)?,
                            (None, None) => Value::Null,
                        });
                    }
                    self.put(&table, complete, None, &context)?;
                }
                Ok(rows.len())
            }
            WriteKind::Update { assignments, access, filter } => {
                let mut changed = 0;
                for (key, row, _) in self.scan(&table, access)? {
                    if let Some(filter) = filter
                        && !is_true(filter, &row, &context)?
                    {
                        continue;
                    }
                    let mut new = row.clone();
                    for (id, expr) in assignments {
                        let at = table.columns.iter().position(|column| column.id == *id).unwrap();
                        new[at] = expr.as_ref().map_or(Ok(Value::Null), |expr| evaluate(expr, &row, &context))?;
                    }
                    self.put(&table, new, Some(&key), &context)?;
                    changed += 1;
                }
                Ok(changed)
            }
            WriteKind::Delete { access, filter } => {
                let mut removed = 0;
                for (key, row, _) in self.scan(&table, access)? {
                    if filter.as_ref().map_or(Ok(true), |filter| is_true(filter, &row, &context))? {
                        self.rows.get_mut(&table.id).unwrap().remove(&key);
                        removed += 1;
                    }
                }
                Ok(removed)
            }
            WriteKind::InsertFrom { columns, types, query, .. } => {
                let rows = self.query(query)?;
                for given in &rows {
                    let mut row: Vec<Option<Value>> = vec![None; table.columns.len()];
                    for ((id, value), to) in columns.iter().zip(given).zip(types) {
                        let at = table.columns.iter().position(|column| column.id == *id).unwrap();
                        row[at] = Some(highwater_sql::cast::cast(value.clone(), *to, true)?);
                    }
                    let mut complete = Vec::new();
                    for (value, column) in row.into_iter().zip(&table.columns) {
                        complete.push(match (value, &column.default) {
                            (Some(value), _) => value,
                            (None, Some(default)) => evaluate(default, &[], &context)?,
                            (None, None) => Value::Null,
                        });
                    }
                    self.put(&table, complete, None, &context)?;
                }
                Ok(rows.len())
            }
            WriteKind::UpdateFrom { rows: ChangedRows::Asked { query, .. }, .. }
            | WriteKind::DeleteFrom { rows: ChangedRows::Asked { query, .. } } => {
                let width = table.primary_key.len();
                let mut changed = BTreeMap::new();
                for row in self.query(query)? {
                    changed.entry(encode_key(&row[..width])?).or_insert(row);
                }
                for (key, values) in &changed {
                    let WriteKind::UpdateFrom { assignments, .. } = &plan.kind else {
                        self.rows.get_mut(&table.id).unwrap().remove(key);
                        continue;
                    };
                    let found = self.scan(&table, &TableAccess::Full)?.into_iter().find(|(other, ..)| other == key);
                    let mut new = found.unwrap().1;
                    for (id, place) in assignments {
                        let at = table.columns.iter().position(|column| column.id == *id).unwrap();
                        new[at] = place.map_or(Value::Null, |place| values[place as usize].clone());
                    }
                    self.put(&table, new, Some(key), &context)?;
                }
                Ok(changed.len())
            }
            WriteKind::Truncate
            | WriteKind::UpdateFrom { .. }
            | WriteKind::DeleteFrom { .. }
            | WriteKind::Answered { .. } => {
                panic!("this test knows no such statement")
            }
        }
    }

    /// Checks and stores one row, in place of the one under `old`.
    pub fn put(
        &mut self,
        table: &Table,
        mut row: Row,
        old: Option<&[u8]>,
        context: &EvalContext<'_>,
    ) -> Result<(), Diag> {
        for (value, column) in row.iter_mut().zip(&table.columns) {
            if let Some(limit) = column.max_chars {
                *value = fit(value.clone(), limit)?;
            }
            if value.is_null() && !column.nullable {
                return Err(Diag::new(SqlState::NOT_NULL_VIOLATION, format!("\"{}\" cannot be NULL", column.name)));
            }
        }
        for check in &table.checks {
            if evaluate(&check.expr, &row, context)? == Value::Boolean(false) {
                return Err(Diag::new(SqlState::CHECK_VIOLATION, format!("check \"{}\" is violated", check.name)));
            }
        }
        let key = encode_key(&table.primary_key.iter().map(|at| row[*at as usize].clone()).collect::<Vec<_>>())?;
        let rows = self.rows.get_mut(&table.id).unwrap();
        match old {
            Some(old) => {
                rows.remove(old);
            }
            None if rows.contains_key(&key) => return Err(Diag::new(SqlState::UNIQUE_VIOLATION, "duplicate key")),
            None => {}
        }
        self.seq += 1;
        rows.insert(key, encode_row(table, &row, self.seq));
        Ok(())
    }
}

impl Source for Database {
    type Error = Diag;

    async fn read(&self, plan: &Arc<QueryPlan>, params: &Arc<Vec<Value>>) -> Result<(Vec<Row>, Steps), Diag> {
        self.table_rows(plan, params).await
    }

    async fn pause(&self) -> Result<(), Diag> {
        Ok(())
    }

    fn micros(&self) -> u64 {
        0
    }

    fn is_too_much(error: &Diag) -> bool {
        error.sqlstate == SqlState::PROGRAM_LIMIT
    }
}

/// What a future that never waits gives.
pub fn finished<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here waits"),
    }
}

pub fn context() -> EvalContext<'static> {
    EvalContext::new(NOW, "alice", Role::Dba, &[], 7)
}

pub fn shown(rows: &[Row]) -> String {
    rows.iter()
        .map(|row| row.iter().map(Value::to_string).collect::<Vec<_>>().join(" | "))
        .collect::<Vec<_>>()
        .join("\n")
}
