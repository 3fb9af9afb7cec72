#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use quickcheck::quickcheck;

use super::*;
use crate::value::DataType;

fn run(function: AggregateFunction, distinct: bool, rows: &[Vec<Value>]) -> Result<Value, Diag> {
    let call = AggregateCall { function, args: Vec::new(), distinct, data_type: DataType::BigInt };
    let mut accumulator = Accumulator::new(&call);
    for row in rows {
        accumulator.update(row)?;
    }
    accumulator.finish()
}

fn column(values: &[Value]) -> Vec<Vec<Value>> {
    values.iter().map(|value| vec![value.clone()]).collect()
}

fn ints(values: &[i64]) -> Vec<Vec<Value>> {
    column(&values.iter().map(|value| Value::BigInt(*value)).collect::<Vec<_>>())
}

fn decimals(values: &[&str]) -> Vec<Vec<Value>> {
    column(&values.iter().map(|value| Value::Decimal(decimal::parse(value).unwrap())).collect::<Vec<_>>())
}

fn shown(function: AggregateFunction, distinct: bool, rows: &[Vec<Value>]) -> String {
    run(function, distinct, rows).map_or_else(|diag| format!("!{}", diag.sqlstate), |value| value.to_string())
}

#[test]
fn nothing_gives_null_and_counts_give_zero() {
    use AggregateFunction::{Avg, BoolAnd, BoolOr, Count, CountStar, Max, Min, StringAgg, Sum};
    let nulls = column(&[Value::Null, Value::Null]);
    for function in [Sum, Avg, Min, Max, BoolAnd, BoolOr, StringAgg] {
        assert_eq!(run(function, false, &[]), Ok(Value::Null));
        assert_eq!(run(function, true, &nulls), Ok(Value::Null));
    }
    assert_eq!(run(Count, false, &nulls), Ok(Value::BigInt(0)));
    assert_eq!(run(CountStar, false, &nulls), Ok(Value::BigInt(2)));
    assert_eq!(run(CountStar, false, &[]), Ok(Value::BigInt(0)));
}

#[test]
fn sums_are_exact_and_refused_beyond_bigint() {
    let sum = |values: &[i64]| shown(AggregateFunction::Sum, false, &ints(values));
    assert_eq!(sum(&[1, 2, 3]), "6");
    assert_eq!(sum(&[i64::MAX, 1, -1]), i64::MAX.to_string());
    assert_eq!(sum(&[i64::MAX, 1]), "!22003");
    assert_eq!(shown(AggregateFunction::Sum, false, &decimals(&["0.1", "0.20", "1"])), "1.30");
    assert_eq!(
        shown(AggregateFunction::Sum, false, &column(&[Value::Double(f64::MAX), Value::Double(f64::MAX)])),
        "!22003"
    );
    assert_eq!(
        shown(AggregateFunction::Sum, false, &column(&[Value::SmallInt(i16::MAX), Value::SmallInt(1)])),
        "32768"
    );
}

#[test]
fn averages_have_the_digits_that_postgresql_gives() {
    let avg = |values: &[i64]| shown(AggregateFunction::Avg, false, &ints(values));
    assert_eq!(avg(&[1, 2]), "1.5000000000000000");
    assert_eq!(avg(&[1, 0, 0]), "0.33333333333333333333");
    assert_eq!(avg(&[5]), "5.0000000000000000");
    assert_eq!(avg(&[100_000, 200_001]), "150000.500000000000");
    assert_eq!(avg(&[i64::MAX, i64::MAX]), "9223372036854775807");
    assert_eq!(avg(&[-1, -2]), "-1.5000000000000000");
    assert_eq!(shown(AggregateFunction::Avg, false, &decimals(&["1.5", "2.5"])), "2.0000000000000000");
    assert_eq!(shown(AggregateFunction::Avg, false, &column(&[Value::Double(1.0), Value::Double(2.0)])), "1.5");
}

#[test]
fn distinct_values_count_once() {
    assert_eq!(shown(AggregateFunction::Count, true, &ints(&[1, 2, 1, 2, 3])), "3");
    assert_eq!(shown(AggregateFunction::Sum, true, &ints(&[5, 5, 1])), "6");
    assert_eq!(shown(AggregateFunction::Count, true, &decimals(&["1.0", "1.00", "1"])), "1");
    assert_eq!(
        shown(
            AggregateFunction::Count,
            true,
            &column(&[Value::Double(0.0), Value::Double(-0.0), Value::Double(f64::NAN), Value::Double(f64::NAN)])
        ),
        "2"
    );
}

#[test]
fn extremes_follow_the_order_of_their_type() {
    let texts = column(&[Value::Text("b".into()), Value::Null, Value::Text("a".into()), Value::Text("Z".into())]);
    assert_eq!(shown(AggregateFunction::Min, false, &texts), "Z");
    assert_eq!(shown(AggregateFunction::Max, false, &texts), "b");
    assert_eq!(shown(AggregateFunction::Max, false, &column(&[Value::Double(1.0), Value::Double(f64::NAN)])), "NaN");
}

#[test]
fn booleans_combine() {
    let of = |function, values: &[bool]| {
        shown(function, false, &column(&values.iter().map(|value| Value::Boolean(*value)).collect::<Vec<_>>()))
    };
    assert_eq!(of(AggregateFunction::BoolAnd, &[true, true]), "t");
    assert_eq!(of(AggregateFunction::BoolAnd, &[true, false, true]), "f");
    assert_eq!(of(AggregateFunction::BoolOr, &[false, false]), "f");
    assert_eq!(of(AggregateFunction::BoolOr, &[false, true, false]), "t");
}

#[test]
fn string_agg_puts_separators_between() {
    let row = |value: &str, separator: &str| vec![Value::Text(value.into()), Value::Text(separator.into())];
    assert_eq!(shown(AggregateFunction::StringAgg, false, &[row("a", ","), row("b", ";"), row("c", ",")]), "a;b,c");
    assert_eq!(shown(AggregateFunction::StringAgg, true, &[row("a", ","), row("a", ",")]), "a");
    let long = "x".repeat(MAX_VALUE_BYTES / 2 + 1);
    assert_eq!(shown(AggregateFunction::StringAgg, false, &[row(&long, ""), row(&long, "")]), "!54000");
}

quickcheck! {
    fn integer_sums_do_not_depend_on_order(values: Vec<i64>) -> bool {
        let mut reversed = values.clone();
        reversed.reverse();
        let sum = run(AggregateFunction::Sum, false, &ints(&values));
        let wide: i128 = values.iter().map(|value| i128::from(*value)).sum();
        let expected = if values.is_empty() { Ok(Value::Null) } else { i64::try_from(wide).map(Value::BigInt).map_err(|_| SqlState::OUT_OF_RANGE) };
        sum == run(AggregateFunction::Sum, false, &ints(&reversed)) && sum.map_err(|diag| diag.sqlstate) == expected
    }
}
