//! RETURNING with subqueries: a query over the rows that a change has made.

use super::subquery::seeing;
use super::tree::{moved, plain};
use crate::bind::expr::SUBQUERY_BASE;
use crate::bind::scope::Scope;
use crate::diag::Diag;
use crate::plan::{From, OutputColumn, QueryPlan, RETURNED_ROWS, Relation};

/// These columns, over the changed rows with their `_seq` and the subqueries that the scope was asked for.
pub(in crate::bind) fn over_changed_rows(scope: &Scope<'_>, columns: &[OutputColumn]) -> Result<QueryPlan, Diag> {
    let width = scope.relations.iter().map(super::super::scope::Relation::width).fold(0, u32::saturating_add);
    let placed = |expr: &_| moved(expr, &|position| Some(width.saturating_add(position.checked_sub(SUBQUERY_BASE)?)));
    let rows = Relation::Working { id: RETURNED_ROWS, name: "RETURNING".to_owned() };
    let subqueries = scope.asked.subqueries.take();
    let subqueries = subqueries.iter().map(|subquery| seeing(subquery, &mut |expr| Ok(placed(expr))));
    let subqueries = subqueries.collect::<Result<Vec<_>, Diag>>()?;
    let relation = match subqueries.is_empty() {
        true => rows,
        false => Relation::Apply { input: Box::new(rows), subqueries },
    };
    let projection =
        columns.iter().map(|column| OutputColumn { expr: placed(&column.expr), ..column.clone() }).collect();
    let plan = plain(From::Tree(Box::new(relation)), None, projection);
    Ok(QueryPlan { before: scope.asked.once.take(), ..plan })
}
