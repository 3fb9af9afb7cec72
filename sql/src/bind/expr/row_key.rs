//! ROWKEY: the key of a table by one name, whatever its columns are called.
//!
//! The key of one column is that column. A key of several is a row, and stands where a row does: beside a comparison, before IN. There it is
//! spelled out before it is bound, so that keys and indexes see its columns. A column that is really called so hides it.

use sqlparser::ast;

use super::super::names::name_of;
use super::super::scope::{Relation, Scope, Source, Visible};
use super::{Binder, Typed, refused, rows};
use crate::diag::{Diag, Span, SqlState};
use crate::expr::Expr;
use crate::statement::{Name, ObjectName};
use crate::value::DataType;

/// The name.
pub(in crate::bind) const ROW_KEY: &str = "rowkey";

impl Relation<'_> {
    /// Its key columns in the order of the key, with their places in the row; none for what is not a table.
    fn key(&self) -> Vec<(&Visible, u32)> {
        let place = |at: usize| {
            let column = self.columns.get(at)?;
            Some((column, self.first.saturating_add(u32::try_from(at).ok()?)))
        };
        match &self.source {
            Source::Table(table) => {
                table.primary_key.iter().filter_map(|at| usize::try_from(*at).ok().and_then(place)).collect()
            }
            Source::System(_) => {
                let keys = self.columns.iter().enumerate().filter(|(_, column)| column.primary_key);
                keys.filter_map(|(at, _)| place(at)).collect()
            }
            Source::Nothing | Source::Draft | Source::Query(_) | Source::Shared { .. } | Source::Working { .. } => {
                Vec::new()
            }
        }
    }

    /// What ROWKEY is as a value of its own.
    ///
    /// # Errors
    /// A key of several columns is no value (0A000).
    #[inline(never)]
    pub(in crate::bind) fn row_key(&self, span: Span) -> Result<Option<(Expr, DataType)>, Diag> {
        match self.key().as_slice() {
            [] => Ok(None),
            [(column, at)] => Ok(Some((Expr::Column(*at, column.data_type), column.data_type))),
            several => {
                let names: Vec<&str> = several.iter().map(|(column, _)| column.name.as_str()).collect();
                let names = names.join(", ");
                Err(Diag::not_supported(format!("ROWKEY of the columns ({names}) as one value"))
                    .hint(format!(
                        "Compare it with a row, as in ROWKEY = (...) and ROWKEY IN ((...), (...)), or name {names}."
                    ))
                    .at(span))
            }
        }
    }
}

impl Scope<'_> {
    /// What ROWKEY alone means in this query, not looking at outer ones.
    ///
    /// # Errors
    /// When several tables have a key (42702), or the one that has is of several columns.
    #[inline(never)]
    pub(in crate::bind) fn row_key(&self, span: Span) -> Result<Option<(Expr, DataType)>, Diag> {
        let mut keyed = self.relations.iter().filter(|relation| !relation.key().is_empty());
        match (keyed.next(), keyed.next()) {
            (None, _) => Ok(None),
            (Some(one), None) => one.row_key(span),
            (Some(_), Some(_)) => {
                let keyed = self.relations.iter().filter(|relation| !relation.key().is_empty());
                let names = keyed.filter_map(|relation| relation.qualifier.as_ref());
                let names: Vec<String> = names.map(|qualifier| format!("{qualifier}.ROWKEY")).collect();
                let mut diag =
                    Diag::new(SqlState::AMBIGUOUS_COLUMN, "several tables of this statement have a ROWKEY").at(span);
                diag = diag.hint(format!("Write {}.", names.join(" or ")));
                diag.suggestions = names;
                Err(diag)
            }
        }
    }

    /// The name of the table and the columns that ROWKEY is a row of, where it is one of several.
    fn row_key_columns(&self, qualifier: Option<&ObjectName>) -> Option<(Option<String>, Vec<String>)> {
        let mut known = self.relations.iter().filter(|relation| match qualifier {
            Some(qualifier) => relation.is_qualified_by(qualifier),
            None => !relation.key().is_empty(),
        });
        match (known.next(), known.next()) {
            (Some(relation), None) => {
                let is_hidden = relation.columns.iter().any(|column| column.name == ROW_KEY);
                let key = relation.key();
                let names = || key.iter().map(|(column, _)| column.name.clone()).collect();
                (!is_hidden && key.len() > 1).then(|| (relation.qualifier.clone(), names()))
            }
            (Some(_), Some(_)) => None,
            (None, _) => self.outer?.scope.row_key_columns(qualifier),
        }
    }
}

