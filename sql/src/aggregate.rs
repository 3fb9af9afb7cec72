//! Accumulators of aggregates: values in, one value out.
//!
//! Deterministic: equal values in an equal order give equal results on every machine. Sums of integers are exact in 128
//! bits, so that the order matters only to DOUBLE and to `string_agg`. NULLs do not count, but for `count(*)`.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rust_decimal::Decimal;

use crate::decimal;
use crate::diag::{Diag, SqlState};
use crate::expr::{AggregateCall, AggregateFunction};
use crate::value::{MAX_VALUE_BYTES, SortValue, Value, compare};

/// The state of one aggregate over one group.
#[derive(Clone, Debug)]
pub struct Accumulator {
    state: State,
    /// With DISTINCT: the values that have counted.
    seen: Option<BTreeSet<SortValue>>,
}

#[derive(Clone, Debug)]
enum State {
    CountStar(i64),
    Count(i64),
    Sum(Option<Sum>),
    Avg(Option<Sum>, i64),
    Extreme(Ordering, Option<Value>),
    /// Whether one value that equals `decisive` decides; what has been seen.
    Bool {
        decisive: bool,
        result: Option<bool>,
    },
    StringAgg(Option<String>),
}

/// A running sum in the widest type of its operands' kind.
#[derive(Clone, Copy, Debug)]
enum Sum {
    Integer(i128),
    Decimal(Decimal),
    Double(f64),
}

impl Sum {
    fn add(sum: Option<Self>, value: &Value) -> Result<Self, Diag> {
        match (sum, value) {
            (None | Some(Self::Double(_)), Value::Double(v)) => Ok(match sum {
                Some(Self::Double(sum)) => {
                    let total = sum + v;
                    if total.is_infinite() && sum.is_finite() && v.is_finite() {
                        return Err(Diag::new(SqlState::OUT_OF_RANGE, "sum is out of range for DOUBLE"));
                    }
                    Self::Double(total)
                }
                _ => Self::Double(*v),
            }),
            (None | Some(Self::Decimal(_)), Value::Decimal(v)) => Ok(Self::Decimal(match sum {
                Some(Self::Decimal(sum)) => decimal::add(sum, *v)?,
                _ => *v,
            })),
            (None | Some(Self::Integer(_)), other) => {
                let number = other.as_i64().ok_or_else(|| unfit("sum", other))?;
                let sum = match sum {
                    Some(Self::Integer(sum)) => sum,
                    _ => 0,
                };
                // Below 2^63 values of 2^63 each stay below 2^127.
                Ok(Self::Integer(sum.saturating_add(i128::from(number))))
            }
            (Some(_), other) => Err(unfit("sum", other)),
        }
    }

    fn finish(self) -> Result<Value, Diag> {
        match self {
            Self::Integer(sum) => i64::try_from(sum).map(Value::BigInt).map_err(|_| {
                Diag::new(SqlState::OUT_OF_RANGE, format!("sum {sum} is out of range for BIGINT"))
                    .hint("cast the argument to DECIMAL or DOUBLE")
            }),
            Self::Decimal(sum) => Ok(Value::Decimal(sum)),
            Self::Double(sum) => Ok(Value::Double(sum)),
        }
    }

    fn mean(self, count: i64) -> Result<Value, Diag> {
        let exact = |sum: Decimal| decimal::divide(sum, Decimal::from(count)).map(Value::Decimal);
        match self {
            Self::Integer(sum) => exact(Decimal::try_from_i128_with_scale(sum, 0).map_err(|_| decimal::overflow())?),
            Self::Decimal(sum) => exact(sum),
            #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as PostgreSQL's avg(float8)")]
            Self::Double(sum) => Ok(Value::Double(sum / count as f64)),
        }
    }
}

fn unfit(function: &str, value: &Value) -> Diag {
    let name = value.data_type().map_or_else(|| "NULL".to_owned(), |data_type| data_type.to_string());
    Diag::new(SqlState::DATATYPE_MISMATCH, format!("a value of type {name} does not fit {function}"))
}

