//! Expressions: whatever is bound has a value or an error, the same one twice, of the type that it was bound with.
#![no_main]
#![allow(clippy::disallowed_types, reason = "what the macro expands to; fuzzing is not simulated")]

use std::sync::Arc;

use highwater_fuzz::{row, table};
use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion, Role};
use highwater_sql::eval::{EvalContext, evaluate};
use highwater_sql::parse::parse;
use highwater_sql::plan::{Plan, WriteKind};
use highwater_sql::value::Value;

/// 2026-01-02 03:04:05 UTC.
const NOW: i64 = 1_767_323_045_000_000;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut catalog = Catalog::default();
    catalog.advance(CatalogVersion(1), &[CatalogDelta::PutTable(Arc::new(table()))]);
    let bind_context = BindContext { catalog: &catalog, namespace: "app", user: "u", role: Role::System };
    // An UPDATE takes any expression that becomes a text, a DELETE any condition; what is neither is put into an array.
    for sql in [
        format!("UPDATE app.t SET c7 = ({text})::TEXT"),
        format!("DELETE FROM app.t WHERE ({text})"),
        format!("UPDATE app.t SET c7 = (ARRAY[({text})] || ({text}))::TEXT"),
        format!("DELETE FROM app.t WHERE ARRAY[({text})] @> ARRAY[({text})] AND ({text}) = ANY(ARRAY[({text}), NULL])"),
    ] {
        let Ok(statements) = parse(&sql) else { continue };
        for statement in &statements {
            let Ok(bound) = bind(statement, &bind_context) else { continue };
            let Plan::Write(plan) = bound.plan else { continue };
            let expressions = match plan.kind {
                WriteKind::Update { assignments, .. } => {
                    assignments.into_iter().filter_map(|(_, value)| value).collect()
                }
                WriteKind::Delete { filter, .. } => filter.into_iter().collect::<Vec<_>>(),
                _ => continue,
            };
            let params = vec![Value::Null; bound.parameters.len()];
            for expression in &expressions {
                for row in [row(), vec![Value::Null; row().len()]] {
                    let once = || {
                        let context = EvalContext::new(NOW, "u", Role::System, &params, 5);
                        // By their text: NaN differs from itself.
                        format!("{:?}", evaluate(expression, &row, &context))
                    };
                    assert_eq!(once(), once());
                }
            }
        }
    }
});
