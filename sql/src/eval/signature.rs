//! The allow-list of functions and operators: their names, argument types and result types, for the binder.
//!
//! An argument of unknown type (NULL, an untyped literal, a parameter without context) is `None` and takes the type that the
//! signature wants. Among signatures that fit, the one with most exact types wins, then the later in the table.

use crate::cast::{Coercion, allowed, common_type, digits};
use crate::diag::{Diag, SqlState};
use crate::expr::{AggregateFunction, BinaryOp, Function};
use crate::value::{DataType, MAX_DECIMAL_DIGITS};

/// Why a function or operator cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionError {
    /// There is none of this name.
    #[error("function {name} does not exist")]
    Unknown {
        /// The name asked for.
        name: String,
        /// Names that it may stand for, best first.
        suggestions: Vec<String>,
    },
    /// It belongs to the dialect, but does not exist yet.
    #[error("function {name} is not supported")]
    NotSupported {
        /// The name asked for.
        name: String,
    },
    /// It exists, but not with these arguments.
    #[error("function {call} does not exist")]
    NoMatch {
        /// The call as asked for, with types.
        call: String,
        /// The calls that do exist.
        known: Vec<String>,
    },
    /// An operator that does not exist for these types.
    #[error("operator does not exist: {call}")]
    NoOperator {
        /// The operation as asked for, with types.
        call: String,
        /// Whether a side is JSON.
        json: bool,
    },
}

impl From<FunctionError> for Diag {
    fn from(error: FunctionError) -> Self {
        let message = error.to_string();
        match error {
            FunctionError::Unknown { suggestions, .. } => {
                let mut diag = Self::new(SqlState::UNDEFINED_FUNCTION, message);
                diag.suggestions = suggestions;
                diag
            }
            FunctionError::NotSupported { .. } => Self::new(SqlState::NOT_SUPPORTED, message),
            FunctionError::NoMatch { known, .. } => {
                Self::new(SqlState::UNDEFINED_FUNCTION, message).hint(format!("there is {}; add a CAST", known.join(", ")))
            }
            FunctionError::NoOperator { json: true, .. } => Self::new(SqlState::UNDEFINED_FUNCTION, message)
                .hint("JSON has no order and no equality: take a member out with ->> and cast it"),
            FunctionError::NoOperator { .. } => Self::new(SqlState::UNDEFINED_FUNCTION, message).hint("add a CAST to one side"),
        }
    }
}

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Param {
    /// This type, or one that converts to it implicitly.
    Is(DataType),
    /// An integer of any width, kept.
    Integer,
    /// A DECIMAL kept, or an integer.
    Decimal,
    /// Anything, kept; TEXT when unknown.
    Any,
    /// All arguments so marked take one type in which they meet.
    Common,
    /// As `Common`, of a type that has an order.
    CommonOrdered,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Is(DataType),
    /// The first argument's type, DECIMAL with all digits.
    First,
    /// The type in which the common arguments meet.
    Common,
}

#[derive(Clone, Copy, Debug)]
struct Signature {
    required: &'static [Param],
    optional: &'static [Param],
    /// Repeats after the others.
    variadic: Option<Param>,
    output: Output,
}

const fn fixed(required: &'static [Param], output: Output) -> Signature {
    Signature { required, optional: &[], variadic: None, output }
}

const fn optional(required: &'static [Param], optional: &'static [Param], output: Output) -> Signature {
    Signature { required, optional, variadic: None, output }
}

const fn variadic(required: &'static [Param], repeated: Param, output: Output) -> Signature {
    Signature { required, optional: &[], variadic: Some(repeated), output }
}

const TEXT: Param = Param::Is(DataType::Text);
const BYTES: Param = Param::Is(DataType::Bytes);
const DOUBLE: Param = Param::Is(DataType::Double);
const WHOLE: Param = Param::Is(DataType::BigInt);
const TIME: Param = Param::Is(DataType::Timestamp);
const JSON: Param = Param::Is(DataType::Json);

