#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use quickcheck::quickcheck;

use super::*;
use crate::testing::{AnyRow, TYPES, table};
use crate::value::sort_compare;

/// The stored format, byte for byte.
#[test]
fn golden_bytes() {
    let row = [
        Value::Boolean(true),
        Value::SmallInt(-1),
        Value::Int(300),
        Value::BigInt(i64::MIN),
        Value::Double(1.5),
        Value::Decimal(Decimal::new(-1234, 2)),
        Value::Text("é".into()),
        Value::Bytes(vec![0, 255]),
        Value::Json("[1]".into()),
        Value::Timestamp(1_000_000),
        Value::Float(1.5),
        Value::Date(-1),
        Value::Time(1),
        Value::DateTime(1_000_000),
        Value::Interval(Interval { months: 1, days: -2, micros: 3 }),
        Value::Uuid(0xa0ee_bc99_9c0b_4ef8_bb6d_6bb9_bd38_0a11),
        Value::Embedding(vec![1.0, -0.5]),
        Value::Array(Box::new(Array::new(Element::Int, vec![Value::Int(1), Value::Null]))),
        Value::Array(Box::new(Array::new(Element::Text, vec![Value::Text("a".into())]))),
        Value::Array(Box::new(Array::new(Element::of(DataType::DECIMAL).unwrap(), vec![]))),
    ];
    let table = table(&TYPES[..row.len()], &[0]);
    let bytes = encode_row(&table, &row, 0x0102_0304_0506_0708);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let wanted = "01 0807060504030201 010101 020201 0303d804 0404ffffffffffffffffff01 0505000000000000f83f \
                  060602a313 070702c3a9 08080200ff 0909035b315d 0a0a80897a \
                  0b0b0000c03f 0c0c01 0d0d02 0e0e80897a 0f0f020306 1010a0eebc999c0b4ef8bb6d6bb9bd380a11 \
                  1111020000803f000000bf 121203020302 00 13120701070161 14120600";
    assert_eq!(hex, wanted.replace(' ', ""));
    assert_eq!(decode_row(&table, &bytes).unwrap(), (row.to_vec(), 0x0102_0304_0506_0708));
    assert_eq!(decode_seq(&bytes), Ok(0x0102_0304_0506_0708));
}

/// Arrays of every type, byte for byte: tag 18, the elements' tag, their number, and each element as a column's value is, or 00.
#[test]
fn golden_bytes_of_arrays() {
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    for (data_type, text, wanted) in [
        (DataType::Boolean, "{t,NULL,f}".to_owned(), "12 01 03 0101 00 0100"),
        (DataType::SmallInt, "{-1}".to_owned(), "12 02 01 0201"),
        (DataType::Int, "{300,NULL}".to_owned(), "12 03 02 03d804 00"),
        (DataType::BigInt, "{1}".to_owned(), "12 04 01 0402"),
        (DataType::Double, "{1.5}".to_owned(), "12 05 01 05000000000000f83f"),
        (DataType::DECIMAL, "{-12.34}".to_owned(), "12 06 01 0602a313"),
        (DataType::Text, "{é,NULL,\"\"}".to_owned(), "12 07 03 0702c3a9 00 0700"),
        (DataType::Bytes, "{\"\\\\x00ff\"}".to_owned(), "12 08 01 080200ff"),
        (DataType::Json, "{[1]}".to_owned(), "12 09 01 09035b315d"),
        (DataType::Timestamp, "{\"1970-01-01 00:00:01\"}".to_owned(), "12 0a 01 0a80897a"),
        (DataType::Float, "{1.5}".to_owned(), "12 0b 01 0b0000c03f"),
        (DataType::Date, "{1969-12-31}".to_owned(), "12 0c 01 0c01"),
        (DataType::Time, "{00:00:00.000001}".to_owned(), "12 0d 01 0d02"),
        (DataType::DateTime, "{\"1970-01-01 00:00:01\"}".to_owned(), "12 0e 01 0e80897a"),
        (DataType::Interval, "{\"1 mon -2 days 00:00:00.000003\"}".to_owned(), "12 0f 01 0f020306"),
        (DataType::Uuid, format!("{{{uuid}}}"), "12 10 01 10a0eebc999c0b4ef8bb6d6bb9bd380a11"),
    ] {
        let array = data_type.array().unwrap();
        let value = crate::cast::cast(Value::Text(text), array, false).unwrap();
        let table = table(&[array], &[0]);
        let bytes = encode_row(&table, std::slice::from_ref(&value), 0);
        let hex: String = bytes[10..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, wanted.replace(' ', ""), "{array}");
        assert_eq!(decode_row(&table, &bytes).unwrap().0, vec![value], "{array}");
    }
}

#[test]
fn nulls_are_not_stored() {
    let bytes = encode_row(&table(&TYPES, &[0]), &[Value::Null, Value::Null], 7);
    assert_eq!(bytes.len(), 9);
    assert_eq!(decode_row(&table(&TYPES, &[0]), &bytes).unwrap(), (vec![Value::Null; TYPES.len()], 7));
}

