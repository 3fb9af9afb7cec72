//! INSERT, UPDATE, DELETE and TRUNCATE.

mod conflict;
mod returning;

use std::sync::Arc;

use sqlparser::ast::{self, SetExpr, Spanned};

use super::BindContext;
use super::bounds;
use super::expr::{Binder, Clause};
use super::names::{Relation, name_of, object_of, relation, single, table};
use super::params::Params;
use super::query::{one_table, refuse_at};
use super::scope::{Scope, Source};
use crate::cast::Coercion;
use crate::catalog::{Column, ColumnId, Table, TableKind};
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::Expr;
use crate::lexer::char_span;
use crate::limits;
use crate::plan::{OutputColumn, WriteKind, WritePlan};
use crate::statement::{Name, ObjectName};

/// A bound write, and the columns of what it returns.
pub(super) struct Write {
    pub(super) plan: WritePlan,
    pub(super) returning: Vec<OutputColumn>,
}

fn plan(table: &Table, kind: WriteKind, returning: Vec<OutputColumn>) -> Write {
    let values = returning.iter().map(|column| column.expr.clone()).collect();
    Write { plan: WritePlan { table: table.id, table_version: table.version, kind, returning: values }, returning }
}

fn refuse_all(rows: &[(bool, &str)], place: impl FnOnce() -> sqlparser::tokenizer::Span) -> Result<(), Diag> {
    match rows.iter().find(|(present, _)| *present) {
        Some((_, what)) => Err(refuse_at(what, place())),
        None => Ok(()),
    }
}

/// The column of an INSERT's or UPDATE's list.
fn target<'t>(name: &Name, table: &'t Table, scope: &Scope<'_>) -> Result<(usize, &'t Column), Diag> {
    let (index, _) = scope.column(name)?;
    usize::try_from(index).ok().and_then(|index| table.columns.get(index).map(|column| (index, column))).ok_or_else(
        || Diag::new(SqlState::UNDEFINED_COLUMN, format!("column \"{}\" cannot be written", name.value)).at(name.span),
    )
}

/// The word DEFAULT.
fn is_default(expr: &ast::Expr) -> bool {
    matches!(expr, ast::Expr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

/// A value for this column, or `None` for the word DEFAULT.
fn stored(binder: &mut Binder<'_, '_>, expr: &ast::Expr, column: &Column) -> Result<Option<Expr>, Diag> {
    if is_default(expr) {
        return Ok(None);
    }
    let open = binder.open(expr)?;
    let wanted = column.data_type;
    let value = binder.coerced(open, wanted, Coercion::Assignment, |from| {
        format!("column \"{}\" is of type {wanted}, the value is of type {from}", column.name)
    })?;
    Ok(Some(eval::fold(value.expr)))
}

/// INSERT ... VALUES.
pub(super) fn insert(insert: &ast::Insert, context: &BindContext<'_>, params: &mut Params) -> Result<Write, Diag> {
    let place = insert.insert_token.0.span;
    refuse_all(
        &[
            (insert.or.is_some(), "INSERT OR"),
            (insert.ignore, "INSERT IGNORE"),
            (insert.overwrite, "INSERT OVERWRITE"),
            (insert.replace_into, "REPLACE INTO"),
            (!insert.assignments.is_empty(), "INSERT ... SET"),
            (insert.partitioned.is_some() || !insert.after_columns.is_empty(), "PARTITION in INSERT"),
            (insert.has_table_keyword, "INSERT INTO TABLE"),
            (matches!(insert.on, Some(ast::OnInsert::DuplicateKeyUpdate(_))), "ON DUPLICATE KEY"),
            (insert.output.is_some(), "OUTPUT"),
            (insert.priority.is_some() || insert.insert_alias.is_some(), "this form of INSERT"),
            (insert.settings.is_some() || insert.format_clause.is_some(), "SETTINGS and FORMAT in INSERT"),
            (
                insert.multi_table_insert_type.is_some()
                    || !insert.multi_table_into_clauses.is_empty()
                    || !insert.multi_table_when_clauses.is_empty()
                    || insert.multi_table_else_clause.is_some(),
                "INSERT into several tables",
            ),
        ],
        || place,
    )?;
    if !insert.into {
        let diag = Diag::new(SqlState::SYNTAX_ERROR, "syntax error: expected INTO after INSERT");
        return Err(char_span(place).map_or(diag.clone(), |span| diag.at(span)));
    }
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(refuse_at("INSERT into anything but a table", insert.table.span()));
    };
    let table = table(&object_of(name)?, context)?;
    let alias = insert.table_alias.as_ref().map(|given| name_of(&given.alias)).transpose()?;
    let scope = Scope::table(table, alias.as_ref(), false);
    let columns = insert_columns(insert, table, &scope)?;
    let rows = match &insert.source {
        None => vec![Vec::new()],
        Some(query) => values(query, &columns, !insert.columns.is_empty(), params)?,
    };
    let given: Vec<ColumnId> = if insert.source.is_none() {
        Vec::new()
    } else {
        let width = rows.first().map_or(0, Vec::len);
        columns.iter().take(width).map(|(_, column)| column.id).collect()
    };
    placement_is_known(table, &given, &rows, char_span(place))?;
    let conflict = match &insert.on {
        Some(ast::OnInsert::OnConflict(on)) => Some(conflict::bind(on, table, alias.as_ref(), params)?),
        _ => None,
    };
    let scope = Scope::table(table, alias.as_ref(), true);
    let returning = returning::bind(insert.returning.as_deref(), &scope, params)?;
    Ok(plan(table, WriteKind::Insert { columns: given, rows, conflict }, returning))
}

fn insert_columns<'t>(
    insert: &ast::Insert,
    table: &'t Arc<Table>,
    scope: &Scope<'_>,
) -> Result<Vec<(usize, &'t Column)>, Diag> {
    if insert.columns.is_empty() {
        return Ok(table.columns.iter().enumerate().collect());
    }
    let mut columns: Vec<(usize, &Column)> = Vec::with_capacity(insert.columns.len());
    for written in &insert.columns {
        let name = single(written)?;
        let column = target(&name, table, scope)?;
        if columns.iter().any(|(index, _)| *index == column.0) {
            return Err(Diag::new(SqlState::DUPLICATE_COLUMN, format!("column \"{}\" is given twice", name.value))
                .at(name.span));
        }
        columns.push(column);
    }
    Ok(columns)
}

