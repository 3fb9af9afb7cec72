//! Calls: scalar functions, aggregates, and the words that SQL writes in its own way.

use sqlparser::ast::{self, DateTimeField, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::expr::{AGGREGATE_BASE, Binder, Clause, SUBQUERY_BASE, Typed, made, refused};
use super::literal;
use super::names::{name_of, object_of};
use super::query::each_seen;
use crate::cast::Coercion;
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::{AggregateCall, AggregateFunction, Expr, Function, SortDirection};
use crate::lexer::char_span;
use crate::value::{DataType, Value};

fn at(diag: Diag, span: Option<Span>) -> Diag {
    match span {
        Some(span) => diag.at(span),
        None => diag,
    }
}

/// `name(args)`
pub(super) fn call(binder: &mut Binder<'_, '_>, function: &ast::Function) -> Result<Typed, Diag> {
    let object = object_of(&function.name)?;
    let name = object.name.value.as_str();
    let span = Some(object.span());
    if let Some(namespace) = &object.namespace {
        return Err(Diag::not_supported("a function's name with a namespace").at(namespace.span));
    }
    for (present, what) in [
        (!function.within_group.is_empty(), "WITHIN GROUP"),
        (function.null_treatment.is_some(), "IGNORE NULLS and RESPECT NULLS"),
        (!matches!(function.parameters, FunctionArguments::None), "a function with two argument lists"),
        (function.uses_odbc_syntax, "ODBC syntax"),
    ] {
        if present {
            return Err(at(Diag::not_supported(what), span));
        }
    }
    let list = match &function.args {
        FunctionArguments::None => None,
        FunctionArguments::Subquery(query) if name == "array" => return binder.array_of_rows(query, span),
        FunctionArguments::Subquery(_) => return Err(at(Diag::not_supported("a subquery"), span)),
        FunctionArguments::List(list) => Some(list),
    };
    let is_aggregate = eval::aggregate_names().any(|known| known == name);
    for clause in list.map(|list| list.clauses.as_slice()).unwrap_or_default() {
        match clause {
            ast::FunctionArgumentClause::OrderBy(_) if is_aggregate => {}
            ast::FunctionArgumentClause::OrderBy(_) => {
                return Err(at(
                    Diag::new(SqlState::SYNTAX_ERROR, format!("ORDER BY in a call is for aggregates, {name} is none")),
                    span,
                ));
            }
            _ => return Err(at(Diag::not_supported("a clause in a call"), span)),
        }
    }
    if name == "grouping" {
        let keys = list.map(|list| list.args.as_slice()).unwrap_or_default();
        return super::query::grouping(binder, keys, span);
    }
    if super::query::window::is_window_function(name) {
        return super::query::window::call(binder, name, function, list, span);
    }
    if is_aggregate {
        if function.over.is_some() {
            return super::query::window::call(binder, name, function, list, span);
        }
        return aggregate(binder, name, function, list, span);
    }
    if function.over.is_some() {
        let diag = Diag::new(SqlState::UNDEFINED_FUNCTION, format!("{name} is no window function"));
        return Err(at(super::suggest::with_nearest(diag, name, super::query::window::names()), span));
    }
    if let Some(list) = list
        && list.duplicate_treatment.is_some()
    {
        return Err(at(Diag::new(SqlState::SYNTAX_ERROR, format!("DISTINCT is for aggregates, {name} is none")), span));
    }
    if function.filter.is_some() {
        return Err(at(Diag::new(SqlState::SYNTAX_ERROR, format!("FILTER is for aggregates, {name} is none")), span));
    }
    let given = list.map(|list| list.args.as_slice()).unwrap_or_default();
    let names = eval::named_arguments(name);
    if !names.is_empty() && given.iter().any(|argument| named(argument).is_some()) {
        return with_names(binder, name, given, names, span);
    }
    let mut args = Vec::new();
    let guards = usize::from(name == "coalesce");
    binder.guarded += guards;
    for argument in given {
        let argument = plain(argument, span).map_err(|diag| unknown_before(diag, name, span))?;
        args.push(binder.open(argument)?);
    }
    binder.guarded -= guards;
    if name == "date" && args.len() == 1 {
        return as_date(binder, args);
    }
    resolved(binder, name, args, span)
}

/// That there is no such function says more than what is wrong with its arguments.
fn unknown_before(diag: Diag, name: &str, span: Option<Span>) -> Diag {
    match eval::resolve_function(name, &[]) {
        Err(unknown @ eval::FunctionError::Unknown { .. }) => at(unknown.into(), span),
        _ => diag,
    }
}

/// `date(x)`: PostgreSQL's casts may be called by the name of the type, and this one is.
#[inline(never)]
fn as_date(binder: &mut Binder<'_, '_>, mut args: Vec<Typed>) -> Result<Typed, Diag> {
    match args.pop() {
        Some(arg) => binder.coerced(arg, DataType::Date, Coercion::Explicit, |from| {
            format!("a value of type {from} cannot be cast to DATE")
        }),
        None => resolved(binder, "date", args, None),
    }
}

/// `name => expr`
fn named(argument: &FunctionArg) -> Option<(&ast::Ident, &ast::Expr)> {
    match argument {
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => Some((name, expr)),
        FunctionArg::ExprNamed { name: ast::Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
            Some((name, expr))
        }
        _ => None,
    }
}

/// A call whose arguments have names, perhaps after some without; those left out are 0.
fn with_names(
    binder: &mut Binder<'_, '_>,
    name: &str,
    given: &[FunctionArg],
    names: &[&str],
    span: Option<Span>,
) -> Result<Typed, Diag> {
    let mut slots: Vec<Option<Typed>> = vec![None; names.len()];
    for (position, argument) in given.iter().enumerate() {
        let (slot, expr) = match named(argument) {
            Some((ident, expr)) => {
                let wanted = name_of(ident)?;
                let slot = names.iter().position(|known| *known == wanted.value).ok_or_else(|| {
                    let diag =
                        Diag::new(SqlState::UNDEFINED_FUNCTION, format!("{name} has no argument \"{}\"", wanted.value));
                    crate::suggest::with_nearest(diag.at(wanted.span), &wanted.value, names.iter().copied())
                })?;
                (slot, expr)
            }
            None => (position, plain(argument, span)?),
        };
        let value = binder.open(expr)?;
        match slots.get_mut(slot) {
            Some(free @ None) => *free = Some(value),
            _ => return Err(at(Diag::new(SqlState::SYNTAX_ERROR, format!("{name} is given an argument twice")), span)),
        }
    }
    let zero = || literal::number("0", false, span);
    let args = slots.into_iter().map(|slot| slot.map_or_else(zero, Ok)).collect::<Result<Vec<_>, Diag>>()?;
    resolved(binder, name, args, span)
}

/// An argument that is an expression.
fn plain(argument: &FunctionArg, span: Option<Span>) -> Result<&ast::Expr, Diag> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
        FunctionArg::Unnamed(_) => {
            Err(at(Diag::new(SqlState::SYNTAX_ERROR, "\"*\" is an argument of count only"), span))
        }
        FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => {
            Err(at(Diag::not_supported("a named argument"), span))
        }
    }
}

