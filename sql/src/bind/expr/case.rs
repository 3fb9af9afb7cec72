//! CASE, with and without an operand.

use sqlparser::ast;

use super::{Binder, Typed, join, made};
use crate::cast::Coercion;
use crate::diag::Diag;
use crate::expr::{BinaryOp, Expr};
use crate::value::DataType;

impl Binder<'_, '_> {
    #[inline(never)]
    pub(super) fn case(
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
}
