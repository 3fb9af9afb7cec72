//! Reads: where rows come from and what is made of them. Stored in commands where a change asks a query: fields and variants are only
//! appended.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Once, Plan, Relation, TableAccess};
use crate::catalog::Table;
use crate::expr::{AggregateCall, Expr};
use crate::value::DataType;

/// A SELECT: steps over the rows of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryPlan {
    /// Subqueries whose values are parameters of everything below.
    pub before: Vec<Once>,
    /// Queries that the text names and nothing here runs: who may not read what they read is refused all the same.
    pub unused: Vec<Arc<QueryPlan>>,
    /// Where rows come from.
    pub from: From,
    /// WHERE, over the source row.
    pub filter: Option<Expr>,
    /// GROUP BY and aggregates; the row of later steps is then the group's keys followed by the calls' results.
    pub aggregate: Option<Aggregate>,
    /// HAVING, over the row of groups.
    pub having: Option<Expr>,
    /// The result's columns, over the row of the step before.
    pub projection: Vec<OutputColumn>,
    /// SELECT DISTINCT.
    pub distinct: Distinct,
    /// ORDER BY, over the row of the step before the projection.
    pub order_by: Vec<SortKey>,
    /// LIMIT: a constant expression (literal or parameter) of type BIGINT.
    pub limit: Option<Expr>,
    /// OFFSET, likewise.
    pub offset: Option<Expr>,
}

impl QueryPlan {
    /// The columns of the source row that anything looks at.
    #[must_use]
    pub fn source_columns(&self) -> BTreeSet<u32> {
        let mut columns = BTreeSet::new();
        let mut look = |expr: &Expr| {
            expr.visit(&mut |part| {
                if let Expr::Column(at, _) = part {
                    columns.insert(*at);
                }
            });
        };
        self.filter.iter().for_each(&mut look);
        match &self.aggregate {
            Some(aggregate) => {
                let args = aggregate.calls.iter().flat_map(|call| &call.args);
                aggregate.keys.iter().chain(args).for_each(look);
            }
            None => {
                let sorted = self.order_by.iter().map(|key| &key.expr);
                self.projection.iter().map(|column| &column.expr).chain(sorted).for_each(look);
            }
        }
        columns
    }
}

/// Where a query's rows come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum From {
    /// One empty row (SELECT without FROM).
    Nothing,
    /// A table; the source row is its columns in order, followed by `_seq` (BIGINT).
    Table {
        /// The table.
        table: Arc<Table>,
        /// The part of the key space that can match.
        access: TableAccess,
    },
    /// A system table; the source row is its columns in order.
    System(SystemTable),
    /// Joins, subqueries and the like.
    Tree(Box<Relation>),
    /// EXPLAIN: rows of one text each. Never part of a change.
    #[serde(skip)]
    Explain(Box<Explained>),
}

/// What EXPLAIN explains.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The statement.
    pub plan: Plan,
    /// ANALYZE: it is run, and what it took is shown.
    pub analyze: bool,
    /// FORMAT JSON.
    pub json: bool,
}

impl PartialEq for Explained {
    /// Only itself: what is explained is not compared.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl QueryPlan {
    /// Shows this SELECT and every other that it names: in FROM, in expressions, in WITH, in what it explains. Each once, however
    /// often it is named.
    pub fn each_plan<'q>(&'q self, see: &mut dyn FnMut(&'q Self)) {
        self.walk(&mut BTreeSet::new(), see);
    }

    fn walk<'q>(&'q self, seen: &mut BTreeSet<usize>, see: &mut dyn FnMut(&'q Self)) {
        if !seen.insert(std::ptr::from_ref(self).addr()) {
            return;
        }
        see(self);
        self.before.iter().for_each(|once| once.plan.walk(seen, see));
        self.unused.iter().for_each(|plan| plan.walk(seen, see));
        match &self.from {
            From::Nothing | From::Table { .. } | From::System(_) => {}
            From::Tree(relation) => relation.each_plan(&mut |plan| plan.walk(seen, see)),
            From::Explain(explained) => match &explained.plan {
                Plan::Query(plan) => plan.walk(seen, see),
                Plan::Write(write) => write.queries().for_each(|plan| plan.walk(seen, see)),
                Plan::Ddl(_)
                | Plan::CreateFrom(_)
                | Plan::User(_)
                | Plan::Consume(_)
                | Plan::Ack(_)
                | Plan::Cluster(_) => {}
            },
        }
    }
}

/// Which rows of a result are left out as repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distinct {
    /// None.
    No,
    /// Rows whose columns are all equal, NULLs being equal to each other.
    Rows,
    /// DISTINCT ON: rows that equal an earlier one in this many leading keys of `order_by`.
    On(usize),
}

/// GROUP BY and its aggregates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    /// Group keys over the source row; empty: one group, present even without rows.
    pub keys: Vec<Expr>,
    /// Aggregates over the source row.
    pub calls: Vec<AggregateCall>,
    /// GROUPING SETS: every row counts once for each, with the keys that are not in it being NULL. Bit n stands for key n. When there are any,
    /// a BIGINT stands between the keys and the results: bit n is set where key n is not in the set of the row.
    pub sets: Vec<u64>,
}

impl Aggregate {
    /// Columns of the row of groups before the results of the calls.
    #[must_use]
    pub fn leading(&self) -> usize {
        self.keys.len() + usize::from(!self.sets.is_empty())
    }
}

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputColumn {
    /// Name shown.
    pub name: String,
    /// Its value.
    pub expr: Expr,
    /// Its type.
    pub data_type: DataType,
    /// It is a key column of the table.
    pub primary_key: bool,
    /// It cannot be NULL.
    pub not_null: bool,
    /// It is unique by itself.
    pub unique: bool,
}

/// One ORDER BY item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SortKey {
    /// What to sort by.
    pub expr: Expr,
    /// DESC.
    pub descending: bool,
    /// NULLs first (the default for DESC, as PostgreSQL).
    pub nulls_first: bool,
}

/// The system tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the system table of that name")]
pub enum SystemTable {
    Users,
    AuditLog,
    /// The newest log lines of the node.
    ServerLogs,
    /// Open sessions of the node.
    Sessions,
    /// Open transactions of the node.
    Transactions,
    Namespaces,
    Tables,
    Columns,
    Topics,
    TopicOffsets,
    Jobs,
    Indexes,
    Settings,
    Cluster,
    ClusterGroups,
    Stats,
}