/// The rows of VALUES. Without a list of columns (`listed` false) a row may give the first columns only, as in PostgreSQL.
fn values(
    query: &ast::Query,
    columns: &[(usize, &Column)],
    listed: bool,
    params: &mut Params,
) -> Result<Vec<Vec<Option<Expr>>>, Diag> {
    let SetExpr::Values(values) = query.body.as_ref() else {
        return Err(refuse_at("INSERT ... SELECT", query.span()));
    };
    refuse_all(
        &[
            (query.with.is_some(), "WITH (a common table expression)"),
            (query.order_by.is_some(), "ORDER BY behind VALUES"),
            (query.limit_clause.is_some() || query.fetch.is_some(), "LIMIT behind VALUES"),
            (!query.locks.is_empty() || query.for_clause.is_some(), "FOR behind VALUES"),
            (values.explicit_row, "ROW in VALUES"),
        ],
        || query.span(),
    )?;
    if values.rows.len() > limits::MAX_INSERT_ROWS {
        return Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("the INSERT has {} rows, more than the limit of {}", values.rows.len(), limits::MAX_INSERT_ROWS),
        ));
    }
    let width = values.rows.first().map_or(0, |row| row.content.len());
    let nothing = Scope::nothing();
    let mut none = Vec::new();
    let mut rows = Vec::with_capacity(values.rows.len());
    for row in &values.rows {
        let place = || char_span(row.opening_token.0.span.union(&row.closing_token.0.span));
        if row.content.len() != width {
            let diag = Diag::new(SqlState::SYNTAX_ERROR, "the rows of VALUES differ in length");
            return Err(place().map_or(diag.clone(), |span| diag.at(span)));
        }
        if width > columns.len() || (listed && width < columns.len()) {
            let diag =
                Diag::new(SqlState::SYNTAX_ERROR, format!("a row has {width} values for {} columns", columns.len()));
            return Err(match row.content.get(columns.len()).and_then(|expr| char_span(expr.span())) {
                Some(span) => diag.at(span),
                None => place().map_or(diag.clone(), |span| diag.at(span)),
            });
        }
        let mut binder = Binder::new(&nothing, params, Clause::Values, &mut none);
        let bound = row
            .content
            .iter()
            .zip(columns)
            .map(|(expr, (_, column))| stored(&mut binder, expr, column))
            .collect::<Result<Vec<_>, Diag>>()?;
        rows.push(bound);
    }
    Ok(rows)
}

