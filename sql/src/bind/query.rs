//! Queries: WITH, set operations, VALUES, ORDER BY and LIMIT around them. A SELECT itself is in `select`.

mod at_once;
mod derived;
pub(super) mod from;
mod grouped;
mod items;
mod returned;
mod select;
mod shown;
mod subquery;
pub(super) mod tree;
pub(super) mod window;

use std::rc::Rc;
use std::sync::Arc;

use sqlparser::ast::{self, LimitClause, SetExpr, SetQuantifier, Spanned, TableFactor};

use super::BindContext;
use super::expr::{Binder, Clause, Typed};
use super::names::{Relation as Named, name_of, object_of, relation};
use super::params::Params;
use super::scope::{Cte, Env, Outer, Scope, Visible, Working};
use crate::cast::{self, Coercion};
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::Expr;
use crate::lexer::char_span;
use crate::plan::{
    Explained, From, Once, OutputColumn, Plan, QueryPlan, Recursive, Relation, SetOperation, SetOperator, SortKey,
};
use crate::value::{DataType, Value};

pub(super) use self::items::no_options;
use self::items::{Item, sort_keys};
pub(super) use self::returned::over_changed_rows;
pub(super) use self::select::rows_to_change;
pub(super) use self::shown::shown_name;
pub(super) use self::subquery::each_seen;
use self::tree::{passed, plain};

/// `what` is not supported, at this place of sqlparser's.
pub(super) fn refuse_at(what: &str, span: sqlparser::tokenizer::Span) -> Diag {
    let diag = Diag::not_supported(what);
    match char_span(span) {
        Some(span) => diag.at(span),
        None => diag,
    }
}

fn placed(diag: Diag, span: Option<Span>) -> Diag {
    match span {
        Some(span) => diag.at(span),
        None => diag,
    }
}

/// Where a query begins. The place of all of it is found by a walk as deep as the query.
pub(super) fn start_of(query: &ast::Query) -> Option<Span> {
    match (&query.with, query.body.as_ref()) {
        (Some(with), _) => char_span(with.with_token.0.span),
        (None, SetExpr::Select(select)) => char_span(select.select_token.0.span),
        (None, _) => None,
    }
}

/// A bound query.
pub(super) struct Output {
    pub(super) plan: QueryPlan,
    /// Columns whose type nothing has decided: literals, NULL and parameters, TEXT unless something around them wants another type.
    open: Vec<bool>,
    /// It is the rows of a relation, passed on as they are.
    is_bare: bool,
}

impl Output {
    fn into_relation(self) -> Relation {
        match self.plan {
            QueryPlan { from: From::Tree(relation), before, .. } if self.is_bare && before.is_empty() => *relation,
            plan => Relation::Block(Arc::new(plan)),
        }
    }
}

/// A statement's query.
pub(super) fn bind(query: &ast::Query, context: &BindContext<'_>, params: &mut Params) -> Result<QueryPlan, Diag> {
    query_of(query, &Env::of(context), None, params).map(|output| output.plan)
}

/// The query of an INSERT; columns whose type nothing has decided take those of the table's.
pub(super) fn source(
    query: &ast::Query,
    context: &BindContext<'_>,
    types: &[DataType],
    params: &mut Params,
) -> Result<QueryPlan, Diag> {
    let mut output = query_of(query, &Env::of(context), None, params)?;
    for (at, wanted) in types.iter().enumerate() {
        if output.open.get(at).copied().unwrap_or(false) {
            decided(&mut output, at, *wanted, params).map_err(|diag| placed(diag, start_of(query)))?;
        }
    }
    Ok(output.plan)
}

/// VALUES of these types, with the subqueries that they look at.
pub(super) fn of_values(rows: Vec<Vec<Expr>>, types: &[DataType], before: Vec<Once>) -> QueryPlan {
    let width = rows.first().map_or(0, Vec::len);
    let column = |(data_type, at): (&DataType, u32)| passed("", Expr::Column(at, *data_type));
    let projection = types.iter().take(width).zip(0_u32..).map(column).collect();
    let from = From::Tree(Box::new(Relation::Values(rows)));
    QueryPlan { before, ..plain(from, None, projection) }
}

