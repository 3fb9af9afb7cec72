//! ALTER TABLE and COMMENT ON TABLE: changes of a table, decided against the newest catalog.
//!
//! What depends on a column (the key, indexes, constraints, sources of topics) refuses its removal and its change of type, and is
//! named. Expressions of constraints and sources speak of columns by position: a removal moves them. A change that must look at
//! every row starts a job; the definition that this decides holds new rows to it, [`settle`] decides what becomes of it.

use std::sync::Arc;

use highwater_sql::catalog::{
    Catalog, CatalogDelta, Column, ColumnId, Former, IndexState, ObjectId, Pending, PendingRule, Source, Table,
    TableKind, Topic,
};
use highwater_sql::definition::with_column_renamed;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{self, EvalContext, evaluate};
use highwater_sql::expr::Expr;
use highwater_sql::plan::TableChange;
use highwater_sql::value::DataType;
use serde_json::json;

use super::tables::MAX_COLUMNS;
use super::{Deciding, Decision, names};
use crate::error::Abort;
use crate::jobs::JobKind;

/// The table as it is, if it is what the change was bound against and nothing else is under way.
pub(super) fn current<'a>(deciding: &Deciding<'a>, id: ObjectId, version: u32) -> Result<&'a Arc<Table>, Abort> {
    let table = match deciding.catalog.tables.get(&id) {
        Some(table) if table.version == version => table,
        Some(_) | None => return Err(Abort::Stale),
    };
    if let Some(pending) = &table.pending {
        return Err(Diag::new(
            SqlState::OBJECT_STATE,
            format!("another change of table \"{}\" is under way (job {})", shown(table), pending.job),
        )
        .hint("A table is changed once at a time: wait until system.jobs shows that it has finished.")
        .into());
    }
    Ok(table)
}

pub(super) fn shown(table: &Table) -> String {
    format!("{}.{}", table.namespace, table.name)
}

/// The next definition of the table.
pub(super) fn next(deciding: &Deciding<'_>, table: &Table) -> Table {
    Table { version: table.version + 1, updated_at: deciding.now, ..table.clone() }
}

fn put(table: Table, message: String) -> Decision {
    Decision::change(CatalogDelta::PutTable(Arc::new(table)), message)
}

/// The definition with a change under way, and the job that looks at the rows.
pub(super) fn begun(
    deciding: &Deciding<'_>,
    mut table: Table,
    rule: PendingRule,
    kind: JobKind,
    what: &str,
    message: String,
) -> Decision {
    let parameters = json!({ "table": shown(&table), "change": what }).to_string();
    table.pending = Some(Pending { job: deciding.job_id(kind), rule });
    Decision { job: Some((kind, parameters)), ..put(table, message) }
}

pub(super) fn alter(
    deciding: &Deciding<'_>,
    id: ObjectId,
    version: u32,
    change: &TableChange,
) -> Result<Decision, Abort> {
    let table = current(deciding, id, version)?;
    match change {
        TableChange::Several(changes) => several(deciding, table, changes),
        change => one(deciding, table, change),
    }
}

/// Changes in order, each of the table as those before it leave it: all of them, or the first that cannot be made refuses all.
fn several(deciding: &Deciding<'_>, table: &Table, changes: &[TableChange]) -> Result<Decision, Abort> {
    let mut catalog = Catalog::clone(deciding.catalog);
    for change in changes {
        let step = Deciding { catalog: &catalog, ..*deciding };
        let table = catalog.tables.get(&table.id).ok_or(Abort::Stale)?;
        let decision = one(&step, table, change)?;
        if decision.job.is_some() {
            return Err(Diag::not_supported("a change that looks at rows among several of one ALTER TABLE")
                .hint("Send it as a statement of its own.")
                .into());
        }
        catalog.advance(deciding.catalog.version, &decision.deltas);
    }
    let deltas = deciding.catalog.changes_to(&catalog);
    Ok(Decision { deltas, message: format!("Table '{}' altered successfully", shown(table)), job: None })
}

