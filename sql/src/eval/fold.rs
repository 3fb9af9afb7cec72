//! What can be known of an expression without a row: its type, whether it changes, its value when it is constant.

use super::{EvalContext, evaluate};
use crate::catalog::Role;
use crate::expr::{BinaryOp, Expr, Function, UnaryOp};
use crate::value::{DataType, Value};

/// A longer constant stays an expression, so that plans and commands stay small.
const MAX_FOLDED_BYTES: usize = 64 << 10;

/// The type of the expression's values.
#[must_use]
pub fn data_type(expr: &Expr) -> DataType {
    match expr {
        Expr::Literal(_, data_type) | Expr::Column(_, data_type) | Expr::Param(_, data_type) => *data_type,
        Expr::Unary { op: UnaryOp::Not, .. } => DataType::Boolean,
        Expr::Unary { op: UnaryOp::Minus | UnaryOp::BitNot, expr } => self::data_type(expr),
        Expr::Binary { data_type, .. } | Expr::Case { data_type, .. } | Expr::Function { data_type, .. } => *data_type,
        Expr::Cast { to, .. } => *to,
        Expr::IsNull { .. }
        | Expr::InList { .. }
        | Expr::Like { .. }
        | Expr::IsDistinct { .. }
        | Expr::IsBool { .. } => DataType::Boolean,
    }
}

/// Whether this holds for the expression or anything in it.
fn any(expr: &Expr, test: &dyn Fn(&Expr) -> bool) -> bool {
    if test(expr) {
        return true;
    }
    match expr {
        Expr::Literal(..) | Expr::Column(..) | Expr::Param(..) => false,
        Expr::Unary { expr, .. } | Expr::IsNull { expr, .. } | Expr::Cast { expr, .. } | Expr::IsBool { expr, .. } => {
            any(expr, test)
        }
        Expr::Binary { left, right, .. } | Expr::IsDistinct { left, right, .. } => any(left, test) || any(right, test),
        Expr::InList { expr, list, .. } => any(expr, test) || list.iter().any(|item| any(item, test)),
        Expr::Like { expr, pattern, .. } => any(expr, test) || any(pattern, test),
        Expr::Case { branches, otherwise, .. } => {
            branches.iter().any(|(condition, result)| any(condition, test) || any(result, test))
                || otherwise.as_ref().is_some_and(|expr| any(expr, test))
        }
        Expr::Function { args, .. } => args.iter().any(|arg| any(arg, test)),
    }
}

/// Whether it gives another value each time it is evaluated.
#[must_use]
pub fn is_volatile(expr: &Expr) -> bool {
    any(expr, &|part| {
        matches!(
            part,
            Expr::Function {
                function: Function::SnowflakeId
                    | Function::UuidV7
                    | Function::Ulid
                    | Function::Random
                    | Function::GenRandomUuid,
                ..
            }
        )
    })
}

/// Whether it looks at no column: one value per statement, unless it is volatile.
#[must_use]
pub fn is_constant(expr: &Expr) -> bool {
    !any(expr, &|part| matches!(part, Expr::Column(..)))
}

/// Whether it depends on its columns only: not on time, user, parameters or the seed.
#[must_use]
pub fn is_immutable(expr: &Expr) -> bool {
    !is_volatile(expr)
        && !any(expr, &|part| match part {
            Expr::Param(..) => true,
            Expr::Function {
                function:
                    Function::Now
                    | Function::LocalTimestamp
                    | Function::LocalTime
                    | Function::CurrentDate
                    | Function::CurrentUser
                    | Function::CurrentRole,
                ..
            } => true,
            // With one argument it counts from today.
            Expr::Function { function: Function::Age, args, .. } => args.len() == 1,
            _ => false,
        })
}

/// Whether it looks at the input row's value at this position.
#[must_use]
pub fn uses_column(expr: &Expr, position: u32) -> bool {
    any(expr, &|part| matches!(part, Expr::Column(at, _) if *at == position))
}

