//! Expressions: names to columns, literals to values, operators to typed operators with explicit casts.
//!
//! An expression whose type is not known yet (a text literal, NULL, a parameter) carries `None` and takes the type that its
//! neighbour, its function or its column wants, as PostgreSQL does. Chains of operators are walked without recursion; AND, OR
//! and `||` chains are balanced, so that the depth of what comes out stays below the limit.

mod array;
mod case;
mod constant;
mod operator;
mod predicate;
pub(super) mod row_key;
mod rows;

use sqlparser::ast;

use super::literal;
use super::names::name_of;
use super::params::Params;
use super::scope::Scope;
use super::types;
use crate::cast::{self, Coercion};
use crate::datetime::{HOUR, MINUTE};
use crate::diag::{Diag, Span, SqlState};
use crate::expr::{AggregateCall, Expr};
use crate::interval::Interval;
use crate::lexer::char_span;
use crate::limits;
use crate::statement::{Name, ObjectName};
use crate::value::{DataType, Value};

/// Positions from here on stand for results of aggregates until the query's rows are laid out.
pub(super) const AGGREGATE_BASE: u32 = 1 << 24;

/// Positions from here on stand for the values of subqueries that look at the row, until those are laid out.
pub(super) const SUBQUERY_BASE: u32 = 1 << 25;
/// Positions from here on stand for the values of window functions, likewise.
pub(super) const WINDOW_BASE: u32 = 1 << 26;

/// A bound expression with what is known of it.
#[derive(Clone, Debug)]
pub(super) struct Typed {
    pub(super) expr: Expr,
    /// `None`: a literal, NULL or parameter that takes the type that is wanted.
    pub(super) data_type: Option<DataType>,
    pub(super) depth: u32,
    pub(super) span: Option<Span>,
}

impl Typed {
    pub(super) fn leaf(expr: Expr, data_type: Option<DataType>, span: Option<Span>) -> Self {
        Self { expr, data_type, depth: 1, span }
    }

    fn place(&self, diag: Diag) -> Diag {
        match self.span {
            Some(span) => diag.at(span),
            None => diag,
        }
    }
}

/// Both places and what lies between them.
fn join(left: Option<Span>, right: Option<Span>) -> Option<Span> {
    match (left, right) {
        (Some(left), Some(right)) => Some(Span { start: left.start.min(right.start), end: left.end.max(right.end) }),
        (one, None) | (None, one) => one,
    }
}

/// Where an expression stands: what it may hold, and how an error calls the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    Select,
    Where,
    On,
    GroupBy,
    Having,
    OrderBy,
    Limit,
    Values,
    Set,
    Returning,
    Default,
    Check,
    SourceFilter,
    SourcePartition,
    Offset,
}

impl Clause {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Select => "the SELECT list",
            Self::Where => "WHERE",
            Self::On => "JOIN ... ON",
            Self::GroupBy => "GROUP BY",
            Self::Having => "HAVING",
            Self::OrderBy => "ORDER BY",
            Self::Limit => "LIMIT and OFFSET",
            Self::Values => "VALUES",
            Self::Set => "SET",
            Self::Returning => "RETURNING",
            Self::Default => "DEFAULT",
            Self::Check => "CHECK",
            Self::SourceFilter => "a source's WHERE",
            Self::SourcePartition => "a source's PARTITION BY",
            Self::Offset => "an offset",
        }
    }
}

/// Binds expressions of one clause.
pub(super) struct Binder<'a, 'b> {
    pub(super) scope: &'b Scope<'a>,
    pub(super) params: &'b mut Params,
    pub(super) clause: Clause,
    /// The query's aggregates so far.
    pub(super) aggregates: &'b mut Vec<AggregateCall>,
    pub(super) inside_aggregate: bool,
    pub(super) inside_window: bool,
    pub(super) nesting: usize,
    /// How many constructs around the expression may leave it out.
    pub(super) guarded: usize,
}

