//! Rows kept in order of some of their values: the built side of a join, and what a correlated subquery looks its rows up in.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use super::{Executor, Held, Pace, Params, Source, size};
use crate::diag::Diag;
use crate::expr::Expr;
use crate::plan::QueryPlan;
use crate::value::{Row, SortValue, Value};

/// Rows by the values of some expressions over them. Rows with a NULL among those are equal to nothing.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) rows: Vec<Row>,
    pub(super) places: BTreeMap<Vec<SortValue>, Vec<u32>>,
    _held: Held,
}

impl Index {
    /// The places of the rows with these values, in the order in which the rows came.
    pub(super) fn places(&self, key: &[SortValue]) -> &[u32] {
        self.places.get(key).map_or(&[], Vec::as_slice)
    }
}

impl<S: Source> Executor<'_, S> {
    /// The values of a key; `None` when one of them is NULL.
    pub(super) fn key<'e>(
        &self,
        exprs: impl Iterator<Item = &'e Expr>,
        row: &[Value],
        params: &Params,
    ) -> Result<Option<Vec<SortValue>>, Diag> {
        let mut key = Vec::new();
        for expr in exprs {
            let value = self.evaluate(expr, row, params)?;
            if value.is_null() {
                return Ok(None);
            }
            key.push(SortValue::same(value));
        }
        Ok(Some(key))
    }

    /// Puts rows in order; `held` counts what they take.
    pub(super) async fn index<'e>(
        &self,
        rows: Vec<Row>,
        keys: impl Iterator<Item = &'e Expr> + Clone,
        params: &Params,
        held: Held,
    ) -> Result<Index, S::Error> {
        let mut places: BTreeMap<Vec<SortValue>, Vec<u32>> = BTreeMap::new();
        let mut pace = Pace::default();
        for (row, at) in rows.iter().zip(0_u32..) {
            if let Some(key) = self.key(keys.clone(), row, params)? {
                places.entry(key).or_default().push(at);
            }
            pace.step(self.source).await?;
        }
        Ok(Index { rows, places, _held: held })
    }

    /// The rows of a scan that equal the probes; the scan is read when it is first asked for.
    pub(super) async fn indexed(
        &self,
        id: u32,
        scan: &Arc<QueryPlan>,
        keys: &[Expr],
        probes: &[Expr],
        params: &Params,
    ) -> Result<Vec<Row>, S::Error> {
        let known = self.indexes.borrow().get(&id).cloned();
        let index = match known {
            Some(index) => index,
            None => {
                let rows = self.query(scan, Arc::clone(params)).await?;
                let held = self.hold();
                let mut pace = Pace::default();
                for row in &rows {
                    held.add("a subquery", size(row))?;
                    pace.step(self.source).await?;
                }
                let index = Rc::new(self.index(rows, keys.iter(), params, held).await?);
                self.indexes.borrow_mut().insert(id, Rc::clone(&index));
                index
            }
        };
        let (mut found, mut pace) = (Vec::new(), Pace::default());
        if keys.is_empty() {
            for row in &index.rows {
                found.push(row.clone());
                pace.step(self.source).await?;
            }
            return Ok(found);
        }
        let Some(key) = self.key(probes.iter(), &[], params)? else { return Ok(found) };
        for at in index.places(&key) {
            found.extend(index.rows.get(*at as usize).cloned());
            pace.step(self.source).await?;
        }
        Ok(found)
    }
}
