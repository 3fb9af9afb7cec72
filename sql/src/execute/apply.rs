//! Subqueries in expressions: for each outer row their value, remembered per what they see of the outer row.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use super::{Executor, Held, Pace, Params, Rows, Source, size, statistics, with_slots};
use crate::diag::{Diag, SqlState};
use crate::expr::{BinaryOp, Expr};
use crate::plan::{Meaning, Subquery};
use crate::value::{Row, SortValue, Value, compare};

/// Most runs of the subqueries of one SELECT.
const MAX_RUNS: u64 = 1_000_000;
/// Runs of a subquery after which what it looks up is read at once.
pub(crate) const MANY_RUNS: u64 = 2_048;
/// Most answers that are remembered per subquery.
const MAX_REMEMBERED: usize = 10_000;

/// Rows with the values of subqueries behind them.
pub(super) struct ApplyRows<'p> {
    pub(super) input: Rows<'p>,
    pub(super) subqueries: &'p [Subquery],
    params: Params,
    /// Answers by what the subquery saw of the outer row, one map per subquery.
    pub(super) answers: Vec<BTreeMap<Vec<SortValue>, Rc<Answer>>>,
    held: Held,
    runs: u64,
}

/// What a subquery answered for one outer row.
pub(super) enum Answer {
    Value(Value),
    Candidates(Candidates),
}

/// Rows that an outer row is compared with.
pub(super) struct Candidates {
    pub(super) rows: Vec<Vec<Value>>,
    /// Those without a NULL, for `= ANY`.
    pub(super) whole: BTreeSet<Vec<SortValue>>,
    /// Those with a NULL, for `= ANY`.
    pub(super) partial: Vec<Vec<Value>>,
}

impl<'p> ApplyRows<'p> {
    pub(super) fn new(input: Rows<'p>, subqueries: &'p [Subquery], params: Params, held: Held) -> Self {
        let answers = subqueries.iter().map(|_| BTreeMap::new()).collect();
        Self { input, subqueries, params, answers, held, runs: 0 }
    }
}

/// The one value of a subquery's rows.
pub(super) fn single(rows: Vec<Row>) -> Result<Value, Diag> {
    let mut rows = rows.into_iter();
    let first = rows.next();
    if rows.next().is_some() {
        return Err(Diag::new(
            SqlState::CARDINALITY_VIOLATION,
            "a subquery used as a value returned more than one row",
        )
        .hint("Add LIMIT 1, an aggregate, or a condition that leaves one row."));
    }
    Ok(first.and_then(|row| row.into_iter().next()).unwrap_or(Value::Null))
}

