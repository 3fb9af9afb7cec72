//! Entries of indexes: values as bytes in value order, NULLs last, and the ranges of entries that a statement touches.
//!
//! ```text
//! entry := value, per column | row key      an index that is not unique, or with a NULL among the values
//!        | value, per column                a unique index without a NULL: two rows of the same values meet in one entry
//! value := 0x01 | the value as in a key     order is value order, and no value's bytes begin another's
//!        | 0x02                             NULL, after every value
//! ```
//!
//! What an entry stands for (the row key) is its stored value in either form.

use super::access::{KeyRange, append, each_alternative, merge, successor};
use super::{KeyError, MAX_KEY_BYTES, encode_value};
use crate::catalog::{Index, Table};
use crate::diag::{Diag, SqlState};
use crate::eval::EvalContext;
use crate::expr::Expr;
use crate::plan::KeyBounds;
use crate::value::{DataType, Value};

const VALUE: u8 = 1;
const NULL: u8 = 2;

/// The values' part of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexKey {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// One of the values is NULL, so that it is no other row's.
    pub has_null: bool,
}

/// The values' part of an entry.
///
/// # Errors
/// JSON, and more than [`MAX_KEY_BYTES`].
pub fn encode_index<'v>(values: impl IntoIterator<Item = &'v Value>) -> Result<IndexKey, KeyError> {
    let mut key = IndexKey { bytes: Vec::new(), has_null: false };
    for value in values {
        if value.is_null() {
            key.has_null = true;
            key.bytes.push(NULL);
        } else {
            key.bytes.push(VALUE);
            encode_value(value, &mut key.bytes)?;
        }
    }
    if key.bytes.len() > MAX_KEY_BYTES { Err(KeyError::TooLong { length: key.bytes.len() }) } else { Ok(key) }
}

/// The ranges of entries that the bounds mean with these parameters: sorted and disjoint. A bound that is NULL, or bounds that
/// contradict each other, give none.
///
/// # Errors
/// What evaluating a bound gives.
pub fn resolve_index(
    bounds: &[KeyBounds],
    table: &Table,
    index: &Index,
    context: &EvalContext<'_>,
) -> Result<Vec<KeyRange>, Diag> {
    let types: Vec<DataType> = table.index_columns(index).map(|column| column.data_type).collect();
    let Some(bounds) = each_alternative(bounds, &types, context)? else { return Ok(vec![KeyRange::full()]) };
    let mut ranges = Vec::with_capacity(bounds.len());
    for bound in bounds.iter() {
        ranges.extend(resolve(bound, &types, context)?.filter(|range| !range.is_empty()));
    }
    ranges.sort_unstable();
    Ok(merge(ranges))
}

