//! Reading a table by values that are known once other rows are there: those of a join's left side, or of a subquery.
//!
//! Few values are looked up. An index is left as soon as it stands for more rows than a look at all of them would cost.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::apply::{Answer, ApplyRows};
use super::{Executor, Params, Source, statistics};
use crate::cast::{self, Equal};
use crate::expr::Expr;
use crate::limits;
use crate::plan::{Distinct, From, KeyBounds, Lookup, Meaning, QueryPlan, Relation, TableAccess};
use crate::value::{DataType, Row, SortValue, Value};

/// Most rows that are read by an index.
const MAX_BY_INDEX: usize = 4_096;
/// Most bytes of the values that are looked up: they travel to where the table is.
const MAX_BYTES: usize = 1 << 20;

/// What is looked up: values of the leading columns.
pub(super) type Keys = BTreeSet<Vec<SortValue>>;

impl<S: Source> Executor<'_, S> {
    /// The rows of a table with one of these keys, whose columns have these types; `None` when reading all rows is better.
    pub(super) async fn looked_up(
        &self,
        block: &Arc<QueryPlan>,
        lookup: &Lookup,
        keys: Keys,
        types: &[DataType],
        params: &Params,
    ) -> Result<Option<Vec<Row>>, S::Error> {
        let Some(bounds) = bounds(&keys, types) else { return Ok(None) };
        let access = match lookup.index {
            None => TableAccess::Bounds(bounds),
            Some(index) => TableAccess::Index { index, bounds },
        };
        let mut narrow = QueryPlan::clone(block);
        if let From::Table { access: whole, .. } = &mut narrow.from {
            *whole = access;
        }
        let began = self.statistics.as_ref().map(|_| self.source.micros());
        if lookup.index.is_some() {
            narrow.limit = Some(one_more());
            // Conditions would hide how many rows the index stands for.
            if narrow.filter.is_some() {
                let (all, _) = self.run(&Arc::new(without_conditions(&narrow)), Arc::clone(params)).await?;
                if all.len() > MAX_BY_INDEX {
                    return Ok(None);
                }
            }
        }
        let (rows, steps) = self.run(&Arc::new(narrow), Arc::clone(params)).await?;
        self.note(statistics::address(block.as_ref()), began, &rows, steps);
        Ok((lookup.index.is_none() || rows.len() <= MAX_BY_INDEX).then_some(rows))
    }

    /// The rows of `input` that a subquery can be true of, if it says so before they are read, and says it of few.
    pub(super) async fn narrowed(
        &self,
        apply: &mut ApplyRows<'_>,
        input: &Relation,
        params: &Params,
    ) -> Result<Option<Vec<Row>>, S::Error> {
        let Relation::Block(block) = input else { return Ok(None) };
        let subqueries = apply.subqueries;
        for (at, subquery) in subqueries.iter().enumerate() {
            let (Some(lookup), Meaning::Compare { pairs, .. }) = (&subquery.lookup, &subquery.meaning) else {
                continue;
            };
            let answer = self.answer(apply, at, subquery, &[]).await?;
            let Answer::Candidates(candidates) = answer.as_ref() else { continue };
            if candidates.whole.len() > limits::MAX_ALTERNATIVES {
                continue;
            }
            let picked = |values: &Vec<SortValue>| -> Vec<SortValue> {
                lookup.keys.iter().filter_map(|at| values.get(*at)).cloned().collect()
            };
            let (mut keys, mut bytes) = (Keys::new(), 0_usize);
            for values in &candidates.whole {
                let key = picked(values);
                bytes = bytes.saturating_add(key.iter().map(|value| value.0.size()).sum());
                keys.insert(key);
            }
            if bytes > MAX_BYTES {
                continue;
            }
            let types =
                lookup.keys.iter().filter_map(|at| pairs.get(*at)).filter_map(|(column, _)| Lookup::column(column));
            let types: Vec<DataType> = types.map(|(_, own)| own).collect();
            return self.looked_up(block, lookup, keys, &types, params).await;
        }
        Ok(None)
    }
}

/// One row more than may be read by an index.
fn one_more() -> Expr {
    Expr::Literal(Value::BigInt(i64::try_from(MAX_BY_INDEX + 1).unwrap_or(i64::MAX)), DataType::BigInt)
}

/// These keys, as values of the columns' own types; `None` where that cannot be told.
fn bounds(keys: &Keys, types: &[DataType]) -> Option<Vec<KeyBounds>> {
    let mut bounds = Vec::with_capacity(keys.len());
    'keys: for key in keys {
        let mut equal = Vec::with_capacity(types.len());
        for (value, own) in key.iter().zip(types) {
            match cast::equal_in(&value.0, *own) {
                Equal::Value(value) => equal.push(Expr::Literal(value, *own)),
                Equal::Never => continue 'keys,
                Equal::Unknown => return None,
            }
        }
        bounds.push(KeyBounds { equal, lower: None, upper: None });
    }
    Some(bounds)
}

/// The rows that a SELECT over a table looks at, without their columns.
fn without_conditions(plan: &QueryPlan) -> QueryPlan {
    QueryPlan {
        before: Vec::new(),
        unused: Vec::new(),
        from: plan.from.clone(),
        filter: None,
        aggregate: None,
        having: None,
        projection: Vec::new(),
        distinct: Distinct::No,
        order_by: Vec::new(),
        limit: plan.limit.clone(),
        offset: None,
    }
}