/// A partitioned table's rows are placed before they are evaluated: their partition columns must not be volatile.
fn placement_is_known(
    table: &Table,
    given: &[ColumnId],
    rows: &[Vec<Option<Expr>>],
    span: Option<Span>,
) -> Result<(), Diag> {
    let partition = usize::try_from(table.partition_columns).unwrap_or(usize::MAX);
    for key in table.primary_key.iter().take(partition) {
        let Some(column) = usize::try_from(*key).ok().and_then(|index| table.columns.get(index)) else { continue };
        let position = given.iter().position(|id| *id == column.id);
        for row in rows {
            let value =
                position.and_then(|position| row.get(position)).and_then(Option::as_ref).or(column.default.as_ref());
            if value.is_some_and(eval::is_volatile) {
                let diag =
                    Diag::not_supported(format_args!("a volatile value of the partition column \"{}\"", column.name))
                        .hint("The row's place follows from this column: give its value.");
                return Err(span.map_or(diag.clone(), |span| diag.at(span)));
            }
        }
    }
    Ok(())
}

/// The table of an UPDATE or DELETE, with its columns in sight.
fn changed<'a>(
    from: &ast::TableWithJoins,
    verb: &str,
    context: &BindContext<'a>,
    seq: bool,
) -> Result<(&'a Arc<Table>, Scope<'a>), Diag> {
    if let ast::TableFactor::Table { name, .. } = &from.relation
        && let Ok(Relation::System(_)) = relation(&object_of(name)?, context)
    {
        return Err(
            Diag::new(SqlState::INSUFFICIENT_PRIVILEGE, "system tables are read-only").at(object_of(name)?.span())
        );
    }
    let scope = one_table(from, context, seq)?;
    let &Source::Table(table) = scope.source() else {
        return Err(refuse_at(&format!("{verb} of anything but a table"), from.span()));
    };
    if table.kind == TableKind::Stream {
        return Err(refuse_at(&format!("{verb} of a STREAM table"), from.span())
            .hint("A stream's rows are events: they are added, and dropped after TTL_SECONDS."));
    }
    Ok((table, scope))
}

fn filter(condition: Option<&ast::Expr>, scope: &Scope<'_>, params: &mut Params) -> Result<Option<Expr>, Diag> {
    let mut none = Vec::new();
    match condition {
        None => Ok(None),
        Some(condition) => {
            Ok(Some(eval::fold(Binder::new(scope, params, Clause::Where, &mut none).condition(condition)?)))
        }
    }
}

/// UPDATE.
pub(super) fn update(update: &ast::Update, context: &BindContext<'_>, params: &mut Params) -> Result<Write, Diag> {
    refuse_all(
        &[
            (update.from.is_some(), "UPDATE ... FROM"),
            (update.output.is_some(), "OUTPUT"),
            (update.or.is_some(), "UPDATE OR"),
            (!update.order_by.is_empty(), "ORDER BY in UPDATE"),
            (update.limit.is_some(), "LIMIT in UPDATE"),
        ],
        || update.update_token.0.span,
    )?;
    let (table, scope) = changed(&update.table, "UPDATE", context, false)?;
    let assignments = assignments(&update.assignments, table, &scope, params)?;
    let filter = filter(update.selection.as_ref(), &scope, params)?;
    let access = bounds::access(table, filter.as_ref());
    let (_, scope) = changed(&update.table, "UPDATE", context, true)?;
    let returning = returning::bind(update.returning.as_deref(), &scope, params)?;
    Ok(plan(table, WriteKind::Update { assignments, access, filter }, returning))
}

