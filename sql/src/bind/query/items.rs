//! The SELECT list, and what GROUP BY and ORDER BY name of it.

use sqlparser::ast::{self, GroupByExpr, SelectItem, SelectItemQualifiedWildcardKind, Spanned};

use super::shown::shown_name;
use super::{placed, refuse_at};
use crate::bind::expr::{AGGREGATE_BASE, Binder, Clause, Typed};
use crate::bind::names::{name_of, object_of};
use crate::bind::params::Params;
use crate::bind::scope::{Scope, Star, stars};
use crate::diag::{Diag, Span, SqlState};
use crate::expr::{AggregateCall, Expr};
use crate::lexer::char_span;
use crate::limits;
use crate::plan::{Distinct, SortKey};
use crate::suggest;

/// One item of the SELECT list before the rows of the query are laid out.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) name: String,
    /// The name was given by AS.
    pub(super) alias: bool,
    pub(super) value: Typed,
    /// The position of the column that it is, unchanged.
    pub(super) source: Option<u32>,
    /// Nothing has decided its type.
    pub(super) open: bool,
}

pub(super) fn select_list(
    select: &ast::Select,
    scope: &Scope<'_>,
    params: &mut Params,
    calls: &mut Vec<AggregateCall>,
) -> Result<Vec<Item>, Diag> {
    let mut items = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                items.push(computed(shown_name(expr), false, expr, scope, params, calls)?);
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                items.push(computed(name_of(alias)?.value, true, expr, scope, params, calls)?);
            }
            SelectItem::ExprWithAliases { .. } => {
                return Err(refuse_at("several aliases of one expression", item.span()));
            }
            SelectItem::Wildcard(options) => {
                no_options(options)?;
                let span = char_span(options.wildcard_token.0.span);
                if scope.relations.is_empty() {
                    return Err(placed(Diag::new(SqlState::SYNTAX_ERROR, "\"*\" needs a table in FROM"), span));
                }
                everything(&scope.star, span, &mut items);
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                no_options(options)?;
                let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
                    return Err(refuse_at("\"*\" behind an expression", item.span()));
                };
                let name = object_of(name)?;
                everything(&stars(scope.qualified(&name)?), Some(name.span()), &mut items);
            }
        }
        if items.len() > limits::MAX_COLUMNS {
            let diag = format!("a result has at most {} columns", limits::MAX_COLUMNS);
            return Err(placed(Diag::new(SqlState::PROGRAM_LIMIT, diag), char_span(item.span())));
        }
    }
    if items.is_empty() {
        return Err(refuse_at("SELECT without columns", select.select_token.0.span));
    }
    Ok(items)
}

pub(in crate::bind) fn no_options(options: &ast::WildcardAdditionalOptions) -> Result<(), Diag> {
    let any = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some();
    if any { Err(refuse_at("a clause behind \"*\"", options.wildcard_token.0.span)) } else { Ok(()) }
}

fn everything(star: &[Star], span: Option<Span>, items: &mut Vec<Item>) {
    for column in star {
        items.push(Item {
            name: column.name.clone(),
            alias: false,
            value: Typed::leaf(column.expr.clone(), Some(column.data_type), span),
            source: unchanged(&column.expr),
            open: false,
        });
    }
}

/// An item that is an expression.
fn computed(
    name: String,
    alias: bool,
    expr: &ast::Expr,
    scope: &Scope<'_>,
    params: &mut Params,
    calls: &mut Vec<AggregateCall>,
) -> Result<Item, Diag> {
    let mut binder = Binder::new(scope, params, Clause::Select, calls);
    let value = binder.open(expr)?;
    let open = value.data_type.is_none();
    let value = if open { Typed { data_type: Some(crate::value::DataType::Text), ..value } } else { value };
    Ok(Item { name, alias, source: unchanged(&value.expr), value, open })
}

/// The position of the column that a value is, unchanged.
fn unchanged(value: &Expr) -> Option<u32> {
    match value {
        Expr::Column(position, _) if *position < AGGREGATE_BASE => Some(*position),
        _ => None,
    }
}

