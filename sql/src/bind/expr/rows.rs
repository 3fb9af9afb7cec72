//! Rows of values, compared: `(a, b) = (1, 2)`, `(a, b) IN ((1, 2), (3, 4))`, `(a, b) > ($1, $2)`.
//!
//! A comparison of rows is bound to comparisons of their values, so that keys and indexes see them: equality to AND, an order to
//! "the first is beyond, or equal and the rest is".

use sqlparser::ast;

use super::{Binder, Typed, join, refused, too_deep};
use crate::diag::{Diag, SqlState};
use crate::eval;
use crate::expr::BinaryOp;

/// The values of a row that is written as one.
fn values(expr: &ast::Expr) -> Option<&[ast::Expr]> {
    match expr {
        ast::Expr::Tuple(values) => Some(values),
        _ => None,
    }
}

/// Whether both sides are rows.
pub(super) fn are_rows(left: &ast::Expr, right: &ast::Expr) -> bool {
    values(left).is_some() && values(right).is_some()
}

/// Whether a row is looked for in a list of rows.
pub(super) fn in_rows(operand: &ast::Expr, list: &[ast::Expr]) -> bool {
    values(operand).is_some() && list.iter().all(|item| values(item).is_some())
}

impl Binder<'_, '_> {
    /// `(a, b) op (c, d)`
    #[inline(never)]
    pub(super) fn rows(&mut self, left: &ast::Expr, op: BinaryOp, right: &ast::Expr) -> Result<Typed, Diag> {
        let row = self.row(left)?;
        self.row_compared(left, &row, op, right)
    }

    /// `(a, b) [NOT] IN ((c, d), ...)`
    #[inline(never)]
    pub(super) fn row_in(&mut self, row: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Typed, Diag> {
        let values = self.row(row)?;
        if list.len() > 1 && values.iter().any(|value| eval::is_volatile(&value.expr)) {
            return Err(refused("a row with a value that changes from call to call, in a list", row));
        }
        let (op, both) = if negated { (BinaryOp::NotEqual, BinaryOp::And) } else { (BinaryOp::Equal, BinaryOp::Or) };
        let found =
            list.iter().map(|item| self.row_compared(row, &values, op, item)).collect::<Result<Vec<_>, Diag>>()?;
        self.joined(both, found)
    }

    fn row(&mut self, row: &ast::Expr) -> Result<Vec<Typed>, Diag> {
        values(row).unwrap_or_default().iter().map(|value| self.open(value)).collect()
    }

    fn row_compared(
        &mut self,
        row: &ast::Expr,
        left: &[Typed],
        op: BinaryOp,
        right: &ast::Expr,
    ) -> Result<Typed, Diag> {
        let right_values = self.row(right)?;
        if left.len() != right_values.len() {
            let span = left.iter().chain(&right_values).fold(None, |span, value| join(span, value.span));
            let diag = Diag::new(
                SqlState::SYNTAX_ERROR,
                format!("rows of {} and of {} values cannot be compared", left.len(), right_values.len()),
            );
            return Err(match span {
                Some(span) => diag.at(span),
                None => diag,
            });
        }
        let mut pairs: Vec<(Typed, Typed)> = left.iter().cloned().zip(right_values).collect();
        let each = |binder: &mut Self, op: BinaryOp, pairs: Vec<(Typed, Typed)>| {
            pairs.into_iter().map(|(left, right)| binder.operation(op, left, right)).collect::<Result<Vec<_>, Diag>>()
        };
        let (strict, wide) = match op {
            BinaryOp::Equal => {
                let equal = each(self, op, pairs)?;
                return self.joined(BinaryOp::And, equal);
            }
            BinaryOp::NotEqual => {
                let unequal = each(self, op, pairs)?;
                return self.joined(BinaryOp::Or, unequal);
            }
            BinaryOp::Less | BinaryOp::LessOrEqual => (BinaryOp::Less, BinaryOp::LessOrEqual),
            BinaryOp::Greater | BinaryOp::GreaterOrEqual => (BinaryOp::Greater, BinaryOp::GreaterOrEqual),
            other => return Err(refused(&format!("{} of rows", eval::symbol(other)), row)),
        };
        // Each value stands in up to three comparisons.
        if pairs.iter().any(|(left, right)| eval::is_volatile(&left.expr) || eval::is_volatile(&right.expr)) {
            return Err(refused("an order of rows with a value that changes from call to call", row));
        }
        let (last_left, last_right) = pairs.pop().ok_or_else(too_deep)?;
        let mut beyond = self.operation(op, last_left, last_right)?;
        while let Some((left, right)) = pairs.pop() {
            let first = self.operation(strict, left.clone(), right.clone())?;
            let equal = self.operation(BinaryOp::Equal, left.clone(), right.clone())?;
            let rest = self.operation(BinaryOp::And, equal, beyond)?;
            beyond = self.operation(BinaryOp::Or, first, rest)?;
            if pairs.is_empty() {
                // Implied by the rest, and what a range of keys is made of.
                let bound = self.operation(wide, left, right)?;
                beyond = self.operation(BinaryOp::And, bound, beyond)?;
            }
        }
        Ok(beyond)
    }
}
