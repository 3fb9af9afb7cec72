//! CREATE TABLE ... AS: a table whose columns and first rows are those of a query.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::BindContext;
use super::names::namespace_for_new;
use super::params::Params;
use super::query::{self, start_of};
use super::table::{self, Traits};
use crate::catalog::{Column, TableKind};
use crate::diag::{Diag, Span, SqlState};
use crate::expr::Expr;
use crate::limits;
use crate::plan::{CreateFrom, From, QueryPlan, TableSpec};
use crate::statement::{CreateTableAs, Name};

/// The table and the query.
pub(super) fn create(
    create: &CreateTableAs,
    context: &BindContext<'_>,
    params: &mut Params,
) -> Result<CreateFrom, Diag> {
    let namespace = namespace_for_new(&create.table.name, context)?;
    let Traits { kind, access_level, ttl_seconds } = table::traits(&create.table)?;
    let query = query::bind(&create.query, context, params)?;
    let place = start_of(&create.query).unwrap_or(create.table.name.span());
    let mut columns = columns(create, &query, place)?;
    let primary_key = match &create.key {
        Some(names) => {
            let mut key = Vec::with_capacity(names.len());
            for name in names {
                let position = table::position(name, &columns)?;
                if key.contains(&position) {
                    let diag =
                        Diag::new(SqlState::DUPLICATE_COLUMN, format!("key column \"{}\" is given twice", name.value));
                    return Err(diag.at(name.span));
                }
                key.push(position);
            }
            key
        }
        // It is there already: nothing is made of the query.
        None if create.table.if_not_exists
            && context.catalog.table(namespace, &create.table.name.name.value).is_some() =>
        {
            let comparable = |(column, at): (&Column, u32)| column.data_type.is_comparable().then_some(at);
            columns.iter().zip(0_u32..).find_map(comparable).into_iter().collect()
        }
        None => key_of(&query).ok_or_else(|| {
            Diag::new(
                SqlState::INVALID_TABLE_DEFINITION,
                "a table needs a primary key, and the query does not tell one",
            )
            .hint(format!("Name it: CREATE TABLE {} PRIMARY KEY (...) AS ...", create.table.name.name.value))
            .at(place)
        })?,
    };
    if primary_key.len() > limits::MAX_KEY_COLUMNS {
        let diag = format!("a key has at most {} columns", limits::MAX_KEY_COLUMNS);
        return Err(Diag::new(SqlState::PROGRAM_LIMIT, diag).at(place));
    }
    for at in &primary_key {
        let Some(column) = usize::try_from(*at).ok().and_then(|at| columns.get_mut(at)) else { continue };
        if !column.data_type.is_comparable() {
            let what = format!("a column of type {} cannot be part of the key: it has no order", column.data_type);
            return Err(Diag::new(SqlState::INVALID_TABLE_DEFINITION, what).at(place));
        }
        column.nullable = false;
    }
    let partition_columns = table::partition(&create.table, kind, &columns, &primary_key)?;
    if kind == TableKind::Stream && !create.with_data {
        return Err(Diag::not_supported("a STREAM table WITH NO DATA").hint("Write CREATE STREAM TABLE.").at(place));
    }
    Ok(CreateFrom {
        table: TableSpec {
            namespace: namespace.to_owned(),
            name: create.table.name.name.value.clone(),
            kind,
            access_level,
            columns,
            primary_key,
            partition_columns,
            checks: Vec::new(),
            ttl_seconds,
            indexes: Vec::new(),
        },
        if_not_exists: create.table.if_not_exists,
        query: Arc::new(query),
        with_data: create.with_data,
    })
}

fn columns(create: &CreateTableAs, query: &QueryPlan, place: Span) -> Result<Vec<Column>, Diag> {
    if create.columns.len() > query.projection.len() {
        let (given, there) = (create.columns.len(), query.projection.len());
        return Err(Diag::new(SqlState::SYNTAX_ERROR, format!("{given} names are given for {there} columns")).at(place));
    }
    let mut names = BTreeSet::new();
    let mut columns = Vec::with_capacity(query.projection.len());
    for ((output, at), id) in query.projection.iter().zip(0_usize..).zip(1_u32..) {
        let name = create.columns.get(at).cloned().unwrap_or(Name { value: output.name.clone(), span: place });
        if !names.insert(name.value.clone()) {
            let diag = Diag::new(SqlState::DUPLICATE_COLUMN, format!("column \"{}\" is there twice", name.value));
            return Err(diag.hint("Name the columns: CREATE TABLE t (a, b) AS ..., or SELECT ... AS.").at(name.span));
        }
        table::reserved(&name)?;
        columns.push(Column::new(id, name.value, output.data_type));
    }
    Ok(columns)
}

/// The columns that tell the rows of a query from each other: the whole key of its one table, or all that it groups by.
fn key_of(query: &QueryPlan) -> Option<Vec<u32>> {
    let place = |wanted: u32| {
        let is_it = |expr: &Expr| matches!(expr, Expr::Column(at, _) if *at == wanted);
        query.projection.iter().position(|column| is_it(&column.expr)).and_then(|at| u32::try_from(at).ok())
    };
    match (&query.aggregate, &query.from) {
        (Some(aggregate), _) if !aggregate.keys.is_empty() => {
            (0..u32::try_from(aggregate.keys.len()).ok()?).map(place).collect()
        }
        (None, From::Table { table, .. }) => table.primary_key.iter().map(|key| place(*key)).collect(),
        _ => None,
    }
}