/// Gives every column of the input row another position.
pub fn map_columns(expr: &mut Expr, to: &dyn Fn(u32) -> u32) {
    match expr {
        Expr::Literal(..) | Expr::Param(..) => {}
        Expr::Column(at, _) => *at = to(*at),
        Expr::Unary { expr, .. } | Expr::IsNull { expr, .. } | Expr::Cast { expr, .. } | Expr::IsBool { expr, .. } => {
            map_columns(expr, to);
        }
        Expr::Binary { left, right, .. } | Expr::IsDistinct { left, right, .. } => {
            map_columns(left, to);
            map_columns(right, to);
        }
        Expr::InList { expr, list, .. } => {
            map_columns(expr, to);
            list.iter_mut().for_each(|item| map_columns(item, to));
        }
        Expr::Like { expr, pattern, .. } => {
            map_columns(expr, to);
            map_columns(pattern, to);
        }
        Expr::Case { branches, otherwise, .. } => {
            for (condition, result) in branches {
                map_columns(condition, to);
                map_columns(result, to);
            }
            if let Some(otherwise) = otherwise {
                map_columns(otherwise, to);
            }
        }
        Expr::Function { args, .. } => args.iter_mut().for_each(|arg| map_columns(arg, to)),
    }
}

/// The same expression with its constant immutable parts replaced by their values. A part whose value is an error stays, so
/// that the error comes when (and if) it is evaluated.
#[must_use]
pub fn fold(expr: Expr) -> Expr {
    if matches!(expr, Expr::Literal(..) | Expr::Column(..) | Expr::Param(..)) {
        return expr;
    }
    if is_constant(&expr) && is_immutable(&expr) {
        let nobody = EvalContext::new(0, "", Role::User, &[], 0);
        if let Some(value) = evaluate(&expr, &[], &nobody).ok().filter(|value| value.size() <= MAX_FOLDED_BYTES) {
            let data_type = data_type(&expr);
            return Expr::Literal(value, data_type);
        }
    }
    let boxed = |expr: Box<Expr>| Box::new(fold(*expr));
    match expr {
        Expr::Literal(..) | Expr::Column(..) | Expr::Param(..) => expr,
        Expr::Unary { op, expr } => Expr::Unary { op, expr: boxed(expr) },
        Expr::Binary { op, left, right, data_type } => fold_logic(op, fold(*left), fold(*right), data_type),
        Expr::IsNull { expr, negated } => Expr::IsNull { expr: boxed(expr), negated },
        Expr::InList { expr, list, negated } => {
            Expr::InList { expr: boxed(expr), list: list.into_iter().map(fold).collect(), negated }
        }
        Expr::Like { expr, pattern, escape, case_insensitive, negated } => {
            Expr::Like { expr: boxed(expr), pattern: boxed(pattern), escape, case_insensitive, negated }
        }
        Expr::Case { branches, otherwise, data_type } => Expr::Case {
            branches: branches.into_iter().map(|(condition, result)| (fold(condition), fold(result))).collect(),
            otherwise: otherwise.map(boxed),
            data_type,
        },
        Expr::Cast { expr, to, assignment } => Expr::Cast { expr: boxed(expr), to, assignment },
        Expr::Function { function, args, data_type } => {
            Expr::Function { function, args: args.into_iter().map(fold).collect(), data_type }
        }
        Expr::IsDistinct { left, right, negated } => {
            Expr::IsDistinct { left: boxed(left), right: boxed(right), negated }
        }
        Expr::IsBool { expr, value, negated } => Expr::IsBool { expr: boxed(expr), value, negated },
    }
}

/// AND and OR with one known side are that side, or the other.
fn fold_logic(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    let decisive = match op {
        BinaryOp::And => false,
        BinaryOp::Or => true,
        _ => return Expr::Binary { op, left: Box::new(left), right: Box::new(right), data_type },
    };
    let known = |expr: &Expr| match expr {
        Expr::Literal(Value::Boolean(truth), _) => Some(*truth),
        _ => None,
    };
    match (known(&left), known(&right)) {
        (Some(truth), _) if truth == decisive => left,
        (_, Some(truth)) if truth == decisive => right,
        (Some(_), _) => right,
        (_, Some(_)) => left,
        (None, None) => Expr::Binary { op, left: Box::new(left), right: Box::new(right), data_type },
    }
}
