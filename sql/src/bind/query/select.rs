//! One SELECT: its clauses bound, then laid out as steps over the rows that FROM gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlparser::ast::{self, Spanned};

use super::from::Joined;
use super::grouped::{GROUPING, Grouped, asks_grouping, depends_on_keys, no_grouping};
use super::items::{self, Item};
use super::subquery::{each_seen, seeing};
use super::tree::{self, Placed, Planner, moved, plain};
use super::{Output, from, limit, placed, refuse_at};
use crate::bind::bounds;
use crate::bind::expr::{AGGREGATE_BASE, Binder, Clause, SUBQUERY_BASE, Typed, WINDOW_BASE};
use crate::bind::names::name_of;
use crate::bind::params::Params;
use crate::bind::scope::{Env, Outer, Scope, Source};
use crate::catalog::Table;
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::{AggregateCall, AggregateFunction, BinaryOp, Expr};
use crate::lexer::char_span;
use crate::order;
use crate::plan::{
    Aggregate, Distinct, FIRST_SLOT, Frame, FrameBound, From, Meaning, OutputColumn, QueryPlan, Relation, SortKey,
    Subquery, TableAccess, WindowCall, WindowFunction,
};
use crate::value::DataType;

/// Refuses what SELECT can be elsewhere.
fn check(select: &ast::Select) -> Result<(), Diag> {
    let place = select.select_token.0.span;
    for (present, what) in [
        (select.select_modifiers.is_some(), "a modifier of SELECT"),
        (select.top.is_some(), "TOP"),
        (select.exclude.is_some(), "EXCLUDE"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.value_table_mode.is_some(), "SELECT AS"),
        (select.flavor != ast::SelectFlavor::Standard, "FROM before SELECT"),
    ] {
        if present {
            return Err(refuse_at(what, place));
        }
    }
    Ok(())
}

/// A SELECT; ORDER BY and LIMIT are those of `query`.
pub(super) fn bind<'a>(
    select: &'a ast::Select,
    query: Option<&'a ast::Query>,
    env: &Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &mut Params,
) -> Result<Output, Diag> {
    check(select)?;
    let (mut scope, joined, late) = from::bind(&select.from, env, outer, params)?;
    for ast::NamedWindowDefinition(ident, window) in &select.named_window {
        let name = name_of(ident)?;
        if scope.windows.iter().any(|(known, _)| *known == name.value) {
            let diag = Diag::new(SqlState::WINDOWING_ERROR, format!("window \"{}\" is given twice", name.value));
            return Err(diag.at(name.span));
        }
        scope.windows.push((name.value, window));
    }
    let mut calls = Vec::new();
    let mut conditions = late;
    if let Some(condition) = &select.selection {
        let bound = Binder::new(&scope, params, Clause::Where, &mut calls).condition(condition)?;
        tree::conjuncts(&eval::fold(bound), &mut conditions);
    }
    let items = items::select_list(select, &scope, params, &mut calls)?;
    let items::Keys { keys, sets } = items::group_by(&select.group_by, &items, &scope, params)?;
    let having = match &select.having {
        Some(condition) => {
            let bound = Binder::new(&scope, params, Clause::Having, &mut calls).condition(condition);
            Some(bound.map_err(|diag| names_an_output(diag, &items))?)
        }
        None => None,
    };
    let mut order = match query {
        Some(query) => items::order_by(query, &items, &scope, params, &mut calls)?,
        None => Vec::new(),
    };
    let distinct = items::distinct(select, &items, &mut order, &scope, params, &mut calls)?;
    let (limit, offset) = match query {
        Some(query) => limit(query, params)?,
        None => (None, None),
    };
    let open = items.iter().map(|item| item.open).collect();
    let having_span = select.having.as_ref().and_then(|having| char_span(having.span()));
    if !calls.is_empty() && scope.relations.iter().any(|relation| matches!(relation.source, Source::Working { .. })) {
        let diag = Diag::new(SqlState::INVALID_RECURSION, "an aggregate cannot stand in the recursive part of a query");
        let of_items = items.iter().map(|item| (&item.value.expr, item.value.span));
        let of_order = order.iter().map(|(key, span)| (&key.expr, *span));
        let place = of_items.chain(of_order).find(|(expr, _)| asks_for(expr, AGGREGATE_BASE..SUBQUERY_BASE));
        let place = place.map_or(having_span, |(_, span)| span);
        return Err(placed(diag.hint("Aggregate in the query that reads this one."), place));
    }
    let is_grouped = !keys.is_empty() || !calls.is_empty() || having.is_some() || !sets.is_empty();
    let in_order = order.iter().map(|(key, span)| (&key.expr, *span));
    for (expr, span) in items.iter().map(|item| (&item.value.expr, item.value.span)).chain(in_order) {
        if !is_grouped && asks_grouping(expr) {
            return Err(placed(no_grouping(), span));
        }
    }
    let subqueries = scope.asked.subqueries.take();
    let windows = scope.asked.windows.take();
    let before = scope.asked.once.take();
    let mut steps = Steps {
        conditions,
        items,
        keys,
        sets,
        calls,
        having: having.map(|having| (having, having_span)),
        order,
        windows,
        above: Vec::new(),
        subqueries,
        is_grouped,
        is_cut: limit.is_some() && !matches!(distinct, Distinct::On(_)),
    };
    if is_grouped {
        steps.group(&scope)?;
    }
    let named: Vec<Arc<QueryPlan>> = steps.subqueries.iter().map(|subquery| Arc::clone(&subquery.plan)).collect();
    let laid = steps.lay_out(&scope, joined, params)?;
    let Laid { from, filter, aggregate, having, items, order_by } = laid;
    let unused = unused(named, &from);
    let counts = aggregate.as_ref();
    let projection = items.into_iter().map(|item| output(item, &scope, counts)).collect();
    let order_by = order_by.into_iter().map(|key| SortKey { expr: eval::fold(key.expr), ..key }).collect();
    let plan =
        QueryPlan { before, unused, from, filter, aggregate, having, projection, distinct, order_by, limit, offset };
    Ok(Output { plan, open, is_bare: false })
}

