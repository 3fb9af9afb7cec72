//! Functions in FROM: generate_series, row by row as it is read, and unnest.

use super::{Executor, Params, Rows, Source};
use crate::diag::{Diag, SqlState};
use crate::eval::{self, EvalContext};
use crate::expr::{BinaryOp, Expr};
use crate::plan::{FunctionCall, TableFunction};
use crate::value::{DataType, Row, Value, compare};

/// A series that is not at its end.
pub(super) struct SeriesRows {
    /// The next value; `None` behind the last.
    next: Option<Value>,
    last: Value,
    step: Value,
    /// The values rise.
    rises: bool,
    data_type: DataType,
    /// With ORDINALITY: the number of the next row.
    number: Option<i64>,
}

impl SeriesRows {
    /// The next rows, at most so many; `None` behind the last.
    pub(super) fn next(&mut self, most: usize, context: &EvalContext<'_>) -> Result<Option<Vec<Row>>, Diag> {
        let mut rows = Vec::new();
        while rows.len() < most {
            let Some(value) = self.next.take() else { break };
            let is_past = match compare(&value, &self.last) {
                Some(ordering) if self.rises => ordering.is_gt(),
                Some(ordering) => ordering.is_lt(),
                None => true,
            };
            if is_past {
                break;
            }
            // A series may end where its type does.
            self.next = sum(&value, &self.step, self.data_type, context).ok();
            let mut row = vec![value];
            if let Some(number) = &mut self.number {
                row.push(Value::BigInt(*number));
                *number += 1;
            }
            rows.push(row);
        }
        Ok((!rows.is_empty()).then_some(rows))
    }
}

fn sum(value: &Value, step: &Value, data_type: DataType, context: &EvalContext<'_>) -> Result<Value, Diag> {
    let of_step = step.data_type().unwrap_or(data_type);
    let literal = |value: &Value, data_type| Box::new(Expr::Literal(value.clone(), data_type));
    let (left, right) = (literal(value, data_type), literal(step, of_step));
    eval::evaluate(&Expr::Binary { op: BinaryOp::Add, left, right, data_type }, &[], context)
}

impl<S: Source> Executor<'_, S> {
    pub(super) fn open_function<'p>(&self, call: &FunctionCall, params: &Params) -> Result<Rows<'p>, Diag> {
        let args = call.args.iter().map(|arg| self.evaluate(arg, &[], params)).collect::<Result<Vec<Value>, Diag>>()?;
        let number = call.ordinality.then_some(1);
        let nothing = || Rows::Here(Vec::new().into_iter());
        match call.function {
            TableFunction::Unnest => {
                let Some(Value::Array(array)) = args.into_iter().next() else { return Ok(nothing()) };
                let rows = array.into_items().into_iter().zip(1_i64..).map(move |(value, at)| {
                    if number.is_some() { vec![value, Value::BigInt(at)] } else { vec![value] }
                });
                Ok(Rows::Items(Box::new(rows)))
            }
            TableFunction::Series => {
                let [first, last, step] = args.as_slice() else { return Ok(nothing()) };
                if args.iter().any(Value::is_null) {
                    return Ok(nothing());
                }
                let data_type = call.args.first().map_or(DataType::BigInt, eval::data_type);
                let rises =
                    match first.data_type().and_then(|_| direction(first, step, data_type, &self.context(params))) {
                        Some(std::cmp::Ordering::Greater) => true,
                        Some(std::cmp::Ordering::Less) => false,
                        Some(std::cmp::Ordering::Equal) | None => {
                            return Err(Diag::new(SqlState::INVALID_PARAMETER, "the step of generate_series is zero"));
                        }
                    };
                let (next, last, step) = (Some(first.clone()), last.clone(), step.clone());
                Ok(Rows::Series(Box::new(SeriesRows { next, last, step, rises, data_type, number })))
            }
        }
    }
}

/// Where a step leads from a value; from the end of a type it counts by its sign.
fn direction(
    first: &Value,
    step: &Value,
    data_type: DataType,
    context: &EvalContext<'_>,
) -> Option<std::cmp::Ordering> {
    if let Some(number) = step.as_i64() {
        return Some(number.cmp(&0));
    }
    sum(first, step, data_type, context).ok().and_then(|next| compare(&next, first))
}
