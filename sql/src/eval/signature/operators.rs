//! Which binary operators exist for which types.

use super::{FunctionError, type_name};
use crate::cast::{Coercion, allowed, common_type, digits};
use crate::expr::BinaryOp;
use crate::value::{DataType, Element, MAX_DECIMAL_DIGITS};

/// The type for an untyped operand beside one of this type. Beside a DECIMAL it keeps its own digits, so that `price =
/// '1.005'` does not round to a price.
fn beside(other: DataType) -> DataType {
    match other {
        DataType::Decimal { .. } => DataType::DECIMAL,
        DataType::Embedding(_) => DataType::Embedding(0),
        other => other,
    }
}

/// The operator as it is written.
#[must_use]
pub fn symbol(op: BinaryOp) -> &'static str {
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
        BinaryOp::JsonGetPath => "#>",
        BinaryOp::JsonGetPathText => "#>>",
        BinaryOp::Contains => "@>",
        BinaryOp::ContainedBy => "<@",
        BinaryOp::JsonHasKey => "?",
        BinaryOp::JsonHasAnyKey => "?|",
        BinaryOp::JsonHasAllKeys => "?&",
        BinaryOp::JsonDeletePath => "#-",
        BinaryOp::Overlaps => "&&",
        BinaryOp::Matches => "~",
        BinaryOp::MatchesInsensitive => "~*",
        BinaryOp::MatchesNot => "!~",
        BinaryOp::MatchesNotInsensitive => "!~*",
        BinaryOp::Power => "^",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "#",
        BinaryOp::ShiftLeft => "<<",
        BinaryOp::ShiftRight => ">>",
    }
}

const TEXTS: DataType = DataType::Array(Element::Text);

/// The types to which the operands of `left op right` are cast, and the type of the result. Numbers of different types are
/// not cast: they are compared and computed with as they are, without rounding one to the other; nor are points in time.
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
        hint: hint(op, left, right),
    };
    let json = |wanted: DataType, result: DataType| {
        let fits = left.is_none_or(|left| left == DataType::Json) && takes(right, wanted);
        fits.then_some((DataType::Json, wanted, result))
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
        | BinaryOp::GreaterOrEqual => comparison(op, left, right).map(|(l, r)| (l, r, DataType::Boolean)),
        BinaryOp::And | BinaryOp::Or => {
            let boolean = |side: Option<DataType>| side.is_none_or(|side| side == DataType::Boolean);
            (boolean(left) && boolean(right)).then_some((DataType::Boolean, DataType::Boolean, DataType::Boolean))
        }
        BinaryOp::Concat => concatenation(left, right),
        BinaryOp::JsonGet => json_get(left, right).map(|(l, r)| (l, r, DataType::Json)),
        BinaryOp::JsonGetText => json_get(left, right).map(|(l, r)| (l, r, DataType::Text)),
        BinaryOp::JsonGetPath | BinaryOp::JsonDeletePath => json(TEXTS, DataType::Json),
        BinaryOp::JsonGetPathText => json(TEXTS, DataType::Text),
        BinaryOp::JsonHasKey => json(DataType::Text, DataType::Boolean),
        BinaryOp::JsonHasAnyKey | BinaryOp::JsonHasAllKeys => json(TEXTS, DataType::Boolean),
        BinaryOp::Contains | BinaryOp::ContainedBy => containment(left, right),
        BinaryOp::Overlaps => arrays(left, right).map(|side| (side, side, DataType::Boolean)),
        BinaryOp::Matches | BinaryOp::MatchesInsensitive | BinaryOp::MatchesNot | BinaryOp::MatchesNotInsensitive => {
            let text = |side: Option<DataType>| side.is_none_or(|side| side == DataType::Text);
            (text(left) && text(right)).then_some((DataType::Text, DataType::Text, DataType::Boolean))
        }
        BinaryOp::Power => {
            let number = |side: Option<DataType>| side.is_none_or(|side| side.is_numeric());
            (number(left) && number(right)).then_some((DataType::Double, DataType::Double, DataType::Double))
        }
        BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor => integers(left, right),
        BinaryOp::ShiftLeft | BinaryOp::ShiftRight => match left {
            Some(left) if left.is_integer() && takes(right, DataType::Int) => Some((left, DataType::Int, left)),
            _ => None,
        },
    };
    found.ok_or_else(refused)
}

