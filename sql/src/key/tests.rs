#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::cmp::Ordering;

use quickcheck::{TestResult, quickcheck};

use super::*;
use crate::catalog::Role;
use crate::decimal;
use crate::eval::EvalContext;
use crate::expr::{BinaryOp, Expr};
use crate::plan::{KeyBounds, TableAccess};
use crate::testing::{KeyPair, table};
use crate::value::{Element, sort_compare};

fn hex(value: Value) -> String {
    let mut bytes = Vec::new();
    encode_value(&value, &mut bytes).unwrap();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(text: &str) -> Value {
    Value::Decimal(decimal::parse(text).unwrap())
}

/// The stored format, byte for byte.
#[test]
fn golden_bytes() {
    let cases = [
        (Value::Boolean(false), "00"),
        (Value::Boolean(true), "01"),
        (Value::SmallInt(-2), "7ffe"),
        (Value::Int(1), "80000001"),
        (Value::BigInt(-1), "7fffffffffffffff"),
        (Value::Timestamp(0), "8000000000000000"),
        (Value::Double(1.5), "bff8000000000000"),
        (Value::Double(-1.5), "4007ffffffffffff"),
        (Value::Double(-0.0), "8000000000000000"),
        (Value::Double(f64::NAN), "fff8000000000000"),
        (number("0.00"), "80"),
        (number("1"), "a10b00"),
        (number("-1"), "5ff4ff"),
        (number("12.345"), "a20d233300"),
        (number("-0.001"), "62f4ff"),
        (number("9999999999999999999999999999"), "bc646464646464646464646464646400"),
        (Value::Text("a\0b".into()), "6100ff620001"),
        (Value::Text(String::new()), "0001"),
        (Value::Bytes(vec![0xff, 0x00]), "ff00ff0001"),
        (Value::Float(1.5), "bfc00000"),
        (Value::Float(-0.0), "80000000"),
        (Value::Date(1), "80000001"),
        (Value::Time(1), "8000000000000001"),
        (Value::DateTime(-1), "7fffffffffffffff"),
        (Value::Interval(Interval { months: 0, days: 0, micros: -1 }), "7fffffffffffffffffffffffffffffff"),
        (Value::Uuid(1), "00000000000000000000000000000001"),
        (Value::Array(Box::new(Array::new(Element::Boolean, vec![Value::Boolean(true), Value::Null]))), "01010200"),
    ];
    for (value, wanted) in cases {
        assert_eq!(hex(value.clone()), wanted, "{value}");
    }
}

#[test]
fn null_json_and_oversized_values_are_refused() {
    assert_eq!(encode_key(&[Value::Int(1), Value::Null]), Err(KeyError::Null));
    assert_eq!(encode_key(&[Value::Json("1".into())]), Err(KeyError::Unordered(DataType::Json)));
    assert!(matches!(encode_key(&[Value::Bytes(vec![1; MAX_KEY_BYTES])]), Err(KeyError::TooLong { .. })));
}

#[test]
fn bytes_that_no_key_has_are_refused() {
    let decimal = DataType::Decimal { precision: 10, scale: 2 };
    let cases: [(DataType, &[u8]); 11] = [
        (DataType::Boolean, &[2]),
        (DataType::Boolean, &[]),
        (DataType::Int, &[0x80, 0, 0]),
        (DataType::Text, b"abc"),
        (DataType::Text, &[0x61, 0x00, 0x02]),
        (DataType::Text, &[0xff, 0x00, 0x01]),
        (DataType::Double, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        (decimal, &[0xa1]),
        (decimal, &[0xa1, 0x00]),
        (decimal, &[0xff, 0x0b, 0x00]),
        (decimal, &[0xa1, 0x01, 0x0b, 0x00]),
    ];
    for (data_type, bytes) in cases {
        assert!(decode_key(&[data_type], bytes).is_err(), "{data_type} {bytes:02x?}");
    }
    assert_eq!(decode_key(&[DataType::Boolean], &[0, 0]), Err(KeyError::TrailingBytes(1)));
}

quickcheck! {
    fn byte_order_is_value_order(pair: KeyPair) -> bool {
        let values = pair.left.iter().zip(&pair.right).map(|(left, right)| sort_compare(left, right));
        let wanted = values.fold(Ordering::Equal, Ordering::then);
        encode_key(&pair.left).unwrap().cmp(&encode_key(&pair.right).unwrap()) == wanted
    }

    fn keys_read_back(pair: KeyPair) -> bool {
        let back = decode_key(&pair.types, &encode_key(&pair.left).unwrap()).unwrap();
        back.iter().zip(&pair.left).all(|(back, value)| sort_compare(back, value).is_eq())
    }

    fn no_bytes_make_decoding_panic(pair: KeyPair, bytes: Vec<u8>) -> bool {
        match decode_key(&pair.types, &bytes) {
            // What decodes is a key: the same bytes come out again.
            Ok(values) => encode_key(&values).unwrap() == bytes,
            Err(_) => true,
        }
    }

    fn damaged_keys_never_panic(pair: KeyPair, at: usize, byte: u8) -> bool {
        let mut bytes = encode_key(&pair.left).unwrap();
        let length = bytes.len();
        bytes[at % length] = byte;
        match decode_key(&pair.types, &bytes) {
            Ok(values) => encode_key(&values).unwrap() == bytes,
            Err(_) => true,
        }
    }
}

fn int(value: i32) -> Expr {
    Expr::Literal(Value::Int(value), DataType::Int)
}

fn null() -> Expr {
    Expr::Literal(Value::Null, DataType::Int)
}

fn ranges(types: &[DataType], bounds: Vec<KeyBounds>) -> Vec<KeyRange> {
    let key: Vec<u32> = (0..u32::try_from(types.len()).unwrap()).collect();
    let context = EvalContext::new(0, "alice", Role::User, &[], 0);
    resolve_access(&TableAccess::Bounds(bounds), &table(types, &key), &context).unwrap()
}

fn equal(values: Vec<Expr>) -> KeyBounds {
    KeyBounds { equal: values, lower: None, upper: None }
}

fn key(values: &[i32]) -> Vec<u8> {
    encode_key(&values.iter().map(|value| Value::Int(*value)).collect::<Vec<_>>()).unwrap()
}

const ONE: [DataType; 1] = [DataType::Int];
const TWO: [DataType; 2] = [DataType::Int, DataType::Int];

#[test]
fn full_access_is_the_whole_table() {
    let context = EvalContext::new(0, "alice", Role::User, &[], 0);
    let ranges = resolve_access(&TableAccess::Full, &table(&ONE, &[0]), &context).unwrap();
    assert_eq!(ranges, vec![KeyRange { start: Vec::new(), end: None }]);
    assert!(!ranges[0].is_point());
}

#[test]
fn a_full_key_is_a_point_and_a_prefix_is_not() {
    let found = ranges(&TWO, vec![equal(vec![int(5), int(6)])]);
    assert_eq!(found, vec![KeyRange::point(key(&[5, 6]))]);
    assert!(found[0].is_point() && found[0].contains(&key(&[5, 6])) && !found[0].contains(&key(&[5, 7])));
    let found = ranges(&TWO, vec![equal(vec![int(5)])]);
    assert_eq!(found, vec![KeyRange::prefix(key(&[5]))]);
    assert!(!found[0].is_point() && found[0].contains(&key(&[5, i32::MIN])) && found[0].contains(&key(&[5, i32::MAX])));
    assert!(!found[0].contains(&key(&[4, i32::MAX])) && !found[0].contains(&key(&[6, i32::MIN])));
}

#[test]
fn an_in_list_becomes_sorted_points_without_doubles() {
    let found = ranges(&ONE, vec![equal(vec![int(9)]), equal(vec![int(3)]), equal(vec![null()]), equal(vec![int(9)])]);
    assert_eq!(found, vec![KeyRange::point(key(&[3])), KeyRange::point(key(&[9]))]);
}

#[test]
fn an_array_stands_for_its_elements_and_one_that_is_too_long_for_everything() {
    let array = |values: &[Option<i32>]| {
        let items = values.iter().map(|value| value.map_or(Value::Null, Value::Int)).collect();
        let element = DataType::Int.array().unwrap();
        let DataType::Array(kind) = element else { panic!("{element}") };
        Expr::Literal(Value::Array(Box::new(Array::new(kind, items))), element)
    };
    let found = ranges(&ONE, vec![equal(vec![array(&[Some(9), None, Some(3), Some(9)])])]);
    assert_eq!(found, vec![KeyRange::point(key(&[3])), KeyRange::point(key(&[9]))]);
    let found = ranges(&TWO, vec![equal(vec![array(&[Some(2), Some(1)]), array(&[Some(5)])])]);
    assert_eq!(found, vec![KeyRange::point(key(&[1, 5])), KeyRange::point(key(&[2, 5]))]);
    let lower = Some((int(7), true));
    let found = ranges(&TWO, vec![KeyBounds { equal: vec![array(&[Some(1)])], lower, upper: None }]);
    assert!(found.len() == 1 && found[0].contains(&key(&[1, 7])) && !found[0].contains(&key(&[1, 6])));
    assert!(ranges(&ONE, vec![equal(vec![array(&[])])]).is_empty());
    let null = Expr::Literal(Value::Null, DataType::Int.array().unwrap());
    assert!(ranges(&ONE, vec![equal(vec![null])]).is_empty());
    let long: Vec<Option<i32>> = (0..400).map(Some).collect();
    let product = ranges(&TWO, vec![equal(vec![array(&long), array(&long)])]);
    assert_eq!(product, vec![KeyRange::full()], "160,000 keys");
}

#[test]
fn null_and_contradicting_bounds_give_no_range() {
    let range = |lower, upper| ranges(&ONE, vec![KeyBounds { equal: Vec::new(), lower, upper }]);
    assert!(range(Some((null(), true)), None).is_empty());
    assert!(range(None, Some((null(), false))).is_empty());
    assert!(range(Some((int(5), true)), Some((int(4), true))).is_empty());
    assert!(range(Some((int(5), true)), Some((int(5), false))).is_empty());
    assert!(range(Some((int(5), false)), Some((int(5), true))).is_empty());
    assert!(
        range(Some((int(5), false)), Some((int(6), false)))
            .iter()
            .all(|range| !range.contains(&key(&[5])) && !range.contains(&key(&[6])))
    );
    assert_eq!(range(Some((int(5), true)), Some((int(5), true))), vec![KeyRange::point(key(&[5]))]);
}

#[test]
fn overlapping_ranges_become_one() {
    let between =
        |low, high| KeyBounds { equal: Vec::new(), lower: Some((int(low), true)), upper: Some((int(high), true)) };
    let found = ranges(&ONE, vec![between(5, 9), between(1, 6), equal(vec![int(7)]), between(20, 30)]);
    assert_eq!(found.len(), 2);
    assert!(found[0].contains(&key(&[1])) && found[0].contains(&key(&[9])) && !found[0].contains(&key(&[10])));
    let found =
        ranges(&ONE, vec![KeyBounds { equal: vec![], lower: Some((int(5), true)), upper: None }, between(7, 8)]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].end, None);
}

#[test]
fn bounds_are_cast_and_computed_before_they_are_encoded() {
    let sum =
        Expr::Binary { op: BinaryOp::Add, left: Box::new(int(2)), right: Box::new(int(3)), data_type: DataType::Int };
    assert_eq!(
        ranges(&[DataType::BigInt], vec![equal(vec![sum])]),
        vec![KeyRange::point(encode_key(&[Value::BigInt(5)]).unwrap())]
    );
}

quickcheck! {
    fn a_range_holds_exactly_the_keys_within_its_bounds(
        prefix: i8, low: Option<(i8, bool)>, high: Option<(i8, bool)>, probe: (i8, i8)
    ) -> TestResult {
        let bound = |bound: Option<(i8, bool)>| bound.map(|(value, inclusive)| (int(i32::from(value) % 4), inclusive));
        let found = ranges(&TWO, vec![KeyBounds { equal: vec![int(i32::from(prefix) % 2)], lower: bound(low), upper: bound(high) }]);
        let (first, second) = (i32::from(probe.0) % 2, i32::from(probe.1) % 5);
        let above = low.is_none_or(|(low, inclusive)| if inclusive { second >= i32::from(low) % 4 } else { second > i32::from(low) % 4 });
        let below = high.is_none_or(|(high, inclusive)| if inclusive { second <= i32::from(high) % 4 } else { second < i32::from(high) % 4 });
        let wanted = first == i32::from(prefix) % 2 && above && below;
        TestResult::from_bool(found.iter().any(|range| range.contains(&key(&[first, second]))) == wanted)
    }
}