/// EXPLAIN of a statement: rows of one text each.
pub(super) fn explained(plan: Plan, analyze: bool, json: bool) -> Result<QueryPlan, Diag> {
    match &plan {
        Plan::Query(_) => {}
        Plan::Write(_) if analyze => {
            return Err(Diag::not_supported("EXPLAIN ANALYZE of a change")
                .hint("It would be made. EXPLAIN without ANALYZE shows how."));
        }
        Plan::Write(_) => {}
        Plan::Ddl(_) | Plan::CreateFrom(_) | Plan::User(_) | Plan::Consume(_) | Plan::Ack(_) | Plan::Cluster(_) => {
            return Err(Diag::not_supported("EXPLAIN of this statement"));
        }
    }
    let column = OutputColumn { not_null: true, ..passed("QUERY PLAN", Expr::Column(0, DataType::Text)) };
    Ok(plain(From::Explain(Box::new(Explained { plan, analyze, json })), None, vec![column]))
}

/// A query, at the top or inside another.
pub(super) fn query_of<'a>(
    query: &'a ast::Query,
    env: &Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &mut Params,
) -> Result<Output, Diag> {
    for (present, what) in [
        (!query.locks.is_empty(), "FOR UPDATE or FOR SHARE"),
        (query.for_clause.is_some(), "FOR"),
        (query.settings.is_some(), "SETTINGS"),
        (query.format_clause.is_some(), "FORMAT"),
        (!query.pipe_operators.is_empty(), "a pipe operator"),
    ] {
        if present {
            return Err(refuse_at(what, query.span()));
        }
    }
    let with_ctes;
    let env = match &query.with {
        None => env,
        Some(with) => {
            with_ctes = ctes(with, env, outer, params)?;
            &with_ctes
        }
    };
    let mut output = with_order(query, env, outer, params)?;
    if query.with.is_some() {
        // What WITH names is asked for rights even if nothing reads it.
        let own = env.ctes.iter().rev().take(query.with.as_ref().map_or(0, |with| with.cte_tables.len()));
        output.plan.unused.extend(own.map(|cte| Arc::clone(&cte.plan)));
        output.is_bare = false;
    }
    Ok(output)
}

/// A query behind its WITH.
fn with_order<'a>(
    query: &'a ast::Query,
    env: &Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &mut Params,
) -> Result<Output, Diag> {
    if let SetExpr::Select(select) = query.body.as_ref() {
        return select::bind(select, Some(query), env, outer, params);
    }
    let output = body(&query.body, env, outer, params)?;
    let (limit, offset) = limit(query, params)?;
    if query.order_by.is_none() && limit.is_none() && offset.is_none() {
        return Ok(output);
    }
    let Output { open, .. } = &output;
    let (open, columns) = (open.clone(), output.plan.projection.clone());
    let items: Vec<Item> = columns
        .iter()
        .zip(0_u32..)
        .map(|(column, at)| {
            let value = Typed::leaf(Expr::Column(at, column.data_type), Some(column.data_type), None);
            Item { name: column.name.clone(), alias: true, value, source: None, open: false }
        })
        .collect();
    let order_by = sort_by_output(query, &items)?;
    let projection =
        items.into_iter().zip(columns).map(|(item, column)| OutputColumn { expr: item.value.expr, ..column }).collect();
    let from = From::Tree(Box::new(output.into_relation()));
    let plan = QueryPlan { order_by, limit, offset, ..plain(from, None, projection) };
    Ok(Output { plan, open, is_bare: false })
}

/// ORDER BY of what is not one SELECT: output columns only.
fn sort_by_output(query: &ast::Query, items: &[Item]) -> Result<Vec<SortKey>, Diag> {
    let keys = sort_keys(query)?;
    let mut order_by = Vec::with_capacity(keys.len());
    for (expr, descending, nulls_first) in keys {
        let found = match (items::position(expr), expr) {
            (Some((number, span)), _) => Some(items::by_position(number, items, "ORDER BY", span)?),
            (None, ast::Expr::Identifier(ident)) => {
                let name = name_of(ident)?;
                let found = items.iter().find(|item| item.name == name.value);
                if found.is_none() {
                    let diag = Diag::new(
                        SqlState::UNDEFINED_COLUMN,
                        format!("column \"{}\" is not in the result", name.value),
                    )
                    .at(name.span);
                    let known = items.iter().map(|item| item.name.as_str());
                    return Err(crate::suggest::with_nearest(diag, &name.value, known));
                }
                found
            }
            _ => None,
        };
        let Some(item) = found else {
            return Err(refuse_at("ORDER BY with an expression behind a set operation", expr.span())
                .hint("Name an output column, or select from the whole in FROM."));
        };
        items::ordered(&item.value, "ORDER BY")?;
        order_by.push(SortKey { expr: item.value.expr.clone(), descending, nulls_first });
    }
    Ok(order_by)
}