/// What gives the expressions of new values, as they are over the row of FROM.
pub(in crate::bind) type NewValues<'v> = dyn FnMut(&Scope<'_>, &mut Params) -> Result<Vec<Typed>, Diag> + 'v;

/// The rows of a table, the first of FROM, that an UPDATE or DELETE changes: the values of its key, `_seq`, and the new values. With the part
/// of its keys that the conditions leave.
pub(in crate::bind) fn rows_to_change(
    from: &[ast::TableWithJoins],
    selection: Option<&ast::Expr>,
    table: &Table,
    env: &Env<'_>,
    params: &mut Params,
    values: &mut NewValues<'_>,
) -> Result<(QueryPlan, TableAccess), Diag> {
    let (scope, joined, late) = from::bind(from, env, None, params)?;
    let mut calls = Vec::new();
    let mut conditions = late;
    if let Some(condition) = selection {
        let bound = Binder::new(&scope, params, Clause::Where, &mut calls).condition(condition)?;
        tree::conjuncts(&eval::fold(bound), &mut conditions);
    }
    let access = bounds::access(table, tree::all_of(conditions.clone()).as_ref());
    let seq = u32::try_from(table.columns.len()).unwrap_or(u32::MAX);
    let column = |position: u32| {
        let at = |position: u32| usize::try_from(position).ok().and_then(|at| table.columns.get(at));
        let data_type = at(position).map_or(DataType::BigInt, |column| column.data_type);
        Typed::leaf(Expr::Column(position, data_type), Some(data_type), None)
    };
    let own = table.primary_key.iter().copied().chain([seq]).map(column);
    let new = values(&scope, params)?;
    let item = |value: Typed| Item { name: String::new(), alias: false, value, source: None, open: false };
    let steps = Steps {
        conditions,
        items: own.chain(new).map(item).collect(),
        keys: Vec::new(),
        sets: Vec::new(),
        calls,
        having: None,
        order: Vec::new(),
        windows: scope.asked.windows.take(),
        above: Vec::new(),
        subqueries: scope.asked.subqueries.take(),
        is_grouped: false,
        is_cut: false,
    };
    let before = scope.asked.once.take();
    let named: Vec<Arc<QueryPlan>> = steps.subqueries.iter().map(|subquery| Arc::clone(&subquery.plan)).collect();
    let Laid { from, filter, items, .. } = steps.lay_out(&scope, joined, params)?;
    let projection = items.into_iter().map(|item| output(item, &scope, None)).collect();
    // What WITH names is asked for rights even if nothing reads it.
    let unused = unused(named, &from).into_iter().chain(env.ctes.iter().map(|cte| Arc::clone(&cte.plan))).collect();
    Ok((QueryPlan { before, unused, ..plain(from, filter, projection) }, access))
}