/// The function of this name for arguments of these types, with the casts that it needs.
pub(super) fn resolved(
    binder: &mut Binder<'_, '_>,
    name: &str,
    args: Vec<Typed>,
    span: Option<Span>,
) -> Result<Typed, Diag> {
    let types: Vec<Option<DataType>> = args.iter().map(|arg| arg.data_type).collect();
    let (function, wanted, data_type) = eval::resolve_function(name, &types).map_err(|error| at(error.into(), span))?;
    let word = args.get(usize::from(!matches!(name, "date_trunc" | "date_part" | "extract" | "timezone")));
    let word = word.and_then(|arg| arg.span);
    let mut depth = 0;
    let mut exprs = Vec::with_capacity(args.len() + 1);
    if let Some(field) = eval::implied_argument(name) {
        exprs.push(Expr::Literal(Value::Text(field.to_owned()), DataType::Text));
    }
    for (arg, wanted) in args.into_iter().zip(wanted) {
        let arg = binder.coerced(arg, wanted, Coercion::Implicit, |from| {
            format!("an argument of {name} is of type {from}, not {wanted}")
        })?;
        depth = depth.max(arg.depth);
        exprs.push(arg.expr);
    }
    let expr = Expr::Function { function, args: exprs, data_type };
    if types.is_empty() && eval::is_volatile(&expr) {
        binder.params.calls_volatile();
    }
    match types.first() {
        // NULLIF gives its first argument back, where values of both types are compared as they are.
        Some(Some(first))
            if function == Function::NullIf && *first != data_type && compare_as_they_are(*first, data_type) =>
        {
            let expr = Expr::Cast { expr: Box::new(expr), to: *first, assignment: false };
            made(expr, Some(*first), depth + 1, span)
        }
        _ => binder.valued(made(expr, Some(data_type), depth, span)?, word),
    }
}

