//! Which aggregates exist for which types.

use super::{FunctionError, call, missing};
use crate::expr::AggregateFunction;
use crate::value::{DataType, MAX_DECIMAL_DIGITS};

/// The aggregate of this name (lower case) for these argument types, as [`resolve_function`]; `count` without arguments is
/// `count(*)`.
///
/// # Errors
/// No such aggregate, or none for these types.
pub fn resolve_aggregate(
    name: &str,
    args: &[Option<DataType>],
) -> Result<(AggregateFunction, Vec<DataType>, DataType), FunctionError> {
    let refused = |known: &str| FunctionError::NoMatch { call: call(name, args), known: vec![known.to_owned()] };
    let one = || match args {
        [arg] => Some(*arg),
        _ => None,
    };
    let exact = |scale: u8| DataType::Decimal { precision: MAX_DECIMAL_DIGITS, scale };
    match name {
        "count" if args.is_empty() => Ok((AggregateFunction::CountStar, Vec::new(), DataType::BigInt)),
        "count" => {
            let arg = one().ok_or_else(|| refused("count(any)"))?.unwrap_or(DataType::Text);
            Ok((AggregateFunction::Count, vec![arg], DataType::BigInt))
        }
        "sum" | "avg" => {
            let function = if name == "sum" { AggregateFunction::Sum } else { AggregateFunction::Avg };
            let refused = || FunctionError::NoMatch {
                call: call(name, args),
                known: ["BIGINT", "DECIMAL", "DOUBLE"].map(|known| format!("{name}({known})")).to_vec(),
            };
            let arg = one().ok_or_else(refused)?.unwrap_or(DataType::Double);
            let result = match arg {
                DataType::Double => DataType::Double,
                DataType::Decimal { scale, .. } if function == AggregateFunction::Sum => exact(scale),
                DataType::Decimal { scale, .. } => exact(scale.max(16)),
                integer if integer.is_integer() && function == AggregateFunction::Sum => DataType::BigInt,
                integer if integer.is_integer() => exact(16),
                _ => return Err(refused()),
            };
            Ok((function, vec![arg], result))
        }
        "min" | "max" => {
            let function = if name == "min" { AggregateFunction::Min } else { AggregateFunction::Max };
            let arg = one().ok_or_else(|| refused("min(T)"))?.unwrap_or(DataType::Text);
            if !arg.is_comparable() {
                return Err(refused(&format!("{name}(T) of every type but JSON")));
            }
            Ok((function, vec![arg], arg))
        }
        "bool_and" | "every" | "bool_or" => {
            let function = if name == "bool_or" { AggregateFunction::BoolOr } else { AggregateFunction::BoolAnd };
            match one() {
                Some(None | Some(DataType::Boolean)) => Ok((function, vec![DataType::Boolean], DataType::Boolean)),
                _ => Err(refused("bool_and(BOOLEAN), bool_or(BOOLEAN)")),
            }
        }
        "string_agg" => match args {
            [None | Some(DataType::Text), None | Some(DataType::Text)] => {
                Ok((AggregateFunction::StringAgg, vec![DataType::Text, DataType::Text], DataType::Text))
            }
            _ => Err(refused("string_agg(TEXT, TEXT)")),
        },
        _ => Err(missing(name)),
    }
}
