//! Shared set-up of the fuzz targets.

use highwater_sql::catalog::{AccessLevel, Column, ObjectId, Table, TableKind};
use highwater_sql::plan::TableSpec;
use highwater_sql::value::{DataType, Element};

/// Every type.
pub const TYPES: [DataType; 20] = [
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
