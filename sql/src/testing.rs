//! Set-up shared by this crate's tests: tables, and arbitrary values.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use quickcheck::{Arbitrary, Gen};
use rust_decimal::Decimal;

use crate::catalog::{AccessLevel, Column, ObjectId, Table, TableKind};
use crate::datetime::DAY;
use crate::interval::Interval;
use crate::plan::TableSpec;
use crate::value::{Array, DataType, Element, Value};

/// Every type, DECIMAL with a scale in the middle.
pub(crate) const TYPES: [DataType; 33] = [
    DataType::Boolean,
    DataType::SmallInt,
    DataType::Int,
    DataType::BigInt,
    DataType::Double,
    DataType::Decimal { precision: 28, scale: 6 },
    DataType::Text,
    DataType::Bytes,
    DataType::Json,
    DataType::Timestamp,
    DataType::Float,
    DataType::Date,
    DataType::Time,
    DataType::DateTime,
    DataType::Interval,
    DataType::Uuid,
    DataType::Embedding(2),
    DataType::Array(Element::Int),
    DataType::Array(Element::Text),
    DataType::Array(Element::Decimal { precision: 0, scale: 0 }),
    DataType::Array(Element::Boolean),
    DataType::Array(Element::SmallInt),
    DataType::Array(Element::BigInt),
    DataType::Array(Element::Double),
    DataType::Array(Element::Bytes),
    DataType::Array(Element::Json),
    DataType::Array(Element::Timestamp),
    DataType::Array(Element::Float),
    DataType::Array(Element::Date),
    DataType::Array(Element::Time),
    DataType::Array(Element::DateTime),
    DataType::Array(Element::Interval),
    DataType::Array(Element::Uuid),
];

/// A table with columns of these types, ids 1, 2 ..., and these positions as its key.
pub(crate) fn table(types: &[DataType], primary_key: &[u32]) -> Table {
    let column =
        |(at, data_type): (usize, &DataType)| Column::new(u32::try_from(at).unwrap() + 1, format!("c{at}"), *data_type);
    TableSpec {
        namespace: "app".into(),
        name: "t".into(),
        kind: TableKind::Shared,
        access_level: AccessLevel::Private,
        columns: types.iter().enumerate().map(column).collect(),
        primary_key: primary_key.to_vec(),
        partition_columns: 0,
        checks: Vec::new(),
        ttl_seconds: None,
        indexes: Vec::new(),
    }
    .into_table(ObjectId(1), 0)
}

/// A value of this type, small and special ones often.
pub(crate) fn arbitrary_value(data_type: DataType, g: &mut Gen) -> Value {
    let small = bool::arbitrary(g);
    let integer = if small { i64::arbitrary(g) % 3 } else { i64::arbitrary(g) };
    match data_type {
        DataType::Boolean => Value::Boolean(bool::arbitrary(g)),
        DataType::SmallInt => Value::SmallInt(i16::arbitrary(g)),
        DataType::Int => Value::Int(i32::arbitrary(g)),
        DataType::BigInt => Value::BigInt(integer),
        DataType::Double => Value::Double(if small { integer as f64 / 2.0 } else { f64::arbitrary(g) }),
        DataType::Decimal { scale, .. } => {
            let scale = u32::from(u8::arbitrary(g) % (scale + 1).max(4));
            let wide = i128::from(integer) * if small { 1 } else { i128::from(i32::arbitrary(g)) % 1_000_000_000 };
            Value::Decimal(Decimal::try_from_i128_with_scale(wide, scale).unwrap())
        }
        DataType::Text => Value::Text(arbitrary_bytes(g).iter().map(|byte| char::from(*byte)).collect()),
        DataType::Bytes => Value::Bytes(arbitrary_bytes(g)),
        DataType::Json => Value::Json(integer.to_string()),
        DataType::Timestamp => Value::Timestamp(integer),
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any number will do")]
        DataType::Float => Value::Float(if small { integer as f32 / 2.0 } else { f64::arbitrary(g) as f32 }),
        DataType::Date => Value::Date(i32::arbitrary(g)),
        DataType::Time => Value::Time(integer.rem_euclid(DAY + 1)),
        DataType::DateTime => Value::DateTime(integer),
        DataType::Interval => Value::Interval(Interval {
            months: i32::arbitrary(g) % 3,
            days: if small { i32::arbitrary(g) % 61 } else { i32::arbitrary(g) },
            micros: if small { integer * DAY } else { integer },
        }),
        DataType::Uuid => Value::Uuid(u128::arbitrary(g)),
        DataType::Embedding(dimensions) => {
            Value::Embedding((0..dimensions.max(1)).map(|_| f32::from(i8::arbitrary(g)) / 4.0).collect())
        }
        DataType::Array(element) => {
            let length = u8::arbitrary(g) % 4;
            let item = |_| match bool::arbitrary(g) {
                true => arbitrary_value(element.data_type(), g),
                false => Value::Null,
            };
            Value::Array(Box::new(Array::new(element, (0..length).map(item).collect())))
        }
    }
}

/// Short, and full of the bytes that escaping is about.
fn arbitrary_bytes(g: &mut Gen) -> Vec<u8> {
    let length = u8::arbitrary(g) % 5;
    (0..length).map(|_| *g.choose(&[0x00, 0x01, 0x02, 0x61, 0x7f, 0xfe, 0xff]).unwrap()).collect()
}

/// One value of every type that a key can have, and another.
#[derive(Clone, Debug)]
pub(crate) struct KeyPair {
    /// One composite key.
    pub(crate) left: Vec<Value>,
    /// Another of the same types.
    pub(crate) right: Vec<Value>,
    /// Their types.
    pub(crate) types: Vec<DataType>,
}

impl Arbitrary for KeyPair {
    fn arbitrary(g: &mut Gen) -> Self {
        let ordered: Vec<DataType> = TYPES.into_iter().filter(DataType::is_comparable).collect();
        let types: Vec<DataType> = (0..1 + u8::arbitrary(g) % 3).map(|_| *g.choose(&ordered).unwrap()).collect();
        let left: Vec<Value> = types.iter().map(|data_type| arbitrary_value(*data_type, g)).collect();
        // Half of the time they begin alike, so that later columns decide.
        let right = types
            .iter()
            .zip(&left)
            .map(|(data_type, left)| if bool::arbitrary(g) { left.clone() } else { arbitrary_value(*data_type, g) })
            .collect();
        Self { left, right, types }
    }
}

/// A row of [`TYPES`], NULLs among its values.
#[derive(Clone, Debug)]
pub(crate) struct AnyRow(pub(crate) Vec<Value>);

impl Arbitrary for AnyRow {
    fn arbitrary(g: &mut Gen) -> Self {
        let value = |data_type: DataType, g: &mut Gen| {
            if u8::arbitrary(g) % 4 == 0 { Value::Null } else { arbitrary_value(data_type, g) }
        };
        Self(TYPES.iter().map(|data_type| value(*data_type, g)).collect())
    }
}
