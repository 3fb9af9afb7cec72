//! LATERAL: for each row on the left, the rows of a query that sees it.

use super::{Executor, Pace, Params, Rows, Source, with_slots};
use crate::plan::{JoinKind, Lateral};
use crate::value::{Row, Value};

/// An open LATERAL join.
pub(super) struct LateralRows<'p> {
    plan: &'p Lateral,
    pub(super) left: Rows<'p>,
    params: Params,
    /// Rows of the left side that were read and not joined yet.
    waiting: std::vec::IntoIter<Row>,
}

impl<'p> LateralRows<'p> {
    pub(super) fn new(plan: &'p Lateral, left: Rows<'p>, params: Params) -> Self {
        Self { plan, left, params, waiting: Vec::new().into_iter() }
    }
}

impl<S: Source> Executor<'_, S> {
    /// The rows of the next left row that has any.
    pub(super) async fn next_lateral(&self, rows: &mut LateralRows<'_>) -> Result<Option<Vec<Row>>, S::Error> {
        let Lateral { right, outer, kind, condition, .. } = rows.plan;
        let mut pace = Pace::default();
        loop {
            let Some(left) = rows.waiting.next() else {
                match self.next(&mut rows.left).await? {
                    Some(batch) => rows.waiting = batch.into_iter(),
                    None => return Ok(None),
                }
                continue;
            };
            let mut seen = Vec::with_capacity(outer.len());
            for (slot, expr) in outer {
                seen.push((*slot, self.evaluate(expr, &left, &rows.params)?));
            }
            let found = self.again(right, with_slots(&rows.params, seen)).await?;
            let mut joined = Vec::with_capacity(found.len());
            for row in found {
                let both: Row = left.iter().cloned().chain(row).collect();
                let holds = match condition {
                    Some(condition) => self.is_true(condition, &both, &rows.params)?,
                    None => true,
                };
                if holds {
                    joined.push(both);
                }
                pace.step(self.source).await?;
            }
            if joined.is_empty() && *kind == JoinKind::Left {
                let nulls = right.projection.iter().map(|_| Value::Null);
                joined.push(left.into_iter().chain(nulls).collect());
            }
            pace.step(self.source).await?;
            if !joined.is_empty() {
                return Ok(Some(joined));
            }
        }
    }
}