/// Whether this may be ROWKEY, alone or behind the name of a table.
fn may_be_row_key(expr: &ast::Expr) -> bool {
    let last = match expr {
        ast::Expr::Identifier(ident) => Some(ident),
        ast::Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    last.is_some_and(|ident| ident.value.eq_ignore_ascii_case(ROW_KEY))
}

/// Whether ROWKEY may stand in `expr` where a row can.
pub(super) fn may_have_row_key(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::BinaryOp { left, right, .. } => may_be_row_key(left) || may_be_row_key(right),
        ast::Expr::InList { expr, .. } | ast::Expr::InSubquery { expr, .. } => may_be_row_key(expr),
        _ => false,
    }
}

impl Binder<'_, '_> {
    /// An expression in which ROWKEY may stand where a row can. Out of line: the frames that recursion repeats stay small.
    #[inline(never)]
    pub(super) fn with_row_key(&mut self, expr: &ast::Expr) -> Result<Typed, Diag> {
        let spelled = self.row_keys_spelled(expr)?;
        match spelled.as_deref().unwrap_or(expr) {
            ast::Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            ast::Expr::InList { expr, list, negated } if rows::in_rows(expr, list) => self.row_in(expr, list, *negated),
            ast::Expr::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            ast::Expr::InSubquery { expr, subquery, negated } => self.in_subquery(expr, subquery, *negated),
            other => Err(refused("ROWKEY in this expression", other)),
        }
    }

    /// The same expression with ROWKEYs of several columns written as rows; `None` when none is there.
    #[inline(never)]
    fn row_keys_spelled(&self, expr: &ast::Expr) -> Result<Option<Box<ast::Expr>>, Diag> {
        let mut spelled = Box::new(expr.clone());
        let operands: Vec<&mut ast::Expr> = match spelled.as_mut() {
            ast::Expr::BinaryOp { left, right, .. } => vec![left.as_mut(), right.as_mut()],
            ast::Expr::InList { expr, .. } | ast::Expr::InSubquery { expr, .. } => vec![expr.as_mut()],
            _ => Vec::new(),
        };
        let mut is_changed = false;
        for operand in operands {
            if let Some(row) = self.row_key_spelled(operand)? {
                *operand = row;
                is_changed = true;
            }
        }
        Ok(is_changed.then_some(spelled))
    }

    /// ROWKEY of several columns as the row that it is.
    #[inline(never)]
    fn row_key_spelled(&self, operand: &ast::Expr) -> Result<Option<ast::Expr>, Diag> {
        let parts = match operand {
            ast::Expr::Identifier(ident) => std::slice::from_ref(ident),
            ast::Expr::CompoundIdentifier(parts) => parts.as_slice(),
            _ => return Ok(None),
        };
        let Some((last, before)) = parts.split_last() else { return Ok(None) };
        let names = before.iter().map(name_of).collect::<Result<Vec<Name>, Diag>>()?;
        let qualifier = match names.as_slice() {
            _ if name_of(last)?.value != ROW_KEY => return Ok(None),
            [] => None,
            [table] => Some(ObjectName { namespace: None, name: table.clone() }),
            [namespace, table] => Some(ObjectName { namespace: Some(namespace.clone()), name: table.clone() }),
            _ => return Ok(None),
        };
        let Some((table, columns)) = self.scope.row_key_columns(qualifier.as_ref()) else { return Ok(None) };
        let quoted = |value: String| ast::Ident { value, quote_style: Some('"'), span: last.span };
        let before: Vec<ast::Ident> =
            if before.is_empty() { table.map(quoted).into_iter().collect() } else { before.to_vec() };
        let spelled = columns.into_iter().map(quoted).map(|column| match before.as_slice() {
            [] => ast::Expr::Identifier(column),
            _ => ast::Expr::CompoundIdentifier(before.iter().cloned().chain([column]).collect()),
        });
        Ok(Some(ast::Expr::Tuple(spelled.collect())))
    }
}