const TO_TEXT: Output = Output::Is(DataType::Text);
const TO_BYTES: Output = Output::Is(DataType::Bytes);
const TO_DOUBLE: Output = Output::Is(DataType::Double);
const TO_INT: Output = Output::Is(DataType::Int);
const TO_BIGINT: Output = Output::Is(DataType::BigInt);
const TO_BOOLEAN: Output = Output::Is(DataType::Boolean);
const TO_TIME: Output = Output::Is(DataType::Timestamp);
const TO_JSON: Output = Output::Is(DataType::Json);
/// EXTRACT has six digits after the point at most.
const TO_EXTRACT: Output = Output::Is(DataType::Decimal { precision: MAX_DECIMAL_DIGITS, scale: 6 });

const ANY_NUMBER: &[Signature] =
    &[fixed(&[Param::Integer], Output::First), fixed(&[Param::Decimal], Output::First), fixed(&[DOUBLE], TO_DOUBLE)];
const DECIMAL_OR_DOUBLE: &[Signature] = &[fixed(&[Param::Decimal], Output::First), fixed(&[DOUBLE], TO_DOUBLE)];
const ROUNDING: &[Signature] = &[
    fixed(&[Param::Decimal], Output::First),
    fixed(&[DOUBLE], TO_DOUBLE),
    fixed(&[Param::Decimal, WHOLE], Output::First),
];
const MODULO: &[Signature] =
    &[fixed(&[Param::Decimal, Param::Decimal], Output::First), fixed(&[Param::Integer, Param::Integer], Output::Common)];
const OF_DOUBLE: &[Signature] = &[fixed(&[DOUBLE], TO_DOUBLE)];
const TWO_DOUBLES: &[Signature] = &[fixed(&[DOUBLE, DOUBLE], TO_DOUBLE)];
const LENGTH: &[Signature] = &[fixed(&[BYTES], TO_INT), fixed(&[TEXT], TO_INT)];
const TEXT_TO_TEXT: &[Signature] = &[fixed(&[TEXT], TO_TEXT)];
const SUBSTRING: &[Signature] =
    &[optional(&[BYTES, WHOLE], &[WHOLE], TO_BYTES), optional(&[TEXT, WHOLE], &[WHOLE], TO_TEXT)];
const POSITION: &[Signature] = &[fixed(&[BYTES, BYTES], TO_INT), fixed(&[TEXT, TEXT], TO_INT)];
const TRIM: &[Signature] = &[optional(&[TEXT], &[TEXT], TO_TEXT)];
const PAD: &[Signature] = &[optional(&[TEXT, WHOLE], &[TEXT], TO_TEXT)];
const SIDE: &[Signature] = &[fixed(&[TEXT, WHOLE], TO_TEXT)];
const NOTHING_TO_TEXT: &[Signature] = &[fixed(&[], TO_TEXT)];
const TIME_FIELD: &[Signature] = &[fixed(&[TIME], TO_INT)];
const JSON_OBJECT: &[Signature] = &[variadic(&[], Param::Any, TO_JSON)];
const EXTREME: &[Signature] = &[variadic(&[Param::CommonOrdered], Param::CommonOrdered, Output::Common)];