impl<S: Source> Executor<'_, S> {
    pub(super) async fn next_applied(&self, apply: &mut ApplyRows<'_>) -> Result<Option<Vec<Row>>, S::Error> {
        let Some(mut batch) = self.next(&mut apply.input).await? else { return Ok(None) };
        let mut pace = Pace::default();
        let subqueries = apply.subqueries;
        for row in &mut batch {
            for (at, subquery) in subqueries.iter().enumerate() {
                let answer = self.answer(apply, at, subquery, row).await?;
                let value = match (answer.as_ref(), &subquery.meaning) {
                    (Answer::Value(value), _) => value.clone(),
                    (Answer::Candidates(candidates), Meaning::Compare { pairs, op, all }) => {
                        let left = pairs
                            .iter()
                            .map(|(left, _)| self.evaluate(left, row, &apply.params))
                            .collect::<Result<Vec<Value>, Diag>>()?;
                        self.compared(candidates, left, *op, *all, &mut pace).await?
                    }
                    (Answer::Candidates(_), Meaning::Scalar | Meaning::Exists) => Value::Null,
                };
                row.push(value);
            }
            pace.step(self.source).await?;
        }
        Ok(Some(batch))
    }

    pub(super) async fn answer(
        &self,
        apply: &mut ApplyRows<'_>,
        at: usize,
        subquery: &Subquery,
        row: &[Value],
    ) -> Result<Rc<Answer>, S::Error> {
        let mut seen = Vec::with_capacity(subquery.outer.len());
        for (_, expr) in &subquery.outer {
            seen.push(SortValue(self.evaluate(expr, row, &apply.params)?));
        }
        if let Some(answer) = apply.answers.get(at).and_then(|answers| answers.get(&seen)) {
            return Ok(Rc::clone(answer));
        }
        apply.runs += 1;
        if apply.runs > MAX_RUNS {
            let diag = Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("a subquery that looks at outer rows would run more than {MAX_RUNS} times"),
            );
            return Err(diag.hint("Write it as a join, or narrow the outer query with WHERE.").into());
        }
        let slots = subquery.outer.iter().map(|(slot, _)| *slot).zip(seen.iter().map(|value| value.0.clone()));
        let params = if seen.is_empty() { Arc::clone(&apply.params) } else { with_slots(&apply.params, slots) };
        let at_once = match &subquery.at_once {
            Some(plan) => self.at_once(statistics::address(subquery), plan, &params).await?,
            None => None,
        };
        let rows = match at_once {
            Some(rows) => rows,
            None if subquery.outer.is_empty() => self.query(&subquery.plan, Arc::clone(&params)).await?,
            None => self.again(&subquery.plan, Arc::clone(&params)).await?,
        };
        let answer = match &subquery.meaning {
            Meaning::Scalar => Answer::Value(single(rows)?),
            Meaning::Exists => Answer::Value(Value::Boolean(!rows.is_empty())),
            Meaning::Compare { pairs, op, all } => {
                let is_any_equal = *op == BinaryOp::Equal && !*all;
                Answer::Candidates(self.candidates(pairs, rows, &params, is_any_equal).await?)
            }
        };
        let answer = Rc::new(answer);
        if let Some(answers) = apply.answers.get_mut(at)
            && answers.len() < MAX_REMEMBERED
        {
            let bytes = seen.iter().map(|value| value.0.size()).sum::<usize>() + answer.size();
            apply.held.add("answers of subqueries", bytes)?;
            answers.insert(seen, Rc::clone(&answer));
        }
        Ok(answer)
    }

    async fn candidates(
        &self,
        pairs: &[(Expr, Expr)],
        rows: Vec<Row>,
        params: &Params,
        is_any_equal: bool,
    ) -> Result<Candidates, S::Error> {
        let mut candidates = Candidates { rows: Vec::new(), whole: BTreeSet::new(), partial: Vec::new() };
        let mut pace = Pace::default();
        for row in rows {
            let mut values = Vec::with_capacity(pairs.len());
            for (_, right) in pairs {
                values.push(self.evaluate(right, &row, params)?);
            }
            if !is_any_equal {
                candidates.rows.push(values);
            } else if values.iter().any(Value::is_null) {
                candidates.partial.push(values);
            } else {
                candidates.whole.insert(values.into_iter().map(SortValue::same).collect());
            }
            pace.step(self.source).await?;
        }
        if is_any_equal && pairs.len() == 1 {
            // One NULL says what all say.
            candidates.partial.truncate(1);
        }
        Ok(candidates)
    }

    /// `left op ANY (candidates)`, or ALL, with SQL's NULLs: what is unknown decides only where nothing else does.
    async fn compared(
        &self,
        candidates: &Candidates,
        left: Vec<Value>,
        op: BinaryOp,
        all: bool,
        pace: &mut Pace,
    ) -> Result<Value, S::Error> {
        if op == BinaryOp::Equal && !all {
            return self.is_among(candidates, left, pace).await;
        }
        let mut unknown = false;
        for row in &candidates.rows {
            match pair(&left, row, op) {
                Some(holds) if holds != all => return Ok(Value::Boolean(!all)),
                Some(_) => {}
                None => unknown = true,
            }
            pace.step(self.source).await?;
        }
        Ok(if unknown { Value::Null } else { Value::Boolean(all) })
    }

    async fn is_among(&self, candidates: &Candidates, left: Vec<Value>, pace: &mut Pace) -> Result<Value, S::Error> {
        if left.iter().any(Value::is_null) {
            for row in &candidates.whole {
                let row: Vec<Value> = row.iter().map(|value| value.0.clone()).collect();
                if pair(&left, &row, BinaryOp::Equal).is_none() {
                    return Ok(Value::Null);
                }
                pace.step(self.source).await?;
            }
        } else if candidates.whole.contains(&left.iter().cloned().map(SortValue::same).collect::<Vec<_>>()) {
            return Ok(Value::Boolean(true));
        }
        for row in &candidates.partial {
            if pair(&left, row, BinaryOp::Equal).is_none() {
                return Ok(Value::Null);
            }
            pace.step(self.source).await?;
        }
        Ok(Value::Boolean(false))
    }
}

impl Answer {
    fn size(&self) -> usize {
        match self {
            Self::Value(value) => value.size(),
            Self::Candidates(Candidates { rows, whole, partial }) => {
                let whole: usize = whole.iter().flatten().map(|value| value.0.size()).sum();
                whole + rows.iter().chain(partial).map(|row| size(row)).sum::<usize>()
            }
        }
    }
}

/// One comparison of rows; `None` is UNKNOWN. Rows of several values are compared for equality only: one that differs decides.
fn pair(left: &[Value], right: &[Value], op: BinaryOp) -> Option<bool> {
    let mut unknown = false;
    for (left, right) in left.iter().zip(right) {
        let Some(ordering) = compare(left, right) else {
            unknown = true;
            continue;
        };
        let holds = match op {
            BinaryOp::Equal if ordering.is_ne() => return Some(false),
            BinaryOp::Equal => continue,
            BinaryOp::NotEqual => ordering.is_ne(),
            BinaryOp::Less => ordering.is_lt(),
            BinaryOp::LessOrEqual => ordering.is_le(),
            BinaryOp::Greater => ordering.is_gt(),
            BinaryOp::GreaterOrEqual => ordering.is_ge(),
            _ => return None,
        };
        if op == BinaryOp::NotEqual && holds {
            return Some(true);
        }
        if op != BinaryOp::NotEqual {
            return Some(holds);
        }
    }
    if unknown { None } else { Some(op == BinaryOp::Equal) }
}
