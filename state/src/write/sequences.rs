//! Sequences: the next numbers of SERIAL columns.
//!
//! ```text
//! sequence (crate::keys::Space::Sequence) := version u8 (1) | postcard(numbers given so far: u64)
//! ```
//!
//! A sequence belongs to its column, on USER tables to its column and user, and lives in the group of the rows: numbers are drawn
//! where the row is written. The groups of a partitioned table take turns: group `g` of `n` gives `g + 1`, `g + 1 + n`, `g + 1 +
//! 2n` ..., so that none is given twice. Numbers rise in the order of writes of a group. A statement that is refused gives its
//! numbers back; a value that is given by hand moves the sequence past it.

use std::collections::BTreeMap;

use highwater_runtime::Env;
use highwater_sql::catalog::{Column, ColumnId, Table};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::{DataType, Row, Value};

use crate::error::Abort;
use crate::placement::Layout;
use crate::stored;
use crate::txn::Txn;

/// The sequences of a table's SERIAL columns, as far as one statement has drawn.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    given: BTreeMap<ColumnId, Drawn>,
    /// How many groups take turns.
    stride: u64,
    /// Whose turn this is.
    turn: u64,
}

#[derive(Debug)]
struct Drawn {
    count: u64,
    is_changed: bool,
}

impl Sequences {
    /// Reads where the sequences stand; a table without SERIAL columns has none.
    pub(super) async fn load<E: Env>(
        txn: &mut Txn<'_, E>,
        layout: &Layout,
        table: &Table,
        user: Option<&str>,
    ) -> Result<Self, Abort> {
        let (mut stride, mut turn) = (1, 0);
        if table.partition_columns > 0 {
            stride = u64::from(layout.shared_shards);
            turn = u64::from(txn.group().saturating_sub(1 + layout.user_shards));
        }
        let mut given = BTreeMap::new();
        for column in table.columns.iter().filter(|column| column.serial) {
            let key = txn.keys().sequence(table.id, column.id, user);
            let count = match txn.get(&key).await? {
                Some(bytes) => stored::decode(txn.group(), "a sequence", &bytes)?,
                None => 0,
            };
            given.insert(column.id, Drawn { count, is_changed: false });
        }
        Ok(Self { given, stride, turn })
    }

    /// The next number of a column.
    pub(super) fn next(&mut self, column: &Column) -> Result<Value, Diag> {
        let (stride, turn) = (self.stride, self.turn);
        let full = || {
            Diag::new(
                SqlState::SEQUENCE_LIMIT,
                format!("the sequence of column \"{}\" has reached the end of {}", column.name, column.data_type),
            )
            .hint("Change the column's type to one with more numbers, or give the values.")
        };
        let drawn = self.given.get_mut(&column.id).ok_or_else(full)?;
        let number =
            drawn.count.checked_mul(stride).and_then(|number| number.checked_add(turn + 1)).ok_or_else(full)?;
        let value = match column.data_type {
            DataType::SmallInt => i16::try_from(number).ok().map(Value::SmallInt),
            DataType::Int => i32::try_from(number).ok().map(Value::Int),
            _ => i64::try_from(number).ok().map(Value::BigInt),
        };
        let value = value.ok_or_else(full)?;
        drawn.count += 1;
        drawn.is_changed = true;
        Ok(value)
    }

    /// Moves the sequences past the numbers of a row.
    pub(super) fn pass(&mut self, table: &Table, row: &Row) {
        if self.given.is_empty() {
            return;
        }
        for (column, value) in table.columns.iter().zip(row) {
            let Some(drawn) = self.given.get_mut(&column.id) else { continue };
            let Some(number) = value.as_i64().and_then(|number| u64::try_from(number).ok()) else { continue };
            // The count after which every further number is greater.
            let count = number.saturating_sub(self.turn).div_ceil(self.stride.max(1));
            if count > drawn.count {
                drawn.count = count;
                drawn.is_changed = true;
            }
        }
    }

    /// Stores where the sequences stand.
    pub(super) fn store<E: Env>(&self, txn: &mut Txn<'_, E>, table: &Table, user: Option<&str>) -> Result<(), Abort> {
        for (column, drawn) in self.given.iter().filter(|(_, drawn)| drawn.is_changed) {
            let key = txn.keys().sequence(table.id, *column, user);
            txn.put(key, stored::encode(&drawn.count))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    fn sequences(stride: u64, turn: u64) -> (Sequences, Column) {
        let column = Column { serial: true, ..Column::new(1, "id", DataType::SmallInt) };
        let given = BTreeMap::from([(column.id, Drawn { count: 0, is_changed: false })]);
        (Sequences { given, stride, turn }, column)
    }

    #[test]
    fn groups_that_take_turns_give_every_number_once() {
        let mut all: Vec<i64> = (0..3)
            .flat_map(|turn| {
                let (mut sequences, column) = sequences(3, turn);
                (0..4).map(|_| sequences.next(&column).unwrap().as_i64().unwrap()).collect::<Vec<_>>()
            })
            .collect();
        all.sort_unstable();
        assert_eq!(all, (1..=12).collect::<Vec<_>>());
    }

    #[test]
    fn numbers_given_by_hand_are_passed() {
        for (stride, turn) in [(1, 0), (3, 0), (3, 1), (3, 2)] {
            for given in 0..20_i16 {
                let (mut sequences, column) = sequences(stride, turn);
                let table = crate::topics::fixtures::table(1, "t", &[("id", DataType::SmallInt)], &[0]);
                sequences.pass(&table, &vec![Value::SmallInt(given)]);
                let next = sequences.next(&column).unwrap().as_i64().unwrap();
                assert!(next > i64::from(given), "{next} after {given} by turn {turn} of {stride}");
                assert!(next <= i64::from(given) + i64::try_from(stride).unwrap());
                assert_eq!((next - 1).rem_euclid(i64::try_from(stride).unwrap()), i64::try_from(turn).unwrap());
            }
        }
    }

    #[test]
    fn the_end_of_the_type_is_an_error() {
        let (mut sequences, column) = sequences(1, 0);
        let table = crate::topics::fixtures::table(1, "t", &[("id", DataType::SmallInt)], &[0]);
        sequences.pass(&table, &vec![Value::SmallInt(i16::MAX)]);
        assert_eq!(sequences.next(&column).unwrap_err().sqlstate, SqlState::SEQUENCE_LIMIT);
    }
}
