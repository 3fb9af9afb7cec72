//! Window functions: `function(...) OVER (PARTITION BY ... ORDER BY ... frame)` and the windows that WINDOW names.

use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, NamedWindowExpr, Spanned, WindowFrameBound, WindowFrameUnits, WindowType,
};

use super::items::{ordered, sort_key, told_apart};
use super::placed;
use crate::bind::expr::{Binder, Clause, Typed, WINDOW_BASE, made};
use crate::bind::function;
use crate::bind::names::name_of;
use crate::cast::Coercion;
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::{BinaryOp, Expr};
use crate::lexer::char_span;
use crate::plan::{Frame, FrameBound, FrameUnit, SortKey, WindowCall, WindowFunction};
use crate::value::{DataType, Value};

/// Window functions that are no aggregates.
const NAMES: &[&str] = &[
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
    "first_value",
    "last_value",
    "nth_value",
];

/// Whether a name is that of a window function that needs OVER.
pub(in crate::bind) fn is_window_function(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Names of window functions.
pub(in crate::bind) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied()
}

/// `name(args) OVER window`
#[inline(never)]
pub(in crate::bind) fn call(
    binder: &mut Binder<'_, '_>,
    name: &str,
    function: &ast::Function,
    list: Option<&ast::FunctionArgumentList>,
    span: Option<Span>,
) -> Result<Typed, Diag> {
    let Some(over) = &function.over else {
        let diag = Diag::new(SqlState::WINDOWING_ERROR, format!("{name} is a window function: it needs OVER"));
        return Err(placed(diag, span).hint(format!("Write {name}(...) OVER (ORDER BY ...).")));
    };
    if !matches!(binder.clause, Clause::Select | Clause::OrderBy) || binder.inside_aggregate || binder.inside_window {
        let diag =
            Diag::new(SqlState::WINDOWING_ERROR, format!("a window function cannot stand in {}", binder.place()));
        return Err(placed(diag, span).hint("Compute it in a subquery in FROM and look at its column outside."));
    }
    binder.inside_window = true;
    let bound = bound(binder, name, function, list, over, span);
    binder.inside_window = false;
    let (call, depth) = bound?;
    let data_type = call.data_type;
    let mut windows = binder.scope.asked.windows.borrow_mut();
    let number = match windows.iter().position(|known| *known == call) {
        Some(number) => number,
        None => {
            windows.push(call);
            windows.len() - 1
        }
    };
    let position = WINDOW_BASE.saturating_add(u32::try_from(number).unwrap_or(u32::MAX - WINDOW_BASE));
    made(Expr::Column(position, data_type), Some(data_type), depth, span)
}

fn bound(
    binder: &mut Binder<'_, '_>,
    name: &str,
    function: &ast::Function,
    list: Option<&ast::FunctionArgumentList>,
    over: &WindowType,
    span: Option<Span>,
) -> Result<(WindowCall, u32), Diag> {
    let (window, args, data_type, depth) = if is_window_function(name) {
        for (present, what) in [
            (function.filter.is_some(), "FILTER"),
            (list.is_some_and(|list| list.duplicate_treatment.is_some()), "DISTINCT"),
        ] {
            if present {
                return Err(placed(Diag::not_supported(format_args!("{what} in {name}")), span));
            }
        }
        own(binder, name, list, span)?
    } else {
        if list.is_some_and(|list| list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct)) {
            return Err(placed(Diag::not_supported("DISTINCT in a window function"), span));
        }
        let (call, depth) = function::aggregate_call(binder, name, function, list, span)?;
        let data_type = call.data_type;
        (WindowFunction::Aggregate(call), Vec::new(), data_type, depth)
    };
    let mut call = WindowCall {
        function: window,
        args,
        partition_by: Vec::new(),
        order_by: Vec::new(),
        frame: Frame { unit: FrameUnit::Range, start: FrameBound::Unbounded, end: FrameBound::Current },
        data_type,
    };
    match over {
        WindowType::NamedWindow(ident) => named(binder, ident, &mut call, 0, true),
        WindowType::WindowSpec(spec) => specified(binder, spec, &mut call, 0),
    }
    .map_err(|diag| placed(diag, span))?;
    Ok((call, depth))
}

