//! Shared set-up of the fuzz targets.

use highwater_sql::cast::cast;
use highwater_sql::catalog::{AccessLevel, Column, ObjectId, Table, TableKind};
use highwater_sql::plan::TableSpec;
use highwater_sql::value::{DataType, Element, Value};

/// Every type.
pub const TYPES: [DataType; 33] = [
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

/// A table with a column of every type, ids from 1.
#[must_use]
pub fn table() -> Table {
    let column = |(id, data_type): (u32, DataType)| Column::new(id, format!("c{id}"), data_type);
    TableSpec {
        namespace: "app".into(),
        name: "t".into(),
        kind: TableKind::Shared,
        access_level: AccessLevel::Private,
        columns: (1..).zip(TYPES).map(column).collect(),
        primary_key: vec![0],
        partition_columns: 0,
        checks: Vec::new(),
        ttl_seconds: None,
        indexes: Vec::new(),
    }
    .into_table(ObjectId(1), 0)
}

/// A row of [`table`].
#[must_use]
pub fn row() -> Vec<Value> {
    let sample = |data_type: DataType| match data_type {
        DataType::Boolean => "true",
        DataType::SmallInt | DataType::Int | DataType::BigInt => "7",
        DataType::Double | DataType::Float | DataType::Decimal { .. } => "-2.5",
        DataType::Text | DataType::Bytes => "Grüße, a b",
        DataType::Json => "{\"a\": [1, {\"b\": null}]}",
        DataType::Timestamp | DataType::DateTime => "2026-02-28 23:59:59.5",
        DataType::Date => "2026-02-28",
        DataType::Time => "23:59:59.5",
        DataType::Interval => "1 month -2 days 03:04:05",
        DataType::Uuid => "019b0000-0000-7000-8000-000000000001",
        DataType::Embedding(_) => "[1, -2]",
        DataType::Array(Element::Boolean) => "{t,NULL,f}",
        DataType::Array(Element::Json) => "{\"{\\\"a\\\": 1}\",NULL,3}",
        DataType::Array(Element::Timestamp | Element::DateTime | Element::Date) => {
            "{2026-02-28,NULL,\"1970-01-01 00:00:00\"}"
        }
        DataType::Array(Element::Time) => "{23:59:59.5,NULL,00:00}",
        DataType::Array(Element::Interval) => "{\"1 month -2 days 03:04:05\",NULL}",
        DataType::Array(Element::Uuid) => "{019b0000-0000-7000-8000-000000000001,NULL}",
        DataType::Array(_) => "{1,NULL,3}",
    };
    let value = |data_type| cast(Value::Text(sample(data_type).into()), data_type, false).unwrap_or(Value::Null);
    TYPES.into_iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_sample() {
        assert!(
            row()
                .iter()
                .zip(TYPES)
                .all(|(value, data_type)| value.data_type().is_some_and(|of| of.same_kind(&data_type)))
        );
    }
}
