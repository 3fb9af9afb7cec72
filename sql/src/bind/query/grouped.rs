//! The row of a grouped query: its keys, then its aggregates.

use crate::bind::expr::{AGGREGATE_BASE, SUBQUERY_BASE};
use crate::bind::scope::{SEQ, Scope, Source};
use crate::diag::{Diag, SqlState};
use crate::eval;
use crate::expr::Expr;

/// The keys of a grouped query, over the row that FROM gives.
pub(super) struct Grouped<'a> {
    pub(super) keys: &'a [Expr],
    pub(super) scope: &'a Scope<'a>,
}

impl Grouped<'_> {
    /// The expression over the row of groups; a column that is no key is refused.
    pub(super) fn over_groups(&self, expr: &Expr) -> Result<Expr, Diag> {
        if let Some(key) = self.keys.iter().position(|key| key == expr) {
            return Ok(Expr::Column(u32::try_from(key).unwrap_or(u32::MAX), eval::data_type(expr)));
        }
        match expr {
            Expr::Column(index, _) if *index >= SUBQUERY_BASE => Ok(expr.clone()),
            Expr::Column(index, data_type) => match index.checked_sub(AGGREGATE_BASE) {
                Some(call) => Ok(Expr::Column(
                    u32::try_from(self.keys.len()).unwrap_or(u32::MAX).saturating_add(call),
                    *data_type,
                )),
                None => Err(self.outside(*index)),
            },
            other => other.with_children(&mut |part| self.over_groups(part)),
        }
    }

    fn outside(&self, position: u32) -> Diag {
        let name = self.scope.at(position).map_or(SEQ, |(_, column)| column.name.as_str());
        let shown = match self.scope.relation_at(position).and_then(|relation| relation.qualifier.as_ref()) {
            Some(qualifier) if self.scope.relations.len() > 1 => format!("{qualifier}.{name}"),
            _ => name.to_owned(),
        };
        Diag::new(SqlState::GROUPING_ERROR, format!("column \"{shown}\" must be in GROUP BY or inside an aggregate"))
    }
}

/// Whether a column has one value per group because the whole key of its table is grouped by.
pub(super) fn depends_on_keys(position: u32, keys: &[Expr], scope: &Scope<'_>) -> bool {
    let Some(relation) = scope.relation_at(position) else { return false };
    let Source::Table(table) = &relation.source else { return false };
    table.primary_key.iter().all(|key| {
        let wanted = relation.first.saturating_add(*key);
        keys.iter().any(|known| matches!(known, Expr::Column(position, _) if *position == wanted))
    })
}