/// The item of this position, counted from 1.
pub(super) fn by_position<'i>(
    number: &str,
    items: &'i [Item],
    clause: &str,
    span: Option<Span>,
) -> Result<&'i Item, Diag> {
    number.parse::<usize>().ok().and_then(|number| items.get(number.checked_sub(1)?)).ok_or_else(|| {
        let diag = Diag::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!("{clause} position {number} is not in the SELECT list of {} columns", items.len()),
        );
        placed(diag, span)
    })
}

/// An integer literal's digits.
pub(super) fn position(expr: &ast::Expr) -> Option<(&str, Option<Span>)> {
    match expr {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, false) if digits.bytes().all(|digit| digit.is_ascii_digit()) => {
                Some((digits, char_span(value.span)))
            }
            _ => None,
        },
        _ => None,
    }
}

/// The items that have this alias, as one expression.
fn by_alias<'i>(name: &str, items: &'i [Item], span: Span) -> Result<Option<&'i Item>, Diag> {
    let mut found: Option<&Item> = None;
    for item in items.iter().filter(|item| item.name == name && item.name != "?column?") {
        match found {
            Some(first) if first.value.expr != item.value.expr => {
                return Err(Diag::new(
                    SqlState::AMBIGUOUS_COLUMN,
                    format!("\"{name}\" names several columns of the SELECT list"),
                )
                .at(span));
            }
            Some(_) => {}
            None => found = Some(item),
        }
    }
    Ok(found)
}

/// What tells rows apart by equality alone.
pub(super) fn told_apart(value: &Typed, clause: &str) -> Result<(), Diag> {
    if value.data_type.is_some_and(|data_type| data_type.has_equality()) { Ok(()) } else { ordered(value, clause) }
}

pub(super) fn ordered(value: &Typed, clause: &str) -> Result<(), Diag> {
    match value.data_type {
        Some(data_type) if !data_type.is_comparable() => Err(placed(
            Diag::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("{clause} cannot take a value of type {data_type}: it has no order"),
            )
            .hint(match data_type {
                crate::value::DataType::Embedding(_) => "Order by a distance, such as cosine_distance(column, $1).",
                _ => "Take a member out with ->> and cast it.",
            }),
            value.span,
        )),
        _ => Ok(()),
    }
}

pub(super) fn group_by(
    group_by: &GroupByExpr,
    items: &[Item],
    scope: &Scope<'_>,
    params: &mut Params,
) -> Result<Keys, Diag> {
    let exprs = match group_by {
        GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
        GroupByExpr::Expressions(..) => return Err(refuse_at("a modifier of GROUP BY", group_by.span())),
        GroupByExpr::All(_) => return Err(refuse_at("GROUP BY ALL", group_by.span())),
    };
    let mut keys: Vec<Expr> = Vec::with_capacity(exprs.len());
    let mut sets: Vec<Set> = vec![Set::new()];
    let mut are_written = false;
    for expr in exprs {
        are_written |= is_sets(expr);
        let mut key = |expr: &ast::Expr| -> Result<usize, Diag> {
            let value = group_key(expr, items, scope, params)?;
            if has_aggregate(&value.expr) {
                return Err(placed(
                    Diag::new(SqlState::GROUPING_ERROR, "an aggregate cannot stand in GROUP BY"),
                    value.span,
                ));
            }
            told_apart(&value, "GROUP BY")?;
            Ok(keys.iter().position(|known| *known == value.expr).unwrap_or_else(|| {
                keys.push(value.expr);
                keys.len() - 1
            }))
        };
        let more = sets_of(expr, &mut key)?;
        if sets.len().saturating_mul(more.len()) > limits::MAX_GROUPING_SETS {
            let diag = format!("GROUP BY has more than {} grouping sets", limits::MAX_GROUPING_SETS);
            return Err(placed(Diag::new(SqlState::PROGRAM_LIMIT, diag), char_span(expr.span())));
        }
        let both = |set: &Set| more.iter().map(|other| set.union(other).copied().collect()).collect::<Vec<Set>>();
        sets = sets.iter().flat_map(both).collect();
    }
    if !are_written {
        return Ok(Keys { keys, sets: Vec::new() });
    }
    if keys.len() > limits::MAX_GROUPING_KEYS {
        let diag = format!("grouping sets have more than {} keys", limits::MAX_GROUPING_KEYS);
        return Err(placed(Diag::new(SqlState::PROGRAM_LIMIT, diag), char_span(group_by.span())));
    }
    let bits = |set: &Set| set.iter().fold(0_u64, |bits, at| bits | 1_u64.checked_shl(*at).unwrap_or(0));
    Ok(Keys { keys, sets: sets.iter().map(bits).collect() })
}

