//! Scalar functions: dispatch, and the rules for NULL that they share.
//!
//! A function is NULL when an argument is, but for those that [`call`] names first. Each family has a file.

mod construct;
mod number;
mod text;
mod time;

use std::borrow::Cow;

use super::{EvalContext, operators, value, wrong_type};
use crate::catalog::Role;
use crate::diag::{Diag, SqlState};
use crate::expr::{Expr, Function};
use crate::value::{DataType, Value};

/// The function's value.
pub(super) fn call(
    function: Function,
    args: &[Expr],
    data_type: DataType,
    row: &[Value],
    context: &EvalContext<'_>,
) -> Result<Value, Diag> {
    match function {
        Function::Coalesce => return coalesce(args, row, context),
        Function::Now => return Ok(Value::Timestamp(context.now)),
        Function::SnowflakeId => return Ok(Value::BigInt(context.snowflake_id())),
        Function::UuidV7 => return Ok(Value::Text(context.uuid_v7())),
        Function::Ulid => return Ok(Value::Text(context.ulid())),
        Function::CurrentUser => return Ok(Value::Text(context.user.to_owned())),
        Function::CurrentRole => return Ok(Value::Text(role_name(context.role).to_owned())),
        _ => {}
    }
    let values = args.iter().map(|arg| value(arg, row, context)).collect::<Result<Vec<_>, _>>()?;
    let args = Args { function, values: &values };
    match function {
        Function::Greatest => return args.extreme(std::cmp::Ordering::is_gt),
        Function::Least => return args.extreme(std::cmp::Ordering::is_lt),
        Function::NullIf => return args.null_if(),
        Function::Concat => return text::concat(&args),
        Function::ConcatWs => return text::concat_ws(&args),
        Function::JsonBuildObject => return construct::json_build_object(&args),
        _ => {}
    }
    if values.iter().any(|value| value.is_null()) {
        return Ok(Value::Null);
    }
    match function {
        Function::Abs => number::abs(args.get(0)?),
        Function::Ceil => number::to_whole(args.get(0)?, number::Whole::Ceil),
        Function::Floor => number::to_whole(args.get(0)?, number::Whole::Floor),
        Function::Round => number::round(&args, true),
        Function::Trunc => number::round(&args, false),
        Function::Mod => number::modulo(args.get(0)?, args.get(1)?),
        Function::Power => number::power(args.double(0)?, args.double(1)?),
        Function::Sqrt => number::sqrt(args.double(0)?),
        Function::Exp => number::exp(args.double(0)?),
        Function::Ln => number::ln(args.double(0)?),
        Function::Log if values.len() == 1 => number::log10(args.double(0)?),
        Function::Log => number::log(args.double(0)?, args.double(1)?),
        Function::Sign => number::sign(args.get(0)?),
        Function::Length => text::length(args.get(0)?),
        Function::OctetLength => text::octet_length(args.get(0)?),
        Function::Lower => Ok(Value::Text(args.text(0)?.to_lowercase())),
        Function::Upper => Ok(Value::Text(args.text(0)?.to_uppercase())),
        Function::Substring => text::substring(&args),
        Function::Position => text::position(args.get(0)?, args.get(1)?),
        Function::Replace => text::replace(args.text(0)?, args.text(1)?, args.text(2)?),
        Function::Trim => text::trim(&args, true, true),
        Function::LeftTrim => text::trim(&args, true, false),
        Function::RightTrim => text::trim(&args, false, true),
        Function::LeftPad => text::pad(&args, true),
        Function::RightPad => text::pad(&args, false),
        Function::Left => text::left(args.text(0)?, args.integer(1)?),
        Function::Right => text::right(args.text(0)?, args.integer(1)?),
        Function::SplitPart => text::split_part(args.text(0)?, args.text(1)?, args.integer(2)?),
        Function::StartsWith => Ok(Value::Boolean(args.text(0)?.starts_with(args.text(1)?))),
        Function::Md5 => construct::md5(args.get(0)?),
        Function::Sha256 => construct::sha256(args.get(0)?),
        Function::Encode => construct::encode(args.get(0)?, args.text(1)?),
        Function::Decode => construct::decode(args.text(0)?, args.text(1)?),
        Function::DateTrunc => time::date_trunc(args.text(0)?, args.timestamp(1)?),
        Function::DatePart => time::date_part(args.text(0)?, args.timestamp(1)?, data_type),
        Function::ToTimestamp => time::to_timestamp(args.double(0)?),
        Function::JsonTypeof => construct::json_typeof(args.get(0)?),
        Function::Greatest
        | Function::Least
        | Function::Concat
        | Function::ConcatWs
        | Function::Coalesce
        | Function::NullIf
        | Function::Now
        | Function::JsonBuildObject
        | Function::SnowflakeId
        | Function::UuidV7
        | Function::Ulid
        | Function::CurrentUser
        | Function::CurrentRole => {
            Err(Diag::new(SqlState::INTERNAL, "this function is decided before its arguments are"))
        }
    }
}

