//! Binary operators: arithmetic, comparison, logic, concatenation, and looking into JSON.

use std::cmp::Ordering;

use super::functions::{array, calendar, document};
use super::regex::{Flags, compile};
use super::{EvalContext, truth, value, wrong_type};
use crate::decimal;
use crate::diag::{Diag, SqlState};
use crate::expr::{BinaryOp, Expr};
use crate::json;
use crate::value::{MAX_VALUE_BYTES, Value, compare};

/// The operators of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

/// `left op right`. AND and OR look at the right side only when it matters; the others are NULL when a side is.
pub(super) fn binary(
    op: BinaryOp,
    left: &Expr,
    right: &Expr,
    row: &[Value],
    context: &EvalContext<'_>,
) -> Result<Value, Diag> {
    let left_expr = left;
    let left = value(left, row, context)?;
    if let BinaryOp::And | BinaryOp::Or = op {
        return logic(op == BinaryOp::Or, left.as_ref(), right, row, context);
    }
    let right_expr = right;
    let right = value(right, row, context)?;
    let (left, right) = (left.as_ref(), right.as_ref());
    if op == BinaryOp::Concat
        && let Some(joined) = array::concat((left, super::data_type(left_expr)), (right, super::data_type(right_expr)))
    {
        return joined;
    }
    if left.is_null() || right.is_null() {
        return Ok(Value::Null);
    }
    match op {
        BinaryOp::Subtract if matches!(left, Value::Json(_)) => document::delete(left, right),
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide
            if let Some(result) = calendar::arithmetic(op, left, right) =>
        {
            result
        }
        BinaryOp::Add => arithmetic(Arithmetic::Add, left, right),
        BinaryOp::Subtract => arithmetic(Arithmetic::Subtract, left, right),
        BinaryOp::Multiply => arithmetic(Arithmetic::Multiply, left, right),
        BinaryOp::Divide => arithmetic(Arithmetic::Divide, left, right),
        BinaryOp::Modulo => arithmetic(Arithmetic::Modulo, left, right),
        BinaryOp::Equal => test(left, right, Ordering::is_eq),
        BinaryOp::NotEqual => test(left, right, Ordering::is_ne),
        BinaryOp::Less => test(left, right, Ordering::is_lt),
        BinaryOp::LessOrEqual => test(left, right, Ordering::is_le),
        BinaryOp::Greater => test(left, right, Ordering::is_gt),
        BinaryOp::GreaterOrEqual => test(left, right, Ordering::is_ge),
        BinaryOp::And | BinaryOp::Or => {
            Err(Diag::new(SqlState::INTERNAL, "AND and OR are decided before their right side is"))
        }
        BinaryOp::Concat => concat(left, right),
        BinaryOp::JsonGet => Ok(json_get(left, right)?.map_or(Value::Null, |found| Value::Json(found.to_owned()))),
        BinaryOp::JsonGetText => Ok(json_get(left, right)?.and_then(json::text).map_or(Value::Null, Value::Text)),
        BinaryOp::JsonGetPath => Ok(json_path(left, right)?.map_or(Value::Null, |found| Value::Json(found.to_owned()))),
        BinaryOp::JsonGetPathText => Ok(json_path(left, right)?.and_then(json::text).map_or(Value::Null, Value::Text)),
        BinaryOp::JsonDeletePath => document::delete_path(left, right),
        BinaryOp::Contains => contains(left, right),
        BinaryOp::ContainedBy => contains(right, left),
        BinaryOp::JsonHasKey => match right {
            Value::Text(key) => Ok(Value::Boolean(document::has_key(document::document(left)?, key))),
            other => Err(wrong_type("the right side of ?", other)),
        },
        BinaryOp::JsonHasAnyKey | BinaryOp::JsonHasAllKeys => {
            let json = document::document(left)?;
            let keys = array::texts(right, "the right side of ?|")?;
            let mut keys = keys.into_iter().flatten();
            let has = |key: &str| document::has_key(json, key);
            Ok(Value::Boolean(if op == BinaryOp::JsonHasAnyKey { keys.any(has) } else { keys.all(has) }))
        }
        BinaryOp::Overlaps => {
            let (left, right) = (array::array(left, "&&")?, array::array(right, "&&")?);
            Ok(Value::Boolean(array::overlaps(left, right)))
        }
        BinaryOp::Matches | BinaryOp::MatchesInsensitive | BinaryOp::MatchesNot | BinaryOp::MatchesNotInsensitive => {
            let (Value::Text(text), Value::Text(pattern)) = (left, right) else {
                return Err(wrong_type(
                    "a regular expression",
                    if matches!(left, Value::Text(_)) { right } else { left },
                ));
            };
            let insensitive = matches!(op, BinaryOp::MatchesInsensitive | BinaryOp::MatchesNotInsensitive);
            let wanted = matches!(op, BinaryOp::Matches | BinaryOp::MatchesInsensitive);
            let regex = compile(pattern, Flags::case(insensitive), context)?;
            Ok(Value::Boolean(regex.is_match(text) == wanted))
        }
        BinaryOp::Power => super::functions::power(as_double(left)?, as_double(right)?),
        BinaryOp::BitAnd => bits(left, right, |l, r| l & r),
        BinaryOp::BitOr => bits(left, right, |l, r| l | r),
        BinaryOp::BitXor => bits(left, right, |l, r| l ^ r),
        BinaryOp::ShiftLeft => shift(left, right, true),
        BinaryOp::ShiftRight => shift(left, right, false),
    }
}

