//! The end of a pipeline: projection, order, limit.
//!
//! What is left to do when all rows have come is done in portions ([`Ending`]).

use std::cmp::Ordering;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::Budget;
use crate::diag::Diag;
use crate::eval::{EvalContext, evaluate};
use crate::expr::Expr;
use crate::plan::{Distinct, QueryPlan, SortKey};
use crate::runs::{Merged, Portion, Runs, Step};
use crate::value::{Row, SortValue, Value, sort_compare};

/// Collects result rows.
#[derive(Debug)]
pub(super) struct Collector {
    projection: Vec<Expr>,
    /// What is to be sorted by.
    order_by: Arc<Vec<SortKey>>,
    distinct: Distinct,
    /// With [`Distinct::Rows`]: what is in the result, or was beaten by what is.
    seen: BTreeSet<Vec<SortValue>>,
    limit: Option<usize>,
    offset: usize,
    /// Rows left out so far because of OFFSET (with nothing to sort).
    skipped: usize,
    /// With nothing to sort: the result so far.
    rows: Vec<Row>,
    /// With ORDER BY and LIMIT: the best rows so far, the worst on top.
    heap: BinaryHeap<Ranked>,
    /// With ORDER BY otherwise: all rows so far.
    runs: Runs<Ranked>,
    /// Rows that came, to tell equal ones apart.
    arrivals: u64,
    /// Rows that DISTINCT let through.
    distinct_rows: u64,
}

/// A row with what it is ordered by.
#[derive(Debug)]
struct Ranked {
    keys: Vec<Value>,
    arrival: u64,
    row: Row,
    order_by: Arc<Vec<SortKey>>,
}

impl Ranked {
    fn size(&self) -> usize {
        size_of::<Self>() + row_size(&self.keys) + row_size(&self.row)
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_keys(&self.order_by, &self.keys, &other.keys).then(self.arrival.cmp(&other.arrival))
    }
}