/// What GROUP BY says.
pub(super) struct Keys {
    pub(super) keys: Vec<Expr>,
    /// Grouping sets, as a plan has them.
    pub(super) sets: Vec<u64>,
}

/// The numbers of the keys of a grouping set.
type Set = std::collections::BTreeSet<u32>;

fn is_sets(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Rollup(_) | ast::Expr::Cube(_) | ast::Expr::GroupingSets(_))
        || matches!(expr, ast::Expr::Tuple(list) if list.is_empty())
}

/// ROLLUP and CUBE among GROUPING SETS, which are read as functions of these names.
fn sets_inside(expr: &ast::Expr) -> Option<ast::Expr> {
    let ast::Expr::Function(function) = expr else { return None };
    let is_rollup = match function.name.to_string().to_ascii_lowercase().as_str() {
        "rollup" => true,
        "cube" => false,
        _ => return None,
    };
    let ast::FunctionArguments::List(list) = &function.args else { return None };
    let part = |arg: &ast::FunctionArg| match arg {
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Tuple(part))) => Some(part.clone()),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(ast::Expr::Nested(one))) => Some(vec![*one.clone()]),
        ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(one)) => Some(vec![one.clone()]),
        _ => None,
    };
    let parts = list.args.iter().map(part).collect::<Option<Vec<Vec<ast::Expr>>>>()?;
    Some(if is_rollup { ast::Expr::Rollup(parts) } else { ast::Expr::Cube(parts) })
}

/// The grouping sets of one item of GROUP BY; `key` gives the number of a key.
fn sets_of(expr: &ast::Expr, key: &mut dyn FnMut(&ast::Expr) -> Result<usize, Diag>) -> Result<Vec<Set>, Diag> {
    let mut together = |list: &[ast::Expr]| {
        list.iter().map(|expr| key(expr).map(|at| u32::try_from(at).unwrap_or(u32::MAX))).collect::<Result<Set, Diag>>()
    };
    match expr {
        ast::Expr::Rollup(parts) => {
            let mut sets = vec![Set::new()];
            for part in parts {
                let longer = sets.last().into_iter().flatten().copied().chain(together(part)?).collect();
                sets.push(longer);
            }
            sets.reverse();
            Ok(sets)
        }
        ast::Expr::Cube(parts) => {
            if parts.len() > limits::MAX_CUBE_PARTS {
                let diag = format!("CUBE has more than {} parts", limits::MAX_CUBE_PARTS);
                return Err(placed(Diag::new(SqlState::PROGRAM_LIMIT, diag), char_span(expr.span())));
            }
            let mut sets = vec![Set::new()];
            for part in parts {
                let part = together(part)?;
                let with: Vec<Set> = sets.iter().map(|set| set.union(&part).copied().collect()).collect();
                sets.extend(with);
            }
            sets.reverse();
            Ok(sets)
        }
        ast::Expr::GroupingSets(parts) => {
            let mut sets = Vec::new();
            for part in parts {
                match part.as_slice() {
                    [one] if is_sets(one) => sets.extend(sets_of(one, key)?),
                    [one] if let Some(inner) = sets_inside(one) => sets.extend(sets_of(&inner, key)?),
                    list => {
                        let at = list.iter().map(|expr| key(expr).map(|at| u32::try_from(at).unwrap_or(u32::MAX)));
                        sets.push(at.collect::<Result<Set, Diag>>()?);
                    }
                }
                if sets.len() > limits::MAX_GROUPING_SETS {
                    let diag = format!("GROUP BY has more than {} grouping sets", limits::MAX_GROUPING_SETS);
                    return Err(placed(Diag::new(SqlState::PROGRAM_LIMIT, diag), char_span(expr.span())));
                }
            }
            Ok(sets)
        }
        ast::Expr::Tuple(list) => Ok(vec![together(list)?]),
        one => Ok(vec![together(std::slice::from_ref(one))?]),
    }
}