/// The truth of a comparison; `None` when a side is NULL.
pub(super) fn holds(op: BinaryOp, left: &Value, right: &Value) -> Result<Option<bool>, Diag> {
    let Some(ordering) = ordering(left, right)? else { return Ok(None) };
    Ok(Some(match op {
        BinaryOp::Equal => ordering.is_eq(),
        BinaryOp::NotEqual => ordering.is_ne(),
        BinaryOp::Less => ordering.is_lt(),
        BinaryOp::LessOrEqual => ordering.is_le(),
        BinaryOp::Greater => ordering.is_gt(),
        BinaryOp::GreaterOrEqual => ordering.is_ge(),
        other => return Err(Diag::new(SqlState::INTERNAL, format!("{other:?} is no comparison"))),
    }))
}

fn json_path<'v>(left: &'v Value, right: &Value) -> Result<Option<&'v str>, Diag> {
    Ok(document::at_path(document::document(left)?, &array::texts(right, "the right side of #>")?))
}

fn contains(left: &Value, right: &Value) -> Result<Value, Diag> {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => Ok(Value::Boolean(array::contains(left, right))),
        (left, right) => Ok(Value::Boolean(document::contains(document::document(left)?, document::document(right)?)?)),
    }
}

/// An integer as the type of another value of its own kind.
fn integer_like(number: i64, like: &Value) -> Result<Value, Diag> {
    let name = like.data_type().map_or_else(String::new, |data_type| data_type.to_string());
    let overflow = |_| integer_overflow(&name);
    match like {
        Value::SmallInt(_) => i16::try_from(number).map(Value::SmallInt).map_err(overflow),
        Value::Int(_) => i32::try_from(number).map(Value::Int).map_err(overflow),
        _ => Ok(Value::BigInt(number)),
    }
}

/// An operation on the bits of two integers of one type: sign extension keeps its result within the type.
fn bits(left: &Value, right: &Value, operation: fn(i64, i64) -> i64) -> Result<Value, Diag> {
    let l = left.as_i64().ok_or_else(|| wrong_type("a bit operator", left))?;
    let r = right.as_i64().ok_or_else(|| wrong_type("a bit operator", right))?;
    integer_like(operation(l, r), left)
}

/// `~operand`
pub(super) fn bit_not(operand: &Value) -> Result<Value, Diag> {
    match operand {
        Value::Null => Ok(Value::Null),
        other => integer_like(!other.as_i64().ok_or_else(|| wrong_type("~", other))?, other),
    }
}

/// Shifts within the type's width; the distance counts modulo the width, as PostgreSQL's machines do it.
fn shift(left: &Value, right: &Value, up: bool) -> Result<Value, Diag> {
    let distance = right.as_i64().ok_or_else(|| wrong_type("a shift", right))?;
    // A SMALLINT is shifted as an INT and cut.
    let by = |width: i64| u32::try_from(distance.rem_euclid(width)).unwrap_or(0);
    Ok(match left {
        #[expect(clippy::cast_possible_truncation, reason = "the upper bits are shifted out")]
        Value::SmallInt(v) => {
            let wide = i32::from(*v);
            Value::SmallInt(if up { wide.wrapping_shl(by(32)) as i16 } else { (wide >> by(32)) as i16 })
        }
        Value::Int(v) => Value::Int(if up { v.wrapping_shl(by(32)) } else { v >> by(32) }),
        Value::BigInt(v) => Value::BigInt(if up { v.wrapping_shl(by(64)) } else { v >> by(64) }),
        other => return Err(wrong_type("a shift", other)),
    })
}

/// AND (`decisive` false) and OR (`decisive` true): one decisive side decides, else UNKNOWN beats the other value.
fn logic(decisive: bool, left: &Value, right: &Expr, row: &[Value], context: &EvalContext<'_>) -> Result<Value, Diag> {
    let left = truth(left)?;
    if left == Some(decisive) {
        return Ok(Value::Boolean(decisive));
    }
    let right = truth(value(right, row, context)?.as_ref())?;
    if right == Some(decisive) {
        return Ok(Value::Boolean(decisive));
    }
    Ok(if left.is_none() || right.is_none() { Value::Null } else { Value::Boolean(!decisive) })
}