/// The subqueries that constant conditions have left out.
fn unused(mut named: Vec<Arc<QueryPlan>>, from: &From) -> Vec<Arc<QueryPlan>> {
    if let From::Tree(relation) = from {
        let mut run: BTreeSet<usize> = BTreeSet::new();
        relation.each_plan(&mut |plan| {
            plan.each_plan(&mut |plan| {
                run.insert(std::ptr::from_ref(plan).addr());
            });
        });
        named.retain(|plan| !run.contains(&std::ptr::from_ref(plan.as_ref()).addr()));
    }
    named
}

/// The clauses of a SELECT, over the row that FROM gives; when grouped, those behind GROUP BY over the row of groups.
struct Steps {
    conditions: Vec<Expr>,
    items: Vec<Item>,
    keys: Vec<Expr>,
    sets: Vec<u64>,
    calls: Vec<AggregateCall>,
    having: Option<(Expr, Option<Span>)>,
    order: Vec<(SortKey, Option<Span>)>,
    windows: Vec<WindowCall>,
    /// Subqueries as what stands behind GROUP BY sees them, when grouped.
    above: Vec<Option<Subquery>>,
    subqueries: Vec<Subquery>,
    is_grouped: bool,
    /// LIMIT takes the first rows of an order.
    is_cut: bool,
}

/// A SELECT as one block.
struct Laid {
    from: From,
    filter: Option<Expr>,
    aggregate: Option<Aggregate>,
    having: Option<Expr>,
    items: Vec<Item>,
    order_by: Vec<SortKey>,
}

/// Every expression of a window call, changed.
fn with_exprs(call: &WindowCall, make: &mut dyn FnMut(&Expr) -> Result<Expr, Diag>) -> Result<WindowCall, Diag> {
    let mut all = |exprs: &[Expr]| exprs.iter().map(&mut *make).collect::<Result<Vec<Expr>, Diag>>();
    let (args, partition_by) = (all(&call.args)?, all(&call.partition_by)?);
    let function = match &call.function {
        WindowFunction::Aggregate(aggregate) => {
            WindowFunction::Aggregate(AggregateCall { args: all(&aggregate.args)?, ..aggregate.clone() })
        }
        other => other.clone(),
    };
    let mut order_by = Vec::with_capacity(call.order_by.len());
    for key in &call.order_by {
        order_by.push(SortKey { expr: make(&key.expr)?, ..key.clone() });
    }
    let mut bound = |bound: &FrameBound| {
        Ok::<_, Diag>(match bound {
            FrameBound::Unbounded => FrameBound::Unbounded,
            FrameBound::Current => FrameBound::Current,
            FrameBound::Preceding(expr) => FrameBound::Preceding(make(expr)?),
            FrameBound::Following(expr) => FrameBound::Following(make(expr)?),
        })
    };
    let (start, end) = (bound(&call.frame.start)?, bound(&call.frame.end)?);
    let frame = Frame { unit: call.frame.unit, start, end };
    Ok(WindowCall { function, args, partition_by, order_by, frame, data_type: call.data_type })
}

