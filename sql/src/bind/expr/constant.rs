//! Constants that have no value: what would fail for every row fails here, where its place is known.
//!
//! As in PostgreSQL, whose planner computes constants, but not inside of CASE and COALESCE, nor beside AND and OR: there it
//! may never be asked for.

use super::{Binder, Typed};
use crate::catalog::Role;
use crate::diag::{Diag, Span, SqlState};
use crate::eval::{self, EvalContext};
use crate::expr::{BinaryOp, Expr, Function, UnaryOp};
use crate::value::{DataType, Value};

/// Whether it is a literal, perhaps with a sign or a cast.
fn is_simple(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(..) => true,
        Expr::Cast { expr, .. } | Expr::Unary { op: UnaryOp::Minus, expr } => matches!(**expr, Expr::Literal(..)),
        _ => false,
    }
}

/// The word or pattern that an operation reads: one that is wrong is so for every other operand.
fn word_of(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Function { function: Function::DateTrunc | Function::DatePart | Function::AtTimeZone, args, .. } => {
            args.first()
        }
        Expr::Function {
            function:
                Function::Encode
                | Function::Decode
                | Function::RegexpReplace
                | Function::RegexpMatch
                | Function::RegexpLike
                | Function::RegexpCount
                | Function::RegexpSubstr
                | Function::RegexpSplitToArray,
            args,
            ..
        } => args.get(1),
        Expr::Binary {
            op:
                BinaryOp::Matches | BinaryOp::MatchesInsensitive | BinaryOp::MatchesNot | BinaryOp::MatchesNotInsensitive,
            right,
            ..
        } => Some(right),
        _ => None,
    }
}

/// Some value of the type, in place of one that a row has.
fn sample(data_type: DataType) -> Option<Value> {
    Some(match data_type {
        DataType::Text => Value::Text(String::new()),
        DataType::Bytes => Value::Bytes(Vec::new()),
        DataType::Timestamp => Value::Timestamp(0),
        DataType::DateTime => Value::DateTime(0),
        DataType::Date => Value::Date(0),
        DataType::Time => Value::Time(0),
        DataType::Interval => Value::Interval(crate::interval::Interval { months: 0, days: 0, micros: 0 }),
        _ => return None,
    })
}

/// The operands, those that are no literals as samples.
fn sampled(operand: &Expr) -> Option<Expr> {
    if is_simple(operand) {
        return Some(operand.clone());
    }
    let data_type = eval::data_type(operand);
    sample(data_type).map(|value| Expr::Literal(value, data_type))
}

/// The same operation over samples of what it is not told.
fn with_samples(expr: &Expr) -> Option<Expr> {
    Some(match expr {
        Expr::Function { function, args, data_type } => Expr::Function {
            function: *function,
            args: args.iter().map(sampled).collect::<Option<Vec<Expr>>>()?,
            data_type: *data_type,
        },
        Expr::Binary { op, left, right, data_type } => Expr::Binary {
            op: *op,
            left: Box::new(sampled(left)?),
            right: Box::new(sampled(right)?),
            data_type: *data_type,
        },
        _ => return None,
    })
}

impl Binder<'_, '_> {
    /// The operation, unless it is one of constants that has no value; `word` is the place of a word that it reads.
    #[inline(never)]
    pub(in crate::bind) fn valued(&self, typed: Typed, word: Option<Span>) -> Result<Typed, Diag> {
        if self.guarded > 0 {
            return Ok(typed);
        }
        let simple = match &typed.expr {
            Expr::Cast { expr, .. } => is_simple(expr),
            Expr::Binary { left, right, .. } => is_simple(left) && is_simple(right),
            Expr::Function { args, .. } => !args.is_empty() && args.iter().all(is_simple),
            _ => false,
        };
        let reads_a_word = word_of(&typed.expr).is_some_and(is_simple);
        let nobody = EvalContext::new(0, "", Role::User, &[], 0);
        let failed = if simple && eval::is_immutable(&typed.expr) {
            eval::evaluate(&typed.expr, &[], &nobody).err()
        } else if reads_a_word {
            let of_word = |diag: &Diag| {
                matches!(diag.sqlstate, SqlState::INVALID_PARAMETER | SqlState::INVALID_REGULAR_EXPRESSION)
            };
            let tried = with_samples(&typed.expr).map(|expr| eval::evaluate(&expr, &[], &nobody));
            tried.and_then(Result::err).filter(of_word)
        } else {
            None
        };
        let Some(diag) = failed else { return Ok(typed) };
        let reads = matches!(diag.sqlstate, SqlState::INVALID_PARAMETER | SqlState::INVALID_REGULAR_EXPRESSION);
        Err(match word.filter(|_| reads && reads_a_word) {
            Some(span) => diag.at(span),
            None => typed.place(diag),
        })
    }
}
