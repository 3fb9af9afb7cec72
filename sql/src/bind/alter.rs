//! ALTER TABLE and COMMENT ON TABLE: changes of a table that exists.
//!
//! Looks at names, types and expressions. What depends on a column, and what rows say about a new rule, is asked where the change
//! is decided.

use super::BindContext;
use super::index::{self, TableShape};
use super::names::table as known_table;
use super::options::Options;
use super::table::{LEVELS, check, column, default_value, free_check_name, reserved};
use super::types;
use crate::cast::{self, Coercion};
use crate::catalog::{Column, Table, TableKind};
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::limits;
use crate::plan::{Ddl, TableChange};
use crate::statement::{AlterAction, AlterTable, ColumnConstraint, ColumnSpec, Name, ObjectName, TableElement};
use crate::suggest;

/// ALTER TABLE.
pub(super) fn table(alter: &AlterTable, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    let table = known_table(&alter.name, context)?;
    let change = match alter.actions.as_slice() {
        [AlterAction::AddConstraint(element)] => return add_constraint(table, element, context),
        [action] => one(table, action)?,
        several => {
            // Each is of the table as those before it leave it.
            let mut changed = Table::clone(table);
            let mut changes = Vec::with_capacity(several.len());
            for action in several {
                let change = among_others(&changed, action)?;
                apply(&mut changed, &change);
                changes.push(change);
            }
            TableChange::Several(changes)
        }
    };
    Ok(Ddl::AlterTable { table: table.id, table_version: table.version, change })
}

/// A change of a list: none of them may look at rows, or the list could take effect in part.
fn among_others(table: &Table, action: &AlterAction) -> Result<TableChange, Diag> {
    let (what, span) = match action {
        AlterAction::AddConstraint(TableElement::Unique { span, .. } | TableElement::PrimaryKey { span, .. }) => {
            ("ADD UNIQUE", *span)
        }
        AlterAction::AddConstraint(TableElement::Check { condition, .. }) => ("ADD CHECK", condition.span),
        AlterAction::AddConstraint(TableElement::Column(column)) => ("ADD", column.name.span),
        AlterAction::SetNotNull { column } if existing(table, column)?.nullable => ("SET NOT NULL", column.span),
        AlterAction::SetType { column, data_type, type_span } => {
            let (known, wanted) = (existing(table, column)?, types::named(data_type, *type_span)?);
            let is_wider =
                wanted.max_chars.is_none() || known.max_chars.is_some_and(|old| wanted.max_chars >= Some(old));
            if known.data_type == wanted.data_type && is_wider {
                return one(table, action);
            }
            ("ALTER COLUMN ... TYPE", *type_span)
        }
        AlterAction::AddColumn { column: spec, .. } => {
            let change = one(table, action)?;
            match &change {
                TableChange::AddColumn(column) if !column.nullable && column.default.is_none() => {
                    ("ADD COLUMN ... NOT NULL without a DEFAULT", spec.name.span)
                }
                _ => return Ok(change),
            }
        }
        _ => return one(table, action),
    };
    Err(Diag::not_supported(format_args!("{what} among several changes of one ALTER TABLE"))
        .hint("It looks at every row: send it as a statement of its own.")
        .at(span))
}

/// What later changes of the same list see of this one.
fn apply(table: &mut Table, change: &TableChange) {
    match change {
        TableChange::AddColumn(column) => {
            table.columns.push(Column::clone(column));
            table.next_column += 1;
        }
        TableChange::DropColumn(id) => {
            let Some(at) = table.position(*id) else { return };
            table.columns.remove(at);
            for key in table.primary_key.iter_mut().filter(|key| usize::try_from(**key).is_ok_and(|key| key > at)) {
                *key -= 1;
            }
        }
        TableChange::RenameColumn { column, to } => {
            for known in table.columns.iter_mut().filter(|known| known.id == *column) {
                known.name.clone_from(to);
            }
        }
        TableChange::DropNotNull(column) => {
            for known in table.columns.iter_mut().filter(|known| known.id == *column) {
                known.nullable = true;
            }
        }
        TableChange::DropConstraint(name) => {
            table.checks.retain(|check| check.name != *name);
            table.indexes.retain(|index| index.name != *name);
        }
        TableChange::Rename(to) => table.name.clone_from(to),
        TableChange::Nothing(_)
        | TableChange::SetDefault { .. }
        | TableChange::SetNotNull(_)
        | TableChange::SetType { .. }
        | TableChange::AddCheck(_)
        | TableChange::SetAccessLevel(_)
        | TableChange::Comment(_)
        | TableChange::Several(_) => {}
    }
}

