//! Expressions: names to columns, literals to values, operators to typed operators with explicit casts.
//!
//! An expression whose type is not known yet (a text literal, NULL, a parameter) carries `None` and takes the type that its
//! neighbour, its function or its column wants, as PostgreSQL does. Chains of operators are walked without recursion; AND, OR
//! and `||` chains are balanced, so that the depth of what comes out stays below the limit.

use sqlparser::ast::{self, BinaryOperator};

use super::literal;
use super::names::name_of;
use super::params::Params;
use super::scope::Scope;
use super::types;
use crate::cast::{self, Coercion};
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::{AggregateCall, BinaryOp, Expr, UnaryOp};
use crate::lexer::char_span;
use crate::limits;
use crate::statement::{Name, ObjectName};
use crate::value::{DataType, Value};

/// Positions from here on stand for results of aggregates until the query's rows are laid out.
pub(super) const AGGREGATE_BASE: u32 = 1 << 24;

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
    GroupBy,
    OrderBy,
    Limit,
    Values,
    Set,
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
            Self::GroupBy => "GROUP BY",
            Self::OrderBy => "ORDER BY",
            Self::Limit => "LIMIT and OFFSET",
            Self::Values => "VALUES",
            Self::Set => "SET",
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
    nesting: usize,
}

impl<'a, 'b> Binder<'a, 'b> {
    pub(super) fn new(
        scope: &'b Scope<'a>,
        params: &'b mut Params,
        clause: Clause,
        aggregates: &'b mut Vec<AggregateCall>,
    ) -> Self {
        Self { scope, params, clause, aggregates, inside_aggregate: false, nesting: 0 }
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
            ast::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            ast::Expr::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
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
            ast::Expr::Extract { .. }
            | ast::Expr::Ceil { .. }
            | ast::Expr::Floor { .. }
            | ast::Expr::Position { .. }
            | ast::Expr::Substring { .. }
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
        match self.scope.find(&name.value) {
            Some((index, data_type)) => {
                Ok(Typed::leaf(Expr::Column(index, data_type), Some(data_type), Some(name.span)))
            }
            None if ident.quote_style.is_none() && name.value == "default" => Err(Diag::new(
                SqlState::SYNTAX_ERROR,
                format!("DEFAULT cannot stand in {} like this", self.clause.name()),
            )
            .at(name.span)),
            None if ident.quote_style.is_none()
                && matches!(name.value.as_str(), "localtimestamp" | "localtime" | "current_date") =>
            {
                Err(Diag::not_supported(name.value.to_uppercase())
                    .hint("NOW() gives the time as a TIMESTAMP.")
                    .at(name.span))
            }
            None => {
                let diag = self.scope.column(&name).err().unwrap_or_else(too_deep);
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
            _ => return Err(Diag::new(SqlState::SYNTAX_ERROR, "a column's name has more than three parts")),
        };
        if !self.scope.is_qualified_by(&qualifier) {
            return Err(self.scope.unknown_qualifier(&qualifier));
        }
        let (index, data_type) = self.scope.column(column)?;
        let span = Span { start: qualifier.span().start, end: column.span.end };
        Ok(Typed::leaf(Expr::Column(index, data_type), Some(data_type), Some(span)))
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

    /// `left op right`, where `left` may be a long chain: it is walked, not recursed into.
    #[inline(never)]
    fn binary(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Typed, Diag> {
        if matches!(op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat) {
            return self.chain(left, op, right);
        }
        let mut steps = vec![(op, right)];
        let mut first = left;
        while let ast::Expr::BinaryOp { left, op, right } = first {
            if matches!(op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat) {
                break;
            }
            steps.push((op, right));
            first = left;
        }
        let mut value = self.open(first)?;
        while let Some((op, right)) = steps.pop() {
            let right = self.open(right)?;
            let op = operator(op).ok_or_else(|| {
                let diag = Diag::not_supported(format_args!("operator {op}"));
                match join(value.span, right.span) {
                    Some(span) => diag.at(span),
                    None => diag,
                }
            })?;
            value = self.operation(op, value, right)?;
        }
        Ok(value)
    }

    /// A chain of one associative operator, balanced.
    #[inline(never)]
    fn chain(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Typed, Diag> {
        let mut operands = vec![right];
        let mut first = left;
        while let ast::Expr::BinaryOp { left, op: other, right } = first {
            if other != op {
                break;
            }
            operands.push(right);
            first = left;
        }
        operands.push(first);
        let op = match op {
            BinaryOperator::And => BinaryOp::And,
            BinaryOperator::Or => BinaryOp::Or,
            _ => BinaryOp::Concat,
        };
        let mut bound = Vec::with_capacity(operands.len());
        while let Some(operand) = operands.pop() {
            let operand = self.open(operand)?;
            bound.push(match op {
                BinaryOp::And | BinaryOp::Or => {
                    let word = if op == BinaryOp::And { "AND" } else { "OR" };
                    self.coerced(operand, DataType::Boolean, Coercion::Implicit, |from| {
                        format!("{word} takes BOOLEANs, not a value of type {from}")
                    })?
                }
                _ => operand,
            });
        }
        while bound.len() > 1 {
            let mut joined = Vec::with_capacity(bound.len().div_ceil(2));
            let mut rest = bound.into_iter();
            while let Some(left) = rest.next() {
                joined.push(match rest.next() {
                    Some(right) => self.operation(op, left, right)?,
                    None => left,
                });
            }
            bound = joined;
        }
        bound.pop().ok_or_else(too_deep)
    }

    /// `left op right` with the casts that the operator needs.
    pub(super) fn operation(&mut self, op: BinaryOp, left: Typed, right: Typed) -> Result<Typed, Diag> {
        let span = join(left.span, right.span);
        let (left_type, right_type, data_type) =
            eval::resolve_operator(op, left.data_type, right.data_type).map_err(|error| {
                let diag = Diag::from(error);
                match span {
                    Some(span) => diag.at(span),
                    None => diag,
                }
            })?;
        let refusal = |from: DataType| format!("a value of type {from} does not fit this operator");
        let left = self.coerced(left, left_type, Coercion::Assignment, refusal)?;
        let right = self.coerced(right, right_type, Coercion::Assignment, refusal)?;
        let depth = left.depth.max(right.depth);
        let expr = Expr::Binary { op, left: Box::new(left.expr), right: Box::new(right.expr), data_type };
        made(unassigned(expr), Some(data_type), depth, span)
    }

    #[inline(never)]
    fn unary(&mut self, op: ast::UnaryOperator, operand: &ast::Expr) -> Result<Typed, Diag> {
        match op {
            ast::UnaryOperator::Minus => {
                if let ast::Expr::Value(value) = operand
                    && let ast::Value::Number(digits, false) = &value.value
                {
                    return literal::number(digits, true, char_span(value.span));
                }
                let open = self.number(operand, "-")?;
                let (data_type, depth, span) = (open.data_type, open.depth, open.span);
                made(Expr::Unary { op: UnaryOp::Minus, expr: Box::new(open.expr) }, data_type, depth, span)
            }
            ast::UnaryOperator::Plus => self.number(operand, "+"),
            ast::UnaryOperator::Not => {
                let open = self.open(operand)?;
                let inner = self.coerced(open, DataType::Boolean, Coercion::Implicit, |from| {
                    format!("NOT takes a BOOLEAN, not a value of type {from}")
                })?;
                made(
                    Expr::Unary { op: UnaryOp::Not, expr: Box::new(inner.expr) },
                    Some(DataType::Boolean),
                    inner.depth,
                    inner.span,
                )
            }
            other => Err(refused(&format!("operator {other}"), operand)),
        }
    }

    fn number(&mut self, operand: &ast::Expr, sign: &str) -> Result<Typed, Diag> {
        let open = self.open(operand)?;
        match open.data_type {
            Some(data_type) if data_type.is_numeric() => Ok(open),
            Some(data_type) => {
                let diag =
                    Diag::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {sign} {data_type}"));
                Err(open.place(diag))
            }
            None => self.given(open, DataType::Double),
        }
    }

    #[inline(never)]
    fn cast(&mut self, operand: &ast::Expr, written: &ast::DataType) -> Result<Typed, Diag> {
        let open = self.open(operand)?;
        let span = open.span;
        let wanted = types::named(written, span.unwrap_or(Span { start: 0, end: 0 }))?;
        let to = wanted.data_type;
        let cast = self
            .coerced(open, to, Coercion::Explicit, |from| format!("a value of type {from} cannot be cast to {to}"))?;
        match wanted.max_chars {
            None => Ok(cast),
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

    #[inline(never)]
    fn typed_string(&mut self, typed: &ast::TypedString) -> Result<Typed, Diag> {
        let span = char_span(typed.value.span).unwrap_or(Span { start: 0, end: 0 });
        let wanted = types::named(&typed.data_type, span)?;
        let open = self.value(&typed.value)?;
        self.given(open, wanted.data_type)
    }

    #[inline(never)]
    fn is_null(&mut self, operand: &ast::Expr, negated: bool) -> Result<Typed, Diag> {
        let operand = self.typed(operand)?;
        made(
            Expr::IsNull { expr: Box::new(operand.expr), negated },
            Some(DataType::Boolean),
            operand.depth,
            operand.span,
        )
    }

    #[inline(never)]
    fn is_bool(&mut self, operand: &ast::Expr, value: Option<bool>, negated: bool) -> Result<Typed, Diag> {
        let open = self.open(operand)?;
        let inner = self.coerced(open, DataType::Boolean, Coercion::Implicit, |from| {
            format!("IS TRUE, FALSE and UNKNOWN take a BOOLEAN, not a value of type {from}")
        })?;
        made(
            Expr::IsBool { expr: Box::new(inner.expr), value, negated },
            Some(DataType::Boolean),
            inner.depth,
            inner.span,
        )
    }

    #[inline(never)]
    fn is_distinct(&mut self, left: &ast::Expr, right: &ast::Expr, negated: bool) -> Result<Typed, Diag> {
        let left = self.open(left)?;
        let right = self.open(right)?;
        let pair = self.operation(BinaryOp::Equal, left, right)?;
        match pair.expr {
            Expr::Binary { left, right, .. } => Ok(Typed { expr: Expr::IsDistinct { left, right, negated }, ..pair }),
            _ => Err(too_deep()),
        }
    }

    #[inline(never)]
    fn in_list(&mut self, operand: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Typed, Diag> {
        let mut operand = self.open(operand)?;
        let mut items = list.iter().map(|item| self.open(item)).collect::<Result<Vec<Typed>, Diag>>()?;
        if operand.data_type.is_none() {
            let wanted = items.iter().find_map(|item| item.data_type).unwrap_or(DataType::Text);
            operand = self.given(operand, wanted)?;
        }
        let mut depth = operand.depth;
        let mut candidates = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            let (left, right, _) = eval::resolve_operator(BinaryOp::Equal, operand.data_type, item.data_type)
                .map_err(|error| item.place(error.into()))?;
            debug_assert_eq!(Some(left), operand.data_type, "comparison keeps the known side's type");
            let item = self.coerced(item, right, Coercion::Implicit, |from| {
                format!("a value of type {from} does not fit this IN list")
            })?;
            depth = depth.max(item.depth);
            candidates.push(item.expr);
        }
        let expr = Expr::InList { expr: Box::new(operand.expr), list: candidates, negated };
        made(expr, Some(DataType::Boolean), depth, operand.span)
    }

    #[inline(never)]
    fn between(
        &mut self,
        operand: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
    ) -> Result<Typed, Diag> {
        let operand = self.open(operand)?;
        let low = self.open(low)?;
        let high = self.open(high)?;
        let operand = match (operand.data_type, low.data_type.or(high.data_type)) {
            (None, Some(wanted)) => self.given(operand, wanted)?,
            (None, None) => self.settled(operand)?,
            (Some(_), _) => operand,
        };
        let (first, second, both) = if negated {
            (BinaryOp::Less, BinaryOp::Greater, BinaryOp::Or)
        } else {
            (BinaryOp::GreaterOrEqual, BinaryOp::LessOrEqual, BinaryOp::And)
        };
        let lower = self.operation(first, operand.clone(), low)?;
        let upper = self.operation(second, operand, high)?;
        self.operation(both, lower, upper)
    }

    #[inline(never)]
    fn like(
        &mut self,
        operand: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        case_insensitive: bool,
        negated: bool,
    ) -> Result<Typed, Diag> {
        let refusal = |from: DataType| format!("LIKE takes TEXT, not a value of type {from}");
        let operand = self.open(operand)?;
        let operand = self.coerced(operand, DataType::Text, Coercion::Implicit, refusal)?;
        let pattern = self.open(pattern)?;
        let pattern = self.coerced(pattern, DataType::Text, Coercion::Implicit, refusal)?;
        let escape = match escape {
            None => None,
            Some(given) => match given {
                ast::Expr::Value(value) => Some(one_char(value)?),
                other => return Err(refused("ESCAPE with an expression", other)),
            },
        };
        let depth = operand.depth.max(pattern.depth);
        let span = join(operand.span, pattern.span);
        let expr = Expr::Like {
            expr: Box::new(operand.expr),
            pattern: Box::new(pattern.expr),
            escape,
            case_insensitive,
            negated,
        };
        made(expr, Some(DataType::Boolean), depth, span)
    }

    #[inline(never)]
    fn case(
        &mut self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        otherwise: Option<&ast::Expr>,
    ) -> Result<Typed, Diag> {
        let operand = operand.map(|operand| self.open(operand)).transpose()?;
        let operand = match operand {
            Some(open) if open.data_type.is_none() => Some(self.settled(open)?),
            other => other,
        };
        let mut depth = 1;
        let mut whens = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for branch in conditions {
            let condition = self.open(&branch.condition)?;
            let condition = match &operand {
                Some(operand) => self.operation(BinaryOp::Equal, operand.clone(), condition)?,
                None => self.coerced(condition, DataType::Boolean, Coercion::Implicit, |from| {
                    format!("WHEN takes a BOOLEAN, not a value of type {from}")
                })?,
            };
            depth = depth.max(condition.depth);
            whens.push(condition.expr);
            results.push(self.open(&branch.result)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.open(otherwise)?);
        }
        let span = results.iter().fold(None, |span, result| join(span, result.span));
        let (results, data_type) = self.in_common(results, "CASE")?;
        let mut branches = Vec::with_capacity(whens.len());
        let mut results = results.into_iter();
        for (condition, result) in whens.into_iter().zip(results.by_ref()) {
            depth = depth.max(result.depth);
            branches.push((condition, result.expr));
        }
        let otherwise = results.next().map(|result| {
            depth = depth.max(result.depth);
            Box::new(result.expr)
        });
        made(Expr::Case { branches, otherwise, data_type }, Some(data_type), depth, span)
    }

    /// Alternatives in one type.
    fn in_common(&mut self, open: Vec<Typed>, what: &str) -> Result<(Vec<Typed>, DataType), Diag> {
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

fn too_deep() -> Diag {
    Diag::new(
        SqlState::PROGRAM_LIMIT,
        format!("the expression is deeper than {} operations", limits::MAX_EXPRESSION_DEPTH),
    )
}

/// Casts that an operator put around its operands are no assignments.
fn unassigned(mut expr: Expr) -> Expr {
    if let Expr::Binary { left, right, .. } = &mut expr {
        for side in [left, right] {
            if let Expr::Cast { assignment, .. } = side.as_mut() {
                *assignment = false;
            }
        }
    }
    expr
}

fn one_char(value: &ast::ValueWithSpan) -> Result<char, Diag> {
    let place = |diag: Diag| match char_span(value.span) {
        Some(span) => diag.at(span),
        None => diag,
    };
    let text = literal::text_of(&value.value)
        .ok_or_else(|| place(Diag::not_supported("ESCAPE with anything but a literal")))?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        (None, _) => Err(place(Diag::not_supported("LIKE without an escape character"))),
        (Some(_), Some(_)) => Err(place(Diag::new(SqlState::INVALID_PARAMETER, "ESCAPE takes one character"))),
    }
}

fn operator(op: &BinaryOperator) -> Option<BinaryOp> {
    Some(match op {
        BinaryOperator::Plus => BinaryOp::Add,
        BinaryOperator::Minus => BinaryOp::Subtract,
        BinaryOperator::Multiply => BinaryOp::Multiply,
        BinaryOperator::Divide => BinaryOp::Divide,
        BinaryOperator::Modulo => BinaryOp::Modulo,
        BinaryOperator::Eq => BinaryOp::Equal,
        BinaryOperator::NotEq => BinaryOp::NotEqual,
        BinaryOperator::Lt => BinaryOp::Less,
        BinaryOperator::LtEq => BinaryOp::LessOrEqual,
        BinaryOperator::Gt => BinaryOp::Greater,
        BinaryOperator::GtEq => BinaryOp::GreaterOrEqual,
        BinaryOperator::And => BinaryOp::And,
        BinaryOperator::Or => BinaryOp::Or,
        BinaryOperator::StringConcat => BinaryOp::Concat,
        BinaryOperator::Arrow => BinaryOp::JsonGet,
        BinaryOperator::LongArrow => BinaryOp::JsonGetText,
        _ => return None,
    })
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

/// How an error calls an expression that does not exist here.
fn construct(expr: &ast::Expr) -> &'static str {
    match expr {
        ast::Expr::Subquery(_) | ast::Expr::InSubquery { .. } | ast::Expr::Exists { .. } => "a subquery",
        ast::Expr::Interval(_) => "INTERVAL",
        ast::Expr::Array(_) => "ARRAY",
        ast::Expr::AnyOp { .. } | ast::Expr::AllOp { .. } => "ANY or ALL",
        ast::Expr::SimilarTo { .. } => "SIMILAR TO",
        ast::Expr::AtTimeZone { .. } => "AT TIME ZONE",
        ast::Expr::Collate { .. } => "COLLATE",
        ast::Expr::Tuple(_) => "a row of values as an expression",
        ast::Expr::CompoundFieldAccess { .. } | ast::Expr::JsonAccess { .. } => "a subscript or member access",
        ast::Expr::Like { .. } | ast::Expr::ILike { .. } => "LIKE ANY",
        ast::Expr::Overlay { .. } => "OVERLAY",
        ast::Expr::GroupingSets(_) => "GROUPING SETS",
        ast::Expr::Cube(_) => "CUBE",
        ast::Expr::Rollup(_) => "ROLLUP",
        ast::Expr::InUnnest { .. } => "UNNEST",
        ast::Expr::IsJson { .. } => "IS JSON",
        ast::Expr::IsNormalized { .. } => "IS NORMALIZED",
        ast::Expr::Wildcard(_) | ast::Expr::QualifiedWildcard(..) => "\"*\" inside an expression",
        _ => "this expression",
    }
}