/// The role's name in SQL.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::User => "user",
        Role::Service => "service",
        Role::Dba => "dba",
        Role::System => "system",
    }
}

/// The first value that is not NULL; later arguments are not evaluated.
fn coalesce(args: &[Expr], row: &[Value], context: &EvalContext<'_>) -> Result<Value, Diag> {
    for arg in args {
        let value = value(arg, row, context)?;
        if !value.is_null() {
            return Ok(value.into_owned());
        }
    }
    Ok(Value::Null)
}

/// Evaluated arguments, taken by place and type. What the binder should not have let through is a typed error.
struct Args<'a> {
    function: Function,
    values: &'a [Cow<'a, Value>],
}

impl<'a> Args<'a> {
    fn get(&self, at: usize) -> Result<&'a Value, Diag> {
        let value = self.values.get(at).map(|value| value.as_ref());
        value.ok_or_else(|| Diag::new(SqlState::INTERNAL, format!("{:?} lacks argument {}", self.function, at + 1)))
    }

    fn mismatch(&self, at: usize, value: &Value) -> Diag {
        wrong_type(&format!("argument {} of {:?}", at + 1, self.function), value)
    }

    fn text(&self, at: usize) -> Result<&'a str, Diag> {
        match self.get(at)? {
            Value::Text(text) => Ok(text),
            other => Err(self.mismatch(at, other)),
        }
    }

    fn integer(&self, at: usize) -> Result<i64, Diag> {
        let value = self.get(at)?;
        value.as_i64().ok_or_else(|| self.mismatch(at, value))
    }

    fn double(&self, at: usize) -> Result<f64, Diag> {
        operators::as_double(self.get(at)?)
    }

    fn timestamp(&self, at: usize) -> Result<i64, Diag> {
        match self.get(at)? {
            Value::Timestamp(micros) => Ok(*micros),
            other => Err(self.mismatch(at, other)),
        }
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    /// GREATEST and LEAST: NULLs are left out.
    fn extreme(&self, better: fn(std::cmp::Ordering) -> bool) -> Result<Value, Diag> {
        let mut best: Option<&Value> = None;
        for candidate in self.values.iter().map(|value| value.as_ref()).filter(|value| !value.is_null()) {
            let wins = match best {
                None => true,
                Some(best) => operators::ordering(candidate, best)?.is_some_and(better),
            };
            if wins {
                best = Some(candidate);
            }
        }
        Ok(best.cloned().unwrap_or(Value::Null))
    }

    /// NULLIF: NULL when both are equal, else the first.
    fn null_if(&self) -> Result<Value, Diag> {
        let first = self.get(0)?;
        let equal = operators::ordering(first, self.get(1)?)?.is_some_and(std::cmp::Ordering::is_eq);
        Ok(if equal { Value::Null } else { first.clone() })
    }
}
