//! From joins as they are written to the tree that is run: conditions go down to where they can be judged first, equalities become
//! keys, inner joins are taken in an order that never makes pairs where a condition could choose.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::at_once::at_once;
use super::derived::derived;
use super::from::{Joined, Kind};
use crate::bind::bounds;
use crate::bind::params::Params;
use crate::bind::scope::{self, Scope, Source};
use crate::cast;
use crate::catalog::{Index, IndexColumn, IndexState};
use crate::diag::Diag;
use crate::eval;
use crate::expr::{BinaryOp, Expr};
use crate::plan::{
    Distinct, FIRST_SLOT, From, Join, JoinKind, Lateral, Lookup, Often, OutputColumn, QueryPlan, Relation, TableAccess,
};
use crate::value::{DataType, Value};

/// A relation and where the columns of the query's row stand in its own.
pub(super) struct Placed {
    pub(super) relation: Relation,
    /// Positions of the query's row, in the order of the relation's columns.
    pub(super) layout: Vec<u32>,
}

impl Placed {
    /// An expression over the query's row, as one over the relation's. Positions that are not there stay.
    pub(super) fn over(&self, expr: &Expr) -> Expr {
        moved(expr, &|position| {
            let at = self.layout.iter().position(|known| *known == position)?;
            u32::try_from(at).ok()
        })
    }
}

/// The expression with its columns at other positions; where `to` says nothing they stay.
pub(super) fn moved(expr: &Expr, to: &dyn Fn(u32) -> Option<u32>) -> Expr {
    match expr {
        Expr::Column(position, data_type) => Expr::Column(to(*position).unwrap_or(*position), *data_type),
        other => other.with_children(&mut |part| Ok(moved(part, to))).unwrap_or_else(|_| other.clone()),
    }
}

/// The conditions that must all hold.
pub(super) fn conjuncts(expr: &Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::Binary { op: BinaryOp::And, left, right, .. } => {
            conjuncts(left, into);
            conjuncts(right, into);
        }
        other => into.push(other.clone()),
    }
}

/// All of these conditions; balanced, so that many of them stay shallow.
pub(super) fn all_of(mut conditions: Vec<Expr>) -> Option<Expr> {
    while conditions.len() > 1 {
        let mut halves = Vec::with_capacity(conditions.len().div_ceil(2));
        let mut rest = conditions.into_iter();
        while let Some(left) = rest.next() {
            halves.push(match rest.next() {
                Some(right) => Expr::Binary {
                    op: BinaryOp::And,
                    left: Box::new(left),
                    right: Box::new(right),
                    data_type: DataType::Boolean,
                },
                None => left,
            });
        }
        conditions = halves;
    }
    conditions.pop().map(eval::fold)
}

/// The positions that an expression looks at.
pub(super) fn positions(expr: &Expr, into: &mut BTreeSet<u32>) {
    expr.visit(&mut |part| {
        if let Expr::Column(position, _) = part {
            into.insert(*position);
        }
    });
}

/// Whether the value depends on a row of an enclosing query.
pub(super) fn sees_outside(expr: &Expr) -> bool {
    let mut sees = false;
    expr.visit(&mut |part| sees |= matches!(part, Expr::Param(index, _) if *index >= FIRST_SLOT));
    sees
}

/// A column of a result that is passed on as it is.
pub(super) fn passed(name: &str, expr: Expr) -> OutputColumn {
    let data_type = eval::data_type(&expr);
    OutputColumn { name: name.to_owned(), expr, data_type, primary_key: false, not_null: false, unique: false }
}

/// A SELECT of these columns and nothing else.
pub(super) fn plain(from: From, filter: Option<Expr>, projection: Vec<OutputColumn>) -> QueryPlan {
    QueryPlan {
        before: Vec::new(),
        unused: Vec::new(),
        from,
        filter,
        aggregate: None,
        having: None,
        projection,
        distinct: Distinct::No,
        order_by: Vec::new(),
        limit: None,
        offset: None,
    }
}

/// Plans the joins of one SELECT.
pub(super) struct Planner<'s, 'a> {
    pub(super) scope: &'s Scope<'a>,
    pub(super) params: &'s mut Params,
    /// Positions that anything of the query looks at.
    pub(super) needed: BTreeSet<u32>,
}

