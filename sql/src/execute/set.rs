//! UNION, INTERSECT and EXCEPT. Rows are equal when `IS NOT DISTINCT FROM` says so of every column.

use std::collections::BTreeMap;

use super::{Executor, Pace, Params, Rows, Source, size};
use crate::cast;
use crate::diag::Diag;
use crate::plan::{Relation, SetOperation, SetOperator};
use crate::value::{DataType, Row, SortValue, Value};

impl<S: Source> Executor<'_, S> {
    pub(super) async fn open_set<'p>(&self, set: &'p SetOperation, params: &Params) -> Result<Rows<'p>, S::Error> {
        let left = self.side(&set.left, &set.types, params).await?;
        let right = self.side(&set.right, &set.types, params).await?;
        if set.operator == SetOperator::Union && set.all {
            return Ok(Rows::Chain(vec![Rows::Here(left.into_iter()), Rows::Here(right.into_iter())]));
        }
        let mut pace = Pace::default();
        // How often each row may still come, or has to be left out.
        let mut counts: BTreeMap<Vec<SortValue>, usize> = BTreeMap::new();
        let held = self.hold();
        let (counted, both) =
            if set.operator == SetOperator::Union { (Vec::new(), right) } else { (right, Vec::new()) };
        for row in counted {
            held.add("a set operation", size(&row))?;
            let count = counts.entry(key(&row)).or_default();
            *count = if set.all { *count + 1 } else { 1 };
            pace.step(self.source).await?;
        }
        let mut rows = Vec::new();
        for row in left.into_iter().chain(both) {
            pace.step(self.source).await?;
            let key = key(&row);
            let comes = match (set.operator, set.all) {
                (SetOperator::Union, _) => {
                    held.add("a set operation", size(&row))?;
                    counts.insert(key, 0).is_none()
                }
                // Once a row has come it is as if the right side did not have it.
                (SetOperator::Intersect, false) => counts.remove(&key).is_some(),
                (SetOperator::Intersect, true) => taken(&mut counts, &key),
                // And as if it did.
                (SetOperator::Except, false) => counts.insert(key, 1).is_none(),
                (SetOperator::Except, true) => !taken(&mut counts, &key),
            };
            if comes {
                rows.push(row);
            }
        }
        self.discard(counts).await?;
        Ok(Rows::Here(rows.into_iter()))
    }

    /// One side's rows, as the result's types.
    async fn side(&self, side: &Relation, types: &[DataType], params: &Params) -> Result<Vec<Row>, S::Error> {
        let held = self.hold();
        let opened = self.open(side, params).await?;
        let mut rows = self.all(opened, "a set operation", &held).await?;
        let mut pace = Pace::default();
        for row in &mut rows {
            for (value, wanted) in row.iter_mut().zip(types) {
                as_type(value, *wanted)?;
            }
            pace.step(self.source).await?;
        }
        Ok(rows)
    }
}

fn as_type(value: &mut Value, wanted: DataType) -> Result<(), Diag> {
    if value.data_type().is_some_and(|from| !from.same_kind(&wanted)) {
        *value = cast::cast(std::mem::replace(value, Value::Null), wanted, false)?;
    }
    Ok(())
}

fn key(row: &[Value]) -> Vec<SortValue> {
    row.iter().cloned().map(SortValue::same).collect()
}

fn taken(counts: &mut BTreeMap<Vec<SortValue>, usize>, key: &[SortValue]) -> bool {
    match counts.get_mut(key) {
        Some(left) if *left > 0 => {
            *left -= 1;
            true
        }
        Some(_) | None => false,
    }
}
