//! What is kept from run to run of a part of a statement that runs again and again: a subquery that looks at outer rows, LATERAL, the rounds of
//! a recursive query.
//!
//! What gives the same rows each time is read once and kept, as long as all that the statement holds stays below half of what it may hold.
//! Where few rows are looked up each time, that is left only when it has gone on for very many runs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::index::Index;
use super::{Executor, Held, Pace, Params, Source, size, statistics};
use crate::plan::{Dependencies, Join, Often, QueryPlan};
use crate::value::{Row, SortValue, Value};

/// Keys that cost about as much as one run, where many are looked up at once.
const KEYS_PER_RUN: u64 = 16;

/// What is kept of the parts of a statement, each by where it is in memory.
#[derive(Debug, Default)]
pub(super) struct Repeated {
    /// The built sides of joins.
    pub(super) built: BTreeMap<usize, Part<Rc<Index>>>,
    /// The rows of SELECTs.
    pub(super) rows: BTreeMap<usize, Part<Rc<Vec<Row>>>>,
    /// Values of subqueries that look at no outer row.
    once: BTreeMap<usize, Part<Value>>,
    /// How often parts ran that look up what they could read at once; `None`: that is too much.
    runs: BTreeMap<usize, Option<u64>>,
    /// Nothing is kept any more.
    is_given_up: bool,
}

impl Repeated {
    /// Keeps nothing any more; whether it did until now.
    fn give_up(&mut self) -> bool {
        !std::mem::replace(&mut self.is_given_up, true)
    }
}

/// A part of the statement.
#[derive(Debug)]
pub(super) enum Part<T> {
    /// What it gives depends on these values of enclosing queries; so they were when it ran before.
    Known { slots: Vec<u16>, seen: Option<Vec<SortValue>> },
    /// What it gave for these values.
    Kept { slots: Vec<u16>, seen: Vec<SortValue>, given: T, _held: Held },
    /// It is another thing each time.
    Never,
}

/// What was kept of a part.
pub(super) enum Found<T> {
    Nothing,
    Same(T),
    /// Of other values: to be dropped, nothing is kept any more.
    Other(T),
}

impl<T: Clone> Part<T> {
    fn new(dependencies: &Dependencies) -> Self {
        dependencies.slots().map_or(Self::Never, |slots| Self::Known { slots, seen: None })
    }

    /// What is kept for these parameters. What is kept for others says that it differs from run to run.
    fn found(&mut self, params: &Params) -> Found<T> {
        match std::mem::replace(self, Self::Never) {
            Self::Kept { slots, seen, given, _held } if values(&slots, params) == seen => {
                let found = Found::Same(given.clone());
                *self = Self::Kept { slots, seen, given, _held };
                found
            }
            Self::Kept { given, .. } => Found::Other(given),
            other => {
                *self = other;
                Found::Nothing
            }
        }
    }

    /// Whether what it gives is to be kept: it depends on no values, or on such as it had before.
    fn is_wanted(&mut self, params: &Params) -> bool {
        let Self::Known { slots, seen } = self else { return false };
        let now = values(slots, params);
        match seen {
            _ if slots.is_empty() => return true,
            Some(before) if *before == now => return true,
            Some(_) => *self = Self::Never,
            None => *seen = Some(now),
        }
        false
    }

    fn keep(&mut self, given: T, params: &Params, held: Held) {
        if let Self::Known { slots, .. } = self {
            let seen = values(slots, params);
            *self = Self::Kept { slots: std::mem::take(slots), seen, given, _held: held };
        }
    }

    /// What is kept, if anything is.
    pub(super) fn into_given(self) -> Option<T> {
        match self {
            Self::Kept { given, .. } => Some(given),
            Self::Known { .. } | Self::Never => None,
        }
    }
}

fn values(slots: &[u16], params: &Params) -> Vec<SortValue> {
    let value = |slot: &u16| SortValue(params.get(usize::from(*slot)).cloned().unwrap_or(Value::Null));
    slots.iter().map(value).collect()
}