/// The numbers of the placeholders of a kind in an expression.
fn numbers(expr: &Expr, base: u32, end: u32, into: &mut BTreeSet<usize>) {
    expr.visit(&mut |part| {
        if let Expr::Column(position, _) = part
            && (base..end).contains(position)
        {
            into.insert((*position - base) as usize);
        }
    });
}

/// Whether an expression holds a placeholder of these.
fn asks_for(expr: &Expr, placeholders: std::ops::Range<u32>) -> bool {
    let mut asks = false;
    expr.visit(&mut |part| asks |= matches!(part, Expr::Column(position, _) if placeholders.contains(position)));
    asks
}

fn asked(expr: &Expr, into: &mut BTreeSet<usize>) {
    numbers(expr, SUBQUERY_BASE, WINDOW_BASE, into);
}

/// With the subqueries that those look at.
fn closed(mut numbers: BTreeSet<usize>, subqueries: &[Option<&Subquery>]) -> BTreeSet<usize> {
    loop {
        let mut more = BTreeSet::new();
        for number in &numbers {
            if let Some(Some(subquery)) = subqueries.get(*number) {
                each_seen(subquery, &mut |expr| asked(expr, &mut more));
            }
        }
        let before = numbers.len();
        numbers.extend(more);
        if numbers.len() == before {
            return numbers;
        }
    }
}

impl Steps {
    /// Everything that is evaluated behind GROUP BY.
    fn each_behind<'s>(&'s self, see: &mut dyn FnMut(&'s Expr)) {
        self.items.iter().for_each(|item| see(&item.value.expr));
        self.having.iter().for_each(|(having, _)| see(having));
        self.order.iter().for_each(|(key, _)| see(&key.expr));
        for call in &self.windows {
            call.args.iter().chain(&call.partition_by).for_each(&mut *see);
            call.order_by.iter().for_each(|key| see(&key.expr));
            if let WindowFunction::Aggregate(aggregate) = &call.function {
                aggregate.args.iter().for_each(&mut *see);
            }
            for bound in [&call.frame.start, &call.frame.end] {
                if let FrameBound::Preceding(expr) | FrameBound::Following(expr) = bound {
                    see(expr);
                }
            }
        }
    }

    /// The error where the placeholder stands behind GROUP BY.
    fn placed_at(&self, position: u32, diag: Diag) -> Diag {
        let items = self.items.iter().map(|item| (&item.value.expr, item.value.span));
        let having = self.having.iter().map(|(having, span)| (having, *span));
        let order = self.order.iter().map(|(key, span)| (&key.expr, *span));
        let mut all = items.chain(having).chain(order);
        let found = all.find(|(expr, _)| asks_for(expr, position..position.saturating_add(1)));
        placed(diag, found.and_then(|(_, span)| span))
    }