/// WITH: what it names is in sight of what stands behind it.
/// What WITH names.
pub(super) fn ctes<'a>(
    with: &'a ast::With,
    env: &Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &mut Params,
) -> Result<Env<'a>, Diag> {
    let mut env = from::deeper(env, char_span(with.with_token.0.span))?;
    let mut own: Vec<String> = Vec::new();
    for cte in &with.cte_tables {
        let name = name_of(&cte.alias.name)?;
        if cte.from.is_some() || cte.alias.at.is_some() {
            return Err(refuse_at("this form of WITH", cte.alias.name.span));
        }
        if own.contains(&name.value) {
            return Err(
                Diag::new(SqlState::DUPLICATE_ALIAS, format!("\"{}\" stands twice in WITH", name.value)).at(name.span)
            );
        }
        let volatile_before = params.volatile_calls();
        let plan = match recursion(cte, with.recursive) {
            Some(parts) => recursive(cte, parts, &env, outer, params)?,
            None => query_of(&cte.query, &env, outer, params)?.plan,
        };
        let mut columns = visible(&plan.projection);
        from::rename_columns(&mut columns, &cte.alias.columns, &cte.alias.name)?;
        let id = outer.is_none().then(|| params.number());
        let stays = cte.materialized == Some(ast::CteAsMaterialized::Materialized)
            || params.volatile_calls() > volatile_before
            || matches!(&plan.from, From::Tree(relation) if matches!(**relation, Relation::Recursive(_)));
        let place = (!stays).then_some(name.span.start);
        own.push(name.value.clone());
        let plan = Arc::new(plan);
        Rc::make_mut(&mut env.ctes).push(Cte { name: name.value, columns, plan, id, place, working: None });
    }
    Ok(env)
}

/// The parts of a query that may name itself: before and behind its last UNION.
fn recursion(cte: &ast::Cte, is_allowed: bool) -> Option<(&SetExpr, &SetExpr, SetQuantifier)> {
    match cte.query.body.as_ref() {
        SetExpr::SetOperation { op: ast::SetOperator::Union, set_quantifier, left, right } if is_allowed => {
            Some((left, right, *set_quantifier))
        }
        _ => None,
    }
}