impl<'a, 'b> Binder<'a, 'b> {
    pub(super) fn new(
        scope: &'b Scope<'a>,
        params: &'b mut Params,
        clause: Clause,
        aggregates: &'b mut Vec<AggregateCall>,
    ) -> Self {
        Self {
            scope,
            params,
            clause,
            aggregates,
            inside_aggregate: false,
            inside_window: false,
            nesting: 0,
            guarded: 0,
        }
    }

    /// How an error calls the place of the expression.
    pub(super) fn place(&self) -> &'static str {
        if self.inside_aggregate {
            "an aggregate"
        } else if self.inside_window {
            "another window function"
        } else {
            self.clause.name()
        }
    }

    /// The expression, its type still open where nothing decides it.
    pub(super) fn open(&mut self, expr: &ast::Expr) -> Result<Typed, Diag> {
        self.nesting += 1;
        if self.nesting > limits::MAX_BINDER_NESTING {
            return Err(too_deep());
        }
        let bound = self.dispatch(expr);
        self.nesting -= 1;
        bound
    }

    /// The expression with a type: TEXT where nothing decides it.
    pub(super) fn typed(&mut self, expr: &ast::Expr) -> Result<Typed, Diag> {
        let open = self.open(expr)?;
        self.settled(open)
    }

    /// The expression as a condition.
    pub(super) fn condition(&mut self, expr: &ast::Expr) -> Result<Expr, Diag> {
        let open = self.open(expr)?;
        let clause = self.clause.name();
        self.coerced(open, DataType::Boolean, Coercion::Implicit, |from| {
            format!("{clause} takes a BOOLEAN, not a value of type {from}")
        })
        .map(|typed| typed.expr)
    }

    fn settled(&mut self, open: Typed) -> Result<Typed, Diag> {
        match open.data_type {
            Some(_) => Ok(open),
            None => self.coerced(open, DataType::Text, Coercion::Implicit, |_| String::new()),
        }
    }

    /// The expression as a value of type `wanted`; `refusal` is the sentence when its type does not convert.
    pub(super) fn coerced(
        &mut self,
        open: Typed,
        wanted: DataType,
        how: Coercion,
        refusal: impl FnOnce(DataType) -> String,
    ) -> Result<Typed, Diag> {
        let Some(from) = open.data_type else { return self.given(open, wanted) };
        if from == wanted || (from.same_kind(&wanted) && how == Coercion::Implicit) {
            return Ok(open);
        }
        if !cast::allowed(from, wanted, how) {
            let state = if how == Coercion::Explicit { SqlState::CANNOT_COERCE } else { SqlState::DATATYPE_MISMATCH };
            let diag = open.place(Diag::new(state, refusal(from)));
            return Err(if cast::allowed(from, wanted, Coercion::Explicit) && how != Coercion::Explicit {
                diag.hint(format!("Write CAST(... AS {wanted}) if this is what you mean."))
            } else {
                diag
            });
        }
        let expr = Expr::Cast { expr: Box::new(open.expr), to: wanted, assignment: how == Coercion::Assignment };
        made(expr, Some(wanted), open.depth, open.span)
    }

    /// An expression of open type takes the wanted one.
    fn given(&mut self, open: Typed, wanted: DataType) -> Result<Typed, Diag> {
        let expr = match &open.expr {
            Expr::Literal(Value::Null, _) => Expr::Literal(Value::Null, wanted),
            Expr::Literal(literal @ Value::Text(_), _) => {
                let value = cast::cast(literal.clone(), wanted, false).map_err(|diag| open.place(diag))?;
                Expr::Literal(value, wanted)
            }
            Expr::Param(index, _) => {
                self.params.infer(*index, wanted);
                Expr::Param(*index, wanted)
            }
            _ => {
                return Err(
                    open.place(Diag::new(SqlState::INDETERMINATE_DATATYPE, "the type of this expression is not known"))
                );
            }
        };
        Ok(Typed { expr, data_type: Some(wanted), ..open })
    }

    /// One arm per construct, each out of line: the frames that recursion repeats stay small.
    fn dispatch(&mut self, expr: &ast::Expr) -> Result<Typed, Diag> {
        match expr {
            ast::Expr::Identifier(ident) => self.identifier(ident),
            ast::Expr::CompoundIdentifier(parts) => self.qualified(parts),
            ast::Expr::Value(value) => self.value(value),
            ast::Expr::Nested(inner) => self.open(inner),
            _ if row_key::may_have_row_key(expr) => self.with_row_key(expr),
            ast::Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            ast::Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            ast::Expr::Function(function) => super::function::call(self, function),
            ast::Expr::Cast { kind, expr: operand, data_type, format } => {
                if !matches!(kind, ast::CastKind::Cast | ast::CastKind::DoubleColon) || format.is_some() {
                    return Err(refused("this form of CAST", expr));
                }
                self.cast(operand, data_type)
            }
            ast::Expr::IsNull(operand) => self.is_null(operand, false),
            ast::Expr::IsNotNull(operand) => self.is_null(operand, true),
            ast::Expr::IsTrue(operand) => self.is_bool(operand, Some(true), false),
            ast::Expr::IsNotTrue(operand) => self.is_bool(operand, Some(true), true),
            ast::Expr::IsFalse(operand) => self.is_bool(operand, Some(false), false),
            ast::Expr::IsNotFalse(operand) => self.is_bool(operand, Some(false), true),
            ast::Expr::IsUnknown(operand) => self.is_bool(operand, None, false),
            ast::Expr::IsNotUnknown(operand) => self.is_bool(operand, None, true),
            ast::Expr::IsDistinctFrom(left, right) => self.is_distinct(left, right, false),
            ast::Expr::IsNotDistinctFrom(left, right) => self.is_distinct(left, right, true),
            ast::Expr::InList { expr, list, negated } if rows::in_rows(expr, list) => self.row_in(expr, list, *negated),
            ast::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            ast::Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            ast::Expr::Like { negated, any, expr, pattern, escape_char: None }
                if let Some((patterns, all)) = predicate::patterns(*any, pattern) =>
            {
                self.like_each(expr, patterns, all, false, *negated)
            }
            ast::Expr::ILike { negated, any, expr, pattern, escape_char: None }
                if let Some((patterns, all)) = predicate::patterns(*any, pattern) =>
            {
                self.like_each(expr, patterns, all, true, *negated)
            }
            ast::Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_deref(), false, *negated)
            }
            ast::Expr::ILike { negated, any: false, expr, pattern, escape_char } => {
                self.like(expr, pattern, escape_char.as_deref(), true, *negated)
            }
            ast::Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            ast::Expr::TypedString(typed) => self.typed_string(typed),
            ast::Expr::Subquery(query) => self.scalar_subquery(query),
            ast::Expr::Exists { subquery, negated } => self.exists(subquery, *negated),
            ast::Expr::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated),
            ast::Expr::AnyOp { left, compare_op, right, .. } if let ast::Expr::Subquery(query) = right.as_ref() => {
                self.quantified(left, compare_op, query, false)
            }
            ast::Expr::AllOp { left, compare_op, right } if let ast::Expr::Subquery(query) = right.as_ref() => {
                self.quantified(left, compare_op, query, true)
            }
            ast::Expr::Interval(written) => self.interval(written, expr),
            ast::Expr::Array(array) => self.array(&array.elem, expr),
            ast::Expr::AnyOp { left, compare_op, right, .. } if !is_subquery(right) => {
                self.any_or_all(left, compare_op, right, false)
            }
            ast::Expr::AllOp { left, compare_op, right } if !is_subquery(right) => {
                self.any_or_all(left, compare_op, right, true)
            }
            ast::Expr::CompoundFieldAccess { root, access_chain } => self.subscripts(root, access_chain, expr),
            ast::Expr::SimilarTo { negated, expr, pattern, escape_char } => {
                self.similar(expr, pattern, escape_char.as_deref(), *negated)
            }
            ast::Expr::IsJson { expr: operand, kind, unique_keys: None, negated } => {
                self.is_json(operand, kind.as_ref(), *negated)
            }
            ast::Expr::Extract { .. }
            | ast::Expr::Ceil { .. }
            | ast::Expr::Floor { .. }
            | ast::Expr::Position { .. }
            | ast::Expr::Substring { .. }
            | ast::Expr::Overlay { .. }
            | ast::Expr::AtTimeZone { .. }
            | ast::Expr::Trim { .. } => super::function::special(self, expr),
            _ => Err(refused(construct(expr), expr)),
        }
    }

    #[inline(never)]
    fn identifier(&mut self, ident: &ast::Ident) -> Result<Typed, Diag> {
        let name = name_of(ident)?;
        if ident.quote_style.is_none() && name.value == "current_role" {
            return super::function::resolved(self, "current_role", Vec::new(), Some(name.span));
        }
        let params = &mut *self.params;
        match self.scope.resolve(&name, &mut || params.slot().map_err(|diag| diag.at(name.span)))? {
            Some((expr, data_type)) => Ok(Typed::leaf(expr, Some(data_type), Some(name.span))),
            None if ident.quote_style.is_none() && name.value == "default" => Err(Diag::new(
                SqlState::SYNTAX_ERROR,
                format!("DEFAULT cannot stand in {} like this", self.clause.name()),
            )
            .at(name.span)),
            None if ident.quote_style.is_none()
                && matches!(name.value.as_str(), "localtimestamp" | "localtime" | "current_date") =>
            {
                super::function::resolved(self, &name.value, Vec::new(), Some(name.span))
            }
            None => {
                let diag = self.scope.unknown_column(&name.value, name.span);
                Err(match ident.quote_style {
                    Some('"') if diag.suggestions.is_empty() => {
                        diag.hint("Double quotes are for names; texts stand in single quotes.")
                    }
                    _ => diag,
                })
            }
        }
    }

    #[inline(never)]
    fn qualified(&mut self, parts: &[ast::Ident]) -> Result<Typed, Diag> {
        let names = parts.iter().map(name_of).collect::<Result<Vec<Name>, Diag>>()?;
        let (qualifier, column) = match names.as_slice() {
            [table, column] => (ObjectName { namespace: None, name: table.clone() }, column),
            [namespace, table, column] => {
                (ObjectName { namespace: Some(namespace.clone()), name: table.clone() }, column)
            }
            parts => {
                let diag = Diag::new(SqlState::SYNTAX_ERROR, "a column's name has more than three parts")
                    .hint("Write namespace.table.column.");
                let span = join(parts.first().map(|first| first.span), parts.last().map(|last| last.span));
                return Err(span.map_or(diag.clone(), |span| diag.at(span)));
            }
        };
        let excluded = self.scope.excluded(&qualifier, column);
        let params = &mut *self.params;
        let (expr, data_type) = match excluded {
            Some(found) => found.map(|(index, data_type)| (Expr::Column(index, data_type), data_type))?,
            None => {
                let mut slot = || params.slot().map_err(|diag| diag.at(column.span));
                self.scope.resolve_qualified(&qualifier, column, &mut slot)?
            }
        };
        let span = Span { start: qualifier.span().start, end: column.span.end };
        Ok(Typed::leaf(expr, Some(data_type), Some(span)))
    }

    #[inline(never)]
    fn value(&mut self, value: &ast::ValueWithSpan) -> Result<Typed, Diag> {
        let span = char_span(value.span);
        match &value.value {
            ast::Value::Placeholder(written) => {
                let (index, known) = self.params.take(written, span)?;
                Ok(Typed::leaf(Expr::Param(index, known.unwrap_or(DataType::Text)), known, span))
            }
            other => literal::literal(other, span),
        }
    }

    #[inline(never)]
    fn cast(&mut self, operand: &ast::Expr, written: &ast::DataType) -> Result<Typed, Diag> {
        if let Some(elements) = array::elements(operand) {
            return self.cast_elements(elements, operand, written);
        }
        let open = self.open(operand)?;
        self.cast_to(open, written)
    }

    /// `ARRAY[...]::type`
    #[inline(never)]
    fn cast_elements(
        &mut self,
        elements: &[ast::Expr],
        operand: &ast::Expr,
        written: &ast::DataType,
    ) -> Result<Typed, Diag> {
        let wanted = types::named(written, Span { start: 0, end: 0 }).ok().map(|wanted| wanted.data_type);
        let open = match wanted.filter(|wanted| wanted.element().is_some()) {
            _ if elements.is_empty() => array::empty(),
            Some(wanted) => self.array_of(elements, wanted)?,
            None => self.open(operand)?,
        };
        self.cast_to(open, written)
    }

    #[inline(never)]
    fn cast_to(&mut self, open: Typed, written: &ast::DataType) -> Result<Typed, Diag> {
        let span = open.span;
        let wanted = types::named(written, span.unwrap_or(Span { start: 0, end: 0 }))?;
        let to = wanted.data_type;
        let cast = self
            .coerced(open, to, Coercion::Explicit, |from| format!("a value of type {from} cannot be cast to {to}"))?;
        let cast = self.valued(cast, None)?;
        match wanted.max_chars {
            None => Ok(cast),
            Some(_) if to.element().is_some() => {
                let diag = Diag::not_supported("a cast to an array of VARCHAR(n)").hint("Cast to TEXT[].");
                Err(cast.place(diag))
            }
            Some(most) => {
                let most = Typed::leaf(
                    Expr::Literal(Value::BigInt(i64::from(most)), DataType::BigInt),
                    Some(DataType::BigInt),
                    span,
                );
                super::function::resolved(self, "left", vec![cast, most], span)
            }
        }
    }

    /// `INTERVAL '1 day'`, `INTERVAL '1' DAY`
    #[inline(never)]
    fn interval(&mut self, written: &ast::Interval, expr: &ast::Expr) -> Result<Typed, Diag> {
        let precise = written.leading_precision.is_some() || written.fractional_seconds_precision.is_some();
        if written.last_field.is_some() || precise {
            return Err(refused("INTERVAL with a range of fields or a precision", expr));
        }
        let ast::Expr::Value(value) = written.value.as_ref() else {
            return Err(refused("INTERVAL of an expression", expr).hint("Multiply: n * INTERVAL '1 day'."));
        };
        let span = char_span(value.span);
        let text = match (&value.value, literal::text_of(&value.value)) {
            (_, Some(text)) => text.to_owned(),
            (ast::Value::Number(digits, _), None) => digits.clone(),
            _ => return Err(refused("INTERVAL of a parameter", expr).hint("Write $1::INTERVAL.")),
        };
        let unit = written.leading_field.as_ref().map(|field| field.to_string().to_lowercase());
        let place = |diag: Diag| match span {
            Some(span) => diag.at(span),
            None => diag,
        };
        let interval = cast::parse_interval(&text, unit.as_deref()).map_err(place)?;
        let interval = unit.map_or(interval, |unit| whole_units(interval, &unit));
        let literal = Expr::Literal(Value::Interval(interval), DataType::Interval);
        Ok(Typed::leaf(literal, Some(DataType::Interval), span))
    }

    #[inline(never)]
    fn typed_string(&mut self, typed: &ast::TypedString) -> Result<Typed, Diag> {
        let span = char_span(typed.value.span).unwrap_or(Span { start: 0, end: 0 });
        let wanted = types::named(&typed.data_type, span)?;
        let open = self.value(&typed.value)?;
        self.given(open, wanted.data_type)
    }

    /// Alternatives in one type.
    pub(super) fn in_common(&mut self, open: Vec<Typed>, what: &str) -> Result<(Vec<Typed>, DataType), Diag> {
        let mut wanted: Option<DataType> = None;
        for one in &open {
            let Some(data_type) = one.data_type else { continue };
            wanted = Some(match wanted {
                None => data_type,
                Some(so_far) => cast::common_type(&[so_far, data_type]).ok_or_else(|| {
                    one.place(Diag::new(
                        SqlState::DATATYPE_MISMATCH,
                        format!("{what} has results of types {so_far} and {data_type}"),
                    ))
                })?,
            });
        }
        let wanted = wanted.unwrap_or(DataType::Text);
        let same = open
            .into_iter()
            .map(|one| {
                self.coerced(one, wanted, Coercion::Implicit, |from| {
                    format!("{what} has results of types {wanted} and {from}")
                })
            })
            .collect::<Result<Vec<_>, Diag>>()?;
        Ok((same, wanted))
    }
}