    /// Puts what stands behind GROUP BY over the row of groups.
    fn group(&mut self, scope: &Scope<'_>) -> Result<(), Diag> {
        // A column of a table whose whole key is grouped by has one value per group.
        let mut looked_at = BTreeSet::new();
        self.each_behind(&mut |expr| tree::positions(expr, &mut looked_at));
        self.subqueries.iter().for_each(|subquery| {
            each_seen(subquery, &mut |expr| tree::positions(expr, &mut looked_at));
        });
        let own_keys = self.keys.clone();
        for position in looked_at.into_iter().filter(|position| *position < AGGREGATE_BASE) {
            let Some(data_type) = scope.at(position).map(|(_, column)| column.data_type) else { continue };
            let column = Expr::Column(position, data_type);
            let is_alone = self.sets.is_empty();
            if is_alone && !self.keys.contains(&column) && depends_on_keys(position, &own_keys, scope) {
                self.keys.push(column);
            }
        }
        let mut keys = self.keys.clone();
        if !self.sets.is_empty() {
            keys.push(Expr::Column(GROUPING, DataType::BigInt));
        }
        let rows = Grouped { keys: &keys, scope };
        for item in &mut self.items {
            item.value.expr = rows.over_groups(&item.value.expr).map_err(|diag| placed(diag, item.value.span))?;
        }
        for (key, span) in &mut self.order {
            key.expr = rows.over_groups(&key.expr).map_err(|diag| placed(diag, *span))?;
        }
        if let Some((having, span)) = &mut self.having {
            *having = eval::fold(rows.over_groups(having).map_err(|diag| placed(diag, *span))?);
        }
        let over = |call: &WindowCall| with_exprs(call, &mut |expr| rows.over_groups(expr));
        let windows = self.windows.iter().zip(WINDOW_BASE..);
        let windows = windows.map(|(call, position)| over(call).map_err(|diag| self.placed_at(position, diag)));
        self.windows = windows.collect::<Result<_, Diag>>()?;
        let mut behind = BTreeSet::new();
        self.each_behind(&mut |expr| asked(expr, &mut behind));
        let all: Vec<Option<&Subquery>> = self.subqueries.iter().map(Some).collect();
        let behind = closed(behind, &all);
        let mut above = Vec::with_capacity(self.subqueries.len());
        for ((number, subquery), position) in self.subqueries.iter().enumerate().zip(SUBQUERY_BASE..) {
            let sees = |diag: Diag| {
                self.placed_at(position, diag.detail("A subquery behind GROUP BY sees the groups, not their rows."))
            };
            above.push(match behind.contains(&number) {
                true => Some(seeing(subquery, &mut |expr| rows.over_groups(expr)).map_err(sees)?),
                false => None,
            });
        }
        self.above = above;
        Ok(())
    }

