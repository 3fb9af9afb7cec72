//! CREATE and DROP INDEX, and UNIQUE constraints: which columns, under which name.

use super::names::table;
use super::{BindContext, missing};
use crate::catalog::{Column, IndexColumn, Table, TableKind};
use crate::diag::{Diag, Span, SqlState};
use crate::limits;
use crate::plan::{Ddl, IndexSpec};
use crate::statement::{CreateIndex, Name, ObjectName};
use crate::suggest;

/// CREATE INDEX.
pub(super) fn create(create: &CreateIndex, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    let table = table(&create.table, context)?;
    let parts: Vec<(&Name, bool)> = create.columns.iter().map(|part| (&part.column, part.descending)).collect();
    let columns = columns(&parts, &table.columns)?;
    if create.unique {
        holds_partition(&columns, &table.columns, &table.primary_key, table.partition_columns, create.table.span())?;
    }
    if table.kind == TableKind::Stream {
        return Err(of_stream().at(create.table.span()));
    }
    let name = match &create.name {
        Some(name) => name.value.clone(),
        None => {
            let taken = |name: &str| context.catalog.index(&table.namespace, name).is_some();
            free_name(&table.name, &columns, &table.columns, "idx", taken)
        }
    };
    Ok(Ddl::CreateIndex {
        table: table.id,
        table_version: table.version,
        index: IndexSpec { name, columns, unique: create.unique, constraint: false },
        if_not_exists: create.if_not_exists,
    })
}

/// DROP INDEX.
pub(super) fn drop(name: &ObjectName, if_exists: bool, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    let namespace = name.namespace(context);
    if !if_exists && context.catalog.index(namespace, &name.name.value).is_none() {
        let known = context
            .catalog
            .tables
            .values()
            .filter(|table| table.namespace == namespace)
            .flat_map(|table| table.indexes.iter().map(|index| index.name.as_str()));
        let shown = format!("{namespace}.{}", name.name.value);
        return Err(missing(SqlState::UNDEFINED_OBJECT, "index", &shown, &name.name.value, name.span(), known));
    }
    Ok(Ddl::DropIndex { namespace: namespace.to_owned(), name: name.name.value.clone(), if_exists })
}

pub(super) fn of_stream() -> Diag {
    Diag::not_supported("an index of a STREAM table").hint("Its rows are found by the key, and by ranges of it.")
}

/// A UNIQUE constraint of a table that has these columns.
pub(super) fn unique(
    name: Option<&Name>,
    names: &[&Name],
    table: &TableShape<'_>,
    span: Span,
    taken: impl Fn(&str) -> bool,
) -> Result<IndexSpec, Diag> {
    if table.kind == TableKind::Stream {
        return Err(of_stream().at(span));
    }
    let parts: Vec<(&Name, bool)> = names.iter().map(|name| (*name, false)).collect();
    let columns = columns(&parts, table.columns)?;
    holds_partition(&columns, table.columns, table.primary_key, table.partition_columns, span)?;
    let name = match name {
        Some(name) if taken(&name.value) => {
            return Err(Diag::new(
                SqlState::DUPLICATE_OBJECT,
                format!("there is a constraint or index \"{}\" already", name.value),
            )
            .at(name.span));
        }
        Some(name) => name.value.clone(),
        None => free_name(table.name, &columns, table.columns, "key", taken),
    };
    Ok(IndexSpec { name, columns, unique: true, constraint: true })
}

/// What an index must know of its table, which may not exist yet.
pub(super) struct TableShape<'a> {
    pub(super) name: &'a str,
    pub(super) kind: TableKind,
    pub(super) columns: &'a [Column],
    pub(super) primary_key: &'a [u32],
    pub(super) partition_columns: u32,
}

impl<'a> TableShape<'a> {
    pub(super) fn of(table: &'a Table) -> Self {
        Self {
            name: &table.name,
            kind: table.kind,
            columns: &table.columns,
            primary_key: &table.primary_key,
            partition_columns: table.partition_columns,
        }
    }
}

fn columns(parts: &[(&Name, bool)], columns: &[Column]) -> Result<Vec<IndexColumn>, Diag> {
    let mut found: Vec<IndexColumn> = Vec::with_capacity(parts.len());
    for (name, descending) in parts {
        let column = columns.iter().find(|column| column.name == name.value).ok_or_else(|| {
            let diag = Diag::new(SqlState::UNDEFINED_COLUMN, format!("column \"{}\" does not exist", name.value))
                .at(name.span);
            suggest::with_nearest(diag, &name.value, columns.iter().map(|column| column.name.as_str()))
        })?;
        if found.iter().any(|part| part.column == column.id) {
            return Err(Diag::new(SqlState::DUPLICATE_COLUMN, format!("column \"{}\" is given twice", name.value))
                .at(name.span));
        }
        if !column.data_type.is_comparable() {
            return Err(Diag::new(
                SqlState::INVALID_TABLE_DEFINITION,
                format!("a column of type {} cannot be part of an index: it has no order", column.data_type),
            )
            .at(name.span));
        }
        found.push(IndexColumn { column: column.id, descending: *descending });
    }
    if let Some((first_too_many, _)) = parts.get(limits::MAX_KEY_COLUMNS) {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("an index has at most {} columns", limits::MAX_KEY_COLUMNS),
        )
        .at(first_too_many.span));
    }
    Ok(found)
}

/// Rows of several shards are not compared: what is unique must hold the columns that choose the shard.
fn holds_partition(
    index: &[IndexColumn],
    columns: &[Column],
    primary_key: &[u32],
    partition_columns: u32,
    span: Span,
) -> Result<(), Diag> {
    let leading = usize::try_from(partition_columns).unwrap_or(usize::MAX);
    let partition = primary_key.iter().take(leading);
    let partition = partition.filter_map(|at| usize::try_from(*at).ok().and_then(|at| columns.get(at)));
    for column in partition {
        if !index.iter().any(|part| part.column == column.id) {
            return Err(Diag::not_supported(format_args!(
                "UNIQUE without the partition column \"{}\" of a partitioned table",
                column.name
            ))
            .hint("Rows of several shards are not compared: add the partition columns to it.")
            .at(span));
        }
    }
    Ok(())
}

/// `<table>_<columns>_<suffix>`, with a number behind it when that is taken.
fn free_name(
    table: &str,
    parts: &[IndexColumn],
    columns: &[Column],
    suffix: &str,
    taken: impl Fn(&str) -> bool,
) -> String {
    let names = parts.iter().filter_map(|part| columns.iter().find(|column| column.id == part.column));
    let mut base = table.to_owned();
    for column in names {
        base.push('_');
        base.push_str(&column.name);
    }
    let room = limits::MAX_NAME_CHARS.saturating_sub(suffix.len() + 5);
    let base: String = base.chars().take(room).collect();
    let mut number = 0_u32;
    loop {
        let name = if number == 0 { format!("{base}_{suffix}") } else { format!("{base}_{suffix}{number}") };
        if !taken(&name) {
            return name;
        }
        number += 1;
    }
}