/// The node above operands of this depth.
pub(super) fn made(expr: Expr, data_type: Option<DataType>, below: u32, span: Option<Span>) -> Result<Typed, Diag> {
    let depth = below + 1;
    if depth > limits::MAX_EXPRESSION_DEPTH {
        let diag = too_deep();
        return Err(match span {
            Some(span) => diag.at(span),
            None => diag,
        });
    }
    Ok(Typed { expr, data_type, depth, span })
}

/// `INTERVAL '1.5' HOUR` has whole hours: what is smaller than the field is left out.
fn whole_units(interval: Interval, unit: &str) -> Interval {
    let micros = |size: i64| Interval { micros: interval.micros - interval.micros % size, ..interval };
    match unit {
        "year" => Interval { months: interval.months - interval.months % 12, days: 0, micros: 0 },
        "month" => Interval { days: 0, micros: 0, ..interval },
        "day" => Interval { micros: 0, ..interval },
        "hour" => micros(HOUR),
        "minute" => micros(MINUTE),
        _ => interval,
    }
}

fn too_deep() -> Diag {
    Diag::new(
        SqlState::PROGRAM_LIMIT,
        format!("the expression is deeper than {} operations", limits::MAX_EXPRESSION_DEPTH),
    )
}

/// `what` is not supported, where the expression stands.
pub(super) fn refused(what: &str, expr: &ast::Expr) -> Diag {
    use sqlparser::ast::Spanned;
    let diag = Diag::not_supported(what);
    match char_span(expr.span()) {
        Some(span) => diag.at(span),
        None => diag,
    }
}