/// What may be meant by an operator that does not exist.
fn hint(op: BinaryOp, left: Option<DataType>, right: Option<DataType>) -> &'static str {
    let is = |wanted: fn(&DataType) -> bool| left.as_ref().is_some_and(wanted) || right.as_ref().is_some_and(wanted);
    let json = is(|side| *side == DataType::Json);
    match op {
        BinaryOp::Equal
        | BinaryOp::NotEqual
        | BinaryOp::Less
        | BinaryOp::LessOrEqual
        | BinaryOp::Greater
        | BinaryOp::GreaterOrEqual => {
            if json && matches!(op, BinaryOp::Equal | BinaryOp::NotEqual) {
                "a document equals a document: cast the other side with ::JSON, or take a member out with ->> and cast it"
            } else if json {
                "JSON has no order: take a member out with ->> and cast it"
            } else if is(|side| matches!(side, DataType::Embedding(_))) {
                "EMBEDDINGs have no order: compare a distance, such as cosine_distance(a, b) < 0.2"
            } else if is(|side| matches!(side, DataType::Array(Element::Json))) {
                "arrays of JSON are not compared: compare documents that are arrays, as to_jsonb makes them"
            } else if is(|side| matches!(side, DataType::Array(_))) {
                "an element is compared with an array's elements by = ANY (array)"
            } else {
                "add a CAST to one side"
            }
        }
        BinaryOp::Add | BinaryOp::Subtract if is(DataType::is_point_in_time) => {
            "a point in time takes an INTERVAL, as in + INTERVAL '1 day'; a DATE also takes whole days"
        }
        BinaryOp::Add if is(|side| *side == DataType::Text) => "texts are joined with ||",
        BinaryOp::JsonGet
        | BinaryOp::JsonGetText
        | BinaryOp::JsonGetPath
        | BinaryOp::JsonGetPathText
        | BinaryOp::JsonHasKey
        | BinaryOp::JsonHasAnyKey
        | BinaryOp::JsonHasAllKeys
            if !json =>
        {
            "the left side is JSON: cast it with ::JSON"
        }
        _ => "add a CAST to one side",
    }
}

/// Whether an operand of this type, or an open one, becomes the wanted type by itself.
fn takes(side: Option<DataType>, wanted: DataType) -> bool {
    side.is_none_or(|side| allowed(side, wanted, Coercion::Implicit))
}

fn both(left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType)> {
    match (left, right) {
        (Some(left), Some(right)) => Some((left, right)),
        (Some(left), None) => Some((left, beside(left))),
        (None, Some(right)) => Some((beside(right), right)),
        (None, None) => None,
    }
}

fn comparison(op: BinaryOp, left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType)> {
    let is_defined = match op {
        BinaryOp::Equal | BinaryOp::NotEqual => DataType::has_equality,
        _ => DataType::is_comparable,
    };
    let (left, right) = both(left, right).unwrap_or((DataType::Text, DataType::Text));
    if left.is_numeric() && right.is_numeric() || left.is_point_in_time() && right.is_point_in_time() {
        return Some((left, right));
    }
    if left.same_kind(&right) {
        return is_defined(&left).then_some((left, right));
    }
    let common = common_type(&[left, right])?;
    (is_defined(&common) && !matches!(common, DataType::Text)).then_some((common, common))
}