/// Whether PostgreSQL compares values of these types without a conversion: then the narrower one keeps its type in NULLIF.
fn compare_as_they_are(one: DataType, other: DataType) -> bool {
    let family = |data_type| match data_type {
        DataType::SmallInt | DataType::Int | DataType::BigInt => 1,
        DataType::Float | DataType::Double => 2,
        DataType::Date | DataType::Timestamp | DataType::DateTime => 3,
        _ => 0,
    };
    family(one) != 0 && family(one) == family(other)
}

fn aggregate(
    binder: &mut Binder<'_, '_>,
    name: &str,
    function: &ast::Function,
    list: Option<&ast::FunctionArgumentList>,
    span: Option<Span>,
) -> Result<Typed, Diag> {
    if binder.inside_aggregate {
        return Err(at(Diag::new(SqlState::GROUPING_ERROR, "an aggregate cannot stand inside an aggregate"), span));
    }
    if !matches!(binder.clause, Clause::Select | Clause::Having | Clause::OrderBy) {
        return Err(at(binder.no_aggregates(name), span));
    }
    let known = binder.scope.outer.map_or(0, |outer| outer.seen.borrow().len());
    binder.inside_aggregate = true;
    let bound = aggregate_call(binder, name, function, list, span);
    binder.inside_aggregate = false;
    let (call, depth) = bound?;
    if looks_outside_only(&call, binder) {
        let params = &mut *binder.params;
        let of_outer = binder.scope.outer.map(|outer| outer.aggregated(&call, known, &mut || params.slot()));
        if let Some((seen, data_type)) = of_outer.transpose().map_err(|diag| at(diag, span))?.flatten() {
            return made(seen, Some(data_type), depth, span);
        }
        let diag = Diag::not_supported("an aggregate over columns of an outer query alone");
        return Err(at(diag.hint("Aggregate in the outer query, and look at its column here."), span));
    }
    let data_type = call.data_type;
    let index = match binder.aggregates.iter().position(|known| *known == call) {
        Some(index) => index,
        None => {
            binder.aggregates.push(call);
            binder.aggregates.len() - 1
        }
    };
    let column = u32::try_from(index).unwrap_or(u32::MAX - AGGREGATE_BASE).saturating_add(AGGREGATE_BASE);
    made(Expr::Column(column, data_type), Some(data_type), depth, span)
}

/// Whether an aggregate looks at an outer query and not at its own: SQL then means the outer query's rows.
fn looks_outside_only(call: &AggregateCall, binder: &Binder<'_, '_>) -> bool {
    let (mut own, mut outer) = (false, false);
    // A subquery that is computed once may look at the outer query, too.
    let is_inside = binder.scope.outer.is_some();
    let subqueries = binder.scope.asked.subqueries.borrow();
    let mut waiting: Vec<&Expr> = call.args.iter().collect();
    while let Some(expr) = waiting.pop() {
        expr.visit(&mut |part| match part {
            // What a subquery sees counts as what the aggregate does.
            Expr::Column(position, _) if *position >= SUBQUERY_BASE => {
                let number = usize::try_from(*position - SUBQUERY_BASE).unwrap_or(usize::MAX);
                match subqueries.get(number) {
                    Some(subquery) => each_seen(subquery, &mut |seen| waiting.push(seen)),
                    None => own = true,
                }
            }
            Expr::Column(..) => own = true,
            Expr::Param(slot, _) => outer |= is_inside && *slot >= crate::plan::FIRST_SLOT,
            _ => {}
        });
    }
    outer && !own
}