/// The list behind SET, with a list of columns taken apart.
fn assignments(
    written: &[ast::Assignment],
    table: &Table,
    scope: &Scope<'_>,
    params: &mut Params,
) -> Result<Vec<(ColumnId, Option<Expr>)>, Diag> {
    let mut single_ones: Vec<(&ast::ObjectName, &ast::Expr)> = Vec::with_capacity(written.len());
    for assignment in written {
        match (&assignment.target, &assignment.value) {
            (ast::AssignmentTarget::ColumnName(name), value) => single_ones.push((name, value)),
            (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) if names.len() == values.len() => {
                single_ones.extend(names.iter().zip(values));
            }
            (ast::AssignmentTarget::Tuple(names), ast::Expr::Nested(value)) if names.len() == 1 => {
                single_ones.extend(names.iter().map(|name| (name, value.as_ref())));
            }
            (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) => {
                let diag = Diag::new(
                    SqlState::SYNTAX_ERROR,
                    format!("{} values are assigned to {} columns", values.len(), names.len()),
                );
                return Err(char_span(assignment.span()).map_or(diag.clone(), |span| diag.at(span)));
            }
            (ast::AssignmentTarget::Tuple(_), _) => {
                return Err(refuse_at("an assignment to several columns from one value", assignment.span())
                    .hint("Write SET (a, b) = (1, 2)."));
            }
        }
    }
    let mut assignments: Vec<(ColumnId, Option<Expr>)> = Vec::with_capacity(single_ones.len());
    let mut none = Vec::new();
    for (name, value) in single_ones {
        let name = single(name)?;
        let (index, column) = target(&name, table, scope)?;
        if table.primary_key.iter().any(|key| usize::try_from(*key) == Ok(index)) {
            return Err(Diag::not_supported(format_args!("UPDATE of the key column \"{}\"", name.value))
                .hint("DELETE the row and INSERT it under its new key.")
                .at(name.span));
        }
        if assignments.iter().any(|(id, _)| *id == column.id) {
            return Err(Diag::new(SqlState::DUPLICATE_COLUMN, format!("column \"{}\" is assigned twice", name.value))
                .at(name.span));
        }
        let mut binder = Binder::new(scope, params, Clause::Set, &mut none);
        assignments.push((column.id, stored(&mut binder, value, column)?));
    }
    Ok(assignments)
}

/// DELETE.
pub(super) fn delete(delete: &ast::Delete, context: &BindContext<'_>, params: &mut Params) -> Result<Write, Diag> {
    refuse_all(
        &[
            (!delete.tables.is_empty(), "DELETE of several tables"),
            (delete.using.is_some(), "DELETE ... USING"),
            (delete.output.is_some(), "OUTPUT"),
            (!delete.order_by.is_empty(), "ORDER BY in DELETE"),
            (delete.limit.is_some(), "LIMIT in DELETE"),
        ],
        || delete.delete_token.0.span,
    )?;
    let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) = &delete.from;
    let [one] = tables.as_slice() else {
        return Err(refuse_at("DELETE of several tables", delete.delete_token.0.span));
    };
    let (table, scope) = changed(one, "DELETE", context, false)?;
    let filter = filter(delete.selection.as_ref(), &scope, params)?;
    let access = bounds::access(table, filter.as_ref());
    let (_, scope) = changed(one, "DELETE", context, true)?;
    let returning = returning::bind(delete.returning.as_deref(), &scope, params)?;
    Ok(plan(table, WriteKind::Delete { access, filter }, returning))
}

/// TRUNCATE.
pub(super) fn truncate(name: &ObjectName, context: &BindContext<'_>) -> Result<WritePlan, Diag> {
    let table = table(name, context)?;
    if table.kind == TableKind::Stream {
        return Err(Diag::not_supported("TRUNCATE of a STREAM table")
            .hint("A stream's rows are events: they are added, and dropped after TTL_SECONDS.")
            .at(name.span()));
    }
    if table.partition_columns > 0 {
        return Err(Diag::not_supported("TRUNCATE of a partitioned table")
            .hint("Its rows are on several shards: DELETE them by the partition columns, or drop the table.")
            .at(name.span()));
    }
    Ok(plan(table, WriteKind::Truncate, Vec::new()).plan)
}

/// A value that may not stand in a definition's expression.
pub(super) fn not_volatile(expr: &Expr, place: &str, span: Span) -> Result<(), Diag> {
    if eval::is_volatile(expr) {
        return Err(Diag::not_supported(format_args!("a volatile function in {place}")).at(span));
    }
    Ok(())
}
