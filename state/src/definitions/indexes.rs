//! CREATE and DROP INDEX: decided here, built by a job in every group of the table.

use highwater_sql::catalog::CatalogDelta;
use highwater_sql::catalog::{IndexState, ObjectId, PendingRule, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::plan::IndexSpec;
use highwater_sql::value::DataType;

use super::alter::{begun, current, has_constraint, next, shown, taken};
use super::{Deciding, Decision, names};
use crate::error::Abort;
use crate::jobs::JobKind;

/// Most indexes of a table.
pub const MAX_INDEXES: usize = 64;

pub(super) fn create(
    deciding: &Deciding<'_>,
    id: ObjectId,
    version: u32,
    spec: &IndexSpec,
    if_not_exists: bool,
) -> Result<Decision, Abort> {
    if let Some(table) = deciding.catalog.tables.get(&id)
        && deciding.catalog.index(&table.namespace, &spec.name).is_some()
    {
        return if if_not_exists {
            Ok(Decision::nothing(format!("Index '{}.{}' already exists", table.namespace, spec.name)))
        } else {
            Err(Diag::new(
                SqlState::DUPLICATE_TABLE,
                format!("index \"{}.{}\" already exists", table.namespace, spec.name),
            )
            .into())
        };
    }
    let table = current(deciding, id, version)?;
    if has_constraint(deciding, table, &spec.name) {
        return Err(taken(&spec.name).into());
    }
    check(spec, table)?;
    let mut new = next(deciding, table);
    if new.indexes.len() >= MAX_INDEXES {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("table \"{}\" has {MAX_INDEXES} indexes; more are not allowed", shown(table)),
        )
        .into());
    }
    let index = spec.clone().into_index(deciding.next_id, IndexState::Building);
    let (what, message) = if spec.constraint {
        (format!("constraint {}", spec.name), format!("Constraint '{}' added to table '{}'", spec.name, shown(table)))
    } else {
        (format!("index {}", spec.name), format!("Index '{}.{}' created successfully", new.namespace, spec.name))
    };
    let rule = PendingRule::Index(index.id);
    new.indexes.push(index);
    Ok(begun(deciding, new, rule, JobKind::IndexBuild, &what, message))
}

/// Whether a table can have the index; asked of indexes of new tables, too.
pub(super) fn check(spec: &IndexSpec, table: &Table) -> Result<(), Diag> {
    names::check("an index's name", &spec.name)?;
    let invalid = |why: String| {
        Diag::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("index \"{}\" of table \"{}\" {why}", spec.name, shown(table)),
        )
    };
    if table.kind == TableKind::Stream {
        return Err(Diag::not_supported(format!("an index of STREAM table {}", shown(table))));
    }
    if spec.columns.is_empty() {
        return Err(invalid("has no columns".to_owned()));
    }
    for part in &spec.columns {
        match table.column(part.column) {
            None => return Err(invalid("has a column that the table lacks".to_owned())),
            Some(column) if column.data_type == DataType::Json => {
                return Err(invalid(format!("has the JSON column \"{}\"; JSON has no order", column.name)));
            }
            Some(_) => {}
        }
    }
    let partition = table.key_columns().take(table.partition_columns as usize);
    for column in partition.filter(|_| spec.unique) {
        if !spec.columns.iter().any(|part| part.column == column.id) {
            return Err(Diag::not_supported(format!(
                "UNIQUE without the partition column \"{}\" of table {}",
                column.name,
                shown(table)
            )));
        }
    }
    Ok(())
}

pub(super) fn drop(deciding: &Deciding<'_>, namespace: &str, name: &str, if_exists: bool) -> Result<Decision, Abort> {
    let Some((table, index)) = deciding.catalog.index(namespace, name) else {
        return if if_exists {
            Ok(Decision::nothing(format!("Index '{namespace}.{name}' does not exist")))
        } else {
            Err(Diag::new(SqlState::UNDEFINED_OBJECT, format!("index \"{namespace}.{name}\" does not exist")).into())
        };
    };
    if index.constraint {
        return Err(Diag::new(
            SqlState::DEPENDENT_OBJECTS,
            format!("index \"{namespace}.{name}\" cannot be dropped: it is a constraint of table \"{}\"", shown(table)),
        )
        .hint(format!("ALTER TABLE {} DROP CONSTRAINT {name}.", shown(table)))
        .into());
    }
    let table = current(deciding, table.id, table.version)?;
    let mut new = next(deciding, table);
    new.indexes.retain(|known| known.id != index.id);
    Ok(Decision::change(
        CatalogDelta::PutTable(std::sync::Arc::new(new)),
        format!("Index '{namespace}.{name}' dropped successfully"),
    ))
}
