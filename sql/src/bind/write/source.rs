//! The rows of an INSERT: VALUES with constants, which are logged as they are written, or a query, which is read first.

use std::sync::Arc;

use sqlparser::ast::{self, SetExpr, Spanned};

use super::super::BindContext;
use super::super::expr::{Binder, Clause};
use super::super::params::Params;
use super::super::query::{self, refuse_at};
use super::super::scope::{Env, Scope};
use super::{refuse_all, stored};
use crate::cast::{self, Coercion};
use crate::catalog::Column;
use crate::diag::{Diag, SqlState};
use crate::expr::Expr;
use crate::lexer::char_span;
use crate::limits;
use crate::plan::QueryPlan;
use crate::value::DataType;

/// Where the rows come from.
pub(super) enum Rows {
    /// They are here; `None` is the word DEFAULT.
    Given(Vec<Vec<Option<Expr>>>),
    /// A query gives them.
    Read(Arc<QueryPlan>),
}

impl Rows {
    /// How many columns each row has.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Given(rows) => rows.first().map_or(0, Vec::len),
            Self::Read(query) => query.projection.len(),
        }
    }
}

/// The rows behind the columns of an INSERT.
pub(super) fn bind(
    query: &ast::Query,
    columns: &[(usize, &Column)],
    listed: bool,
    context: &BindContext<'_>,
    params: &mut Params,
) -> Result<Rows, Diag> {
    let is_plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty()
        && query.for_clause.is_none();
    match query.body.as_ref() {
        SetExpr::Values(values) if is_plain => {
            refuse_all(&[(values.explicit_row, "ROW in VALUES")], || query.span())?;
            let scope = Scope { env: Some(Env::of(context)), ..Scope::nothing() };
            let rows = self::values(values, columns, listed, &scope, params)?;
            if scope.asked.is_empty() {
                return Ok(Rows::Given(rows));
            }
            with_subqueries(rows, columns, &scope, query)
        }
        _ => selected(query, columns, listed, context, params),
    }
}

/// VALUES whose subqueries are read first.
fn with_subqueries(
    rows: Vec<Vec<Option<Expr>>>,
    columns: &[(usize, &Column)],
    scope: &Scope<'_>,
    query: &ast::Query,
) -> Result<Rows, Diag> {
    if !scope.asked.subqueries.borrow().is_empty() {
        return Err(refuse_at("this kind of subquery in VALUES", query.span()).hint("Write INSERT ... SELECT."));
    }
    let given: Option<Vec<Vec<Expr>>> = rows.into_iter().map(|row| row.into_iter().collect()).collect();
    let Some(given) = given else {
        return Err(refuse_at("DEFAULT beside a subquery in VALUES", query.span())
            .hint("Leave the column out of the list of columns instead."));
    };
    let types = columns.iter().map(|(_, column)| column.data_type).collect::<Vec<DataType>>();
    let before = scope.asked.once.take();
    Ok(Rows::Read(Arc::new(query::of_values(given, &types, before))))
}

/// INSERT ... SELECT.
fn selected(
    query: &ast::Query,
    columns: &[(usize, &Column)],
    listed: bool,
    context: &BindContext<'_>,
    params: &mut Params,
) -> Result<Rows, Diag> {
    let types: Vec<DataType> = columns.iter().map(|(_, column)| column.data_type).collect();
    let plan = query::source(query, context, &types, params)?;
    let place = query::start_of(query);
    let placed = |diag: Diag| place.map_or(diag.clone(), |span| diag.at(span));
    let width = plan.projection.len();
    if width > columns.len() || (listed && width < columns.len()) {
        let columns = columns.len();
        return Err(placed(Diag::new(
            SqlState::SYNTAX_ERROR,
            format!("the query gives {width} values for {columns} columns"),
        )));
    }
    for (given, (_, column)) in plan.projection.iter().zip(columns) {
        let (from, wanted) = (given.data_type, column.data_type);
        if !cast::allowed(from, wanted, Coercion::Assignment) {
            let diag = Diag::new(
                SqlState::DATATYPE_MISMATCH,
                format!("column \"{}\" is of type {wanted}, the query gives a value of type {from}", column.name),
            );
            return Err(placed(match cast::allowed(from, wanted, Coercion::Explicit) {
                true => diag.hint(format!("Write CAST(... AS {wanted}) if this is what you mean.")),
                false => diag,
            }));
        }
    }
    Ok(Rows::Read(Arc::new(plan)))
}

/// The rows of VALUES. Without a list of columns (`listed` false) a row may give the first columns only, as in PostgreSQL.
fn values(
    values: &ast::Values,
    columns: &[(usize, &Column)],
    listed: bool,
    scope: &Scope<'_>,
    params: &mut Params,
) -> Result<Vec<Vec<Option<Expr>>>, Diag> {
    if let Some(first_too_many) = values.rows.get(limits::MAX_INSERT_ROWS) {
        let diag = Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("the INSERT has {} rows, more than the limit of {}", values.rows.len(), limits::MAX_INSERT_ROWS),
        );
        let place = char_span(first_too_many.opening_token.0.span);
        return Err(place.map_or(diag.clone(), |span| diag.at(span)));
    }
    let width = values.rows.first().map_or(0, |row| row.content.len());
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
        let mut binder = Binder::new(scope, params, Clause::Values, &mut none);
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