#[test]
fn columns_are_found_by_id_after_the_table_changed() {
    let old = table(&[DataType::Int, DataType::Text, DataType::BigInt], &[0]);
    let bytes = encode_row(&old, &[Value::Int(1), Value::Text("gone".into()), Value::BigInt(3)], 9);
    let mut new = old.clone();
    new.columns.remove(1);
    new.columns[1].name = "renamed".into();
    let mut added = new.columns[0].clone();
    added.id = ColumnId(4);
    new.columns.insert(0, added);
    assert_eq!(decode_row(&new, &bytes).unwrap().0, vec![Value::Null, Value::Int(1), Value::BigInt(3)]);
}

#[test]
fn damage_is_told_apart() {
    let int = table(&[DataType::Int], &[0]);
    let with = |tail: &[u8]| decode_row(&int, &[&[ROW_VERSION, 0, 0, 0, 0, 0, 0, 0, 0], tail].concat());
    assert_eq!(decode_row(&int, &[2]), Err(RowError::Version(2)));
    assert_eq!(decode_row(&int, &[]), Err(RowError::Truncated { at: 0 }));
    assert_eq!(decode_row(&int, &[1, 0, 0]), Err(RowError::Truncated { at: 3 }));
    assert_eq!(with(&[1, 3]), Err(RowError::Truncated { at: 11 }));
    assert_eq!(with(&[1, 19, 0]), Err(RowError::Invalid { at: 10 }));
    assert_eq!(with(&[1, 3, 0x80, 0x80, 0x80, 0x80, 0x10]), Err(RowError::Invalid { at: 11 }));
    assert_eq!(with(&[1, 3, 2, 1, 3, 2]), Err(RowError::Duplicate(1)));
    assert!(matches!(with(&[1, 4, 2]), Err(RowError::Type { found: "BigInt", .. })));
    assert_eq!(
        with(&[9, 7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        Err(RowError::Truncated { at: 21 })
    );
    assert_eq!(with(&[0xff; 20]), Err(RowError::Invalid { at: 9 }));
    assert_eq!(with(&[9, 6, 29, 0]), Err(RowError::Invalid { at: 10 }));
    assert_eq!(with(&[9, 7, 1, 0xff]), Err(RowError::Invalid { at: 11 }));
}

quickcheck! {
    fn rows_read_back(row: AnyRow, seq: u64) -> bool {
        let table = table(&TYPES, &[0]);
        let (back, back_seq) = decode_row(&table, &encode_row(&table, &row.0, seq)).unwrap();
        back_seq == seq && back.iter().zip(&row.0).all(|(back, value)| {
            let same_scale = match (back, value) {
                (Value::Decimal(back), Value::Decimal(value)) => back.scale() == value.scale(),
                _ => true,
            };
            same_scale && sort_compare(back, value).is_eq()
        })
    }

    fn columns_that_nobody_looks_at_are_null_and_the_others_as_ever(row: AnyRow, wanted: Vec<bool>, at: usize, byte: u8) -> bool {
        let table = table(&TYPES, &[0]);
        let whole = encode_row(&table, &row.0, 7);
        let mut damaged = whole.clone();
        damaged[at % whole.len()] = byte;
        let places: BTreeSet<u32> = (0..).zip(&wanted).filter(|(_, is_in)| **is_in).map(|(place, _)| place).collect();
        let columns = Columns::at(&places);
        [whole, damaged].iter().all(|bytes| {
            // What was in the row before makes no difference.
            let mut part = vec![Value::Boolean(true); 3];
            let part_seq = decode_columns(&table, bytes, &columns, &mut part);
            match decode_row(&table, bytes) {
                Ok((all, seq)) => part_seq.is_ok_and(|part_seq| {
                    part_seq == seq && (0..).zip(part.iter().zip(&all)).all(|(place, (part, all))| {
                        if places.contains(&place) { sort_compare(part, all).is_eq() } else { part.is_null() }
                    })
                }),
                // What is passed over is not looked at for damage.
                Err(_) => true,
            }
        })
    }

    fn no_bytes_make_decoding_panic(bytes: Vec<u8>) -> bool {
        let table = table(&TYPES, &[0]);
        let framed = [&[ROW_VERSION, 0, 0, 0, 0, 0, 0, 0, 0], bytes.as_slice()].concat();
        let _ = (decode_row(&table, &bytes), decode_row(&table, &framed), decode_seq(&bytes));
        true
    }

    fn damaged_rows_never_panic(row: AnyRow, at: usize, byte: u8, cut: usize) -> bool {
        let table = table(&TYPES, &[0]);
        let mut bytes = encode_row(&table, &row.0, 1);
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = decode_row(&table, &bytes);
        let _ = decode_row(&table, &bytes[..cut % length]);
        true
    }
}
