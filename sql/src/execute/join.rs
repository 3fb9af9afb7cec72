//! Joins: the right side is held, in order of its keys where there are any; the left side passes by.
//!
//! Without keys every pair is tried. A few left rows look up theirs in a table on the right, by its key or by an index, instead of reading
//! all of it.

use std::rc::Rc;
use std::sync::Arc;

use super::index::Index;
use super::lookup::Keys;
use super::{BATCH, Executor, Held, Pace, Params, Rows, Source, size, statistics};
use crate::diag::Diag;
use crate::plan::{Join, JoinKind, Lookup, Relation};
use crate::value::{DataType, Row, Value};

/// Most keys that left rows look up one by one on the right.
const MAX_LOOKUPS: usize = 512;

/// An open join.
pub(super) struct JoinRows<'p> {
    plan: &'p Join,
    params: Params,
    pub(super) left: Rows<'p>,
    /// Rows of the left side that were read and not joined yet.
    waiting: std::vec::IntoIter<Row>,
    pub(super) right: Rc<Index>,
    /// With FULL: which rows of the right side had a partner.
    partnered: Vec<bool>,
    current: Option<Current>,
    /// The left side has ended: how many rows of the right side have been looked at for a partner.
    leftovers: Option<usize>,
}

/// A left row on its way along the right side.
struct Current {
    row: Row,
    /// The places to try; `None`: all.
    places: Option<Vec<u32>>,
    next: usize,
    has_partner: bool,
}

impl Current {
    fn step(&mut self, right: usize) -> Option<usize> {
        let at = match &self.places {
            Some(places) => places.get(self.next).map(|at| *at as usize)?,
            None if self.next < right => self.next,
            None => return None,
        };
        self.next += 1;
        Some(at)
    }
}