/// Every name, sorted, with its function and signatures.
const FUNCTIONS: &[(&str, Function, &[Signature])] = &[
    ("abs", Function::Abs, ANY_NUMBER),
    ("btrim", Function::Trim, TRIM),
    ("ceil", Function::Ceil, DECIMAL_OR_DOUBLE),
    ("ceiling", Function::Ceil, DECIMAL_OR_DOUBLE),
    ("char_length", Function::Length, LENGTH),
    ("character_length", Function::Length, LENGTH),
    ("coalesce", Function::Coalesce, &[variadic(&[Param::Common], Param::Common, Output::Common)]),
    ("concat", Function::Concat, &[variadic(&[], Param::Any, TO_TEXT)]),
    ("concat_ws", Function::ConcatWs, &[variadic(&[TEXT], Param::Any, TO_TEXT)]),
    ("current_role", Function::CurrentRole, NOTHING_TO_TEXT),
    ("current_timestamp", Function::Now, &[fixed(&[], TO_TIME)]),
    ("current_user", Function::CurrentUser, NOTHING_TO_TEXT),
    ("date_part", Function::DatePart, &[fixed(&[TEXT, TIME], TO_DOUBLE)]),
    ("date_trunc", Function::DateTrunc, &[fixed(&[TEXT, TIME], TO_TIME)]),
    ("day", Function::DatePart, TIME_FIELD),
    ("decode", Function::Decode, &[fixed(&[TEXT, TEXT], TO_BYTES)]),
    ("encode", Function::Encode, &[fixed(&[TEXT, TEXT], TO_TEXT), fixed(&[BYTES, TEXT], TO_TEXT)]),
    ("exp", Function::Exp, OF_DOUBLE),
    ("extract", Function::DatePart, &[fixed(&[TEXT, TIME], TO_EXTRACT)]),
    ("floor", Function::Floor, DECIMAL_OR_DOUBLE),
    ("greatest", Function::Greatest, EXTREME),
    ("hour", Function::DatePart, TIME_FIELD),
    ("json_build_object", Function::JsonBuildObject, JSON_OBJECT),
    ("json_typeof", Function::JsonTypeof, &[fixed(&[JSON], TO_TEXT)]),
    ("jsonb_build_object", Function::JsonBuildObject, JSON_OBJECT),
    ("jsonb_typeof", Function::JsonTypeof, &[fixed(&[JSON], TO_TEXT)]),
    ("least", Function::Least, EXTREME),
    ("left", Function::Left, SIDE),
    ("length", Function::Length, LENGTH),
    ("ln", Function::Ln, OF_DOUBLE),
    ("log", Function::Log, &[optional(&[DOUBLE], &[DOUBLE], TO_DOUBLE)]),
    ("log10", Function::Log, OF_DOUBLE),
    ("lower", Function::Lower, TEXT_TO_TEXT),
    ("lpad", Function::LeftPad, PAD),
    ("ltrim", Function::LeftTrim, TRIM),
    ("md5", Function::Md5, &[fixed(&[BYTES], TO_TEXT), fixed(&[TEXT], TO_TEXT)]),
    ("minute", Function::DatePart, TIME_FIELD),
    ("mod", Function::Mod, MODULO),
    ("month", Function::DatePart, TIME_FIELD),
    ("now", Function::Now, &[fixed(&[], TO_TIME)]),
    ("nullif", Function::NullIf, &[fixed(&[Param::CommonOrdered, Param::CommonOrdered], Output::Common)]),
    ("octet_length", Function::OctetLength, LENGTH),
    ("position", Function::Position, POSITION),
    ("pow", Function::Power, TWO_DOUBLES),
    ("power", Function::Power, TWO_DOUBLES),
    ("replace", Function::Replace, &[fixed(&[TEXT, TEXT, TEXT], TO_TEXT)]),
    ("right", Function::Right, SIDE),
    ("round", Function::Round, ROUNDING),
    ("rpad", Function::RightPad, PAD),
    ("rtrim", Function::RightTrim, TRIM),
    ("second", Function::DatePart, TIME_FIELD),
    ("session_user", Function::CurrentUser, NOTHING_TO_TEXT),
    ("sha256", Function::Sha256, &[fixed(&[TEXT], TO_BYTES), fixed(&[BYTES], TO_BYTES)]),
    ("sign", Function::Sign, DECIMAL_OR_DOUBLE),
    ("snowflake_id", Function::SnowflakeId, &[fixed(&[], TO_BIGINT)]),
    ("split_part", Function::SplitPart, &[fixed(&[TEXT, TEXT, WHOLE], TO_TEXT)]),
    ("sqrt", Function::Sqrt, OF_DOUBLE),
    ("starts_with", Function::StartsWith, &[fixed(&[TEXT, TEXT], TO_BOOLEAN)]),
    ("substr", Function::Substring, SUBSTRING),
    ("substring", Function::Substring, SUBSTRING),
    ("to_timestamp", Function::ToTimestamp, &[fixed(&[DOUBLE], TO_TIME)]),
    ("trim", Function::Trim, TRIM),
    ("trunc", Function::Trunc, ROUNDING),
    ("ulid", Function::Ulid, NOTHING_TO_TEXT),
    ("upper", Function::Upper, TEXT_TO_TEXT),
    ("user", Function::CurrentUser, NOTHING_TO_TEXT),
    ("uuid_v7", Function::UuidV7, NOTHING_TO_TEXT),
    ("year", Function::DatePart, TIME_FIELD),
];