/// A column of the table first, then an output column, as PostgreSQL.
fn group_key(expr: &ast::Expr, items: &[Item], scope: &Scope<'_>, params: &mut Params) -> Result<Typed, Diag> {
    if let Some((number, span)) = position(expr) {
        let item = by_position(number, items, "GROUP BY", span)?;
        return Ok(Typed { span, ..item.value.clone() });
    }
    if let ast::Expr::Identifier(ident) = expr {
        let name = name_of(ident)?;
        if scope.local(&name)?.is_none()
            && let Some(item) = by_alias(&name.value, items, name.span)?
        {
            return Ok(Typed { span: Some(name.span), ..item.value.clone() });
        }
    }
    let mut none = Vec::new();
    let aliases = items.iter().filter(|item| item.alias).map(|item| item.name.as_str());
    Binder::new(scope, params, Clause::GroupBy, &mut none).typed(expr).map_err(|diag| with_aliases(diag, expr, aliases))
}

/// Names of output columns are candidates too.
fn with_aliases<'i>(mut diag: Diag, expr: &ast::Expr, aliases: impl Iterator<Item = &'i str>) -> Diag {
    if let (SqlState::UNDEFINED_COLUMN, ast::Expr::Identifier(ident)) = (diag.sqlstate, expr) {
        diag.suggestions.extend(suggest::nearest(&ident.value, aliases));
        diag.suggestions.dedup();
        diag.suggestions.truncate(5);
    }
    diag
}

fn has_aggregate(expr: &Expr) -> bool {
    let mut found = false;
    expr.visit(&mut |part| {
        found |= matches!(part, Expr::Column(index, _) if (AGGREGATE_BASE..crate::bind::expr::SUBQUERY_BASE).contains(index));
    });
    found
}

/// One item of ORDER BY as it is written: what by, whether descending, whether NULLs come first.
pub(super) type Written<'q> = (&'q ast::Expr, bool, bool);

/// The items of ORDER BY.
pub(super) fn sort_keys(query: &ast::Query) -> Result<Vec<Written<'_>>, Diag> {
    let Some(order_by) = &query.order_by else { return Ok(Vec::new()) };
    if order_by.interpolate.is_some() {
        return Err(refuse_at("INTERPOLATE", order_by.span()));
    }
    let ast::OrderByKind::Expressions(exprs) = &order_by.kind else {
        return Err(refuse_at("ORDER BY ALL", order_by.span()));
    };
    exprs.iter().map(sort_key).collect()
}

/// One item of an ORDER BY.
pub(super) fn sort_key(item: &ast::OrderByExpr) -> Result<Written<'_>, Diag> {
    if item.with_fill.is_some() {
        return Err(refuse_at("WITH FILL", item.span()));
    }
    let descending = match &item.options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(ast::OrderBySort::Using(_)) => return Err(refuse_at("ORDER BY ... USING", item.span())),
    };
    Ok((&item.expr, descending, item.options.nulls_first.unwrap_or(descending)))
}