impl Planner<'_, '_> {
    /// The relations that an expression looks at.
    fn relations(&self, expr: &Expr) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        positions(expr, &mut found);
        let number = |position: &u32| {
            self.scope.relations.iter().position(|relation| {
                (relation.first..relation.first.saturating_add(relation.width())).contains(position)
            })
        };
        found.iter().filter_map(number).collect()
    }

    /// The joined rows for which the conditions hold; conditions without effect on a side go below it.
    pub(super) fn plan(&mut self, joined: Joined, conditions: Vec<Expr>) -> Result<Placed, Diag> {
        match joined {
            Joined::Leaf(number) => self.leaf(number, conditions),
            Joined::Pair { kind: Kind::Inner, .. } => self.inner(joined, conditions),
            Joined::Pair { kind: Kind::Left, left, right, on } => self.left(*left, *right, on, conditions),
            Joined::Pair { kind: Kind::Right, left, right, on } => self.left(*right, *left, on, conditions),
            Joined::Pair { kind: Kind::Full, left, right, on } => {
                let left = self.plan(*left, Vec::new())?;
                let right = self.plan(*right, Vec::new())?;
                let joined = self.join(JoinKind::Full, left, right, on)?;
                Ok(filtered(joined, conditions))
            }
            Joined::Lateral { kind, left, right, outer, on } => {
                self.lateral(kind, *left, right, &outer, on, conditions)
            }
        }
    }

    fn left(&mut self, left: Joined, right: Joined, on: Vec<Expr>, conditions: Vec<Expr>) -> Result<Placed, Diag> {
        let (left_side, right_side) = (leaves(&left), leaves(&right));
        if conditions.iter().any(|condition| self.refuses_null_rows(condition, &right_side)) {
            // No row without a partner would pass.
            let pair = Joined::Pair { kind: Kind::Inner, left: Box::new(left), right: Box::new(right), on };
            return self.inner(pair, conditions);
        }
        let (below, above): (Vec<Expr>, Vec<Expr>) = conditions
            .into_iter()
            .partition(|condition| !eval::is_volatile(condition) && self.relations(condition).is_subset(&left_side));
        let (partner, on): (Vec<Expr>, Vec<Expr>) = on
            .into_iter()
            .partition(|condition| !eval::is_volatile(condition) && self.relations(condition).is_subset(&right_side));
        let left = self.plan(left, below)?;
        let right = self.plan(right, partner)?;
        let joined = self.join(JoinKind::Left, left, right, on)?;
        Ok(filtered(joined, above))
    }

    /// A query that sees the rows on its left.
    fn lateral(
        &mut self,
        kind: Kind,
        left: Joined,
        right: usize,
        outer: &[(u16, Expr)],
        mut on: Vec<Expr>,
        conditions: Vec<Expr>,
    ) -> Result<Placed, Diag> {
        let left_side = leaves(&left);
        let (below, mut above): (Vec<Expr>, Vec<Expr>) = conditions
            .into_iter()
            .partition(|condition| !eval::is_volatile(condition) && self.relations(condition).is_subset(&left_side));
        let left = self.plan(left, below)?;
        let Some((first, Source::Query(plan))) =
            self.scope.relations.get(right).map(|relation| (relation.first, &relation.source))
        else {
            return Err(Diag::new(crate::diag::SqlState::INTERNAL, "a join without its relation"));
        };
        let width = u32::try_from(plan.projection.len()).unwrap_or(u32::MAX);
        let layout = left.layout.iter().copied().chain(first..first.saturating_add(width)).collect();
        let outer = outer.iter().map(|(slot, expr)| (*slot, left.over(expr))).collect();
        let joined = Placed { relation: Relation::Values(Vec::new()), layout };
        if kind == Kind::Inner {
            on.append(&mut above);
        }
        let condition = all_of(on).map(|condition| joined.over(&condition));
        let kind = if kind == Kind::Inner { JoinKind::Inner } else { JoinKind::Left };
        let right = match at_once(plan, || self.params.number()) {
            None => Arc::clone(plan),
            Some(at_once) => {
                let all = plan.projection.iter().zip(0_u32..);
                let all = all.map(|(column, at)| passed(&column.name, Expr::Column(at, column.data_type))).collect();
                let often = Relation::Often(Box::new(Often { plan: Arc::clone(plan), at_once }));
                Arc::new(plain(From::Tree(Box::new(often)), None, all))
            }
        };
        let lateral = Lateral { left: left.relation, right, outer, kind, condition };
        let relation = Relation::Lateral(Box::new(lateral));
        Ok(filtered(Placed { relation, layout: joined.layout }, above))
    }

    /// Whether a condition is never true of a row whose columns of these relations are all NULL: a comparison with one of them.
    fn refuses_null_rows(&self, condition: &Expr, side: &BTreeSet<usize>) -> bool {
        let is_of_side = |expr: &Expr| match expr {
            Expr::Column(..) => self.relations(expr).is_subset(side) && !self.relations(expr).is_empty(),
            _ => false,
        };
        match condition {
            Expr::Binary { op, left, right, .. } if op.is_comparison() => is_of_side(left) || is_of_side(right),
            Expr::IsNull { expr, negated: true } => is_of_side(expr),
            _ => false,
        }
    }

    /// Inner joins, in an order of our own.
    fn inner(&mut self, joined: Joined, mut conditions: Vec<Expr>) -> Result<Placed, Diag> {
        let mut items = Vec::new();
        flatten(joined, &mut items, &mut conditions);
        let sides: Vec<BTreeSet<usize>> = items.iter().map(leaves).collect();
        let mut own: Vec<Vec<Expr>> = items.iter().map(|_| Vec::new()).collect();
        let mut pool: Vec<Expr> = Vec::new();
        for condition in conditions {
            let relations = self.relations(&condition);
            let home = sides.iter().position(|side| relations.is_subset(side));
            match home.and_then(|home| own.get_mut(home)) {
                Some(conditions) if !eval::is_volatile(&condition) => conditions.push(condition),
                Some(_) | None => pool.push(condition),
            }
        }
        let mut waiting: Vec<(Placed, BTreeSet<usize>)> = Vec::with_capacity(items.len());
        for ((item, side), own) in items.into_iter().zip(sides).zip(own) {
            waiting.push((self.plan(item, own)?, side));
        }
        // What is looked up by its key is few rows, and so is a round; what does not change from round to round is then kept.
        let narrow = waiting.iter().position(|(placed, _)| is_narrow(&placed.relation));
        let start =
            narrow.or_else(|| waiting.iter().position(|(placed, _)| is_new_each_run(&placed.relation))).unwrap_or(0);
        let (mut all, mut side) = waiting.remove(start);
        while !waiting.is_empty() {
            let connected = |candidate: &BTreeSet<usize>| {
                pool.iter().any(|condition| {
                    is_equality(condition) && {
                        let relations = self.relations(condition);
                        !relations.is_disjoint(&side)
                            && !relations.is_disjoint(candidate)
                            && relations.iter().all(|one| side.contains(one) || candidate.contains(one))
                    }
                })
            };
            let next = waiting.iter().position(|(_, candidate)| connected(candidate)).unwrap_or(0);
            let (placed, other) = waiting.remove(next);
            side.extend(other);
            let (now, later): (Vec<Expr>, Vec<Expr>) =
                pool.into_iter().partition(|condition| self.relations(condition).is_subset(&side));
            pool = later;
            all = self.join(JoinKind::Inner, all, placed, now)?;
        }
        Ok(filtered(all, pool))
    }

    /// One join of two sides on these conditions.
    fn join(&self, kind: JoinKind, left: Placed, right: Placed, on: Vec<Expr>) -> Result<Placed, Diag> {
        let side = |placed: &Placed| -> BTreeSet<u32> { placed.layout.iter().copied().collect() };
        let (of_left, of_right) = (side(&left), side(&right));
        let mut keys = Vec::new();
        let mut rest = Vec::new();
        for condition in on {
            match equality(&condition, &of_left, &of_right) {
                Some((l, r)) if !eval::is_volatile(&condition) => keys.push((left.over(&l), right.over(&r))),
                Some(_) | None => rest.push(condition),
            }
        }
        let layout: Vec<u32> = left.layout.iter().chain(&right.layout).copied().collect();
        let lookup = match kind {
            JoinKind::Full => None,
            JoinKind::Inner | JoinKind::Left => lookup(&right.relation, &keys),
        };
        let joined = Placed { relation: Relation::Values(Vec::new()), layout };
        let condition = all_of(rest).map(|condition| joined.over(&condition));
        let relation = Relation::Join(Box::new(Join {
            left_width: left.layout.len(),
            right_width: right.layout.len(),
            left: left.relation,
            right: right.relation,
            kind,
            keys,
            condition,
            lookup,
        }));
        Ok(Placed { relation, layout: joined.layout })
    }

    /// One relation of FROM, with the conditions on it alone.
    fn leaf(&mut self, number: usize, conditions: Vec<Expr>) -> Result<Placed, Diag> {
        let Some(relation) = self.scope.relations.get(number) else {
            return Err(Diag::new(crate::diag::SqlState::INTERNAL, "a join without its relation"));
        };
        let first = relation.first;
        let end = first.saturating_add(relation.width());
        let local = |expr: &Expr| moved(expr, &|position| position.checked_sub(first));
        let conditions: Vec<Expr> = conditions.iter().map(local).collect();
        let layout: Vec<u32> = self.needed.range(first..end).copied().collect();
        let wanted: Vec<u32> = layout.iter().filter_map(|position| position.checked_sub(first)).collect();
        let is_inside = self.scope.outer.is_some();
        let relation = match &relation.source {
            Source::Table(table) => {
                let from = |filter: Option<&Expr>| From::Table {
                    table: Arc::clone(table),
                    access: bounds::access(table, filter),
                };
                if is_inside && conditions.iter().any(sees_outside) {
                    self.correlated(relation, &wanted, conditions, &from)?
                } else {
                    let filter = all_of(conditions);
                    let from = from(filter.as_ref());
                    Relation::Block(Arc::new(plain(from, filter, columns(relation, &wanted))))
                }
            }
            Source::System(table) => {
                let projection = columns(relation, &wanted);
                Relation::Block(Arc::new(plain(From::System(*table), all_of(conditions), projection)))
            }
            Source::Query(plan) => derived(plan, &wanted, conditions),
            Source::Shared { id, name, plan } => {
                let shared = Relation::Shared { id: *id, name: name.clone(), plan: Arc::clone(plan) };
                let is_whole = conditions.is_empty() && wanted.len() == plan.projection.len();
                if is_whole {
                    shared
                } else {
                    let projection = columns(relation, &wanted);
                    Relation::Block(Arc::new(plain(From::Tree(Box::new(shared)), all_of(conditions), projection)))
                }
            }
            Source::Working { id, name } => {
                let working = Relation::Working { id: *id, name: name.clone() };
                let projection = columns(relation, &wanted);
                Relation::Block(Arc::new(plain(From::Tree(Box::new(working)), all_of(conditions), projection)))
            }
            Source::Nothing | Source::Draft => Relation::Values(vec![Vec::new()]),
        };
        Ok(Placed { relation, layout })
    }

    /// A table inside a subquery that runs for many outer rows: by its key where the outer row fixes that, else from an index over
    /// what does not depend on the outer row.
    fn correlated(
        &mut self,
        relation: &scope::Relation<'_>,
        wanted: &[u32],
        conditions: Vec<Expr>,
        from: &dyn Fn(Option<&Expr>) -> From,
    ) -> Result<Relation, Diag> {
        let filter = all_of(conditions.clone());
        let whole = from(filter.as_ref());
        let by_key = match &whole {
            From::Table { access, .. } => is_by_outer_key(access),
            From::Nothing | From::System(_) | From::Tree(_) | From::Explain(_) => false,
        };
        if by_key || conditions.iter().any(eval::is_volatile) {
            let plan = plain(whole, filter, columns(relation, wanted));
            return Ok(match at_once(&plan, || self.params.number()) {
                Some(at_once) => Relation::Often(Box::new(Often { plan: Arc::new(plan), at_once })),
                None => Relation::Block(Arc::new(plan)),
            });
        }
        let (varying, fixed): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(sees_outside);
        let mut kept: BTreeSet<u32> = wanted.iter().copied().collect();
        varying.iter().for_each(|condition| positions(condition, &mut kept));
        let kept: Vec<u32> = kept.into_iter().collect();
        let place = |expr: &Expr| {
            moved(expr, &|position| kept.iter().position(|known| *known == position).and_then(|at| at.try_into().ok()))
        };
        let fixed = all_of(fixed);
        let scan = Arc::new(plain(from(fixed.as_ref()), fixed, columns(relation, &kept)));
        let (mut keys, mut probes, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for condition in &varying {
            match probe(condition) {
                Some((key, value)) => {
                    keys.push(place(&key));
                    probes.push(value);
                }
                None => rest.push(place(condition)),
            }
        }
        let id = self.params.number();
        let input = Relation::Indexed { id, scan, keys, probes };
        let projection: Vec<OutputColumn> = columns(relation, wanted)
            .into_iter()
            .map(|column| OutputColumn { expr: place(&column.expr), ..column })
            .collect();
        if rest.is_empty() && kept == wanted {
            return Ok(input);
        }
        Ok(Relation::Block(Arc::new(plain(From::Tree(Box::new(input)), all_of(rest), projection))))
    }
}