fn one(deciding: &Deciding<'_>, table: &Arc<Table>, change: &TableChange) -> Result<Decision, Abort> {
    let name = shown(table);
    let altered = |table: Table| Ok(put(table, format!("Table '{name}' altered successfully")));
    let mut new = next(deciding, table);
    match change {
        TableChange::Nothing(message) => Ok(Decision::nothing(message.clone())),
        TableChange::AddColumn(column) => add_column(deciding, new, column),
        TableChange::DropColumn(column) => drop_column(deciding, table, *column),
        TableChange::RenameColumn { column, to } => {
            names::check("a column's name", to)?;
            if new.columns.iter().any(|known| known.name == *to) {
                return Err(Diag::new(
                    SqlState::DUPLICATE_COLUMN,
                    format!("table \"{name}\" has a column \"{to}\" already"),
                )
                .into());
            }
            let column = column_of(&mut new, *column)?;
            let from = std::mem::replace(&mut column.name, to.clone());
            for check in &mut new.checks {
                check.text = with_column_renamed(&check.text, &from, to);
            }
            let routes = renamed_routes(deciding, new.id, &from, to);
            let mut decision = put(new, format!("Table '{name}' altered successfully"));
            decision.deltas.extend(routes);
            Ok(decision)
        }
        TableChange::SetDefault { column, default } => {
            let column = column_of(&mut new, *column)?;
            column.default = default.as_ref().map(|(expr, _)| expr.clone());
            column.default_text = default.as_ref().map(|(_, text)| text.clone());
            altered(new)
        }
        TableChange::DropNotNull(id) => {
            let position = new.position(*id).ok_or(Abort::Stale)?;
            if new.primary_key.iter().any(|key| *key as usize == position) {
                return Err(Diag::new(
                    SqlState::INVALID_TABLE_DEFINITION,
                    format!("a column of the key of table \"{name}\" cannot be NULL"),
                )
                .into());
            }
            column_of(&mut new, *id)?.nullable = true;
            altered(new)
        }
        TableChange::SetNotNull(id) => {
            let column = new.column(*id).ok_or(Abort::Stale)?;
            if !column.nullable {
                return Ok(Decision::nothing(format!("Column '{}' is NOT NULL already", column.name)));
            }
            let what = format!("column {} NOT NULL", column.name);
            let rule = PendingRule::NotNull { column: *id, added: false };
            let message = format!("Column '{}' of table '{name}' is NOT NULL", column.name);
            Ok(begun(deciding, new, rule, JobKind::TableChange, &what, message))
        }
        TableChange::SetType { column, data_type, max_chars } => {
            set_type(deciding, table, *column, *data_type, *max_chars)
        }
        TableChange::AddCheck(check) => {
            if has_constraint(deciding, &new, &check.name) {
                return Err(taken(&check.name).into());
            }
            let (what, message) =
                (format!("check {}", check.name), format!("Constraint '{}' added to table '{name}'", check.name));
            new.checks.push(check.clone());
            let rule = PendingRule::Check(check.name.clone());
            Ok(begun(deciding, new, rule, JobKind::TableChange, &what, message))
        }
        TableChange::DropConstraint(constraint) => {
            let before = (new.checks.len(), new.indexes.len());
            new.checks.retain(|check| check.name != *constraint);
            new.indexes.retain(|index| !(index.constraint && index.name == *constraint));
            if before == (new.checks.len(), new.indexes.len()) {
                return Err(Diag::new(
                    SqlState::UNDEFINED_OBJECT,
                    format!("table \"{name}\" has no constraint \"{constraint}\""),
                )
                .into());
            }
            altered(new)
        }
        TableChange::Rename(to) => {
            names::check("a table's name", to)?;
            names::check_namespace(deciding.catalog, &new.namespace)?;
            if deciding.catalog.table(&new.namespace, to).is_some() {
                return Err(Diag::new(
                    SqlState::DUPLICATE_TABLE,
                    format!("table \"{}.{to}\" already exists", new.namespace),
                )
                .into());
            }
            new.name.clone_from(to);
            altered(new)
        }
        TableChange::SetAccessLevel(level) => {
            if new.kind != TableKind::Shared {
                return Err(Diag::new(
                    SqlState::INVALID_TABLE_DEFINITION,
                    format!("table \"{name}\" belongs to users: ACCESS_LEVEL is for SHARED tables"),
                )
                .into());
            }
            new.access_level = *level;
            altered(new)
        }
        TableChange::Comment(comment) => {
            new.comment.clone_from(comment);
            altered(new)
        }
        TableChange::Several(_) => Err(Diag::not_supported("a list of changes within another").into()),
    }
}

