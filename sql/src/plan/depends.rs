//! What the rows of a part of a plan depend on, besides what is stored: whether they are the same whenever the part runs within a statement.

use std::collections::BTreeSet;

use super::{From, KeyBounds, Meaning, QueryPlan, Relation, TableAccess, WindowFunction};
use crate::eval;
use crate::expr::Expr;
use crate::plan::{FIRST_SLOT, FrameBound};

/// What the rows depend on.
#[derive(Debug, Default)]
pub(crate) struct Dependencies {
    used: BTreeSet<u16>,
    made: BTreeSet<u16>,
    rounds_used: BTreeSet<u32>,
    rounds_made: BTreeSet<u32>,
    varies: bool,
}

impl Dependencies {
    /// Those of a relation.
    pub(crate) fn of(relation: &Relation) -> Self {
        let mut all = Self::default();
        all.relation(relation);
        all
    }

    /// Those of a SELECT.
    pub(crate) fn of_plan(plan: &QueryPlan) -> Self {
        let mut all = Self::default();
        all.plan(plan);
        all
    }

    /// The values of enclosing queries that the rows depend on; `None` where they depend on more: rounds, chance, the state of the node.
    pub(crate) fn slots(&self) -> Option<Vec<u16>> {
        if self.varies || !self.rounds_used.is_subset(&self.rounds_made) {
            return None;
        }
        Some(self.used.difference(&self.made).copied().collect())
    }

    fn expr(&mut self, expr: &Expr) {
        self.varies |= eval::is_volatile(expr);
        expr.visit(&mut |part| {
            if let Expr::Param(slot, _) = part
                && *slot >= FIRST_SLOT
            {
                self.used.insert(*slot);
            }
        });
    }

    fn exprs<'e>(&mut self, exprs: impl IntoIterator<Item = &'e Expr>) {
        exprs.into_iter().for_each(|expr| self.expr(expr));
    }

    fn seen(&mut self, outer: &[(u16, Expr)]) {
        for (slot, value) in outer {
            self.made.insert(*slot);
            self.expr(value);
        }
    }

    fn plan(&mut self, plan: &QueryPlan) {
        for once in &plan.before {
            self.made.insert(once.slot);
            self.plan(&once.plan);
        }
        match &plan.from {
            From::Nothing => {}
            From::Table { access, .. } => self.access(access),
            From::System(_) | From::Explain(_) => self.varies = true,
            From::Tree(relation) => self.relation(relation),
        }
        self.exprs(plan.filter.iter().chain(&plan.having).chain(&plan.limit).chain(&plan.offset));
        if let Some(aggregate) = &plan.aggregate {
            self.exprs(aggregate.keys.iter().chain(aggregate.calls.iter().flat_map(|call| &call.args)));
        }
        self.exprs(plan.projection.iter().map(|column| &column.expr));
        self.exprs(plan.order_by.iter().map(|key| &key.expr));
    }

    fn access(&mut self, access: &TableAccess) {
        let (TableAccess::Bounds(bounds) | TableAccess::Index { bounds, .. }) = access else { return };
        for KeyBounds { equal, lower, upper } in bounds {
            self.exprs(equal.iter().chain(lower.iter().chain(upper).map(|(expr, _)| expr)));
        }
    }

    fn relation(&mut self, relation: &Relation) {
        match relation {
            Relation::Block(plan) | Relation::Shared { plan, .. } => self.plan(plan),
            Relation::Often(often) => self.plan(&often.plan),
            Relation::Indexed { scan, keys, probes, .. } => {
                self.plan(scan);
                self.exprs(keys.iter().chain(probes));
            }
            Relation::Values(rows) => self.exprs(rows.iter().flatten()),
            Relation::Join(join) => {
                self.relation(&join.left);
                self.relation(&join.right);
                self.exprs(join.keys.iter().flat_map(|(left, right)| [left, right]).chain(&join.condition));
            }
            Relation::Filter { input, condition } => {
                self.relation(input);
                self.expr(condition);
            }
            Relation::Apply { input, subqueries } => {
                self.relation(input);
                for subquery in subqueries {
                    self.seen(&subquery.outer);
                    self.plan(&subquery.plan);
                    if let Meaning::Compare { pairs, .. } = &subquery.meaning {
                        self.exprs(pairs.iter().flat_map(|(left, right)| [left, right]));
                    }
                }
            }
            Relation::Window { input, calls } => {
                self.relation(input);
                for call in calls {
                    self.exprs(call.args.iter().chain(&call.partition_by));
                    self.exprs(call.order_by.iter().map(|key| &key.expr));
                    if let WindowFunction::Aggregate(aggregate) = &call.function {
                        self.exprs(&aggregate.args);
                    }
                    for bound in [&call.frame.start, &call.frame.end] {
                        if let FrameBound::Preceding(expr) | FrameBound::Following(expr) = bound {
                            self.expr(expr);
                        }
                    }
                }
            }
            Relation::Set(set) => {
                self.relation(&set.left);
                self.relation(&set.right);
            }
            Relation::Function(call) => self.exprs(&call.args),
            Relation::Recursive(recursive) => {
                self.rounds_made.insert(recursive.id);
                self.plan(&recursive.first);
                self.plan(&recursive.step);
            }
            Relation::Working { id, .. } => {
                self.rounds_used.insert(*id);
            }
            Relation::Lateral(lateral) => {
                self.relation(&lateral.left);
                self.seen(&lateral.outer);
                self.plan(&lateral.right);
                self.exprs(&lateral.condition);
            }
        }
    }
}
