//! The allow-list of functions and operators: their names, argument types and result types, for the binder.
//!
//! An argument of unknown type (NULL, an untyped literal, a parameter without context) is `None` and takes the type that the
//! signature wants. Among signatures that fit, the one with most exact types wins, then the later in the table.

mod aggregates;
mod operators;
mod table;

pub use self::aggregates::resolve_aggregate;
pub use self::operators::{resolve_operator, symbol};
use self::table::{AGGREGATES, FUNCTIONS, NOT_YET};
use crate::cast::{Coercion, allowed, common_type, digits};
use crate::diag::{Diag, SqlState};
use crate::expr::Function;
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
        /// How many arguments there are instead, when it is their number that is wrong.
        count: Option<String>,
    },
    /// An operator that does not exist for these types.
    #[error("operator does not exist: {call}")]
    NoOperator {
        /// The operation as asked for, with types.
        call: String,
        /// What may be meant.
        hint: &'static str,
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
            FunctionError::NoMatch { known, count: Some(count), .. } => {
                Self::new(SqlState::UNDEFINED_FUNCTION, message)
                    .hint(format!("it takes {count}: there is {}", known.join(", ")))
            }
            FunctionError::NoMatch { known, count: None, .. } => Self::new(SqlState::UNDEFINED_FUNCTION, message)
                .hint(format!("there is {}; add a CAST", known.join(", "))),
            FunctionError::NoOperator { hint, .. } => Self::new(SqlState::UNDEFINED_FUNCTION, message).hint(hint),
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
    /// As `Common`, of a type that has equality.
    CommonEqual,
    /// An array whose elements take the type in which the common arguments and they meet.
    Array,
}

/// What comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Is(DataType),
    /// The first argument's type, DECIMAL with all digits.
    First,
    /// The type in which the common arguments meet.
    Common,
    /// An array of that type.
    Array,
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

/// Every scalar function's name, sorted.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _, _)| *name)
}

/// What statements call a function, if it has a name: of several `usual`, or else the first.
pub fn name_of(function: Function, usual: &str) -> Option<&'static str> {
    let names = || FUNCTIONS.iter().filter(|(_, known, _)| *known == function).map(|(name, _, _)| *name);
    names().find(|name| *name == usual).or_else(|| names().next())
}

/// Types of arguments that the function of this name takes, a list per signature: `common` where a signature leaves it open.
#[cfg(test)]
pub(crate) fn sample_arguments(name: &str, common: DataType) -> Vec<Vec<DataType>> {
    let sample = |param: &Param| match param {
        Param::Is(data_type) => *data_type,
        Param::Integer => DataType::BigInt,
        Param::Decimal => DataType::DECIMAL,
        Param::Any | Param::Common | Param::CommonOrdered | Param::CommonEqual => common,
        Param::Array => common.array().unwrap_or(DataType::Array(crate::value::Element::Int)),
    };
    let signatures = FUNCTIONS.iter().filter(|(known, _, _)| *known == name).flat_map(|(_, _, signatures)| *signatures);
    let lists = signatures.flat_map(|signature| {
        let full = signature.required.iter().chain(signature.optional).chain(signature.variadic.iter());
        [signature.required.iter().map(sample).collect(), full.map(sample).collect()]
    });
    lists.collect()
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

/// The names that arguments may be given by, in the order of the signature; each is 0 when it is left out.
#[must_use]
pub fn named_arguments(name: &str) -> &'static [&'static str] {
    match name {
        "make_interval" => &["years", "months", "weeks", "days", "hours", "mins", "secs"],
        _ => &[],
    }
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
            count: count(signatures, args.len()),
        }),
    }
}