/// Whether values of an outer row fix leading columns of the keys, or of an index, that are read.
pub(super) fn is_by_outer_key(access: &TableAccess) -> bool {
    match access {
        TableAccess::Full => false,
        TableAccess::Bounds(bounds) | TableAccess::Index { bounds, .. } => {
            bounds.iter().any(|bound| bound.equal.iter().any(sees_outside))
        }
    }
}

/// `column = value of an outer row`: what to index and what to look up.
pub(super) fn probe(condition: &Expr) -> Option<(Expr, Expr)> {
    let Expr::Binary { op: BinaryOp::Equal, left, right, .. } = condition else { return None };
    let looks = |expr: &Expr| {
        let mut found = BTreeSet::new();
        positions(expr, &mut found);
        !found.is_empty()
    };
    let (key, value) = match (looks(left), looks(right)) {
        (true, false) => (left, right),
        (false, true) => (right, left),
        _ => return None,
    };
    if sees_outside(key) {
        return None;
    }
    alike((**key).clone(), (**value).clone())
}

/// Both sides of a comparison in one type.
pub(super) fn alike(left: Expr, right: Expr) -> Option<(Expr, Expr)> {
    let (of_left, of_right) = (eval::data_type(&left), eval::data_type(&right));
    if of_left.same_kind(&of_right) {
        return Some((left, right));
    }
    let common = cast::common_type(&[of_left, of_right])?;
    let cast = |expr: Expr, from: DataType| {
        if from.same_kind(&common) { expr } else { Expr::Cast { expr: Box::new(expr), to: common, assignment: false } }
    };
    Some((cast(left, of_left), cast(right, of_right)))
}

