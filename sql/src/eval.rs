//! Evaluation of bound expressions: a function of the row, the parameters and the context, equal on every replica.
//!
//! Three-valued logic throughout; a value out of range, a division by zero or a bad conversion is an error, never a wrong
//! value. No clock, no randomness, no locale, no platform mathematics: time and seed come in with [`EvalContext`].

mod context;
mod fold;
mod functions;
mod like;
mod operators;
mod regex;
mod signature;

use std::borrow::Cow;

pub use self::context::EvalContext;
pub use self::fold::{data_type, fold, is_constant, is_immutable, is_volatile, map_columns, uses_column};
pub use self::functions::array::unnest;
pub use self::regex::Patterns;
pub(crate) use self::signature::name_of;
#[cfg(test)]
pub(crate) use self::signature::sample_arguments;
pub use self::signature::{
    FunctionError, aggregate_names, function_names, implied_argument, named_arguments, resolve_aggregate,
    resolve_function, resolve_operator, symbol,
};

use crate::cast;
use crate::diag::{Diag, SqlState};
use crate::expr::{Expr, UnaryOp};
use crate::value::{DataType, Value, sort_compare};

/// The expression's value over this row.
///
/// # Errors
/// Whatever the expression does that has no value: 22003, 22012, 22P02 and their kin; 42P02 for a parameter that was not
/// given.
pub fn evaluate(expr: &Expr, row: &[Value], context: &EvalContext<'_>) -> Result<Value, Diag> {
    value(expr, row, context).map(Cow::into_owned)
}

/// Whether a condition holds: true only for TRUE, neither for FALSE nor for NULL.
///
/// # Errors
/// As [`evaluate`].
pub fn is_true(expr: &Expr, row: &[Value], context: &EvalContext<'_>) -> Result<bool, Diag> {
    Ok(truth(value(expr, row, context)?.as_ref())? == Some(true))
}

/// The value, borrowed where it exists already.
fn value<'v>(expr: &'v Expr, row: &'v [Value], context: &'v EvalContext<'_>) -> Result<Cow<'v, Value>, Diag> {
    let made = match expr {
        Expr::Literal(literal, _) => return Ok(Cow::Borrowed(literal)),
        Expr::Column(at, _) => return column(*at, row).map(Cow::Borrowed),
        Expr::Param(at, data_type) => return parameter(*at, *data_type, context),
        Expr::Unary { op, expr } => unary(*op, value(expr, row, context)?.as_ref())?,
        Expr::Binary { op, left, right, .. } => operators::binary(*op, left, right, row, context)?,
        Expr::IsNull { expr, negated } => Value::Boolean(value(expr, row, context)?.is_null() != *negated),
        Expr::InList { expr, list, negated } => in_list(expr, list, *negated, row, context)?,
        Expr::Like { expr, pattern, escape, case_insensitive, negated } => {
            let text = value(expr, row, context)?;
            let pattern = value(pattern, row, context)?;
            like::like(text.as_ref(), pattern.as_ref(), escape.unwrap_or('\\'), *case_insensitive, *negated)?
        }
        Expr::Case { branches, otherwise, .. } => return case(branches, otherwise.as_deref(), row, context),
        Expr::Cast { expr, to, assignment } => {
            let operand = value(expr, row, context)?;
            if !matches!(to, DataType::Decimal { .. } | DataType::Array(_))
                && operand.data_type().is_none_or(|from| from == *to)
            {
                return Ok(operand);
            }
            cast::cast(operand.into_owned(), *to, *assignment)?
        }
        Expr::Function { function, args, data_type } => functions::call(*function, args, *data_type, row, context)?,
        Expr::IsDistinct { left, right, negated } => {
            let (left, right) = (value(left, row, context)?, value(right, row, context)?);
            Value::Boolean(sort_compare(left.as_ref(), right.as_ref()).is_ne() != *negated)
        }
        Expr::IsBool { expr, value: wanted, negated } => {
            Value::Boolean((truth(value(expr, row, context)?.as_ref())? == *wanted) != *negated)
        }
    };
    Ok(Cow::Owned(made))
}