/// One change.
fn one(table: &Table, action: &AlterAction) -> Result<TableChange, Diag> {
    Ok(match action {
        AlterAction::AddColumn { column, if_not_exists } => add_column(table, column, *if_not_exists)?,
        AlterAction::AddConstraint(_) => {
            return Err(Diag::not_supported("a constraint among several changes of one ALTER TABLE"));
        }
        AlterAction::DropColumn { column, if_exists: true }
            if !table.columns.iter().any(|known| known.name == column.value) =>
        {
            TableChange::Nothing(format!("Column '{}' does not exist", column.value))
        }
        AlterAction::DropColumn { column, .. } => TableChange::DropColumn(existing(table, column)?.id),
        AlterAction::DropConstraint { name, if_exists } => drop_constraint(table, name, *if_exists)?,
        AlterAction::RenameColumn { column, to } => {
            let column = existing(table, column)?;
            new_column_name(table, to)?;
            TableChange::RenameColumn { column: column.id, to: to.value.clone() }
        }
        AlterAction::RenameTable { to } => TableChange::Rename(to.value.clone()),
        AlterAction::SetDefault { column, default } => {
            let span = column.span;
            let column = existing(table, column)?;
            not_serial(column, "SET DEFAULT", span)?;
            let expr = default_value(default, &column.name, column.data_type, column.max_chars)?;
            let leading = usize::try_from(table.partition_columns).unwrap_or(usize::MAX);
            if eval::is_volatile(&expr) && table.key_columns().take(leading).any(|key| key.id == column.id) {
                return Err(
                    Diag::not_supported("a volatile function in the DEFAULT of a partition column").at(default.span)
                );
            }
            TableChange::SetDefault { column: column.id, default: Some((expr, default.text.clone())) }
        }
        AlterAction::DropDefault { column } => {
            let span = column.span;
            let column = existing(table, column)?;
            not_serial(column, "DROP DEFAULT", span)?;
            TableChange::SetDefault { column: column.id, default: None }
        }
        AlterAction::SetNotNull { column } => TableChange::SetNotNull(existing(table, column)?.id),
        AlterAction::DropNotNull { column } => TableChange::DropNotNull(existing(table, column)?.id),
        AlterAction::SetType { column, data_type, type_span } => {
            let column = existing(table, column)?;
            let wanted = types::named(data_type, *type_span)?;
            not_serial(column, "a change of type", *type_span)?;
            if column.data_type != wanted.data_type
                && !cast::allowed(column.data_type, wanted.data_type, Coercion::Assignment)
            {
                return Err(Diag::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!(
                        "column \"{}\" of type {} does not convert to {} by itself",
                        column.name, column.data_type, wanted.data_type
                    ),
                )
                .hint("Add a column of the new type, UPDATE it with a CAST, and drop the old one.")
                .at(*type_span));
            }
            TableChange::SetType { column: column.id, data_type: wanted.data_type, max_chars: wanted.max_chars }
        }
        AlterAction::SetOptions(options) => {
            let options = Options::checked(options, &["access_level"], "ALTER TABLE ... SET")?;
            match options.word("access_level", LEVELS)? {
                Some((_, span)) if table.kind != TableKind::Shared => {
                    return Err(Diag::new(
                        SqlState::INVALID_TABLE_DEFINITION,
                        "ACCESS_LEVEL is for SHARED tables: everyone sees only the own rows of this one",
                    )
                    .at(span));
                }
                Some((level, _)) => TableChange::SetAccessLevel(level),
                None => TableChange::Nothing(format!("Table '{}.{}' stays as it is", table.namespace, table.name)),
            }
        }
    })
}

/// COMMENT ON TABLE.
pub(super) fn comment(name: &ObjectName, comment: Option<String>, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    let table = known_table(name, context)?;
    Ok(Ddl::AlterTable { table: table.id, table_version: table.version, change: TableChange::Comment(comment) })
}

fn existing<'t>(table: &'t Table, name: &Name) -> Result<&'t Column, Diag> {
    table.columns.iter().find(|column| column.name == name.value).ok_or_else(|| {
        let diag =
            Diag::new(SqlState::UNDEFINED_COLUMN, format!("column \"{}\" does not exist", name.value)).at(name.span);
        suggest::with_nearest(diag, &name.value, table.columns.iter().map(|column| column.name.as_str()))
    })
}

fn not_serial(column: &Column, what: &str, span: Span) -> Result<(), Diag> {
    if column.serial {
        return Err(Diag::not_supported(format_args!("{what} of the SERIAL column \"{}\"", column.name)).at(span));
    }
    Ok(())
}