/// A window by its name; `whole`: with its frame.
fn named(
    binder: &mut Binder<'_, '_>,
    ident: &ast::Ident,
    call: &mut WindowCall,
    depth: usize,
    whole: bool,
) -> Result<(), Diag> {
    let name = name_of(ident)?;
    let known = binder.scope.windows.iter().find(|(known, _)| *known == name.value);
    let Some((_, window)) = known.filter(|_| depth < 10) else {
        let diag = Diag::new(SqlState::UNDEFINED_OBJECT, format!("window \"{}\" does not exist", name.value));
        let known = binder.scope.windows.iter().map(|(known, _)| known.as_str());
        return Err(crate::suggest::with_nearest(diag.at(name.span), &name.value, known));
    };
    match window {
        NamedWindowExpr::NamedWindow(other) => named(binder, other, call, depth + 1, whole),
        NamedWindowExpr::WindowSpec(spec) if !whole && spec.window_frame.is_some() => Err(Diag::new(
            SqlState::WINDOWING_ERROR,
            format!("window \"{}\" has a frame, so that another cannot be made from it", name.value),
        )
        .at(name.span)),
        NamedWindowExpr::WindowSpec(spec) => specified(binder, spec, call, depth + 1),
    }
}

fn specified(
    binder: &mut Binder<'_, '_>,
    spec: &ast::WindowSpec,
    call: &mut WindowCall,
    depth: usize,
) -> Result<(), Diag> {
    if let Some(base) = &spec.window_name {
        named(binder, base, call, depth + 1, false)?;
        let changed = if !spec.partition_by.is_empty() {
            Some("PARTITION BY")
        } else if !spec.order_by.is_empty() && !call.order_by.is_empty() {
            Some("ORDER BY")
        } else {
            None
        };
        if let Some(what) = changed {
            let diag = Diag::new(
                SqlState::WINDOWING_ERROR,
                format!("a window made from \"{}\" cannot change its {what}", base.value),
            );
            return Err(placed(diag, char_span(base.span)));
        }
    }
    for expr in &spec.partition_by {
        let value = binder.typed(expr)?;
        told_apart(&value, "PARTITION BY")?;
        call.partition_by.push(eval::fold(value.expr));
    }
    for item in &spec.order_by {
        let (expr, descending, nulls_first) = sort_key(item)?;
        let value = binder.typed(expr)?;
        ordered(&value, "ORDER BY")?;
        call.order_by.push(SortKey { expr: eval::fold(value.expr), descending, nulls_first });
    }
    if let Some(frame) = &spec.window_frame {
        call.frame = self::frame(binder, frame, &call.order_by).map_err(|diag| placed(diag, written_in(frame)))?;
    }
    Ok(())
}

/// The place of a frame's offsets; its words have none.
fn written_in(frame: &ast::WindowFrame) -> Option<Span> {
    let offset = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(Some(offset)) | WindowFrameBound::Following(Some(offset)) => {
            char_span(offset.span())
        }
        WindowFrameBound::Preceding(None) | WindowFrameBound::Following(None) | WindowFrameBound::CurrentRow => None,
    };
    frame.end_bound.as_ref().and_then(offset).or_else(|| offset(&frame.start_bound))
}

fn frame(binder: &mut Binder<'_, '_>, frame: &ast::WindowFrame, order_by: &[SortKey]) -> Result<Frame, Diag> {
    let unit = match frame.units {
        WindowFrameUnits::Rows => FrameUnit::Rows,
        WindowFrameUnits::Range => FrameUnit::Range,
        WindowFrameUnits::Groups => FrameUnit::Groups,
    };
    let wrong = |sentence: &str| Err(Diag::new(SqlState::WINDOWING_ERROR, sentence.to_owned()));
    if unit == FrameUnit::Groups && order_by.is_empty() {
        return wrong("GROUPS needs an ORDER BY in its window");
    }
    let start = match &frame.start_bound {
        WindowFrameBound::Following(None) => return wrong("a frame cannot start at UNBOUNDED FOLLOWING"),
        bound => self::bound_of(binder, unit, bound, order_by)?,
    };
    let end = match &frame.end_bound {
        None => FrameBound::Current,
        Some(WindowFrameBound::Preceding(None)) => return wrong("a frame cannot end at UNBOUNDED PRECEDING"),
        Some(bound) => self::bound_of(binder, unit, bound, order_by)?,
    };
    match (&start, &end) {
        (FrameBound::Current, FrameBound::Preceding(_))
        | (FrameBound::Following(_), FrameBound::Preceding(_) | FrameBound::Current) => {
            wrong("a frame cannot end before it starts")
        }
        _ => Ok(Frame { unit, start, end }),
    }
}

