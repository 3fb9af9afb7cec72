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
        // An error leaves the binder behind: only what is bound is counted down again.
        self.guarded += 1;
        let operand = operand.map(|operand| self.open(operand)).transpose()?;
        let mut opened = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for branch in conditions {
            opened.push(self.open(&branch.condition)?);
            results.push(self.open(&branch.result)?);
        }
        let (whens, depth) = self.whens(operand, opened)?;
        if let Some(otherwise) = otherwise {
            results.push(self.open(otherwise)?);
        }
        self.guarded -= 1;
        self.case_of(whens, results, depth)
    }

    /// What each WHEN asks, and the depth of the deepest. Out of line, as is what follows: the frame that nested CASEs repeat
    /// stays small.
    #[inline(never)]
    fn whens(&mut self, operand: Option<Typed>, opened: Vec<Typed>) -> Result<(Vec<Expr>, u32), Diag> {
        // An operand of open type takes that of the first alternative that has one.
        let operand = match operand {
            Some(open) if open.data_type.is_none() => {
                let wanted = opened.iter().find_map(|condition| condition.data_type).unwrap_or(DataType::Text);
                Some(self.given(open, wanted)?)
            }
            other => other,
        };
        let mut depth = 1;
        let mut whens = Vec::with_capacity(opened.len());
        for condition in opened {
            let condition = match &operand {
                Some(operand) => self.operation(BinaryOp::Equal, operand.clone(), condition)?,
                None => self.coerced(condition, DataType::Boolean, Coercion::Implicit, |from| {
                    format!("WHEN takes a BOOLEAN, not a value of type {from}")
                })?,
            };
            depth = depth.max(condition.depth);
            whens.push(condition.expr);
        }
        Ok((whens, depth))
    }

    #[inline(never)]
    fn case_of(&mut self, whens: Vec<Expr>, results: Vec<Typed>, mut depth: u32) -> Result<Typed, Diag> {
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
