//! Operators: `left op right`, a sign or NOT before one operand.

use std::collections::VecDeque;

use sqlparser::ast::{self, BinaryOperator, Spanned};

use super::super::literal;
use super::{Binder, Typed, join, made, refused, rows, too_deep};
use crate::cast::Coercion;
use crate::diag::{Diag, SqlState};
use crate::eval;
use crate::expr::{BinaryOp, Expr, Function, UnaryOp};
use crate::lexer::char_span;
use crate::value::DataType;

/// Whether it is one of the comparisons, which do not associate.
fn compares(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

impl Binder<'_, '_> {
    /// `left op right`, where `left` may be a long chain: it is walked, not recursed into.
    #[inline(never)]
    pub(super) fn binary(&mut self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Result<Typed, Diag> {
        if matches!(op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat) {
            return self.chain(left, op, right);
        }
        if matches!(op, BinaryOperator::Overlaps) {
            return self.overlaps(left, right);
        }
        if rows::are_rows(left, right) {
            let op = operator(op).ok_or_else(|| refused(&format!("operator {op} of rows"), left))?;
            return self.rows(left, op, right);
        }
        let mut steps = vec![(op, right)];
        let mut first = left;
        let mut above = op;
        while let ast::Expr::BinaryOp { left, op, right } = first {
            if matches!(op, BinaryOperator::And | BinaryOperator::Or | BinaryOperator::StringConcat) {
                break;
            }
            if compares(above) && compares(op) {
                let diag = format!("syntax error: {op} and {above} cannot follow each other without parentheses");
                let diag = Diag::new(SqlState::SYNTAX_ERROR, diag).hint("Join two comparisons with AND.");
                return Err(match char_span(right.span()) {
                    Some(span) => diag.at(span),
                    None => diag,
                });
            }
            steps.push((op, right));
            (first, above) = (left, op);
        }
        let value = self.open(first)?;
        self.applied_to(value, steps)
    }

    /// Operators and their right sides, the last one first, applied to what stands before them.
    fn applied_to(&mut self, mut value: Typed, mut steps: Vec<(&BinaryOperator, &ast::Expr)>) -> Result<Typed, Diag> {
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

    /// `(start, end) OVERLAPS (start, length)`
    #[inline(never)]
    fn overlaps(&mut self, left: &ast::Expr, right: &ast::Expr) -> Result<Typed, Diag> {
        let mut ends = Vec::with_capacity(4);
        for side in [left, right] {
            let ast::Expr::Tuple(pair) = side else { return Err(refused("OVERLAPS without two pairs", side)) };
            let [start, end] = pair.as_slice() else { return Err(refused("OVERLAPS without two pairs", side)) };
            let start = self.open(start)?;
            let end = self.open(end)?;
            let end = match end.data_type {
                Some(DataType::Interval) => self.operation(BinaryOp::Add, start.clone(), end)?,
                _ => end,
            };
            ends.push(start);
            ends.push(end);
        }
        let span = ends.iter().fold(None, |span, end| join(span, end.span));
        let (ends, common) = self.in_common(ends, "OVERLAPS")?;
        if !common.is_point_in_time() && common != DataType::Time {
            let diag = Diag::new(SqlState::DATATYPE_MISMATCH, format!("OVERLAPS takes dates and times, not {common}"));
            return Err(match span {
                Some(span) => diag.at(span),
                None => diag,
            });
        }
        let depth = ends.iter().map(|end| end.depth).max().unwrap_or(0);
        let args = ends.into_iter().map(|end| end.expr).collect();
        let data_type = DataType::Boolean;
        made(Expr::Function { function: Function::Overlaps, args, data_type }, Some(data_type), depth, span)
    }

    /// A chain of AND, OR or `||`, balanced.
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
        let guards = usize::from(op != BinaryOp::Concat);
        self.guarded += guards;
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
        self.guarded -= guards;
        if op == BinaryOp::Concat {
            return self.concatenated(bound);
        }
        self.joined(op, bound)
    }

    /// `a || b || c`, from the left: what an operator means depends on what came before it, and documents are not put together in any order.
    /// What is text, or bytes, to the end may be, and so a long chain of it is balanced.
    fn concatenated(&mut self, operands: Vec<Typed>) -> Result<Typed, Diag> {
        let mut rest = VecDeque::from(operands);
        let mut value = rest.pop_front().ok_or_else(too_deep)?;
        while let Some(next) = rest.pop_front() {
            value = self.operation(BinaryOp::Concat, value, next)?;
            let Some(same @ (DataType::Text | DataType::Bytes)) = value.data_type else { continue };
            let stays = |one: &Typed| {
                let types = eval::resolve_operator(BinaryOp::Concat, Some(same), one.data_type);
                types.is_ok_and(|types| types == (same, same, same))
            };
            if rest.iter().all(stays) {
                break;
            }
        }
        let Some(same) = value.data_type.filter(|_| !rest.is_empty()) else { return Ok(value) };
        let mut parts = vec![value];
        for one in rest {
            parts.push(self.coerced(one, same, Coercion::Assignment, |from| {
                format!("a value of type {from} does not fit this operator")
            })?);
        }
        self.joined(BinaryOp::Concat, parts)
    }

    /// The operands of one associative operator as a balanced tree.
    pub(super) fn joined(&mut self, op: BinaryOp, mut operands: Vec<Typed>) -> Result<Typed, Diag> {
        while operands.len() > 1 {
            let mut joined = Vec::with_capacity(operands.len().div_ceil(2));
            let mut rest = operands.into_iter();
            while let Some(left) = rest.next() {
                joined.push(match rest.next() {
                    Some(right) => self.operation(op, left, right)?,
                    None => left,
                });
            }
            operands = joined;
        }
        operands.pop().ok_or_else(too_deep)
    }

    /// `left op right` with the casts that the operator needs.
    pub(in crate::bind) fn operation(&mut self, op: BinaryOp, left: Typed, right: Typed) -> Result<Typed, Diag> {
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
        let pattern = right.span;
        let expr = Expr::Binary { op, left: Box::new(left.expr), right: Box::new(right.expr), data_type };
        let made = made(unassigned(expr), Some(data_type), depth, span)?;
        self.valued(made, pattern)
    }

    #[inline(never)]
    pub(super) fn unary(&mut self, op: ast::UnaryOperator, operand: &ast::Expr) -> Result<Typed, Diag> {
        match op {
            // sqlparser reads -2 ^ 2 as -(2 ^ 2); in PostgreSQL the sign binds tighter.
            ast::UnaryOperator::Minus if matches!(operand, ast::Expr::BinaryOp { op: BinaryOperator::PGExp, .. }) => {
                let mut steps = Vec::new();
                let mut first = operand;
                while let ast::Expr::BinaryOp { left, op: op @ BinaryOperator::PGExp, right } = first {
                    steps.push((op, right.as_ref()));
                    first = left;
                }
                let value = self.unary(ast::UnaryOperator::Minus, first)?;
                self.applied_to(value, steps)
            }
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
            ast::UnaryOperator::BitwiseNot => {
                let open = self.open(operand)?;
                match open.data_type {
                    Some(data_type) if data_type.is_integer() => {}
                    Some(data_type) => {
                        let message = format!("operator does not exist: ~ {data_type}");
                        return Err(open.place(Diag::new(SqlState::UNDEFINED_FUNCTION, message)));
                    }
                    None => return Err(refused("~ of a value of unknown type", operand)),
                }
                let (data_type, depth, span) = (open.data_type, open.depth, open.span);
                made(Expr::Unary { op: UnaryOp::BitNot, expr: Box::new(open.expr) }, data_type, depth, span)
            }
            ast::UnaryOperator::PGAbs | ast::UnaryOperator::PGSquareRoot | ast::UnaryOperator::PGCubeRoot => {
                let name = match op {
                    ast::UnaryOperator::PGAbs => "abs",
                    ast::UnaryOperator::PGSquareRoot => "sqrt",
                    _ => "cbrt",
                };
                let open = self.open(operand)?;
                let span = open.span;
                super::super::function::resolved(self, name, vec![open], span)
            }
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
            Some(data_type) if data_type.is_numeric() || data_type == DataType::Interval => Ok(open),
            Some(data_type) => {
                let diag =
                    Diag::new(SqlState::UNDEFINED_FUNCTION, format!("operator does not exist: {sign} {data_type}"));
                Err(open.place(diag))
            }
            None => self.given(open, DataType::Double),
        }
    }
}

pub(super) fn operator(op: &BinaryOperator) -> Option<BinaryOp> {
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
        BinaryOperator::HashArrow => BinaryOp::JsonGetPath,
        BinaryOperator::HashLongArrow => BinaryOp::JsonGetPathText,
        BinaryOperator::HashMinus => BinaryOp::JsonDeletePath,
        BinaryOperator::AtArrow => BinaryOp::Contains,
        BinaryOperator::ArrowAt => BinaryOp::ContainedBy,
        BinaryOperator::Question => BinaryOp::JsonHasKey,
        BinaryOperator::QuestionPipe => BinaryOp::JsonHasAnyKey,
        BinaryOperator::QuestionAnd => BinaryOp::JsonHasAllKeys,
        BinaryOperator::PGOverlap => BinaryOp::Overlaps,
        BinaryOperator::PGRegexMatch => BinaryOp::Matches,
        BinaryOperator::PGRegexIMatch => BinaryOp::MatchesInsensitive,
        BinaryOperator::PGRegexNotMatch => BinaryOp::MatchesNot,
        BinaryOperator::PGRegexNotIMatch => BinaryOp::MatchesNotInsensitive,
        BinaryOperator::PGExp => BinaryOp::Power,
        BinaryOperator::BitwiseAnd => BinaryOp::BitAnd,
        BinaryOperator::BitwiseOr => BinaryOp::BitOr,
        BinaryOperator::PGBitwiseXor => BinaryOp::BitXor,
        BinaryOperator::PGBitwiseShiftLeft => BinaryOp::ShiftLeft,
        BinaryOperator::PGBitwiseShiftRight => BinaryOp::ShiftRight,
        _ => return None,
    })
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
