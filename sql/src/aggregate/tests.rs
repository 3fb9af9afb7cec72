#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use quickcheck::quickcheck;

use super::*;
use crate::expr::SortDirection;
use crate::value::DataType;

fn run(function: AggregateFunction, distinct: bool, rows: &[Vec<Value>]) -> Result<Value, Diag> {
    let call = AggregateCall {
        function,
        args: Vec::new(),
        distinct,
        data_type: DataType::BigInt,
        order: Vec::new(),
        filtered: false,
    };
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

/// A call over one argument, its type and its result's.
fn over(function: AggregateFunction, data_type: DataType) -> AggregateCall {
    AggregateCall { function, args: Vec::new(), distinct: false, data_type, order: Vec::new(), filtered: false }
}

fn answer(call: &AggregateCall, rows: &[Vec<Value>]) -> String {
    let mut accumulator = Accumulator::new(call);
    for row in rows {
        if let Err(diag) = accumulator.update(row) {
            return format!("!{}", diag.sqlstate);
        }
    }
    accumulator.finish().map_or_else(|diag| format!("!{}", diag.sqlstate), |value| value.to_string())
}

#[test]
fn deviations_are_those_of_postgresql() {
    use AggregateFunction::{StddevPop, StddevSamp, VarPop, VarSamp};
    let of = |function, rows: &[Vec<Value>]| answer(&over(function, DataType::Double), rows);
    let four = ints(&[1, 2, 3, 4]);
    assert_eq!(of(StddevSamp, &four), "1.2909944487358056");
    assert_eq!(of(StddevPop, &four), "1.118033988749895");
    assert_eq!(of(VarSamp, &four), "1.6666666666666667");
    assert_eq!(of(VarPop, &four), "1.25");
    assert_eq!(of(VarPop, &ints(&[7])), "0");
    assert_eq!(of(VarSamp, &ints(&[7])), "NULL");
    assert_eq!(of(VarPop, &ints(&[i64::MAX, i64::MIN, i64::MAX, i64::MIN])), "8.507059173023462e+37");
    assert_eq!(of(VarPop, &ints(&[i64::MAX, i64::MAX - 2])), "1");
    let doubles = column(&[1.5, 2.5, 4.0].map(Value::Double));
    assert_eq!(of(StddevSamp, &doubles), "1.2583057392117916");
    assert_eq!(of(VarPop, &column(&[Value::Double(f64::INFINITY), Value::Double(1.0)])), "NaN");
    assert_eq!(of(VarSamp, &decimals(&["1.5", "2.5", "4.0"])), "1.5833333333333333");
}

#[test]
fn bits_and_intervals_are_aggregated() {
    use AggregateFunction::{Avg, BitAnd, BitOr, BitXor, Sum};
    for (function, wanted) in [(BitAnd, "8"), (BitOr, "14"), (BitXor, "6")] {
        assert_eq!(answer(&over(function, DataType::BigInt), &ints(&[12, 10])), wanted);
    }
    let spans = column(&[
        Value::Interval(Interval { months: 1, days: 0, micros: 0 }),
        Value::Interval(Interval { months: 0, days: 1, micros: 3_000_000 }),
    ]);
    assert_eq!(answer(&over(Sum, DataType::Interval), &spans), "1 mon 1 day 00:00:03");
    assert_eq!(answer(&over(Avg, DataType::Interval), &spans), "15 days 12:00:01.5");
}

#[test]
fn collected_values_keep_nulls_and_follow_order_by() {
    let mut call = over(AggregateFunction::ArrayAgg, DataType::Array(Element::Int));
    let rows = |values: &[Option<i32>]| -> Vec<Vec<Value>> {
        values.iter().map(|value| vec![value.map_or(Value::Null, Value::Int)]).collect()
    };
    assert_eq!(answer(&call, &[]), "NULL");
    assert_eq!(answer(&call, &rows(&[Some(3), None, Some(1)])), "{3,NULL,1}");
    call.distinct = true;
    assert_eq!(answer(&call, &rows(&[Some(3), None, Some(1), Some(3), None])), "{1,3,NULL}");
    call.distinct = false;
    call.order = vec![SortDirection { descending: true, nulls_first: false }];
    let sorted = |values: &[Option<i32>]| -> Vec<Vec<Value>> {
        rows(values).into_iter().map(|row| vec![row[0].clone(), row[0].clone()]).collect()
    };
    assert_eq!(answer(&call, &sorted(&[Some(1), None, Some(3)])), "{3,1,NULL}");
    let json = over(AggregateFunction::JsonAgg, DataType::Json);
    assert_eq!(answer(&json, &rows(&[Some(1), None])), "[1,null]");
    let object = over(AggregateFunction::JsonObjectAgg, DataType::Json);
    let pair = |key: &str, value: Value| vec![Value::Text(key.into()), value];
    assert_eq!(answer(&object, &[pair("a", Value::Int(1)), pair("b", Value::Null)]), r#"{"a":1,"b":null}"#);
    assert_eq!(answer(&object, &[vec![Value::Null, Value::Int(1)]]), "!22023");
}

#[test]
fn what_a_filter_leaves_out_is_not_collected() {
    let mut call = over(AggregateFunction::ArrayAgg, DataType::Array(Element::Int));
    call.filtered = true;
    let rows: Vec<Vec<Value>> = [(1, Some(true)), (2, Some(false)), (3, None)]
        .map(|(value, truth)| vec![Value::Int(value), truth.map_or(Value::Null, Value::Boolean)])
        .to_vec();
    assert_eq!(answer(&call, &rows), "{1}");
}

const MERGED: [(AggregateFunction, DataType); 16] = [
    (AggregateFunction::CountStar, DataType::BigInt),
    (AggregateFunction::Count, DataType::BigInt),
    (AggregateFunction::Sum, DataType::BigInt),
    (AggregateFunction::Avg, DataType::DECIMAL),
    (AggregateFunction::Min, DataType::BigInt),
    (AggregateFunction::Max, DataType::BigInt),
    (AggregateFunction::StddevPop, DataType::Double),
    (AggregateFunction::StddevSamp, DataType::Double),
    (AggregateFunction::VarPop, DataType::Double),
    (AggregateFunction::VarSamp, DataType::Double),
    (AggregateFunction::BitAnd, DataType::BigInt),
    (AggregateFunction::BitOr, DataType::BigInt),
    (AggregateFunction::BitXor, DataType::BigInt),
    (AggregateFunction::ArrayAgg, DataType::Array(Element::BigInt)),
    (AggregateFunction::JsonAgg, DataType::Json),
    (AggregateFunction::JsonObjectAgg, DataType::Json),
];

quickcheck! {
    fn parts_merge_to_the_whole(values: Vec<Option<i32>>, cut: usize, distinct: bool, ordered: bool) -> bool {
        MERGED.into_iter().all(|(function, data_type)| {
            let mut call = over(function, data_type);
            let object = function == AggregateFunction::JsonObjectAgg;
            call.distinct = distinct && function != AggregateFunction::CountStar;
            call.order = if ordered { vec![SortDirection { descending: true, nulls_first: true }] } else { Vec::new() };
            let row = |value: &Option<i32>| {
                let value = value.map_or(Value::Null, |value| Value::BigInt(i64::from(value) * 3_000_000_000));
                let key = Value::Text("k".into());
                let mut row = if object { vec![key, value.clone()] } else { vec![value.clone()] };
                row.extend(ordered.then_some(value));
                row
            };
            let rows: Vec<Vec<Value>> = values.iter().map(row).collect();
            let part = |rows: &[Vec<Value>]| {
                let mut accumulator = Accumulator::new(&call);
                for row in rows {
                    accumulator.update(row).unwrap();
                }
                accumulator
            };
            let (first, second) = rows.split_at(cut % (rows.len() + 1));
            let mut merged = part(first);
            merged.merge(part(second)).unwrap();
            format!("{:?}", merged.finish()) == format!("{:?}", part(&rows).finish())
        })
    }

    fn what_is_taken_back_never_counted(values: Vec<i32>, gone: Vec<i32>) -> bool {
        use AggregateFunction::{Avg, Count, CountStar, StddevSamp, Sum, VarPop};
        [CountStar, Count, Sum, Avg, StddevSamp, VarPop].into_iter().all(|function| {
            let call = over(function, DataType::BigInt);
            let row = |value: &i32| [Value::BigInt(i64::from(*value))];
            let (mut with, mut without) = (Accumulator::new(&call), Accumulator::new(&call));
            for value in values.iter().chain(&gone) {
                with.update(&row(value)).unwrap();
            }
            let taken = gone.iter().all(|value| with.retract(&row(value)).unwrap());
            for value in &values {
                without.update(&row(value)).unwrap();
            }
            taken && format!("{:?}", with.finish()) == format!("{:?}", without.finish())
        })
    }
}