impl<S: Source> Executor<'_, S> {
    pub(super) async fn open_join<'p>(&self, plan: &'p Join, params: &Params) -> Result<JoinRows<'p>, S::Error> {
        let mut left = self.open(&plan.left, params).await?;
        let (waiting, right) = match self.kept_side(plan, params).await? {
            Some(right) => (Vec::new(), right),
            None => self.built_side(plan, &mut left, params).await?,
        };
        let partnered = if plan.kind == JoinKind::Full { vec![false; right.rows.len()] } else { Vec::new() };
        Ok(JoinRows {
            plan,
            params: Arc::clone(params),
            left,
            waiting: waiting.into_iter(),
            right,
            partnered,
            current: None,
            leftovers: None,
        })
    }

    /// Left rows that were read for it, and the right side: what few left rows look up, else all of it.
    async fn built_side(
        &self,
        plan: &Join,
        left: &mut Rows<'_>,
        params: &Params,
    ) -> Result<(Vec<Row>, Rc<Index>), S::Error> {
        let mut waiting = Vec::new();
        let held = self.hold();
        if let (Some(lookup), Relation::Block(block), JoinKind::Inner | JoinKind::Left) =
            (&plan.lookup, &plan.right, plan.kind)
        {
            let keys;
            (waiting, keys) = self.first_keys(plan, lookup, left, params, &held).await?;
            if let Some(keys) = keys {
                let part = statistics::address(plan);
                if self.may_keep_side(plan) && self.runs_often(part, keys.len()) {
                    let (depth, repeats) = (self.depth.get(), self.repeats.get());
                    match self.whole_side(plan, params, self.hold()).await {
                        Ok(right) => return Ok((waiting, right)),
                        Err(error) if S::is_too_much(&error) => {
                            self.depth.set(depth);
                            self.repeats.set(repeats);
                            self.is_too_much_at_once(part);
                        }
                        Err(error) => return Err(error),
                    }
                }
                let pairs = lookup.keys.iter().filter_map(|at| plan.keys.get(*at));
                let types = pairs.filter_map(|(_, right)| Lookup::column(right)).map(|(_, own)| own);
                let types: Vec<DataType> = types.collect();
                if let Some(rows) = self.looked_up(block, lookup, keys, &types, params).await? {
                    let mut pace = Pace::default();
                    for row in &rows {
                        held.add("a join", size(row))?;
                        pace.step(self.source).await?;
                    }
                    let right = self.index(rows, plan.keys.iter().map(|(_, right)| right), params, held).await?;
                    return Ok((waiting, Rc::new(right)));
                }
            }
        }
        Ok((waiting, self.whole_side(plan, params, held).await?))
    }

    /// All of the right side, kept if it is the same whenever the join runs.
    async fn whole_side(&self, plan: &Join, params: &Params, held: Held) -> Result<Rc<Index>, S::Error> {
        let rows = match &plan.right {
            // What is kept of it is the index.
            Relation::Block(block) => Rows::Here(self.query(block, Arc::clone(params)).await?.into_iter()),
            other => self.open(other, params).await?,
        };
        let rows = self.all(rows, "a join", &held).await?;
        let right = Rc::new(self.index(rows, plan.keys.iter().map(|(_, right)| right), params, held).await?);
        self.keep_side(plan, &right, params);
        Ok(right)
    }

    /// Left rows, and what they look up on the right if these are all and few.
    async fn first_keys(
        &self,
        plan: &Join,
        lookup: &Lookup,
        left: &mut Rows<'_>,
        params: &Params,
        held: &Held,
    ) -> Result<(Vec<Row>, Option<Keys>), S::Error> {
        let mut waiting = Vec::new();
        let mut keys = Keys::new();
        let exprs = || lookup.keys.iter().filter_map(|at| plan.keys.get(*at)).map(|(left, _)| left);
        while let Some(batch) = self.next(left).await? {
            for row in batch {
                held.add("a join", size(&row))?;
                keys.extend(self.key(exprs(), &row, params)?);
                waiting.push(row);
            }
            if keys.len() > MAX_LOOKUPS || waiting.len() > 4 * MAX_LOOKUPS {
                return Ok((waiting, None));
            }
        }
        Ok((waiting, Some(keys)))
    }

    pub(super) async fn next_joined(&self, join: &mut JoinRows<'_>) -> Result<Option<Vec<Row>>, S::Error> {
        let mut out: Vec<Row> = Vec::new();
        let mut pace = Pace::default();
        while out.len() < BATCH {
            pace.step(self.source).await?;
            if let Some(mut current) = join.current.take() {
                match current.step(join.right.rows.len()) {
                    Some(at) => {
                        self.pair(join, &mut current, at, &mut out)?;
                        join.current = Some(current);
                    }
                    None if !current.has_partner && join.plan.kind != JoinKind::Inner => {
                        current.row.resize(join.plan.left_width + join.plan.right_width, Value::Null);
                        out.push(current.row);
                    }
                    None => {}
                }
                continue;
            }
            if let Some(at) = join.leftovers {
                let Some(row) = join.right.rows.get(at) else { break };
                join.leftovers = Some(at + 1);
                if join.partnered.get(at) == Some(&false) {
                    let mut alone = vec![Value::Null; join.plan.left_width];
                    alone.extend(row.iter().cloned());
                    out.push(alone);
                }
                continue;
            }
            match join.waiting.next() {
                Some(row) => {
                    let places = self.places(join, &row)?;
                    join.current = Some(Current { row, places, next: 0, has_partner: false });
                }
                None => match self.next(&mut join.left).await? {
                    Some(batch) => join.waiting = batch.into_iter(),
                    None if join.plan.kind == JoinKind::Full => join.leftovers = Some(0),
                    None => join.leftovers = Some(usize::MAX),
                },
            }
        }
        Ok((!out.is_empty()).then_some(out))
    }

    fn places(&self, join: &JoinRows<'_>, row: &[Value]) -> Result<Option<Vec<u32>>, Diag> {
        if join.plan.keys.is_empty() {
            return Ok(None);
        }
        let key = self.key(join.plan.keys.iter().map(|(left, _)| left), row, &join.params)?;
        Ok(Some(key.map_or_else(Vec::new, |key| join.right.places(&key).to_vec())))
    }

    /// Tries one pair.
    fn pair(&self, join: &mut JoinRows<'_>, current: &mut Current, at: usize, out: &mut Vec<Row>) -> Result<(), Diag> {
        let Some(right) = join.right.rows.get(at) else { return Ok(()) };
        let mut pair = Vec::with_capacity(current.row.len() + right.len());
        pair.extend_from_slice(&current.row);
        pair.extend_from_slice(right);
        if let Some(condition) = &join.plan.condition
            && !self.is_true(condition, &pair, &join.params)?
        {
            return Ok(());
        }
        current.has_partner = true;
        if let Some(partnered) = join.partnered.get_mut(at) {
            *partnered = true;
        }
        out.push(pair);
        Ok(())
    }
}