/// The topics whose sources name the column in their text: what they compute goes by its position and stays.
fn renamed_routes<'a>(
    deciding: &Deciding<'a>,
    table: ObjectId,
    from: &'a str,
    to: &'a str,
) -> impl Iterator<Item = CatalogDelta> + 'a {
    let now = deciding.now;
    deciding.catalog.topics.values().filter_map(move |topic| {
        let mut changed = Topic { updated_at: now, ..Topic::clone(topic) };
        for source in changed.sources.iter_mut().filter(|source| source.table == table) {
            for text in source.filter_text.iter_mut().chain(source.partition_by_text.iter_mut()) {
                *text = with_column_renamed(text, from, to);
            }
        }
        (changed.sources != topic.sources).then(|| CatalogDelta::PutTopic(Arc::new(changed)))
    })
}

fn column_of(table: &mut Table, id: ColumnId) -> Result<&mut Column, Abort> {
    table.columns.iter_mut().find(|column| column.id == id).ok_or(Abort::Stale)
}

/// Whether a constraint of the table or an index of its namespace has this name.
pub(super) fn has_constraint(deciding: &Deciding<'_>, table: &Table, name: &str) -> bool {
    table.checks.iter().any(|check| check.name == name) || deciding.catalog.index(&table.namespace, name).is_some()
}

pub(super) fn taken(name: &str) -> Diag {
    Diag::new(SqlState::DUPLICATE_OBJECT, format!("there is a constraint or index \"{name}\" already"))
}

/// The default is evaluated once, here: rows that are there show what it was when the column came.
fn add_column(deciding: &Deciding<'_>, mut table: Table, column: &Column) -> Result<Decision, Abort> {
    let name = shown(&table);
    names::check("a column's name", &column.name)?;
    if table.columns.len() >= MAX_COLUMNS {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("table \"{name}\" has {MAX_COLUMNS} columns; more are not allowed"),
        )
        .into());
    }
    if column.name == "_seq" || table.columns.iter().any(|known| known.name == column.name) {
        return Err(Diag::new(
            SqlState::DUPLICATE_COLUMN,
            format!("table \"{name}\" has a column \"{}\" already", column.name),
        )
        .into());
    }
    let volatile = column.default.as_ref().is_some_and(eval::is_volatile);
    if volatile || column.serial {
        return Err(Diag::not_supported("ADD COLUMN with a volatile DEFAULT").into());
    }
    let context = EvalContext::new(deciding.now, deciding.principal, deciding.role, &[], deciding.seed);
    let missing = match &column.default {
        Some(expr) => Some(evaluate(expr, &[], &context)?).filter(|value| !value.is_null()),
        None => None,
    };
    let id = ColumnId(table.next_column);
    table.next_column += 1;
    let must_be_given = !column.nullable && missing.is_none();
    table.columns.push(Column {
        id,
        missing,
        nullable: column.nullable || must_be_given,
        formerly: Vec::new(),
        ..column.clone()
    });
    let message = format!("Column '{}' added to table '{name}'", column.name);
    if !must_be_given {
        return Ok(put(table, message));
    }
    // No row that is there can have it: the change holds only for a table without rows.
    let what = format!("add column {} NOT NULL", column.name);
    let rule = PendingRule::NotNull { column: id, added: true };
    Ok(begun(deciding, table, rule, JobKind::TableChange, &what, message))
}

/// Topics with their sources of this table.
fn sources<'a>(deciding: &Deciding<'a>, table: ObjectId) -> impl Iterator<Item = (&'a Arc<Topic>, &'a Source)> {
    let all = deciding.catalog.topics.values();
    all.flat_map(move |topic| {
        topic.sources.iter().filter(move |source| source.table == table).map(move |source| (topic, source))
    })
}