fn is_equality(condition: &Expr) -> bool {
    matches!(condition, Expr::Binary { op: BinaryOp::Equal, .. })
}

/// `value of the left = value of the right`.
fn equality(condition: &Expr, of_left: &BTreeSet<u32>, of_right: &BTreeSet<u32>) -> Option<(Expr, Expr)> {
    let Expr::Binary { op: BinaryOp::Equal, left, right, .. } = condition else { return None };
    let is_of = |expr: &Expr, side: &BTreeSet<u32>| {
        let mut found = BTreeSet::new();
        positions(expr, &mut found);
        !found.is_empty() && found.is_subset(side)
    };
    if is_of(left, of_left) && is_of(right, of_right) {
        alike((**left).clone(), (**right).clone())
    } else if is_of(right, of_left) && is_of(left, of_right) {
        alike((**right).clone(), (**left).clone())
    } else {
        None
    }
}

/// The equalities (their right sides are over `right`) that fix leading columns of a table: of its key, or of an index of which they fix
/// more.
pub(super) fn lookup(right: &Relation, keys: &[(Expr, Expr)]) -> Option<Lookup> {
    let Relation::Block(plan) = right else { return None };
    let From::Table { table, access: TableAccess::Full } = &plan.from else { return None };
    if plan.aggregate.is_some() || plan.distinct != Distinct::No || plan.limit.is_some() || plan.offset.is_some() {
        return None;
    }
    let fixing = |wanted: u32| {
        keys.iter().position(|(left, right)| {
            Lookup::column(right).is_some_and(|(at, own)| {
                let column = plan.projection.get(at as usize).map(|column| &column.expr);
                matches!(column, Some(Expr::Column(index, _)) if *index == wanted)
                    && cast::is_reversible(own, eval::data_type(left))
            })
        })
    };
    let of_key: Vec<usize> = table.primary_key.iter().map_while(|column| fixing(*column)).collect();
    let is_placed = table.partition_columns > 0 && of_key.len() >= table.partition_columns as usize;
    let is_one_row = of_key.len() == table.primary_key.len();
    let of_index = |index: &Index| {
        let position = |part: &IndexColumn| u32::try_from(table.position(part.column)?).ok();
        let fixed: Vec<usize> = index.columns.iter().map_while(|part| fixing(position(part)?)).collect();
        ((index.unique && fixed.len() == index.columns.len(), fixed.len(), std::cmp::Reverse(index.id)), fixed)
    };
    let usable = table.indexes.iter().filter(|index| index.state == IndexState::Public && !is_placed && !is_one_row);
    match usable.map(of_index).max() {
        Some(((is_one_row, count, std::cmp::Reverse(index)), keys)) if (is_one_row, count) > (false, of_key.len()) => {
            Some(Lookup { keys, index: Some(index) })
        }
        _ if of_key.is_empty() => None,
        _ => Some(Lookup { keys: of_key, index: None }),
    }
}