/// Functions and aggregates of the dialect that do not exist yet.
const NOT_YET: &[&str] = &[
    "age", "array_agg", "cosine_distance", "date_bin", "format", "json_agg", "json_build_array", "jsonb_agg", "jsonb_set",
    "l2_distance", "regexp_match", "regexp_matches", "regexp_replace", "row_to_json", "stddev", "stddev_pop", "stddev_samp",
    "strpos", "to_char", "to_date", "to_json", "to_jsonb", "var_pop", "var_samp", "variance",
];

const AGGREGATES: &[&str] = &["avg", "bool_and", "bool_or", "count", "every", "max", "min", "string_agg", "sum"];

/// Every scalar function's name, sorted.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _, _)| *name)
}

/// Every aggregate's name, sorted.
pub fn aggregate_names() -> impl Iterator<Item = &'static str> {
    AGGREGATES.iter().copied()
}

/// The text literal that the binder puts before the arguments of `year(ts)` and its kin, which are DATE_PART of one field.
/// [`resolve_function`] gives types for the written arguments only.
#[must_use]
pub fn implied_argument(name: &str) -> Option<&'static str> {
    ["year", "month", "day", "hour", "minute", "second"].into_iter().find(|field| *field == name)
}

/// The function of this name (lower case) for these argument types: which one, the types to which the arguments are cast,
/// and the type of the result.
///
/// # Errors
/// No such function, or none for these types.
pub fn resolve_function(
    name: &str,
    args: &[Option<DataType>],
) -> Result<(Function, Vec<DataType>, DataType), FunctionError> {
    let Some((_, function, signatures)) = FUNCTIONS.iter().find(|(known, _, _)| *known == name) else {
        return Err(missing(name));
    };
    let mut best: Option<(usize, Vec<DataType>, DataType)> = None;
    for signature in *signatures {
        if let Some(found) = signature.fit(args)
            && best.as_ref().is_none_or(|(score, _, _)| found.0 >= *score)
        {
            best = Some(found);
        }
    }
    match best {
        Some((_, casts, result)) => Ok((*function, casts, result)),
        None => Err(FunctionError::NoMatch {
            call: call(name, args),
            known: signatures.iter().map(|signature| signature.describe(name)).collect(),
        }),
    }
}

fn missing(name: &str) -> FunctionError {
    if NOT_YET.contains(&name) {
        return FunctionError::NotSupported { name: name.to_owned() };
    }
    let mut near: Vec<(usize, &str)> = function_names()
        .chain(aggregate_names())
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 2 && *distance < known.len())
        .collect();
    near.sort_unstable();
    let suggestions = near.into_iter().take(3).map(|(_, known)| known.to_owned()).collect();
    FunctionError::Unknown { name: name.to_owned(), suggestions }
}

fn type_name(data_type: Option<DataType>) -> String {
    data_type.map_or_else(|| "unknown".to_owned(), |data_type| data_type.to_string())
}

fn call(name: &str, args: &[Option<DataType>]) -> String {
    let types: Vec<String> = args.iter().map(|arg| type_name(*arg)).collect();
    format!("{name}({})", types.join(", "))
}

