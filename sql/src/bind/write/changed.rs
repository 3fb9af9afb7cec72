//! UPDATE and DELETE where other rows decide: subqueries, UPDATE ... FROM and DELETE ... USING. They are bound as the query that gives, for
//! each changed row, its key, its `_seq` and its new values.

use std::sync::Arc;

use sqlparser::ast::{self, SetExpr, Spanned};

use super::super::expr::Typed;
use super::super::params::Params;
use super::super::query::{refuse_at, rows_to_change};
use super::super::scope::Env;
use crate::catalog::Table;
use crate::diag::{Diag, SqlState};
use crate::lexer::char_span;
use crate::plan::{ChangedRows, WriteKind};

/// UPDATE.
pub(super) fn update(
    update: &ast::Update,
    others: &[ast::TableWithJoins],
    table: &Arc<Table>,
    env: &Env<'_>,
    params: &mut Params,
) -> Result<WriteKind, Diag> {
    let from: Vec<ast::TableWithJoins> = std::iter::once(&update.table).chain(others).cloned().collect();
    let mut columns = Vec::with_capacity(update.assignments.len());
    let mut values = |scope: &super::Scope<'_>, params: &mut Params| {
        let assignments = super::assignments(&update.assignments, table, scope, params)?;
        let mut values = Vec::with_capacity(assignments.len());
        let first = table.primary_key.len() + 1;
        for (id, value) in assignments {
            let place = match value {
                None => None,
                Some(value) => {
                    let data_type = table.columns.iter().find(|column| column.id == id).map(|column| column.data_type);
                    let place = first + values.len();
                    values.push(Typed::leaf(value, data_type, None));
                    u32::try_from(place).ok()
                }
            };
            columns.push((id, place));
        }
        Ok(values)
    };
    let selection = update.selection.as_ref();
    let (query, access) = rows_to_change(&from, selection, table, env, params, &mut values)?;
    let rows = ChangedRows::Asked { query: Arc::new(query), access };
    Ok(WriteKind::UpdateFrom { assignments: columns, rows })
}

/// DELETE.
pub(super) fn delete(
    delete: &ast::Delete,
    target: &ast::TableWithJoins,
    table: &Arc<Table>,
    env: &Env<'_>,
    params: &mut Params,
) -> Result<WriteKind, Diag> {
    let others = delete.using.as_deref().unwrap_or_default();
    let from: Vec<ast::TableWithJoins> = std::iter::once(target).chain(others).cloned().collect();
    let selection = delete.selection.as_ref();
    let mut nothing = |_: &super::Scope<'_>, _: &mut Params| Ok(Vec::new());
    let (query, access) = rows_to_change(&from, selection, table, env, params, &mut nothing)?;
    Ok(WriteKind::DeleteFrom { rows: ChangedRows::Asked { query: Arc::new(query), access } })
}

/// `(a, b) = (SELECT x, y ...)`: each column of the subquery as a subquery of its own.
pub(super) fn columns_of(
    query: &ast::Query,
    width: usize,
    assignment: &ast::Assignment,
) -> Result<Vec<ast::Expr>, Diag> {
    let refused = || {
        refuse_at("an assignment to several columns from this subquery", assignment.span())
            .hint("Give each column a subquery of its own, or write UPDATE ... FROM.")
    };
    let SetExpr::Select(select) = query.body.as_ref() else { return Err(refused()) };
    let is_listed = |item: &ast::SelectItem| {
        matches!(item, ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. })
    };
    if select.distinct.is_some() || query.order_by.is_some() || !select.projection.iter().all(is_listed) {
        return Err(refused());
    }
    if select.projection.len() != width {
        let diag = Diag::new(
            SqlState::SYNTAX_ERROR,
            format!("{} values are assigned to {width} columns", select.projection.len()),
        );
        return Err(char_span(assignment.span()).map_or(diag.clone(), |span| diag.at(span)));
    }
    let alone = |item: &ast::SelectItem| {
        let select = ast::Select { projection: vec![item.clone()], ..select.as_ref().clone() };
        let query = ast::Query { body: Box::new(SetExpr::Select(Box::new(select))), ..query.clone() };
        ast::Expr::Subquery(Box::new(query))
    };
    Ok(select.projection.iter().map(alone).collect())
}