/// An aggregate's call over the row that its arguments see, and the depth of the deepest of them.
pub(super) fn aggregate_call(
    binder: &mut Binder<'_, '_>,
    name: &str,
    function: &ast::Function,
    list: Option<&ast::FunctionArgumentList>,
    span: Option<Span>,
) -> Result<(AggregateCall, u32), Diag> {
    let given = list.map(|list| list.args.as_slice()).unwrap_or_default();
    let distinct = list.is_some_and(|list| list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    let star = matches!(given, [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)]);
    if star && name != "count" {
        return Err(at(
            Diag::new(SqlState::SYNTAX_ERROR, format!("{name}(*) does not exist, only count(*) does")),
            span,
        ));
    }
    if name == "count" && given.is_empty() {
        return Err(at(
            Diag::new(SqlState::SYNTAX_ERROR, "count needs an argument").hint("count(*) counts rows."),
            span,
        ));
    }
    if star && distinct {
        return Err(at(Diag::new(SqlState::SYNTAX_ERROR, "DISTINCT needs an expression, not \"*\""), span));
    }
    let mut args = Vec::new();
    for argument in if star { &[] } else { given } {
        args.push(binder.open(plain(argument, span)?)?);
    }
    let filter = function.filter.as_deref().map(|filter| binder.filter(filter)).transpose()?;
    let mut order = Vec::new();
    let mut keys = Vec::new();
    for clause in list.map(|list| list.clauses.as_slice()).unwrap_or_default() {
        if let ast::FunctionArgumentClause::OrderBy(items) = clause {
            for item in items {
                let (key, direction) = sort_key(binder, item)?;
                keys.push(key);
                order.push(direction);
            }
        }
    }
    let types: Vec<Option<DataType>> = args.iter().map(|arg| arg.data_type).collect();
    let (mut call, wanted, data_type) =
        eval::resolve_aggregate(name, &types).map_err(|error| at(error.into(), span))?;
    let mut exprs = Vec::with_capacity(args.len());
    let mut depth = 0;
    for (arg, wanted) in args.into_iter().zip(wanted) {
        let arg = binder.coerced(arg, wanted, Coercion::Implicit, |from| {
            format!("an argument of {name} is of type {from}, not {wanted}")
        })?;
        depth = depth.max(arg.depth);
        exprs.push(arg.expr);
    }
    // ORDER BY names arguments as they are written, whatever the filter makes of them.
    let written: Vec<Expr> = exprs.iter().cloned().map(eval::fold).collect();
    let mut filtered = false;
    if let Some(filter) = filter {
        if call == AggregateFunction::CountStar {
            call = AggregateFunction::Count;
            exprs.push(Expr::Literal(Value::Boolean(true), DataType::Boolean));
        }
        // What the filter leaves out is not evaluated: it becomes NULL, which most aggregates skip.
        for arg in &mut exprs {
            if !eval::is_constant(arg) || eval::is_volatile(arg) || !matches!(arg, Expr::Literal(..)) || !filtered {
                let kept = std::mem::replace(arg, Expr::Literal(Value::Null, DataType::Text));
                let kept_type = eval::data_type(&kept);
                *arg = Expr::Case { branches: vec![(filter.clone(), kept)], otherwise: None, data_type: kept_type };
            }
            filtered = true;
        }
        filtered =
            matches!(call, AggregateFunction::ArrayAgg | AggregateFunction::JsonAgg | AggregateFunction::JsonObjectAgg);
        if filtered {
            exprs.push(filter);
        }
    }
    let mut args: Vec<Expr> = exprs.into_iter().map(eval::fold).collect();
    for key in keys {
        let mut expr = eval::fold(key.expr);
        if distinct && let Some(at) = written.iter().position(|argument| *argument == expr) {
            if let Some(argument) = args.get(at) {
                expr = argument.clone();
            }
        } else if distinct {
            return Err(at(
                Diag::new(
                    SqlState::SYNTAX_ERROR,
                    format!("in {name}(DISTINCT ...) the expressions of ORDER BY must be its arguments"),
                ),
                key.span,
            ));
        }
        depth = depth.max(key.depth);
        args.push(expr);
    }
    let call = AggregateCall { function: call, args, distinct, data_type, order, filtered };
    Ok((call, depth))
}

/// A key of ORDER BY inside a call.
fn sort_key(binder: &mut Binder<'_, '_>, item: &ast::OrderByExpr) -> Result<(Typed, SortDirection), Diag> {
    let key = binder.typed(&item.expr)?;
    if item.with_fill.is_some() {
        return Err(at(Diag::not_supported("WITH FILL"), key.span));
    }
    let descending = match &item.options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(ast::OrderBySort::Using(_)) => return Err(at(Diag::not_supported("ORDER BY ... USING"), key.span)),
    };
    if let Some(data_type) = key.data_type
        && !data_type.is_comparable()
    {
        return Err(at(
            Diag::new(
                SqlState::UNDEFINED_FUNCTION,
                format!("ORDER BY cannot take a value of type {data_type}: it has no order"),
            ),
            key.span,
        ));
    }
    Ok((key, SortDirection { descending, nulls_first: item.options.nulls_first.unwrap_or(descending) }))
}