    /// The steps as one block over a relation; what needs the values of subqueries or windows stands in blocks of its own below.
    fn lay_out(mut self, scope: &Scope<'_>, joined: Option<Joined>, params: &mut Params) -> Result<Laid, Diag> {
        if self.subqueries.is_empty() && self.windows.is_empty() && self.is_simple(scope) {
            return Ok(self.simple(scope));
        }
        let mut early = BTreeSet::new();
        self.conditions.iter().for_each(|expr| asked(expr, &mut early));
        self.keys.iter().for_each(|expr| asked(expr, &mut early));
        self.calls.iter().flat_map(|call| &call.args).for_each(|expr| asked(expr, &mut early));
        let all: Vec<Option<&Subquery>> = self.subqueries.iter().map(Some).collect();
        let early = closed(early, &all);
        let mut behind = BTreeSet::new();
        self.each_behind(&mut |expr| asked(expr, &mut behind));
        let seen: Vec<Option<&Subquery>> =
            if self.is_grouped { self.above.iter().map(Option::as_ref).collect() } else { all };
        let behind: BTreeSet<usize> = match self.is_grouped {
            true => closed(behind, &seen),
            false => closed(behind, &seen).difference(&early).copied().collect(),
        };

        let (waiting, ready): (Vec<Expr>, Vec<Expr>) =
            std::mem::take(&mut self.conditions).into_iter().partition(|one| {
                let mut any = BTreeSet::new();
                asked(one, &mut any);
                !any.is_empty()
            });
        let Placed { mut relation, layout } = self.source(scope, joined, ready, &waiting, params)?;
        let mut width = u32::try_from(layout.len()).unwrap_or(u32::MAX);
        // Where the values of the subqueries stand that WHERE and GROUP BY look at.
        let mut places: Vec<Option<u32>> = vec![None; self.subqueries.len()];
        let at_source = |places: &[Option<u32>], expr: &Expr| {
            moved(expr, &|position| match position.checked_sub(SUBQUERY_BASE) {
                Some(number) => places.get(number as usize).copied().flatten(),
                None => layout.iter().position(|known| *known == position).and_then(|at| u32::try_from(at).ok()),
            })
        };
        relation = apply(
            relation,
            &early,
            |number| self.subqueries.get(number).cloned(),
            &mut places,
            &mut width,
            &at_source,
        )?;
        relation = looked_up(relation, &early, &waiting);
        let filter = tree::all_of(waiting.iter().map(|expr| at_source(&places, expr)).collect());

        if !self.is_grouped && behind.is_empty() && self.windows.is_empty() {
            let make = |expr: &Expr| at_source(&places, expr);
            let from = From::Tree(Box::new(relation));
            return Ok(self.finished(from, filter, None, None, &make));
        }
        let mut having = self.having.take().map(|(having, _)| having);
        let having_waits = having.as_ref().is_some_and(|having| {
            let mut any = BTreeSet::new();
            asked(having, &mut any);
            !any.is_empty()
        });
        if self.is_grouped {
            let aggregate = Aggregate {
                keys: self.keys.iter().map(|key| eval::fold(at_source(&places, key))).collect(),
                calls: self
                    .calls
                    .iter()
                    .map(|call| AggregateCall {
                        args: call.args.iter().map(|arg| at_source(&places, arg)).collect(),
                        ..call.clone()
                    })
                    .collect(),
                sets: self.sets.clone(),
            };
            let from = From::Tree(Box::new(relation));
            if behind.is_empty() && self.windows.is_empty() {
                return Ok(self.finished(from, filter, Some(aggregate), having, &Expr::clone));
            }
            let of_sets = (!aggregate.sets.is_empty()).then_some(DataType::BigInt);
            let types = aggregate.keys.iter().map(eval::data_type).chain(of_sets);
            let types = types.chain(aggregate.calls.iter().map(|call| call.data_type));
            let projection: Vec<OutputColumn> =
                types.zip(0_u32..).map(|(data_type, at)| tree::passed("", Expr::Column(at, data_type))).collect();
            width = u32::try_from(projection.len()).unwrap_or(u32::MAX);
            let below = if having_waits { None } else { having.take() };
            let block = QueryPlan { aggregate: Some(aggregate), having: below, ..plain(from, filter, projection) };
            relation = Relation::Block(Arc::new(block));
            places = vec![None; self.subqueries.len()];
        } else if let Some(condition) = filter {
            relation = Relation::Filter { input: Box::new(relation), condition };
        }
        let is_grouped = self.is_grouped;
        let windows_from = std::cell::Cell::new(0_u32);
        let above_source = |places: &[Option<u32>], expr: &Expr| {
            moved(expr, &|position| match (position.checked_sub(WINDOW_BASE), position.checked_sub(SUBQUERY_BASE)) {
                (Some(number), _) => Some(windows_from.get().saturating_add(number)),
                (None, Some(number)) => places.get(number as usize).copied().flatten(),
                (None, None) if is_grouped => None,
                (None, None) => {
                    layout.iter().position(|known| *known == position).and_then(|at| u32::try_from(at).ok())
                }
            })
        };
        let subquery = |number: usize| match is_grouped {
            true => self.above.get(number).cloned().flatten(),
            false => self.subqueries.get(number).cloned(),
        };
        for number in &behind {
            if subquery(*number).is_some_and(|subquery| looks_at_windows(&subquery)) {
                let diag = Diag::not_supported("a subquery that is compared with a window function")
                    .hint("Compute the window function in a subquery in FROM.");
                let number = u32::try_from(*number).unwrap_or(u32::MAX - SUBQUERY_BASE);
                return Err(self.placed_at(SUBQUERY_BASE.saturating_add(number), diag));
            }
        }
        relation = apply(relation, &behind, subquery, &mut places, &mut width, &above_source)?;
        if let Some(condition) = having.take() {
            let condition = above_source(&places, &condition);
            relation = Relation::Filter { input: Box::new(relation), condition };
        }
        windows_from.set(width);
        if !self.windows.is_empty() {
            let calls = self
                .windows
                .iter()
                .map(|call| with_exprs(call, &mut |expr| Ok(above_source(&places, expr))))
                .collect::<Result<Vec<WindowCall>, Diag>>()?;
            relation = Relation::Window { input: Box::new(relation), calls };
        }
        let make = |expr: &Expr| above_source(&places, expr);
        Ok(self.finished(From::Tree(Box::new(relation)), None, None, None, &make))
    }

