//! Conditions on a subquery in FROM, or on a query of WITH that stands in its reader's place: judged as far inside of it as that changes nothing.
//!
//! They pass what keeps rows as they are: a SELECT without groups, DISTINCT and LIMIT, and the sides of UNION ALL. Those that compare what rows
//! are grouped or partitioned by alone pass groups and windows too: they keep groups and partitions whole. Volatile ones stay where they
//! were written, as PostgreSQL has it, and nothing passes an output column that is volatile.

use std::sync::Arc;

use super::tree::{all_of, conjuncts, passed, plain};
use crate::bind::bounds;
use crate::eval;
use crate::expr::{BinaryOp, Expr, UnaryOp};
use crate::plan::{
    Aggregate, Distinct, From, OutputColumn, QueryPlan, Relation, SetOperation, SetOperator, WindowCall,
};
use crate::value::DataType;

/// These columns of a subquery in FROM where the conditions hold. They are judged inside it where that changes nothing.
pub(super) fn derived(plan: &Arc<QueryPlan>, wanted: &[u32], conditions: Vec<Expr>) -> Relation {
    let is_whole = wanted.len() == plan.projection.len();
    if conditions.is_empty() && is_whole {
        return Relation::Block(Arc::clone(plan));
    }
    let projection: Vec<OutputColumn> =
        wanted.iter().filter_map(|at| plan.projection.get(*at as usize).cloned()).collect();
    let (plan, conditions) = &before_groups(plan, conditions);
    if !is_open(plan) {
        if conditions.is_empty() && is_whole {
            return Relation::Block(Arc::clone(plan));
        }
        let passed_on = wanted
            .iter()
            .zip(projection)
            .map(|(at, column)| OutputColumn { expr: Expr::Column(*at, column.data_type), ..column });
        let from = From::Tree(Box::new(Relation::Block(Arc::clone(plan))));
        return Relation::Block(Arc::new(plain(from, all_of(conditions.clone()), passed_on.collect())));
    }
    let inside = |expr: &Expr| substituted(expr, &plan.projection);
    let inner = QueryPlan { projection, ..QueryPlan::clone(plan) };
    Relation::Block(Arc::new(filtered(inner, conditions.iter().map(inside).collect())))
}

/// A SELECT with these conditions on its source rows, too.
fn filtered(mut inner: QueryPlan, conditions: Vec<Expr>) -> QueryPlan {
    inner.filter = all_of(inner.filter.take().into_iter().chain(conditions).collect());
    match &mut inner.from {
        From::Table { table, access } => *access = bounds::access(table, inner.filter.as_ref()),
        From::Tree(relation) if takes_conditions(relation) => {
            let mut all = Vec::new();
            inner.filter.iter().for_each(|filter| conjuncts(filter, &mut all));
            let (stay, sink): (Vec<Expr>, Vec<Expr>) = all.into_iter().partition(eval::is_volatile);
            if !sink.is_empty() {
                **relation = sunk(relation, sink);
                inner.filter = all_of(stay);
            }
        }
        From::Tree(relation) => {
            if let Relation::Window { input, calls } = relation.as_mut() {
                let mut all = Vec::new();
                inner.filter.iter().for_each(|filter| conjuncts(filter, &mut all));
                let (sink, stay): (Vec<Expr>, Vec<Expr>) =
                    all.into_iter().partition(|condition| keeps_partitions(condition, calls));
                if !sink.is_empty() {
                    **input = sunk(input, sink);
                    inner.filter = all_of(stay);
                }
            }
        }
        From::Nothing | From::System(_) | From::Explain(_) => {}
    }
    inner
}

/// A SELECT with groups, in which the conditions on what it groups by are judged before them, and the conditions that are left.
fn before_groups(plan: &Arc<QueryPlan>, conditions: Vec<Expr>) -> (Arc<QueryPlan>, Vec<Expr>) {
    let Some(Aggregate { keys, sets, .. }) = &plan.aggregate else { return (Arc::clone(plan), conditions) };
    let is_cut = plan.distinct != Distinct::No || plan.limit.is_some() || plan.offset.is_some() || !sets.is_empty();
    let mut values = plan.projection.iter().map(|column| &column.expr).chain(keys);
    if is_cut || values.any(eval::is_volatile) {
        return (Arc::clone(plan), conditions);
    }
    let by_keys: Vec<OutputColumn> = keys.iter().map(|key| passed("", key.clone())).collect();
    let (mut before, mut left) = (Vec::new(), Vec::new());
    for condition in conditions {
        let of_groups = substituted(&condition, &plan.projection);
        if compares(&of_groups, &|at| (at as usize) < keys.len()) {
            before.push(substituted(&of_groups, &by_keys));
        } else {
            left.push(condition);
        }
    }
    if before.is_empty() {
        return (Arc::clone(plan), left);
    }
    (Arc::new(filtered(QueryPlan::clone(plan), before)), left)
}

