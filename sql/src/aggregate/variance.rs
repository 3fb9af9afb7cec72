//! Variance and standard deviation.
//!
//! Integers are summed exactly, so their order does not matter and values can be taken out again. Other numbers go through
//! the update of Youngs and Cramer (1971), which PostgreSQL uses too: its result depends on the order in the last digits.

use crate::diag::{Diag, SqlState};
use crate::eval::number_as_double;
use crate::value::Value;

/// What a call asks of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// The square root.
    pub(super) deviation: bool,
    /// Divided by one less than the number of values.
    pub(super) sample: bool,
}

/// Sums over the values so far.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moments {
    /// Of integers.
    Exact {
        /// Values.
        count: u64,
        /// Their sum.
        sum: i128,
        /// The sum of their squares: low 128 bits, and how often those overflowed.
        squares: (u128, u64),
    },
    /// Of other numbers.
    Approximate {
        /// Values.
        count: f64,
        /// Their sum.
        sum: f64,
        /// The sum of the squares of their distances from the mean.
        squares: f64,
    },
}

fn overflow() -> Diag {
    Diag::new(SqlState::OUT_OF_RANGE, "value out of range for DOUBLE: overflow")
}

/// 128 bits times 128 bits: high and low half.
fn product(left: u128, right: u128) -> (u128, u128) {
    let halves = |number: u128| (number >> 64, number & u128::from(u64::MAX));
    let ((left_high, left_low), (right_high, right_low)) = (halves(left), halves(right));
    let low = left_low * right_low;
    let (middle, carried) = (left_high * right_low).overflowing_add(left_low * right_high);
    let (low, carry) = low.overflowing_add(middle << 64);
    let high = left_high * right_high + (middle >> 64) + (u128::from(carried) << 64) + u128::from(carry);
    (high, low)
}

#[expect(clippy::cast_precision_loss, reason = "the result is a DOUBLE")]
fn to_double((high, low): (u128, u128)) -> f64 {
    high as f64 * 340_282_366_920_938_463_463_374_607_431_768_211_456.0 + low as f64
}

impl Moments {
    /// The state of one value.
    pub(super) fn of(value: &Value) -> Result<Self, Diag> {
        let empty = if value.as_i64().is_some() {
            Self::Exact { count: 0, sum: 0, squares: (0, 0) }
        } else {
            Self::Approximate { count: 0.0, sum: 0.0, squares: 0.0 }
        };
        empty.with(value)
    }

    /// The state with one more value.
    pub(super) fn with(self, value: &Value) -> Result<Self, Diag> {
        match (self, value.as_i64()) {
            (Self::Exact { count, sum, squares: (low, high) }, Some(number)) => {
                let magnitude = u128::from(number.unsigned_abs());
                let (low, carried) = low.overflowing_add(magnitude * magnitude);
                let squares = (low, high.saturating_add(u64::from(carried)));
                // Below 2^63 values of 2^63 each stay below 2^127.
                Ok(Self::Exact { count: count.saturating_add(1), sum: sum.saturating_add(i128::from(number)), squares })
            }
            (Self::Approximate { count, sum, squares }, _) => {
                let number = number_as_double(value)?;
                let total = sum + number;
                let count = count + 1.0;
                if count == 1.0 {
                    let squares = if number.is_finite() { 0.0 } else { f64::NAN };
                    return Ok(Self::Approximate { count, sum: total, squares });
                }
                let distance = number * count - total;
                let mut squares = squares + distance * distance / (count * (count - 1.0));
                if total.is_infinite() || squares.is_infinite() {
                    if sum.is_finite() && number.is_finite() {
                        return Err(overflow());
                    }
                    squares = f64::NAN;
                }
                Ok(Self::Approximate { count, sum: total, squares })
            }
            (Self::Exact { .. }, None) => Err(super::unfit("a variance", value)),
        }
    }

    /// The state without a value that it holds; `None` where that cannot be told exactly.
    pub(super) fn without(self, value: &Value) -> Option<Self> {
        let Self::Exact { count, sum, squares: (low, high) } = self else { return None };
        let number = value.as_i64()?;
        let magnitude = u128::from(number.unsigned_abs());
        let (low, borrowed) = low.overflowing_sub(magnitude * magnitude);
        Some(Self::Exact {
            count: count.checked_sub(1)?,
            sum: sum.checked_sub(i128::from(number))?,
            squares: (low, high.checked_sub(u64::from(borrowed))?),
        })
    }

    /// Both states' values in one.
    pub(super) fn merged(self, other: Self) -> Result<Self, Diag> {
        match (self, other) {
            (
                Self::Exact { count, sum, squares: (low, high) },
                Self::Exact { count: other_count, sum: other_sum, squares: (other_low, other_high) },
            ) => {
                let (low, carried) = low.overflowing_add(other_low);
                Ok(Self::Exact {
                    count: count.saturating_add(other_count),
                    sum: sum.saturating_add(other_sum),
                    squares: (low, high.saturating_add(other_high).saturating_add(u64::from(carried))),
                })
            }
            (
                Self::Approximate { count, sum, squares },
                Self::Approximate { count: other_count, sum: other_sum, squares: other_squares },
            ) => {
                if count == 0.0 || other_count == 0.0 {
                    return Ok(if count == 0.0 { other } else { self });
                }
                let total = count + other_count;
                let distance = sum / count - other_sum / other_count;
                let squares = squares + other_squares + count * other_count * distance * distance / total;
                if squares.is_infinite() && sum.is_finite() && other_sum.is_finite() {
                    return Err(overflow());
                }
                Ok(Self::Approximate { count: total, sum: sum + other_sum, squares })
            }
            _ => Err(Diag::new(SqlState::INTERNAL, "partial variances are of different kinds")),
        }
    }

    /// The result; NULL for a sample of one, and for nothing.
    pub(super) fn finish(self, kind: Kind) -> Value {
        #[expect(clippy::cast_precision_loss, reason = "the result is a DOUBLE")]
        let (count, spread) = match self {
            Self::Approximate { count, squares, .. } => (count, squares),
            Self::Exact { count: 0, .. } => (0.0, 0.0),
            Self::Exact { count, sum, squares: (low, high) } => {
                // count * squares - sum^2 is exact in 256 bits, and never negative.
                let (carry, scaled_low) = product(low, u128::from(count));
                let scaled_high = u128::from(high) * u128::from(count) + carry;
                let (square_high, square_low) = product(sum.unsigned_abs(), sum.unsigned_abs());
                let (low, borrowed) = scaled_low.overflowing_sub(square_low);
                let high = scaled_high.wrapping_sub(square_high).wrapping_sub(u128::from(borrowed));
                (count as f64, to_double((high, low)) / count as f64)
            }
        };
        let divisor = if kind.sample { count - 1.0 } else { count };
        if divisor <= 0.0 {
            return Value::Null;
        }
        let variance = spread / divisor;
        Value::Double(if kind.deviation { libm::sqrt(variance) } else { variance })
    }
}
