//! CREATE and DROP TABLE. The binder has looked at types and expressions; here is asked again whatever another command may
//! have changed since, and whatever rows could not be stored without.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_sql::catalog::{CatalogDelta, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::plan::TableSpec;
use highwater_sql::value::DataType;

use super::indexes::{self, MAX_INDEXES};
use super::{Deciding, Decision, alter, names};

/// Most columns of a table.
pub const MAX_COLUMNS: usize = 1024;

pub(super) fn create(deciding: &Deciding<'_>, spec: &TableSpec, if_not_exists: bool) -> Result<Decision, Diag> {
    let (namespace, name) = (&spec.namespace, &spec.name);
    names::check_namespace(deciding.catalog, namespace)?;
    if deciding.catalog.table(namespace, name).is_some() {
        return if if_not_exists {
            Ok(Decision::nothing(format!("Table '{namespace}.{name}' already exists")))
        } else {
            Err(Diag::new(SqlState::DUPLICATE_TABLE, format!("table \"{namespace}.{name}\" already exists")))
        };
    }
    names::check("a table's name", name)?;
    check_columns(spec)?;
    check_key(spec)?;
    check_kind(spec)?;
    let table = spec.clone().into_table(deciding.next_id, deciding.now);
    check_indexes(deciding, spec, &table)?;
    Ok(Decision::change(
        CatalogDelta::PutTable(Arc::new(table)),
        format!("Table '{namespace}.{name}' created successfully"),
    ))
}

fn invalid(spec: &TableSpec, why: impl std::fmt::Display) -> Diag {
    Diag::new(SqlState::INVALID_TABLE_DEFINITION, format!("table \"{}.{}\" {why}", spec.namespace, spec.name))
}

fn check_columns(spec: &TableSpec) -> Result<(), Diag> {
    if spec.columns.is_empty() || spec.columns.len() > MAX_COLUMNS {
        return Err(invalid(
            spec,
            format_args!("has {} columns; from 1 to {MAX_COLUMNS} are allowed", spec.columns.len()),
        ));
    }
    let (mut seen, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for column in &spec.columns {
        names::check("a column's name", &column.name)?;
        if column.name == "_seq" {
            return Err(Diag::new(
                SqlState::INVALID_NAME,
                "a column cannot be named \"_seq\": every row has one already",
            ));
        }
        if !seen.insert(&column.name) {
            return Err(Diag::new(SqlState::DUPLICATE_COLUMN, format!("column \"{}\" is defined twice", column.name)));
        }
        if !ids.insert(column.id) {
            return Err(invalid(spec, format_args!("gives the id of column \"{}\" twice", column.name)));
        }
    }
    Ok(())
}

fn check_key(spec: &TableSpec) -> Result<(), Diag> {
    if spec.primary_key.is_empty() {
        return Err(invalid(spec, "has no primary key").hint("Add PRIMARY KEY to a column, or PRIMARY KEY (a, b)."));
    }
    let mut seen = BTreeSet::new();
    for at in &spec.primary_key {
        let Some(column) = spec.columns.get(*at as usize) else {
            return Err(invalid(spec, "has a key column that it lacks"));
        };
        if !seen.insert(*at) {
            return Err(invalid(spec, format_args!("has column \"{}\" twice in its key", column.name)));
        }
        if column.data_type == DataType::Json {
            return Err(invalid(
                spec,
                format_args!("has the JSON column \"{}\" in its key; JSON has no order", column.name),
            ));
        }
    }
    Ok(())
}

fn check_indexes(deciding: &Deciding<'_>, spec: &TableSpec, table: &Table) -> Result<(), Diag> {
    if spec.indexes.len() > MAX_INDEXES {
        return Err(invalid(
            spec,
            format_args!("has {} indexes; at most {MAX_INDEXES} are allowed", spec.indexes.len()),
        ));
    }
    let mut names: BTreeSet<&str> = spec.checks.iter().map(|check| check.name.as_str()).collect();
    for index in &spec.indexes {
        indexes::check(index, table)?;
        if !names.insert(&index.name) || deciding.catalog.index(&spec.namespace, &index.name).is_some() {
            return Err(alter::taken(&index.name));
        }
    }
    if let Some(column) = spec.columns.iter().find(|column| column.serial)
        && spec.kind == TableKind::Stream
    {
        return Err(Diag::not_supported(format!("the SERIAL column \"{}\" of a STREAM table", column.name)));
    }
    Ok(())
}

fn check_kind(spec: &TableSpec) -> Result<(), Diag> {
    if spec.partition_columns as usize > spec.primary_key.len() {
        return Err(invalid(spec, "is partitioned by more columns than its key has"));
    }
    if spec.partition_columns > 0 && spec.kind != TableKind::Shared {
        return Err(invalid(spec, "belongs to users: PARTITION BY is for SHARED tables"));
    }
    match (spec.kind, spec.ttl_seconds) {
        (TableKind::Stream, Some(0)) => Err(invalid(spec, "has TTL_SECONDS = 0: its rows would end at once")),
        (TableKind::User | TableKind::Shared, Some(_)) => {
            Err(invalid(spec, "is no STREAM table: TTL_SECONDS is not for it"))
        }
        (TableKind::Stream, _) | (TableKind::User | TableKind::Shared, None) => Ok(()),
    }
}

pub(super) fn drop(deciding: &Deciding<'_>, namespace: &str, name: &str, if_exists: bool) -> Result<Decision, Diag> {
    let Some(table) = deciding.catalog.table(namespace, name) else {
        return if if_exists {
            Ok(Decision::nothing(format!("Table '{namespace}.{name}' does not exist")))
        } else {
            Err(Diag::new(SqlState::UNDEFINED_TABLE, format!("table \"{namespace}.{name}\" does not exist")))
        };
    };
    names::check_namespace(deciding.catalog, namespace)?;
    let user =
        deciding.catalog.topics.values().find(|topic| topic.sources.iter().any(|source| source.table == table.id));
    if let Some(topic) = user {
        let (topic, table) = (format!("{}.{}", topic.namespace, topic.name), format!("{namespace}.{name}"));
        return Err(Diag::new(
            SqlState::DEPENDENT_OBJECTS,
            format!("table \"{table}\" cannot be dropped: it is a source of topic \"{topic}\""),
        )
        .hint(format!("Drop the source first: ALTER TOPIC {topic} DROP SOURCE {table}.")));
    }
    Ok(Decision::change(CatalogDelta::DropTable(table.id), format!("Table '{namespace}.{name}' dropped successfully")))
}
