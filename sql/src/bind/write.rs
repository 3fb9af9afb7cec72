//! INSERT, UPDATE, DELETE and TRUNCATE.

mod changed;
mod conflict;
mod returning;
mod source;

use std::sync::Arc;

use sqlparser::ast::{self, Spanned};

use self::returning::Returning;
use super::BindContext;
use super::bounds;
use super::expr::{Binder, Clause};
use super::names::{Relation, name_of, object_of, relation, single, table};
use super::params::Params;
use super::query::{ctes, one_table, refuse_at};
use super::scope::{Env, Scope, Source};
use crate::cast::Coercion;
use crate::catalog::{Column, ColumnId, Table, TableKind};
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::Expr;
use crate::lexer::char_span;
use crate::plan::{OutputColumn, WriteKind, WritePlan};
use crate::statement::{Name, ObjectName, Stmt};
use crate::value::{DataType, Value};

/// A bound write, and the columns of what it returns.
pub(super) struct Write {
    pub(super) plan: WritePlan,
    pub(super) returning: Vec<OutputColumn>,
}

fn plan(table: &Table, kind: WriteKind, returning: Returning) -> Write {
    let Returning { columns, values, query } = returning;
    let kind = match query {
        None => kind,
        Some(query) => WriteKind::Answered { change: Box::new(kind), query },
    };
    Write {
        plan: WritePlan { table: table.id, table_version: table.version, kind, returning: values },
        returning: columns,
    }
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

/// INSERT, UPDATE or DELETE, behind its WITH.
pub(super) fn change(
    stmt: &Stmt,
    with: Option<&ast::With>,
    context: &BindContext<'_>,
    params: &mut Params,
) -> Result<Write, Diag> {
    match (stmt, with) {
        (Stmt::Insert(insert), None) => self::insert(insert, &Env::of(context), params),
        (Stmt::Insert(insert), Some(with)) => {
            // What is named before INSERT is named before its query.
            let Some(source) = insert.source.as_deref().filter(|source| source.with.is_none()) else {
                return Err(refuse_at("WITH before this form of INSERT", with.with_token.0.span)
                    .hint("Write WITH before the query: INSERT INTO t WITH ... SELECT."));
            };
            let source = ast::Query { with: Some(with.clone()), ..source.clone() };
            // RETURNING reads what is named by itself, beside the query.
            let env = named(insert.returning.as_ref().map(|_| with), context, params)?;
            self::insert(&ast::Insert { source: Some(Box::new(source)), ..insert.as_ref().clone() }, &env, params)
        }
        (Stmt::Update(update), with) => {
            let env = named(with, context, params)?;
            self::update(update, &env, params)
        }
        (Stmt::Delete(delete), with) => {
            let env = named(with, context, params)?;
            self::delete(delete, &env, params)
        }
        _ => Err(Diag::new(SqlState::INTERNAL, "WITH before a statement that is no change")),
    }
}

/// The surroundings of a change: what its WITH names.
fn named<'a>(with: Option<&'a ast::With>, context: &BindContext<'a>, params: &mut Params) -> Result<Env<'a>, Diag> {
    let env = Env::of(context);
    with.map_or_else(|| Ok(env.clone()), |with| ctes(with, &env, None, params))
}

/// INSERT; `env` is what RETURNING sees besides the row.
fn insert(insert: &ast::Insert, env: &Env<'_>, params: &mut Params) -> Result<Write, Diag> {
    let context = &env.context;
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
    let name = object_of(name)?;
    let table = table(&name, context)?;
    if table.kind == TableKind::Shared {
        params.names_not_owned(false, name.span());
    }
    let alias = insert.table_alias.as_ref().map(|given| name_of(&given.alias)).transpose()?;
    let scope = Scope::table(table, alias.as_ref(), false);
    let columns = insert_columns(insert, table, &scope)?;
    let is_listed = !insert.columns.is_empty();
    let rows = match insert.source.as_deref() {
        None => source::Rows::Given(vec![Vec::new()]),
        Some(query) => source::bind(query, &columns, is_listed, context, params)?,
    };
    let columns = columns.iter().map(|(_, column)| *column).take(rows.width());
    let (given, types): (Vec<ColumnId>, Vec<DataType>) = columns.map(|column| (column.id, column.data_type)).unzip();
    match &rows {
        source::Rows::Given(rows) => placement_is_known(table, &given, rows, char_span(place))?,
        // What a query gives is known when the rows are written.
        source::Rows::Read(_) => {
            let known = Expr::Literal(Value::Null, DataType::Text);
            placement_is_known(table, &given, &[vec![Some(known); given.len()]], char_span(place))?;
        }
    }
    let conflict = match &insert.on {
        Some(ast::OnInsert::OnConflict(on)) => Some(conflict::bind(on, table, alias.as_ref(), params)?),
        _ => None,
    };
    let scope = Scope { env: Some(env.clone()), ..Scope::table(table, alias.as_ref(), true) };
    let returning = returning::bind(insert.returning.as_deref(), &scope, params)?;
    let kind = match rows {
        source::Rows::Given(rows) => WriteKind::Insert { columns: given, rows, conflict },
        source::Rows::Read(query) => WriteKind::InsertFrom { columns: given, types, query, conflict },
    };
    Ok(plan(table, kind, returning))
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
    env: &Env<'a>,
    seq: bool,
) -> Result<(&'a Arc<Table>, Scope<'a>), Diag> {
    let context = &env.context;
    if let ast::TableFactor::Table { name, .. } = &from.relation
        && let Ok(Relation::System(_)) = relation(&object_of(name)?, context)
    {
        return Err(
            Diag::new(SqlState::INSUFFICIENT_PRIVILEGE, "system tables are read-only").at(object_of(name)?.span())
        );
    }
    let scope = Scope { env: Some(env.clone()), ..one_table(from, context, seq)? };
    let &Source::Table(table) = scope.source() else {
        return Err(refuse_at(&format!("{verb} of anything but a table"), from.span()));
    };
    if table.kind == TableKind::Stream {
        return Err(refuse_at(&format!("{verb} of a STREAM table"), from.span())
            .hint("A stream's rows are events: they are added, and dropped after TTL_SECONDS."));
    }
    Ok((table, scope))
}

/// Notes where the statement names the table that it changes, if its rows are everyone's.
fn note_shared(table: &Table, named: &ast::TableWithJoins, params: &mut Params) {
    if let (TableKind::Shared, Some(span)) = (table.kind, char_span(named.relation.span())) {
        params.names_not_owned(false, span);
    }
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
fn update(update: &ast::Update, env: &Env<'_>, params: &mut Params) -> Result<Write, Diag> {
    refuse_all(
        &[
            (update.output.is_some(), "OUTPUT"),
            (update.or.is_some(), "UPDATE OR"),
            (!update.order_by.is_empty(), "ORDER BY in UPDATE"),
            (update.limit.is_some(), "LIMIT in UPDATE"),
        ],
        || update.update_token.0.span,
    )?;
    let (table, scope) = changed(&update.table, "UPDATE", env, false)?;
    note_shared(table, &update.table, params);
    let others = match &update.from {
        None => &[],
        Some(ast::UpdateTableFromKind::AfterSet(others)) => others.as_slice(),
        Some(ast::UpdateTableFromKind::BeforeSet(_)) => {
            return Err(refuse_at("FROM before SET", update.update_token.0.span).hint("Write UPDATE t SET ... FROM."));
        }
    };
    let alone = match others {
        [] => {
            let assignments = assignments(&update.assignments, table, &scope, params)?;
            let filter = filter(update.selection.as_ref(), &scope, params)?;
            (scope.asked.is_empty() && env.ctes.is_empty()).then(|| {
                let access = bounds::access(table, filter.as_ref());
                WriteKind::Update { assignments, access, filter }
            })
        }
        _ => None,
    };
    let kind = match alone {
        Some(kind) => kind,
        None => changed::update(update, others, table, env, params)?,
    };
    let (_, scope) = changed(&update.table, "UPDATE", env, true)?;
    let returning = returning::bind(update.returning.as_deref(), &scope, params)?;
    Ok(plan(table, kind, returning))
}

/// The list behind SET, with a list of columns taken apart.
fn assignments(
    written: &[ast::Assignment],
    table: &Table,
    scope: &Scope<'_>,
    params: &mut Params,
) -> Result<Vec<(ColumnId, Option<Expr>)>, Diag> {
    let mut single_ones: Vec<(&ast::ObjectName, &ast::Expr)> = Vec::with_capacity(written.len());
    let mut subqueries: Vec<(&ast::ObjectName, ast::Expr)> = Vec::new();
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
            (ast::AssignmentTarget::Tuple(names), ast::Expr::Subquery(query)) => {
                let values = changed::columns_of(query, names.len(), assignment)?;
                subqueries.extend(names.iter().zip(values));
            }
            (ast::AssignmentTarget::Tuple(_), _) => {
                return Err(refuse_at("an assignment to several columns from one value", assignment.span())
                    .hint("Write SET (a, b) = (1, 2)."));
            }
        }
    }
    single_ones.extend(subqueries.iter().map(|(name, value)| (*name, value)));
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
fn delete(delete: &ast::Delete, env: &Env<'_>, params: &mut Params) -> Result<Write, Diag> {
    refuse_all(
        &[
            (!delete.tables.is_empty(), "DELETE of several tables"),
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
    let (table, scope) = changed(one, "DELETE", env, false)?;
    note_shared(table, one, params);
    let alone = match delete.using.as_deref() {
        None | Some([]) => {
            let filter = filter(delete.selection.as_ref(), &scope, params)?;
            let is_alone = scope.asked.is_empty() && env.ctes.is_empty();
            is_alone.then(|| WriteKind::Delete { access: bounds::access(table, filter.as_ref()), filter })
        }
        Some(_) => None,
    };
    let kind = match alone {
        Some(kind) => kind,
        None => changed::delete(delete, one, table, env, params)?,
    };
    let (_, scope) = changed(one, "DELETE", env, true)?;
    let returning = returning::bind(delete.returning.as_deref(), &scope, params)?;
    Ok(plan(table, kind, returning))
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
    Ok(plan(table, WriteKind::Truncate, Returning::default()).plan)
}

/// A value that may not stand in a definition's expression.
pub(super) fn not_volatile(expr: &Expr, place: &str, span: Span) -> Result<(), Diag> {
    if eval::is_volatile(expr) {
        return Err(Diag::not_supported(format_args!("a volatile function in {place}")).at(span));
    }
    Ok(())
}
