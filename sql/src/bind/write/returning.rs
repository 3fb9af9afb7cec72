//! RETURNING: what a write answers, per changed row.

use std::sync::Arc;

use sqlparser::ast::{SelectItem, SelectItemQualifiedWildcardKind, Spanned};

use super::super::expr::{Binder, Clause, SUBQUERY_BASE};
use super::super::names::{name_of, object_of};
use super::super::params::Params;
use super::super::query::{no_options, over_changed_rows, refuse_at, shown_name};
use super::super::scope::Scope;
use crate::diag::{Diag, SqlState};
use crate::eval;
use crate::expr::Expr;
use crate::lexer::char_span;
use crate::limits;
use crate::plan::{OutputColumn, QueryPlan};
use crate::value::DataType;

/// A bound RETURNING.
#[derive(Default)]
pub(super) struct Returning {
    /// The columns of the answer, over the row and its `_seq`.
    pub(super) columns: Vec<OutputColumn>,
    /// What the change gives of each row: the values of the answer, or the row as it is where `query` makes the answer of it.
    pub(super) values: Vec<Expr>,
    /// Makes the answer where it has subqueries.
    pub(super) query: Option<Arc<QueryPlan>>,
}

/// The list; `scope` sees the row and its `_seq`.
pub(super) fn bind(list: Option<&[SelectItem]>, scope: &Scope<'_>, params: &mut Params) -> Result<Returning, Diag> {
    let columns = self::columns(list, scope, params)?;
    if scope.asked.is_empty() {
        let values = columns.iter().map(|column| column.expr.clone()).collect();
        return Ok(Returning { columns, values, query: None });
    }
    let own = scope.relations.iter().flat_map(|relation| &relation.columns).map(|column| column.data_type);
    let values =
        own.chain([DataType::BigInt]).zip(0_u32..).map(|(data_type, at)| Expr::Column(at, data_type)).collect();
    let query = Some(Arc::new(over_changed_rows(scope, &columns)?));
    Ok(Returning { columns, values, query })
}

fn columns(list: Option<&[SelectItem]>, scope: &Scope<'_>, params: &mut Params) -> Result<Vec<OutputColumn>, Diag> {
    let mut columns = Vec::new();
    for item in list.unwrap_or_default() {
        match item {
            SelectItem::UnnamedExpr(expr) => columns.push(value(expr, shown_name(expr), scope, params)?),
            SelectItem::ExprWithAlias { expr, alias } => {
                columns.push(value(expr, name_of(alias)?.value, scope, params)?);
            }
            SelectItem::ExprWithAliases { .. } => {
                return Err(refuse_at("several aliases of one expression", item.span()));
            }
            SelectItem::Wildcard(options) => {
                no_options(options)?;
                everything(scope, &mut columns);
            }
            SelectItem::QualifiedWildcard(kind, options) => {
                no_options(options)?;
                let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
                    return Err(refuse_at("\"*\" behind an expression", item.span()));
                };
                let name = object_of(name)?;
                scope.qualified(&name)?;
                everything(scope, &mut columns);
            }
        }
        if columns.len() > limits::MAX_COLUMNS {
            let diag =
                Diag::new(SqlState::PROGRAM_LIMIT, format!("a result has at most {} columns", limits::MAX_COLUMNS));
            return Err(char_span(item.span()).map_or(diag.clone(), |span| diag.at(span)));
        }
    }
    Ok(columns)
}

fn value(
    expr: &sqlparser::ast::Expr,
    name: String,
    scope: &Scope<'_>,
    params: &mut Params,
) -> Result<OutputColumn, Diag> {
    let mut none = Vec::new();
    let typed = Binder::new(scope, params, Clause::Returning, &mut none).typed(expr)?;
    let data_type = typed.data_type.unwrap_or(DataType::Text);
    let bound = eval::fold(typed.expr);
    Ok(match &bound {
        Expr::Column(index, _) if *index < SUBQUERY_BASE => match unchanged(scope, *index) {
            Some(column) => OutputColumn { name, ..column },
            None => OutputColumn { name, expr: bound, data_type, primary_key: false, not_null: true, unique: false },
        },
        _ => OutputColumn { name, expr: bound, data_type, primary_key: false, not_null: false, unique: false },
    })
}

/// A column of the table as it is.
fn unchanged(scope: &Scope<'_>, index: u32) -> Option<OutputColumn> {
    let (_, column) = scope.at(index)?;
    Some(OutputColumn {
        name: column.name.clone(),
        expr: Expr::Column(index, column.data_type),
        data_type: column.data_type,
        primary_key: column.primary_key,
        not_null: column.not_null,
        unique: scope.is_unique(index),
    })
}

fn everything(scope: &Scope<'_>, columns: &mut Vec<OutputColumn>) {
    let all = u32::try_from(scope.star.len()).unwrap_or(u32::MAX);
    columns.extend((0..all).filter_map(|index| unchanged(scope, index)));
}