fn is_subquery(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Subquery(_) => true,
        ast::Expr::Nested(inner) => is_subquery(inner),
        _ => false,
    }
}

/// How an error calls an expression that does not exist here.
fn construct(expr: &ast::Expr) -> &'static str {
    match expr {
        ast::Expr::Subquery(_) | ast::Expr::InSubquery { .. } | ast::Expr::Exists { .. } => "a subquery",
        ast::Expr::AnyOp { .. } | ast::Expr::AllOp { .. } => "ANY or ALL of a subquery",
        ast::Expr::Collate { .. } => "COLLATE",
        ast::Expr::Tuple(_) => "a row of values as an expression",
        ast::Expr::JsonAccess { .. } => "a member access",
        ast::Expr::Like { .. } | ast::Expr::ILike { .. } => "LIKE ANY with a subquery or ESCAPE",
        ast::Expr::GroupingSets(_) => "GROUPING SETS",
        ast::Expr::Cube(_) => "CUBE",
        ast::Expr::Rollup(_) => "ROLLUP",
        ast::Expr::InUnnest { .. } => "UNNEST",
        ast::Expr::IsJson { .. } => "IS JSON WITH UNIQUE KEYS",
        ast::Expr::IsNormalized { .. } => "IS NORMALIZED",
        ast::Expr::Wildcard(_) | ast::Expr::QualifiedWildcard(..) => "\"*\" inside an expression",
        _ => "this expression",
    }
}