    /// The block above `from`.
    fn finished(
        &self,
        from: From,
        filter: Option<Expr>,
        aggregate: Option<Aggregate>,
        having: Option<Expr>,
        make: &dyn Fn(&Expr) -> Expr,
    ) -> Laid {
        let items = self.items.iter().map(|item| {
            let mut item = item.clone();
            item.value.expr = make(&item.value.expr);
            item
        });
        let order_by = self.order.iter().map(|(key, _)| SortKey { expr: make(&key.expr), ..key.clone() });
        Laid { from, filter, aggregate, having, items: items.collect(), order_by: order_by.collect() }
    }

    /// Whether the rows come from one table, so that all steps run where it is.
    fn is_simple(&self, scope: &Scope<'_>) -> bool {
        match scope.relations.as_slice() {
            [] => true,
            [one] => match &one.source {
                Source::System(_) | Source::Nothing | Source::Draft => true,
                Source::Query(_) | Source::Shared { .. } | Source::Working { .. } => false,
                Source::Table(table) => {
                    let sees_outside = |expr: &Expr| {
                        let mut sees = false;
                        expr.visit(&mut |part| sees |= matches!(part, Expr::Param(slot, _) if *slot >= FIRST_SLOT));
                        sees
                    };
                    let varies = scope.outer.is_some() && self.conditions.iter().any(sees_outside);
                    let filter = || tree::all_of(self.conditions.clone());
                    let by_key = || tree::is_by_outer_key(&bounds::access(table, filter().as_ref()));
                    !varies || by_key()
                }
            },
            _ => false,
        }
    }

    fn simple(self, scope: &Scope<'_>) -> Laid {
        let filter = tree::all_of(self.conditions);
        let order_by: Vec<SortKey> = self.order.into_iter().map(|(key, _)| key).collect();
        let wanted = match self.is_grouped {
            true if self.keys.is_empty() && self.sets.is_empty() => order::extreme(&self.calls).into_iter().collect(),
            false if self.is_cut => order_by.clone(),
            true | false => Vec::new(),
        };
        let from = match scope.source() {
            Source::Table(table) => {
                let serves =
                    |access: &TableAccess| !wanted.is_empty() && order::in_one_place(table, access, &wanted).is_some();
                let access = bounds::access_for(table, filter.as_ref(), &serves);
                From::Table { table: Arc::clone(table), access }
            }
            Source::System(table) => From::System(*table),
            Source::Nothing | Source::Draft | Source::Query(_) | Source::Shared { .. } | Source::Working { .. } => {
                From::Nothing
            }
        };
        let aggregate = self.is_grouped.then(|| Aggregate {
            keys: self.keys.into_iter().map(eval::fold).collect(),
            calls: self.calls,
            sets: self.sets,
        });
        Laid { from, filter, aggregate, having: self.having.map(|(having, _)| having), items: self.items, order_by }
    }

    /// The rows of FROM for which the conditions hold.
    fn source(
        &self,
        scope: &Scope<'_>,
        joined: Option<Joined>,
        ready: Vec<Expr>,
        waiting: &[Expr],
        params: &mut Params,
    ) -> Result<Placed, Diag> {
        let Some(joined) = joined else {
            let relation = Relation::Values(vec![Vec::new()]);
            let relation = match tree::all_of(ready) {
                None => relation,
                Some(condition) => Relation::Filter { input: Box::new(relation), condition },
            };
            return Ok(Placed { relation, layout: Vec::new() });
        };
        let mut needed = BTreeSet::new();
        let mut need = |expr: &Expr| tree::positions(expr, &mut needed);
        ready.iter().chain(waiting).for_each(&mut need);
        self.calls.iter().flat_map(|call| &call.args).chain(&self.keys).for_each(&mut need);
        if !self.is_grouped {
            self.each_behind(&mut |expr| need(expr));
        }
        self.subqueries.iter().for_each(|subquery| each_seen(subquery, &mut |expr| need(expr)));
        from::each_condition(&joined, &mut need);
        needed.retain(|position| *position < AGGREGATE_BASE);
        Planner { scope, params, needed }.plan(joined, ready)
    }
}

