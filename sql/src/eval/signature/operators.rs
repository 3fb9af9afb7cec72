//! Which binary operators exist for which types.

use super::{FunctionError, type_name};
use crate::cast::{common_type, digits};
use crate::expr::BinaryOp;
use crate::value::{DataType, MAX_DECIMAL_DIGITS};

/// The type for an untyped operand beside one of this type. Beside a DECIMAL it gets more digits than that, so that `price =
/// '1.005'` does not round to a price.
fn beside(other: DataType) -> DataType {
    match other {
        DataType::Decimal { precision, scale } => {
            let whole = precision.saturating_sub(scale);
            let room = MAX_DECIMAL_DIGITS.saturating_sub(whole).min(10);
            DataType::Decimal { precision: MAX_DECIMAL_DIGITS, scale: scale.max(room) }
        }
        other => other,
    }
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::Modulo => "%",
        BinaryOp::Equal => "=",
        BinaryOp::NotEqual => "<>",
        BinaryOp::Less => "<",
        BinaryOp::LessOrEqual => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterOrEqual => ">=",
        BinaryOp::And => "AND",
        BinaryOp::Or => "OR",
        BinaryOp::Concat => "||",
        BinaryOp::JsonGet => "->",
        BinaryOp::JsonGetText => "->>",
    }
}

/// The types to which the operands of `left op right` are cast, and the type of the result. Numbers of different types are
/// not cast: they are compared and computed with as they are, without rounding one to the other.
///
/// # Errors
/// No such operator for these types.
pub fn resolve_operator(
    op: BinaryOp,
    left: Option<DataType>,
    right: Option<DataType>,
) -> Result<(DataType, DataType, DataType), FunctionError> {
    let refused = || FunctionError::NoOperator {
        call: format!("{} {} {}", type_name(left), symbol(op), type_name(right)),
        json: left == Some(DataType::Json) || right == Some(DataType::Json),
    };
    let found = match op {
        BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Modulo => {
            arithmetic(op, left, right)
        }
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual => comparison(left, right).map(|(l, r)| (l, r, DataType::Boolean)),
        BinaryOp::And | BinaryOp::Or => {
            let boolean = |side: Option<DataType>| side.is_none_or(|side| side == DataType::Boolean);
            (boolean(left) && boolean(right)).then_some((DataType::Boolean, DataType::Boolean, DataType::Boolean))
        }
        BinaryOp::Concat => concatenation(left, right).map(|side| (side, side, side)),
        BinaryOp::JsonGet => json_get(left, right).map(|(l, r)| (l, r, DataType::Json)),
        BinaryOp::JsonGetText => json_get(left, right).map(|(l, r)| (l, r, DataType::Text)),
    };
    found.ok_or_else(refused)
}

fn both(left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType)> {
    match (left, right) {
        (Some(left), Some(right)) => Some((left, right)),
        (Some(left), None) => Some((left, beside(left))),
        (None, Some(right)) => Some((beside(right), right)),
        (None, None) => None,
    }
}

fn comparison(left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType)> {
    let (left, right) = both(left, right).unwrap_or((DataType::Text, DataType::Text));
    let meet = left.same_kind(&right) || left.is_numeric() && right.is_numeric();
    (meet && left.is_comparable()).then_some((left, right))
}

fn arithmetic(op: BinaryOp, left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType, DataType)> {
    let (left, right) = both(left, right)?;
    if !left.is_numeric() || !right.is_numeric() {
        return None;
    }
    let result = match common_type(&[left, right])? {
        DataType::Decimal { .. } => {
            let (_, left_scale) = digits(left)?;
            let (_, right_scale) = digits(right)?;
            let scale = match op {
                BinaryOp::Multiply => left_scale + right_scale,
                BinaryOp::Divide => left_scale.max(right_scale).max(16),
                _ => left_scale.max(right_scale),
            };
            DataType::Decimal { precision: MAX_DECIMAL_DIGITS, scale: scale.min(MAX_DECIMAL_DIGITS) }
        }
        other => other,
    };
    Some((left, right, result))
}

fn concatenation(left: Option<DataType>, right: Option<DataType>) -> Option<DataType> {
    match (left, right) {
        (Some(DataType::Bytes), Some(DataType::Bytes) | None) | (None, Some(DataType::Bytes)) => Some(DataType::Bytes),
        (Some(DataType::Text) | None, _) | (_, Some(DataType::Text) | None) => Some(DataType::Text),
        (Some(_), Some(_)) => None,
    }
}

fn json_get(left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType)> {
    let key = match right {
        None | Some(DataType::Text) => DataType::Text,
        Some(integer) if integer.is_integer() => DataType::BigInt,
        Some(_) => return None,
    };
    left.is_none_or(|left| left == DataType::Json).then_some((DataType::Json, key))
}
