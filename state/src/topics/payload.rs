//! Payloads: how a change reads as a message's key and JSON text.
//!
//! Owns the JSON forms of docs/topics.md ("Payloads"), which are a public format: a value is written as a cell of the SQL
//! endpoint is, so that a client decodes rows and messages with one function. Columns keep their order in the table, so
//! equal changes give equal bytes. Knows nothing of sources, partitions or storage.
//!
//! | type | JSON |
//! |---|---|
//! | BOOLEAN, SMALLINT, INT | `true`, `7` |
//! | BIGINT, DECIMAL | a string: `"9007199254740993"`, `"1.50"` |
//! | REAL, DOUBLE | a number; what JSON has no number for is `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | TEXT, JSON | a string |
//! | BYTES, EMBEDDING | an array of numbers |
//! | TIMESTAMP, TIMESTAMPTZ | microseconds since 1970 UTC, a number |
//! | DATE | days since 1970-01-01, a number |
//! | TIME | microseconds since midnight, a number |
//! | INTERVAL, UUID | a string |
//! | arrays | an array of their elements' forms |
//! | NULL | `null` |

use highwater_sql::catalog::{Operation, PayloadMode, Table};
use highwater_sql::value::{Row, Value};
use serde_json::{Map, Value as Json};

/// The member of a full payload that names the table. A column of this name is replaced by it.
pub const TABLE_MEMBER: &str = "_table";

/// One row's change, with rows in the order of the table's columns.
#[derive(Clone, Copy, Debug)]
pub enum RowChange<'a> {
    /// A new row.
    Insert {
        /// The row.
        new: &'a Row,
    },
    /// A changed row.
    Update {
        /// Before.
        old: &'a Row,
        /// After.
        new: &'a Row,
    },
    /// A removed row.
    Delete {
        /// What it was.
        old: &'a Row,
    },
}

impl<'a> RowChange<'a> {
    /// Which operation it is.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        match self {
            Self::Insert { .. } => Operation::Insert,
            Self::Update { .. } => Operation::Update,
            Self::Delete { .. } => Operation::Delete,
        }
    }

    /// The row that filters, keys and full payloads speak of: the new one, or the old one of a delete.
    #[must_use]
    pub const fn row(&self) -> &'a Row {
        match self {
            Self::Insert { new } | Self::Update { new, .. } => new,
            Self::Delete { old } => old,
        }
    }
}

/// A value as JSON.
#[must_use]
pub fn cell(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => Json::Bool(*value),
        Value::SmallInt(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::BigInt(value) => Json::String(value.to_string()),
        Value::Double(value) => {
            serde_json::Number::from_f64(*value).map_or_else(|| Json::String(value_text(*value)), Json::Number)
        }
        Value::Decimal(value) => Json::String(value.to_string()),
        Value::Text(value) | Value::Json(value) => Json::String(value.clone()),
        Value::Bytes(value) => Json::Array(value.iter().map(|byte| Json::from(*byte)).collect()),
        Value::Timestamp(value) | Value::DateTime(value) | Value::Time(value) => Json::from(*value),
        Value::Date(value) => Json::from(*value),
        Value::Float(value) => real(*value),
        Value::Interval(_) | Value::Uuid(_) => Json::String(value.to_string()),
        Value::Embedding(value) => Json::Array(value.iter().copied().map(real).collect()),
        Value::Array(value) => Json::Array(value.items().iter().map(cell).collect()),
    }
}

/// A REAL in its own shortest digits, which are fewer than those of the same number as DOUBLE.
fn real(value: f32) -> Json {
    if !value.is_finite() {
        return Json::String(value_text(f64::from(value)));
    }
    let digits: f64 = value.to_string().parse().unwrap_or_default();
    serde_json::Number::from_f64(digits).map_or(Json::Null, Json::Number)
}

fn value_text(value: f64) -> String {
    let name = if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    name.to_owned()
}

