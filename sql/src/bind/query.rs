//! SELECT over at most one table.

use sqlparser::ast::{
    self, GroupByExpr, LimitClause, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Spanned, TableFactor,
};

use super::BindContext;
use super::bounds;
use super::expr::{AGGREGATE_BASE, Binder, Clause, Typed};
use super::names::{Relation, name_of, object_of, relation};
use super::params::Params;
use super::scope::{Scope, Source, Visible};
use crate::cast::Coercion;
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::{AggregateCall, AggregateFunction, Expr};
use crate::lexer::char_span;
use crate::limits;
use crate::plan::{Aggregate, Distinct, From, OutputColumn, QueryPlan, SortKey};
use crate::suggest;
use crate::value::{DataType, Value};

/// `what` is not supported, at this place of sqlparser's.
pub(super) fn refuse_at(what: &str, span: sqlparser::tokenizer::Span) -> Diag {
    let diag = Diag::not_supported(what);
    match char_span(span) {
        Some(span) => diag.at(span),
        None => diag,
    }
}

/// One item of the SELECT list before the rows of the query are laid out.
struct Item {
    name: String,
    /// The name was given by AS.
    alias: bool,
    value: Typed,
    /// The column of the source that it is, unchanged.
    source: Option<Visible>,
}

/// A SELECT's plan.
pub(super) fn bind(query: &ast::Query, context: &BindContext<'_>, params: &mut Params) -> Result<QueryPlan, Diag> {
    let select = plain_select(query)?;
    let scope = from(select, context)?;
    let mut calls = Vec::new();
    let filter = match &select.selection {
        Some(condition) => {
            Some(eval::fold(Binder::new(&scope, params, Clause::Where, &mut calls).condition(condition)?))
        }
        None => None,
    };
    let mut items = select_list(select, &scope, params, &mut calls)?;
    let keys = group_by(&select.group_by, &items, &scope, params)?;
    let mut having = match &select.having {
        Some(condition) => Some(Binder::new(&scope, params, Clause::Having, &mut calls).condition(condition)?),
        None => None,
    };
    let mut order = order_by(query, &items, &scope, params, &mut calls)?;
    let distinct = distinct(select, &items, &mut order, &scope, params, &mut calls)?;
    let (limit, offset) = limit(query, params)?;
    let aggregate = if keys.is_empty() && calls.is_empty() && having.is_none() {
        None
    } else {
        let rows = Grouped { keys: &keys, scope: &scope };
        for item in &mut items {
            item.value.expr = rows.over_groups(&item.value.expr).map_err(|diag| placed(diag, item.value.span))?;
        }
        for (key, span) in &mut order {
            key.expr = rows.over_groups(&key.expr).map_err(|diag| placed(diag, *span))?;
        }
        if let (Some(condition), Some(written)) = (&mut having, &select.having) {
            *condition = eval::fold(
                rows.over_groups(condition).map_err(|diag| placed(diag, char_span(Spanned::span(written))))?,
            );
        }
        let keys = keys.into_iter().map(eval::fold).collect();
        Some(Aggregate { keys, calls })
    };
    let source = match &scope.source {
        Source::Table(table) => {
            From::Table { table: std::sync::Arc::clone(table), access: bounds::access(table, filter.as_ref()) }
        }
        Source::System(table) => From::System(*table),
        Source::Nothing | Source::Draft => From::Nothing,
    };
    let projection = items.into_iter().map(|item| output(item, &scope, aggregate.as_ref())).collect();
    let order_by = order.into_iter().map(|(key, _)| SortKey { expr: eval::fold(key.expr), ..key }).collect();
    Ok(QueryPlan { from: source, filter, aggregate, having, projection, distinct, order_by, limit, offset })
}

fn placed(diag: Diag, span: Option<Span>) -> Diag {
    match span {
        Some(span) => diag.at(span),
        None => diag,
    }
}

