//! A subquery that looks a table's rows up by values of outer rows, for the case that there turn out to be very many of those: what does
//! not depend on outer rows is read once and kept in order instead.

use std::sync::Arc;

use super::tree::{all_of, conjuncts, is_by_outer_key, passed, plain, probe, sees_outside};
use crate::bind::bounds;
use crate::bind::scope::SEQ;
use crate::eval;
use crate::expr::Expr;
use crate::plan::{From, OutputColumn, QueryPlan, Relation};
use crate::value::{DataType, Value};

/// The plan with an index of its own in place of look-ups, if it has any; `number` tells its index from others of the statement.
pub(super) fn at_once(plan: &QueryPlan, number: impl FnOnce() -> u32) -> Option<Arc<QueryPlan>> {
    let From::Table { table, access } = &plan.from else { return None };
    if !plan.before.is_empty() || !is_by_outer_key(access) {
        return None;
    }
    let mut conditions = Vec::new();
    conjuncts(plan.filter.as_ref()?, &mut conditions);
    if conditions.iter().any(eval::is_volatile) {
        return None;
    }
    let (varying, fixed): (Vec<Expr>, Vec<Expr>) = conditions.into_iter().partition(sees_outside);
    let (mut keys, mut probes, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for condition in varying {
        match probe(&condition) {
            Some((key, value)) => {
                keys.push(key);
                probes.push(value);
            }
            None => rest.push(condition),
        }
    }
    if keys.is_empty() {
        return None;
    }
    let used = plan.source_columns();
    let columns = (0_u32..).zip(&table.columns).map(|(at, column)| (at, column.name.as_str(), column.data_type));
    let seq = u32::try_from(table.columns.len()).ok().map(|at| (at, SEQ, DataType::BigInt));
    // Every column keeps its place; what nobody looks at takes none of the memory.
    let kept = |(at, name, data_type): (u32, &str, DataType)| -> OutputColumn {
        let is_used = used.contains(&at);
        passed(name, if is_used { Expr::Column(at, data_type) } else { Expr::Literal(Value::Null, data_type) })
    };
    let projection = columns.chain(seq).map(kept).collect();
    let fixed = all_of(fixed);
    let access = bounds::access(table, fixed.as_ref());
    let scan = Arc::new(plain(From::Table { table: Arc::clone(table), access }, fixed, projection));
    let kept = Relation::Indexed { id: number(), scan, keys, probes };
    Some(Arc::new(QueryPlan { from: From::Tree(Box::new(kept)), filter: all_of(rest), ..plan.clone() }))
}