/// Whether a relation is read by bounds of its key.
fn is_narrow(relation: &Relation) -> bool {
    match relation {
        Relation::Block(plan) => {
            matches!(&plan.from, From::Table { access: TableAccess::Bounds(_) | TableAccess::Index { .. }, .. })
                || matches!(plan.limit, Some(Expr::Literal(Value::BigInt(0..=100), _)))
        }
        Relation::Often(_) => true,
        _ => false,
    }
}

/// Whether a relation gives rows of a round of a recursive query, or those that an outer row finds.
fn is_new_each_run(relation: &Relation) -> bool {
    match relation {
        Relation::Block(plan) => match &plan.from {
            From::Tree(inner) => is_new_each_run(inner),
            From::Nothing | From::Table { .. } | From::System(_) | From::Explain(_) => false,
        },
        Relation::Working { .. } => true,
        Relation::Indexed { keys, .. } => !keys.is_empty(),
        _ => false,
    }
}

fn filtered(placed: Placed, conditions: Vec<Expr>) -> Placed {
    match all_of(conditions) {
        None => placed,
        Some(condition) => {
            let condition = placed.over(&condition);
            let Placed { relation, layout } = placed;
            Placed { relation: Relation::Filter { input: Box::new(relation), condition }, layout }
        }
    }
}

fn leaves(joined: &Joined) -> BTreeSet<usize> {
    match joined {
        Joined::Leaf(number) => BTreeSet::from([*number]),
        Joined::Pair { left, right, .. } => leaves(left).union(&leaves(right)).copied().collect(),
        Joined::Lateral { left, right, .. } => leaves(left).into_iter().chain([*right]).collect(),
    }
}

/// The parts of a chain of inner joins, and its conditions.
fn flatten(joined: Joined, items: &mut Vec<Joined>, conditions: &mut Vec<Expr>) {
    match joined {
        Joined::Pair { kind: Kind::Inner, left, right, on } => {
            flatten(*left, items, conditions);
            flatten(*right, items, conditions);
            conditions.extend(on);
        }
        other => items.push(other),
    }
}

/// These columns of a relation, by their place in it.
fn columns(relation: &scope::Relation<'_>, wanted: &[u32]) -> Vec<OutputColumn> {
    let column = |at: &u32| match relation.columns.get(*at as usize) {
        Some(column) => passed(&column.name, Expr::Column(*at, column.data_type)),
        None => passed(scope::SEQ, Expr::Column(*at, DataType::BigInt)),
    };
    wanted.iter().map(column).collect()
}
