//! The steps of a read after its rows are found: filter, aggregate and HAVING or project, DISTINCT, order, limit.
//!
//! Rows are pushed in; the result comes out at the end. A pipeline owns all that it needs, so it can wait for rows between
//! two pushes. What it holds is bounded: beyond [`PipelineLimits`] it refuses, it never cuts. Results are deterministic: rows
//! that ORDER BY does not tell apart keep the order in which they came, groups come in the order of their keys.

mod collect;
mod steps;

use std::collections::BTreeMap;

pub(crate) use self::collect::compare_keys;
use self::collect::{Collector, Ending};
pub use self::steps::Steps;
use crate::aggregate::Accumulator;
use crate::catalog::Role;
use crate::diag::{Diag, SqlState};
use crate::eval::{EvalContext, Patterns, evaluate, is_true};
use crate::expr::Expr;
use crate::memory::{Pool, Share};
use crate::plan::{Aggregate, QueryPlan};
use crate::runs::Portion;
use crate::value::{Micros, Row, SortValue, Value};

/// How much a pipeline may hold.
#[derive(Clone, Debug)]
pub struct PipelineLimits {
    /// Most rows of the result, of groups, or held for ORDER BY.
    pub max_rows: usize,
    /// Most bytes of memory for them.
    pub max_bytes: usize,
    /// What all queries of the node hold together.
    pub pool: Pool,
}

/// Whether more rows can change the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    More,
    /// The result is complete; further rows are ignored.
    Done,
}

/// Memory and rows held, against the limits.
#[derive(Debug)]
struct Budget {
    limits: PipelineLimits,
    share: Share,
    rows: usize,
    bytes: usize,
}