impl Accumulator {
    /// The empty state.
    #[must_use]
    pub fn new(call: &AggregateCall) -> Self {
        let state = match call.function {
            AggregateFunction::CountStar => State::CountStar(0),
            AggregateFunction::Count => State::Count(0),
            AggregateFunction::Sum => State::Sum(None),
            AggregateFunction::Avg => State::Avg(None, 0),
            AggregateFunction::Min => State::Extreme(Ordering::Less, None),
            AggregateFunction::Max => State::Extreme(Ordering::Greater, None),
            AggregateFunction::BoolAnd => State::Bool { decisive: false, result: None },
            AggregateFunction::BoolOr => State::Bool { decisive: true, result: None },
            AggregateFunction::StringAgg => State::StringAgg(None),
        };
        Self { state, seen: call.distinct.then(BTreeSet::new) }
    }

    /// Takes one row's arguments; answers how many bytes of memory the state grew by.
    ///
    /// # Errors
    /// 22003 and 54000 where the result could not be right.
    pub fn update(&mut self, args: &[Value]) -> Result<usize, Diag> {
        if let State::CountStar(count) = &mut self.state {
            *count += 1;
            return Ok(0);
        }
        let value = args.first().ok_or_else(|| Diag::new(SqlState::INTERNAL, "an aggregate lacks its argument"))?;
        if value.is_null() {
            return Ok(0);
        }
        let mut grown = 0;
        if let Some(seen) = &mut self.seen {
            if !seen.insert(SortValue(value.clone())) {
                return Ok(0);
            }
            grown = value.size();
        }
        Ok(grown + self.state.take(value, args)?)
    }

    /// The result; NULL (0 for counts) when no value counted.
    ///
    /// # Errors
    /// 22003 when a sum is beyond its type.
    pub fn finish(self) -> Result<Value, Diag> {
        match self.state {
            State::CountStar(count) | State::Count(count) => Ok(Value::BigInt(count)),
            State::Sum(sum) => sum.map_or(Ok(Value::Null), Sum::finish),
            State::Avg(sum, count) => sum.map_or(Ok(Value::Null), |sum| sum.mean(count)),
            State::Extreme(_, value) => Ok(value.unwrap_or(Value::Null)),
            State::Bool { result, .. } => Ok(result.map_or(Value::Null, Value::Boolean)),
            State::StringAgg(text) => Ok(text.map_or(Value::Null, Value::Text)),
        }
    }
}

impl State {
    /// Takes a value that counts; answers how many bytes the state grew by.
    fn take(&mut self, value: &Value, args: &[Value]) -> Result<usize, Diag> {
        match self {
            Self::CountStar(count) | Self::Count(count) => *count += 1,
            Self::Sum(sum) => *sum = Some(Sum::add(*sum, value)?),
            Self::Avg(sum, count) => {
                *sum = Some(Sum::add(*sum, value)?);
                *count += 1;
            }
            Self::Extreme(wanted, best) => {
                let wins = match best {
                    None => true,
                    Some(best) => compare(value, best).ok_or_else(|| unfit("min and max", value))? == *wanted,
                };
                if wins {
                    let before = best.as_ref().map_or(0, Value::size);
                    *best = Some(value.clone());
                    return Ok(value.size().saturating_sub(before));
                }
            }
            Self::Bool { decisive, result } => match value {
                Value::Boolean(v) => {
                    *result = Some(if *v == *decisive { *decisive } else { result.unwrap_or(!*decisive) })
                }
                other => return Err(unfit("bool_and and bool_or", other)),
            },
            Self::StringAgg(text) => return append(text, value, args.get(1)),
        }
        Ok(0)
    }
}

/// `string_agg`: the separator stands before every value but the first.
fn append(text: &mut Option<String>, value: &Value, separator: Option<&Value>) -> Result<usize, Diag> {
    let Value::Text(value) = value else { return Err(unfit("string_agg", value)) };
    let Some(text) = text else {
        *text = Some(value.clone());
        return Ok(value.len());
    };
    let separator = match separator {
        Some(Value::Text(separator)) => separator.as_str(),
        Some(Value::Null) | None => "",
        Some(other) => return Err(unfit("string_agg", other)),
    };
    let grown = separator.len() + value.len();
    if text.len().saturating_add(grown) > MAX_VALUE_BYTES {
        return Err(Diag::new(SqlState::PROGRAM_LIMIT, format!("string_agg made more than {MAX_VALUE_BYTES} bytes"))
            .hint("aggregate fewer rows per group"));
    }
    text.push_str(separator);
    text.push_str(value);
    Ok(grown)
}

#[cfg(test)]
mod tests;