/// The order of two values; `None` when one is NULL.
pub(super) fn ordering(left: &Value, right: &Value) -> Result<Option<Ordering>, Diag> {
    if left.is_null() || right.is_null() {
        return Ok(None);
    }
    compare(left, right).map(Some).ok_or_else(|| {
        let name = |value: &Value| value.data_type().map_or_else(String::new, |data_type| data_type.to_string());
        Diag::new(
            SqlState::UNDEFINED_FUNCTION,
            format!("values of type {} and {} cannot be compared", name(left), name(right)),
        )
        .hint("cast one side; compare JSON by a member taken out with ->>")
    })
}

fn test(left: &Value, right: &Value, holds: fn(Ordering) -> bool) -> Result<Value, Diag> {
    Ok(ordering(left, right)?.map_or(Value::Null, |ordering| Value::Boolean(holds(ordering))))
}

/// `-operand`.
pub(super) fn negate(operand: &Value) -> Result<Value, Diag> {
    match operand {
        Value::Null => Ok(Value::Null),
        Value::SmallInt(v) => v.checked_neg().map(Value::SmallInt).ok_or_else(|| integer_overflow("SMALLINT")),
        Value::Int(v) => v.checked_neg().map(Value::Int).ok_or_else(|| integer_overflow("INT")),
        Value::BigInt(v) => v.checked_neg().map(Value::BigInt).ok_or_else(|| integer_overflow("BIGINT")),
        Value::Double(v) => Ok(Value::Double(-v)),
        Value::Decimal(v) if v.is_zero() => Ok(Value::Decimal(*v)),
        Value::Decimal(v) => Ok(Value::Decimal(-*v)),
        Value::Float(v) => Ok(Value::Float(-v)),
        Value::Interval(v) => v
            .checked_neg()
            .map(Value::Interval)
            .ok_or_else(|| Diag::new(SqlState::INVALID_DATETIME, "interval out of range")),
        Value::Boolean(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::Json(_)
        | Value::Timestamp(_)
        | Value::Date(_)
        | Value::Time(_)
        | Value::DateTime(_)
        | Value::Uuid(_)
        | Value::Embedding(_)
        | Value::Array(_) => Err(wrong_type("unary minus", operand)),
    }
}

pub(super) fn integer_overflow(name: &str) -> Diag {
    Diag::new(SqlState::OUT_OF_RANGE, format!("result is out of range for {name}"))
}

fn arithmetic(op: Arithmetic, left: &Value, right: &Value) -> Result<Value, Diag> {
    match (left, right) {
        (Value::Float(l), Value::Float(r)) => float(op, *l, *r),
        (Value::Double(_) | Value::Float(_), _) | (_, Value::Double(_) | Value::Float(_)) => double(op, left, right),
        (Value::Decimal(_), _) | (_, Value::Decimal(_)) => {
            let (l, r) = (as_decimal(left)?, as_decimal(right)?);
            let result = match op {
                Arithmetic::Add => decimal::add(l, r),
                Arithmetic::Subtract => decimal::subtract(l, r),
                Arithmetic::Multiply => decimal::multiply(l, r),
                Arithmetic::Divide => decimal::divide(l, r),
                Arithmetic::Modulo => decimal::modulo(l, r),
            };
            result.map(Value::Decimal)
        }
        _ => integer(op, left, right),
    }
}

/// Integers compute in the wider of their types, and overflow there.
fn integer(op: Arithmetic, left: &Value, right: &Value) -> Result<Value, Diag> {
    let l = left.as_i64().ok_or_else(|| wrong_type("arithmetic", left))?;
    let r = right.as_i64().ok_or_else(|| wrong_type("arithmetic", right))?;
    let result = match op {
        Arithmetic::Add => l.checked_add(r),
        Arithmetic::Subtract => l.checked_sub(r),
        Arithmetic::Multiply => l.checked_mul(r),
        Arithmetic::Divide | Arithmetic::Modulo if r == 0 => return Err(decimal::division_by_zero()),
        Arithmetic::Divide => l.checked_div(r),
        // The one case that overflows, i64::MIN % -1, has a value.
        Arithmetic::Modulo => Some(l.checked_rem(r).unwrap_or(0)),
    };
    match (left, right) {
        (Value::BigInt(_), _) | (_, Value::BigInt(_)) => {
            result.map(Value::BigInt).ok_or_else(|| integer_overflow("BIGINT"))
        }
        (Value::Int(_), _) | (_, Value::Int(_)) => {
            result.and_then(|result| i32::try_from(result).ok()).map(Value::Int).ok_or_else(|| integer_overflow("INT"))
        }
        _ => result
            .and_then(|result| i16::try_from(result).ok())
            .map(Value::SmallInt)
            .ok_or_else(|| integer_overflow("SMALLINT")),
    }
}

/// Any number as DECIMAL.
pub(super) fn as_decimal(value: &Value) -> Result<rust_decimal::Decimal, Diag> {
    match value {
        Value::Decimal(v) => Ok(*v),
        other => other.as_i64().map(rust_decimal::Decimal::from).ok_or_else(|| wrong_type("DECIMAL arithmetic", other)),
    }
}

/// Any number as DOUBLE.
pub(super) fn as_double(value: &Value) -> Result<f64, Diag> {
    match value {
        Value::Double(v) => Ok(*v),
        Value::Float(v) => Ok(f64::from(*v)),
        Value::Decimal(v) => Ok(decimal::to_double(*v)),
        #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as PostgreSQL does")]
        other => other.as_i64().map(|v| v as f64).ok_or_else(|| wrong_type("DOUBLE arithmetic", other)),
    }
}

fn double(op: Arithmetic, left: &Value, right: &Value) -> Result<Value, Diag> {
    let (l, r) = (as_double(left)?, as_double(right)?);
    let result = match op {
        Arithmetic::Add => l + r,
        Arithmetic::Subtract => l - r,
        Arithmetic::Multiply => l * r,
        Arithmetic::Divide | Arithmetic::Modulo if r == 0.0 && !l.is_nan() => return Err(decimal::division_by_zero()),
        Arithmetic::Divide => l / r,
        Arithmetic::Modulo => libm::fmod(l, r),
    };
    let vanishes = match op {
        Arithmetic::Multiply => l != 0.0 && r != 0.0,
        Arithmetic::Divide => l != 0.0 && !r.is_infinite(),
        Arithmetic::Add | Arithmetic::Subtract | Arithmetic::Modulo => false,
    };
    checked_double(result, l.is_infinite() || r.is_infinite(), !vanishes).map(Value::Double)
}

/// REAL with REAL: computed in DOUBLE and rounded once, which gives the same result as computing in REAL.
fn float(op: Arithmetic, l: f32, r: f32) -> Result<Value, Diag> {
    let Value::Double(wide) = double(op, &Value::Float(l), &Value::Float(r))? else { return Ok(Value::Null) };
    #[expect(clippy::cast_possible_truncation, reason = "rounds to nearest; what is beyond REAL is refused below")]
    let narrow = wide as f32;
    if narrow.is_infinite() && wide.is_finite() {
        return Err(Diag::new(SqlState::OUT_OF_RANGE, "value out of range for REAL: overflow"));
    }
    if narrow == 0.0 && wide != 0.0 {
        return Err(Diag::new(SqlState::OUT_OF_RANGE, "value out of range for REAL: underflow"));
    }
    Ok(Value::Float(narrow))
}

/// The result, unless it is infinite or zero where the operands do not make it so.
pub(super) fn checked_double(result: f64, infinite_allowed: bool, zero_allowed: bool) -> Result<f64, Diag> {
    if result.is_infinite() && !infinite_allowed {
        return Err(Diag::new(SqlState::OUT_OF_RANGE, "value out of range for DOUBLE: overflow"));
    }
    if result == 0.0 && !zero_allowed {
        return Err(Diag::new(SqlState::OUT_OF_RANGE, "value out of range for DOUBLE: underflow"));
    }
    Ok(result)
}

/// Refuses to make a text or bytes longer than any value may be.
pub(super) fn check_length(bytes: usize) -> Result<(), Diag> {
    if bytes > MAX_VALUE_BYTES {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("a result of {bytes} bytes is beyond the limit of {MAX_VALUE_BYTES}"),
        )
        .hint("make shorter values"));
    }
    Ok(())
}

fn concat(left: &Value, right: &Value) -> Result<Value, Diag> {
    match (left, right) {
        (Value::Json(_), Value::Json(_)) => document::concat(left, right),
        (Value::Text(l), Value::Text(r)) => {
            check_length(l.len().saturating_add(r.len()))?;
            Ok(Value::Text([l.as_str(), r.as_str()].concat()))
        }
        (Value::Bytes(l), Value::Bytes(r)) => {
            check_length(l.len().saturating_add(r.len()))?;
            Ok(Value::Bytes([l.as_slice(), r.as_slice()].concat()))
        }
        (Value::Text(_) | Value::Bytes(_), other) | (other, _) => Err(wrong_type("||", other)),
    }
}

fn json_get<'v>(left: &'v Value, right: &Value) -> Result<Option<&'v str>, Diag> {
    let Value::Json(document) = left else { return Err(wrong_type("the left side of ->", left)) };
    match right {
        Value::Text(key) => Ok(json::member(document, key)),
        other => match other.as_i64() {
            Some(index) => Ok(json::element(document, index)),
            None => Err(wrong_type("the right side of ->", other)),
        },
    }
}