impl Budget {
    fn add(&mut self, what: &str, rows: usize, bytes: usize) -> Result<(), Diag> {
        if !self.share.grow(bytes) {
            return Err(self.limits.pool.refusal());
        }
        self.rows += rows;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.rows > self.limits.max_rows {
            return Err(Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("the query holds more than {} {what}", self.limits.max_rows),
            )
            .hint("narrow it with WHERE, or read it in parts with LIMIT and a condition on the key"));
        }
        if self.bytes > self.limits.max_bytes {
            return Err(Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("the query needs more than {} bytes of memory for its {what}", self.limits.max_bytes),
            )
            .hint("select fewer columns or rows, or read in parts with LIMIT and a condition on the key"));
        }
        Ok(())
    }

    fn release(&mut self, rows: usize, bytes: usize) {
        self.rows = self.rows.saturating_sub(rows);
        self.share.shrink(bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// A copy of an [`EvalContext`] that borrows nothing.
#[derive(Debug)]
struct OwnedContext {
    now: Micros,
    user: String,
    role: Role,
    params: Vec<Value>,
    seed: u128,
    ordinal: u64,
    patterns: Patterns,
}

impl OwnedContext {
    /// Evaluates with this context, and remembers how many volatile values were given.
    fn with<T>(&mut self, step: impl FnOnce(&EvalContext<'_>) -> Result<T, Diag>) -> Result<T, Diag> {
        let context = EvalContext::new(self.now, &self.user, self.role, &self.params, self.seed)
            .resumed_at(self.ordinal)
            .keeping(&self.patterns);
        let result = step(&context);
        self.ordinal = context.ordinal();
        result
    }
}

/// A group's key.
type GroupKey = Vec<SortValue>;

/// A running read.
#[derive(Debug)]
pub struct Pipeline {
    context: OwnedContext,
    filter: Option<Expr>,
    aggregate: Option<(Aggregate, BTreeMap<GroupKey, Vec<Accumulator>>)>,
    having: Option<Expr>,
    /// Of aggregates that one row decides: whether it came.
    is_extreme: Option<bool>,
    collector: Collector,
    budget: Budget,
    steps: Steps,
}

impl Pipeline {
    /// A pipeline for the plan; LIMIT and OFFSET are evaluated here.
    ///
    /// # Errors
    /// 2201W for a LIMIT or OFFSET below zero, and what their evaluation gives.
    pub fn new(plan: &QueryPlan, context: EvalContext<'_>, limits: PipelineLimits) -> Result<Self, Diag> {
        let mut context = OwnedContext {
            now: context.now,
            user: context.user.to_owned(),
            role: context.role,
            params: context.params.to_vec(),
            seed: context.seed,
            ordinal: context.ordinal(),
            patterns: Patterns::default(),
        };
        let limit = context.with(|context| count("LIMIT", plan.limit.as_ref(), context))?;
        let offset = context.with(|context| count("OFFSET", plan.offset.as_ref(), context))?.unwrap_or(0);
        let aggregate = plan.aggregate.as_ref().map(|aggregate| (aggregate.clone(), BTreeMap::new()));
        Ok(Self {
            context,
            filter: plan.filter.clone(),
            aggregate,
            having: plan.having.clone(),
            is_extreme: None,
            collector: Collector::new(plan, limit, offset),
            budget: Budget { share: limits.pool.share(), limits, rows: 0, bytes: 0 },
            steps: Steps::default(),
        })
    }

    /// The same, of rows that come in the plan's order ([`crate::order::of`]): nothing is sorted and LIMIT ends the scan, or the first value that
    /// is no NULL does.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        if self.aggregate.is_some() {
            self.is_extreme = Some(false);
        } else {
            self.collector.in_order();
        }
        self
    }

    /// Bytes of memory that are held, more or less: of the rows that it will give, of groups and what is to be ordered.
    #[must_use]
    pub const fn held_bytes(&self) -> usize {
        self.budget.bytes
    }

    /// Whether the result is complete without any (more) row: LIMIT 0, or a LIMIT that is reached with nothing to sort.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.is_extreme == Some(true) || (self.aggregate.is_none() && self.collector.is_full())
    }

    /// Takes one source row.
    ///
    /// # Errors
    /// What evaluation gives; 54000 and 53200 beyond the limits.
    pub fn push(&mut self, row: &[Value]) -> Result<Flow, Diag> {
        if self.is_done() {
            return Ok(Flow::Done);
        }
        let Self { context, filter, aggregate, is_extreme, collector, budget, steps, .. } = self;
        steps.read += 1;
        context.with(|context| {
            if let Some(filter) = filter
                && !is_true(filter, row, context)?
            {
                return Ok(());
            }
            steps.kept += 1;
            match aggregate {
                Some((aggregate, groups)) => {
                    accumulate(aggregate, groups, row, context, budget)?;
                    if let (Some(came), Some([arg])) = (is_extreme, aggregate.calls.first().map(|call| &call.args[..]))
                    {
                        *came = !evaluate(arg, row, context)?.is_null();
                    }
                    Ok(())
                }
                None => collector.take(row, context, budget),
            }
        })?;
        Ok(if self.is_done() { Flow::Done } else { Flow::More })
    }

    /// The result, made in one go: for callers who hold few rows, or may hold the core.
    ///
    /// # Errors
    /// As [`Pipeline::push`]: groups are projected and ordered here.
    pub fn finish(self) -> Result<Vec<Row>, Diag> {
        let mut finishing = self.finishing();
        loop {
            if let Some(rows) = finishing.step(PORTION)? {
                return Ok(rows);
            }
        }
    }

    /// The result, made in portions, and what the steps gave: `pause` is called between any two.
    ///
    /// # Errors
    /// As [`Pipeline::finish`], and what `pause` gives.
    pub async fn finish_in_portions<E: From<Diag>>(
        self,
        pause: impl AsyncFn() -> Result<(), E>,
    ) -> Result<(Vec<Row>, Steps), E> {
        let mut finishing = self.finishing();
        loop {
            if let Some(rows) = finishing.step(PORTION)? {
                return Ok((rows, finishing.steps()));
            }
            pause().await?;
        }
    }

    /// What is left to do behind the last row.
    #[must_use]
    pub fn finishing(self) -> Finishing {
        let Self { context, aggregate, having, collector, mut budget, steps, .. } = self;
        let Some((aggregate, mut groups)) = aggregate else {
            return Finishing { context, budget, steps, stage: FinishStage::Rows(collector.ending()) };
        };
        let fresh = || aggregate.calls.iter().map(Accumulator::new).collect::<Vec<Accumulator>>();
        if groups.is_empty() && aggregate.keys.is_empty() && aggregate.sets.is_empty() {
            groups.insert(Vec::new(), fresh());
        }
        // A set without keys has its group without any row.
        for (_, number) in aggregate.sets.iter().zip(0_i64..).filter(|(set, _)| **set == 0) {
            let nulls = aggregate.keys.iter().map(|_| Value::Null);
            let key = std::iter::once(Value::BigInt(number)).chain(nulls).map(SortValue).collect();
            groups.entry(key).or_insert_with(fresh);
        }
        // A group's row takes the place of the group.
        budget.release(budget.rows, 0);
        let groups = Groups { aggregate, having, waiting: groups, current: None, collector };
        Finishing { context, budget, steps, stage: FinishStage::Groups(Box::new(groups)) }
    }
}