/// A value as text: its cell, a string without quotes.
#[must_use]
pub fn cell_text(value: &Value) -> String {
    match cell(value) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// A message's key: the text of a single key column ([`cell_text`]), or the JSON array of several.
#[must_use]
pub fn key_text(table: &Table, row: &Row) -> String {
    match table.primary_key.as_slice() {
        [position] => cell_text(value_at(row, *position as usize)),
        _ => Json::Array(key_values(table, row).map(cell).collect()).to_string(),
    }
}

/// The key columns' values in key order; NULL for a position that the row lacks.
pub fn key_values<'a>(table: &'a Table, row: &'a Row) -> impl Iterator<Item = &'a Value> {
    table.primary_key.iter().map(|position| value_at(row, *position as usize))
}

/// A message's payload: compact JSON text.
#[must_use]
pub fn payload(mode: PayloadMode, table: &Table, change: &RowChange<'_>) -> Vec<u8> {
    let members = match mode {
        PayloadMode::Key => key_members(table, change.row()),
        PayloadMode::Full => {
            let mut members = row_members(table, change.row());
            members.insert(TABLE_MEMBER.to_owned(), Json::String(format!("{}.{}", table.namespace, table.name)));
            members
        }
        PayloadMode::Diff => diff_members(table, change),
    };
    Json::Object(members).to_string().into_bytes()
}

fn diff_members(table: &Table, change: &RowChange<'_>) -> Map<String, Json> {
    let (old, new) = match change {
        RowChange::Insert { new } => (Json::Null, Json::Object(row_members(table, new))),
        RowChange::Delete { old } => (Json::Object(row_members(table, old)), Json::Null),
        RowChange::Update { old, new } => {
            let side = |row: &Row| {
                let changed = |position: &usize| differs(value_at(old, *position), value_at(new, *position));
                let positions = (0..table.columns.len()).filter(changed);
                Json::Object(members(table, row, positions))
            };
            (side(old), side(new))
        }
    };
    let mut all = Map::new();
    all.insert("key".to_owned(), Json::Object(key_members(table, change.row())));
    all.insert("old".to_owned(), old);
    all.insert("new".to_owned(), new);
    all
}

/// Whether two values read differently as cells. (SQL's equality would call NULL unknown, and 1.0 and 1.00 the same.)
fn differs(old: &Value, new: &Value) -> bool {
    old != new && cell(old) != cell(new)
}

fn key_members(table: &Table, row: &Row) -> Map<String, Json> {
    members(table, row, table.primary_key.iter().map(|position| *position as usize))
}

fn row_members(table: &Table, row: &Row) -> Map<String, Json> {
    members(table, row, 0..table.columns.len())
}

fn members(table: &Table, row: &Row, positions: impl Iterator<Item = usize>) -> Map<String, Json> {
    positions
        .filter_map(|position| Some((table.columns.get(position)?.name.clone(), cell(value_at(row, position)))))
        .collect()
}

fn value_at(row: &Row, position: usize) -> &Value {
    row.get(position).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use highwater_sql::value::DataType;

    use super::*;
    use crate::topics::fixtures::table;

    fn text(mode: PayloadMode, table: &Table, change: &RowChange<'_>) -> String {
        String::from_utf8(payload(mode, table, change)).unwrap()
    }

    fn messages() -> Table {
        table(1, "messages", &[("id", DataType::BigInt), ("body", DataType::Text), ("stars", DataType::Int)], &[0])
    }

    fn row(id: i64, body: &str, stars: i32) -> Row {
        vec![Value::BigInt(id), Value::Text(body.into()), Value::Int(stars)]
    }

    #[test]
    fn a_key_payload_holds_the_key_columns() {
        let new = row(7, "x", 1);
        assert_eq!(text(PayloadMode::Key, &messages(), &RowChange::Insert { new: &new }), r#"{"id":"7"}"#);
    }

    #[test]
    fn a_full_payload_holds_the_row_and_its_table() {
        let new = row(7, "say \"hi\"", 1);
        let change = RowChange::Insert { new: &new };
        assert_eq!(
            text(PayloadMode::Full, &messages(), &change),
            r#"{"id":"7","body":"say \"hi\"","stars":1,"_table":"app.messages"}"#
        );
        let deleted = RowChange::Delete { old: &new };
        assert_eq!(payload(PayloadMode::Full, &messages(), &deleted), payload(PayloadMode::Full, &messages(), &change));
    }

    #[test]
    fn a_diff_payload_holds_what_changed_and_the_key() {
        let (old, new) = (row(7, "x", 1), row(7, "y", 1));
        assert_eq!(
            text(PayloadMode::Diff, &messages(), &RowChange::Update { old: &old, new: &new }),
            r#"{"key":{"id":"7"},"old":{"body":"x"},"new":{"body":"y"}}"#
        );
        assert_eq!(
            text(PayloadMode::Diff, &messages(), &RowChange::Insert { new: &new }),
            r#"{"key":{"id":"7"},"old":null,"new":{"id":"7","body":"y","stars":1}}"#
        );
        assert_eq!(
            text(PayloadMode::Diff, &messages(), &RowChange::Delete { old: &old }),
            r#"{"key":{"id":"7"},"old":{"id":"7","body":"x","stars":1},"new":null}"#
        );
    }

    #[test]
    fn an_update_that_changes_nothing_says_so() {
        let old = row(7, "x", 1);
        let nan = vec![Value::BigInt(1), Value::Double(f64::NAN), Value::Null];
        for same in [&old, &nan] {
            let json = text(PayloadMode::Diff, &messages(), &RowChange::Update { old: same, new: same });
            assert!(json.ends_with(r#""old":{},"new":{}}"#), "{json}");
        }
    }

    #[test]
    fn a_single_key_column_is_its_text_and_several_are_an_array() {
        assert_eq!(key_text(&messages(), &row(7, "x", 1)), "7");
        let composite =
            table(1, "t", &[("a", DataType::Text), ("b", DataType::BigInt), ("c", DataType::Int)], &[2, 0, 1]);
        let row = vec![Value::Text("x\"y".into()), Value::BigInt(5), Value::Int(-1)];
        assert_eq!(key_text(&composite, &row), r#"[-1,"x\"y","5"]"#);
    }

    #[test]
    fn cells_read_as_those_of_the_sql_endpoint() {
        let cases = [
            (Value::Null, "null"),
            (Value::Boolean(true), "true"),
            (Value::SmallInt(-3), "-3"),
            (Value::Int(3), "3"),
            (Value::BigInt(i64::MAX), r#""9223372036854775807""#),
            (Value::Double(1.5), "1.5"),
            (Value::Double(f64::NAN), r#""NaN""#),
            (Value::Double(f64::NEG_INFINITY), r#""-Infinity""#),
            (Value::Decimal("1.50".parse().unwrap()), r#""1.50""#),
            (Value::Text("ü\n".into()), r#""ü\n""#),
            (Value::Bytes(vec![0, 255]), "[0,255]"),
            (Value::Json(r#"{"a":1}"#.into()), r#""{\"a\":1}""#),
            (Value::Timestamp(-1), "-1"),
            (Value::Float(0.1), "0.1"),
            (Value::Date(-1), "-1"),
            (Value::Uuid(1), r#""00000000-0000-0000-0000-000000000001""#),
            (Value::Embedding(vec![1.0, 0.5]), "[1.0,0.5]"),
        ];
        for (value, json) in cases {
            assert_eq!(cell(&value).to_string(), json);
        }
    }
}