/// The one SELECT of a query; everything else that a query can be is refused by name.
fn plain_select(query: &ast::Query) -> Result<&ast::Select, Diag> {
    for (present, what) in [
        (query.with.is_some(), "WITH (a common table expression)"),
        (query.fetch.is_some(), "FETCH FIRST"),
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
    let select = match query.body.as_ref() {
        SetExpr::Select(select) => select,
        SetExpr::SetOperation { op, .. } => return Err(refuse_at(&op.to_string(), query.span())),
        SetExpr::Query(_) => return Err(refuse_at("a query in parentheses", query.span())),
        SetExpr::Values(_) => return Err(refuse_at("VALUES as a query", query.span())),
        SetExpr::Table(_) => return Err(refuse_at("TABLE as a query", query.span())),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            return Err(refuse_at("a change inside a query", query.span()));
        }
    };
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
        (!select.named_window.is_empty(), "WINDOW"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.value_table_mode.is_some(), "SELECT AS"),
        (select.flavor != ast::SelectFlavor::Standard, "FROM before SELECT"),
    ] {
        if present {
            return Err(refuse_at(what, place));
        }
    }
    Ok(select)
}

fn from<'a>(select: &ast::Select, context: &BindContext<'a>) -> Result<Scope<'a>, Diag> {
    match select.from.as_slice() {
        [] => Ok(Scope::nothing()),
        [one] => one_table(one, context, true),
        [_, second, ..] => Err(refuse_at("a join (more than one table in FROM)", second.span())),
    }
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
        Relation::Table(table) => Scope::table(table, alias.as_ref(), seq),
        Relation::System(table) => Scope::system(table, alias.as_ref()),
    })
}

fn select_list(
    select: &ast::Select,
    scope: &Scope<'_>,
    params: &mut Params,
    calls: &mut Vec<AggregateCall>,
) -> Result<Vec<Item>, Diag> {
    let mut items = Vec::new();
    for item in &select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let value = Binder::new(scope, params, Clause::Select, calls).typed(expr)?;
                items.push(Item { name: shown_name(expr), alias: false, source: unchanged(&value, scope), value });
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let value = Binder::new(scope, params, Clause::Select, calls).typed(expr)?;
                items.push(Item { name: name_of(alias)?.value, alias: true, source: unchanged(&value, scope), value });
            }
            SelectItem::ExprWithAliases { .. } => {
                return Err(refuse_at("several aliases of one expression", item.span()));
            }
            SelectItem::Wildcard(options) => {
                no_options(options)?;
                let span = char_span(options.wildcard_token.0.span);
                if matches!(scope.source, Source::Nothing) {
                    return Err(placed(Diag::new(SqlState::SYNTAX_ERROR, "\"*\" needs a table in FROM"), span));
                }
                everything(scope, span, &mut items);
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                no_options(options)?;
                let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
                    return Err(refuse_at("\"*\" behind an expression", item.span()));
                };
                let name = object_of(name)?;
                if !scope.is_qualified_by(&name) {
                    return Err(scope.unknown_qualifier(&name));
                }
                everything(scope, Some(name.span()), &mut items);
            }
        }
        if items.len() > limits::MAX_COLUMNS {
            return Err(Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("a result has at most {} columns", limits::MAX_COLUMNS),
            ));
        }
    }
    if items.is_empty() {
        return Err(refuse_at("SELECT without columns", select.select_token.0.span));
    }
    Ok(items)
}

pub(super) fn no_options(options: &ast::WildcardAdditionalOptions) -> Result<(), Diag> {
    let any = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some();
    if any { Err(refuse_at("a clause behind \"*\"", options.wildcard_token.0.span)) } else { Ok(()) }
}

fn everything(scope: &Scope<'_>, span: Option<Span>, items: &mut Vec<Item>) {
    for (column, index) in scope.columns.iter().zip(0_u32..) {
        items.push(Item {
            name: column.name.clone(),
            alias: false,
            value: Typed::leaf(Expr::Column(index, column.data_type), Some(column.data_type), span),
            source: Some(column.clone()),
        });
    }
}

/// The source's column that a value is, unchanged.
fn unchanged(value: &Typed, scope: &Scope<'_>) -> Option<Visible> {
    match &value.expr {
        Expr::Column(index, _) => scope.columns.get(usize::try_from(*index).ok()?).cloned(),
        _ => None,
    }
}