/// Whether a condition holds for all rows of a partition of every window or for none.
fn keeps_partitions(condition: &Expr, calls: &[WindowCall]) -> bool {
    let is_key = |at: u32, call: &WindowCall| {
        call.partition_by.iter().any(|key| matches!(key, Expr::Column(known, _) if *known == at))
    };
    compares(condition, &|at| calls.iter().all(|call| is_key(at, call)))
}

/// Whether a condition does nothing but compare these columns, and at least one, with what is constant: values that are equal and not the same, as
/// 1.0 and 1.00, make no difference to it.
fn compares(condition: &Expr, is_known: &dyn Fn(u32) -> bool) -> bool {
    let (mut is_plain, mut looks) = (true, false);
    condition.visit(&mut |part| {
        is_plain &= match part {
            Expr::Column(at, _) => {
                looks = true;
                is_known(*at)
            }
            Expr::Literal(..) | Expr::Param(..) | Expr::IsNull { .. } | Expr::InList { .. } => true,
            Expr::Unary { op, .. } => *op == UnaryOp::Not,
            Expr::Binary { op, .. } => op.is_comparison() || matches!(op, BinaryOp::And | BinaryOp::Or),
            _ => false,
        };
    });
    is_plain && looks
}

/// Whether a condition on the rows of a SELECT may be judged before them.
fn is_open(plan: &QueryPlan) -> bool {
    plan.aggregate.is_none()
        && plan.distinct == Distinct::No
        && plan.limit.is_none()
        && plan.offset.is_none()
        && !plan.projection.iter().any(|column| eval::is_volatile(&column.expr))
}

/// Whether conditions on the rows of a relation may be judged inside of it.
fn takes_conditions(relation: &Relation) -> bool {
    match relation {
        Relation::Block(plan) => is_open(plan),
        Relation::Set(set) => {
            let is_known = |side: &Relation| types(side).is_some_and(|types| types.len() == set.types.len());
            set.operator == SetOperator::Union && set.all && is_known(&set.left) && is_known(&set.right)
        }
        _ => false,
    }
}

/// The types of a relation's columns, where it tells them.
fn types(relation: &Relation) -> Option<Vec<DataType>> {
    match relation {
        Relation::Block(plan) => Some(plan.projection.iter().map(|column| column.data_type).collect()),
        Relation::Set(set) => Some(set.types.clone()),
        Relation::Filter { input, .. } => types(input),
        Relation::Values(rows) => rows.first().map(|row| row.iter().map(eval::data_type).collect()),
        _ => None,
    }
}

/// The rows of a relation for which these conditions, none of them volatile, hold.
fn sunk(relation: &Relation, conditions: Vec<Expr>) -> Relation {
    match relation {
        Relation::Block(plan) if is_open(plan) => {
            let all: Vec<u32> = (0_u32..).zip(&plan.projection).map(|(at, _)| at).collect();
            derived(plan, &all, conditions)
        }
        Relation::Set(set) if takes_conditions(relation) => {
            let side = |side: &Relation| {
                let own = types(side).unwrap_or_default();
                sunk(side, conditions.iter().map(|condition| over_side(condition, &own, &set.types)).collect())
            };
            let (left, right) = (side(&set.left), side(&set.right));
            Relation::Set(Box::new(SetOperation { left, right, types: set.types.clone(), ..**set }))
        }
        other => match all_of(conditions) {
            Some(condition) => Relation::Filter { input: Box::new(other.clone()), condition },
            None => other.clone(),
        },
    }
}

/// A condition over the rows of UNION, as one over those of a side, whose values are brought to the types of the whole.
fn over_side(condition: &Expr, own: &[DataType], whole: &[DataType]) -> Expr {
    match condition {
        Expr::Column(at, _) => {
            let index = usize::try_from(*at).unwrap_or(usize::MAX);
            match (own.get(index), whole.get(index)) {
                (Some(from), Some(to)) if !from.same_kind(to) => {
                    Expr::Cast { expr: Box::new(Expr::Column(*at, *from)), to: *to, assignment: false }
                }
                _ => condition.clone(),
            }
        }
        other => other.with_children(&mut |part| Ok(over_side(part, own, whole))).unwrap_or_else(|_| condition.clone()),
    }
}

/// An expression over a SELECT's result, as one over what it reads.
fn substituted(expr: &Expr, projection: &[OutputColumn]) -> Expr {
    match expr {
        Expr::Column(at, _) => projection.get(*at as usize).map_or_else(|| expr.clone(), |column| column.expr.clone()),
        other => other.with_children(&mut |part| Ok(substituted(part, projection))).unwrap_or_else(|_| other.clone()),
    }
}