fn arithmetic(op: BinaryOp, left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType, DataType)> {
    if let Some(found) = with_time(op, left, right) {
        return Some(found);
    }
    if op == BinaryOp::Subtract && left == Some(DataType::Json) {
        return match right {
            None | Some(DataType::Text) => Some((DataType::Json, DataType::Text, DataType::Json)),
            Some(integer) if integer.is_integer() => Some((DataType::Json, DataType::BigInt, DataType::Json)),
            Some(TEXTS) => Some((DataType::Json, TEXTS, DataType::Json)),
            Some(_) => None,
        };
    }
    let (left, right) = both(left, right)?;
    if !left.is_numeric() || !right.is_numeric() {
        return None;
    }
    let result = match common_type(&[left, right])? {
        DataType::Float if left != right => DataType::Double,
        DataType::Decimal { .. } if left == DataType::DECIMAL || right == DataType::DECIMAL => DataType::DECIMAL,
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

/// Arithmetic with dates, times and intervals.
fn with_time(op: BinaryOp, left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType, DataType)> {
    use DataType::{Date, DateTime, Double, Int, Interval, Time, Timestamp};
    let temporal =
        |side: Option<DataType>| side.is_some_and(|side| side.is_point_in_time() || matches!(side, Time | Interval));
    if !temporal(left) && !temporal(right) {
        return None;
    }
    match op {
        BinaryOp::Add => {
            let sum = |left: Option<DataType>, right: Option<DataType>| {
                Some(match (left?, right) {
                    (Date, Some(days)) if days.is_integer() => (Date, Int, Date),
                    (Date, Some(Interval) | None) => (Date, Interval, Timestamp),
                    (Date, Some(Time)) => (Date, Time, Timestamp),
                    (at @ (Timestamp | DateTime), Some(Interval | Time) | None) => (at, Interval, at),
                    (Time, Some(Interval) | None) => (Time, Interval, Time),
                    (Interval, Some(Interval) | None) => (Interval, Interval, Interval),
                    _ => return None,
                })
            };
            sum(left, right).or_else(|| sum(right, left).map(|(l, r, result)| (r, l, result)))
        }
        BinaryOp::Subtract => Some(match (left, right) {
            (Some(Date), Some(days)) if days.is_integer() => (Date, Int, Date),
            (Some(Date) | None, Some(Date)) | (Some(Date), None) => (Date, Date, Int),
            (Some(Date), Some(Interval)) => (Date, Interval, Timestamp),
            (Some(at @ (Timestamp | DateTime)), Some(Interval | Time)) => (at, Interval, at),
            (Some(left), Some(right)) if left.is_point_in_time() && right.is_point_in_time() => {
                let common = common_type(&[left, right])?;
                (common, common, Interval)
            }
            (Some(at @ (Timestamp | DateTime)), None) | (None, Some(at @ (Timestamp | DateTime))) => (at, at, Interval),
            (Some(Time) | None, Some(Time)) | (Some(Time), None) => (Time, Time, Interval),
            (Some(Time), Some(Interval)) => (Time, Interval, Time),
            (Some(Interval) | None, Some(Interval)) | (Some(Interval), None) => (Interval, Interval, Interval),
            _ => return None,
        }),
        BinaryOp::Multiply => match (left, right) {
            (Some(Interval), factor) if factor.is_none_or(|factor| factor.is_numeric()) => {
                Some((Interval, Double, Interval))
            }
            (factor, Some(Interval)) if factor.is_none_or(|factor| factor.is_numeric()) => {
                Some((Double, Interval, Interval))
            }
            _ => None,
        },
        BinaryOp::Divide => match (left, right) {
            (Some(Interval), divisor) if divisor.is_none_or(|divisor| divisor.is_numeric()) => {
                Some((Interval, Double, Interval))
            }
            _ => None,
        },
        _ => None,
    }
}

fn integers(left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType, DataType)> {
    let (left, right) = both(left, right)?;
    if !left.is_integer() || !right.is_integer() {
        return None;
    }
    let common = common_type(&[left, right])?;
    Some((common, common, common))
}

/// The array type in which two arrays meet.
fn arrays(left: Option<DataType>, right: Option<DataType>) -> Option<DataType> {
    let (left, right) = both(left, right)?;
    let common = common_type(&[left, right])?;
    common.element().map(|_| common)
}

fn containment(left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType, DataType)> {
    let json = |side: Option<DataType>| side.is_none_or(|side| side == DataType::Json);
    if json(left) && json(right) {
        return Some((DataType::Json, DataType::Json, DataType::Boolean));
    }
    arrays(left, right).map(|side| (side, side, DataType::Boolean))
}

fn concatenation(left: Option<DataType>, right: Option<DataType>) -> Option<(DataType, DataType, DataType)> {
    let same = |side| Some((side, side, side));
    match (left, right) {
        (Some(DataType::Bytes), Some(DataType::Bytes) | None) | (None, Some(DataType::Bytes)) => same(DataType::Bytes),
        (Some(DataType::Json), Some(DataType::Json) | None) | (None, Some(DataType::Json)) => same(DataType::Json),
        (Some(DataType::Array(_)), Some(DataType::Array(_)) | None) | (None, Some(DataType::Array(_))) => {
            same(arrays(left, right)?)
        }
        (Some(array @ DataType::Array(_)), Some(item)) => {
            let array = common_type(&[array.element()?, item])?.array()?;
            Some((array, array.element()?, array))
        }
        (Some(item), Some(array @ DataType::Array(_))) => {
            let array = common_type(&[array.element()?, item])?.array()?;
            Some((array.element()?, array, array))
        }
        (Some(DataType::Text) | None, _) | (_, Some(DataType::Text) | None) => same(DataType::Text),
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