fn new_column_name(table: &Table, name: &Name) -> Result<(), Diag> {
    reserved(name)?;
    if table.columns.iter().any(|column| column.name == name.value) {
        return Err(Diag::new(
            SqlState::DUPLICATE_COLUMN,
            format!("table \"{}.{}\" has a column \"{}\" already", table.namespace, table.name, name.value),
        )
        .at(name.span));
    }
    Ok(())
}

fn add_column(table: &Table, spec: &ColumnSpec, if_not_exists: bool) -> Result<TableChange, Diag> {
    if if_not_exists && table.columns.iter().any(|column| column.name == spec.name.value) {
        return Ok(TableChange::Nothing(format!("Column '{}' already exists", spec.name.value)));
    }
    new_column_name(table, &spec.name)?;
    if table.columns.len() >= limits::MAX_COLUMNS {
        return Err(Diag::new(SqlState::PROGRAM_LIMIT, format!("a table has at most {} columns", limits::MAX_COLUMNS))
            .at(spec.name.span));
    }
    for constraint in &spec.constraints {
        let (what, span) = match constraint {
            ColumnConstraint::PrimaryKey(span) => ("PRIMARY KEY", *span),
            ColumnConstraint::Unique { span, .. } => ("UNIQUE", *span),
            ColumnConstraint::Check { condition, .. } => ("CHECK", condition.span),
            ColumnConstraint::NotNull(_) | ColumnConstraint::Null(_) | ColumnConstraint::Default(_) => continue,
        };
        let diag = Diag::not_supported(format_args!("{what} of a column that is being added")).at(span);
        return Err(if what == "PRIMARY KEY" {
            diag
        } else {
            diag.hint(format!("Add the column, then ALTER TABLE ... ADD {what} (...)."))
        });
    }
    let column = column(spec, crate::catalog::ColumnId(table.next_column))?;
    not_serial(&column, "ADD COLUMN", spec.type_span)?;
    if column.default.as_ref().is_some_and(eval::is_volatile) {
        return Err(Diag::not_supported("ADD COLUMN with a volatile DEFAULT")
            .hint("Every row would need a value of its own: add the column without it, UPDATE the rows, then SET DEFAULT.")
            .at(spec.name.span));
    }
    Ok(TableChange::AddColumn(Box::new(column)))
}

fn add_constraint(table: &Table, element: &TableElement, context: &BindContext<'_>) -> Result<Ddl, Diag> {
    let taken = |name: &str| {
        context.catalog.index(&table.namespace, name).is_some() || table.checks.iter().any(|check| check.name == name)
    };
    match element {
        TableElement::Unique { name, columns, span } => {
            let names: Vec<&Name> = columns.iter().collect();
            let index = index::unique(name.as_ref(), &names, &TableShape::of(table), *span, taken)?;
            Ok(Ddl::CreateIndex { table: table.id, table_version: table.version, index, if_not_exists: false })
        }
        TableElement::Check { name, condition } => {
            let name = match name {
                Some(name) if taken(&name.value) => {
                    return Err(Diag::new(
                        SqlState::DUPLICATE_OBJECT,
                        format!("there is a constraint or index \"{}\" already", name.value),
                    )
                    .at(name.span));
                }
                Some(name) => name.value.clone(),
                None => free_check_name(&table.name, taken),
            };
            let change = TableChange::AddCheck(check(&table.name, &table.columns, name, condition)?);
            Ok(Ddl::AlterTable { table: table.id, table_version: table.version, change })
        }
        TableElement::PrimaryKey { span, .. } => {
            Err(Diag::not_supported("another primary key").hint("A table keeps the key it was made with.").at(*span))
        }
        TableElement::Column(column) => {
            Err(Diag::new(SqlState::INTERNAL, "a column is no constraint").at(column.name.span))
        }
    }
}

fn drop_constraint(table: &Table, name: &Name, if_exists: bool) -> Result<TableChange, Diag> {
    let checks = table.checks.iter().map(|check| check.name.as_str());
    let unique = table.indexes.iter().filter(|index| index.constraint).map(|index| index.name.as_str());
    let known: Vec<&str> = checks.chain(unique).collect();
    if known.contains(&name.value.as_str()) {
        return Ok(TableChange::DropConstraint(name.value.clone()));
    }
    if if_exists {
        return Ok(TableChange::Nothing(format!("Constraint '{}' does not exist", name.value)));
    }
    let diag = Diag::new(
        SqlState::UNDEFINED_OBJECT,
        format!("table \"{}.{}\" has no constraint \"{}\"", table.namespace, table.name, name.value),
    )
    .at(name.span);
    Err(suggest::with_nearest(diag, &name.value, known))
}
