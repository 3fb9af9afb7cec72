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
    let number = if matches!(name, "string_agg" | "json_object_agg" | "jsonb_object_agg") { 2 } else { 1 };
    let count = || match number {
        1 => (args.len() != 1).then(|| "1 argument".to_owned()),
        _ => (args.len() != number).then(|| format!("{number} arguments")),
    };
    let refused =
        |known: &str| FunctionError::NoMatch { call: call(name, args), known: vec![known.to_owned()], count: count() };
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
                known: ["BIGINT", "DECIMAL", "DOUBLE", "INTERVAL"].map(|known| format!("{name}({known})")).to_vec(),
                count: count(),
            };
            let arg = one().ok_or_else(refused)?.unwrap_or(DataType::Double);
            let sum = function == AggregateFunction::Sum;
            let result = match arg {
                DataType::Double | DataType::Interval | DataType::DECIMAL => arg,
                DataType::Float if sum => DataType::Float,
                DataType::Float => DataType::Double,
                DataType::Decimal { scale, .. } if sum => exact(scale),
                DataType::Decimal { scale, .. } => exact(scale.max(16)),
                integer if integer.is_integer() && sum => DataType::BigInt,
                integer if integer.is_integer() => exact(16),
                _ => return Err(refused()),
            };
            Ok((function, vec![arg], result))
        }
        "stddev" | "stddev_samp" | "stddev_pop" | "variance" | "var_samp" | "var_pop" => {
            let function = match name {
                "stddev" | "stddev_samp" => AggregateFunction::StddevSamp,
                "stddev_pop" => AggregateFunction::StddevPop,
                "var_pop" => AggregateFunction::VarPop,
                _ => AggregateFunction::VarSamp,
            };
            match one() {
                Some(arg) if arg.is_none_or(|arg| arg.is_numeric()) => {
                    Ok((function, vec![arg.unwrap_or(DataType::Double)], DataType::Double))
                }
                _ => Err(refused(&format!("{name}(DOUBLE)"))),
            }
        }
        "bit_and" | "bit_or" | "bit_xor" => {
            let function = match name {
                "bit_and" => AggregateFunction::BitAnd,
                "bit_or" => AggregateFunction::BitOr,
                _ => AggregateFunction::BitXor,
            };
            match one().map(|arg| arg.unwrap_or(DataType::BigInt)) {
                Some(arg) if arg.is_integer() => Ok((function, vec![arg], arg)),
                _ => Err(refused(&format!("{name}(BIGINT)"))),
            }
        }
        "array_agg" => {
            let arg = one().ok_or_else(|| refused("array_agg(any)"))?.unwrap_or(DataType::Text);
            match arg.array() {
                Some(array) => Ok((AggregateFunction::ArrayAgg, vec![arg], array)),
                None => Err(refused("array_agg of every type but arrays and EMBEDDING")),
            }
        }
        "json_agg" | "jsonb_agg" => {
            let arg = one().ok_or_else(|| refused(&format!("{name}(any)")))?.unwrap_or(DataType::Text);
            Ok((AggregateFunction::JsonAgg, vec![arg], DataType::Json))
        }
        "json_object_agg" | "jsonb_object_agg" => match args {
            [key, value] => {
                let given = |arg: &Option<DataType>| arg.unwrap_or(DataType::Text);
                Ok((AggregateFunction::JsonObjectAgg, vec![given(key), given(value)], DataType::Json))
            }
            _ => Err(refused(&format!("{name}(any, any)"))),
        },
        "min" | "max" => {
            let function = if name == "min" { AggregateFunction::Min } else { AggregateFunction::Max };
            let arg = one().ok_or_else(|| refused(&format!("{name}(T)")))?.unwrap_or(DataType::Text);
            if !arg.is_comparable() {
                return Err(refused(&format!("{name}(T) of every type but JSON and EMBEDDING")));
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