/// Steps of one portion: each looks at one row, group or value.
const PORTION: usize = 512;

/// A pipeline behind its last row: groups become rows, rows get their order.
#[derive(Debug)]
pub struct Finishing {
    context: OwnedContext,
    budget: Budget,
    steps: Steps,
    stage: FinishStage,
}

#[derive(Debug)]
enum FinishStage {
    Groups(Box<Groups>),
    Rows(Ending),
}

impl Default for FinishStage {
    fn default() -> Self {
        Self::Rows(Ending::default())
    }
}

impl Finishing {
    /// Goes on for a number of steps, each of which looks at one row, group or value; the result when all is done.
    ///
    /// # Errors
    /// As [`Pipeline::finish`].
    pub fn step(&mut self, steps: usize) -> Result<Option<Vec<Row>>, Diag> {
        let mut portion = Portion::new(steps);
        if let FinishStage::Groups(groups) = &mut self.stage {
            let Self { context, budget, steps, .. } = self;
            if !context.with(|context| groups.step(context, budget, steps, &mut portion))? {
                return Ok(None);
            }
        }
        self.stage = match std::mem::take(&mut self.stage) {
            FinishStage::Groups(groups) => FinishStage::Rows(groups.collector.ending()),
            rows @ FinishStage::Rows(_) => rows,
        };
        match &mut self.stage {
            FinishStage::Groups(_) => Ok(None),
            FinishStage::Rows(ending) => Ok(ending.step(&mut portion)),
        }
    }

    /// How many rows the steps gave, once all is done.
    fn steps(&self) -> Steps {
        match &self.stage {
            FinishStage::Groups(_) => self.steps,
            FinishStage::Rows(ending) => Steps { distinct: ending.distinct, sorted: ending.sorted, ..self.steps },
        }
    }
}

/// Groups that become rows.
#[derive(Debug)]
struct Groups {
    aggregate: Aggregate,
    having: Option<Expr>,
    waiting: BTreeMap<GroupKey, Vec<Accumulator>>,
    /// The group whose row is being made.
    current: Option<CurrentGroup>,
    collector: Collector,
}

#[derive(Debug)]
struct CurrentGroup {
    row: Row,
    accumulators: std::vec::IntoIter<Accumulator>,
    /// The one that is being settled.
    settling: Option<Accumulator>,
}

impl Groups {
    /// Goes on; whether all groups are rows.
    fn step(
        &mut self,
        context: &EvalContext<'_>,
        budget: &mut Budget,
        steps: &mut Steps,
        portion: &mut Portion,
    ) -> Result<bool, Diag> {
        loop {
            let is_full = self.collector.is_full();
            let Some(current) = &mut self.current else {
                if !portion.step() {
                    return Ok(false);
                }
                let Some((key, accumulators)) = self.waiting.pop_first() else { return Ok(true) };
                let mut accumulators = accumulators.into_iter();
                let settling = accumulators.next();
                self.current = Some(CurrentGroup { row: row_of(&self.aggregate, key), accumulators, settling });
                continue;
            };
            if let Some(accumulator) = &mut current.settling {
                let is_settled = if is_full { accumulator.forget(portion) } else { accumulator.settle(portion)? };
                if !is_settled {
                    return Ok(false);
                }
                let next = current.accumulators.next();
                if let Some(settled) = std::mem::replace(&mut current.settling, next)
                    && !is_full
                {
                    current.row.push(settled.finish()?);
                }
                continue;
            }
            let row = std::mem::take(&mut current.row);
            self.current = None;
            if !is_full && self.having.as_ref().map_or(Ok(true), |having| is_true(having, &row, context))? {
                steps.groups += 1;
                self.collector.take(&row, context, budget)?;
            }
        }
    }
}