/// How many arguments the signatures take; `None` when this number is among them.
fn count(signatures: &[Signature], given: usize) -> Option<String> {
    let takes = |number: usize| {
        signatures.iter().any(|signature| {
            let most = signature.required.len() + signature.optional.len();
            number >= signature.required.len() && (number <= most || signature.variadic.is_some())
        })
    };
    if takes(given) {
        return None;
    }
    let numbers: Vec<String> = (0..=8).filter(|number| takes(*number)).map(|number| number.to_string()).collect();
    Some(match numbers.as_slice() {
        [] => "more arguments".to_owned(),
        [none] if none == "0" => "no arguments".to_owned(),
        [one] if one == "1" => "1 argument".to_owned(),
        [first, .., last] if takes(usize::MAX) && last == "8" => format!("{first} or more arguments"),
        [most @ .., last] if !most.is_empty() => format!("{} or {last} arguments", most.join(", ")),
        [some, ..] => format!("{some} arguments"),
    })
}

/// What a function of another system is called here.
fn of_another_system(name: &str) -> Option<&'static str> {
    Some(match name {
        "nvl" | "ifnull" | "isnull" => "coalesce",
        "len" | "char_count" => "length",
        "ucase" => "upper",
        "lcase" => "lower",
        "substr_index" | "substring_index" => "split_part",
        "instr" | "locate" | "charindex" => "strpos",
        "group_concat" | "listagg" => "string_agg",
        "getdate" | "sysdate" => "now",
        "newid" => "gen_random_uuid",
        "rand" => "random",
        "ceil_div" | "pow" => "power",
        "datepart" => "date_part",
        "datetrunc" => "date_trunc",
        _ => return None,
    })
}

fn missing(name: &str) -> FunctionError {
    let exists = |known: &&str| function_names().chain(aggregate_names()).any(|name| name == *known);
    if let Some(known) = of_another_system(name).filter(exists) {
        return FunctionError::Unknown { name: name.to_owned(), suggestions: vec![known.to_owned()] };
    }
    if NOT_YET.contains(&name) {
        return FunctionError::NotSupported { name: name.to_owned() };
    }
    let mut near: Vec<(usize, &str)> = function_names()
        .chain(aggregate_names())
        .filter(|known| known.len().abs_diff(name.len()) <= 2)
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
            Output::Array => common.array()?,
            Output::First => match casts.first()? {
                DataType::Decimal { scale, precision: 1.. } => {
                    DataType::Decimal { precision: MAX_DECIMAL_DIGITS, scale: *scale }
                }
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
    let mut types = marked(if integers {
        |param| *param == Param::Integer
    } else {
        |param| matches!(param, Param::Common | Param::CommonOrdered | Param::CommonEqual)
    });
    for array in marked(|param| *param == Param::Array) {
        types.push(array.element()?);
    }
    if types.is_empty() {
        return Some(if integers { DataType::BigInt } else { DataType::Text });
    }
    common_type(&types)
}

impl Param {
    /// The type to which the argument is cast; `None` when it cannot be.
    fn wanted(self, arg: Option<DataType>, common: DataType) -> Option<DataType> {
        match self {
            Self::Is(wanted) => {
                Some(wanted).filter(|wanted| arg.is_none_or(|arg| allowed(arg, *wanted, Coercion::Implicit)))
            }
            Self::Integer => match arg {
                Some(arg) => Some(common).filter(|_| arg.is_integer()),
                None => Some(common),
            },
            Self::Decimal => match arg {
                Some(DataType::DECIMAL) | None => Some(DataType::DECIMAL),
                Some(arg) => digits(arg).map(|(whole, scale)| DataType::Decimal { precision: whole + scale, scale }),
            },
            Self::Any => Some(arg.unwrap_or(DataType::Text)),
            Self::Common => Some(common),
            Self::CommonOrdered => Some(common).filter(DataType::is_comparable),
            Self::CommonEqual => Some(common).filter(DataType::has_equality),
            Self::Array => common.array(),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Is(data_type) => data_type.to_string(),
            Self::Integer => "BIGINT".to_owned(),
            Self::Decimal => "DECIMAL".to_owned(),
            Self::Any => "any".to_owned(),
            Self::Common | Self::CommonOrdered | Self::CommonEqual => "T".to_owned(),
            Self::Array => "T[]".to_owned(),
        }
    }
}