/// What would be wrong without the column as it is, in words.
fn dependents(deciding: &Deciding<'_>, table: &Table, id: ColumnId, position: usize) -> Vec<String> {
    let at = u32::try_from(position).unwrap_or(u32::MAX);
    let uses = |expr: &Option<Expr>| expr.as_ref().is_some_and(|expr| eval::uses_column(expr, at));
    let mut found = Vec::new();
    if table.primary_key.contains(&at) {
        found.push("the primary key".to_owned());
    }
    for index in table.indexes.iter().filter(|index| index.columns.iter().any(|part| part.column == id)) {
        let what = if index.constraint { "constraint" } else { "index" };
        found.push(format!("{what} \"{}\"", index.name));
    }
    for check in table.checks.iter().filter(|check| eval::uses_column(&check.expr, at)) {
        found.push(format!("constraint \"{}\"", check.name));
    }
    for (topic, source) in sources(deciding, table.id) {
        if uses(&source.filter) || uses(&source.partition_by) {
            found.push(format!("a source of topic \"{}.{}\"", topic.namespace, topic.name));
        }
    }
    found.dedup();
    found
}

fn refuse_dependents(found: &[String], table: &Table, column: &Column, what: &str) -> Result<(), Diag> {
    if found.is_empty() {
        return Ok(());
    }
    Err(Diag::new(
        SqlState::DEPENDENT_OBJECTS,
        format!("column \"{}\" of table \"{}\" cannot {what}: other objects depend on it", column.name, shown(table)),
    )
    .detail(format!("These do: {}.", found.join(", ")))
    .hint("Drop them first, and make them again afterwards."))
}

fn drop_column(deciding: &Deciding<'_>, table: &Arc<Table>, id: ColumnId) -> Result<Decision, Abort> {
    let position = table.position(id).ok_or(Abort::Stale)?;
    let column = table.columns.get(position).ok_or(Abort::Stale)?;
    refuse_dependents(&dependents(deciding, table, id, position), table, column, "be dropped")?;
    let deltas = without_column(deciding, next(deciding, table), position)?;
    let message = format!("Column '{}' dropped from table '{}'", column.name, shown(table));
    Ok(Decision { deltas, message, job: None })
}

/// The table without a column on which nothing depends, and the topics whose sources speak of columns behind it.
fn without_column(deciding: &Deciding<'_>, mut table: Table, position: usize) -> Result<Vec<CatalogDelta>, Abort> {
    let at = u32::try_from(position).unwrap_or(u32::MAX);
    let moved = |expr: &mut Expr| {
        eval::map_columns(expr, &|column| if column > at { column - 1 } else { column });
    };
    table.columns.remove(position);
    for key in table.primary_key.iter_mut().filter(|key| **key > at) {
        *key -= 1;
    }
    table.checks.iter_mut().for_each(|check| moved(&mut check.expr));
    let id = table.id;
    let mut deltas = vec![CatalogDelta::PutTable(Arc::new(table))];
    for topic in deciding.catalog.topics.values() {
        let mut changed = Topic { updated_at: deciding.now, ..Topic::clone(topic) };
        for source in changed.sources.iter_mut().filter(|source| source.table == id) {
            source.filter.iter_mut().chain(source.partition_by.iter_mut()).for_each(moved);
        }
        if changed.sources != topic.sources {
            deltas.push(CatalogDelta::PutTopic(Arc::new(changed)));
        }
    }
    Ok(deltas)
}

