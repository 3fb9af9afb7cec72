//! Scalar functions: dispatch, and the rules for NULL that they share.
//!
//! A function is NULL when an argument is, but for those that [`call`] names first. Each family has a file.

pub(super) mod array;
pub(super) mod calendar;
mod construct;
pub(super) mod document;
mod figures;
mod format;
mod number;
mod pattern;
mod template;
mod text;
mod time;
mod trigonometry;
mod vector;

use std::borrow::Cow;

use super::{EvalContext, operators, value, wrong_type};
use crate::catalog::Role;
use crate::datetime::DAY;
use crate::diag::{Diag, SqlState};
use crate::embedding;
use crate::expr::{Expr, Function};
use crate::value::{DataType, Value};

pub(super) use self::number::power;

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
        Function::Now => return Ok(Value::DateTime(context.now)),
        Function::LocalTimestamp => return Ok(Value::Timestamp(context.now)),
        Function::LocalTime => return Ok(Value::Time(context.now.rem_euclid(DAY))),
        Function::CurrentDate => return calendar::as_date(context.now),
        Function::Random => return Ok(Value::Double(context.random())),
        Function::GenRandomUuid => return Ok(Value::Uuid(context.uuid_v4())),
        Function::Pi => return Ok(Value::Double(std::f64::consts::PI)),
        Function::SnowflakeId => return Ok(Value::BigInt(context.snowflake_id())),
        Function::UuidV7 => return Ok(Value::Uuid(context.uuid_v7())),
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
        Function::JsonBuildArray => return document::build_array(&args),
        Function::Format => return format::format(&args),
        Function::QuoteNullable if args.get(0)?.is_null() => return Ok(Value::Text("NULL".to_owned())),
        Function::NumNulls => return Ok(args.count(true)),
        Function::NumNonNulls => return Ok(args.count(false)),
        Function::ArrayOf => return array::build(&args, data_type),
        Function::ArrayAppend => return array::append(&args, data_type),
        Function::ArrayPrepend => return array::prepend(&args, data_type),
        Function::ArrayCat => return array::cat(&args, data_type),
        Function::ArrayPosition => return array::position(&args),
        Function::ArrayPositions => return array::positions(&args),
        Function::ArrayRemove => return array::remove(&args),
        Function::ArrayReplace => return array::replace(&args),
        Function::ArrayToString => return array::to_string(&args),
        Function::StringToArray => return array::from_string(&args),
        Function::ArrayFill => return array::fill(&args, data_type),
        Function::Any(op) => return array::quantified(op, false, &args),
        Function::All(op) => return array::quantified(op, true, &args),
        Function::LikeEach { case_insensitive, negated, all } => {
            return array::like_each(case_insensitive, negated, all, &args);
        }
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
        Function::Substring if matches!(args.values.get(1).map(Cow::as_ref), Some(Value::Text(_))) => {
            pattern::substring(&args, context)
        }
        Function::Substring => text::substring(&args),
        Function::Position => text::position(args.get(0)?, args.get(1)?),
        Function::StrPos => text::position(args.get(1)?, args.get(0)?),
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
        Function::DateTrunc => time::date_trunc(args.text(0)?, args.get(1)?),
        Function::DatePart => time::date_part(args.text(0)?, args.get(1)?, data_type),
        Function::ToTimestamp if args.len() == 2 => template::read(args.text(0)?, args.text(1)?).map(Value::DateTime),
        Function::ToTimestamp => time::to_timestamp(args.double(0)?),
        Function::JsonTypeof => construct::json_typeof(args.get(0)?),
        Function::Subscript => array::subscript(&args),
        Function::Slice => array::slice(&args),
        Function::ArrayLength => array::length(&args),
        Function::ArrayLower => array::lower(&args),
        Function::ArrayDims => array::dimensions(args.get(0)?),
        Function::ArrayNdims => array::dimension_count(args.get(0)?),
        Function::Cardinality => array::cardinality(args.get(0)?),
        Function::TrimArray => array::trim(&args),
        Function::Ascii => Ok(text::ascii(args.text(0)?)),
        Function::Chr => text::chr(args.integer(0)?),
        Function::InitCap => Ok(Value::Text(text::init_cap(args.text(0)?))),
        Function::Reverse => Ok(Value::Text(args.text(0)?.chars().rev().collect())),
        Function::Repeat => text::repeat(args.text(0)?, args.integer(1)?),
        Function::Translate => Ok(Value::Text(text::translate(args.text(0)?, args.text(1)?, args.text(2)?))),
        Function::Overlay => text::overlay(&args),
        Function::ToHex => text::to_hex(args.get(0)?),
        Function::QuoteLiteral | Function::QuoteNullable => {
            let quoted = format::literal(&crate::cast::to_text(args.get(0)?));
            operators::check_length(quoted.len()).map(|()| Value::Text(quoted))
        }
        Function::QuoteIdent => {
            let quoted = format::identifier(args.text(0)?);
            operators::check_length(quoted.len()).map(|()| Value::Text(quoted))
        }
        Function::Sha512 => construct::sha512(args.get(0)?),
        Function::RegexpMatch => pattern::first_match(&args, context),
        Function::RegexpReplace => pattern::replace(&args, context),
        Function::RegexpLike => pattern::like(&args, context),
        Function::RegexpCount => pattern::count(&args, context),
        Function::RegexpSubstr => pattern::substr(&args, context),
        Function::RegexpSplitToArray => pattern::split(&args, context),
        Function::Similar => pattern::similar_to(&args, context),
        Function::Div => number::div(args.get(0)?, args.get(1)?),
        Function::Gcd => number::gcd(args.get(0)?, args.get(1)?),
        Function::Lcm => number::lcm(args.get(0)?, args.get(1)?),
        Function::Atan2 => Ok(Value::Double(libm::atan2(args.double(0)?, args.double(1)?))),
        Function::Factorial => number::factorial(args.integer(0)?),
        Function::WidthBucket if args.len() == 2 => array::bucket(&args),
        Function::WidthBucket => number::width_bucket(&args),
        Function::Scale | Function::MinScale => number::scale(args.get(0)?, function == Function::MinScale),
        Function::TrimScale => Ok(Value::Decimal(operators::as_decimal(args.get(0)?)?.normalize())),
        Function::Age => calendar::age(
            calendar::instant(args.get(0)?)?,
            match values.get(1) {
                Some(earlier) => calendar::instant(earlier)?,
                None => {
                    return calendar::age(context.now - context.now.rem_euclid(DAY), calendar::instant(args.get(0)?)?);
                }
            },
        ),
        Function::MakeDate => calendar::make_date(&args),
        Function::MakeTime => calendar::make_time(&args),
        Function::MakeTimestamp => calendar::make_timestamp(&args).map(Value::Timestamp),
        Function::MakeTimestamptz => calendar::make_timestamp(&args).map(Value::DateTime),
        Function::MakeInterval => calendar::make_interval(&args),
        Function::JustifyDays | Function::JustifyHours | Function::JustifyInterval => {
            let span = calendar::interval(args.get(0)?)?;
            let justified = match function {
                Function::JustifyDays => span.justified_days(),
                Function::JustifyHours => span.justified_hours(),
                _ => span.justified(),
            };
            justified.map(Value::Interval).ok_or_else(calendar::interval_out_of_range)
        }
        Function::DateBin => calendar::date_bin(&args),
        Function::ToChar => time::to_char(args.get(0)?, args.text(1)?),
        Function::ToDate => template::read_date(args.text(0)?, args.text(1)?).map(Value::Date),
        Function::ToNumber => figures::parse(args.text(0)?, args.text(1)?).map(Value::Decimal),
        Function::AtTimeZone => calendar::at_time_zone(&args),
        Function::Overlaps => calendar::overlaps(&args),
        Function::ToJson => document::to_json(args.get(0)?),
        Function::JsonArrayLength => document::array_length(args.get(0)?),
        Function::JsonExtractPath => document::extract_path(&args, false),
        Function::JsonExtractPathText => document::extract_path(&args, true),
        Function::JsonSet => document::set(&args, false),
        Function::JsonInsert => document::set(&args, true),
        Function::JsonStripNulls => document::strip_nulls(args.get(0)?),
        Function::JsonPretty => document::pretty(args.get(0)?),
        Function::IsJson => document::is_json(&args),
        Function::CosineDistance => vector::of_two(&args, embedding::cosine_distance),
        Function::L2Distance => vector::of_two(&args, embedding::l2_distance),
        Function::InnerProduct => vector::of_two(&args, embedding::inner_product),
        Function::VectorDims => vector::dimensions(args.get(0)?),
        Function::VectorNorm => vector::norm(args.get(0)?),
        Function::Degrees
        | Function::Radians
        | Function::Sin
        | Function::Cos
        | Function::Tan
        | Function::Cot
        | Function::Asin
        | Function::Acos
        | Function::Atan
        | Function::Sinh
        | Function::Cosh
        | Function::Tanh
        | Function::Asinh
        | Function::Acosh
        | Function::Atanh
        | Function::Cbrt => trigonometry::call(function, args.double(0)?)
            .unwrap_or_else(|| Err(Diag::new(SqlState::INTERNAL, "this function has no value"))),
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
        | Function::CurrentRole
        | Function::LocalTimestamp
        | Function::LocalTime
        | Function::CurrentDate
        | Function::Random
        | Function::GenRandomUuid
        | Function::Pi
        | Function::JsonBuildArray
        | Function::Format
        | Function::NumNulls
        | Function::NumNonNulls
        | Function::ArrayOf
        | Function::ArrayAppend
        | Function::ArrayPrepend
        | Function::ArrayCat
        | Function::ArrayPosition
        | Function::ArrayPositions
        | Function::ArrayRemove
        | Function::ArrayReplace
        | Function::ArrayToString
        | Function::StringToArray
        | Function::ArrayFill
        | Function::Any(_)
        | Function::All(_)
        | Function::LikeEach { .. } => {
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

    /// How many arguments are NULL, or are not.
    fn count(&self, nulls: bool) -> Value {
        let found = self.values.iter().filter(|value| value.is_null() == nulls).count();
        Value::Int(i32::try_from(found).unwrap_or(i32::MAX))
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