/// A query of WITH RECURSIVE; one that does not name itself is one as any other.
fn recursive<'a>(
    cte: &'a ast::Cte,
    (first, step, quantifier): (&'a SetExpr, &'a SetExpr, SetQuantifier),
    env: &Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &mut Params,
) -> Result<QueryPlan, Diag> {
    let name = name_of(&cte.alias.name)?;
    let env_inside = from::deeper(env, Some(name.span))?;
    let first_plan = body(first, &env_inside, outer, params)?.plan;
    let mut columns = visible(&first_plan.projection);
    from::rename_columns(&mut columns, &cte.alias.columns, &cte.alias.name)?;
    let id = params.number();
    let named = Rc::new(std::cell::Cell::new(false));
    let working = Some(Working { id, named: Rc::clone(&named), barriers: env_inside.barrier.count });
    let own =
        Cte { name: name.value.clone(), columns, plan: Arc::new(first_plan.clone()), id: None, place: None, working };
    let mut env_of_step = env_inside;
    Rc::make_mut(&mut env_of_step.ctes).push(own);
    let mut of_step = body(step, &env_of_step, outer, params)?;
    if !named.get() {
        return query_of(&cte.query, env, outer, params).map(|output| output.plan);
    }
    let all = match quantifier {
        SetQuantifier::All => true,
        SetQuantifier::Distinct | SetQuantifier::None => false,
        SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
            return Err(refuse_at("BY NAME", step.span()));
        }
    };
    let query = &cte.query;
    if query.with.is_some() || query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return Err(refuse_at("WITH, ORDER BY or LIMIT of a recursive query", cte.alias.name.span)
            .hint("Put it into the query that reads this one."));
    }
    let (width, other) = (first_plan.projection.len(), of_step.plan.projection.len());
    let place = char_span(step.span());
    if width != other {
        let diag = Diag::new(SqlState::SYNTAX_ERROR, format!("the sides of UNION have {width} and {other} columns"));
        return Err(placed(diag, place));
    }
    let mut values = Vec::with_capacity(width);
    for (at, column) in first_plan.projection.iter().enumerate() {
        let wanted = column.data_type;
        if of_step.open.get(at).copied().unwrap_or(false) {
            decided(&mut of_step, at, wanted, params).map_err(|diag| placed(diag, place))?;
        }
        if !all && !wanted.has_equality() {
            let diag = format!("UNION cannot compare values of type {wanted}: it has no order");
            return Err(placed(Diag::new(SqlState::UNDEFINED_FUNCTION, diag).hint("UNION ALL takes them."), place));
        }
        let from = of_step.plan.projection.get(at).map_or(wanted, |column| column.data_type);
        let value = Expr::Column(u32::try_from(at).unwrap_or(u32::MAX), from);
        values.push(if from.same_kind(&wanted) {
            value
        } else if cast::allowed(from, wanted, Coercion::Implicit) {
            Expr::Cast { expr: Box::new(value), to: wanted, assignment: false }
        } else {
            let diag = format!(
                "column {} of the recursive query \"{}\" is of type {wanted} in its first part and of type {from} in the other",
                at + 1,
                name.value
            );
            let diag = Diag::new(SqlState::DATATYPE_MISMATCH, diag);
            return Err(placed(diag.hint(format!("Cast it in the first part: CAST(... AS {from}).")), place));
        });
    }
    let step = if values.iter().all(|value| matches!(value, Expr::Column(..))) {
        of_step.plan
    } else {
        let projection = values.into_iter().map(|value| passed("", value)).collect();
        plain(From::Tree(Box::new(of_step.into_relation())), None, projection)
    };
    let passed_on = |(column, at): (&OutputColumn, u32)| passed(&column.name, Expr::Column(at, column.data_type));
    let projection = first_plan.projection.iter().zip(0_u32..).map(passed_on).collect();
    let recursive = Recursive { id, name: name.value, first: Arc::new(first_plan), step: Arc::new(step), all };
    Ok(plain(From::Tree(Box::new(Relation::Recursive(Box::new(recursive)))), None, projection))
}

/// The columns of a result, as FROM sees them.
pub(super) fn visible(projection: &[OutputColumn]) -> Vec<Visible> {
    projection
        .iter()
        .map(|column| Visible {
            name: column.name.clone(),
            data_type: column.data_type,
            not_null: column.not_null,
            primary_key: false,
        })
        .collect()
}

/// GROUPING(key, ...): which keys are not in the grouping set of a row.
pub(super) fn grouping(
    binder: &mut Binder<'_, '_>,
    args: &[ast::FunctionArg],
    span: Option<Span>,
) -> Result<Typed, Diag> {
    if !matches!(binder.clause, Clause::Select | Clause::Having | Clause::OrderBy) || binder.inside_aggregate {
        let diag = Diag::new(
            SqlState::GROUPING_ERROR,
            "GROUPING stands in SELECT, HAVING and ORDER BY, outside of aggregates",
        );
        return Err(placed(diag, span));
    }
    let mut keys = Vec::with_capacity(args.len());
    for arg in args {
        let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = arg else {
            return Err(placed(grouped::no_grouping(), span));
        };
        keys.push(binder.typed(expr)?.expr);
    }
    if keys.is_empty() || keys.len() > 31 {
        return Err(placed(Diag::new(SqlState::SYNTAX_ERROR, "GROUPING takes 1 to 31 keys of GROUP BY"), span));
    }
    super::expr::made(grouped::grouping(keys), Some(DataType::Int), 6, span)
}