fn looks_at_windows(subquery: &Subquery) -> bool {
    let mut found = BTreeSet::new();
    each_seen(subquery, &mut |expr| numbers(expr, WINDOW_BASE, u32::MAX, &mut found));
    !found.is_empty()
}

/// The relation with the values of these subqueries behind its rows.
fn apply(
    relation: Relation,
    wanted: &BTreeSet<usize>,
    subquery: impl Fn(usize) -> Option<Subquery>,
    places: &mut [Option<u32>],
    width: &mut u32,
    make: &dyn Fn(&[Option<u32>], &Expr) -> Expr,
) -> Result<Relation, Diag> {
    let mut subqueries = Vec::with_capacity(wanted.len());
    for number in wanted {
        let Some(found) = subquery(*number) else {
            return Err(Diag::new(SqlState::INTERNAL, "a subquery without its place"));
        };
        subqueries.push(seeing(&found, &mut |expr| Ok(make(places, expr)))?);
        if let Some(place) = places.get_mut(*number) {
            *place = Some(*width);
        }
        *width = width.saturating_add(1);
    }
    Ok(if subqueries.is_empty() { relation } else { Relation::Apply { input: Box::new(relation), subqueries } })
}

/// The relation with tables read by what subqueries give, where a row counts only if it is IN one of these.
fn looked_up(relation: Relation, numbers: &BTreeSet<usize>, conditions: &[Expr]) -> Relation {
    let Relation::Apply { input, mut subqueries } = relation else { return relation };
    for (subquery, number) in subqueries.iter_mut().zip(numbers) {
        let is_it = |position: &u32| position.checked_sub(SUBQUERY_BASE).map(|found| found as usize) == Some(*number);
        let must_hold = conditions.iter().any(|one| matches!(one, Expr::Column(position, _) if is_it(position)));
        let Meaning::Compare { pairs, op: BinaryOp::Equal, all: false } = &subquery.meaning else { continue };
        if must_hold && subquery.outer.is_empty() {
            let pairs: Vec<(Expr, Expr)> = pairs.iter().map(|(left, right)| (right.clone(), left.clone())).collect();
            subquery.lookup = tree::lookup(&input, &pairs);
        }
    }
    Relation::Apply { input, subqueries }
}

fn output(item: Item, scope: &Scope<'_>, aggregate: Option<&Aggregate>) -> OutputColumn {
    let expr = eval::fold(item.value.expr);
    let data_type = item.value.data_type.unwrap_or(DataType::Text);
    let counted = match (aggregate, &expr) {
        (Some(aggregate), Expr::Column(index, _)) => usize::try_from(*index)
            .ok()
            .and_then(|index| aggregate.calls.get(index.checked_sub(aggregate.leading())?))
            .is_some_and(|call| matches!(call.function, AggregateFunction::Count | AggregateFunction::CountStar)),
        _ => false,
    };
    let literal = matches!(&expr, Expr::Literal(value, _) if !value.is_null());
    // A key that is not in its grouping set is NULL.
    let as_it_is = item.source.filter(|_| aggregate.is_none_or(|aggregate| aggregate.sets.is_empty()));
    let source = as_it_is.and_then(|position| scope.at(position).map(|found| (position, found)));
    let (primary_key, not_null, unique) = match source {
        Some((position, (relation, column))) => {
            (column.primary_key, column.not_null && !relation.nullable, scope.is_unique(position))
        }
        None => (false, counted || literal, false),
    };
    OutputColumn { name: item.name, expr, data_type, primary_key, not_null, unique }
}

/// HAVING with the name of an output column.
fn names_an_output(diag: Diag, items: &[Item]) -> Diag {
    let named = |item: &Item| diag.message == format!("column \"{}\" does not exist", item.name);
    if diag.sqlstate != SqlState::UNDEFINED_COLUMN || !items.iter().any(named) {
        return diag;
    }
    let mut diag = diag.hint("Names of the result are not known in HAVING: repeat the expression.");
    diag.suggestions.clear();
    diag
}
