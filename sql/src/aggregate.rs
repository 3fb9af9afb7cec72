//! Accumulators of aggregates: values in, one value out.
//!
//! Deterministic: equal values in an equal order give equal results on every machine. NULLs do not count, but for `count(*)`
//! and for the aggregates that collect them.
//!
//! A state can be merged with another ([`Accumulator::merge`]), which partial aggregates of shards need, and some can give a
//! value back ([`Accumulator::retract`]), which views and moving frames need:
//!
//! | aggregate | order matters | retract |
//! |---|---|---|
//! | count, sum and avg of integers and intervals | no | yes |
//! | variance and deviation of integers | no | yes |
//! | sum and avg of DECIMAL | no, within 28 digits | yes, within 28 digits |
//! | sum, avg, variance of REAL and DOUBLE | in the last digits | no |
//! | min, max, bool_*, bit_* | no | no |
//! //! | string_agg, array_agg, json_agg, json_object_agg | yes | no |
//!
//! DISTINCT and ORDER BY keep the values and work at the end; both merge, neither retracts. DISTINCT values count in their
//! order, so the order of arrival does not matter then.

mod ordered;
mod variance;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rust_decimal::Decimal;

use self::ordered::{Given, OrderedValues};
use self::variance::{Kind, Moments};
use crate::cast;
use crate::decimal;
use crate::diag::{Diag, SqlState};
use crate::expr::{AggregateCall, AggregateFunction};
use crate::interval::Interval;
use crate::json;
use crate::runs::Portion;
use crate::value::{Array, DataType, Element, MAX_VALUE_BYTES, Row, SortValue, Value, compare};

/// Arguments that count, and the sort keys behind them.
type Counted<'v> = (&'v [Value], &'v [Value]);

/// The state of one aggregate over one group.
#[derive(Clone, Debug)]
pub struct Accumulator {
    state: State,
    /// With DISTINCT and without ORDER BY: the arguments that will count.
    distinct: Option<BTreeSet<Vec<SortValue>>>,
    /// With ORDER BY: the values that will count.
    ordered: Option<Box<OrderedValues>>,
    filtered: bool,
    /// Type of the result.
    data_type: DataType,
}

