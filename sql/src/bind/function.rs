//! Calls: scalar functions, aggregates, and the words that SQL writes in its own way.

use sqlparser::ast::{self, DateTimeField, DuplicateTreatment, FunctionArg, FunctionArgExpr, FunctionArguments};

use super::expr::{AGGREGATE_BASE, Binder, Clause, Typed, made, refused};
use super::literal;
use super::names::{name_of, object_of};
use crate::cast::Coercion;
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::{AggregateCall, AggregateFunction, Expr};
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
        FunctionArguments::Subquery(_) => return Err(at(Diag::not_supported("a subquery"), span)),
        FunctionArguments::List(list) => Some(list),
    };
    if let Some(list) = list
        && !list.clauses.is_empty()
    {
        let what = match list.clauses.first() {
            Some(ast::FunctionArgumentClause::OrderBy(_)) => "ORDER BY in a call",
            _ => "a clause in a call",
        };
        return Err(at(Diag::not_supported(what), span));
    }
    if super::query::window::is_window_function(name) {
        return super::query::window::call(binder, name, function, list, span);
    }
    if eval::aggregate_names().any(|known| known == name) {
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
    let mut args = Vec::new();
    for argument in list.map(|list| list.args.as_slice()).unwrap_or_default() {
        args.push(binder.open(plain(argument, span)?)?);
    }
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
    made(Expr::Function { function, args: exprs, data_type }, Some(data_type), depth, span)
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
    binder.inside_aggregate = true;
    let bound = aggregate_call(binder, name, function, list, span);
    binder.inside_aggregate = false;
    let (call, depth) = bound?;
    if looks_outside_only(&call) {
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
fn looks_outside_only(call: &AggregateCall) -> bool {
    let (mut own, mut outer) = (false, false);
    for arg in &call.args {
        arg.visit(&mut |part| match part {
            Expr::Column(..) => own = true,
            Expr::Param(index, _) => outer |= *index >= crate::plan::FIRST_SLOT,
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
    if let Some(filter) = filter {
        // Every aggregate but count(*) skips NULLs: what the filter leaves out becomes NULL.
        if call == AggregateFunction::CountStar {
            call = AggregateFunction::Count;
            exprs.push(Expr::Literal(Value::Boolean(true), DataType::Boolean));
        }
        if let Some(first) = exprs.first_mut() {
            let kept = std::mem::replace(first, Expr::Literal(Value::Null, DataType::Text));
            let kept_type = eval::data_type(&kept);
            *first = Expr::Case { branches: vec![(filter, kept)], otherwise: None, data_type: kept_type };
        }
    }
    let call = AggregateCall { function: call, args: exprs.into_iter().map(eval::fold).collect(), distinct, data_type };
    Ok((call, depth))
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

/// EXTRACT, CEIL, FLOOR, POSITION, SUBSTRING and TRIM in SQL's own spelling.
pub(super) fn special(binder: &mut Binder<'_, '_>, expr: &ast::Expr) -> Result<Typed, Diag> {
    let (name, written): (&str, Vec<&ast::Expr>) = match expr {
        ast::Expr::Extract { field, expr: operand, .. } => {
            let name = field_name(field).ok_or_else(|| refused(&format!("EXTRACT({field} ...)"), expr))?;
            let operand = binder.open(operand)?;
            let field =
                Typed::leaf(Expr::Literal(Value::Text(name), DataType::Text), Some(DataType::Text), operand.span);
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
        other => return Err(refused("this expression", other)),
    };
    let args = written.into_iter().map(|arg| binder.open(arg)).collect::<Result<Vec<_>, Diag>>()?;
    let span = args.first().and_then(|arg| arg.span);
    resolved(binder, name, args, span)
}

fn field_name(field: &DateTimeField) -> Option<String> {
    match field {
        DateTimeField::Custom(ident) => name_of(ident).ok().map(|name| name.value),
        other => {
            Some(other.to_string().to_lowercase()).filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
        }
    }
}
