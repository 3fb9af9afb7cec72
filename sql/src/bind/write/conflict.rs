//! ON CONFLICT: which row is in the way, and what becomes of it.

use sqlparser::ast::{self, Spanned};

use super::super::names::{name_of, single};
use super::super::params::Params;
use super::super::scope::Scope;
use super::{assignments, filter};
use crate::catalog::{ColumnId, Index, Table, TableKind};
use crate::diag::{Diag, Span, SqlState};
use crate::lexer::char_span;
use crate::plan::{ConflictAction, ConflictTarget, OnConflict};
use crate::statement::Name;
use crate::suggest;

/// The clause, over the table's row followed by `excluded`.
pub(super) fn bind(
    on: &ast::OnConflict,
    table: &std::sync::Arc<Table>,
    alias: Option<&Name>,
    params: &mut Params,
) -> Result<OnConflict, Diag> {
    let scope = Scope::table(table, alias, false).with_excluded();
    let target = match &on.conflict_target {
        None => ConflictTarget::Any,
        Some(ast::ConflictTarget::Columns(columns)) => {
            let names = columns.iter().map(name_of).collect::<Result<Vec<Name>, Diag>>()?;
            of_columns(&names, table, &scope)?
        }
        Some(ast::ConflictTarget::OnConstraint(name)) => of_constraint(&single(name)?, table)?,
    };
    let action = match &on.action {
        ast::OnConflictAction::DoNothing => ConflictAction::Nothing,
        ast::OnConflictAction::DoUpdate(update) if target == ConflictTarget::Any => {
            let diag = Diag::new(SqlState::SYNTAX_ERROR, "ON CONFLICT DO UPDATE needs the columns of the conflict")
                .hint(format!("Write ON CONFLICT ({}) DO UPDATE SET ...", key_names(table).join(", ")));
            return Err(at_assignments(diag, update));
        }
        ast::OnConflictAction::DoUpdate(update) if table.kind == TableKind::Stream => {
            let diag = Diag::not_supported("ON CONFLICT DO UPDATE of a STREAM table")
                .hint("A stream's rows are events: they are added, and dropped after TTL_SECONDS. ON CONFLICT DO NOTHING passes over them.");
            return Err(at_assignments(diag, update));
        }
        ast::OnConflictAction::DoUpdate(update) => ConflictAction::Update {
            assignments: assignments(&update.assignments, table, &scope, params)?,
            filter: filter(update.selection.as_ref(), &scope, params)?,
        },
    };
    Ok(OnConflict { target, action })
}

/// With the place of what DO UPDATE assigns.
fn at_assignments(diag: Diag, update: &ast::DoUpdate) -> Diag {
    let first = update.assignments.first().and_then(|assignment| char_span(assignment.span()));
    let last = update.assignments.last().and_then(|assignment| char_span(assignment.span()));
    match (first, last) {
        (Some(first), Some(last)) => diag.at(Span { start: first.start, end: last.end }),
        _ => diag,
    }
}

fn key_names(table: &Table) -> Vec<&str> {
    table.key_columns().map(|column| column.name.as_str()).collect()
}

/// The key or the unique index of exactly these columns, in any order.
fn of_columns(names: &[Name], table: &Table, scope: &Scope<'_>) -> Result<ConflictTarget, Diag> {
    let mut given = Vec::with_capacity(names.len());
    for name in names {
        let (index, _) = scope.column(name)?;
        given.extend(usize::try_from(index).ok().and_then(|index| table.columns.get(index)).map(|column| column.id));
    }
    let same =
        |columns: Vec<ColumnId>| columns.len() == given.len() && columns.iter().all(|column| given.contains(column));
    if same(table.key_columns().map(|column| column.id).collect()) {
        return Ok(ConflictTarget::Key);
    }
    let matching = unique(table).find(|index| same(index.columns.iter().map(|part| part.column).collect()));
    matching.map(|index| ConflictTarget::Index(index.id)).ok_or_else(|| {
        let span = match (names.first(), names.last()) {
            (Some(first), Some(last)) => Span { start: first.span.start, end: last.span.end },
            _ => Span { start: 0, end: 0 },
        };
        let unique = unique(table).map(|index| {
            let names: Vec<&str> = table.index_columns(index).map(|column| column.name.as_str()).collect();
            format!(", ({})", names.join(", "))
        });
        Diag::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            "these columns are neither the key of the table nor those of a unique index",
        )
        .detail(format!("What is unique: ({}){}.", key_names(table).join(", "), unique.collect::<String>()))
        .at(span)
    })
}

fn unique(table: &Table) -> impl Iterator<Item = &Index> {
    table.indexes.iter().filter(|index| index.unique)
}

/// The key, as PostgreSQL names its constraint, or a unique index.
fn of_constraint(name: &Name, table: &Table) -> Result<ConflictTarget, Diag> {
    let key = format!("{}_pkey", table.name);
    if name.value == key {
        return Ok(ConflictTarget::Key);
    }
    unique(table).find(|index| index.name == name.value).map(|index| ConflictTarget::Index(index.id)).ok_or_else(|| {
        let diag = Diag::new(
            SqlState::UNDEFINED_OBJECT,
            format!("table \"{}.{}\" has no unique constraint \"{}\"", table.namespace, table.name, name.value),
        )
        .at(name.span);
        suggest::with_nearest(diag, &name.value, unique(table).map(|index| index.name.as_str()).chain([key.as_str()]))
    })
}