/// A query without its ORDER BY and LIMIT.
fn body<'a>(
    body: &'a SetExpr,
    env: &Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &mut Params,
) -> Result<Output, Diag> {
    match body {
        SetExpr::Select(select) => select::bind(select, None, env, outer, params),
        SetExpr::Query(query) => query_of(query, &from::deeper(env, start_of(query))?, outer, params),
        SetExpr::Values(values) => self::values(values, body.span(), env, outer, params),
        SetExpr::SetOperation { .. } => {
            // The left sides of a chain are walked, not recursed into.
            let mut steps = Vec::new();
            let mut first = body;
            while let SetExpr::SetOperation { op, set_quantifier, left, right } = first {
                steps.push((*op, *set_quantifier, right.as_ref()));
                first = left;
            }
            // Rows that come in a later round could take back what an earlier one gave.
            let barrier = |op: &ast::SetOperator, quantifier: &SetQuantifier, is_right: bool| match (op, quantifier) {
                (ast::SetOperator::Intersect, SetQuantifier::All) => Some("INTERSECT ALL"),
                (ast::SetOperator::Except | ast::SetOperator::Minus, SetQuantifier::All) => Some("EXCEPT ALL"),
                (ast::SetOperator::Except | ast::SetOperator::Minus, _) if is_right => Some("the right side of EXCEPT"),
                _ => None,
            };
            let behind = |what: Option<&'static str>, env: &Env<'a>| match what {
                Some(what) => Env { barrier: env.barrier.and(what), ..env.clone() },
                None => env.clone(),
            };
            let around = steps.iter().find_map(|(op, quantifier, _)| barrier(op, quantifier, false));
            let mut all = self::body(first, &behind(around, env), outer, params)?;
            while let Some((op, quantifier, right)) = steps.pop() {
                let around = steps.iter().find_map(|(op, quantifier, _)| barrier(op, quantifier, false));
                let env = behind(barrier(&op, &quantifier, true).or(around), env);
                let bound = self::body(right, &env, outer, params)?;
                all = set_operation(op, quantifier, all, bound, &|| right.span(), params)?;
            }
            Ok(all)
        }
        SetExpr::Table(_) => Err(refuse_at("TABLE as a query", body.span()).hint("Write SELECT * FROM.")),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(refuse_at("a change inside a query", body.span()))
        }
    }
}

/// VALUES: columns `column1`, `column2` ..., each in the type that its values have in common.
fn values<'a>(
    values: &'a ast::Values,
    place: sqlparser::tokenizer::Span,
    env: &Env<'a>,
    outer: Option<&'a Outer<'a>>,
    params: &mut Params,
) -> Result<Output, Diag> {
    if values.explicit_row || values.value_keyword {
        return Err(refuse_at("ROW or VALUE in VALUES", place));
    }
    let scope = Scope { env: Some(env.clone()), outer, ..Scope::nothing() };
    let mut none = Vec::new();
    let mut binder = Binder::new(&scope, params, Clause::Values, &mut none);
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let mut columns: Vec<Vec<Typed>> = (0..width).map(|_| Vec::with_capacity(values.rows.len())).collect();
    for row in &values.rows {
        if row.content.len() != width {
            let span = row.content.first().and_then(|expr| char_span(expr.span())).or(char_span(place));
            let diag = Diag::new(
                SqlState::SYNTAX_ERROR,
                format!("the rows of VALUES have {width} and {} columns", row.content.len()),
            );
            return Err(placed(diag, span));
        }
        for (column, expr) in columns.iter_mut().zip(&row.content) {
            column.push(binder.open(expr)?);
        }
    }
    let mut rows: Vec<Vec<Expr>> = values.rows.iter().map(|_| Vec::with_capacity(width)).collect();
    let mut projection = Vec::with_capacity(width);
    let mut open = Vec::with_capacity(width);
    for (column, number) in columns.into_iter().zip(0_u32..) {
        open.push(column.iter().all(|value| value.data_type.is_none()));
        let (column, data_type) = binder.in_common(column, "VALUES")?;
        for (row, value) in rows.iter_mut().zip(column) {
            row.push(eval::fold(value.expr));
        }
        projection.push(passed(&format!("column{}", number + 1), Expr::Column(number, data_type)));
    }
    if !scope.asked.subqueries.borrow().is_empty() {
        return Err(refuse_at("this kind of subquery in VALUES", place).hint("Write SELECT without FROM."));
    }
    let mut plan = plain(From::Tree(Box::new(Relation::Values(rows))), None, projection);
    plan.before = scope.asked.once.take();
    Ok(Output { plan, open, is_bare: true })
}