/// PostgreSQL's name for a column without AS.
pub(super) fn shown_name(expr: &ast::Expr) -> String {
    let from_ident = |ident: &ast::Ident| name_of(ident).map_or_else(|_| "?column?".to_owned(), |name| name.value);
    match expr {
        ast::Expr::Identifier(ident) => from_ident(ident),
        ast::Expr::CompoundIdentifier(parts) => parts.last().map_or_else(|| "?column?".to_owned(), from_ident),
        ast::Expr::Nested(inner) => shown_name(inner),
        ast::Expr::Function(function) => {
            object_of(&function.name).map_or_else(|_| "?column?".to_owned(), |name| name.name.value)
        }
        ast::Expr::Cast { expr, data_type, .. } => match shown_name(expr) {
            unnamed if unnamed == "?column?" => data_type.to_string().to_lowercase(),
            named => named,
        },
        ast::Expr::Case { .. } => "case".to_owned(),
        ast::Expr::Extract { .. } => "extract".to_owned(),
        ast::Expr::Position { .. } => "position".to_owned(),
        ast::Expr::Substring { .. } => "substring".to_owned(),
        ast::Expr::Trim { .. } => "btrim".to_owned(),
        ast::Expr::Ceil { .. } => "ceil".to_owned(),
        ast::Expr::Floor { .. } => "floor".to_owned(),
        _ => "?column?".to_owned(),
    }
}

/// The item of this position, counted from 1.
fn by_position<'i>(number: &str, items: &'i [Item], clause: &str, span: Option<Span>) -> Result<&'i Item, Diag> {
    number.parse::<usize>().ok().and_then(|number| items.get(number.checked_sub(1)?)).ok_or_else(|| {
        let diag = Diag::new(
            SqlState::SYNTAX_ERROR,
            format!("{clause} position {number} is not in the SELECT list of {} columns", items.len()),
        );
        placed(diag, span)
    })
}

/// An integer literal's digits.
fn position(expr: &ast::Expr) -> Option<(&str, Option<Span>)> {
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

fn ordered(value: &Typed, clause: &str) -> Result<(), Diag> {
    match value.data_type {
        Some(data_type) if !data_type.is_comparable() => Err(placed(
            Diag::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("{clause} cannot take a value of type {data_type}: it has no order"),
            )
            .hint("Take a member out with ->> and cast it."),
            value.span,
        )),
        _ => Ok(()),
    }
}

fn group_by(group_by: &GroupByExpr, items: &[Item], scope: &Scope<'_>, params: &mut Params) -> Result<Vec<Expr>, Diag> {
    let exprs = match group_by {
        GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => exprs,
        GroupByExpr::Expressions(..) => return Err(refuse_at("a modifier of GROUP BY", group_by.span())),
        GroupByExpr::All(_) => return Err(refuse_at("GROUP BY ALL", group_by.span())),
    };
    let mut keys: Vec<Expr> = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let value = group_key(expr, items, scope, params)?;
        if has_aggregate(&value.expr) {
            return Err(placed(
                Diag::new(SqlState::GROUPING_ERROR, "an aggregate cannot stand in GROUP BY"),
                value.span,
            ));
        }
        ordered(&value, "GROUP BY")?;
        if !keys.contains(&value.expr) {
            keys.push(value.expr);
        }
    }
    Ok(keys)
}