fn set_type(
    deciding: &Deciding<'_>,
    table: &Arc<Table>,
    id: ColumnId,
    data_type: DataType,
    max_chars: Option<u32>,
) -> Result<Decision, Abort> {
    let position = table.position(id).ok_or(Abort::Stale)?;
    let column = table.columns.get(position).ok_or(Abort::Stale)?;
    let name = shown(table);
    if column.serial {
        return Err(Diag::not_supported("a change of type of a SERIAL column").into());
    }
    let mut new = next(deciding, table);
    let same_type = column.data_type == data_type;
    let message = format!("Column '{}' of table '{name}' is {data_type}", column.name);
    let is_wider = match (column.max_chars, max_chars) {
        (_, None) => true,
        (Some(old), Some(new)) => new >= old,
        (None, Some(_)) => false,
    };
    if same_type && is_wider {
        column_of(&mut new, id)?.max_chars = max_chars;
        return Ok(put(new, message));
    }
    if !same_type {
        let found = dependents(deciding, table, id, position);
        if !found.is_empty() {
            return Err(Diag::not_supported(format!(
                "a change of type of column \"{}\" of table \"{name}\", on which other objects depend,",
                column.name
            ))
            .detail(format!("These do: {}.", found.join(", ")))
            .hint("Drop them first, and make them again afterwards; or add a column of the new type and UPDATE it.")
            .into());
        }
        let default = column.default.clone().map(|default| converted(default, data_type));
        if let Some(default) = default.filter(eval::is_immutable) {
            let context = EvalContext::new(deciding.now, deciding.principal, deciding.role, &[], deciding.seed);
            evaluate(&default, &[], &context).map_err(|why| {
                Diag::new(
                    why.sqlstate,
                    format!(
                        "the DEFAULT of column \"{}\" does not convert to {data_type}: {}",
                        column.name, why.message
                    ),
                )
                .hint("Set another default first.")
            })?;
        }
    }
    let what = format!("column {} type {data_type}", column.name);
    let rule = PendingRule::Type { column: id, data_type, max_chars };
    Ok(begun(deciding, new, rule, JobKind::TableChange, &what, message))
}

/// A default of a column whose type changes.
fn converted(default: Expr, to: DataType) -> Expr {
    eval::fold(Expr::Cast { expr: Box::new(default), to, assignment: true })
}

/// What becomes of the change that a job was about: public when every row was held to it, taken back when one failed.
pub(super) fn settle(deciding: &Deciding<'_>, job: &str, has_failed: bool) -> Result<Option<Decision>, Abort> {
    let of_job = |table: &&Arc<Table>| table.pending.as_ref().is_some_and(|pending| pending.job == job);
    let Some(table) = deciding.catalog.tables.values().find(of_job) else { return Ok(None) };
    let mut new = next(deciding, table);
    let Some(Pending { rule, .. }) = new.pending.take() else { return Ok(None) };
    let message = format!("Table '{}' altered", shown(table));
    match (rule, has_failed) {
        (PendingRule::Index(id), true) => new.indexes.retain(|index| index.id != id),
        (PendingRule::Index(id), false) => {
            for index in new.indexes.iter_mut().filter(|index| index.id == id) {
                index.state = IndexState::Public;
            }
        }
        (PendingRule::NotNull { column, added: true }, true) => {
            let position = new.position(column).ok_or(Abort::Stale)?;
            return Ok(Some(Decision { deltas: without_column(deciding, new, position)?, message, job: None }));
        }
        (PendingRule::NotNull { column, .. }, false) => column_of(&mut new, column)?.nullable = false,
        (PendingRule::Check(name), true) => new.checks.retain(|check| check.name != name),
        (PendingRule::Type { column, data_type, max_chars }, false) => {
            let identity = ColumnId(new.next_column);
            new.next_column += 1;
            let column = column_of(&mut new, column)?;
            if column.data_type != data_type {
                // Rows that are there keep the old identity: by it they are known to need a conversion.
                column.formerly.push(Former { id: column.id, data_type: column.data_type });
                column.id = identity;
                column.default = column.default.take().map(|default| converted(default, data_type));
                if let Some(missing) = column.missing.take() {
                    column.missing = Some(highwater_sql::cast::cast(missing, data_type, true)?);
                }
            }
            column.data_type = data_type;
            column.max_chars = max_chars;
        }
        (PendingRule::NotNull { .. } | PendingRule::Type { .. }, true) | (PendingRule::Check(_), false) => {}
    }
    Ok(Some(put(new, message)))
}