/// Sort keys, each with its place.
pub(super) fn order_by(
    query: &ast::Query,
    items: &[Item],
    scope: &Scope<'_>,
    params: &mut Params,
    calls: &mut Vec<AggregateCall>,
) -> Result<Vec<(SortKey, Option<Span>)>, Diag> {
    let mut keys = Vec::new();
    for (expr, descending, nulls_first) in sort_keys(query)? {
        let value = sort_value(expr, items, scope, params, calls)?;
        ordered(&value, "ORDER BY")?;
        keys.push((SortKey { expr: value.expr, descending, nulls_first }, value.span));
    }
    Ok(keys)
}

/// DISTINCT. What it sorts by must be in the result, or which of the repeated rows stands for the others would decide the order.
pub(super) fn distinct(
    select: &ast::Select,
    items: &[Item],
    order: &mut Vec<(SortKey, Option<Span>)>,
    scope: &Scope<'_>,
    params: &mut Params,
    calls: &mut Vec<AggregateCall>,
) -> Result<Distinct, Diag> {
    let on = match &select.distinct {
        None | Some(ast::Distinct::All) => return Ok(Distinct::No),
        Some(ast::Distinct::Distinct) => {
            for item in items {
                told_apart(&item.value, "SELECT DISTINCT")?;
            }
            return match order.iter().find(|(key, _)| !items.iter().any(|item| item.value.expr == key.expr)) {
                Some((_, span)) => Err(placed(
                    Diag::new(
                        SqlState::INVALID_COLUMN_REFERENCE,
                        "with SELECT DISTINCT, ORDER BY takes only what is in the SELECT list",
                    ),
                    *span,
                )),
                None => Ok(Distinct::Rows),
            };
        }
        Some(ast::Distinct::On(on)) => on,
    };
    let mut wanted: Vec<SortKey> = Vec::with_capacity(on.len());
    for expr in on {
        let value = sort_value(expr, items, scope, params, calls)?;
        ordered(&value, "DISTINCT ON")?;
        if !wanted.iter().any(|known| known.expr == value.expr) {
            wanted.push(SortKey { expr: value.expr, descending: false, nulls_first: false });
        }
    }
    for (at, (key, span)) in order.iter().enumerate().take(wanted.len()) {
        let repeated = order.iter().take(at).any(|(earlier, _)| earlier.expr == key.expr);
        if !repeated && !wanted.iter().any(|known| known.expr == key.expr) {
            let diag = Diag::new(
                SqlState::INVALID_COLUMN_REFERENCE,
                "ORDER BY must begin with the expressions of DISTINCT ON",
            );
            return Err(placed(diag, *span));
        }
    }
    let mut seen: Vec<Expr> = Vec::new();
    order.retain(|(key, _)| {
        let is_new = !seen.contains(&key.expr);
        seen.push(key.expr.clone());
        is_new
    });
    let behind = wanted.len().min(order.len());
    let missing = wanted.iter().filter(|key| !order.iter().any(|(known, _)| known.expr == key.expr));
    let missing: Vec<(SortKey, Option<Span>)> = missing.map(|key| (key.clone(), None)).collect();
    let leading = wanted.len();
    order.splice(behind..behind, missing);
    Ok(Distinct::On(leading))
}

/// An output column first, then a column of the table, as PostgreSQL.
fn sort_value(
    expr: &ast::Expr,
    items: &[Item],
    scope: &Scope<'_>,
    params: &mut Params,
    calls: &mut Vec<AggregateCall>,
) -> Result<Typed, Diag> {
    if let Some((number, span)) = position(expr) {
        let item = by_position(number, items, "ORDER BY", span)?;
        return Ok(Typed { span, ..item.value.clone() });
    }
    if let ast::Expr::Identifier(ident) = expr {
        let name = name_of(ident)?;
        if let Some(item) = by_alias(&name.value, items, name.span)? {
            return Ok(Typed { span: Some(name.span), ..item.value.clone() });
        }
    }
    let aliases = items.iter().filter(|item| item.alias).map(|item| item.name.as_str());
    Binder::new(scope, params, Clause::OrderBy, calls).typed(expr).map_err(|diag| with_aliases(diag, expr, aliases))
}