/// A column of the table first, then an output column, as PostgreSQL.
fn group_key(expr: &ast::Expr, items: &[Item], scope: &Scope<'_>, params: &mut Params) -> Result<Typed, Diag> {
    if let Some((number, span)) = position(expr) {
        let item = by_position(number, items, "GROUP BY", span)?;
        return Ok(Typed { span, ..item.value.clone() });
    }
    if let ast::Expr::Identifier(ident) = expr {
        let name = name_of(ident)?;
        if scope.find(&name.value).is_none()
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
    expr.visit(&mut |part| found |= matches!(part, Expr::Column(index, _) if *index >= AGGREGATE_BASE));
    found
}

/// Sort keys, each with its place.
fn order_by(
    query: &ast::Query,
    items: &[Item],
    scope: &Scope<'_>,
    params: &mut Params,
    calls: &mut Vec<AggregateCall>,
) -> Result<Vec<(SortKey, Option<Span>)>, Diag> {
    let Some(order_by) = &query.order_by else { return Ok(Vec::new()) };
    if order_by.interpolate.is_some() {
        return Err(refuse_at("INTERPOLATE", order_by.span()));
    }
    let ast::OrderByKind::Expressions(exprs) = &order_by.kind else {
        return Err(refuse_at("ORDER BY ALL", order_by.span()));
    };
    let mut keys = Vec::with_capacity(exprs.len());
    for item in exprs {
        if item.with_fill.is_some() {
            return Err(refuse_at("WITH FILL", item.span()));
        }
        let descending = match &item.options.sort {
            None | Some(ast::OrderBySort::Asc) => false,
            Some(ast::OrderBySort::Desc) => true,
            Some(ast::OrderBySort::Using(_)) => return Err(refuse_at("ORDER BY ... USING", item.span())),
        };
        let value = sort_value(&item.expr, items, scope, params, calls)?;
        ordered(&value, "ORDER BY")?;
        let nulls_first = item.options.nulls_first.unwrap_or(descending);
        keys.push((SortKey { expr: value.expr, descending, nulls_first }, value.span));
    }
    Ok(keys)
}

/// DISTINCT. What it sorts by must be in the result, or which of the repeated rows stands for the others would decide the order.
fn distinct(
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
                ordered(&item.value, "SELECT DISTINCT")?;
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

fn limit(query: &ast::Query, params: &mut Params) -> Result<(Option<Expr>, Option<Expr>), Diag> {
    match &query.limit_clause {
        None => Ok((None, None)),
        Some(LimitClause::OffsetCommaLimit { .. }) => Err(refuse_at("LIMIT offset, count", query.span())),
        Some(LimitClause::LimitOffset { limit, offset, limit_by }) => {
            if !limit_by.is_empty() {
                return Err(refuse_at("LIMIT BY", query.span()));
            }
            let limit = limit.as_ref().map(|limit| count(limit, params, "LIMIT")).transpose()?.flatten();
            let offset = offset.as_ref().map(|offset| count(&offset.value, params, "OFFSET")).transpose()?.flatten();
            Ok((limit, offset))
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

/// The row of a grouped query: its keys, then its aggregates.
struct Grouped<'a> {
    keys: &'a [Expr],
    scope: &'a Scope<'a>,
}

impl Grouped<'_> {
    /// The expression over that row; a column that is no key is refused.
    fn over_groups(&self, expr: &Expr) -> Result<Expr, Diag> {
        if let Some(key) = self.keys.iter().position(|key| key == expr) {
            return Ok(Expr::Column(u32::try_from(key).unwrap_or(u32::MAX), eval::data_type(expr)));
        }
        match expr {
            Expr::Column(index, data_type) => match index.checked_sub(AGGREGATE_BASE) {
                Some(call) => Ok(Expr::Column(
                    u32::try_from(self.keys.len()).unwrap_or(u32::MAX).saturating_add(call),
                    *data_type,
                )),
                None => Err(self.outside(*index)),
            },
            other => other.with_children(&mut |part| self.over_groups(part)),
        }
    }

    fn outside(&self, index: u32) -> Diag {
        let column = usize::try_from(index).ok().and_then(|index| self.scope.columns.get(index));
        let name = column.map_or(super::scope::SEQ, |column| column.name.as_str());
        Diag::new(SqlState::GROUPING_ERROR, format!("column \"{name}\" must be in GROUP BY or inside an aggregate"))
    }
}

fn output(item: Item, scope: &Scope<'_>, aggregate: Option<&Aggregate>) -> OutputColumn {
    let expr = eval::fold(item.value.expr);
    let data_type = item.value.data_type.unwrap_or(DataType::Text);
    let counted = match (aggregate, &expr) {
        (Some(aggregate), Expr::Column(index, _)) => usize::try_from(*index)
            .ok()
            .and_then(|index| aggregate.calls.get(index.checked_sub(aggregate.keys.len())?))
            .is_some_and(|call| matches!(call.function, AggregateFunction::Count | AggregateFunction::CountStar)),
        _ => false,
    };
    let literal = matches!(&expr, Expr::Literal(value, _) if !value.is_null());
    let (primary_key, not_null, unique) = match &item.source {
        Some(column) => (column.primary_key, column.not_null, scope.is_unique(column)),
        None => (false, counted || literal, false),
    };
    OutputColumn { name: item.name, expr, data_type, primary_key, not_null, unique }
}