impl Signature {
    fn param(&self, at: usize) -> Option<Param> {
        let fixed = self.required.get(at).or_else(|| self.optional.get(at.checked_sub(self.required.len())?));
        fixed.copied().or(self.variadic)
    }

    /// How many arguments have exactly the wanted type, the types to cast to, and the result's; `None` when they do not fit.
    fn fit(&self, args: &[Option<DataType>]) -> Option<(usize, Vec<DataType>, DataType)> {
        if args.len() < self.required.len() {
            return None;
        }
        let params: Vec<Param> = (0..args.len()).map(|at| self.param(at)).collect::<Option<_>>()?;
        let common = common_of(&params, args)?;
        let mut score = 0;
        let mut casts = Vec::with_capacity(args.len());
        for (param, arg) in params.iter().zip(args) {
            let cast = param.wanted(*arg, common)?;
            score += usize::from(arg.is_some_and(|arg| arg.same_kind(&cast)));
            casts.push(cast);
        }
        let output = match self.output {
            Output::Is(data_type) => data_type,
            Output::Common => common,
            Output::First => match casts.first()? {
                DataType::Decimal { scale, .. } => DataType::Decimal { precision: MAX_DECIMAL_DIGITS, scale: *scale },
                other => *other,
            },
        };
        Some((score, casts, output))
    }

    fn describe(&self, name: &str) -> String {
        let mut parts: Vec<String> = self.required.iter().map(|param| param.describe()).collect();
        parts.extend(self.optional.iter().map(|param| format!("[{}]", param.describe())));
        parts.extend(self.variadic.map(|param| format!("{} ...", param.describe())));
        format!("{name}({})", parts.join(", "))
    }
}

/// The type in which the arguments that must agree meet; TEXT (BIGINT among integers) when all of them are unknown, or none
/// must. `None` when they do not meet.
fn common_of(params: &[Param], args: &[Option<DataType>]) -> Option<DataType> {
    let marked = |wanted: fn(&Param) -> bool| -> Vec<DataType> {
        params.iter().zip(args).filter(|(param, _)| wanted(param)).filter_map(|(_, arg)| *arg).collect()
    };
    let integers = params.contains(&Param::Integer);
    let types =
        marked(if integers { |param| *param == Param::Integer } else { |param| matches!(param, Param::Common | Param::CommonOrdered) });
    if types.is_empty() {
        return Some(if integers { DataType::BigInt } else { DataType::Text });
    }
    common_type(&types)
}

impl Param {
    /// The type to which the argument is cast; `None` when it cannot be.
    fn wanted(self, arg: Option<DataType>, common: DataType) -> Option<DataType> {
        match self {
            Self::Is(wanted) => Some(wanted).filter(|wanted| arg.is_none_or(|arg| allowed(arg, *wanted, Coercion::Implicit))),
            Self::Integer => match arg {
                Some(arg) => Some(common).filter(|_| arg.is_integer()),
                None => Some(common),
            },
            Self::Decimal => match arg {
                Some(arg) => digits(arg).map(|(whole, scale)| DataType::Decimal { precision: whole + scale, scale }),
                None => Some(UNKNOWN_DECIMAL),
            },
            Self::Any => Some(arg.unwrap_or(DataType::Text)),
            Self::Common => Some(common),
            Self::CommonOrdered => Some(common).filter(DataType::is_comparable),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Is(data_type) => data_type.to_string(),
            Self::Integer => "BIGINT".to_owned(),
            Self::Decimal => "DECIMAL".to_owned(),
            Self::Any => "any".to_owned(),
            Self::Common | Self::CommonOrdered => "T".to_owned(),
        }
    }
}

/// DECIMAL for a value of which nothing is known: room on both sides of the point.
const UNKNOWN_DECIMAL: DataType = DataType::Decimal { precision: MAX_DECIMAL_DIGITS, scale: 10 };

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