fn set_operation(
    op: ast::SetOperator,
    quantifier: SetQuantifier,
    mut left: Output,
    mut right: Output,
    place: &dyn Fn() -> sqlparser::tokenizer::Span,
    params: &mut Params,
) -> Result<Output, Diag> {
    let operator = match op {
        ast::SetOperator::Union => SetOperator::Union,
        ast::SetOperator::Intersect => SetOperator::Intersect,
        ast::SetOperator::Except | ast::SetOperator::Minus => SetOperator::Except,
    };
    let all = match quantifier {
        SetQuantifier::All => true,
        SetQuantifier::Distinct | SetQuantifier::None => false,
        SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
            return Err(refuse_at("BY NAME", place()));
        }
    };
    let (width, other) = (left.plan.projection.len(), right.plan.projection.len());
    if width != other {
        let diag = Diag::new(SqlState::SYNTAX_ERROR, format!("the sides of {op} have {width} and {other} columns"));
        return Err(placed(diag, char_span(place())));
    }
    let mut projection = Vec::with_capacity(width);
    let mut types = Vec::with_capacity(width);
    let mut open = Vec::with_capacity(width);
    for at in 0..width {
        let is_open = |output: &Output| output.open.get(at).copied().unwrap_or(false);
        let type_of =
            |output: &Output| output.plan.projection.get(at).map_or(DataType::Text, |column| column.data_type);
        let (of_left, of_right) = (type_of(&left), type_of(&right));
        let data_type = match (is_open(&left), is_open(&right)) {
            (true, false) => decided(&mut left, at, of_right, params).map(|()| of_right),
            (false, true) => decided(&mut right, at, of_left, params).map(|()| of_left),
            _ if of_left == of_right => Ok(of_left),
            _ => cast::common_type(&[of_left, of_right]).ok_or_else(|| {
                Diag::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("column {} of {op} has types {of_left} and {of_right}", at + 1),
                )
                .hint("Cast one side to the type of the other.")
            }),
        }
        .map_err(|diag| placed(diag, char_span(place())))?;
        let compares = !all || operator != SetOperator::Union;
        if compares && !data_type.has_equality() {
            let diag = Diag::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("{op} cannot compare values of type {data_type}: it has no order"),
            );
            return Err(placed(diag.hint("UNION ALL takes them."), char_span(place())));
        }
        let never_null = |output: &Output| output.plan.projection.get(at).is_some_and(|column| column.not_null);
        let name = left.plan.projection.get(at).map_or("?column?", |column| column.name.as_str());
        let position = u32::try_from(at).unwrap_or(u32::MAX);
        projection.push(OutputColumn {
            not_null: never_null(&left) && never_null(&right),
            ..passed(name, Expr::Column(position, data_type))
        });
        open.push(is_open(&left) && is_open(&right));
        types.push(data_type);
    }
    let (left, right) = (left.into_relation(), right.into_relation());
    let set = SetOperation { operator, all, left, right, types };
    let plan = plain(From::Tree(Box::new(Relation::Set(Box::new(set)))), None, projection);
    Ok(Output { plan, open, is_bare: true })
}

/// A column of open type takes the wanted one. What is not a literal or parameter any more is cast when the rows come.
fn decided(output: &mut Output, at: usize, wanted: DataType, params: &mut Params) -> Result<(), Diag> {
    let Some(column) = output.plan.projection.get_mut(at) else { return Ok(()) };
    match &column.expr {
        Expr::Literal(Value::Null, _) => column.expr = Expr::Literal(Value::Null, wanted),
        Expr::Literal(literal @ Value::Text(_), _) => {
            column.expr = Expr::Literal(cast::cast(literal.clone(), wanted, false)?, wanted);
        }
        Expr::Param(index, _) => {
            params.infer(*index, wanted);
            column.expr = Expr::Param(*index, wanted);
        }
        _ => return Ok(()),
    }
    column.data_type = wanted;
    Ok(())
}