/// The order that ORDER BY asks for.
pub(crate) fn compare_keys(order_by: &[SortKey], left: &[Value], right: &[Value]) -> Ordering {
    for (key, (left, right)) in order_by.iter().zip(left.iter().zip(right)) {
        let ordering = match (left.is_null(), right.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if key.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if key.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) if key.descending => sort_compare(right, left),
            (false, false) => sort_compare(left, right),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    Ordering::Equal
}

fn row_size(row: &[Value]) -> usize {
    row.iter().map(Value::size).sum()
}

impl Collector {
    pub(super) fn new(plan: &QueryPlan, limit: Option<usize>, offset: usize) -> Self {
        Self {
            projection: plan.projection.iter().map(|column| column.expr.clone()).collect(),
            order_by: Arc::new(plan.order_by.clone()),
            distinct: plan.distinct,
            seen: BTreeSet::new(),
            limit,
            offset,
            skipped: 0,
            rows: Vec::new(),
            heap: BinaryHeap::new(),
            runs: Runs::default(),
            arrivals: 0,
            distinct_rows: 0,
        }
    }

    /// Rows come as ORDER BY asks.
    pub(super) fn in_order(&mut self) {
        self.order_by = Arc::default();
    }

    /// No further row can be part of the result.
    pub(super) fn is_full(&self) -> bool {
        match self.limit {
            Some(0) => true,
            Some(limit) => self.order_by.is_empty() && self.rows.len() >= limit,
            None => false,
        }
    }

    /// Takes one row of the step before the projection.
    pub(super) fn take(&mut self, row: &[Value], context: &EvalContext<'_>, budget: &mut Budget) -> Result<(), Diag> {
        let early = match self.distinct {
            Distinct::Rows => {
                let projected = self.project(row, context)?;
                if !self.is_new(&projected, budget)? {
                    return Ok(());
                }
                Some(projected)
            }
            Distinct::No | Distinct::On(_) => None,
        };
        self.distinct_rows += 1;
        if self.order_by.is_empty() {
            if self.skipped < self.offset {
                self.skipped += 1;
                return Ok(());
            }
            let projected = early.map_or_else(|| self.project(row, context), Ok)?;
            budget.add("rows", 1, row_size(&projected))?;
            self.rows.push(projected);
            return Ok(());
        }
        let keys = self.order_by.iter().map(|key| evaluate(&key.expr, row, context)).collect::<Result<Vec<_>, _>>()?;
        let arrival = self.arrivals;
        self.arrivals += 1;
        let kept = match self.distinct {
            // Which rows are repeated is known in their order only.
            Distinct::On(_) => None,
            Distinct::No | Distinct::Rows => self.limit.map(|limit| limit.saturating_add(self.offset)),
        };
        if kept.is_some_and(|kept| self.heap.len() >= kept) {
            // A row that equals the worst one came later, so it stands behind it.
            let beaten = self.heap.peek().is_none_or(|worst| compare_keys(&self.order_by, &keys, &worst.keys).is_ge());
            if beaten {
                return Ok(());
            }
            if let Some(worst) = self.heap.pop() {
                budget.release(1, worst.size());
            }
        }
        let row = early.map_or_else(|| self.project(row, context), Ok)?;
        let ranked = Ranked { keys, arrival, row, order_by: Arc::clone(&self.order_by) };
        budget.add("rows", 1, ranked.size())?;
        match kept {
            Some(_) => self.heap.push(ranked),
            None => self.runs.push(ranked),
        }
        Ok(())
    }

    /// Whether no row before had these columns.
    fn is_new(&mut self, row: &[Value], budget: &mut Budget) -> Result<bool, Diag> {
        let columns: Vec<SortValue> = row.iter().cloned().map(SortValue::same).collect();
        let is_new = self.seen.insert(columns);
        if is_new {
            budget.add("distinct rows", 0, row_size(row))?;
        }
        Ok(is_new)
    }

    fn project(&self, row: &[Value], context: &EvalContext<'_>) -> Result<Row, Diag> {
        self.projection.iter().map(|expr| evaluate(expr, row, context)).collect()
    }

    /// What is left to do when all rows have come.
    pub(super) fn ending(self) -> Ending {
        let on = match self.distinct {
            Distinct::On(leading) => Some(leading),
            Distinct::No | Distinct::Rows => None,
        };
        let distinct = if on.is_some() { 0 } else { self.distinct_rows };
        let (rows, skip, stage) = if self.order_by.is_empty() {
            (self.rows, 0, Stage::Forget)
        } else {
            let rows = Vec::with_capacity(self.heap.len() + self.runs.len());
            (rows, self.offset, Stage::Gather(self.heap.into_vec().into_iter(), self.runs))
        };
        let left = self.limit.unwrap_or(usize::MAX);
        Ending { stage, on, before: None, skip, left, rows, seen: self.seen, distinct, sorted: 0 }
    }
}

/// A collector behind its last row.
#[derive(Debug, Default)]
pub(super) struct Ending {
    stage: Stage,
    /// With DISTINCT ON: of how many values.
    on: Option<usize>,
    /// Those of the row before.
    before: Option<Vec<Value>>,
    /// Rows that OFFSET still leaves out.
    skip: usize,
    /// Rows that LIMIT still lets through.
    left: usize,
    rows: Vec<Row>,
    seen: BTreeSet<Vec<SortValue>>,
    /// Rows that DISTINCT let through.
    pub(super) distinct: u64,
    /// Rows that came in their order.
    pub(super) sorted: u64,
}

#[derive(Debug, Default)]
enum Stage {
    /// What LIMIT has kept is put in order.
    Gather(std::vec::IntoIter<Ranked>, Runs<Ranked>),
    Merge(Merged<Ranked>),
    /// What told rows apart is given back.
    #[default]
    Forget,
}

impl Ending {
    /// Goes on; the rows in their order when all is done.
    pub(super) fn step(&mut self, portion: &mut Portion) -> Option<Vec<Row>> {
        while portion.step() {
            match &mut self.stage {
                Stage::Gather(kept, runs) => match kept.next() {
                    Some(ranked) => runs.push(ranked),
                    None => self.stage = Stage::Merge(std::mem::take(runs).merged()),
                },
                Stage::Merge(merged) => match merged.step() {
                    Step::Opened => {}
                    Step::Item(ranked) => self.put(ranked),
                    Step::End => self.stage = Stage::Forget,
                },
                Stage::Forget => {
                    if self.seen.pop_first().is_none() {
                        return Some(std::mem::take(&mut self.rows));
                    }
                }
            }
        }
        None
    }

    fn put(&mut self, ranked: Ranked) {
        if let Some(leading) = self.on {
            let on: Vec<Value> = ranked.keys.into_iter().take(leading).collect();
            let is_repeated =
                self.before.as_ref().is_some_and(|before| compare_keys(&ranked.order_by, before, &on).is_eq());
            self.before = Some(on);
            if is_repeated {
                return;
            }
            self.distinct += 1;
        }
        self.sorted += 1;
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.left > 0 {
            self.left -= 1;
            self.rows.push(ranked.row);
        }
    }
}