/// The keys of a group as the row of later steps begins.
fn row_of(aggregate: &Aggregate, key: GroupKey) -> Row {
    let mut row: Row = key.into_iter().map(|value| value.0).collect();
    if let (false, Value::BigInt(number)) = (aggregate.sets.is_empty(), row.first().unwrap_or(&Value::Null)) {
        // The number of the set gives way to what is not in it, behind the keys.
        let set = usize::try_from(*number).ok().and_then(|number| aggregate.sets.get(number)).copied();
        let all = 1_u64.checked_shl(u32::try_from(aggregate.keys.len()).unwrap_or(64)).map_or(0, |bit| bit - 1);
        row.remove(0);
        row.push(Value::BigInt(i64::try_from(!set.unwrap_or(0) & all).unwrap_or(0)));
    }
    row
}

/// LIMIT or OFFSET; NULL is none.
fn count(what: &str, expr: Option<&Expr>, context: &EvalContext<'_>) -> Result<Option<usize>, Diag> {
    let Some(expr) = expr else { return Ok(None) };
    let value = evaluate(expr, &[], context)?;
    if value.is_null() {
        return Ok(None);
    }
    match value.as_i64() {
        Some(count) if count < 0 => Err(Diag::new(SqlState::INVALID_LIMIT, format!("{what} must not be negative"))),
        Some(count) => Ok(Some(usize::try_from(count).unwrap_or(usize::MAX))),
        None => Err(Diag::new(SqlState::DATATYPE_MISMATCH, format!("{what} must be an integer"))),
    }
}

fn accumulate(
    aggregate: &Aggregate,
    groups: &mut BTreeMap<GroupKey, Vec<Accumulator>>,
    row: &[Value],
    context: &EvalContext<'_>,
    budget: &mut Budget,
) -> Result<(), Diag> {
    let key = aggregate
        .keys
        .iter()
        .map(|key| evaluate(key, row, context).map(SortValue::same))
        .collect::<Result<GroupKey, _>>()?;
    if aggregate.sets.is_empty() {
        return count_in(aggregate, groups, key, row, context, budget);
    }
    for (set, number) in aggregate.sets.iter().zip(0_i64..) {
        let of_set = key.iter().enumerate().map(|(at, value)| {
            let is_in = u32::try_from(at).ok().and_then(|at| set.checked_shr(at)).is_some_and(|bits| bits & 1 == 1);
            if is_in { value.clone() } else { SortValue(Value::Null) }
        });
        let of_set = std::iter::once(SortValue(Value::BigInt(number))).chain(of_set).collect();
        count_in(aggregate, groups, of_set, row, context, budget)?;
    }
    Ok(())
}

fn count_in(
    aggregate: &Aggregate,
    groups: &mut BTreeMap<GroupKey, Vec<Accumulator>>,
    key: GroupKey,
    row: &[Value],
    context: &EvalContext<'_>,
    budget: &mut Budget,
) -> Result<(), Diag> {
    let accumulators = match groups.entry(key) {
        std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
        std::collections::btree_map::Entry::Vacant(entry) => {
            let bytes: usize = entry.key().iter().map(|value| value.0.size()).sum();
            budget.add("groups", 1, bytes + aggregate.calls.len() * size_of::<Accumulator>())?;
            entry.insert(aggregate.calls.iter().map(Accumulator::new).collect())
        }
    };
    for (call, accumulator) in aggregate.calls.iter().zip(accumulators) {
        let args = call.args.iter().map(|arg| evaluate(arg, row, context)).collect::<Result<Vec<_>, _>>()?;
        let grown = accumulator.update(&args)?;
        budget.add("groups", 0, grown)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