fn bound_of(
    binder: &mut Binder<'_, '_>,
    unit: FrameUnit,
    bound: &WindowFrameBound,
    order_by: &[SortKey],
) -> Result<FrameBound, Diag> {
    let (written, back) = match bound {
        WindowFrameBound::CurrentRow => return Ok(FrameBound::Current),
        WindowFrameBound::Preceding(None) | WindowFrameBound::Following(None) => return Ok(FrameBound::Unbounded),
        WindowFrameBound::Preceding(Some(written)) => (written, true),
        WindowFrameBound::Following(Some(written)) => (written, false),
    };
    let open = binder.open(written)?;
    let span = open.span;
    let expr = if unit == FrameUnit::Range {
        let [key] = order_by else {
            let diag = Diag::new(
                SqlState::WINDOWING_ERROR,
                "RANGE with an offset needs exactly one ORDER BY column in its window",
            );
            return Err(placed(diag, span));
        };
        if let Expr::Literal(value, _) = eval::fold(open.expr.clone())
            && (value.is_null() || crate::value::compare(&value, &Value::Int(0)).is_some_and(std::cmp::Ordering::is_lt))
        {
            let diag = Diag::new(SqlState::INVALID_PARAMETER, "the offset of a frame must not be negative, nor NULL");
            return Err(placed(diag, span));
        }
        let key_type = eval::data_type(&key.expr);
        let value = Typed::leaf(key.expr.clone(), Some(key_type), span);
        let op = if back == key.descending { BinaryOp::Add } else { BinaryOp::Subtract };
        eval::fold(binder.operation(op, value, open)?.expr)
    } else {
        let offset = binder.coerced(open, DataType::BigInt, Coercion::Implicit, |from| {
            format!("the offset of a frame is a BIGINT, not a value of type {from}")
        })?;
        let offset = eval::fold(offset.expr);
        if !eval::is_constant(&offset) {
            let diag = Diag::new(SqlState::WINDOWING_ERROR, "the offset of a frame cannot look at the row");
            return Err(placed(diag, span));
        }
        offset
    };
    Ok(if back { FrameBound::Preceding(expr) } else { FrameBound::Following(expr) })
}

/// The arguments of a window function that is no aggregate, and the type of its result.
fn own(
    binder: &mut Binder<'_, '_>,
    name: &str,
    list: Option<&ast::FunctionArgumentList>,
    span: Option<Span>,
) -> Result<(WindowFunction, Vec<Expr>, DataType, u32), Diag> {
    let mut args = Vec::new();
    for argument in list.map(|list| list.args.as_slice()).unwrap_or_default() {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else {
            return Err(placed(Diag::not_supported(format_args!("this argument of {name}")), span));
        };
        args.push(binder.open(expr)?);
    }
    let (function, least, most) = match name {
        "row_number" => (WindowFunction::RowNumber, 0, 0),
        "rank" => (WindowFunction::Rank, 0, 0),
        "dense_rank" => (WindowFunction::DenseRank, 0, 0),
        "percent_rank" => (WindowFunction::PercentRank, 0, 0),
        "cume_dist" => (WindowFunction::CumeDist, 0, 0),
        "ntile" => (WindowFunction::Ntile, 1, 1),
        "lag" => (WindowFunction::Lag, 1, 3),
        "lead" => (WindowFunction::Lead, 1, 3),
        "first_value" => (WindowFunction::FirstValue, 1, 1),
        "last_value" => (WindowFunction::LastValue, 1, 1),
        _ => (WindowFunction::NthValue, 2, 2),
    };
    if !(least..=most).contains(&args.len()) {
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let diag = Diag::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("{name} takes {wanted} arguments, {} are given", args.len()),
        );
        return Err(placed(diag, span));
    }
    let depth = args.iter().map(|arg| arg.depth).max().unwrap_or(0);
    let mut exprs = Vec::with_capacity(args.len());
    let mut args = args.into_iter();
    let mut data_type = match function {
        WindowFunction::PercentRank | WindowFunction::CumeDist => DataType::Double,
        WindowFunction::Ntile => DataType::Int,
        _ => DataType::BigInt,
    };
    let whole = |binder: &mut Binder<'_, '_>, arg: Typed| {
        binder
            .coerced(arg, DataType::BigInt, Coercion::Implicit, |from| {
                format!("{name} counts rows by a BIGINT, not by a value of type {from}")
            })
            .map(|arg| eval::fold(arg.expr))
    };
    match function {
        WindowFunction::Ntile => {
            if let Some(buckets) = args.next() {
                exprs.push(whole(binder, buckets)?);
            }
        }
        WindowFunction::Lag
        | WindowFunction::Lead
        | WindowFunction::FirstValue
        | WindowFunction::LastValue
        | WindowFunction::NthValue => {
            let (value, offset, otherwise) = (args.next(), args.next(), args.next());
            let values: Vec<Typed> = value.into_iter().chain(otherwise).collect();
            let (values, common) = binder.in_common(values, name)?;
            data_type = common;
            let mut values = values.into_iter().map(|value| eval::fold(value.expr));
            exprs.extend(values.next());
            if let Some(offset) = offset {
                exprs.push(whole(binder, offset)?);
            }
            exprs.extend(values.next());
        }
        _ => {}
    }
    Ok((function, exprs, data_type, depth))
}