impl Binder<'_, '_> {
    /// The condition of FILTER.
    fn filter(&mut self, condition: &ast::Expr) -> Result<Expr, Diag> {
        let open = self.open(condition)?;
        self.coerced(open, DataType::Boolean, Coercion::Implicit, |from| {
            format!("FILTER takes a BOOLEAN, not a value of type {from}")
        })
        .map(|typed| typed.expr)
    }

    fn no_aggregates(&self, name: &str) -> Diag {
        let diag =
            Diag::new(SqlState::GROUPING_ERROR, format!("the aggregate {name} cannot stand in {}", self.clause.name()));
        if self.clause == Clause::Where { diag.hint("WHERE looks at one row at a time.") } else { diag }
    }
}

/// EXTRACT, CEIL, FLOOR, POSITION, SUBSTRING, TRIM, OVERLAY and AT TIME ZONE in SQL's own spelling.
pub(super) fn special(binder: &mut Binder<'_, '_>, expr: &ast::Expr) -> Result<Typed, Diag> {
    let (name, written): (&str, Vec<&ast::Expr>) = match expr {
        ast::Expr::Extract { field, expr: operand, .. } => {
            let name = field_name(field).ok_or_else(|| refused(&format!("EXTRACT({field} ...)"), expr))?;
            let operand = binder.open(operand)?;
            let place = match field {
                DateTimeField::Custom(ident) => char_span(ident.span),
                _ => operand.span,
            };
            let field = Typed::leaf(Expr::Literal(Value::Text(name), DataType::Text), Some(DataType::Text), place);
            let span = operand.span;
            return resolved(binder, "extract", vec![field, operand], span);
        }
        ast::Expr::Ceil { expr: operand, field } | ast::Expr::Floor { expr: operand, field } => {
            if !matches!(field, ast::CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)) {
                return Err(refused("CEIL and FLOOR to a unit", expr));
            }
            (if matches!(expr, ast::Expr::Ceil { .. }) { "ceil" } else { "floor" }, vec![operand])
        }
        ast::Expr::Position { expr: needle, r#in: haystack } => ("position", vec![needle, haystack]),
        ast::Expr::Substring { expr: text, substring_from, substring_for, .. } => {
            let Some(from) = substring_from else {
                let text = binder.open(text)?;
                let first = literal::number("1", false, text.span)?;
                let mut args = vec![text, first];
                if let Some(length) = substring_for {
                    args.push(binder.open(length)?);
                }
                let span = args.first().and_then(|text| text.span);
                return resolved(binder, "substring", args, span);
            };
            if let (ast::Expr::Value(value), None) = (from.as_ref(), substring_for)
                && literal::text_of(&value.value).is_some()
            {
                let text = binder.open(text)?;
                let pattern = binder.typed(from)?;
                let span = text.span;
                return resolved(binder, "substring", vec![text, pattern], span);
            }
            let mut written: Vec<&ast::Expr> = vec![text, from];
            written.extend(substring_for.as_deref());
            ("substring", written)
        }
        ast::Expr::Trim { expr: text, trim_where, trim_what, trim_characters } => {
            let name = match trim_where {
                None | Some(ast::TrimWhereField::Both) => "btrim",
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
            };
            let mut written: Vec<&ast::Expr> = vec![text];
            written.extend(trim_what.as_deref());
            written.extend(trim_characters.iter().flatten());
            (name, written)
        }
        ast::Expr::Overlay { expr: text, overlay_what, overlay_from, overlay_for } => {
            let mut written: Vec<&ast::Expr> = vec![text, overlay_what, overlay_from];
            written.extend(overlay_for.as_deref());
            ("overlay", written)
        }
        ast::Expr::AtTimeZone { timestamp, time_zone } => ("timezone", vec![time_zone, timestamp]),
        other => return Err(refused("this expression", other)),
    };
    // AT TIME ZONE stands in no parentheses, so nothing else bounds how deep it nests: its frames count three times.
    binder.nesting += 2;
    let args = written.into_iter().map(|arg| binder.open(arg)).collect::<Result<Vec<_>, Diag>>()?;
    binder.nesting -= 2;
    let span = args.first().and_then(|arg| arg.span);
    resolved(binder, name, args, span)
}

fn field_name(field: &DateTimeField) -> Option<String> {
    match field {
        DateTimeField::Custom(ident) => name_of(ident).ok().map(|name| name.value),
        other => {
            let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            Some(other.to_string().to_lowercase()).filter(plain)
        }
    }
}