#[derive(Clone, Debug)]
enum State {
    CountStar(i64),
    Count(i64),
    Sum(Option<Sum>, i64),
    Avg(Option<Sum>, i64),
    Extreme(Ordering, Option<Value>),
    /// Whether one value that equals `decisive` decides; what has been seen.
    Bool {
        decisive: bool,
        result: Option<bool>,
    },
    Bits(BitOperation, Option<Value>),
    Variance(Kind, Option<Moments>),
    /// The text so far, and the separator that stood before its first value, for a merge.
    StringAgg(Option<(String, String)>),
    Array {
        element: Element,
        items: Option<Vec<Value>>,
        bytes: usize,
    },
    /// The inside of an array or object so far.
    Json {
        object: bool,
        text: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BitOperation {
    And,
    Or,
    Xor,
}

impl BitOperation {
    fn apply(self, left: &Value, right: &Value) -> Result<Value, Diag> {
        let bits = |l: i64, r: i64| match self {
            Self::And => l & r,
            Self::Or => l | r,
            Self::Xor => l ^ r,
        };
        match (left, right) {
            (Value::SmallInt(l), Value::SmallInt(r)) => {
                Ok(Value::SmallInt(i16::try_from(bits(i64::from(*l), i64::from(*r))).unwrap_or(0)))
            }
            (Value::Int(l), Value::Int(r)) => {
                Ok(Value::Int(i32::try_from(bits(i64::from(*l), i64::from(*r))).unwrap_or(0)))
            }
            (Value::BigInt(l), Value::BigInt(r)) => Ok(Value::BigInt(bits(*l, *r))),
            (_, other) => Err(unfit("a bit aggregate", other)),
        }
    }
}

/// A running sum in the widest type of its operands' kind.
#[derive(Clone, Copy, Debug)]
enum Sum {
    Integer(i128),
    Decimal(Decimal),
    Double(f64),
    /// Months, days and microseconds.
    Interval(i128, i128, i128),
}

impl Sum {
    fn add(sum: Option<Self>, value: &Value) -> Result<Self, Diag> {
        match (sum, value) {
            (_, Value::Float(v)) => Self::add(sum, &Value::Double(f64::from(*v))),
            (None | Some(Self::Interval(..)), Value::Interval(v)) => {
                let (months, days, micros) = match sum {
                    Some(Self::Interval(months, days, micros)) => (months, days, micros),
                    _ => (0, 0, 0),
                };
                Ok(Self::Interval(
                    months.saturating_add(i128::from(v.months)),
                    days.saturating_add(i128::from(v.days)),
                    micros.saturating_add(i128::from(v.micros)),
                ))
            }
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

    /// Both sums in one.
    fn merged(self, other: Self) -> Result<Self, Diag> {
        match (self, other) {
            (Self::Integer(l), Self::Integer(r)) => Ok(Self::Integer(l.saturating_add(r))),
            (Self::Decimal(l), Self::Decimal(r)) => decimal::add(l, r).map(Self::Decimal),
            (Self::Double(_), Self::Double(r)) => Self::add(Some(self), &Value::Double(r)),
            (Self::Interval(a, b, c), Self::Interval(x, y, z)) => {
                Ok(Self::Interval(a.saturating_add(x), b.saturating_add(y), c.saturating_add(z)))
            }
            _ => Err(unlike()),
        }
    }

    /// The sum without a value that it holds; `None` where that cannot be told exactly.
    fn without(self, value: &Value) -> Option<Self> {
        match (self, value) {
            (Self::Interval(months, days, micros), Value::Interval(v)) => Some(Self::Interval(
                months - i128::from(v.months),
                days - i128::from(v.days),
                micros - i128::from(v.micros),
            )),
            (Self::Decimal(sum), Value::Decimal(v)) => decimal::subtract(sum, *v).ok().map(Self::Decimal),
            (Self::Integer(sum), other) => Some(Self::Integer(sum - i128::from(other.as_i64()?))),
            _ => None,
        }
    }

    fn finish(self, data_type: DataType) -> Result<Value, Diag> {
        match self {
            Self::Integer(sum) => i64::try_from(sum).map(Value::BigInt).map_err(|_| {
                Diag::new(SqlState::OUT_OF_RANGE, format!("sum {sum} is out of range for BIGINT"))
                    .hint("cast the argument to DECIMAL or DOUBLE")
            }),
            Self::Decimal(sum) => Ok(Value::Decimal(sum)),
            Self::Double(sum) if data_type == DataType::Float => cast::cast(Value::Double(sum), DataType::Float, true),
            Self::Double(sum) => Ok(Value::Double(sum)),
            Self::Interval(months, days, micros) => {
                let out = |_| interval_out_of_range();
                Ok(Value::Interval(Interval {
                    months: i32::try_from(months).map_err(out)?,
                    days: i32::try_from(days).map_err(out)?,
                    micros: i64::try_from(micros).map_err(out)?,
                }))
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "rounds to nearest, as PostgreSQL's avg(float8)")]
    fn mean(self, count: i64) -> Result<Value, Diag> {
        let exact = |sum: Decimal| decimal::divide(sum, Decimal::from(count)).map(Value::Decimal);
        match self {
            Self::Integer(sum) => exact(Decimal::try_from_i128_with_scale(sum, 0).map_err(|_| decimal::overflow())?),
            Self::Decimal(sum) => exact(sum),
            Self::Double(sum) => Ok(Value::Double(sum / count as f64)),
            Self::Interval(months, days, micros) => {
                let part = |sum: i128| sum as f64 / count as f64;
                let mean = Interval::from_fields(part(months), part(days), part(micros));
                mean.map(Value::Interval).ok_or_else(interval_out_of_range)
            }
        }
    }
}

fn interval_out_of_range() -> Diag {
    Diag::new(SqlState::OUT_OF_RANGE, "interval out of range")
}

fn unlike() -> Diag {
    Diag::new(SqlState::INTERNAL, "partial aggregates are of different kinds")
}

fn too_long(name: &str) -> Diag {
    Diag::new(SqlState::PROGRAM_LIMIT, format!("{name} made more than {MAX_VALUE_BYTES} bytes"))
        .hint("aggregate fewer rows per group")
}

fn unfit(function: &str, value: &Value) -> Diag {
    let name = value.data_type().map_or_else(|| "NULL".to_owned(), |data_type| data_type.to_string());
    Diag::new(SqlState::DATATYPE_MISMATCH, format!("a value of type {name} does not fit {function}"))
}

impl Accumulator {
    /// The empty state.
    #[must_use]
    pub fn new(call: &AggregateCall) -> Self {
        let variance = |deviation, sample| State::Variance(Kind { deviation, sample }, None);
        let state = match call.function {
            AggregateFunction::CountStar => State::CountStar(0),
            AggregateFunction::Count => State::Count(0),
            AggregateFunction::Sum => State::Sum(None, 0),
            AggregateFunction::Avg => State::Avg(None, 0),
            AggregateFunction::Min => State::Extreme(Ordering::Less, None),
            AggregateFunction::Max => State::Extreme(Ordering::Greater, None),
            AggregateFunction::BoolAnd => State::Bool { decisive: false, result: None },
            AggregateFunction::BoolOr => State::Bool { decisive: true, result: None },
            AggregateFunction::StringAgg => State::StringAgg(None),
            AggregateFunction::StddevPop => variance(true, false),
            AggregateFunction::StddevSamp => variance(true, true),
            AggregateFunction::VarPop => variance(false, false),
            AggregateFunction::VarSamp => variance(false, true),
            AggregateFunction::BitAnd => State::Bits(BitOperation::And, None),
            AggregateFunction::BitOr => State::Bits(BitOperation::Or, None),
            AggregateFunction::BitXor => State::Bits(BitOperation::Xor, None),
            AggregateFunction::ArrayAgg => State::Array {
                element: match call.data_type {
                    DataType::Array(element) => element,
                    _ => Element::Text,
                },
                items: None,
                bytes: 0,
            },
            AggregateFunction::JsonAgg => State::Json { object: false, text: None },
            AggregateFunction::JsonObjectAgg => State::Json { object: true, text: None },
        };
        let distinct = (call.distinct && call.order.is_empty()).then(BTreeSet::new);
        Self {
            state,
            distinct,
            ordered: (!call.order.is_empty()).then(|| Box::new(OrderedValues::new(&call.order, call.distinct))),
            filtered: call.filtered,
            data_type: call.data_type,
        }
    }

    /// The arguments that count of a call's evaluated ones, and the sort keys behind them; `None` when the row does not count.
    fn counted<'v>(&self, args: &'v [Value]) -> Result<Option<Counted<'v>>, Diag> {
        let lacks = || Diag::new(SqlState::INTERNAL, "an aggregate lacks its argument");
        let split =
            args.len().checked_sub(self.ordered.as_ref().map_or(0, |ordered| ordered.key_count())).ok_or_else(lacks)?;
        let (mut values, keys) = args.split_at_checked(split).ok_or_else(lacks)?;
        if self.filtered {
            let (condition, rest) = values.split_last().ok_or_else(lacks)?;
            if *condition != Value::Boolean(true) {
                return Ok(None);
            }
            values = rest;
        }
        if matches!(self.state, State::CountStar(_)) {
            return Ok(Some((values, keys)));
        }
        let first = values.first().ok_or_else(lacks)?;
        let keeps_nulls = matches!(self.state, State::Array { .. } | State::Json { .. });
        Ok((keeps_nulls || !first.is_null()).then_some((values, keys)))
    }

    /// Takes one row's arguments; answers how many bytes of memory the state grew by.
    ///
    /// # Errors
    /// 22003 and 54000 where the result could not be right.
    pub fn update(&mut self, args: &[Value]) -> Result<usize, Diag> {
        let Some((values, keys)) = self.counted(args)? else { return Ok(0) };
        if let Some(ordered) = &mut self.ordered {
            return Ok(ordered.keep(keys.to_vec(), values.to_vec()));
        }
        match &mut self.distinct {
            Some(distinct) => {
                let values: Vec<SortValue> = values.iter().cloned().map(SortValue::same).collect();
                let size = values.iter().map(|value| value.0.size()).sum();
                Ok(if distinct.insert(values) { size } else { 0 })
            }
            None => self.state.take(values),
        }
    }

    /// Takes a row's arguments back out, after an earlier [`Accumulator::update`] with equal ones. False when this state
    /// cannot: it is unchanged then, and the group must be aggregated anew.
    ///
    /// # Errors
    /// None but for arguments that the binder should not have let through.
    pub fn retract(&mut self, args: &[Value]) -> Result<bool, Diag> {
        if self.distinct.is_some() || self.ordered.is_some() {
            return Ok(false);
        }
        match self.counted(args)? {
            Some((values, _)) => Ok(self.state.give_back(values)),
            None => Ok(true),
        }
    }

    /// Takes in another state of the same call, whose rows come after this one's; answers how many bytes this one grew by.
    ///
    /// # Errors
    /// As [`Accumulator::update`].
    pub fn merge(&mut self, other: Self) -> Result<usize, Diag> {
        let mut grown = 0;
        if let (Some(ordered), Some(more)) = (&mut self.ordered, other.ordered) {
            grown += ordered.merge(*more);
        }
        if let (Some(distinct), Some(more)) = (&mut self.distinct, other.distinct) {
            for values in more {
                let size: usize = values.iter().map(|value| value.0.size()).sum();
                grown += if distinct.insert(values) { size } else { 0 };
            }
        }
        Ok(grown + self.state.merge(other.state)?)
    }

    /// Takes into the result what had to wait for the last row, a value with each step; whether all of it is.
    ///
    /// # Errors
    /// As [`Accumulator::finish`].
    pub(crate) fn settle(&mut self, portion: &mut Portion) -> Result<bool, Diag> {
        while self.distinct.is_some() || self.ordered.is_some() {
            if !portion.step() {
                return Ok(false);
            }
            if let Some(distinct) = &mut self.distinct {
                match distinct.pop_first() {
                    Some(values) => {
                        let values: Row = values.into_iter().map(|value| value.0).collect();
                        self.state.take(&values)?;
                    }
                    None => self.distinct = None,
                }
            }
            match self.ordered.as_mut().map(|ordered| ordered.step()) {
                Some(Given::Values(values)) => {
                    self.state.take(&values)?;
                }
                Some(Given::Nothing) | None => {}
                Some(Given::End) => self.ordered = None,
            }
        }
        Ok(true)
    }

    /// Gives back what waits for the last row, of a result that nobody asks for; whether all of it is gone.
    pub(crate) fn forget(&mut self, portion: &mut Portion) -> bool {
        self.state = State::CountStar(0);
        self.settle(portion).unwrap_or(true)
    }

    /// The result; NULL (0 for counts) when no value counted.
    ///
    /// # Errors
    /// 22003 when a sum is beyond its type, 54000 for a result that is too long.
    pub fn finish(mut self) -> Result<Value, Diag> {
        while !self.settle(&mut Portion::new(usize::MAX))? {}
        let Self { state, data_type, .. } = self;
        match state {
            State::CountStar(count) | State::Count(count) => Ok(Value::BigInt(count)),
            State::Sum(sum, _) => sum.map_or(Ok(Value::Null), |sum| sum.finish(data_type)),
            State::Avg(sum, count) => sum.map_or(Ok(Value::Null), |sum| sum.mean(count)),
            State::Extreme(_, value) | State::Bits(_, value) => Ok(value.unwrap_or(Value::Null)),
            State::Bool { result, .. } => Ok(result.map_or(Value::Null, Value::Boolean)),
            State::Variance(kind, moments) => Ok(moments.map_or(Value::Null, |moments| moments.finish(kind))),
            State::StringAgg(text) => Ok(text.map_or(Value::Null, |(text, _)| Value::Text(text))),
            State::Array { element, items, .. } => {
                Ok(items.map_or(Value::Null, |items| Value::Array(Box::new(Array::new(element, items)))))
            }
            State::Json { object, text } => match text {
                None => Ok(Value::Null),
                Some(text) if object => json::checked(format!("{{{text}}}")).map(Value::Json),
                Some(text) => json::checked(format!("[{text}]")).map(Value::Json),
            },
        }
    }
}

impl State {
    /// Takes values that count; answers how many bytes the state grew by.
    fn take(&mut self, args: &[Value]) -> Result<usize, Diag> {
        if let Self::CountStar(count) = self {
            *count += 1;
            return Ok(0);
        }
        let value = args.first().ok_or_else(|| Diag::new(SqlState::INTERNAL, "an aggregate lacks its argument"))?;
        match self {
            Self::CountStar(count) | Self::Count(count) => *count += 1,
            Self::Sum(sum, count) | Self::Avg(sum, count) => {
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
            Self::Bits(operation, bits) => {
                *bits = Some(match bits {
                    None => value.clone(),
                    Some(bits) => operation.apply(bits, value)?,
                });
            }
            Self::Variance(_, moments) => {
                *moments = Some(match *moments {
                    None => Moments::of(value)?,
                    Some(moments) => moments.with(value)?,
                });
            }
            Self::StringAgg(text) => return append(text, value, args.get(1)),
            Self::Array { items, bytes, .. } => {
                *bytes = bytes.saturating_add(value.size());
                if *bytes > MAX_VALUE_BYTES {
                    return Err(too_long("array_agg"));
                }
                items.get_or_insert_default().push(value.clone());
                return Ok(value.size());
            }
            Self::Json { object, text } => {
                let before = text.as_ref().map_or(0, String::len);
                let name = if *object { "json_object_agg" } else { "json_agg" };
                let out = text.get_or_insert_default();
                if before > 0 {
                    out.push(',');
                }
                if *object {
                    if value.is_null() {
                        return Err(Diag::new(SqlState::INVALID_PARAMETER, "field name must not be null")
                            .hint("leave such rows out with FILTER (WHERE key IS NOT NULL)"));
                    }
                    json::push_string(&cast::to_text(value), out);
                    out.push(':');
                }
                json::push_value(if *object { args.get(1).unwrap_or(&Value::Null) } else { value }, out);
                if out.len() > MAX_VALUE_BYTES {
                    return Err(too_long(name));
                }
                return Ok(out.len() - before);
            }
        }
        Ok(0)
    }

    /// Whether the values could be taken back out, and are.
    fn give_back(&mut self, args: &[Value]) -> bool {
        let value = args.first().unwrap_or(&Value::Null);
        match self {
            Self::CountStar(count) | Self::Count(count) => *count -= 1,
            Self::Sum(sum, count) | Self::Avg(sum, count) => {
                let Some(without) = sum.and_then(|sum| sum.without(value)) else { return false };
                *count -= 1;
                *sum = (*count > 0).then_some(without);
            }
            Self::Variance(_, moments) => {
                let Some(without) = moments.and_then(|moments| moments.without(value)) else { return false };
                *moments = Some(without);
            }
            Self::Extreme(..)
            | Self::Bool { .. }
            | Self::Bits(..)
            | Self::StringAgg(_)
            | Self::Array { .. }
            | Self::Json { .. } => return false,
        }
        true
    }

    fn merge(&mut self, other: Self) -> Result<usize, Diag> {
        match (self, other) {
            (Self::CountStar(count), Self::CountStar(more)) | (Self::Count(count), Self::Count(more)) => *count += more,
            (Self::Sum(sum, count), Self::Sum(more, more_count))
            | (Self::Avg(sum, count), Self::Avg(more, more_count)) => {
                *sum = merged_sums(*sum, more)?;
                *count += more_count;
            }
            (this @ Self::Extreme(..), Self::Extreme(_, more)) => {
                return more.map_or(Ok(0), |value| this.take(&[value]));
            }
            (this @ Self::Bits(..), Self::Bits(_, more)) => return more.map_or(Ok(0), |value| this.take(&[value])),
            (this @ Self::Bool { .. }, Self::Bool { result: more, .. }) => {
                return more.map_or(Ok(0), |value| this.take(&[Value::Boolean(value)]));
            }
            (Self::Variance(_, moments), Self::Variance(_, more)) => {
                *moments = match (*moments, more) {
                    (Some(moments), Some(more)) => Some(moments.merged(more)?),
                    (one, None) | (None, one) => one,
                };
            }
            (Self::StringAgg(text), Self::StringAgg(more)) => {
                let Some((more, separator)) = more else { return Ok(0) };
                if text.is_none() {
                    let grown = more.len();
                    *text = Some((more, separator));
                    return Ok(grown);
                }
                return append(text, &Value::Text(more), Some(&Value::Text(separator)));
            }
            (Self::Array { items, bytes, .. }, Self::Array { items: more, bytes: more_bytes, .. }) => {
                let Some(more) = more else { return Ok(0) };
                *bytes = bytes.saturating_add(more_bytes);
                if *bytes > MAX_VALUE_BYTES {
                    return Err(too_long("array_agg"));
                }
                items.get_or_insert_default().extend(more);
                return Ok(more_bytes);
            }
            (Self::Json { text, .. }, Self::Json { text: more, .. }) => {
                let Some(more) = more else { return Ok(0) };
                let out = text.get_or_insert_default();
                if out.len().saturating_add(more.len()) >= MAX_VALUE_BYTES {
                    return Err(too_long("json_agg"));
                }
                if !out.is_empty() {
                    out.push(',');
                }
                out.push_str(&more);
                return Ok(more.len() + 1);
            }
            _ => return Err(unlike()),
        }
        Ok(0)
    }
}

fn merged_sums(left: Option<Sum>, right: Option<Sum>) -> Result<Option<Sum>, Diag> {
    match (left, right) {
        (Some(left), Some(right)) => left.merged(right).map(Some),
        (one, None) | (None, one) => Ok(one),
    }
}

/// `string_agg`: the separator stands before every value but the first.
fn append(text: &mut Option<(String, String)>, value: &Value, separator: Option<&Value>) -> Result<usize, Diag> {
    let Value::Text(value) = value else { return Err(unfit("string_agg", value)) };
    let separator = match separator {
        Some(Value::Text(separator)) => separator.as_str(),
        Some(Value::Null) | None => "",
        Some(other) => return Err(unfit("string_agg", other)),
    };
    let Some((text, _)) = text else {
        *text = Some((value.clone(), separator.to_owned()));
        return Ok(value.len());
    };
    let grown = separator.len() + value.len();
    if text.len().saturating_add(grown) > MAX_VALUE_BYTES {
        return Err(too_long("string_agg"));
    }
    text.push_str(separator);
    text.push_str(value);
    Ok(grown)
}

#[cfg(test)]
mod tests;