impl<S: Source> Executor<'_, S> {
    /// Runs a query that will run again within the statement. What is kept from run to run goes when it stands in the way.
    pub(super) async fn again(&self, plan: &Arc<QueryPlan>, params: Params) -> Result<Vec<Row>, S::Error> {
        let (depth, repeats) = (self.depth.get(), self.repeats.get());
        let run = Repeats::begin(&self.repeats);
        let rows = self.query(plan, Arc::clone(&params)).await;
        drop(run);
        match rows {
            Err(error) if S::is_too_much(&error) && self.repeated.borrow_mut().give_up() => {
                self.depth.set(depth);
                self.repeats.set(repeats);
                self.forget_repeated().await?;
                self.query(plan, params).await
            }
            rows => rows,
        }
    }

    /// Whether what runs now will run again, and something may be kept of it.
    pub(super) fn is_repeated(&self) -> bool {
        self.repeats.get() > 0 && !self.repeated.borrow().is_given_up
    }

    /// Counts a run of a part that looks up so many keys; whether there have been so many that it is better to read at once.
    pub(super) fn runs_often(&self, part: usize, keys: usize) -> bool {
        let mut repeated = self.repeated.borrow_mut();
        let Some(runs) = repeated.runs.entry(part).or_insert(Some(0)) else { return false };
        *runs += 1 + keys as u64 / KEYS_PER_RUN;
        *runs > self.many_runs
    }

    /// Reading a part at once has turned out to be too much.
    pub(super) fn is_too_much_at_once(&self, part: usize) {
        self.repeated.borrow_mut().runs.insert(part, None);
    }

    /// Another plan for a part that has run very often; `None` if it has not, and where that would hold too much.
    pub(super) async fn at_once(
        &self,
        part: usize,
        plan: &Arc<QueryPlan>,
        params: &Params,
    ) -> Result<Option<Vec<Row>>, S::Error> {
        if !self.runs_often(part, 0) {
            return Ok(None);
        }
        let (depth, repeats) = (self.depth.get(), self.repeats.get());
        match self.query(plan, Arc::clone(params)).await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) if S::is_too_much(&error) => {
                self.depth.set(depth);
                self.repeats.set(repeats);
                self.is_too_much_at_once(part);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The rows that are looked up by values of outer rows, or read at once after very many such runs.
    pub(super) async fn often(&self, often: &Often, params: &Params) -> Result<Vec<Row>, S::Error> {
        match self.at_once(statistics::address(often), &often.at_once, params).await? {
            Some(rows) => Ok(rows),
            None => self.query(&often.plan, Arc::clone(params)).await,
        }
    }

    /// The built side of a join, if it was kept.
    pub(super) async fn kept_side(&self, join: &Join, params: &Params) -> Result<Option<Rc<Index>>, S::Error> {
        if !self.is_repeated() {
            return Ok(None);
        }
        let found = {
            let mut repeated = self.repeated.borrow_mut();
            let part = repeated.built.entry(statistics::address(join));
            part.or_insert_with(|| Part::new(&Dependencies::of(&join.right))).found(params)
        };
        match found {
            Found::Nothing => Ok(None),
            Found::Same(index) => Ok(Some(index)),
            Found::Other(index) => self.discard_index(Some(index)).await.map(|()| None),
        }
    }

    /// Whether the built side of a join is the same each time.
    pub(super) fn may_keep_side(&self, join: &Join) -> bool {
        let at = statistics::address(join);
        self.is_repeated()
            && matches!(self.repeated.borrow().built.get(&at), Some(Part::Known { slots, .. }) if slots.is_empty())
    }

    /// Keeps the built side of a join, if it is the same each time.
    pub(super) fn keep_side(&self, join: &Join, index: &Rc<Index>, params: &Params) {
        if self.is_repeated()
            && let Some(part) = self.repeated.borrow_mut().built.get_mut(&statistics::address(join))
            && part.is_wanted(params)
            && self.has_room()
        {
            part.keep(Rc::clone(index), params, self.hold());
        }
    }

    /// The rows of a SELECT that stands by itself in FROM, kept if it runs again and gives the same rows each time.
    pub(super) async fn block(&self, plan: &Arc<QueryPlan>, params: &Params) -> Result<Rc<Vec<Row>>, S::Error> {
        if !self.is_repeated() {
            return Ok(Rc::new(self.query(plan, Arc::clone(params)).await?));
        }
        let at = statistics::address(plan.as_ref());
        let found = {
            let mut repeated = self.repeated.borrow_mut();
            repeated.rows.entry(at).or_insert_with(|| Part::new(&Dependencies::of_plan(plan))).found(params)
        };
        match found {
            Found::Nothing => {}
            Found::Same(rows) => return Ok(rows),
            Found::Other(rows) => self.discard_shared(Some(rows)).await?,
        }
        let rows = Rc::new(self.query(plan, Arc::clone(params)).await?);
        let is_wanted = self.repeated.borrow_mut().rows.get_mut(&at).is_some_and(|part| part.is_wanted(params));
        if !is_wanted {
            return Ok(rows);
        }
        let (held, mut pace) = (self.hold(), Pace::default());
        for row in rows.iter() {
            if !self.has_room() || held.add("what is read once", size(row)).is_err() {
                return Ok(rows);
            }
            pace.step(self.source).await?;
        }
        if let Some(part) = self.repeated.borrow_mut().rows.get_mut(&at) {
            part.keep(Rc::clone(&rows), params, held);
        }
        Ok(rows)
    }

    /// The value of a subquery that looks at no row of its query, if it was kept.
    pub(super) fn kept_value(&self, plan: &QueryPlan, params: &Params) -> Option<Value> {
        if !self.is_repeated() {
            return None;
        }
        let mut repeated = self.repeated.borrow_mut();
        let part = repeated.once.entry(statistics::address(plan));
        match part.or_insert_with(|| Part::new(&Dependencies::of_plan(plan))).found(params) {
            Found::Same(value) => Some(value),
            Found::Nothing | Found::Other(_) => None,
        }
    }

    /// Keeps that value, if it is the same each time.
    pub(super) fn keep_value(&self, plan: &QueryPlan, value: &Value, params: &Params) {
        if let Some(part) = self.repeated.borrow_mut().once.get_mut(&statistics::address(plan))
            && part.is_wanted(params)
        {
            let held = self.hold();
            if held.add("a subquery", value.size()).is_ok() {
                part.keep(value.clone(), params, held);
            }
        }
    }

    /// Whether less than half of what the statement may hold is held.
    fn has_room(&self) -> bool {
        let ((rows, bytes), limits) = (self.held.get(), &self.around.limits);
        rows < limits.max_rows / 2 && bytes < limits.max_bytes / 2
    }

    /// Drops what was kept from run to run. How often parts ran stays known.
    pub(super) async fn forget_repeated(&self) -> Result<(), S::Error> {
        let (built, rows) = {
            let mut repeated = self.repeated.borrow_mut();
            repeated.once.clear();
            (std::mem::take(&mut repeated.built), std::mem::take(&mut repeated.rows))
        };
        for part in built.into_values() {
            self.discard_index(part.into_given()).await?;
        }
        for part in rows.into_values() {
            self.discard_shared(part.into_given()).await?;
        }
        Ok(())
    }
}

/// What runs until this is dropped will run again.
struct Repeats<'c>(&'c Cell<u32>);

impl<'c> Repeats<'c> {
    fn begin(count: &'c Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Repeats<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