fn resolve(bounds: &KeyBounds, types: &[DataType], context: &EvalContext<'_>) -> Result<Option<KeyRange>, Diag> {
    let mut types = types.iter();
    let mut next_type = || {
        types
            .next()
            .copied()
            .ok_or_else(|| Diag::new(SqlState::INTERNAL, "bounds name more columns than the index has"))
    };
    let mut prefix = Vec::new();
    for expr in &bounds.equal {
        prefix.push(VALUE);
        if !append(expr, next_type()?, context, &mut prefix)? {
            return Ok(None);
        }
    }
    if bounds.lower.is_none() && bounds.upper.is_none() {
        return Ok(Some(KeyRange::prefix(prefix)));
    }
    let data_type = next_type()?;
    // The values of the next column, without its NULLs.
    prefix.push(VALUE);
    let end_of_values = successor(&prefix);
    let at = |expr: &Expr| -> Result<Option<Vec<u8>>, Diag> {
        let mut bytes = prefix.clone();
        Ok(append(expr, data_type, context, &mut bytes)?.then_some(bytes))
    };
    let start = match &bounds.lower {
        None => prefix.clone(),
        Some((expr, inclusive)) => {
            let Some(bytes) = at(expr)? else { return Ok(None) };
            if *inclusive {
                bytes
            } else {
                match successor(&bytes) {
                    Some(bytes) => bytes,
                    None => return Ok(None),
                }
            }
        }
    };
    let end = match &bounds.upper {
        None => end_of_values,
        Some((expr, inclusive)) => {
            let Some(bytes) = at(expr)? else { return Ok(None) };
            if *inclusive { successor(&bytes) } else { Some(bytes) }
        }
    };
    Ok(Some(KeyRange { start, end }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use quickcheck::{Arbitrary, Gen, QuickCheck};

    use super::*;
    use crate::catalog::{ColumnId, IndexColumn, IndexState, ObjectId, Role};
    use crate::testing::table;

    fn index() -> (Table, Index) {
        let table = table(&[DataType::BigInt, DataType::Int, DataType::Text], &[0]);
        let part = |id| IndexColumn { column: ColumnId(id), descending: false };
        let columns = vec![part(2), part(3)];
        let (id, name, state) = (ObjectId(2), "i".to_owned(), IndexState::Public);
        (table, Index { id, name, columns, unique: false, constraint: false, state })
    }

    fn entry(number: Option<i32>, text: Option<&str>) -> Vec<u8> {
        let values =
            [number.map_or(Value::Null, Value::Int), text.map_or(Value::Null, |text| Value::Text(text.into()))];
        encode_index(&values).unwrap().bytes
    }

    #[test]
    fn an_entry_has_fixed_bytes() {
        let golden = [1, 0x80, 0, 0, 5, 1, b'a', 0, 1];
        assert_eq!(entry(Some(5), Some("a")), golden);
        assert_eq!(entry(None, Some("a")), [2, 1, b'a', 0, 1]);
        assert!(encode_index(&[Value::Null]).unwrap().has_null);
        assert!(!encode_index(&[Value::Int(1)]).unwrap().has_null);
    }

    #[test]
    fn entries_are_in_value_order_with_nulls_last() {
        let order = [
            entry(Some(-1), None),
            entry(Some(0), Some("")),
            entry(Some(0), Some("a")),
            entry(Some(0), Some("b")),
            entry(Some(0), None),
            entry(None, Some("a")),
            entry(None, None),
        ];
        assert!(order.is_sorted());
    }

    /// A number, or NULL.
    #[derive(Clone, Copy, Debug)]
    struct Small(Option<i32>);

    impl Arbitrary for Small {
        fn arbitrary(g: &mut Gen) -> Self {
            Self(bool::arbitrary(g).then(|| i32::arbitrary(g) % 4))
        }
    }

    #[test]
    fn ranges_hold_exactly_the_entries_that_the_bounds_mean() {
        type Side = Option<(Small, bool)>;
        fn holds(equal: Option<Small>, lower: Side, upper: Side, numbers: Vec<(Small, Small)>) -> bool {
            let (table, index) = {
                let table = table(&[DataType::BigInt, DataType::Int, DataType::Int], &[0]);
                (table, index().1)
            };
            let literal = |Small(n): Small| Expr::Literal(n.map_or(Value::Null, Value::Int), DataType::Int);
            let side = |side: Side| side.map(|(n, inclusive)| (literal(n), inclusive));
            let equal_exprs: Vec<Expr> = equal.iter().map(|n| literal(*n)).collect();
            let bounds = [KeyBounds { equal: equal_exprs, lower: side(lower), upper: side(upper) }];
            let context = EvalContext::new(0, "", Role::User, &[], 0);
            let ranges = resolve_index(&bounds, &table, &index, &context).unwrap();
            let meant = |first: Small, second: Small| {
                let ranged = if equal.is_some() { second } else { first };
                let same = |a: Small, b: Small| a.0.is_some() && a.0 == b.0;
                let above = lower.is_none_or(
                    |(n, inclusive)| matches!((ranged.0, n.0), (Some(a), Some(b)) if a > b || (inclusive && a == b)),
                );
                let below = upper.is_none_or(
                    |(n, inclusive)| matches!((ranged.0, n.0), (Some(a), Some(b)) if a < b || (inclusive && a == b)),
                );
                equal.is_none_or(|n| same(first, n)) && above && below
            };
            numbers.into_iter().all(|(first, second)| {
                let value = |Small(n): Small| n.map_or(Value::Null, Value::Int);
                let bytes = encode_index(&[value(first), value(second)]).unwrap().bytes;
                ranges.iter().any(|range| range.contains(&bytes)) == meant(first, second)
            })
        }
        QuickCheck::new().tests(2000).quickcheck(holds as fn(Option<Small>, Side, Side, Vec<(Small, Small)>) -> bool);
    }
}