/// The one table of a statement; `seq`: with `_seq` behind its columns.
pub(super) fn one_table<'a>(
    from: &ast::TableWithJoins,
    context: &BindContext<'a>,
    seq: bool,
) -> Result<Scope<'a>, Diag> {
    if let Some(join) = from.joins.first() {
        return Err(refuse_at("a join", join.span()));
    }
    let place = from.relation.span();
    let (name, alias) = match &from.relation {
        TableFactor::Table {
            name,
            alias,
            args,
            with_hints,
            version,
            with_ordinality,
            partitions,
            json_path,
            sample,
            index_hints,
        } => {
            for (present, what) in [
                (args.is_some(), "a table function"),
                (!with_hints.is_empty() || !index_hints.is_empty(), "a hint"),
                (version.is_some(), "a table's version"),
                (*with_ordinality, "WITH ORDINALITY"),
                (!partitions.is_empty(), "PARTITION in FROM"),
                (json_path.is_some(), "a path in FROM"),
                (sample.is_some(), "TABLESAMPLE"),
            ] {
                if present {
                    return Err(refuse_at(what, place));
                }
            }
            (object_of(name)?, alias)
        }
        TableFactor::Derived { .. } => return Err(refuse_at("a subquery in FROM", place)),
        TableFactor::NestedJoin { .. } => return Err(refuse_at("a join", place)),
        TableFactor::TableFunction { .. } | TableFactor::Function { .. } | TableFactor::UNNEST { .. } => {
            return Err(refuse_at("a table function", place));
        }
        _ => return Err(refuse_at("this form of FROM", place)),
    };
    let alias = match alias {
        None => None,
        Some(alias) if alias.columns.is_empty() && alias.at.is_none() => Some(name_of(&alias.name)?),
        Some(_) => return Err(refuse_at("a column list behind an alias", place)),
    };
    Ok(match relation(&name, context)? {
        Named::Table(table) => Scope::table(table, alias.as_ref(), seq),
        Named::System(table) => Scope::system(table, alias.as_ref()),
    })
}

fn limit(query: &ast::Query, params: &mut Params) -> Result<(Option<Expr>, Option<Expr>), Diag> {
    let limit_place = match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit: Some(limit), .. }) => Some(limit.span()),
        Some(LimitClause::LimitOffset { .. } | LimitClause::OffsetCommaLimit { .. }) | None => None,
    };
    let fetch = match &query.fetch {
        None => None,
        Some(fetch) if fetch.percent || fetch.with_ties => {
            let place = fetch.quantity.as_ref().map_or_else(|| query.span(), Spanned::span);
            return Err(refuse_at("FETCH FIRST with PERCENT or WITH TIES", place));
        }
        Some(fetch) if let Some(limit) = limit_place => {
            let place = fetch.quantity.as_ref().map_or(limit, Spanned::span);
            return Err(refuse_at("FETCH FIRST beside LIMIT", place).hint("They say the same: write one of them."));
        }
        Some(fetch) => match &fetch.quantity {
            Some(quantity) => count(quantity, params, "FETCH FIRST")?,
            None => Some(Expr::Literal(Value::BigInt(1), DataType::BigInt)),
        },
    };
    match &query.limit_clause {
        None => Ok((fetch, None)),
        Some(LimitClause::OffsetCommaLimit { .. }) => Err(refuse_at("LIMIT offset, count", query.span())),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
            if !limit_by.is_empty() {
                return Err(refuse_at("LIMIT BY", query.span()));
            }
            let limit = limit.as_ref().map(|limit| count(limit, params, "LIMIT")).transpose()?.flatten();
            let offset = offset.as_ref().map(|offset| count(&offset.value, params, "OFFSET")).transpose()?.flatten();
            Ok((limit.or(fetch), offset))
        }
    }
}

/// A constant of type BIGINT that is not negative; NULL is none.
pub(super) fn count(expr: &ast::Expr, params: &mut Params, word: &str) -> Result<Option<Expr>, Diag> {
    let nothing = Scope::nothing();
    let mut none = Vec::new();
    let mut binder = Binder::new(&nothing, params, Clause::Limit, &mut none);
    let open = binder.open(expr)?;
    let value = binder.coerced(open, DataType::BigInt, Coercion::Implicit, |from| {
        format!("{word} takes a BIGINT, not a value of type {from}")
    })?;
    let span = value.span;
    let folded = eval::fold(match value.data_type {
        Some(DataType::BigInt) => value.expr,
        _ => Expr::Cast { expr: Box::new(value.expr), to: DataType::BigInt, assignment: false },
    });
    match &folded {
        Expr::Literal(Value::Null, _) => Ok(None),
        Expr::Literal(Value::BigInt(number), _) if *number < 0 => {
            Err(placed(Diag::new(SqlState::INVALID_LIMIT, format!("{word} is below zero")), span))
        }
        Expr::Literal(..) | Expr::Param(..) => Ok(Some(folded)),
        _ if !eval::is_volatile(&folded) => Ok(Some(folded)),
        _ => Err(placed(Diag::not_supported(format_args!("a volatile function in {word}")), span)),
    }
}