/// Any number as DOUBLE.
///
/// # Errors
/// 42804 for what is no number.
pub fn number_as_double(value: &Value) -> Result<f64, Diag> {
    operators::as_double(value)
}

fn column(at: u32, row: &[Value]) -> Result<&Value, Diag> {
    usize::try_from(at)
        .ok()
        .and_then(|at| row.get(at))
        .ok_or_else(|| Diag::new(SqlState::INTERNAL, format!("column {at} is beyond the row's {} values", row.len())))
}

/// A parameter, as the type that the binder gave it.
fn parameter<'v>(at: u16, wanted: DataType, context: &'v EvalContext<'_>) -> Result<Cow<'v, Value>, Diag> {
    let given = context.params.get(usize::from(at)).ok_or_else(|| {
        Diag::new(SqlState::UNDEFINED_PARAMETER, format!("there is no value for parameter ${}", u32::from(at) + 1))
            .hint(format!("{} values were given", context.params.len()))
    })?;
    if given.data_type().is_none_or(|from| from.same_kind(&wanted)) {
        return Ok(Cow::Borrowed(given));
    }
    let converted = whole_enough(given, wanted).and_then(|()| cast::cast(given.clone(), wanted, true));
    converted.map(Cow::Owned).map_err(|diag| diag.detail(format!("in the value of parameter ${}", u32::from(at) + 1)))
}

/// A number with a fraction is no value of an integer parameter: rounding it would compare with another number.
fn whole_enough(given: &Value, wanted: DataType) -> Result<(), Diag> {
    let fraction = match given {
        Value::Decimal(number) => !number.fract().is_zero(),
        Value::Float(number) => number.is_finite() && libm::truncf(*number) != *number,
        Value::Double(number) => number.is_finite() && libm::trunc(*number) != *number,
        _ => false,
    };
    if fraction && wanted.is_integer() {
        return Err(Diag::new(SqlState::INVALID_TEXT, format!("invalid input syntax for type {wanted}: \"{given}\"")));
    }
    Ok(())
}

/// A condition's truth value; `None` is UNKNOWN.
fn truth(value: &Value) -> Result<Option<bool>, Diag> {
    match value {
        Value::Null => Ok(None),
        Value::Boolean(truth) => Ok(Some(*truth)),
        other => Err(wrong_type("a condition", other)),
    }
}

/// The refusal of an operand that the binder should not have let through.
fn wrong_type(place: &str, value: &Value) -> Diag {
    let name = value.data_type().map_or_else(|| "NULL".to_owned(), |data_type| data_type.to_string());
    Diag::new(SqlState::DATATYPE_MISMATCH, format!("a value of type {name} does not fit {place}"))
}

fn unary(op: UnaryOp, operand: &Value) -> Result<Value, Diag> {
    match op {
        UnaryOp::Not => Ok(truth(operand)?.map_or(Value::Null, |truth| Value::Boolean(!truth))),
        UnaryOp::Minus => operators::negate(operand),
        UnaryOp::BitNot => operators::bit_not(operand),
    }
}

fn in_list(expr: &Expr, list: &[Expr], negated: bool, row: &[Value], context: &EvalContext<'_>) -> Result<Value, Diag> {
    let operand = value(expr, row, context)?;
    let mut unknown = operand.is_null() && !list.is_empty();
    for candidate in list {
        if operand.is_null() {
            break;
        }
        match operators::ordering(operand.as_ref(), value(candidate, row, context)?.as_ref())? {
            Some(ordering) if ordering.is_eq() => return Ok(Value::Boolean(!negated)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::Boolean(negated) })
}

fn case<'v>(
    branches: &'v [(Expr, Expr)],
    otherwise: Option<&'v Expr>,
    row: &'v [Value],
    context: &'v EvalContext<'_>,
) -> Result<Cow<'v, Value>, Diag> {
    for (condition, result) in branches {
        if is_true(condition, row, context)? {
            return value(result, row, context);
        }
    }
    otherwise.map_or(Ok(Cow::Owned(Value::Null)), |expr| value(expr, row, context))
}

#[cfg(test)]
mod tests;
